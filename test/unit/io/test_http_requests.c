/* One HTTP server as its clients see it: requests and answers, now or later, from any thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/str.h"
#include "http_server_rig.h"
#include "test/lib/http_peer.h"

static void assert_talk(int port, const char *request, const char *answer)
{
    char *got = peer_talk(port, request);

    assert_string_equal(got, answer);
    free(got);
}

static void assert_talk_begins(int port, const char *request, const char *begin)
{
    char *got = peer_talk(port, request);

    if (!str_starts(got, begin))
        fail_msg("got \"%.200s\", not \"%s…\"", got, begin);
    free(got);
}

/* ---- asking and answering ---- */

static void test_a_request_arrives_with_method_path_query_and_body(void **state)
{
    int port = server_start(&server_plain);
    struct peer_answer a = peer_ask_once(
        &(struct peer_request){.port = port, .method = "PATCH", .path = "/config/x?a=b%20c&d", .body = "{\"ttl\":20}"});

    (void)state;
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "PATCH /config/x ?a=b%20c&d peer=127.0.0.1 cert=none len=10 body={\"ttl\":20}");
    char *length = str_fmt("\r\nContent-Length: %zu\r\n", strlen(a.body));
    assert_non_null(strstr(a.headers, length));
    free(length);
    assert_non_null(strstr(a.headers, "Content-Type: text/plain\r\n"));
    assert_non_null(strstr(a.headers, "Date: "));
    peer_answer_deinit(&a);
}

static void test_targets_are_split_into_path_and_query(void **state)
{
    static const char *const rows[][2] = {
        {"/", "GET / ?"},
        {"/a/b?c=d&e", "GET /a/b ?c=d&e"},
        {"//a?b?c", "GET /a ?b?c"},
        {"/a#f?b", "GET /a ?"},
        {"/a?b#f", "GET /a ?b"},
        {"/a%20b;c", "GET /a%20b;c ?"},
        {"http://host:80/a?b", "GET /a ?b"},
        {"http://host", "GET / ?"},
        {"http://host?b", "GET / ?b"},
        {"/a?u=http://host/x", "GET /a ?u=http://host/x"},
    };
    int port = server_start(&server_plain);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(cstr) char *request = str_fmt("GET %s HTTP/1.0\r\n\r\n", rows[i][0]);
        AUTO(cstr) char *wanted = str_fmt("\r\n\r\n%s peer=", rows[i][1]);
        AUTO(cstr) char *got = peer_talk(port, request);
        if (!strstr(got, wanted))
            fail_msg("%s: %s", rows[i][0], got);
    }
}

static void test_every_method_of_the_contract_arrives_and_no_other(void **state)
{
    static const char *const methods[] = {"GET", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"};
    int port = server_start(&server_plain);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        struct peer_answer a = peer_ask_once(&(struct peer_request){.port = port, .method = methods[i], .path = "/"});
        assert_int_equal(a.status, 200);
        assert_true(str_starts(a.body, methods[i]));
        peer_answer_deinit(&a);
    }
    assert_talk_begins(port, "TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 501 ");
    assert_talk_begins(port, "BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 501 ");
    assert_works(port);
}

static void test_a_connection_of_http_1_1_serves_several_requests(void **state)
{
    int port = server_start(&server_plain);
    AUTO(peer) struct peer *p = peer_new();

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct peer_answer a = peer_ask(p, &(struct peer_request){.port = port, .path = "/"});
        assert_int_equal(a.status, 200);
        assert_int_equal(a.connects, i == 0 ? 1 : 0);
        peer_answer_deinit(&a);
    }
}

static void test_http_1_0_gets_http_1_0_and_the_end_of_the_connection(void **state)
{
    int port = server_start(&server_plain);
    static const char *const requests[] = {
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        bool closed;
        int fd = peer_connect(port);
        peer_send(fd, requests[i]);
        char *got = peer_read(fd, WAIT_MS, &closed);
        assert_true(closed);
        assert_true(str_starts(got, "HTTP/1.0 200 OK\r\n"));
        assert_non_null(strstr(got, "Content-Length: "));
        assert_null(strstr(got, "keep-alive"));
        assert_true(str_ends(got, "GET / ? peer=127.0.0.1 cert=none len=0 body="));
        free(got);
        (void)close(fd);
    }
}

