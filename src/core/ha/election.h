/*
 * The election of quorum mode: from the frozen nodes to the one that has all that was acknowledged.
 *
 * Pure arithmetic over the record and the ballots; who asks, and when, is failover.h. A ballot is what one node said
 * under the term of this election, frozen: its position is final. Positions are ordered by the term under which their
 * timeline was last open, then by LSN: a timeline that nobody ever opened may be further and hold nothing that
 * counts.
 *
 * Everything acknowledged under the record's open cohort (and, while it changes, its joint partner: cohort.h) is at or
 * before the position `needed`: of a settling set the best member; of all such sets the one that asks for least. A node
 * at or beyond it may be elected.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/auto.h"
#include "wire/record.h"

struct position {
    term term; /* of the timeline, by the record's lines */
    uint32_t timeline;
    lsn at;
};

struct ballot {
    const char *name;
    uint64_t incarnation;
    bool frozen; /* proved under this election's term; else it is only listed, to be explained */
    uint32_t timeline;
    lsn position, replayed;
    bool primary;        /* a fenced primary: it needs no promotion */
    bool preferred;      /* the operator named it */
    const char *why_not; /* it may not lead; NULL: it may */
    int priority;
    bool cut_off; /* it led, and its cohort had lost it: any other that has everything comes first */
};

enum election_result {
    ELECTION_UNSETTLED, /* the frozen ones do not settle the record's cohort: others may still acknowledge */
    ELECTION_NOBODY,    /* settled; but of those that have everything none may lead */
    ELECTION_WON,
};

enum { ELECTION_WHY_MAX = 256 };

struct election {
    enum election_result result;
    size_t winner;          /* WON: index of the ballot */
    struct position needed; /* WON, NOBODY: what every acknowledged commit is at or before */
    char why[ELECTION_WHY_MAX];
};

void election_hold(const struct record_key *r, const struct ballot *ballots, size_t count, struct election *ret);

/*
 * Would the nodes of these ballots settle the record's cohort if all of them froze? (Nothing is said about
 * positions: they can move until then.)
 */
bool election_could_settle(const struct record_key *r, const struct ballot *ballots, size_t count);

/*
 * The term under which a timeline was last open (or elected, if it never was). False: the record does not know the
 * timeline; somebody promoted by hand, and nothing is known of what it holds. Timelines from before the lines that are
 * kept count as term 0.
 */
MUST_USE bool election_term_of(const struct record_key *r, uint32_t timeline, term *ret_term);

/* <0, 0, >0. */
int position_compare(const struct position *a, const struct position *b);
