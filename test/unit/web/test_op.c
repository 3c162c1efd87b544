#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/str.h"
#include "io/http_server.h"
#include "io/loop.h"
#include "test/lib/http_peer.h"
#include "web/op_desk.h"

enum { SOON_MS = 150, LONG_MS = 60 * 1000, WAIT_MS = 15 * 1000, US_PER_MS = 1000 };

/* What the agent of a test does with an op. */
enum manner {
    AT_ONCE,   /* inside submit */
    IN_THREAD, /* from another thread, after SOON_MS */
    KEEPS,     /* until op_reply is called by the test */
    TAKES_NOTHING,
};

static struct {
    struct http_server *server;
    struct op_desk *desk;
    enum manner manner;
    msec budget_ms;
    pthread_mutex_t lock;
    struct op *ops[OPS_MAX + 1];
    int op_count;
    atomic_int answers, replies;
} t = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void reply(struct op *op)
{
    op_reply(op, 202, "lsn: 5", "done");
    atomic_fetch_add(&t.replies, 1);
}

static void *reply_soon(void *arg)
{
    (void)usleep(SOON_MS * US_PER_MS);
    reply(arg);
    return NULL;
}

static bool submit(struct op *take_op, void *arg)
{
    pthread_t thread;

    assert_ptr_equal(arg, &t);
    assert_string_equal(take_op->peer, "somebody");
    switch (t.manner) {
    case AT_ONCE:
        reply(take_op);
        return true;
    case IN_THREAD:
        CHECK(pthread_create(&thread, NULL, reply_soon, take_op) == 0);
        (void)pthread_detach(thread);
        return true;
    case KEEPS:
        (void)pthread_mutex_lock(&t.lock);
        t.ops[t.op_count++] = take_op;
        (void)pthread_mutex_unlock(&t.lock);
        return true;
    case TAKES_NOTHING:
        return false;
    }
    return false;
}

static void answer(struct http_request *take_request, const struct op_answer *a, void *arg)
{
    static const char *const outcomes[] = {"answered", "late", "busy", "refused"};
    AUTO(cstr)
    char *text =
        str_fmt("%s %d %s %s", outcomes[a->outcome], a->status, a->header ? a->header : "-", a->body ? a->body : "-");

    assert_ptr_equal(arg, &t);
    assert_int_equal(a->kind, OP_RESTART);
    http_reply(take_request, 200, NULL, 0, text, strlen(text));
    atomic_fetch_add(&t.answers, 1);
}

static void handle(struct http_request *r, void *arg)
{
    (void)arg;
    op_send(t.desk, OP_RESTART, json_pack("{s:i}", "timeout", 30), loop_clock_ms() + t.budget_ms, "somebody", r);
}

static int begin(enum manner manner, msec budget_ms)
{
    const struct http_server_conf conf = {.hosts = "127.0.0.1", .limits = HTTP_LIMITS_DEFAULT};
    struct err err;

    t.manner = manner;
    t.budget_ms = budget_ms;
    t.op_count = 0;
    atomic_store(&t.answers, 0);
    atomic_store(&t.replies, 0);
    t.desk = op_desk_new(submit, &t, answer, &t);
    if (!http_server_start(&conf, handle, NULL, &t.server, &err))
        fail_msg("%s", err.text);
    op_desk_open(t.desk, t.server);
    return http_server_port(t.server);
}

static int end(void **state)
{
    (void)state;
    op_desk_close(t.desk);
    http_server_stop(TAKE(t.server));
    op_desk_unref(TAKE(t.desk));
    return 0;
}

static void expect(int port, const char *body)
{
    struct peer_answer a = peer_ask_once(&(struct peer_request){.port = port, .path = "/"});

    assert_string_equal(a.body, body);
    peer_answer_deinit(&a);
}

static void wait_for(atomic_int *count, int at_least)
{
    for (int i = 0; atomic_load(count) < at_least && i < WAIT_MS; i++)
        (void)usleep(US_PER_MS);
    assert_int_equal(atomic_load(count), at_least);
}

