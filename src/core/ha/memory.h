/*
 * What a node remembers from one decision to the next.
 *
 * Only what makes the next decision better: back-offs, how long something has lasted, when another node was last known
 * alive. Losing it costs time, never safety. Each group is written by the file of its name alone (`seen` and `leader`
 * by observe.c, `reinit` by rejoin.c); everybody may read.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"
#include "core/ha/backoff.h"
#include "core/ha/plan.h"
#include "core/ha/view.h"

struct ha_memory {
    struct {
        msec started_ms;     /* first decision of this agent */
        unsigned int deaths; /* of view.pg, as last seen */
        uint64_t job;        /* id of the last job whose result was taken in */
        msec rival_ms;       /* since when another owns the key while PostgreSQL here may be a primary; 0: not so */
    } seen;

    struct {
        char name[HA_NAME_MAX]; /* last owner of the leader key that we saw; "" none */
        int64_t key;            /* store revision of its key; 0: we never saw one */
        int64_t sign;           /* store revision of its last sign of life */
        msec alive_ms;          /* when that sign reached us, or our start: its lease may last until +ttl */
        msec gone_ms;           /* key first seen absent; 0: it is there */
        msec new_ms;            /* first seen under this name */
        bool released;          /* the key was given up, it did not expire */
    } leader;

    struct {
        struct ha_backoff backoff; /* deaths soon after a start are failures, too */
        msec up_since_ms;          /* end of our last successful start */
        bool died_soon;            /* the last postmaster fell soon after it was up */
    } start;

    struct {
        enum ha_rejoin verdict;    /* that still holds … */
        char leader[HA_NAME_MAX];  /* … against this leader */
        struct ha_backoff backoff; /* comparisons and rewinds */
        int rewind_failures;       /* pg_rewind itself, having touched the directory */
        struct ha_backoff clone;
        struct ha_backoff discard;
        msec silent_ms; /* a standby that should stream does not since; 0: it does */
        lsn position;   /* of a standby, when it was looked at last */
    } rejoin;

    struct {
        bool under_way;
        bool from_leader;
    } reinit;

    struct {
        bool under_way; /* this agent began a bootstrap and it has not failed */
        bool ours;      /* what a bootstrap left in the data directory is of this agent's own, and nothing else */
        struct ha_backoff backoff;
    } bootstrap;

    struct {
        msec stand_back_until_ms; /* we gave the key up: let others */
    } elect;

    struct {
        uint64_t wish; /* an electorate that the record does not have yet, and the fence obeys already; 0: none … */
        msec wish_ms;  /* … since */
        msec rest_until_ms; /* one was given up: another is not asked for before */
    } peer_lease;

    struct {
        bool pre_ok; /* of pre_promote, for the term below */
        term pre_term;
        bool doubt;        /* a promotion was begun and did not end well: it may still happen */
        bool found_fenced; /* PostgreSQL ran, under a fence, when this agent came; what it is was not seen yet */
        lsn replayed;      /* how far the promotion under way is … */
        msec moved_ms;     /* … since */
        int failures;      /* in a row, under the term below */
        term term;
    } promotion;

    struct {
        msec crashed_ms; /* we lead and it is down since; 0: no */
        msec opened_ms;  /* PostgreSQL here was first seen to serve without a checkpoint of its timeline; 0: not so */
        bool checkpoint_asked;
    } lead;

    struct {
        int kind; /* enum suspicion, of whom … */
        char name[HA_NAME_MAX];
        msec since_ms;         /* … since */
        int64_t record;        /* revision of the record that was seen last … */
        msec record_ms;        /* … and since when */
        msec sick_ms;          /* a leader that is heard does not do its work since; 0: it does */
        lsn replayed;          /* how far one that is to be promoted was */
        term term;             /* of that record */
        msec cut_ms;           /* a leader that is heard does not reach its cohort since; 0: it does */
        term cut_term;         /* this node took it because of that … */
        char cut[HA_NAME_MAX]; /* … from this leader: another comes first, … */
        msec cut_until_ms;     /* … and is waited for that long */
    } suspect;

    struct {
        term elected_term; /* we are elected under it … */
        msec elected_ms;   /* … and primary since */
        bool undo;         /* the change of the cohort that is under way is taken back */
        msec blocked_ms;   /* too few members of the one that is to be follow since; 0: enough do */
        msec unproved_ms;  /* no list could be proved since; 0: one is */
        struct ha_missing missing[HA_PEERS_MAX];
    } cohort;

    struct {
        term term;     /* promised … */
        msec since_ms; /* … since */
    } frozen;

    struct {
        term term;      /* under which somebody was seen open last */
        int count;      /* failovers, one soon after the other; 0: none was seen */
        msec opened_ms; /* when the last one ended */
    } flap;

    struct {
        msec past_ms; /* the store was first seen to be of the past; 0: it is not */
    } recover;

    struct {
        int64_t stopped_for; /* revision of the failover key that we stopped for last */
        int64_t asked;       /* of the one that was seen last … */
        msec asked_ms;       /* … and when it was first: answers from before say nothing about it */
    } handover;

    struct {
        bool under_way;      /* operator's restart: stopped, to be started again */
        unsigned int deaths; /* of the postmaster when it began: another one runs when it is over */
        msec due_ms;         /* the operator wants to know by then; 0: no limit given, or answered */
        msec timeout_ms;     /* stands for primary_start_timeout until the leader runs again; 0: none given */
    } restart;
};
