#include "io/http_tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"

enum { REASON_MAX = 256 };

AUTO_DEFINE(SSL_CTX, SSL_CTX, SSL_CTX_free)
AUTO_DEFINE(X509, X509, X509_free)
AUTO_DEFINE(BIO, BIO, BIO_free_all)

/* OpenSSL's own words for what went wrong last; always false. */
static bool fail(struct err *err, const char *what, const char *which)
{
    char reason[REASON_MAX] = "unknown error";
    unsigned long code = ERR_peek_error(); /* the first: later ones say that an earlier call failed */

    if (code)
        ERR_error_string_n(code, reason, sizeof(reason));
    ERR_clear_error();
    const char *text = strrchr(reason, ':');
    return err_set(err, ERR_INPUT, "%s %s: %s", what, which, text ? text + 1 : reason);
}

/* Without a password nobody is asked: OpenSSL's default would read the terminal. */
static int give_password(char *to, int size, int writing, void *arg)
{
    const char *password = arg;
    size_t len = password ? strlen(password) : 0;

    (void)writing; /* we only read keys */
    if (size < 0 || len > (size_t)size)
        return -1;
    /* NOLINTNEXTLINE(bugprone-not-null-terminated-result): OpenSSL wants the bytes and their number */
    memcpy(to, password ? password : "", len);
    return (int)len;
}

static bool load_own(SSL_CTX *ctx, const struct http_tls *tls, struct err *err)
{
    const char *keyfile = tls->keyfile ? tls->keyfile : tls->certfile;

    if (SSL_CTX_use_certificate_chain_file(ctx, tls->certfile) != 1)
        return fail(err, "reading certificate", tls->certfile);

    SSL_CTX_set_default_passwd_cb(ctx, give_password);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, (void *)tls->keyfile_password);
    int loaded = SSL_CTX_use_PrivateKey_file(ctx, keyfile, SSL_FILETYPE_PEM);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL); /* the string is our caller's */
    if (loaded != 1)
        return fail(err, "reading private key", keyfile);
    if (SSL_CTX_check_private_key(ctx) != 1)
        return fail(err, "private key does not fit certificate", tls->certfile);
    return true;
}

static bool load_authorities(SSL_CTX *ctx, const struct http_tls *tls, struct err *err)
{
    if (!tls->cafile) {
        if (SSL_CTX_set_default_verify_paths(ctx) != 1)
            return fail(err, "reading authorities", "of the system");
        return true;
    }

    if (SSL_CTX_load_verify_locations(ctx, tls->cafile, NULL) != 1)
        return fail(err, "reading authorities", tls->cafile);

    /* Sent to clients, so that one with several certificates picks the right one. */
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(tls->cafile);
    if (!names)
        return fail(err, "reading authorities", tls->cafile);
    SSL_CTX_set_client_CA_list(ctx, names);
    return true;
}

static int verify_mode(enum http_verify verify)
{
    switch (verify) {
    case HTTP_VERIFY_NONE:
        return SSL_VERIFY_NONE;
    case HTTP_VERIFY_OPTIONAL:
        return SSL_VERIFY_PEER;
    case HTTP_VERIFY_REQUIRED:
        return SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    }
    UNREACHABLE();
}

bool http_tls_context(const struct http_tls *tls, SSL_CTX **ret_ctx, struct err *err)
{
    CHECK(tls->certfile);
    AUTO(SSL_CTX) SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    CHECK(ctx);

    ERR_clear_error();
    int done = SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    CHECK(done == 1);
    /* Every connection shakes hands in full: nobody comes in on a session that was begun under other
     * authorities, and there are no tickets whose keys would have to be rotated. */
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    (void)SSL_CTX_set_num_tickets(ctx, 0);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    /* Idle connections keep no buffers. */
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);

    if (tls->ciphers && SSL_CTX_set_cipher_list(ctx, tls->ciphers) != 1)
        return fail(err, "no cipher fits", tls->ciphers);
    if (!load_own(ctx, tls, err) || !load_authorities(ctx, tls, err))
        return false;

    SSL_CTX_set_verify(ctx, verify_mode(tls->verify), NULL);
    *ret_ctx = TAKE(ctx);
    return true;
}

bool http_tls_client_context(const struct http_tls *tls, SSL_CTX **ret_ctx, struct err *err)
{
    AUTO(SSL_CTX) SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    CHECK(ctx);

    ERR_clear_error();
    int done = SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    CHECK(done == 1);
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    if (tls->ciphers && SSL_CTX_set_cipher_list(ctx, tls->ciphers) != 1)
        return fail(err, "no cipher fits", tls->ciphers);
    if (tls->certfile && !load_own(ctx, tls, err))
        return false;
    bool verify = tls->verify == HTTP_VERIFY_REQUIRED;
    if (verify && !load_authorities(ctx, tls, err))
        return false;

    SSL_CTX_set_verify(ctx, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    *ret_ctx = TAKE(ctx);
    return true;
}

char *http_tls_peer(SSL *ssl)
{
    AUTO(X509) X509 *cert = SSL_get1_peer_certificate(ssl);
    char *text;

    if (!cert || SSL_get_verify_result(ssl) != X509_V_OK)
        return NULL;

    AUTO(BIO) BIO *out = BIO_new(BIO_s_mem());
    CHECK(out);
    (void)X509_NAME_print_ex(out, X509_get_subject_name(cert), 0, XN_FLAG_ONELINE); /* empty is fine */
    long len = BIO_get_mem_data(out, &text);
    return str_fmt("%.*s", (int)len, text ? text : "");
}

void http_tls_goodbye(SSL *ssl)
{
    if (SSL_is_init_finished(ssl) && !(SSL_get_shutdown(ssl) & SSL_SENT_SHUTDOWN))
        (void)SSL_shutdown(ssl); /* we close whether it was sent or not */
    ERR_clear_error();
}
