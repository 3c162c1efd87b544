/* The agent's side of the link; the test plays the guard, and at the end a real one does. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "app/agent/guard_link.h"
#include "base/str.h"
#include "io/loop.h"
#include "rig.h"

static struct {
    struct loop *loop;
    struct guard_link *link;
    int guard; /* the other end */
    struct err err;

    int states, refusals, terms, reloads, reopens, silences, closes;
    struct guard_msg last;
    char why[128];
} at;

static void on_state(const struct guard_msg *m, void *arg)
{
    assert_ptr_equal(arg, &at);
    at.states++;
    at.last = *m;
}

static void on_refused(const struct guard_msg *m, void *arg)
{
    at.refusals++;
    at.last = *m;
}

static void on_term(void *arg)
{
    at.terms++;
}

static void on_reload(void *arg)
{
    at.reloads++;
}

static void on_reopen(void *arg)
{
    at.reopens++;
}

static void on_silent(void *arg)
{
    at.silences++;
}

static void on_closed(const char *why, void *arg)
{
    at.closes++;
    (void)snprintf(at.why, sizeof(at.why), "%s", why);
}

static const struct guard_link_events events = {.state = on_state,
                                                .refused = on_refused,
                                                .term = on_term,
                                                .reload = on_reload,
                                                .reopen = on_reopen,
                                                .silent = on_silent,
                                                .closed = on_closed};

/* The guard's ear: the next packet that is no sign of life. */
static struct guard_msg heard(void)
{
    struct guard_msg m;

    for (;;) {
        assert_int_equal(recv(at.guard, &m, sizeof(m), MSG_DONTWAIT), sizeof(m));
        assert_int_equal(m.version, GUARD_PROTOCOL);
        if (m.kind != GUARD_PING && m.kind != GUARD_BEAT)
            return m;
    }
}

static void say(struct guard_msg m)
{
    m.version = GUARD_PROTOCOL;
    assert_int_equal(send(at.guard, &m, sizeof(m), 0), sizeof(m));
    loop_turn(at.loop, 0);
}

/* With a descriptor. */
static void say_with(struct guard_msg m, int fd)
{
    struct iovec iov = {.iov_base = &m, .iov_len = sizeof(m)};
    char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(sizeof(struct cmsghdr)))) = {0};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

    m.version = GUARD_PROTOCOL;
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof(int));
    assert_int_equal(sendmsg(at.guard, &msg, 0), sizeof(m));
    loop_turn(at.loop, 0);
}

static int setup(void **state)
{
    int pair[2];

    memset(&at, 0, sizeof(at));
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    at.loop = loop_new();
    at.guard = pair[0];
    assert_true(guard_link_open_fd(at.loop, pair[1], 0, "/data", &events, &at, &at.link, &at.err));
    return 0;
}

static int teardown(void **state)
{
    guard_link_free(at.link);
    loop_free(at.loop);
    if (at.guard >= 0)
        (void)close(at.guard);
    return 0;
}

static void test_first_word_is_hello_with_the_data_directory(void **state)
{
    struct guard_msg m = heard();

    assert_int_equal(m.kind, GUARD_HELLO);
    assert_string_equal(m.data_dir, "/data");
    assert_int_equal(m.seq, 1);
}

static void test_start_carries_arguments_environment_and_log(void **state)
{
    const char *const argv[] = {"/usr/bin/postgres", "-D", "/data", NULL};
    const char *const env[] = {"LANG=C", "TZ=UTC", NULL};
    (void)heard();

    assert_true(guard_link_start(at.link, argv, env, "/log", &at.err));
    struct guard_msg m = heard();
    assert_int_equal(m.kind, GUARD_START);
    assert_int_equal(m.seq, guard_link_seq(at.link));
    assert_int_equal(m.args_len, 18 + 3 + 6);
    assert_memory_equal(m.args, "/usr/bin/postgres\0-D\0/data", 27);
    assert_memory_equal(m.env, "LANG=C\0TZ=UTC\0", 15);
    assert_string_equal(m.log_path, "/log");
}

