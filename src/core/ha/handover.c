#include "core/ha/handover.h"

#include "base/mutant.h"
#include "base/str.h"
#include "core/ha/candidate.h"
#include "core/ha/facts.h"
#include "core/ha/failover.h"
#include "core/ha/ledger.h"
#include "core/ha/mode.h"
#include "core/ha/observe.h"
#include "core/ha/round.h"
#include "core/ha/suspect.h"

enum {
    STOP_BUDGET_MS = 60000, /* a longer stop (stuck backend, archiver) is ended by force: clients wait */
    STALE_MS_MIN = 10000,   /* scheduled, and its time passed that long ago (leader was down): dropped, as by Patroni */
    /* How long a chosen successor may take before everybody races again; a promotion takes well under a second. */
    SUCCESSOR_MS = 10000,
};

static bool refuse(struct ha_plan *p, const char *who, const char *why_not)
{
    (void)plan_add(p, HA_DO_CLEAR_FAILOVER);
    return plan_why(p, "switchover is not possible: %s %s", who, why_not);
}

bool handover_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    const struct failover_key *key = &v->store.cluster->failover;
    const char *why_not;

    if (!handover_is_asked(v)) {
        if (m->lead.opened_ms && v->now_ms < m->lead.opened_ms + HA_OPENED_MS) {
            plan_wake(p, m->lead.opened_ms + HA_OPENED_MS);
            return false;
        }
        (void)plan_add(p, HA_DO_CLEAR_FAILOVER);
        return plan_why(p, "the failover key asked for what is so already");
    }
    if (key->scheduled_epoch_ms && v->conf.pause)
        return false; /* nothing scheduled happens in pause; whether it is too late then shows afterwards */
    if (key->scheduled_epoch_ms > v->wall_ms) {
        plan_wake(p, v->now_ms + (key->scheduled_epoch_ms - v->wall_ms));
        return false;
    }
    msec stale_ms = msec_max(v->conf.loop_wait_ms, STALE_MS_MIN);
    if (key->scheduled_epoch_ms && v->wall_ms - key->scheduled_epoch_ms > stale_ms)
        return refuse(p, "its time", "has passed");
    if (v->conf.pause && !key->candidate)
        return refuse(p, "paused:", "name a candidate");
    if (m->handover.stopped_for == key->mod_revision)
        return refuse(p, "the last attempt", "did not stop PostgreSQL in good order");

    if (m->handover.asked != key->mod_revision) {
        m->handover.asked = key->mod_revision;
        m->handover.asked_ms = v->now_ms;
    }
    if (round_is_open(v)) /* even one that began before: two at a time would hurry nobody */
        return plan_why(p, "switchover: waiting for the members' answers");
    if (!round_have(v, p, m->handover.asked_ms, ROUND_AGE_MS))
        return plan_why(p, "switchover: asking the members");
    if (!candidate_successor(v, key->candidate, &why_not))
        return refuse(p, key->candidate ? key->candidate : "no member qualifies; the last one asked", why_not);

    msec budget_ms = v->conf.primary_stop_timeout_ms ? v->conf.primary_stop_timeout_ms : STOP_BUDGET_MS;
    struct ha_action *stop = plan_stop(p, HA_STOP_FAST, budget_ms);
    str_copy(stop->subject, sizeof(stop->subject), key->candidate ? key->candidate : "");
    stop->checkpoint_first = stop->in_good_time = true;
    m->handover.stopped_for = key->mod_revision;
    return plan_why(p, "switchover: stopping for %s", key->candidate ? key->candidate : "the best member");
}

/* It has the shutdown checkpoint: all that was ever written here. */
static bool has_the_end(const struct ha_view *v, const struct peer_state *s)
{
    uint32_t timeline = v->pg.process == HA_PROC_NONE ? v->pg.control_timeline : v->pg.timeline;

    if (MUTANT(HANDOVER_WITHOUT_END))
        return true;
    if (s->timeline != timeline)
        return false;
    if (v->pg.process == HA_PROC_NONE)
        return v->pg.control == HA_CONTROL_SHUT_DOWN && s->position >= v->pg.control_position;
    return v->pg.shut_down_at && s->position > v->pg.shut_down_at;
}

bool handover_elect(const struct ha_view *v, struct ha_plan *p, const char *candidate)
{
    struct ballot ballots[HA_PEERS_MAX];
    const struct record_key *r = &v->store.cluster->record;
    const struct ballot *best = NULL;
    term t = r->term;
    size_t count = failover_ballots(v, 0, ballots);

    if (!mode_may_lead(v) || r->phase != RECORD_OPEN || v->store.reads_back || plan_has(p, HA_DO_RECORD))
        return false;
    for (size_t i = 0; i < count; i++) {
        const struct ballot *b = &ballots[i];
        const struct peer_state *s = mesh_fresh(v, b->name);
        if (!s || b->why_not || !b->incarnation || !s->in_recovery || str_eq(b->name, v->conf.name) ||
            (candidate && !str_eq(candidate, b->name)) || !has_the_end(v, s))
            continue;
        t = s->promised > t ? s->promised : t;
        if (!best || b->replayed > best->replayed || (b->replayed == best->replayed && b->priority > best->priority))
            best = b;
    }
    if (!best)
        return false;
    t = v->quorum.promise.term > t ? v->quorum.promise.term : t;
    struct ha_record_change *change = plan_record(p, r);
    ledger_hand_over(&change->next, t + 1, best->name, best->incarnation, failover_next_timeline(v), best->position);
    change->drop_leader_key = true;
    return plan_why(p, "shut down, and %s has all of it: it is elected", best->name);
}

