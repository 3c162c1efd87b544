#include "core/ha/elect.h"

#include "base/check.h"
#include "base/mutant.h"
#include "base/str.h"
#include "core/ha/beside.h"
#include "core/ha/candidate.h"
#include "core/ha/facts.h"
#include "core/ha/handover.h"
#include "core/ha/observe.h"
#include "core/ha/promise.h"
#include "core/ha/round.h"

/* What every step of the race looks at. */
struct race {
    const struct ha_memory *m;
    const struct ha_view *v;
    enum handover_turn turn;
    struct ha_plan *p;
};

/*
 * ---- gates: this node by itself, whatever the others are ----
 *
 * Each says why it is shut.
 */

static bool more_is_promised(const struct race *r)
{
    char unkept[UNKEPT_MAX];

    return node_is_unfit(r->v, unkept) && plan_why(r->p, "no leader; %s, so it does not lead", unkept);
}

/* And started by hand: its files may be of two histories. */
static bool rewind_is_unfinished(const struct race *r)
{
    return r->v->pg.data == HA_DATA_REWINDING &&
           plan_why(r->p, "no leader; pg_rewind did not finish here, so this node does not lead before an operator "
                          "removes rewind.in-progress");
}

static bool tagged(const struct race *r)
{
    bool nofailover = r->v->conf.tags.nofailover || r->v->conf.tags.failover_priority <= 0;

    return nofailover && plan_why(r->p, "no leader; this node is tagged nofailover");
}

static bool shut_until(const struct race *r, msec until_ms)
{
    if (r->v->now_ms >= until_ms)
        return false;
    plan_wake(r->p, until_ms);
    return true;
}

/* An operator may name it all the same; a switchover is to lose nothing. */
static bool not_synchronous(const struct race *r)
{
    return r->turn != TURN_FORCED && beside_is_barred(r->v, r->v->conf.name) &&
           plan_why(r->p, "no leader; /sync does not say that this node has all that was acknowledged");
}

static bool standing_back(const struct race *r)
{
    return shut_until(r, r->m->elect.stand_back_until_ms) &&
           plan_why(r->p, "no leader; standing back after giving the key up");
}

static bool paused(const struct race *r)
{
    bool asked = r->turn == TURN_OURS || r->turn == TURN_FORCED || handover_is_for_us(r->m, r->v);

    return r->v->conf.pause && !asked && !pg_is_primary(r->v) &&
           plan_why(r->p, "no leader; paused, nothing is done automatically");
}

static bool last_record_may_come(const struct race *r)
{
    return r->turn == TURN_WAIT && shut_until(r, r->m->leader.gone_ms + HANDOVER_CATCH_UP_MS) &&
           plan_why(r->p, "no leader; waiting for the last record of %s", r->v->store.cluster->record.leader);
}

/* Behind what was published last. */
static int64_t lag_bytes(const struct ha_view *v)
{
    lsn published = v->store.cluster->status.optime;

    return published > v->pg.position ? (int64_t)(published - v->pg.position) : 0;
}

static bool far_behind(const struct race *r)
{
    int64_t lag = lag_bytes(r->v);

    return lag > r->v->conf.maximum_lag_on_failover &&
           plan_why(r->p, "no leader; this node is %lld bytes behind, more than maximum_lag_on_failover",
                    (long long)lag);
}

/*
 * What was acknowledged on the newest timeline is not here, however far this one went. So this does not wait for
 * check_timeline; an operator may still name such a node.
 */
static bool on_old_timeline(const struct race *r)
{
    const json_t *history = r->v->store.cluster->history;
    size_t known = json_array_size(history);
    json_t *newest = known ? json_array_get(json_array_get(history, known - 1), 0) : NULL;

    return newest && r->v->pg.timeline <= (uint32_t)json_integer_value(newest) &&
           plan_why(r->p, "no leader; this node is on timeline %u, the cluster was beyond it", r->v->pg.timeline);
}

/*
 * Somebody has more than we do: time for it to come up, when all start at once. Less than a lease, and only
 * for laggards.
 */
static bool better_may_come_up(const struct race *r)
{
    int64_t lag = lag_bytes(r->v);
    msec since_ms = msec_max(r->m->leader.gone_ms, r->m->seen.started_ms);

    return lag > 0 && shut_until(r, since_ms + r->v->conf.loop_wait_ms) &&
           plan_why(r->p, "no leader; %lld bytes behind what was published, giving a better member time to come up",
                    (long long)lag);
}

