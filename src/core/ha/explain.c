#include "core/ha/explain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "core/ha/candidate.h"
#include "core/ha/cohort.h"
#include "core/ha/facts.h"
#include "core/ha/failover.h"
#include "core/ha/mode.h"
#include "core/ha/suspect.h"

static const struct cluster *cluster_of(const struct ha_view *v)
{
    return v->store.cluster;
}

/* ---- nodes, whatever decides ---- */

static struct explain_node *find(struct explain *e, const char *name)
{
    for (size_t i = 0; i < e->count; i++)
        if (str_eq(e->at[i].name, name))
            return &e->at[i];
    return NULL;
}

static struct explain_node *add(struct explain *e, const char *name)
{
    struct explain_node *n = find(e, name);

    if (n || e->count == HA_PEERS_MAX)
        return n;
    n = &e->at[e->count++];
    *n = (struct explain_node){.name = name, .age_ms = MSEC_NEVER, .leads = str_eq(name, e->leader)};
    return n;
}

static void add_heard(const struct ha_view *v, struct explain *e, const struct peer_state *s)
{
    struct explain_node *n = s->name[0] ? add(e, s->name) : NULL;

    if (!n)
        return;
    n->age_ms = mesh_age(v, s->name);
    n->timeline = s->timeline;
    n->position = s->position;
    n->nofailover = !s->failover_priority;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct explain_node *)a)->name, ((const struct explain_node *)b)->name);
}

/* All that are heard or have a member key; of who is not heard the key says where it was. */
static void list_nodes(const struct ha_view *v, struct explain *e)
{
    const struct cluster *c = cluster_of(v);

    if (v->mesh)
        add_heard(v, e, &v->mesh->own);
    for (size_t i = 0; v->mesh && i < v->mesh->count; i++)
        if (v->mesh->at[i].heard_ms)
            add_heard(v, e, &v->mesh->at[i].state);
    for (size_t i = 0; i < c->member_count; i++) {
        const struct member *m = &c->members[i];
        struct explain_node *n = add(e, m->name);
        if (!n || n->age_ms != MSEC_NEVER)
            continue;
        n->timeline = m->timeline;
        n->position = m->xlog_location;
        n->nofailover = m->tags.nofailover || m->tags.failover_priority <= 0;
    }
    if (e->count)
        qsort(e->at, e->count, sizeof(e->at[0]), by_name);
}

static void say(char *ret_why, const char *text)
{
    str_copy(ret_why, EXPLAIN_WHY_MAX, text);
}

/* ---- quorum mode ---- */

/* Those that are up, but for one, as if they were frozen where they are. */
static size_t up_without(const struct ha_view *v, const char *without, struct ballot ret[HA_PEERS_MAX])
{
    struct ballot all[HA_PEERS_MAX];
    size_t count = failover_ballots(v, 0, all), up = 0;

    for (size_t i = 0; i < count; i++)
        if (!str_eq(all[i].name, without) && mesh_fresh(v, all[i].name))
            ret[up++] = all[i];
    return up;
}

static const struct ballot *ballot_of(const struct ballot *ballots, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(ballots[i].name, name))
            return &ballots[i];
    return NULL;
}

/* WAL of the leader reaches it: where it is now says little about where it is then. */
static bool keeps_up(const struct ha_view *v, const char *name)
{
    const struct peer_state *s = mesh_fresh(v, name);

    return s && str_eq(s->upstream, v->store.cluster->record.leader) && s->wal_age_ms != UINT32_MAX;
}

static void say_lacks(const struct election *e, const struct ballot *b, char *ret_why)
{
    char text[LSN_TEXT_MAX];

    if (b->timeline != e->needed.timeline || b->position > e->needed.at)
        (void)snprintf(ret_why, EXPLAIN_WHY_MAX, "is on timeline %u; what was acknowledged is on %u", b->timeline,
                       e->needed.timeline);
    else
        (void)snprintf(ret_why, EXPLAIN_WHY_MAX, "lacks %llu bytes of what may have been acknowledged (up to %s)",
                       (unsigned long long)(e->needed.at - b->position), lsn_text(e->needed.at, text));
}

