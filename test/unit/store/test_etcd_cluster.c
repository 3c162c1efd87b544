/*
 * The etcd client against three members: some killed, some stopped, all away, and back.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "io/loop.h"
#include "test/lib/etcd_fixture.h"
#include "test/unit/store/ask.h"

static struct loop *loop;
static struct etcd_fixture etcd;
static struct settings settings;

/* What a test uses, closed by the teardown also if the test fails. */
static struct store *store, *other;
static struct story story, calm;

/* The roles at the beginning of a test. */
static size_t leader, follower, third;

/* A client whose list of members begins at `first`: that one is asked first. */
static struct store *client_at(size_t first)
{
    struct settings turned = settings;
    char *hosts[ETCD_FIXTURE_MEMBERS_MAX];
    struct store *s;
    struct err err = {0};

    for (size_t i = 0; i < etcd.count; i++)
        hosts[i] = etcd.members[(first + i) % etcd.count].host;
    turned.store.hosts.at = hosts;
    if (!store_new(loop, &turned, &s, &err))
        fail_msg("%s", err.text);
    return s;
}

static int group_setup(void **state)
{
    if (!etcd_fixture_start(&etcd, 3, NULL)) {
        print_error("no etcd here\n");
        return -1;
    }
    etcd_fixture_settings(&etcd, &settings);
    loop = loop_new();
    return 0;
}

static int group_teardown(void **state)
{
    loop_free(loop);
    etcd_fixture_settings_deinit(&settings);
    etcd_fixture_stop(&etcd);
    return 0;
}

/* All members run and answer. */
static int setup(void **state)
{
    for (size_t i = 0; i < etcd.count; i++) {
        if (!etcd.members[i].pid)
            etcd_fixture_restart(&etcd, i);
        etcd_fixture_signal(&etcd, i, SIGCONT);
    }
    for (size_t i = 0; i < etcd.count; i++) {
        struct settings alone = settings;
        struct store *s;
        alone.store.hosts.at = &settings.store.hosts.at[i];
        alone.store.hosts.count = 1;
        if (!store_new(loop, &alone, &s, NULL))
            return -1;
        AUTO(answer) struct answer a = ask_get_prefix(loop, s, "x", 25000);
        store_free(s);
        if (a.status != STORE_DONE)
            return -1;
    }
    leader = etcd_fixture_leader(&etcd);
    follower = (leader + 1) % etcd.count;
    third = (leader + 2) % etcd.count;
    return 0;
}

static int teardown(void **state)
{
    if (story.watch)
        story_end(&story);
    if (calm.watch)
        story_end(&calm);
    store_free(store);
    store_free(other);
    story = calm = (struct story){0};
    store = other = NULL;
    return 0;
}

static void assert_describes(const struct store *s, size_t member)
{
    assert_true(str_ends(store_describe(s), etcd.members[member].host));
}

static struct answer try_put(struct store *s, const char *key, msec budget_ms)
{
    const struct store_op op = {.kind = STORE_PUT, .key = key, .value = "v"};

    return ask_txn(loop, s, &(struct store_txn){.then = &op, .then_count = 1}, budget_ms);
}

/* What a caller does who does not mind doing it twice: an election in between leaves one unknown. */
static void put_until_done(struct store *s, const char *key, const char *value)
{
    const struct store_op op = {.kind = STORE_PUT, .key = key, .value = value};
    msec end_ms = loop_clock_ms() + 30000;
    struct answer a = {.status = STORE_AWAY};

    while (a.status != STORE_DONE && loop_clock_ms() < end_ms) {
        a = ask_txn(loop, s, &(struct store_txn){.then = &op, .then_count = 1}, 4000);
        answer_deinit(&a);
    }
    assert_int_equal(a.status, STORE_DONE);
}

static void test_a_killed_member_is_left_for_the_next_within_one_request(void **state)
{
    store = client_at(follower);
    (void)ask_put(loop, store, "kill/a", "", 0);
    assert_describes(store, follower);
    etcd_fixture_kill(&etcd, follower);
    /* A change too: a refused connection means that nothing was sent. */
    AUTO(answer) struct answer a = try_put(store, "kill/b", 10000);
    assert_int_equal(a.status, STORE_DONE);
    assert_describes(store, third);

    /* Back, it is not returned to: the one that answers is kept. */
    etcd_fixture_restart(&etcd, follower);
    run_for(loop, 1500);
    AUTO(answer) struct answer b = try_put(store, "kill/c", 10000);
    assert_int_equal(b.status, STORE_DONE);
    assert_describes(store, third);
}

