/*
 * A model of one PostgreSQL: what is on its disk, what runs, how it streams, promotes, stops and dies.
 *
 * As unkind as the server: backends outlive a killed postmaster and go on acknowledging; what was written and not yet
 * flushed is gone after a power cut; a promotion can come late, and a trigger file fires at a later signal; a
 * timeline gets the next number that this node knows of, which another may have taken; pg_control says the old
 * timeline until a checkpoint; streaming is agreed on by timeline and position, not by content; every process has
 * loaded its configuration at a time of its own. truths.def names these, and each can be switched off.
 *
 * The parts: pg_conf.h (configuration), walstream.h (walsenders, walreceiver), recovery.h (the startup process), sync.h
 * (synchronous replication), session.h (SQL), archive.h; here is the postmaster, and what is on disk.
 */
#pragma once

#include "pg/control.h"
#include "pg/datadir.h"
#include "test/sim/pg_conf.h"
#include "test/sim/recovery.h"
#include "test/sim/sync.h"
#include "test/sim/wal.h"
#include "test/sim/walstream.h"
#include "test/sim/world.h"

enum { TLI_MAX = 256, SYSTEM_ID_MAX = 24, SLOTS_MAX = 16, SESSIONS_MAX = 16 };

struct pg_session { /* one that is looked at by itself; all others are sessions_conf */
    bool active;
    uint64_t id;
    struct proc *client; /* whose death ends it */
    uint64_t client_generation;
    int pid;
    usec started;
    int64_t started_wall_us;
    struct pg_loaded conf;
};

struct pg_slot_file {
    char name[SLOT_NAME_MAX];
    bool lost; /* it held more than max_slot_wal_keep_size */
};

struct pg_disk {
    enum datadir_kind kind;
    enum datadir_marker marker;
    bool torn; /* a tool is, or was, in the middle of it: it must not be started */
    char system_id[SYSTEM_ID_MAX];
    enum pg_control_state state;
    struct rec *checkpoint;
    uint32_t checkpoint_tli;
    struct rec *min_recovery; /* recovery is consistent from there on */
    bool standby_signal, promote_file, backup_label;
    struct rec *written, *flushed;
    lsn wal_from; /* what was before that is removed from pg_wal */
    struct pg_slot_file slots[SLOTS_MAX];
    size_t slot_count;
    bool placeholder[TLI_MAX];    /* empty history files */
    struct rec *history[TLI_MAX]; /* history files in pg_wal: the first record of that timeline */
};

struct pg {
    struct host *host;
    struct proc postmaster;
    struct proc startup;  /* in recovery */
    struct proc backends; /* sessions, walsenders, walreceiver, checkpointer: what may outlive the postmaster */
    char data_dir[32];
    struct pg_disk disk;  /* the configuration is in disk.h's files */
    struct pg_disk *kept; /* by a snapshot of the volume */
    struct {
        const struct pg_conf *conf;
        uint64_t changes;
    } conf_read; /* of valid files as they are */

    /* while it runs */
    bool accepting, in_recovery, stopping, promoting;
    bool stuck; /* a session that does not end: a fast stop hangs */
    struct pg_loaded postmaster_conf, checkpointer_conf, sessions_conf;
    struct rec *replayed;
    uint64_t session_epoch; /* sessions of an older one are gone */
    struct pg_session sessions[SESSIONS_MAX];
    struct list waiting; /* commits of sessions, session.c's */
    struct sync sync;
    struct recovery recovery;
    struct pg_receiver receiver;
    struct pg_sender senders[SENDERS_MAX];
    int last_pid;
    usec fsync_max;
    unsigned int deaths;
    void (*died)(struct pg *p, void *arg); /* no process is left, or the postmaster alone died */
    void *died_arg;
};

void pg_init(struct pg *p, struct host *host, void (*died)(struct pg *p, void *arg), void *arg);
/* The one on that host; NULL: none. */
struct pg *pg_of(int host_id);

/* What the guard and signals do. */
void pg_start(struct pg *p);
void pg_stop_fast(struct pg *p);
void pg_kill(struct pg *p);            /* every process */
void pg_kill_postmaster(struct pg *p); /* it alone: the others follow in their own time */
void pg_crash_backend(struct pg *p);   /* SIGKILL of one child: the postmaster ends all, and begins anew if it may */
void pg_power_cut(struct pg *p);       /* the host goes down */
void pg_reload(struct pg *p);
void pg_promote_signal(struct pg *p); /* SIGUSR1: acts if the trigger file is there */

bool pg_postmaster_lives(const struct pg *p);
bool pg_backends_live(const struct pg *p);
/* Open for writes, as a client finds it. */
bool pg_is_open(const struct pg *p);

/* The volume as it is now, and back to that: what the instance said it had flushed since is gone. It must not run. */
void pg_keep(struct pg *p);
void pg_roll_back(struct pg *p);

/* ---- files ---- */

void pg_initdb(struct pg *p, const char *system_id);
/* A base backup of what `from` has now, its configuration with it. */
void pg_copy(struct pg *p, const struct pg *from);
void pg_wipe(struct pg *p);
/* Told when a server is open for writes; NULL: nobody asks. */
extern void (*pg_opens)(struct pg *p);
/* Told before a directory with something in it becomes another one; NULL: nobody asks. */
extern void (*pg_touched)(struct pg *p);
/* Another disk in its place, with nothing on it. */
void pg_lose_disk(struct pg *p);
uint32_t pg_newest_history(const struct pg *p);
void pg_learn_histories(struct pg *p, struct rec *end); /* those on the way to it */
uint32_t pg_timeline(const struct pg *p);
/* NULL: there is none of that name. */
struct pg_slot_file *pg_slot_of(struct pg *p, const char *name);
/* A checkpoint removes the WAL that only that slot held. */
void pg_lose_slot(struct pg *p, const char *name);

/* ---- between the parts ---- */

int pg_new_pid(struct pg *p);
/* CLOCK_REALTIME of a host. */
int64_t pg_wall_us(const struct host *h);
/* Until a signal is acted on. */
usec pg_signal_takes(void);
/* May WAL be written, and synced? false: PANIC, which the instance does not survive. */
bool pg_writes(struct pg *p);
bool pg_syncs(struct pg *p);
/* Recovery is over. */
void pg_opened(struct pg *p);
