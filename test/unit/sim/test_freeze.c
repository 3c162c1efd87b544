/* What a freeze must end, what undoes it, and what a promotion brings: standbys in the model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"
#include "test/sim/disk.h"
#include "test/sim/net.h"
#include "test/sim/truths.h"
#include "test/unit/sim/trio.h"

/* ---- the known trap ---- */

TRIO_TEST(test_promotion_without_freezing_loses_what_the_old_primary_acknowledges)
{
    trio_start("ANY 1 (n2, n3)");
    trio_upstream(N2, NOBODY);
    trio_promote(N2);
    trio_run_ms(1000);
    struct wish *w = trio_write(N1);

    trio_run_ms(1000);
    EXPECT(w->told); /* through n3 */
    EXPECT(!wal_leads_to(w->commit, trio[N2].disk.written));
}

TRIO_TEST(test_frozen_standbys_let_nothing_be_acknowledged)
{
    trio_start("ANY 1 (n2, n3)");
    trio_freeze(N2);
    trio_freeze(N3);
    struct wish *w = trio_write(N1);

    trio_run_ms(60000);
    EXPECT(!w->told);
    trio_promote(N2);
    trio_run_ms(60000);
    EXPECT(!w->told);
}

/* A reply under way when its walreceiver ended acknowledges later, and only what lies before the frozen position. */
TRIO_TEST(test_reply_sent_before_the_freeze_acknowledges_after_it)
{
    trio_start("ANY 1 (n2, n3)");
    trio_freeze(N3);
    struct wish *w = trio_write(N1);
    while (!wal_leads_to(w->commit, trio[N2].disk.flushed))
        world_run(world.now + 10);
    EXPECT(!w->told); /* its reply is on the way */
    (void)walstream_end_receiver(&trio[N2]);
    net_slow(300000, 0); /* what is sent later takes long; that one does not come in before its receiver is gone */
    trio_upstream(N2, NOBODY);
    trio_reload(N2);
    trio_run_ms(10000);
    EXPECT(trio[N2].receiver.state == RECEIVER_NONE);
    EXPECT(w->told);
    EXPECT(wal_leads_to(w->commit, trio[N2].disk.flushed));
}

/* ---- what keeps a walreceiver ---- */

static void empty_conninfo(int node)
{
    trio_upstream(node, NOBODY);
    trio_reload(node);
}

TRIO_TEST(test_empty_conninfo_ends_the_receiver_of_a_standby_that_waits_for_wal)
{
    trio_start("ANY 1 (n2, n3)");
    EXPECT(str_eq(recovery_wait_event(&trio[N2]), "RecoveryWalStream"));
    empty_conninfo(N2);
    trio_run_ms(4000);
    EXPECT(trio[N2].receiver.state == RECEIVER_NONE);
    EXPECT(str_eq(recovery_wait_event(&trio[N2]), "RecoveryRetrieveRetryInterval"));
}

static void keeps_receiver(enum recovery_block how)
{
    trio_start("ANY 1 (n2, n3)");
    trio_freeze(N3);
    recovery_block(&trio[N2], how);
    empty_conninfo(N2);
    trio_run_ms(10000);
    EXPECT(trio_streams(N2));
    struct wish *w = trio_write(N1);
    trio_run_ms(1000);
    EXPECT(w->told); /* it goes on acknowledging what it does not replay */
    EXPECT(!wal_leads_to(w->commit, trio[N2].replayed));
}

TRIO_TEST(test_recovery_conflict_keeps_the_receiver_after_the_reload)
{
    keeps_receiver(RECOVERY_CONFLICT);
    recovery_unblock(&trio[N2]);
    trio_run_ms(1000);
    EXPECT(trio[N2].receiver.state == RECEIVER_NONE);
}

TRIO_TEST(test_paused_replay_keeps_the_receiver_after_the_reload)
{
    keeps_receiver(RECOVERY_PAUSED);
    EXPECT(walstream_end_receiver(&trio[N2]));
    trio_run_ms(30000);
    EXPECT(trio[N2].receiver.state == RECEIVER_NONE); /* SIGTERM ends it, and it stays gone */
    recovery_unblock(&trio[N2]);
    trio_run_ms(30000);
    EXPECT(trio[N2].receiver.state == RECEIVER_NONE);
}

TRIO_TEST(test_startup_process_that_hangs_keeps_the_receiver_after_the_reload)
{
    keeps_receiver(RECOVERY_HANGS);
    EXPECT(!recovery_wait_event(&trio[N2]));
}

