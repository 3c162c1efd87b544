#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "app/ctl/listing.h"

static struct listing *two_rows(void)
{
    struct listing *l = listing_new();

    listing_column(l, "a", TABLE_LEFT);
    listing_column(l, "b", TABLE_RIGHT);
    json_array_append_new(l->rows, json_pack("[ib]", 1, 1));
    json_array_append_new(l->rows, json_pack("[sn]", "\xc3\xa9"));
    return l;
}

static void expect(const struct listing *l, enum listing_format format, const char *delimiter, const char *text)
{
    AUTO(buf) struct buf out = BUF_EMPTY;

    listing_render(l, format, delimiter, false, &out);
    assert_string_equal(buf_cstr(&out), text);
}

static void test_values_are_printed_as_python_prints_them(void **state)
{
    AUTO(listing) struct listing *l = two_rows();

    expect(l, LISTING_TSV, NULL, "a\tb\n1\tTrue\n\xc3\xa9\tNone\n");
    expect(l, LISTING_TSV, ",", "a,b\n1,True\n\xc3\xa9,None\n");
    expect(l, LISTING_PRETTY, NULL,
           "+---+------+\n| a |    b |\n+---+------+\n| 1 | True |\n| \xc3\xa9 | None |\n+---+------+\n");
}

static void test_programs_get_types(void **state)
{
    AUTO(listing) struct listing *l = two_rows();

    expect(l, LISTING_JSON, NULL, "[{\"a\": 1, \"b\": true}, {\"a\": \"\\u00E9\", \"b\": null}]\n");
    expect(l, LISTING_YAML, NULL, "- a: 1\n  b: true\n- a: \xc3\xa9\n  b: null\n\n");
}

static void test_empty_fields_are_left_out_where_asked(void **state)
{
    AUTO(listing) struct listing *l = listing_new();

    listing_column(l, "a", TABLE_LEFT);
    listing_column(l, "b", TABLE_LEFT);
    json_array_append_new(l->rows, json_pack("[si]", "", 0));
    expect(l, LISTING_JSON, NULL, "[{\"a\": \"\", \"b\": 0}]\n");
    l->skip_empty = true;
    expect(l, LISTING_JSON, NULL, "[{\"b\": 0}]\n");
}

static void test_no_rows_are_still_a_listing(void **state)
{
    AUTO(listing) struct listing *l = listing_new();

    listing_column(l, "a", TABLE_LEFT);
    expect(l, LISTING_JSON, NULL, "[]\n");
    expect(l, LISTING_TSV, NULL, "a\n");
    expect(l, LISTING_PRETTY, NULL, "+---+\n| a |\n+---+\n+---+\n");
}

static void test_hidden_columns_are_for_programs_only(void **state)
{
    AUTO(listing) struct listing *l = two_rows();

    l->columns[0].hidden = true;
    expect(l, LISTING_PRETTY, NULL, "+------+\n|    b |\n+------+\n| True |\n| None |\n+------+\n");
    expect(l, LISTING_TSV, NULL, "a\tb\n1\tTrue\n\xc3\xa9\tNone\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_are_printed_as_python_prints_them),
        cmocka_unit_test(test_programs_get_types),
        cmocka_unit_test(test_empty_fields_are_left_out_where_asked),
        cmocka_unit_test(test_no_rows_are_still_a_listing),
        cmocka_unit_test(test_hidden_columns_are_for_programs_only),
    };

    return cmocka_run_group_tests_name("ctl/listing", tests, NULL, NULL);
}
