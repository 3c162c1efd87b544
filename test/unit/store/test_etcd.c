/*
 * The etcd client against one real etcd: the contract, and the traps of the JSON gateway.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "base/str.h"
#include "io/loop.h"
#include "test/lib/etcd_fixture.h"
#include "test/unit/store/ask.h"
#include "test/unit/store/contract.h"

struct contract contract;
static struct etcd_fixture etcd;
static struct settings settings;

static struct store *another(void)
{
    struct store *s;
    struct err err = {0};

    if (!store_new(contract.loop, &settings, &s, &err))
        fail_msg("%s", err.text);
    return s;
}

static void compact(void)
{
    AUTO(answer) struct answer now = ask_get_prefix(contract.loop, contract.store, "x", ASK_BUDGET_MS);
    AUTO(cstr) char *body = str_fmt("{\"revision\":\"%" PRId64 "\",\"physical\":true}", now.revision);

    assert_true(etcd_fixture_post(&etcd, "/v3/kv/compaction", body));
}

static int group_setup(void **state)
{
    if (!etcd_fixture_start(&etcd, 1, NULL)) {
        print_error("no etcd here\n");
        return -1;
    }
    etcd_fixture_settings(&etcd, &settings);
    contract.loop = loop_new();
    contract.store = another();
    contract.another = another;
    contract.compact = compact;
    AUTO(answer) struct answer first = ask_get_prefix(contract.loop, contract.store, "x", 25000);
    return first.status == STORE_DONE ? 0 : -1;
}

static int group_teardown(void **state)
{
    store_free(contract.store);
    loop_free(contract.loop);
    etcd_fixture_settings_deinit(&settings);
    etcd_fixture_stop(&etcd);
    return 0;
}

static void test_it_says_what_it_is_connected_to(void **state)
{
    AUTO(cstr) char *end = str_fmt(" at %s", etcd.members[0].host);
    struct store *fresh = another();

    assert_true(str_starts(store_describe(contract.store), "etcd 3."));
    assert_true(str_ends(store_describe(contract.store), end));
    assert_true(str_ends(store_describe(fresh), " (no answer yet)"));
    store_free(fresh);
}

static void test_the_clusters_identity_and_term_come_with_every_answer(void **state)
{
    AUTO(answer) struct answer read = ask_get_prefix(contract.loop, contract.store, "id/", ASK_BUDGET_MS);
    AUTO(answer) struct answer lease = ask_grant(contract.loop, contract.store, 5000, ASK_BUDGET_MS);
    AUTO(answer) struct answer renewed = ask_keepalive(contract.loop, contract.store, lease.lease, ASK_BUDGET_MS);

    assert_true(read.cluster_id != 0);
    assert_true(read.cluster_id == lease.cluster_id);
    assert_true(read.cluster_id == renewed.cluster_id);
    assert_true(read.raft_term > 0);
    assert_true(renewed.raft_term >= read.raft_term);
}

/* Its fsync and its raft make an expiry late, never early: we must stop believing before it does. */
static void test_expiry_lags_but_never_comes_before_the_lease_is_over(void **state)
{
    struct story y;
    AUTO(answer) struct answer lease = ask_grant(contract.loop, contract.store, 1000, ASK_BUDGET_MS);
    int64_t revision = ask_put(contract.loop, contract.store, "lag/k", "v", lease.lease);

    run_for(contract.loop, 300);
    AUTO(answer) struct answer renewed = ask_keepalive(contract.loop, contract.store, lease.lease, ASK_BUDGET_MS);
    assert_int_equal(renewed.ttl_ms, lease.ttl_ms);
    story_begin(&y, contract.store, "lag/", revision + 1);
    story_until(contract.loop, &y, "delete lag/k", 10000);
    assert_true(loop_clock_ms() >= renewed.sent_at_ms + renewed.ttl_ms);
    story_end(&y);
}

/* Larger than what one read of the socket brings, and than HTTP's chunks. */
static void test_messages_larger_than_any_chunk_are_put_together(void **state)
{
    static char big[200001];
    struct story y;
    AUTO(answer) struct answer before = ask_get_prefix(contract.loop, contract.store, "big/", ASK_BUDGET_MS);

    memset(big, 'x', sizeof(big) - 1);
    story_begin(&y, contract.store, "big/", before.revision + 1);
    run_for(contract.loop, 100);
    (void)ask_put(contract.loop, contract.store, "big/a", big, 0);
    (void)ask_put(contract.loop, contract.store, "big/b", big, 0);
    story_until(contract.loop, &y, "put big/b=", 15000);
    AUTO(answer) struct answer all = ask_get_prefix(contract.loop, contract.store, "big/", ASK_BUDGET_MS);
    assert_int_equal(all.kv_count, 2);
    assert_string_equal(all.kvs[1].value, big);
    story_end(&y);
}

static void test_a_watch_goes_on_after_etcd_was_killed_and_came_back(void **state)
{
    struct story y;
    AUTO(buf) struct buf want = BUF_EMPTY;
    int64_t first = ask_put(contract.loop, contract.store, "re/k", "1", 0);

    story_begin(&y, contract.store, "re/", first);
    story_until(contract.loop, &y, "=1@", 10000);
    etcd_fixture_kill(&etcd, 0);
    story_until(contract.loop, &y, "lost ", 10000);
    etcd_fixture_restart(&etcd, 0);
    int64_t second = ask_put(contract.loop, contract.store, "re/k", "2", 0);
    story_until(contract.loop, &y, "=2@", 20000);
    buf_printf(&want, "put re/k=1@%d lost back put re/k=2@%d ", (int)first, (int)second);
    assert_string_equal(buf_cstr(&y.text), buf_cstr(&want));
    story_end(&y);
}

