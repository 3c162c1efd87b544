/* Freezing a standby, on real servers: what is a proof, what is none, how long it takes. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "io/child.h"
#include "pair.h"
#include "pg/bin.h"
#include "pg/file.h"
#include "pg/freeze.h"
#include "pg/passfile.h"

enum { ROUNDS = 50, MEDIAN_MAX_MS = 400, CANCEL_MAX_MS = 40 };

struct act {
    bool done;
    struct freeze_result freeze;
};

static void froze(const struct freeze_result *result, void *arg)
{
    struct act *a = arg;

    a->done = true;
    a->freeze = *result;
}

static struct live *standby = &n2;

static struct freeze_result freeze_as(struct freeze_spec spec)
{
    struct conf_input in = {
        .instance = standby->config.instance, .role = CONF_STANDBY, .primary_conninfo = "host=nobody"};
    struct act a = {0};
    struct freeze_job *job;
    struct err err = {0};

    conffile_hold(&in, &under_promise);
    spec.instance = standby->config.instance;
    spec.input = &in;
    spec.postmaster = standby->pid;
    if (!freeze_start(l, &spec, froze, &a, &job, &err))
        fail_msg("%s", err.text);
    live_wait(l, &a.done, "the freeze");
    return a.freeze;
}

static struct freeze_result freeze(void)
{
    return freeze_as((struct freeze_spec){.budget_ms = BUDGET_MS});
}

static struct freeze_result must_freeze(enum freeze_proof proof)
{
    struct freeze_result r = freeze();

    if (r.proof == FREEZE_NOT_SHOWN)
        fail_msg("%s", r.err.text);
    assert_int_equal(r.proof, proof);
    return r;
}

static void no_receiver_comes(void)
{
    msec until_ms = loop_clock_ms() + HOLD_MS;

    while (loop_clock_ms() < until_ms) {
        AUTO(cstr)
        char *count = live_query(&n2, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walreceiver'");
        assert_string_equal(count, "0");
    }
}

static void load_over(const struct child_result *result, void *arg)
{
    (void)result;
    *(bool *)arg = true;
}

/* ---- freezes ---- */

static void must_be_frozen_at(const struct freeze_result *r)
{
    AUTO(cstr) char *flushed = live_query(&n1, "SELECT pg_current_wal_flush_lsn()");
    lsn theirs;

    assert_true(lsn_parse(flushed, &theirs));
    assert_true(r->position > 0 && r->position <= theirs);
    assert_true(r->position >= r->receive && r->position >= r->replay);
    assert_int_equal(r->timeline, 1);
    no_receiver_comes();
}

static void test_a_streaming_standby_is_frozen_and_acknowledges_nothing_more(void **state)
{
    struct client late;

    must_load("ANY 1 (n2)");
    a_commit_is_acknowledged();
    AUTO(cstr) char *acked = live_query(&n1, "SELECT pg_current_wal_flush_lsn()");
    lsn at;
    assert_true(lsn_parse(acked, &at));
    struct freeze_result r = must_freeze(FREEZE_AT_THE_END);
    assert_true(r.position >= at);
    must_be_frozen_at(&r);
    assert_false(r.promote_seen);
    client_start(&late, &n1, "INSERT INTO public.t VALUES (3)");
    assert_false(is_acknowledged_within(&late, HOLD_MS));
    /* Again, as for a coordinator whose answer was lost. */
    struct freeze_result again = must_freeze(FREEZE_AT_THE_END);
    assert_int_equal(again.position, r.position);
    thaw();
    assert_true(is_acknowledged_within(&late, 20000));
    client_end(&late);
    must_drop();
}

static void test_a_restart_of_a_frozen_standby_is_frozen_at_the_same_place(void **state)
{
    struct freeze_result r = must_freeze(FREEZE_AT_THE_END);

    live_stop(&n2, SIGINT);
    live_launch(&n2, CONF_STANDBY, NULL);
    live_query_until(&n2, "SELECT 1", "1"); /* a SIGHUP before that would end it */
    struct freeze_result again = must_freeze(FREEZE_AT_THE_END);
    assert_int_equal(again.receive, 0);
    assert_int_equal(again.position, r.replay);
    assert_int_equal(again.timeline, 1);
    thaw();
}