static void test_a_client_that_asks_to_close_is_closed(void **state)
{
    int port = server_start(&server_plain);
    bool closed;
    int fd = peer_connect(port);

    (void)state;
    peer_send(fd, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    char *got = peer_read(fd, WAIT_MS, &closed);
    assert_true(closed);
    assert_non_null(strstr(got, "Connection: close\r\n"));
    free(got);
    (void)close(fd);
}

static void test_a_bare_answer_is_a_status_line_and_the_end(void **state)
{
    static const char *const forms[] = {
        "HEAD /bare HTTP/1.0\r\n\r\n",
        "OPTIONS /bare HTTP/1.0\r\n\r\n",
        "OPTIONS /bare HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
        "GET /bare HTTP/1.1\r\nHost: x\r\n\r\n",
        "OPTIONS /bare HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    };
    int port = server_start(&server_plain);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++)
        assert_talk(port, forms[i], "HTTP/1.0 503 Service Unavailable\r\n\r\n");
}

static void test_requests_sent_at_once_are_answered_in_turn(void **state)
{
    int port = server_start(&server_plain);

    (void)state;
    char *got = peer_talk(port, "GET /one HTTP/1.1\r\nHost: x\r\n\r\nGET /two HTTP/1.1\r\nHost: x\r\n\r\n"
                                "GET /three HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    const char *one = strstr(got, "GET /one");
    const char *two = strstr(got, "GET /two");
    const char *three = strstr(got, "GET /three");
    assert_true(one && two && three && one < two && two < three);
    free(got);
}

static void test_a_client_that_has_nothing_more_to_say_still_gets_its_answer(void **state)
{
    static const char *const requests[] = {"GET /later HTTP/1.1\r\nHost: x\r\n\r\n", "HEAD /bare HTTP/1.0\r\n\r\n"};
    static const char *const ends[] = {"later", "HTTP/1.0 503 Service Unavailable\r\n\r\n"};
    int port = server_start(&server_plain);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        int fd = peer_connect(port);
        peer_send(fd, requests[i]);
        (void)shutdown(fd, SHUT_WR);
        char *got = peer_read(fd, WAIT_MS, NULL);
        assert_true(str_ends(got, ends[i]));
        free(got);
        (void)close(fd);
    }
}

static void test_what_cannot_be_read_is_a_bad_request(void **state)
{
    int port = server_start(&server_plain);
    struct buf huge = BUF_EMPTY;

    (void)state;
    assert_talk_begins(port, "GET / HTTP/1.1\r\nno colon here\r\n\r\n", "HTTP/1.1 400 ");
    assert_talk_begins(port, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ten\r\n\r\n", "HTTP/1.1 400 ");
    buf_add_str(&huge, "GET / HTTP/1.1\r\nX: ");
    for (int i = 0; i < 20 * 1024; i++)
        buf_add_char(&huge, 'x');
    buf_add_str(&huge, "\r\n\r\n");
    assert_talk_begins(port, buf_cstr(&huge), "HTTP/1.1 400 ");
    buf_deinit(&huge);
    assert_works(port);
}

static void test_a_body_up_to_the_limit_is_read_and_one_above_is_refused(void **state)
{
    struct http_server_conf conf = server_plain;
    char *body = mem_zero(1, 2 * 1024 * 1024 + 1);
    int port = server_start(&conf);

    (void)state;
    memset(body, 'x', conf.limits.body_max);
    struct peer_answer fits =
        peer_ask_once(&(struct peer_request){.port = port, .method = "POST", .path = "/", .body = body});
    assert_int_equal(fits.status, 200);
    assert_non_null(strstr(fits.body, "len=1048576 "));
    peer_answer_deinit(&fits);

    for (size_t len = conf.limits.body_max + 1; len <= 2 * conf.limits.body_max; len += conf.limits.body_max - 1) {
        memset(body, 'x', len);
        struct peer_answer above =
            peer_ask_once(&(struct peer_request){.port = port, .method = "POST", .path = "/", .body = body});
        assert_int_equal(above.status, 413);
        peer_answer_deinit(&above);
    }
    free(body);
    assert_works(port);
}

/* ---- answers that take their time ---- */

static void test_an_answer_may_come_later_from_another_thread_and_others_are_served_meanwhile(void **state)
{
    int port = server_start(&server_plain);
    int fd = peer_connect(port);

    (void)state;
    peer_send(fd, "GET /later HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    seen_wait(&server_seen.kept, 1);
    struct peer_answer a = peer_ask_once(&(struct peer_request){.port = port, .path = "/"});
    assert_int_equal(a.status, 200);
    assert_int_equal(atomic_load(&server_seen.answered), 0);
    peer_answer_deinit(&a);

    char *got = peer_read(fd, WAIT_MS, NULL);
    assert_true(str_ends(got, "\r\n\r\nlater"));
    assert_int_equal(atomic_load(&server_seen.expired), 0);
    free(got);
    (void)close(fd);
}

static void test_a_request_that_is_not_answered_expires(void **state)
{
    int port = server_start(&server_plain);
    struct peer_answer a = peer_ask_once(&(struct peer_request){.port = port, .path = "/slow"});

    (void)state;
    assert_int_equal(a.status, 503);
    assert_string_equal(a.body, "expired");
    assert_int_equal(atomic_load(&server_seen.expired), 1);
    peer_answer_deinit(&a);
}

static void test_an_answer_to_a_client_that_went_away_is_dropped(void **state)
{
    int port = server_start(&server_plain);
    int fd = peer_connect(port);

    (void)state;
    peer_send(fd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    seen_wait(&server_seen.kept, 1);
    (void)close(fd);
    seen_wait(&server_seen.answered, 1);
    assert_works(port);
}

static void test_requests_in_hand_are_told_when_the_server_stops(void **state)
{
    int port = server_start(&server_plain);
    int fds[3];

    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = peer_connect(port);
        peer_send(fds[i], "GET /never HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    seen_wait(&server_seen.kept, 3);
    (void)server_stop(state);
    assert_int_equal(atomic_load(&server_seen.gone), 3);
    assert_int_equal(atomic_load(&server_seen.expired), 0);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        bool closed;
        char *got = peer_read(fds[i], WAIT_MS, &closed);
        assert_true(closed);
        assert_string_equal(got, "");
        free(got);
        (void)close(fds[i]);
    }
}

#define TEST(name) cmocka_unit_test_teardown(name, server_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_request_arrives_with_method_path_query_and_body),
        TEST(test_targets_are_split_into_path_and_query),
        TEST(test_every_method_of_the_contract_arrives_and_no_other),
        TEST(test_a_connection_of_http_1_1_serves_several_requests),
        TEST(test_http_1_0_gets_http_1_0_and_the_end_of_the_connection),
        TEST(test_a_client_that_asks_to_close_is_closed),
        TEST(test_a_bare_answer_is_a_status_line_and_the_end),
        TEST(test_requests_sent_at_once_are_answered_in_turn),
        TEST(test_a_client_that_has_nothing_more_to_say_still_gets_its_answer),
        TEST(test_what_cannot_be_read_is_a_bad_request),
        TEST(test_a_body_up_to_the_limit_is_read_and_one_above_is_refused),
        TEST(test_an_answer_may_come_later_from_another_thread_and_others_are_served_meanwhile),
        TEST(test_a_request_that_is_not_answered_expires),
        TEST(test_an_answer_to_a_client_that_went_away_is_dropped),
        TEST(test_requests_in_hand_are_told_when_the_server_stops),
    };

    /* The pieces that only libcurl's first use would make, before there are threads. */
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return failed;
}
