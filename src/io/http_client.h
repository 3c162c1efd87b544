/*
 * HTTP requests on the loop (libcurl multi).
 *
 * Connections are kept alive and reused per client. Every call has a budget from start to end; a
 * streaming call (watch) has none but reports its bytes as they come. HTTP/1.1; no proxies, no
 * redirects, and a request that may act is never sent twice. Calls may be cancelled, and the client
 * freed, from inside any callback.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/time.h"

struct loop;
struct http_client;
struct http_call;

struct http_client_conf {                           /* strings are copied */
    const char *cacert, *cert, *key, *key_password; /* files; NULL: none */
    bool insecure;                                  /* no verification of the server */
    const char *username, *password;                /* basic auth for every call; NULL: none */
};

struct http_request {
    const char *method; /* "GET", "POST", … */
    const char *url;
    const char *body; /* NULL: none; copied */
    size_t body_len;
    const char *const *headers; /* "Name: value", NULL-terminated; may be NULL. A body without type is JSON */
    msec connect_ms;            /* budget of the connection phase; 0: budget_ms */
    msec budget_ms;             /* whole call; 0: streaming, no limit */
    /* Streaming: called with each piece of the body of a 2xx answer; other answers are collected. */
    void (*piece)(const char *bytes, size_t len, void *arg);
};

struct http_reply {
    int status;       /* 0: no HTTP answer, see err */
    bool sent;        /* the request may have reached the server (matters when status is 0) */
    const char *body; /* NUL-terminated; valid during the callback */
    size_t body_len;
    struct err err; /* set when status is 0 */
};

typedef void http_done_fn(const struct http_reply *reply, void *arg);

struct http_client *http_client_new(struct loop *l, const struct http_client_conf *conf);
void http_client_free(struct http_client *c); /* calls under way are dropped without callback */
AUTO_DEFINE(http_client, struct http_client, http_client_free)

/* done runs exactly once from the loop, unless the call is cancelled. Response headers: http_reply_header. */
struct http_call *http_client_send(struct http_client *c, const struct http_request *request, http_done_fn *done,
                                   void *arg);
void http_call_cancel(struct http_call *call);
/* From inside `done`: a response header of this call, NULL if absent. */
const char *http_reply_header(const struct http_reply *reply, const char *name);
