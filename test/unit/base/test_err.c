#include "base/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_setting_an_error_returns_false_and_keeps_code_and_text(void **state)
{
    struct err err = {.sys_errno = 7};

    assert_false(err_set(&err, ERR_INPUT, "line %d: unknown key \"%s\"", 12, "por"));
    assert_int_equal(err.code, ERR_INPUT);
    assert_int_equal(err.sys_errno, 0);
    assert_string_equal(err.text, "line 12: unknown key \"por\"");
}

static void test_a_system_error_says_why(void **state)
{
    struct err err = {0};

    assert_false(err_sys(&err, ENOENT, "opening %s", "/a"));
    assert_int_equal(err.code, ERR_SYS);
    assert_int_equal(err.sys_errno, ENOENT);
    assert_string_equal(err.text, "opening /a: No such file or directory");
}

static void test_wrapping_reads_from_outer_to_inner_and_keeps_the_code(void **state)
{
    struct err err = {0};

    (void)err_sys(&err, EACCES, "opening x");
    assert_false(err_wrap(&err, "reading %s", "conf"));
    assert_false(err_wrap(&err, "starting"));
    assert_string_equal(err.text, "starting: reading conf: opening x: Permission denied");
    assert_int_equal(err.code, ERR_SYS);
    assert_int_equal(err.sys_errno, EACCES);
}

static void test_no_place_for_the_text_is_fine(void **state)
{
    assert_false(err_set(NULL, ERR_PG, "x"));
    assert_false(err_sys(NULL, EIO, "x"));
    assert_false(err_wrap(NULL, "x"));
}

static void test_text_that_does_not_fit_is_cut_at_every_entry(void **state)
{
    static char big[3 * ERR_TEXT_MAX];
    struct err err = {0};

    memset(big, 'x', sizeof(big) - 1);
    (void)err_set(&err, ERR_PG, "%s", big);
    assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);

    (void)err_wrap(&err, "outer");
    assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
    assert_memory_equal(err.text, "outer: xxx", 10);

    (void)err_wrap(&err, "%s", big);
    assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);

    (void)err_sys(&err, EIO, "%s", big);
    assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
    assert_int_equal(err.sys_errno, EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_setting_an_error_returns_false_and_keeps_code_and_text),
        cmocka_unit_test(test_a_system_error_says_why),
        cmocka_unit_test(test_wrapping_reads_from_outer_to_inner_and_keeps_the_code),
        cmocka_unit_test(test_no_place_for_the_text_is_fine),
        cmocka_unit_test(test_text_that_does_not_fit_is_cut_at_every_entry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
