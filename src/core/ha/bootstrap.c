#include "core/ha/bootstrap.h"

#include "base/str.h"
#include "core/ha/facts.h"

/* The claim hangs on our lease. */
static bool claim_is_ours(const struct ha_view *v)
{
    const struct cluster *c = v->store.cluster;

    return c->initialize && c->initialize_lease && c->initialize_lease == v->lease.id;
}

void bootstrap_discard(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    if (backoff_waits(&m->discard_backoff, v, p)) {
        (void)plan_why(p, "an earlier bootstrap did not finish; the next step follows a back-off");
        return;
    }
    plan_job(p, HA_JOB_DISCARD, NULL)->remove = m->bootstrap_ours;
    (void)plan_why(p, "an earlier bootstrap did not finish: %s",
                   m->bootstrap_ours ? "removing what it left" : "moving what is there out of the way");
}

/* The half that an earlier attempt left, ours or an earlier agent's. */
static bool clean_up(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    if (v->pg.process == HA_PROC_RUNNING) {
        (void)plan_stop(p, HA_STOP_IMMEDIATE, 2000); /* nothing in it is worth waiting for */
        return plan_why(p, "an earlier bootstrap did not finish: stopping what it started");
    }
    if (v->pg.process == HA_PROC_ORPHANS) {
        (void)plan_add(p, HA_DO_KILL_ORPHANS);
        return plan_why(p, "an earlier bootstrap did not finish: ending its processes");
    }
    bootstrap_discard(m, v, p);
    if (claim_is_ours(v) && p->count)
        (void)plan_add(p, HA_DO_DROP_INITIALIZE);
    return true;
}

/* initdb (or the custom method) is done and our marker still stands. */
static bool bootstrap_continue(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{ /* Begun by another life of this agent, or the claim has passed to another node. */
    if (!m->bootstrapping || (v->store.cluster->initialize && !claim_is_ours(v)))
        return clean_up(m, v, p);
    if (v->pg.process == HA_PROC_NONE) {
        if (v->job.kind == HA_JOB_START && v->job.state == HA_JOB_FAILED)
            return clean_up(m, v, p);
        plan_job(p, HA_JOB_START, NULL)->start = HA_START_PRIMARY;
        return plan_why(p, "bootstrap: starting the new database");
    }
    if (v->pg.process != HA_PROC_RUNNING)
        return clean_up(m, v, p);
    if (!v->pg.answered || !v->pg.accepting || v->pg.in_recovery) {
        plan_wake(p, v->now_ms + 1000);
        return plan_why(p, "bootstrap: waiting for the new database to accept connections");
    }
    (void)plan_job(p, HA_JOB_POST_BOOTSTRAP, NULL);
    return plan_why(p, "bootstrap: creating users, running post_bootstrap");
}

bool bootstrap_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    const struct cluster *c = v->store.cluster;
    bool initialized = !str_empty(c->initialize);

    if (c->leader)
        return false;
    if (v->pg.data == HA_DATA_BOOTSTRAPPING && v->pg.process == HA_PROC_RUNNING && v->pg.adopted)
        return plan_why(p, "somebody runs a database where a bootstrap did not finish: left alone for an operator, who "
                           "removes bootstrap.in-progress if that is the one to keep");
    if (initialized)
        return false;
    if (v->pg.data == HA_DATA_BOOTSTRAPPING)
        return bootstrap_continue(m, v, p);

    /* A database that is there already becomes the cluster; its position is judged like a candidate's. */
    if (v->pg.data == HA_DATA_VALID) {
        if (pg_is_primary(v) && v->store.known && v->lease.exists) {
            (void)plan_add(p, HA_DO_ACQUIRE);
            return plan_why(p, "bootstrap: the database that runs here becomes the cluster");
        }
        /* Stopped ones come up as standbys and are compared with each other before one is promoted. */
        if (pg_is_standby(v) && v->pg.streaming)
            return plan_why(p, "no cluster yet, and the database here is a standby: waiting for its primary");
        return false;
    }
    if (v->pg.data != HA_DATA_EMPTY || v->pg.process != HA_PROC_NONE)
        return false;
    if (v->conf.tags.nofailover)
        return plan_why(p, "no cluster yet; this node is tagged nofailover and does not bootstrap");
    /* Ours if it hangs on our lease: a claim whose answer never came, or one whose first attempt failed. */
    if (c->initialize && !claim_is_ours(v))
        return plan_why(p, "another node is bootstrapping the cluster");
    if (backoff_waits(&m->bootstrap_backoff, v, p))
        return plan_why(p, "the bootstrap failed; the next attempt follows a back-off");
    if (!v->store.known || !v->lease.exists)
        return plan_why(p, "no cluster yet; waiting for the store");

    if (!c->initialize)
        (void)plan_add(p, HA_DO_CLAIM_BOOTSTRAP);
    (void)plan_job(p, HA_JOB_BOOTSTRAP, NULL); /* only if the claim succeeds */
    return plan_why(p, "bootstrapping a new cluster");
}
