#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/str.h"
#include "web/query.h"

static void test_values_are_found_and_decoded(void **state)
{
    static const struct {
        const char *query, *key, *value;
    } rows[] = {
        {"lag=16MB", "lag", "16MB"},
        {"a=1&lag=16MB&b=2", "lag", "16MB"},
        {"lag=1&lag=2", "lag", "1"}, /* the first */
        {"lag=&lag=2", "lag", "2"},  /* nothing is no value */
        {"lag&lag=2", "lag", "2"},
        {"lag", "lag", NULL},
        {"lag=", "lag", NULL},
        {"", "lag", NULL},
        {"lagx=1&xlag=2", "lag", NULL},
        {"l%61g=a%20b+c", "lag", "a b c"},
        {"lag=%41%zz%4", "lag", "A%zz%4"}, /* only looks like an escape */
        {"lag=%e2%82%ac", "lag", "\xe2\x82\xac"},
        {"lag=a=b", "lag", "a=b"},
        {"&&lag=1&&", "lag", "1"},
        {"=1&lag=2", "lag", "2"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO(cstr) char *value = query_value(rows[i].query, rows[i].key);
        if (!str_eq(value, rows[i].value))
            fail_msg("%s: %s", rows[i].query, value ? value : "none");
    }
}

static void test_keys_with_values_are_walked_over_in_order(void **state)
{
    const char *at = "tag_a=1&empty=&tag_%62=2&none&c=3";
    static const char *const keys[] = {"tag_a", "tag_b", "c"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        AUTO(cstr) char *key = query_next_key(&at);
        assert_string_equal(key, keys[i]);
    }
    assert_null(query_next_key(&at));
    assert_null(at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_are_found_and_decoded),
        cmocka_unit_test(test_keys_with_values_are_walked_over_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
