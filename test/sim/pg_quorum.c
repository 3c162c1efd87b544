/*
 * What quorum mode asks of PostgreSQL, for seeds of asynchronous mode: nothing. A seed that gets here has to bring the
 * model of it.
 */
#include "base/check.h"
#include "pg/fence.h"
#include "pg/freeze.h"
#include "pg/marker.h"
#include "pg/names.h"
#include "pg/reload.h"
#include "pg/senders.h"
#include "pg/sql.h"

bool freeze_start(struct loop *l, const struct freeze_spec *spec, freeze_fn *fn, void *arg, struct freeze_job **ret_job,
                  struct err *err)
{
    UNREACHABLE();
}

void freeze_cancel(struct freeze_job *j)
{
    CHECK(!j);
}

struct fence_job *fence_start(struct loop *l, struct pg_instance *i, pid_t postmaster, msec budget_ms, fence_fn *fn,
                              void *arg)
{
    UNREACHABLE();
}

void fence_cancel(struct fence_job *j)
{
    CHECK(!j);
}

bool names_load(struct loop *l, struct pg_instance *i, pid_t postmaster, const char *list, msec budget_ms,
                reload_fn *fn, void *arg, struct reload_job **ret_job, struct err *err)
{
    UNREACHABLE();
}

bool names_drop(struct loop *l, struct pg_instance *i, pid_t postmaster, msec budget_ms, reload_fn *fn, void *arg,
                struct reload_job **ret_job, struct err *err)
{
    UNREACHABLE();
}

void reload_cancel(struct reload_job *j)
{
    CHECK(!j);
}

struct marker_job *marker_write(struct loop *l, const struct pg_instance *i, term t, msec budget_ms, marker_fn *fn,
                                void *arg)
{
    UNREACHABLE();
}

void marker_cancel(struct marker_job *j)
{
    CHECK(!j);
}

struct senders_job *senders_end_one(struct loop *l, struct sql *sql, int pid, int64_t started_us, msec budget_ms,
                                    senders_fn *fn, void *arg)
{
    UNREACHABLE();
}

void senders_cancel(struct senders_job *j)
{
    CHECK(!j);
}

struct sql *sql_new(struct loop *l, const struct sql_target *target)
{
    UNREACHABLE();
}
