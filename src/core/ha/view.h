/*
 * The view: everything this node has observed, each fact with its age or its "unknown".
 *
 * ha_decide() reads nothing else (besides its own memory), so a view written down replays the
 * decision. The shell fills it afresh for every cycle; it owns what the pointers point at for as long
 * as the call lasts. Unknown is not false: facts that may be missing are three-valued or carry
 * `known`.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/time.h"
#include "core/ha/view_quorum.h"
#include "wire/cluster.h"
#include "wire/lsn.h"
#include "wire/peer.h"

enum { HA_PEERS_MAX = 64 };

/* Configuration as far as decisions go; flat, so that scenario scripts can set it by name. */
struct ha_conf {
    const char *name;
    msec ttl_ms, loop_wait_ms, retry_timeout_ms;
    msec primary_start_timeout_ms;
    msec primary_race_backoff_ms;
    msec pg_ctl_timeout_ms;          /* a promotion that makes no progress for so long has failed */
    msec primary_stop_timeout_ms;    /* 0: a stop may take as long as the lease allows */
    int64_t maximum_lag_on_failover; /* bytes */
    enum ha_sync_mode sync_mode;
    bool sync_strict;
    int sync_node_count;             /* members whose acknowledgement a commit needs; 0 counts as 1 */
    int64_t maximum_lag_on_syncnode; /* bytes; -1: any */
    struct ha_profile profile;
    bool peer_lease; /* wanted, where it can be had */
    bool pause;
    bool failsafe_mode;
    bool use_pg_rewind;
    bool remove_on_rewind_failure;
    bool remove_on_diverged_timelines;
    bool clone_without_leader; /* a create_replica_method with no_leader exists */
    bool pre_promote;          /* a script is configured */
    const char *refused;     /* a key that promises safety and is not built: this node must not become primary; NULL */
    bool witness;            /* an agent without PostgreSQL */
    struct member_tags tags; /* borrowed */
};

/* What the store said. `cluster` is the newest reading; its age decides what may be done with it. */
struct ha_store {
    bool known;                    /* the last request was answered and the watch is alive */
    msec read_ms;                  /* when the newest answer arrived; 0: never */
    const struct cluster *cluster; /* NULL: never read */
    /*
     * The store answers, and what it says is older than what this node has seen, or another store's (recover.h): it was
     * put back or replaced. `cluster` is as it was before then, and `known` false. NULL: not so.
     */
    const struct cluster *past;
    /*
     * A change of the record of ours (RECORD) has an end that this picture does not show yet, or may have: no other is
     * decided. One whose answer never came may still be carried out after the reading, but then over the same record.
     */
    bool reads_back;
    int64_t sure_revision; /* of the record as our last change left it, if no change of ours is in doubt since; 0 */
    /* POST /failsafe that we accepted last: its sender lives and stays leader until that moment + ttl */
    msec failsafe_heard_ms; /* 0: never */
    const char *failsafe_heard_from;
    msec failsafe_heard_ttl_ms; /* as its sender told; 0: it told none, ours counts */
    msec setback_ms;            /* it was found put back to an earlier state last then; 0: never */
};

/* Our lease in the store (it carries member and leader key). */
struct ha_lease {
    bool exists;       /* granted, not known to be lost */
    int64_t id;        /* the store's name of it */
    bool owner;        /* the leader key carries our name and this lease, by the newest reading or our own txn */
    term term;         /* of our ownership; 0 if none */
    uint32_t timeline; /* that our ownership took: the one we are primary on, or the number of a promotion to come */
    bool was_owner;    /* our leader key hung on this lease, and nobody else was seen to own it since */
    msec ttl_ms;       /* it was granted with this; 0: as configured */
    msec renewed_ms;   /* moment before the last successful renewal was sent */
    msec deadline_ms; /* of the lease our leader key hangs (or hung) on: the store may give the key away from here on */
    bool unfenced;    /* the record says so, for sure: the fence may be off */
    bool telling;     /* a change of the record is under way */
    bool renewing;    /* a renewal is under way */
    msec tried_ms;    /* when the last renewal was begun, whatever came of it */
    /* The fence that the guard already had when this agent started; 0: none. */
    msec inherited_stop_ms, inherited_quit_ms, inherited_kill_ms;
    msec failsafe_ms; /* every member granted us, by POST /failsafe sent at this moment; 0: no */
    bool failsafe_asking;
    msec failsafe_tried_ms;
    /*
     * Whose grants our ownership needs, too, as the record says or said when it was known last; NULL: nobody's. And
     * the same of a change that has an unknown end: it may be in force, or will be.
     */
    const struct record_electorate *electorate, *electorate_doubt;
};

