#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/resource.h>

#include "app/guard/procs.h"

/* ENFILE has the same effect, and is nobody's fault here. */
static void test_processes_are_found_when_no_descriptor_is_left(void **state)
{
    struct procs_match us = {0};
    struct rlimit limit;

    (void)state;
    assert_true(file_id_of("/proc/self/cwd", &us.dirs[0]));
    assert_true(file_id_of("/proc/self/exe", &us.exe));
    int before = procs_scan(&us, NULL, NULL);
    assert_true(before >= 1);

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int with_none = procs_scan(&us, NULL, NULL);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_true(with_none >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_processes_are_found_when_no_descriptor_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
