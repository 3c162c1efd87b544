/*
 * Successive failovers: a link that comes and goes must not take the leadership with it each time.
 *
 * A failover soon after one is no cure. So a leader that another has just taken over from is not suspected again
 * before again_ms have passed since it opened; three times as long after the next failover, nine times after the one
 * behind that, up to twenty times. A leader that stays open for twice what would have been waited for ends the
 * series.
 *
 * What its own agent says, that PostgreSQL died, waits for nothing; nor does an election that did not end, which has
 * its own patience. Each agent counts for itself what it sees in the record: one that was restarted has forgotten,
 * and the most forgetful one sets the pace.
 */
#pragma once

#include "core/ha/decide.h"

/* The record is of quorum mode; each time it is looked at. */
void flap_look(struct ha_memory *m, const struct ha_view *v);

/* Until then nobody who is open now is suspected but by its own word; 0: no failover was seen lately. */
msec flap_hold_ms(const struct ha_memory *m, const struct ha_view *v);
