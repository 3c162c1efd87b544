/* Coming back: crashed and diverged primaries against a new one, on real servers. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/str.h"
#include "live.h"
#include "pg/bin.h"
#include "pg/datadir.h"
#include "pg/history.h"
#include "pg/incarnation.h"
#include "pg/names.h"
#include "pg/passfile.h"
#include "pg/promote.h"
#include "pg/rewind.h"

static struct loop *l;
static struct live n1, n2;

static int start_all(void **state)
{
    l = loop_new();
    live_new(&n1, l, "n1", NULL, NULL);
    live_new(&n2, l, "n2",
             "  parameters:\n    archive_mode: on\n    archive_command: test -d ../archive && cp %p ../archive/%f\n",
             NULL);
    live_bootstrap(&n1);
    live_clone(&n2, &n1);
    live_start(&n2, &n1);
    return 0;
}

static int stop_all(void **state)
{
    live_free(&n2);
    live_free(&n1);
    loop_free(l);
    return 0;
}

/* ---- helpers ---- */

struct judging {
    bool done;
    struct rewind_judgement found;
};

static void judged(const struct rewind_judgement *found, void *arg)
{
    struct judging *j = arg;

    j->done = true;
    j->found = *found;
}

static struct rewind_judgement judge(struct live *n, int port, const struct rewind_position *known)
{
    struct rewind_source source = {.host = "127.0.0.1", .port = port};
    struct judging j = {0};
    struct rewind_job *job;
    struct err err;

    if (!rewind_judge(l, n->config.instance, &source, known, 15000, judged, &j, &job, &err))
        fail_msg("%s", err.text);
    live_wait(l, &j.done, "the judgement");
    return j.found;
}

static void must_be(const struct rewind_judgement *found, enum rewind_verdict verdict)
{
    if (found->verdict != verdict)
        fail_msg("%s: %s", rewind_verdict_name(found->verdict), found->err.text);
}

struct recovery {
    bool done;
    enum rewind_outcome outcome;
    struct rewind_position position;
    struct err err;
};

static void recovered(enum rewind_outcome outcome, const struct rewind_position *position, const struct err *err,
                      void *arg)
{
    struct recovery *r = arg;

    r->done = true;
    r->outcome = outcome;
    r->position = *position;
    if (err)
        r->err = *err;
}

static struct recovery recover(struct live *n, enum rewind_recovery how)
{
    struct recovery r = {0};
    struct rewind_job *job;

    if (!rewind_recover(l, n->config.instance, how, 60000, recovered, &r, &job, &r.err)) {
        r.outcome = REWIND_FAILED_UNTOUCHED;
        return r;
    }
    live_wait(l, &r.done, "the recovery");
    return r;
}

struct rewinding {
    bool done;
    enum rewind_outcome outcome;
    struct err err;
    int64_t total_bytes;
};

static void rewound(enum rewind_outcome outcome, const struct err *err, void *arg)
{
    struct rewinding *r = arg;

    r->done = true;
    r->outcome = outcome;
    if (err)
        r->err = *err;
}

static struct conf_freeze freeze;
static bool promise_while_it_runs;

static void progressed(int64_t done_bytes, int64_t total_bytes, void *arg)
{
    struct rewinding *r = arg;

    (void)done_bytes;
    r->total_bytes = total_bytes;
    if (promise_while_it_runs)
        freeze = (struct conf_freeze){.frozen = true, .names_floor = NAMES_FENCE};
}

static struct rewinding rewind_to(struct live *n, int port)
{
    AUTO(cstr) char *conninfo = primary_conninfo(n->config.instance, "127.0.0.1", port);
    struct rewind_spec spec = {.instance = n->config.instance,
                               .source = {.host = "127.0.0.1", .port = port},
                               .primary_conninfo = conninfo,
                               .primary_slot_name = "some_slot",
                               .freeze = &freeze,
                               .progress = progressed};
    struct rewinding r = {0};
    struct rewind_job *job;

    if (!rewind_start(l, &spec, rewound, &r, &job, &r.err)) {
        r.outcome = REWIND_FAILED_UNTOUCHED;
        return r;
    }
    live_wait(l, &r.done, "pg_rewind");
    return r;
}

