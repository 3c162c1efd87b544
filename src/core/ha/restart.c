#include "core/ha/restart.h"

#include "core/ha/facts.h"

enum { STOP_MS = 60000 }; /* a stop that takes longer (stuck backend, archiver) is ended by force */

static void answer(struct ha_memory *m, struct ha_plan *p, bool ok)
{
    struct ha_action *a = plan_add(p, HA_DO_ANSWER);

    a->answer_to = HA_ANSWER_RESTART;
    a->ok = ok;
    m->restart.due_ms = 0;
}

bool restart_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    if (m->restart.under_way) {
        answer(m, p, v->pg.deaths != m->restart.deaths); /* the same postmaster: the stop failed */
        m->restart.under_way = false;
        plan_wake(p, v->now_ms);
        return true;
    }
    if (!v->request.restart)
        return false;

    m->restart.under_way = true;
    m->restart.deaths = v->pg.deaths;
    struct ha_action *stop = plan_stop(p, HA_STOP_FAST, STOP_MS);
    stop->checkpoint_first = stop->in_good_time = true;
    m->restart.timeout_ms = v->request.restart_timeout_ms;
    if (m->restart.timeout_ms) {
        m->restart.due_ms = v->now_ms + m->restart.timeout_ms;
        plan_wake(p, m->restart.due_ms);
    }
    return plan_why(p, "restarting as the operator asked");
}

void restart_check_failed(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    bool failed = v->job.kind == HA_JOB_START && v->job.state == HA_JOB_FAILED && v->pg.process == HA_PROC_NONE;
    bool runs = v->pg.process == HA_PROC_RUNNING && v->pg.answered && v->pg.accepting;

    if (!m->restart.under_way)
        return;
    if (failed) {
        answer(m, p, false);
        m->restart.under_way = false;
    } else if (m->restart.due_ms && v->now_ms >= m->restart.due_ms && !runs) {
        answer(m, p, false); /* it goes on all the same */
    } else if (m->restart.due_ms) {
        plan_wake(p, msec_max(m->restart.due_ms, v->now_ms));
    }
}

void restart_forget(struct ha_memory *m)
{
    m->restart.under_way = false;
}

void restart_seen(struct ha_memory *m, const struct ha_view *v)
{
    if (!m->restart.under_way && v->pg.process == HA_PROC_RUNNING && v->pg.accepting)
        m->restart.timeout_ms = 0;
}
