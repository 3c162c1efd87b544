/*
 * The plan: what to do now, in this order, and why.
 *
 * Actions are data; the shell executes them one by one and stops at the first that fails. An action
 * that could harm under a lost lease carries `term` and is refused by the shell when the lease clock
 * says otherwise at that moment. The fence is not an action: the shell arms the guard with
 * plan->fence before it executes anything.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/auto.h"
#include "base/time.h"
#include "core/ha/view.h"

enum { HA_ACTIONS_MAX = 8, HA_WHY_MAX = 256, HA_NAME_MAX = 128, HA_LIST_MAX = 8192 };

#define HA_ACTIONS(X)                                                                           \
    X(RENEW, "renew")                       /* keepalive; status and record with it */          \
    X(ACQUIRE, "acquire")                   /* leader key if absent, record with term+1 */      \
    X(RELEASE, "release")                   /* delete our leader key, record released */        \
    X(TELL_UNFENCED, "tell-unfenced")       /* record: paused, our lease's end stops nothing */ \
    X(TELL_FENCED, "tell-fenced")           /* record: the fence is on again */                 \
    X(TAKE_TIMELINE, "take-timeline")       /* record: ->timeline, for a promotion */           \
    X(RECORD, "record")                     /* compare and set the record: plan->record */      \
    X(CLAIM_BOOTSTRAP, "claim-bootstrap")   /* initialize = "" if absent */                     \
    X(WRITE_INITIALIZE, "write-initialize") /* initialize = system id; config if absent */      \
    X(DROP_INITIALIZE, "drop-initialize")   /* our bootstrap failed */                          \
    X(CLEAR_FAILOVER, "clear-failover")                                                         \
    X(ASK_PEERS, "ask-peers")                                                                   \
    X(ASK_FAILSAFE, "ask-failsafe")                                                             \
    X(START_JOB, "job") /* ->job, ->subject, ->start, ->stop */                                 \
    X(CANCEL_JOB, "cancel-job")                                                                 \
    X(FOLLOW, "follow")         /* rewrite primary_conninfo, reload */                          \
    X(LOAD_NAMES, "load-names") /* plan->list into synchronous_standby_names, proved */         \
    X(MARKER, "marker")         /* a record to be seen on others */                             \
    X(END_SENDER, "end-sender") /* ->pid, counted under ->subject's name */                     \
    X(CHECKPOINT, "checkpoint")                                                                 \
    X(KILL_ORPHANS, "kill-orphans")                                                             \
    X(ANSWER, "answer") /* the operator's request: ->ok, ->why */                               \
    X(LEAVE, "leave")   /* pause and SIGTERM: PostgreSQL stays */                               \
    X(EXIT, "exit")

enum ha_action_kind {
#define X(id, text) HA_DO_##id,
    HA_ACTIONS(X)
#undef X
};

/* How START starts and STOP stops. */
enum ha_start { HA_START_PRIMARY, HA_START_STANDBY };
enum ha_stop { HA_STOP_FAST, HA_STOP_IMMEDIATE, HA_STOP_KILL };
enum ha_answer_to { HA_ANSWER_RESTART, HA_ANSWER_REINIT, HA_ANSWER_RECOVER };

struct ha_action {
    enum ha_action_kind kind;
    enum ha_job_kind job;
    enum ha_start start;
    enum ha_stop stop;
    msec budget_ms;        /* STOP: until everything is killed; 0: no limit of its own */
    bool checkpoint_first; /* STOP: while clients still work */
    bool in_good_time;     /* STOP: before_stop is waited for */
    bool remove;           /* DISCARD: delete instead of moving aside (configuration says so) */
    term term;
    uint64_t above;    /* ACQUIRE: a term that was promised: the new one is beyond it */
    uint32_t timeline; /* ACQUIRE, TAKE_TIMELINE, PROMOTE: that this node is primary on, or is to be promoted to */
    enum ha_answer_to answer_to;
    bool ok;
    char subject[HA_NAME_MAX]; /* member; "" none */
    uint32_t pid;              /* END_SENDER */
};

