/* Where we end against what the upstream holds: follow, rewind, or neither. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "pg/bin.h"
#include "pg/history.h"
#include "pg/instance.h"
#include "pg/rewind_job.h"
#include "wire/conf/dynamic.h"
#include "wire/conf/settings.h"

static void verdict(struct rewind_job *j, enum rewind_verdict v)
{
    j->found.verdict = v;
    j->telling = true;
    j->judged(&j->found, j->arg);
    rewind_job_free(j);
}

static void unknown(struct rewind_job *j, const struct err *err)
{
    j->found.err = *err;
    (void)err_wrap(&j->found.err, "asking %s:%d", j->host, j->port);
    verdict(j, REWIND_UNKNOWN);
}

/* Why a rewind is not possible here; NULL: it is. */
static const char *obstacle(const struct rewind_job *j)
{
    if (!j->instance->dynamic->use_pg_rewind)
        return "postgresql.use_pg_rewind is off";
    if (!j->can_rewind)
        return "neither wal_log_hints nor data checksums were on here";
    if (!j->instance->bin->path[PG_REWIND])
        return "there is no program pg_rewind";
    return NULL;
}

static void compare(struct rewind_job *j, const struct history *theirs)
{
    struct rewind_judgement *f = &j->found;
    AUTO(history) struct history *ours = NULL;
    char end[LSN_TEXT_MAX];
    char fork[LSN_TEXT_MAX];
    char theirs_at[LSN_TEXT_MAX];

    (void)!history_load(j->instance->data_dir, j->end.tli, &ours, NULL); /* without it: by number alone */
    enum rewind_verdict v =
        rewind_compare(&j->end, ours, f->upstream_tli, f->upstream_lsn, theirs, &f->fork_tli, &f->fork_at);
    (void)err_set(&f->err, ERR_NONE, "we end at %s on timeline %u, %s:%d is at %s on timeline %u%s%s",
                  lsn_text(f->our_end, end), f->our_tli, j->host, j->port, lsn_text(f->upstream_lsn, theirs_at),
                  f->upstream_tli, f->fork_tli ? ", which parted from ours at " : "",
                  f->fork_tli ? lsn_text(f->fork_at, fork) : "");
    if (v == REWIND_IMPOSSIBLE)
        (void)err_wrap(&f->err, "%s",
                       f->our_tli == f->upstream_tli ? "it lost WAL that we have" : "no common timeline");
    if (v == REWIND_NEEDED && obstacle(j)) {
        (void)err_wrap(&f->err, "%s", obstacle(j));
        v = REWIND_IMPOSSIBLE;
    }
    verdict(j, v);
}

static void history_told(const struct sql_result *result, void *arg)
{
    struct rewind_job *j = arg;
    AUTO(history) struct history *theirs = NULL;
    struct err err = result->err;

    if (result->status != SQL_DONE ||
        !history_parse(j->found.upstream_tli, sql_cell(&result->rows[0], 0, 1), &theirs, &err)) {
        unknown(j, &err);
        return;
    }
    compare(j, theirs);
}

static void identified(const struct sql_result *result, void *arg)
{
    struct rewind_job *j = arg;
    struct rewind_judgement *f = &j->found;
    struct err err = result->err;
    int64_t tli;

    if (result->status != SQL_DONE) {
        unknown(j, &err);
        return;
    }
    const struct sql_rows *rows = &result->rows[0];
    if (!str_eq(sql_cell(rows, 0, 0), j->system_identifier)) {
        (void)err_set(&f->err, ERR_CONFLICT, "%s:%d has system identifier %s, we have %s", j->host, j->port,
                      sql_cell(rows, 0, 0), j->system_identifier);
        verdict(j, REWIND_FOREIGN);
        return;
    }
    if (!str_to_int(sql_cell(rows, 0, 1), 1, UINT32_MAX, &tli) || !lsn_parse(sql_cell(rows, 0, 2), &f->upstream_lsn)) {
        (void)err_set(&err, ERR_PG, "IDENTIFY_SYSTEM gave an answer we do not understand");
        unknown(j, &err);
        return;
    }
    f->upstream_tli = (uint32_t)tli;
    if (tli == 1) {
        AUTO(history) struct history *theirs = NULL;
        CHECK(history_parse(1, "", &theirs, NULL));
        compare(j, theirs);
        return;
    }
    char command[64];
    (void)snprintf(command, sizeof(command), "TIMELINE_HISTORY %u", f->upstream_tli);
    struct sql_statement question = {.text = command};
    sql_run(j->replication, &question, 1, rewind_job_left_ms(j), history_told, j);
}

