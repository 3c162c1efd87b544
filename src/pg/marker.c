#include "pg/marker.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/str.h"
#include "io/loop.h"
#include "pg/instance.h"
#include "pg/sql.h"

struct marker_job {
    struct sql *sql;
    bool telling;
    marker_fn *fn;
    void *arg;
};

static void written(const struct sql_result *result, void *arg)
{
    struct marker_job *j = arg;
    struct err err = result->err;
    lsn end = 0;

    j->sql = NULL;
    j->telling = true;
    bool good = result->status == SQL_DONE;
    if (good && !lsn_parse(sql_cell(&result->rows[result->rows_count - 1], 0, 0), &end))
        good = err_set(&err, ERR_PG, "no position came back");
    if (!good)
        (void)err_wrap(&err, "marker");
    j->fn(good ? end : 0, good ? NULL : &err, j->arg);
    free(j);
}

struct marker_job *marker_write(struct loop *l, const struct pg_instance *i, term t, msec budget_ms, marker_fn *fn,
                                void *arg)
{
    struct sql_target target = pg_instance_local(i, NULL);
    struct marker_job *j = mem_zero(1, sizeof(*j));
    AUTO(cstr) char *text = str_fmt("term %" PRIu64, t);
    const char *params[] = {MARKER_PREFIX, text};
    const struct sql_statement statements[] = {
        {.text = "SET synchronous_commit TO local"},
        {.text = "SET default_transaction_read_only TO off"},
        {.text = "SELECT pg_logical_emit_message(true, $1, $2)", .params = params, .param_count = 2},
        /* The commit has flushed its record: what is flushed now ends there or later. */
        {.text = "SELECT pg_current_wal_flush_lsn()"},
    };

    j->fn = fn;
    j->arg = arg;
    j->sql = sql_once(l, &target, statements, (int)ARRAY_LEN(statements), budget_ms, written, j);
    return j;
}

void marker_cancel(struct marker_job *j)
{
    if (!j || j->telling)
        return;
    sql_free(j->sql);
    free(j);
}
