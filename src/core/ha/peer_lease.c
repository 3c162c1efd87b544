#include "core/ha/peer_lease.h"

#include <string.h>

#include "base/check.h"
#include "base/mutant.h"
#include "base/str.h"
#include "core/ha/facts.h"
#include "core/ha/mode.h"
#include "core/ha/suspect.h"
#include "wire/guard.h"

enum {
    /*
     * Before the deadline. The kill needs its room (wire/guard.h); before it there is a moment for an immediate stop,
     * and one for a fast stop: longer ones would be taken from the time in which an agent is replaced.
     */
    KILL_BEFORE_MS = GUARD_KILL_ROOM_MS,
    QUIT_BEFORE_MS = KILL_BEFORE_MS + 300,
    STOP_BEFORE_MS = QUIT_BEFORE_MS + 300,
    LOOKS = 12,       /* in a lease: how often the fence is moved on */
    STEADY_MS = 5000, /* an electorate is obeyed so long before the record has it: longer than GUARD_ECHO_MS and a beat,
                          so a guard that does not take the fence is known by then */
    REST_MS = 10000,  /* after one was given up: each change is a write to the store, and a watch event for all */
};

/* ---- how long it is held ---- */

/* It counts from our own message: the answer may have been under way for long. */
static msec granted_until(const struct ha_view *v, const struct ha_mesh_peer *peer, msec lease_ms)
{
    return peer->granted_ms ? peer->granted_ms + lease_ms : 0;
}

static void insert_descending(msec *at, size_t count, msec value)
{
    size_t i = count;

    for (; i > 0 && at[i - 1] < value; i--)
        at[i] = at[i - 1];
    at[i] = value;
}

/* Most of them are with us until then; we ourselves always are. */
static msec held_until(const struct ha_view *v, const struct record_electorate *e)
{
    msec until[RECORD_MEMBERS_MAX] = {0};
    size_t most = MUTANT(PEER_LEASE_OF_TWO) ? (e->count + 1) / 2 : e->count / 2 + 1, count = 0;

    CHECK(e->count && e->count <= RECORD_MEMBERS_MAX);
    if (record_electorate_has(e, v->conf.name))
        insert_descending(until, count++, MSEC_NEVER);
    for (size_t i = 0; v->mesh && i < v->mesh->count; i++)
        if (count < e->count && record_electorate_has(e, v->mesh->at[i].state.name))
            insert_descending(until, count++, granted_until(v, &v->mesh->at[i], e->lease_ms));
    return most <= count ? until[most - 1] : 0;
}

/* Most electors were late lately: another quarter of the lease, and the fence begins. */
static bool is_late(const struct ha_view *v, const struct record_electorate *e)
{
    return held_until(v, e) - v->now_ms < e->lease_ms - e->lease_ms / 4;
}

/* ---- which electorate there should be ---- */

static const struct record_key *record_of_ours(const struct ha_view *v)
{
    const struct record_key *r = v->store.cluster ? &v->store.cluster->record : NULL;

    if (!r || !r->present || record_key_is_opaque(r) || r->mode != RECORD_ASYNC || r->released)
        return NULL;
    return str_eq(r->leader, v->conf.name) && r->term == v->lease.term ? r : NULL;
}

/* An adopted postmaster outlives a guard that is killed: nothing would end it before a ttl's end. */
static bool is_possible(const struct ha_view *v)
{
    return v->conf.peer_lease && v->conf.sync_mode == HA_SYNC_OFF && !v->conf.pause && !v->lease.unfenced && v->mesh &&
           !v->pg.adopted && !mode_has_strangers(v->store.cluster);
}

/* All members; what has fallen below three stays as it was: an electorate never shrinks to two. */
static void target(const struct ha_view *v, struct record_electorate *ret)
{
    const struct cluster *c = v->store.cluster;
    size_t least = MUTANT(PEER_LEASE_OF_TWO) ? 2 : PEER_LEASE_ELECTORS_MIN;
    bool here = cluster_member(c, v->conf.name) != NULL;

    *ret = (struct record_electorate){.lease_ms = v->conf.profile.lease_ms};
    if (!here || c->member_count < least || c->member_count > RECORD_MEMBERS_MAX) {
        for (size_t i = 0; i < c->record.electorate.count; i++)
            record_electorate_add(ret, c->record.electorate.names[i]);
        return;
    }
    for (size_t i = 0; i < c->member_count; i++)
        if (strlen(c->members[i].name) < PEER_NAME_MAX)
            record_electorate_add(ret, c->members[i].name);
}

/* FNV-1a; never 0. */
static uint64_t mark_of(const struct record_electorate *e)
{
    uint64_t hash = 14695981039346656037ULL ^ (uint64_t)e->lease_ms;

    for (size_t i = 0; i < e->count; i++)
        for (const char *at = e->names[i];; at++) {
            hash = (hash ^ (unsigned char)*at) * 1099511628211ULL;
            if (!*at)
                break;
        }
    return hash ? hash : 1;
}

/* They could depose us, without us: else it would be of no use. */
static bool could_depose(const struct ha_view *v, const struct record_electorate *e)
{
    size_t able = 0;

    for (size_t i = 0; i < v->mesh->count; i++) {
        const struct peer_state *s = mesh_fresh(v, v->mesh->at[i].state.name);
        able += s && s->elector && record_electorate_has(e, s->name);
    }
    return able >= (MUTANT(PEER_LEASE_OF_TWO) ? (e->count + 1) / 2 : e->count / 2 + 1);
}