static void ask_replication(struct rewind_job *j)
{
    static const struct sql_statement identify = {.text = "IDENTIFY_SYSTEM"};
    const struct pg_instance *i = j->instance;
    struct sql_target target = pg_instance_remote(i, &i->settings->postgresql.replication, j->host, j->port, true);

    j->replication = sql_new(j->loop, &target);
    sql_run(j->replication, &identify, 1, rewind_job_left_ms(j), identified, j);
}

static void asked(const struct sql_result *result, void *arg)
{
    struct rewind_job *j = arg;
    struct rewind_judgement *f = &j->found;
    struct err err = result->err;

    if (result->status == SQL_DENIED) {
        /* A pg_hba that lets in replication only: the timelines can be compared all the same. */
        ask_replication(j);
        return;
    }
    if (result->status != SQL_DONE) {
        unknown(j, &err);
        return;
    }
    f->upstream_in_recovery = str_eq(sql_cell(&result->rows[0], 0, 0), "t");
    f->upstream_checkpointed = str_eq(sql_cell(&result->rows[0], 0, 1), "t");
    if (f->upstream_in_recovery) {
        (void)err_set(&err, ERR_CONFLICT, "it is itself in recovery");
        unknown(j, &err);
        return;
    }
    ask_replication(j);
}

static void ask(struct rewind_job *j)
{
    static const struct sql_statement question = {
        .text = "SELECT pg_is_in_recovery(), CASE WHEN NOT pg_is_in_recovery() THEN"
                " ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint ="
                " (SELECT timeline_id FROM pg_control_checkpoint()) END"};
    struct sql_target target =
        pg_instance_remote(j->instance, pg_instance_rewind_user(j->instance), j->host, j->port, false);

    j->sql = sql_new(j->loop, &target);
    sql_run(j->sql, &question, 1, rewind_job_left_ms(j), asked, j);
}

static void control_known(const struct pg_control *control, const struct err *err, void *arg)
{
    struct rewind_job *j = arg;
    bool was_standby = false;

    j->control_job = NULL;
    if (!control) {
        j->found.err = *err;
        verdict(j, REWIND_UNKNOWN);
        return;
    }
    j->can_rewind = pg_control_can_rewind(control);
    str_copy(j->system_identifier, sizeof(j->system_identifier), control->system_identifier);
    if (!j->end.tli) {
        if (!pg_control_end(control, &j->end.tli, &j->end.at, &was_standby)) {
            (void)err_set(&j->found.err, ERR_CONFLICT, "our data directory was not shut down cleanly (%s)",
                          control->state_text);
            verdict(j, REWIND_RECOVER_FIRST);
            return;
        }
        j->end.record_start = !was_standby;
    }
    j->found.our_tli = j->end.tli;
    j->found.our_end = j->end.at;
    ask(j);
}

bool rewind_judge(struct loop *l, struct pg_instance *i, const struct rewind_source *source,
                  const struct rewind_position *known, msec budget_ms, rewind_judge_fn *done, void *arg,
                  struct rewind_job **ret_job, struct err *err)
{
    struct rewind_job *j = rewind_job_new(l, i, budget_ms, arg);

    j->judged = done;
    j->host = str_dup(source->host);
    j->port = source->port;
    if (known && known->tli)
        j->end = (struct rewind_end){.tli = known->tli, .at = known->end};
    if (!pg_control_read(l, i->bin, i->data_dir, budget_ms, control_known, j, &j->control_job, err)) {
        rewind_job_free(j);
        return err_wrap(err, "comparing with %s:%d", source->host, source->port);
    }
    *ret_job = j;
    return true;
}
