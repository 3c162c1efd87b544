#include "base/trace.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"

static char printed[2 * TRACE_LINES * (TRACE_LINE_MAX + 16)];

static void collect(const char *text)
{
    strncat(printed, text, sizeof(printed) - strlen(printed) - 1);
}

static void test_the_ring_keeps_the_last_lines_oldest_first(void **state)
{
    char first[64];
    char gone[64];

    for (int i = 0; i < TRACE_LINES + 10; i++)
        trace_add("event %d.", i);
    trace_print(collect);
    (void)snprintf(first, sizeof(first), "  trace: event %d.\n", 10);
    (void)snprintf(gone, sizeof(gone), "event %d.", 9);
    assert_memory_equal(printed, first, strlen(first));
    assert_null(strstr(printed, gone));
    (void)snprintf(first, sizeof(first), "event %d.\n", TRACE_LINES + 9);
    assert_non_null(strstr(printed, first));
}

/* What a process that runs fn writes to stderr, and how it ends. */
static int run_and_read(void (*fn)(void), char *text, size_t cap)
{
    int ends[2];
    int status;
    size_t len = 0;
    ssize_t got;

    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)signal(SIGABRT, SIG_DFL); /* cmocka's handler would go on with the next test */
        (void)dup2(ends[1], STDERR_FILENO);
        fn();
        _exit(0);
    }
    (void)close(ends[1]);
    while ((got = read(ends[0], text + len, cap - 1 - len)) > 0)
        len += (size_t)got;
    text[len] = '\0';
    (void)close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void break_a_promise(void)
{
    volatile int number = 2;

    trace_add("counting to %d", number);
    CHECK(number == 2);
    CHECK(number == 3);
}

static void test_a_failed_check_says_what_where_and_what_came_before_then_aborts(void **state)
{
    char text[32 * 1024];
    int status = run_and_read(break_a_promise, text, sizeof(text));

    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_non_null(strstr(text, "CHECK failed: number == 3 at "));
    assert_null(strstr(text, "number == 2"));
    assert_non_null(strstr(text, "test_trace.c:"));
    assert_non_null(strstr(text, "  trace: counting to 2\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_ring_keeps_the_last_lines_oldest_first),
        cmocka_unit_test(test_a_failed_check_says_what_where_and_what_came_before_then_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
