#include "core/ha/recover.h"

#include <stdio.h>

#include "base/str.h"
#include "core/ha/cohort.h"
#include "core/ha/facts.h"
#include "core/ha/ledger.h"
#include "core/ha/mode.h"
#include "core/ha/promise.h"
#include "core/ha/roster.h"
#include "core/ha/suspect.h"

enum { LOOK_AGAIN_MS = 500 };

bool recover_is_followed(const struct record_key *seen, uint64_t seen_store, const struct record_key *now,
                         uint64_t store)
{
    bool by_quorum = seen->mode == RECORD_QUORUM || (now->present && now->mode == RECORD_QUORUM);

    if (!seen->present || !by_quorum || record_key_is_opaque(now))
        return true;
    if (!now->present || now->term != seen->term)
        return now->present && now->term > seen->term;
    return store == seen_store && now->mod_revision >= seen->mod_revision;
}

/* Above all that was promised or written, as far as it is heard. */
static term next_term(const struct ha_view *v)
{
    term highest = promise_highest(v);

    if (v->quorum.seen->term > highest)
        highest = v->quorum.seen->term;
    if (v->store.past->record.term > highest)
        highest = v->store.past->record.term;
    for (size_t i = 0; v->mesh && i < v->mesh->count; i++)
        if (v->mesh->at[i].state.record_term > highest)
            highest = v->mesh->at[i].state.record_term;
    return highest + 1;
}

static struct record_key *write_seen(const struct ha_view *v, struct ha_plan *p)
{
    struct ha_record_change *change = plan_record(p, &v->store.past->record);

    record_key_deinit(&change->next);
    record_key_copy(v->quorum.seen, &change->next);
    change->recovers = true;
    change->drop_leader_key = v->store.past->leader && !str_eq(v->store.past->leader, v->conf.name);
    return &change->next;
}

/* ---- by the leader ---- */

/*
 * Its members told so since the store was seen to be of the past: what they promised before then they would have
 * told.
 */
static size_t confirmed(const struct ha_memory *m, const struct ha_view *v, const struct roster *r,
                        const struct record_cohort *c)
{
    size_t found = 0;

    for (size_t i = 0; i < r->count; i++) {
        const struct follower *f = &r->at[i];
        msec heard_ms = v->now_ms - mesh_age(v, f->name);
        found += f->follows && cohort_has(c, f->name, f->incarnation) && heard_ms > m->recover.past_ms;
    }
    return found;
}

static bool is_confirmed(const struct ha_memory *m, const struct ha_view *v)
{
    const struct record_key *seen = v->quorum.seen;
    struct roster r;

    roster_read(v, &r);
    return confirmed(m, v, &r, &seen->open) >= (size_t)seen->open.k &&
           (!seen->joining || confirmed(m, v, &r, &seen->joint) >= (size_t)seen->joint.k);
}

static void by_leader(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    const struct record_key *seen = v->quorum.seen;
    struct cluster as_seen = *v->store.past;
    struct ha_view w = *v;

    as_seen.record = *seen;
    w.store.cluster = &as_seen;
    if (!mode_may_acknowledge(&w) || !pg_is_primary(&w) || w.pg.timeline != seen->leader_timeline)
        return;
    /* What was on its way when the store was put back has arrived by then. */
    if (v->now_ms < m->recover.past_ms + v->conf.profile.suspect_ms || !is_confirmed(m, &w)) {
        (void)plan_why(p, "the store lost the record of term %llu; waiting for the cohort to confirm it",
                       (unsigned long long)seen->term);
        return;
    }
    term t = next_term(v);
    ledger_reopen(write_seen(v, p), t);
    p->record.take_leader_key = !v->store.past->leader && v->lease.exists;
    (void)plan_why(p, "the store lost the record of term %llu: writing it anew, under term %llu",
                   (unsigned long long)seen->term, (unsigned long long)t);
}

/* ---- by an operator ---- */

static void answer(struct ha_plan *p, bool ok)
{
    struct ha_action *a = plan_add(p, HA_DO_ANSWER);

    a->answer_to = HA_ANSWER_RECOVER;
    a->ok = ok;
}