/* To be on disk before anything that follows from it; term 0: nothing new. */
struct ha_plan_promise {
    term term, settled;
    char to[PEER_NAME_MAX + 16];
};

/* Deadlines for the guard; MSEC_NEVER each: no fence. */
struct ha_fence {
    term term;
    msec stop_ms, quit_ms, kill_ms;
};

/* What this agent tells as an elector from now on (wire/peer.h); like the fence, it waits behind no action. */
struct ha_vote {
    char grants[HA_NAME_MAX]; /* "": nobody */
    int64_t free_of;
    bool elector;
};

/*
 * RECORD: the whole next record, over the one that was read, and what else its transaction does. It is carried out only
 * if the record is still at expected_revision. Nothing is decided about the record until a picture shows the end of it
 * (view.store.reads_back).
 */
struct ha_record_change {
    struct record_key next;    /* the plan's own */
    int64_t expected_revision; /* 0: there must be none */
    bool recovers;             /* it is over what a store of the past says (view.store.past) */
    bool take_leader_key;      /* put it on our lease; there must be none */
    bool drop_leader_key;      /* delete it, whoever has it … */
    bool drops_as_read;        /* … but only while it is the one of drop_revision */
    int64_t drop_revision;     /* 0: there was none, and there must be none */
    bool own_leader_key;       /* it must be ours, and stays so */
    char *sync; /* the plan's own: copy for Patroni's `sync` (sync_copy.h); "": deleted; NULL: it stays as it is */
};

/* All zero before the first decision; plan_reset() after the last. */
struct ha_plan {
    struct ha_action actions[HA_ACTIONS_MAX];
    size_t count;
    struct ha_fence fence;
    struct ha_vote vote;
    struct ha_plan_promise promise; /* like the fence, these two wait behind no action */
    term freeze;                    /* PostgreSQL here must acknowledge nothing of an earlier term; 0: it may */
    char list[HA_LIST_MAX];         /* what LOAD_NAMES loads */
    msec wake_ms;                   /* decide again then at the latest, whatever happens */
    char why[HA_WHY_MAX];           /* for the operator: what this node is doing, in one line */
    bool failsafe_active;
    bool wants_out;                 /* this data directory is to be rewound or replaced: nobody should count on it */
    bool unfit;                     /* it must not become primary: something is promised that it cannot keep */
    bool leading;                   /* this node is the primary, serving or not yet: others may stream from it */
    bool serving;                   /* this node may act as primary: role and REST say so */
    struct ha_record_change record; /* of the one RECORD among the actions, if there is one */
};

const char *ha_action_text(enum ha_action_kind kind);

/* Empty, and nothing left to free. */
void plan_reset(struct ha_plan *p);

/* Appends; every one returns a pointer that is valid until the plan is reset. */
struct ha_action *plan_add(struct ha_plan *p, enum ha_action_kind kind);
struct ha_action *plan_job(struct ha_plan *p, enum ha_job_kind job, const char *subject);

/* Is there one? */
bool plan_has(const struct ha_plan *p, enum ha_action_kind kind);

/*
 * Change the record from what it is: what is returned has a copy of it as ->next, to be changed in place, and its
 * revision. At most one in a plan, and not while view.store.reads_back.
 */
struct ha_record_change *plan_record(struct ha_plan *p, const struct record_key *now);

/*
 * Stop PostgreSQL; what is left of it after budget_ms is killed (0: no limit of its own). In haste: for a stop that has
 * time checkpoint_first and in_good_time are set in what is returned.
 */
struct ha_action *plan_stop(struct ha_plan *p, enum ha_stop mode, msec budget_ms);

/* Says why; the last one stands. Returns true so that a gate is one line. */
bool plan_why(struct ha_plan *p, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Wake no later than at_ms. */
void plan_wake(struct ha_plan *p, msec at_ms);