static struct datadir_state look(const struct live *n)
{
    struct datadir_state s;

    datadir_look(n->config.instance->data_dir, n->config.instance->state_dir, &s, NULL);
    return s;
}

static void insert(struct live *n)
{
    AUTO(cstr) char *failed = live_query(n, "INSERT INTO public.t SELECT generate_series(1, 1000)");

    assert_null(failed);
}

static void level(void)
{
    AUTO(cstr) char *at = live_query(&n1, "SELECT pg_current_wal_flush_lsn()");
    AUTO(cstr) char *question = str_fmt("SELECT pg_last_wal_replay_lsn() >= '%s'", at);

    live_query_until(&n2, question, "t");
}

static void promote(struct live *n)
{
    assert_true(promote_trigger(n->config.instance->data_dir, n->pid, NULL));
    live_query_until(n, "SELECT pg_is_in_recovery()", "f");
}

/* Timelines 3 and 4 belong to nodes that nobody has heard of since. */
static void promote_past_taken_numbers(struct live *n)
{
    const char *data = n->config.instance->data_dir;
    uint32_t newest = 0;
    AUTO(history) struct history *h = NULL;

    assert_false(promote_skip_to(data, 2, UINT32_MAX, NULL)); /* a number that nobody can have come to */
    assert_true(promote_skip_to(data, 2, 5, NULL));
    promote(n);
    assert_true(datadir_clear_promote(data, NULL));
    assert_true(history_newest(data, &newest, NULL));
    assert_int_equal(newest, 5);
    assert_true(history_load(data, 5, &h, NULL));
    assert_int_equal(h->count, 2);
    assert_int_equal(h->at[1].tli, 2);
    AUTO(cstr) char *skipped = str_fmt("%s/pg_wal/00000004.history", data);
    assert_true(file_exists(skipped)); /* others count upwards from their own timeline */
}

static void same_rows(void)
{
    AUTO(cstr) char *rows = live_query(&n1, "SELECT count(*) FROM public.t");

    live_query_until(&n2, "SELECT count(*) FROM public.t", rows);
}

/* ---- a primary that crashed where its successor took over ---- */

static void test_a_crashed_primary_must_be_recovered_before_it_is_judged(void **state)
{
    insert(&n1);
    level();
    live_stop(&n1, SIGKILL);
    struct rewind_judgement found = judge(&n1, n2.port, NULL);
    must_be(&found, REWIND_RECOVER_FIRST);
    /* Nobody is asked in vain: the upstream is still in recovery and nobody noticed. */
    struct rewind_position some = {.tli = 1, .end = 0x1000000};
    struct rewind_judgement asked = judge(&n1, n2.port, &some);
    must_be(&asked, REWIND_UNKNOWN);
    assert_true(asked.upstream_in_recovery);
}

static void test_quarantine_finds_the_end_without_writing_wal(void **state)
{
    struct recovery r = recover(&n1, REWIND_QUARANTINE);
    if (r.outcome != REWIND_DONE)
        fail_msg("%s", r.err.text);
    struct pg_control control = live_control(&n1);
    struct datadir_state s = look(&n1);
    AUTO(cstr) char *replay = live_query(&n2, "SELECT pg_last_wal_replay_lsn()");
    lsn theirs;

    assert_int_equal(r.position.tli, 1);
    assert_int_equal(control.state, PG_CONTROL_SHUT_DOWN_IN_RECOVERY);
    assert_int_equal(s.kind, DATADIR_VALID);
    assert_true(s.standby_signal);
    assert_int_equal(s.marker, DATADIR_MARK_NONE);
    assert_true(lsn_parse(replay, &theirs));
    assert_int_equal(r.position.end, theirs);

    /* Again: the same end, nothing was added. */
    struct recovery again = recover(&n1, REWIND_QUARANTINE);
    assert_int_equal(again.outcome, REWIND_DONE);
    assert_int_equal(again.position.end, r.position.end);

    promote(&n2);
    insert(&n2);
    struct rewind_judgement found = judge(&n1, n2.port, &r.position);
    must_be(&found, REWIND_NOT_NEEDED);
    assert_int_equal(found.upstream_tli, 2);
    assert_int_equal(found.fork_tli, 1);
    live_start(&n1, &n2);
    /* "streaming" is said before the new timeline's history has come. */
    AUTO(cstr) char *rows = live_query(&n2, "SELECT count(*) FROM public.t");
    live_query_until(&n1, "SELECT count(*) FROM public.t", rows);
}

