#include "test/unit/store/contract.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "io/loop.h"
#include "test/unit/store/ask.h"

enum { WATCH_PATIENCE_MS = 15000 };

static char prefix[16];

int contract_test_setup(void **state)
{
    static int number;

    (void)snprintf(prefix, sizeof(prefix), "t%03d/", number++);
    *state = prefix;
    return 0;
}

/* "<prefix>name"; eight at a time. */
static const char *key(const char *name)
{
    static char keys[8][64];
    static unsigned int next;
    char *to = keys[next++ % 8];

    (void)snprintf(to, sizeof(keys[0]), "%s%s", prefix, name);
    return to;
}

static int64_t put(const char *name, const char *value, int64_t lease)
{
    return ask_put(contract.loop, contract.store, key(name), value, lease);
}

static struct answer get_all(void)
{
    struct answer a = ask_get_prefix(contract.loop, contract.store, prefix, ASK_BUDGET_MS);

    if (a.status != STORE_DONE)
        fail_msg("%s", a.err.text);
    return a;
}

/* One compare, one put: did it go through? */
static bool put_if(struct store_compare compare, const char *name, const char *value)
{
    const struct store_op op = {.kind = STORE_PUT, .key = key(name), .value = value};
    AUTO(answer)
    struct answer a = ask_txn(
        contract.loop, contract.store,
        &(struct store_txn){.compares = &compare, .compare_count = 1, .then = &op, .then_count = 1}, ASK_BUDGET_MS);

    assert_int_equal(a.status, STORE_DONE);
    return a.succeeded;
}

/* ---- keys ---- */

void contract_an_empty_prefix_has_no_keys_and_a_revision(void **state)
{
    AUTO(answer) struct answer a = get_all();

    assert_int_equal(a.kv_count, 0);
    assert_true(a.revision > 0);
    assert_true(a.cluster_id != 0);
    assert_true(a.raft_term > 0);
}

void contract_values_come_back_byte_for_byte(void **state)
{
    static const char *const values[] = {"", "x", "xy", "xyz", "{\"ö\":\"\\n\\\"\\u0001✓\"}", "\x01\xff\xfe\n\t"};

    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        (void)put("k", values[i], 0);
        AUTO(answer) struct answer a = get_all();
        assert_int_equal(a.kv_count, 1);
        assert_int_equal(a.kvs[0].value_len, strlen(values[i]));
        assert_string_equal(a.kvs[0].value, values[i]);
        assert_string_equal(a.kvs[0].key, key("k"));
    }
}

void contract_a_prefix_covers_its_keys_in_order_and_no_others(void **state)
{
    (void)put("m/b", "2", 0);
    (void)put("m/a", "1", 0);
    (void)put("m", "no", 0);
    (void)put("m0", "no", 0); /* '0' follows '/' */
    (void)put("m/\xff", "3", 0);
    AUTO(answer) struct answer a = ask_get_prefix(contract.loop, contract.store, key("m/"), ASK_BUDGET_MS);
    assert_int_equal(a.kv_count, 3);
    assert_string_equal(a.kvs[0].value, "1");
    assert_string_equal(a.kvs[1].value, "2");
    assert_string_equal(a.kvs[2].value, "3");
}

void contract_revisions_tell_creation_from_change(void **state)
{
    int64_t created = put("k", "1", 0);
    int64_t changed = put("k", "2", 0);
    AUTO(answer) struct answer a = get_all();

    assert_true(changed > created);
    assert_int_equal(a.kvs[0].create_revision, created);
    assert_int_equal(a.kvs[0].mod_revision, changed);
    assert_true(a.revision >= changed);

    (void)ask_delete(contract.loop, contract.store, key("k"));
    int64_t again = put("k", "3", 0);
    AUTO(answer) struct answer b = get_all();
    assert_int_equal(b.kvs[0].create_revision, again);
}

/* ---- transactions ---- */

