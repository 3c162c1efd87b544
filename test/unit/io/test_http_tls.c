/* TLS of the HTTP server: client certificates, keys with passwords, files that are wrong, and their reload. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/str.h"
#include "http_server_rig.h"
#include "test/lib/http_peer.h"
#include "test/lib/tls_files.h"

static struct peer_answer ask_tls(int port, const struct tls_files *t, const char *cert, const char *key)
{
    return peer_ask_once(&(struct peer_request){.port = port, .path = "/", .ca = t->ca, .cert = cert, .key = key});
}

static void test_client_certificates_are_asked_for_shown_and_checked(void **state)
{
    AUTO(tls_files) struct tls_files *t = tls_files_new();
    static const struct {
        enum http_verify verify;
        int without, with, alien;
        const char *seen;
    } rows[] = {
        {HTTP_VERIFY_NONE, 200, 200, 200, "cert=none"},
        {HTTP_VERIFY_OPTIONAL, 200, 200, 0, "cert=CN = admin"},
        {HTTP_VERIFY_REQUIRED, 0, 200, 0, "cert=CN = admin"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_server_conf conf = server_with_tls(t, rows[i].verify);
        int port = server_start(&conf);
        struct peer_answer without = ask_tls(port, t, NULL, NULL);
        struct peer_answer with = ask_tls(port, t, t->client_cert, t->client_key);
        struct peer_answer alien = ask_tls(port, t, t->alien_cert, t->alien_key);

        assert_int_equal(without.status, rows[i].without);
        assert_int_equal(with.status, rows[i].with);
        assert_int_equal(alien.status, rows[i].alien);
        assert_non_null(strstr(with.body, rows[i].seen));
        if (rows[i].without)
            assert_non_null(strstr(without.body, "cert=none"));
        peer_answer_deinit(&without);
        peer_answer_deinit(&with);
        peer_answer_deinit(&alien);
        (void)server_stop(state);
    }
}

static void test_a_bare_answer_over_tls_ends_in_good_order(void **state)
{
    AUTO(tls_files) struct tls_files *t = tls_files_new();
    struct http_server_conf conf = server_with_tls(t, HTTP_VERIFY_NONE);
    int port = server_start(&conf);

    (void)state;
    for (int i = 0; i < 5; i++) { /* without a close of TLS, libcurl reports an error */
        struct peer_answer a = peer_ask_once(&(struct peer_request){
            .port = port, .method = "OPTIONS", .path = "/bare", .ca = t->ca, .http_version = CURL_HTTP_VERSION_1_0});
        assert_int_equal(a.status, 503);
        peer_answer_deinit(&a);
    }
}

static void test_a_key_with_a_password_is_opened_and_the_password_is_never_in_an_error(void **state)
{
    AUTO(tls_files) struct tls_files *t = tls_files_new();
    struct http_server_conf conf = server_with_tls(t, HTTP_VERIFY_NONE);
    struct http_server *none = NULL;
    struct err err;

    (void)state;
    conf.tls.keyfile = t->locked_key;
    conf.tls.keyfile_password = "open barley";
    assert_false(http_server_start(&conf, server_handle, NULL, &none, &err));
    assert_null(strstr(err.text, "barley"));
    assert_non_null(strstr(err.text, t->locked_key));
    conf.tls.keyfile_password = NULL; /* and nobody is asked on the terminal */
    assert_false(http_server_start(&conf, server_handle, NULL, &none, &err));

    conf.tls.keyfile_password = "sesame";
    int port = server_start(&conf);
    struct peer_answer a = ask_tls(port, t, NULL, NULL);
    assert_int_equal(a.status, 200);
    peer_answer_deinit(&a);
}

static void test_what_is_wrong_with_tls_files_is_said(void **state)
{
    AUTO(tls_files) struct tls_files *t = tls_files_new();
    struct http_server *none = NULL;
    struct err err;

    (void)state;
    struct http_server_conf missing = server_with_tls(t, HTTP_VERIFY_NONE);
    missing.tls.certfile = "/nowhere/node.crt";
    assert_false(http_server_start(&missing, server_handle, NULL, &none, &err));
    assert_string_equal(err.text, "reading certificate /nowhere/node.crt: No such file or directory");

    struct http_server_conf other_key = server_with_tls(t, HTTP_VERIFY_NONE);
    other_key.tls.keyfile = t->client_key;
    assert_false(http_server_start(&other_key, server_handle, NULL, &none, &err));
    assert_non_null(strstr(err.text, "client.key"));

    struct http_server_conf no_ca = server_with_tls(t, HTTP_VERIFY_REQUIRED);
    no_ca.tls.cafile = "/nowhere/ca.crt";
    assert_false(http_server_start(&no_ca, server_handle, NULL, &none, &err));
    assert_true(str_starts(err.text, "reading authorities /nowhere/ca.crt: "));

    struct http_server_conf ciphers = server_with_tls(t, HTTP_VERIFY_NONE);
    ciphers.tls.ciphers = "NO-SUCH-CIPHER";
    assert_false(http_server_start(&ciphers, server_handle, NULL, &none, &err));
    assert_true(str_starts(err.text, "no cipher fits NO-SUCH-CIPHER"));
    assert_null(none);
}

