#include "io/http_client.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/str.h"
#include "io/child.h"
#include "io/loop.h"
#include "test/lib/fake_http.h"
#include "test/lib/tls_files.h"

enum { PATIENCE_MS = 20000, RESOLVER_SLEEP_S = 3 };

/* libcurl's resolver threads come here: one name takes longer than anybody waits. */
/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): libc's names are reserved */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **res)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (str_eq(node, "slow.test"))
        (void)sleep(RESOLVER_SLEEP_S);
    return real(node, service, hints, res);
}

/* ---- a server that does what the path says ---- */

#define REPLY_OK "HTTP/1.1 200 OK\r\nX-Kind:  answer \r\nContent-Length: 5\r\n\r\nhello"

static void serve(struct fake_peer *peer, const char *text, const char *path, const char *body, void *arg)
{
    if (str_eq(path, "/ok")) {
        fake_http_send(peer, REPLY_OK);
    } else if (str_eq(path, "/refused")) {
        fake_http_send(peer, "HTTP/1.1 400 Bad Request\r\nContent-Length: 4\r\n\r\nnope");
    } else if (str_eq(path, "/continue")) {
        fake_http_send(peer, "HTTP/1.1 100 Continue\r\nX-Early: 1\r\n\r\n" REPLY_OK);
    } else if (str_eq(path, "/redirect")) {
        fake_http_send(peer, "HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n");
    } else if (str_eq(path, "/cut")) {
        fake_http_send(peer, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello");
        fake_http_close(peer);
    } else if (str_eq(path, "/gone")) {
        fake_http_close(peer);
    } else if (str_eq(path, "/stream")) {
        fake_http_stream(peer);
        fake_http_piece(peer, "one");
    } else {
        assert_string_equal(path, "/silent");
    }
}

/* ---- a call and what came of it ---- */

struct outcome {
    int count; /* of callbacks */
    int status;
    bool sent;
    struct buf body, pieces;
    char kind[32]; /* of the header X-Kind */
    bool early;    /* a header of "100 Continue" is visible */
    struct err err;
};

static struct loop *loop;
static struct fake_http server;
static struct http_client *client;
static struct outcome outcomes[2];
static struct http_call *calls[2];
static bool free_in_piece, cancel_other_in_piece, cancel_other_in_done, free_in_done;

static int setup(void **state)
{
    loop = loop_new();
    fake_http_start(&server, loop, 16, serve, NULL);
    client = http_client_new(loop, &(struct http_client_conf){0});
    memset(outcomes, 0, sizeof(outcomes));
    free_in_piece = cancel_other_in_piece = cancel_other_in_done = free_in_done = false;
    return 0;
}

static int teardown(void **state)
{
    http_client_free(client);
    fake_http_stop(&server);
    loop_free(loop);
    for (int i = 0; i < 2; i++) {
        buf_deinit(&outcomes[i].body);
        buf_deinit(&outcomes[i].pieces);
    }
    return 0;
}

static void on_done(const struct http_reply *r, void *arg)
{
    struct outcome *o = arg;

    o->count++;
    o->status = r->status;
    o->sent = r->sent;
    o->err = r->err;
    buf_clear(&o->body);
    buf_add(&o->body, r->body, r->body_len);
    const char *kind = http_reply_header(r, "x-kind");
    str_copy(o->kind, sizeof(o->kind), kind ? kind : "");
    o->early = http_reply_header(r, "X-Early") != NULL;
    if (cancel_other_in_done)
        http_call_cancel(calls[o == &outcomes[0] ? 1 : 0]);
    if (free_in_done) {
        http_client_free(client);
        client = NULL;
    }
}

static void on_piece(const char *bytes, size_t len, void *arg)
{
    struct outcome *o = arg;

    buf_add(&o->pieces, bytes, len);
    if (cancel_other_in_piece)
        http_call_cancel(calls[1]);
    if (free_in_piece) {
        http_client_free(client);
        client = NULL;
    }
}

static void send_to(int i, const char *url, const char *method, const char *body, msec budget_ms)
{
    struct http_request r = {
        .method = method, .url = url, .body = body, .body_len = body ? strlen(body) : 0, .budget_ms = budget_ms};
    static const char *const headers[] = {"X-Mine: 1", NULL};

    r.headers = headers;
    if (!budget_ms)
        r.piece = on_piece;
    calls[i] = http_client_send(client, &r, on_done, &outcomes[i]);
}

static void send_path(int i, const char *method, const char *path, const char *body, msec budget_ms)
{
    AUTO(cstr) char *url = str_fmt("http://127.0.0.1:%d%s", server.port, path);

    send_to(i, url, method, body, budget_ms);
}

static void wait_for(const int *count, int want)
{
    msec end_ms = loop_clock_ms() + PATIENCE_MS;

    while (*count < want && loop_clock_ms() < end_ms)
        loop_turn(loop, 100);
    assert_int_equal(*count, want);
}

static void idle(msec ms)
{
    msec end_ms = loop_clock_ms() + ms;

    while (loop_clock_ms() < end_ms)
        loop_turn(loop, 10);
}

/* ---- tests ---- */

static void test_a_call_returns_at_once_and_its_answer_comes_from_the_loop(void **state)
{
    send_path(0, "GET", "/ok", NULL, 5000);
    assert_int_equal(outcomes[0].count, 0);
    wait_for(&outcomes[0].count, 1);
    assert_int_equal(outcomes[0].status, 200);
    assert_true(outcomes[0].sent);
    assert_string_equal(buf_cstr(&outcomes[0].body), "hello");
    assert_string_equal(outcomes[0].kind, "answer");
    assert_int_equal(outcomes[0].err.code, ERR_NONE);
    assert_non_null(strstr(buf_cstr(&server.last), "\r\nX-Mine: 1\r\n"));
}

static void test_an_error_status_is_an_answer(void **state)
{
    send_path(0, "POST", "/refused", "{}", 5000);
    wait_for(&outcomes[0].count, 1);
    assert_int_equal(outcomes[0].status, 400);
    assert_string_equal(buf_cstr(&outcomes[0].body), "nope");
    assert_string_equal(outcomes[0].kind, "");
}

static void test_method_body_and_type_arrive_as_given(void **state)
{
    static const char *const methods[] = {"POST", "PUT", "PATCH", "DELETE"};

    for (int i = 0; i < 4; i++) {
        send_path(0, methods[i], "/ok", "{\"a\":1}", 5000);
        wait_for(&outcomes[0].count, i + 1);
        assert_true(str_starts(buf_cstr(&server.last), methods[i]));
        assert_true(str_ends(buf_cstr(&server.last), "\r\n\r\n{\"a\":1}"));
        assert_non_null(strstr(buf_cstr(&server.last), "\r\nContent-Type: application/json\r\n"));
        assert_null(strstr(buf_cstr(&server.last), "Expect:"));
    }
    send_path(0, "HEAD", "/refused", NULL, 5000);
    wait_for(&outcomes[0].count, 5);
    assert_true(str_starts(buf_cstr(&server.last), "HEAD"));
    assert_int_equal(outcomes[0].status, 400);
}

static void test_connections_are_kept_and_reused(void **state)
{
    for (int i = 0; i < 5; i++) {
        send_path(0, "POST", "/ok", "{}", 5000);
        wait_for(&outcomes[0].count, i + 1);
    }
    assert_int_equal(server.accepted, 1);
}

static void test_headers_of_an_interim_answer_are_not_headers_of_the_answer(void **state)
{
    send_path(0, "GET", "/continue", NULL, 5000);
    wait_for(&outcomes[0].count, 1);
    assert_int_equal(outcomes[0].status, 200);
    assert_string_equal(outcomes[0].kind, "answer");
    assert_false(outcomes[0].early);
}

static void test_a_redirect_is_not_followed(void **state)
{
    send_path(0, "GET", "/redirect", NULL, 5000);
    wait_for(&outcomes[0].count, 1);
    assert_int_equal(outcomes[0].status, 302);
    assert_int_equal(server.requests, 1);
}

static void test_nobody_listening_means_not_sent(void **state)
{
    AUTO(cstr) char *url = NULL;
    struct fake_http dead;

    fake_http_start(&dead, loop, 1, serve, NULL);
    url = str_fmt("http://127.0.0.1:%d/ok", dead.port);
    fake_http_stop(&dead);
    send_to(0, url, "POST", "{}", 5000);
    wait_for(&outcomes[0].count, 1);
    assert_int_equal(outcomes[0].status, 0);
    assert_false(outcomes[0].sent);
    assert_int_equal(outcomes[0].err.code, ERR_SYS);
    assert_non_null(strstr(outcomes[0].err.text, url));
}

static void test_a_url_that_is_none_is_an_error_from_the_loop(void **state)
{
    send_to(0, "http://bad host/", "GET", NULL, 5000);
    assert_int_equal(outcomes[0].count, 0);
    wait_for(&outcomes[0].count, 1);
    assert_false(outcomes[0].sent);
    assert_int_equal(outcomes[0].err.code, ERR_INPUT);
    send_to(1, "file:///etc/passwd", "GET", NULL, 5000);
    wait_for(&outcomes[1].count, 1);
    assert_int_equal(outcomes[1].status, 0);
}

static void test_no_answer_within_the_budget_is_a_timeout_that_was_sent(void **state)
{
    msec begin_ms = loop_clock_ms();

    send_path(0, "POST", "/silent", "{}", 200);
    wait_for(&outcomes[0].count, 1);
    assert_in_range(loop_clock_ms() - begin_ms, 200, 3000);
    assert_int_equal(outcomes[0].status, 0);
    assert_true(outcomes[0].sent);
    assert_int_equal(outcomes[0].err.code, ERR_TIMEOUT);
}

/* A queue of connections that nobody accepts looks like a host that drops packets. */
static void test_a_connection_that_is_not_made_in_its_time_was_not_sent(void **state)
{
    struct fake_http full;
    int fillers[8];
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    AUTO(cstr) char *url = NULL;

    fake_http_start(&full, loop, 0, serve, NULL);
    loop_fd_events(full.watch, 0);
    at.sin_port = htons((uint16_t)full.port);
    for (size_t i = 0; i < ARRAY_LEN(fillers); i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fillers[i], (struct sockaddr *)&at, sizeof(at));
    }
    url = str_fmt("http://127.0.0.1:%d/ok", full.port);
    struct http_request r = {
        .method = "POST", .url = url, .body = "{}", .body_len = 2, .connect_ms = 300, .budget_ms = 10000};
    msec begin_ms = loop_clock_ms();
    calls[0] = http_client_send(client, &r, on_done, &outcomes[0]);
    wait_for(&outcomes[0].count, 1);
    assert_in_range(loop_clock_ms() - begin_ms, 250, 5000);
    assert_false(outcomes[0].sent);
    assert_int_equal(outcomes[0].err.code, ERR_TIMEOUT);
    for (size_t i = 0; i < ARRAY_LEN(fillers); i++)
        (void)close(fillers[i]);
    fake_http_stop(&full);
}

