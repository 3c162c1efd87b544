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

void promise_decide(const struct ha_view *v, struct ha_plan *p);
