/*
 * The list of synchronous standbys, the write fence, walsenders and the marker on real servers: what each proves, and
 * what it does not take for a proof.
 */
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
#include "pg/fence.h"
#include "pg/file.h"
#include "pg/hold.h"
#include "pg/marker.h"
#include "pg/names.h"
#include "pg/senders.h"

enum { CANCEL_MAX_MS = 30, RELEASE_MAX_MS = 1000 /* typical is 10; without the marker 10 s */ };

struct act {
    bool done;
    struct fence_result fence;
    lsn marker;
    struct err err;
};

static void fenced(const struct fence_result *result, void *arg)
{
    struct act *a = arg;

    a->done = true;
    a->fence = *result;
}

static struct fence_result fence(struct live *n)
{
    struct act a = {0};

    (void)fence_start(l, n->config.instance, n->pid, BUDGET_MS, fenced, &a);
    live_wait(l, &a.done, "the fence");
    return a.fence;
}

static void marked(lsn end, const struct err *err, void *arg)
{
    struct act *a = arg;

    a->done = true;
    a->marker = end;
    if (err)
        a->err = *err;
}

static lsn mark(term t)
{
    struct act a = {0};

    (void)marker_write(l, n1.config.instance, t, BUDGET_MS, marked, &a);
    live_wait(l, &a.done, "the marker");
    if (!a.marker)
        fail_msg("%s", a.err.text);
    return a.marker;
}

static bool is_listed(int pid)
{
    AUTO(cstr) char *question = str_fmt("SELECT count(*) FROM pg_stat_activity WHERE pid = %d", pid);

    return number(&n1, question) == 1;
}

/* ---- the list ---- */

static void test_a_list_is_loaded_and_dropped_with_proof(void **state)
{
    struct reload_result first = load_names("ANY 1 (n2)");

    if (!first.proved)
        fail_msg("%s", first.err.text);
    assert_true(first.loaded_us < first.connected_us);
    AUTO(cstr) char *shown = live_query(&n1, "SHOW synchronous_standby_names");
    assert_string_equal(shown, "ANY 1 (n2)");
    a_commit_is_acknowledged();

    struct reload_result second = drop_names(BUDGET_MS);
    if (!second.proved)
        fail_msg("%s", second.err.text);
    assert_true(second.loaded_us > first.connected_us);
    AUTO(cstr) char *path = names_path(n1.config.instance);
    assert_false(file_exists(path));
    nothing_is_acknowledged();
}

/* No list at all is one, explicitly: nobody is waited for. */
static void test_the_empty_list_is_a_list(void **state)
{
    must_load("");
    a_commit_is_acknowledged();
    must_drop();
}

static void test_alter_system_goes_before_it_can_override(void **state)
{
    must_load("ANY 1 (n2)");
    AUTO(cstr) char *set = live_query(&n1, "ALTER SYSTEM SET synchronous_standby_names = '*'");
    assert_null(set);
    must_drop();
    nothing_is_acknowledged();
    AUTO(cstr) char *path = data_file(&n1, "postgresql.auto.conf");
    AUTO(cstr) char *text = config_slurp(path);
    assert_null(strstr(text, "synchronous_standby_names"));
}

/* A line that is not taken away: it comes from a file that postgresql.auto.conf includes. */
static void test_an_override_is_found_and_named(void **state)
{
    AUTO(cstr) char *path = data_file(&n1, "postgresql.auto.conf");
    AUTO(cstr) char *before = config_slurp(path);
    AUTO(cstr) char *other = data_file(&n1, "other.conf");

    config_spill(other, "\nsynchronous_standby_names = '" NAMES_FENCE "'\n");
    config_spill(path, "include 'other.conf'\n");
    struct reload_result same = drop_names(BUDGET_MS);
    assert_false(same.proved); /* the right value, of a file that is none of ours */
    assert_non_null(strstr(same.err.text, "set to the same in"));
    assert_non_null(strstr(same.err.text, "other.conf line 2"));
    assert_non_null(strstr(same.err.text, "overrides our file"));
    config_spill(other, "synchronous_standby_names = '*'\n");
    struct reload_result another = drop_names(BUDGET_MS);
    assert_false(another.proved);
    assert_non_null(strstr(another.err.text, "something else"));
    config_spill(path, before);
    must_drop();
}

