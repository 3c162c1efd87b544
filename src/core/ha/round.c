#include "core/ha/round.h"

#include "base/mutant.h"

bool round_is_open(const struct ha_view *v)
{
    return v->peers.asked_ms && !v->peers.complete;
}

bool round_is_known(const struct ha_view *v, msec since_ms, msec age_ms_max)
{
    if (MUTANT(OLD_ANSWERS))
        return v->peers.asked_ms && v->peers.complete;
    return v->peers.asked_ms && v->peers.asked_ms >= since_ms && v->peers.complete &&
           v->now_ms - v->peers.asked_ms <= age_ms_max;
}

bool round_have(const struct ha_view *v, struct ha_plan *p, msec since_ms, msec age_ms_max)
{
    if (round_is_known(v, since_ms, age_ms_max))
        return true;

    if (!round_is_open(v) || v->peers.asked_ms < since_ms)
        (void)plan_add(p, HA_DO_ASK_PEERS);
    plan_wake(p, v->now_ms + ROUND_AGAIN_MS);
    return false;
}

void round_again(const struct ha_view *v, struct ha_plan *p, msec since_ms)
{
    bool before = v->peers.asked_ms < since_ms;

    /* The end of a round is a wake: the next one is not asked before its time. */
    if (!round_is_open(v) && (before || v->now_ms - v->peers.asked_ms >= ROUND_AGAIN_MS))
        (void)plan_add(p, HA_DO_ASK_PEERS);
    plan_wake(p, v->now_ms + ROUND_AGAIN_MS);
}