static bool wal_still_arrives(const struct race *r)
{
    msec backoff_ms = r->v->conf.primary_race_backoff_ms;

    return backoff_ms && r->v->pg.streaming && shut_until(r, r->m->leader.gone_ms + backoff_ms) &&
           plan_why(r->p, "no leader; WAL still arrives, waiting out primary_race_backoff");
}

/* In this order; the most certain refusal first. */
static const struct {
    bool (*is_shut)(const struct race *r);
    bool named_too; /* also for the one that an operator asked for */
} gates[] = {
    {more_is_promised, true},     {rewind_is_unfinished, true}, {tagged, true},
    {not_synchronous, true},      {standing_back, true},        {paused, true},
    {last_record_may_come, true}, {far_behind, false},          {on_old_timeline, false},
    {better_may_come_up, false},  {wal_still_arrives, false},
};

static bool we_may_lead(const struct race *r)
{
    bool named = r->turn == TURN_OURS || r->turn == TURN_FORCED;

    for (size_t i = 0; i < ARRAY_LEN(gates); i++)
        if ((gates[i].named_too || !named) && gates[i].is_shut(r))
            return false;
    return true;
}

/* ---- the key ---- */

/* The last owner let go of it, or its lease has certainly ended; else says how long that takes. */
static bool key_is_free(const struct race *r)
{
    const struct ha_memory *m = r->m;
    const struct ha_view *v = r->v;
    msec free_ms;

    if (observe_key_is_free(m, v, &free_ms))
        return true;

    long long left_s = (free_ms - v->now_ms + 999) / 1000;
    plan_wake(r->p, free_ms);
    if (observe_past_is_unknown(m, v))
        (void)plan_why(r->p, "no leader; the store knows no cluster: giving whoever led this one %lld s to show up",
                       left_s);
    else if (m->leader.name[0] && !m->leader.released)
        (void)plan_why(r->p, "no leader; the lease of %s may still hold for %lld s", m->leader.name, left_s);
    else
        (void)plan_why(r->p, "no leader; a stay that an earlier agent granted may still hold for %lld s", left_s);
    return false;
}

/* ---- the others, by a round ---- */

/*
 * This agent saw us lead last, and PostgreSQL still runs as primary: the store lost our key while the members let us
 * stay. What a standby on our timeline has, it has from us; one that seems to be ahead answered after our own position
 * was read.
 */
static bool is_last_primary(const struct ha_memory *m, const struct ha_view *v)
{
    return m->leader.key && str_eq(m->leader.name, v->conf.name) && pg_is_primary(v);
}

/* This member's answer against us. */
static bool is_better(const struct race *r, const struct ha_peer *peer)
{
    const struct ha_view *v = r->v;
    struct candidate_merit theirs = {peer->timeline, peer->position, peer->failover_priority};
    struct candidate_merit ours = {v->pg.timeline, v->pg.position, v->conf.tags.failover_priority};
    char text[LSN_TEXT_MAX];

    switch (candidate_better(&theirs, &ours)) {
    case CANDIDATE_NO_EDGE:
        break;
    case CANDIDATE_TIMELINE:
        return plan_why(r->p, "no leader; %s is on timeline %u, we are on %u", peer->name, peer->timeline,
                        v->pg.timeline);
    case CANDIDATE_POSITION:
        return !is_last_primary(r->m, v) &&
               plan_why(r->p, "no leader; %s is ahead at %s", peer->name, lsn_text(peer->position, text));
    case CANDIDATE_PRIORITY:
        return !is_last_primary(r->m, v) &&
               plan_why(r->p, "no leader; %s is as far and has a higher failover_priority", peer->name);
    }
    return false;
}

/* Is anybody a better choice, or already primary? */
static bool another_is_better(const struct race *r)
{
    const struct ha_view *v = r->v;
    const char *why_not;

    for (size_t i = 0; i < v->peers.count; i++) {
        const struct ha_peer *peer = &v->peers.at[i];
        const struct member *member = cluster_member(v->store.cluster, peer->name);

        if (peer->answer != HA_ANSWER_YES || str_eq(peer->name, v->conf.name))
            continue;
        if (peer->running && peer->primary && !MUTANT(RIVAL_TOLERATED))
            return plan_why(r->p, "no leader; %s says it still runs as primary", peer->name);
        if (r->turn == TURN_FORCED || !member || !candidate_may_lead(v, member, &why_not))
            continue;
        if (!handover_has_all_of(r->m, v, peer->name) && is_better(r, peer))
            return true;
    }
    return false;
}

