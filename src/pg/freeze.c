#include "pg/freeze.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mutant.h"
#include "base/str.h"
#include "io/loop.h"
#include "io/process.h"
#include "pg/datadir.h"
#include "pg/file.h"
#include "pg/instance.h"
#include "pg/names.h"
#include "pg/reload.h"
#include "pg/sql.h"
#include "pg/wal_file.h"

enum {
    LOOK_EVERY_MS = 1, /* clients wait for the failover */
    LOOKS = 2,
    CUT_OFF_MS = 25, /* time for the better proof, which comes within a few milliseconds if it can */
};

struct freeze_job {
    struct loop *loop;
    struct pg_instance *instance;
    pid_t postmaster;
    uint32_t noted_timeline;
    msec began_ms, budget_ms;

    struct reload_job *reload;
    struct sql *sql;         /* the session that proved the reload */
    struct sql *replication; /* connected in the meantime, for the timeline */
    bool identify_due;       /* as soon as it is not busy */
    struct loop_timer timer, deadline;

    bool promote_seen;  /* there was a promote file, now or at an earlier freeze */
    bool streamed;      /* a receiver streamed after the reload */
    bool resumed;       /* a paused replay was told to go on */
    int waiting, quiet; /* looks at the end of WAL; without a receiver */
    msec quiet_since_ms;
    uint64_t segment_size, page_size;
    struct freeze_result result;
    struct err last; /* what stands in the way */
    bool telling;
    freeze_fn *fn;
    void *arg;
};

static void job_free(struct freeze_job *j)
{
    reload_cancel(j->reload);
    sql_free(j->sql);
    sql_free(j->replication);
    loop_timer_clear(&j->timer);
    loop_timer_clear(&j->deadline);
    pg_instance_unref(j->instance);
    free(j);
}

void freeze_cancel(struct freeze_job *j)
{
    if (j && !j->telling)
        job_free(j);
}

static void tell(struct freeze_job *j)
{
    struct freeze_result result = j->result;

    result.took_ms = loop_clock_ms() - j->began_ms;
    result.promote_seen = j->promote_seen;
    if (result.proof == FREEZE_NOT_SHOWN) {
        result.err = j->last;
        (void)err_wrap(&result.err, "freezing the standby");
    }
    j->telling = true;
    j->fn(&result, j->arg);
    job_free(j);
}

static void tell_failure(struct freeze_job *j)
{
    j->result = (struct freeze_result){0};
    tell(j);
}

/* A proof stands, also where its timeline could not be told in time. */
static void deadline_over(void *arg)
{
    struct freeze_job *j = arg;

    if (j->result.proof == FREEZE_NOT_SHOWN)
        tell_failure(j);
    else
        tell(j);
}

/* ---- the position ---- */

/*
 * What was received on the timeline that replay is on the server counts as its position (xlog.c or walsender.c,
 * GetStandbyFlushRecPtr), else it says where replay is.
 */
static void judge_timeline(struct freeze_job *j, uint32_t replayed_tli, lsn identified)
{
    struct freeze_result *r = &j->result;
    struct wal_place place = {.data_dir = j->instance->data_dir,
                              .segment_size = j->segment_size,
                              .page_size = (uint32_t)j->page_size,
                              .replayed_tli = replayed_tli,
                              .replayed = r->replay};

    if (!replayed_tli)
        return;
    if (r->receive <= r->replay || identified >= r->receive) {
        r->timeline = replayed_tli;
        return;
    }
    switch (wal_held_above(&place, r->receive, &r->timeline)) {
    case WAL_HELD:
    case WAL_HELD_UNSURE:
        break;
    case WAL_HELD_NOT: /* of a timeline that replay has left since, by an archive: no part of its history */
        if (j->noted_timeline <= replayed_tli) {
            r->position = r->replay;
            r->timeline = replayed_tli;
        }
        break;
    }
}

static void identify(struct freeze_job *j);

static void identified(const struct sql_result *result, void *arg)
{
    struct freeze_job *j = arg;
    int64_t tli = 0;
    lsn at = 0;

    if (j->result.proof == FREEZE_NOT_SHOWN) /* of the time before: it was for the connection */
        return;
    if (j->identify_due) {
        j->identify_due = false;
        identify(j);
        return;
    }
    /* What cannot be told is told as unknown: the standby is frozen all the same. */
    if (result->status == SQL_DONE && result->rows[0].row_count == 1 && result->rows[0].column_count >= 3 &&
        str_to_int(sql_cell(&result->rows[0], 0, 1), 1, UINT32_MAX, &tli))
        (void)!lsn_parse(sql_cell(&result->rows[0], 0, 2), &at);
    judge_timeline(j, (uint32_t)tli, at);
    tell(j);
}

static void identify(struct freeze_job *j)
{
    static const struct sql_statement statement = {.text = "IDENTIFY_SYSTEM"};

    if (sql_busy(j->replication))
        j->identify_due = j->result.proof != FREEZE_NOT_SHOWN;
    else
        sql_run(j->replication, &statement, 1, j->budget_ms, identified, j);
}

