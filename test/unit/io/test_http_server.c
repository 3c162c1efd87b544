#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/str.h"
#include "io/http_server.h"
#include "io/loop.h"
#include "test/lib/http_peer.h"
#include "test/lib/tls_files.h"

enum {
    KEEP_MS = 60 * 1000,
    SOON_MS = 200,
    WAIT_MS = 15 * 1000, /* what is waited for takes milliseconds; a busy machine may need longer */
    SILENT = 100,
    US_PER_MS = 1000,
    BIG_REPLY = 8 * 1024 * 1024, /* more than the kernel takes off our hands (tcp_wmem) */
};

/* An answer needs about a millisecond; one that had to wait for silent connections would need five seconds. */
static const double PROMPT_S = 2;

/* ---- the server under test and what its handler does ---- */

static struct {
    atomic_int kept, expired, gone, answered;
} seen;

struct later {
    struct http_note note;
    struct http_server *server;
    struct http_request *request;
    pthread_t thread;
};

static struct http_server *current; /* of the test that runs */

static void reply_text(struct http_request *r, int status, const char *text)
{
    const struct http_header type = {"Content-Type", "text/plain"};

    http_reply(r, status, &type, 1, text, strlen(text));
}

static void on_expired(void *arg)
{
    atomic_fetch_add(&seen.expired, 1);
    reply_text(arg, 503, "expired");
}

static void on_gone(void *arg)
{
    (void)arg;
    atomic_fetch_add(&seen.gone, 1);
}

static void later_answer(struct http_note *note)
{
    struct later *later = LIST_ENTRY(note, struct later, note);

    reply_text(later->request, 200, "later");
    atomic_fetch_add(&seen.answered, 1);
    free(later);
}

static void *later_work(void *arg)
{
    struct later *later = arg;

    (void)usleep(SOON_MS * US_PER_MS);
    http_server_post(later->server, &later->note);
    return NULL;
}

static void echo(struct http_request *r)
{
    static const char *const methods[] = {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"};
    struct buf text = BUF_EMPTY;
    size_t len;
    const char *body = http_request_body(r, &len);
    const char *cert = http_request_client_cert(r);

    buf_printf(&text, "%s %s ?%s", methods[http_request_method(r)], http_request_path(r), http_request_query(r));
    buf_printf(&text, " peer=%s cert=%s len=%zu body=%.*s", http_request_peer(r), cert ? cert : "none", len,
               (int)(len < 32 ? len : 32), body);
    reply_text(r, 200, buf_cstr(&text));
    buf_deinit(&text);
}

static void handle(struct http_request *r, void *arg)
{
    const char *path = http_request_path(r);

    (void)arg;
    if (str_eq(path, "/bare")) {
        http_reply_bare(r, 503);
    } else if (str_eq(path, "/later")) {
        struct later *later = mem_zero(1, sizeof(*later));
        *later = (struct later){.note.fn = later_answer, .server = current, .request = r};
        list_init(&later->note.link);
        http_request_keep(r, loop_clock_ms() + KEEP_MS, on_expired, on_gone, r);
        atomic_fetch_add(&seen.kept, 1);
        int failed = pthread_create(&later->thread, NULL, later_work, later);
        CHECK(!failed);
        (void)pthread_detach(later->thread);
    } else if (str_eq(path, "/slow")) {
        http_request_keep(r, loop_clock_ms() + SOON_MS, on_expired, on_gone, r);
        atomic_fetch_add(&seen.kept, 1);
    } else if (str_eq(path, "/never")) {
        http_request_keep(r, loop_clock_ms() + KEEP_MS, on_expired, on_gone, r);
        atomic_fetch_add(&seen.kept, 1);
    } else if (str_eq(path, "/big")) {
        static const char big[BIG_REPLY];
        http_reply(r, 200, NULL, 0, big, sizeof(big));
    } else {
        echo(r);
    }
}

static const struct http_server_conf plain = {.hosts = "127.0.0.1", .limits = HTTP_LIMITS_DEFAULT};

static int start(const struct http_server_conf *conf)
{
    struct err err;

    CHECK(!current);
    memset(&seen, 0, sizeof(seen));
    if (!http_server_start(conf, handle, NULL, &current, &err))
        fail_msg("%s", err.text);
    return http_server_port(current);
}

static int stop(void **state)
{
    (void)state;
    http_server_stop(TAKE(current));
    return 0;
}

static struct http_server_conf with_tls(const struct tls_files *t, enum http_verify verify)
{
    struct http_server_conf conf = plain;

    conf.tls = (struct http_tls){.certfile = t->cert, .keyfile = t->key, .cafile = t->ca, .verify = verify};
    return conf;
}

static void wait_for(atomic_int *count, int at_least)
{
    for (int i = 0; atomic_load(count) < at_least && i < WAIT_MS; i++)
        (void)usleep(US_PER_MS);
    assert_int_equal(atomic_load(count), at_least);
}

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

static void assert_works(int port)
{
    struct peer_answer a = peer_ask_once(&(struct peer_request){.port = port, .path = "/"});

    assert_int_equal(a.status, 200);
    peer_answer_deinit(&a);
}

/* ---- asking and answering ---- */

static void test_a_request_arrives_with_method_path_query_and_body(void **state)
{
    int port = start(&plain);
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
    int port = start(&plain);

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
    int port = start(&plain);

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
    int port = start(&plain);
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
    int port = start(&plain);
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
    int port = start(&plain);
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
    int port = start(&plain);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++)
        assert_talk(port, forms[i], "HTTP/1.0 503 Service Unavailable\r\n\r\n");
}