/* The reload applies nothing, and the old list stays in force. */
static void test_an_error_anywhere_in_the_files_is_no_proof(void **state)
{
    AUTO(cstr) char *path = data_file(&n1, "postgresql.auto.conf");
    AUTO(cstr) char *before = config_slurp(path);

    must_load("ANY 1 (n2)");
    config_spill(path, "work_mem = \n");
    msec began_ms = loop_clock_ms();
    struct reload_result r = drop_names(BUDGET_MS);
    assert_false(r.proved);
    assert_non_null(strstr(r.err.text, "postgresql.auto.conf line 1"));
    assert_non_null(strstr(r.err.text, "syntax error"));
    assert_true(loop_clock_ms() - began_ms < BUDGET_MS); /* waiting would not help */
    config_spill(path, "work_mem = 'much'\n");
    struct reload_result value = drop_names(BUDGET_MS);
    assert_false(value.proved);
    assert_non_null(strstr(value.err.text, "work_mem"));
    config_spill(path, before);
    must_drop();
}

static void test_what_waits_for_a_restart_is_no_error_of_the_reload(void **state)
{
    AUTO(cstr) char *set = live_query(&n1, "ALTER SYSTEM SET max_wal_senders = 20");
    assert_null(set);
    AUTO(cstr) char *other = live_query(&n1, "ALTER SYSTEM SET max_files_per_process = 900");
    assert_null(other);
    must_load("ANY 1 (n2)");
    must_drop();
    AUTO(cstr) char *reset = live_query(&n1, "ALTER SYSTEM RESET ALL");
    assert_null(reset);
}

static void test_a_postmaster_that_does_not_move_proves_nothing_in_time(void **state)
{
    assert_int_equal(kill(n1.pid, SIGSTOP), 0);
    msec began_ms = loop_clock_ms();
    struct reload_result r = drop_names(SHORT_MS);
    msec took_ms = loop_clock_ms() - began_ms;
    assert_int_equal(kill(n1.pid, SIGCONT), 0);
    assert_false(r.proved);
    assert_true(took_ms >= SHORT_MS && took_ms < BUDGET_MS);
    must_drop();
}

/* ---- the write fence ---- */

static void test_a_fence_ends_who_may_know_the_old_list_and_keeps_the_waiters(void **state)
{
    struct client waiter;

    must_load("ANY 1 (n2)");
    a_commit_is_acknowledged();
    int sender = number(&n1, "SELECT pid FROM pg_stat_replication WHERE application_name = 'n2'");
    assert_true(sender > 0);
    struct fence_result r = fence(&n1);
    if (!r.fenced)
        fail_msg("%s", r.err.text);
    assert_int_equal(r.timeline, 1);
    assert_false(is_listed(sender));

    client_start(&waiter, &n1, "INSERT INTO public.t VALUES (2)");
    assert_false(is_acknowledged_within(&waiter, HOLD_MS));
    live_query_until(&n1, "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'n2'", "1");
    assert_false(is_acknowledged_within(&waiter, HOLD_MS)); /* the new walsender has the floor */
    struct fence_result again = fence(&n1);
    if (!again.fenced)
        fail_msg("%s", again.err.text);
    assert_true(again.flushed > r.flushed); /* flushed here is not acknowledged */
    assert_false(waiter.done);

    must_load("ANY 1 (n2)");
    assert_true(is_acknowledged_within(&waiter, 20000));
    client_end(&waiter);
    must_drop();
}

static void test_a_walsender_that_does_not_end_is_no_fence(void **state)
{
    int sender = number(&n1, "SELECT pid FROM pg_stat_replication WHERE application_name = 'n2'");
    struct act a = {0};

    assert_true(sender > 0 && kill(sender, SIGSTOP) == 0);
    msec began_ms = loop_clock_ms();
    (void)fence_start(l, n1.config.instance, n1.pid, SHORT_MS, fenced, &a);
    live_wait(l, &a.done, "the fence");
    assert_false(a.fence.fenced);
    assert_non_null(strstr(a.fence.err.text, "did not end"));
    assert_true(loop_clock_ms() - began_ms < BUDGET_MS);
    assert_int_equal(kill(sender, SIGCONT), 0);
    struct fence_result r = fence(&n1);
    assert_true(r.fenced);
    thaw();
}