/* ---- a crashed primary with WAL of its own ---- */

static void test_a_diverged_crashed_primary_is_rewound_and_follows(void **state)
{
    live_stop(&n1, SIGINT);
    insert(&n2); /* nobody else has these */
    AUTO(cstr) char *segment = live_query(&n2, "SELECT pg_walfile_name(pg_switch_wal())");
    insert(&n2);
    live_stop(&n2, SIGKILL);
    live_launch(&n1, CONF_STANDBY, &n2);
    live_query_until(&n1, "SELECT 1", "1");
    promote_past_taken_numbers(&n1);
    insert(&n1);

    struct rewind_judgement first = judge(&n2, n1.port, NULL);
    must_be(&first, REWIND_RECOVER_FIRST);
    AUTO(cstr) char *archive = str_fmt("%s/archive", n2.folder);
    AUTO(cstr) char *archived = str_fmt("%s/%s", archive, segment);
    assert_true(dir_make(archive, 0700, NULL));
    struct recovery r = recover(&n2, REWIND_QUARANTINE);
    if (r.outcome != REWIND_DONE)
        fail_msg("%s", r.err.text);
    assert_true(file_exists(archived)); /* while it was primary its archive was not there */
    struct rewind_judgement second = judge(&n2, n1.port, &r.position);
    must_be(&second, REWIND_NEEDED);
    assert_int_equal(second.our_tli, 2);
    assert_int_equal(second.upstream_tli, 5);
    assert_int_equal(second.fork_tli, 2);
    assert_true(second.fork_at < second.our_end);

    AUTO(cstr) char *checkpoint = live_query(&n1, "CHECKPOINT");
    assert_null(checkpoint);
    struct rewind_judgement third = judge(&n2, n1.port, &r.position);
    assert_true(third.upstream_checkpointed);
    struct rewinding w = rewind_to(&n2, n1.port);
    if (w.outcome != REWIND_DONE)
        fail_msg("%s", w.err.text);
    assert_true(w.total_bytes > 0);

    /*
     * pg_rewind took standby.signal away and brought the source's configuration: ours is back before the
     * marker went.
     */
    struct datadir_state s = look(&n2);
    assert_int_equal(s.kind, DATADIR_VALID);
    assert_true(s.standby_signal);
    AUTO(cstr) char *conf = config_slurp(n2.config.instance->config_file);
    AUTO(cstr) char *port = str_fmt("\nport = '%d'\n", n2.port);
    assert_non_null(strstr(conf, port));
    assert_non_null(strstr(conf, "application_name=n2"));
    assert_non_null(strstr(conf, "\nprimary_slot_name = 'some_slot'\n"));
    live_start(&n2, &n1);
    same_rows();
    live_query_until(&n2, "SELECT status FROM pg_stat_wal_receiver", "streaming");
}

/* ---- a primary that was stopped in good order, but too late ---- */

static void test_a_clean_shutdown_is_judged_by_its_last_record(void **state)
{
    /* Everything shipped: it follows. */
    level();
    live_stop(&n1, SIGINT);
    live_query_until(&n2, "SELECT count(*) FROM pg_stat_wal_receiver", "0");
    promote(&n2);
    struct rewind_judgement shipped = judge(&n1, n2.port, NULL);
    must_be(&shipped, REWIND_NOT_NEEDED);
    live_start(&n1, &n2);
    live_query_until(&n1, "SELECT status FROM pg_stat_wal_receiver", "streaming");

    /* A shutdown record alone is enough to part. */
    live_stop(&n1, SIGINT);
    live_stop(&n2, SIGINT);
    live_start(&n1, &n2);
    promote(&n1);
    struct rewind_judgement alone = judge(&n2, n1.port, NULL);
    must_be(&alone, REWIND_NEEDED);
    assert_true(alone.our_end >= alone.fork_at);
}

