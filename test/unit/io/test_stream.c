/* Connections: both ends in one loop, or a bare socket for the end that misbehaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/str.h"
#include "io/http_server.h"
#include "io/loop.h"
#include "io/stream.h"
#include "test/lib/tls_files.h"

enum { PATIENCE_MS = 5000 };

static const struct stream_limits calm = {.open_ms = 2000, .stall_ms = 2000, .unread_max = 4096, .unsent_max = 65536};

enum free_in { FREE_NOT, FREE_OPENED, FREE_RECEIVED, FREE_DRAINED, FREE_CLOSED };

struct end {
    struct stream *stream;
    bool opened, closed;
    int drained;
    struct err why;
    struct buf got;
    size_t take_at_once; /* > 0: whole pieces of so many bytes are taken */
    enum free_in free_in;
};

static struct loop *loop;
static struct stream_listener *listener;
static struct end client, server;

static void free_if(struct end *e, enum free_in where)
{
    if (e->free_in != where)
        return;
    stream_free(e->stream);
    e->stream = NULL;
}

static void on_opened(void *arg)
{
    ((struct end *)arg)->opened = true;
    free_if(arg, FREE_OPENED);
}

static void on_received(struct span *bytes, void *arg)
{
    struct end *e = arg;
    size_t piece = e->take_at_once ? e->take_at_once : bytes->len;
    struct span front;

    while (bytes->len >= piece && bytes->len) {
        assert_true(span_take(bytes, piece, &front));
        buf_add(&e->got, front.at, front.len);
    }
    free_if(e, FREE_RECEIVED);
}

static void on_drained(void *arg)
{
    ((struct end *)arg)->drained++;
    free_if(arg, FREE_DRAINED);
}

static void on_closed(const struct err *why, void *arg)
{
    struct end *e = arg;

    assert_false(e->closed);
    e->closed = true;
    e->why = *why;
    free_if(e, FREE_CLOSED);
}

static const struct stream_events events = {on_opened, on_received, on_drained, on_closed};

static void accepted(struct stream *take_stream, void *arg)
{
    struct end *e = arg;

    assert_null(e->stream);
    e->stream = take_stream;
    stream_serve(take_stream, &events, e);
}

static int set_up(void **state)
{
    client = server = (struct end){0};
    loop = loop_new();
    return 0;
}

static int tear_down(void **state)
{
    stream_free(client.stream);
    stream_free(server.stream);
    stream_listener_free(listener);
    listener = NULL;
    buf_deinit(&client.got);
    buf_deinit(&server.got);
    loop_free(loop);
    return 0;
}

static int listen_with(const struct stream_tls *tls, const struct stream_limits *limits)
{
    struct err err = {0};

    if (!stream_listen(loop, "127.0.0.1", 0, tls, limits, accepted, &server, &listener, &err))
        fail_msg("%s", err.text);
    return stream_listener_port(listener);
}

static void connect_with(int port, const struct stream_tls *tls, const char *name, const struct stream_limits *limits)
{
    client.stream = stream_connect(loop, "127.0.0.1", port, tls, name, limits, &events, &client);
}

#define UNTIL(condition)                                                                                      \
    do {                                                                                                      \
        msec until_ms = loop_clock_ms() + PATIENCE_MS;                                                        \
        while (!(condition)) {                                                                                \
            loop_turn(loop, 50);                                                                              \
            if (loop_clock_ms() > until_ms)                                                                   \
                fail_msg("never: " #condition " (client: %s, server: %s)", client.why.text, server.why.text); \
        }                                                                                                     \
    } while (0)

static void both_open(const struct stream_limits *limits)
{
    connect_with(listen_with(NULL, &calm), NULL, NULL, limits);
    UNTIL(client.opened && server.opened);
}

/* A socket that the test reads and writes itself, at the other end of the client. */
static int bare_server(const struct stream_limits *limits)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    const int small = 4096;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    connect_with(ntohs(at.sin_port), NULL, NULL, limits);
    UNTIL(client.opened);
    int peer = accept(fd, NULL, NULL);
    assert_true(peer >= 0);
    (void)close(fd);
    return peer;
}