static void test_what_is_cancelled_says_nothing_more(void **state)
{
    struct act a = {0};

    for (msec after_ms = 0; after_ms < CANCEL_MAX_MS; after_ms += 2) {
        struct fence_job *fence = fence_start(l, n1.config.instance, n1.pid, BUDGET_MS, fenced, &a);
        struct act b = {0};
        struct marker_job *marker = marker_write(l, n1.config.instance, 7, BUDGET_MS, marked, &b);
        msec until_ms = loop_clock_ms() + after_ms;
        while (!a.done && !b.done && loop_clock_ms() < until_ms)
            loop_turn(l, 1);
        if (!a.done)
            fence_cancel(fence);
        if (!b.done)
            marker_cancel(marker);
        a.done = b.done = false;
        loop_turn(l, 1);
        assert_false(b.done);
    }
    spend(HOLD_MS);
    assert_false(a.done);
    thaw();
}

static void test_a_standby_has_no_write_fence(void **state)
{
    struct fence_result r = fence(&n2);

    assert_false(r.fenced);
    thaw();
}

static void sender_ended(const struct err *err, void *arg)
{
    struct act *a = arg;

    a->done = true;
    if (err)
        a->err = *err;
}

static void test_one_walsender_is_ended_by_pid_and_start(void **state)
{
    struct sql_target target = pg_instance_local(n1.config.instance, NULL);
    AUTO(sql) struct sql *sql = sql_new(l, &target);
    AUTO(pg_facts) struct pg_facts *facts = live_facts(&n1);
    struct act a = {0};
    struct act b = {0};

    assert_int_equal(facts->sender_count, 1);
    const struct pg_walsender *w = &facts->senders[0];
    assert_true(w->physical && w->started_us > 0);
    (void)senders_end_one(l, sql, w->pid, w->started_us + 1, BUDGET_MS, sender_ended, &a);
    live_wait(l, &a.done, "nobody's end");
    assert_int_equal(a.err.code, ERR_NONE);
    assert_true(is_listed(w->pid)); /* another process had that number */
    (void)senders_end_one(l, sql, w->pid, w->started_us, BUDGET_MS, sender_ended, &b);
    live_wait(l, &b.done, "the walsender's end");
    assert_int_equal(b.err.code, ERR_NONE);
    assert_false(is_listed(w->pid));
    thaw();
}

/* ---- who is who among walsenders ---- */

static struct pg_walsender *sender_named(struct pg_facts *facts, const char *name)
{
    for (size_t i = 0; i < facts->sender_count; i++) {
        if (str_eq(facts->senders[i].application_name, name))
            return &facts->senders[i];
    }
    return NULL;
}

static void receiver_ended(const struct child_result *result, void *arg)
{
    (void)result;
    *(bool *)arg = true;
}

static struct child *receive(const char *program, const char *name, const char *const *more, bool *ended)
{
    AUTO(cstr) char *path = str_fmt("%s/%s", n1.config.instance->bin->dir, program);
    AUTO(cstr)
    char *conninfo = str_fmt("--dbname=host=127.0.0.1 port=%d user=%s application_name=%s%s", n1.port,
                             str_eq(program, "pg_recvlogical") ? "postgres" : "replicator", name,
                             str_eq(program, "pg_recvlogical") ? " dbname=postgres" : "");
    const char *argv[12] = {path, conninfo};
    struct child *child;
    struct err err = {0};

    for (size_t i = 0; more[i]; i++)
        argv[2 + i] = more[i];
    struct child_spec spec = {.argv = argv};
    if (!child_start(l, &spec, receiver_ended, ended, &child, &err))
        fail_msg("%s", err.text);
    AUTO(cstr) char *question = str_fmt("SELECT count(*) FROM pg_stat_replication WHERE application_name = '%s'", name);
    live_query_until(&n1, question, "1");
    return child;
}

