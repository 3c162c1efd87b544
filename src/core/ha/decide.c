#include "core/ha/decide.h"

#include "base/check.h"
#include "base/mutant.h"
#include "base/str.h"
#include "base/trace.h"
#include "core/ha/bootstrap.h"
#include "core/ha/depose.h"
#include "core/ha/duty.h"
#include "core/ha/elect.h"
#include "core/ha/facts.h"
#include "core/ha/failover.h"
#include "core/ha/fence.h"
#include "core/ha/frozen.h"
#include "core/ha/handover.h"
#include "core/ha/lead.h"
#include "core/ha/ledger.h"
#include "core/ha/mode.h"
#include "core/ha/observe.h"
#include "core/ha/peer_lease.h"
#include "core/ha/promise.h"
#include "core/ha/promotion.h"
#include "core/ha/recover.h"
#include "core/ha/reign.h"
#include "core/ha/rejoin.h"
#include "core/ha/restart.h"
#include "core/ha/sync_copy.h"

enum {
    ENDING_STOP_MS = 60000, /* SIGTERM: a stop that takes longer is ended by force; systemd's own limit is 90 s */
    HALTED_AGAIN_MS = 1000,
    DEMOTE_BUDGET_MS = 5000, /* the fence is near: whatever a soft stop needs, the guard's kill comes first anyway */
};

void ha_memory_init(struct ha_memory *m)
{
    *m = (struct ha_memory){0};
}

/* Another database: nothing here may be touched on this cluster's behalf. */
static bool identity_decide(const struct ha_view *v, struct ha_plan *p)
{
    const char *ours = v->pg.system_id;
    const char *theirs = v->store.cluster ? v->store.cluster->initialize : NULL;

    if (str_empty(ours) || str_empty(theirs) || str_eq(ours, theirs) || v->pg.data != HA_DATA_VALID)
        return false;
    if (v->lease.owner && !mode_is_quorum(v))
        (void)plan_add(p, HA_DO_RELEASE);
    if (v->conf.pause)
        return plan_why(p, "paused: system ID mismatch, ours %s, the cluster's %s", ours, theirs);
    (void)plan_add(p, HA_DO_EXIT);
    return plan_why(p, "system ID mismatch: this data directory belongs to %s, the cluster is %s", ours, theirs);
}

/* Others need not wait for the end of this node: nothing more can be committed here. */
static void let_go(const struct ha_view *v, struct ha_plan *p)
{
    if (!v->store.known || !leads(v))
        return;
    if (mode_is_quorum(v))
        (void)handover_elect(v, p, NULL);
    else
        (void)plan_add(p, HA_DO_RELEASE);
}

/* SIGTERM. */
static void ending_decide(const struct ha_view *v, struct ha_plan *p)
{
    if (v->job.state == HA_JOB_RUNNING) {
        bool own_end = v->job.kind == HA_JOB_STOP || v->job.kind == HA_JOB_START || v->job.kind == HA_JOB_DISCARD ||
                       v->job.kind == HA_JOB_REWIND;
        if (!own_end)
            (void)plan_add(p, HA_DO_CANCEL_JOB);
        if (v->job.kind == HA_JOB_STOP && v->pg.shut_down_at)
            let_go(v, p);
        (void)plan_why(p, "ending: waiting for %s", ha_job_text(v->job.kind));
        return;
    }
    if (v->conf.pause && v->pg.process == HA_PROC_RUNNING) {
        (void)plan_add(p, HA_DO_LEAVE);
        (void)plan_why(p, "ending; paused, so PostgreSQL stays");
        return;
    }
    if (v->pg.process == HA_PROC_RUNNING) {
        struct ha_action *stop = plan_stop(p, HA_STOP_FAST, ENDING_STOP_MS);
        stop->checkpoint_first = pg_is_primary(v);
        stop->in_good_time = true;
        (void)plan_why(p, "ending: stopping PostgreSQL");
        return;
    }
    if (v->pg.process == HA_PROC_ORPHANS) {
        (void)plan_add(p, HA_DO_KILL_ORPHANS);
        (void)plan_why(p, "ending: ending the processes that a dead postmaster left");
        return;
    }
    if (v->pg.process == HA_PROC_UNKNOWN) {
        (void)plan_why(p, "ending: waiting to learn what runs here");
        return;
    }
    /* A store that is away is not waited for: the lease ends by itself. */
    let_go(v, p);
    (void)plan_add(p, HA_DO_EXIT);
    (void)plan_why(p, "ending");
}

