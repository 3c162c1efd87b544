/*
 * TCP connections on the loop, with TLS where asked for: bytes in, bytes out.
 *
 * Nothing waits and nothing grows without bound. Opening has a deadline; what the reader of `received` leaves and what
 * the other side does not take have a maximum; what waits to be sent has a deadline that each piece taken moves on.
 * Whatever goes wrong ends the connection with one call of `closed`, from the loop, never from inside a call of ours.
 *
 * The stream belongs to whoever made or accepted it, also after `closed`, and may be freed at any time, from inside
 * its own callbacks too. What was handed over to the kernel before is still sent then, the rest is dropped.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/span.h"
#include "base/time.h"

struct http_tls;
struct loop;
struct stream;
struct stream_listener;
struct stream_tls;

enum { STREAM_ADDRESS_MAX = 80 };

struct stream_limits {
    msec open_ms;      /* from the start to `opened`, TLS included */
    msec stall_ms;     /* the longest that bytes wait for the other side to take some; also of those that the kernel has
                          sent and nobody acknowledges (TCP_USER_TIMEOUT) */
    size_t unread_max; /* bytes that `received` may leave; room for the longest message */
    size_t unsent_max; /* bytes that wait here while the kernel takes no more */
    int kernel_unsent; /* bytes the kernel takes that cannot be sent yet (TCP_NOTSENT_LOWAT); 0: as it likes */
};

struct stream_events {
    void (*opened)(void *arg);
    /* Take off the front what makes whole messages; the rest comes again, with what follows. */
    void (*received)(struct span *bytes, void *arg);
    void (*drained)(void *arg); /* all that waited has been taken; may be NULL */
    void (*closed)(const struct err *why, void *arg);
};

/*
 * Connect to a numeric address. tls NULL: plain. server: the name that a verified certificate must be for, NULL: any.
 * `events` must live as long as the stream.
 */
struct stream *stream_connect(struct loop *l, const char *address, int port, const struct stream_tls *tls,
                              const char *server, const struct stream_limits *limits,
                              const struct stream_events *events, void *arg);
void stream_free(struct stream *s);
AUTO_DEFINE(stream, struct stream, stream_free)

/* After `opened`. False: it has failed, or would with this; `closed` will tell. */
bool stream_send(struct stream *s, const void *bytes, size_t len);
/* Bytes of stream_send() that the kernel has not taken. */
size_t stream_unsent(const struct stream *s);

/* "10.0.0.1:4711", "[::1]:4711". */
const char *stream_peer(const struct stream *s);
/* The other side showed a certificate, and it was verified. */
bool stream_is_verified(const struct stream *s);

/* ---- accepting ---- */

/* A new connection, not open yet: stream_serve() or stream_free() it within the call. */
typedef void stream_accepted_fn(struct stream *take_stream, void *arg);
void stream_serve(struct stream *s, const struct stream_events *events, void *arg);

/* hosts as in io/http_listen.h, looked up here and now; tls must live as long as the listener. port 0: any free one. */
MUST_USE bool stream_listen(struct loop *l, const char *hosts, int port, const struct stream_tls *tls,
                            const struct stream_limits *limits, stream_accepted_fn *fn, void *arg,
                            struct stream_listener **ret_listener, struct err *err);
void stream_listener_free(struct stream_listener *s);
AUTO_DEFINE(stream_listener, struct stream_listener, stream_listener_free)
int stream_listener_port(const struct stream_listener *s);
/* For connections from now on; NULL: plain. */
void stream_listener_tls(struct stream_listener *s, const struct stream_tls *tls);

/* ---- TLS ---- */

/*
 * Of the connecting side or of the accepting one, as `files` says: verify REQUIRED checks the other side's certificate
 * against cafile. Whatever such a certificate was issued for (client, server) will do: peers are both. A listener needs
 * it as long as it lives, a stream only while it is made.
 */
enum stream_side { STREAM_CONNECTS, STREAM_ACCEPTS };
MUST_USE bool stream_tls_new(enum stream_side side, const struct http_tls *files, struct stream_tls **ret_tls,
                             struct err *err);
void stream_tls_free(struct stream_tls *t);
AUTO_DEFINE(stream_tls, struct stream_tls, stream_tls_free)