static void test_the_probe_tells_physical_from_logical_and_who_holds_which_slot(void **state)
{
    AUTO(cstr) char *folder = str_fmt("--directory=%s", n1.folder);
    AUTO(cstr) char *file = str_fmt("--file=%s/logical.out", n1.folder);
    const char *const physical[] = {folder, "--slot=kept", NULL};
    const char *const logical[] = {file, "--slot=decoded", "--start", NULL};
    bool a_ended = false;
    bool b_ended = false;

    AUTO(cstr) char *slot = live_query(&n1, "SELECT pg_create_physical_replication_slot('kept')");
    AUTO(cstr) char *level = live_query(&n1, "SHOW wal_level");
    bool can_decode = str_eq(level, "logical");
    struct child *a = receive("pg_receivewal", "N2", physical, &a_ended);
    struct child *b = NULL;
    if (can_decode) {
        AUTO(cstr)
        char *made = live_query(&n1, "SELECT pg_create_logical_replication_slot('decoded', 'test_decoding')");
        b = receive("pg_recvlogical", "n3", logical, &b_ended);
    }
    live_query_until(&n1, "SELECT active FROM pg_replication_slots WHERE slot_name = 'kept'", "t");
    AUTO(pg_facts) struct pg_facts *facts = live_facts(&n1);
    const struct pg_walsender *mine = sender_named(facts, "n2");
    const struct pg_walsender *twin = sender_named(facts, "N2");
    assert_true(mine && mine->physical && !mine->slot_name);
    assert_true(twin && twin->physical);
    assert_string_equal(twin->slot_name, "kept");
    assert_true(twin->started_us > mine->started_us);
    if (can_decode) {
        const struct pg_walsender *decoder = sender_named(facts, "n3");
        assert_true(decoder && !decoder->physical);
        assert_string_equal(decoder->slot_name, "decoded");
        child_signal(b, SIGTERM);
        live_wait(l, &b_ended, "pg_recvlogical");
    }
    child_signal(a, SIGTERM);
    live_wait(l, &a_ended, "pg_receivewal");
    live_query_until(&n1, "SELECT count(*) FROM pg_stat_replication", "1");
    AUTO(cstr) char *dropped = live_query(&n1, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots");
}

/* ---- the marker ---- */

static void test_a_marker_does_not_wait_under_the_fence_and_reaches_the_standby(void **state)
{
    char text[LSN_TEXT_MAX];

    must_drop();
    lsn end = mark(7);
    lsn next = mark(7);
    assert_true(next > end);
    AUTO(cstr)
    char *question = str_fmt("SELECT count(*) FROM pg_stat_replication WHERE application_name = 'n2'"
                             " AND flush_lsn >= '%s'",
                             lsn_text(next, text));
    live_query_until(&n1, question, "1");
    nothing_is_acknowledged();
}

/*
 * The load alone releases nobody before the next reply of a standby, which on an idle server may take
 * wal_receiver_status_interval (10 s here); the marker that is written after each load brings it at once.
 */
static void test_a_marker_after_the_list_releases_who_waits_on_an_idle_server(void **state)
{
    msec worst_ms = 0;

    for (int i = 0; i < 20; i++) {
        struct client waiting;
        struct act a = {0};

        must_drop();
        client_start(&waiting, &n1, "INSERT INTO public.t VALUES (7)");
        live_query_until(&n1, "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep'", "t");
        level(); /* all is flushed and replayed: no reply is due any more */
        spend(HOLD_MS / 3);
        must_load("ANY 1 (n2)");
        msec loaded_ms = loop_clock_ms();
        (void)marker_write(l, n1.config.instance, 7, BUDGET_MS, marked, &a);
        assert_true(is_acknowledged_within(&waiting, BUDGET_MS));
        msec took_ms = loop_clock_ms() - loaded_ms;
        worst_ms = took_ms > worst_ms ? took_ms : worst_ms;
        live_wait(l, &a.done, "the marker");
        client_end(&waiting);
    }
    print_message("released at the latest %lld ms after the list was proved\n", (long long)worst_ms);
    assert_true(worst_ms < RELEASE_MAX_MS);
    must_drop();
}

static void test_a_standby_writes_no_marker(void **state)
{
    struct act a = {0};

    (void)marker_write(l, n2.config.instance, 7, BUDGET_MS, marked, &a);
    live_wait(l, &a.done, "the marker");
    assert_int_equal(a.marker, 0);
    assert_int_equal(a.err.code, ERR_PG);
}

static struct act hold(msec budget_ms)
{
    struct act a = {0};

    (void)hold_prove(l, n1.config.instance, budget_ms, sender_ended, &a);
    live_wait(l, &a.done, "the commit that waits");
    return a;
}

/* ---- commits wait ---- */

static void test_a_commit_is_seen_to_wait_under_the_fence_and_ended(void **state)
{
    must_drop();
    struct act a = hold(BUDGET_MS);
    if (a.err.code)
        fail_msg("%s", a.err.text);
    live_query_until(&n1, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'", "0");
}

static void test_without_a_list_nothing_is_seen_to_wait(void **state)
{
    must_load("");
    live_query_until(&n1, "SELECT pg_logical_emit_message(true, 'test', 'it does not wait') IS NOT NULL", "t");
    struct act a = hold(SHORT_MS);
    assert_int_equal(a.err.code, ERR_TIMEOUT);
    assert_non_null(strstr(a.err.text, "came back at once"));
    must_drop();
}

/* The fence is loaded by everybody but the checkpointer, and holds nothing: neither is it one, nor is it shown. */
static void test_a_fence_that_the_checkpointer_has_not_read_is_none(void **state)
{
    struct act a = {0};

    must_load("");
    live_query_until(&n1, "SELECT pg_logical_emit_message(true, 'test', 'the checkpointer has it') IS NOT NULL", "t");
    pid_t checkpointer = number(&n1, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'");
    assert_true(checkpointer > 1 && kill(checkpointer, SIGSTOP) == 0);
    must_drop();
    a_commit_is_acknowledged();
    (void)fence_start(l, n1.config.instance, n1.pid, SHORT_MS, fenced, &a);
    live_wait(l, &a.done, "the fence");
    struct act held = hold(SHORT_MS);
    assert_int_equal(kill(checkpointer, SIGCONT), 0);
    assert_false(a.fence.fenced);
    assert_non_null(strstr(a.fence.err.text, "came back at once"));
    assert_int_equal(held.err.code, ERR_TIMEOUT);
    struct fence_result r = fence(&n1);
    if (!r.fenced)
        fail_msg("%s", r.err.text);
    nothing_is_acknowledged();
    thaw();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_list_is_loaded_and_dropped_with_proof),
        cmocka_unit_test(test_the_empty_list_is_a_list),
        cmocka_unit_test(test_alter_system_goes_before_it_can_override),
        cmocka_unit_test(test_an_override_is_found_and_named),
        cmocka_unit_test(test_an_error_anywhere_in_the_files_is_no_proof),
        cmocka_unit_test(test_what_waits_for_a_restart_is_no_error_of_the_reload),
        cmocka_unit_test(test_a_postmaster_that_does_not_move_proves_nothing_in_time),
        cmocka_unit_test(test_a_fence_ends_who_may_know_the_old_list_and_keeps_the_waiters),
        cmocka_unit_test(test_a_walsender_that_does_not_end_is_no_fence),
        cmocka_unit_test(test_what_is_cancelled_says_nothing_more),
        cmocka_unit_test(test_a_standby_has_no_write_fence),
        cmocka_unit_test(test_one_walsender_is_ended_by_pid_and_start),
        cmocka_unit_test(test_the_probe_tells_physical_from_logical_and_who_holds_which_slot),
        cmocka_unit_test(test_a_marker_does_not_wait_under_the_fence_and_reaches_the_standby),
        cmocka_unit_test(test_a_marker_after_the_list_releases_who_waits_on_an_idle_server),
        cmocka_unit_test(test_a_standby_writes_no_marker),
        cmocka_unit_test(test_a_commit_is_seen_to_wait_under_the_fence_and_ended),
        cmocka_unit_test(test_without_a_list_nothing_is_seen_to_wait),
        cmocka_unit_test(test_a_fence_that_the_checkpointer_has_not_read_is_none),
    };

    config_leave_root();
    return cmocka_run_group_tests(tests, start_pair, stop_pair);
}
