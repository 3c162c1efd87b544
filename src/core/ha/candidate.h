/*
 * Who can lead, by its answer in the newest round, and which of two is the better choice.
 *
 * One list for all who ask: the race, a leader that is down, a handover.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/ha/view.h"

/* May this member become primary as far as its answer and its tags go? Says why not. */
bool candidate_may_lead(const struct ha_view *v, const struct member *member, const char **ret_why_not);

/*
 * Is there a member, other than us, that may lead and take over from us: on our timeline, and not more than
 * maximum_lag_on_failover behind? name: only this one; NULL: any. Why not is that of the last one looked at.
 */
bool candidate_successor(const struct ha_view *v, const char *name, const char **ret_why_not);

/* What makes one better than another. */
struct candidate_merit {
    uint32_t timeline; /* 0: not told */
    lsn position;
    int failover_priority;
};

enum candidate_edge {
    CANDIDATE_NO_EDGE,
    CANDIDATE_TIMELINE, /* a later one, however far the other went on its own */
    CANDIDATE_POSITION,
    CANDIDATE_PRIORITY, /* as far, and preferred */
};

/* In what a is better than b. */
enum candidate_edge candidate_better(const struct candidate_merit *a, const struct candidate_merit *b);
