#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_an_empty_buffer_reads_as_empty_text(void **state)
{
    AUTO(buf) struct buf b = BUF_EMPTY;

    assert_string_equal(buf_cstr(&b), "");
    assert_int_equal(b.len, 0);
}

static void test_what_is_added_stands_in_order_and_is_terminated(void **state)
{
    AUTO(buf) struct buf b = BUF_EMPTY;

    buf_add_str(&b, "one ");
    buf_add_char(&b, '2');
    buf_add(&b, " three!", 6);
    buf_printf(&b, " %d/%s", 4, "five");
    assert_string_equal(buf_cstr(&b), "one 2 three 4/five");
    assert_int_equal(b.len, strlen(b.at));
}

static void test_a_buffer_grows_over_many_sizes_without_losing_a_byte(void **state)
{
    AUTO(buf) struct buf b = BUF_EMPTY;

    for (int i = 0; i < 5000; i++)
        buf_printf(&b, "%04d,", i);
    assert_int_equal(b.len, 25000);
    for (size_t i = 0; i < 5000; i++) {
        char want[8];
        (void)snprintf(want, sizeof(want), "%04d,", (int)i);
        assert_memory_equal(b.at + 5 * i, want, 5);
    }
}

static void test_nul_bytes_are_content(void **state)
{
    AUTO(buf) struct buf b = BUF_EMPTY;

    buf_add(&b, "a\0b", 3);
    assert_int_equal(b.len, 3);
    assert_memory_equal(b.at, "a\0b\0", 4);
}

static void test_a_cleared_buffer_is_empty_and_usable(void **state)
{
    AUTO(buf) struct buf b = BUF_EMPTY;

    buf_clear(&b);
    buf_add_str(&b, "old");
    buf_clear(&b);
    assert_string_equal(buf_cstr(&b), "");
    buf_add_str(&b, "new");
    assert_string_equal(buf_cstr(&b), "new");
}

static void test_taking_hands_over_the_text_and_leaves_an_empty_buffer(void **state)
{
    AUTO(buf) struct buf b = BUF_EMPTY;

    buf_add_str(&b, "text");
    AUTO(cstr) char *taken = buf_take(&b);
    assert_string_equal(taken, "text");
    assert_null(b.at);

    AUTO(cstr) char *nothing = buf_take(&b);
    assert_string_equal(nothing, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_buffer_reads_as_empty_text),
        cmocka_unit_test(test_what_is_added_stands_in_order_and_is_terminated),
        cmocka_unit_test(test_a_buffer_grows_over_many_sizes_without_losing_a_byte),
        cmocka_unit_test(test_nul_bytes_are_content),
        cmocka_unit_test(test_a_cleared_buffer_is_empty_and_usable),
        cmocka_unit_test(test_taking_hands_over_the_text_and_leaves_an_empty_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