static void test_bytes_arrive_in_both_directions(void **state)
{
    both_open(&calm);
    assert_true(stream_send(client.stream, "ping", 4));
    assert_true(stream_send(server.stream, "pong", 4));
    UNTIL(client.got.len == 4 && server.got.len == 4);
    assert_string_equal(buf_cstr(&server.got), "ping");
    assert_string_equal(buf_cstr(&client.got), "pong");
    assert_false(stream_is_verified(client.stream));
    assert_true(str_starts(stream_peer(server.stream), "127.0.0.1:"));
}

static void test_what_the_reader_leaves_comes_again_with_what_follows(void **state)
{
    server.take_at_once = 5;
    both_open(&calm);
    assert_true(stream_send(client.stream, "abcdefg", 7));
    UNTIL(server.got.len == 5);
    assert_true(stream_send(client.stream, "hij", 3));
    UNTIL(server.got.len == 10);
    assert_string_equal(buf_cstr(&server.got), "abcdefghij");
}

static void test_more_than_the_kernel_takes_waits_and_arrives(void **state)
{
    enum { MUCH = 6 * 1024 * 1024 };
    struct stream_limits limits = calm;
    char *much = mem_zero(MUCH, 1);

    for (size_t i = 0; i < MUCH; i++)
        much[i] = (char)(i * 2654435761U >> 8);
    limits.unsent_max = MUCH;
    both_open(&limits);
    assert_true(stream_send(client.stream, much, MUCH));
    assert_true(stream_unsent(client.stream) > 0);
    UNTIL(server.got.len == MUCH);
    assert_memory_equal(server.got.at, much, MUCH);
    assert_int_equal(stream_unsent(client.stream), 0);
    assert_int_equal(client.drained, 1);
    free(much);
}

static void test_the_end_of_one_side_is_told_to_the_other(void **state)
{
    both_open(&calm);
    assert_true(stream_send(client.stream, "bye", 3));
    stream_free(client.stream);
    client.stream = NULL;
    UNTIL(server.closed);
    assert_string_equal(buf_cstr(&server.got), "bye");
    assert_false(stream_send(server.stream, "x", 1));
    loop_turn(loop, 0);
}

static void test_a_refused_connection_is_told_from_the_loop(void **state)
{
    int port = listen_with(NULL, &calm);

    stream_listener_free(listener);
    listener = NULL;
    connect_with(port, NULL, NULL, &calm);
    assert_false(client.closed);
    UNTIL(client.closed);
    assert_false(client.opened);
    assert_int_equal(client.why.code, ERR_SYS);
}

static void test_a_name_is_no_address(void **state)
{
    client.stream = stream_connect(loop, "localhost", 1, NULL, NULL, &calm, &events, &client);
    assert_false(client.closed);
    UNTIL(client.closed);
    assert_int_equal(client.why.code, ERR_INPUT);
}

static void test_opening_has_a_deadline(void **state)
{
    AUTO(tls_files) struct tls_files *t = tls_files_new();
    struct http_tls files = {.cafile = t->ca, .verify = HTTP_VERIFY_REQUIRED};
    AUTO(stream_tls) struct stream_tls *tls = NULL;
    struct stream_limits limits = calm;

    assert_true(stream_tls_new(STREAM_CONNECTS, &files, &tls, NULL));
    limits.open_ms = 50;
    connect_with(listen_with(NULL, &calm), tls, NULL, &limits); /* the other end does not know of TLS */
    UNTIL(client.closed);
    assert_false(client.opened);
    assert_int_equal(client.why.code, ERR_TIMEOUT);
}

static void test_a_peer_that_does_not_read_is_dropped_for_what_waits(void **state)
{
    struct stream_limits limits = calm;
    char bytes[1024] = {0};
    size_t sent = 0;

    limits.kernel_unsent = 4096;
    int peer = bare_server(&limits);
    while (stream_send(client.stream, bytes, sizeof(bytes)))
        sent += sizeof(bytes);
    assert_false(client.closed); /* told from the loop */
    assert_true(sent < 2 * 1024 * 1024);
    UNTIL(client.closed);
    assert_int_equal(client.why.code, ERR_TIMEOUT);
    (void)close(peer);
}

