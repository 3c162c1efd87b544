/*
 * Acts: what each action of a plan does. One table; every action ends by cycle_action_done().
 */
#pragma once

#include "app/agent/state.h"

void act(struct agent *a, const struct ha_action *action);
