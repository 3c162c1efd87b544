#include "core/ha/duty.h"

#include "base/str.h"
#include "core/ha/bootstrap.h"
#include "core/ha/facts.h"
#include "core/ha/fence.h"
#include "core/ha/mode.h"

/* Read-only in time, by ourselves and in good order; the guard's fence is for the case that we cannot. */
static bool must_demote(const struct ha_view *v, const struct ha_fence *fence)
{
    if (v->conf.pause || !pg_may_be_primary(v) || v->pg.process != HA_PROC_RUNNING || leader_is_other(v))
        return false;
    if (v->pg.data == HA_DATA_BOOTSTRAPPING)
        return false;
    return fence->stop_ms != MSEC_NEVER && v->now_ms >= fence->stop_ms;
}

/* We stepped down as the failover key asked, and whoever was to follow has its time. */
static bool handed_over(const struct ha_memory *m, const struct ha_view *v)
{
    bool stepping_down = handover_is_asked(v) && v->store.cluster->failover.leader && m->leader.gone_ms &&
                         v->now_ms - m->leader.gone_ms < v->conf.loop_wait_ms;

    return pg_is_stopped(v) && stepping_down && str_eq(m->leader.name, v->conf.name);
}

/* The record's rules: there is no lease to lose, and nobody races for a key. */
static enum ha_duty quorum_duty_of(const struct ha_view *v)
{
    if (pg_is_halted(v) && !v->conf.pause)
        return DUTY_HALTED;
    if (mode_may_lead(v))
        return DUTY_REIGN;
    return leader_is_other(v) ? DUTY_FOLLOW : DUTY_STAY_UP;
}

enum ha_duty duty_of(const struct ha_memory *m, const struct ha_view *v, const struct ha_fence *fence)
{
    if (v->conf.witness)
        return DUTY_WITNESS;
    if (mode_must_freeze(v))
        return DUTY_FROZEN;
    if (!v->store.cluster)
        return DUTY_WAIT;
    if (mode_is_quorum(v))
        return quorum_duty_of(v);
    if (must_demote(v, fence))
        return DUTY_DEMOTE;
    if (pg_is_halted(v) && !v->conf.pause)
        return DUTY_HALTED;
    if (v->lease.owner)
        return v->conf.pause || fence_may_serve(m, v) ? DUTY_LEAD : DUTY_STAY_UP;
    if (leader_is_other(v))
        return DUTY_FOLLOW;
    if (leader_name(v))
        return DUTY_REATTACH;
    if (bootstrap_is_due(v))
        return DUTY_BIRTH;
    if (handed_over(m, v))
        return DUTY_HANDED_OVER;
    if (m->promotion.doubt && v->pg.process == HA_PROC_RUNNING)
        return DUTY_DOUBT;
    if (pg_is_standby(v) || pg_is_primary(v))
        return DUTY_RACE;
    return DUTY_STAY_UP;
}
