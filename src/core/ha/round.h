/*
 * One question to all members, and when its answers will do.
 *
 * Several duties ask the members, wait, and decide by the answers: the race, a leader that is down, a handover, a
 * standby that wants its leader's word. What a round says is as of its beginning, so a cause that is younger asks anew.
 * The shell ends every round by its own deadline; that is a wake.
 */
#pragma once

#include <stdbool.h>

#include "core/ha/plan.h"
#include "core/ha/view.h"

enum {
    ROUND_AGE_MS = 1500,   /* answers older than this may hide a member that moved on */
    ROUND_AGAIN_MS = 1000, /* what a member says next differs from what it said so long ago; less would be a hot loop */
};

/* A round is under way: asked, and neither answered by all nor at its end. */
bool round_is_open(const struct ha_view *v);

/* The answers of a round that began at or after since_ms (its cause), not longer than age_ms_max ago, are here. */
bool round_is_known(const struct ha_view *v, msec since_ms, msec age_ms_max);

/*
 * As round_is_known(). False: it is asked now, or under way; one that is under way and began before its cause is asked
 * over. The plan wakes in time, why is the caller's.
 */
bool round_have(const struct ha_view *v, struct ha_plan *p, msec since_ms, msec age_ms_max);

/*
 * The answers that are here do not do (nobody can, not the one we wait for): ask again, unless a round is under way or
 * the last one began less than ROUND_AGAIN_MS ago, and after since_ms. The plan wakes in time, why is the caller's.
 */
void round_again(const struct ha_view *v, struct ha_plan *p, msec since_ms);
