/* What the guard does with its agent; no PostgreSQL here. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "puppet.h"
#include "rig.h"

static struct rig rig;

static int setup(void **state)
{
    rig_init(&rig);
    return 0;
}

static int teardown(void **state)
{
    rig_deinit(&rig);
    return 0;
}

/* The shortest time from the signal to the successor's greeting; a busy machine only ever adds to it. */
static msec replaced_after_ms(int signo)
{
    msec shortest_ms = RIG_WAIT_MS;

    for (int i = 0; i < 3 && shortest_ms > 1000; i++) {
        pid_t old = rig.agent;
        msec from_ms = rig_now_ms();
        assert_int_equal(kill(old, signo), 0);
        rig_accept(&rig, RIG_WAIT_MS);
        assert_false(rig_alive(old)); /* really gone before its successor started */
        rig_greet(&rig);
        shortest_ms = rig_now_ms() - from_ms < shortest_ms ? rig_now_ms() - from_ms : shortest_ms;
    }
    return shortest_ms;
}

static void test_killed_agent_is_replaced_at_once(void **state)
{
    rig_begin(&rig);
    assert_in_range(replaced_after_ms(SIGKILL), 0, 999);
    assert_in_range(rig.last.agent_restarts, 1, 3);
}

static void test_stopped_agent_is_killed_and_replaced_within_a_second(void **state)
{
    rig_begin(&rig);
    assert_in_range(replaced_after_ms(SIGSTOP), GUARD_SILENCE_MS - 200, 1000);
}

static void test_agent_that_runs_but_does_not_ping_is_replaced(void **state)
{
    rig_begin(&rig);
    pid_t old = rig.agent;

    rig_order(&rig, 'q', 0);
    rig_accept(&rig, RIG_WAIT_MS);

    assert_false(rig_alive(old));
    assert_true(rig_file_says(rig.log_path, "is silent, killed", 0));
}

static void test_looping_agent_is_replaced_although_it_is_running(void **state)
{
    rig_begin(&rig);
    pid_t old = rig.agent;

    rig_order(&rig, 'l', 0);
    rig_accept(&rig, 4000); /* before the five seconds for which a starved one is excused */

    assert_false(rig_alive(old));
    assert_true(rig_file_says(rig.log_path, "is silent, killed", 0));
}

static void test_agent_that_does_not_read_its_answers_is_replaced(void **state)
{
    struct guard_msg disarm = rig_message(GUARD_DISARM);
    rig_begin(&rig);
    pid_t old = rig.agent;

    rig_order(&rig, 'd', 0);
    for (int i = 0; i < 12; i++)
        (void)rig_send(&rig,
                       &disarm); /* its pings go on, and are no longer read when the answers have filled the socket */
    rig_accept(&rig, RIG_WAIT_MS);
    assert_false(rig_alive(old));
}

/* The pid of what a program of the agent has started, which knows nothing of the agent. */
static pid_t start_program(bool own_session)
{
    char path[128];
    int pid = 0;

    (void)snprintf(path, sizeof(path), "%s.left", rig.control_path);
    rig_order(&rig, 's', own_session ? 2 : 1);
    assert_true(rig_file_says(path, "\n", RIG_WAIT_MS));
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%d", &pid), 1);
    assert_int_equal(fclose(f), 0);
    return pid;
}

/* It would write on into what the successor makes. */
static void test_what_a_program_of_a_dead_agent_has_started_ends_before_the_successor_begins(void **state)
{
    rig_begin(&rig);
    pid_t left = start_program(false);

    assert_int_equal(kill(rig.agent, SIGKILL), 0);
    rig_accept(&rig, RIG_WAIT_MS);
    assert_false(rig_alive(left));
}

/* A callback may start what stays. */
static void test_what_has_a_session_of_its_own_outlives_the_agent(void **state)
{
    rig_begin(&rig);
    pid_t left = start_program(true);

    assert_int_equal(kill(rig.agent, SIGKILL), 0);
    rig_accept(&rig, RIG_WAIT_MS);
    assert_true(rig_alive(left));
    assert_int_equal(kill(left, SIGKILL), 0);
}

static void test_agent_that_never_says_hello_is_replaced(void **state)
{
    (void)snprintf(rig.guard_options, sizeof(rig.guard_options), "--agent-hello-ms 300");
    rig_start(&rig);
    rig_accept(&rig, RIG_WAIT_MS);
    pid_t old = rig.agent;

    rig_order(&rig, 'q', 0);
    rig_accept(&rig, RIG_WAIT_MS);
    assert_false(rig_alive(old));
}

