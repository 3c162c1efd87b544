#include "core/ha/lead.h"

#include "base/check.h"
#include "base/str.h"
#include "core/ha/beside.h"
#include "core/ha/candidate.h"
#include "core/ha/elect.h"
#include "core/ha/facts.h"
#include "core/ha/fence.h"
#include "core/ha/handover.h"
#include "core/ha/promotion.h"
#include "core/ha/reign.h"
#include "core/ha/restart.h"
#include "core/ha/round.h"
#include "core/ha/start.h"

enum {
    LOOK_AGAIN_MS = 1000, /* a change that should come by an event is looked for then at the latest */
    STOP_NOW_MS = 1000,   /* for an immediate stop; what is left then is killed */
    /* Reading pg_control takes milliseconds; a disk that needs longer is no place for a leader. */
    UNREADABLE_MS = 10000,
    CHECKPOINT_AGAIN_MS = 10000, /* after one that failed: a full disk stays full for a while */
};

/*
 * PostgreSQL here is down and has had its time: give the key up if anybody can take it.
 * False: nobody can (yet), we go on trying ourselves.
 */
static bool give_up_for_another(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    const char *why_not;

    if (!round_have(v, p, m->lead.crashed_ms, ROUND_AGE_MS))
        return plan_why(p, "PostgreSQL is down; asking whether another member can lead");
    if (!candidate_successor(v, NULL, &why_not))
        return false;

    (void)plan_add(p, HA_DO_RELEASE);
    elect_stand_back(m, v, v->conf.loop_wait_ms);
    return plan_why(p, "PostgreSQL is down and another member can lead: letting go of the leader key");
}

/* How long PostgreSQL here may be down before another takes over. */
static msec start_timeout_ms(const struct ha_memory *m, const struct ha_view *v)
{
    return m->restart.timeout_ms ? m->restart.timeout_ms : v->conf.primary_start_timeout_ms;
}

void lead_start(struct ha_plan *p, const struct ha_view *v, const char *why)
{
    struct ha_action *start = plan_job(p, HA_JOB_START, NULL);

    /*
     * A standby that was about to be promoted when it fell comes up as a standby: started as a primary it would
     * go on on the old leader's timeline, and nobody could tell the two apart.
     */
    start->start = pg_was_primary(v) && !v->pg.standby_signal ? HA_START_PRIMARY : HA_START_STANDBY;
    start->term = leads_under(v);
    (void)plan_why(p, "%s", why);
}

/* No postmaster runs. */
static void lead_stopped(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    char unkept[UNKEPT_MAX];

    if (v->pg.data != HA_DATA_VALID) {
        (void)plan_add(p, HA_DO_RELEASE);
        (void)plan_why(p, "the data directory is gone or unusable: letting go of the leader key");
        return;
    }
    if (node_is_unfit(v, unkept)) {
        (void)plan_add(p, HA_DO_RELEASE);
        (void)plan_why(p, "%s: letting go of the leader key", unkept);
        return;
    }
    if (v->conf.pause && !m->restart.under_way) {
        (void)plan_add(p, HA_DO_RELEASE);
        (void)plan_why(p, "paused and PostgreSQL is not running: letting go of the leader key");
        return;
    }
    if (m->restart.under_way) {
        lead_start(p, v, "restarting as the operator asked");
        return;
    }
    if (handover_finish(v, p))
        return;
    bool had_its_time = promotion_in_vain(m, v) || v->now_ms - m->lead.crashed_ms >= start_timeout_ms(m, v);
    if (had_its_time && give_up_for_another(m, v, p))
        return;
    if (start_waits(m, v, p))
        return;
    lead_start(p, v, "PostgreSQL is down: starting it in place");
}

/* A postmaster runs but takes no connections yet (crash recovery). */
static void lead_starting(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    (void)plan_why(p, "waiting for PostgreSQL to accept connections");
    plan_wake(p, v->now_ms + LOOK_AGAIN_MS);
    if (!m->lead.crashed_ms || v->conf.pause)
        return;
    if (v->now_ms - m->lead.crashed_ms < start_timeout_ms(m, v))
        return;

    const char *why_not;
    if (!round_is_known(v, m->lead.crashed_ms, ROUND_AGE_MS) || !candidate_successor(v, NULL, &why_not)) {
        round_again(v, p, m->lead.crashed_ms);
        return;
    }
    restart_forget(m);
    (void)plan_stop(p, HA_STOP_IMMEDIATE, STOP_NOW_MS);
    (void)plan_why(p, "starting took longer than primary_start_timeout and another member can lead");
}

