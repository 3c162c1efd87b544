#include "test/lib/mem_store.h"

#include "io/loop.h"
#include "test/unit/store/ask.h"
#include "test/unit/store/contract.h"

struct contract contract;
static struct mem_server *server;

static struct store *another(void)
{
    return mem_store_new(server);
}

static void compact(void)
{
    mem_server_compact(server);
}

static int group_setup(void **state)
{
    contract.loop = loop_new();
    server = mem_server_new(contract.loop);
    contract.store = mem_store_new(server);
    contract.another = another;
    contract.compact = compact;
    return 0;
}

static int group_teardown(void **state)
{
    store_free(contract.store);
    mem_server_free(server);
    loop_free(contract.loop);
    return 0;
}

static int heal(void **state)
{
    mem_server_set_fault(server, MEM_HEALTHY);
    mem_server_set_latency(server, 0);
    return 0;
}

static void test_a_store_that_is_away_answers_when_the_budget_is_over(void **state)
{
    mem_server_set_fault(server, MEM_AWAY);
    AUTO(answer) struct answer a = ask_get_prefix(contract.loop, contract.store, "x/", 100);
    assert_int_equal(a.status, STORE_AWAY);
    assert_int_equal(a.err.code, ERR_TIMEOUT);
    assert_in_range(a.took_ms, 100, 2000);
}

static void test_a_store_that_comes_back_in_time_serves_who_waits(void **state)
{
    struct answer a;

    mem_server_set_fault(server, MEM_AWAY);
    answer_init(&a);
    store_get_prefix(contract.store, "x/", 10000, take_answer, &a);
    run_for(contract.loop, 50);
    assert_false(answer_has_come(&a));
    mem_server_set_fault(server, MEM_HEALTHY);
    await(contract.loop, &a);
    assert_int_equal(a.status, STORE_DONE);
    assert_true(a.took_ms < 5000);
    answer_deinit(&a);
}

static void test_a_lost_answer_is_unknown_and_the_change_is_there(void **state)
{
    const struct store_op op = {.kind = STORE_PUT, .key = "lost/k", .value = "v"};

    mem_server_set_fault(server, MEM_LOSE_ANSWERS);
    AUTO(answer)
    struct answer a = ask_txn(contract.loop, contract.store, &(struct store_txn){.then = &op, .then_count = 1}, 5000);
    assert_int_equal(a.status, STORE_UNKNOWN);
    mem_server_set_fault(server, MEM_HEALTHY);
    AUTO(answer) struct answer b = ask_get_prefix(contract.loop, contract.store, "lost/", 5000);
    assert_int_equal(b.kv_count, 1);
}

static void test_a_refused_change_is_not_there(void **state)
{
    const struct store_op op = {.kind = STORE_PUT, .key = "refused/k", .value = "v"};

    mem_server_set_fault(server, MEM_REFUSE);
    AUTO(answer)
    struct answer a = ask_txn(contract.loop, contract.store, &(struct store_txn){.then = &op, .then_count = 1}, 5000);
    assert_int_equal(a.status, STORE_REFUSED);
    mem_server_set_fault(server, MEM_HEALTHY);
    AUTO(answer) struct answer b = ask_get_prefix(contract.loop, contract.store, "refused/", 5000);
    assert_int_equal(b.kv_count, 0);
}

static void test_answers_take_the_latency_but_no_longer_than_the_budget(void **state)
{
    mem_server_set_latency(server, 80);
    AUTO(answer) struct answer a = ask_get_prefix(contract.loop, contract.store, "x/", 5000);
    assert_int_equal(a.status, STORE_DONE);
    assert_in_range(a.took_ms, 80, 4000);
    AUTO(answer) struct answer b = ask_get_prefix(contract.loop, contract.store, "x/", 20);
    assert_int_equal(b.status, STORE_AWAY);
}

static void test_pushing_the_clock_ends_leases(void **state)
{
    struct story y;
    AUTO(answer) struct answer lease = ask_grant(contract.loop, contract.store, 60000, 5000);
    int64_t revision = ask_put(contract.loop, contract.store, "late/k", "v", lease.lease);

    story_begin(&y, contract.store, "late/", revision + 1);
    mem_server_advance(server, 59000);
    run_for(contract.loop, 20);
    assert_string_equal(buf_cstr(&y.text), "");
    AUTO(answer) struct answer renewed = ask_keepalive(contract.loop, contract.store, lease.lease, 5000);
    assert_int_equal(renewed.ttl_ms, 60000);
    mem_server_advance(server, 59000);
    run_for(contract.loop, 20);
    assert_string_equal(buf_cstr(&y.text), "");
    mem_server_advance(server, 1500);
    story_until(contract.loop, &y, "delete late/k@", 5000);
    story_end(&y);
}

static void test_a_watch_is_told_of_loss_and_return_and_misses_nothing(void **state)
{
    struct story y;
    int64_t revision = ask_put(contract.loop, contract.store, "gap/k", "0", 0);

    story_begin(&y, contract.store, "gap/", revision + 1);
    mem_server_set_fault(server, MEM_LOSE_ANSWERS);
    const struct store_op op = {.kind = STORE_PUT, .key = "gap/k", .value = "1"};
    struct answer a;
    answer_init(&a);
    store_txn(contract.store, &(struct store_txn){.then = &op, .then_count = 1}, 5000, take_answer, &a);
    await(contract.loop, &a);
    answer_deinit(&a);
    story_until(contract.loop, &y, "gap/k=1@", 5000);
    mem_server_set_fault(server, MEM_AWAY);
    story_until(contract.loop, &y, "lost ", 5000);
    mem_server_set_fault(server, MEM_HEALTHY);
    (void)ask_put(contract.loop, contract.store, "gap/k", "2", 0);
    story_until(contract.loop, &y, "lost back put gap/k=2@", 5000);
    story_end(&y);
}

static void test_another_store_behind_the_same_name_is_a_resync(void **state)
{
    struct story y;
    AUTO(answer) struct answer before = ask_get_prefix(contract.loop, contract.store, "x/", 5000);

    story_begin(&y, contract.store, "x/", before.revision + 1);
    run_for(contract.loop, 20);
    mem_server_replace(server);
    story_until(contract.loop, &y, "resync ", 5000);
    AUTO(answer) struct answer after = ask_get_prefix(contract.loop, contract.store, "x/", 5000);
    assert_true(after.cluster_id != before.cluster_id);
    story_end(&y);
}

#define MEM_TEST(name) cmocka_unit_test_teardown(name, heal)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONTRACT_TESTS(CONTRACT_ENTRY) MEM_TEST(test_a_store_that_is_away_answers_when_the_budget_is_over),
        MEM_TEST(test_a_store_that_comes_back_in_time_serves_who_waits),
        MEM_TEST(test_a_lost_answer_is_unknown_and_the_change_is_there),
        MEM_TEST(test_a_refused_change_is_not_there),
        MEM_TEST(test_answers_take_the_latency_but_no_longer_than_the_budget),
        MEM_TEST(test_pushing_the_clock_ends_leases),
        MEM_TEST(test_a_watch_is_told_of_loss_and_return_and_misses_nothing),
        MEM_TEST(test_another_store_behind_the_same_name_is_a_resync),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
