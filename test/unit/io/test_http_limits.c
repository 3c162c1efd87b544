/* Bad manners: silent, slow and too many connections cost an HTTP server nothing that others need. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <curl/curl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/str.h"
#include "http_server_rig.h"
#include "io/loop.h"
#include "test/lib/http_peer.h"
#include "test/lib/tls_files.h"

enum {
    SILENT = 100,
    US_PER_MS = 1000,
};

/* An answer needs about a millisecond; one that had to wait for silent connections would need five seconds. */
static const double PROMPT_S = 2;

/* The connection is closed, and not before from_ms. */
static void assert_thrown_out(int fd, msec from_ms)
{
    msec begin_ms = loop_clock_ms();
    bool closed;
    char *got = peer_read(fd, WAIT_MS, &closed);
    msec took_ms = loop_clock_ms() - begin_ms;

    assert_true(closed);
    assert_true(took_ms + 20 >= from_ms);
    free(got);
    (void)close(fd);
}

static void test_silent_slow_and_idle_connections_are_closed_at_their_limits(void **state)
{
    struct http_server_conf conf = server_plain;

    (void)state;
    conf.limits.hello_ms = 300;
    conf.limits.request_ms = 400;
    conf.limits.idle_ms = 200;
    int port = server_start(&conf);

    assert_thrown_out(peer_connect(port), conf.limits.hello_ms);

    int headers = peer_connect(port);
    peer_send(headers, "GET / HTTP/1.1\r\nHost:");
    assert_thrown_out(headers, conf.limits.request_ms);

    int body = peer_connect(port);
    peer_send(body, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345");
    assert_thrown_out(body, conf.limits.request_ms);

    int idle = peer_connect(port);
    peer_send(idle, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_thrown_out(idle, conf.limits.idle_ms);
}

static void test_a_request_that_trickles_in_is_bounded_as_a_whole(void **state)
{
    struct http_server_conf conf = server_plain;
    bool closed = false;

    (void)state;
    conf.limits.request_ms = 500;
    int port = server_start(&conf);
    int fd = peer_connect(port);

    for (int i = 0; i < 40 && !closed; i++) {
        peer_send(fd, "X");
        free(peer_read(fd, 50, &closed)); /* each byte well within the limit */
    }
    assert_true(closed);
    (void)close(fd);
}

static void test_a_client_that_does_not_take_its_answer_is_closed(void **state)
{
    struct http_server_conf conf = server_plain;

    (void)state;
    conf.limits.reply_ms = 300;
    int port = server_start(&conf);
    int fd = peer_connect_narrow(port);

    peer_send(fd, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
    (void)usleep(3 * 300 * US_PER_MS);
    assert_works(port);
    bool closed;
    char *got = peer_read(fd, WAIT_MS, &closed); /* what the kernel had taken, then the end */
    assert_true(closed);
    free(got);
    (void)close(fd);
}

static void test_a_hundred_silent_tls_connections_slow_nobody(void **state)
{
    AUTO(tls_files) struct tls_files *t = tls_files_new();
    struct http_server_conf conf = server_with_tls(t, HTTP_VERIFY_OPTIONAL);
    int port = server_start(&conf);
    int silent[SILENT];

    (void)state;
    for (int i = 0; i < SILENT; i++) {
        silent[i] = peer_connect(port);
        if (i % 2)
            peer_send(silent[i], "\x16\x03\x01"); /* the beginning of a handshake */
    }
    for (int i = 0; i < 10; i++) {
        struct peer_answer a = peer_ask_once(&(struct peer_request){.port = port, .path = "/", .ca = t->ca});
        assert_int_equal(a.status, 200);
        assert_true(a.took_s < PROMPT_S);
        peer_answer_deinit(&a);
    }
    for (int i = 0; i < SILENT; i++)
        (void)close(silent[i]);
}

static void test_in_a_full_house_the_longest_silent_has_to_go(void **state)
{
    struct http_server_conf conf = server_plain;
    int silent[SILENT];
    int closed_count = 0;

    (void)state;
    conf.limits.conn_max = SILENT / 2;
    int port = server_start(&conf);
    for (int i = 0; i < SILENT; i++)
        silent[i] = peer_connect(port);
    for (int i = 0; i < 10; i++) {
        struct peer_answer a = peer_ask_once(&(struct peer_request){.port = port, .path = "/"});
        assert_int_equal(a.status, 200);
        assert_true(a.took_s < PROMPT_S);
        peer_answer_deinit(&a);
    }
    for (int i = 0; i < SILENT; i++) {
        bool closed;
        free(peer_read(silent[i], 1, &closed));
        closed_count += closed;
        if (i < SILENT / 2)
            assert_true(closed); /* the older half */
        (void)close(silent[i]);
    }
    assert_true(closed_count >= SILENT / 2 && closed_count < SILENT);
}

static void test_requests_in_hand_are_never_thrown_out_for_new_ones(void **state)
{
    struct http_server_conf conf = server_plain;
    int busy[4];

    (void)state;
    conf.limits.conn_max = ARRAY_LEN(busy);
    int port = server_start(&conf);
    for (size_t i = 0; i < ARRAY_LEN(busy); i++) {
        busy[i] = peer_connect(port);
        peer_send(busy[i], "GET /later HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    }
    seen_wait(&server_seen.kept, ARRAY_LEN(busy));
    assert_thrown_out(peer_connect(port), 0); /* nobody can be asked to leave: the new one is */
    for (size_t i = 0; i < ARRAY_LEN(busy); i++) {
        char *got = peer_read(busy[i], WAIT_MS, NULL);
        assert_true(str_ends(got, "later"));
        free(got);
        (void)close(busy[i]);
    }
    assert_works(port);
}

#define TEST(name) cmocka_unit_test_teardown(name, server_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_silent_slow_and_idle_connections_are_closed_at_their_limits),
        TEST(test_a_request_that_trickles_in_is_bounded_as_a_whole),
        TEST(test_a_client_that_does_not_take_its_answer_is_closed),
        TEST(test_a_hundred_silent_tls_connections_slow_nobody),
        TEST(test_in_a_full_house_the_longest_silent_has_to_go),
        TEST(test_requests_in_hand_are_never_thrown_out_for_new_ones),
    };

    /* The pieces that only libcurl's first use would make, before there are threads. */
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return failed;
}
