/*
 * ha_decide: from the whole observed state to the next steps. Pure.
 *
 * Level-triggered: every cycle decides from the whole view, so that a restart of the agent at any line
 * is survivable. Memory holds only what makes the next decision better (back-offs, how long something
 * has lasted, when another node was last known alive); losing it costs time, never safety.
 */
#pragma once

#include "core/ha/backoff.h"
#include "core/ha/plan.h"
#include "core/ha/view.h"

/* After a promotion clients come first: what nobody waits for (a checkpoint, the failover key) comes later. */
enum { HA_OPENED_MS = 1000 };

struct ha_memory {
    /* the leader of others */
    char leader[HA_NAME_MAX]; /* last owner of the leader key that we saw; "" none */
    int64_t leader_key;       /* store revision of its key; 0: we never saw one */
    int64_t leader_sign;      /* store revision of its last sign of life */
    msec leader_alive_ms;     /* when that sign reached us, or our start: its lease may last until +ttl */
    msec leader_gone_ms;      /* key first seen absent; 0: it is there */
    bool leader_released;     /* the key was given up, it did not expire */
    msec rival_ms;            /* since when another owns the key while PostgreSQL here may be a primary; 0: not so */

    /* our PostgreSQL */
    unsigned int deaths;              /* of view.pg, as last seen */
    msec crashed_ms;                  /* we lead and it is down since; 0: no */
    msec up_since_ms;                 /* end of our last successful start */
    struct ha_backoff start_backoff;  /* deaths soon after a start are failures, too */
    uint64_t job_seen;                /* id of the last job whose result was taken in */
    enum ha_rejoin rejoin;            /* verdict that still holds … */
    char rejoin_leader[HA_NAME_MAX];  /* … against this leader */
    struct ha_backoff rejoin_backoff; /* comparisons and rewinds */
    int rewind_failures;              /* pg_rewind itself, having touched the directory */
    struct ha_backoff clone_backoff;
    struct ha_backoff discard_backoff;
    struct ha_backoff bootstrap_backoff;

    /* leading */
    bool pre_promote_ok; /* for the term below */
    term pre_promote_term;
    msec stand_back_until_ms; /* pre_promote failed, or we gave the key up: let others */
    msec opened_ms; /* PostgreSQL here was first seen to serve without a checkpoint of its timeline; 0: not so */
    bool checkpoint_asked;
    bool promote_doubt;    /* a promotion was begun and did not end well: it may still happen */
    bool found_fenced;     /* PostgreSQL ran, under a fence, when this agent came; what it is was not seen yet */
    lsn promote_replayed;  /* how far the promotion under way is … */
    msec promote_moved_ms; /* … since */
    int promote_failures;  /* in a row, under the term below */
    term promote_term;
    bool died_soon;            /* the last postmaster fell soon after it was up */
    msec leader_new_ms;        /* first seen under this name */
    int64_t handover_revision; /* of the failover key that we stopped for last */
    int64_t asked_revision;    /* of the failover key that was seen last … */
    msec asked_since_ms;       /* … and when it was first: answers from before say nothing about it */

    /* planned work */
    bool restarting;             /* operator's restart: stopped, to be started again */
    unsigned int restart_deaths; /* of the postmaster when it began: another one runs when it is over */
    msec restart_due_ms;         /* the operator wants to know by then; 0: no limit given, or answered */
    msec restart_timeout_ms;     /* stands for primary_start_timeout until the leader runs again; 0: none given */
    bool reinitializing;
    bool reinit_from_leader;
    msec silent_ms;      /* a standby that should stream does not since; 0: it does */
    bool bootstrapping;  /* this agent began a bootstrap and it has not failed */
    bool bootstrap_ours; /* what a bootstrap left in the data directory is of this agent's own, and nothing else */
    msec started_ms;     /* first decision of this agent */
};

void ha_memory_init(struct ha_memory *m);

/* Fill *ret_plan from scratch. */
void ha_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *ret_plan);

/* Only what must never wait: observe, fence, renewal, failsafe. For the time an action is under way. */
void ha_keep_lease(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p);

/* Invariants of memory and plan; aborts when broken. Scenario runner and simulator call it after every step. */
void ha_check(const struct ha_memory *m, const struct ha_view *v, const struct ha_plan *p);
