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

/* What observe() tells: another postmaster, every view. */
void lead_died(struct ha_memory *m);
void lead_seen(struct ha_memory *m, const struct ha_view *v);