static void wait_for_ops(int count)
{
    for (int i = 0; i < WAIT_MS; i++) {
        (void)pthread_mutex_lock(&t.lock);
        bool all = t.op_count == count;
        (void)pthread_mutex_unlock(&t.lock);
        if (all)
            return;
        (void)usleep(US_PER_MS);
    }
    fail_msg("%d ops did not come", count);
}

static void test_a_reply_answers_the_request_from_wherever_it_comes(void **state)
{
    expect(begin(AT_ONCE, LONG_MS), "answered 202 lsn: 5 done");
    (void)end(state);
    expect(begin(IN_THREAD, LONG_MS), "answered 202 lsn: 5 done");
}

static void test_an_agent_that_takes_nothing_is_said_at_once(void **state)
{
    (void)state;
    expect(begin(TAKES_NOTHING, LONG_MS), "refused 0 - -");
}

static void test_a_late_reply_is_dropped_after_the_deadline_was_answered(void **state)
{
    int port = begin(KEEPS, SOON_MS);
    msec begin_ms = loop_clock_ms();

    (void)state;
    expect(port, "late 0 - -");
    assert_true(loop_clock_ms() - begin_ms >= SOON_MS);
    reply(t.ops[0]);
    t.manner = AT_ONCE;
    expect(port, "answered 202 lsn: 5 done"); /* and the desk works on */
    assert_int_equal(atomic_load(&t.answers), 2);
}

static void test_a_reply_after_the_client_went_away_is_dropped(void **state)
{
    int port = begin(KEEPS, LONG_MS);
    int fd = peer_connect(port);

    (void)state;
    peer_send(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for_ops(1);
    (void)close(fd);
    reply(t.ops[0]);
    wait_for(&t.answers, 1);
}

static void test_a_reply_after_the_end_of_the_server_is_heard_by_nobody(void **state)
{
    int port = begin(KEEPS, LONG_MS);
    int fds[2] = {peer_connect(port), peer_connect(port)};

    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        peer_send(fds[i], "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for_ops(2);
    (void)end(state);
    reply(t.ops[0]);
    reply(t.ops[1]);
    assert_int_equal(atomic_load(&t.answers), 0);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        (void)close(fds[i]);
}

static void test_replies_race_with_the_end_of_the_server_without_harm(void **state)
{
    for (int round = 0; round < 5; round++) {
        int port = begin(IN_THREAD, LONG_MS);
        int fds[8];

        for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
            fds[i] = peer_connect(port);
            peer_send(fds[i], "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        }
        (void)usleep((SOON_MS - 2 + round) * US_PER_MS); /* about when the replies come */
        (void)end(state);
        for (size_t i = 0; i < ARRAY_LEN(fds); i++)
            (void)close(fds[i]);
        (void)usleep(2 * SOON_MS * US_PER_MS); /* the last of them */
    }
}

static void test_an_agent_that_is_stuck_is_not_given_more_and_more(void **state)
{
    int port = begin(KEEPS, LONG_MS);
    int fds[OPS_MAX];

    (void)state;
    for (int i = 0; i < OPS_MAX; i++) {
        fds[i] = peer_connect(port);
        peer_send(fds[i], "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    wait_for_ops(OPS_MAX);
    expect(port, "busy 0 - -");
    for (int i = 0; i < OPS_MAX; i++) {
        reply(t.ops[i]);
        (void)close(fds[i]);
    }
    t.op_count = 0;
    wait_for(&t.answers, OPS_MAX + 1);
    t.manner = AT_ONCE;
    expect(port, "answered 202 lsn: 5 done");
}

static int end_if_begun(void **state)
{
    return t.server ? end(state) : 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, end_if_begun)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_reply_answers_the_request_from_wherever_it_comes),
        TEST(test_an_agent_that_takes_nothing_is_said_at_once),
        TEST(test_a_late_reply_is_dropped_after_the_deadline_was_answered),
        TEST(test_a_reply_after_the_client_went_away_is_dropped),
        TEST(test_a_reply_after_the_end_of_the_server_is_heard_by_nobody),
        TEST(test_replies_race_with_the_end_of_the_server_without_harm),
        TEST(test_an_agent_that_is_stuck_is_not_given_more_and_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