static void test_requests_sent_at_once_are_answered_in_turn(void **state)
{
    int port = start(&plain);

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
    int port = start(&plain);

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
    int port = start(&plain);
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
    struct http_server_conf conf = plain;
    char *body = mem_zero(1, 2 * 1024 * 1024 + 1);
    int port = start(&conf);

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
    int port = start(&plain);
    int fd = peer_connect(port);

    (void)state;
    peer_send(fd, "GET /later HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    wait_for(&seen.kept, 1);
    struct peer_answer a = peer_ask_once(&(struct peer_request){.port = port, .path = "/"});
    assert_int_equal(a.status, 200);
    assert_int_equal(atomic_load(&seen.answered), 0);
    peer_answer_deinit(&a);

    char *got = peer_read(fd, WAIT_MS, NULL);
    assert_true(str_ends(got, "\r\n\r\nlater"));
    assert_int_equal(atomic_load(&seen.expired), 0);
    free(got);
    (void)close(fd);
}

static void test_a_request_that_is_not_answered_expires(void **state)
{
    int port = start(&plain);
    struct peer_answer a = peer_ask_once(&(struct peer_request){.port = port, .path = "/slow"});

    (void)state;
    assert_int_equal(a.status, 503);
    assert_string_equal(a.body, "expired");
    assert_int_equal(atomic_load(&seen.expired), 1);
    peer_answer_deinit(&a);
}

static void test_an_answer_to_a_client_that_went_away_is_dropped(void **state)
{
    int port = start(&plain);
    int fd = peer_connect(port);

    (void)state;
    peer_send(fd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for(&seen.kept, 1);
    (void)close(fd);
    wait_for(&seen.answered, 1);
    assert_works(port);
}

static void test_requests_in_hand_are_told_when_the_server_stops(void **state)
{
    int port = start(&plain);
    int fds[3];

    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = peer_connect(port);
        peer_send(fds[i], "GET /never HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    wait_for(&seen.kept, 3);
    (void)stop(state);
    assert_int_equal(atomic_load(&seen.gone), 3);
    assert_int_equal(atomic_load(&seen.expired), 0);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        bool closed;
        char *got = peer_read(fds[i], WAIT_MS, &closed);
        assert_true(closed);
        assert_string_equal(got, "");
        free(got);
        (void)close(fds[i]);
    }
}

/* ---- bad manners ---- */

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
    struct http_server_conf conf = plain;

    (void)state;
    conf.limits.hello_ms = 300;
    conf.limits.request_ms = 400;
    conf.limits.idle_ms = 200;
    int port = start(&conf);

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
    struct http_server_conf conf = plain;
    bool closed = false;

    (void)state;
    conf.limits.request_ms = 500;
    int port = start(&conf);
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
    struct http_server_conf conf = plain;

    (void)state;
    conf.limits.reply_ms = 300;
    int port = start(&conf);
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
    struct http_server_conf conf = with_tls(t, HTTP_VERIFY_OPTIONAL);
    int port = start(&conf);
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
    struct http_server_conf conf = plain;
    int silent[SILENT];
    int closed_count = 0;

    (void)state;
    conf.limits.conn_max = SILENT / 2;
    int port = start(&conf);
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
    struct http_server_conf conf = plain;
    int busy[4];

    (void)state;
    conf.limits.conn_max = ARRAY_LEN(busy);
    int port = start(&conf);
    for (size_t i = 0; i < ARRAY_LEN(busy); i++) {
        busy[i] = peer_connect(port);
        peer_send(busy[i], "GET /later HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    }
    wait_for(&seen.kept, ARRAY_LEN(busy));
    assert_thrown_out(peer_connect(port), 0); /* nobody can be asked to leave: the new one is */
    for (size_t i = 0; i < ARRAY_LEN(busy); i++) {
        char *got = peer_read(busy[i], WAIT_MS, NULL);
        assert_true(str_ends(got, "later"));
        free(got);
        (void)close(busy[i]);
    }
    assert_works(port);
}

/* ---- TLS ---- */

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
        struct http_server_conf conf = with_tls(t, rows[i].verify);
        int port = start(&conf);
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
        (void)stop(state);
    }
}

static void test_a_bare_answer_over_tls_ends_in_good_order(void **state)
{
    AUTO(tls_files) struct tls_files *t = tls_files_new();
    struct http_server_conf conf = with_tls(t, HTTP_VERIFY_NONE);
    int port = start(&conf);

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
    struct http_server_conf conf = with_tls(t, HTTP_VERIFY_NONE);
    struct http_server *none = NULL;
    struct err err;

    (void)state;
    conf.tls.keyfile = t->locked_key;
    conf.tls.keyfile_password = "open barley";
    assert_false(http_server_start(&conf, handle, NULL, &none, &err));
    assert_null(strstr(err.text, "barley"));
    assert_non_null(strstr(err.text, t->locked_key));
    conf.tls.keyfile_password = NULL; /* and nobody is asked on the terminal */
    assert_false(http_server_start(&conf, handle, NULL, &none, &err));

    conf.tls.keyfile_password = "sesame";
    int port = start(&conf);
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
    struct http_server_conf missing = with_tls(t, HTTP_VERIFY_NONE);
    missing.tls.certfile = "/nowhere/node.crt";
    assert_false(http_server_start(&missing, handle, NULL, &none, &err));
    assert_string_equal(err.text, "reading certificate /nowhere/node.crt: No such file or directory");

    struct http_server_conf other_key = with_tls(t, HTTP_VERIFY_NONE);
    other_key.tls.keyfile = t->client_key;
    assert_false(http_server_start(&other_key, handle, NULL, &none, &err));
    assert_non_null(strstr(err.text, "client.key"));

    struct http_server_conf no_ca = with_tls(t, HTTP_VERIFY_REQUIRED);
    no_ca.tls.cafile = "/nowhere/ca.crt";
    assert_false(http_server_start(&no_ca, handle, NULL, &none, &err));
    assert_true(str_starts(err.text, "reading authorities /nowhere/ca.crt: "));

    struct http_server_conf ciphers = with_tls(t, HTTP_VERIFY_NONE);
    ciphers.tls.ciphers = "NO-SUCH-CIPHER";
    assert_false(http_server_start(&ciphers, handle, NULL, &none, &err));
    assert_true(str_starts(err.text, "no cipher fits NO-SUCH-CIPHER"));
    assert_null(none);
}

/* ---- reload ---- */

static void reload(const struct http_server_conf *conf)
{
    struct err err;

    if (!http_server_reload(current, conf, &err))
        fail_msg("%s", err.text);
}

static void test_reload_serves_the_new_certificate_and_ends_old_connections_after_their_request(void **state)
{
    AUTO(tls_files) struct tls_files *t = tls_files_new();
    struct http_server_conf conf = with_tls(t, HTTP_VERIFY_NONE);
    int port = start(&conf);
    AUTO(peer) struct peer *p = peer_new();
    const struct peer_request ask = {.port = port, .path = "/", .ca = t->ca};
    struct peer_answer before = peer_ask(p, &ask);

    (void)state;
    assert_non_null(strstr(before.cert, "CN = node"));
    tls_files_renew(t, "renewed");
    struct peer_answer unasked = peer_ask(p, &ask);
    assert_int_equal(unasked.connects, 0); /* nothing happens by itself */

    reload(&conf);
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
    struct http_server_conf conf = with_tls(t, HTTP_VERIFY_NONE);
    int port = start(&conf);
    struct err err;

    (void)state;
    struct http_server_conf bad = conf;
    bad.tls.certfile = "/nowhere/node.crt";
    assert_false(http_server_reload(current, &bad, &err));
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
    assert_false(http_server_reload(current, &bad, &err));
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
    int port = start(&plain);
    struct http_server_conf conf = with_tls(t, HTTP_VERIFY_NONE);

    (void)state;
    assert_works(port);
    reload(&conf);
    struct peer_answer secure = ask_tls(port, t, NULL, NULL);
    assert_int_equal(secure.status, 200);
    peer_answer_deinit(&secure);
    struct peer_answer open = peer_ask_once(&(struct peer_request){.port = port, .path = "/"});
    assert_int_equal(open.status, 0);
    peer_answer_deinit(&open);
    reload(&plain);
    assert_works(port);
}

/* A port that was free a moment ago. */
static int free_port(void)
{
    int port = start(&plain);

    http_server_stop(TAKE(current));
    return port;
}

static void test_reload_moves_to_another_address_also_one_that_covers_the_old(void **state)
{
    struct http_server_conf conf = plain;

    (void)state;
    conf.port = free_port();
    int port = start(&conf);
    struct http_server_conf wider = conf;
    wider.hosts = "0.0.0.0"; /* cannot be bound beside 127.0.0.1 */
    reload(&wider);
    assert_works(port);
    reload(&conf);
    assert_works(port);

    struct http_server_conf elsewhere = conf;
    elsewhere.port = 0;
    reload(&elsewhere);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_not_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0); /* the old one was let go */
    (void)close(fd);
}