static void test_a_killed_leader_is_survived_by_a_renewal_and_a_read(void **state)
{
    store = client_at(leader);
    AUTO(answer) struct answer lease = ask_grant(loop, store, 60000, 10000);
    assert_int_equal(lease.status, STORE_DONE);
    etcd_fixture_kill(&etcd, leader);
    AUTO(answer) struct answer renewed = ask_keepalive(loop, store, lease.lease, 15000);
    assert_int_equal(renewed.status, STORE_DONE);
    assert_int_equal(renewed.ttl_ms, 60000);
    AUTO(answer) struct answer read = ask_get_prefix(loop, store, "x", 15000);
    assert_int_equal(read.status, STORE_DONE);
}

static void test_a_half_dead_member_costs_its_share_once_and_does_not_pin_the_client(void **state)
{
    store = client_at(follower);
    AUTO(answer) struct answer lease = ask_grant(loop, store, 60000, 10000);
    assert_describes(store, follower);
    etcd_fixture_signal(&etcd, follower, SIGSTOP);
    AUTO(answer) struct answer renewed = ask_keepalive(loop, store, lease.lease, 6000);
    assert_int_equal(renewed.status, STORE_DONE);
    assert_int_equal(renewed.ttl_ms, 60000);
    assert_in_range(renewed.took_ms, 1900, 5000); /* a third of the budget, then the next */
    /* The deadline counts from the attempt that was answered. */
    assert_true(renewed.sent_at_ms >= loop_clock_ms() - (renewed.took_ms - 1900));

    AUTO(answer) struct answer again = ask_keepalive(loop, store, lease.lease, 6000);
    assert_int_equal(again.status, STORE_DONE);
    assert_true(again.took_ms < 1900); /* not its share again */
    AUTO(answer) struct answer read = ask_get_prefix(loop, store, "x", 6000);
    assert_int_equal(read.status, STORE_DONE);
    assert_true(read.took_ms < 1900);
}

static void test_a_change_sent_to_a_half_dead_member_is_unknown_and_sent_nowhere_else(void **state)
{
    store = client_at(follower);
    (void)ask_put(loop, store, "half/a", "", 0);
    assert_describes(store, follower);
    etcd_fixture_signal(&etcd, follower, SIGSTOP);
    AUTO(answer) struct answer a = try_put(store, "half/b", 1500);
    assert_int_equal(a.status, STORE_UNKNOWN);
    assert_true(a.took_ms < 1500);

    /* It is found out by reading, elsewhere. */
    AUTO(answer) struct answer read = ask_get_prefix(loop, store, "half/", 10000);
    assert_int_equal(read.status, STORE_DONE);
    assert_int_equal(read.kv_count, 1);
}

static void test_a_watch_leaves_a_killed_member_and_misses_nothing(void **state)
{
    store = client_at(follower);
    other = client_at(third);
    int64_t first = ask_put(loop, other, "wk/k", "1", 0);
    story_begin(&story, store, "wk/", first);
    story_until(loop, &story, "wk/k=1@", 10000);
    etcd_fixture_kill(&etcd, follower);
    (void)ask_put(loop, other, "wk/k", "2", 0);
    (void)ask_put(loop, other, "wk/k", "3", 0);
    story_until(loop, &story, "wk/k=3@", 15000);
    assert_non_null(strstr(buf_cstr(&story.text), "lost back put wk/k=2@"));
}

static void test_a_watch_leaves_a_half_dead_member(void **state)
{
    store = client_at(follower);
    other = client_at(third);
    int64_t first = ask_put(loop, other, "wh/k", "1", 0);
    story_begin(&story, store, "wh/", first);
    story_until(loop, &story, "wh/k=1@", 10000);
    msec begin_ms = loop_clock_ms();
    etcd_fixture_signal(&etcd, follower, SIGSTOP);
    (void)ask_put(loop, other, "wh/k", "2", 0);
    story_until(loop, &story, "wh/k=2@", 15000);
    assert_true(loop_clock_ms() - begin_ms < 10000);
}