bool handover_finish(const struct ha_view *v, struct ha_plan *p)
{
    if (!handover_is_asked(v) || v->store.cluster->failover.scheduled_epoch_ms > v->wall_ms)
        return false;
    if (!v->pg.shut_down_at && v->pg.control != HA_CONTROL_SHUT_DOWN)
        return false; /* it fell over on the way: a crash like any other */

    if (mode_is_quorum(v))
        return handover_elect(v, p, v->store.cluster->failover.candidate);
    /* The release publishes where the shutdown checkpoint is; the successor sees to it that it has that. */
    (void)plan_add(p, HA_DO_RELEASE);
    return plan_why(p, "switchover: shut down, letting go of the leader key");
}

/*
 * The last leader let go of the key in good order, shut down, as the failover key had asked it. A leader that fell over
 * lets go as well, but only one that shut down says with it, in the same transaction, where it ended; and what is asked
 * for after it has gone is no handover.
 */
static bool handed_over(const struct ha_memory *m, const struct ha_view *v)
{
    const struct cluster *c = v->store.cluster;
    const struct failover_key *key = &c->failover;
    bool in_good_order = c->record.released && c->status.mod_revision == c->record.mod_revision;
    bool asked = key->present && key->scheduled_epoch_ms <= v->wall_ms && key->mod_revision < c->record.mod_revision &&
                 (str_empty(key->leader) || str_eq(key->leader, c->record.leader));

    return in_good_order && asked && observe_record_stands(m, v);
}

/* What it published with the release is where its last record begins. */
static bool lacks_last_record(const struct ha_memory *m, const struct ha_view *v)
{
    return handed_over(m, v) && v->pg.position <= v->store.cluster->status.optime;
}

/* The failover key wants us, and its time has come. */
static bool asked_for(const struct ha_view *v)
{
    const struct failover_key *key = &v->store.cluster->failover;

    return key->present && str_eq(key->candidate, v->conf.name) && key->scheduled_epoch_ms <= v->wall_ms;
}

/* The failover key wants somebody else, lately: another candidate, or, of us that led, anybody. */
static bool others_asked_for(const struct ha_memory *m, const struct ha_view *v)
{
    const struct failover_key *key = &v->store.cluster->failover;

    if (!key->present || key->scheduled_epoch_ms > v->wall_ms)
        return false;
    if (v->now_ms - m->leader.gone_ms > SUCCESSOR_MS)
        return false; /* it had its time */
    if (key->leader && m->leader.name[0] && !str_eq(key->leader, m->leader.name))
        return false; /* that leader has been replaced; the request is used up */
    return key->candidate ? !str_eq(key->candidate, v->conf.name) : str_eq(key->leader, v->conf.name);
}

/*
 * A handover is to lose nothing: who lacks the end of it is no better than any other. Without one only a failover (no
 * leader is named) says that an operator wants us whatever we lack: a leader that died while a switchover was asked
 * for, or planned for later, is replaced like any other.
 */
enum handover_turn handover_turn_of(const struct ha_memory *m, const struct ha_view *v)
{
    if (lacks_last_record(m, v) && v->now_ms < m->leader.gone_ms + HANDOVER_CATCH_UP_MS)
        return TURN_WAIT;
    if (asked_for(v) && handed_over(m, v) && !lacks_last_record(m, v))
        return TURN_OURS;
    if (asked_for(v) && !handed_over(m, v) && str_empty(v->store.cluster->failover.leader))
        return TURN_FORCED;
    return others_asked_for(m, v) ? TURN_OTHERS : TURN_OPEN_RACE;
}

bool handover_leave(const struct ha_view *v, struct ha_plan *p)
{
    const struct cluster *c = v->store.cluster;
    const char *wanted = c->failover.candidate;
    const char *why_not;

    for (size_t i = 0; i < c->member_count; i++) {
        const struct member *other = &c->members[i];
        if (str_eq(other->name, v->conf.name) || (wanted && !str_eq(other->name, wanted)) ||
            !candidate_may_lead(v, other, &why_not))
            continue;
        plan_wake(p, v->now_ms + ROUND_AGAIN_MS);
        return plan_why(p, "no leader; leaving the key to %s%s", other->name, wanted ? " as the operator asked" : "");
    }
    return false;
}

bool handover_is_for_us(const struct ha_memory *m, const struct ha_view *v)
{
    return asked_for(v) && m->leader.released && str_eq(v->store.cluster->failover.leader, m->leader.name);
}

bool handover_has_all_of(const struct ha_memory *m, const struct ha_view *v, const char *member)
{
    return handed_over(m, v) && str_eq(v->store.cluster->record.leader, member) && !lacks_last_record(m, v);
}
