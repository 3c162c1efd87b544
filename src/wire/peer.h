/*
 * What agents tell each other: one kind of message, the sender's whole state.
 *
 * Every agent sends its state to every other one with each heartbeat and at once when it changed. Level-triggered: a
 * message replaces the one before it; loss, duplicates and reordering cost time only (`boot`, `seq` tell old from new:
 * a message that is not newer than the last one of the same boot is dropped).
 *
 * What makes a late message harmless: a freeze under term t ends only by following a term >= t that the store's record
 * has elected; by then no election of t can succeed any more.
 *
 * On the wire, numbers big-endian:
 *
 *   u32 length of the rest · u8 version of the writer · u8 oldest version that can read it · fields
 *   field: u16 tag · u16 length · value, tags ascending
 *   heard (a field): u8 length of the rest · u8 length of the name · name · u32 age_ms ·
 *                    u64 boot · u64 told_ms · what a later version adds
 *
 * A later version may add fields, entries' tails and values of an enum: a reader skips the former and takes the latter
 * for "unknown" or "none". What it may not change without raising the oldest version is a field that there is.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/span.h"
#include "base/time.h"
#include "wire/lsn.h"

enum {
    PEER_VERSION = 1,
    PEER_VERSION_OLDEST = 1, /* whose readers understand what this version writes */
    PEER_NAME_MAX = 128,     /* as HA_NAME_MAX; longer names are refused when the configuration is read */
    PEER_HEARD_MAX = 64,
    PEER_STATE_MAX = 16384, /* bytes of an encoded message */
};

/* What of the sender's database can acknowledge nothing under a term below `frozen_term`. */
enum peer_freeze {
    PEER_FREEZE_NONE,
    PEER_FREEZE_STANDBY, /* no walreceiver exists and none can start; proved under this term */
    PEER_FREEZE_FENCED,  /* a primary: the write fence is in force in every process that could acknowledge */
    PEER_FREEZE_STOPPED, /* no process of the instance is left; position 0: its end is not known */
};

enum peer_process { PEER_PROC_UNKNOWN, PEER_PROC_NONE, PEER_PROC_RUNNING, PEER_PROC_ORPHANS };

/* Why the sender's PostgreSQL is in a bad way though it runs; bits. */
enum {
    PEER_SICK_PROBE = 1,   /* does not answer the probe */
    PEER_SICK_DISK = 2,    /* a write to pg_wal's file system does not come back */
    PEER_SICK_HALTED = 4,  /* the postmaster is stopped by a signal */
    PEER_SICK_CONNECT = 8, /* takes no new connections */
};

struct peer_heard { /* another agent, as the sender heard it last */
    char name[PEER_NAME_MAX];
    uint32_t age_ms; /* UINT32_MAX: never */
    /* Of the newest message from it, as it stands there: by its own clock, which nobody else can read. 0: not told */
    uint64_t boot, told_ms;
};

struct peer_state {
    char name[PEER_NAME_MAX]; /* the sender; must be the name that the connection was authenticated for */
    uint64_t boot, seq;
    uint64_t told_ms; /* by the sender's clock, before the message was sent */
    bool ending;      /* this agent is about to exit */
    bool planned;     /* what its PostgreSQL does (being down, too) is as an operator asked, or as this agent decided */
    bool wants_out;   /* its data directory is to be rewound or replaced: it must not be counted on any more */
    bool unfit;       /* something is promised that it cannot keep: it must not become primary (its log says what) */

    /* The promise on the sender's disk: nothing of any term below it is acknowledged or executed. */
    term promised;
    char coordinator[PEER_NAME_MAX + 16]; /* "name#attempt", to whom */
    /* The sender committed this term in the store and asks everybody to freeze for it; 0: it does not. */
    term calls;
    /* The newest record that the sender has ever read, as its disk says, and which store that was. */
    term record_term;
    int64_t record_revision;
    uint64_t store; /* 0: not known */

    uint64_t incarnation; /* of its data directory's contents; 0: none */
    uint64_t system_id;   /* 0: unknown */
    enum peer_freeze freeze;
    term frozen_term;
    uint32_t timeline; /* of `position`; 0: unknown */
    lsn position;      /* durable here: standby max(receive, replay), primary flush; while frozen: final */
    lsn replayed;

    enum peer_process process;
    bool accepting, in_recovery, primary /* answered out of recovery */, serving;
    uint32_t sick;
    uint16_t failover_priority;   /* 0: nofailover */
    uint16_t sync_priority;       /* 0: nosync */
    uint16_t beat_ms;             /* it tells its state that often, at least; 0: unknown */
    char upstream[PEER_NAME_MAX]; /* member that its primary_conninfo in force names; "" none */
    term upstream_term;           /* it follows that one under this term */
    uint32_t wal_age_ms;          /* since its WAL last moved by streaming; UINT32_MAX: never */

    /*
     * Asynchronous mode's peer lease. The sender helps nobody against this leader before a lease has passed since that
     * leader's message which it heard last (heard: told_ms); "" it grants nobody anything.
     */
    char grants[PEER_NAME_MAX];
    /* It has granted nothing for a lease, and grants nothing while the record is of this revision; 0: not so. */
    int64_t free_of;
    bool elector; /* it has been up for so long that it could be free of whom it grants nothing any more */

    size_t heard_count;
    struct peer_heard heard[PEER_HEARD_MAX]; /* the last: what is beyond heard_count is not even copied */
};

/* Bits of `sick` in words, the worst one: "does not answer", …; completes "PostgreSQL of n1 …". */
const char *peer_sick_text(uint32_t sick);

/* Nothing known: what a field that is not in a message reads as. */
void peer_state_init(struct peer_state *s);
/* As an assignment, but of what is in use. */
void peer_state_copy(struct peer_state *to, const struct peer_state *from);

/*
 * Do two states of one agent differ in something that others must hear at once? What merely moves (position, replayed,
 * ages) waits for the next heartbeat, unless the sender is frozen: its position is what others wait for then.
 */
bool peer_state_is_news(const struct peer_state *before, const struct peer_state *now);

/* The whole message; returns its length. Texts must be terminated within their arrays. */
size_t peer_encode(const struct peer_state *s, unsigned char ret_bytes[PEER_STATE_MAX]);

enum peer_result { PEER_OK, PEER_MORE, PEER_BAD };

/*
 * Take one message off the front of *in. On PEER_OK *in is advanced; otherwise it and *ret_state are untouched. Any
 * split of the input gives the same messages.
 */
enum peer_result peer_decode(struct span *in, struct peer_state *ret_state);
