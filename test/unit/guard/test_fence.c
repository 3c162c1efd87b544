/* The fence over a real PostgreSQL: it stops softly, then kills all that is left, by its deadline. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "pgrig.h"

static struct rig rig;

static int setup(void **state)
{
    pgrig_init(&rig);
    return 0;
}

static int teardown(void **state)
{
    pgrig_deinit(&rig);
    return 0;
}

static void signal_instance(int signo)
{
    pid_t pids[64];
    int count = rig_instance(&rig, pids, 64);

    assert_in_range(count, 1, 64);
    for (int i = 0; i < count; i++)
        (void)kill(pids[i], signo);
}

static void test_fence_stops_softly_before_it_kills(void **state)
{
    rig_begin(&rig);
    (void)pgrig_start(&rig);
    struct guard_msg arm = rig_arm_at(100, 4000, 5000);

    assert_true(rig_ask(&rig, &arm));
    rig_until_state(&rig, GUARD_PG_NONE, RIG_WAIT_MS);
    assert_int_equal(rig_exit_code(rig.last.exit_status), 0);
    assert_int_equal(rig.last.fence_fired, 1);
    assert_true(pgrig_log_says(&rig, "database system is shut down", 0));
}

static void test_fence_kills_a_stopped_backend_by_its_deadline(void **state)
{
    rig_begin(&rig);
    (void)pgrig_start(&rig);
    pid_t backend;
    PGconn *conn = pgrig_stopped_backend(&rig, &backend);
    struct guard_msg arm = rig_arm_at(200, 400, 800);
    struct guard_msg start = pgrig_start_message(&rig);
    struct guard_msg disarm = rig_message(GUARD_DISARM);

    assert_true(rig_ask(&rig, &arm));
    rig_until_no_instance(&rig, RIG_WAIT_MS);
    assert_in_range(rig_now_ms(), arm.kill_at_ms, arm.kill_at_ms + RIG_SLACK_MS);
    rig_until_state(&rig, GUARD_PG_NONE, RIG_WAIT_MS);
    assert_int_equal(rig.last.fence_fired, 1);
    assert_int_equal(rig.last.fence_spent, 1);
    assert_true(pgrig_log_says(&rig, "received immediate shutdown request", 0));

    assert_false(rig_ask(&rig, &start));
    assert_true(rig_ask(&rig, &disarm));
    (void)pgrig_start(&rig);
    PQfinish(conn);
}

static void test_fence_kills_a_busy_orphan_of_a_killed_postmaster(void **state)
{
    rig_begin(&rig);
    pid_t pid = pgrig_start(&rig);
    PGconn *conn = pgrig_connect(&rig);
    pid_t busy = pgrig_make_busy(conn);

    assert_int_equal(kill(pid, SIGKILL), 0);
    rig_until_state(&rig, GUARD_PG_ORPHANS, RIG_WAIT_MS);
    assert_true(rig_alive(busy));
    struct guard_msg arm = rig_arm_at(300, 300, 300); /* before the guard would clear it of its own accord */
    assert_true(rig_ask(&rig, &arm));
    rig_until_no_instance(&rig, RIG_WAIT_MS);
    assert_in_range(rig_now_ms(), arm.kill_at_ms, arm.kill_at_ms + RIG_SLACK_MS);
    rig_until_state(&rig, GUARD_PG_NONE, RIG_WAIT_MS);
    assert_int_equal(rig.last.fence_fired, 1);
    PQfinish(conn);
}

static void test_renewed_fence_does_not_fire(void **state)
{
    rig_begin(&rig);
    pid_t pid = pgrig_start(&rig);

    for (int i = 0; i < 10; i++) {
        struct guard_msg arm = rig_arm_at(200, 250, 300);
        assert_true(rig_ask(&rig, &arm));
        rig_nap(60);
    }
    struct guard_msg disarm = rig_message(GUARD_DISARM);
    assert_true(rig_ask(&rig, &disarm));
    rig_nap(400);
    assert_true(rig_alive(pid));
    assert_int_equal(rig.last.fence_fired, 0);
}

static void test_fence_fires_although_the_agent_hangs(void **state)
{
    rig_begin(&rig);
    (void)pgrig_start(&rig);
    struct guard_msg arm = rig_arm_at(300, 400, 500);

    assert_true(rig_ask(&rig, &arm));
    assert_int_equal(kill(rig.agent, SIGSTOP), 0);
    rig_until_no_instance(&rig, 500 + RIG_SLACK_MS);
}

static void test_fence_that_has_begun_cannot_be_called_off(void **state)
{
    rig_begin(&rig);
    (void)pgrig_start(&rig);
    pid_t backend;
    PGconn *conn = pgrig_stopped_backend(&rig, &backend);
    struct guard_msg arm = rig_arm_at(50, 60000, 1000000);
    struct guard_msg later = rig_arm_at(60000, 60000, 60000);
    struct guard_msg disarm = rig_message(GUARD_DISARM);

    arm.quit_at_ms = arm.kill_at_ms = rig_now_ms() + 1200;
    assert_true(rig_ask(&rig, &arm));
    while (!rig.last.fence_fired)
        rig_until_kind(&rig, GUARD_STATE, RIG_WAIT_MS);
    assert_false(rig_ask(&rig, &later));
    assert_false(rig_ask(&rig, &disarm));
    assert_non_null(strstr(rig.last.text, "is stopping PostgreSQL"));
    rig_until_no_instance(&rig, RIG_WAIT_MS);
    rig_until_state(&rig, GUARD_PG_NONE, RIG_WAIT_MS);
    assert_true(rig_ask(&rig, &later));
    PQfinish(conn);
}

