#include "core/ha/promotion.h"

#include "core/ha/beside.h"
#include "core/ha/elect.h"
#include "core/ha/facts.h"
#include "core/ha/observe.h"

enum {
    LOOK_AGAIN_MS = 1000, /* a change that should come by an event is looked for then at the latest */
    STOP_NOW_MS = 1000,   /* for an immediate stop; what is left then is killed */
    FAILURES_MAX = 2,     /* in a row; then another may try */
};

void promotion_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    char unkept[UNKEPT_MAX];

    if (node_is_unfit(v, unkept)) {
        (void)plan_add(p, HA_DO_RELEASE);
        (void)plan_why(p, "%s: letting go of the leader key", unkept);
        return;
    }
    /* It may still open: it is stopped first, and comes up as a standby. One that an agent before us began goes on. */
    if (m->promotion.doubt && m->promotion.failures) {
        (void)plan_stop(p, HA_STOP_IMMEDIATE, STOP_NOW_MS);
        (void)plan_why(p, "the promotion did not end well: stopping PostgreSQL before anything else");
        return;
    }
    msec until_ms;
    if (observe_promised(v, &until_ms)) { /* granted while our taking of the key was under way */
        plan_wake(p, until_ms);
        (void)plan_why(p, "%s may stay on our word for another %lld ms: the promotion waits",
                       v->store.failsafe_heard_from, (long long)(until_ms - v->now_ms));
        return;
    }
    if (!beside_may_promote(v, p))
        return;
    if (v->conf.pre_promote && m->promotion.pre_term != v->lease.term) {
        (void)plan_job(p, HA_JOB_PRE_PROMOTE, NULL);
        (void)plan_why(p, "running pre_promote before the promotion");
        return;
    }
    if (v->conf.pre_promote && !m->promotion.pre_ok) {
        (void)plan_add(p, HA_DO_RELEASE);
        elect_stand_back(m, v, v->conf.ttl_ms);
        (void)plan_why(p, "pre_promote failed: letting go of the leader key");
        return;
    }

    /* A key that was ours all along, or came back to us: its number was used up by what we were primary on before. */
    if (v->lease.timeline <= v->pg.timeline) {
        if (!v->lease.telling)
            plan_add(p, HA_DO_TAKE_TIMELINE)->timeline = elect_timeline(v);
        plan_wake(p, v->now_ms + LOOK_AGAIN_MS);
        (void)plan_why(p, "taking a timeline's number before the promotion");
        return;
    }

    struct ha_action *promote = plan_job(p, HA_JOB_PROMOTE, NULL);
    promote->term = v->lease.term;
    promote->timeline = v->lease.timeline;
    (void)plan_why(p, "promoting under term %llu", (unsigned long long)v->lease.term);
}

/* The winner has received the most; it may have much of that to replay yet. Only one that stands still has failed. */
void promotion_watch(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    msec failed_ms = m->promotion.moved_ms + v->conf.pg_ctl_timeout_ms;

    if (v->now_ms < failed_ms) {
        plan_wake(p, failed_ms);
        return;
    }
    (void)plan_add(p, HA_DO_CANCEL_JOB);
    (void)plan_why(p, "the promotion makes no progress since %lld ms (pg_ctl_timeout): it is cancelled",
                   (long long)(v->now_ms - m->promotion.moved_ms));
}

bool promotion_in_vain(const struct ha_memory *m, const struct ha_view *v)
{
    return m->promotion.term == leads_under(v) && m->promotion.failures >= FAILURES_MAX;
}

void promotion_found(struct ha_memory *m, const struct ha_view *v)
{
    m->promotion.found_fenced = v->lease.inherited_kill_ms && v->pg.process == HA_PROC_RUNNING;
}

void promotion_died(struct ha_memory *m)
{
    m->promotion.doubt = m->promotion.found_fenced = false;
}

/* What was received and not replayed yet comes before it opens. */
static void progress_seen(struct ha_memory *m, const struct ha_view *v)
{
    if (!job_runs(v, HA_JOB_PROMOTE))
        return;
    if (m->promotion.moved_ms < v->job.since_ms) {
        m->promotion.moved_ms = v->job.since_ms;
        m->promotion.replayed = v->pg.replayed;
    } else if (v->pg.replayed > m->promotion.replayed) {
        m->promotion.moved_ms = v->now_ms;
        m->promotion.replayed = v->pg.replayed;
    }
}

void promotion_seen(struct ha_memory *m, const struct ha_view *v)
{
    /* A fence is never in force over a mere standby: the agent before us was promoting it, or about to. */
    if (m->promotion.found_fenced && (v->pg.standby_signal || pg_is_standby(v)))
        m->promotion.doubt = true;
    if (m->promotion.doubt || pg_is_primary(v))
        m->promotion.found_fenced = false;
    if (pg_is_primary(v))
        m->promotion.doubt = false;
    progress_seen(m, v);
}

void promotion_ended(struct ha_memory *m, const struct ha_view *v)
{
    if (m->promotion.term != leads_under(v))
        m->promotion.failures = 0;
    m->promotion.term = leads_under(v);
    m->promotion.doubt = v->job.state != HA_JOB_OK;
    m->promotion.failures = m->promotion.doubt ? m->promotion.failures + 1 : 0;
}

void promotion_pre_ended(struct ha_memory *m, const struct ha_view *v)
{
    m->promotion.pre_ok = v->job.state == HA_JOB_OK;
    m->promotion.pre_term = leads_under(v);
    if (!m->promotion.pre_ok)
        elect_stand_back(m, v, v->conf.ttl_ms);
}
