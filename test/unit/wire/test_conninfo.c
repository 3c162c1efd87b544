/* Connection strings: written so that libpq reads back the same, read as libpq would. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"
#include "wire/conninfo.h"

static void test_values_are_quoted_only_where_libpq_needs_it(void **state)
{
    static const struct {
        const char *value;
        const char *text;
    } cases[] = {
        {"10.0.0.1", "k=10.0.0.1"}, {"", "k=''"},       {"a b", "k='a b'"},       {"it's", "k='it\\'s'"},
        {"C:\\x", "k='C:\\\\x'"},   {"a=b", "k='a=b'"}, {"/run/pg", "k=/run/pg"}, {"tab\there", "k='tab\there'"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(buf) struct buf text = BUF_EMPTY;
        conninfo_add(&text, "k", cases[i].value);
        assert_string_equal(buf_cstr(&text), cases[i].text);

        AUTO(conninfo) struct conninfo *back = conninfo_parse(buf_cstr(&text));
        assert_non_null(back);
        assert_string_equal(conninfo_get(back, "k"), cases[i].value);
    }
}

static void test_null_leaves_the_keyword_out(void **state)
{
    AUTO(buf) struct buf text = BUF_EMPTY;

    conninfo_add(&text, "host", "h");
    conninfo_add(&text, "passfile", NULL);
    conninfo_add_int(&text, "port", 5432);
    assert_string_equal(buf_cstr(&text), "host=h port=5432");
}

static void test_reading_takes_blanks_quotes_and_escapes(void **state)
{
    AUTO(conninfo)
    struct conninfo *c = conninfo_parse("  host = 'a b'  port=5433 user=it\\'s opt='x\\\\y' empty='' host=last");

    assert_non_null(c);
    assert_int_equal(c->count, 5);
    assert_string_equal(conninfo_get(c, "host"), "last");
    assert_string_equal(conninfo_get(c, "port"), "5433");
    assert_string_equal(conninfo_get(c, "user"), "it's");
    assert_string_equal(conninfo_get(c, "opt"), "x\\y");
    assert_string_equal(conninfo_get(c, "empty"), "");
    assert_null(conninfo_get(c, "absent"));
}

static void test_malformed_strings_are_refused(void **state)
{
    static const char *const bad[] = {"host", "host 'x'", "host='open", "=x", "a=b c"};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_null(conninfo_parse(bad[i]));

    AUTO(conninfo) struct conninfo *empty = conninfo_parse("   ");
    assert_non_null(empty);
    assert_int_equal(empty->count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_are_quoted_only_where_libpq_needs_it),
        cmocka_unit_test(test_null_leaves_the_keyword_out),
        cmocka_unit_test(test_reading_takes_blanks_quotes_and_escapes),
        cmocka_unit_test(test_malformed_strings_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
