#include "pg/probe.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/str.h"
#include "io/loop.h"
#include "pg/probe_facts.h"

enum { LOOK_EVERY = 10 }; /* questions between two looks at the configuration files without a reload */

/* A timeline learnt by IDENTIFY_SYSTEM stands while replay does not move. */
struct known_timeline {
    uint32_t tli;
    lsn replay;
    int64_t start_us;
};

struct probe {
    struct loop *loop;
    struct sql *sql;
    struct sql *replication; /* NULL: not to be asked */
    probe_fn *fn;
    void *arg;

    bool asking;
    bool in_recovery; /* by the last whole answer, if there is one (last) */
    int server_version;
    bool pulse; /* with the next question in brief */
    msec asked_ms, budget_ms;
    msec silent_since_ms;
    struct pg_facts *answer; /* read, waiting for the timeline */
    struct pg_facts *last;   /* only what is carried over: pending, errors */
    char *conf_load;         /* of the last look at the configuration */
    unsigned int asked_count;
    struct known_timeline known;
};

struct probe *probe_new(struct loop *l, const struct sql_target *target, probe_fn *fn, void *arg)
{
    struct probe *p = mem_zero(1, sizeof(*p));

    p->loop = l;
    p->sql = sql_new(l, target);
    p->fn = fn;
    p->arg = arg;
    p->silent_since_ms = MSEC_NEVER;
    return p;
}

static void forget(struct probe *p)
{
    pg_facts_free(TAKE(p->last));
    pg_facts_free(TAKE(p->answer));
    str_set(&p->conf_load, NULL);
    p->known = (struct known_timeline){0};
}

void probe_free(struct probe *p)
{
    if (!p)
        return;
    forget(p);
    sql_free(p->sql);
    sql_free(p->replication);
    free(p);
}

void probe_set_replication(struct probe *p, const struct sql_target *target)
{
    CHECK(!p->asking || !p->replication || !sql_busy(p->replication));
    sql_free(p->replication);
    p->replication = target ? sql_new(p->loop, target) : NULL;
}

bool probe_asking(const struct probe *p)
{
    return p->asking;
}

msec probe_silent_since(const struct probe *p)
{
    return p->silent_since_ms;
}

/* The same target, a new connection; what was under way is forgotten. */
static void renew(struct probe *p, struct sql **slot, const struct sql_target *target)
{
    struct sql *old = *slot;

    if (!old)
        return;
    *slot = sql_new(p->loop, target ? target : sql_target_of(old));
    sql_free(old);
}

void probe_reset(struct probe *p, const struct sql_target *target)
{
    bool asking = p->asking;

    forget(p);
    p->asking = false;
    p->silent_since_ms = MSEC_NEVER;
    renew(p, &p->sql, target);
    renew(p, &p->replication, NULL);
    if (asking)
        probe_ask(p, p->budget_ms);
}

/* What the next answer may lack. */
static struct pg_facts *carried_over(const struct pg_facts *f)
{
    struct pg_facts *kept = mem_zero(1, sizeof(*kept));

    kept->pending = mem_zero(f->pending_count, sizeof(*kept->pending));
    kept->pending_count = f->pending_count;
    for (size_t i = 0; i < f->pending_count; i++) {
        kept->pending[i] = (struct pg_pending){.name = str_dup(f->pending[i].name),
                                               .old_value = str_dup(f->pending[i].old_value),
                                               .new_value = str_dup(f->pending[i].new_value)};
    }
    kept->conf_error_count = f->conf_error_count;
    return kept;
}

static void tell_facts(struct probe *p)
{
    struct probe_answer answer = {.status = SQL_DONE, .take_facts = TAKE(p->answer)};

    answer.take_facts->answered_ms = loop_clock_ms();
    p->asking = false;
    p->silent_since_ms = MSEC_NEVER;
    p->fn(&answer, p->arg); /* may ask again, or free *p */
}

static void tell_failure(struct probe *p, enum sql_status status, const struct err *err)
{
    struct probe_answer answer = {.status = status, .err = *err};

    p->asking = false;
    switch (status) {
    case SQL_DONE:
    case SQL_STARTING:
    case SQL_DENIED:
    case SQL_FAILED:
        p->silent_since_ms = MSEC_NEVER; /* it answered, though not what we wanted */
        break;
    case SQL_NO_SERVER:
    case SQL_TIMEOUT:
    case SQL_LOST:
        break;
    }
    p->fn(&answer, p->arg); /* may ask again, or free *p */
}

static void identified(const struct sql_result *result, void *arg)
{
    struct probe *p = arg;
    int64_t tli = 0;

    CHECK(p->answer);
    if (result->status == SQL_DONE && result->rows[0].row_count == 1 && result->rows[0].column_count >= 2 &&
        str_to_int(sql_cell(&result->rows[0], 0, 1), 1, UINT32_MAX, &tli)) {
        p->answer->timeline = (uint32_t)tli;
        p->known = (struct known_timeline){
            .tli = (uint32_t)tli, .replay = p->answer->replay, .start_us = p->answer->postmaster_start_us};
    }
    tell_facts(p); /* without a timeline if it could not be had: unknown is a value */
}

