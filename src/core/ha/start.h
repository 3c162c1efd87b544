/*
 * Starts of PostgreSQL, whoever wants them: a server that falls soon after each start is not started in a hot loop.
 */
#pragma once

#include "core/ha/decide.h"

/* The next start is not due yet; says why. */
bool start_waits(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p);

/* What observe() tells: another postmaster, every view, the end of the job. */
void start_died(struct ha_memory *m, const struct ha_view *v);
void start_seen(struct ha_memory *m, const struct ha_view *v);
void start_ended(struct ha_memory *m, const struct ha_view *v);
