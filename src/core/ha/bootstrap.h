/*
 * The birth of a cluster.
 *
 * Whoever creates the `initialize` key first bootstraps; the others wait for a leader and clone. The
 * claim hangs on the claimant's lease, so a claimant that dies frees it. The steps are told apart by
 * what is on disk (a marker beside the data directory lasts until users and scripts are done), so an
 * agent that restarts in the middle starts over. What it finds then is moved out of the way, not removed: it may have
 * been replaced by something better.
 */
#pragma once

#include "core/ha/decide.h"

/* Nothing runs: give up what an unfinished bootstrap left. */
void bootstrap_discard(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p);
/* Nobody leads: there is no cluster yet, or we are in the middle of making one, and what is here has a part in it. */
bool bootstrap_is_due(const struct ha_view *v);
void bootstrap_decide(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p);

/* What observe() tells: every view, ends of jobs. */
void bootstrap_seen(struct ha_memory *m, const struct ha_view *v);
void bootstrap_ended(struct ha_memory *m, const struct ha_view *v);
void bootstrap_discard_ended(struct ha_memory *m, const struct ha_view *v);
