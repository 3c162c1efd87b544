#include "core/ha/candidate.h"

#include "base/str.h"
#include "core/ha/beside.h"
#include "core/ha/facts.h"

bool candidate_may_lead(const struct ha_view *v, const struct member *member, const char **ret_why_not)
{
    const struct ha_peer *peer = peer_answer(v, member->name);

    bool answered = peer && peer->answer == HA_ANSWER_YES;
    bool tagged = member->tags.nofailover || member->tags.failover_priority <= 0 ||
                  (answered && (peer->nofailover || peer->failover_priority <= 0));

    *ret_why_not = NULL;
    if (tagged)
        *ret_why_not = "is tagged nofailover";
    else if (!answered)
        *ret_why_not = "cannot be reached";
    else if (!peer->running)
        *ret_why_not = "does not run";
    else if (peer->watchdog_failed)
        *ret_why_not = "has no working watchdog";
    return !*ret_why_not;
}

/* It may lead; may it go on where we ended? */
static bool may_succeed(const struct ha_view *v, const struct member *member, const char **ret_why_not)
{
    if (!candidate_may_lead(v, member, ret_why_not))
        return false;

    const struct ha_peer *peer = peer_answer(v, member->name);
    /* A server that is down tells no position; successors go by the one that was published. */
    lsn published = v->store.cluster->status.optime;
    lsn position = v->pg.position > published ? v->pg.position : published;
    if (beside_is_barred(v, member->name))
        *ret_why_not = "is not in /sync";
    else if (peer->timeline && v->pg.timeline && peer->timeline != v->pg.timeline)
        *ret_why_not = "is on another timeline";
    else if (position > peer->position && (int64_t)(position - peer->position) > v->conf.maximum_lag_on_failover)
        *ret_why_not = "is too far behind";
    return !*ret_why_not;
}

bool candidate_successor(const struct ha_view *v, const char *name, const char **ret_why_not)
{
    const struct cluster *c = v->store.cluster;

    *ret_why_not = "there is no other member";
    for (size_t i = 0; i < c->member_count; i++) {
        const struct member *member = &c->members[i];
        if (str_eq(member->name, v->conf.name) || (name && !str_eq(name, member->name)))
            continue;
        if (may_succeed(v, member, ret_why_not))
            return true;
    }
    return false;
}

enum candidate_edge candidate_better(const struct candidate_merit *a, const struct candidate_merit *b)
{
    if (a->timeline && b->timeline && a->timeline != b->timeline)
        return a->timeline > b->timeline ? CANDIDATE_TIMELINE : CANDIDATE_NO_EDGE;
    if (a->position != b->position)
        return a->position > b->position ? CANDIDATE_POSITION : CANDIDATE_NO_EDGE;
    return a->failover_priority > b->failover_priority ? CANDIDATE_PRIORITY : CANDIDATE_NO_EDGE;
}
