/*
 * What the agent publishes for REST: an immutable picture of this node and of the cluster.
 *
 * The agent builds a new one after each cycle and each probe and publishes it; the HTTP thread answers
 * everything from the newest one, so that a stuck PostgreSQL or store never slows an answer. Ages are
 * part of the answer: the lease is judged against its deadline at the moment of the request.
 * A snapshot owns all it points at, but for the cluster, of which it holds a reference. Taking and
 * releasing is safe from any thread.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/time.h"
#include "wire/breach.h"
#include "wire/cluster.h"

/* Patroni's state strings and their metric index (patroni_postgres_state). */
#define PG_STATES(X)                                                  \
    X(INITDB, "initializing new cluster", 0)                          \
    X(INITDB_FAILED, "initdb failed", 1)                              \
    X(CUSTOM_BOOTSTRAP, "running custom bootstrap script", 2)         \
    X(CUSTOM_BOOTSTRAP_FAILED, "custom bootstrap failed", 3)          \
    X(CREATING_REPLICA, "creating replica", 4)                        \
    X(RUNNING, "running", 5)                                          \
    X(STARTING, "starting", 6)                                        \
    X(STARTING_AFTER_BOOTSTRAP, "starting after custom bootstrap", 7) \
    X(START_FAILED, "start failed", 8)                                \
    X(RESTARTING, "restarting", 9)                                    \
    X(RESTART_FAILED, "restart failed", 10)                           \
    X(STOPPING, "stopping", 11)                                       \
    X(STOPPED, "stopped", 12)                                         \
    X(STOP_FAILED, "stop failed", 13)                                 \
    X(CRASHED, "crashed", 14)                                         \
    X(UNKNOWN, "unknown", 15)

enum node_state {
#define X(id, text, index) NODE_##id = index,
    PG_STATES(X)
#undef X
};

const char *node_state_text(enum node_state state);

enum node_role { ROLE_UNINITIALIZED, ROLE_REPLICA, ROLE_PRIMARY, ROLE_STANDBY_LEADER, ROLE_DEMOTED, ROLE_PROMOTED };

const char *node_role_text(enum node_role role); /* "uninitialized", "replica", "primary", … */

/* A row of pg_stat_replication, as Patroni shows it. */
struct snapshot_walsender {
    char *usename, *application_name, *client_addr, *state, *sync_state;
    int sync_priority;
};

/* Another agent, as this one heard it. */
struct snapshot_peer {
    char *name;
    msec age_ms; /* when the snapshot was made; MSEC_NEVER: never heard */
};

/* A replication slot here: what its owner, however long it has been away, holds back. */
struct snapshot_slot {
    char *name;
    bool active;
    uint64_t retained_bytes; /* WAL that cannot be removed for its sake */
    int64_t held;            /* transactions whose dead rows vacuum cannot remove for its sake; 0: none */
};

/* Quorum mode: what the record says, and what this node has promised. */
struct snapshot_quorum {
    bool known; /* there is a record that can be read */
    enum record_mode mode;
    enum record_phase phase; /* of quorum mode */
    term term;               /* of the record */
    bool joining;            /* the cohort changes: both count */
    size_t cohort_members;   /* standbys whose acknowledgement counts … */
    int cohort_k;            /* … and how many of them a commit needs */
    term promised;           /* nothing of an earlier term is acknowledged or done here; 0: none */
    bool frozen;             /* … and nobody is elected under it yet */
};

/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): in the order of meaning */
struct snapshot {
    atomic_uint refs;
    uint64_t seq;  /* grows with every snapshot */
    msec taken_ms; /* when the facts about PostgreSQL were read (loop_clock_ms) */

    /* identity */
    char *scope, *name;
    char *version;      /* of pgkeep */
    char *agent_id;     /* another one after every start */
    char *told_version; /* what Patroni members read as our version */

    /* this node */
    enum node_state state;
    enum node_role role;
    bool pg_known; /* the facts below come from an answer of PostgreSQL, not older than they may be */
    bool in_recovery;
    bool writable;               /* out of recovery and accepting writes, seen by the last probe */
    char *postmaster_start_time; /* NULL: unknown; "2026-11-24 08:45:35.123456+00:00" */
    double postmaster_start_epoch;
    int server_version;                       /* 150018; 0: unknown */
    char *system_identifier;                  /* NULL: unknown */
    uint32_t timeline;                        /* 0: unknown */
    lsn location;                             /* primary: current write position */
    lsn received_location, replayed_location; /* standby */
    lsn receiver_latest_end;                  /* walreceiver's latest_end_lsn: base of `lag=` */
    char *replayed_timestamp;                 /* NULL */
    double replayed_epoch;
    bool replay_paused;
    char *replication_state; /* "streaming", "in archive recovery"; NULL */
    struct snapshot_walsender *walsenders;
    size_t walsender_count;
    struct snapshot_slot *slots;
    size_t slot_count;
    bool pending_restart;
    char *pending_restart_reason; /* JSON object text; NULL */
    char *scheduled_restart;      /* JSON object text {"schedule":…}; NULL */
    bool watchdog_failed;
    uint32_t sick;                              /* PEER_SICK_…: why PostgreSQL is in a bad way though it runs */
    msec wal_moved_ms;                          /* standby: when its walreceiver was last sent anything; 0: never */
    bool disk_known;                            /* the following was measured */
    int64_t disk_took_us;                       /* the last write to pg_wal's file system; 0: none has ended */
    msec disk_hangs_since_ms;                   /* the one under way; 0: none is */
    uint64_t disk_free_bytes, disk_total_bytes; /* 0: not known */
    char *tags;                                 /* JSON object text; NULL */
    bool noloadbalance, nofailover;
    int failover_priority;
    char *clone_progress; /* JSON {"done":bytes,"total":bytes,"from":name}; NULL */

    /* leadership */
    bool leader;            /* we own the leader key … */
    msec lease_deadline_ms; /* … strictly before this moment */
    term term;              /* the newest that this node knows of */
    bool standby_cluster;
    msec loop_ran_ms; /* end of the last cycle, for /liveness */
    msec ttl_ms, loop_wait_ms;
    int64_t maximum_lag_on_failover;

    struct snapshot_peer *peers;
    size_t peer_count;
    struct snapshot_quorum quorum;
    struct breaches broken;    /* what breaks its promise from inside */
    uint64_t walsenders_ended; /* that had a member's name and were not its own, since the agent started */

    /* the store's view */
    bool store_known;      /* the last reading worked */
    int64_t dcs_last_seen; /* epoch seconds */
    bool pause;
    bool cluster_unlocked; /* nobody owns the leader key */
    bool failsafe_mode_enabled, failsafe_mode_is_active, failsafe_member;
    bool sync_standby, quorum_standby; /* we are listed in /sync */
    lsn optime;                        /* of /status */
    struct cluster *cluster;           /* shared, so that REST renders what it is asked for; NULL: never read */
};

struct snapshot *snapshot_new(void);
void snapshot_unref(struct snapshot *s);
AUTO_DEFINE(snapshot, struct snapshot, snapshot_unref)

/* The place where the newest snapshot hangs; one writer, any number of readers. */
struct snapshot_board;
struct snapshot_board *snapshot_board_new(void);
void snapshot_board_free(struct snapshot_board *b);
void snapshot_publish(struct snapshot_board *b, struct snapshot *take_snapshot);
struct snapshot *snapshot_newest(struct snapshot_board *b); /* a new reference; NULL before the first */

/* True if this node may act as primary at now_ms as far as the lease goes. */
bool snapshot_lease_held(const struct snapshot *s, msec now_ms);
