/*
 * A plan as the expected lines of a script.
 */
#pragma once

#include "base/buf.h"
#include "core/ha/plan.h"

/* One action of it, a line. */
void print_action(struct buf *out, const struct ha_action *a, const struct ha_plan *p);
void print_plan(struct buf *out, const struct ha_plan *p, msec now_ms);
