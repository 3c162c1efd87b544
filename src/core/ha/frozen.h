/*
 * What a node does under a promise that nobody has been elected for yet: nothing of its own. It keeps PostgreSQL where
 * its position can be read and proved final, and waits for the record.
 */
#pragma once

#include "core/ha/decide.h"

void frozen_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p);