/* Could this one be elected by those that are up? true: it could, and nothing speaks against it. */
static bool could_win(const struct ha_view *v, const struct election *e, const struct ballot *b, char *ret_why)
{
    const struct record_key *r = &v->store.cluster->record;
    struct position at = {.timeline = b->timeline, .at = b->position};

    if (b->why_not) {
        say(ret_why, b->why_not);
        return false;
    }
    if (!b->incarnation || !b->position || !election_term_of(r, b->timeline, &at.term)) {
        say(ret_why, "has no data at a known place of the cluster's history");
        return false;
    }
    if (e->result == ELECTION_UNSETTLED) {
        (void)snprintf(ret_why, EXPLAIN_WHY_MAX, "could lead, but the nodes that are up do not settle it: %s", e->why);
        return false;
    }
    if (position_compare(&at, &e->needed) >= 0) {
        say(ret_why, "has everything that was acknowledged");
        return true;
    }
    if (at.term == e->needed.term && at.timeline == e->needed.timeline && keeps_up(v, b->name)) {
        (void)snprintf(ret_why, EXPLAIN_WHY_MAX, "keeps up: %llu bytes behind as last heard",
                       (unsigned long long)(e->needed.at - at.at));
        return true;
    }
    say_lacks(e, b, ret_why);
    return false;
}

static void quorum_node(const struct ha_view *v, const struct election *e, const struct ballot *up, size_t up_count,
                        struct explain_node *n)
{
    const struct record_key *r = &v->store.cluster->record;
    const struct member *m = cluster_member(v->store.cluster, n->name);
    const struct ballot *b = ballot_of(up, up_count, n->name);

    n->acknowledges = cohort_has_name(&r->open, n->name) || (r->joining && cohort_has_name(&r->joint, n->name));
    if (n->leads)
        say(n->why, r->phase == RECORD_OPEN ? "leads" : "is elected, and not open yet");
    else if (b)
        n->can = could_win(v, e, b, n->why);
    else if (n->age_ms == MSEC_NEVER)
        say(n->why, m && !m->pgkeep ? "is run by Patroni and cannot vote" : "was never heard");
    else if (n->age_ms <= mesh_quiet(v, n->name, v->conf.profile.suspect_ms))
        say(n->why, "is about to end");
    else
        (void)snprintf(n->why, sizeof(n->why), "is silent for %lld ms", (long long)n->age_ms);
}

static void quorum_now(const struct ha_view *v, struct explain *ret)
{
    const struct record_key *r = &v->store.cluster->record;
    struct ballot up[HA_PEERS_MAX];
    struct election e;
    size_t count = up_without(v, ret->leader, up);

    election_hold(r, up, count, &e);
    for (size_t i = 0; i < ret->count; i++) {
        quorum_node(v, &e, up, count, &ret->at[i]);
        ret->possible |= ret->at[i].can;
    }
    say(ret->why, e.why);
}

/* ---- asynchronous mode ---- */

/* Each node's answer as the other nodes' agents tell it all the time, or as its member key says. */
static void answers_of(const struct ha_view *v, struct ha_view *ret)
{
    const struct cluster *c = cluster_of(v);

    *ret = *v;
    ret->peers = (struct ha_peers){.complete = true};
    for (size_t i = 0; i < c->member_count && ret->peers.count < HA_PEERS_MAX; i++) {
        const struct member *m = &c->members[i];
        const struct peer_state *s = mesh_fresh(v, m->name);
        struct ha_peer *p = &ret->peers.at[ret->peers.count++];
        *p = (struct ha_peer){.name = m->name, .answer = HA_ANSWER_UNREACHABLE};
        if (s) {
            p->answer = HA_ANSWER_YES;
            p->running = s->process == PEER_PROC_RUNNING && s->accepting;
            p->primary = s->primary;
            p->timeline = s->timeline;
            p->position = s->position;
            p->nofailover = !s->failover_priority;
            p->failover_priority = s->failover_priority;
        } else if (!m->pgkeep) {
            p->answer = HA_ANSWER_YES;
            p->running = str_eq(m->state, "running") || str_eq(m->state, "streaming");
            p->timeline = m->timeline;
            p->position = m->xlog_location > m->receive_lsn ? m->xlog_location : m->receive_lsn;
            p->nofailover = m->tags.nofailover;
            p->failover_priority = m->tags.failover_priority;
        }
    }
}

