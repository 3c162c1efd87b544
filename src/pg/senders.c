#include "pg/senders.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/str.h"
#include "io/loop.h"
#include "pg/sql.h"

enum { LOOK_EVERY_MS = 2 }; /* a walsender ends within a millisecond or two, and commits may be waiting */

struct senders_job {
    struct loop *loop;
    struct sql *sql;
    char pid[16], started_us[24], before_us[24]; /* "": no condition */
    msec budget_ms;
    struct err last; /* who is left */
    struct loop_timer timer, deadline;
    bool telling;
    senders_fn *fn;
    void *arg;
};

static void job_free(struct senders_job *j)
{
    loop_timer_clear(&j->timer);
    loop_timer_clear(&j->deadline);
    free(j);
}

void senders_cancel(struct senders_job *j)
{
    if (j && !j->telling)
        job_free(j);
}

static void tell(struct senders_job *j, const struct err *err)
{
    j->telling = true;
    loop_timer_clear(&j->timer);
    j->fn(err, j->arg);
    job_free(j);
}

static void deadline_over(void *arg)
{
    struct senders_job *j = arg;

    tell(j, &j->last);
}

static void looked(const struct sql_result *result, void *arg)
{
    struct senders_job *j = arg;
    struct err err = result->err;

    if (result->status != SQL_DONE) {
        (void)err_wrap(&err, "ending walsenders");
        tell(j, &err);
        return;
    }
    int left = result->rows[0].row_count;
    if (!left) {
        tell(j, NULL);
        return;
    }
    (void)err_set(&j->last, ERR_TIMEOUT, "ending walsenders: %d of them, process %s among them, did not end", left,
                  sql_cell(&result->rows[0], 0, 0));
    loop_timer_set(&j->timer, loop_clock_ms() + LOOK_EVERY_MS);
}

/* Told again with every look: it costs nothing, and there may be new ones among them. */
static void look(void *arg)
{
    static const char text[] =
        "SELECT a.pid, pg_terminate_backend(a.pid) FROM (SELECT pid,"
        "   (EXTRACT(epoch FROM backend_start) * 1000000)::bigint AS started_us FROM pg_stat_get_activity(NULL)"
        "   WHERE backend_type = 'walsender') a"
        " WHERE ($1::int IS NULL OR a.pid = $1::int) AND ($2::bigint IS NULL OR a.started_us = $2::bigint)"
        "   AND ($3::bigint IS NULL OR a.started_us < $3::bigint)";
    struct senders_job *j = arg;
    const char *params[] = {j->pid[0] ? j->pid : NULL, j->started_us[0] ? j->started_us : NULL,
                            j->before_us[0] ? j->before_us : NULL};
    struct sql_statement statement = {.text = text, .params = params, .param_count = (int)ARRAY_LEN(params)};

    sql_run(j->sql, &statement, 1, j->budget_ms, looked, j);
}

static struct senders_job *start(struct loop *l, struct sql *sql, msec budget_ms, senders_fn *fn, void *arg)
{
    struct senders_job *j = mem_zero(1, sizeof(*j));

    CHECK(!sql_busy(sql));
    j->loop = l;
    j->sql = sql;
    j->budget_ms = budget_ms;
    (void)err_set(&j->last, ERR_TIMEOUT, "ending walsenders: no answer in %lld ms", (long long)budget_ms);
    j->fn = fn;
    j->arg = arg;
    loop_timer_init(&j->timer, l, look, j);
    loop_timer_set(&j->timer, loop_clock_ms());
    loop_timer_init(&j->deadline, l, deadline_over, j);
    loop_timer_set(&j->deadline, loop_clock_ms() + budget_ms);
    return j;
}

struct senders_job *senders_end_one(struct loop *l, struct sql *sql, int pid, int64_t started_us, msec budget_ms,
                                    senders_fn *fn, void *arg)
{
    struct senders_job *j = start(l, sql, budget_ms, fn, arg);

    (void)snprintf(j->pid, sizeof(j->pid), "%d", pid);
    (void)snprintf(j->started_us, sizeof(j->started_us), "%" PRId64, started_us);
    return j;
}

struct senders_job *senders_end_older(struct loop *l, struct sql *sql, int64_t before_us, msec budget_ms,
                                      senders_fn *fn, void *arg)
{
    struct senders_job *j = start(l, sql, budget_ms, fn, arg);

    (void)snprintf(j->before_us, sizeof(j->before_us), "%" PRId64, before_us);
    return j;
}
