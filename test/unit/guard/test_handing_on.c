/* A real PostgreSQL changes hands: adopted from somebody else, left alone, kept through an upgrade. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* --- a PostgreSQL of somebody else --- */

static void test_foreign_postmaster_is_adopted_and_stopped(void **state)
{
    pid_t pid = pgrig_start_foreign(&rig);
    struct guard_msg adopt = rig_message(GUARD_ADOPT);
    struct guard_msg stop = rig_stop_with(GUARD_STOP_FAST);
    struct guard_msg start = pgrig_start_message(&rig);
    struct guard_msg arm = rig_arm_at(60000, 60000, 60000);

    rig_begin(&rig);
    assert_int_equal(rig.last.pg_state, GUARD_PG_FOREIGN);
    assert_int_equal(rig.last.postmaster_pid, pid);
    assert_false(rig_ask(&rig, &stop)); /* not ours yet */
    assert_false(rig_ask(&rig, &arm));
    assert_false(rig_ask(&rig, &start));

    adopt.postmaster_pid = getpid();
    assert_false(rig_ask(&rig, &adopt));
    PGconn *conn = pgrig_connect(&rig);
    adopt.postmaster_pid = PQbackendPID(conn); /* one of the instance, but not its postmaster */
    assert_false(rig_ask(&rig, &adopt));
    PQfinish(conn);
    assert_true(rig_alive(pid));

    adopt.postmaster_pid = pid;
    assert_true(rig_ask(&rig, &adopt));
    assert_int_equal(rig.last.pg_state, GUARD_PG_RUNNING);
    assert_int_equal(rig.last.adopted, 1);
    assert_true(rig.pidfd >= 0);
    assert_true(rig_ask(&rig, &adopt)); /* again: as good */

    assert_true(rig_ask(&rig, &stop));
    rig_until_state(&rig, GUARD_PG_NONE, RIG_WAIT_MS);
    assert_int_equal(rig.last.exit_known, 0);
    assert_int_equal(rig.last.exited, 1);
    assert_int_equal(rig_exit_code(rig_wait(pid, RIG_WAIT_MS)), 0);
    (void)pgrig_start(&rig);
    assert_int_equal(rig.last.adopted, 0);
}

static void test_fence_reaches_every_process_of_an_adopted_one(void **state)
{
    pid_t pid = pgrig_start_foreign(&rig);
    struct guard_msg adopt = rig_message(GUARD_ADOPT);
    struct guard_msg arm = rig_arm_at(100, 200, 300);
    pid_t backend;

    rig_begin(&rig);
    adopt.postmaster_pid = pid;
    assert_true(rig_ask(&rig, &adopt));
    PGconn *conn = pgrig_stopped_backend(&rig, &backend);
    arm = rig_arm_at(100, 200, 300);
    assert_true(rig_ask(&rig, &arm));
    rig_until_no_instance(&rig, RIG_WAIT_MS);
    assert_in_range(rig_now_ms(), arm.kill_at_ms, arm.kill_at_ms + RIG_SLACK_MS);
    (void)rig_wait(pid, RIG_WAIT_MS);
    PQfinish(conn);
}

static void test_guard_that_ends_leaves_a_postmaster_alone_that_it_was_not_given(void **state)
{
    pid_t pid = pgrig_start_foreign(&rig);

    rig_begin(&rig);
    assert_int_equal(kill(rig.guard, SIGTERM), 0);
    rig_until_kind(&rig, GUARD_TERM, RIG_WAIT_MS);
    rig_order(&rig, 'x', 0);
    assert_int_equal(rig_exit_code(rig_guard_exit(&rig, RIG_WAIT_MS)), 0);
    assert_true(rig_alive(pid));
    assert_int_equal(kill(pid, SIGKILL), 0);
    (void)rig_wait(pid, RIG_WAIT_MS);
}

/* --- leaving PostgreSQL to itself, and coming back --- */

static void test_in_a_pause_guard_and_agent_go_and_postgres_stays(void **state)
{
    rig_begin(&rig);
    pid_t pid = pgrig_start(&rig);
    struct guard_msg leave = rig_message(GUARD_LEAVE);
    struct guard_msg adopt = rig_message(GUARD_ADOPT);
    struct guard_msg stop = rig_stop_with(GUARD_STOP_FAST);

    assert_int_equal(kill(rig.guard, SIGTERM), 0);
    rig_until_kind(&rig, GUARD_TERM, RIG_WAIT_MS);
    assert_true(rig_ask(&rig, &leave));
    rig_order(&rig, 'x', 0);
    assert_int_equal(rig_exit_code(rig_guard_exit(&rig, RIG_WAIT_MS)), 0);
    rig_nap(300);
    assert_true(rig_alive(pid));
    PGconn *conn = pgrig_connect(&rig);
    PQfinish(conn);

    rig.last = (struct guard_msg){0};
    rig_begin(&rig);
    assert_int_equal(rig.last.pg_state, GUARD_PG_FOREIGN);
    assert_int_equal(rig.last.postmaster_pid, pid);
    adopt.postmaster_pid = pid;
    assert_true(rig_ask(&rig, &adopt));
    assert_true(rig_ask(&rig, &stop));
    rig_until_state(&rig, GUARD_PG_NONE, RIG_WAIT_MS);
    (void)pgrig_start(&rig);
}