static void frozen(struct freeze_job *j, enum freeze_proof proof)
{
    struct freeze_result *r = &j->result;

    CHECK(proof != FREEZE_NOT_SHOWN);
    r->position = r->receive > r->replay && !MUTANT(REPLAYED_ONLY) ? r->receive : r->replay;
    r->proof = proof;
    identify(j);
}

/* ---- looks ---- */

enum column {
    COL_RECOVERY,
    COL_RECEIVER_PID,
    COL_RECEIVER_STATUS,
    COL_STARTUP_WAITS,
    COL_RECEIVE,
    COL_REPLAY,
    COL_PAUSED,
    COL_SEGMENT_SIZE,
    COL_PAGE_SIZE,
};

static void look(void *arg);

static void look_again(struct freeze_job *j)
{
    loop_timer_set(&j->timer, loop_clock_ms() + LOOK_EVERY_MS);
}

/* Refused with 55000 once a promotion has been triggered; where nothing is paused it changes nothing. */
static const struct sql_statement resume_replay = {.text = "SELECT pg_wal_replay_resume()"};

static void fail(struct freeze_job *j, const struct sql_result *result)
{
    j->last = result->err;
    tell_failure(j);
}

static void resumed(const struct sql_result *result, void *arg)
{
    if (result->status == SQL_DONE)
        look_again(arg);
    else
        fail(arg, result);
}

static void resume(struct freeze_job *j)
{
    j->resumed = true;
    sql_run(j->sql, &resume_replay, 1, j->budget_ms, resumed, j);
}

static void not_promoted(const struct sql_result *result, void *arg)
{
    if (result->status == SQL_DONE)
        frozen(arg, FREEZE_CUT_OFF);
    else
        fail(arg, result);
}

/* A replay that is paused has no promotion before it: the request would have ended the pause. */
static void cut_off(struct freeze_job *j, bool paused)
{
    if (paused)
        frozen(j, FREEZE_CUT_OFF);
    else
        sql_run(j->sql, &resume_replay, 1, j->budget_ms, not_promoted, j);
}

/* By its number and its parent: the process may have gone, and its number to another. */
static void end_receiver(struct freeze_job *j, pid_t receiver)
{
    struct process_stat stat;

    if (receiver > 1 && process_stat_read(receiver, &stat) && stat.parent == j->postmaster)
        (void)kill(receiver, SIGTERM); /* the next look tells what came of it */
}

static void receiver_there(struct freeze_job *j, pid_t receiver, const char *status)
{
    j->waiting = j->quiet = 0;
    if (str_eq(status, "streaming"))
        j->streamed = true;
    (void)err_set(&j->last, ERR_TIMEOUT, "walreceiver %d is still there", (int)receiver);
    end_receiver(j, receiver);
    look_again(j);
}

/* What the startup process waits for where it is blocked, for the message; the rest says enough. */
static void receiver_gone(struct freeze_job *j, const char *waits_for, bool paused)
{
    bool at_the_end = str_eq(waits_for, "RecoveryRetrieveRetryInterval");

    if (!j->quiet++)
        j->quiet_since_ms = loop_clock_ms();
    j->waiting = at_the_end ? j->waiting + 1 : 0;
    bool is_cut_off =
        j->streamed && !j->promote_seen && j->quiet >= LOOKS && loop_clock_ms() - j->quiet_since_ms >= CUT_OFF_MS;
    (void)err_set(&j->last, ERR_TIMEOUT,
                  "there is no walreceiver, but the startup process is not seen at the end of WAL (%s)",
                  waits_for ? waits_for : "it is busy");
    if (j->waiting >= LOOKS)
        frozen(j, FREEZE_AT_THE_END);
    else if (is_cut_off)
        cut_off(j, paused);
    else if (paused && !at_the_end && !j->streamed && !j->resumed)
        resume(j);
    else
        look_again(j);
}

static lsn cell_lsn(const struct sql_rows *rows, enum column column)
{
    lsn at = 0;

    return lsn_parse(sql_cell(rows, 0, (int)column), &at) ? at : 0;
}

static int64_t cell_number(const struct sql_rows *rows, enum column column)
{
    int64_t number = 0;

    return str_to_int(sql_cell(rows, 0, (int)column), 0, INT64_MAX, &number) ? number : 0;
}

