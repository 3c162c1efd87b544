/* Who waits for whom, who is counted, and what releases: synchronous replication in the model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <string.h>

#include "base/str.h"
#include "test/sim/net.h"
#include "test/sim/truths.h"
#include "test/unit/sim/trio.h"

/* ---- lists ---- */

static void test_lists_are_read_as_postgresql_reads_them(void **state)
{
    static const struct {
        const char *text;
        int method, wanted, count;
    } good[] = {
        {"n2", SYNC_FIRST, 1, 1},
        {"n2, n3", SYNC_FIRST, 1, 2},
        {"2 (n2, n3, n4)", SYNC_FIRST, 2, 3},
        {"FIRST 1 (n2)", SYNC_FIRST, 1, 1},
        {"any 2(n2,\"n-3\" , *)", SYNC_ANY, 2, 3},
        {"__fence__", SYNC_FIRST, 1, 1},
        {"any, n2", SYNC_FIRST, 1, 2}, /* a standby may have that name */
        {"2", SYNC_FIRST, 1, 1},
    };
    struct sync_list *l = NULL;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(sync_list_parse(good[i].text, &l));
        assert_int_equal(l->method, good[i].method);
        assert_int_equal(l->wanted, good[i].wanted);
        assert_int_equal(l->count, good[i].count);
        free(l);
    }
    assert_true(sync_list_parse(" ", &l));
    assert_null(l);
}

static void test_what_is_no_list_is_refused(void **state)
{
    static const char *const bad[] = {"n2,",   "ANY (n2)", "ANY 0 (n2)", "ANY 1 n2", "n-2",
                                      "2 (n2", "\"n2",     "(n2)",       "n2 n3"};
    struct sync_list *l;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (sync_list_parse(bad[i], &l))
            fail_msg("taken: %s", bad[i]);
}

static void test_names_are_compared_without_case(void **state)
{
    struct sync_list *l;

    (void)state;
    assert_true(sync_list_parse("n2, N3", &l));
    assert_int_equal(sync_list_priority(l, "N2"), 1);
    assert_int_equal(sync_list_priority(l, "n3"), 2);
    assert_int_equal(sync_list_priority(l, "n4"), 0);
    free(l);
    assert_true(sync_list_parse("ANY 1 (n2, n3)", &l));
    assert_int_equal(sync_list_priority(l, "n3"), 1);
    free(l);
}

/* ---- waiting ---- */

TRIO_TEST(test_commit_is_acknowledged_when_one_of_any_1_has_flushed)
{
    trio_start("ANY 1 (n2, n3)");
    struct wish *w = trio_write(N1);

    while (!w->told)
        world_run(world.now + 50);
    EXPECT(wal_leads_to(w->commit, trio[N2].disk.flushed) || wal_leads_to(w->commit, trio[N3].disk.flushed));
}

TRIO_TEST(test_any_2_waits_for_both)
{
    trio_start("ANY 2 (n2, n3)");
    proc_stop(&trio[N3].backends);
    struct wish *w = trio_write(N1);

    trio_run_ms(5000);
    EXPECT(!w->told);
    EXPECT(wal_leads_to(w->commit, trio[N2].disk.flushed));
    proc_continue(&trio[N3].backends);
    trio_run_ms(5000);
    EXPECT(w->told);
}

TRIO_TEST(test_first_1_waits_for_the_first_alone)
{
    trio_start("FIRST 1 (n2, n3)");
    proc_stop(&trio[N2].backends);
    struct wish *w = trio_write(N1);

    trio_run_ms(3000);
    EXPECT(!w->told); /* n3 has it; the first of those that are connected does not */
    EXPECT(wal_leads_to(w->commit, trio[N3].disk.flushed));
    EXPECT(walstream_end_sender(&trio[N1], walstream_sender_of(&trio[N1], "n2")->pid));
    trio_run_ms(15000);
    EXPECT(w->told);
}

