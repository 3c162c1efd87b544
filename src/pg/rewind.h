/*
 * Bring a stopped former primary (or a standby that went too far) back onto the surviving history.
 *
 * rewind_judge() compares where we end with the upstream's history: follow, rewind, or neither. Then, if our end is
 * unclean, rewind_recover() makes it clean, and rewind_start() runs pg_rewind. Each is a job; the agent
 * may look at the world again between them. The instance is stopped all the while (rewind_recover runs
 * its own server as our child, for a moment, without clients).
 *
 * The rule that the upstream must have checkpointed on its new timeline first (pg_rewind reads its
 * pg_control) is the caller's; rewind_judge tells (upstream_checkpointed).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/time.h"
#include "wire/lsn.h"

struct loop;
struct pg_instance;
struct conf_freeze;
struct pg_control;
struct history;

enum rewind_verdict {
    REWIND_NOT_NEEDED, /* our end is part of the upstream's history: start and follow */
    REWIND_NEEDED,     /* diverged; pg_rewind can do it */
    /* diverged; pg_rewind cannot (no wal_log_hints and no checksums, not enabled, no common timeline): clone */
    REWIND_IMPOSSIBLE,
    REWIND_RECOVER_FIRST, /* our end is not known: unclean; run rewind_recover, then judge again */
    REWIND_FOREIGN,       /* another system identifier: never touch */
    REWIND_UNKNOWN,       /* the upstream could not be asked, or is itself in recovery; *err says why; try again */
};

struct rewind_judgement {
    enum rewind_verdict verdict;
    struct err err; /* reason in words, for every verdict */
    uint32_t our_tli;
    lsn our_end;
    uint32_t upstream_tli;
    lsn upstream_lsn;
    uint32_t fork_tli; /* where the histories part; 0: not known */
    lsn fork_at;
    bool upstream_in_recovery;
    bool upstream_checkpointed; /* pg_control of the upstream has its new timeline: rewinding may start */
};

struct rewind_end { /* where we end */
    uint32_t tli;
    lsn at;
    /*
     * `at` is the start of our last record (a primary's shutdown checkpoint), not its end. A history forks at
     * the end of a record, so the record belongs to it exactly if it starts before the fork.
     */
    bool record_start;
};

/*
 * Pure: the comparison itself. Histories may be NULL where there is none to be had: `ours` then counts as
 * leading to our_tli through the upstream's, `theirs` only if both are on one timeline.
 */
enum rewind_verdict rewind_compare(const struct rewind_end *end, const struct history *ours, uint32_t upstream_tli,
                                   lsn upstream_lsn, const struct history *theirs, uint32_t *ret_fork_tli,
                                   lsn *ret_fork_at);

struct rewind_source {
    const char *host;
    int port;
};

typedef void rewind_judge_fn(const struct rewind_judgement *j, void *arg);
struct rewind_job;

struct rewind_position { /* where we end, from a running server or from rewind_recover; tli 0: ask pg_control */
    uint32_t tli;
    lsn end;
};

/*
 * Asks the upstream by replication protocol and SQL. Bounded by budget_ms. `known` may be NULL: then our control
 * file is read, which is exact for a primary that was shut down, and only a lower bound for a standby (it may
 * hold more WAL): give the facts of the running standby where there are any.
 */
MUST_USE bool rewind_judge(struct loop *l, struct pg_instance *i, const struct rewind_source *source,
                           const struct rewind_position *known, msec budget_ms, rewind_judge_fn *done, void *arg,
                           struct rewind_job **ret_job, struct err *err);

enum rewind_outcome {
    REWIND_DONE,
    /* *err has the tool's last lines; the marker stays: the directory must not be started; again or clone */
    REWIND_FAILED,
    REWIND_FAILED_UNTOUCHED, /* failed before the first byte was changed (could not connect, …): marker removed again */
};

typedef void rewind_fn(enum rewind_outcome outcome, const struct err *err, void *arg);

/* How to recover an unclean directory; see rewind_recover. */
enum rewind_recovery { REWIND_QUARANTINE, REWIND_SINGLE_USER };

/*
 * REWIND_DONE: the directory is clean; *position is its exact end (QUARANTINE), tli 0 with SINGLE_USER
 * (pg_control has it).
 */
typedef void rewind_recover_fn(enum rewind_outcome outcome, const struct rewind_position *position,
                               const struct err *err, void *arg);

/*
 * Crash recovery of an unclean directory, so that its end is known and pg_rewind takes it.
 *
 * QUARANTINE, the one to use: a start as a standby of nobody (standby.signal, primary_conninfo and
 * restore_command empty, recovery_target_timeline current) that listens on a socket in a private folder only,
 * with a pg_hba of its own; when the startup process waits at the end of WAL its position is read and the
 * server is stopped fast. Nothing is written to the WAL, so a primary that crashed exactly where its successor
 * took over still needs no rewind. SINGLE_USER is Patroni's way: `postgres --single` without signal files
 * (single-user servers refuse standby.signal; it is put back afterwards). It appends a
 * checkpoint to the old timeline, which makes a divergence where there may have been none; for the directories
 * that QUARANTINE cannot bring up. What the node had not archived is offered to archive_command first
 * (rewind_archive.c), by neither later. Both refuse an unfinished restore (backup_label, recovery.signal).
 * There is no marker: recovery changes nothing that a start would not change, so a directory whose recovery was
 * cut off is as good as before. standby.signal is left behind.
 */
MUST_USE bool rewind_recover(struct loop *l, struct pg_instance *i, enum rewind_recovery how, msec budget_ms,
                             rewind_recover_fn *done, void *arg, struct rewind_job **ret_job, struct err *err);

struct rewind_spec {
    struct pg_instance *instance; /* a reference is taken */
    struct rewind_source source;
    const char *primary_conninfo, *primary_slot_name; /* for the configuration afterwards; copied */
    const struct conf_freeze *freeze;                 /* looked at when that is written; borrowed; may be NULL */
    void (*progress)(int64_t done_bytes, int64_t total_bytes, void *arg); /* may be NULL */
};

/*
 * pg_rewind, after what it needs: a clean end, a checkpoint where pg_control is behind its own timeline, and
 * a copy of our WAL in the state directory, so that an attempt that is cut off can be repeated. Marker first;
 * afterwards configuration, standby.signal (pg_rewind deletes it and imports the source's postgresql.auto.conf), an
 * incarnation of its own and neither promote file nor the source's override of synchronous_standby_names, fsynced;
 * then the copy goes, marker last.
 */
MUST_USE bool rewind_start(struct loop *l, const struct rewind_spec *spec, rewind_fn *done, void *arg,
                           struct rewind_job **ret_job, struct err *err);

/* The WAL that an attempt has kept for the next one; for a directory that is given up. Nothing there is fine. */
MUST_USE bool rewind_keep_drop(const struct pg_instance *i, struct err *err);

void rewind_cancel(struct rewind_job *j); /* any of the jobs; kills what runs; no callback; the marker stays */
const char *rewind_verdict_name(enum rewind_verdict v);