TRIO_TEST(test_receiver_that_was_only_terminated_comes_back)
{
    trio_start("ANY 1 (n2, n3)");
    EXPECT(walstream_end_receiver(&trio[N2]));
    trio_run_ms(10);
    EXPECT(trio[N2].receiver.state == RECEIVER_NONE);
    trio_run_ms(15000);
    EXPECT(trio_streams(N2));
}

TRIO_TEST(test_receiver_comes_back_where_only_the_file_says_no)
{
    trio_start("ANY 1 (n2, n3)");
    trio_upstream(N2, NOBODY);
    EXPECT(walstream_end_receiver(&trio[N2]));
    trio_run_ms(15000);
    EXPECT(trio_streams(N2));
}

TRIO_TEST(test_terminated_receiver_reports_what_it_is_flushing)
{
    trio_start("ANY 1 (n2, n3)");
    trio_freeze(N3);
    trio[N2].fsync_max = 800000;
    struct wish *w = trio_write(N1);
    while (!trio[N2].receiver.flushing)
        world_run(world.now + 100);
    empty_conninfo(N2);
    EXPECT(walstream_end_receiver(&trio[N2]));
    trio_run_ms(5000);
    EXPECT(trio[N2].receiver.state == RECEIVER_NONE);
    EXPECT(w->told);
}

TRIO_TEST(test_archive_feeds_a_standby_without_an_upstream)
{
    trio_start("ANY 1 (n2, n3)");
    for (int i = N1; i <= N2; i++)
        EXPECT(pg_conf_write(&trio[i], "postgresql.auto.conf",
                             i == N1 ? "archive_command = 'put'\n" : "restore_command = 'get'\n"));
    pg_stop_fast(&trio[N1]);
    trio_run_ms(1000);
    pg_start(&trio[N1]);
    trio_run_ms(10000);
    trio_freeze(N2);
    struct rec *frozen = trio[N2].disk.flushed;
    struct wish *w = trio_write(N1);
    trio_run_ms(30000);
    EXPECT(w->told);
    EXPECT(trio[N2].disk.flushed != frozen && wal_leads_to(w->commit, trio[N2].disk.flushed));
}

static void with_archive(int node, const char *line)
{
    EXPECT(pg_conf_write(&trio[node], "postgresql.auto.conf", line));
    pg_stop_fast(&trio[node]);
    trio_run_ms(25000);
    pg_start(&trio[node]);
    trio_run_ms(15000);
}

/* Both primaries archive: who can come to the newer timeline takes nothing of the old one beyond the fork. */
TRIO_TEST(test_archive_is_read_along_the_newest_timeline)
{
    trio_start("");
    with_archive(N3, "archive_command = 'put'\n");
    with_archive(N1, "archive_command = 'put'\n");
    with_archive(N2, "restore_command = 'get'\n");
    trio_names(N3, "");
    trio_reload(N3);
    trio_freeze(N3);
    trio_promote(N3);
    trio_run_ms(1000);
    trio_freeze(N2);
    trio_run_ms(10000);
    (void)trio_write(N1); /* the old one goes on */
    (void)trio_write(N3);
    trio_run_ms(30000);
    EXPECT(pg_timeline(&trio[N2]) == 2);
    EXPECT(wal_leads_to(trio[N2].disk.flushed, trio[N3].disk.written));
}

/* ---- positions ---- */

TRIO_TEST(test_received_position_is_unknown_after_a_restart_and_then_a_segment_start)
{
    trio_start("ANY 1 (n2, n3)");
    (void)trio_write(N1);
    trio_run_ms(1000);
    lsn before = trio[N2].receiver.receive;

    EXPECT(before == trio[N2].disk.flushed->end);
    pg_stop_fast(&trio[N2]);
    trio_run_ms(1000);
    net_isolate(trio[N1].host); /* nobody answers: that makes no difference */
    pg_start(&trio[N2]);
    EXPECT(trio[N2].receiver.receive == 0);
    while (trio[N2].receiver.state != RECEIVER_CONNECTING)
        trio_run_ms(1);
    EXPECT(trio[N2].receiver.receive % (16 * 1024 * 1024) == 0);
    EXPECT(trio[N2].receiver.receive < before && trio[N2].replayed->end == before);
}

TRIO_TEST(test_received_position_may_reach_into_a_record_that_was_cut_off)
{
    int partial = 0;

    trio_start("ANY 1 (n2, n3)");
    for (int i = 0; i < 30 && !partial; i++) {
        EXPECT(walstream_end_receiver(&trio[N2]));
        trio_run_ms(10);
        partial += trio[N2].receiver.receive > trio[N2].disk.flushed->end;
        EXPECT(trio[N2].replayed == trio[N2].disk.flushed);
        trio_run_ms(10000);
        EXPECT(trio_streams(N2));
    }
    EXPECT(partial);
}

