/*
 * Attempts that fail are spaced by a growing back-off: never a loop, never given up.
 *
 * One per kind of attempt, in memory; losing it costs an attempt that is too early.
 */
#pragma once

#include <stdbool.h>

#include "base/time.h"

struct ha_view;
struct ha_plan;

struct ha_backoff {
    int failures;       /* in a row */
    msec not_before_ms; /* of the next attempt; 0: at once */
};

/* One more failure: the wait doubles. */
void backoff_failed(struct ha_backoff *b, msec now_ms);
/* It succeeded, or there is a new reason to try. */
void backoff_reset(struct ha_backoff *b);

/* The next attempt is not due yet; the plan wakes when it is, why is the caller's. */
bool backoff_waits(const struct ha_backoff *b, const struct ha_view *v, struct ha_plan *p);