static void test_leave_is_refused_while_a_fence_is_armed(void **state)
{
    rig_begin(&rig);
    pid_t pid = pgrig_start(&rig);
    struct guard_msg arm = rig_arm_at(60000, 60000, 60000);
    struct guard_msg leave = rig_message(GUARD_LEAVE);

    assert_true(rig_ask(&rig, &arm));
    assert_false(rig_ask(&rig, &leave));
    assert_string_equal(rig.last.text, "a fence is armed: disarm it first");
    assert_true(rig_alive(pid));
}

/* --- upgrade in place --- */

static ino_t exe_of(pid_t pid)
{
    char path[64];
    struct stat st;

    (void)snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
    assert_int_equal(stat(path, &st), 0);
    return st.st_ino;
}

static void replace_guard(const char *content_from)
{
    rig_install(content_from, rig.guard_path);
}

/* The agent is killed, perhaps before it has passed the answer on to us: its successor is the answer. */
static void upgrade(void)
{
    struct guard_msg m = rig_message(GUARD_UPGRADE);

    (void)rig_send(&rig, &m);
    rig_accept(&rig, RIG_WAIT_MS);
    rig_greet(&rig);
}

static void test_upgrade_in_place_keeps_guard_postmaster_and_fence(void **state)
{
    rig_begin(&rig);
    pid_t pid = pgrig_start(&rig);
    pid_t guard = rig.guard;
    pid_t agent = rig.agent;
    ino_t old_exe = exe_of(guard);
    struct guard_msg arm = rig_arm_at(60000, 60000, 60000);

    assert_true(rig_ask(&rig, &arm));
    replace_guard(getenv("GUARD_EXE"));
    upgrade();

    assert_int_equal(waitpid(guard, NULL, WNOHANG), 0); /* the same process … */
    assert_int_not_equal(exe_of(guard), old_exe);       /* … another program */
    assert_false(rig_alive(agent));
    assert_int_equal(rig.last.pg_state, GUARD_PG_RUNNING);
    assert_int_equal(rig.last.postmaster_pid, pid);
    assert_int_equal(rig.last.adopted, 0);
    assert_int_equal(rig.last.term, 5);
    assert_int_equal(rig.last.kill_at_ms, arm.kill_at_ms);
    assert_int_equal(rig.last.agent_restarts, 1);
    assert_true(rig.pidfd >= 0);
}

static void test_after_an_upgrade_everything_still_hangs_on_the_guard(void **state)
{
    rig_begin(&rig);
    pid_t pid = pgrig_start(&rig);

    for (int i = 0; i < 2; i++) {
        replace_guard(getenv("GUARD_EXE"));
        upgrade();
    }
    pid_t first = rig.guard;
    rig_start(&rig); /* the lock is held on */
    assert_int_equal(rig_exit_code(rig_guard_exit(&rig, RIG_WAIT_MS)), 1);
    rig.guard = first;

    assert_int_equal(kill(rig.guard, SIGKILL), 0);
    (void)rig_guard_exit(&rig, RIG_WAIT_MS);
    rig_until_no_instance(&rig, RIG_WAIT_MS);
    rig_until_dead(pid, 1000);
    assert_true(pgrig_log_says(&rig, "received immediate shutdown request", 0));
}

static void test_death_of_the_postmaster_after_an_upgrade_is_reported(void **state)
{
    rig_begin(&rig);
    pid_t pid = pgrig_start(&rig);

    upgrade();
    assert_int_equal(kill(pid, SIGKILL), 0);
    rig_until_state(&rig, GUARD_PG_NONE, RIG_WAIT_MS);
    assert_int_equal(rig.last.exit_known, 1);
    assert_int_equal(WTERMSIG(rig.last.exit_status), SIGKILL);
    (void)pgrig_start(&rig);
}

static void test_broken_new_binary_is_refused_and_the_old_guard_runs_on(void **state)
{
    rig_begin(&rig);
    pid_t pid = pgrig_start(&rig);
    struct guard_msg request = rig_message(GUARD_UPGRADE);
    struct guard_msg ping = rig_message(GUARD_PING);

    replace_guard("/bin/true"); /* one that knows nothing of our state, and is content with everything */
    assert_false(rig_ask(&rig, &request));
    replace_guard("/etc/passwd"); /* not executable as a program */
    assert_false(rig_ask(&rig, &request));
    assert_true(rig_ask(&rig, &ping));
    assert_int_equal(rig.last.agent_restarts, 0);
    assert_int_equal(rig.last.postmaster_pid, pid);
    replace_guard(getenv("GUARD_EXE"));
    upgrade();
}

#define RIGGED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIGGED(test_foreign_postmaster_is_adopted_and_stopped),
        RIGGED(test_fence_reaches_every_process_of_an_adopted_one),
        RIGGED(test_guard_that_ends_leaves_a_postmaster_alone_that_it_was_not_given),
        RIGGED(test_in_a_pause_guard_and_agent_go_and_postgres_stays),
        RIGGED(test_leave_is_refused_while_a_fence_is_armed),
        RIGGED(test_upgrade_in_place_keeps_guard_postmaster_and_fence),
        RIGGED(test_after_an_upgrade_everything_still_hangs_on_the_guard),
        RIGGED(test_death_of_the_postmaster_after_an_upgrade_is_reported),
        RIGGED(test_broken_new_binary_is_refused_and_the_old_guard_runs_on),
    };

    if (!pgrig_find())
        return 77;                                       /* skipped: no PostgreSQL on this host */
    cmocka_set_test_filter(getenv("GUARD_TEST_FILTER")); /* a pattern, for those who look into one */
    return cmocka_run_group_tests_name("guard handing on", tests, pgrig_make_template, pgrig_drop_template);
}