static void test_a_paused_replay_that_streams_is_cut_off_and_stays_paused(void **state)
{
    AUTO(cstr) char *paused = live_query(&n2, "SELECT pg_wal_replay_pause()");

    live_query_until(&n2, "SELECT pg_get_wal_replay_pause_state()", "paused");
    must_load("ANY 1 (n2)");
    a_commit_is_acknowledged(); /* received, not replayed */
    struct freeze_result r = must_freeze(FREEZE_CUT_OFF);
    assert_true(r.receive > r.replay);
    assert_int_equal(r.position, r.receive);
    must_be_frozen_at(&r);
    AUTO(cstr) char *still = live_query(&n2, "SELECT pg_get_wal_replay_pause_state()");
    assert_string_equal(still, "paused");
    must_drop();
    AUTO(cstr) char *resumed = live_query(&n2, "SELECT pg_wal_replay_resume()");
    no_receiver_comes(); /* it goes on to the end, and finds nobody to stream from */
    AUTO(cstr) char *lag = live_query(&n2, "SELECT pg_last_wal_receive_lsn() - pg_last_wal_replay_lsn()");
    assert_string_equal(lag, "0");
    thaw();
}

/* Its receiver has ended with the upstream: nothing tells where the startup process is, until it goes on. */
static void test_a_pause_without_a_receiver_is_lifted(void **state)
{
    live_stop(&n1, SIGINT);
    live_query_until(&n2, "SELECT count(*) FROM pg_stat_wal_receiver", "0");
    AUTO(cstr) char *paused = live_query(&n2, "SELECT pg_wal_replay_pause()");
    live_query_until(&n2, "SELECT pg_get_wal_replay_pause_state()", "paused");
    struct freeze_result r = freeze();
    live_start(&n1, NULL);
    write_files(&n1, CONF_PRIMARY, NULL, &floor_only);
    if (r.proof == FREEZE_NOT_SHOWN)
        fail_msg("%s", r.err.text);
    assert_int_equal(r.proof, FREEZE_AT_THE_END);
    AUTO(cstr) char *still = live_query(&n2, "SELECT pg_get_wal_replay_pause_state()");
    assert_string_equal(still, "not paused");
    thaw();
}