TRIO_TEST(test_under_the_fence_nothing_is_acknowledged_though_all_flush)
{
    trio_start("ANY 1 (n2, n3)");
    trio_names(N1, NULL); /* the floor is the fence */
    trio_reload(N1);
    trio_run_ms(5000);
    struct wish *w = trio_write(N1);

    trio_run_ms(30000);
    EXPECT(!w->told);
    EXPECT(wal_leads_to(w->commit, trio[N2].disk.flushed));
    EXPECT(!pg_shows(&trio[N1], w->commit));
}

TRIO_TEST(test_list_that_comes_back_releases_at_the_next_reply)
{
    truth_set(TRUTH_SIGNALS_TAKE_LONG, false);
    trio_start("__fence__");
    struct wish *w = trio_write(N1);

    trio_run_ms(1000);
    trio_names(N1, "ANY 1 (n2, n3)");
    trio_reload(N1);
    trio_run_ms(100);
    EXPECT(trio[N1].senders[0].priority == 1);
    EXPECT(!w->told);
    trio_run_ms(12000); /* wal_receiver_status_interval */
    EXPECT(w->told);
}

TRIO_TEST(test_reload_alone_releases_where_that_is_switched_off)
{
    truth_set(TRUTH_SIGNALS_TAKE_LONG, false);
    truth_set(TRUTH_LIST_RELEASES_AT_NEXT_REPLY, false);
    trio_start("__fence__");
    struct wish *w = trio_write(N1);

    trio_run_ms(1000);
    trio_names(N1, "ANY 1 (n2, n3)");
    trio_reload(N1);
    trio_run_ms(100);
    EXPECT(w->told);
}

TRIO_TEST(test_names_taken_away_acknowledge_who_waits)
{
    trio_start("__fence__");
    struct wish *w = trio_write(N1);

    trio_run_ms(1000);
    EXPECT(!w->told);
    trio_names(N1, "");
    trio_reload(N1);
    trio_run_ms(5000);
    EXPECT(w->told && !w->cancelled);
}

TRIO_TEST(test_lost_override_falls_back_to_the_fence_and_releases_nobody)
{
    trio_start("ANY 1 (n2, n3)");
    proc_stop(&trio[N2].backends);
    proc_stop(&trio[N3].backends);
    struct wish *w = trio_write(N1);

    trio_names(N1, NULL);
    trio_reload(N1);
    trio_run_ms(5000);
    proc_continue(&trio[N2].backends);
    proc_continue(&trio[N3].backends);
    trio_run_ms(10000);
    EXPECT(wal_leads_to(w->commit, trio[N2].disk.flushed));
    EXPECT(!w->told);
    EXPECT(pg_conf_errors(&trio[N1]) == 0);
}

/* ---- who is counted ---- */

/* n2's old walsender, half open, and its new one: both are n2. */
static void two_of_n2(void)
{
    net_cut(trio[N1].host, trio[N2].host);
    net_cut(trio[N2].host, trio[N1].host);
    walstream_end_receiver(&trio[N2]);
    trio_run_ms(2000);
    net_mend(trio[N1].host, trio[N2].host);
    net_mend(trio[N2].host, trio[N1].host);
}

static int senders_of(const char *name)
{
    int count = 0;

    for (int i = 0; i < SENDERS_MAX; i++)
        count += trio[N1].senders[i].active && str_eq_nocase(trio[N1].senders[i].name, name);
    return count;
}

TRIO_TEST(test_two_walsenders_of_one_name_acknowledge_as_two)
{
    trio_start("ANY 2 (n2, n3)");
    proc_stop(&trio[N3].backends);
    walstream_tool(&trio[N1], &world.hosts[OPERATOR], "N2", NULL);
    trio_run_ms(2000);
    EXPECT(senders_of("n2") == 2);
    struct wish *w = trio_write(N1);

    trio_run_ms(3000);
    EXPECT(w->told);
    EXPECT(!wal_leads_to(w->commit, trio[N3].disk.flushed));
}

