#include "core/ha/handover.h"

#include "base/str.h"
#include "core/ha/elect.h"
#include "core/ha/facts.h"
#include "core/ha/round.h"

enum {
    STOP_BUDGET_MS = 60000, /* a longer stop (stuck backend, archiver) is ended by force: clients wait */
    STALE_MS_MIN = 10000,   /* scheduled, and its time passed that long ago (leader was down): dropped, as by Patroni */
};

bool handover_has_successor(const struct ha_view *v, const char *candidate, const char **ret_why_not)
{
    const struct cluster *c = v->store.cluster;
    /* A server that is down tells no position; successors go by the one that was published. */
    lsn position = v->pg.position > c->status.optime ? v->pg.position : c->status.optime;

    *ret_why_not = "there is no other member";
    for (size_t i = 0; i < c->member_count; i++) {
        const struct member *member = &c->members[i];
        if (str_eq(member->name, v->conf.name) || (candidate && !str_eq(candidate, member->name)))
            continue;
        if (!elect_can_lead(v, member, ret_why_not))
            continue;

        const struct ha_peer *peer = peer_answer(v, member->name);
        if (peer->timeline && v->pg.timeline && peer->timeline != v->pg.timeline) {
            *ret_why_not = "is on another timeline";
            continue;
        }
        if (position > peer->position && (int64_t)(position - peer->position) > v->conf.maximum_lag_on_failover) {
            *ret_why_not = "is too far behind";
            continue;
        }
        *ret_why_not = NULL;
        return true;
    }
    return false;
}

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
    if (!handover_has_successor(v, key->candidate, &why_not))
        return refuse(p, key->candidate ? key->candidate : "no member qualifies; the last one asked", why_not);

    msec budget_ms = v->conf.primary_stop_timeout_ms ? v->conf.primary_stop_timeout_ms : STOP_BUDGET_MS;
    struct ha_action *stop = plan_stop(p, HA_STOP_FAST, budget_ms);
    str_copy(stop->subject, sizeof(stop->subject), key->candidate ? key->candidate : "");
    stop->checkpoint_first = stop->in_good_time = true;
    m->handover.stopped_for = key->mod_revision;
    return plan_why(p, "switchover: stopping for %s", key->candidate ? key->candidate : "the best member");
}

bool handover_finish(const struct ha_view *v, struct ha_plan *p)
{
    if (!handover_is_asked(v) || v->store.cluster->failover.scheduled_epoch_ms > v->wall_ms)
        return false;
    if (!v->pg.shut_down_at && v->pg.control != HA_CONTROL_SHUT_DOWN)
        return false; /* it fell over on the way: a crash like any other */

    /* The release publishes where the shutdown checkpoint is; the successor sees to it that it has that (elect.c). */
    (void)plan_add(p, HA_DO_RELEASE);
    return plan_why(p, "switchover: shut down, letting go of the leader key");
}
