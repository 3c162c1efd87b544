/*
 * Ending walsenders: those that are none of the cohort's, and those that may still know an older list.
 *
 * PostgreSQL counts walsenders, not nodes, and each has its own copy of synchronous_standby_names, re-read when it
 * comes to it. One that is told to end is waited for: until then it may still release a commit. What walsenders there
 * are, and which is whose, is in pg_facts.senders.
 */
#pragma once

#include <stdint.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/time.h"

struct loop;
struct sql;
struct senders_job;

/*
 * err NULL: none of them is left. With an error a statement may still be under way: free the session before it returns.
 * Runs once, from the loop, at the latest after the budget; the job frees itself after it.
 */
typedef void senders_fn(const struct err *err, void *arg);

/*
 * End the walsender with this pid that began at started_us (pg_walsender.started_us; another process may have the pid
 * by now: then there is nothing to do). The session is borrowed until the end, of a superuser or pg_signal_backend,
 * and idle.
 */
struct senders_job *senders_end_one(struct loop *l, struct sql *sql, int pid, int64_t started_us, msec budget_ms,
                                    senders_fn *fn, void *arg);
/* All that began before this moment (wall clock), logical ones and base backups too. */
struct senders_job *senders_end_older(struct loop *l, struct sql *sql, int64_t before_us, msec budget_ms,
                                      senders_fn *fn, void *arg);
/* No callback. The session must have been freed before: its statement's end would tell a job that is gone. */
void senders_cancel(struct senders_job *j);