TRIO_TEST(test_two_walsenders_of_one_name_count_once_where_that_is_switched_off)
{
    truth_set(TRUTH_TWO_OF_ONE_NAME_COUNT, false);
    trio_start("ANY 2 (n2, n3)");
    proc_stop(&trio[N3].backends);
    walstream_tool(&trio[N1], &world.hosts[OPERATOR], "N2", NULL);
    trio_run_ms(2000);
    struct wish *w = trio_write(N1);

    trio_run_ms(3000);
    EXPECT(!w->told);
}

TRIO_TEST(test_slot_with_an_owner_refuses_the_second_walsender)
{
    trio_start("ANY 1 (n2, n3)");
    two_of_n2();
    for (int i = 0; i < 3000; i++) {
        EXPECT(senders_of("n2") <= 1);
        trio_run_ms(10);
    }
    EXPECT(trio_streams(N2)); /* its old one was ended by a reset */
}

TRIO_TEST(test_tool_under_a_cohort_name_counts_and_the_agents_own_does_not)
{
    trio_start("ANY 1 (n2, n3)");
    proc_stop(&trio[N2].backends);
    proc_stop(&trio[N3].backends);
    walstream_tool(&trio[N1], &world.hosts[OPERATOR], "pgkeep_job", NULL);
    struct wish *w = trio_write(N1);

    trio_run_ms(3000);
    EXPECT(!w->told);
    walstream_tool(&trio[N1], &world.hosts[OPERATOR], "n3", NULL);
    trio_run_ms(3000);
    EXPECT(w->told); /* and no server but n1 has it */
}

/* n3's walsender stands still, with a reply and a SIGHUP before it; n2 does not answer. Then it goes on. */
static struct pg_sender *hold_sender(void)
{
    trio_names(N1, "ANY 1 (n2, n3)");
    trio_reload(N1);
    trio_run_ms(1000);
    struct pg_sender *held = walstream_sender_of(&trio[N1], "n3");
    EXPECT(held && held->conf.conf->names->count == 2);
    return held;
}

static void reload_beside(struct pg_sender *held)
{
    held->stuck = true;
    trio_names(N1, "ANY 1 (n2)");
    trio_reload(N1);
    trio_run_ms(1000);
    EXPECT(trio[N1].checkpointer_conf.conf->names->count == 1);
    EXPECT(held->conf.conf->names->count == 2);
    held->stuck = false;
}

TRIO_TEST(test_slot_that_is_lost_serves_nobody_and_the_wal_is_gone)
{
    trio_start("ANY 1 (n2, n3)");
    net_isolate(trio[N2].host);
    (void)trio_write(N1);
    trio_run_ms(25000);
    pg_lose_slot(&trio[N1], "n2");
    net_rejoin(trio[N2].host);
    trio_run_ms(30000);
    EXPECT(!trio_streams(N2) && trio_streams(N3));
    trio[N1].disk.slots[0].lost = false; /* made anew: what it needs is gone all the same */
    trio_run_ms(30000);
    EXPECT(!trio_streams(N2));
}

TRIO_TEST(test_walsender_releases_by_the_list_that_it_has_read)
{
    int released = 0;

    truth_set(TRUTH_SIGNALS_TAKE_LONG, false);
    trio_start("ANY 1 (n2, n3)");
    proc_stop(&trio[N2].backends);
    for (int i = 0; i < 20 && !released; i++) {
        struct pg_sender *held = hold_sender();
        struct wish *w = trio_write(N1);
        while (held->sent != w->commit)
            world_run(world.now + 10);
        reload_beside(held);
        trio_run_ms(200);
        released += w->told;
        EXPECT(!wal_leads_to(w->commit, trio[N2].disk.flushed));
    }
    EXPECT(released);
}

