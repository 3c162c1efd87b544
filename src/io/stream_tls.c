#include <arpa/inet.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/str.h"
#include "io/http_tls.h"
#include "io/stream_parts.h"

bool stream_tls_new(enum stream_side side, const struct http_tls *files, struct stream_tls **ret_tls, struct err *err)
{
    SSL_CTX *ctx = NULL;

    if (side == STREAM_CONNECTS ? !http_tls_client_context(files, &ctx, err) : !http_tls_context(files, &ctx, err))
        return false;

    int done = X509_VERIFY_PARAM_set_purpose(SSL_CTX_get0_param(ctx), X509_PURPOSE_ANY);
    CHECK(done == 1);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    struct stream_tls *t = mem_zero(1, sizeof(*t));
    *t = (struct stream_tls){side, ctx};
    *ret_tls = t;
    return true;
}

void stream_tls_free(struct stream_tls *t)
{
    if (!t)
        return;
    SSL_CTX_free(t->ctx); /* sessions have references of their own */
    free(t);
}

/* An address is looked for among the certificate's addresses, a name among its names (RFC 6125). */
static void expect(SSL *ssl, const char *server)
{
    unsigned char address[sizeof(struct in6_addr)];
    bool numeric = inet_pton(AF_INET, server, address) == 1 || inet_pton(AF_INET6, server, address) == 1;
    int done = numeric ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), server) : SSL_set1_host(ssl, server);

    CHECK(done == 1);
    if (!numeric)
        (void)SSL_set_tlsext_host_name(ssl, server); /* without it the server shows its first certificate */
}

SSL *stream_tls_session(const struct stream_tls *t, int fd, const char *server)
{
    SSL *ssl = SSL_new(t->ctx);

    CHECK(ssl);
    int done = SSL_set_fd(ssl, fd);
    CHECK(done == 1);
    if (t->side == STREAM_ACCEPTS) {
        SSL_set_accept_state(ssl);
        return ssl;
    }
    SSL_set_connect_state(ssl);
    if (server)
        expect(ssl, server);
    return ssl;
}