void lead_checkpoint(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    if (v->pg.checkpointed)
        return;
    if (m->lead.checkpoint_asked && v->pg.checkpoint_failed_ms) {
        plan_wake(p, v->pg.checkpoint_failed_ms + CHECKPOINT_AGAIN_MS);
        m->lead.checkpoint_asked = v->now_ms < v->pg.checkpoint_failed_ms + CHECKPOINT_AGAIN_MS;
    }
    if (m->lead.checkpoint_asked)
        return;
    if (!m->lead.opened_ms)
        m->lead.opened_ms = v->now_ms;
    if (v->now_ms < m->lead.opened_ms + HA_OPENED_MS) {
        plan_wake(p, m->lead.opened_ms + HA_OPENED_MS);
        return;
    }
    (void)plan_add(p, HA_DO_CHECKPOINT);
    m->lead.checkpoint_asked = true;
    m->lead.opened_ms = 0;
}

bool lead_chores(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    const struct cluster *c = v->store.cluster;

    if (restart_decide(m, v, p) || !v->store.known)
        return true;
    if (str_empty(c->initialize) && v->pg.system_id && v->lease.owner) /* who has not the leader key yet would fail */
        plan_add(p, HA_DO_WRITE_INITIALIZE)->term = leads_under(v);
    lead_checkpoint(m, v, p);
    if (c->failover.present && handover_decide(m, v, p))
        return true;
    if (v->request.reinit) {
        struct ha_action *answer = plan_add(p, HA_DO_ANSWER);
        answer->answer_to = HA_ANSWER_REINIT;
        (void)plan_why(p, "the leader is not reinitialized");
    }
    return false;
}

/* PostgreSQL runs as primary and we may serve. */
static void lead_primary(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    p->serving = p->leading = true;
    (void)plan_why(p, "the leader with the lock");
    if (!lead_chores(m, v, p) && !beside_decide(m, v, p))
        reign_enter(v, p);
}

void lead_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    CHECK(v->lease.owner);

    switch (v->pg.process) {
    case HA_PROC_UNKNOWN:
        (void)plan_why(p, "waiting to learn what runs here");
        /* A control file that cannot be read for so long: others should lead. */
        if (m->lead.crashed_ms && v->now_ms - m->lead.crashed_ms >= v->conf.primary_start_timeout_ms + UNREADABLE_MS)
            (void)give_up_for_another(m, v, p);
        else
            plan_wake(p, v->now_ms + LOOK_AGAIN_MS);
        return;
    case HA_PROC_ORPHANS:
        (void)plan_add(p, HA_DO_KILL_ORPHANS);
        /* Whether somebody else can lead is the next question then, and its answer takes as long as the killing. */
        if (!v->conf.primary_start_timeout_ms && !v->conf.pause)
            (void)round_have(v, p, m->lead.crashed_ms, MSEC_NEVER);
        (void)plan_why(p, "the postmaster died; ending the processes it left");
        return;
    case HA_PROC_NONE:
        lead_stopped(m, v, p);
        return;
    case HA_PROC_RUNNING:
        break;
    }
    if (!v->pg.answered || !v->pg.accepting) {
        /* A primary that answered before and is slow now is still the primary. */
        p->serving = !m->lead.crashed_ms && !v->pg.standby_signal;
        lead_starting(m, v, p);
    } else if (v->pg.in_recovery) {
        promotion_decide(m, v, p);
    } else {
        lead_primary(m, v, p);
    }
}

void lead_died(struct ha_memory *m)
{
    m->lead.checkpoint_asked = false;
    m->lead.opened_ms = 0;
}

void lead_seen(struct ha_memory *m, const struct ha_view *v)
{
    if (leads(v) && !pg_is_primary(v) && v->pg.process != HA_PROC_RUNNING) {
        if (!m->lead.crashed_ms)
            m->lead.crashed_ms = v->now_ms;
    } else if (pg_is_primary(v) || !leads(v)) {
        m->lead.crashed_ms = 0;
    }
}
