#include "core/ha/election.h"

#include <stdint.h>
#include <stdio.h>

#include "base/check.h"
#include "base/mutant.h"
#include "base/str.h"
#include "core/ha/cohort.h"

enum { BALLOTS_MAX = 64 };

int position_compare(const struct position *a, const struct position *b)
{
    if (MUTANT(LSN_WITHOUT_TIMELINE))
        return a->at < b->at ? -1 : a->at > b->at;
    if (a->term != b->term && !MUTANT(TIMELINE_BY_NUMBER))
        return a->term < b->term ? -1 : 1;
    if (a->timeline != b->timeline)
        return a->timeline < b->timeline ? -1 : 1;
    if (a->at != b->at)
        return a->at < b->at ? -1 : 1;
    return 0;
}

bool election_term_of(const struct record_key *r, uint32_t timeline, term *ret_term)
{
    if (!timeline || !r->line_count)
        return false;
    for (size_t i = 0; i < r->line_count; i++)
        if (r->lines[i].timeline == timeline) {
            *ret_term = r->lines[i].term;
            return true;
        }
    if (timeline > r->lines[0].timeline)
        return false;
    *ret_term = 0;
    return true;
}

static bool position_of(const struct record_key *r, const struct ballot *b, struct position *ret)
{
    *ret = (struct position){.timeline = b->timeline, .at = b->position};
    return b->position && election_term_of(r, b->timeline, &ret->term);
}

/* Frozen, and at a known place of the cluster's history. */
static bool counts(const struct record_key *r, const struct ballot *b, struct position *ret)
{
    return b->frozen && position_of(r, b, ret);
}

/* The m-th lowest of the positions: the best one of the m members that ask for least. */
static struct position mth_lowest(struct position *at, size_t count, size_t m)
{
    CHECK(m >= 1 && m <= count);
    for (size_t i = 0; i < m; i++) {
        size_t low = i;
        for (size_t j = i + 1; j < count; j++)
            if (position_compare(&at[j], &at[low]) < 0)
                low = j;
        struct position swap = at[i];
        at[i] = at[low];
        at[low] = swap;
    }
    return at[m - 1];
}

/* What a node needs to have all that can have been acknowledged; false: the frozen ones do not settle that. */
static bool needed(const struct record_key *r, const struct ballot *ballots, size_t count, struct position *ret_needed)
{
    struct position members[BALLOTS_MAX];
    size_t found = 0;
    bool settled = false;

    CHECK(count <= BALLOTS_MAX);
    for (size_t i = 0; i < count; i++) {
        const struct ballot *b = &ballots[i];
        struct position at;
        if (!counts(r, b, &at))
            continue;
        bool led = str_eq_nocase(b->name, r->open_leader) && b->incarnation == r->open_incarnation;
        if (led && !MUTANT(P_NOT_A_VOTER)) {
            *ret_needed = at;
            settled = true;
        } else if (cohort_counts(r, b->name, b->incarnation)) {
            members[found++] = at;
        }
    }

    size_t enough = cohort_settling(r);
    if (found < enough)
        return settled;
    struct position lowest = mth_lowest(members, found, enough);
    if (!settled || position_compare(&lowest, ret_needed) < 0)
        *ret_needed = lowest;
    return true;
}

/* Of two that have everything: whom the operator named, then who has more, then who opens sooner. */
static bool better(const struct record_key *r, const struct ballot *a, const struct ballot *b)
{
    struct position at_a, at_b;

    CHECK(position_of(r, a, &at_a) && position_of(r, b, &at_b));
    int more = position_compare(&at_a, &at_b);
    if (a->preferred != b->preferred)
        return a->preferred;
    if (a->cut_off != b->cut_off)
        return b->cut_off;
    if (more != 0 && !MUTANT(ANY_FROZEN_WINS))
        return more > 0;
    if (a->primary != b->primary)
        return a->primary;
    if (a->replayed != b->replayed)
        return a->replayed > b->replayed;
    if (a->priority != b->priority)
        return a->priority > b->priority;
    return false; /* the first in the list: every coordinator lists by name */
}

static void say_needed(const struct election *e, char *ret_why, size_t cap)
{
    char text[LSN_TEXT_MAX];

    (void)snprintf(ret_why, cap, "all that was acknowledged is at or before %s of timeline %u",
                   lsn_text(e->needed.at, text), e->needed.timeline);
}

static void say_unsettled(const struct record_key *r, const struct ballot *ballots, size_t count, char *ret_why)
{
    size_t frozen = 0, enough = cohort_settling(r);
    struct position at;

    for (size_t i = 0; i < count; i++)
        frozen += cohort_counts(r, ballots[i].name, ballots[i].incarnation) && counts(r, &ballots[i], &at);
    if (enough == SIZE_MAX)
        (void)snprintf(ret_why, ELECTION_WHY_MAX, "only %s acknowledged by itself, and it is not frozen",
                       r->open_leader);
    else
        (void)snprintf(ret_why, ELECTION_WHY_MAX,
                       "%zu of the cohort's %zu members are frozen at a known place, %zu are needed%s", frozen,
                       cohort_counted(r), enough, r->joining ? " (with those that it changes to)" : "");
}

void election_hold(const struct record_key *r, const struct ballot *ballots, size_t count, struct election *ret)
{
    bool won = false, complete = false;
    char place[ELECTION_WHY_MAX / 2];

    *ret = (struct election){.result = ELECTION_UNSETTLED};
    if (!needed(r, ballots, count, &ret->needed)) {
        say_unsettled(r, ballots, count, ret->why);
        return;
    }
    ret->result = ELECTION_NOBODY;
    say_needed(ret, place, sizeof(place));
    (void)snprintf(ret->why, sizeof(ret->why), "%s, and no node that may lead has it", place);
    for (size_t i = 0; i < count; i++) {
        struct position at;
        if (!counts(r, &ballots[i], &at) || (position_compare(&at, &ret->needed) < 0 && !MUTANT(ANY_FROZEN_WINS)))
            continue;
        if (ballots[i].why_not) {
            if (!complete)
                (void)snprintf(ret->why, sizeof(ret->why), "%s, but %s %s", place, ballots[i].name, ballots[i].why_not);
            complete = true;
            continue;
        }
        if (!won || better(r, &ballots[i], &ballots[ret->winner])) {
            ret->winner = i;
            won = true;
        }
    }
    if (!won)
        return;
    ret->result = ELECTION_WON;
    (void)snprintf(ret->why, sizeof(ret->why), "%s; %s has it", place, ballots[ret->winner].name);
}

bool election_could_settle(const struct record_key *r, const struct ballot *ballots, size_t count)
{
    size_t found = 0;

    for (size_t i = 0; i < count; i++) {
        bool led = str_eq_nocase(ballots[i].name, r->open_leader) && ballots[i].incarnation == r->open_incarnation;
        if (led && !MUTANT(P_NOT_A_VOTER))
            return true;
        found += cohort_counts(r, ballots[i].name, ballots[i].incarnation);
    }
    return found >= cohort_settling(r);
}