static void test_agent_that_keeps_dying_is_restarted_at_growing_intervals(void **state)
{
    int started = 0;

    (void)snprintf(rig.puppet_argument, sizeof(rig.puppet_argument), "1");
    rig_start(&rig);
    assert_true(rig_file_says(rig.log_path, "exited with 1", RIG_WAIT_MS));
    rig_nap(2000); /* two seconds pass */

    FILE *log = fopen(rig.log_path, "r");
    char line[512];
    assert_non_null(log);
    while (fgets(line, sizeof(line), log))
        started += strstr(line, "agent started") != NULL;
    (void)fclose(log);
    assert_in_range(started, 4, 9); /* 0, 0, 50, 100, 200, 400, 800, 1000 ms apart */
}

static void test_whole_node_suspended_is_no_reason_to_replace_the_agent(void **state)
{
    rig_begin(&rig);
    struct guard_msg ping = rig_message(GUARD_PING);
    pid_t agent = rig.agent;

    assert_int_equal(kill(rig.guard, SIGSTOP), 0);
    assert_int_equal(kill(agent, SIGSTOP), 0);
    rig_nap(1500);
    assert_int_equal(kill(rig.guard, SIGCONT), 0);
    assert_int_equal(kill(agent, SIGCONT), 0);

    assert_true(rig_ask(&rig, &ping));
    assert_int_equal(rig.last.agent_restarts, 0);
    assert_true(rig_alive(agent));
}

static void test_wrong_configuration_ends_the_guard_with_the_same_status(void **state)
{
    (void)snprintf(rig.puppet_argument, sizeof(rig.puppet_argument), "%d", GUARD_EXIT_CONFIG);
    rig_start(&rig);
    assert_int_equal(rig_exit_code(rig_guard_exit(&rig, RIG_WAIT_MS)), GUARD_EXIT_CONFIG);
}

static void test_sigterm_is_passed_on_and_the_guard_ends_after_its_agent(void **state)
{
    rig_begin(&rig);

    assert_int_equal(kill(rig.guard, SIGTERM), 0);
    rig_until_kind(&rig, GUARD_TERM, RIG_WAIT_MS);
    assert_int_equal(waitpid(rig.guard, NULL, WNOHANG), 0); /* it waits for the agent */
    rig_order(&rig, 'x', 0);

    assert_int_equal(rig_exit_code(rig_guard_exit(&rig, RIG_WAIT_MS)), 0);
}

/* It ends with answers unread, for which the kernel resets the connection: what it had said still counts. */
static void test_last_words_of_an_agent_are_heard(void **state)
{
    struct guard_msg leave = rig_message(GUARD_LEAVE);
    rig_begin(&rig);

    rig_order(&rig, 'd', 0);
    rig_nap(300); /* its pings are answered */
    assert_int_equal(kill(rig.guard, SIGSTOP), 0);
    (void)rig_send(&rig, &leave);
    rig_order(&rig, 'x', 0);
    rig_until_dead(rig.agent, RIG_WAIT_MS);
    assert_int_equal(kill(rig.guard, SIGCONT), 0);
    assert_int_equal(rig_exit_code(rig_guard_exit(&rig, RIG_WAIT_MS)), 0);
}

static void test_agent_that_fails_while_ending_shows_in_the_exit_status(void **state)
{
    rig_begin(&rig);

    assert_int_equal(kill(rig.guard, SIGINT), 0);
    rig_until_kind(&rig, GUARD_TERM, RIG_WAIT_MS);
    rig_order(&rig, 'x', 3);

    assert_int_equal(rig_exit_code(rig_guard_exit(&rig, RIG_WAIT_MS)), 1);
}

static void test_exit_zero_without_being_asked_is_a_crash_like_any_other(void **state)
{
    rig_begin(&rig);

    rig_order(&rig, 'x', 0);
    rig_accept(&rig, RIG_WAIT_MS);
}

static void test_hup_and_usr1_reach_the_agent(void **state)
{
    rig_begin(&rig);

    assert_int_equal(kill(rig.guard, SIGHUP), 0);
    rig_until_kind(&rig, GUARD_RELOAD, RIG_WAIT_MS);
    assert_int_equal(kill(rig.guard, SIGUSR1), 0);
    rig_until_kind(&rig, GUARD_REOPEN, RIG_WAIT_MS);
}

