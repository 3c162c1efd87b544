#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "app/guard/halt.h"

static const struct halt fence = {.set = true, .first = HALT_FAST, .at_ms = 100, .quit_at_ms = 200, .kill_at_ms = 300};

static void test_level_rises_at_each_moment_and_not_before(void **state)
{
    assert_int_equal(halt_level(&fence, 99), HALT_NONE);
    assert_int_equal(halt_level(&fence, 100), HALT_FAST);
    assert_int_equal(halt_level(&fence, 199), HALT_FAST);
    assert_int_equal(halt_level(&fence, 200), HALT_QUIT);
    assert_int_equal(halt_level(&fence, 299), HALT_QUIT);
    assert_int_equal(halt_level(&fence, 300), HALT_KILL);
    assert_int_equal(halt_level(&fence, MSEC_NEVER - 1), HALT_KILL);
}

static void test_one_that_is_not_set_asks_for_nothing(void **state)
{
    struct halt none = fence;
    none.set = false;

    assert_int_equal(halt_level(&none, 1000), HALT_NONE);
    assert_true(halt_next_ms(&none, 0) == MSEC_NEVER);
}

static void test_next_moment_is_the_next_rise(void **state)
{
    assert_int_equal(halt_next_ms(&fence, 0), 100);
    assert_int_equal(halt_next_ms(&fence, 100), 200);
    assert_int_equal(halt_next_ms(&fence, 250), 300);
    assert_true(halt_next_ms(&fence, 300) == MSEC_NEVER);
}

static void test_a_stop_without_limit_stays_as_soft_as_it_began(void **state)
{
    const struct halt smart = {
        .set = true, .first = HALT_SMART, .at_ms = 5, .quit_at_ms = MSEC_NEVER, .kill_at_ms = MSEC_NEVER};

    assert_int_equal(halt_level(&smart, INT64_MAX - 1), HALT_SMART);
    assert_true(halt_next_ms(&smart, 5) == MSEC_NEVER);
}

static void test_a_kill_order_is_not_softened_by_its_moments(void **state)
{
    const struct halt kill_now = {.set = true, .first = HALT_KILL, .at_ms = 5, .quit_at_ms = 6, .kill_at_ms = 7};

    assert_int_equal(halt_level(&kill_now, 5), HALT_KILL);
    assert_int_equal(halt_level(&kill_now, 6), HALT_KILL);
}

static void test_signals_are_those_of_the_postmaster(void **state)
{
    assert_int_equal(halt_signal(HALT_SMART), SIGTERM);
    assert_int_equal(halt_signal(HALT_FAST), SIGINT);
    assert_int_equal(halt_signal(HALT_QUIT), SIGQUIT);
    assert_int_equal(halt_signal(HALT_KILL), SIGKILL);
    assert_int_equal(halt_signal(HALT_NONE), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_level_rises_at_each_moment_and_not_before),
        cmocka_unit_test(test_one_that_is_not_set_asks_for_nothing),
        cmocka_unit_test(test_next_moment_is_the_next_rise),
        cmocka_unit_test(test_a_stop_without_limit_stays_as_soft_as_it_began),
        cmocka_unit_test(test_a_kill_order_is_not_softened_by_its_moments),
        cmocka_unit_test(test_signals_are_those_of_the_postmaster),
    };
    return cmocka_run_group_tests_name("guard halt", tests, NULL, NULL);
}
