/*
 * The duties of the node that owns the leader key.
 *
 * Be primary: promote if in recovery, restart in place after a crash (or give the key up, by
 * primary_start_timeout), hand over when asked, do what operators ask.
 */
#pragma once

#include "core/ha/decide.h"

/* We own the key and the lease lets us act. */
void lead_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p);

/* Of a leader whose PostgreSQL runs as primary, in every mode. True: that is all for this cycle. */
bool lead_chores(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p);
/* No rewind from us may start before there is a checkpoint on the new timeline (pg_rewind reads pg_control). */
void lead_checkpoint(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p);
/* PostgreSQL here is down, and may be what leads: as a primary, unless it was a standby about to be promoted. */
void lead_start(struct ha_plan *p, const struct ha_view *v, const char *why);

/* What observe() tells: another postmaster, every view. */
void lead_died(struct ha_memory *m);
void lead_seen(struct ha_memory *m, const struct ha_view *v);
