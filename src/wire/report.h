/*
 * What a failover or switchover leaves behind: one part by each node that took part, as each saw it.
 *
 * Keys: `pgkeep_failovers/<term>/<node>`, each written by its node alone, so that no two writers meet; the newest
 * REPORTS_KEPT terms are kept. A part is JSON:
 *
 *   {"v":1,"term":8,"node":"n3","at":1764000000000,"mode":"quorum","kind":"failover","old_leader":"n1",
 *    "moments":{"heard":0,"suspected":305,"called":366,…},
 *    "suspicion":{"whom":"n1","why":"n1 is silent for 305 ms, …","ages":{"n2":310,"n3":305}},
 *    "call":{"winner":"n2","decided":"…","ballots":[{"name":"n2","frozen":true,"frozen_ms":41,…}]},
 *    "won":{"timeline":4,"from":3,"fork":"0/5000000"},
 *    "returned":{"how":"rewind","extra_bytes":120,"exact":true,"ms":2300}}
 *
 * Moments are milliseconds of the writer's own clock after the first of them; clocks of two nodes are never compared.
 * Wall time ("at", ms of the epoch) is for people. What belongs to nobody's story is left out. Readers take nothing for
 * granted: a part is what another program, or another version, wrote.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/time.h"
#include "wire/lsn.h"

#define REPORTS_PREFIX "pgkeep_failovers/"

enum {
    REPORT_VERSION = 1,
    REPORTS_KEPT = 20,
    REPORT_BALLOTS_MAX = 32, /* more are not listed */
    REPORT_NAME_MAX = 128,
    REPORT_WHY_MAX = 256,
    REPORT_TEXT_MAX = 16384, /* bytes of a part; a larger one goes without its lists */
};

/* clang-format off */
#define REPORT_MOMENTS(X)                                                           \
    X(HEARD, "heard")         /* last sign of the one that failed */                \
    X(SUSPECTED, "suspected") /* it is taken for failed here */                     \
    X(STOPPING, "stopping")   /* switchover: the old leader begins to stop */       \
    X(STOPPED, "stopped")     /* … and is */                                        \
    X(CALLED, "called")       /* this node decides to take the term */              \
    X(PROMISED, "promised")                                                         \
    X(FROZEN, "frozen")       /* this node itself */                                \
    X(CHOSEN, "chosen")       /* this node decides who is elected */                \
    X(ELECTED, "elected")     /* the record says so, as read here */                \
    X(PROMOTING, "promoting")                                                       \
    X(PRIMARY, "primary")                                                           \
    X(MARKED, "marked")       /* the marker is on enough of the new cohort */       \
    X(OPEN, "open")           /* the record says so, as read here */                \
    X(SERVING, "serving")
/* clang-format on */

enum report_moment {
#define X(id, text) REPORT_##id,
    REPORT_MOMENTS(X)
#undef X
        REPORT_MOMENT_COUNT
};

struct report_ballot {
    char name[REPORT_NAME_MAX];
    bool frozen;
    msec frozen_ms; /* after the call, as heard by the coordinator; -1: not known */
    uint32_t timeline;
    term timeline_term; /* under which it was last open */
    bool known;         /* timeline_term is */
    lsn position;
    char why_not[REPORT_NAME_MAX]; /* it could not lead; "": it could */
};

struct report_age {
    char name[REPORT_NAME_MAX]; /* of an agent */
    msec ms;                    /* since it heard the suspect; MSEC_NEVER: never */
};

struct report_part {
    term term;
    char node[REPORT_NAME_MAX];
    int64_t wall_ms;
    bool by_quorum, switchover;
    char old_leader[REPORT_NAME_MAX];
    msec at[REPORT_MOMENT_COUNT]; /* own clock; 0: it did not come to pass here */

    char whom[REPORT_NAME_MAX]; /* suspected; "": nobody was */
    char why[REPORT_WHY_MAX];
    struct report_age ages[REPORT_BALLOTS_MAX];
    size_t age_count;

    bool coordinated;
    char winner[REPORT_NAME_MAX];
    char decided[REPORT_WHY_MAX];
    struct report_ballot ballots[REPORT_BALLOTS_MAX];
    size_t ballot_count;

    bool won;
    uint32_t timeline, from_timeline;
    lsn fork;
    bool handed; /* asynchronous: the old leader shut down in good order, and all of its WAL is before the fork */
    int64_t lost_bytes; /* asynchronous: what the old leader had published beyond the fork; -1: not known */
    msec lost_age_ms;   /* … and how old that knowledge was */
};

/* New reference. */
json_t *report_part_json(const struct report_part *p);

/*
 * A part of a leader that is back: what was done, in how many ms, and its WAL that did not survive (-1: not known);
 * exact: there was no more of it, because it was shut down in good order (after a crash recovery, maybe, which adds a
 * few records of its own). Else there may have been more.
 */
void report_part_return(json_t *part, const char *how, msec took_ms, int64_t extra_bytes, bool exact);

/* Terms whose reports go when that of `kept` is written, for REPORTS_KEPT to be left: at most cap, the newest first. */
size_t reports_to_remove(const json_t *failovers, term kept, term *ret_terms, size_t cap);

/* The value to write; free() it. At most REPORT_TEXT_MAX bytes. */
char *report_part_text(const json_t *part);

/*
 * One story out of the parts of a term ({node: part}): kind, mode, who, why, ballots, "phases" in ms that add up to
 * "total_ms", "lost" (proved, bound: none, at_most, at_least or unknown, bytes, text), and each part as "seen". New
 * reference; NULL: there is no part that can be read.
 */
json_t *report_merged(const char *term_text, const json_t *parts);

/* All of them ({term: {node: part}}) as an array, oldest first. New reference. */
json_t *reports_merged(const json_t *failovers);
/* The one of this term; "": the newest. NULL: there is none. */
json_t *report_find(const json_t *failovers, const char *term_text);

/* Patroni's history with the reasons that reports know in place of PostgreSQL's. New reference. */
json_t *reports_history(const json_t *history, const json_t *failovers);
