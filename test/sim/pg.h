/*
 * A model of one PostgreSQL: what is on its disk, what runs, how it streams, promotes, stops and dies.
 *
 * As unkind as the server: backends outlive a killed postmaster and go on acknowledging; what was written and not yet
 * flushed is gone after a power cut; a promotion can come late, and a trigger file fires at a later signal; a
 * timeline gets the next number that this node knows of, which another may have taken; pg_control says the old
 * timeline until a checkpoint; streaming is agreed on by timeline and position, not by content.
 */
#pragma once

#include "pg/control.h"
#include "pg/datadir.h"
#include "test/sim/wal.h"
#include "test/sim/world.h"

enum { TLI_MAX = 128, SYSTEM_ID_MAX = 24, NOBODY = -1, SLOTS_MAX = 16, SLOT_NAME_MAX = 64 };

struct pg_sender { /* a walsender, by whom it serves */
    bool active;
    uint64_t connection;
    struct rec *flushed; /* as its receiver reported */
    usec last;           /* order of the stream */
};

struct pg {
    struct host *host;
    struct proc postmaster; /* with startup process and walreceiver */
    struct proc backends;   /* sessions and walsenders */

    struct {
        enum datadir_kind kind;
        enum datadir_marker marker;
        char system_id[SYSTEM_ID_MAX];
        enum pg_control_state state;
        struct rec *checkpoint;
        uint32_t checkpoint_tli;
        struct rec *min_recovery; /* recovery is consistent from there on */
        bool standby_signal, promote_file, backup_label;
        int upstream; /* primary_conninfo; NOBODY: '' */
        struct rec *written, *flushed;
        char slots[SLOTS_MAX][SLOT_NAME_MAX];
        size_t slot_count;
        bool placeholder[TLI_MAX];    /* empty history files */
        struct rec *history[TLI_MAX]; /* history files in pg_wal: the first record of that timeline */
    } disk;

    /* while it runs */
    bool accepting, in_recovery, stopping, promoting;
    bool stuck;   /* a session that does not end: a fast stop hangs */
    int upstream; /* in force */
    struct rec *replayed;
    uint64_t session_epoch; /* sessions of an older one are gone */
    struct {
        bool streaming;
        uint64_t connection; /* the newest attempt */
        usec heard;
    } receiver;
    struct pg_sender senders[HOSTS_MAX];
    usec fsync_max;
    unsigned int deaths;
    void (*died)(struct pg *p, void *arg); /* no process is left, or the postmaster alone died */
    void *died_arg;
};

void pg_init(struct pg *p, struct host *host, void (*died)(struct pg *p, void *arg), void *arg);
/* Another instance on this world. */
struct pg *pg_of(int host_id);

/* What the guard and signals do. */
void pg_start(struct pg *p);
void pg_stop_fast(struct pg *p);
void pg_kill(struct pg *p);            /* every process */
void pg_kill_postmaster(struct pg *p); /* it alone: the others follow in their own time */
void pg_power_cut(struct pg *p);       /* the host goes down */
void pg_reload(struct pg *p);
void pg_promote_signal(struct pg *p); /* SIGUSR1: acts if the trigger file is there */

bool pg_postmaster_lives(const struct pg *p);
bool pg_backends_live(const struct pg *p);
/* Open for writes, as a client finds it. */
bool pg_is_open(const struct pg *p);

/* SQL, as an event of the backends. */
typedef void pg_committed_fn(struct pg *p, struct rec *commit, void *arg);
/* told: the session answers its client. It never comes if the session, or all of them, end first. */
void pg_commit(struct pg *p, int client, uint64_t number, pg_committed_fn *told, void *arg);
void pg_checkpoint(struct pg *p);

/* Set by who keeps the books: a commit is about to be acknowledged to its client. */
extern void (*pg_acknowledges)(struct pg *p, struct rec *commit);

/* Files. */
void pg_initdb(struct pg *p, const char *system_id);
void pg_copy(struct pg *p, const struct pg *from); /* a base backup of what `from` has now */
uint32_t pg_newest_history(const struct pg *p);
void pg_learn_histories(struct pg *p, struct rec *end); /* those on the way to it */
uint32_t pg_timeline(const struct pg *p);
