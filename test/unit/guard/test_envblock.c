#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "app/guard/envblock.h"
#include "base/auto.h"

static char *const from[] = {(char *)"PATH=/bin",
                             (char *)"LANG=C",
                             (char *)"NOTIFY_SOCKET=/run/n",
                             (char *)"WATCHDOG_USEC=1",
                             (char *)"PATRONI_SUPERUSER_PASSWORD=secret",
                             (char *)"PGKEEP_GUARD_FD=3",
                             (char *)"PGKEEP_CONFIG=x",
                             NULL};

static bool holds(const struct envblock *e, const char *variable)
{
    for (size_t i = 0; i < e->count; i++)
        if (strcmp(e->at[i], variable) == 0)
            return true;
    return false;
}

static void test_postmaster_gets_neither_secrets_nor_systemd(void **state)
{
    struct envblock e;

    assert_true(envblock_init(&e, from, ENVBLOCK_POSTMASTER));
    assert_int_equal(e.count, 2);
    assert_true(holds(&e, "PATH=/bin"));
    assert_true(holds(&e, "LANG=C"));
    assert_null(e.at[2]);
}

static void test_agent_keeps_what_it_needs(void **state)
{
    struct envblock e;

    assert_true(envblock_init(&e, from, ENVBLOCK_AGENT));
    assert_true(holds(&e, "NOTIFY_SOCKET=/run/n"));
    assert_true(holds(&e, "PATRONI_SUPERUSER_PASSWORD=secret"));
    assert_false(holds(&e, "WATCHDOG_USEC=1")); /* the guard answers it */
    assert_false(holds(&e, "PGKEEP_GUARD_FD=3"));
}

static void test_set_replaces_adds_and_removes_whole_keys(void **state)
{
    struct envblock e;
    char lang[] = "LANG=de_DE";
    char lan[] = "LAN=1";
    char path[] = "PATH";

    assert_true(envblock_init(&e, from, ENVBLOCK_POSTMASTER));
    assert_true(envblock_set(&e, lang));
    assert_true(envblock_set(&e, lan));
    assert_true(envblock_set(&e, path));
    assert_int_equal(e.count, 2);
    assert_true(holds(&e, "LANG=de_DE"));
    assert_true(holds(&e, "LAN=1"));
    assert_null(e.at[2]);
}

static void test_more_variables_than_fit_are_refused(void **state)
{
    static char *many[ENVBLOCK_MAX + 2];
    static char text[] = "A=1";
    struct envblock e;

    for (size_t i = 0; i < ARRAY_LEN(many) - 1; i++)
        many[i] = text;
    assert_false(envblock_init(&e, many, ENVBLOCK_AGENT));
    many[ENVBLOCK_MAX] = NULL;
    assert_true(envblock_init(&e, many, ENVBLOCK_AGENT));
    char more[] = "B=1";
    assert_false(envblock_set(&e, more));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_postmaster_gets_neither_secrets_nor_systemd),
        cmocka_unit_test(test_agent_keeps_what_it_needs),
        cmocka_unit_test(test_set_replaces_adds_and_removes_whole_keys),
        cmocka_unit_test(test_more_variables_than_fit_are_refused),
    };
    return cmocka_run_group_tests_name("guard envblock", tests, NULL, NULL);
}