static void looked(const struct sql_result *result, void *arg)
{
    struct freeze_job *j = arg;
    const struct sql_rows *rows = result->rows;

    if (result->status != SQL_DONE) {
        fail(j, result);
        return;
    }
    if (!str_eq(sql_cell(rows, 0, COL_RECOVERY), "t")) {
        (void)err_set(&j->last, ERR_CONFLICT, "it has left recovery");
        tell_failure(j);
        return;
    }
    j->segment_size = (uint64_t)cell_number(rows, COL_SEGMENT_SIZE);
    j->page_size = (uint64_t)cell_number(rows, COL_PAGE_SIZE);
    j->result.receive = cell_lsn(rows, COL_RECEIVE);
    j->result.replay = cell_lsn(rows, COL_REPLAY);
    pid_t receiver = (pid_t)cell_number(rows, COL_RECEIVER_PID);
    j->streamed |= MUTANT(RECEIVER_LEFT);
    if (MUTANT(FREEZE_BY_RELOAD))
        frozen(j, FREEZE_AT_THE_END);
    else if (receiver && !MUTANT(RECEIVER_LEFT))
        receiver_there(j, receiver, sql_cell(rows, 0, COL_RECEIVER_STATUS));
    else
        receiver_gone(j, sql_cell(rows, 0, COL_STARTUP_WAITS), str_eq(sql_cell(rows, 0, COL_PAUSED), "t"));
}

/* The positions are computed behind the join, after the processes were looked at: no receiver moves them any more. */
static void look(void *arg)
{
    static const struct sql_statement question = {
        .text = "SELECT r.recovery, a.receiver, w.status, a.startup,"
                " CASE WHEN r.recovery THEN pg_last_wal_receive_lsn() END,"
                " CASE WHEN r.recovery THEN pg_last_wal_replay_lsn() END,"
                " CASE WHEN r.recovery THEN pg_is_wal_replay_paused() END,"
                " pg_size_bytes(current_setting('wal_segment_size')), current_setting('wal_block_size')"
                " FROM (SELECT pg_is_in_recovery() AS recovery) r,"
                " (SELECT max(pid) FILTER (WHERE backend_type = 'walreceiver') AS receiver,"
                "   max(wait_event) FILTER (WHERE backend_type = 'startup') AS startup"
                "   FROM pg_stat_get_activity(NULL)) a"
                " LEFT JOIN pg_stat_get_wal_receiver() w ON w.pid = a.receiver"};
    struct freeze_job *j = arg;

    sql_run(j->sql, &question, 1, j->budget_ms, looked, j);
}

/* ---- the beginning ---- */

static void loaded(const struct reload_result *result, void *arg)
{
    struct freeze_job *j = arg;

    j->reload = NULL;
    if (!result->proved) {
        j->last = result->err;
        tell_failure(j);
        return;
    }
    j->sql = result->take_sql;
    look(j);
}

static bool write_files(struct freeze_job *j, const struct conf_input *in, struct err *err)
{
    AUTO(cstr) char *trigger = str_fmt("%s/promote", in->instance->data_dir);
    struct findings findings = {0};
    struct conf_result ignored;

    j->promote_seen |= file_exists(trigger);
    bool good = datadir_clear_promote(in->instance->data_dir, err) && names_remove(in->instance, err) &&
                conffile_write(in, &ignored, &findings, err);
    findings_deinit(&findings); /* told with every other writing of these files */
    return good;
}

static struct reload_job *reload(struct freeze_job *j, const struct conf_input *in)
{
    const char *file = in->instance->config_file;
    struct reload_want wants[RELOAD_WANTS_MAX] = {
        {.name = "primary_conninfo", .value = "", .file = file},
        {.name = "restore_command", .value = "", .file = file},
    };
    size_t count = 2;

    if (in->names_floor)
        wants[count++] =
            (struct reload_want){.name = "synchronous_standby_names", .value = in->names_floor, .file = file};
    return reload_start(j->loop, j->instance, j->postmaster, wants, count, j->budget_ms, loaded, j);
}

bool freeze_start(struct loop *l, const struct freeze_spec *spec, freeze_fn *fn, void *arg, struct freeze_job **ret_job,
                  struct err *err)
{
    struct sql_target replication = pg_instance_local_replication(spec->instance);
    struct freeze_job *j = mem_zero(1, sizeof(*j));

    CHECK(spec->input->frozen);
    CHECK(spec->postmaster > 1);
    j->loop = l;
    j->instance = pg_instance_ref(spec->instance);
    j->postmaster = spec->postmaster;
    j->noted_timeline = spec->noted_timeline;
    j->promote_seen = spec->promote_seen;
    j->began_ms = loop_clock_ms();
    j->budget_ms = spec->budget_ms;
    j->fn = fn;
    j->arg = arg;
    (void)err_set(&j->last, ERR_TIMEOUT, "no answer in %lld ms", (long long)spec->budget_ms);
    loop_timer_init(&j->timer, l, look, j);
    loop_timer_init(&j->deadline, l, deadline_over, j);
    if (!write_files(j, spec->input, err)) {
        job_free(j);
        return err_wrap(err, "freezing the standby");
    }
    j->reload = reload(j, spec->input);
    j->replication = sql_new(l, &replication);
    identify(j);
    loop_timer_set(&j->deadline, j->began_ms + spec->budget_ms);
    *ret_job = j;
    return true;
}
