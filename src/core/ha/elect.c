#include "core/ha/elect.h"

#include "base/check.h"
#include "base/str.h"
#include "core/ha/facts.h"
#include "core/ha/observe.h"
#include "core/ha/round.h"

enum {
    /*
     * Walsenders ship the shutdown checkpoint before they end; a successor that has it not by then will never
     * have it.
     */
    CATCH_UP_MS = 2000,
    /* How long a chosen successor may take before everybody races again; a promotion takes well under a second. */
    HANDOVER_MS = 10000,
};

bool elect_can_lead(const struct ha_view *v, const struct member *member, const char **ret_why_not)
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

/*
 * An operator wants us before all others. A handover is to lose nothing: who lacks the end of it is no better than any
 * other. Without one only a failover (no leader is named) says that, whatever we lack: a leader that died while a
 * switchover was asked for, or planned for later, is replaced like any other.
 */
static bool named_us(const struct ha_memory *m, const struct ha_view *v)
{
    if (!asked_for(v))
        return false;
    return handed_over(m, v) ? !lacks_last_record(m, v) : str_empty(v->store.cluster->failover.leader);
}

/* In pause nothing is done by itself; but a leader that let go while it was asked to left the rest to us. */
static bool pause_allows(const struct ha_memory *m, const struct ha_view *v)
{
    bool let_go = m->leader.released && str_eq(v->store.cluster->failover.leader, m->leader.name);

    return named_us(m, v) || pg_is_primary(v) || (asked_for(v) && let_go);
}

/* This node by itself, whatever the others are. */
static bool we_may_lead(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    const struct cluster *c = v->store.cluster;
    bool named = named_us(m, v);

    char unkept[UNKEPT_MAX];
    if (promise_is_unkept(v, unkept))
        return !plan_why(p, "no leader; %s, so it does not lead", unkept);
    if (v->pg.data == HA_DATA_REWINDING) /* and started by hand: its files may be of two histories */
        return !plan_why(p, "no leader; pg_rewind did not finish here, so this node does not lead before an operator "
                            "removes rewind.in-progress");
    if (v->conf.tags.nofailover || v->conf.tags.failover_priority <= 0)
        return !plan_why(p, "no leader; this node is tagged nofailover");
    if (v->now_ms < m->elect.stand_back_until_ms) {
        plan_wake(p, m->elect.stand_back_until_ms);
        return !plan_why(p, "no leader; standing back after giving the key up");
    }
    if (v->conf.pause && !pause_allows(m, v))
        return !plan_why(p, "no leader; paused, nothing is done automatically");

    int64_t lag = c->status.optime > v->pg.position ? (int64_t)(c->status.optime - v->pg.position) : 0;
    if (lacks_last_record(m, v) && v->now_ms < m->leader.gone_ms + CATCH_UP_MS) {
        plan_wake(p, m->leader.gone_ms + CATCH_UP_MS);
        return !plan_why(p, "no leader; waiting for the last record of %s", c->record.leader);
    }
    if (named)
        return true;
    /* The leader counts on those members only whom it asks. */
    if (v->conf.failsafe_mode && c->failsafe && !json_object_get(c->failsafe, v->conf.name))
        return !plan_why(p, "no leader; this node is not in /failsafe yet");
    if (lag > v->conf.maximum_lag_on_failover)
        return !plan_why(p, "no leader; this node is %lld bytes behind, more than maximum_lag_on_failover",
                         (long long)lag);

    /*
     * What was acknowledged on the newest timeline is not here, however far this one went. So this does not wait for
     * check_timeline; an operator may still name such a node.
     */
    size_t known = json_array_size(c->history);
    json_t *newest = known ? json_array_get(json_array_get(c->history, known - 1), 0) : NULL;
    if (newest && v->pg.timeline <= (uint32_t)json_integer_value(newest))
        return !plan_why(p, "no leader; this node is on timeline %u, the cluster was beyond it", v->pg.timeline);

    /*
     * Somebody has more than we do: time for it to come up, when all start at once. Less than a lease, and only
     * for laggards.
     */
    msec come_up_ms = msec_max(m->leader.gone_ms, m->seen.started_ms) + v->conf.loop_wait_ms;
    if (lag > 0 && v->now_ms < come_up_ms) {
        plan_wake(p, come_up_ms);
        return !plan_why(p, "no leader; %lld bytes behind what was published, giving a better member time to come up",
                         (long long)lag);
    }

    msec race_ms = m->leader.gone_ms + v->conf.primary_race_backoff_ms;
    if (v->conf.primary_race_backoff_ms && v->pg.streaming && v->now_ms < race_ms) {
        plan_wake(p, race_ms);
        return !plan_why(p, "no leader; WAL still arrives, waiting out primary_race_backoff");
    }
    return true;
}

