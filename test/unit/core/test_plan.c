/* The plan owns what it says about the record. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "core/ha/plan.h"

static void test_a_change_of_the_record_begins_as_what_was_read(void **state)
{
    static const char text[] = "{\"term\":4,\"leader\":\"n1\",\"mode\":\"quorum\",\"phase\":\"open\","
                               "\"open\":{\"k\":1,\"members\":{\"n2\":\"a\"}},\"later\":1}";
    AUTO(record_key) struct record_key now = {0};
    struct ha_plan plan = {.count = 0};
    const char *why;

    assert_int_equal(record_key_read(text, strlen(text), 12, &now, &why), RECORD_OK);
    struct ha_record_change *change = plan_record(&plan, &now);
    change->next.term = 5;
    str_set(&change->next.leader, "n2");
    record_cohort_deinit(&change->next.open);
    change->sync = str_dup("{}");

    assert_int_equal(plan.count, 1);
    assert_int_equal(plan.actions[0].kind, HA_DO_RECORD);
    assert_int_equal(plan.record.expected_revision, 12);
    AUTO(cstr) char *next = record_key_text(&plan.record.next);
    assert_non_null(strstr(next, "\"later\":1"));
    assert_int_equal(now.term, 4);
    assert_string_equal(now.leader, "n1");
    assert_int_equal(now.open.count, 1);

    plan_reset(&plan);
    assert_int_equal(plan.count, 0);
    assert_null(plan.record.next.leader);
    assert_null(plan.record.sync);
}

static void test_where_there_is_no_record_the_first_is_written(void **state)
{
    static const struct record_key none;
    struct ha_plan plan = {.count = 0};

    struct ha_record_change *change = plan_record(&plan, &none);
    assert_int_equal(change->expected_revision, 0);
    assert_true(change->next.present);
    plan_reset(&plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_change_of_the_record_begins_as_what_was_read),
        cmocka_unit_test(test_where_there_is_no_record_the_first_is_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