TRIO_TEST(test_fast_stop_waits_for_a_standby_that_does_not_answer)
{
    trio_start("ANY 1 (n2, n3)");
    net_isolate(trio[N2].host);
    pg_stop_fast(&trio[N1]);
    trio_run_ms(5000);
    EXPECT(pg_postmaster_lives(&trio[N1]) && trio[N1].disk.state == PG_CONTROL_SHUT_DOWN);
    EXPECT(trio[N3].disk.flushed == trio[N1].disk.checkpoint); /* who answers has the shutdown checkpoint */
    trio_run_ms(25000);
    EXPECT(!pg_postmaster_lives(&trio[N1]));
}

TRIO_TEST(test_receiver_gives_a_silent_host_up_after_its_user_timeout)
{
    trio_start("ANY 1 (n2, n3)");
    EXPECT(pg_conf_write(&trio[N2], "postgresql.auto.conf",
                         "primary_conninfo = 'host=10.0.0.1 application_name=n2 tcp_user_timeout=2000'\n"
                         "wal_receiver_status_interval = '1s'\n"));
    trio_reload(N2);
    trio_run_ms(10000);
    EXPECT(trio_streams(N2));
    net_isolate(trio[N1].host);
    trio_run_ms(4500);
    EXPECT(!trio_streams(N2));
    EXPECT(trio_streams(N3)); /* it has the kernel's patience */
}

static void n3_ahead_of_the_winner(void)
{
    trio_start("ANY 1 (n2, n3)");
    trio_freeze(N2);
    for (int i = 0; i < 10; i++)
        (void)trio_write(N1);
    trio_run_ms(1000);
    pg_kill(&trio[N1]);
    trio_promote(N2);
}

TRIO_TEST(test_standby_ahead_of_the_winner_gets_nothing_for_ever)
{
    n3_ahead_of_the_winner();
    struct rec *end = trio[N3].disk.written;
    trio_upstream(N3, N2);
    trio_reload(N3);
    for (int i = 0; i < 120; i++) {
        trio_run_ms(500);
        EXPECT(trio[N3].disk.written == end && trio[N3].in_recovery);
    }
}

TRIO_TEST(test_standby_ahead_of_the_winner_acknowledges_what_it_does_not_have)
{
    n3_ahead_of_the_winner();
    struct wish *w = trio_write(N2);
    trio_names(N2, "ANY 1 (n3)");
    trio_reload(N2);
    trio_run_ms(5000);
    EXPECT(!w->told);
    trio_upstream(N3, N2);
    trio_reload(N3);
    trio_run_ms(30000);
    EXPECT(w->told && !wal_leads_to(w->commit, trio[N3].disk.written));
    while (trio[N2].disk.written->end <= trio[N3].disk.written->end)
        w = trio_write(N2);
    w = trio_write(N2);
    trio_run_ms(30000);
    EXPECT(!w->told); /* up to its own position, and no further */
}

TRIO_TEST(test_pg_control_names_the_old_timeline_until_a_checkpoint)
{
    trio_start("ANY 1 (n2, n3)");
    trio_freeze(N2);
    trio_promote(N2);
    EXPECT(pg_timeline(&trio[N2]) == 2 && trio[N2].disk.checkpoint_tli == 1);
    pg_checkpoint(&trio[N2]);
    trio_run_ms(1000);
    EXPECT(trio[N2].disk.checkpoint_tli == 2);
}

/* ---- promotion ---- */

TRIO_TEST(test_promoted_under_the_fence_a_commit_waits_though_a_standby_flushes_it)
{
    trio_start("ANY 1 (n2, n3)");
    trio_freeze(N2);
    trio_freeze(N3);
    trio_promote(N2); /* its list is the floor's */
    trio_upstream(N3, N2);
    trio_reload(N3);
    struct wish *w = trio_write(N2);
    trio_run_ms(30000);
    EXPECT(trio_streams(N3) && wal_leads_to(w->commit, trio[N3].disk.flushed));
    EXPECT(!w->told);
    trio_names(N2, "ANY 1 (n3)");
    trio_reload(N2);
    trio_run_ms(15000);
    EXPECT(w->told);
}

TRIO_TEST(test_trigger_file_that_was_left_fires_with_the_next_receiver)
{
    trio_start("ANY 1 (n2, n3)");
    trio[N2].disk.promote_file = true; /* an agent was stopped before it could signal */
    trio_run_ms(60000);
    EXPECT(trio[N2].in_recovery);
    EXPECT(walstream_end_receiver(&trio[N2]));
    trio_run_ms(120000);
    EXPECT(!trio[N2].in_recovery);
}