static void test_what_stands_in_the_way_of_a_rewind_is_named(void **state)
{
    struct live other = n2;
    AUTO(cstr) char *yaml = config_yaml("n2", n2.folder, n2.port, "  use_pg_rewind: false\n");

    other.config = config_make(yaml, "{}");
    struct rewind_judgement found = judge(&other, n1.port, NULL);
    must_be(&found, REWIND_IMPOSSIBLE);
    assert_non_null(strstr(found.err.text, "use_pg_rewind"));
    config_free(&other.config);
}

static void test_another_cluster_is_never_followed(void **state)
{
    struct live stranger;

    live_new(&stranger, l, "sx", NULL, NULL);
    live_bootstrap(&stranger);
    struct rewind_judgement found = judge(&n2, stranger.port, NULL);
    must_be(&found, REWIND_FOREIGN);
    live_free(&stranger);
    struct rewind_judgement gone = judge(&n2, stranger.port, NULL);
    must_be(&gone, REWIND_UNKNOWN);
    assert_non_null(strstr(gone.err.text, "refused"));
}

static void test_a_rewind_that_cannot_begin_changes_nothing(void **state)
{
    struct pg_control before = live_control(&n2);
    struct rewinding w = rewind_to(&n2, 1);
    struct pg_control after = live_control(&n2);
    struct datadir_state s = look(&n2);

    assert_int_equal(w.outcome, REWIND_FAILED_UNTOUCHED);
    assert_non_null(strstr(w.err.text, "refused"));
    assert_int_equal(s.marker, DATADIR_MARK_NONE);
    assert_int_equal(after.checkpoint, before.checkpoint);
}

/* A pg_rewind of ours that fails where the real one could. */
static struct rewinding rewind_by_script(const char *text)
{
    AUTO(cstr) char *path = str_fmt("%s/fake_rewind", n2.folder);
    AUTO(cstr) char *yaml = config_yaml("n2", n2.folder, n2.port, NULL);
    struct live other = n2;
    struct pg_bin *bin = pg_bin_copy(n2.config.instance->bin);
    struct err err;

    config_spill(path, text);
    assert_int_equal(chmod(path, 0755), 0);
    str_set(&bin->path[PG_REWIND], path);
    other.config = config_make(yaml, "{}");
    pg_instance_unref(other.config.instance);
    if (!pg_instance_new(other.config.settings, other.config.dynamic, bin, &other.config.instance, &err))
        fail_msg("%s", err.text);
    struct rewinding w = rewind_to(&other, n1.port);
    config_free(&other.config);
    return w;
}