TRIO_TEST(test_walsender_that_tells_of_a_later_record_has_read_the_new_list)
{
    truth_set(TRUTH_SIGNALS_TAKE_LONG, false);
    trio_start("ANY 1 (n2, n3)");
    proc_stop(&trio[N2].backends);
    for (int i = 0; i < 20; i++) {
        struct pg_sender *held = hold_sender();
        reload_beside(held);
        struct wish *w = trio_write(N1);
        trio_run_ms(50 + i * 5);
        EXPECT(!w->told);
        EXPECT(held->flushed != w->commit || held->conf.conf->names->count == 1);
        pg_cancel_waits(&trio[N1], N1);
    }
}

TRIO_TEST(test_what_was_released_stays_so)
{
    trio_start("ANY 1 (n2, n3)");
    struct wish *w = trio_write(N1);

    trio_run_ms(1000);
    EXPECT(w->told && trio[N1].sync.released >= w->commit->end);
    trio[N1].sync.released += 1000; /* a false report of a walsender of that name */
    trio_names(N1, "__fence__");
    trio_reload(N1);
    trio_run_ms(5000);
    w = trio_write(N1);
    trio_run_ms(100);
    EXPECT(w->told); /* the corrected list does not take it back */
}

/* ---- how waits end ---- */

TRIO_TEST(test_cancelled_wait_is_success_with_a_warning)
{
    trio_start("__fence__");
    struct wish *w = trio_write_as(N1, 5);

    trio_run_ms(500);
    EXPECT(!pg_shows(&trio[N1], w->commit));
    EXPECT(pg_cancel_waits(&trio[N1], 5) == 1);
    trio_run_ms(10);
    EXPECT(w->told && w->cancelled);
    EXPECT(pg_shows(&trio[N1], w->commit));
}

TRIO_TEST(test_fast_stop_cuts_who_waits_and_the_row_is_there)
{
    trio_start("__fence__");
    struct wish *w = trio_write(N1);

    trio_run_ms(500);
    pg_stop_fast(&trio[N1]);
    trio_run_ms(2000);
    EXPECT(!w->told && !pg_postmaster_lives(&trio[N1]));
    pg_start(&trio[N1]);
    trio_run_ms(2000);
    EXPECT(pg_shows(&trio[N1], w->commit) && !w->told);
}

TRIO_TEST(test_restart_after_a_crash_shows_what_nobody_was_told_of)
{
    trio_start("__fence__");
    struct wish *w = trio_write(N1);

    trio_run_ms(500);
    EXPECT(!pg_shows(&trio[N1], w->commit));
    pg_crash_backend(&trio[N1]);
    trio_run_ms(3000);
    EXPECT(trio[N1].deaths == 0 && pg_is_open(&trio[N1])); /* the postmaster lived on */
    EXPECT(pg_shows(&trio[N1], w->commit) && !w->told);
}

TRIO_TEST(test_waiter_ends_without_success_when_its_postmaster_is_killed)
{
    trio_start("__fence__");
    struct wish *w = trio_write(N1);

    trio_run_ms(500);
    pg_kill_postmaster(&trio[N1]);
    trio_run_ms(5);
    EXPECT(pg_waits_count(&trio[N1]) == 0 && !w->told);
}

/* A commit whose flush takes long, and a slow walsender: the client is told by an instance without a head. */
TRIO_TEST(test_orphans_acknowledge)
{
    trio_start("ANY 1 (n2, n3)");
    int acknowledged = 0;

    for (int i = 0; i < 40 && !acknowledged; i++) {
        struct wish *w = trio_write(N1);
        trio_run_ms(2 + i % 4);
        pg_kill_postmaster(&trio[N1]);
        bool before = w->told;
        trio_run_ms(3000);
        acknowledged += w->told && !before;
        EXPECT(!pg_backends_live(&trio[N1]));
        pg_start(&trio[N1]);
        for (int k = 0; k < 100 && !(trio_streams(N2) && trio_streams(N3) && pg_is_open(&trio[N1])); k++)
            trio_run_ms(100);
    }
    EXPECT(acknowledged > 0);
}