static void test_nobody_there_is_away_when_the_budget_is_over_and_all_is_well_when_it_returns(void **state)
{
    etcd_fixture_kill(&etcd, 0);
    const struct store_op op = {.kind = STORE_PUT, .key = "away/k", .value = "v"};
    AUTO(answer)
    struct answer away = ask_txn(contract.loop, contract.store, &(struct store_txn){.then = &op, .then_count = 1}, 500);
    assert_int_equal(away.status, STORE_AWAY);
    assert_true(away.took_ms <= 1500);

    /* A change that was never sent waits for the store, within its budget. */
    struct answer waits;
    answer_init(&waits);
    store_txn(contract.store, &(struct store_txn){.then = &op, .then_count = 1}, 20000, take_answer, &waits);
    run_for(contract.loop, 200);
    assert_false(answer_has_come(&waits));
    etcd_fixture_restart(&etcd, 0);
    await(contract.loop, &waits);
    assert_int_equal(waits.status, STORE_DONE);
    answer_deinit(&waits);
}

/* Connections are taken by the kernel, requests go out, nothing comes back. */
static void test_a_stopped_etcd_leaves_a_change_unknown_and_a_watch_lost_then_back(void **state)
{
    struct story y;
    const struct store_op op = {.kind = STORE_PUT, .key = "stop/k", .value = "v"};
    AUTO(answer) struct answer before = ask_get_prefix(contract.loop, contract.store, "stop/", ASK_BUDGET_MS);

    story_begin(&y, contract.store, "stop/", before.revision + 1);
    (void)ask_put(contract.loop, contract.store, "stop/begun", "", 0);
    story_until(contract.loop, &y, "put stop/begun", 10000);
    etcd_fixture_signal(&etcd, 0, SIGSTOP);
    AUTO(answer)
    struct answer unknown =
        ask_txn(contract.loop, contract.store, &(struct store_txn){.then = &op, .then_count = 1}, 500);
    assert_int_equal(unknown.status, STORE_UNKNOWN);
    assert_int_equal(unknown.err.code, ERR_TIMEOUT);
    story_until(contract.loop, &y, "lost ", 10000);
    etcd_fixture_signal(&etcd, 0, SIGCONT);
    story_until(contract.loop, &y, "lost back ", 15000);
    (void)ask_put(contract.loop, contract.store, "stop/after", "", 0);
    story_until(contract.loop, &y, "put stop/after", 10000);
    story_end(&y);
}

static void test_reconfiguring_moves_requests_and_watches_and_a_bad_one_changes_nothing(void **state)
{
    struct etcd_fixture second = {0};
    struct settings to_second;
    struct story y;
    struct err err;
    struct answer under_way;
    AUTO(answer) struct answer before = ask_get_prefix(contract.loop, contract.store, "mv/", ASK_BUDGET_MS);

    assert_true(etcd_fixture_start(&second, 1, NULL));
    etcd_fixture_settings(&second, &to_second);
    struct store *s = another();
    assert_false(store_reconfigure(s, &(struct settings){.store.kind = STORE_ETCD3}, &err));
    assert_int_equal(err.code, ERR_INPUT);
    story_begin(&y, s, "mv/", before.revision + 1);
    (void)ask_put(contract.loop, s, "mv/old", "", 0);
    story_until(contract.loop, &y, "put mv/old", 10000);

    answer_init(&under_way);
    store_get_prefix(s, "mv/", ASK_BUDGET_MS, take_answer, &under_way);
    loop_turn(contract.loop, 0);
    assert_true(store_reconfigure(s, &to_second, &err));
    await(contract.loop, &under_way);
    assert_true(under_way.cluster_id == before.cluster_id); /* finished where it began */
    answer_deinit(&under_way);
    story_until(contract.loop, &y, "resync ", 25000); /* it is another store */
    AUTO(answer) struct answer after = ask_get_prefix(contract.loop, s, "mv/", 25000);
    assert_int_equal(after.kv_count, 0);
    assert_true(str_ends(store_describe(s), second.members[0].host));
    story_end(&y);
    store_free(s);
    etcd_fixture_settings_deinit(&to_second);
    etcd_fixture_stop(&second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONTRACT_TESTS(CONTRACT_ENTRY) cmocka_unit_test(test_it_says_what_it_is_connected_to),
        cmocka_unit_test(test_the_clusters_identity_and_term_come_with_every_answer),
        cmocka_unit_test(test_expiry_lags_but_never_comes_before_the_lease_is_over),
        cmocka_unit_test(test_messages_larger_than_any_chunk_are_put_together),
        cmocka_unit_test(test_a_watch_goes_on_after_etcd_was_killed_and_came_back),
        cmocka_unit_test(test_nobody_there_is_away_when_the_budget_is_over_and_all_is_well_when_it_returns),
        cmocka_unit_test(test_a_stopped_etcd_leaves_a_change_unknown_and_a_watch_lost_then_back),
        cmocka_unit_test(test_reconfiguring_moves_requests_and_watches_and_a_bad_one_changes_nothing),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
