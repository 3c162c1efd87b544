/* Connection strings: written so that libpq reads back the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <libpq-fe.h>
#include <string.h>

#include "base/str.h"
#include "wire/conninfo.h"

static const char *value_of(const PQconninfoOption *options, const char *keyword)
{
    while (strcmp(options->keyword, keyword) != 0)
        options++;
    return options->val;
}

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

        AUTO(buf) struct buf host = BUF_EMPTY;
        conninfo_add(&host, "host", cases[i].value);
        PQconninfoOption *options = PQconninfoParse(buf_cstr(&host), NULL);
        assert_non_null(options);
        assert_string_equal(value_of(options, "host"), cases[i].value);
        PQconninfoFree(options);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_are_quoted_only_where_libpq_needs_it),
        cmocka_unit_test(test_null_leaves_the_keyword_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
