#include "io/child.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/str.h"
#include "io/loop.h"

enum { PATIENCE_MS = 20000 };

/* One run of a program and what came of it. */
struct run {
    struct loop *loop;
    struct child *child;
    bool done;
    bool exited, timed_out;
    int status, signal;
    struct buf out, errout, lines;
    struct err verdict;
    bool abandon_on_line, abandon_on_done;
};

static struct run run;

static int open_descriptors(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");

    while (dir && readdir(dir))
        count++;
    if (dir)
        (void)closedir(dir);
    return count;
}

static int fds_before;

static int setup(void **state)
{
    fds_before = open_descriptors();
    run = (struct run){.loop = loop_new()};
    return 0;
}

static int teardown(void **state)
{
    loop_free(run.loop);
    buf_deinit(&run.out);
    buf_deinit(&run.errout);
    buf_deinit(&run.lines);
    assert_int_equal(open_descriptors(), fds_before);
    return 0;
}

static void on_done(const struct child_result *r, void *arg)
{
    struct run *u = arg;

    assert_false(u->done);
    u->done = true;
    u->exited = r->exited;
    u->status = r->status;
    u->signal = r->signal;
    u->timed_out = r->timed_out;
    buf_add_str(&u->out, r->out);
    buf_add_str(&u->errout, r->errout);
    if (child_succeeded(r, "it", &u->verdict))
        u->verdict.code = ERR_NONE;
    if (u->abandon_on_done)
        child_abandon(u->child);
}

static void on_line(const char *line, bool from_stderr, void *arg)
{
    struct run *u = arg;

    buf_printf(&u->lines, "%s[%s]", from_stderr ? "err" : "out", line);
    if (u->abandon_on_line)
        child_abandon(u->child);
}

static void start(struct child_spec spec)
{
    struct err err = {0};

    if (!child_start(run.loop, &spec, on_done, &run, &run.child, &err))
        fail_msg("%s", err.text);
}

static void wait_done(void)
{
    msec end_ms = loop_clock_ms() + PATIENCE_MS;

    while (!run.done && loop_clock_ms() < end_ms)
        loop_turn(run.loop, 100);
    assert_true(run.done);
}

static void sh(const char *script)
{
    start((struct child_spec){.argv = (const char *[]){"sh", "-c", script, NULL}, .line = on_line});
}

static void test_output_status_and_lines_come_back(void **state)
{
    sh("echo one; echo two >&2; printf 'three\\r\\nfour'; exit 3");
    assert_true(child_pid(run.child) > 0);
    wait_done();
    assert_true(run.exited);
    assert_int_equal(run.status, 3);
    assert_string_equal(buf_cstr(&run.out), "one\nthree\r\nfour");
    assert_string_equal(buf_cstr(&run.errout), "two\n");
    assert_non_null(strstr(buf_cstr(&run.lines), "out[one]"));
    assert_non_null(strstr(buf_cstr(&run.lines), "out[three]"));
    assert_non_null(strstr(buf_cstr(&run.lines), "out[four]"));
    assert_non_null(strstr(buf_cstr(&run.lines), "err[two]"));
    assert_int_equal(run.verdict.code, ERR_PG);
    assert_string_equal(run.verdict.text, "it: exit 3: two");
}

static void test_success_is_exit_zero(void **state)
{
    sh("echo complaint >&2");
    wait_done();
    assert_int_equal(run.verdict.code, ERR_NONE);
}

static void test_a_line_is_handed_on_while_the_program_still_runs(void **state)
{
    msec end_ms = loop_clock_ms() + PATIENCE_MS;

    sh("echo first; exec sleep 60");
    while (!run.lines.len && loop_clock_ms() < end_ms)
        loop_turn(run.loop, 100);
    assert_string_equal(buf_cstr(&run.lines), "out[first]");
    assert_false(run.done);
    child_signal(run.child, SIGTERM);
    wait_done();
    assert_false(run.exited);
    assert_int_equal(run.signal, SIGTERM);
    assert_string_equal(run.verdict.text, "it: ended by signal 15: first");
}

static void test_of_much_output_the_last_part_is_kept(void **state)
{
    start((struct child_spec){.argv = (const char *[]){"sh", "-c", "seq 1 200000; echo the end", NULL}});
    wait_done();
    assert_int_equal(run.out.len, CHILD_OUTPUT_MAX);
    assert_true(str_ends(buf_cstr(&run.out), "\n199999\n200000\nthe end\n"));
}

