#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <unistd.h>

#include "base/str.h"
#include "io/loop.h"
#include "io/resolver.h"

enum { REFRESH_MS = 60 * 1000, OFTEN_MS = 20, WAIT_STEPS = 500, STEP_US = 10 * 1000 };

static bool becomes_known(struct resolver *r, const char *name, const char *address)
{
    for (int i = 0; i < WAIT_STEPS; i++) {
        if (resolver_has(r, name, address))
            return true;
        (void)usleep(STEP_US);
    }
    return false;
}

static void test_a_watched_name_is_looked_up_and_others_are_not_known(void **state)
{
    AUTO(resolver) struct resolver *r = resolver_new(REFRESH_MS);
    static const char *const names[] = {"localhost", "no-such-host.invalid"};

    (void)state;
    assert_false(resolver_has(r, "localhost", "127.0.0.1"));
    resolver_watch(r, names, ARRAY_LEN(names));
    assert_true(becomes_known(r, "localhost", "127.0.0.1"));
    assert_false(resolver_has(r, "localhost", "127.0.0.2"));
    assert_false(resolver_has(r, "no-such-host.invalid", "127.0.0.1"));
    assert_false(resolver_has(r, "elsewhere", "127.0.0.1"));
}

static void test_a_changed_set_forgets_old_names_and_keeps_what_is_known_of_the_rest(void **state)
{
    AUTO(resolver) struct resolver *r = resolver_new(REFRESH_MS);
    static const char *const before[] = {"localhost", "127.0.0.3"};
    static const char *const after[] = {"127.0.0.4", "localhost"};

    (void)state;
    resolver_watch(r, before, ARRAY_LEN(before));
    assert_true(becomes_known(r, "127.0.0.3", "127.0.0.3"));
    assert_true(becomes_known(r, "localhost", "127.0.0.1"));
    resolver_watch(r, after, ARRAY_LEN(after));
    assert_true(resolver_has(r, "localhost", "127.0.0.1")); /* at once */
    assert_false(resolver_has(r, "127.0.0.3", "127.0.0.3"));
    assert_true(becomes_known(r, "127.0.0.4", "127.0.0.4"));
    resolver_watch(r, NULL, 0);
    assert_false(resolver_has(r, "localhost", "127.0.0.1"));
}

static void test_names_stay_known_while_they_are_looked_up_again(void **state)
{
    AUTO(resolver) struct resolver *r = resolver_new(OFTEN_MS);
    static const char *const names[] = {"localhost"};
    msec end_ms;

    (void)state;
    resolver_watch(r, names, 1);
    assert_true(becomes_known(r, "localhost", "127.0.0.1"));
    for (end_ms = loop_clock_ms() + 10 * OFTEN_MS; loop_clock_ms() < end_ms;)
        assert_true(resolver_has(r, "localhost", "127.0.0.1"));
}

static void test_addresses_of_a_name_are_given_and_an_address_is_its_own(void **state)
{
    AUTO(resolver) struct resolver *r = resolver_new(REFRESH_MS);
    static const char *const names[] = {"localhost"};
    char found[4][RESOLVER_ADDRESS_MAX];
    bool has = false;

    (void)state;
    assert_int_equal(resolver_addresses(r, "localhost", found, 4), 0); /* nobody watches it */
    resolver_watch(r, names, 1);
    assert_true(becomes_known(r, "localhost", "127.0.0.1"));
    size_t count = resolver_addresses(r, "localhost", found, 4);
    for (size_t i = 0; i < count; i++)
        has = has || str_eq(found[i], "127.0.0.1");
    assert_true(has);
    assert_int_equal(resolver_addresses(r, "localhost", found, 1), 1);
    assert_int_equal(resolver_addresses(r, "10.1.2.3", found, 4), 1);
    assert_string_equal(found[0], "10.1.2.3");
    assert_int_equal(resolver_addresses(r, "fe80::1", found, 4), 1);
    assert_true(resolver_is_address("::1"));
    assert_false(resolver_is_address("localhost"));
}

static void test_freeing_does_not_wait_for_a_look_up(void **state)
{
    static const char *const names[] = {"no-such-host.invalid", "also-none.invalid", "localhost"};
    msec begin_ms = loop_clock_ms();

    (void)state;
    for (int i = 0; i < 20; i++) {
        struct resolver *r = resolver_new(REFRESH_MS);
        resolver_watch(r, names, ARRAY_LEN(names));
        resolver_free(r);
    }
    assert_true(loop_clock_ms() - begin_ms < 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_watched_name_is_looked_up_and_others_are_not_known),
        cmocka_unit_test(test_a_changed_set_forgets_old_names_and_keeps_what_is_known_of_the_rest),
        cmocka_unit_test(test_names_stay_known_while_they_are_looked_up_again),
        cmocka_unit_test(test_addresses_of_a_name_are_given_and_an_address_is_its_own),
        cmocka_unit_test(test_freeing_does_not_wait_for_a_look_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
