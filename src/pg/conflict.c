#include "pg/conflict.h"

#include <signal.h>
#include <stdlib.h>

#include "base/str.h"
#include "io/loop.h"
#include "pg/instance.h"
#include "pg/sql.h"

enum {
    LOOK_EVERY_MS = 20, /* clients wait for the promotion; a look takes one */
    LOOK_BUDGET_MS = 1000,
};

#define YOUNG_MS "10" /* our own questions, for one, are over by then */

struct conflict_job {
    struct loop *loop;
    struct sql *sql;
    struct loop_timer timer;
    bool waited; /* in the last look, for nobody that we had ended */
    pid_t ended; /* the last of those that no view names; 0: none */
    conflict_fn *fn;
    void *arg;
};

enum column { COL_WAIT, COL_STARTUP, COL_LEAVING, COL_PID, COL_USER, COL_DATABASE, COL_APPLICATION, COL_ENDED };

static pid_t pid_of(const struct sql_rows *rows, int row, int column)
{
    const char *text = sql_cell(rows, row, column);
    int64_t pid = 0;

    return text && str_to_int(text, 1, INT32_MAX, &pid) ? (pid_t)pid : 0;
}

static void tell(struct conflict_job *j, const struct sql_rows *rows, int row)
{
    pid_t pid = pid_of(rows, row, COL_PID);

    if (!pid || !str_eq(sql_cell(rows, row, COL_ENDED), "t"))
        return;
    j->ended = pid;
    const struct conflict_ended ended = {
        .pid = pid,
        .user = sql_cell(rows, row, COL_USER),
        .database = sql_cell(rows, row, COL_DATABASE),
        .application_name = sql_cell(rows, row, COL_APPLICATION),
        .wait = sql_cell(rows, row, COL_WAIT),
    };
    j->fn(&ended, j->arg);
}

/*
 * Between two looks of its own at a snapshot the startup process sleeps up to a second (standby.c,
 * WaitExceedsMaxStandbyDelay): so long it waits for who has gone, and the next one would be ended for nothing.
 */
static void wake(pid_t startup)
{
    if (startup)
        (void)kill(startup, SIGUSR1); /* procsignal.c: without a reason set it only ends a sleep */
}

/* A server that cannot be asked now may be asked again: it is the promotion that tells how it is. */
static void looked(const struct sql_result *result, void *arg)
{
    struct conflict_job *j = arg;
    const struct sql_rows *rows = &result->rows[0];

    j->waited = result->status == SQL_DONE && rows->row_count > 0;
    if (j->waited && j->ended) {
        wake(pid_of(rows, 0, COL_STARTUP));
        j->waited = !str_eq(sql_cell(rows, 0, COL_LEAVING), "t");
        if (j->waited)
            j->ended = 0;
    }
    for (int row = 0; result->status == SQL_DONE && row < rows->row_count; row++)
        tell(j, rows, row);
    if (j->ended)
        j->waited = false;
    loop_timer_set(&j->timer, loop_clock_ms() + LOOK_EVERY_MS);
}

/* A row for the wait, without a session where none is ended. */
static void look(void *arg)
{
    static const char text[] =
        "WITH s AS MATERIALIZED (SELECT pid, wait_event_type || ':' || wait_event AS wait,"
        "   wait_event_type = 'Lock' AS lock FROM pg_stat_get_activity(NULL) WHERE backend_type = 'startup'"
        "   AND (wait_event_type IN ('Lock', 'BufferPin') OR wait_event LIKE 'RecoveryConflict%')),"
        " h AS MATERIALIZED (SELECT DISTINCT h.pid FROM s, pg_locks w, pg_locks h WHERE s.lock AND w.pid = s.pid"
        "   AND NOT w.granted AND h.granted AND h.pid <> s.pid AND h.locktype = w.locktype"
        "   AND (h.database, h.relation, h.page, h.tuple, h.virtualxid, h.transactionid, h.classid, h.objid,"
        "     h.objsubid) IS NOT DISTINCT FROM (w.database, w.relation, w.page, w.tuple, w.virtualxid,"
        "     w.transactionid, w.classid, w.objid, w.objsubid)),"
        " o AS MATERIALIZED (SELECT a.pid FROM s, pg_stat_activity a WHERE NOT s.lock AND a.pid <> pg_backend_pid()"
        "   AND a.backend_type = 'client backend' AND clock_timestamp() - a.xact_start > interval '" YOUNG_MS " ms'"
        "   ORDER BY age(a.backend_xmin) DESC NULLS LAST, a.xact_start LIMIT 1)"
        " SELECT s.wait, s.pid, EXISTS (SELECT FROM pg_stat_get_activity($2)), a.pid, a.usename, a.datname,"
        "   a.application_name, pg_terminate_backend(a.pid)"
        " FROM s LEFT JOIN pg_stat_activity a ON $1 AND a.pid IN (SELECT pid FROM h UNION SELECT pid FROM o)";
    struct conflict_job *j = arg;
    AUTO(cstr) char *ended = str_fmt("%d", (int)j->ended);
    const char *params[] = {j->waited ? "t" : "f", ended};
    struct sql_statement statement = {.text = text, .params = params, .param_count = (int)ARRAY_LEN(params)};

    sql_run(j->sql, &statement, 1, LOOK_BUDGET_MS, looked, j);
}

struct conflict_job *conflict_start(struct loop *l, const struct pg_instance *i, conflict_fn *fn, void *arg)
{
    struct sql_target target = pg_instance_local(i, NULL);
    struct conflict_job *j = mem_zero(1, sizeof(*j));

    j->loop = l;
    j->sql = sql_new(l, &target);
    j->fn = fn;
    j->arg = arg;
    loop_timer_init(&j->timer, l, look, j);
    loop_timer_set(&j->timer, loop_clock_ms());
    return j;
}

void conflict_stop(struct conflict_job *j)
{
    if (!j)
        return;
    loop_timer_clear(&j->timer);
    sql_free(j->sql);
    free(j);
}
