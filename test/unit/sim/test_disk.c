/* What a disk keeps, and what a server does when it does not: disks in the model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"
#include "test/sim/disk.h"
#include "test/unit/sim/trio.h"

TRIO_TEST(test_replaced_file_survives_a_power_cut_and_a_written_one_may_not)
{
    int kept = 0;
    int emptied = 0;
    int old = 0;

    trio_start("ANY 1 (n2, n3)");
    struct disk *d = disk_of(&world.hosts[OPERATOR]);
    for (int i = 0; i < 100; i++) {
        EXPECT(disk_replace(d, "/promise", "7"));
        EXPECT(disk_write(d, "/promise", "8"));
        EXPECT(str_eq(disk_read(d, "/promise"), "8"));
        disk_power_cut(d);
        kept += str_eq(disk_read(d, "/promise"), "8");
        emptied += str_eq(disk_read(d, "/promise"), "");
        old += str_eq(disk_read(d, "/promise"), "7");
        EXPECT(disk_replace(d, "/promise", "9"));
        disk_power_cut(d);
        EXPECT(str_eq(disk_read(d, "/promise"), "9"));
    }
    EXPECT(kept && emptied && old && kept + emptied + old == 100);
}

TRIO_TEST(test_full_disk_refuses_new_text_and_keeps_the_old)
{
    trio_start("ANY 1 (n2, n3)");
    struct disk *d = disk_of(&world.hosts[OPERATOR]);
    EXPECT(disk_replace(d, "/promise", "7"));
    disk_fill(d, true);
    EXPECT(!disk_replace(d, "/promise", "8"));
    EXPECT(str_eq(disk_read(d, "/promise"), "7"));
    disk_remove(d, "/promise");
    EXPECT(!disk_has(d, "/promise"));
}

TRIO_TEST(test_full_disk_is_a_panic_of_the_primary)
{
    trio_start("ANY 1 (n2, n3)");
    disk_fill(disk_of(trio[N1].host), true);
    struct wish *w = trio_write(N1);

    trio_run_ms(5000);
    EXPECT(!w->told && !pg_postmaster_lives(&trio[N1]));
}

TRIO_TEST(test_fsync_that_fails_is_a_panic_and_acknowledges_nothing)
{
    trio_start("ANY 1 (n2, n3)");
    trio[N1].fsync_max = 800000;
    struct wish *w = trio_write(N1);
    disk_fail(disk_of(trio[N1].host), true);
    trio_run_ms(5000);
    EXPECT(!w->told && !pg_postmaster_lives(&trio[N1]));
}

TRIO_TEST(test_fsync_that_fails_on_a_standby_reports_nothing)
{
    trio_start("ANY 1 (n2, n3)");
    trio_freeze(N3);
    EXPECT(pg_conf_write(&trio[N2], "postgresql.auto.conf", "restart_after_crash = off\n"));
    trio_reload(N2);
    trio_run_ms(5000);
    trio[N2].fsync_max = 800000;
    struct wish *w = trio_write(N1);
    while (!trio[N2].receiver.flushing)
        world_run(world.now + 100);
    disk_fail(disk_of(trio[N2].host), true);
    trio_run_ms(5000);
    EXPECT(!w->told && !pg_postmaster_lives(&trio[N2]));
}

TRIO_TEST(test_power_cut_takes_back_what_was_not_flushed)
{
    trio_start("");
    trio[N1].fsync_max = 800000;
    struct wish *w = trio_write(N1);
    pg_power_cut(&trio[N1]);
    trio_run_ms(1000);
    EXPECT(!w->told && !wal_leads_to(w->commit, trio[N1].disk.written));
}

TRIO_TEST(test_volume_that_is_rolled_back_has_lost_what_was_flushed)
{
    trio_start("ANY 1 (n2)");
    pg_keep(&trio[N2]);
    struct wish *w = trio_write(N1);
    trio_run_ms(1000);
    EXPECT(w->told);
    pg_kill(&trio[N2]);
    trio_run_ms(10);
    pg_roll_back(&trio[N2]);
    EXPECT(!wal_leads_to(w->commit, trio[N2].disk.written));
}

TRIO_FINDS(test_directory_in_the_middle_of_a_rewind_must_not_be_started, "A17")
{
    trio_start("ANY 1 (n2, n3)");
    pg_kill(&trio[N2]);
    trio_run_ms(10);
    trio[N2].disk.torn = true;
    pg_start(&trio[N2]);
}

TRIO_TEST(test_copy_brings_the_sources_configuration)
{
    trio_start("ANY 1 (n2, n3)");
    pg_kill(&trio[N2]);
    trio_run_ms(10);
    pg_copy(&trio[N2], &trio[N1]);
    EXPECT(!trio[N2].disk.standby_signal);
    struct pg_loaded l = {0};
    EXPECT(pg_conf_load_first(&trio[N2], &l));
    EXPECT(str_eq(l.conf->at[PG_SYNC_NAMES].text, "ANY 1 (n2, n3)"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replaced_file_survives_a_power_cut_and_a_written_one_may_not),
        cmocka_unit_test(test_full_disk_refuses_new_text_and_keeps_the_old),
        cmocka_unit_test(test_full_disk_is_a_panic_of_the_primary),
        cmocka_unit_test(test_fsync_that_fails_is_a_panic_and_acknowledges_nothing),
        cmocka_unit_test(test_fsync_that_fails_on_a_standby_reports_nothing),
        cmocka_unit_test(test_power_cut_takes_back_what_was_not_flushed),
        cmocka_unit_test(test_volume_that_is_rolled_back_has_lost_what_was_flushed),
        cmocka_unit_test(test_directory_in_the_middle_of_a_rewind_must_not_be_started),
        cmocka_unit_test(test_copy_brings_the_sources_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