static void test_input_larger_than_a_pipe_is_written_and_closed(void **state)
{
    AUTO(buf) struct buf big = BUF_EMPTY;

    while (big.len < 300000)
        buf_add_str(&big, "0123456789");
    start((struct child_spec){.argv = (const char *[]){"wc", "-c", NULL}, .input = buf_cstr(&big)});
    wait_done();
    assert_string_equal(buf_cstr(&run.out), "300000\n");
}

static void test_a_program_that_does_not_read_its_input_is_no_error(void **state)
{
    AUTO(buf) struct buf big = BUF_EMPTY;

    while (big.len < 300000)
        buf_add_str(&big, "0123456789");
    start((struct child_spec){.argv = (const char *[]){"true", NULL}, .input = buf_cstr(&big)});
    wait_done();
    assert_int_equal(run.verdict.code, ERR_NONE);
}

static void test_without_input_there_is_nothing_to_read(void **state)
{
    start((struct child_spec){.argv = (const char *[]){"wc", "-c", NULL}});
    wait_done();
    assert_string_equal(buf_cstr(&run.out), "0\n");
}

static void test_environment_is_added_and_replaced_and_the_folder_is_set(void **state)
{
    (void)setenv("CHILD_TEST_OLD", "old", 1);
    (void)setenv("CHILD_TEST_KEPT", "kept", 1);
    start((struct child_spec){
        .argv = (const char *[]){"sh", "-c", "echo $CHILD_TEST_OLD $CHILD_TEST_NEW $CHILD_TEST_KEPT; pwd", NULL},
        .env = (const char *[]){"CHILD_TEST_NEW=a=b", "CHILD_TEST_OLD=new", NULL},
        .cwd = "/usr/lib",
    });
    wait_done();
    assert_string_equal(buf_cstr(&run.out), "new a=b kept\n/usr/lib\n");
}

