/*
 * Reach: does the leader's WAL get to the standbys that it counts on?
 *
 * Agents may hear each other while the way of the WAL is cut: one link of two, one direction, large packets. Silence
 * says nothing then. What says it is a standby whose WAL stands still though its leader tells of more on its disk: by
 * that a disk that hangs, or a cluster where nobody writes, is no cut.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/ha/decide.h"

/* Nothing has come to this standby for wal_ms, and the leader it follows has more: its WAL ends at leader_at. */
bool reach_stands_still(const struct ha_view *v, const struct peer_state *s, lsn leader_at);

struct reach {
    bool blocked; /* of the open cohort, or of the one it changes to, too few are reached: no commit is acknowledged */
    size_t reached; /* of that one: members to which WAL gets, or that have all there is */
    size_t cut;     /* members that are up, follow, and get nothing */
};

/* Positions that stand still wake nobody: look again by then. */
msec reach_look_again(const struct ha_view *v);

/* As the standbys' agents say, and `leader`, the state of the leader's own. The record is of quorum mode and OPEN. */
struct reach reach_of(const struct ha_view *v, const struct peer_state *leader);