/* Long work is under way: is it still wanted? */
static void job_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    enum ha_job_kind kind = v->job.kind;

    /* The last processes take their time to go; the successor need not wait for them. */
    bool given_up = kind == HA_JOB_STOP && v->pg.shut_down_at && leads(v) && v->store.known && !m->restart.under_way;
    if (given_up && handover_finish(v, p))
        return;
    if (MUTANT(RELEASE_UNSTOPPED) && kind == HA_JOB_STOP && leads(v))
        (void)plan_add(p, HA_DO_RELEASE);

    bool for_leader = kind == HA_JOB_PROMOTE || kind == HA_JOB_PRE_PROMOTE;
    bool against_leader = kind == HA_JOB_CLONE || kind == HA_JOB_CHECK_REJOIN;

    (void)plan_why(p, "%s is under way", ha_job_text(kind));
    p->serving = !mode_is_quorum(v) && v->lease.owner && fence_may_serve(m, v) && pg_is_primary(v);
    if (for_leader && !leads(v)) {
        (void)plan_add(p, HA_DO_CANCEL_JOB);
        (void)plan_why(p, "this node leads no longer: %s is cancelled", ha_job_text(kind));
    } else if (kind == HA_JOB_PROMOTE) {
        promotion_watch(m, v, p);
    }
    if (against_leader && (leads(v) || p->freeze))
        (void)plan_add(p, HA_DO_CANCEL_JOB);
    if (kind == HA_JOB_CLONE && v->request.reinit && v->request.reinit_force && !m->reinit.under_way)
        (void)plan_add(p, HA_DO_CANCEL_JOB);
}

static void duty_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    if (v->pg.halted_ms)
        plan_wake(p, v->now_ms + HALTED_AGAIN_MS);
    restart_check_failed(m, v, p);

    switch (duty_of(m, v, &p->fence)) {
    case DUTY_WITNESS: /* it promises, calls and elects like anybody (failover_decide); there is nothing to freeze */
        (void)plan_why(p, "a witness: no PostgreSQL here%s%s", leader_name(v) ? "; the leader is " : "",
                       leader_name(v) ? leader_name(v) : "");
        break;
    case DUTY_FROZEN:
        frozen_decide(m, v, p);
        break;
    case DUTY_WAIT:
        (void)plan_why(p, "waiting for the store");
        break;
    case DUTY_DEMOTE:
        CHECK(!fence_may_serve(m, v));
        (void)plan_stop(p, HA_STOP_FAST, DEMOTE_BUDGET_MS);
        (void)plan_why(p, "the lease could not be renewed in time: demoting before it ends");
        break;
    case DUTY_HALTED: /* Patroni never notices this one. A kill makes it a crash like any other. */
        (void)plan_stop(p, HA_STOP_KILL, HALTED_AGAIN_MS);
        (void)plan_why(p, "the postmaster is stopped by a signal since %lld ms: ending it",
                       (long long)(v->now_ms - v->pg.halted_ms));
        break;
    case DUTY_REIGN:
        reign_decide(m, v, p);
        break;
    case DUTY_LEAD:
        lead_decide(m, v, p);
        break;
    case DUTY_REATTACH:
        (void)plan_why(p, "our leader key hangs on an older lease; attaching it to this one");
        break;
    case DUTY_FOLLOW:
        rejoin_decide(m, v, p);
        break;
    case DUTY_BIRTH:
        bootstrap_decide(m, v, p);
        break;
    case DUTY_HANDED_OVER:
        plan_wake(p, m->leader.gone_ms + v->conf.loop_wait_ms);
        (void)plan_why(p, "handed over; waiting for the new leader");
        break;
    case DUTY_DOUBT:
        (void)plan_stop(p, HA_STOP_IMMEDIATE, DEMOTE_BUDGET_MS);
        (void)plan_why(p, "a promotion that did not end well may still happen: stopping PostgreSQL");
        break;
    case DUTY_RACE:
        if (!restart_decide(m, v, p))
            elect_decide(m, v, p);
        break;
    case DUTY_STAY_UP:
        rejoin_stay_up(m, v, p);
        break;
    }
}