void contract_of_two_who_create_a_key_one_succeeds(void **state)
{
    const struct store_compare absent = {.kind = STORE_IF_ABSENT, .key = key("leader")};
    struct store *other = contract.another();
    struct store *const stores[] = {contract.store, other};
    struct answer answers[2];

    for (size_t i = 0; i < 2; i++) {
        const struct store_op create = {.kind = STORE_PUT, .key = key("leader"), .value = i ? "second" : "first"};
        const struct store_op look = {.kind = STORE_GET, .key = key("leader")};
        answer_init(&answers[i]);
        store_txn(stores[i],
                  &(struct store_txn){.compares = &absent,
                                      .compare_count = 1,
                                      .then = &create,
                                      .then_count = 1,
                                      .otherwise = &look,
                                      .otherwise_count = 1},
                  ASK_BUDGET_MS, take_answer, &answers[i]);
    }
    await(contract.loop, &answers[0]);
    await(contract.loop, &answers[1]);
    assert_int_equal(answers[0].status, STORE_DONE);
    assert_int_equal(answers[1].status, STORE_DONE);
    assert_int_equal(answers[0].succeeded + answers[1].succeeded, 1);
    size_t loser = answers[0].succeeded ? 1 : 0;
    assert_int_equal(answers[loser].kv_count, 1);
    assert_string_equal(answers[loser].kvs[0].value, loser ? "first" : "second");
    answer_deinit(&answers[0]);
    answer_deinit(&answers[1]);
    store_free(other);
}

void contract_a_key_that_must_be_there_is_looked_for(void **state)
{
    const struct store_compare present = {.kind = STORE_IF_PRESENT, .key = key("k")};

    assert_false(put_if(present, "k", "1"));
    (void)put("k", "1", 0);
    assert_true(put_if(present, "k", "2"));
}

void contract_a_change_since_the_read_is_noticed(void **state)
{
    int64_t revision = put("k", "1", 0);
    struct store_compare same = {.kind = STORE_IF_MOD_REVISION, .key = key("k"), .revision = revision};

    assert_true(put_if(same, "k", "2"));
    assert_false(put_if(same, "k", "3"));
    same.revision = 0; /* "not there" */
    assert_false(put_if(same, "k", "3"));
    (void)ask_delete(contract.loop, contract.store, key("k"));
    assert_true(put_if(same, "k", "3"));
}

void contract_a_value_is_compared_and_no_value_equals_none(void **state)
{
    struct store_compare mine = {.kind = STORE_IF_VALUE, .key = key("k"), .value = "me"};

    assert_false(put_if(mine, "k", "x"));
    mine.value = "";
    assert_false(put_if(mine, "k", "x")); /* a key that is not there has no value, not an empty one */
    mine.value = "me";
    (void)put("k", "me", 0);
    assert_true(put_if(mine, "k", "you"));
    assert_false(put_if(mine, "k", "x"));
}

void contract_all_compares_must_hold(void **state)
{
    (void)put("a", "1", 0);
    const struct store_compare compares[] = {
        {.kind = STORE_IF_PRESENT, .key = key("a")},
        {.kind = STORE_IF_ABSENT, .key = key("b")},
        {.kind = STORE_IF_VALUE, .key = key("a"), .value = "2"},
    };
    const struct store_op then = {.kind = STORE_PUT, .key = key("b"), .value = "then"};
    const struct store_op otherwise = {.kind = STORE_PUT, .key = key("c"), .value = "otherwise"};
    struct store_txn txn = {.compares = compares,
                            .compare_count = 3,
                            .then = &then,
                            .then_count = 1,
                            .otherwise = &otherwise,
                            .otherwise_count = 1};

    AUTO(answer) struct answer a = ask_txn(contract.loop, contract.store, &txn, ASK_BUDGET_MS);
    assert_int_equal(a.status, STORE_DONE);
    assert_false(a.succeeded);
    txn.compare_count = 2;
    AUTO(answer) struct answer b = ask_txn(contract.loop, contract.store, &txn, ASK_BUDGET_MS);
    assert_true(b.succeeded);
    AUTO(answer) struct answer all = get_all();
    assert_int_equal(all.kv_count, 3);
    assert_string_equal(all.kvs[2].value, "otherwise");
}

