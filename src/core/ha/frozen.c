#include "core/ha/frozen.h"

#include "core/ha/facts.h"
#include "core/ha/start.h"

enum {
    /*
     * A server that shut down in good order tells its position as it is; one that stays down longer than an election
     * needs may be elected itself, and comes up for that.
     */
    STAY_DOWN_MS = 1000,
    STOP_MS = 1000, /* for an immediate stop; what is left then is killed */
};

static void frozen_stop(const struct ha_view *v, struct ha_plan *p, const char *why)
{
    bool soft = pg_is_standby(v) && !pg_is_halted(v);

    (void)plan_stop(p, soft ? HA_STOP_IMMEDIATE : HA_STOP_KILL, STOP_MS);
    (void)plan_why(p, "promised term %llu: %s", (unsigned long long)v->quorum.promise.term, why);
}

/* It runs and neither works nor dies: so it shows nothing, and whatever it was asked for last may still happen. */
static bool shows_nothing(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    bool deaf = v->health.sick & (PEER_SICK_PROBE | PEER_SICK_CONNECT | PEER_SICK_HALTED);
    msec due_ms = m->frozen.since_ms + v->conf.profile.sick_ms;

    if (v->quorum.freeze.kind != PEER_FREEZE_NONE || v->conf.pause || !(deaf || pg_is_halted(v)))
        return false;
    if (!pg_is_halted(v) && v->now_ms < due_ms) {
        plan_wake(p, due_ms);
        return false;
    }
    return true;
}

static void frozen_running(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    if (m->promotion.doubt) {
        frozen_stop(v, p, "a promotion that was begun may still happen, so PostgreSQL is stopped");
        return;
    }
    if (v->quorum.freeze.failed) {
        frozen_stop(v, p, "it could not be proved that nothing is acknowledged any more, so PostgreSQL is stopped");
        return;
    }
    if (shows_nothing(m, v, p)) {
        frozen_stop(v, p, "PostgreSQL does not answer and so cannot show that it is frozen: ending it");
        return;
    }
    (void)plan_why(p, "promised term %llu; waiting for who is elected", (unsigned long long)v->quorum.promise.term);
}

/* As a standby of nobody: the data is looked at, and may be elected, without being served or written. */
static void frozen_stopped(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    (void)plan_why(p, "promised term %llu; PostgreSQL is down", (unsigned long long)v->quorum.promise.term);
    if (v->pg.data != HA_DATA_VALID || (v->conf.pause && !m->restart.under_way))
        return;
    msec due_ms = m->frozen.since_ms + (v->quorum.freeze.kind == PEER_FREEZE_STOPPED ? STAY_DOWN_MS : 0);
    if (v->now_ms < due_ms) {
        plan_wake(p, due_ms);
        return;
    }
    if (start_waits(m, v, p))
        return;
    plan_job(p, HA_JOB_START, NULL)->start = HA_START_STANDBY;
    (void)plan_why(p, "promised term %llu; starting as a standby of nobody",
                   (unsigned long long)v->quorum.promise.term);
}

void frozen_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    if (m->frozen.term != v->quorum.promise.term) {
        m->frozen.term = v->quorum.promise.term;
        m->frozen.since_ms = v->now_ms;
    }
    switch (v->pg.process) {
    case HA_PROC_UNKNOWN:
        (void)plan_why(p, "waiting to learn what runs here");
        break;
    case HA_PROC_ORPHANS:
        (void)plan_add(p, HA_DO_KILL_ORPHANS);
        (void)plan_why(p, "promised term %llu; ending what a dead postmaster left",
                       (unsigned long long)v->quorum.promise.term);
        break;
    case HA_PROC_NONE:
        frozen_stopped(m, v, p);
        break;
    case HA_PROC_RUNNING:
        frozen_running(m, v, p);
        break;
    }
}
