#include "core/ha/bootstrap.h"

#include "base/check.h"
#include "base/str.h"
#include "core/ha/facts.h"
#include "core/ha/promise.h"

enum {
    CLEAN_UP_STOP_MS = 2000, /* nothing in it is worth waiting for */
    LOOK_AGAIN_MS = 1000,
    /* What makes initdb fail lasts, and each attempt leaves a directory: the first failure waits like a fourth one. */
    FAILURES_FIRST = 3,
};

/* The claim hangs on our lease. */
static bool claim_is_ours(const struct ha_view *v)
{
    const struct cluster *c = v->store.cluster;

    return c->initialize && c->initialize_lease && c->initialize_lease == v->lease.id;
}

/* Started by somebody else where a bootstrap did not finish. */
static bool is_somebodys(const struct ha_view *v)
{
    return v->pg.data == HA_DATA_BOOTSTRAPPING && v->pg.process == HA_PROC_RUNNING && v->pg.adopted;
}

/* A database that is there already becomes the cluster; its position is judged like a candidate's. */
static bool may_become_cluster(const struct ha_view *v)
{
    return v->pg.data == HA_DATA_VALID && pg_is_primary(v) && v->store.known && v->lease.exists;
}

void bootstrap_discard(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    if (backoff_waits(&m->rejoin.discard, v, p)) {
        (void)plan_why(p, "an earlier bootstrap did not finish; the next step follows a back-off");
        return;
    }
    plan_job(p, HA_JOB_DISCARD, NULL)->remove = m->bootstrap.ours;
    (void)plan_why(p, "an earlier bootstrap did not finish: %s",
                   m->bootstrap.ours ? "removing what it left" : "moving what is there out of the way");
}

/* The half that an earlier attempt left, ours or an earlier agent's. */
static void clean_up(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    if (v->pg.process == HA_PROC_RUNNING) {
        (void)plan_stop(p, HA_STOP_IMMEDIATE, CLEAN_UP_STOP_MS);
        (void)plan_why(p, "an earlier bootstrap did not finish: stopping what it started");
        return;
    }
    if (v->pg.process == HA_PROC_ORPHANS) {
        (void)plan_add(p, HA_DO_KILL_ORPHANS);
        (void)plan_why(p, "an earlier bootstrap did not finish: ending its processes");
        return;
    }
    bootstrap_discard(m, v, p);
    if (claim_is_ours(v) && p->count)
        (void)plan_add(p, HA_DO_DROP_INITIALIZE);
}

/* initdb (or the custom method) is done and our marker still stands. */
static void bootstrap_continue(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    /* Begun by another life of this agent, or the claim has passed to another node. */
    bool not_ours = !m->bootstrap.under_way || (v->store.cluster->initialize && !claim_is_ours(v));
    bool stopped = v->pg.process == HA_PROC_NONE;
    bool start_failed = stopped && v->job.kind == HA_JOB_START && v->job.state == HA_JOB_FAILED;

    if (not_ours || start_failed || (!stopped && v->pg.process != HA_PROC_RUNNING)) {
        clean_up(m, v, p);
    } else if (stopped) {
        plan_job(p, HA_JOB_START, NULL)->start = HA_START_PRIMARY;
        (void)plan_why(p, "bootstrap: starting the new database");
    } else if (!v->pg.answered || !v->pg.accepting || v->pg.in_recovery) {
        plan_wake(p, v->now_ms + LOOK_AGAIN_MS);
        (void)plan_why(p, "bootstrap: waiting for the new database to accept connections");
    } else {
        (void)plan_job(p, HA_JOB_POST_BOOTSTRAP, NULL);
        (void)plan_why(p, "bootstrap: creating users, running post_bootstrap");
    }
}

bool bootstrap_is_due(const struct ha_view *v)
{
    bool initialized = !str_empty(v->store.cluster->initialize);

    if (v->store.cluster->leader)
        return false;
    switch (v->pg.data) {
    case HA_DATA_BOOTSTRAPPING:
        return !initialized || is_somebodys(v);
    case HA_DATA_VALID: /* Stopped ones come up as standbys and are compared with each other before one is promoted. */
        return !initialized && (may_become_cluster(v) || (pg_is_standby(v) && v->pg.streaming));
    case HA_DATA_EMPTY:
        return !initialized && v->pg.process == HA_PROC_NONE;
    case HA_DATA_UNKNOWN:
    case HA_DATA_CLONING:
    case HA_DATA_REWINDING:
    case HA_DATA_FOREIGN:
        break;
    }
    return false;
}

/* Nothing is here, nothing runs. */
static void bootstrap_begin(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    const struct cluster *c = v->store.cluster;

    if (v->conf.tags.nofailover) {
        (void)plan_why(p, "no cluster yet; this node is tagged nofailover and does not bootstrap");
    } else if (c->initialize && !claim_is_ours(v)) { /* ours: its answer never came, or its first attempt failed */
        (void)plan_why(p, "another node is bootstrapping the cluster");
    } else if (backoff_waits(&m->bootstrap.backoff, v, p)) {
        (void)plan_why(p, "the bootstrap failed; the next attempt follows a back-off");
    } else if (!v->store.known || !v->lease.exists) {
        (void)plan_why(p, "no cluster yet; waiting for the store");
    } else {
        if (!c->initialize)
            (void)plan_add(p, HA_DO_CLAIM_BOOTSTRAP);
        (void)plan_job(p, HA_JOB_BOOTSTRAP, NULL); /* only if the claim succeeds */
        (void)plan_why(p, "bootstrapping a new cluster");
    }
}

void bootstrap_decide(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    CHECK(bootstrap_is_due(v));

    if (is_somebodys(v)) {
        (void)plan_why(p, "somebody runs a database where a bootstrap did not finish: left alone for an operator, who "
                          "removes bootstrap.in-progress if that is the one to keep");
    } else if (v->pg.data == HA_DATA_BOOTSTRAPPING) {
        bootstrap_continue(m, v, p);
    } else if (may_become_cluster(v)) {
        plan_add(p, HA_DO_ACQUIRE)->above = promise_highest(v);
        (void)plan_why(p, "bootstrap: the database that runs here becomes the cluster");
    } else if (v->pg.data == HA_DATA_VALID) {
        (void)plan_why(p, "no cluster yet, and the database here is a standby: waiting for its primary");
    } else {
        bootstrap_begin(m, v, p);
    }
}

void bootstrap_seen(struct ha_memory *m, const struct ha_view *v)
{
    if (job_runs(v, HA_JOB_BOOTSTRAP))
        m->bootstrap.under_way = true;
}

void bootstrap_ended(struct ha_memory *m, const struct ha_view *v)
{
    m->bootstrap.ours = true;
    if (v->job.state == HA_JOB_OK) {
        m->bootstrap.under_way = true;
        return;
    }
    m->bootstrap.under_way = false;
    if (!m->bootstrap.backoff.failures)
        m->bootstrap.backoff.failures = FAILURES_FIRST;
    backoff_failed(&m->bootstrap.backoff, v->now_ms);
}

void bootstrap_discard_ended(struct ha_memory *m, const struct ha_view *v)
{
    if (v->job.state == HA_JOB_OK)
        m->bootstrap.ours = false;
}
