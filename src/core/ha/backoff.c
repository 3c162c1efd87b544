#include "core/ha/backoff.h"

#include "core/ha/plan.h"
#include "core/ha/view.h"

enum {
    BACKOFF_MS_MIN = 1000,   /* after the first failure */
    BACKOFF_MS_MAX = 300000, /* an operator who looks after five minutes sees a fresh attempt and its message */
};

static msec wait_ms(int failures)
{
    msec wait_ms = BACKOFF_MS_MIN;

    for (int i = 1; i < failures && wait_ms < BACKOFF_MS_MAX; i++)
        wait_ms *= 2;
    return msec_min(wait_ms, BACKOFF_MS_MAX);
}

void backoff_failed(struct ha_backoff *b, msec now_ms)
{
    b->failures++;
    b->not_before_ms = now_ms + wait_ms(b->failures);
}

void backoff_reset(struct ha_backoff *b)
{
    *b = (struct ha_backoff){0};
}

bool backoff_waits(const struct ha_backoff *b, const struct ha_view *v, struct ha_plan *p)
{
    if (v->now_ms >= b->not_before_ms)
        return false;
    plan_wake(p, b->not_before_ms);
    return true;
}