static void test_ctrl_z_and_stray_signals_do_not_harm_the_guard(void **state)
{
    static const int stray[] = {SIGTSTP, SIGPIPE, SIGUSR2, SIGTTOU};
    struct guard_msg ping = rig_message(GUARD_PING);
    rig_begin(&rig);

    for (size_t i = 0; i < sizeof(stray) / sizeof(stray[0]); i++)
        assert_int_equal(kill(rig.guard, stray[i]), 0);
    assert_true(rig_ask(&rig, &ping));
}

static void test_second_guard_of_the_same_node_refuses(void **state)
{
    char names[64];
    rig_begin(&rig);
    pid_t first = rig.guard;

    rig_start(&rig);
    int status = rig_guard_exit(&rig, RIG_WAIT_MS);
    rig.guard = first;

    assert_int_equal(rig_exit_code(status), 1);
    (void)snprintf(names, sizeof(names), "is running for this node, pid %d", (int)first);
    assert_true(rig_file_says(rig.log_path, names, 0));
}

static void test_hung_agent_of_a_dead_guard_is_killed_before_a_new_one_starts(void **state)
{
    rig_begin(&rig);
    pid_t old = rig.agent;

    assert_int_equal(kill(old, SIGSTOP), 0);
    assert_int_equal(kill(rig.guard, SIGKILL), 0);
    (void)rig_guard_exit(&rig, RIG_WAIT_MS);
    rig_start(&rig);
    rig_accept(&rig, RIG_WAIT_MS); /* it is given 5 s to stop PostgreSQL first */

    assert_false(rig_alive(old));
    rig_greet(&rig);
}

static void test_agent_sees_the_end_of_its_guard(void **state)
{
    rig_begin(&rig);
    pid_t old = rig.agent;

    assert_int_equal(kill(rig.guard, SIGKILL), 0);
    (void)rig_guard_exit(&rig, RIG_WAIT_MS);
    rig_until_dead(old, RIG_WAIT_MS);
    rig_begin(&rig); /* the lock is free */
}

/* --- the protocol --- */

static void test_request_before_hello_is_refused(void **state)
{
    struct guard_msg arm = rig_message(GUARD_ARM);
    struct guard_msg ping = rig_message(GUARD_PING);

    rig_start(&rig);
    rig_accept(&rig, RIG_WAIT_MS);
    assert_false(rig_ask(&rig, &arm));
    assert_string_equal(rig.last.text, "no HELLO yet");
    assert_true(rig_ask(&rig, &ping)); /* an agent that starts slowly may show that it lives */
}

static void test_beat_has_no_answer(void **state)
{
    struct guard_msg beat = rig_message(GUARD_BEAT);
    struct guard_msg ping = rig_message(GUARD_PING);
    rig_begin(&rig);

    (void)rig_send(&rig, &beat);
    uint64_t asked = rig_send(&rig, &ping);
    struct guard_msg first;
    assert_true(rig_receive(&rig, &first, RIG_WAIT_MS));
    assert_int_equal(first.seq, asked);
}

static void test_agent_of_another_data_directory_is_refused(void **state)
{
    struct guard_msg hello = rig_message(GUARD_HELLO);

    rig_start(&rig);
    rig_accept(&rig, RIG_WAIT_MS);
    (void)snprintf(hello.data_dir, sizeof(hello.data_dir), "/elsewhere");
    assert_false(rig_ask(&rig, &hello));
    assert_non_null(strstr(rig.last.text, rig.data_dir));
}

static void test_packet_of_another_version_is_refused_and_changes_nothing(void **state)
{
    struct guard_msg arm = rig_message(GUARD_ARM);
    struct guard_msg ping = rig_message(GUARD_PING);
    rig_begin(&rig);

    arm.version = GUARD_PROTOCOL + 1;
    arm.stop_at_ms = arm.quit_at_ms = arm.kill_at_ms = rig_now_ms() + 100000;
    assert_false(rig_ask(&rig, &arm));
    assert_string_equal(rig.last.text, "another version of the protocol");
    assert_true(rig_ask(&rig, &ping));
    assert_true(rig.last.kill_at_ms == MSEC_NEVER);
}

