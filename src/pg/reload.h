/*
 * A reload of the configuration, and the proof that it is in force.
 *
 * A SIGHUP promises nothing: an error anywhere in the files makes the reload apply nothing, a wrong value lets the
 * load time move while the old value stays, a setting may be overridden elsewhere, and a session that was there before
 * re-reads the files by itself, whatever the postmaster has done. The proof is a session that the postmaster forked
 * after it had reloaded:
 *
 *     its start > the load time that it inherited > our SIGHUP
 *
 * The postmaster does one thing at a time: whoever it forks after a reload it forks after it has signalled everybody.
 * (A session that was forked before and re-reads the files shows a load time after its own start, or one from before
 * our SIGHUP.) In that session each setting must have the value and come from the file that we want, and the files
 * must have no error: other processes read them by themselves, at their own time.
 * Not before the postmaster has accepted connections: a SIGHUP that finds it without its handlers ends it.
 * All three times are of this host's wall clock; where that jumps back the proof takes longer or does not come.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/time.h"

struct loop;
struct pg_instance;
struct sql;

enum { RELOAD_WANTS_MAX = 4 };

struct reload_want { /* borrowed strings; reload_start copies */
    const char *name;
    const char *value; /* as the file says it */
    const char *file;  /* absolute path */
};

struct reload_result {
    bool proved;
    struct err err;       /* why not */
    int64_t loaded_us;    /* wall clock; when the postmaster loaded it */
    int64_t connected_us; /* the proving session began: all that began before may not have loaded it yet */
    struct sql *take_sql; /* that session, the callback's to free; NULL unless proved */
};

typedef void reload_fn(const struct reload_result *result, void *arg);
struct reload_job;

/*
 * SIGHUP to the postmaster, then sessions until one proves it. `fn` runs once, from the loop, at the latest after
 * budget_ms. What waiting cannot change (an error in a file, another file that wins) ends it at once. The job frees
 * itself after fn.
 */
struct reload_job *reload_start(struct loop *l, struct pg_instance *i, pid_t postmaster,
                                const struct reload_want *wants, size_t count, msec budget_ms, reload_fn *fn,
                                void *arg);
void reload_cancel(struct reload_job *j); /* no callback; NULL is fine */
