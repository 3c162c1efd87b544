#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_copies_are_equal_and_null_stays_null(void **state)
{
    AUTO(cstr) char *copy = str_dup("abc");
    AUTO(cstr) char *formatted = str_fmt("%s-%03d", "abc", 7);

    assert_string_equal(copy, "abc");
    assert_string_equal(formatted, "abc-007");
    assert_null(str_dup(NULL));
}

static void test_null_equals_only_null(void **state)
{
    assert_true(str_eq(NULL, NULL));
    assert_false(str_eq(NULL, ""));
    assert_false(str_eq("", NULL));
    assert_true(str_eq("a", "a"));
    assert_false(str_eq("a", "A"));
    assert_true(str_eq_nocase("aBc", "AbC"));
    assert_false(str_eq_nocase(NULL, "a"));
    assert_true(str_empty(NULL));
    assert_true(str_empty(""));
    assert_false(str_empty(" "));
}

static void test_beginnings_and_ends(void **state)
{
    assert_true(str_starts("members/n1", "members/"));
    assert_false(str_starts("member", "members/"));
    assert_true(str_starts("x", ""));
    assert_true(str_ends("n1.yml", ".yml"));
    assert_false(str_ends("yml", ".yml"));
    assert_true(str_ends("x", ""));
}

static void test_setting_a_slot_to_its_own_text_is_safe(void **state)
{
    AUTO(cstr) char *slot = str_dup("abc");

    str_set(&slot, slot);
    assert_string_equal(slot, "abc");
    str_set(&slot, NULL);
    assert_null(slot);
}

static void test_numbers_are_taken_whole_and_in_range_or_not_at_all(void **state)
{
    static const char *const bad[] = {"", " 1", "1 ", "1x", "0x10", "11", "-6", "99999999999999999999", "-"};
    int64_t value = 77;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(str_to_int(bad[i], -5, 10, &value));
        assert_int_equal(value, 77);
    }
    assert_false(str_to_int(NULL, -5, 10, &value));
    assert_true(str_to_int("-5", -5, 10, &value));
    assert_int_equal(value, -5);
    assert_true(str_to_int("010", -5, 10, &value));
    assert_int_equal(value, 10);
    assert_true(str_to_int("-9223372036854775808", INT64_MIN, INT64_MAX, &value));
    assert_true(value == INT64_MIN);
}

static void test_a_copy_into_a_small_place_is_cut_and_terminated(void **state)
{
    char place[4] = "xyz";

    str_copy(place, sizeof(place), "abcdef");
    assert_string_equal(place, "abc");
    str_copy(place, 1, "abcdef");
    assert_string_equal(place, "");
    str_copy(place, sizeof(place), "abc");
    assert_string_equal(place, "abc");
}

static void test_fresh_memory_is_zero_even_for_nothing(void **state)
{
    char *some = mem_zero(3, 5);
    void *none = mem_zero(0, 0);
    static const char zeros[15];

    assert_memory_equal(some, zeros, 15);
    assert_non_null(none);
    free(some);
    free(none);
}

static void test_a_grown_array_keeps_its_content(void **state)
{
    int *numbers = mem_grow(NULL, 2, sizeof(int));

    numbers[0] = 1;
    numbers[1] = 2;
    numbers = mem_grow(numbers, 1000, sizeof(int));
    assert_int_equal(numbers[0], 1);
    assert_int_equal(numbers[1], 2);
    free(numbers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies_are_equal_and_null_stays_null),
        cmocka_unit_test(test_null_equals_only_null),
        cmocka_unit_test(test_beginnings_and_ends),
        cmocka_unit_test(test_setting_a_slot_to_its_own_text_is_safe),
        cmocka_unit_test(test_numbers_are_taken_whole_and_in_range_or_not_at_all),
        cmocka_unit_test(test_a_copy_into_a_small_place_is_cut_and_terminated),
        cmocka_unit_test(test_fresh_memory_is_zero_even_for_nothing),
        cmocka_unit_test(test_a_grown_array_keeps_its_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
