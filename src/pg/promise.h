/*
 * The promise: what this node must still know after a crash, whatever happened to its data directory.
 *
 * In quorum mode the fence is a set of standbys that promised to acknowledge nothing of an older term. Such a promise
 * counts from the moment it is on disk: in the state directory, outside PGDATA, because a clone empties PGDATA and
 * pg_rewind replaces its files. It never goes backwards. A file that is there and cannot be read is not an absent one:
 * what was promised is unknown, so the node may not vote until an operator has seen to it. A lost file shows
 * as well, in the incarnation (pg/incarnation.h): the directory gets another one, and nobody counts on that.
 */
#pragma once

#include <stdint.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/time.h"

enum { PROMISE_COORDINATOR_MAX = 160, PROMISE_STORE_MAX = 64 }; /* with the NUL; a name and an attempt; a hash in hex */

struct promise {
    term term;                                 /* nothing older is acknowledged; 0: none promised yet */
    char coordinator[PROMISE_COORDINATOR_MAX]; /* who asked, and in which attempt; "" only with term 0 */
    term settled;            /* somebody is known to have been elected under it; below `term`: this node is frozen */
    bool by_quorum;          /* the record was of quorum mode when it was seen last: losing the store stops nobody */
    uint64_t incarnation;    /* of the data directory (pg/incarnation.h); 0: none known */
    term record_term;        /* highest seen in the store's record */
    int64_t record_revision; /* of the record, in that store */
    char store_cluster[PROMISE_STORE_MAX]; /* the store's own id: another one is another history of terms */
    uint32_t position_timeline;            /* of the WAL last received; 0: not known */
};

enum promise_outcome {
    PROMISE_READ,
    PROMISE_ABSENT,   /* all zero */
    PROMISE_UNUSABLE, /* damaged, of a later version, or not readable: *err; what was promised is unknown */
};

/* *ret_promise is zeroed unless PROMISE_READ. */
enum promise_outcome promise_read(const char *state_dir, struct promise *ret_promise, struct err *err);

/*
 * Each changes its part of what stands on disk and writes the whole: temporary file, fsync, rename, fsync of the
 * folder, also where the same stands there already (an earlier write may have failed after its rename). False: it
 * counts as not given, though a later read may show it. ERR_CONFLICT: it would go backwards. ERR_INPUT: what stands
 * there is unusable, or a string has control characters.
 */
/* A lower term is refused, and the same term to another coordinator. A lower `settled` leaves the higher one. */
MUST_USE bool promise_give(const char *state_dir, term t, const char *coordinator, term settled, struct err *err);
/*
 * An older record than the one seen is refused: a lower term, or in the same store the same term and a lower revision.
 * That it is another store is the caller's to judge, before this hides it.
 */
MUST_USE bool promise_note_record(const char *state_dir, term record_term, int64_t revision, const char *store_cluster,
                                  struct err *err);
MUST_USE bool promise_note_mode(const char *state_dir, bool by_quorum, struct err *err);
/* received_tli of a walreceiver, with every change, before anything is acknowledged for it if that can be had. */
MUST_USE bool promise_note_timeline(const char *state_dir, uint32_t timeline, struct err *err);
/* Of contents that are new (pg/incarnation.h): what was received before them is not known any more. */
MUST_USE bool promise_note_incarnation(const char *state_dir, uint64_t incarnation, struct err *err);