/* Where the leader was, as far as anybody knows. */
static struct candidate_merit leader_place(const struct ha_view *v, const char *leader)
{
    const struct cluster *c = cluster_of(v);
    const struct peer_state *s = leader ? mesh_fresh(v, leader) : NULL;
    const struct member *m = cluster_member(c, leader);

    return (struct candidate_merit){
        .timeline = s   ? s->timeline
                    : m ? m->timeline
                        : 0,
        .position = s && s->position > c->status.optime ? s->position : c->status.optime,
    };
}

static bool async_could_lead(const struct ha_view *answers, const struct candidate_merit *leader,
                             const struct member *m, char *ret_why)
{
    const struct ha_peer *p = peer_answer(answers, m->name);
    int64_t behind = p && leader->position > p->position ? (int64_t)(leader->position - p->position) : 0;
    const char *why_not;

    if (!candidate_may_lead(answers, m, &why_not)) {
        say(ret_why, why_not);
        return false;
    }
    if (p && p->timeline && leader->timeline && p->timeline != leader->timeline) {
        (void)snprintf(ret_why, EXPLAIN_WHY_MAX, "is on timeline %u, the leader on %u", p->timeline, leader->timeline);
        return false;
    }
    if (behind > answers->conf.maximum_lag_on_failover) {
        (void)snprintf(ret_why, EXPLAIN_WHY_MAX, "is too far behind: %lld bytes, maximum_lag_on_failover is %lld",
                       (long long)behind, (long long)answers->conf.maximum_lag_on_failover);
        return false;
    }
    (void)snprintf(ret_why, EXPLAIN_WHY_MAX, "is %lld bytes behind as last heard", (long long)behind);
    return true;
}

static void async_now(const struct ha_view *v, struct explain *ret)
{
    struct ha_view answers;
    struct candidate_merit leader = leader_place(v, ret->leader);

    answers_of(v, &answers);
    for (size_t i = 0; i < ret->count; i++) {
        struct explain_node *n = &ret->at[i];
        const struct member *m = cluster_member(v->store.cluster, n->name);
        if (n->leads)
            say(n->why, "leads");
        else if (!m)
            say(n->why, "is no member: it has no key in the store");
        else
            n->can = async_could_lead(&answers, &leader, m, n->why);
        ret->possible |= n->can;
    }
    if (v->conf.refused) {
        ret->possible = false;
        (void)snprintf(ret->why, sizeof(ret->why), "nobody is promoted while %s is asked for", v->conf.refused);
    } else {
        say(ret->why, ret->possible ? "asynchronous: who is furthest once the lease has ended"
                                    : "no node that may lead is up and near enough");
    }
}

void explain_now(const struct ha_view *v, struct explain *ret)
{
    *ret = (struct explain){.by_quorum = false};
    if (!cluster_of(v)) {
        say(ret->why, "the store has not been read yet");
        return;
    }
    ret->by_quorum = mode_is_quorum(v);
    ret->paused = v->conf.pause;
    ret->leader = ret->by_quorum ? v->store.cluster->record.leader : v->store.cluster->leader;
    ret->term = v->store.cluster->record.term;
    list_nodes(v, ret);
    if (ret->by_quorum)
        quorum_now(v, ret);
    else
        async_now(v, ret);
}

/* ---- if a node were lost ---- */

static void lost_leader_by_quorum(const struct ha_view *v, const struct explain *now, const char *name,
                                  struct explain_loss *ret)
{
    struct ballot up[HA_PEERS_MAX];
    struct election e;
    size_t count = up_without(v, name, up);

    election_hold(&v->store.cluster->record, up, count, &e);
    ret->winner = e.result == ELECTION_WON ? up[e.winner].name : NULL;
    for (size_t i = 0; i < now->count; i++) {
        if (!now->at[i].can || str_eq(now->at[i].name, ret->winner))
            continue;
        if (ret->winner)
            ret->equals[ret->equal_count++] = now->at[i].name;
        else
            ret->winner = now->at[i].name;
    }
    ret->possible = ret->winner != NULL;
    say(ret->why, e.why);
    say(ret->risk, ret->possible
                       ? "nothing that was acknowledged is lost"
                       : "nothing is lost, but nobody writes until the node, or enough of the others, are back");
}

