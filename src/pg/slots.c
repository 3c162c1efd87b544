#include "pg/slots.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/str.h"
#include "io/loop.h"
#include "pg/instance.h"
#include "pg/sql.h"

struct act { /* a copy */
    enum slot_act_kind kind;
    char *name, *database, *plugin;
    char to[LSN_TEXT_MAX];
    bool asked; /* its statement has been run, or could not be */
};

struct slots_job {
    struct loop *loop;
    struct pg_instance *instance;
    struct sql *sql;
    struct loop_timer soon; /* nothing left: the loop tells it */
    msec deadline_ms;
    struct act *acts;
    struct slot_outcome *outcomes;
    size_t count;
    size_t *batch; /* indexes of the acts whose statements are under way */
    size_t batch_count;
    bool telling;
    slots_fn *done;
    void *arg;
};

static const char create_physical[] =
    "SELECT pg_create_physical_replication_slot($1, true) WHERE NOT EXISTS"
    " (SELECT FROM pg_replication_slots WHERE slot_name = $1 AND slot_type = 'physical')";

static const char create_logical[] =
    "SELECT pg_create_logical_replication_slot($1, $2) WHERE NOT EXISTS"
    " (SELECT FROM pg_replication_slots WHERE slot_name = $1 AND slot_type = 'logical')";

/* One row: is it in use (NULL: there was none), how many were dropped. */
static const char drop[] = "WITH s AS (SELECT slot_name, active FROM pg_replication_slots WHERE slot_name = $1),"
                           " d AS (SELECT pg_drop_replication_slot(slot_name) FROM s WHERE NOT active)"
                           " SELECT (SELECT active FROM s), (SELECT count(*) FROM d)";

/* The server itself moves it no further than its own WAL. One that is in use is moved by its user. */
static const char advance[] = "SELECT pg_replication_slot_advance(slot_name, $2::pg_lsn) FROM pg_replication_slots"
                              " WHERE slot_name = $1 AND NOT active AND restart_lsn IS NOT NULL"
                              " AND COALESCE(confirmed_flush_lsn, restart_lsn) < $2::pg_lsn";

static void statement_of(const struct act *a, const char *params[2], struct sql_statement *ret_statement)
{
    params[0] = a->name;
    *ret_statement = (struct sql_statement){.params = params, .param_count = 1, .may_fail = true};
    switch (a->kind) {
    case SLOT_CREATE_PHYSICAL:
        ret_statement->text = create_physical;
        return;
    case SLOT_CREATE_LOGICAL:
        ret_statement->text = create_logical;
        ret_statement->param_count = 2;
        params[1] = a->plugin;
        return;
    case SLOT_DROP:
        ret_statement->text = drop;
        return;
    case SLOT_ADVANCE:
        ret_statement->text = advance;
        ret_statement->param_count = 2;
        params[1] = a->to;
        return;
    }
    UNREACHABLE();
}

static void job_free(struct slots_job *j)
{
    sql_free(j->sql);
    loop_timer_clear(&j->soon);
    for (size_t i = 0; i < j->count; i++) {
        free(j->acts[i].name);
        free(j->acts[i].database);
        free(j->acts[i].plugin);
    }
    free(j->acts);
    free(j->outcomes);
    free(j->batch);
    pg_instance_unref(j->instance);
    free(j);
}

static void job_end(void *arg)
{
    struct slots_job *j = arg;

    j->telling = true;
    j->done(j->outcomes, j->count, j->arg);
    job_free(j);
}

void slots_cancel(struct slots_job *j)
{
    if (j && !j->telling)
        job_free(j);
}

static void take_outcome(const struct act *a, const struct sql_rows *rows, struct slot_outcome *o)
{
    o->done = !rows->failed;
    if (rows->failed) {
        (void)err_set(&o->err, ERR_PG, "slot %s: %s", a->name, sql_failure(rows));
    } else if (a->kind == SLOT_DROP && str_eq(sql_cell(rows, 0, 0), "t")) {
        o->done = false;
        (void)err_set(&o->err, ERR_CONFLICT, "slot %s is in use", a->name);
    }
}

static void run_next(struct slots_job *j);

static void batch_done(const struct sql_result *result, void *arg)
{
    struct slots_job *j = arg;

    for (size_t b = 0; b < j->batch_count; b++) {
        size_t i = j->batch[b];
        if ((int)b < result->rows_count)
            take_outcome(&j->acts[i], &result->rows[b], &j->outcomes[i]);
        else
            (void)err_set(&j->outcomes[i].err, result->err.code, "slot %s: %s", j->acts[i].name, result->err.text);
    }
    run_next(j);
}

/* All acts that wait for one database, on one connection. */
static void run_next(struct slots_job *j)
{
    size_t first = 0;
    msec left_ms = j->deadline_ms - loop_clock_ms();

    while (first < j->count && j->acts[first].asked)
        first++;
    if (first == j->count) {
        loop_timer_set(&j->soon, loop_clock_ms());
        return;
    }

    struct sql_statement *statements = mem_zero(j->count, sizeof(*statements));
    const char *(*params)[2] = mem_zero(j->count, sizeof(*params));
    const char *database = j->acts[first].database;
    j->batch_count = 0;
    for (size_t i = first; i < j->count; i++) {
        struct act *a = &j->acts[i];
        if (a->asked || !str_eq(a->database, database))
            continue;
        a->asked = true;
        statement_of(a, params[j->batch_count], &statements[j->batch_count]);
        j->batch[j->batch_count++] = i;
    }
    struct sql_target target = pg_instance_local(j->instance, database);
    sql_free(j->sql);
    j->sql = sql_new(j->loop, &target);
    sql_run(j->sql, statements, (int)j->batch_count, msec_max(left_ms, 1), batch_done, j);
    free(statements);
    free(params);
}

struct slots_job *slots_apply(struct loop *l, struct pg_instance *i, const struct slot_act *acts, size_t count,
                              msec budget_ms, slots_fn *done, void *arg)
{
    struct slots_job *j = mem_zero(1, sizeof(*j));

    j->loop = l;
    j->instance = pg_instance_ref(i);
    j->deadline_ms = loop_clock_ms() + budget_ms;
    j->done = done;
    j->arg = arg;
    j->count = count;
    j->acts = mem_zero(count, sizeof(*j->acts));
    j->outcomes = mem_zero(count, sizeof(*j->outcomes));
    j->batch = mem_zero(count, sizeof(*j->batch));
    loop_timer_init(&j->soon, l, job_end, j);
    for (size_t a = 0; a < count; a++) {
        struct act *to = &j->acts[a];
        to->kind = acts[a].kind;
        to->name = str_dup(acts[a].name);
        to->database = str_dup(acts[a].database);
        to->plugin = str_dup(acts[a].plugin);
        (void)lsn_text(acts[a].to, to->to);
        j->outcomes[a].name = to->name;
    }
    run_next(j);
    return j;
}
