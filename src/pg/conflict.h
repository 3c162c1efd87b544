/*
 * Ending the sessions that replay waits for.
 *
 * A promotion replays what was received first, and cancels nobody for that: with max_standby_streaming_delay = -1 a
 * query of this standby holds it up for ever, else for that long. So who promotes looks at what the startup process
 * waits for and ends it:
 *
 *   a lock: who holds a lock on the same object (a replayed AccessExclusiveLock conflicts with all of them);
 *   rows that somebody's snapshot may still see, a tablespace, a pinned buffer: which sessions they are no view tells.
 *   Those with the oldest snapshots are, so one after the other is ended, the oldest first, while the wait goes on; of
 *   another database, too, where it is older than those that hold replay up. The next one only when the last has left
 *   and the startup process, which sleeps up to a second between its own looks, was woken and waits still.
 *
 * Not in the first look that sees a wait: what ends by itself is left alone, and so is who has only just begun.
 * Neither a pause nor recovery_min_apply_delay has to be ended: a promotion ends both
 * (xlogrecovery.c, recoveryPausesHere, recoveryApplyDelay).
 */
#pragma once

#include <sys/types.h>

#include "base/auto.h"

struct loop;
struct pg_instance;
struct conflict_job;

struct conflict_ended { /* valid during the call; NULL: not known */
    pid_t pid;
    const char *user, *database, *application_name;
    const char *wait; /* of the startup process, as pg_stat_activity says it */
};

typedef void conflict_fn(const struct conflict_ended *ended, void *arg);

/* Looks until it is stopped. `fn` runs from the loop, once for each session; it must not stop the job. */
struct conflict_job *conflict_start(struct loop *l, const struct pg_instance *i, conflict_fn *fn, void *arg);
void conflict_stop(struct conflict_job *j); /* NULL is fine */