static void test_packet_of_another_size_is_refused_and_changes_nothing(void **state)
{
    struct guard_msg arm = rig_message(GUARD_ARM);
    struct guard_msg ping = rig_message(GUARD_PING);
    rig_begin(&rig);

    arm.seq = ++rig.seq;
    arm.stop_at_ms = arm.quit_at_ms = arm.kill_at_ms = rig_now_ms() + 100000;
    rig_send_raw(&rig, &arm, sizeof(arm) - 8);
    assert_false(rig_answer(&rig, arm.seq));
    assert_string_equal(rig.last.text, "a packet of another size");
    rig_send_raw(&rig, &arm, 7); /* too short even for its seq */
    assert_false(rig_answer(&rig, 0));
    assert_true(rig_ask(&rig, &ping));
    assert_true(rig.last.kill_at_ms == MSEC_NEVER);
}

static void test_texts_without_end_are_refused(void **state)
{
    struct guard_msg start = rig_message(GUARD_START);
    rig_begin(&rig);

    memset(start.log_path, 'x', sizeof(start.log_path));
    assert_false(rig_ask(&rig, &start));
    memset(start.log_path, 0, sizeof(start.log_path));

    memcpy(start.args, "/bin/true", 9);
    start.args_len = 9; /* the last argument has no NUL */
    assert_false(rig_ask(&rig, &start));
    start.args_len = GUARD_ARGS_MAX + 1;
    assert_false(rig_ask(&rig, &start));
    start.args_len = 10;
    memset(start.env, 'E', sizeof(start.env));
    assert_false(rig_ask(&rig, &start));
    assert_int_equal(rig.last.pg_state, GUARD_PG_NONE);
}

static void test_fence_with_moments_out_of_order_is_refused(void **state)
{
    struct guard_msg arm = rig_message(GUARD_ARM);
    msec now_ms = rig_now_ms();
    rig_begin(&rig);

    assert_false(rig_ask(&rig, &arm)); /* all zero: forgotten */
    arm.stop_at_ms = now_ms + 60000;
    arm.quit_at_ms = now_ms + 50000;
    arm.kill_at_ms = now_ms + 70000;
    assert_false(rig_ask(&rig, &arm));
    arm.quit_at_ms = now_ms + 65000;
    arm.kill_at_ms = MSEC_NEVER;
    assert_false(rig_ask(&rig, &arm));
    arm.kill_at_ms = now_ms + 70000;
    arm.term = 7;
    assert_true(rig_ask(&rig, &arm));
    assert_int_equal(rig.last.term, 7);
    assert_int_equal(rig.last.kill_at_ms, arm.kill_at_ms);
}

static void test_fence_and_its_term_are_handed_to_the_successor(void **state)
{
    struct guard_msg arm = rig_message(GUARD_ARM);
    rig_begin(&rig);

    arm.term = 9;
    arm.stop_at_ms = arm.quit_at_ms = arm.kill_at_ms = rig_now_ms() + 60000;
    assert_true(rig_ask(&rig, &arm));
    assert_int_equal(kill(rig.agent, SIGKILL), 0);
    rig_accept(&rig, RIG_WAIT_MS);
    rig_greet(&rig);

    assert_int_equal(rig.last.term, 9);
    assert_int_equal(rig.last.kill_at_ms, arm.kill_at_ms);
}

static void test_fence_that_passes_with_nothing_running_bars_a_start_until_disarmed(void **state)
{
    struct guard_msg arm = rig_message(GUARD_ARM);
    struct guard_msg start = rig_message(GUARD_START);
    struct guard_msg disarm = rig_message(GUARD_DISARM);
    rig_begin(&rig);

    arm.stop_at_ms = arm.quit_at_ms = arm.kill_at_ms = rig_now_ms() + 50;
    assert_true(rig_ask(&rig, &arm));
    while (!rig.last.fence_spent)
        rig_until_kind(&rig, GUARD_STATE, RIG_WAIT_MS);
    assert_int_equal(rig.last.fence_fired, 0); /* there was nothing to stop */
    memcpy(start.args, "/bin/true", 10);
    start.args_len = 10;
    assert_false(rig_ask(&rig, &start));
    assert_non_null(strstr(rig.last.text, "fence has passed"));
    assert_true(rig_ask(&rig, &disarm));
    assert_true(rig_ask(&rig, &start));
}

/* --- systemd --- */

