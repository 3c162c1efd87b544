/*
 * Incarnation: a random number for the contents of a data directory.
 *
 * An acknowledged commit is on certain disks. A directory that was cloned, rewound or restored since is another one
 * under the same name: it may lack what the former had acknowledged. So the cohort lists incarnations, and only the
 * one that was admitted counts. It stands in PGDATA (`pgkeep.incarnation`) and beside the promise in the state
 * directory; where the two differ (pg_basebackup and pg_rewind copy the source's file, an operator moved a directory
 * in, a state directory was lost) there is none, and the next start gives a new one.
 */
#pragma once

#include <stdint.h>

#include "base/auto.h"
#include "base/err.h"

#define INCARNATION_FILE "pgkeep.incarnation"

/* 0: none, or the two places do not agree. */
uint64_t incarnation_look(const char *data_dir, const char *state_dir);

/*
 * A new one, on disk in both places; called with every initdb, clone, rewind and restore, before the in-progress mark
 * goes. Beside a promise that is unusable only PGDATA gets it: such a node counts for nothing anyway. ret_incarnation
 * may be NULL.
 */
MUST_USE bool incarnation_renew(const char *data_dir, const char *state_dir, uint64_t *ret_incarnation,
                                struct err *err);

/* Before a start: what is agreed on stays, else a new one (*ret_renewed, may be NULL). */
MUST_USE bool incarnation_settle(const char *data_dir, const char *state_dir, bool *ret_renewed, struct err *err);
