/*
 * Switchover and manual failover, seen from the leader.
 *
 * The failover key asks; we check that somebody can take over, stop PostgreSQL in good order (a
 * checkpoint first, while clients still work), see that the successor has the shutdown record, and
 * only then let go of the key. Level-triggered: a leader that finds itself cleanly stopped while the
 * key still asks goes on from there, whoever stopped it.
 */
#pragma once

#include "core/ha/decide.h"

/* We are primary and the failover key is present. True if the plan is made. */
bool handover_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p);

/* We own the key, PostgreSQL is stopped and the failover key asks us to leave. True if the plan is made. */
bool handover_finish(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p);

/* Is there a member (other than us) that could lead, by its answer in a round since since_ms? */
bool handover_has_successor(const struct ha_view *v, const char *candidate, const char **ret_why_not);