TRIO_TEST(test_commits_wait_from_the_start_on)
{
    trio_start("__fence__");
    for (int i = 0; i < 10; i++) {
        pg_kill(&trio[N1]);
        pg_start(&trio[N1]);
        while (!pg_is_open(&trio[N1]))
            trio_run_ms(1);
        trio[N1].sync.known = trio[N1].sync.defined = false; /* the checkpointer is late */
        struct wish *w = trio_write(N1);
        trio_run_ms(2000);
        EXPECT(!w->told);
    }
}

TRIO_TEST(test_first_commits_of_older_versions_do_not_wait)
{
    truth_set(TRUTH_NAMES_MISSED_AT_START, true);
    trio_start("__fence__");
    trio[N1].sync.known = trio[N1].sync.defined = false;
    struct wish *w = trio_write(N1);

    trio_run_ms(100);
    EXPECT(w->told);
}

TRIO_TEST(test_first_list_holds_nothing_before_the_checkpointer_has_read_it)
{
    trio_start("");
    proc_stop(&trio[N2].backends);
    proc_stop(&trio[N3].backends);
    trio_names(N1, "ANY 1 (n2, n3)");
    EXPECT(pg_conf_load(&trio[N1], &trio[N1].sessions_conf));
    EXPECT(trio[N1].sessions_conf.conf->names);
    struct wish *w = trio_write(N1);

    trio_run_ms(100);
    EXPECT(w->told);
    trio_reload(N1);
    trio_run_ms(5000);
    w = trio_write(N1);
    trio_run_ms(2000);
    EXPECT(!w->told);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists_are_read_as_postgresql_reads_them),
        cmocka_unit_test(test_what_is_no_list_is_refused),
        cmocka_unit_test(test_names_are_compared_without_case),
        cmocka_unit_test(test_commit_is_acknowledged_when_one_of_any_1_has_flushed),
        cmocka_unit_test(test_any_2_waits_for_both),
        cmocka_unit_test(test_first_1_waits_for_the_first_alone),
        cmocka_unit_test(test_under_the_fence_nothing_is_acknowledged_though_all_flush),
        cmocka_unit_test(test_list_that_comes_back_releases_at_the_next_reply),
        cmocka_unit_test(test_reload_alone_releases_where_that_is_switched_off),
        cmocka_unit_test(test_names_taken_away_acknowledge_who_waits),
        cmocka_unit_test(test_lost_override_falls_back_to_the_fence_and_releases_nobody),
        cmocka_unit_test(test_two_walsenders_of_one_name_acknowledge_as_two),
        cmocka_unit_test(test_two_walsenders_of_one_name_count_once_where_that_is_switched_off),
        cmocka_unit_test(test_slot_with_an_owner_refuses_the_second_walsender),
        cmocka_unit_test(test_tool_under_a_cohort_name_counts_and_the_agents_own_does_not),
        cmocka_unit_test(test_slot_that_is_lost_serves_nobody_and_the_wal_is_gone),
        cmocka_unit_test(test_walsender_releases_by_the_list_that_it_has_read),
        cmocka_unit_test(test_walsender_that_tells_of_a_later_record_has_read_the_new_list),
        cmocka_unit_test(test_what_was_released_stays_so),
        cmocka_unit_test(test_cancelled_wait_is_success_with_a_warning),
        cmocka_unit_test(test_fast_stop_cuts_who_waits_and_the_row_is_there),
        cmocka_unit_test(test_restart_after_a_crash_shows_what_nobody_was_told_of),
        cmocka_unit_test(test_waiter_ends_without_success_when_its_postmaster_is_killed),
        cmocka_unit_test(test_orphans_acknowledge),
        cmocka_unit_test(test_commits_wait_from_the_start_on),
        cmocka_unit_test(test_first_commits_of_older_versions_do_not_wait),
        cmocka_unit_test(test_first_list_holds_nothing_before_the_checkpointer_has_read_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
