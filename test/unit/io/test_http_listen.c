/* Where the HTTP server listens: several hosts of all kinds, addresses that are taken, and moving by reload. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/str.h"
#include "http_server_rig.h"
#include "test/lib/http_peer.h"

/* A port that was free a moment ago. */
static int free_port(void)
{
    int port = server_start(&server_plain);

    http_server_stop(TAKE(server_current));
    return port;
}

static void test_several_hosts_are_listened_on_and_those_of_all_kinds_too(void **state)
{
    static const char *const hosts[] = {"127.0.0.1, 127.0.0.2", "*", "", "localhost", "[::]", "127.0.0.1,127.0.0.1"};

    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        struct http_server_conf conf = server_plain;
        conf.hosts = hosts[i];
        conf.port = free_port();
        int port = server_start(&conf);
        bool only_ipv6 = str_eq(hosts[i], "[::]");
        if (!only_ipv6)
            assert_works(port);
        if (only_ipv6 || str_eq(hosts[i], "*")) {
            int fd = socket(AF_INET6, SOCK_STREAM, 0);
            struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
            at.sin6_addr = in6addr_loopback;
            assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
            peer_send(fd, "GET / HTTP/1.0\r\n\r\n");
            char *got = peer_read(fd, WAIT_MS, NULL);
            assert_non_null(strstr(got, "peer=::1 "));
            free(got);
            (void)close(fd);
        }
        (void)server_stop(state);
    }
}

static void test_an_address_that_cannot_be_had_is_named(void **state)
{
    struct http_server *none = NULL;
    struct http_server_conf conf = server_plain;
    struct err err;
    int port = server_start(&server_plain);

    (void)state;
    conf.port = port;
    assert_false(http_server_start(&conf, server_handle, NULL, &none, &err));
    char *expected = str_fmt("listening on 127.0.0.1, port %d: Address already in use", port);
    assert_string_equal(err.text, expected);
    free(expected);

    conf.hosts = "192.0.2.1"; /* reserved for documentation: nobody has it */
    assert_false(http_server_start(&conf, server_handle, NULL, &none, &err));
    assert_true(str_starts(err.text, "listening on 192.0.2.1, port "));
    conf.hosts = "127.0.0.1,bad host name";
    assert_false(http_server_start(&conf, server_handle, NULL, &none, &err));
    assert_true(str_starts(err.text, "looking up \"bad host name\": "));
    assert_null(none);
}

static void test_reload_moves_to_another_address_also_one_that_covers_the_old(void **state)
{
    struct http_server_conf conf = server_plain;

    (void)state;
    conf.port = free_port();
    int port = server_start(&conf);
    struct http_server_conf wider = conf;
    wider.hosts = "0.0.0.0"; /* cannot be bound beside 127.0.0.1 */
    server_reload(&wider);
    assert_works(port);
    server_reload(&conf);
    assert_works(port);

    struct http_server_conf elsewhere = conf;
    elsewhere.port = 0;
    server_reload(&elsewhere);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_not_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0); /* the old one was let go */
    (void)close(fd);
}

static void test_an_old_address_is_opened_again_if_the_one_that_covers_it_cannot_be_had(void **state)
{
    struct http_server_conf conf = server_plain;
    struct err err;

    (void)state;
    conf.port = free_port();
    int port = server_start(&conf);
    int rival = socket(AF_INET, SOCK_STREAM, 0);
    const int on = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    assert_int_equal(inet_pton(AF_INET, "127.0.0.2", &at.sin_addr), 1);
    (void)setsockopt(rival, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    assert_int_equal(bind(rival, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(rival, 1), 0);

    struct http_server_conf wider = conf;
    wider.hosts = "0.0.0.0";
    assert_false(http_server_reload(server_current, &wider, &err));
    assert_true(str_starts(err.text, "listening on 0.0.0.0, port "));
    assert_works(port);
    (void)close(rival);
}

#define TEST(name) cmocka_unit_test_teardown(name, server_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_several_hosts_are_listened_on_and_those_of_all_kinds_too),
        TEST(test_an_address_that_cannot_be_had_is_named),
        TEST(test_reload_moves_to_another_address_also_one_that_covers_the_old),
        TEST(test_an_old_address_is_opened_again_if_the_one_that_covers_it_cannot_be_had),
    };

    /* The pieces that only libcurl's first use would make, before there are threads. */
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return failed;
}