static void test_reload_serves_the_new_certificate_and_ends_old_connections_after_their_request(void **state)
{
    AUTO(tls_files) struct tls_files *t = tls_files_new();
    struct http_server_conf conf = server_with_tls(t, HTTP_VERIFY_NONE);
    int port = server_start(&conf);
    AUTO(peer) struct peer *p = peer_new();
    const struct peer_request ask = {.port = port, .path = "/", .ca = t->ca};
    struct peer_answer before = peer_ask(p, &ask);

    (void)state;
    assert_non_null(strstr(before.cert, "CN = node"));
    tls_files_renew(t, "renewed");
    struct peer_answer unasked = peer_ask(p, &ask);
    assert_int_equal(unasked.connects, 0); /* nothing happens by itself */

    server_reload(&conf);
    struct peer_answer after = peer_ask(p, &ask);
    assert_int_equal(after.status, 200);
    assert_int_equal(after.connects, 1);
    assert_non_null(strstr(after.cert, "CN = renewed"));
    peer_answer_deinit(&before);
    peer_answer_deinit(&unasked);
    peer_answer_deinit(&after);
}

static void test_a_reload_that_fails_leaves_everything_as_it_was(void **state)
{
    AUTO(tls_files) struct tls_files *t = tls_files_new();
    struct http_server_conf conf = server_with_tls(t, HTTP_VERIFY_NONE);
    int port = server_start(&conf);
    struct err err;

    (void)state;
    struct http_server_conf bad = conf;
    bad.tls.certfile = "/nowhere/node.crt";
    assert_false(http_server_reload(server_current, &bad, &err));
    assert_non_null(strstr(err.text, "/nowhere/node.crt"));

    int taken = peer_connect(port); /* some port of ours that is in use */
    struct sockaddr_in at;
    socklen_t len = sizeof(at);
    assert_int_equal(getsockname(taken, (struct sockaddr *)&at, &len), 0);
    (void)close(taken);
    int holder = socket(AF_INET, SOCK_STREAM, 0);
    at.sin_port = 0;
    assert_int_equal(bind(holder, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(holder, 1), 0);
    assert_int_equal(getsockname(holder, (struct sockaddr *)&at, &len), 0);
    bad = conf;
    bad.port = ntohs(at.sin_port);
    assert_false(http_server_reload(server_current, &bad, &err));
    assert_int_equal(err.code, ERR_SYS);
    assert_int_equal(err.sys_errno, EADDRINUSE);
    assert_true(str_starts(err.text, "listening on 127.0.0.1, port "));
    (void)close(holder);

    struct peer_answer a = ask_tls(port, t, NULL, NULL);
    assert_int_equal(a.status, 200);
    peer_answer_deinit(&a);
}

static void test_reload_turns_tls_on_and_off_on_the_same_address(void **state)
{
    AUTO(tls_files) struct tls_files *t = tls_files_new();
    int port = server_start(&server_plain);
    struct http_server_conf conf = server_with_tls(t, HTTP_VERIFY_NONE);

    (void)state;
    assert_works(port);
    server_reload(&conf);
    struct peer_answer secure = ask_tls(port, t, NULL, NULL);
    assert_int_equal(secure.status, 200);
    peer_answer_deinit(&secure);
    struct peer_answer open = peer_ask_once(&(struct peer_request){.port = port, .path = "/"});
    assert_int_equal(open.status, 0);
    peer_answer_deinit(&open);
    server_reload(&server_plain);
    assert_works(port);
}

#define TEST(name) cmocka_unit_test_teardown(name, server_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_client_certificates_are_asked_for_shown_and_checked),
        TEST(test_a_bare_answer_over_tls_ends_in_good_order),
        TEST(test_a_key_with_a_password_is_opened_and_the_password_is_never_in_an_error),
        TEST(test_what_is_wrong_with_tls_files_is_said),
        TEST(test_reload_serves_the_new_certificate_and_ends_old_connections_after_their_request),
        TEST(test_a_reload_that_fails_leaves_everything_as_it_was),
        TEST(test_reload_turns_tls_on_and_off_on_the_same_address),
    };

    /* The pieces that only libcurl's first use would make, before there are threads. */
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return failed;
}