static void test_a_cut_answer_does_not_pass_for_a_whole_one(void **state)
{
    send_path(0, "POST", "/cut", "{}", 5000);
    wait_for(&outcomes[0].count, 1);
    assert_int_equal(outcomes[0].status, 0);
    assert_true(outcomes[0].sent);
}

static void test_a_request_that_may_act_is_not_repeated_on_a_lost_connection(void **state)
{
    static const char *const bodies[] = {"{\"do\":1}", NULL};

    for (int i = 0; i < 2; i++) {
        send_path(0, "POST", "/ok", "{}", 5000); /* leaves a connection that will be reused */
        wait_for(&outcomes[0].count, 2 * i + 1);
        int before = server.requests;
        send_path(0, "POST", "/gone", bodies[i], 5000);
        wait_for(&outcomes[0].count, 2 * i + 2);
        assert_int_equal(outcomes[0].status, 0);
        assert_true(outcomes[0].sent);
        idle(50);
        assert_int_equal(server.requests, before + 1);
    }
}

static void test_a_stream_hands_on_pieces_as_they_come_and_ends_with_done(void **state)
{
    msec end_ms = loop_clock_ms() + PATIENCE_MS;

    send_path(0, "POST", "/stream", "{}", 0);
    while (!outcomes[0].pieces.len && loop_clock_ms() < end_ms)
        loop_turn(loop, 100);
    assert_string_equal(buf_cstr(&outcomes[0].pieces), "one");
    assert_int_equal(outcomes[0].count, 0);

    fake_http_send(LIST_ENTRY(server.peers.next, struct fake_peer, link), "4\r\n two\r\n0\r\n\r\n");
    wait_for(&outcomes[0].count, 1);
    assert_string_equal(buf_cstr(&outcomes[0].pieces), "one two");
    assert_int_equal(outcomes[0].status, 200);
    assert_int_equal(outcomes[0].body.len, 0);
}