static void test_the_path_of_the_childs_environment_counts(void **state)
{
    struct err err = {0};

    assert_false(child_start(
        run.loop,
        &(struct child_spec){.argv = (const char *[]){"sh", NULL}, .env = (const char *[]){"PATH=/nowhere:/etc", NULL}},
        on_done, &run, &run.child, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_string_equal(err.text, "sh: no such program");
    assert_false(child_start(run.loop, &(struct child_spec){.argv = (const char *[]){"/etc/passwd", NULL}}, on_done,
                             &run, NULL, &err));
}

static void test_what_cannot_be_executed_shows_as_exit_127_with_the_reason(void **state)
{
    char path[] = "/tmp/pgkeep-child-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, "no program\n", 11), 11);
    assert_int_equal(fchmod(fd, 0700), 0);
    (void)close(fd);
    start((struct child_spec){.argv = (const char *[]){path, NULL}});
    wait_done();
    (void)unlink(path);
    assert_true(run.exited);
    assert_int_equal(run.status, 127);
    assert_non_null(strstr(run.verdict.text, "Exec format error"));
}

static void test_a_missing_folder_shows_as_exit_127_with_the_reason(void **state)
{
    start((struct child_spec){.argv = (const char *[]){"true", NULL}, .cwd = "/nowhere"});
    wait_done();
    assert_int_equal(run.status, 127);
    assert_non_null(strstr(run.verdict.text, "/nowhere: No such file or directory"));
}

static bool process_lives(pid_t pid)
{
    char path[64];
    char text[256] = "";

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "r");
    if (!f)
        return false;
    size_t len = fread(text, 1, sizeof(text) - 1, f);
    text[len] = '\0';
    (void)fclose(f);
    const char *after_name = strrchr(text, ')');
    return after_name && after_name[2] != 'Z';
}

/* The number that stands at the front of the output. */
static pid_t pid_in(const char *text)
{
    char *end = NULL;
    long pid = strtol(text, &end, 10);

    assert_true(end > text);
    assert_true(pid > 1);
    return (pid_t)pid;
}

static void wait_dead(pid_t pid)
{
    msec end_ms = loop_clock_ms() + PATIENCE_MS;

    while (process_lives(pid) && loop_clock_ms() < end_ms)
        loop_turn(run.loop, 20);
    assert_false(process_lives(pid));
}

static void test_the_budget_ends_the_program_with_sigterm(void **state)
{
    msec begin_ms = loop_clock_ms();

    start(
        (struct child_spec){.argv = (const char *[]){"sh", "-c", "echo begun; exec sleep 60", NULL}, .budget_ms = 100});
    wait_done();
    assert_true(loop_clock_ms() - begin_ms < 1900); /* not by the SIGKILL that would follow */
    assert_true(run.timed_out);
    assert_int_equal(run.signal, SIGTERM);
    assert_int_equal(run.verdict.code, ERR_TIMEOUT);
    assert_string_equal(run.verdict.text, "it: did not end in time: begun");
}

static void test_silence_ends_the_program_but_not_slowness(void **state)
{
    static const char script[] = "for i in 1 2 3 4 5 6; do echo $i; sleep 0.1; done; exec sleep 60";

    start((struct child_spec){.argv = (const char *[]){"sh", "-c", script, NULL}, .silence_ms = 400});
    wait_done();
    assert_true(run.timed_out);
    assert_int_equal(run.signal, SIGTERM);
    assert_string_equal(run.verdict.text, "it: did not end in time: 6");
}

static void test_what_ignores_sigterm_or_is_stopped_is_killed_with_its_group(void **state)
{
    pid_t grandchild;

    start((struct child_spec){
        .argv = (const char *[]){"sh", "-c", "trap '' TERM; sleep 60 & echo $!; kill -STOP $$; while :; do wait; done",
                                 NULL},
        .line = on_line,
        .budget_ms = 100});
    wait_done();
    assert_true(run.timed_out);
    assert_int_equal(run.signal, SIGKILL);
    grandchild = pid_in(buf_cstr(&run.out));
    wait_dead(grandchild);
}

static void test_a_daemon_that_keeps_the_output_open_is_not_waited_for(void **state)
{
    pid_t daemon_pid;
    msec begin_ms = loop_clock_ms();

    sh("setsid sleep 60 & echo $!");
    wait_done();
    assert_true(loop_clock_ms() - begin_ms < 10000);
    daemon_pid = pid_in(buf_cstr(&run.out));
    assert_true(process_lives(daemon_pid)); /* a program that leaves something running meant it */
    (void)kill(daemon_pid, SIGKILL);
}

static void test_an_abandoned_program_dies_with_its_group_and_says_nothing(void **state)
{
    pid_t pid, grandchild;
    msec end_ms = loop_clock_ms() + PATIENCE_MS;

    sh("sleep 60 & echo $!; wait");
    while (!run.lines.len && loop_clock_ms() < end_ms)
        loop_turn(run.loop, 100);
    grandchild = pid_in(buf_cstr(&run.lines) + strlen("out["));
    pid = child_pid(run.child);
    child_abandon(run.child);
    wait_dead(pid);
    wait_dead(grandchild);
    for (int i = 0; i < 3; i++)
        loop_turn(run.loop, 50);
    assert_false(run.done);
    assert_int_equal(waitpid(pid, NULL, WNOHANG), -1); /* reaped */
    assert_int_equal(errno, ECHILD);
}

static void test_abandoning_from_inside_the_callbacks_is_safe(void **state)
{
    run.abandon_on_line = true;
    sh("echo one; echo two; exec sleep 60");
    pid_t pid = child_pid(run.child);
    wait_dead(pid);
    assert_string_equal(buf_cstr(&run.lines), "out[one]");
    assert_false(run.done);

    run.abandon_on_line = false;
    run.abandon_on_done = true;
    sh("true");
    wait_done();
}

static void test_an_abandoned_program_does_not_outlive_the_loop(void **state)
{
    start((struct child_spec){.argv = (const char *[]){"sleep", "60", NULL}});
    pid_t pid = child_pid(run.child);
    child_abandon(run.child);
    loop_free(run.loop);
    run.loop = loop_new();
    wait_dead(pid);
    (void)waitpid(pid, NULL, 0);
}

static void test_the_program_sees_no_descriptor_of_ours_and_no_blocked_or_ignored_signal(void **state)
{
    sigset_t set, old;
    int leak = open("/dev/null", O_RDONLY); /* without O_CLOEXEC on purpose */

    assert_true(leak > 2);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGUSR1);
    (void)sigprocmask(SIG_BLOCK, &set, &old);
    start((struct child_spec){
        .argv =
            (const char *[]){"sh", "-c",
                             /* 32 and 33 are glibc's own: whoever ignores them above us, nobody below can undo it. */
                             "ls /proc/self/fd | tr '\\n' ' '; for s in Blk Ign; do"
                             " v=$(sed -n \"s/^Sig$s:[[:space:]]*//p\" /proc/self/status);"
                             " printf '%s %x ' $s $((0x$v & ~0x180000000)); done",
                             NULL},
        .env = (const char *[]){"LC_ALL=C", NULL}});
    wait_done();
    (void)sigprocmask(SIG_SETMASK, &old, NULL);
    (void)close(leak);
    /* 3 is ls reading the folder. */
    assert_string_equal(buf_cstr(&run.out), "0 1 2 3 Blk 0 Ign 0 ");
}

