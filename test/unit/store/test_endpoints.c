#include "store/endpoints.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_the_one_that_answered_last_is_asked_first(void **state)
{
    struct endpoints e = {.count = 3};

    assert_int_equal(endpoints_pick(&e, 0, 0), 0);
    endpoints_answered(&e, 2);
    assert_int_equal(endpoints_pick(&e, 0, 0), 2);
    assert_int_equal(endpoints_pick(&e, 1 << 2, 0), 0);
    assert_int_equal(endpoints_pick(&e, 1 << 2 | 1 << 0, 0), 1);
    assert_true(endpoints_pick(&e, 7, 0) == ENDPOINT_NONE);
}

static void test_one_that_failed_is_left_alone_for_a_while(void **state)
{
    struct endpoints e = {.count = 2};

    endpoints_failed(&e, 0, 1000);
    assert_int_equal(endpoints_pick(&e, 0, 1001), 1);
    assert_int_equal(endpoints_pick(&e, 0, 1000 + ENDPOINT_BACKOFF_MIN_MS - 1), 1);
    assert_int_equal(endpoints_pick(&e, 0, 1000 + ENDPOINT_BACKOFF_MIN_MS), 0);
}

static void test_when_all_failed_the_one_whose_while_ends_first_is_asked(void **state)
{
    struct endpoints e = {.count = 3};

    endpoints_failed(&e, 0, 3000);
    endpoints_failed(&e, 1, 1000);
    endpoints_failed(&e, 2, 2000);
    assert_int_equal(endpoints_pick(&e, 0, 3001), 1); /* over, at 2000 */
    assert_int_equal(endpoints_pick(&e, 0, 1500), 1); /* not over, but the next */
    assert_int_equal(endpoints_pick(&e, 1 << 1, 1500), 2);
}

static void test_the_while_doubles_to_a_limit_and_an_answer_forgives(void **state)
{
    struct endpoints e = {.count = 1};
    msec wait_ms = ENDPOINT_BACKOFF_MIN_MS;

    for (int i = 0; i < 40; i++) {
        endpoints_failed(&e, 0, 0);
        assert_int_equal(e.at[0].retry_at_ms, wait_ms);
        wait_ms = msec_min(2 * wait_ms, ENDPOINT_BACKOFF_MAX_MS);
    }
    endpoints_answered(&e, 0);
    endpoints_failed(&e, 0, 0);
    assert_int_equal(e.at[0].retry_at_ms, ENDPOINT_BACKOFF_MIN_MS);
}

static void test_each_has_its_share_of_what_is_left(void **state)
{
    struct endpoints e = {.count = 3};

    assert_int_equal(endpoints_share(&e, 0, 9000), 3000);
    assert_int_equal(endpoints_share(&e, 1, 6000), 3000);
    assert_int_equal(endpoints_share(&e, 3, 3000), 3000); /* the last one may use all of it */
    assert_int_equal(endpoints_share(&e, 7, 3000), 3000);
    assert_int_equal(endpoints_share(&e, 0, 900), ENDPOINT_SHARE_MIN_MS);
    assert_int_equal(endpoints_share(&e, 0, 100), 100); /* never more than there is */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_one_that_answered_last_is_asked_first),
        cmocka_unit_test(test_one_that_failed_is_left_alone_for_a_while),
        cmocka_unit_test(test_when_all_failed_the_one_whose_while_ends_first_is_asked),
        cmocka_unit_test(test_the_while_doubles_to_a_limit_and_an_answer_forgives),
        cmocka_unit_test(test_each_has_its_share_of_what_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
