/*
 * The marker: a record of a new primary that says under which term it writes, and whose flush by the cohort shows that
 * the cohort has everything before it.
 *
 * A transactional logical message, committed with synchronous_commit = local: it waits for this disk alone, so it
 * can be written under the write fence, and who waits for the standbys watches their flush positions.
 */
#pragma once

#include "base/auto.h"
#include "base/err.h"
#include "base/time.h"
#include "wire/lsn.h"

struct loop;
struct pg_instance;
struct marker_job;

#define MARKER_PREFIX "pgkeep" /* of the message; its text is "term N" */

/* err NULL: flushed here; `end` is at or behind the end of its commit record. */
typedef void marker_fn(lsn end, const struct err *err, void *arg);

/* A session of its own. `fn` runs once, from the loop; the job frees itself after it. */
struct marker_job *marker_write(struct loop *l, const struct pg_instance *i, term t, msec budget_ms, marker_fn *fn,
                                void *arg);
void marker_cancel(struct marker_job *j); /* no callback; it may be written all the same; NULL is fine */