static void test_command_line_that_does_not_fit_is_an_error_and_not_cut(void **state)
{
    static char big[GUARD_ARGS_MAX];
    const char *const argv[] = {"/usr/bin/postgres", big, NULL};
    const char *const env[] = {big, NULL};
    const char *const small[] = {"/usr/bin/postgres", NULL};
    (void)heard();

    memset(big, 'x', sizeof(big) - 1);
    assert_false(guard_link_start(at.link, argv, NULL, NULL, &at.err));
    assert_int_equal(at.err.code, ERR_INPUT);
    assert_false(guard_link_start(at.link, small, env, NULL, &at.err));
    assert_false(guard_link_start(at.link, small, NULL, big, &at.err));
    assert_int_equal(recv(at.guard, big, sizeof(big), MSG_DONTWAIT), -1);
}

static void test_requests_carry_what_they_are_given(void **state)
{
    (void)heard();

    assert_true(guard_link_arm(at.link, 7, 100, 200, 300, &at.err));
    struct guard_msg m = heard();
    assert_int_equal(m.kind, GUARD_ARM);
    assert_int_equal(m.term, 7);
    assert_int_equal(m.stop_at_ms, 100);
    assert_int_equal(m.quit_at_ms, 200);
    assert_int_equal(m.kill_at_ms, 300);

    assert_true(guard_link_stop(at.link, GUARD_STOP_FAST, 5, MSEC_NEVER, &at.err));
    m = heard();
    assert_int_equal(m.kind, GUARD_STOP);
    assert_int_equal(m.mode, GUARD_STOP_FAST);
    assert_int_equal(m.quit_at_ms, 5);
    assert_true(m.kill_at_ms == MSEC_NEVER);

    assert_true(guard_link_adopt(at.link, 4711, &at.err));
    m = heard();
    assert_int_equal(m.kind, GUARD_ADOPT);
    assert_int_equal(m.postmaster_pid, 4711);
    assert_true(guard_link_disarm(at.link, &at.err));
    assert_int_equal(heard().kind, GUARD_DISARM);
    assert_true(guard_link_leave(at.link, &at.err));
    assert_int_equal(heard().kind, GUARD_LEAVE);
    assert_true(guard_link_upgrade(at.link, &at.err));
    assert_int_equal(heard().kind, GUARD_UPGRADE);
}

static void test_each_kind_of_word_has_its_callback(void **state)
{
    say((struct guard_msg){.kind = GUARD_STATE, .seq = 3, .pg_state = GUARD_PG_RUNNING});
    assert_int_equal(at.states, 1);
    assert_int_equal(at.last.pg_state, GUARD_PG_RUNNING);
    say((struct guard_msg){.kind = GUARD_REFUSED, .seq = 4, .text = "no"});
    assert_int_equal(at.refusals, 1);
    assert_string_equal(at.last.text, "no");
    say((struct guard_msg){.kind = GUARD_TERM});
    say((struct guard_msg){.kind = GUARD_RELOAD});
    say((struct guard_msg){.kind = GUARD_REOPEN});
    assert_int_equal(at.terms + at.reloads + at.reopens, 3);
    assert_int_equal(at.closes, 0);
}

static void test_pidfd_belongs_to_the_postmaster_it_came_with(void **state)
{
    pid_t child = fork();
    if (child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            (void)pause();
    }
    int pidfd = (int)syscall(SYS_pidfd_open, child, 0);
    assert_true(pidfd >= 0);

    assert_false(guard_link_signal_postmaster(at.link, SIGTERM, &at.err));
    say_with((struct guard_msg){.kind = GUARD_STATE, .postmaster_pid = child}, pidfd);
    (void)close(pidfd);
    assert_true(guard_link_signal_postmaster(at.link, 0, &at.err));
    say((struct guard_msg){.kind = GUARD_STATE, .postmaster_pid = child});
    assert_true(guard_link_signal_postmaster(at.link, 0, &at.err)); /* the same one: kept */
    assert_true(guard_link_signal_postmaster(at.link, SIGKILL, &at.err));
    assert_int_equal(WTERMSIG(rig_wait(child, RIG_WAIT_MS)), SIGKILL);

    say((struct guard_msg){.kind = GUARD_STATE, .postmaster_pid = child + 1});
    assert_false(guard_link_signal_postmaster(at.link, 0, &at.err)); /* another one's would be wrong */
}