/* A standby whose receiver is gone: which timeline is it on? */
static void find_timeline(struct probe *p)
{
    static const struct sql_statement identify = {.text = "IDENTIFY_SYSTEM"};
    struct pg_facts *f = p->answer;
    msec left_ms = p->asked_ms + p->budget_ms - loop_clock_ms();

    if (p->known.tli && p->known.replay == f->replay && p->known.start_us == f->postmaster_start_us)
        f->timeline = p->known.tli;
    else if (p->replication && !sql_busy(p->replication) && left_ms > 0) {
        sql_run(p->replication, &identify, 1, left_ms, identified, p);
        return;
    }
    tell_facts(p);
}

static void answered(const struct sql_result *result, void *arg)
{
    struct probe *p = arg;
    struct err err = {0};
    char *conf_load = NULL;

    if (result->status != SQL_DONE) {
        tell_failure(p, result->status, &result->err);
        return;
    }
    struct pg_facts *f = probe_read(&result->rows[0], p->last, &conf_load, &err);
    if (!f) {
        tell_failure(p, SQL_FAILED, &err);
        return;
    }
    f->asked_ms = p->asked_ms;
    p->in_recovery = f->in_recovery;
    p->server_version = f->server_version;
    pg_facts_free(p->last);
    p->last = carried_over(f);
    free(p->conf_load);
    p->conf_load = conf_load;
    pg_facts_free(p->answer);
    p->answer = f;
    if (f->in_recovery && !f->timeline)
        find_timeline(p);
    else
        tell_facts(p);
}

static bool begin(struct probe *p, msec budget_ms)
{
    if (p->asking)
        return false;

    p->asking = true;
    p->asked_ms = loop_clock_ms();
    p->budget_ms = budget_ms;
    if (p->silent_since_ms == MSEC_NEVER)
        p->silent_since_ms = p->asked_ms;
    return true;
}

static void ask_all(struct probe *p, msec budget_ms)
{
    const char *params[1] = {p->asked_count++ % LOOK_EVERY ? p->conf_load : NULL};
    struct sql_statement question = {.text = probe_query, .params = params, .param_count = 1};
    sql_run(p->sql, &question, 1, budget_ms, answered, p);
}

void probe_ask(struct probe *p, msec budget_ms)
{
    if (begin(p, budget_ms))
        ask_all(p, budget_ms);
}

static lsn lsn_of(const char *cell)
{
    lsn at = 0;

    return cell && lsn_parse(cell, &at) ? at : 0;
}

static void answered_in_brief(const struct sql_result *result, void *arg)
{
    struct probe *p = arg;
    struct probe_answer answer = {.status = SQL_DONE, .brief = true, .asked_ms = p->asked_ms};

    if (result->status != SQL_DONE) {
        tell_failure(p, result->status, &result->err);
        return;
    }
    const struct sql_rows *rows = &result->rows[0];
    if (rows->row_count != 1 || str_eq(sql_cell(rows, 0, 0), "t") != p->in_recovery) { /* all about it, then */
        ask_all(p, msec_max(1, p->asked_ms + p->budget_ms - loop_clock_ms()));
        return;
    }
    answer.receive = lsn_of(sql_cell(rows, 0, 1));
    answer.replay = lsn_of(sql_cell(rows, 0, 2));
    answer.current = lsn_of(sql_cell(rows, 0, 3));
    answer.current_flush = lsn_of(sql_cell(rows, 0, 4));
    if (!str_to_int(sql_cell(rows, 0, 5), 0, INT64_MAX, &answer.last_msg_epoch_us))
        answer.last_msg_epoch_us = 0; /* NULL: no walreceiver */
    p->asking = false;
    p->silent_since_ms = MSEC_NEVER;
    p->fn(&answer, p->arg); /* may ask again, or free *p */
}

/* Measured on 15: 0.2 ms; the receiver's part of it is half. */
#define BRIEF(pulse)                                                                                           \
    "SELECT r, CASE WHEN r THEN pg_last_wal_receive_lsn() END, CASE WHEN r THEN pg_last_wal_replay_lsn() END," \
    " CASE WHEN NOT r THEN pg_current_wal_lsn() END, CASE WHEN NOT r THEN pg_current_wal_flush_lsn() END,"     \
    " CASE WHEN r THEN (SELECT (EXTRACT(epoch FROM last_msg_receipt_time) * 1000000)::bigint"                  \
    " FROM pg_stat_get_wal_receiver()) END" pulse " FROM pg_is_in_recovery() r"

static const char *brief_text(const struct probe *p)
{
    if (!p->pulse)
        return BRIEF("");
    if (p->server_version >= 160000)
        return BRIEF(", CASE WHEN NOT r THEN pg_log_standby_snapshot() END");
    return BRIEF(", CASE WHEN NOT r THEN pg_logical_emit_message(false, 'pgkeep', '') END");
}

void probe_ask_in_brief(struct probe *p, msec budget_ms)
{
    if (!begin(p, budget_ms))
        return;
    if (p->last) {
        const struct sql_statement question = {.text = brief_text(p)};
        p->pulse = false;
        sql_run(p->sql, &question, 1, budget_ms, answered_in_brief, p);
    } else {
        ask_all(p, budget_ms);
    }
}

void probe_pulse(struct probe *p)
{
    p->pulse = true;
}