void contract_reads_of_a_transaction_come_back_in_order(void **state)
{
    (void)put("b/1", "one", 0);
    (void)put("b/2", "two", 0);
    (void)put("a", "last", 0);
    const struct store_op ops[] = {
        {.kind = STORE_GET_PREFIX, .key = key("b/")},
        {.kind = STORE_GET, .key = key("nothing")},
        {.kind = STORE_PUT, .key = key("c"), .value = "new"},
        {.kind = STORE_GET, .key = key("c")},
        {.kind = STORE_GET, .key = key("a")},
    };
    AUTO(answer)
    struct answer a =
        ask_txn(contract.loop, contract.store, &(struct store_txn){.then = ops, .then_count = 5}, ASK_BUDGET_MS);

    assert_true(a.succeeded);
    assert_int_equal(a.kv_count, 4);
    assert_string_equal(a.kvs[0].value, "one");
    assert_string_equal(a.kvs[1].value, "two");
    assert_string_equal(a.kvs[2].value, "new");
    assert_string_equal(a.kvs[3].value, "last");
}

void contract_deleting_takes_one_key_or_a_prefix(void **state)
{
    (void)put("a", "", 0);
    (void)put("ab", "", 0);
    (void)put("b/1", "", 0);
    (void)put("b/2", "", 0);
    (void)put("b", "", 0);
    (void)ask_delete(contract.loop, contract.store, key("a"));
    (void)ask_delete(contract.loop, contract.store, key("never there"));
    const struct store_op op = {.kind = STORE_DELETE_PREFIX, .key = key("b/")};
    AUTO(answer)
    struct answer a =
        ask_txn(contract.loop, contract.store, &(struct store_txn){.then = &op, .then_count = 1}, ASK_BUDGET_MS);
    assert_true(a.succeeded);
    AUTO(answer) struct answer left = get_all();
    assert_int_equal(left.kv_count, 2);
    assert_string_equal(left.kvs[0].key, key("ab"));
    assert_string_equal(left.kvs[1].key, key("b"));
}

/* ---- leases ---- */

static int64_t grant(msec ttl_ms)
{
    AUTO(answer) struct answer a = ask_grant(contract.loop, contract.store, ttl_ms, ASK_BUDGET_MS);

    assert_int_equal(a.status, STORE_DONE);
    assert_true(a.lease != 0);
    return a.lease;
}

void contract_a_lease_is_granted_renewed_and_revoked_with_its_keys(void **state)
{
    AUTO(answer) struct answer granted = ask_grant(contract.loop, contract.store, 29500, ASK_BUDGET_MS);

    assert_int_equal(granted.ttl_ms, 30000); /* whole seconds, never less than was asked */
    (void)put("mine", "x", granted.lease);
    (void)put("other", "y", 0);
    AUTO(answer) struct answer all = get_all();
    assert_int_equal(all.kvs[0].lease, granted.lease);
    assert_int_equal(all.kvs[1].lease, 0);

    AUTO(answer) struct answer renewed = ask_keepalive(contract.loop, contract.store, granted.lease, ASK_BUDGET_MS);
    assert_int_equal(renewed.status, STORE_DONE);
    assert_int_equal(renewed.lease, granted.lease);
    assert_int_equal(renewed.ttl_ms, 30000);

    AUTO(answer) struct answer revoked = ask_revoke(contract.loop, contract.store, granted.lease, ASK_BUDGET_MS);
    assert_int_equal(revoked.status, STORE_DONE);
    AUTO(answer) struct answer left = get_all();
    assert_int_equal(left.kv_count, 1);
    assert_string_equal(left.kvs[0].key, key("other"));
}

