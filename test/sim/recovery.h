/*
 * The startup process of a standby: replay, where more WAL comes from, promotion.
 *
 * It alone asks for a walreceiver and ends one, and it acts on a changed primary_conninfo only between two records:
 * while it is blocked by a query (a recovery conflict) or its replay is paused, it does not, and a walreceiver that
 * runs goes on (xlogrecovery.c, WaitForWALToBecomeAvailable). At the end of what it has it tries the archive, then
 * streaming, then waits wal_retrieve_retry_interval.
 */
#pragma once

#include <stdbool.h>

#include "test/sim/pg_conf.h"
#include "test/sim/world.h"

struct pg;
struct rec;

enum recovery_block {
    RECOVERY_GOES_ON,
    RECOVERY_CONFLICT, /* it waits for a query */
    RECOVERY_PAUSED,   /* pg_wal_replay_pause() */
    RECOVERY_HANGS,    /* stopped, or in a call of the kernel that does not come back */
};

struct recovery {
    struct pg_loaded conf;
    enum recovery_block blocked;
    bool ready; /* what is local is replayed: it looks for more */
    bool replaying;
    bool reload_due;  /* SIGHUP came while it was blocked */
    bool reload_sent; /* SIGHUP is on its way to it: it is the first thing that a sleep ends with */
    bool restores;    /* between one file of the archive and the next */
    bool restart_due; /* the receiver's conninfo is another: it is to be ended */
    bool promote_due; /* SIGUSR2 came while it was blocked */
    uint64_t wait;    /* the newest wait for wal_retrieve_retry_interval; 0: it does not wait */
    uint64_t waits;
};

/* The directory says standby: recovery begins, `takes` until it is as far as pg_wal alone leads. */
void recovery_start(struct pg *p, usec takes);
/* There is more to replay. */
void recovery_replay(struct pg *p);
/* SIGHUP. */
void recovery_reload(struct pg *p);
void recovery_receiver_gone(struct pg *p, usec retry_in);
/* SIGUSR2 of the postmaster, which found the trigger file. */
void recovery_promote(struct pg *p);

void recovery_block(struct pg *p, enum recovery_block how);
void recovery_unblock(struct pg *p);
/* Told when a promotion has written the first record of its timeline; NULL: nobody asks. */
extern void (*recovery_promotes)(struct pg *p, struct rec *first);

/* pg_stat_activity.wait_event of the startup process; NULL: it works. */
const char *recovery_wait_event(const struct pg *p);