/* The last leader was paused when it was heard last: where it cannot be seen it may run on for ever. */
static bool may_run_on(const struct race *r)
{
    const struct ha_view *v = r->v;
    const struct record_key *record = &v->store.cluster->record;

    if (MUTANT(UNFENCED_IGNORED) || r->turn == TURN_FORCED || !observe_record_stands(r->m, v) || !record->unfenced ||
        record->released || str_eq(record->leader, v->conf.name))
        return false;
    const struct ha_peer *peer = peer_answer(v, record->leader);
    if (peer && peer->answer == HA_ANSWER_YES) /* whether it is primary, another_is_better() looks */
        return false;
    return plan_why(
        r->p,
        "no leader; %s was paused and does not answer, so nothing may have stopped it: waiting for it, or for "
        "an operator's failover to a named candidate",
        record->leader);
}

/*
 * A leader counts on those members only whom it asks, and this node is none of them: one of them may be that leader, or
 * let it stay, for all that is known here. Not when each of them says that it is no primary (another_is_better()).
 */
static bool not_asked_in_failsafe(const struct race *r)
{
    const struct ha_view *v = r->v;
    json_t *asked = v->store.cluster->failsafe;
    const char *name;
    json_t *url;

    if (!v->conf.failsafe_mode || r->turn == TURN_FORCED || !asked || json_object_get(asked, v->conf.name))
        return false;
    json_object_foreach(asked, name, url)
    {
        const struct ha_peer *peer = peer_answer(v, name);
        if (!peer || peer->answer != HA_ANSWER_YES)
            return plan_why(r->p, "no leader; this node is not in /failsafe yet, and %s does not answer", name);
    }
    return false;
}

/* Somebody else should have it, or may still be what it was. */
static bool others_come_first(const struct race *r)
{
    if (!round_have(r->v, r->p, r->m->leader.gone_ms, ROUND_AGE_MS))
        return plan_why(r->p, "no leader; asking the members how far they are");

    plan_wake(r->p, r->v->now_ms + ROUND_AGAIN_MS);
    if ((r->turn == TURN_OTHERS && handover_leave(r->v, r->p)) || may_run_on(r) || not_asked_in_failsafe(r) ||
        another_is_better(r))
        return true;
    return r->turn != TURN_FORCED && beside_lacks_votes(r->v) &&
           plan_why(r->p, "no leader; too few of those in /sync answer that they are not ahead");
}

static uint32_t max_timeline(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

uint32_t elect_timeline(const struct ha_view *v)
{
    const struct cluster *c = v->store.cluster;
    size_t known = json_array_size(c->history);
    uint32_t newest = v->pg.timeline;

    if (pg_is_primary(v))
        return newest;
    if (known) /* a line is about the timeline that ended there */
        newest = max_timeline(
            newest, (uint32_t)json_integer_value(json_array_get(json_array_get(c->history, known - 1), 0)) + 1);
    newest = max_timeline(newest, c->record.timeline);
    for (size_t i = 0; i < c->member_count; i++)
        newest = max_timeline(newest, c->members[i].timeline);
    for (size_t i = 0; i < v->peers.count; i++)
        newest = max_timeline(newest, v->peers.at[i].timeline);
    return newest + 1;
}

void elect_stand_back(struct ha_memory *m, const struct ha_view *v, msec for_ms)
{
    m->elect.stand_back_until_ms = v->now_ms + for_ms;
}

void elect_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    struct race r = {.m = m, .v = v, .p = p};

    CHECK(v->store.cluster && !v->store.cluster->leader);
    if (!v->store.known) {
        (void)plan_why(p, "no leader as far as known; the store does not answer");
        return;
    }
    if (!v->pg.answered || !v->pg.position || !v->pg.timeline) {
        (void)plan_why(p, "no leader; PostgreSQL here does not answer yet");
        return;
    }
    if (!v->lease.exists)
        return;

    r.turn = handover_turn_of(m, v);
    if (!we_may_lead(&r) || !key_is_free(&r))
        return;
    if (r.turn == TURN_OURS)
        plan_wake(p, v->now_ms + ROUND_AGAIN_MS);
    else if (others_come_first(&r))
        return;

    struct ha_action *acquire = plan_add(p, HA_DO_ACQUIRE);
    acquire->timeline = elect_timeline(v);
    acquire->above = promise_highest(v);
    (void)plan_why(p, "no leader; we are the best known candidate");
}