/* Stopped softly and in time; then somebody starts it again behind our back, before the deadline. */
static void test_deadline_counts_also_for_what_was_started_after_a_soft_stop(void **state)
{
    rig_begin(&rig);
    (void)pgrig_start(&rig);
    struct guard_msg arm = rig_arm_at(100, 60000, 60000);

    arm.quit_at_ms = arm.kill_at_ms = rig_now_ms() + 5000;
    assert_true(rig_ask(&rig, &arm));
    rig_until_state(&rig, GUARD_PG_NONE, 4000);
    pid_t foreign = pgrig_start_foreign(&rig);
    assert_true(rig_now_ms() < arm.kill_at_ms);
    rig_until_no_instance(&rig, RIG_WAIT_MS);
    assert_in_range(rig_now_ms(), arm.kill_at_ms, arm.kill_at_ms + RIG_SLACK_MS);
    assert_int_equal(WTERMSIG(rig_wait(foreign, RIG_WAIT_MS)), SIGKILL);
}

static void test_fence_whose_deadline_has_passed_is_refused_and_carried_out(void **state)
{
    rig_begin(&rig);
    (void)pgrig_start(&rig);
    struct guard_msg arm = rig_arm_at(-300, -200, -100);

    assert_false(rig_ask(&rig, &arm));
    assert_non_null(strstr(rig.last.text, "has passed"));
    rig_until_state(&rig, GUARD_PG_NONE, RIG_WAIT_MS);
    assert_int_equal(rig.last.fence_fired, 1);
}

/* The guard wakes up after the deadline; an ARM that was sent in time waits in its queue. */
static void test_suspended_node_kills_before_it_reads_anything(void **state)
{
    rig_begin(&rig);
    (void)pgrig_start(&rig);
    struct guard_msg arm = rig_arm_at(400, 400, 400);
    struct guard_msg stale = rig_arm_at(700, 700, 700);

    assert_true(rig_ask(&rig, &arm));
    assert_int_equal(kill(rig.guard, SIGSTOP), 0);
    signal_instance(SIGSTOP);
    uint64_t seq = rig_send(&rig, &stale);
    rig_nap(stale.kill_at_ms + 100 - rig_now_ms());
    msec woken_ms = rig_now_ms();
    assert_int_equal(kill(rig.guard, SIGCONT), 0);

    rig_until_no_instance(&rig, RIG_WAIT_MS);
    assert_in_range(rig_now_ms() - woken_ms, 0, RIG_SLACK_MS);
    assert_false(rig_answer(&rig, seq));
    rig_until_state(&rig, GUARD_PG_NONE, RIG_WAIT_MS);
    assert_int_equal(rig.last.fence_fired, 1);
    assert_int_equal(rig.last.kill_at_ms, arm.kill_at_ms);
}

static void test_renewal_read_after_the_deadline_comes_too_late(void **state)
{
    rig_begin(&rig);
    (void)pgrig_start(&rig);
    struct guard_msg arm = rig_arm_at(300, 300, 300);
    struct guard_msg renewal = rig_arm_at(60000, 60000, 60000);

    assert_true(rig_ask(&rig, &arm));
    assert_int_equal(kill(rig.guard, SIGSTOP), 0);
    uint64_t seq = rig_send(&rig, &renewal);
    rig_nap(arm.kill_at_ms + 50 - rig_now_ms());
    assert_int_equal(kill(rig.guard, SIGCONT), 0);

    rig_until_no_instance(&rig, RIG_WAIT_MS);
    (void)rig_answer(&rig, seq); /* accepted only if by then everything was gone */
    rig_until_state(&rig, GUARD_PG_NONE, RIG_WAIT_MS);
    assert_int_equal(rig.last.fence_fired, 1);
}

#define RIGGED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIGGED(test_fence_stops_softly_before_it_kills),
        RIGGED(test_fence_kills_a_stopped_backend_by_its_deadline),
        RIGGED(test_fence_kills_a_busy_orphan_of_a_killed_postmaster),
        RIGGED(test_renewed_fence_does_not_fire),
        RIGGED(test_fence_fires_although_the_agent_hangs),
        RIGGED(test_fence_that_has_begun_cannot_be_called_off),
        RIGGED(test_deadline_counts_also_for_what_was_started_after_a_soft_stop),
        RIGGED(test_fence_whose_deadline_has_passed_is_refused_and_carried_out),
        RIGGED(test_suspended_node_kills_before_it_reads_anything),
        RIGGED(test_renewal_read_after_the_deadline_comes_too_late),
    };

    if (!pgrig_find())
        return 77;                                       /* skipped: no PostgreSQL on this host */
    cmocka_set_test_filter(getenv("GUARD_TEST_FILTER")); /* a pattern, for those who look into one */
    return cmocka_run_group_tests_name("guard fence", tests, pgrig_make_template, pgrig_drop_template);
}
