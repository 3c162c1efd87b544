#include "core/ha/ledger.h"

#include "base/check.h"
#include "base/mutant.h"
#include "base/str.h"
#include "core/ha/cohort.h"

static void set_line(struct record_key *r, uint32_t timeline, term t, lsn fork)
{
    CHECK(timeline);
    for (size_t i = 0; i < r->line_count; i++)
        if (r->lines[i].timeline == timeline) {
            r->lines[i].term = t;
            return;
        }
    record_key_add_line(r, &(struct record_line){.timeline = timeline, .term = t, .fork = fork});
    if (timeline > r->timeline)
        r->timeline = timeline;
}

static void set_leader(struct record_key *r, const char *name, uint64_t incarnation, uint32_t timeline)
{
    str_set(&r->leader, name);
    r->leader_incarnation = incarnation;
    r->leader_timeline = timeline;
}

static void set_open(struct record_key *r, const struct record_cohort *cohort)
{
    record_cohort_deinit(&r->open);
    if (cohort)
        record_cohort_copy(cohort, &r->open);
}

static void set_joint(struct record_key *r, const struct record_cohort *cohort)
{
    record_cohort_deinit(&r->joint);
    r->joining = cohort != NULL;
    if (cohort)
        record_cohort_copy(cohort, &r->joint);
}

static void set_open_leader(struct record_key *r)
{
    str_set(&r->open_leader, r->leader);
    r->open_incarnation = r->leader_incarnation;
    r->open_term = r->term;
}

void ledger_enter(struct record_key *r, uint64_t incarnation, uint32_t timeline)
{
    CHECK(r->mode != RECORD_QUORUM && r->leader && !r->joining);
    if (r->mode == RECORD_ASYNC)
        set_open(r, NULL);
    record_key_drop_electorate(r);
    r->deposed = false;
    r->mode = RECORD_QUORUM;
    r->phase = RECORD_OPEN;
    str_set(&r->coordinator, r->leader);
    r->leader_incarnation = incarnation;
    r->leader_timeline = timeline;
    set_open_leader(r);
    set_joint(r, NULL);
    set_line(r, timeline, r->term, 0);
}

void ledger_leave(struct record_key *r)
{
    CHECK(r->mode == RECORD_QUORUM && r->phase == RECORD_OPEN && !r->joining && !r->open.count);
    r->mode = RECORD_ASYNC;
    r->leader_incarnation = 0;
    r->leader_timeline = 0;
    str_set(&r->open_leader, NULL);
    str_set(&r->coordinator, NULL);
}

static void forget_reign(struct record_key *r)
{
    r->phase = RECORD_OPEN;
    r->leader_incarnation = 0;
    r->leader_timeline = 0;
    str_set(&r->open_leader, NULL);
    str_set(&r->coordinator, NULL);
}

void ledger_go_beside(struct record_key *r, bool keep)
{
    CHECK(r->leader && (r->mode == RECORD_QUORUM) == keep);
    CHECK(!keep || (r->phase == RECORD_OPEN && !r->joining));
    record_key_drop_electorate(r);
    r->mode = RECORD_PATRONI;
    forget_reign(r);
    if (!keep)
        set_open(r, NULL);
    for (size_t i = 0; i < r->open.count; i++)
        r->open.at[i].incarnation = 0; /* nobody tells it of a member of Patroni's */
    set_joint(r, NULL);
}

void ledger_leave_patroni(struct record_key *r)
{
    CHECK(r->mode == RECORD_PATRONI);
    r->mode = RECORD_ASYNC;
    forget_reign(r);
    set_open(r, NULL);
    set_joint(r, NULL);
}

void ledger_call(struct record_key *r, term t, const char *coordinator)
{
    CHECK(r->mode == RECORD_QUORUM && t > r->term);
    r->phase = RECORD_TERM;
    r->term = t;
    str_set(&r->coordinator, coordinator);
    set_leader(r, r->open_leader, r->open_incarnation, 0);
}

/* MUTANT(COHORT_AT_ELECTION): what is elected counts as open, with the others of the cohort before. */
static void forget_open(struct record_key *r)
{
    AUTO(record_cohort) struct record_cohort others = {0};

    for (size_t i = 0; i < r->open.count; i++)
        if (!str_eq(r->open.at[i].name, r->leader))
            record_cohort_add(&others, r->open.at[i].name, r->open.at[i].incarnation);
    others.k = others.count ? 1 : 0;
    set_open_leader(r);
    set_open(r, &others);
    set_joint(r, NULL);
}

void ledger_elect(struct record_key *r, const char *winner, uint64_t incarnation, uint32_t timeline, lsn fork)
{
    CHECK(r->mode == RECORD_QUORUM && r->phase == RECORD_TERM);
    r->phase = RECORD_ELECTED;
    set_leader(r, winner, incarnation, timeline);
    if (MUTANT(COHORT_AT_ELECTION))
        forget_open(r);
    if (timeline > r->timeline)
        set_line(r, timeline, r->term, fork);
}