void contract_renewing_a_dead_lease_is_done_with_nothing_left(void **state)
{
    int64_t lease = grant(60000);

    AUTO(answer) struct answer revoked = ask_revoke(contract.loop, contract.store, lease, ASK_BUDGET_MS);
    assert_int_equal(revoked.status, STORE_DONE);
    AUTO(answer) struct answer renewed = ask_keepalive(contract.loop, contract.store, lease, ASK_BUDGET_MS);
    assert_int_equal(renewed.status, STORE_DONE);
    assert_int_equal(renewed.ttl_ms, 0);
    AUTO(answer) struct answer again = ask_revoke(contract.loop, contract.store, lease, ASK_BUDGET_MS);
    assert_int_equal(again.status, STORE_DONE);
}

void contract_a_put_on_a_dead_lease_refuses_the_whole_transaction(void **state)
{
    const struct store_op ops[] = {
        {.kind = STORE_PUT, .key = key("a"), .value = "1"},
        {.kind = STORE_PUT, .key = key("b"), .value = "2", .lease = 4711},
    };
    AUTO(answer)
    struct answer a =
        ask_txn(contract.loop, contract.store, &(struct store_txn){.then = ops, .then_count = 2}, ASK_BUDGET_MS);

    assert_int_equal(a.status, STORE_REFUSED);
    assert_int_equal(a.err.code, ERR_NOT_FOUND);
    AUTO(answer) struct answer all = get_all();
    assert_int_equal(all.kv_count, 0);
}

void contract_a_key_changed_twice_refuses_the_whole_transaction(void **state)
{
    const struct store_op ops[] = {
        {.kind = STORE_PUT, .key = key("a"), .value = "1"},
        {.kind = STORE_PUT, .key = key("a"), .value = "2"},
    };
    AUTO(answer)
    struct answer a =
        ask_txn(contract.loop, contract.store, &(struct store_txn){.then = ops, .then_count = 2}, ASK_BUDGET_MS);

    assert_int_equal(a.status, STORE_REFUSED);
    AUTO(answer) struct answer all = get_all();
    assert_int_equal(all.kv_count, 0);
}

void contract_a_lease_ends_and_its_keys_with_it(void **state)
{
    msec begin_ms = loop_clock_ms();
    int64_t lease = grant(1000);
    struct story y;
    int64_t revision = put("k", "v", lease);

    story_begin(&y, contract.store, prefix, revision + 1);
    story_until(contract.loop, &y, "delete ", WATCH_PATIENCE_MS);
    assert_true(loop_clock_ms() - begin_ms >= 1000);
    story_end(&y);
    AUTO(answer) struct answer a = get_all();
    assert_int_equal(a.kv_count, 0);
    AUTO(answer) struct answer renewed = ask_keepalive(contract.loop, contract.store, lease, ASK_BUDGET_MS);
    assert_int_equal(renewed.ttl_ms, 0);
}

void contract_the_deadline_counts_from_before_the_request_was_sent(void **state)
{
    msec before_ms = loop_clock_ms();
    AUTO(answer) struct answer a = ask_grant(contract.loop, contract.store, 60000, ASK_BUDGET_MS);

    assert_true(a.sent_at_ms >= before_ms);
    assert_true(a.sent_at_ms <= before_ms + a.took_ms);
}

/* ---- watches ---- */

void contract_a_watch_replays_from_its_revision_then_follows(void **state)
{
    struct story y;
    AUTO(buf) struct buf want = BUF_EMPTY;
    int64_t first = put("a", "0", 0);
    int64_t second = put("a", "1", 0);
    int64_t third = ask_delete(contract.loop, contract.store, key("a"));

    buf_printf(&want, "put %s=1@%d delete %s@%d ", key("a"), (int)second, key("a"), (int)third);
    story_begin(&y, contract.store, prefix, first + 1);
    story_until(contract.loop, &y, "delete ", WATCH_PATIENCE_MS);
    assert_string_equal(buf_cstr(&y.text), buf_cstr(&want));

    /* Two changes of one revision, and one that is none of ours. */
    (void)ask_put(contract.loop, contract.store, "elsewhere", "x", 0);
    const struct store_op ops[] = {
        {.kind = STORE_PUT, .key = key("b"), .value = "2"},
        {.kind = STORE_PUT, .key = key("c"), .value = "3"},
    };
    AUTO(answer)
    struct answer a =
        ask_txn(contract.loop, contract.store, &(struct store_txn){.then = ops, .then_count = 2}, ASK_BUDGET_MS);
    buf_printf(&want, "put %s=2@%d put %s=3@%d ", key("b"), (int)a.revision, key("c"), (int)a.revision);
    story_until(contract.loop, &y, buf_cstr(&want), WATCH_PATIENCE_MS);
    assert_string_equal(buf_cstr(&y.text), buf_cstr(&want));
    story_end(&y);
}

