/*
 * The cycle: gather a view, decide, arm the fence, publish, act.
 *
 * A wake makes one cycle run before the loop waits again. Actions of a plan run in order; the first
 * that fails ends the plan, and the next cycle decides anew from what is then so. The fence is armed
 * before anything is executed and never waits.
 */
#pragma once

#include "app/agent/state.h"

void cycle_init(struct agent *a);
/* The plan's action under way is over; ok false ends the plan. */
void cycle_action_done(struct agent *a, bool ok);
void cycle_view(struct agent *a, struct ha_view *ret_view);
