/* Guard and a real PostgreSQL: start, stop, the fence, adoption, leaving, upgrading. */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "pgrig.h"
#include "puppet.h"

static struct rig rig;

static int setup(void **state)
{
    pgrig_init(&rig);
    /* Supervision is tested elsewhere; here a busy machine shall not end a test by replacing its agent. */
    (void)snprintf(rig.guard_options, sizeof(rig.guard_options), "--agent-silence-ms 10000");
    return 0;
}

static int teardown(void **state)
{
    pgrig_deinit(&rig);
    return 0;
}

static int exit_code(int status)
{
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static struct guard_msg arm_at(msec stop_ms, msec quit_ms, msec kill_ms)
{
    struct guard_msg arm = rig_message(GUARD_ARM);
    msec now_ms = rig_now_ms();

    arm.term = 5;
    arm.stop_at_ms = now_ms + stop_ms;
    arm.quit_at_ms = now_ms + quit_ms;
    arm.kill_at_ms = now_ms + kill_ms;
    return arm;
}

static struct guard_msg stop_with(enum guard_stop_mode mode)
{
    struct guard_msg stop = rig_message(GUARD_STOP);

    stop.mode = mode;
    return stop;
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

/* A backend with a client; then it is stopped, as by a frozen disk or a debugger. */
static PGconn *stopped_backend(pid_t *ret_pid)
{
    PGconn *conn = pgrig_connect(&rig);

    *ret_pid = PQbackendPID(conn);
    assert_int_equal(kill(*ret_pid, SIGSTOP), 0);
    return conn;
}

static void signal_instance(int signo)
{
    pid_t pids[64];
    int count = rig_instance(&rig, pids, 64);

    assert_in_range(count, 1, 64);
    for (int i = 0; i < count; i++)
        (void)kill(pids[i], signo);
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
    assert_int_equal(exit_code(rig.last.exit_status), 1);
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
    struct guard_msg stop = stop_with(GUARD_STOP_FAST);

    assert_true(rig_ask(&rig, &stop));
    rig_until_state(&rig, GUARD_PG_NONE, RIG_WAIT_MS);

    assert_int_equal(exit_code(rig.last.exit_status), 0);
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
    PGconn *conn = stopped_backend(&backend);
    struct guard_msg stop = stop_with(GUARD_STOP_SMART);

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
    struct guard_msg stop = stop_with(GUARD_STOP_KILL);

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

    assert_int_equal(exit_code(rig_guard_exit(&rig, RIG_WAIT_MS)), 1);
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
    assert_int_equal(exit_code(rig_guard_exit(&rig, RIG_WAIT_MS)), 0);
}

static void test_third_sigterm_is_immediate(void **state)
{
    rig_begin(&rig);
    (void)pgrig_start(&rig);
    pid_t backend;
    PGconn *conn = stopped_backend(&backend); /* a fast stop would wait for it for ever */

    static const char *const words[] = {"asked to end, telling", "again, stopping PostgreSQL now", "immediate stop"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kill(rig.guard, SIGTERM), 0);
        assert_true(rig_file_says(rig.log_path, words[i], RIG_WAIT_MS));
    }
    rig_until_state(&rig, GUARD_PG_NONE, RIG_WAIT_MS);
    rig_order(&rig, 'x', 0);
    assert_int_equal(exit_code(rig_guard_exit(&rig, RIG_WAIT_MS)), 0);
    PQfinish(conn);
}

/* --- the fence --- */

static void test_fence_stops_softly_before_it_kills(void **state)
{
    rig_begin(&rig);
    (void)pgrig_start(&rig);
    struct guard_msg arm = arm_at(100, 4000, 5000);

    assert_true(rig_ask(&rig, &arm));
    rig_until_state(&rig, GUARD_PG_NONE, RIG_WAIT_MS);
    assert_int_equal(exit_code(rig.last.exit_status), 0);
    assert_int_equal(rig.last.fence_fired, 1);
    assert_true(pgrig_log_says(&rig, "database system is shut down", 0));
}

static void test_fence_kills_a_stopped_backend_by_its_deadline(void **state)
{
    rig_begin(&rig);
    (void)pgrig_start(&rig);
    pid_t backend;
    PGconn *conn = stopped_backend(&backend);
    struct guard_msg arm = arm_at(200, 400, 800);
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
    struct guard_msg arm = arm_at(300, 300, 300); /* before the guard would clear it of its own accord */
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
        struct guard_msg arm = arm_at(200, 250, 300);
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
    struct guard_msg arm = arm_at(300, 400, 500);

    assert_true(rig_ask(&rig, &arm));
    assert_int_equal(kill(rig.agent, SIGSTOP), 0);
    rig_until_no_instance(&rig, 500 + RIG_SLACK_MS);
}

static void test_fence_that_has_begun_cannot_be_called_off(void **state)
{
    rig_begin(&rig);
    (void)pgrig_start(&rig);
    pid_t backend;
    PGconn *conn = stopped_backend(&backend);
    struct guard_msg arm = arm_at(50, 60000, 1000000);
    struct guard_msg later = arm_at(60000, 60000, 60000);
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
    struct guard_msg arm = arm_at(100, 60000, 60000);

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
    struct guard_msg arm = arm_at(-300, -200, -100);

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
    struct guard_msg arm = arm_at(400, 400, 400);
    struct guard_msg stale = arm_at(700, 700, 700);

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
    struct guard_msg arm = arm_at(300, 300, 300);
    struct guard_msg renewal = arm_at(60000, 60000, 60000);

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

/* --- a PostgreSQL of somebody else --- */

static void test_foreign_postmaster_is_adopted_and_stopped(void **state)
{
    pid_t pid = pgrig_start_foreign(&rig);
    struct guard_msg adopt = rig_message(GUARD_ADOPT);
    struct guard_msg stop = stop_with(GUARD_STOP_FAST);
    struct guard_msg start = pgrig_start_message(&rig);
    struct guard_msg arm = arm_at(60000, 60000, 60000);

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
    assert_int_equal(exit_code(rig_wait(pid, RIG_WAIT_MS)), 0);
    (void)pgrig_start(&rig);
    assert_int_equal(rig.last.adopted, 0);
}

static void test_fence_reaches_every_process_of_an_adopted_one(void **state)
{
    pid_t pid = pgrig_start_foreign(&rig);
    struct guard_msg adopt = rig_message(GUARD_ADOPT);
    struct guard_msg arm = arm_at(100, 200, 300);
    pid_t backend;

    rig_begin(&rig);
    adopt.postmaster_pid = pid;
    assert_true(rig_ask(&rig, &adopt));
    PGconn *conn = stopped_backend(&backend);
    arm = arm_at(100, 200, 300);
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
    assert_int_equal(exit_code(rig_guard_exit(&rig, RIG_WAIT_MS)), 0);
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
    struct guard_msg stop = stop_with(GUARD_STOP_FAST);

    assert_int_equal(kill(rig.guard, SIGTERM), 0);
    rig_until_kind(&rig, GUARD_TERM, RIG_WAIT_MS);
    assert_true(rig_ask(&rig, &leave));
    rig_order(&rig, 'x', 0);
    assert_int_equal(exit_code(rig_guard_exit(&rig, RIG_WAIT_MS)), 0);
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
    struct guard_msg arm = arm_at(60000, 60000, 60000);
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

static void test_upgrade_in_place_keeps_guard_postmaster_and_fence(void **state)
{
    rig_begin(&rig);
    pid_t pid = pgrig_start(&rig);
    pid_t guard = rig.guard;
    pid_t agent = rig.agent;
    ino_t old_exe = exe_of(guard);
    struct guard_msg arm = arm_at(60000, 60000, 60000);
    struct guard_msg upgrade = rig_message(GUARD_UPGRADE);

    assert_true(rig_ask(&rig, &arm));
    replace_guard(getenv("GUARD_EXE"));
    assert_true(rig_ask(&rig, &upgrade));
    rig_accept(&rig, RIG_WAIT_MS);
    rig_greet(&rig);

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
    struct guard_msg upgrade = rig_message(GUARD_UPGRADE);

    for (int i = 0; i < 2; i++) {
        replace_guard(getenv("GUARD_EXE"));
        assert_true(rig_ask(&rig, &upgrade));
        rig_accept(&rig, RIG_WAIT_MS);
        rig_greet(&rig);
    }
    pid_t first = rig.guard;
    rig_start(&rig); /* the lock is held on */
    assert_int_equal(exit_code(rig_guard_exit(&rig, RIG_WAIT_MS)), 1);
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
    struct guard_msg upgrade = rig_message(GUARD_UPGRADE);

    assert_true(rig_ask(&rig, &upgrade));
    rig_accept(&rig, RIG_WAIT_MS);
    rig_greet(&rig);
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
    struct guard_msg upgrade = rig_message(GUARD_UPGRADE);
    struct guard_msg ping = rig_message(GUARD_PING);

    replace_guard("/bin/true"); /* one that knows nothing of our state, and is content with everything */
    assert_false(rig_ask(&rig, &upgrade));
    replace_guard("/etc/passwd"); /* not executable as a program */
    assert_false(rig_ask(&rig, &upgrade));
    assert_true(rig_ask(&rig, &ping));
    assert_int_equal(rig.last.agent_restarts, 0);
    assert_int_equal(rig.last.postmaster_pid, pid);
    replace_guard(getenv("GUARD_EXE"));
    assert_true(rig_ask(&rig, &upgrade));
    rig_accept(&rig, RIG_WAIT_MS);
}

#define RIGGED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static int group_setup(void **state)
{
    pgrig_make_template();
    return 0;
}

static int group_teardown(void **state)
{
    pgrig_drop_template();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIGGED(test_started_postmaster_is_reported_with_its_pidfd),
        RIGGED(test_successor_of_a_killed_agent_gets_the_running_postmaster),
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
    return cmocka_run_group_tests_name("guard postgres", tests, group_setup, group_teardown);
}
