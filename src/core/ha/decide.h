/*
 * ha_decide: from the whole observed state to the next steps. Pure.
 *
 * Level-triggered: every cycle decides from the whole view, so that a restart of the agent at any line
 * is survivable; what memory.h holds may be lost at any time.
 */
#pragma once

#include "core/ha/memory.h"
#include "core/ha/plan.h"
#include "core/ha/view.h"

/* After a promotion clients come first: what nobody waits for (a checkpoint, the failover key) comes later. */
enum { HA_OPENED_MS = 1000 };

void ha_memory_init(struct ha_memory *m);

/* Fill *ret_plan from scratch. It is all zero or one of before; plan_reset() frees the last one. */
void ha_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *ret_plan);

/* Only what must never wait: observe, fence, renewal, failsafe. For the time an action is under way. */
void ha_keep_lease(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p);

/* Invariants of memory and plan; aborts when broken. Scenario runner and simulator call it after every step. */
void ha_check(const struct ha_memory *m, const struct ha_view *v, const struct ha_plan *p);
