/*
 * The promise of quorum mode: what this node has to write to its disk, and whether it has to freeze.
 *
 * A promise of term t is given to whoever calls for t: by the record in the store, or by the coordinator itself to
 * whom the record already gave that term (a node that is cut off from the store takes part by that). From the moment
 * it is on disk nothing of an earlier term is acknowledged, executed or followed here. There is no unfreeze: a freeze
 * ends when the record elects somebody under the promised term or a later one, whoever that is.
 *
 * Neither promise nor freeze is an action: they wait behind nothing. The shell carries them out with the fence, and
 * also while an action is under way.
 */
#pragma once

#include "core/ha/decide.h"

/*
 * Who, this node among them, promised a term later than the record's; NULL: nobody that is heard. It was called in a
 * record that is not this one: our picture of the store is late for a moment, or the store has been set back (restored
 * from a backup), and what the record says of the cohort is of the past.
 */
const char *promise_beyond(const struct ha_view *v, term of_record, term *ret_term);

/* The highest term that was promised, as far as this node has heard; a new one is above it. 0: none. */
term promise_highest(const struct ha_view *v);

void promise_decide(const struct ha_view *v, struct ha_plan *p);