static int notify_socket(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const struct timeval limit = {.tv_sec = 3};

    (void)snprintf(rig.notify_path, sizeof(rig.notify_path), "%s/notify", rig.dir);
    (void)snprintf(at.sun_path, sizeof(at.sun_path), "%s", rig.notify_path);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(chmod(rig.notify_path, 0777), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    return fd;
}

static bool notified(int fd, const char *text, msec wait_ms)
{
    msec deadline_ms = rig_now_ms() + wait_ms;
    char got[256];

    do {
        ssize_t len = recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT);
        got[len > 0 ? len : 0] = '\0';
        if (strcmp(got, text) == 0)
            return true;
    } while (rig_now_ms() < deadline_ms);
    return false;
}

/* The guard alone would be killed for a silence of its own; what is wrong with an agent is its to mend. */
static void test_systemd_watchdog_is_fed_even_while_no_agent_can_be_started(void **state)
{
    int fd = notify_socket();

    assert_int_equal(setenv("WATCHDOG_USEC", "200000", 1), 0);
    rig_begin(&rig);
    assert_int_equal(unsetenv("WATCHDOG_USEC"), 0);
    assert_true(notified(fd, "WATCHDOG=1", 2000));

    assert_int_equal(unlink(rig.puppet_path), 0);
    assert_int_equal(kill(rig.agent, SIGKILL), 0);
    assert_true(rig_file_says(rig.log_path, "exited with 127", RIG_WAIT_MS));
    while (notified(fd, "WATCHDOG=1", 0))
        ;
    for (int i = 0; i < 10; i++)
        assert_true(notified(fd, "WATCHDOG=1", 2000));
    (void)close(fd);
}

static void test_systemd_hears_of_the_end(void **state)
{
    int fd = notify_socket();

    rig_begin(&rig);
    assert_int_equal(kill(rig.guard, SIGTERM), 0);
    assert_true(notified(fd, "STOPPING=1", 2000));
    rig_order(&rig, 'x', 0);
    assert_int_equal(rig_exit_code(rig_guard_exit(&rig, RIG_WAIT_MS)), 0);
    (void)close(fd);
}

/* --- every process of an instance --- */

/* A program called postgres that works in the data directory, and ignores what can be ignored. */
static pid_t fake_backend(const char *dir)
{
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/postgres", rig.dir);
    const char *const copy[] = {"/bin/cp", "-n", "/bin/sleep", path, NULL};
    const char *const argv[] = {"/bin/sh", "-c", "cd \"$0\" && exec \"$1\" 600", dir, path, NULL};
    assert_int_equal(rig_exit_code(rig_run(&rig, copy, NULL)), 0);
    pid_t pid = rig_spawn(&rig, argv, NULL);
    rig_until_runs(pid, "postgres");
    return pid;
}

static void test_clear_kills_every_process_of_the_instance_and_no_other(void **state)
{
    const char *const clear[] = {rig.guard_path, "--clear", rig.data_dir, NULL};
    const char *const shell[] = {"/bin/sh", "-c", "cd \"$0\" && exec sleep 600", rig.data_dir, NULL};
    pid_t backends[3];

    for (int i = 0; i < 3; i++)
        backends[i] = fake_backend(rig.data_dir);
    pid_t elsewhere = fake_backend(rig.state_dir);
    pid_t bystander = rig_spawn(&rig, shell, NULL);
    rig_until_runs(bystander, "sleep");
    assert_int_equal(rig_instance(&rig, NULL, 0), 3);
    assert_int_equal(kill(backends[0], SIGSTOP), 0);
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/postgres", rig.dir);
    assert_int_equal(unlink(path), 0); /* as a minor upgrade does: "(deleted)" from here on */

    assert_int_equal(rig_exit_code(rig_run(&rig, clear, NULL)), 0);

    for (int i = 0; i < 3; i++)
        assert_int_equal(WTERMSIG(rig_wait(backends[i], 0)), SIGKILL);
    assert_true(rig_alive(elsewhere));
    assert_true(rig_alive(bystander));
    (void)kill(elsewhere, SIGKILL);
    (void)kill(bystander, SIGKILL);
    (void)rig_wait(elsewhere, RIG_WAIT_MS);
    (void)rig_wait(bystander, RIG_WAIT_MS);
}

