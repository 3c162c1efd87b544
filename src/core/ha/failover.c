#include "core/ha/failover.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mutant.h"
#include "base/str.h"
#include "core/ha/flap.h"
#include "core/ha/ledger.h"
#include "core/ha/mode.h"
#include "core/ha/promise.h"
#include "core/ha/suspect.h"

static const char *may_not_lead(const struct peer_state *s, bool fresh)
{
    if (!fresh)
        return "is silent";
    if (s->ending)
        return "is about to end";
    if (!s->failover_priority)
        return "is tagged nofailover";
    if (s->unfit)
        return "cannot keep what is promised, as its log says";
    if (s->process != PEER_PROC_RUNNING)
        return "does not run";
    if (s->sick)
        return peer_sick_text(s->sick);
    return NULL;
}

static bool is_preferred(const struct ha_view *v, const char *name)
{
    const struct failover_key *key = &v->store.cluster->failover;

    return key->present && str_eq(key->candidate, name) && key->scheduled_epoch_ms <= v->wall_ms;
}

static struct ballot ballot_of(const struct ha_view *v, const struct peer_state *s, term t)
{
    bool of_term = MUTANT(TERMLESS_FROZEN) || (s->frozen_term == t && s->promised == t);
    bool frozen = (s->freeze != PEER_FREEZE_NONE && of_term) || MUTANT(UNFROZEN_COUNTED);

    return (struct ballot){
        .name = s->name,
        .incarnation = s->incarnation,
        .frozen = s->incarnation && (!t || frozen),
        .timeline = s->timeline,
        .position = s->position,
        .replayed = s->replayed,
        .primary = s->primary,
        .preferred = is_preferred(v, s->name),
        .why_not = may_not_lead(s, mesh_fresh(v, s->name) != NULL),
        .priority = s->failover_priority,
    };
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct ballot *)a)->name, ((const struct ballot *)b)->name);
}

size_t failover_ballots(const struct ha_view *v, term t, struct ballot *ret_ballots)
{
    size_t count = 0;

    if (!v->mesh)
        return 0;
    ret_ballots[count++] = ballot_of(v, &v->mesh->own, t);
    for (size_t i = 0; i < v->mesh->count && count < HA_PEERS_MAX; i++)
        if (v->mesh->at[i].heard_ms)
            ret_ballots[count++] = ballot_of(v, &v->mesh->at[i].state, t);
    qsort(ret_ballots, count, sizeof(*ret_ballots), by_name);
    return count;
}

bool failover_is_possible(const struct ha_view *v, const char *without)
{
    struct ballot ballots[HA_PEERS_MAX], up[HA_PEERS_MAX];
    size_t count = failover_ballots(v, 0, ballots), up_count = 0;
    bool somebody = false;

    for (size_t i = 0; i < count; i++) {
        if (str_eq(ballots[i].name, without) || !mesh_fresh(v, ballots[i].name))
            continue;
        up[up_count++] = ballots[i];
        somebody |= !ballots[i].why_not;
    }
    return somebody && election_could_settle(&v->store.cluster->record, up, up_count);
}

bool failover_is_ours(const char *name, const struct record_key *r)
{
    size_t len = strlen(name);

    return r->coordinator && strncmp(r->coordinator, name, len) == 0 && r->coordinator[len] == '#';
}

uint32_t failover_next_timeline(const struct ha_view *v)
{
    uint32_t newest = v->mesh->own.timeline;

    if (MUTANT(TIMELINE_OWN_COUNT))
        return newest + 1;
    for (size_t i = 0; i < v->mesh->count; i++)
        if (v->mesh->at[i].state.timeline > newest)
            newest = v->mesh->at[i].state.timeline;
    return ledger_next_timeline(&v->store.cluster->record, newest);
}

/*
 * The leader that reached nobody has most, and settles the cohort as soon as it is frozen: the others get their time to
 * freeze first. That it is remembered by its coordinator alone costs an election in vain, if that one dies.
 */
static void pass_over(const struct ha_memory *m, const struct ha_view *v, struct ballot *ballots, size_t count,
                      struct ha_plan *p)
{
    if (m->suspect.cut_term != v->store.cluster->record.term)
        return;
    for (size_t i = 0; i < count; i++) {
        if (!str_eq(ballots[i].name, m->suspect.cut))
            continue;
        ballots[i].cut_off = true;
        if (v->now_ms >= m->suspect.cut_until_ms)
            continue;
        plan_wake(p, m->suspect.cut_until_ms);
        if (!ballots[i].why_not)
            ballots[i].why_not = "does not reach its standbys";
    }
}

