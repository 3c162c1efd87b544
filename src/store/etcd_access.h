/*
 * Where an etcd is and who we are there: its members, the HTTP client, user and token.
 *
 * Shared by requests and watches, counted; a reload makes a new one and what is under way finishes on
 * the old one. What each member's gateway is called, and whether the token still holds, is found out
 * by etcd_call on the way.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/auto.h"
#include "base/err.h"
#include "store/endpoints.h"

struct http_client;
struct loop;
struct settings;

struct etcd_member {
    char *name;          /* "127.0.0.1:2379" */
    char *url;           /* "http://127.0.0.1:2379" */
    const char *gateway; /* "/v3"; NULL: not asked since it last failed */
    char version[32];    /* "3.4.23"; "": never asked */
};

/* A member did not answer: who depends on it may want to look. Runs inside a callback: only take a note. */
typedef void etcd_member_failed_fn(size_t member, void *arg);

struct etcd_access {
    unsigned int refs;
    struct loop *loop;
    struct http_client *http;
    struct endpoints endpoints;
    struct etcd_member *members; /* endpoints.count of them */
    char *username, *password;   /* NULL: none */
    char *token;                 /* NULL: not logged in; "": this etcd has no authentication */
    unsigned int token_serial;   /* grows with each login, so that one bad token is dropped once */
    etcd_member_failed_fn *failed;
    void *failed_arg;
};

MUST_USE bool etcd_access_new(struct loop *l, const struct settings *settings, struct etcd_access **ret_access,
                              struct err *err);
struct etcd_access *etcd_access_ref(struct etcd_access *a);
void etcd_access_unref(struct etcd_access *a);
AUTO_DEFINE(etcd_access, struct etcd_access, etcd_access_unref)

void etcd_access_failed(struct etcd_access *a, size_t member);
