#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "app/ctl/diff.h"

static void expect(const char *before, const char *after, const char *text)
{
    AUTO(buf) struct buf out = BUF_EMPTY;

    diff_unified(before, after, false, &out);
    assert_string_equal(buf_cstr(&out), text);
}

static void test_equal_texts_differ_in_nothing(void **state)
{
    expect("", "", "");
    expect("a\nb\n", "a\nb\n", "");
    expect("a\nb", "a\nb\n", "");
}

static void test_a_change_has_three_lines_around_it(void **state)
{
    expect("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nfive\n6\n7\n8\n9\n",
           "--- \n+++ \n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n");
}

static void test_insertion_and_deletion_at_the_ends(void **state)
{
    expect("b\n", "a\nb\n", "--- \n+++ \n@@ -1 +1,2 @@\n+a\n b\n");
    expect("a\nb\n", "a\n", "--- \n+++ \n@@ -1,2 +1 @@\n a\n-b\n");
    expect("", "a\n", "--- \n+++ \n@@ -0,0 +1 @@\n+a\n");
    expect("a\n", "", "--- \n+++ \n@@ -1 +0,0 @@\n-a\n");
}

/* Six equal lines between two changes are one hunk, seven are two (as in diff -u). */
static void test_near_changes_share_a_hunk(void **state)
{
    expect("x\n1\n2\n3\n4\n5\n6\ny\n", "X\n1\n2\n3\n4\n5\n6\nY\n",
           "--- \n+++ \n@@ -1,8 +1,8 @@\n-x\n+X\n 1\n 2\n 3\n 4\n 5\n 6\n-y\n+Y\n");
    expect("x\n1\n2\n3\n4\n5\n6\n7\ny\n", "X\n1\n2\n3\n4\n5\n6\n7\nY\n",
           "--- \n+++ \n@@ -1,4 +1,4 @@\n-x\n+X\n 1\n 2\n 3\n@@ -6,4 +6,4 @@\n 5\n 6\n 7\n-y\n+Y\n");
}

static void test_moved_lines_keep_the_common_ones(void **state)
{
    expect("a\nb\nc\n", "b\nc\na\n", "--- \n+++ \n@@ -1,3 +1,3 @@\n-a\n b\n c\n+a\n");
}

static void test_huge_texts_are_still_compared(void **state)
{
    AUTO(buf) struct buf before = BUF_EMPTY;
    AUTO(buf) struct buf after = BUF_EMPTY;
    AUTO(buf) struct buf out = BUF_EMPTY;

    for (int i = 0; i < 5000; i++) {
        buf_printf(&before, "a%d\n", i);
        buf_printf(&after, "b%d\n", i);
    }
    diff_unified(buf_cstr(&before), buf_cstr(&after), false, &out);
    assert_true(out.len > before.len + after.len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_texts_differ_in_nothing),
        cmocka_unit_test(test_a_change_has_three_lines_around_it),
        cmocka_unit_test(test_insertion_and_deletion_at_the_ends),
        cmocka_unit_test(test_near_changes_share_a_hunk),
        cmocka_unit_test(test_moved_lines_keep_the_common_ones),
        cmocka_unit_test(test_huge_texts_are_still_compared),
    };

    return cmocka_run_group_tests_name("ctl/diff", tests, NULL, NULL);
}