/* Another has seen a later record, or one that cannot be compared with ours; NULL: nobody that is heard. */
static const char *who_has_newer(const struct ha_view *v)
{
    const struct record_key *seen = v->quorum.seen;

    for (size_t i = 0; i < v->mesh->count; i++) {
        const struct peer_state *s = mesh_fresh(v, v->mesh->at[i].state.name);
        if (!s || s->record_term < seen->term)
            continue;
        if (s->record_term > seen->term ||
            (s->store == v->quorum.seen_store && s->record_revision > seen->mod_revision))
            return s->name;
    }
    return NULL;
}

static const char *first_unheard(const struct ha_view *v, const struct record_cohort *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (!mesh_fresh(v, c->at[i].name))
            return c->at[i].name;
    return NULL;
}

/* Who counts by that record and is not heard; NULL: nobody. */
static const char *who_is_unheard(const struct ha_view *v)
{
    const struct record_key *seen = v->quorum.seen;
    const char *name = first_unheard(v, &seen->open);

    if (!name && seen->joining)
        name = first_unheard(v, &seen->joint);
    if (!name && seen->open_leader && !mesh_fresh(v, seen->open_leader))
        name = seen->open_leader;
    if (!name && seen->leader && !mesh_fresh(v, seen->leader))
        name = seen->leader;
    return name;
}

static bool operator_may(const struct ha_view *v, struct ha_plan *p)
{
    const char *newer = v->mesh ? who_has_newer(v) : NULL;
    const char *unheard = v->mesh ? who_is_unheard(v) : v->conf.name;

    if (newer)
        return !plan_why(p, "%s has seen a later record than this node: ask that one", newer);
    if (unheard && !v->request.recover_force)
        return !plan_why(p, "%s is not heard, and may have seen a later record (force says that it has not)", unheard);
    return true;
}

static void by_operator(const struct ha_view *v, struct ha_plan *p)
{
    char coordinator[HA_NAME_MAX + 32];

    if (!operator_may(v, p)) {
        answer(p, false);
        return;
    }
    term t = next_term(v);
    struct record_key *next = write_seen(v, p);
    if (next->mode == RECORD_QUORUM) {
        (void)snprintf(coordinator, sizeof(coordinator), "%s#%lld", v->conf.name,
                       (long long)v->store.past->record.mod_revision);
        ledger_call(next, t, coordinator);
    } else {
        next->term = t;
    }
    answer(p, true);
    (void)plan_why(p, "as an operator says: the record of term %llu is the newest, going on from it under term %llu",
                   (unsigned long long)v->quorum.seen->term, (unsigned long long)t);
}

/* ---- both ---- */

bool recover_may_write(const struct ha_view *v, const struct record_key *next)
{
    const struct record_key *seen = v->quorum.seen;

    if (!v->store.past || !seen || next->mode != seen->mode || next->term <= seen->term ||
        next->term <= v->store.past->record.term || next->term <= promise_highest(v))
        return false;
    return cohort_equal(&next->open, &seen->open) && next->joining == seen->joining &&
           cohort_equal(&next->joint, &seen->joint) && str_eq(next->open_leader, seen->open_leader) &&
           next->open_incarnation == seen->open_incarnation;
}

static bool is_other_database(const struct ha_view *v)
{
    const char *theirs = v->store.past->initialize;

    return !str_empty(theirs) && v->pg.system_id && !str_eq(theirs, v->pg.system_id);
}

void recover_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    const struct cluster *past = v->store.past;

    if (!past) {
        m->recover.past_ms = 0;
        if (v->request.recover) {
            answer(p, false);
            (void)plan_why(p, "the store has the newest record that was seen here: there is nothing to recover");
        }
        return;
    }
    if (!m->recover.past_ms)
        m->recover.past_ms = v->now_ms;
    plan_wake(p, v->now_ms + LOOK_AGAIN_MS);
    (void)plan_why(p,
                   "the store was put back or replaced: its record is of term %llu, here one of term %llu was seen; "
                   "nothing is decided by it",
                   (unsigned long long)past->record.term, (unsigned long long)v->quorum.seen->term);
    if (v->store.reads_back || !v->quorum.promise.known || plan_has(p, HA_DO_RECORD) || p->count + 2 > HA_ACTIONS_MAX)
        return;
    if (is_other_database(v)) {
        (void)plan_why(p, "the store is of another cluster: its database is %s", past->initialize);
        if (v->request.recover)
            answer(p, false);
        return;
    }
    if (v->request.recover)
        by_operator(v, p);
    else /* in pause, too: it changes nothing, and without a store nobody can end a pause */
        by_leader(m, v, p);
}