void ha_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *ret_plan)
{
    struct ha_plan *p = ret_plan;

    plan_reset(p);
    p->wake_ms = v->now_ms + v->conf.loop_wait_ms;
    observe(m, v);
    fence_decide(m, v, p);
    promise_decide(v, p);
    p->unfit = node_is_unfit(v, (char[UNKEPT_MAX]){0});

    if (v->request.ending)
        ending_decide(v, p);
    else if (v->job.state == HA_JOB_RUNNING)
        job_decide(m, v, p);
    else if (!identity_decide(v, p))
        duty_decide(m, v, p);
    if (!v->request.ending)
        failover_decide(m, v, p);
    if (!v->request.ending)
        recover_decide(m, v, p);
    peer_lease_decide(m, v, p);
    depose_vote(m, v, p);
    depose_decide(v, p);
    sync_copy_decide(v, p);

    trace_add("decide %lld: %zu actions, %s", (long long)v->now_ms, p->count, p->why);
    ha_check(m, v, p);
}

void ha_keep_lease(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    observe(m, v);
    fence_decide(m, v, p);
    promise_decide(v, p);
    depose_vote(m, v, p);
    peer_lease_wake(m, v, p);
}

/* Under a promise that nobody is elected under nothing is followed, promoted or acknowledged. */
static void check_frozen(const struct ha_plan *p)
{
    CHECK(!p->serving);
    for (size_t i = 0; i < p->count; i++) {
        const struct ha_action *a = &p->actions[i];
        CHECK(a->kind != HA_DO_FOLLOW && a->kind != HA_DO_LOAD_NAMES && a->kind != HA_DO_MARKER);
        if (a->kind == HA_DO_START_JOB)
            CHECK(a->job == HA_JOB_STOP || (a->job == HA_JOB_START && a->start == HA_START_STANDBY && !a->subject[0]));
    }
}

/* A change of the record is one of what was read, by who can read it. */
static void check_record(const struct ha_view *v, const struct ha_record_change *change)
{
    const struct cluster *c = change->recovers ? v->store.past : v->store.cluster;
    const struct record_key *now = c ? &c->record : NULL;

    CHECK(now && !record_key_is_opaque(now));
    CHECK(!v->store.reads_back);
    CHECK(change->expected_revision == now->mod_revision);
    CHECK(change->next.term >= now->term);
    CHECK(!change->take_leader_key || v->lease.exists);
    CHECK(!change->take_leader_key || !change->drop_leader_key);
    CHECK(!change->drops_as_read || change->drop_leader_key);
    /* An electorate is begun by the leader itself. */
    CHECK(!change->next.electorate.count || now->electorate.count || v->lease.owner);
}

void ha_check(const struct ha_memory *m, const struct ha_view *v, const struct ha_plan *p)
{
    size_t jobs = 0;

    CHECK(p->wake_ms > 0);
    CHECK(m->seen.started_ms <= v->now_ms);
    if (p->freeze)
        check_frozen(p);
    if (plan_has(p, HA_DO_RECORD))
        CHECK(p->record.recovers ? recover_may_write(v, &p->record.next)
                                 : ledger_may_follow(&v->store.cluster->record, &p->record.next));
    for (size_t i = 0; i < p->count; i++) {
        const struct ha_action *a = &p->actions[i];
        if (a->kind == HA_DO_RECORD)
            check_record(v, &p->record);
        jobs += a->kind == HA_DO_START_JOB;
        if (a->kind != HA_DO_START_JOB)
            continue;
        /* Long work is one at a time. */
        CHECK(v->job.state != HA_JOB_RUNNING);
        /* Promotion only as the owner, with a fence ahead unless paused. */
        if (a->job == HA_JOB_PROMOTE) {
            CHECK(leads(v));
            CHECK(v->conf.pause || mode_is_quorum(v) || p->fence.kill_ms != MSEC_NEVER);
        }
        /* A clone only over nothing, a discard never under a running postmaster. */
        if (a->job == HA_JOB_CLONE)
            CHECK(v->pg.data == HA_DATA_EMPTY || v->pg.data == HA_DATA_CLONING);
        if (a->job == HA_JOB_DISCARD || a->job == HA_JOB_REWIND || a->job == HA_JOB_CLONE)
            CHECK(v->pg.process == HA_PROC_NONE);
    }
    CHECK(jobs <= 1);
    if (p->serving)
        CHECK(v->lease.owner || v->conf.pause);
}