static void test_processes_nobody_told_us_of_bar_a_start_and_are_left_alone(void **state)
{
    struct guard_msg start = rig_message(GUARD_START);
    struct guard_msg stop = rig_message(GUARD_STOP);
    pid_t backend = fake_backend(rig.data_dir);

    rig_begin(&rig);
    assert_int_equal(rig.last.pg_state, GUARD_PG_ORPHANS);
    assert_int_equal(rig.last.orphan_count, 1);
    memcpy(start.args, "/bin/true", 10);
    start.args_len = 10;
    assert_false(rig_ask(&rig, &start));
    rig_nap(1300); /* longer than orphans of ours would live */
    assert_true(rig_alive(backend));

    stop.mode = GUARD_STOP_FAST;
    assert_false(rig_ask(&rig, &stop)); /* there is nobody to tell */
    stop.mode = GUARD_STOP_KILL;
    assert_true(rig_ask(&rig, &stop));
    rig_until_state(&rig, GUARD_PG_NONE, RIG_WAIT_MS);
    assert_int_equal(WTERMSIG(rig_wait(backend, RIG_WAIT_MS)), SIGKILL);
}

static void test_command_line_is_checked(void **state)
{
    const char *const nothing[] = {rig.guard_path, NULL};
    const char *const relative[] = {rig.guard_path, "--data-dir", "data",      "--state-dir",
                                    "/tmp",         "--",         "/bin/true", NULL};
    const char *const no_dir[] = {rig.guard_path, "--data-dir", "/tmp/x",    "--state-dir",
                                  "/nonexistent", "--",         "/bin/true", NULL};

    assert_int_equal(rig_exit_code(rig_run(&rig, nothing, NULL)), 2);
    assert_int_equal(rig_exit_code(rig_run(&rig, relative, NULL)), 2);
    assert_int_equal(rig_exit_code(rig_run(&rig, no_dir, NULL)), 1);
    assert_true(rig_file_says(rig.log_path, "opening /nonexistent/guard.lock: No such file", 0));
}

#define RIGGED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIGGED(test_killed_agent_is_replaced_at_once),
        RIGGED(test_stopped_agent_is_killed_and_replaced_within_a_second),
        RIGGED(test_agent_that_runs_but_does_not_ping_is_replaced),
        RIGGED(test_looping_agent_is_replaced_although_it_is_running),
        RIGGED(test_agent_that_does_not_read_its_answers_is_replaced),
        RIGGED(test_what_a_program_of_a_dead_agent_has_started_ends_before_the_successor_begins),
        RIGGED(test_what_has_a_session_of_its_own_outlives_the_agent),
        RIGGED(test_agent_that_never_says_hello_is_replaced),
        RIGGED(test_agent_that_keeps_dying_is_restarted_at_growing_intervals),
        RIGGED(test_whole_node_suspended_is_no_reason_to_replace_the_agent),
        RIGGED(test_wrong_configuration_ends_the_guard_with_the_same_status),
        RIGGED(test_sigterm_is_passed_on_and_the_guard_ends_after_its_agent),
        RIGGED(test_last_words_of_an_agent_are_heard),
        RIGGED(test_agent_that_fails_while_ending_shows_in_the_exit_status),
        RIGGED(test_exit_zero_without_being_asked_is_a_crash_like_any_other),
        RIGGED(test_hup_and_usr1_reach_the_agent),
        RIGGED(test_ctrl_z_and_stray_signals_do_not_harm_the_guard),
        RIGGED(test_second_guard_of_the_same_node_refuses),
        RIGGED(test_hung_agent_of_a_dead_guard_is_killed_before_a_new_one_starts),
        RIGGED(test_agent_sees_the_end_of_its_guard),
        RIGGED(test_request_before_hello_is_refused),
        RIGGED(test_beat_has_no_answer),
        RIGGED(test_agent_of_another_data_directory_is_refused),
        RIGGED(test_packet_of_another_version_is_refused_and_changes_nothing),
        RIGGED(test_packet_of_another_size_is_refused_and_changes_nothing),
        RIGGED(test_texts_without_end_are_refused),
        RIGGED(test_fence_with_moments_out_of_order_is_refused),
        RIGGED(test_fence_and_its_term_are_handed_to_the_successor),
        RIGGED(test_fence_that_passes_with_nothing_running_bars_a_start_until_disarmed),
        RIGGED(test_systemd_watchdog_is_fed_even_while_no_agent_can_be_started),
        RIGGED(test_systemd_hears_of_the_end),
        RIGGED(test_clear_kills_every_process_of_the_instance_and_no_other),
        RIGGED(test_processes_nobody_told_us_of_bar_a_start_and_are_left_alone),
        RIGGED(test_command_line_is_checked),
    };
    cmocka_set_test_filter(getenv("GUARD_TEST_FILTER")); /* a pattern, for those who look into one */
    return cmocka_run_group_tests_name("guard supervision", tests, NULL, NULL);
}
