/* What the kernel says about its processors, where it says anything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <unistd.h>

#include "io/pressure.h"

static void test_the_pressure_is_a_percentage_where_there_is_one(void **state)
{
    int percent = pressure_cpu_percent();

    if (access("/proc/pressure/cpu", R_OK) != 0) {
        assert_int_equal(percent, -1);
        return;
    }
    assert_in_range(percent, 0, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_pressure_is_a_percentage_where_there_is_one)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
