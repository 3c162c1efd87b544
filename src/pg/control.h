/*
 * pg_control, by pg_controldata (LC_ALL=C): the only truth about a stopped instance.
 *
 * Beware of the timeline: after following to a new one, and right after a promotion, pg_control may
 * still say the old; it tells where the last checkpoint was, no more.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/time.h"
#include "wire/lsn.h"

struct loop;
struct pg_bin;

enum pg_control_state { /* PostgreSQL: src/include/catalog/pg_control.h, DBState */
                        PG_CONTROL_UNKNOWN,
                        PG_CONTROL_STARTING_UP,
                        PG_CONTROL_SHUT_DOWN,
                        PG_CONTROL_SHUT_DOWN_IN_RECOVERY,
                        PG_CONTROL_SHUTTING_DOWN,
                        PG_CONTROL_IN_CRASH_RECOVERY,
                        PG_CONTROL_IN_ARCHIVE_RECOVERY,
                        PG_CONTROL_IN_PRODUCTION,
};

struct pg_control {
    char system_identifier[24]; /* decimal text; "" never */
    enum pg_control_state state;
    char state_text[48];
    int control_version, catalog_version;
    lsn checkpoint; /* "Latest checkpoint location" */
    lsn redo;
    uint32_t checkpoint_tli, prev_tli;
    int64_t next_xid; /* epoch << 32 | xid */
    lsn min_recovery; /* 0 unless in recovery */
    uint32_t min_recovery_tli;
    bool backup_end_required;
    char wal_level[16];
    bool wal_log_hints;
    int64_t max_connections, max_worker_processes, max_wal_senders, max_prepared_xacts, max_locks_per_xact;
    bool track_commit_timestamp;
    int64_t wal_segment_size;  /* bytes */
    uint32_t checksum_version; /* 0: no data checksums */
};

/* Pure. Fails when a line that every version 14-18 prints is missing or malformed. */
MUST_USE bool pg_control_parse(const char *text, struct pg_control *ret_control, struct err *err);

/* True if the instance was stopped in good order (as primary or standby): no recovery is needed. */
bool pg_control_clean(const struct pg_control *c);
/*
 * Where the stopped instance ends, as far as pg_control knows: a primary's shutdown checkpoint, a standby's
 * minimum recovery point. false: unclean, unknown. *ret_was_standby says which (the checkpoint
 * record of a primary extends beyond *ret_end by its own length).
 */
bool pg_control_end(const struct pg_control *c, uint32_t *ret_tli, lsn *ret_end, bool *ret_was_standby);
/* pg_rewind needs wal_log_hints or checksums. */
bool pg_control_can_rewind(const struct pg_control *c);

/*
 * A look at the file itself, for who waits for the next state of a running server while clients wait: its state
 * (PG_CONTROL_UNKNOWN: cannot be read), and *ret_checkpoint where the latest checkpoint is. These fields have
 * the same place in versions 14-18; the checksum is not looked at, and no program is run. pg_control_read tells
 * the truth.
 */
enum pg_control_state pg_control_glance(const char *data_dir, lsn *ret_checkpoint);

/* control NULL: *err says why. Runs once, from the loop. Pointers are valid during the call. */
typedef void pg_control_fn(const struct pg_control *control, const struct err *err, void *arg);
struct pg_control_job;
/* false: nothing runs, no callback. budget_ms bounds it (a hung disk). */
MUST_USE bool pg_control_read(struct loop *l, const struct pg_bin *bin, const char *data_dir, msec budget_ms,
                              pg_control_fn *done, void *arg, struct pg_control_job **ret_job, struct err *err);
void pg_control_cancel(struct pg_control_job *j); /* no callback */