static void test_a_stream_that_breaks_ends_with_an_error(void **state)
{
    send_path(0, "POST", "/stream", "{}", 0);
    while (!outcomes[0].pieces.len)
        loop_turn(loop, 100);
    fake_http_close(LIST_ENTRY(server.peers.next, struct fake_peer, link));
    wait_for(&outcomes[0].count, 1);
    assert_int_equal(outcomes[0].status, 0);
}

static void test_a_refused_stream_has_the_refusal_as_its_body(void **state)
{
    send_path(0, "POST", "/refused", "{}", 0);
    wait_for(&outcomes[0].count, 1);
    assert_int_equal(outcomes[0].status, 400);
    assert_string_equal(buf_cstr(&outcomes[0].body), "nope");
    assert_int_equal(outcomes[0].pieces.len, 0);
}

static void test_a_cancelled_call_says_nothing_and_its_connection_is_closed(void **state)
{
    send_path(0, "POST", "/silent", "{}", 5000);
    wait_for(&server.requests, 1);
    http_call_cancel(calls[0]);
    idle(100);
    assert_int_equal(outcomes[0].count, 0);
    assert_true(list_empty(&server.peers));
}

static void test_a_stream_may_cancel_itself_and_others_from_inside_a_piece(void **state)
{
    cancel_other_in_piece = true;
    send_path(1, "POST", "/silent", "{}", 5000);
    wait_for(&server.requests, 1);
    send_path(0, "POST", "/stream", "{}", 0);
    while (!outcomes[0].pieces.len)
        loop_turn(loop, 100);
    idle(50);
    assert_int_equal(outcomes[1].count, 0);

    calls[1] = calls[0]; /* now the stream itself */
    fake_http_send(LIST_ENTRY(server.peers.prev, struct fake_peer, link), "4\r\n two\r\n0\r\n\r\n");
    idle(100);
    assert_string_equal(buf_cstr(&outcomes[0].pieces), "one two");
    assert_int_equal(outcomes[0].count, 0);
}

