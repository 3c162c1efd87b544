#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "app/ctl/table.h"

static void expect(const struct table *t, bool colour, const char *text)
{
    AUTO(buf) struct buf out = BUF_EMPTY;

    table_render(t, colour, &out);
    assert_string_equal(buf_cstr(&out), text);
}

static struct table *two_columns(const char *title)
{
    struct table *t = table_new(title);

    table_column(t, "Member", TABLE_LEFT);
    table_column(t, "TL", TABLE_RIGHT);
    return t;
}

static void test_title_runs_over_the_top_line(void **state)
{
    AUTO(table) struct table *t = two_columns(" Cluster: x ");

    table_cell(t, "postgresql0", TABLE_PLAIN);
    table_cell(t, "7", TABLE_PLAIN);
    expect(t, false,
           "+ Cluster: x -+----+\n"
           "| Member      | TL |\n"
           "+-------------+----+\n"
           "| postgresql0 |  7 |\n"
           "+-------------+----+\n");
}

static void test_long_title_is_cut_before_the_corner(void **state)
{
    AUTO(table) struct table *t = two_columns(" Cluster: a-name-longer-than-the-table ");

    expect(t, false,
           "+ Cluster: a-n+\n"
           "| Member | TL |\n"
           "+--------+----+\n"
           "+--------+----+\n");
}

static void test_tall_cells_get_rules_between_rows(void **state)
{
    AUTO(table) struct table *t = two_columns(NULL);

    table_cell(t, "a\nbb", TABLE_PLAIN);
    table_cell(t, "1", TABLE_PLAIN);
    table_cell(t, "c", TABLE_PLAIN);
    table_cell(t, "", TABLE_PLAIN);
    expect(t, false,
           "+--------+----+\n"
           "| Member | TL |\n"
           "+--------+----+\n"
           "| a      |  1 |\n"
           "| bb     |    |\n"
           "+--------+----+\n"
           "| c      |    |\n"
           "+--------+----+\n");
}

static void test_colour_does_not_move_anything(void **state)
{
    AUTO(table) struct table *t = two_columns(NULL);

    table_cell(t, "n1", TABLE_GOOD);
    table_cell(t, "1", TABLE_BAD);
    expect(t, true,
           "+--------+----+\n"
           "| Member | TL |\n"
           "+--------+----+\n"
           "| \033[32mn1\033[0m     |  \033[31m1\033[0m |\n"
           "+--------+----+\n");
}

static void test_widths_are_columns_of_the_terminal(void **state)
{
    assert_int_equal(text_width("abc"), 3);
    assert_int_equal(text_width("a\nlonger\nb"), 6);
    assert_int_equal(text_width("\xc3\xa9t\xc3\xa9"), 3);        /* été */
    assert_int_equal(text_width("e\xcc\x81"), 1);                /* e and a combining accent */
    assert_int_equal(text_width("\xe6\x97\xa5\xe6\x9c\xac"), 4); /* two wide characters */
    assert_int_equal(text_width("\xff\xfe"), 2);                 /* no UTF-8: a column a byte */
    assert_int_equal(text_width("\xe6\x97"), 2);                 /* cut off in the middle */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_title_runs_over_the_top_line),
        cmocka_unit_test(test_long_title_is_cut_before_the_corner),
        cmocka_unit_test(test_tall_cells_get_rules_between_rows),
        cmocka_unit_test(test_colour_does_not_move_anything),
        cmocka_unit_test(test_widths_are_columns_of_the_terminal),
    };

    return cmocka_run_group_tests_name("ctl/table", tests, NULL, NULL);
}