/* A query on the standby that replay waits for. */
static void make_conflict(struct client *query)
{
    must_load("");
    a_commit_is_acknowledged();
    level();
    client_start(query, &n2,
                 "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM public.t, pg_sleep(0);"
                 " SELECT pg_sleep(100)");
    live_query_until(&n2, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'", "1");
    AUTO(cstr) char *deleted = live_query(&n1, "DELETE FROM public.t");
    AUTO(cstr) char *vacuumed = live_query(&n1, "VACUUM public.t");
    assert_null(vacuumed);
    live_query_until(
        &n2, "SELECT wait_event LIKE 'RecoveryConflict%' FROM pg_stat_activity WHERE backend_type = 'startup'", "t");
}

static void test_a_recovery_conflict_that_streams_is_cut_off_without_a_cancel(void **state)
{
    struct client query;

    make_conflict(&query);
    must_load("ANY 1 (n2)");
    a_commit_is_acknowledged();
    struct freeze_result r = must_freeze(FREEZE_CUT_OFF);
    assert_true(r.receive > r.replay);
    assert_int_equal(r.position, r.receive);
    must_be_frozen_at(&r);
    assert_false(query.done);
    must_drop();
    client_end(&query);
    AUTO(cstr)
    char *ended =
        live_query(&n2, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
    no_receiver_comes();
    thaw();
}

static void test_a_recovery_conflict_without_a_receiver_is_not_shown(void **state)
{
    struct client query;

    make_conflict(&query);
    live_stop(&n1, SIGINT);
    live_query_until(&n2, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walreceiver'", "0");
    struct freeze_result r = freeze_as((struct freeze_spec){.budget_ms = SHORT_MS});
    live_start(&n1, NULL);
    write_files(&n1, CONF_PRIMARY, NULL, &floor_only);
    assert_int_equal(r.proof, FREEZE_NOT_SHOWN);
    assert_non_null(strstr(r.err.text, "RecoveryConflict"));
    assert_false(query.done);
    client_end(&query);
    AUTO(cstr)
    char *ended =
        live_query(&n2, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
    (void)must_freeze(FREEZE_AT_THE_END);
    thaw();
}

static void test_a_startup_process_that_is_stopped_is_cut_off(void **state)
{
    int startup = number(&n2, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'startup'");

    assert_true(startup > 0 && kill(startup, SIGSTOP) == 0);
    struct freeze_result r = freeze();
    no_receiver_comes();
    assert_int_equal(kill(startup, SIGCONT), 0);
    if (r.proof == FREEZE_NOT_SHOWN)
        fail_msg("%s", r.err.text);
    assert_int_equal(r.proof, FREEZE_CUT_OFF);
    no_receiver_comes();
    thaw();
}

/* A host that takes the connection and says nothing. */
static void test_a_receiver_that_connects_to_a_silent_peer_is_ended(void **state)
{
    assert_int_equal(kill(n1.pid, SIGSTOP), 0);
    int sender = number(&n2, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walreceiver'");
    assert_true(sender > 0 && kill(sender, SIGTERM) == 0);
    live_query_until(&n2,
                     "SELECT count(*) FROM pg_stat_activity a WHERE backend_type = 'walreceiver' AND NOT EXISTS"
                     " (SELECT FROM pg_stat_wal_receiver)",
                     "1");
    struct freeze_result r = freeze();
    no_receiver_comes();
    assert_int_equal(kill(n1.pid, SIGCONT), 0);
    if (r.proof == FREEZE_NOT_SHOWN)
        fail_msg("%s", r.err.text);
    assert_int_equal(r.proof, FREEZE_AT_THE_END);
    no_receiver_comes();
    thaw();
}

static void test_a_promote_file_goes_and_is_told(void **state)
{
    AUTO(cstr) char *path = data_file(&n2, "promote");

    config_spill(path, "");
    struct freeze_result r = must_freeze(FREEZE_AT_THE_END);
    assert_true(r.promote_seen);
    assert_false(file_exists(path));
    assert_int_equal(kill(n2.pid, SIGUSR1), 0); /* what would have fired it */
    spend(HOLD_MS);
    AUTO(cstr) char *recovery = live_query(&n2, "SELECT pg_is_in_recovery()");
    assert_string_equal(recovery, "t");
    thaw();
}

/* The request may have been seen before the file went: only the wait at the end of WAL tells that it was not. */
static void test_behind_a_promote_file_being_cut_off_is_no_proof(void **state)
{
    AUTO(cstr) char *paused = live_query(&n2, "SELECT pg_wal_replay_pause()");

    live_query_until(&n2, "SELECT pg_get_wal_replay_pause_state()", "paused");
    struct freeze_result r = freeze_as((struct freeze_spec){.budget_ms = SHORT_MS, .promote_seen = true});
    assert_int_equal(r.proof, FREEZE_NOT_SHOWN);
    assert_true(r.promote_seen);
    AUTO(cstr) char *resumed = live_query(&n2, "SELECT pg_wal_replay_resume()");
    thaw();
}

static void test_alter_system_does_not_keep_an_upstream(void **state)
{
    AUTO(cstr) char *conninfo = primary_conninfo(n2.config.instance, "127.0.0.1", n1.port);
    AUTO(cstr) char *quoted = sql_quote_literal(conninfo);
    AUTO(cstr) char *set = str_fmt("ALTER SYSTEM SET primary_conninfo = %s", quoted);
    AUTO(cstr) char *done = live_query(&n2, set);

    assert_null(done);
    (void)must_freeze(FREEZE_AT_THE_END);
    no_receiver_comes();
    thaw();
}

static void test_a_conninfo_that_overrides_is_no_freeze(void **state)
{
    AUTO(cstr) char *path = data_file(&n2, "postgresql.auto.conf");
    AUTO(cstr) char *before = config_slurp(path);
    AUTO(cstr) char *other = data_file(&n2, "other.conf");

    config_spill(other, "primary_conninfo = 'host=127.0.0.1'\n");
    config_spill(path, "include 'other.conf'\n");
    struct freeze_result r = freeze();
    assert_int_equal(r.proof, FREEZE_NOT_SHOWN);
    assert_non_null(strstr(r.err.text, "primary_conninfo is set to something else in"));
    assert_null(strstr(r.err.text, "127.0.0.1"));
    config_spill(path, before);
    thaw();
}

static void test_a_syntax_error_is_no_freeze(void **state)
{
    AUTO(cstr) char *path = data_file(&n2, "postgresql.auto.conf");
    AUTO(cstr) char *before = config_slurp(path);

    config_spill(path, "work_mem = \n");
    struct freeze_result r = freeze();
    assert_int_equal(r.proof, FREEZE_NOT_SHOWN);
    assert_non_null(strstr(r.err.text, "syntax error"));
    config_spill(path, before);
    thaw();
}

static void test_a_postmaster_that_does_not_move_is_not_frozen_in_time(void **state)
{
    assert_int_equal(kill(n2.pid, SIGSTOP), 0);
    struct freeze_result r = freeze_as((struct freeze_spec){.budget_ms = SHORT_MS});
    assert_int_equal(kill(n2.pid, SIGCONT), 0);
    assert_int_equal(r.proof, FREEZE_NOT_SHOWN);
    assert_true(r.took_ms >= SHORT_MS && r.took_ms < BUDGET_MS);
    thaw();
}

static void test_a_receiver_that_does_not_end_is_not_frozen(void **state)
{
    int receiver = number(&n2, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walreceiver'");

    assert_true(receiver > 0 && kill(receiver, SIGSTOP) == 0);
    struct freeze_result r = freeze_as((struct freeze_spec){.budget_ms = SHORT_MS});
    assert_int_equal(kill(receiver, SIGCONT), 0);
    assert_int_equal(r.proof, FREEZE_NOT_SHOWN);
    assert_non_null(strstr(r.err.text, "still there"));
    thaw();
}

/* At whatever moment: files are written, and nobody is told. */
static void test_a_cancelled_freeze_says_nothing_more(void **state)
{
    struct conf_input in = {.instance = n2.config.instance, .role = CONF_STANDBY};
    struct act a = {0};

    conffile_hold(&in, &under_promise);
    struct freeze_spec spec = {
        .instance = n2.config.instance, .input = &in, .postmaster = n2.pid, .budget_ms = BUDGET_MS};
    for (msec after_ms = 0; after_ms < CANCEL_MAX_MS; after_ms += 3) {
        struct freeze_job *job;
        assert_true(freeze_start(l, &spec, froze, &a, &job, NULL));
        msec until_ms = loop_clock_ms() + after_ms;
        while (!a.done && loop_clock_ms() < until_ms)
            loop_turn(l, 1);
        if (!a.done)
            freeze_cancel(job);
        a.done = false;
        write_files(&n2, CONF_STANDBY, &n1, &floor_only);
    }
    spend(HOLD_MS);
    assert_false(a.done);
    thaw();
}

static void test_a_primary_is_no_frozen_standby(void **state)
{
    struct conf_input in = {.instance = n1.config.instance, .role = CONF_PRIMARY};
    struct act a = {0};
    struct freeze_job *job;
    struct err err = {0};

    conffile_hold(&in, &under_promise);
    struct freeze_spec spec = {
        .instance = n1.config.instance, .input = &in, .postmaster = n1.pid, .budget_ms = BUDGET_MS};
    assert_true(freeze_start(l, &spec, froze, &a, &job, &err));
    live_wait(l, &a.done, "the freeze");
    assert_int_equal(a.freeze.proof, FREEZE_NOT_SHOWN);
    if (!strstr(a.freeze.err.text, "left recovery"))
        fail_msg("%s", a.freeze.err.text);
    write_files(&n1, CONF_PRIMARY, NULL, &floor_only);
}

/* ---- how long it takes ---- */

static int by_size(const void *a, const void *b)
{
    msec x = *(const msec *)a;
    msec y = *(const msec *)b;

    return (x > y) - (x < y);
}

static void test_fifty_freezes_under_load(void **state)
{
    AUTO(cstr) char *pgbench = str_fmt("%s/pgbench", n1.config.instance->bin->dir);
    AUTO(cstr) char *script = str_fmt("%s/load.sql", n1.folder);
    AUTO(cstr) char *host = str_fmt("%s/run", n1.folder);
    AUTO(cstr) char *port = str_fmt("%d", n1.port);
    const char *argv[] = {pgbench, "-n", "-f", script, "-c", "4",        "-T",       "600",
                          "-h",    host, "-p", port,   "-U", "postgres", "postgres", NULL};
    struct child_spec spec = {.argv = argv};
    msec took_ms[ROUNDS];
    int at_the_end = 0;
    struct child *load;
    bool load_ended = false;

    must_load("");
    config_spill(script, "INSERT INTO public.t SELECT generate_series(1, 20);\n");
    assert_true(child_start(l, &spec, load_over, &load_ended, &load, NULL));
    for (int i = 0; i < ROUNDS; i++) {
        spend(20);
        struct freeze_result r = freeze();
        if (r.proof == FREEZE_NOT_SHOWN)
            fail_msg("round %d: %s", i, r.err.text);
        assert_int_equal(r.timeline, 1);
        took_ms[i] = r.took_ms;
        at_the_end += r.proof == FREEZE_AT_THE_END;
        write_files(&n2, CONF_STANDBY, &n1, &floor_only);
        live_query_until(&n2, "SELECT status FROM pg_stat_wal_receiver", "streaming");
        assert_false(load_ended);
    }
    child_signal(load, SIGTERM);
    live_wait(l, &load_ended, "pgbench");
    qsort(took_ms, ROUNDS, sizeof(*took_ms), by_size);
    print_message("%d freezes under load: median %lld ms, 90%% %lld ms, worst %lld ms; %d at the end of WAL\n", ROUNDS,
                  (long long)took_ms[ROUNDS / 2], (long long)took_ms[ROUNDS * 9 / 10], (long long)took_ms[ROUNDS - 1],
                  at_the_end);
    assert_true(took_ms[ROUNDS / 2] <= MEDIAN_MAX_MS); /* typical is 15 to 80 where the machine is ours alone */
    must_drop();
}

/* ---- another timeline: n2 is promoted, n1 follows ---- */

static void test_the_position_is_on_the_timeline_that_was_received(void **state)
{
    thaw();
    live_stop(&n1, SIGINT);
    AUTO(cstr) char *trigger = data_file(&n2, "promote");
    config_spill(trigger, "");
    assert_int_equal(kill(n2.pid, SIGUSR1), 0);
    live_query_until(&n2, "SELECT pg_is_in_recovery()", "f");
    write_files(&n2, CONF_PRIMARY, NULL, &floor_only);
    live_launch(&n1, CONF_STANDBY, &n2);
    live_query_until(&n1, "SELECT received_tli FROM pg_stat_wal_receiver", "2");

    /* Received on the new timeline, replayed not even to its begin: pg_control and replay still say 1. */
    AUTO(cstr) char *paused = live_query(&n1, "SELECT pg_wal_replay_pause()");
    live_query_until(&n1, "SELECT pg_get_wal_replay_pause_state()", "paused");
    AUTO(cstr) char *rows = live_query(&n2, "SET synchronous_commit = local; INSERT INTO public.t VALUES (9)");
    AUTO(cstr) char *flushed = live_query(&n2, "SELECT pg_current_wal_flush_lsn()");
    AUTO(cstr) char *question = str_fmt("SELECT pg_last_wal_receive_lsn() >= '%s'", flushed);
    live_query_until(&n1, question, "t");

    standby = &n1;
    struct freeze_result r = freeze_as((struct freeze_spec){.budget_ms = BUDGET_MS, .noted_timeline = 2});
    if (r.proof == FREEZE_NOT_SHOWN)
        fail_msg("%s", r.err.text);
    assert_int_equal(r.timeline, 2);
    AUTO(cstr) char *control = live_query(&n1, "SELECT timeline_id FROM pg_control_checkpoint()");
    assert_string_equal(control, "1");
}

/* Asked for while the replay was paused, it has ended the pause, taken its file away, and met a conflict. */
static void test_a_promotion_that_waits_for_a_conflict_is_no_freeze(void **state)
{
    struct client query;
    AUTO(cstr) char *trigger = data_file(&n1, "promote");
    AUTO(cstr)
    char *local =
        live_query(&n2, "SET synchronous_commit = local; ALTER DATABASE postgres SET synchronous_commit = local");
    AUTO(cstr) char *resumed = live_query(&n1, "SELECT pg_wal_replay_resume()");

    write_files(&n1, CONF_STANDBY, &n2, &floor_only);
    live_query_until(&n1, "SELECT status FROM pg_stat_wal_receiver", "streaming");
    AUTO(cstr) char *rows = live_query(&n2, "INSERT INTO public.t VALUES (1000)");
    live_query_until(&n1, "SELECT count(*) FROM public.t WHERE i = 1000", "1");
    client_start(&query, &n1,
                 "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM public.t; SELECT pg_sleep(100)");
    live_query_until(&n1, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'", "1");
    AUTO(cstr) char *paused = live_query(&n1, "SELECT pg_wal_replay_pause()");
    live_query_until(&n1, "SELECT pg_get_wal_replay_pause_state()", "paused");
    AUTO(cstr) char *deleted = live_query(&n2, "DELETE FROM public.t");
    AUTO(cstr) char *vacuumed = live_query(&n2, "VACUUM public.t");
    AUTO(cstr) char *flushed = live_query(&n2, "SELECT pg_current_wal_flush_lsn()");
    AUTO(cstr) char *question = str_fmt("SELECT pg_last_wal_receive_lsn() >= '%s'", flushed);
    live_query_until(&n1, question, "t");
    config_spill(trigger, "");
    assert_int_equal(kill(n1.pid, SIGUSR1), 0);
    live_query_until(
        &n1, "SELECT wait_event LIKE 'RecoveryConflict%' FROM pg_stat_activity WHERE backend_type = 'startup'", "t");
    assert_false(file_exists(trigger));
    live_query_until(&n1, "SELECT status FROM pg_stat_wal_receiver", "streaming");

    struct freeze_result r = freeze();
    assert_int_equal(r.proof, FREEZE_NOT_SHOWN);
    assert_false(r.promote_seen);
    assert_non_null(strstr(r.err.text, "promotion"));
    client_end(&query);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_streaming_standby_is_frozen_and_acknowledges_nothing_more),
        cmocka_unit_test(test_a_restart_of_a_frozen_standby_is_frozen_at_the_same_place),
        cmocka_unit_test(test_a_paused_replay_that_streams_is_cut_off_and_stays_paused),
        cmocka_unit_test(test_a_pause_without_a_receiver_is_lifted),
        cmocka_unit_test(test_a_recovery_conflict_that_streams_is_cut_off_without_a_cancel),
        cmocka_unit_test(test_a_recovery_conflict_without_a_receiver_is_not_shown),
        cmocka_unit_test(test_a_startup_process_that_is_stopped_is_cut_off),
        cmocka_unit_test(test_a_receiver_that_connects_to_a_silent_peer_is_ended),
        cmocka_unit_test(test_a_promote_file_goes_and_is_told),
        cmocka_unit_test(test_behind_a_promote_file_being_cut_off_is_no_proof),
        cmocka_unit_test(test_alter_system_does_not_keep_an_upstream),
        cmocka_unit_test(test_a_conninfo_that_overrides_is_no_freeze),
        cmocka_unit_test(test_a_syntax_error_is_no_freeze),
        cmocka_unit_test(test_a_postmaster_that_does_not_move_is_not_frozen_in_time),
        cmocka_unit_test(test_a_receiver_that_does_not_end_is_not_frozen),
        cmocka_unit_test(test_a_cancelled_freeze_says_nothing_more),
        cmocka_unit_test(test_a_primary_is_no_frozen_standby),
        cmocka_unit_test(test_fifty_freezes_under_load),
        cmocka_unit_test(test_the_position_is_on_the_timeline_that_was_received),
        cmocka_unit_test(test_a_promotion_that_waits_for_a_conflict_is_no_freeze),
    };

    config_leave_root();
    return cmocka_run_group_tests(tests, start_pair, stop_pair);
}
