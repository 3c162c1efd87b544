#include "core/ha/depose.h"

#include "base/mutant.h"
#include "base/str.h"
#include "core/ha/facts.h"
#include "core/ha/mode.h"
#include "core/ha/observe.h"
#include "core/ha/peer_lease.h"
#include "core/ha/suspect.h"

/* How much faster one clock may be than another, and more: 1/20 of the lease. Two that are 2 % wrong differ by 4 %. */
enum { DRIFT_SHARE = 20 };

/* The record of another leader of asynchronous mode that has not let go; NULL. */
static const struct record_key *record_of_other(const struct ha_view *v)
{
    const struct record_key *r = v->store.cluster ? &v->store.cluster->record : NULL;

    if (!r || !r->present || record_key_is_opaque(r) || r->mode != RECORD_ASYNC || r->released || !r->leader)
        return NULL;
    return str_eq(r->leader, v->conf.name) ? NULL : r;
}

/*
 * What we know is younger than this agent, and this agent is the newest of its name: our member key, as we know it,
 * hangs on our lease. An agent that forgot that it is free would else grant by a picture from before.
 */
static bool is_known_by_store(const struct ha_view *v)
{
    const struct member *own = cluster_member(v->store.cluster, v->conf.name);

    return own && v->lease.exists && own->lease == v->lease.id;
}

/*
 * An agent that is cut off from the store for longer than its lease lasts may have been replaced by another one of its
 * name, whose word counts. In a leader's failsafe mode nobody reaches the store, and who is in /failsafe is asked.
 */
static bool may_grant(const struct ha_view *v)
{
    msec until_ms;

    return v->now_ms < v->lease.renewed_ms + v->lease.ttl_ms || observe_promised(v, &until_ms);
}

/*
 * From then on this agent can say of itself what it has granted. Before it started it may have granted a lease; and
 * what a store that was put back says of an electorate may be over since: both are over when a lease of the store would
 * be.
 */
static msec elector_from(const struct ha_memory *m, const struct ha_view *v)
{
    return msec_max(m->seen.started_ms, v->store.setback_ms) + v->conf.ttl_ms;
}

/* Of what it granted nothing holds any more from then on. */
static msec free_at(const struct ha_view *v, const struct ha_memory *m, const struct record_electorate *e)
{
    msec lease_ms = e->lease_ms + e->lease_ms / DRIFT_SHARE + 1;
    msec at_ms = v->elector.granted_ms ? v->elector.granted_ms + lease_ms : 0;

    if (MUTANT(GRANT_FORGOTTEN))
        return at_ms;
    return msec_max(at_ms, msec_max(elector_from(m, v), m->seen.started_ms + lease_ms));
}

void depose_vote(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    const struct record_key *r = record_of_other(v);

    p->vote = (struct ha_vote){.elector = v->now_ms >= elector_from(m, v)};
    if (v->mesh && !p->vote.elector)
        plan_wake(p, elector_from(m, v));
    if (!r || !v->mesh || !is_known_by_store(v))
        return;
    if (!r->challenger && !may_grant(v))
        return;
    if (!r->challenger) {
        str_copy(p->vote.grants, sizeof(p->vote.grants), r->leader);
        return;
    }
    if (!record_electorate_has(&r->electorate, v->conf.name))
        return;
    if (v->now_ms >= free_at(v, m, &r->electorate))
        p->vote.free_of = r->mod_revision;
    else
        plan_wake(p, free_at(v, m, &r->electorate));
}

/* ---- a candidate's part ---- */

static bool may_lead(const struct ha_view *v)
{
    char unkept[UNKEPT_MAX];
    bool tagged = v->conf.tags.nofailover || v->conf.tags.failover_priority <= 0;

    return pg_is_standby(v) && v->pg.position && v->pg.timeline && !tagged && v->job.state != HA_JOB_RUNNING &&
           !v->conf.pause && !v->request.ending && !node_is_unfit(v, unkept);
}

/* What it decides is about the record as it is, and it could do what follows. */
static bool may_act(const struct ha_view *v, const struct ha_plan *p)
{
    msec setback_ms = v->store.setback_ms;

    return v->store.known && !v->store.reads_back && v->lease.exists && v->conf.sync_mode == HA_SYNC_OFF &&
           !plan_has(p, HA_DO_RECORD) && p->count < HA_ACTIONS_MAX && is_known_by_store(v) &&
           !mode_has_strangers(v->store.cluster) && (!setback_ms || v->now_ms >= setback_ms + v->conf.ttl_ms);
}

