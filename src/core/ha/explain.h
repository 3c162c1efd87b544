/*
 * What people ask before anything happens: who could be promoted this moment, and what if a node were lost?
 *
 * The answers come from the rules themselves (election.h, failover.h, candidate.h) over the view of the node that is
 * asked, as if each node that is up were frozen where it was heard last. Positions move until a freeze: who is ahead
 * now need not be then, so those that are as good are named, too. Names point into the view.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/ha/view.h"

enum { EXPLAIN_WHY_MAX = 320 };

struct explain_node {
    const char *name;
    bool leads;
    bool can;                  /* … be promoted this moment, if the leader were gone */
    char why[EXPLAIN_WHY_MAX]; /* … or why not; completes "n1 …" */
    msec age_ms;               /* since it was heard; MSEC_NEVER: never */
    uint32_t timeline;         /* 0: not known */
    lsn position;              /* 0: not known */
    bool acknowledges;         /* a commit may count on it */
    bool nofailover;
};

struct explain {
    bool by_quorum;
    bool paused;
    const char *leader; /* NULL: nobody */
    term term;
    bool possible;             /* somebody could take over from the leader now */
    char why[EXPLAIN_WHY_MAX]; /* what decides, or why nobody could */
    struct explain_node at[HA_PEERS_MAX];
    size_t count; /* sorted by name */
};

void explain_now(const struct ha_view *v, struct explain *ret);

struct explain_loss {
    bool known; /* there is a node of that name; nothing below is set otherwise */
    bool by_quorum;
    bool leads;
    bool possible;                    /* somebody takes over; of one that does not lead: the leader goes on */
    const char *winner;               /* as they are now; NULL: nobody, or nobody has to be */
    const char *equals[HA_PEERS_MAX]; /* any of these may win instead: it depends on the moment */
    size_t equal_count;
    char why[EXPLAIN_WHY_MAX];  /* what decides, or why nothing happens */
    char risk[EXPLAIN_WHY_MAX]; /* what would be lost, or would have to wait */
};

void explain_if_lost(const struct ha_view *v, const char *name, struct explain_loss *ret);
