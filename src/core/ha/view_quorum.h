/*
 * What quorum mode adds to the view: promise, freeze, list of names, walsenders, and what other agents say.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/time.h"
#include "wire/lsn.h"
#include "wire/peer.h"
#include "wire/record.h"

enum ha_sync_mode { HA_SYNC_OFF, HA_SYNC_ON, HA_SYNC_QUORUM };

/* How fast a failure is suspected, and how long steps may take: failover_profile. */
struct ha_profile {
    msec beat_ms;    /* between two states that an agent tells the others */
    msec suspect_ms; /* silence after which an agent is suspected */
    msec wal_ms;     /* so long after the last WAL from it a silent leader's PostgreSQL is suspected, too */
    msec agent_ms;   /* silence of an agent whose PostgreSQL still answers or ships WAL */
    msec sick_ms;    /* a PostgreSQL that runs but does not work gets that long */
    msec freeze_ms;  /* a standby that is not proved frozen by then is stopped */
    msec rank_ms;    /* between two nodes that could take a term */
    msec join_ms;    /* a newly elected leader waits that long for standbys that are up before it opens with fewer */
    msec again_ms;   /* the least time between two failovers, at first (flap.h) */
    msec lost_ms;    /* a member of the cohort that stopped streaming leaves after that */
    msec lease_ms;   /* asynchronous mode: what the electors grant a leader (peer_lease.h) */
};

/* What this node promised, as its disk says. */
struct ha_promise {
    bool known;                  /* it could be read, or there never was one: without that this node takes no part */
    term term;                   /* 0: none */
    term settled;                /* the newest term that this node knows somebody was elected under */
    char to[PEER_NAME_MAX + 16]; /* "name#attempt" of the coordinator; "" when the record itself was followed */
    bool by_quorum;              /* what the record said of the mode when it was seen last */
};

/* PostgreSQL's side of quorum mode. */
struct ha_freeze {
    enum peer_freeze kind; /* proved for `term`, and nothing was started or changed since */
    term term;
    uint32_t timeline; /* of the position */
    lsn position;
    bool failed; /* it could not be proved within its time: the server must be stopped */
};

struct ha_sender { /* a walsender that PostgreSQL counts under this name */
    const char *name;
    uint32_t pid;
    bool physical;
    bool own_slot; /* it holds the slot of the member of that name */
    bool starting; /* nobody counts it yet, and it takes its slot on the way out of this state */
    bool streaming;
    bool after_list; /* it began after the list that is in force was loaded, or handled a reply after it */
    lsn flushed;
};

struct ha_names {
    const char
        *list;     /* proved to be in force, and as a text of ours ("" none, QUORUM_FENCE, a list); NULL: not proved */
    msec since_ms; /* … since */
    bool may_pass; /* there was a list of nobody, and no commit was seen to wait since: some may still not */
    bool loading;
    msec failed_ms;      /* the last attempt failed then; 0: it did not */
    const char *why_not; /* of that failure */
};

struct ha_marker { /* a record written and flushed here, to be seen on others */
    lsn at;        /* 0: none of this postmaster's life and this list */
    bool writing;
};

struct ha_quorum {
    struct ha_promise promise;
    const struct record_key *seen; /* the newest record that this node has seen, as its disk says; NULL: none */
    uint64_t seen_store;           /* … in that store */
    uint64_t incarnation;          /* of the data directory's contents; 0: no data, or not known */
    bool record_unsure;            /* a change of the record has an unknown outcome and was not read back yet */
    struct ha_freeze freeze;
    struct ha_names names;
    struct ha_marker marker;
    const struct ha_sender *senders;
    size_t sender_count;
};

/* ---- memory (decide.h): what makes the next decision better ---- */

struct ha_missing { /* a member of the cohort that does not follow */
    char name[PEER_NAME_MAX];
    msec since_ms;
};