static void test_a_callback_may_cancel_a_call_that_is_done_too(void **state)
{
    cancel_other_in_done = true;
    send_path(0, "GET", "/ok", NULL, 5000);
    send_path(1, "GET", "/ok", NULL, 5000);
    idle(200);
    assert_int_equal(outcomes[0].count + outcomes[1].count, 1);
}

static void test_the_client_may_be_freed_from_inside_its_callbacks(void **state)
{
    free_in_done = true;
    send_path(0, "GET", "/ok", NULL, 5000);
    send_path(1, "POST", "/silent", "{}", 5000);
    wait_for(&outcomes[0].count, 1);
    assert_null(client);
    idle(50);
    assert_int_equal(outcomes[1].count, 0);

    free_in_done = false;
    free_in_piece = true;
    client = http_client_new(loop, &(struct http_client_conf){0});
    send_path(0, "POST", "/stream", "{}", 0);
    while (client)
        loop_turn(loop, 100);
    idle(50);
    assert_int_equal(outcomes[0].count, 1);

    free_in_done = true; /* by the deadline this time */
    client = http_client_new(loop, &(struct http_client_conf){0});
    send_path(0, "POST", "/silent", "{}", 50);
    wait_for(&outcomes[0].count, 2);
    assert_null(client);
}

static void test_proxies_of_the_environment_are_not_asked(void **state)
{
    (void)setenv("http_proxy", "http://127.0.0.1:1", 1);
    (void)setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    send_path(0, "GET", "/ok", NULL, 5000);
    wait_for(&outcomes[0].count, 1);
    (void)unsetenv("http_proxy");
    (void)unsetenv("ALL_PROXY");
    assert_int_equal(outcomes[0].status, 200);
}

static void test_basic_authentication_is_sent_with_the_first_request(void **state)
{
    http_client_free(client);
    client = http_client_new(loop, &(struct http_client_conf){.username = "me", .password = "secret"});
    send_path(0, "GET", "/ok", NULL, 5000);
    wait_for(&outcomes[0].count, 1);
    assert_int_equal(server.requests, 1);
    assert_non_null(strstr(buf_cstr(&server.last), "\r\nAuthorization: Basic bWU6c2VjcmV0\r\n"));
}

static void test_a_resolver_that_hangs_holds_nobody_up(void **state)
{
    msec begin_ms = loop_clock_ms();

    send_to(0, "http://slow.test/", "POST", "{}", 100);
    send_path(1, "GET", "/ok", NULL, 5000);
    wait_for(&outcomes[1].count, 1);
    wait_for(&outcomes[0].count, 1);
    assert_false(outcomes[0].sent);
    assert_int_equal(outcomes[0].err.code, ERR_TIMEOUT);
    send_to(0, "http://slow.test/", "POST", "{}", 5000);
    idle(20);
    http_call_cancel(calls[0]);
    assert_true(loop_clock_ms() - begin_ms < RESOLVER_SLEEP_S * 1000 - 500);
}

/* ---- TLS, against openssl s_server ---- */

static char tls_port[16];

static void tls_said(const char *line, bool from_stderr, void *arg)
{
    const char *colon = strrchr(line, ':');

    (void)from_stderr;
    (void)arg;
    if (str_starts(line, "ACCEPT") && colon)
        str_copy(tls_port, sizeof(tls_port), colon + 1);
}

