/* Names to addresses without stopping the loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "io/loop.h"
#include "pg/resolve.h"

struct answer {
    int calls;
    struct resolve_result result;
};

static void resolved(const struct resolve_result *result, void *arg)
{
    struct answer *a = arg;

    a->calls++;
    a->result = *result;
}

static struct answer ask(const char *host, msec budget_ms)
{
    AUTO(loop) struct loop *l = loop_new();
    struct answer a = {0};

    assert_non_null(resolve_start(l, host, budget_ms, resolved, &a));
    assert_int_equal(a.calls, 0); /* never from inside the call */
    for (int i = 0; i < 200 && !a.calls; i++)
        loop_turn(l, 100);
    loop_turn(l, 0);
    assert_int_equal(a.calls, 1);
    return a;
}

static void test_numeric_addresses_are_themselves(void **state)
{
    static const char *const addresses[] = {"127.0.0.1", "10.1.2.3", "::1", "2001:db8::5"};

    for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
        assert_true(resolve_is_numeric(addresses[i]));
        struct answer a = ask(addresses[i], 1000);
        assert_int_equal(a.result.count, 1);
        assert_string_equal(a.result.addr[0], addresses[i]);
    }
    assert_false(resolve_is_numeric("localhost"));
    assert_false(resolve_is_numeric("1.2.3"));
    assert_false(resolve_is_numeric("*"));
}

static void test_a_known_name_has_addresses(void **state)
{
    struct answer a = ask("localhost", 10000);

    assert_true(a.result.count >= 1);
    for (size_t i = 0; i < a.result.count; i++)
        assert_true(resolve_is_numeric(a.result.addr[i]));
}

static void test_an_unknown_name_is_an_error(void **state)
{
    struct answer a = ask("no-such-host.invalid", 20000);

    assert_int_equal(a.result.count, 0);
    assert_non_null(strstr(a.result.err.text, "no-such-host.invalid"));
}

static void test_a_cancelled_look_up_says_nothing(void **state)
{
    AUTO(loop) struct loop *l = loop_new();
    struct answer a = {0};

    resolve_cancel(resolve_start(l, "localhost", 1000, resolved, &a));
    resolve_cancel(resolve_start(l, "127.0.0.1", 1000, resolved, &a));
    resolve_cancel(NULL);
    for (int i = 0; i < 5; i++)
        loop_turn(l, 20);
    assert_int_equal(a.calls, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numeric_addresses_are_themselves),
        cmocka_unit_test(test_a_known_name_has_addresses),
        cmocka_unit_test(test_an_unknown_name_is_an_error),
        cmocka_unit_test(test_a_cancelled_look_up_says_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
