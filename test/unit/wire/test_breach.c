#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/str.h"
#include "wire/breach.h"

static void test_the_same_text_is_the_same_finding(void **state)
{
    struct breaches a = {0}, b = {0};

    breaches_add(&a, BREACH_COMMIT, "one", 1);
    breaches_add(&a, BREACH_WALSENDER, "two", 2);
    breaches_add(&a, BREACH_WALSENDER, "two", 3);
    breaches_add(&b, BREACH_WALSENDER, "two", 1);
    breaches_add(&b, BREACH_COMMIT, "one", 1);
    assert_int_equal(a.count, 2);
    assert_int_equal(a.at[1].count, 5);
    assert_true(breaches_equal(&a, &b));
    assert_int_equal(breaches_of(&a, BREACH_WALSENDER), 1);
    assert_int_equal(breaches_of(&a, BREACH_NAMES), 0);
    breaches_add(&b, BREACH_NAMES, "one", 1); /* of another reason it is another */
    assert_false(breaches_equal(&a, &b));
    assert_false(breaches_have(&a, &b.at[2]));
}

static void test_what_is_left_out_is_counted(void **state)
{
    struct breaches b = {0};

    for (int i = 0; i < BREACH_MAX + 3; i++) {
        AUTO(cstr) char *text = str_fmt("setting %d", i);
        breaches_add(&b, BREACH_COMMIT, text, 1);
    }
    assert_int_equal(b.count, BREACH_MAX);
    assert_int_equal(b.left_out, 3);
}

/* A long text is cut, and is the same when it comes again; whatever bytes a role's name has, JSON comes of it. */
static void test_any_text_can_be_told(void **state)
{
    struct breaches b = {0};
    char text[2 * BREACH_TEXT_MAX];

    memset(text, 0xe4, sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    breaches_add(&b, BREACH_WALSENDER, text, 1);
    breaches_add(&b, BREACH_WALSENDER, text, 1);
    breaches_add(&b, BREACH_DURABILITY, "fsync = off", 1);
    json_t *all = breaches_json(&b);
    assert_int_equal(json_array_size(all), 2);
    const json_t *first = json_array_get(all, 0), *second = json_array_get(all, 1);
    const char *told = json_string_value(json_object_get(first, "text"));
    assert_int_equal(strspn(told, "?"), BREACH_TEXT_MAX - 1);
    assert_int_equal(json_integer_value(json_object_get(first, "count")), 2);
    assert_string_equal(json_string_value(json_object_get(second, "reason")), "durability");
    assert_null(json_object_get(second, "count"));
    json_decref(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_text_is_the_same_finding),
        cmocka_unit_test(test_what_is_left_out_is_counted),
        cmocka_unit_test(test_any_text_can_be_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