static void test_link_shows_life_by_itself_and_asks_for_an_echo_now_and_then(void **state)
{
    msec deadline_ms = rig_now_ms() + RIG_WAIT_MS;
    struct guard_msg m;
    int beats = 0, pings = 0;
    (void)heard();

    while (pings < 2 && rig_now_ms() < deadline_ms) {
        loop_turn(at.loop, 20);
        while (recv(at.guard, &m, sizeof(m), MSG_DONTWAIT) == sizeof(m)) {
            beats += m.kind == GUARD_BEAT;
            pings += m.kind == GUARD_PING;
        }
    }
    assert_int_equal(pings, 2);
    assert_int_equal(beats, 2 * (GUARD_BEATS_PER_PING - 1));
}

static void test_guard_that_does_not_echo_is_silent_once(void **state)
{
    msec deadline_ms = rig_now_ms() + RIG_WAIT_MS;
    struct guard_msg m;

    while (!at.silences && rig_now_ms() < deadline_ms) {
        loop_turn(at.loop, 20);
        (void)recv(at.guard, &m, sizeof(m), MSG_DONTWAIT);
    }
    assert_int_equal(at.silences, 1);
    for (int i = 0; i < 20; i++)
        loop_turn(at.loop, 20);
    assert_int_equal(at.silences, 1);

    say((struct guard_msg){.kind = GUARD_STATE});
    assert_int_equal(at.closes, 0);
}

static void test_own_suspension_is_not_the_guards_silence(void **state)
{
    loop_turn(at.loop, 0);
    rig_nap(GUARD_ECHO_MS + 300); /* the loop does not turn */
    loop_turn(at.loop, 0);
    assert_int_equal(at.silences, 0);
}

static void test_end_of_the_connection_is_reported_after_what_was_said_before(void **state)
{
    struct guard_msg m = {.version = GUARD_PROTOCOL, .kind = GUARD_STATE, .pg_state = GUARD_PG_ORPHANS};

    assert_int_equal(send(at.guard, &m, sizeof(m), 0), sizeof(m));
    (void)close(at.guard);
    at.guard = -1;
    loop_turn(at.loop, 0);
    loop_turn(at.loop, 0);
    assert_int_equal(at.states, 1);
    assert_int_equal(at.closes, 1);
    assert_false(guard_link_disarm(at.link, &at.err));
    loop_turn(at.loop, 0);
    assert_int_equal(at.closes, 1);
}

static void test_guard_of_another_version_is_not_listened_to(void **state)
{
    struct guard_msg m = {.version = GUARD_PROTOCOL + 1, .kind = GUARD_TERM};

    assert_int_equal(send(at.guard, &m, sizeof(m), 0), sizeof(m));
    loop_turn(at.loop, 0);
    assert_int_equal(at.terms, 0);
    assert_int_equal(at.closes, 1);
    assert_non_null(strstr(at.why, "version"));
}

static void test_request_that_does_not_fit_is_an_error_at_once(void **state)
{
    int sent = 0;

    while (sent < 10000 && guard_link_disarm(at.link, &at.err))
        sent++;
    assert_in_range(sent, 1, 9999); /* the guard does not read: it fails, and does not wait */
    assert_int_equal(at.err.sys_errno, EAGAIN);
    (void)heard();
    assert_true(guard_link_disarm(at.link, &at.err));
}