enum ha_data {
    HA_DATA_UNKNOWN,
    HA_DATA_EMPTY, /* absent or empty: nothing to lose */
    HA_DATA_VALID,
    HA_DATA_CLONING,       /* our marker says a clone did not finish: nothing to lose either */
    HA_DATA_REWINDING,     /* our marker says a rewind did not finish: unusable until it is run again */
    HA_DATA_BOOTSTRAPPING, /* our marker says initdb or its follow-up did not finish */
    HA_DATA_FOREIGN,       /* files, but no database of ours: never touched */
};

enum ha_process {
    HA_PROC_UNKNOWN, /* stopped, and its files are still being looked at: nothing is decided about it yet */
    HA_PROC_NONE,    /* stopped: no process of the data directory is left */
    HA_PROC_RUNNING, /* a postmaster */
    HA_PROC_ORPHANS, /* dead postmaster, living backends: they may still acknowledge */
};

enum ha_control_state {
    HA_CONTROL_UNKNOWN,
    HA_CONTROL_SHUT_DOWN,
    HA_CONTROL_SHUT_DOWN_STANDBY,
    HA_CONTROL_UNCLEAN_PRIMARY,
    HA_CONTROL_UNCLEAN_STANDBY
};

/* PostgreSQL on this host. */
struct ha_pg {
    enum ha_data data;
    enum ha_process process;
    bool adopted;          /* somebody else started the postmaster */
    unsigned int deaths;   /* postmasters that died under this guard; a new one is an event */
    const char *system_id; /* NULL: unknown */
    int version;           /* major; 0: unknown */
    int server_version;    /* of the server that runs, or of the programs for the next one, 150013; 0: unknown */

    /* pg_control, valid while no postmaster runs */
    enum ha_control_state control;
    uint32_t control_timeline;
    lsn control_position; /* end of the shutdown checkpoint, or minimum recovery end */

    /* the last answer to the probe */
    bool answered;  /* it answered the last probe */
    bool accepting; /* connections are accepted (false while starting) */
    msec answered_ms;
    bool in_recovery;
    uint32_t timeline;
    lsn position; /* primary: written; standby: max(receive, replay) */
    lsn flushed;  /* primary: on its disk, so that standbys can have it; 0: not known */
    lsn replayed;
    bool streaming; /* a walreceiver streams */
    bool replay_paused;
    bool checkpointed;         /* a checkpoint was made on the timeline we run on: rewinds from us may start */
    msec checkpoint_failed_ms; /* the one that the last plan asked for; 0: it did not */
    bool pending_restart;
    msec halted_ms; /* the postmaster is stopped by a signal (SIGSTOP, debugger) since; 0: it runs */

    const char *upstream;                /* member that primary_conninfo names; "" none; NULL unknown */
    const char *upstream_conninfo_state; /* NULL: as it should be; else why it must be rewritten */
    bool standby_signal;                 /* it is in the data directory; of no server that left recovery */
    bool backup_label;                   /* a clone or a rewound directory that has never been started */
    /*
     * It is being stopped and its shutdown checkpoint is written here: no session is left, nothing can be committed any
     * more, though processes still end. 0: not so.
     */
    lsn shut_down_at;
};

/* What a member answered to GET /patroni?fresh=1 in the current round. */
enum ha_answer { HA_ANSWER_NONE, HA_ANSWER_ASKED, HA_ANSWER_YES, HA_ANSWER_UNREACHABLE };

struct ha_peer {
    const char *name;
    enum ha_answer answer;
    bool running;      /* state "running" */
    bool primary;      /* runs out of recovery (role primary or promoted) */
    bool leader;       /* it believes it holds the lease */
    uint32_t timeline; /* 0: not told */
    lsn position;
    bool streaming;
    bool nofailover;
    int failover_priority;
    bool watchdog_failed;
};

struct ha_peers {
    msec asked_ms; /* when the newest round began; 0: never */
    bool complete; /* each one asked has answered or run out of time */
    struct ha_peer at[HA_PEERS_MAX];
    size_t count;
};

