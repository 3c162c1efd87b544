#include "core/ha/fence.h"

#include "base/check.h"
#include "base/mutant.h"
#include "base/str.h"
#include "core/ha/facts.h"
#include "core/ha/mode.h"
#include "core/ha/peer_lease.h"

enum {
    RENEW_RETRY_MS =
        1000, /* a refused or lost renewal is tried again so soon; a store that is away hears one request a second */
    FAILSAFE_RETRY_MS = 2000, /* pause between rounds of POST /failsafe */
    LOST_KILL_MS = 3000,      /* another node owns the key: everything here is gone by then at the latest */
};

/* Shares of the ttl, in thousandths. */
enum { STOP_AT = 780, QUIT_AT = 880, KILL_AT = 950 };

static msec share(msec ttl_ms, int thousandths)
{
    return ttl_ms * thousandths / 1000;
}

/* A lease lives by the ttl it was granted with, whatever the configuration says since. */
static msec ttl_of(const struct ha_view *v)
{
    return v->lease.ttl_ms ? v->lease.ttl_ms : v->conf.ttl_ms;
}

/*
 * Last moment for which this node holds a promise of the store, of all members (failsafe), or of an older
 * agent's fence.
 */
static msec promised_until(const struct ha_view *v)
{
    msec deadline_ms = 0;

    /* While the key is gone but our lease is not, others wait for it all the same. */
    if (v->lease.owner || (v->lease.was_owner && !leader_is_other(v)))
        deadline_ms = v->lease.deadline_ms;
    if (v->lease.failsafe_ms)
        deadline_ms = msec_max(deadline_ms, v->lease.failsafe_ms + msec_min(ttl_of(v), v->conf.ttl_ms));
    return deadline_ms;
}

/* Nobody has promised this agent anything yet: the fence stays as the one before it has left it. */
static bool fence_is_inherited(const struct ha_view *v)
{
    return v->lease.inherited_stop_ms && v->lease.inherited_kill_ms && !promised_until(v) && !leader_is_other(v);
}

static msec deadline(const struct ha_memory *m, const struct ha_view *v)
{
    msec deadline_ms = promised_until(v);

    if (deadline_ms || leader_is_other(v))
        return deadline_ms;
    /* Never renewed: a running PostgreSQL that we took over, from an older agent or from somebody else. */
    if (v->lease.inherited_kill_ms)
        return v->lease.inherited_kill_ms;
    msec ttl_ms = ttl_of(v);
    return m->seen.started_ms + v->conf.retry_timeout_ms + ttl_ms - share(ttl_ms, STOP_AT);
}

static msec stop_at(const struct ha_memory *m, const struct ha_view *v)
{
    msec by_store_ms = deadline(m, v) - (ttl_of(v) - share(ttl_of(v), STOP_AT));

    return msec_min(by_store_ms, peer_lease_stop_at(peer_lease_deadline(m, v)));
}

/* The peer lease makes it earlier, never later. */
static void obey_peers(const struct ha_memory *m, const struct ha_view *v, struct ha_fence *f)
{
    msec deadline_ms = peer_lease_deadline(m, v);

    f->stop_ms = msec_min(f->stop_ms, peer_lease_stop_at(deadline_ms));
    f->quit_ms = msec_min(f->quit_ms, peer_lease_quit_at(deadline_ms));
    f->kill_ms = msec_min(f->kill_ms, peer_lease_kill_at(deadline_ms));
}

bool fence_may_serve(const struct ha_memory *m, const struct ha_view *v)
{
    if (!v->lease.owner)
        return false;
    return v->now_ms < stop_at(m, v);
}

/*
 * No cluster yet, and nobody could become primary beside us. One that we have led is remembered by others, however
 * empty the store is; but not for the sake of a database that is being made.
 */
static bool nobody_beside_us(const struct ha_view *v)
{
    const struct cluster *c = v->store.cluster;
    bool led = v->lease.was_owner || v->lease.inherited_kill_ms;

    if (!c || v->lease.owner || (led && v->pg.data != HA_DATA_BOOTSTRAPPING))
        return false;
    return str_empty(c->initialize) && !c->leader;
}

