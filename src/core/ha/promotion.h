/*
 * The promotion of the node that took the leader key: pre_promote, a timeline's number, the job, and its doubts.
 *
 * A promotion that did not end well may still happen: until the postmaster is gone, or seen as primary, PostgreSQL here
 * counts as one that may open.
 */
#pragma once

#include "core/ha/decide.h"

/* We own the key and PostgreSQL is in recovery. */
void promotion_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p);

/* The job is under way: is there progress? */
void promotion_watch(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p);

/* Several failed in a row under this term; another may try. */
bool promotion_in_vain(const struct ha_memory *m, const struct ha_view *v);

/* What observe() tells: the first view of this agent, another postmaster, every view, ends of jobs. */
void promotion_found(struct ha_memory *m, const struct ha_view *v);
void promotion_died(struct ha_memory *m);
void promotion_seen(struct ha_memory *m, const struct ha_view *v);
void promotion_ended(struct ha_memory *m, const struct ha_view *v);
void promotion_pre_ended(struct ha_memory *m, const struct ha_view *v);