void contract_a_watch_from_the_next_revision_shows_only_what_is_new(void **state)
{
    struct story y;
    AUTO(buf) struct buf want = BUF_EMPTY;
    int64_t old = put("k", "old", 0);

    story_begin(&y, contract.store, prefix, old + 1);
    run_for(contract.loop, 100);
    assert_string_equal(buf_cstr(&y.text), "");
    int64_t new = put("k", "new", 0);
    buf_printf(&want, "put %s=new@%d ", key("k"), (int)new);
    story_until(contract.loop, &y, "put", WATCH_PATIENCE_MS);
    assert_string_equal(buf_cstr(&y.text), buf_cstr(&want));
    story_end(&y);
}

void contract_a_watch_shows_the_end_of_a_lease_as_deletions_of_one_revision(void **state)
{
    struct story y;
    int64_t lease = grant(60000);
    AUTO(buf) struct buf want = BUF_EMPTY;

    (void)put("a", "1", lease);
    int64_t revision = put("b", "2", lease);
    story_begin(&y, contract.store, prefix, revision + 1);
    AUTO(answer) struct answer revoked = ask_revoke(contract.loop, contract.store, lease, ASK_BUDGET_MS);
    assert_int_equal(revoked.status, STORE_DONE);
    buf_printf(&want, "delete %s@%d delete %s@%d ", key("a"), (int)revision + 1, key("b"), (int)revision + 1);
    story_until(contract.loop, &y, buf_cstr(&want), WATCH_PATIENCE_MS);
    story_end(&y);
}

void contract_a_watch_that_wants_what_is_compacted_says_resync(void **state)
{
    struct story y;
    int64_t old = put("k", "1", 0);

    (void)put("k", "2", 0);
    (void)put("k", "3", 0);
    contract.compact();
    story_begin(&y, contract.store, prefix, old);
    story_until(contract.loop, &y, "resync ", WATCH_PATIENCE_MS);
    assert_string_equal(buf_cstr(&y.text), "resync ");

    /* What begins after a fresh read goes on. */
    AUTO(answer) struct answer a = get_all();
    assert_int_equal(a.kv_count, 1);
    story_end(&y);
    story_begin(&y, contract.store, prefix, a.revision + 1);
    (void)put("k", "4", 0);
    story_until(contract.loop, &y, "=4@", WATCH_PATIENCE_MS);
    story_end(&y);
}

void contract_two_watches_are_told_the_same(void **state)
{
    struct store *other = contract.another();
    struct story y[2];
    int64_t revision = put("k", "0", 0);

    story_begin(&y[0], contract.store, prefix, revision + 1);
    story_begin(&y[1], other, prefix, revision + 1);
    (void)put("k", "1", 0);
    (void)put("k", "2", 0);
    story_until(contract.loop, &y[0], "=2@", WATCH_PATIENCE_MS);
    story_until(contract.loop, &y[1], "=2@", WATCH_PATIENCE_MS);
    assert_string_equal(buf_cstr(&y[0].text), buf_cstr(&y[1].text));
    story_end(&y[0]);
    story_end(&y[1]);
    store_free(other);
}

struct hanger {
    struct store_watch *watch;
    struct store *store;
    int told;
};

