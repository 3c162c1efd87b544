/*
 * An operator's restart: stop in good order, start in the same role, answer.
 *
 * The leader keeps its key meanwhile. The start is the ordinary duty of whoever finds its PostgreSQL
 * stopped; this is the beginning and the end.
 */
#pragma once

#include "core/ha/decide.h"

/* PostgreSQL runs: begin a restart that is asked for, or answer one that is over. True if the plan is made. */
bool restart_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p);

/* PostgreSQL is stopped for good: no restart any more, and nobody is told. */
void restart_forget(struct ha_memory *m);

/* What observe() tells: every view. */
void restart_seen(struct ha_memory *m, const struct ha_view *v);

/* It did not come up again: answered, not forgotten. Or not in time: told, while it goes on. */
void restart_check_failed(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p);
