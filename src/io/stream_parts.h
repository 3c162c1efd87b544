/*
 * What the parts of stream.h share.
 */
#pragma once

#include <openssl/ssl.h>

#include "io/stream.h"

struct stream_tls {
    enum stream_side side;
    SSL_CTX *ctx;
};

/* A new session for a descriptor; server NULL: the certificate's name does not matter. */
SSL *stream_tls_session(const struct stream_tls *t, int fd, const char *server);

/* A socket that accept() gave; waits for stream_serve(). */
struct stream *stream_accepted(struct loop *l, int take_fd, const struct stream_tls *tls,
                               const struct stream_limits *limits);