static void test_a_peer_that_does_not_read_is_dropped_in_time(void **state)
{
    struct stream_limits limits = calm;
    char bytes[1024] = {0};

    limits.kernel_unsent = 4096;
    limits.stall_ms = 100;
    int peer = bare_server(&limits);
    while (!stream_unsent(client.stream))
        assert_true(stream_send(client.stream, bytes, sizeof(bytes)));
    msec from_ms = loop_clock_ms();
    UNTIL(client.closed);
    assert_int_equal(client.drained, 0);
    assert_true(loop_clock_ms() - from_ms < 2000);
    (void)close(peer);
}

static void test_a_message_longer_than_any_ends_the_connection(void **state)
{
    char bytes[8192] = {0};

    server.take_at_once = sizeof(bytes);
    both_open(&calm);
    assert_true(stream_send(client.stream, bytes, sizeof(bytes)));
    UNTIL(server.closed);
    assert_int_equal(server.why.code, ERR_INPUT);
    assert_int_equal(server.got.len, 0);
}

static void test_a_stream_may_be_freed_in_any_of_its_callbacks(void **state)
{
    for (enum free_in where = FREE_OPENED; where <= FREE_CLOSED; where++) {
        enum { MUCH = 6 * 1024 * 1024 };
        struct stream_limits limits = calm;
        char *much = mem_zero(MUCH, 1);

        limits.unsent_max = MUCH;
        client.free_in = where;
        connect_with(listen_with(NULL, &calm), NULL, NULL, &limits);
        UNTIL(client.opened && server.opened);
        if (where != FREE_OPENED)
            assert_true(stream_send(client.stream, much, MUCH));
        assert_true(where == FREE_OPENED || stream_send(server.stream, "x", 1));
        if (where == FREE_CLOSED) {
            stream_free(server.stream);
            server.stream = NULL;
        }
        UNTIL(!client.stream);
        free(much);
        (void)tear_down(state);
        (void)set_up(state);
    }
}

/* ---- TLS ---- */

static struct stream_tls *tls_of(enum stream_side side, const char *ca, const char *cert, const char *key)
{
    struct http_tls files = {.certfile = cert, .keyfile = key, .cafile = ca, .verify = HTTP_VERIFY_REQUIRED};
    struct stream_tls *tls = NULL;
    struct err err = {0};

    if (!stream_tls_new(side, &files, &tls, &err))
        fail_msg("%s", err.text);
    return tls;
}

static void test_tls_verifies_both_sides(void **state)
{
    AUTO(tls_files) struct tls_files *t = tls_files_new();
    AUTO(stream_tls) struct stream_tls *accepts = tls_of(STREAM_ACCEPTS, t->ca, t->cert, t->key);
    AUTO(stream_tls) struct stream_tls *connects = tls_of(STREAM_CONNECTS, t->ca, t->client_cert, t->client_key);
    char bytes[20000];

    memset(bytes, 'x', sizeof(bytes)); /* more than a record of TLS, and than the reader's room */
    connect_with(listen_with(accepts, &calm), connects, "127.0.0.1", &calm);
    UNTIL(client.opened && server.opened);
    assert_true(stream_is_verified(client.stream));
    assert_true(stream_is_verified(server.stream));
    assert_true(stream_send(client.stream, bytes, sizeof(bytes)));
    assert_true(stream_send(server.stream, "pong", 4));
    UNTIL(server.got.len == sizeof(bytes) && client.got.len == 4);
    stream_free(server.stream);
    server.stream = NULL;
    UNTIL(client.closed);
}

static void test_tls_of_another_authority_is_refused(void **state)
{
    AUTO(tls_files) struct tls_files *t = tls_files_new();
    AUTO(stream_tls) struct stream_tls *accepts = tls_of(STREAM_ACCEPTS, t->ca, t->cert, t->key);
    AUTO(stream_tls) struct stream_tls *alien = tls_of(STREAM_CONNECTS, t->ca, t->alien_cert, t->alien_key);

    connect_with(listen_with(accepts, &calm), alien, "127.0.0.1", &calm);
    UNTIL(server.closed && client.closed);
    assert_false(server.opened);
    assert_int_equal(server.why.code, ERR_DENIED);
}

