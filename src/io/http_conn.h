/*
 * The connections of an HTTP server and what is asked on them. Everything here happens in its thread.
 *
 * evhttp reads, parses and writes; this keeps count, sets the limits and decides who has to go. The
 * functions on requests that the handler uses are declared in io/http_server.h.
 */
#pragma once

#include <event2/event.h>
#include <event2/http.h>
#include <openssl/ssl.h>
#include <stdbool.h>

#include "base/list.h"
#include "io/http_server.h"

struct http_conns {          /* embedded in the server */
    struct event_base *base; /* the server's */
    struct evhttp *http;
    http_handler_fn *handler;
    void *arg;
    struct event *arrival;
    SSL_CTX *tls; /* NULL: plain */
    struct http_limits limits;
    unsigned int generation; /* of the configuration */
    struct list conns;       /* by time of the last move, the longest ago first */
    struct list arrivals;    /* accepted, not yet in conns */
    int count;               /* of both */
    struct list kept;        /* requests that wait for their answer */
};

/* Takes over what evhttp does with connections and requests. */
void http_conns_init(struct http_conns *cs, struct event_base *base, http_handler_fn *handler, void *arg);
/* Kept requests are told that they are gone; everything is closed, evhttp with its listeners freed. */
void http_conns_deinit(struct http_conns *cs);
/* For connections from now on; those that exist end after the request they are at. */
void http_conns_configure(struct http_conns *cs, SSL_CTX *take_tls, const struct http_limits *limits);
