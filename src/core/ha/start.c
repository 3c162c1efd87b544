#include "core/ha/start.h"

enum { UP_MS = 10000 }; /* a server that ran that long did start */

bool start_waits(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    return backoff_waits(&m->start.backoff, v, p) &&
           plan_why(p, "PostgreSQL did not start; the next attempt follows a back-off");
}

void start_died(struct ha_memory *m, const struct ha_view *v)
{
    bool soon = v->job.kind != HA_JOB_STOP && m->start.up_since_ms && v->now_ms - m->start.up_since_ms < UP_MS;

    if (soon && m->start.died_soon)
        backoff_failed(&m->start.backoff, v->now_ms);
    m->start.died_soon = soon; /* once is an accident */
}

void start_seen(struct ha_memory *m, const struct ha_view *v)
{
    if (m->start.up_since_ms && v->pg.process == HA_PROC_RUNNING && v->now_ms - m->start.up_since_ms >= UP_MS)
        backoff_reset(&m->start.backoff);
}

void start_ended(struct ha_memory *m, const struct ha_view *v)
{
    if (v->job.state == HA_JOB_OK)
        m->start.up_since_ms = v->now_ms;
    else
        backoff_failed(&m->start.backoff, v->now_ms);
}
