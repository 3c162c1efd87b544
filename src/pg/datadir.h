/*
 * The data directory: what it is, and the few files in it and beside it that decide its fate.
 *
 * What is declared here is a handful of system calls and is called synchronously; what must survive a
 * crash is fsynced (file and folder) before the function returns. Nothing here looks whether a postmaster
 * runs: callers make sure that the instance is stopped (guard) before they move, remove or mark.
 * Markers live in the state directory, outside PGDATA, because a clone empties PGDATA and pg_rewind
 * replaces its files. While a marker stands the directory must not be started.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/time.h"
#include "pg/file.h"

struct loop;

/*
 * Where a data directory cannot be renamed (a mount point, a parent that is not ours), old contents and new ones
 * share it. Base backups of this node and the server skip names that begin like this; a later pg_rewind of this
 * node may remove them.
 */
#define DATADIR_ASIDE_PREFIX "pgsql_tmp.pgkeep-"

enum datadir_kind {
    DATADIR_ABSENT,
    DATADIR_EMPTY,      /* nothing but lost+found and what was moved aside */
    DATADIR_VALID,      /* PG_VERSION and global/pg_control are there, no marker */
    DATADIR_HALF,       /* a marker stands: a clone, rewind or bootstrap was cut off */
    DATADIR_FOREIGN,    /* has content that is no data directory (or only part of one); never touched by itself */
    DATADIR_UNREADABLE, /* could not be looked at; see err */
};

enum datadir_marker {
    DATADIR_MARK_NONE,
    DATADIR_MARK_BOOTSTRAP, /* initdb or a custom method is under way */
    DATADIR_MARK_CLONE,
    DATADIR_MARK_REWIND,
};

struct datadir_state {
    enum datadir_kind kind;
    enum datadir_marker marker; /* stands also when the directory is absent or empty */
    int major;                  /* from PG_VERSION; 0: unknown */
    bool standby_signal;
    bool recovery_signal;
    bool backup_label; /* a restored backup that has never been started */
    bool promote_file; /* a trigger somebody left: remove it before any start */
    bool shared;       /* lost+found or old contents are in it: tools that want an empty directory need datadir_fill */
    uint64_t incarnation; /* of the contents, see pg/incarnation.h; 0: none that counts */
    pid_t postmaster_pid; /* first line of postmaster.pid; 0: no such file. Says nothing about life */
};

/*
 * The postmaster's own word in postmaster.pid (PostgreSQL: pidfile.h, LOCK_FILE_LINE_PM_STATUS) that it still starts or
 * recovers: a connection would be refused, at the cost of a process. False also if it says nothing.
 */
bool datadir_postmaster_starts(const char *data_dir, pid_t postmaster);

/* *err is set only for DATADIR_UNREADABLE. */
void datadir_look(const char *data_dir, const char *state_dir, struct datadir_state *ret_state, struct err *err);
const char *datadir_kind_name(enum datadir_kind kind);

/*
 * Make it (parents too, 0700) or check that an existing one is ours and writable; an empty one of ours gets
 * mode 0700.
 */
MUST_USE bool datadir_prepare(const char *data_dir, struct err *err);
/* Bytes free to us on the file system of dir (of the nearest existing parent). */
MUST_USE bool datadir_free_bytes(const char *dir, uint64_t *ret_bytes, struct err *err);

/* One marker at a time: a new one replaces the old. unmark: whichever stands. */
MUST_USE bool datadir_mark(const char *state_dir, enum datadir_marker marker, struct err *err);
/* True if the marker was set since the host came up: what was written meanwhile is in its memory, if not on disk. */
bool datadir_marked_since_boot(const char *state_dir, enum datadir_marker marker);
MUST_USE bool datadir_unmark(const char *state_dir, struct err *err);

/*
 * Get the directory out of the way: renamed to <data_dir>.<reason>.<YYYYMMDDThhmmssZ> (of wall_ms) and made
 * anew, empty. Where it cannot be renamed its contents go to <data_dir>/pgsql_tmp.pgkeep-<reason>.<stamp>.
 * Targets of the links to pg_wal and tablespaces are renamed the same way and the links changed, so that the old
 * cluster stays whole and the new one does not meet its files. *ret_path (free) names the result. A reason is
 * one word.
 */
MUST_USE bool datadir_move_aside(const char *data_dir, const char *reason, int64_t wall_ms, char **ret_path,
                                 struct err *err);

/*
 * Remove all it has: moved aside under the reason "removing" (the directory is empty when this returns), then
 * deleted by a child, together with what an earlier call left. Should we end before the child, the next call
 * finishes the work.
 */
MUST_USE bool datadir_remove_job(struct loop *l, const char *data_dir, int64_t wall_ms, struct err *err);

/*
 * Where a tool that insists on an empty or absent directory (initdb, pg_basebackup) shall write: data_dir itself, or a
 * folder inside it when it is shared; datadir_fill_finish then moves the result up. free() the path.
 */
char *datadir_fill_path(const char *data_dir);
MUST_USE bool datadir_fill_finish(const char *data_dir, const char *fill_path, struct err *err);

/* Signal files (PostgreSQL: xlogrecovery.c, readRecoverySignalFile). Idempotent, fsynced. */
MUST_USE bool datadir_set_standby_signal(const char *data_dir, struct err *err);
MUST_USE bool datadir_set_recovery_signal(const char *data_dir, struct err *err);
MUST_USE bool datadir_clear_signals(const char *data_dir, struct err *err); /* standby.signal and recovery.signal */
/* The promote trigger (PostgreSQL: PROMOTE_SIGNAL_FILE) and the empty history files that pg/history.h tells of. */
bool datadir_clear_promote(const char *data_dir, struct err *err);