/* Worth having, held, and not there yet. *ret_target is then to be deinited; else it holds nothing. */
static bool is_wished(const struct ha_memory *m, const struct ha_view *v, struct record_electorate *ret_target)
{
    const struct record_key *r = record_of_ours(v);

    *ret_target = (struct record_electorate){0};
    if (!v->lease.owner || !v->store.known || !r || r->challenger || !is_possible(v) || !pg_is_primary(v) ||
        v->now_ms < m->peer_lease.rest_until_ms)
        return false;
    target(v, ret_target);
    if (ret_target->count && !record_electorate_equal(ret_target, &r->electorate) && !is_late(v, ret_target) &&
        could_depose(v, ret_target))
        return true;
    record_electorate_deinit(ret_target);
    return false;
}

void peer_lease_seen(struct ha_memory *m, const struct ha_view *v)
{
    AUTO(record_electorate) struct record_electorate wish = {0};

    if (!is_wished(m, v, &wish)) {
        m->peer_lease.wish = 0;
        return;
    }
    if (m->peer_lease.wish != mark_of(&wish)) {
        m->peer_lease.wish = mark_of(&wish);
        m->peer_lease.wish_ms = v->now_ms;
    }
}

/* ---- the fence ---- */

static msec earlier(msec until_ms, const struct ha_view *v, const struct record_electorate *e)
{
    return e && e->count ? msec_min(until_ms, held_until(v, e)) : until_ms;
}

msec peer_lease_deadline(const struct ha_memory *m, const struct ha_view *v)
{
    AUTO(record_electorate) struct record_electorate wish = {0};
    msec until_ms = MSEC_NEVER;

    if (!v->lease.owner && !v->lease.was_owner)
        return MSEC_NEVER;
    until_ms = earlier(until_ms, v, v->lease.electorate);
    if (MUTANT(ELECTORATE_NOT_JOINT))
        return until_ms;
    until_ms = earlier(until_ms, v, v->lease.electorate_doubt);
    if (m->peer_lease.wish && is_wished(m, v, &wish))
        until_ms = earlier(until_ms, v, &wish);
    return until_ms;
}

static msec before(msec deadline_ms, msec ms)
{
    return deadline_ms == MSEC_NEVER ? MSEC_NEVER : msec_max(deadline_ms - ms, 1); /* 0 is no moment */
}

msec peer_lease_stop_at(msec deadline_ms)
{
    return before(deadline_ms, STOP_BEFORE_MS);
}

msec peer_lease_quit_at(msec deadline_ms)
{
    return before(deadline_ms, QUIT_BEFORE_MS);
}

msec peer_lease_kill_at(msec deadline_ms)
{
    return before(deadline_ms, KILL_BEFORE_MS);
}

/* ---- the record ---- */

/*
 * Somebody wants us out, or most electors are late: in the record we go back to the lease of the store, as long as that
 * can be had. If it is over, the change is refused.
 */
static bool must_end(const struct ha_view *v, const struct record_electorate *e)
{
    return !is_possible(v) || v->store.cluster->record.challenger || (e && e->count && is_late(v, e));
}

static bool may_be_in_force(const struct ha_view *v)
{
    return (v->lease.electorate && v->lease.electorate->count) || v->lease.electorate_doubt;
}

void peer_lease_wake(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    if (v->lease.owner && (may_be_in_force(v) || m->peer_lease.wish))
        plan_wake(p, v->now_ms + v->conf.profile.lease_ms / LOOKS);
}

void peer_lease_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    const struct record_key *r = record_of_ours(v);
    bool in_force = may_be_in_force(v);

    peer_lease_wake(m, v, p);
    if (!v->lease.owner || !r || (!in_force && !r->electorate.count && !m->peer_lease.wish))
        return;
    if (v->store.reads_back || !v->store.known || plan_has(p, HA_DO_RECORD) || p->count == HA_ACTIONS_MAX)
        return;
    if (v->conf.pause) /* the record loses it together with the fence (TELL_UNFENCED) */
        return;

    AUTO(record_electorate) struct record_electorate wish = {0};
    bool wished = m->peer_lease.wish && is_wished(m, v, &wish);
    const struct record_electorate *doubt = v->lease.electorate_doubt;
    /* What is in doubt is ended before another is asked for: it could be carried out before that one. */
    bool ends = must_end(v, v->lease.electorate) || must_end(v, doubt) ||
                (doubt && !(wished && record_electorate_equal(doubt, &wish)));
    if (ends && (in_force || r->electorate.count)) {
        record_key_drop_electorate(&plan_record(p, r)->next);
        m->peer_lease.rest_until_ms = v->now_ms + REST_MS;
        m->peer_lease.wish = 0;
        return;
    }
    if (!wished)
        return;
    msec due_ms = m->peer_lease.wish_ms + STEADY_MS;
    if (v->now_ms < due_ms) {
        plan_wake(p, due_ms);
        return;
    }
    struct ha_record_change *change = plan_record(p, r);
    record_key_drop_electorate(&change->next);
    change->next.electorate = wish;
    wish = (struct record_electorate){0};
}
