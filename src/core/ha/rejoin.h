/*
 * The duties of a node that does not lead: come back, stay attached.
 *
 * A former primary is stopped, compared with the leader's history, and comes back by a plain start, by
 * pg_rewind, or by a clone, in that order; each step only on the word of a leader that proves it runs
 * as primary, and a data directory is given up only when configuration allows it. Attempts that fail
 * are spaced by a growing back-off: never a loop.
 */
#pragma once

#include "core/ha/decide.h"

/* Somebody else owns the leader key. */
void rejoin_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p);

/* Nobody owns it, or the store is away: keep a standby running so that it can be read and elected. */
void rejoin_stay_up(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p);

/* What observe() tells: another leader, another postmaster, ends of jobs. */
void rejoin_leader_changes(struct ha_memory *m);
void rejoin_died(struct ha_memory *m);
void rejoin_start_ended(struct ha_memory *m, const struct ha_view *v);
void rejoin_check_ended(struct ha_memory *m, const struct ha_view *v);
void rejoin_rewind_ended(struct ha_memory *m, const struct ha_view *v);
void rejoin_clone_ended(struct ha_memory *m, const struct ha_view *v);
void rejoin_discard_ended(struct ha_memory *m, const struct ha_view *v);
