/*
 * Clients for tests of an HTTP server on 127.0.0.1: raw sockets for bad manners, libcurl for good ones.
 * Every wait is bounded; what does not come in time shows as missing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/auto.h"
#include "base/time.h"

/* A connected socket. */
int peer_connect(int port);
/* One into which the kernel takes only a few kB before we read. */
int peer_connect_narrow(int port);
void peer_send(int fd, const char *text);
/* What comes until the other side closes or wait_ms have passed. *ret_closed may be NULL. free() it. */
char *peer_read(int fd, msec wait_ms, bool *ret_closed);
/* Connect, send, read to the end (at most 15 s), close. free() it. */
char *peer_talk(int port, const char *text);

struct peer_answer {
    int status;    /* 0: none */
    char *headers; /* as they came, with the status line */
    char *body;
    char *cert; /* subject of the server's certificate; NULL without TLS */
    double took_s;
    int connects; /* new connections that this call needed */
};

struct peer_request {
    const char *method; /* NULL: GET */
    int port;
    const char *path;
    const char *body;           /* NULL: none */
    const char *user;           /* "name:password"; NULL: none */
    const char *const *headers; /* NULL-terminated; NULL: none */
    const char *ca;             /* set: https, checked against this file */
    const char *cert, *key;
    long http_version; /* CURL_HTTP_VERSION_…; 0: 1.1 */
};

/* A client that keeps its connection from call to call. */
struct peer;
struct peer *peer_new(void);
void peer_free(struct peer *p);
AUTO_DEFINE(peer, struct peer, peer_free)
struct peer_answer peer_ask(struct peer *p, const struct peer_request *request);
/* The same with a client of its own. */
struct peer_answer peer_ask_once(const struct peer_request *request);
void peer_answer_deinit(struct peer_answer *a);
