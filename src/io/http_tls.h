/*
 * TLS: certificate, key, ciphers and authorities, read into an SSL_CTX of either side.
 */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>

#include "base/auto.h"
#include "base/err.h"
#include "io/http_server.h"

/* Errors name the file, never the password. tls->certfile is not NULL. SSL_CTX_free() the result. */
MUST_USE bool http_tls_context(const struct http_tls *tls, SSL_CTX **ret_ctx, struct err *err);

/*
 * The client's: certfile NULL shows no certificate; HTTP_VERIFY_REQUIRED checks the server's against cafile, less does
 * not check it at all. The rest as above.
 */
MUST_USE bool http_tls_client_context(const struct http_tls *tls, SSL_CTX **ret_ctx, struct err *err);

/* Subject of the verified certificate that the peer showed, in one line; NULL if none. free() it. */
char *http_tls_peer(SSL *ssl);

/* Tell the peer that we end. Sends at most one small record; never waits. */
void http_tls_goodbye(SSL *ssl);
