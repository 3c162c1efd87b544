/*
 * Upkeep: what follows a decision but decides nothing about leadership.
 *
 * PostgreSQL's files and reloads, slots, the history key, the config key of a cluster that has lost it.
 * Each is done when it is due, one request at a time, and again when it failed.
 */
#pragma once

#include "app/agent/state.h"

/* Returns when it wants to be called again if nothing else happens; MSEC_NEVER. */
msec upkeep(struct agent *a);
void upkeep_cancel(struct agent *a);
