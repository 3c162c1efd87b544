#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "test/unit/web/snapshots.h"

enum { READERS = 3, SNAPSHOTS = 2000 };

static void test_states_and_roles_have_patronis_names(void **state)
{
    (void)state;
    assert_string_equal(node_state_text(NODE_INITDB), "initializing new cluster");
    assert_string_equal(node_state_text(NODE_RUNNING), "running");
    assert_string_equal(node_state_text(NODE_CRASHED), "crashed");
    assert_string_equal(node_state_text(NODE_UNKNOWN), "unknown");
    assert_int_equal(NODE_CREATING_REPLICA, 4);
    assert_int_equal(NODE_CRASHED, 14);
    assert_string_equal(node_role_text(ROLE_PRIMARY), "primary");
    assert_string_equal(node_role_text(ROLE_STANDBY_LEADER), "standby_leader");
    assert_string_equal(node_role_text(ROLE_UNINITIALIZED), "uninitialized");
}

static void test_a_lease_ends_at_its_deadline_and_belongs_to_the_leader(void **state)
{
    AUTO(snapshot) struct snapshot *s = primary();

    (void)state;
    s->lease_deadline_ms = NOW;
    assert_true(snapshot_lease_held(s, NOW - 1));
    assert_false(snapshot_lease_held(s, NOW));
    s->leader = false;
    assert_false(snapshot_lease_held(s, NOW - 1));
}

static void test_a_snapshot_lives_as_long_as_somebody_holds_it(void **state)
{
    struct snapshot_board *board = snapshot_board_new();

    (void)state;
    assert_null(snapshot_newest(board));
    snapshot_publish(board, replica());
    struct snapshot *held = snapshot_newest(board);
    snapshot_publish(board, primary());
    snapshot_board_free(board);
    assert_string_equal(held->name, "n1");
    assert_int_equal(held->role, ROLE_REPLICA);
    snapshot_unref(held);
}

struct shared {
    struct snapshot_board *board;
    atomic_bool over;
    atomic_int backwards;
};

static void *read_on(void *arg)
{
    struct shared *shared = arg;
    uint64_t last = 0;

    while (!atomic_load(&shared->over)) {
        AUTO(snapshot) struct snapshot *s = snapshot_newest(shared->board);

        if (s && (s->seq < last || !str_eq(s->name, "n1")))
            atomic_fetch_add(&shared->backwards, 1);
        last = s ? s->seq : 0;
    }
    return NULL;
}

static void test_readers_of_any_thread_see_whole_snapshots_and_never_an_older_one_again(void **state)
{
    struct shared shared = {.board = snapshot_board_new()};
    pthread_t readers[READERS];

    (void)state;
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_on, &shared), 0);
    for (uint64_t seq = 1; seq <= SNAPSHOTS; seq++) {
        struct snapshot *s = replica();
        s->seq = seq;
        snapshot_publish(shared.board, s);
    }
    atomic_store(&shared.over, true);
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_join(readers[i], NULL), 0);
    assert_int_equal(atomic_load(&shared.backwards), 0);
    snapshot_board_free(shared.board);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states_and_roles_have_patronis_names),
        cmocka_unit_test(test_a_lease_ends_at_its_deadline_and_belongs_to_the_leader),
        cmocka_unit_test(test_a_snapshot_lives_as_long_as_somebody_holds_it),
        cmocka_unit_test(test_readers_of_any_thread_see_whole_snapshots_and_never_an_older_one_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
