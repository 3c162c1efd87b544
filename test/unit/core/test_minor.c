/* Which versions miss the list of names right after a start. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"
#include "core/ha/minor.h"

static void test_the_first_fixed_minor_of_each_major_version_keeps_the_names(void **state)
{
    static const int fixed[] = {130021, 140018, 150013, 160009, 170005};

    for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
        assert_false(minor_keeps_names(fixed[i] - 1));
        assert_true(minor_keeps_names(fixed[i]));
        assert_true(minor_keeps_names(fixed[i] + 1));
    }
    assert_true(minor_keeps_names(180000));
    assert_true(minor_keeps_names(190000));
}

static void test_what_is_not_known_does_not_keep_them(void **state)
{
    assert_false(minor_keeps_names(0));
    assert_false(minor_keeps_names(120022));
}

static void test_a_refusal_names_both_versions(void **state)
{
    AUTO(cstr) char *why = minor_why_not_strict(160008);

    assert_string_equal(why,
                        "synchronous_mode_strict promises what PostgreSQL 16.8 does not keep: right after a start a "
                        "commit may not wait (fixed in 16.9)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_fixed_minor_of_each_major_version_keeps_the_names),
        cmocka_unit_test(test_what_is_not_known_does_not_keep_them),
        cmocka_unit_test(test_a_refusal_names_both_versions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
