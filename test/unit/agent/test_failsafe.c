/*
 * failsafe_mode between two members, n1 who asks and n2 who grants or not: real questions over HTTP, a store in memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "app/agent/leadership.h"
#include "app/agent/local.h"
#include "app/agent/ops.h"
#include "app/agent/registry.h"
#include "app/agent/rounds.h"
#include "base/str.h"
#include "io/http_client.h"
#include "io/loop.h"
#include "test/lib/mem_store.h"
#include "test/unit/store/ask.h"
#include "web/op_desk.h"
#include "wire/conf/dynamic.h"
#include "wire/conf/settings.h"

#define PREFIX "/service/demo/"

enum { PATIENCE_MS = 10000, BUDGET_MS = 300 };

static struct loop *loop;
static struct mem_server *server;
static struct store *store, *other;
static struct rounds *rounds; /* n1's */
static struct http_client *client;

/* n2 */
static char name[] = "n2";
static struct settings settings = {.name = name};
static struct dynamic dynamic = {.failsafe_mode = true, .ttl_ms = 30000};
static struct agent n2;
static struct op_desk *desk;
static struct http_server *web;

static void no_texts(struct keys_texts *ret_texts, void *arg)
{
    (void)arg;
    *ret_texts = (struct keys_texts){.member = "{}"};
}

static void changed(void *arg)
{
    (void)arg;
}

static void handle(struct http_request *r, void *arg)
{
    size_t len;
    const char *body = http_request_body(r, &len);

    (void)arg;
    op_send(desk, OP_FAILSAFE, json_loadb(body, len, 0, NULL), loop_clock_ms() + PATIENCE_MS, "n1", r);
}

static void answer(struct http_request *take_request, const struct op_answer *a, void *arg)
{
    (void)arg;
    http_reply(take_request, a->status, NULL, 0, a->body, strlen(a->body));
}

static int setup(void **state)
{
    const struct http_server_conf conf = {.hosts = "127.0.0.1", .limits = HTTP_LIMITS_DEFAULT};
    struct err err;

    (void)state;
    loop = loop_new();
    server = mem_server_new(loop);
    store = mem_store_new(server);
    other = mem_store_new(server);

    n2 = (struct agent){.loop = loop, .settings = &settings, .dynamic = &dynamic, .woken = true /* nothing decides */};
    n2.registry = registry_new(loop, store, PREFIX, changed, NULL);
    n2.leadership = leadership_new(store, n2.registry, PREFIX, name, no_texts, changed, NULL);
    n2.local = local_new(loop, changed, NULL);
    ops_init(&n2);
    registry_start(n2.registry, 60000, BUDGET_MS);
    desk = op_desk_new(ops_submit, &n2, answer, NULL);
    if (!http_server_start(&conf, handle, NULL, &web, &err))
        fail_msg("%s", err.text);
    op_desk_open(desk, web);

    client = http_client_new(loop, &(struct http_client_conf){0});
    rounds = rounds_new(loop, "n1", changed, NULL);
    rounds_client(rounds, client);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rounds_free(rounds);
    http_client_free(client);
    op_desk_close(desk);
    http_server_stop(web);
    op_desk_unref(desk);
    ops_deinit(&n2);
    store_free(store);
    store_free(other);
    leadership_free(n2.leadership);
    registry_free(n2.registry);
    local_free(n2.local);
    mem_server_free(server);
    loop_free(loop);
    return 0;
}

static void until_n2_reads(const char *leader)
{
    msec end_ms = loop_clock_ms() + PATIENCE_MS;

    for (;;) {
        const struct cluster *c = registry_cluster(n2.registry);
        if (c && str_eq(c->leader, leader))
            return;
        assert_true(loop_clock_ms() < end_ms);
        loop_turn(loop, 20);
    }
}

/* What comes of n1's question to n2. */
static bool granted(void)
{
    AUTO(cstr) char *url = str_fmt("http://127.0.0.1:%d/patroni", http_server_port(web));
    json_t *list = json_pack("{s:s}", name, url);
    struct ha_lease lease = {0};
    msec end_ms = loop_clock_ms() + PATIENCE_MS;

    rounds_ask_failsafe(rounds, list, "{\"name\": \"n1\"}");
    json_decref(list);
    do {
        assert_true(loop_clock_ms() < end_ms);
        loop_turn(loop, 20);
        rounds_failsafe_view(rounds, &lease);
    } while (lease.failsafe_asking);
    return lease.failsafe_ms && lease.failsafe_ms == lease.failsafe_tried_ms;
}

/* ---- tests ---- */

static void test_a_standby_grants_the_leader_its_stay(void **state)
{
    (void)state;
    (void)ask_put(loop, other, PREFIX "leader", "n1", 0);
    until_n2_reads("n1");
    assert_true(granted());
    assert_string_equal(n2.failsafe_heard_from, "n1");
}

/* The asker is cut off and does not know: a grant would make two of them. */
static void test_nobody_grants_while_the_store_answers_and_shows_another_leader(void **state)
{
    (void)state;
    (void)ask_put(loop, other, PREFIX "leader", "n3", 0);
    until_n2_reads("n3");
    assert_false(granted());
    assert_int_equal(n2.failsafe_heard_ms, 0);
}

/* What it showed last may be older than the reign of who asks. */
static void test_a_store_that_is_away_refuses_nobody(void **state)
{
    (void)state;
    (void)ask_put(loop, other, PREFIX "leader", "n3", 0);
    until_n2_reads("n3");
    mem_server_set_fault(server, MEM_AWAY);
    registry_refresh(n2.registry);
    run_for(loop, 2 * BUDGET_MS);
    assert_true(granted());
}

int main(void)
{
#define FAILSAFE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        FAILSAFE_TEST(test_a_standby_grants_the_leader_its_stay),
        FAILSAFE_TEST(test_nobody_grants_while_the_store_answers_and_shows_another_leader),
        FAILSAFE_TEST(test_a_store_that_is_away_refuses_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