static void test_a_rewind_that_fails_half_way_keeps_its_mark_and_can_be_repeated(void **state)
{
    struct rewinding early =
        rewind_by_script("#!/bin/sh\necho 'pg_rewind: error: could not open file \"pg_wal/x\"' >&2\nexit 1\n");
    assert_int_equal(early.outcome, REWIND_FAILED_UNTOUCHED);
    assert_non_null(strstr(early.err.text, "could not open file"));
    assert_int_equal(look(&n2).marker, DATADIR_MARK_NONE);

    /* What the real one needs in order to begin is what the real one has replaced when it is cut off. */
    AUTO(cstr)
    char *half = str_fmt("#!/bin/sh\necho 'pg_rewind: need to copy 5 MB' >&2\nrm -f %s/pg_wal/0*\nkill -9 $$\n",
                         n2.config.instance->data_dir);
    struct rewinding late = rewind_by_script(half);
    assert_int_equal(late.outcome, REWIND_FAILED);
    struct datadir_state s = look(&n2);
    assert_int_equal(s.kind, DATADIR_HALF);
    assert_int_equal(s.marker, DATADIR_MARK_REWIND);

    /* Half a rewind is not made whole by an attempt that did not begin. */
    struct rewinding again = rewind_to(&n2, 1);
    assert_int_equal(again.outcome, REWIND_FAILED_UNTOUCHED);
    assert_int_equal(look(&n2).marker, DATADIR_MARK_REWIND);

    /* Cut off behind its last write, it is done all the same: what is left to do is ours. */
    AUTO(cstr)
    char *whole = str_fmt("#!/bin/sh\n%s \"$@\" || exit\necho 'pg_rewind: need to copy 5 MB' >&2\nkill -9 $$\n",
                          n2.config.instance->bin->path[PG_REWIND]);
    struct rewinding real = rewind_by_script(whole);
    assert_int_equal(real.outcome, REWIND_FAILED);
    assert_non_null(strstr(real.err.text, "signal 9"));
    assert_true(look(&n2).backup_label);

    /* Not where the host has gone down since: pg_rewind syncs pg_control before all the rest. */
    AUTO(cstr) char *marker = str_fmt("%s/rewind.in-progress", n2.config.instance->state_dir);
    AUTO(cstr) char *marked = config_slurp(marker);
    config_spill(marker, "Since boot: 00000000-0000-0000-0000-000000000000\n");
    struct rewinding unsynced = rewind_by_script("#!/bin/sh\nexit 1\n");
    assert_int_equal(unsynced.outcome, REWIND_FAILED);
    assert_non_null(strstr(unsynced.err.text, "the host went down"));
    assert_int_equal(look(&n2).marker, DATADIR_MARK_REWIND);
    config_spill(marker, marked);

    struct rewinding rest = rewind_by_script("#!/bin/sh\nexit 1\n");
    if (rest.outcome != REWIND_DONE)
        fail_msg("%s", rest.err.text);
    assert_int_equal(look(&n2).kind, DATADIR_VALID);
    AUTO(cstr) char *kept = str_fmt("%s/rewind-wal", n2.config.instance->state_dir);
    assert_false(file_exists(kept));
    live_start(&n2, &n1);
    same_rows();
}

/* ---- single user, refusals, cancelling ---- */

static void test_a_promise_given_while_a_rewind_runs_binds_the_files_it_writes(void **state)
{
    AUTO(cstr) char *list = names_path(n2.config.instance);
    AUTO(cstr) char *incarnation = str_fmt("%s/%s", n2.config.instance->data_dir, INCARNATION_FILE);
    AUTO(cstr)
    char *script = str_fmt("#!/bin/sh\necho '1/2 kB (50%%) copied'\n"
                           "echo \"synchronous_standby_names = 'ANY 1 (n1)'\" > %s\necho 0123456789abcdef > %s\n",
                           list, incarnation);

    live_stop(&n2, SIGINT);
    uint64_t before = look(&n2).incarnation;
    assert_true(before != 0);
    promise_while_it_runs = true;
    struct rewinding r = rewind_by_script(script);
    promise_while_it_runs = false;
    freeze = (struct conf_freeze){0};
    if (r.outcome != REWIND_DONE)
        fail_msg("%s", r.err.text);
    AUTO(cstr) char *conf = config_slurp(n2.config.instance->config_file);
    assert_non_null(strstr(conf, "\nprimary_conninfo = ''\n"));
    assert_non_null(strstr(conf, "\nrestore_command = ''\n"));
    assert_non_null(strstr(conf, "\nsynchronous_standby_names = '__fence__'\n"));
    assert_false(file_exists(list)); /* the source's, as pg_rewind brings it */
    uint64_t after = look(&n2).incarnation;
    assert_true(after != 0 && after != before && after != 0x0123456789abcdefU);
    live_start(&n2, &n1);
    same_rows();
}

static void test_single_user_recovery_leaves_a_clean_standby(void **state)
{
    insert(&n1);
    level();
    live_stop(&n1, SIGKILL);
    struct recovery r = recover(&n1, REWIND_SINGLE_USER);
    if (r.outcome != REWIND_DONE)
        fail_msg("%s", r.err.text);
    struct pg_control control = live_control(&n1);
    assert_int_equal(control.state, PG_CONTROL_SHUT_DOWN);
    assert_true(look(&n1).standby_signal);
    assert_int_equal(look(&n1).marker, DATADIR_MARK_NONE);
    assert_int_equal(r.position.tli, 0);

    /* Its checkpoint is a divergence of its own. */
    promote(&n2);
    struct rewind_judgement found = judge(&n1, n2.port, NULL);
    must_be(&found, REWIND_NEEDED);
}

