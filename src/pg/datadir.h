/*
 * The data directory: what it is, and the few files in it and beside it that decide its fate.
 *
 * Everything here is a handful of system calls and is called synchronously; what must survive a crash
 * is fsynced (file and folder) before the function returns. Nothing here looks whether a postmaster
 * runs: callers make sure that the instance is stopped (guard) before they move, remove or mark.
 * Markers live in the state directory, outside PGDATA, because a clone empties PGDATA and pg_rewind
 * replaces its files. While a marker stands the directory must not be started (ha-safety: 2.4(8)).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/time.h"

enum datadir_kind {
    DATADIR_ABSENT,
    DATADIR_EMPTY,   /* nothing but lost+found */
    DATADIR_VALID,   /* PG_VERSION and global/pg_control are there, no marker */
    DATADIR_HALF,    /* a marker stands: a clone, rewind or bootstrap was cut off */
    DATADIR_FOREIGN, /* has content that is no data directory (or only part of one); never touched by itself */
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
    enum datadir_marker marker;
    int major;            /* from PG_VERSION; 0: unknown */
    bool standby_signal;
    bool recovery_signal;
    bool promote_file;    /* a trigger somebody left: remove it before any start (ha-corrections A12) */
    bool mount_point;     /* cannot be renamed: contents are moved */
    pid_t postmaster_pid; /* first line of postmaster.pid; 0: no such file. Says nothing about life */
};

/* Never blocks on anything but the disk. *err is set only for DATADIR_UNREADABLE. */
void datadir_look(const char *data_dir, const char *state_dir, struct datadir_state *ret_state, struct err *err);
const char *datadir_kind_name(enum datadir_kind kind);

/* The folder must exist, be ours, be 0700 or 0750, and be writable; a missing one is made (parents too, 0700). */
MUST_USE bool datadir_prepare(const char *data_dir, struct err *err);
/* Bytes free to us on the file system of dir (the nearest existing parent). */
MUST_USE bool datadir_free_bytes(const char *dir, uint64_t *ret_bytes, struct err *err);

MUST_USE bool datadir_mark(const char *state_dir, enum datadir_marker marker, struct err *err);
MUST_USE bool datadir_unmark(const char *state_dir, struct err *err);

/*
 * Get the directory out of the way: renamed to <data_dir>.<reason>.<YYYYMMDDThhmmssZ> (wall_ms), or, for
 * a mount point, its contents moved to <data_dir>/<reason>.<stamp>.pgkeep-old. Symbolic links to pg_wal and
 * tablespaces are followed: their targets are renamed the same way and the links changed, so that the
 * old cluster stays whole and the new one does not meet its files. *ret_path (free) names the result.
 * An older one of the same reason is kept; see datadir_prune.
 */
MUST_USE bool datadir_move_aside(const char *data_dir, const char *reason, int64_t wall_ms, char **ret_path,
                                 struct err *err);
/*
 * Remove it with all it has (targets of pg_wal and tablespace links too); the directory itself stays, empty.
 * Takes as long as the disk needs: callers give it to a child or do it for small directories; see datadir_remove_job.
 */
MUST_USE bool datadir_remove(const char *data_dir, struct err *err);
/* Moves the contents into a sibling first (instant), then removes that with `rm -rf` as a child, which may outlive us. */
struct loop;
MUST_USE bool datadir_remove_job(struct loop *l, const char *data_dir, int64_t wall_ms, struct err *err);

/* Signal files (PostgreSQL: xlogrecovery.c, readRecoverySignalFile). Idempotent, fsynced. */
MUST_USE bool datadir_set_standby_signal(const char *data_dir, struct err *err);
MUST_USE bool datadir_clear_signals(const char *data_dir, struct err *err); /* standby.signal and recovery.signal */
/* The promote trigger (PROMOTE_SIGNAL_FILE). Absent is fine. */
MUST_USE bool datadir_clear_promote(const char *data_dir, struct err *err);

/* Sync a folder, so that a rename or unlink in it is on disk. */
MUST_USE bool fsync_dir(const char *dir, struct err *err);
/* Write a whole file: temporary name, fsync, rename, fsync of the folder. */
MUST_USE bool file_replace(const char *path, const char *text, size_t len, mode_t mode, struct err *err);
/* The whole file, NUL-terminated (free). ERR_NOT_FOUND when absent; files above max are an error. */
MUST_USE bool file_read(const char *path, size_t max, char **ret_text, size_t *ret_len, struct err *err);