static void stop_at_once(const struct store_event *e, void *arg)
{
    struct hanger *h = arg;

    h->told++;
    store_watch_stop(h->watch);
}

void contract_a_watch_may_be_stopped_from_inside_its_callback(void **state)
{
    struct hanger h = {0};
    msec end_ms = loop_clock_ms() + WATCH_PATIENCE_MS;
    int64_t revision = put("k", "1", 0);

    (void)put("k", "2", 0);
    (void)put("k", "3", 0);
    h.watch = store_watch_start(contract.store, prefix, revision, stop_at_once, &h);
    while (!h.told && loop_clock_ms() < end_ms)
        loop_turn(contract.loop, 100);
    run_for(contract.loop, 100);
    assert_int_equal(h.told, 1);
}

static void free_at_once(const struct store_event *e, void *arg)
{
    struct hanger *h = arg;

    h->told++;
    store_free(h->store);
}

static void free_in_answer(const struct store_result *r, void *arg)
{
    struct hanger *h = arg;

    h->told++;
    store_free(h->store);
}

void contract_the_store_may_be_freed_from_inside_its_callbacks(void **state)
{
    struct hanger h = {.store = contract.another()};
    msec end_ms = loop_clock_ms() + WATCH_PATIENCE_MS;
    int64_t revision = put("k", "1", 0);

    (void)put("k", "2", 0);
    (void)store_watch_start(h.store, prefix, revision, free_at_once, &h);
    (void)store_watch_start(h.store, prefix, revision + 1000, free_at_once, &h);
    while (!h.told && loop_clock_ms() < end_ms)
        loop_turn(contract.loop, 100);
    run_for(contract.loop, 50);
    assert_int_equal(h.told, 1);

    h = (struct hanger){.store = contract.another()};
    store_get_prefix(h.store, prefix, ASK_BUDGET_MS, free_in_answer, &h);
    store_lease_grant(h.store, 1000, ASK_BUDGET_MS, free_in_answer, &h);
    while (!h.told && loop_clock_ms() < end_ms)
        loop_turn(contract.loop, 100);
    run_for(contract.loop, 50);
    assert_int_equal(h.told, 1);
}

static void count_event(const struct store_event *e, void *arg)
{
    (*(int *)arg)++;
}

static void count_answer(const struct store_result *r, void *arg)
{
    (*(int *)arg)++;
}

void contract_nothing_is_told_after_the_store_is_freed(void **state)
{
    /* At once, and with everything under way. */
    for (int turns = 0; turns < 3; turns++) {
        struct store *s = contract.another();
        int told = 0;

        store_get_prefix(s, prefix, ASK_BUDGET_MS, count_answer, &told);
        store_lease_grant(s, 1000, ASK_BUDGET_MS, count_answer, &told);
        (void)store_watch_start(s, prefix, 1, count_event, &told);
        for (int i = 0; i < turns; i++)
            loop_turn(contract.loop, 0);
        store_free(s);
        told = 0;
        run_for(contract.loop, 50);
        assert_int_equal(told, 0);
    }
}

void contract_arguments_are_copied(void **state)
{
    char name[64];
    char value[] = "value";
    struct answer a;

    str_copy(name, sizeof(name), key("k"));
    struct store_compare compare = {.kind = STORE_IF_ABSENT, .key = name};
    struct store_op op = {.kind = STORE_PUT, .key = name, .value = value};
    answer_init(&a);
    store_txn(contract.store,
              &(struct store_txn){.compares = &compare, .compare_count = 1, .then = &op, .then_count = 1},
              ASK_BUDGET_MS, take_answer, &a);
    memset(name, 'x', sizeof(name) - 1);
    memset(value, 'x', sizeof(value) - 1);
    memset(&op, 0, sizeof(op));
    memset(&compare, 0, sizeof(compare));
    await(contract.loop, &a);
    assert_true(a.succeeded);
    answer_deinit(&a);
    AUTO(answer) struct answer all = get_all();
    assert_string_equal(all.kvs[0].value, "value");
}
