/* The furthest position that was noted, and what ends before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "config.h"
#include "pg/file.h"
#include "pg/told.h"

static void test_only_what_is_further_is_noted(void **state)
{
    struct told t = {0};

    (void)state;
    assert_false(told_note(&t, &(struct told){0x11, 3, 0}));
    assert_true(told_note(&t, &(struct told){0x11, 3, 5000}));
    assert_false(told_note(&t, &(struct told){0x11, 3, 4000}));
    assert_true(told_note(&t, &(struct told){0x11, 3, 6000}));
    assert_true(told_note(&t, &(struct told){0x11, 4, 5500}));
    assert_true(told_note(&t, &(struct told){0x12, 4, 100}));
}

static void test_a_directory_that_was_set_back_ends_before_it(void **state)
{
    struct told t = {0x11, 3, 5000};

    (void)state;
    assert_true(told_is_undercut(&t, &(struct told){0x11, 3, 4999}));
    assert_false(told_is_undercut(&t, &(struct told){0x11, 3, 5000}));
    assert_false(told_is_undercut(&t, &(struct told){0x11, 4, 4999})); /* it followed another one since */
    assert_false(told_is_undercut(&t, &(struct told){0x12, 3, 4999})); /* it was cloned since */
    assert_false(told_is_undercut(&(struct told){0}, &(struct told){0, 0, 0}));
}

static void test_what_was_noted_is_read_back_and_a_damaged_one_is_none(void **state)
{
    char *folder = config_folder();
    AUTO(cstr) char *path = str_fmt("%s/position", folder);
    AUTO(cstr) char *text = NULL;
    struct told t = {UINT64_MAX, UINT32_MAX, UINT64_MAX}, back;
    struct err err = {0};

    (void)state;
    told_read(folder, &back);
    assert_true(!back.incarnation);
    assert_true(told_write(folder, &t, &err));
    told_read(folder, &back);
    assert_true(back.incarnation == t.incarnation && back.timeline == t.timeline && back.position == t.position);
    assert_true(file_read(path, 4096, &text, NULL, &err));
    text[strlen(text) - 1] = '\0';
    assert_true(file_replace(path, text, strlen(text), 0600, &err));
    told_read(folder, &back);
    assert_true(!back.incarnation);
    config_remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_what_is_further_is_noted),
        cmocka_unit_test(test_a_directory_that_was_set_back_ends_before_it),
        cmocka_unit_test(test_what_was_noted_is_read_back_and_a_damaged_one_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