/* All count, heard or not. */
static size_t most_of(const struct record_electorate *e, size_t heard)
{
    size_t of = MUTANT(ELECTORATE_SHRUNK) ? heard : e->count;

    if (MUTANT(HALF_DEPOSES))
        return e->count / 2;
    return MUTANT(PEER_LEASE_OF_TWO) ? (e->count + 1) / 2 : of / 2 + 1;
}

static bool is_elector(const struct record_electorate *e, const struct ha_view *v, const struct peer_state *s)
{
    return s && !str_eq(s->name, v->conf.name) && record_electorate_has(e, s->name);
}

static bool most_are_free(const struct ha_view *v, const struct record_key *r, const struct ha_plan *p)
{
    size_t free = p->vote.free_of == r->mod_revision, heard = 1;

    for (size_t i = 0; i < v->mesh->count; i++) {
        const struct peer_state *s = mesh_fresh(v, v->mesh->at[i].state.name);
        if (!is_elector(&r->electorate, v, s))
            continue;
        heard++;
        free += s->free_of == r->mod_revision;
    }
    return free >= most_of(&r->electorate, heard);
}

static bool misses(const struct peer_state *s, const char *leader, msec told_ms, msec limit_ms)
{
    for (size_t i = 0; i < s->heard_count; i++)
        if (str_eq(s->heard[i].name, leader))
            return s->heard[i].age_ms == UINT32_MAX || (msec)s->heard[i].age_ms + told_ms >= limit_ms;
    return true;
}

/* Most of the electorate hears nothing of it, we among them. */
static bool is_silent(const struct ha_view *v, const struct record_key *r, struct ha_plan *p)
{
    msec limit_ms = v->conf.profile.suspect_ms;
    size_t missing = 1, heard = 1;

    if (v->health.slowness_percent > 100)
        limit_ms = limit_ms * v->health.slowness_percent / 100;
    msec age_ms = mesh_age(v, r->leader);
    if (age_ms < limit_ms) {
        plan_wake(p, v->now_ms + limit_ms - age_ms);
        return false;
    }
    for (size_t i = 0; i < v->mesh->count; i++) {
        const struct peer_state *s = mesh_fresh(v, v->mesh->at[i].state.name);
        if (!is_elector(&r->electorate, v, s))
            continue;
        heard++;
        missing += misses(s, r->leader, v->now_ms - v->mesh->at[i].heard_ms, limit_ms);
    }
    if (missing >= most_of(&r->electorate, heard))
        return true;
    plan_wake(p, v->now_ms + v->conf.profile.beat_ms);
    return false;
}

static void depose(const struct ha_view *v, const struct record_key *r, struct ha_plan *p)
{
    const struct cluster *c = v->store.cluster;

    if (c->leader && !str_eq(c->leader, r->leader))
        return;
    struct ha_record_change *change = plan_record(p, r);
    record_key_drop_electorate(&change->next);
    change->next.released = change->next.deposed = true;
    change->drop_leader_key = change->drops_as_read = true;
    change->drop_revision = c->leader ? c->leader_revision : 0;
    (void)plan_why(p, "%s is silent and its peer lease is over: taking the leader key from it", r->leader);
}

void depose_decide(const struct ha_view *v, struct ha_plan *p)
{
    const struct record_key *r = record_of_other(v);

    if (!r || !v->mesh || r->unfenced ||
        r->electorate.count < (MUTANT(PEER_LEASE_OF_TWO) ? 2 : PEER_LEASE_ELECTORS_MIN) ||
        !record_electorate_has(&r->electorate, v->conf.name) || !may_lead(v) || !may_act(v, p))
        return;
    if (r->challenger) {
        if (most_are_free(v, r, p))
            depose(v, r, p);
        return;
    }
    if (!is_silent(v, r, p))
        return;
    str_set(&plan_record(p, r)->next.challenger, v->conf.name);
    (void)plan_why(p, "%s is silent: asking the electors to let it go", r->leader);
}