static void test_a_program_of_its_own_session_leads_it(void **state)
{
    static const char script[] = "read -r pid name state ppid group session rest </proc/self/stat; "
                                 "[ $group = $$ ] && [ $session = $$ ] && echo leads || echo $group $session";

    start((struct child_spec){.argv = (const char *[]){"sh", "-c", script, NULL}, .own_session = true});
    wait_done();
    assert_string_equal(buf_cstr(&run.out), "leads\n");
}

static void test_the_program_is_leader_of_its_group_and_dies_with_us(void **state)
{
    int ends[2];
    pid_t child = 0;

    assert_int_equal(pipe(ends), 0);
    pid_t parent = fork();
    assert_true(parent >= 0);
    if (parent == 0) {
        struct loop *l = loop_new();
        struct child *c;
        if (!child_start(l, &(struct child_spec){.argv = (const char *[]){"sleep", "60", NULL}}, on_done, &run, &c,
                         NULL))
            _exit(1);
        pid_t pid = child_pid(c);
        bool leads = getpgid(pid) == pid;
        /* Until exec: before it the parent's end would not be noticed by the kernel but by the child itself. */
        for (int i = 0; i < 20; i++)
            loop_turn(l, 10);
        if (write(ends[1], &pid, sizeof(pid)) != sizeof(pid))
            _exit(1);
        _exit(leads ? 0 : 1); /* without any cleanup: as if we had been killed */
    }
    int status = 1;
    assert_int_equal(read(ends[0], &child, sizeof(child)), sizeof(child));
    assert_int_equal(waitpid(parent, &status, 0), parent);
    assert_int_equal(WEXITSTATUS(status), 0);
    (void)close(ends[0]);
    (void)close(ends[1]);
    wait_dead(child);
}

#define CHILD_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHILD_TEST(test_output_status_and_lines_come_back),
        CHILD_TEST(test_success_is_exit_zero),
        CHILD_TEST(test_a_line_is_handed_on_while_the_program_still_runs),
        CHILD_TEST(test_of_much_output_the_last_part_is_kept),
        CHILD_TEST(test_input_larger_than_a_pipe_is_written_and_closed),
        CHILD_TEST(test_a_program_that_does_not_read_its_input_is_no_error),
        CHILD_TEST(test_without_input_there_is_nothing_to_read),
        CHILD_TEST(test_environment_is_added_and_replaced_and_the_folder_is_set),
        CHILD_TEST(test_the_path_of_the_childs_environment_counts),
        CHILD_TEST(test_what_cannot_be_executed_shows_as_exit_127_with_the_reason),
        CHILD_TEST(test_a_missing_folder_shows_as_exit_127_with_the_reason),
        CHILD_TEST(test_the_budget_ends_the_program_with_sigterm),
        CHILD_TEST(test_silence_ends_the_program_but_not_slowness),
        CHILD_TEST(test_what_ignores_sigterm_or_is_stopped_is_killed_with_its_group),
        CHILD_TEST(test_a_daemon_that_keeps_the_output_open_is_not_waited_for),
        CHILD_TEST(test_an_abandoned_program_dies_with_its_group_and_says_nothing),
        CHILD_TEST(test_abandoning_from_inside_the_callbacks_is_safe),
        CHILD_TEST(test_an_abandoned_program_does_not_outlive_the_loop),
        CHILD_TEST(test_the_program_sees_no_descriptor_of_ours_and_no_blocked_or_ignored_signal),
        CHILD_TEST(test_a_program_of_its_own_session_leads_it),
        CHILD_TEST(test_the_program_is_leader_of_its_group_and_dies_with_us),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