static void test_an_old_address_is_opened_again_if_the_one_that_covers_it_cannot_be_had(void **state)
{
    struct http_server_conf conf = plain;
    struct err err;

    (void)state;
    conf.port = free_port();
    int port = start(&conf);
    int rival = socket(AF_INET, SOCK_STREAM, 0);
    const int on = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    assert_int_equal(inet_pton(AF_INET, "127.0.0.2", &at.sin_addr), 1);
    (void)setsockopt(rival, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    assert_int_equal(bind(rival, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(rival, 1), 0);

    struct http_server_conf wider = conf;
    wider.hosts = "0.0.0.0";
    assert_false(http_server_reload(current, &wider, &err));
    assert_true(str_starts(err.text, "listening on 0.0.0.0, port "));
    assert_works(port);
    (void)close(rival);
}

/* ---- addresses ---- */

static void test_several_hosts_are_listened_on_and_those_of_all_kinds_too(void **state)
{
    static const char *const hosts[] = {"127.0.0.1, 127.0.0.2", "*", "", "localhost", "[::]", "127.0.0.1,127.0.0.1"};

    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        struct http_server_conf conf = plain;
        conf.hosts = hosts[i];
        conf.port = free_port();
        int port = start(&conf);
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
        (void)stop(state);
    }
}

static void test_an_address_that_cannot_be_had_is_named(void **state)
{
    struct http_server *none = NULL;
    struct http_server_conf conf = plain;
    struct err err;
    int port = start(&plain);

    (void)state;
    conf.port = port;
    assert_false(http_server_start(&conf, handle, NULL, &none, &err));
    char *expected = str_fmt("listening on 127.0.0.1, port %d: Address already in use", port);
    assert_string_equal(err.text, expected);
    free(expected);

    conf.hosts = "192.0.2.1"; /* reserved for documentation: nobody has it */
    assert_false(http_server_start(&conf, handle, NULL, &none, &err));
    assert_true(str_starts(err.text, "listening on 192.0.2.1, port "));
    conf.hosts = "127.0.0.1,bad host name";
    assert_false(http_server_start(&conf, handle, NULL, &none, &err));
    assert_true(str_starts(err.text, "looking up \"bad host name\": "));
    assert_null(none);
}

#define TEST(name) cmocka_unit_test_teardown(name, stop)

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
        TEST(test_silent_slow_and_idle_connections_are_closed_at_their_limits),
        TEST(test_a_request_that_trickles_in_is_bounded_as_a_whole),
        TEST(test_a_client_that_does_not_take_its_answer_is_closed),
        TEST(test_a_hundred_silent_tls_connections_slow_nobody),
        TEST(test_in_a_full_house_the_longest_silent_has_to_go),
        TEST(test_requests_in_hand_are_never_thrown_out_for_new_ones),
        TEST(test_client_certificates_are_asked_for_shown_and_checked),
        TEST(test_a_bare_answer_over_tls_ends_in_good_order),
        TEST(test_a_key_with_a_password_is_opened_and_the_password_is_never_in_an_error),
        TEST(test_what_is_wrong_with_tls_files_is_said),
        TEST(test_reload_serves_the_new_certificate_and_ends_old_connections_after_their_request),
        TEST(test_a_reload_that_fails_leaves_everything_as_it_was),
        TEST(test_reload_turns_tls_on_and_off_on_the_same_address),
        TEST(test_reload_moves_to_another_address_also_one_that_covers_the_old),
        TEST(test_an_old_address_is_opened_again_if_the_one_that_covers_it_cannot_be_had),
        TEST(test_several_hosts_are_listened_on_and_those_of_all_kinds_too),
        TEST(test_an_address_that_cannot_be_had_is_named),
    };

    /* The pieces that only libcurl's first use would make, before there are threads. */
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return failed;
}