/* Two watches on one stopped member, begun together: the client whose request failed leaves it first. */
static void test_a_failing_request_makes_the_watch_look_at_once(void **state)
{
    store = client_at(follower);
    other = client_at(follower);
    AUTO(answer) struct answer before = ask_get_prefix(loop, store, "wl/", 10000);
    story_begin(&story, store, "wl/", before.revision + 1);
    story_begin(&calm, other, "wl/", before.revision + 1);
    (void)ask_put(loop, store, "wl/k", "1", 0);
    story_until(loop, &story, "wl/k=1@", 10000);
    story_until(loop, &calm, "wl/k=1@", 10000);
    etcd_fixture_signal(&etcd, follower, SIGSTOP);
    AUTO(answer) struct answer read = ask_get_prefix(loop, store, "wl/", 1500);
    assert_int_equal(read.status, STORE_DONE);
    story_until(loop, &story, "lost ", 10000);
    assert_null(strstr(buf_cstr(&calm.text), "lost "));
    story_until(loop, &calm, "lost ", 15000);
}

/* Its connections live, its process runs, and it would go on sending progress: but it knows of nothing new. */
static void test_a_watch_on_a_member_without_majority_is_ended(void **state)
{
    store = client_at(third);
    AUTO(answer) struct answer before = ask_get_prefix(loop, store, "wm/", 10000);
    story_begin(&story, store, "wm/", before.revision + 1);
    (void)ask_put(loop, store, "wm/k", "1", 0);
    story_until(loop, &story, "wm/k=1@", 10000);
    etcd_fixture_signal(&etcd, leader, SIGSTOP);
    etcd_fixture_signal(&etcd, follower, SIGSTOP);
    story_until(loop, &story, "lost ", 15000);

    AUTO(answer) struct answer a = try_put(store, "wm/k", 2000);
    assert_true(a.status != STORE_DONE);
    AUTO(answer) struct answer read = ask_get_prefix(loop, store, "wm/", 1000);
    assert_true(read.status != STORE_DONE); /* one that is not linearizable would be */
    etcd_fixture_signal(&etcd, leader, SIGCONT);
    etcd_fixture_signal(&etcd, follower, SIGCONT);
    story_until(loop, &story, "back ", 15000);
}

static void test_all_away_and_back_is_survived_by_requests_leases_and_watches(void **state)
{
    store = client_at(leader);
    AUTO(answer) struct answer lease = ask_grant(loop, store, 60000, 10000);
    int64_t first = ask_put(loop, store, "all/k", "1", lease.lease);
    story_begin(&story, store, "all/", first);
    story_until(loop, &story, "all/k=1@", 10000);
    for (size_t i = 0; i < etcd.count; i++)
        etcd_fixture_kill(&etcd, i);
    AUTO(answer) struct answer away = ask_keepalive(loop, store, lease.lease, 400);
    assert_true(away.status == STORE_AWAY || away.status == STORE_UNKNOWN);
    AUTO(answer) struct answer away_too = try_put(store, "all/never", 400);
    assert_int_equal(away_too.status, STORE_AWAY);
    story_until(loop, &story, "lost ", 10000);
    for (size_t i = 0; i < etcd.count; i++)
        etcd_fixture_restart(&etcd, i);
    AUTO(answer) struct answer renewed = ask_keepalive(loop, store, lease.lease, 25000);
    assert_int_equal(renewed.status, STORE_DONE);
    assert_int_equal(renewed.ttl_ms, 60000);
    put_until_done(store, "all/k", "2");
    story_until(loop, &story, "all/k=2@", 15000);
    assert_null(strstr(buf_cstr(&story.text), "resync"));
    AUTO(answer) struct answer read = ask_get_prefix(loop, store, "all/", 10000);
    assert_int_equal(read.kv_count, 1);
}

#define CLUSTER_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLUSTER_TEST(test_a_killed_member_is_left_for_the_next_within_one_request),
        CLUSTER_TEST(test_a_killed_leader_is_survived_by_a_renewal_and_a_read),
        CLUSTER_TEST(test_a_half_dead_member_costs_its_share_once_and_does_not_pin_the_client),
        CLUSTER_TEST(test_a_change_sent_to_a_half_dead_member_is_unknown_and_sent_nowhere_else),
        CLUSTER_TEST(test_a_watch_leaves_a_killed_member_and_misses_nothing),
        CLUSTER_TEST(test_a_watch_leaves_a_half_dead_member),
        CLUSTER_TEST(test_a_failing_request_makes_the_watch_look_at_once),
        CLUSTER_TEST(test_a_watch_on_a_member_without_majority_is_ended),
        CLUSTER_TEST(test_all_away_and_back_is_survived_by_requests_leases_and_watches),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
