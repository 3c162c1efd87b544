/*
 * The HTTP server under test: one at a time, on a loopback port of its own, with a handler whose paths do what a test
 * asks for.
 *
 *   /bare   a status line alone      /later  answered after SOON_MS from another thread
 *   /slow   expires after SOON_MS    /never  is kept until the server stops
 *   /big    more than a client that does not read can be sent; every other path echoes the request
 */
#pragma once

#include <stdatomic.h>

#include "io/http_server.h"
#include "test/lib/tls_files.h"

enum {
    SOON_MS = 200,
    WAIT_MS = 15 * 1000, /* what is waited for takes milliseconds; a busy machine may need longer */
};

/* What the handler has done since server_start(). */
extern struct server_seen {
    atomic_int kept, expired, gone, answered;
} server_seen;

extern struct http_server *server_current; /* NULL: none runs */

/* 127.0.0.1, any port, no TLS. */
extern const struct http_server_conf server_plain;
struct http_server_conf server_with_tls(const struct tls_files *t, enum http_verify verify);

void server_handle(struct http_request *r, void *arg);
/* Its port. */
int server_start(const struct http_server_conf *conf);
/* Teardown of every test; harmless when none runs. */
int server_stop(void **state);
void server_reload(const struct http_server_conf *conf);

/* Waits until *count, one of server_seen, has come to at_least; not beyond it. */
void seen_wait(atomic_int *count, int at_least);
/* It answers a plain request. */
void assert_works(int port);
