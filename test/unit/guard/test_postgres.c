/* Guard and a real PostgreSQL: start, stop, and the deaths of postmaster, anchor and guard. */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
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

static pid_t parent_of(pid_t pid)
{
    char path[64];
    char text[512];

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
    (void)fclose(f);
    const char *end = strrchr(text, ')'); /* then " S 4711 …" */
    assert_non_null(end);
    return (pid_t)strtol(end + 4, NULL, 10);
}

/* --- start and stop --- */

static void test_started_postmaster_is_reported_with_its_pidfd(void **state)
{
    rig_begin(&rig);
    pid_t pid = pgrig_start(&rig);
    struct pollfd dead = {.fd = rig.pidfd, .events = POLLIN};

    assert_int_equal(pid, pgrig_pid(&rig));
    assert_int_equal(rig.last.adopted, 0);
    assert_true(rig.pidfd >= 0);
    assert_int_equal(poll(&dead, 1, 0), 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(poll(&dead, 1, RIG_WAIT_MS), 1);
}

static void test_successor_of_a_killed_agent_gets_the_running_postmaster(void **state)
{
    rig_begin(&rig);
    pid_t pid = pgrig_start(&rig);
    msec from_ms = rig_now_ms();

    assert_int_equal(kill(rig.agent, SIGKILL), 0);
    rig_accept(&rig, RIG_WAIT_MS);
    rig_greet(&rig);

    assert_in_range(rig_now_ms() - from_ms, 0, 999);
    assert_int_equal(rig.last.pg_state, GUARD_PG_RUNNING);
    assert_int_equal(rig.last.postmaster_pid, pid);
    assert_true(rig.pidfd >= 0);
    assert_true(rig_alive(pid));
}

/* Its handlers are not there yet; by default the signal ends it. */
static void test_reload_at_the_very_start_does_not_end_postgres(void **state)
{
    struct guard_msg start = pgrig_start_message(&rig);

    rig_begin(&rig);
    assert_true(rig_ask(&rig, &start));
    pid_t pid = rig.last.postmaster_pid;
    for (msec until_ms = rig_now_ms() + 100; rig_now_ms() < until_ms;)
        assert_int_equal(kill(pid, SIGHUP), 0);
    pgrig_until_ready(&rig);
    assert_int_equal(pgrig_pid(&rig), pid);
    assert_true(pgrig_log_says(&rig, "received SIGHUP", RIG_WAIT_MS));
}

static void test_second_start_is_refused(void **state)
{
    rig_begin(&rig);
    (void)pgrig_start(&rig);
    struct guard_msg start = pgrig_start_message(&rig);

    assert_false(rig_ask(&rig, &start));
    assert_string_equal(rig.last.text, "PostgreSQL is running");
}

static void test_program_that_cannot_be_executed_is_reported(void **state)
{
    struct guard_msg start = rig_message(GUARD_START);
    rig_begin(&rig);

    memcpy(start.args, "/nonexistent/postgres", 22);
    start.args_len = 22;
    assert_false(rig_ask(&rig, &start));
    assert_string_equal(rig.last.text, "executing it: No such file or directory");
    assert_int_equal(rig.last.pg_state, GUARD_PG_NONE);
    assert_int_equal(rig.last.exited, 0);
    (void)pgrig_start(&rig); /* and the next one works */
}

static void test_log_that_cannot_be_opened_is_reported(void **state)
{
    rig_begin(&rig);
    struct guard_msg start = pgrig_start_message(&rig);

    (void)snprintf(start.log_path, sizeof(start.log_path), "/nonexistent/log");
    assert_false(rig_ask(&rig, &start));
    assert_string_equal(rig.last.text, "opening the log: No such file or directory");
    assert_int_equal(rig.last.pg_state, GUARD_PG_NONE);
}

static void test_postmaster_that_gives_up_at_once_shows_its_exit_status(void **state)
{
    rig_begin(&rig);
    struct guard_msg start = pgrig_start_message(&rig);

    memcpy(start.args + start.args_len, "--nonsense=1", 13);
    start.args_len += 13;
    assert_true(rig_ask(&rig, &start));
    while (!rig.last.exited)
        rig_until_kind(&rig, GUARD_STATE, RIG_WAIT_MS);
    assert_int_equal(rig.last.exit_known, 1);
    assert_int_equal(rig_exit_code(rig.last.exit_status), 1);
    assert_int_equal(rig.last.pg_state, GUARD_PG_NONE);
    assert_true(pgrig_log_says(&rig, "nonsense", 0));
}

static void test_extra_environment_reaches_postgres(void **state)
{
    rig_begin(&rig);
    struct guard_msg start = pgrig_start_message(&rig);

    memcpy(start.env, "TZ=Antarctica/Troll\0LC_ALL=C\0", 30);
    assert_true(rig_ask(&rig, &start));
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/environ", (int)rig.last.postmaster_pid);
    FILE *f = fopen(path, "r");
    char text[8192];
    assert_non_null(f);
    size_t len = fread(text, 1, sizeof(text), f);
    (void)fclose(f);
    assert_non_null(memmem(text, len, "TZ=Antarctica/Troll", 20));
    assert_null(memmem(text, len, "PGKEEP_", 7));
}

static void test_fast_stop_ends_in_none(void **state)
{
    rig_begin(&rig);
    pid_t pid = pgrig_start(&rig);
    PGconn *conn = pgrig_connect(&rig);
    struct guard_msg stop = rig_stop_with(GUARD_STOP_FAST);

    assert_true(rig_ask(&rig, &stop));
    rig_until_state(&rig, GUARD_PG_NONE, RIG_WAIT_MS);

    assert_int_equal(rig_exit_code(rig.last.exit_status), 0);
    assert_int_equal(rig.last.exited, 1);
    assert_int_equal(rig.last.postmaster_pid, 0);
    assert_false(rig_alive(pid));
    assert_int_equal(rig_instance(&rig, NULL, 0), 0);
    assert_true(pgrig_log_says(&rig, "received fast shutdown request", 0));
    PQfinish(conn);
}

static void test_stop_that_takes_too_long_becomes_immediate_then_kill(void **state)
{
    rig_begin(&rig);
    (void)pgrig_start(&rig);
    pid_t backend;
    PGconn *conn = pgrig_stopped_backend(&rig, &backend);
    struct guard_msg stop = rig_stop_with(GUARD_STOP_SMART);

    stop.quit_at_ms = rig_now_ms() + 200;
    stop.kill_at_ms = rig_now_ms() + 600;
    assert_true(rig_ask(&rig, &stop));
    rig_until_state(&rig, GUARD_PG_NONE, RIG_WAIT_MS);

    assert_in_range(rig_now_ms(), stop.kill_at_ms, stop.kill_at_ms + RIG_SLACK_MS);
    assert_true(pgrig_log_says(&rig, "received smart shutdown request", 0));
    assert_true(pgrig_log_says(&rig, "received immediate shutdown request", 0));
    assert_int_equal(rig_instance(&rig, NULL, 0), 0);
    PQfinish(conn);
}

/* --- death of a postmaster --- */

static void test_death_of_a_postmaster_is_reported_at_once(void **state)
{
    rig_begin(&rig);
    pid_t pid = pgrig_start(&rig);
    msec from_ms = rig_now_ms();

    assert_int_equal(kill(pid, SIGKILL), 0);
    while (!rig.last.exited)
        rig_until_kind(&rig, GUARD_STATE, RIG_WAIT_MS);

    assert_in_range(rig_now_ms() - from_ms, 0, RIG_SLACK_MS);
    assert_true(WIFSIGNALED(rig.last.exit_status));
    assert_int_equal(WTERMSIG(rig.last.exit_status), SIGKILL);
    rig_until_state(&rig, GUARD_PG_NONE, RIG_WAIT_MS);
    (void)pgrig_start(&rig); /* it was reaped: its socket's lock file does not stand in the way */
}

static void test_orphans_are_reported_and_cleared_on_demand(void **state)
{
    rig_begin(&rig);
    pid_t pid = pgrig_start(&rig);
    PGconn *conn = pgrig_connect(&rig);
    pid_t busy = pgrig_make_busy(conn);
    struct guard_msg start = pgrig_start_message(&rig);
    struct guard_msg stop = rig_stop_with(GUARD_STOP_KILL);

    assert_int_equal(kill(pid, SIGKILL), 0);
    rig_until_state(&rig, GUARD_PG_ORPHANS, RIG_WAIT_MS);
    assert_true(rig.last.orphan_count >= 1);
    assert_true(rig_alive(busy));
    assert_false(rig_ask(&rig, &start));

    msec from_ms = rig_now_ms();
    assert_true(rig_ask(&rig, &stop));
    rig_until_state(&rig, GUARD_PG_NONE, RIG_WAIT_MS);
    assert_in_range(rig_now_ms() - from_ms, 0, RIG_SLACK_MS);
    assert_false(rig_alive(busy));
    (void)pgrig_start(&rig);
    PQfinish(conn);
}

static void test_orphans_are_cleared_by_the_guard_itself_after_a_second(void **state)
{
    rig_begin(&rig);
    pid_t pid = pgrig_start(&rig);
    PGconn *conn = pgrig_connect(&rig);
    pid_t busy = pgrig_make_busy(conn);

    assert_int_equal(kill(pid, SIGKILL), 0);
    rig_until_state(&rig, GUARD_PG_ORPHANS, RIG_WAIT_MS);
    msec from_ms = rig_now_ms();
    rig_until_state(&rig, GUARD_PG_NONE, RIG_WAIT_MS);

    assert_in_range(rig_now_ms() - from_ms, 800, 1000 + 2 * RIG_SLACK_MS);
    assert_false(rig_alive(busy));
    PQfinish(conn);
}

static void test_killed_anchor_takes_postgres_down_and_the_status_is_known(void **state)
{
    rig_begin(&rig);
    pid_t anchor = parent_of(pgrig_start(&rig));

    assert_int_not_equal(anchor, rig.guard);
    assert_int_equal(kill(anchor, SIGKILL), 0);
    rig_until_state(&rig, GUARD_PG_NONE, RIG_WAIT_MS);

    assert_int_equal(rig.last.exited, 1);
    assert_int_equal(rig.last.exit_known, 1);
    assert_true(pgrig_log_says(&rig, "received immediate shutdown request", 0));
    (void)pgrig_start(&rig);
}

static void test_stopped_anchor_does_not_hide_a_death(void **state)
{
    rig_begin(&rig);
    pid_t pid = pgrig_start(&rig);

    assert_int_equal(kill(parent_of(pid), SIGSTOP), 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    rig_until_state(&rig, GUARD_PG_NONE, RIG_WAIT_MS);

    assert_int_equal(rig.last.exit_known, 1);
    assert_int_equal(WTERMSIG(rig.last.exit_status), SIGKILL);
    (void)pgrig_start(&rig);
}

/* --- death of the guard --- */

static void test_killed_guard_takes_postgres_down(void **state)
{
    rig_begin(&rig);
    pid_t pid = pgrig_start(&rig);
    PGconn *conn = pgrig_connect(&rig);

    assert_int_equal(kill(rig.guard, SIGKILL), 0);
    (void)rig_guard_exit(&rig, RIG_WAIT_MS);
    rig_until_no_instance(&rig, RIG_WAIT_MS);
    rig_until_dead(pid, 1000);

    assert_true(pgrig_log_says(&rig, "received immediate shutdown request", 0));
    PQfinish(conn);
}

static void test_agent_that_fails_while_ending_leaves_the_stop_to_the_guard(void **state)
{
    rig_begin(&rig);
    pid_t pid = pgrig_start(&rig);
    struct pollfd dead = {.fd = rig.pidfd, .events = POLLIN};

    assert_int_equal(kill(rig.guard, SIGTERM), 0);
    rig_until_kind(&rig, GUARD_TERM, RIG_WAIT_MS);
    assert_true(rig_alive(pid)); /* until the agent has ended PostgreSQL is its business */
    assert_int_equal(kill(rig.agent, SIGKILL), 0);
    assert_int_equal(poll(&dead, 1, RIG_WAIT_MS), 1);

    assert_int_equal(rig_exit_code(rig_guard_exit(&rig, RIG_WAIT_MS)), 1);
    assert_int_equal(rig_instance(&rig, NULL, 0), 0);
    assert_true(pgrig_log_says(&rig, "received fast shutdown request", 0));
}

static void test_second_sigterm_stops_postgres_without_waiting_for_the_agent(void **state)
{
    rig_begin(&rig);
    (void)pgrig_start(&rig);

    assert_int_equal(kill(rig.guard, SIGTERM), 0);
    rig_until_kind(&rig, GUARD_TERM, RIG_WAIT_MS);
    assert_int_equal(kill(rig.guard, SIGTERM), 0);
    rig_until_state(&rig, GUARD_PG_NONE, RIG_WAIT_MS);
    assert_true(pgrig_log_says(&rig, "received fast shutdown request", 0));
    rig_order(&rig, 'x', 0);
    assert_int_equal(rig_exit_code(rig_guard_exit(&rig, RIG_WAIT_MS)), 0);
}

static void test_third_sigterm_is_immediate(void **state)
{
    rig_begin(&rig);
    (void)pgrig_start(&rig);
    pid_t backend;
    PGconn *conn = pgrig_stopped_backend(&rig, &backend); /* a fast stop would wait for it for ever */

    static const char *const words[] = {"asked to end, telling", "again, stopping PostgreSQL now", "immediate stop"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kill(rig.guard, SIGTERM), 0);
        assert_true(rig_file_says(rig.log_path, words[i], RIG_WAIT_MS));
    }
    rig_until_state(&rig, GUARD_PG_NONE, RIG_WAIT_MS);
    rig_order(&rig, 'x', 0);
    assert_int_equal(rig_exit_code(rig_guard_exit(&rig, RIG_WAIT_MS)), 0);
    PQfinish(conn);
}

#define RIGGED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIGGED(test_started_postmaster_is_reported_with_its_pidfd),
        RIGGED(test_successor_of_a_killed_agent_gets_the_running_postmaster),
        RIGGED(test_reload_at_the_very_start_does_not_end_postgres),
        RIGGED(test_second_start_is_refused),
        RIGGED(test_program_that_cannot_be_executed_is_reported),
        RIGGED(test_log_that_cannot_be_opened_is_reported),
        RIGGED(test_postmaster_that_gives_up_at_once_shows_its_exit_status),
        RIGGED(test_extra_environment_reaches_postgres),
        RIGGED(test_fast_stop_ends_in_none),
        RIGGED(test_stop_that_takes_too_long_becomes_immediate_then_kill),
        RIGGED(test_death_of_a_postmaster_is_reported_at_once),
        RIGGED(test_orphans_are_reported_and_cleared_on_demand),
        RIGGED(test_orphans_are_cleared_by_the_guard_itself_after_a_second),
        RIGGED(test_killed_anchor_takes_postgres_down_and_the_status_is_known),
        RIGGED(test_stopped_anchor_does_not_hide_a_death),
        RIGGED(test_killed_guard_takes_postgres_down),
        RIGGED(test_agent_that_fails_while_ending_leaves_the_stop_to_the_guard),
        RIGGED(test_second_sigterm_stops_postgres_without_waiting_for_the_agent),
        RIGGED(test_third_sigterm_is_immediate),
    };

    if (!pgrig_find())
        return 77;                                       /* skipped: no PostgreSQL on this host */
    cmocka_set_test_filter(getenv("GUARD_TEST_FILTER")); /* a pattern, for those who look into one */
    return cmocka_run_group_tests_name("guard postgres", tests, pgrig_make_template, pgrig_drop_template);
}
