#include "pg/hold.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mutant.h"
#include "base/str.h"
#include "io/loop.h"
#include "pg/instance.h"
#include "pg/marker.h"
#include "pg/sql.h"

enum {
    LOOK_EVERY_MS = 2,    /* clients wait for the failover */
    COMMIT_EVERY_MS = 20, /* the checkpointer reads its configuration in its own time */
};

struct hold_job {
    struct sql *waiter, *watcher;
    char pid[16]; /* of the waiter's session */
    struct loop_timer again, look, deadline;
    msec deadline_ms;
    struct err last; /* what stands in the way */
    bool telling;
    hold_fn *fn;
    void *arg;
};

static void job_free(struct hold_job *j)
{
    sql_free(j->waiter);
    sql_free(j->watcher);
    loop_timer_clear(&j->again);
    loop_timer_clear(&j->look);
    loop_timer_clear(&j->deadline);
    free(j);
}

void hold_cancel(struct hold_job *j)
{
    if (j && !j->telling)
        job_free(j);
}

static void tell(struct hold_job *j, const struct err *err)
{
    j->telling = true;
    j->fn(err, j->arg);
    job_free(j);
}

static void fail(struct hold_job *j, const struct err *err)
{
    struct err wrapped = *err;

    (void)err_wrap(&wrapped, "not shown that commits wait");
    tell(j, &wrapped);
}

static void deadline_over(void *arg)
{
    struct hold_job *j = arg;

    fail(j, &j->last);
}

static msec left_ms(const struct hold_job *j)
{
    return msec_max(j->deadline_ms - loop_clock_ms(), 1);
}

/* ---- the one that looks ---- */

static void looked(const struct sql_result *result, void *arg)
{
    struct hold_job *j = arg;

    if (result->status != SQL_DONE)
        fail(j, &result->err);
    else if (result->rows[0].row_count && str_eq(sql_cell(&result->rows[0], 0, 0), "SyncRep"))
        tell(j, NULL);
    else
        loop_timer_set(&j->look, loop_clock_ms() + LOOK_EVERY_MS);
}

/* Seen and ended in one: the session is ours as long as it lives, so its number is. */
static void look(void *arg)
{
    struct hold_job *j = arg;
    const char *pid = j->pid;
    struct sql_statement statement = {
        .text = "SELECT a.wait_event, CASE WHEN a.wait_event = 'SyncRep' THEN pg_terminate_backend(a.pid) END"
                " FROM pg_stat_get_activity($1::int) a",
        .params = &pid,
        .param_count = 1};

    sql_run(j->watcher, &statement, 1, left_ms(j), looked, j);
}

/* ---- the one that waits ---- */

/* Ended by the look, whose answer is on its way; or the commit did not wait; or it could not be made. */
static void came_back(const struct sql_result *result, void *arg)
{
    struct hold_job *j = arg;

    if (result->status == SQL_DONE)
        (void)err_set(&j->last, ERR_TIMEOUT, "a commit came back at once: the checkpointer has not read the list");
    else
        j->last = result->err;
    loop_timer_set(&j->again, loop_clock_ms() + COMMIT_EVERY_MS);
}

static void connected(const struct sql_result *result, void *arg)
{
    static const char *const params[] = {MARKER_PREFIX, "waits"};
    static const struct sql_statement commit = {
        .text = "SELECT pg_logical_emit_message(true, $1, $2)", .params = params, .param_count = 2};
    struct hold_job *j = arg;

    if (result->status != SQL_DONE) {
        came_back(result, j);
        return;
    }
    if (MUTANT(CHECKPOINTER_TRUSTED)) {
        tell(j, NULL);
        return;
    }
    (void)snprintf(j->pid, sizeof(j->pid), "%s", sql_cell(&result->rows[result->rows_count - 1], 0, 0));
    sql_run(j->waiter, &commit, 1, left_ms(j), came_back, j);
    if (!sql_busy(j->watcher))
        loop_timer_set(&j->look, loop_clock_ms());
}

/* What the role has set does not count. */
static void begin(void *arg)
{
    static const struct sql_statement statements[] = {
        {.text = "SET synchronous_commit TO on"},
        {.text = "SET default_transaction_read_only TO off"},
        {.text = "SELECT pg_backend_pid()"},
    };
    struct hold_job *j = arg;

    sql_run(j->waiter, statements, (int)ARRAY_LEN(statements), left_ms(j), connected, j);
}

struct hold_job *hold_prove(struct loop *l, const struct pg_instance *i, msec budget_ms, hold_fn *fn, void *arg)
{
    struct sql_target target = pg_instance_local(i, NULL);
    struct hold_job *j = mem_zero(1, sizeof(*j));

    j->fn = fn;
    j->arg = arg;
    j->deadline_ms = loop_clock_ms() + budget_ms;
    (void)err_set(&j->last, ERR_TIMEOUT, "no answer in %lld ms", (long long)budget_ms);
    loop_timer_init(&j->again, l, begin, j);
    loop_timer_init(&j->look, l, look, j);
    loop_timer_init(&j->deadline, l, deadline_over, j);
    loop_timer_set(&j->deadline, j->deadline_ms);
    j->waiter = sql_new(l, &target);
    j->watcher = sql_new(l, &target);
    begin(j);
    return j;
}
