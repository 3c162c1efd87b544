/* What /proc/PID/stat says, whatever the process calls itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/process.h"

/* A child that stops itself under this name; killed by end(). */
static pid_t stopped_child(const char *name)
{
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)prctl(PR_SET_NAME, name);
        (void)raise(SIGSTOP);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, WUNTRACED), child);
    assert_true(WIFSTOPPED(status));
    return child;
}

static void end(pid_t child)
{
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void test_a_stopped_process_and_its_parent_are_seen(void **state)
{
    pid_t child = stopped_child("child");
    struct process_stat stat;

    assert_true(process_stat_read(child, &stat));
    assert_int_equal(stat.state, 'T');
    assert_int_equal(stat.parent, getpid());
    end(child);
}

static void test_a_name_that_looks_like_the_rest_of_the_line_deceives_nobody(void **state)
{
    pid_t child = stopped_child("x) S 1 2 3");
    struct process_stat stat;

    assert_true(process_stat_read(child, &stat));
    assert_int_equal(stat.state, 'T');
    assert_int_equal(stat.parent, getpid());
    end(child);
}

static void test_a_process_that_is_gone_says_nothing(void **state)
{
    pid_t child = stopped_child("child");
    struct process_stat stat;

    end(child);
    assert_false(process_stat_read(child, &stat));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_stopped_process_and_its_parent_are_seen),
        cmocka_unit_test(test_a_name_that_looks_like_the_rest_of_the_line_deceives_nobody),
        cmocka_unit_test(test_a_process_that_is_gone_says_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
