#include "core/ha/mode.h"

#include "base/mutant.h"
#include "base/str.h"

static const struct record_key *record(const struct ha_view *v)
{
    const struct cluster *c = v->store.cluster;

    return c && c->record.present && !record_key_is_opaque(&c->record) ? &c->record : NULL;
}

bool mode_is_quorum(const struct ha_view *v)
{
    const struct record_key *r = record(v);

    return r && r->mode == RECORD_QUORUM;
}

static bool is_settled(const struct ha_view *v, const struct record_key *r)
{
    bool unfreezes = MUTANT(UNFREEZE) && v->quorum.freeze.kind != PEER_FREEZE_NONE;

    return r->phase == RECORD_OPEN || r->phase == RECORD_ELECTED || unfreezes;
}

const struct record_key *mode_record(const struct ha_view *v)
{
    const struct record_key *r = record(v);

    return r && r->mode == RECORD_QUORUM && is_settled(v, r) && r->term >= v->quorum.promise.term ? r : NULL;
}

const char *mode_leader(const struct ha_view *v)
{
    const struct record_key *r = mode_record(v);

    if (!mode_is_quorum(v))
        return v->store.cluster ? v->store.cluster->leader : NULL;
    return r ? r->leader : NULL;
}

bool mode_needs_no_fence(const struct ha_view *v)
{
    const struct record_key *r = record(v);

    if (!v->store.cluster) /* an agent that came up while the store is away */
        return v->quorum.promise.known && v->quorum.promise.by_quorum;
    if (!mode_is_quorum(v))
        return false;
    bool beside = v->conf.sync_mode != HA_SYNC_OFF && mode_has_strangers(v->store.cluster);
    bool off = v->conf.sync_mode == HA_SYNC_OFF && !r->open.count;
    bool about_to_leave = (off || beside) && r->phase == RECORD_OPEN && !r->joining && v->lease.owner;
    return !about_to_leave;
}

bool mode_has_strangers(const struct cluster *c)
{
    for (size_t i = 0; i < c->member_count; i++)
        if (!c->members[i].pgkeep)
            return true;
    return false;
}

bool mode_may_lead(const struct ha_view *v)
{
    const struct record_key *r = mode_record(v);

    return r && v->quorum.promise.known && str_eq(r->leader, v->conf.name) &&
           r->leader_incarnation == v->quorum.incarnation && v->quorum.incarnation;
}

bool mode_may_acknowledge(const struct ha_view *v)
{
    return mode_may_lead(v) && mode_record(v)->phase == RECORD_OPEN;
}

bool mode_may_serve(const struct ha_view *v)
{
    return mode_may_acknowledge(v) && v->lease.owner && v->now_ms < v->lease.deadline_ms;
}

/*
 * The highest term that somebody was elected under, as far as this node knows or remembers. Quorum mode is left by an
 * open leader only: who missed that finds a record of other rules, and its term is settled as well.
 */
static term settled(const struct ha_view *v)
{
    const struct record_key *r = record(v);
    term now = r && is_settled(v, r) ? r->term : 0;

    return now > v->quorum.promise.settled ? now : v->quorum.promise.settled;
}

bool mode_must_freeze(const struct ha_view *v)
{
    return v->quorum.promise.term > settled(v);
}
