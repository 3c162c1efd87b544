/*
 * A plan as the expected lines of a script.
 */
#pragma once

#include "base/buf.h"
#include "core/ha/plan.h"

void print_plan(struct buf *out, const struct ha_plan *p, msec now_ms);
