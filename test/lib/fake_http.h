/*
 * An HTTP/1.1 server on the test's own loop that says what the test wants said, byte for byte.
 *
 * Requests come to a handler, which answers with fake_http_send() now or later, closes, or says nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/list.h"

struct loop;
struct loop_fd;

struct fake_peer { /* one connection */
    struct fake_http *server;
    int fd;
    struct loop_fd *watch;
    struct buf in;
    struct list link;
};

/* text: the whole request, path and body point into it. */
typedef void fake_http_fn(struct fake_peer *peer, const char *text, const char *path, const char *body, void *arg);

struct fake_http {
    struct loop *loop;
    int fd, port;
    struct loop_fd *watch;
    struct list peers; /* in the order of connecting */
    int accepted, requests;
    struct buf last; /* the last request */
    fake_http_fn *fn;
    void *arg;
};

void fake_http_start(struct fake_http *s, struct loop *l, int backlog, fake_http_fn *fn, void *arg);
void fake_http_stop(struct fake_http *s);

void fake_http_send(struct fake_peer *peer, const char *raw);
/* A whole answer with its length. */
void fake_http_answer(struct fake_peer *peer, int status, const char *body);
/* The beginning of a stream, and a piece of one. */
void fake_http_stream(struct fake_peer *peer);
void fake_http_piece(struct fake_peer *peer, const char *text);
void fake_http_close(struct fake_peer *peer);