static void fence_set(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    msec ttl_ms = ttl_of(v);
    msec deadline_ms = deadline(m, v) + (MUTANT(FENCE_TOO_LATE) ? ttl_ms / 2 : 0);

    p->fence = (struct ha_fence){v->lease.term, MSEC_NEVER, MSEC_NEVER, MSEC_NEVER};
    if (mode_needs_no_fence(v))
        return;
    bool ours = v->lease.owner || (v->lease.was_owner && !leader_is_other(v));
    /* Ours, or the one of an agent before us, goes on until the record says that there is none. */
    if (v->conf.pause && (v->lease.unfenced || (!ours && !v->lease.inherited_kill_ms)))
        return;
    /* A standby needs no fence, unless it may be about to stop being one. */
    if (!pg_may_be_primary(v) && !fence_may_serve(m, v) && !job_runs(v, HA_JOB_PROMOTE) && !m->promotion.doubt)
        return;
    if (nobody_beside_us(v))
        return;

    if (leader_is_other(v)) {
        /* We stop now, by plan; this is for the case that we cannot. */
        msec since_ms = m->seen.rival_ms ? m->seen.rival_ms : v->now_ms;
        p->fence.stop_ms = since_ms;
        p->fence.quit_ms = since_ms + LOST_KILL_MS / 2;
        p->fence.kill_ms = since_ms + LOST_KILL_MS;
        obey_peers(m, v, &p->fence);
        return;
    }
    if (fence_is_inherited(v)) {
        p->fence.stop_ms = v->lease.inherited_stop_ms;
        p->fence.quit_ms = v->lease.inherited_quit_ms;
        p->fence.kill_ms = v->lease.inherited_kill_ms;
        return;
    }
    p->fence.stop_ms = deadline_ms - (ttl_ms - share(ttl_ms, STOP_AT));
    p->fence.quit_ms = deadline_ms - (ttl_ms - share(ttl_ms, QUIT_AT));
    p->fence.kill_ms = deadline_ms - (ttl_ms - share(ttl_ms, KILL_AT));
    obey_peers(m, v, &p->fence);
    CHECK(p->fence.stop_ms <= p->fence.quit_ms);
    CHECK(p->fence.kill_ms <= deadline_ms);
}

/* The store is away: ask every member whether we may stay (Patroni's failsafe_mode). */
static void failsafe_decide(const struct ha_view *v, struct ha_plan *p)
{
    if (!v->conf.failsafe_mode || mode_is_quorum(v) || v->store.known || !v->lease.owner || !pg_is_primary(v))
        return;

    p->failsafe_active = v->lease.failsafe_ms && v->now_ms - v->lease.failsafe_ms < v->conf.ttl_ms;
    if (v->lease.failsafe_asking)
        return;

    msec due_ms = v->lease.failsafe_tried_ms ? v->lease.failsafe_tried_ms + FAILSAFE_RETRY_MS : v->now_ms;
    if (v->now_ms >= due_ms) {
        (void)plan_add(p, HA_DO_ASK_FAILSAFE);
        due_ms = v->now_ms + FAILSAFE_RETRY_MS;
    }
    plan_wake(p, due_ms);
}

/* Keep the lease alive: by the loop while all is well, every second when it is not. */
static void renew_decide(const struct ha_view *v, struct ha_plan *p)
{
    if (v->lease.renewing)
        return;
    bool well = v->lease.exists && v->store.known && v->lease.renewed_ms >= v->lease.tried_ms;
    bool other_ttl = v->lease.exists && ttl_of(v) != v->conf.ttl_ms; /* another lease is granted at once */
    msec period_ms = msec_min(v->conf.loop_wait_ms, ttl_of(v) / 3);
    msec due_ms = v->lease.tried_ms + (well && !other_ttl ? period_ms : RENEW_RETRY_MS);
    if (!v->lease.tried_ms || v->now_ms >= due_ms) {
        (void)plan_add(p, HA_DO_RENEW);
        due_ms = v->now_ms + RENEW_RETRY_MS;
    }
    plan_wake(p, due_ms);
}

/*
 * In pause nothing stops a leader that is cut off. The others must know that before it is so, and until it is
 * no longer so: whoever resumes on their side must not make them believe in a fence that this node cannot know
 * of.
 */
static void tell_decide(const struct ha_view *v, struct ha_plan *p)
{
    if (mode_is_quorum(v) || !v->lease.owner || !v->store.known || v->lease.telling ||
        v->conf.pause == v->lease.unfenced)
        return;
    if (v->store.cluster && record_key_is_opaque(&v->store.cluster->record)) /* it is left as it is; so is the fence */
        return;
    (void)plan_add(p, v->conf.pause ? HA_DO_TELL_UNFENCED : HA_DO_TELL_FENCED);
}

void fence_decide(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    fence_set(m, v, p);
    renew_decide(v, p);
    tell_decide(v, p);
    failsafe_decide(v, p);
    if (p->fence.stop_ms != MSEC_NEVER)
        plan_wake(p, msec_max(p->fence.stop_ms, v->now_ms + RENEW_RETRY_MS / 10));
}