static void lost_leader_async(const struct ha_view *v, const struct explain *now, struct explain_loss *ret)
{
    struct ha_view answers;
    struct candidate_merit best = {0}, leader = leader_place(v, now->leader);

    answers_of(v, &answers);
    for (size_t i = 0; i < now->count; i++) {
        const struct ha_peer *p = now->at[i].can ? peer_answer(&answers, now->at[i].name) : NULL;
        if (!p)
            continue;
        struct candidate_merit merit = {p->timeline, p->position, p->failover_priority};
        if (!ret->winner || candidate_better(&merit, &best) != CANDIDATE_NO_EDGE) {
            if (ret->winner)
                ret->equals[ret->equal_count++] = ret->winner;
            ret->winner = p->name;
            best = merit;
        } else {
            ret->equals[ret->equal_count++] = p->name;
        }
    }
    ret->possible = ret->winner != NULL && !v->conf.refused;
    if (ret->possible)
        (void)snprintf(ret->why, sizeof(ret->why), "who is furthest once the lease has ended, up to %lld s after",
                       (long long)(v->conf.ttl_ms / 1000));
    else
        say(ret->why, now->why);
    lsn behind = ret->winner && leader.position > best.position ? leader.position - best.position : 0;
    if (ret->possible)
        (void)snprintf(ret->risk, sizeof(ret->risk),
                       "asynchronous: what %s acknowledged and had not sent is lost, at most %lld bytes of what is "
                       "published, and what came after that (%llu bytes as last heard)",
                       now->leader ? now->leader : "the leader", (long long)v->conf.maximum_lag_on_failover,
                       (unsigned long long)behind);
    else
        say(ret->risk, "nobody writes until the node is back, or another one may lead");
}

/* Of one that follows: do enough others acknowledge, and could the leader still be lost after that? */
static void lost_follower(const struct ha_view *v, const char *name, const char *leader, struct explain_loss *ret)
{
    const struct record_key *r = &v->store.cluster->record;
    size_t left = 0;

    ret->possible = leader != NULL;
    if (!leader) {
        say(ret->why, "nobody leads now");
        say(ret->risk, "one fewer that could be elected");
        return;
    }
    (void)snprintf(ret->why, sizeof(ret->why), "%s goes on leading", leader);
    if (!ret->by_quorum || !cohort_has_name(&r->open, name)) {
        say(ret->risk, ret->by_quorum ? "no commit waits for it" : "one fewer that could take over");
        return;
    }
    for (size_t i = 0; i < r->open.count; i++)
        left += !str_eq(r->open.at[i].name, name) && keeps_up(v, r->open.at[i].name);
    if (left >= (size_t)r->open.k)
        (void)snprintf(ret->risk, sizeof(ret->risk),
                       "commits go on: %zu that acknowledge are left, %d are needed; it leaves them after %lld ms",
                       left, r->open.k, (long long)v->conf.profile.lost_ms);
    else if (v->conf.sync_strict)
        say(ret->risk, "commits wait until a standby that acknowledges is back (synchronous_mode_strict)");
    else
        (void)snprintf(ret->risk, sizeof(ret->risk),
                       "commits wait for about %lld ms, then need fewer; none left to acknowledge them means that the "
                       "loss of the leader cannot be survived",
                       (long long)v->conf.profile.lost_ms);
}

void explain_if_lost(const struct ha_view *v, const char *name, struct explain_loss *ret)
{
    struct explain now;

    explain_now(v, &now);
    const struct explain_node *n = find(&now, name);
    *ret = (struct explain_loss){.known = n != NULL, .by_quorum = now.by_quorum};
    if (!n)
        return;
    ret->leads = n->leads;
    if (!n->leads)
        lost_follower(v, name, now.leader, ret);
    else if (now.by_quorum)
        lost_leader_by_quorum(v, &now, name, ret);
    else
        lost_leader_async(v, &now, ret);
    if (n->leads && v->conf.pause) {
        ret->possible = false;
        say(ret->why, "paused: nobody is promoted unless an operator asks for it");
    }
}