/*
 * The other agents as they tell of themselves, all the time and unasked. Silence counts from the later one of
 * heard_ms and resumed_ms: while we stood still ourselves we heard nobody, and that says nothing about them.
 */
struct ha_mesh_peer {
    struct peer_state state; /* the newest; only the name while nothing was heard */
    msec heard_ms;           /* when it arrived; 0: never */
    msec granted_ms;         /* when our newest message was sent that it granted us a lease by; 0: none */
};

struct ha_mesh {
    struct ha_mesh_peer at[HA_PEERS_MAX];
    size_t count;
    msec resumed_ms;       /* since when we have been listening without a break */
    struct peer_state own; /* what we told last */
};

/* Long work. One at a time. */
#define HA_JOBS(X)                                                          \
    X(NONE, "none")                                                         \
    X(BOOTSTRAP, "bootstrap")           /* initdb or the custom method */   \
    X(POST_BOOTSTRAP, "post-bootstrap") /* users, post_bootstrap script */  \
    X(START, "start")                                                       \
    X(STOP, "stop")                                                         \
    X(PRE_PROMOTE, "pre-promote")                                           \
    X(PROMOTE, "promote")           /* until out of recovery */             \
    X(CHECK_REJOIN, "check-rejoin") /* can we follow, or must we rewind? */ \
    X(REWIND, "rewind")                                                     \
    X(CLONE, "clone")                                                       \
    X(DISCARD, "discard") /* move the data directory aside, or remove it when configured */

enum ha_job_kind {
#define X(id, text) HA_JOB_##id,
    HA_JOBS(X)
#undef X
};

enum ha_job_state { HA_JOB_IDLE, HA_JOB_RUNNING, HA_JOB_OK, HA_JOB_FAILED };

enum ha_rejoin { HA_REJOIN_UNKNOWN, HA_REJOIN_FOLLOW, HA_REJOIN_REWIND, HA_REJOIN_CLONE };

struct ha_job {
    enum ha_job_kind kind; /* the running one, or the last one */
    enum ha_job_state state;
    uint64_t id;            /* grows with every job: tells a new result from an old one */
    msec since_ms;          /* start of the running one, or end of the last one */
    enum ha_rejoin verdict; /* CHECK_REJOIN: what it found */
    const char *subject;    /* member it is about; NULL */
    bool nothing_done;      /* it could not even begin (no program, no space): a retry is harmless */
};

/* What an operator asked of this node, by REST. The shell keeps it until the plan says it is answered. */
struct ha_request {
    bool restart;             /* and its conditions are met now */
    bool restart_immediately; /* not scheduled */
    msec restart_timeout_ms;  /* 0: none given */
    bool reinit;
    bool reinit_force;
    bool reinit_from_leader;
    bool recover; /* write the newest record seen into a store that does not have it (recover.h) */
    bool recover_force;
    bool ending; /* SIGTERM */
};

/* What of this node is in a bad way though it runs, and how far our own ears can be trusted. */
struct ha_health {
    uint32_t sick;        /* PEER_SICK_… (wire/peer.h): PostgreSQL runs and does not work */
    uint32_t wal_age_ms;  /* standby: since its walreceiver was last sent anything; UINT32_MAX: never */
    msec disk_ms;         /* the last write to pg_wal's file system, or the one under way; MSEC_NEVER: not known */
    int slowness_percent; /* of this agent: 100 is well; how much longer it must wait before it suspects others */
    msec resumed_ms;      /* this agent did not run for longer than a few heartbeats until then; 0: it never did not */
};

/* What this agent, as an elector, told leaders (peer_lease.h). */
struct ha_elector {
    msec granted_ms; /* when the newest message was heard that it granted a leader by; 0: none since it started */
};

struct ha_view {
    msec now_ms;
    int64_t wall_ms; /* only for scheduled actions of people */
    struct ha_conf conf;
    struct ha_store store;
    struct ha_lease lease;
    struct ha_pg pg;
    struct ha_peers peers;
    const struct ha_mesh *mesh; /* NULL: none (scenarios without it) */
    struct ha_quorum quorum;
    struct ha_elector elector;
    struct ha_job job;
    struct ha_request request;
    struct ha_health health;
};

const char *ha_job_text(enum ha_job_kind kind);
