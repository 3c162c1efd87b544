/*
 * What the jobs of rewind.h share. Private to the rewind_*.c files.
 *
 * One job does one thing; `kind` is which, for rewind_cancel. A job frees itself after its callback.
 */
#pragma once

#include "base/time.h"
#include "io/loop.h"
#include "pg/control.h"
#include "pg/rewind.h"
#include "pg/sql.h"

struct child;
struct pg_instance;

struct rewind_job;
typedef void rewind_kept_fn(struct rewind_job *j, struct err *err); /* err: NULL if it went well */

struct rewind_job {
    struct loop *loop;
    struct pg_instance *instance;
    msec deadline_ms;

    struct pg_control_job *control_job;
    struct sql *sql;
    struct sql *replication;
    struct child *child;
    struct loop_timer timer;
    bool telling;
    void *arg;

    /* judge */
    rewind_judge_fn *judged;
    char *host;
    int port;
    struct rewind_judgement found;
    struct rewind_end end;
    bool can_rewind;
    char system_identifier[24];

    /* recover */
    rewind_recover_fn *recovered;
    bool single_user;
    char *private_dir; /* socket and pg_hba of the quarantined server */
    struct pg_control control;
    struct rewind_position position;
    lsn last_replay; /* of the last look at a startup process that waits */
    bool stopping;
    struct err err;

    /* archive */
    rewind_kept_fn *archived;
    char **ready; /* names of segments */
    int ready_at;

    /* run */
    rewind_fn *done;
    char *primary_conninfo, *primary_slot_name;
    const struct conf_freeze *freeze;
    void (*progress)(int64_t done_bytes, int64_t total_bytes, void *arg);
    bool touched;             /* the first byte may have been changed */
    bool marked_before;       /* there is half a rewind of an earlier attempt */
    bool same_boot;           /* the host has not gone down since that attempt */
    struct rewind_job *inner; /* a recovery that comes first */
    bool tried_quarantine, tried_single_user;
    rewind_kept_fn *wal_kept;
    bool putting_back; /* an earlier attempt has kept our WAL: it is copied back, not aside */
};

struct rewind_job *rewind_job_new(struct loop *l, struct pg_instance *i, msec budget_ms, void *arg);
void rewind_job_free(struct rewind_job *j);
msec rewind_job_left_ms(const struct rewind_job *j); /* at least 1 */

/* Offer what waits for the archive to archive_command; `then` always gets no error. */
void rewind_archive_ready(struct rewind_job *j, rewind_kept_fn *then);
/* Our WAL copied aside, or back if an earlier attempt was cut off; see rewind_keep.c. */
MUST_USE bool rewind_keep_wal(struct rewind_job *j, rewind_kept_fn *then, struct err *err);