void ledger_hand_over(struct record_key *r, term t, const char *winner, uint64_t incarnation, uint32_t timeline,
                      lsn fork)
{
    CHECK(r->mode == RECORD_QUORUM && r->phase == RECORD_OPEN && t > r->term);
    CHECK(timeline > r->timeline);
    r->phase = RECORD_ELECTED;
    r->term = t;
    str_set(&r->coordinator, r->leader);
    set_leader(r, winner, incarnation, timeline);
    set_line(r, timeline, t, fork);
}

void ledger_open(struct record_key *r, const struct record_cohort *cohort)
{
    CHECK(r->mode == RECORD_QUORUM && r->phase == RECORD_ELECTED);
    r->phase = RECORD_OPEN;
    set_open_leader(r);
    set_open(r, cohort);
    set_joint(r, NULL);
    set_line(r, r->leader_timeline, r->term, 0);
}

void ledger_join(struct record_key *r, const struct record_cohort *to)
{
    CHECK(r->mode != RECORD_ASYNC && r->phase == RECORD_OPEN && (!r->joining || !to->count));
    set_joint(r, to);
    if (MUTANT(SINGLE_STEP))
        ledger_settle(r, true);
}

void ledger_settle(struct record_key *r, bool to_joint)
{
    CHECK(r->mode != RECORD_ASYNC && r->phase == RECORD_OPEN && r->joining);
    if (to_joint)
        set_open(r, &r->joint);
    set_joint(r, NULL);
}

void ledger_reopen(struct record_key *r, term t)
{
    CHECK(r->mode == RECORD_QUORUM && r->phase == RECORD_OPEN && t > r->term);
    r->term = t;
    r->open_term = t;
    r->released = false;
    str_set(&r->coordinator, r->leader);
    set_line(r, r->leader_timeline, t, 0);
}

static bool same_open(const struct record_key *a, const struct record_key *b)
{
    return str_eq(a->open_leader, b->open_leader) && a->open_incarnation == b->open_incarnation &&
           a->open_term == b->open_term && cohort_equal(&a->open, &b->open) && a->joining == b->joining &&
           (!a->joining || cohort_equal(&a->joint, &b->joint));
}

static bool same_leader(const struct record_key *a, const struct record_key *b)
{
    return str_eq(a->leader, b->leader) && a->leader_incarnation == b->leader_incarnation &&
           a->leader_timeline == b->leader_timeline;
}

/* Within one reign: nothing, or the change of the cohort in two steps. */
static bool open_goes_on(const struct record_key *from, const struct record_key *to)
{
    if (to->term != from->term || !same_leader(from, to) || from->open_term != to->open_term)
        return false;
    if (same_open(from, to))
        return true;
    if (to->joining)
        return cohort_equal(&from->open, &to->open) && (!from->joining || !to->joint.count);
    return from->joining && (cohort_equal(&to->open, &from->open) || cohort_equal(&to->open, &from->joint));
}

/* Names and number: who of Patroni's is one has no incarnation. */
static bool same_names(const struct record_cohort *a, const struct record_cohort *b)
{
    if (a->count != b->count || a->k != b->k)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!cohort_has_name(b, a->at[i].name))
            return false;
    return true;
}

/* Into and out of quorum mode, and outside of it. */
static bool other_rules_may_follow(const struct record_key *from, const struct record_key *to)
{
    if (from->phase != RECORD_OPEN || to->phase != RECORD_OPEN)
        return false;
    if (from->mode != RECORD_QUORUM && to->mode != RECORD_QUORUM)
        return from->mode == to->mode || (!to->open.count && !to->joining);
    if (from->mode == RECORD_PATRONI || to->mode == RECORD_PATRONI)
        return !from->joining && !to->joining && same_names(&from->open, &to->open);
    return from->mode == RECORD_QUORUM ? !from->open.count && !from->joining : !to->open.count && !to->joining;
}

bool ledger_may_follow(const struct record_key *from, const struct record_key *to)
{
    if (MUTANT(SINGLE_STEP) || MUTANT(COHORT_AT_ELECTION))
        return true;
    if (to->term < from->term || to->timeline < from->timeline)
        return false;
    if (from->mode != RECORD_QUORUM || to->mode != RECORD_QUORUM)
        return other_rules_may_follow(from, to);

    switch (to->phase) {
    case RECORD_TERM:
        if (to->term == from->term)
            return from->phase == RECORD_TERM && str_eq(from->coordinator, to->coordinator) && same_open(from, to);
        return same_open(from, to);
    case RECORD_ELECTED:
        if (to->term == from->term && from->phase == RECORD_ELECTED)
            return same_leader(from, to) && same_open(from, to);
        return same_open(from, to) &&
               (from->phase == RECORD_TERM ? to->term == from->term
                                           : from->phase == RECORD_OPEN && to->term > from->term);
    case RECORD_OPEN:
        if (from->phase == RECORD_OPEN)
            return open_goes_on(from, to);
        return from->phase == RECORD_ELECTED && to->term == from->term && same_leader(from, to) && !to->joining &&
               to->open_term == to->term && str_eq(to->open_leader, to->leader);
    }
    return false;
}

uint32_t ledger_next_timeline(const struct record_key *r, uint32_t newest_seen)
{
    return (r->timeline > newest_seen ? r->timeline : newest_seen) + 1;
}
