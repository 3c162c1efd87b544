#include "pg/fence.h"

#include <stdlib.h>

#include "base/str.h"
#include "io/loop.h"
#include "pg/hold.h"
#include "pg/instance.h"
#include "pg/names.h"
#include "pg/senders.h"
#include "pg/sql.h"

struct fence_job {
    struct loop *loop;
    struct pg_instance *instance;
    pid_t postmaster;
    msec began_ms, deadline_ms;
    struct reload_job *reload;
    struct sql *sql; /* the session that proved the reload */
    struct senders_job *senders;
    struct hold_job *hold;
    struct loop_timer soon;
    bool telling;
    fence_fn *fn;
    void *arg;
};

static void job_free(struct fence_job *j)
{
    reload_cancel(j->reload);
    sql_free(j->sql); /* before the senders' job, whose statement may be under way */
    senders_cancel(j->senders);
    hold_cancel(j->hold);
    loop_timer_clear(&j->soon);
    pg_instance_unref(j->instance);
    free(j);
}

void fence_cancel(struct fence_job *j)
{
    if (j && !j->telling)
        job_free(j);
}

static void tell(struct fence_job *j, struct fence_result *result)
{
    result->took_ms = loop_clock_ms() - j->began_ms;
    if (!result->fenced)
        (void)err_wrap(&result->err, "write fence");
    j->telling = true;
    j->fn(result, j->arg);
    job_free(j);
}

static void tell_failure(struct fence_job *j, const struct err *err)
{
    struct fence_result result = {.err = *err};

    tell(j, &result);
}

static msec left_ms(const struct fence_job *j)
{
    return msec_max(j->deadline_ms - loop_clock_ms(), 1);
}

static void flushed(const struct sql_result *result, void *arg)
{
    struct fence_job *j = arg;
    struct fence_result found = {.fenced = true, .err = result->err};
    int64_t tli;

    if (result->status != SQL_DONE) {
        tell_failure(j, &result->err);
        return;
    }
    if (!lsn_parse(sql_cell(&result->rows[0], 0, 0), &found.flushed) ||
        !str_to_int(sql_cell(&result->rows[0], 0, 1), 1, UINT32_MAX, &tli))
        found.fenced = err_set(&found.err, ERR_PG, "the server is no primary");
    else
        found.timeline = (uint32_t)tli;
    tell(j, &found);
}

static void commits_wait(const struct err *err, void *arg)
{
    static const struct sql_statement position = {
        .text = "SELECT pg_current_wal_flush_lsn(),"
                " ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint"};
    struct fence_job *j = arg;

    j->hold = NULL;
    if (err)
        tell_failure(j, err);
    else
        sql_run(j->sql, &position, 1, left_ms(j), flushed, j);
}

static void senders_gone(const struct err *err, void *arg)
{
    struct fence_job *j = arg;

    j->senders = NULL;
    if (err)
        tell_failure(j, err);
    else
        j->hold = hold_prove(j->loop, j->instance, left_ms(j), commits_wait, j);
}

static void loaded(const struct reload_result *result, void *arg)
{
    struct fence_job *j = arg;

    j->reload = NULL;
    if (!result->proved) {
        tell_failure(j, &result->err);
        return;
    }
    j->sql = result->take_sql;
    j->senders = senders_end_older(j->loop, j->sql, result->connected_us, left_ms(j), senders_gone, j);
}

static void begin(void *arg)
{
    struct fence_job *j = arg;
    struct err err = {0};

    if (!names_drop(j->loop, j->instance, j->postmaster, left_ms(j), loaded, j, &j->reload, &err))
        tell_failure(j, &err);
}

struct fence_job *fence_start(struct loop *l, struct pg_instance *i, pid_t postmaster, msec budget_ms, fence_fn *fn,
                              void *arg)
{
    struct fence_job *j = mem_zero(1, sizeof(*j));

    j->loop = l;
    j->instance = pg_instance_ref(i);
    j->postmaster = postmaster;
    j->began_ms = loop_clock_ms();
    j->deadline_ms = j->began_ms + budget_ms;
    j->fn = fn;
    j->arg = arg;
    loop_timer_init(&j->soon, l, begin, j);
    loop_timer_set(&j->soon, j->began_ms);
    return j;
}