static void test_without_a_guard_there_is_no_link(void **state)
{
    struct guard_link *none = NULL;

    (void)unsetenv(GUARD_ENV_FD);
    assert_false(guard_link_open(at.loop, "/data", &events, &at, &none, &at.err));
    (void)setenv(GUARD_ENV_FD, "0", 1);
    assert_false(guard_link_open(at.loop, "/data", &events, &at, &none, &at.err));
    assert_null(none);
    (void)unsetenv(GUARD_ENV_FD);
}

/* --- as the agent of a real guard: this program, started with the data directory as argument --- */

static bool agent_armed;
static bool agent_left;

static void agent_on_state(const struct guard_msg *m, void *arg)
{
    struct err err;
    bool sent;

    if (m->seq == 1)
        sent = guard_link_arm(at.link, 3, rig_now_ms() + 60000, rig_now_ms() + 60000, rig_now_ms() + 60000, &err);
    else if (m->term == 3 && m->kill_at_ms != MSEC_NEVER && !agent_armed)
        sent = agent_armed = guard_link_disarm(at.link, &err);
    else if (agent_armed && !agent_left && m->kill_at_ms == MSEC_NEVER)
        sent = agent_left = guard_link_leave(at.link, &err);
    else if (agent_left)
        exit(0);
    else
        return;
    if (!sent)
        exit(2);
}

static int run_as_agent(const char *data_dir)
{
    struct guard_link_events agent_events = events;
    struct err err;

    agent_events.state = agent_on_state;
    at.loop = loop_new();
    if (!guard_link_open(at.loop, data_dir, &agent_events, &at, &at.link, &err)) {
        (void)fprintf(stderr, "%s\n", err.text);
        return 3;
    }
    struct pollfd guard = {.fd = guard_link_guard_pidfd(at.link), .events = POLLIN};
    if (poll(&guard, 1, 0) != 0 || getenv(GUARD_ENV_FD))
        return 4;
    for (msec deadline_ms = rig_now_ms() + RIG_WAIT_MS; rig_now_ms() < deadline_ms;)
        loop_turn(at.loop, 100);
    return 5;
}

static void test_real_guard_and_link_understand_each_other(void **state)
{
    static struct rig rig;

    char self[512] = "";

    assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
    assert_int_equal(setenv("PUPPET_EXE", self, 1), 0); /* we are the agent */
    rig_init(&rig);
    (void)snprintf(rig.control_path, sizeof(rig.control_path), "%.90s", rig.data_dir); /* its argument */
    rig_start(&rig);
    int status = rig_guard_exit(&rig, RIG_WAIT_MS); /* the agent left in good order: see agent_on_state() */
    bool replaced = rig_file_says(rig.log_path, "exited with", 0) && !rig_file_says(rig.log_path, "exited with 0", 0);
    rig_deinit(&rig);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_false(replaced);
}

#define LINKED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        LINKED(test_first_word_is_hello_with_the_data_directory),
        LINKED(test_start_carries_arguments_environment_and_log),
        LINKED(test_command_line_that_does_not_fit_is_an_error_and_not_cut),
        LINKED(test_requests_carry_what_they_are_given),
        LINKED(test_each_kind_of_word_has_its_callback),
        LINKED(test_pidfd_belongs_to_the_postmaster_it_came_with),
        LINKED(test_link_shows_life_by_itself_and_asks_for_an_echo_now_and_then),
        LINKED(test_guard_that_does_not_echo_is_silent_once),
        LINKED(test_own_suspension_is_not_the_guards_silence),
        LINKED(test_end_of_the_connection_is_reported_after_what_was_said_before),
        LINKED(test_guard_of_another_version_is_not_listened_to),
        LINKED(test_request_that_does_not_fit_is_an_error_at_once),
        LINKED(test_without_a_guard_there_is_no_link),
        cmocka_unit_test(test_real_guard_and_link_understand_each_other),
    };

    if (argc > 1)
        return run_as_agent(argv[1]);
    cmocka_set_test_filter(getenv("GUARD_TEST_FILTER"));
    return cmocka_run_group_tests_name("guard link", tests, NULL, NULL);
}
