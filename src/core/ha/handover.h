/*
 * Switchover and manual failover, seen from the leader.
 *
 * The failover key asks; we check that somebody can take over, stop PostgreSQL in good order (a checkpoint
 * first, while clients still work), and let go of the key once the shutdown checkpoint is written, saying where
 * it is: the successor takes the key when it has it. Level-triggered: a leader that finds itself cleanly
 * stopped while the key still asks goes on from there, whoever stopped it.
 */
#pragma once

#include "core/ha/decide.h"

/* We are primary and the failover key is present. True if the plan is made. */
bool handover_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p);

/* We own the key, PostgreSQL has shut down and the failover key asks us to leave. True if the plan is made. */
bool handover_finish(const struct ha_view *v, struct ha_plan *p);

/* Is there a member (other than us) that could lead, by its answer in a round since since_ms? */
bool handover_has_successor(const struct ha_view *v, const char *candidate, const char **ret_why_not);
