/* Files, reloads and what each process holds: configuration in the model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"
#include "test/sim/disk.h"
#include "test/sim/truths.h"
#include "test/unit/sim/trio.h"

static const char *names_of(const struct pg_loaded *l)
{
    return l->conf->at[PG_SYNC_NAMES].text;
}

static void settle(void)
{
    trio_reload(N1);
    trio_run_ms(5000);
}

TRIO_TEST(test_the_last_line_wins_and_auto_conf_is_the_last)
{
    trio_start("ANY 1 (n2)");
    EXPECT(str_eq(names_of(&trio[N1].postmaster_conf), "ANY 1 (n2)"));
    EXPECT(str_ends(trio[N1].postmaster_conf.conf->at[PG_SYNC_NAMES].file, "/pgkeep.sync.conf"));
    EXPECT(pg_conf_write(&trio[N1], "postgresql.auto.conf", "synchronous_standby_names = 'n3' # by hand\n"));
    settle();
    EXPECT(str_eq(names_of(&trio[N1].postmaster_conf), "n3"));
    EXPECT(str_ends(trio[N1].postmaster_conf.conf->at[PG_SYNC_NAMES].file, "/postgresql.auto.conf"));
}

TRIO_TEST(test_error_anywhere_and_the_reload_applies_nothing)
{
    static const char *const errors[] = {"port = '5433\n", "por = 5433\n", "include 'absent.conf'\n", "= 5\n"};

    trio_start("ANY 1 (n2)");
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        usec loaded = trio[N1].postmaster_conf.at;
        EXPECT(pg_conf_write(&trio[N1], "postgresql.auto.conf", errors[i]));
        trio_names(N1, "__fence__");
        settle();
        EXPECT(str_eq(names_of(&trio[N1].postmaster_conf), "ANY 1 (n2)"));
        EXPECT(trio[N1].postmaster_conf.at == loaded);
        EXPECT(pg_conf_errors(&trio[N1]) > 0);
        EXPECT(pg_conf_write(&trio[N1], "postgresql.auto.conf", ""));
        trio_names(N1, "ANY 1 (n2)");
        settle();
    }
}

TRIO_TEST(test_wrong_value_and_the_load_time_moves_while_the_old_list_stays)
{
    trio_start("ANY 1 (n2)");
    usec loaded = trio[N1].postmaster_conf.at;

    EXPECT(pg_conf_write(&trio[N1], "postgresql.auto.conf", "restart_after_crash = off\n"));
    trio_names(N1, "ANY 0 (n2)");
    settle();
    EXPECT(trio[N1].postmaster_conf.at > loaded);
    EXPECT(str_eq(names_of(&trio[N1].postmaster_conf), "ANY 1 (n2)"));
    EXPECT(!trio[N1].postmaster_conf.conf->restart_after_crash);
    EXPECT(pg_conf_errors(&trio[N1]) == 1);
}

TRIO_TEST(test_server_does_not_start_with_what_a_reload_refuses)
{
    trio_start("ANY 1 (n2)");
    trio_names(N1, "ANY 0 (n2)");
    settle();
    EXPECT(pg_is_open(&trio[N1]));
    pg_stop_fast(&trio[N1]);
    trio_run_ms(1000);
    pg_start(&trio[N1]);
    trio_run_ms(1000);
    EXPECT(!pg_postmaster_lives(&trio[N1]));
}

TRIO_TEST(test_each_process_loads_at_a_time_of_its_own)
{
    int apart = 0;

    trio_start("ANY 1 (n2)");
    for (int i = 0; i < 20; i++) {
        trio_names(N1, i % 2 ? "ANY 1 (n2)" : "__fence__");
        trio_reload(N1);
        for (int k = 0; k < 200; k++) {
            trio_run_ms(1);
            apart += names_of(&trio[N1].sessions_conf) != names_of(&trio[N1].senders[0].conf);
        }
        trio_run_ms(5000);
    }
    EXPECT(apart > 0);
}

/* The proof that a reload was delivered: a connection that was forked after it. */
TRIO_TEST(test_only_a_new_connection_proves_that_the_postmaster_has_reloaded)
{
    trio_start("ANY 1 (n2)");
    struct pg_session *old = pg_connect(&trio[N1], &world.hosts[OPERATOR].kernel);
    trio_names(N1, "__fence__");
    EXPECT(pg_conf_load(&trio[N1], &old->conf)); /* somebody signalled it alone */
    EXPECT(str_eq(names_of(&old->conf), "__fence__"));
    EXPECT(str_eq(names_of(&trio[N1].postmaster_conf), "ANY 1 (n2)"));
    struct pg_session *new = pg_connect(&trio[N1], &world.hosts[OPERATOR].kernel);
    EXPECT(new != old &&new->started > new->conf.at);
    EXPECT(str_eq(names_of(&new->conf), "ANY 1 (n2)"));
}

TRIO_TEST(test_alter_system_undoes_who_replaces_the_file_meanwhile)
{
    trio_start("ANY 1 (n2)");
    EXPECT(pg_conf_write(&trio[N1], "postgresql.auto.conf", "primary_conninfo = 'host=10.0.0.3'\n"));
    pg_alter_system(&trio[N1], PG_RETRIEVE_RETRY, "100ms", 10000);
    EXPECT(pg_conf_write(&trio[N1], "postgresql.auto.conf", "")); /* ours, in between */
    trio_run_ms(100);
    settle();
    EXPECT(trio[N1].postmaster_conf.conf->upstream == N3);
    EXPECT(trio[N1].postmaster_conf.conf->retrieve_retry == 100000);
}

TRIO_TEST(test_alter_system_reset_takes_its_line_away)
{
    trio_start("ANY 1 (n2)");
    EXPECT(pg_conf_write(&trio[N1], "postgresql.auto.conf", "synchronous_standby_names = 'n3'\n"));
    settle();
    pg_alter_system(&trio[N1], PG_SYNC_NAMES, NULL, 10000);
    trio_run_ms(100);
    settle();
    EXPECT(str_eq(names_of(&trio[N1].postmaster_conf), "ANY 1 (n2)"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_last_line_wins_and_auto_conf_is_the_last),
        cmocka_unit_test(test_error_anywhere_and_the_reload_applies_nothing),
        cmocka_unit_test(test_wrong_value_and_the_load_time_moves_while_the_old_list_stays),
        cmocka_unit_test(test_server_does_not_start_with_what_a_reload_refuses),
        cmocka_unit_test(test_each_process_loads_at_a_time_of_its_own),
        cmocka_unit_test(test_only_a_new_connection_proves_that_the_postmaster_has_reloaded),
        cmocka_unit_test(test_alter_system_undoes_who_replaces_the_file_meanwhile),
        cmocka_unit_test(test_alter_system_reset_takes_its_line_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