static void test_an_unfinished_restore_is_not_recovered(void **state)
{
    AUTO(cstr) char *label = str_fmt("%s/backup_label", n1.config.instance->data_dir);

    config_spill(label, "START WAL LOCATION: 0/1\n");
    struct recovery r = recover(&n1, REWIND_QUARANTINE);
    assert_int_equal(r.outcome, REWIND_FAILED_UNTOUCHED);
    assert_non_null(strstr(r.err.text, "backup_label"));
    assert_int_equal(look(&n1).marker, DATADIR_MARK_NONE);
    assert_true(file_remove(label, NULL));
}

static void test_a_recovery_that_cannot_work_says_what_the_server_said(void **state)
{
    AUTO(cstr) char *conf = str_fmt("%s/postgresql.base.conf", n1.config.instance->data_dir);
    AUTO(cstr) char *before = config_slurp(conf);

    config_spill(conf, "no_such_parameter_at_all = 1\n");
    struct recovery r = recover(&n1, REWIND_QUARANTINE);
    config_spill(conf, before);
    assert_int_equal(r.outcome, REWIND_FAILED_UNTOUCHED);
    assert_non_null(strstr(r.err.text, "no_such_parameter_at_all"));
    assert_int_equal(look(&n1).marker, DATADIR_MARK_NONE);
}

static void test_a_cancelled_recovery_leaves_the_directory_as_good_as_it_was(void **state)
{
    struct recovery r = {0};
    struct rewind_job *job;

    assert_true(rewind_recover(l, n1.config.instance, REWIND_QUARANTINE, 60000, recovered, &r, &job, NULL));
    for (int i = 0; i < 3; i++)
        loop_turn(l, 50);
    rewind_cancel(job);
    rewind_cancel(NULL);
    for (int i = 0; i < 10; i++)
        loop_turn(l, 50);
    assert_false(r.done);
    assert_int_equal(look(&n1).marker, DATADIR_MARK_NONE);
    assert_int_equal(look(&n1).kind, DATADIR_VALID);

    /* Killed at the wrong moment, the server leaves an empty lock file of its socket. */
    AUTO(cstr) char *folder = str_fmt("%s/quarantine", n1.config.instance->state_dir);
    AUTO(cstr) char *lock = str_fmt("%s/.s.PGSQL.5432.lock", folder);
    (void)mkdir(folder, 0700); /* it may be there still */
    config_spill(lock, "");
    struct recovery again = recover(&n1, REWIND_QUARANTINE);
    if (again.outcome != REWIND_DONE)
        fail_msg("%s", again.err.text);
    assert_int_equal(look(&n1).marker, DATADIR_MARK_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_crashed_primary_must_be_recovered_before_it_is_judged),
        cmocka_unit_test(test_quarantine_finds_the_end_without_writing_wal),
        cmocka_unit_test(test_a_diverged_crashed_primary_is_rewound_and_follows),
        cmocka_unit_test(test_a_clean_shutdown_is_judged_by_its_last_record),
        cmocka_unit_test(test_what_stands_in_the_way_of_a_rewind_is_named),
        cmocka_unit_test(test_another_cluster_is_never_followed),
        cmocka_unit_test(test_a_rewind_that_cannot_begin_changes_nothing),
        cmocka_unit_test(test_a_rewind_that_fails_half_way_keeps_its_mark_and_can_be_repeated),
        cmocka_unit_test(test_a_promise_given_while_a_rewind_runs_binds_the_files_it_writes),
        cmocka_unit_test(test_single_user_recovery_leaves_a_clean_standby),
        cmocka_unit_test(test_an_unfinished_restore_is_not_recovered),
        cmocka_unit_test(test_a_recovery_that_cannot_work_says_what_the_server_said),
        cmocka_unit_test(test_a_cancelled_recovery_leaves_the_directory_as_good_as_it_was),
    };

    config_leave_root();
    return cmocka_run_group_tests(tests, start_all, stop_all);
}