static void test_tls_without_a_certificate_is_refused(void **state)
{
    AUTO(tls_files) struct tls_files *t = tls_files_new();
    AUTO(stream_tls) struct stream_tls *accepts = tls_of(STREAM_ACCEPTS, t->ca, t->cert, t->key);
    AUTO(stream_tls) struct stream_tls *bare = tls_of(STREAM_CONNECTS, t->ca, NULL, NULL);

    connect_with(listen_with(accepts, &calm), bare, "127.0.0.1", &calm);
    UNTIL(server.closed && client.closed);
    assert_false(server.opened);
}

static void test_tls_for_another_name_is_refused(void **state)
{
    AUTO(tls_files) struct tls_files *t = tls_files_new();
    AUTO(stream_tls) struct stream_tls *accepts = tls_of(STREAM_ACCEPTS, t->ca, t->cert, t->key);
    AUTO(stream_tls) struct stream_tls *connects = tls_of(STREAM_CONNECTS, t->ca, t->client_cert, t->client_key);

    connect_with(listen_with(accepts, &calm), connects, "127.0.0.2", &calm);
    UNTIL(client.closed);
    assert_false(client.opened);
    assert_int_equal(client.why.code, ERR_DENIED);
}

static void test_tls_takes_the_certificate_of_a_server_from_a_client(void **state)
{
    AUTO(tls_files) struct tls_files *t = tls_files_new();

    tls_files_for_servers_only(t);
    AUTO(stream_tls) struct stream_tls *accepts = tls_of(STREAM_ACCEPTS, t->ca, t->cert, t->key);
    AUTO(stream_tls) struct stream_tls *connects = tls_of(STREAM_CONNECTS, t->ca, t->cert, t->key);
    connect_with(listen_with(accepts, &calm), connects, "127.0.0.1", &calm);
    UNTIL(client.opened && server.opened);
    assert_true(stream_is_verified(server.stream));
}

static void test_without_an_authority_nobody_is_verified(void **state)
{
    AUTO(tls_files) struct tls_files *t = tls_files_new();
    struct http_tls own = {.certfile = t->cert, .keyfile = t->key};
    struct http_tls none = {0};
    AUTO(stream_tls) struct stream_tls *accepts = NULL;
    AUTO(stream_tls) struct stream_tls *connects = NULL;

    assert_true(stream_tls_new(STREAM_ACCEPTS, &own, &accepts, NULL));
    assert_true(stream_tls_new(STREAM_CONNECTS, &none, &connects, NULL));
    connect_with(listen_with(accepts, &calm), connects, "127.0.0.1", &calm);
    UNTIL(client.opened && server.opened);
    assert_false(stream_is_verified(client.stream));
    assert_false(stream_is_verified(server.stream));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_bytes_arrive_in_both_directions),
        CASE(test_what_the_reader_leaves_comes_again_with_what_follows),
        CASE(test_more_than_the_kernel_takes_waits_and_arrives),
        CASE(test_the_end_of_one_side_is_told_to_the_other),
        CASE(test_a_refused_connection_is_told_from_the_loop),
        CASE(test_a_name_is_no_address),
        CASE(test_opening_has_a_deadline),
        CASE(test_a_peer_that_does_not_read_is_dropped_for_what_waits),
        CASE(test_a_peer_that_does_not_read_is_dropped_in_time),
        CASE(test_a_message_longer_than_any_ends_the_connection),
        CASE(test_a_stream_may_be_freed_in_any_of_its_callbacks),
        CASE(test_tls_verifies_both_sides),
        CASE(test_tls_of_another_authority_is_refused),
        CASE(test_tls_without_a_certificate_is_refused),
        CASE(test_tls_for_another_name_is_refused),
        CASE(test_tls_takes_the_certificate_of_a_server_from_a_client),
        CASE(test_without_an_authority_nobody_is_verified),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