TRIO_TEST(test_trigger_file_is_gone_after_a_start)
{
    trio_start("ANY 1 (n2, n3)");
    pg_stop_fast(&trio[N2]);
    trio_run_ms(1000);
    trio[N2].disk.promote_file = true;
    pg_start(&trio[N2]);
    trio_run_ms(120000);
    EXPECT(trio[N2].in_recovery);
}

TRIO_TEST(test_promotion_waits_for_a_recovery_conflict)
{
    trio_start("ANY 1 (n2, n3)");
    recovery_block(&trio[N2], RECOVERY_CONFLICT);
    trio[N2].disk.promote_file = true;
    pg_promote_signal(&trio[N2]);
    trio_run_ms(60000);
    EXPECT(trio[N2].in_recovery);
    recovery_unblock(&trio[N2]);
    trio_run_ms(61000);
    EXPECT(pg_is_open(&trio[N2]));
}

TRIO_TEST(test_promotion_can_come_after_the_next_freeze)
{
    bool late = false;

    trio_start("ANY 1 (n2, n3)");
    for (int i = 0; i < 300 && !late; i++) {
        if (!trio[N2].in_recovery) {
            pg_kill(&trio[N2]);
            trio[N2].disk.standby_signal = true;
            pg_start(&trio[N2]);
            trio_run_ms(20000);
        }
        trio[N2].disk.promote_file = true;
        pg_promote_signal(&trio[N2]);
        trio_run_ms(1000);
        trio[N2].disk.promote_file = false; /* withdrawn: too late */
        late = trio[N2].in_recovery && trio[N2].promoting;
        trio_run_ms(61000);
        EXPECT(!trio[N2].in_recovery || !pg_postmaster_lives(&trio[N2]));
    }
    EXPECT(late);
}

/* Both take timeline 2, and neither knows of the other. */
TRIO_TEST(test_two_promotions_take_one_timeline)
{
    trio_start("ANY 1 (n2, n3)");
    trio_freeze(N2);
    trio_freeze(N3);
    trio_promote(N2);
    trio_promote(N3);
    EXPECT(pg_timeline(&trio[N2]) == 2 && pg_timeline(&trio[N3]) == 2);
    EXPECT(trio[N2].disk.written != trio[N3].disk.written);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_promotion_without_freezing_loses_what_the_old_primary_acknowledges),
        cmocka_unit_test(test_frozen_standbys_let_nothing_be_acknowledged),
        cmocka_unit_test(test_reply_sent_before_the_freeze_acknowledges_after_it),
        cmocka_unit_test(test_empty_conninfo_ends_the_receiver_of_a_standby_that_waits_for_wal),
        cmocka_unit_test(test_recovery_conflict_keeps_the_receiver_after_the_reload),
        cmocka_unit_test(test_paused_replay_keeps_the_receiver_after_the_reload),
        cmocka_unit_test(test_startup_process_that_hangs_keeps_the_receiver_after_the_reload),
        cmocka_unit_test(test_receiver_that_was_only_terminated_comes_back),
        cmocka_unit_test(test_receiver_comes_back_where_only_the_file_says_no),
        cmocka_unit_test(test_terminated_receiver_reports_what_it_is_flushing),
        cmocka_unit_test(test_archive_feeds_a_standby_without_an_upstream),
        cmocka_unit_test(test_archive_is_read_along_the_newest_timeline),
        cmocka_unit_test(test_received_position_is_unknown_after_a_restart_and_then_a_segment_start),
        cmocka_unit_test(test_received_position_may_reach_into_a_record_that_was_cut_off),
        cmocka_unit_test(test_fast_stop_waits_for_a_standby_that_does_not_answer),
        cmocka_unit_test(test_receiver_gives_a_silent_host_up_after_its_user_timeout),
        cmocka_unit_test(test_standby_ahead_of_the_winner_gets_nothing_for_ever),
        cmocka_unit_test(test_standby_ahead_of_the_winner_acknowledges_what_it_does_not_have),
        cmocka_unit_test(test_pg_control_names_the_old_timeline_until_a_checkpoint),
        cmocka_unit_test(test_promoted_under_the_fence_a_commit_waits_though_a_standby_flushes_it),
        cmocka_unit_test(test_trigger_file_that_was_left_fires_with_the_next_receiver),
        cmocka_unit_test(test_trigger_file_is_gone_after_a_start),
        cmocka_unit_test(test_promotion_waits_for_a_recovery_conflict),
        cmocka_unit_test(test_promotion_can_come_after_the_next_freeze),
        cmocka_unit_test(test_two_promotions_take_one_timeline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