/* A planned handover: whose turn is it? True if it is not ours for now. */
static bool handover_names_another(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    const struct failover_key *key = &v->store.cluster->failover;
    const char *why_not;

    if (!key->present || key->scheduled_epoch_ms > v->wall_ms)
        return false;
    if (v->now_ms - m->leader.gone_ms > HANDOVER_MS)
        return false; /* it had its time */
    if (key->leader && m->leader.name[0] && !str_eq(key->leader, m->leader.name))
        return false; /* that leader has been replaced; the request is used up */
    if (key->candidate && !str_eq(key->candidate, v->conf.name)) {
        const struct member *candidate = cluster_member(v->store.cluster, key->candidate);
        if (!candidate || !elect_can_lead(v, candidate, &why_not))
            return false;
        plan_wake(p, v->now_ms + ROUND_AGAIN_MS);
        return plan_why(p, "no leader; leaving the key to %s as the operator asked", key->candidate);
    }
    /* We are the one that was asked to step down: another one first, if any can. */
    if (!key->candidate && str_eq(key->leader, v->conf.name)) {
        for (size_t i = 0; i < v->store.cluster->member_count; i++) {
            const struct member *other = &v->store.cluster->members[i];
            if (str_eq(other->name, v->conf.name) || !elect_can_lead(v, other, &why_not))
                continue;
            plan_wake(p, v->now_ms + ROUND_AGAIN_MS);
            return plan_why(p, "no leader; leaving the key to %s", other->name);
        }
    }
    return false;
}

/*
 * This agent saw us lead last, and PostgreSQL still runs as primary: the store lost our key while the members let us
 * stay. What a standby on our timeline has, it has from us; one that seems to be ahead answered after our own position
 * was read.
 */
static bool is_last_primary(const struct ha_memory *m, const struct ha_view *v)
{
    return m->leader.key && str_eq(m->leader.name, v->conf.name) && pg_is_primary(v);
}

/* Is anybody a better choice, or already primary? */
static bool another_is_better(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    const struct cluster *c = v->store.cluster;
    bool named = named_us(m, v);
    const char *why_not;

    for (size_t i = 0; i < v->peers.count; i++) {
        const struct ha_peer *peer = &v->peers.at[i];
        const struct member *member = cluster_member(c, peer->name);
        char text[LSN_TEXT_MAX];

        if (peer->answer != HA_ANSWER_YES || str_eq(peer->name, v->conf.name))
            continue;
        if (peer->running && peer->primary)
            return plan_why(p, "no leader; %s says it still runs as primary", peer->name);
        if (named || !member || !elect_can_lead(v, member, &why_not))
            continue;
        if (handed_over(m, v) && str_eq(c->record.leader, peer->name) && !lacks_last_record(m, v))
            continue; /* it stepped down, and we have all that it had */
        if (peer->timeline && v->pg.timeline && peer->timeline != v->pg.timeline) {
            if (peer->timeline > v->pg.timeline)
                return plan_why(p, "no leader; %s is on timeline %u, we are on %u", peer->name, peer->timeline,
                                v->pg.timeline);
            continue;
        }
        if (is_last_primary(m, v))
            continue;
        if (peer->position > v->pg.position)
            return plan_why(p, "no leader; %s is ahead at %s", peer->name, lsn_text(peer->position, text));
        if (peer->position == v->pg.position && peer->failover_priority > v->conf.tags.failover_priority)
            return plan_why(p, "no leader; %s is as far and has a higher failover_priority", peer->name);
    }
    return false;
}

/* The last leader was paused when it was heard last: where it cannot be seen it may run on for ever. */
static bool may_run_on(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    const struct cluster *c = v->store.cluster;
    const struct record_key *record = &c->record;

    if (named_us(m, v) || !observe_record_stands(m, v) || !record->unfenced || record->released ||
        str_eq(record->leader, v->conf.name))
        return false;
    const struct ha_peer *peer = peer_answer(v, record->leader);
    if (peer && peer->answer == HA_ANSWER_YES) /* whether it is primary, another_is_better() looks */
        return false;
    return plan_why(
        p,
        "no leader; %s was paused and does not answer, so nothing may have stopped it: waiting for it, or for "
        "an operator's failover to a named candidate",
        record->leader);
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
    msec free_ms;

    CHECK(v->store.cluster && !v->store.cluster->leader);
    if (!v->store.known) {
        (void)plan_why(p, "no leader as far as known; the store does not answer");
        return;
    }
    if (!v->pg.answered || !v->pg.position || !v->pg.timeline) {
        (void)plan_why(p, "no leader; PostgreSQL here does not answer yet");
        return;
    }
    if (!v->lease.exists || !we_may_lead(m, v, p))
        return;
    if (!observe_key_is_free(m, v, &free_ms)) {
        bool waits_for_lease = m->leader.name[0] && !m->leader.released;
        long long left_s = (free_ms - v->now_ms + 999) / 1000;
        plan_wake(p, free_ms);
        if (observe_past_is_unknown(m, v))
            (void)plan_why(p, "no leader; the store knows no cluster: giving whoever led this one %lld s to show up",
                           left_s);
        else if (waits_for_lease)
            (void)plan_why(p, "no leader; the lease of %s may still hold for %lld s", m->leader.name, left_s);
        else
            (void)plan_why(p, "no leader; a stay that an earlier agent granted may still hold for %lld s", left_s);
        return;
    }
    bool ours = handed_over(m, v) && named_us(m, v); /* there is nobody to be asked */
    if (!ours && !round_have(v, p, m->leader.gone_ms, ROUND_AGE_MS)) {
        (void)plan_why(p, "no leader; asking the members how far they are");
        return;
    }
    plan_wake(p, v->now_ms + ROUND_AGAIN_MS);
    if (!ours && (handover_names_another(m, v, p) || may_run_on(m, v, p) || another_is_better(m, v, p)))
        return;

    plan_add(p, HA_DO_ACQUIRE)->timeline = elect_timeline(v);
    (void)plan_why(p, "no leader; we are the best known candidate");
}