static void elect(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    const struct record_key *r = &v->store.cluster->record;
    struct ballot ballots[HA_PEERS_MAX];
    struct election e;
    size_t count = failover_ballots(v, r->term, ballots);

    pass_over(m, v, ballots, count, p);
    election_hold(r, ballots, count, &e);
    (void)plan_why(p, "term %llu: %s", (unsigned long long)r->term, e.why);
    plan_wake(p, v->now_ms + v->conf.profile.beat_ms);
    if (e.result != ELECTION_WON)
        return;

    const struct ballot *w = &ballots[e.winner];
    struct ha_record_change *change = plan_record(p, r);
    uint32_t timeline = w->primary ? w->timeline : failover_next_timeline(v);
    ledger_elect(&change->next, w->name, w->incarnation, timeline, w->position);
    change->drop_leader_key = true;
}

/* How many of those that are heard here, and could act, come before this node. */
static int rank(const struct ha_view *v, const char *subject)
{
    int before = 0;

    for (size_t i = 0; i < v->mesh->count; i++) {
        const char *name = v->mesh->at[i].state.name;
        before += mesh_fresh(v, name) && !str_eq(name, subject) && strcmp(name, v->conf.name) < 0;
    }
    return before;
}

/* Returns the term. */
static term call(const struct ha_view *v, struct ha_plan *p)
{
    const struct record_key *r = &v->store.cluster->record;
    term highest = promise_highest(v);
    term next = (highest > r->term ? highest : r->term) + 1;
    char coordinator[HA_NAME_MAX + 32];

    /* The revision makes it unique: of those that call from one record only one succeeds. */
    (void)snprintf(coordinator, sizeof(coordinator), "%s#%lld", v->conf.name, (long long)r->mod_revision);
    ledger_call(&plan_record(p, r)->next, next, coordinator);
    return next;
}

/* Who is cut off and took this over from would take it back at once. */
static void note_cut(struct ha_memory *m, const struct ha_view *v, const struct suspect *s, term next)
{
    if (s->kind != SUSPECT_CUT)
        return;
    m->suspect.cut_term = next;
    str_copy(m->suspect.cut, sizeof(m->suspect.cut), s->name);
    m->suspect.cut_until_ms = v->now_ms + 2 * v->conf.profile.freeze_ms;
}

/* A suspicion has to last until it is this node's turn. */
static bool is_due(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p, const struct suspect *s)
{
    bool same = m->suspect.kind == (int)s->kind && str_eq(m->suspect.name, s->name ? s->name : "");

    if (!same) {
        m->suspect.kind = (int)s->kind;
        str_copy(m->suspect.name, sizeof(m->suspect.name), s->name ? s->name : "");
        m->suspect.since_ms = v->now_ms;
    }
    if (s->kind == SUSPECT_NOBODY)
        return false;
    msec due_ms = m->suspect.since_ms + rank(v, s->name) * v->conf.profile.rank_ms;
    if (v->now_ms < due_ms) {
        plan_wake(p, due_ms);
        return false;
    }
    return true;
}

/* So soon after the last failover it is waited whether that one helps. */
static bool is_held(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p, const struct suspect *s)
{
    msec until_ms = flap_hold_ms(m, v) + rank(v, s->name) * v->conf.profile.rank_ms;
    bool of_an_open_one = v->store.cluster->record.phase == RECORD_OPEN && !str_eq(s->name, v->conf.name);

    if (!of_an_open_one || s->kind == SUSPECT_DEAD || s->kind == SUSPECT_STUCK || v->now_ms >= until_ms)
        return false;
    plan_wake(p, until_ms);
    return plan_why(p, "%s; so soon after the last failover that is borne for a while", s->why);
}

bool failover_call_anew(const struct ha_view *v, struct ha_plan *p)
{
    const struct record_key *r = mode_record(v);
    term beyond;

    if (!r || !v->mesh || !v->store.known || v->store.reads_back || !v->quorum.promise.known ||
        promise_beyond(v, r->term, &beyond))
        return false;
    (void)call(v, p);
    return true;
}

void failover_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    if (!mode_is_quorum(v) || !v->mesh || !v->store.known || v->store.reads_back || !v->quorum.promise.known)
        return;

    const struct record_key *r = &v->store.cluster->record;
    term beyond;
    const char *who = promise_beyond(v, r->term, &beyond);
    if (who) {
        (void)plan_why(p, "%s has promised term %llu, the record is of term %llu: nothing is decided by it", who,
                       (unsigned long long)beyond, (unsigned long long)r->term);
        return;
    }
    if (r->phase == RECORD_TERM && failover_is_ours(v->conf.name, r)) {
        elect(m, v, p);
        return;
    }
    flap_look(m, v);
    struct suspect s = suspect_look(m, v, p);
    if (!is_due(m, v, p, &s) || v->conf.pause || is_held(m, v, p, &s))
        return;
    bool possible = failover_is_possible(v, s.kind == SUSPECT_STUCK || str_eq(s.name, v->conf.name) ? NULL : s.name);
    if (!possible) {
        plan_wake(p, v->now_ms + v->conf.profile.beat_ms);
        (void)plan_why(p,
                       "%s; but nobody who could take over is up, or too few of the cohort to prove what was "
                       "acknowledged",
                       s.why);
        return;
    }
    note_cut(m, v, &s, call(v, p));
    (void)plan_why(p, "%s: taking a new term", s.why);
}
