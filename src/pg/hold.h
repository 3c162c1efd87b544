/*
 * Shown: commits wait for standbys.
 *
 * Whether a commit waits at all is a flag in shared memory, which the checkpointer keeps by the list that it has read
 * (syncrep.c, SyncRepUpdateSyncStandbysDefined). Where there was no list before, commits go by unasked until it has,
 * which may take as long as a checkpoint, whatever the postmaster, sessions and walsenders have loaded. Nothing tells
 * what the checkpointer has read; so under a list that nobody can satisfy (the fence) a commit of our own is made, and
 * seen to wait. It is ended then; that it becomes visible says nothing to anybody.
 * Once shown it stays so for the life of this postmaster, or until a list of nobody is loaded.
 */
#pragma once

#include "base/err.h"
#include "base/time.h"

struct loop;
struct pg_instance;
struct hold_job;

/* err NULL: it waits. Else not shown. */
typedef void hold_fn(const struct err *err, void *arg);

/*
 * Two sessions of its own. A commit that came back is followed by another one until the budget is over. `fn` runs once,
 * from the loop, at the latest then; the job frees itself after it.
 */
struct hold_job *hold_prove(struct loop *l, const struct pg_instance *i, msec budget_ms, hold_fn *fn, void *arg);
void hold_cancel(struct hold_job *j); /* no callback; NULL is fine */
