/*
 * Settings that break quorum mode's promise, on a real server: each way that PostgreSQL has to make them is found and
 * named, and what is as strong as it should be is not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "pair.h"
#include "pg/breach_ask.h"
#include "pg/instance.h"

struct asked {
    bool done, answered;
    struct breaches found;
};

static void answered(const struct sql_result *result, void *arg)
{
    struct asked *a = arg;

    a->done = true;
    a->answered = breach_read(result, &a->found);
    if (!a->answered)
        fail_msg("%s", result->err.text);
}

/* The servers of tests run with fsync off: that one is always there, and left out but where it is asked for. */
static struct breaches look(struct live *n, bool durability_too)
{
    struct asked a = {0};
    struct sql_target target = pg_instance_local(n->config.instance, NULL);
    struct breaches kept = {0};

    (void)breach_ask(l, &target, BUDGET_MS, answered, &a);
    live_wait(l, &a.done, "what breaks the promise");
    for (size_t i = 0; i < a.found.count; i++)
        if (durability_too || a.found.at[i].reason != BREACH_DURABILITY)
            breaches_add(&kept, a.found.at[i].reason, a.found.at[i].text, 1);
    return kept;
}

/* The floor of the names is the fence: what commits must not wait. ALTER SYSTEM stands alone, and commits nothing. */
static void run(struct live *n, const char *sql)
{
    AUTO(cstr)
    char *text = str_starts(sql, "ALTER SYSTEM") ? str_dup(sql) : str_fmt("SET synchronous_commit = local; %s", sql);
    AUTO(cstr) char *answer = live_query(n, text);

    if (answer)
        fail_msg("%s: %s", sql, answer);
}

static void assert_found(const struct breaches *b, size_t i, enum breach_reason reason, const char *begin)
{
    if (i >= b->count)
        fail_msg("\"%s\" is not found", begin);
    if (b->at[i].reason != reason || !str_starts(b->at[i].text, begin))
        fail_msg("found \"%s\", not \"%s\"", b->at[i].text, begin);
}

static void assert_nothing(struct live *n)
{
    struct breaches b = look(n, false);

    if (b.count)
        fail_msg("found \"%s\"", b.at[0].text);
}

/* The other session's reload is awaited: a new one has it. */
static void reload(struct live *n, const char *setting, const char *value)
{
    AUTO(cstr) char *show = str_fmt("SHOW %s", setting);

    free(live_query(n, "SELECT pg_reload_conf()"));
    live_query_until(n, show, value);
}

static void test_roles_and_databases(void **state)
{
    assert_nothing(&n1);
    run(&n1, "CREATE ROLE \"Web App\"");
    run(&n1, "ALTER ROLE \"Web App\" SET synchronous_commit = off");
    run(&n1, "ALTER DATABASE postgres SET synchronous_commit = remote_write");
    run(&n1, "ALTER ROLE \"Web App\" IN DATABASE postgres SET synchronous_commit = '0'");
    struct breaches b = look(&n1, false);
    assert_found(&b, 0, BREACH_COMMIT, "ALTER DATABASE postgres SET synchronous_commit = remote_write");
    assert_found(&b, 1, BREACH_COMMIT, "ALTER ROLE \"Web App\" IN DATABASE postgres SET synchronous_commit = 0");
    assert_found(&b, 2, BREACH_COMMIT, "ALTER ROLE \"Web App\" SET synchronous_commit = off");
    assert_int_equal(b.count, 3);
    level();
    assert_nothing(&n2); /* a standby has them, and they are told where they count */

    run(&n1, "ALTER ROLE \"Web App\" SET synchronous_commit = remote_apply");
    run(&n1, "ALTER ROLE \"Web App\" IN DATABASE postgres SET synchronous_commit = 'ON'");
    run(&n1, "ALTER DATABASE postgres RESET synchronous_commit");
    run(&n1, "ALTER ROLE ALL SET work_mem = '4MB'");
    assert_nothing(&n1);
}

static void test_more_roles_than_are_told(void **state)
{
    run(&n1, "DO $$BEGIN FOR i IN 1..20 LOOP EXECUTE format('CREATE ROLE r%s', i);"
             " EXECUTE format('ALTER ROLE r%s SET synchronous_commit = local', i); END LOOP; END$$");
    struct asked a = {0};
    struct sql_target target = pg_instance_local(n1.config.instance, NULL);
    (void)breach_ask(l, &target, BUDGET_MS, answered, &a);
    live_wait(l, &a.done, "what breaks the promise");
    assert_int_equal(a.found.count, BREACH_MAX);
    assert_int_equal(a.found.count + a.found.left_out, 21); /* and fsync */
    run(&n1, "DO $$BEGIN FOR i IN 1..20 LOOP EXECUTE format('DROP ROLE r%s', i); END LOOP; END$$");
    assert_nothing(&n1);
}

static void test_alter_system(void **state)
{
    run(&n1, "ALTER SYSTEM SET synchronous_commit = off");
    run(&n1, "ALTER SYSTEM SET synchronous_standby_names = '*'");
    run(&n1, "ALTER SYSTEM SET primary_conninfo = 'host=elsewhere password=secret'");
    run(&n1, "ALTER SYSTEM SET work_mem = '5MB'");
    struct breaches b = look(&n1, false); /* before any reload: it bites with the next one */
    assert_found(&b, 0, BREACH_OVERRIDE, "primary_conninfo = '...' by ALTER SYSTEM");
    assert_found(&b, 1, BREACH_NAMES, "synchronous_standby_names = '*' by ALTER SYSTEM (postgresql.auto.conf line ");
    assert_found(&b, 2, BREACH_COMMIT, "synchronous_commit = off in ");
    assert_int_equal(b.count, 3);
    run(&n1, "ALTER SYSTEM RESET ALL");
    assert_nothing(&n1);
}

/* Whatever the role that asks has set for itself. */
static void test_the_files_are_judged_and_not_our_own_session(void **state)
{
    run(&n1, "ALTER SYSTEM SET synchronous_commit = local");
    run(&n1, "ALTER ROLE ALL SET synchronous_commit = on");
    reload(&n1, "synchronous_commit", "on");
    struct breaches b = look(&n1, false);
    assert_found(&b, 0, BREACH_COMMIT, "synchronous_commit = local in ");
    assert_int_equal(b.count, 1);
    run(&n1, "ALTER ROLE ALL RESET synchronous_commit");
    run(&n1, "ALTER SYSTEM RESET ALL");
    reload(&n1, "synchronous_commit", "on");
    assert_nothing(&n1);
}

static void test_what_does_not_survive_a_crash(void **state)
{
    struct breaches b = look(&n2, true);
    assert_found(&b, 0, BREACH_DURABILITY, "fsync = off in ");
    run(&n1, "ALTER SYSTEM SET full_page_writes = off");
    reload(&n1, "full_page_writes", "off");
    struct breaches p = look(&n1, true);
    assert_found(&p, 0, BREACH_DURABILITY, "fsync = off in ");
    assert_found(&p, 1, BREACH_DURABILITY, "full_page_writes = off in ");
    run(&n1, "ALTER SYSTEM RESET ALL");
    reload(&n1, "full_page_writes", "on");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_roles_and_databases),
        cmocka_unit_test(test_more_roles_than_are_told),
        cmocka_unit_test(test_alter_system),
        cmocka_unit_test(test_the_files_are_judged_and_not_our_own_session),
        cmocka_unit_test(test_what_does_not_survive_a_crash),
    };

    config_leave_root();
    return cmocka_run_group_tests(tests, start_pair, stop_pair);
}