static void tls_ended(const struct child_result *r, void *arg)
{
    (void)r;
    (void)arg;
}

static struct child *tls_server_start(const struct tls_files *files)
{
    struct child *c;
    struct err err = {0};
    msec end_ms = loop_clock_ms() + PATIENCE_MS;

    tls_port[0] = '\0';
    if (!child_start(
            loop,
            &(struct child_spec){.argv = (const char *[]){"openssl", "s_server", "-accept", "127.0.0.1:0", "-www",
                                                          "-cert", files->cert, "-key", files->key, "-CAfile",
                                                          files->ca, "-Verify", "1", "-verify_return_error", NULL},
                                 .line = tls_said},
            tls_ended, NULL, &c, &err))
        fail_msg("%s", err.text);
    while (!*tls_port && loop_clock_ms() < end_ms)
        loop_turn(loop, 100);
    return c;
}

static void tls_call(const struct http_client_conf *conf, const char *host)
{
    AUTO(cstr) char *url = str_fmt("https://%s:%s/", host, tls_port);
    int before = outcomes[0].count;

    http_client_free(client);
    client = http_client_new(loop, conf);
    send_to(0, url, "GET", NULL, 5000);
    wait_for(&outcomes[0].count, before + 1);
}

static void test_tls_verifies_the_server_and_shows_our_certificate(void **state)
{
    AUTO(tls_files) struct tls_files *files = tls_files_new();
    struct child *openssl = tls_server_start(files);
    struct http_client_conf conf = {.cacert = files->ca, .cert = files->client_cert, .key = files->client_key};

    tls_call(&conf, "127.0.0.1");
    assert_int_equal(outcomes[0].status, 200);

    tls_call(&conf, "localhost"); /* the certificate is for the address */
    assert_int_equal(outcomes[0].status, 0);
    assert_false(outcomes[0].sent);
    assert_int_equal(outcomes[0].err.code, ERR_DENIED);

    conf.insecure = true;
    tls_call(&conf, "localhost");
    assert_int_equal(outcomes[0].status, 200);

    conf.insecure = false;
    conf.cacert = NULL; /* the system's authorities do not know ours */
    tls_call(&conf, "127.0.0.1");
    assert_int_equal(outcomes[0].err.code, ERR_DENIED);

    conf = (struct http_client_conf){.cacert = files->ca}; /* the server wants a certificate */
    tls_call(&conf, "127.0.0.1");
    assert_int_equal(outcomes[0].status, 0);

    child_abandon(openssl);
    idle(50);
}

#define HTTP_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HTTP_TEST(test_a_call_returns_at_once_and_its_answer_comes_from_the_loop),
        HTTP_TEST(test_an_error_status_is_an_answer),
        HTTP_TEST(test_method_body_and_type_arrive_as_given),
        HTTP_TEST(test_connections_are_kept_and_reused),
        HTTP_TEST(test_headers_of_an_interim_answer_are_not_headers_of_the_answer),
        HTTP_TEST(test_a_redirect_is_not_followed),
        HTTP_TEST(test_nobody_listening_means_not_sent),
        HTTP_TEST(test_a_url_that_is_none_is_an_error_from_the_loop),
        HTTP_TEST(test_no_answer_within_the_budget_is_a_timeout_that_was_sent),
        HTTP_TEST(test_a_connection_that_is_not_made_in_its_time_was_not_sent),
        HTTP_TEST(test_a_cut_answer_does_not_pass_for_a_whole_one),
        HTTP_TEST(test_a_request_that_may_act_is_not_repeated_on_a_lost_connection),
        HTTP_TEST(test_a_stream_hands_on_pieces_as_they_come_and_ends_with_done),
        HTTP_TEST(test_a_stream_that_breaks_ends_with_an_error),
        HTTP_TEST(test_a_refused_stream_has_the_refusal_as_its_body),
        HTTP_TEST(test_a_cancelled_call_says_nothing_and_its_connection_is_closed),
        HTTP_TEST(test_a_stream_may_cancel_itself_and_others_from_inside_a_piece),
        HTTP_TEST(test_a_callback_may_cancel_a_call_that_is_done_too),
        HTTP_TEST(test_the_client_may_be_freed_from_inside_its_callbacks),
        HTTP_TEST(test_proxies_of_the_environment_are_not_asked),
        HTTP_TEST(test_basic_authentication_is_sent_with_the_first_request),
        HTTP_TEST(test_a_resolver_that_hangs_holds_nobody_up),
        HTTP_TEST(test_tls_verifies_the_server_and_shows_our_certificate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
