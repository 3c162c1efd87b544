#include "core/ha/facts.h"

#include <stdio.h>

#include "base/str.h"
#include "core/ha/minor.h"
#include "core/ha/mode.h"

enum { HALTED_MS = 5000 };        /* somebody looks at it with a debugger for a moment: bear that, no more */
enum { PROOF_AGE_MS_MAX = 5000 }; /* destructive work on the word of a leader heard longer ago would rest on memory */

bool pg_may_be_primary(const struct ha_view *v)
{
    if (v->pg.process != HA_PROC_RUNNING)
        return v->pg.process == HA_PROC_ORPHANS;
    if (v->pg.shut_down_at)
        return false;
    if (v->pg.answered && v->pg.accepting)
        return !v->pg.in_recovery;
    return !v->pg.standby_signal;
}

bool pg_is_primary(const struct ha_view *v)
{
    return v->pg.process == HA_PROC_RUNNING && v->pg.answered && v->pg.accepting && !v->pg.in_recovery;
}

bool pg_is_standby(const struct ha_view *v)
{
    return v->pg.process == HA_PROC_RUNNING && v->pg.answered && v->pg.accepting && v->pg.in_recovery;
}

bool pg_is_halted(const struct ha_view *v)
{
    return v->pg.process == HA_PROC_RUNNING && v->pg.halted_ms && v->now_ms - v->pg.halted_ms >= HALTED_MS;
}

bool pg_is_stopped(const struct ha_view *v)
{
    return v->pg.process == HA_PROC_NONE;
}

bool pg_was_primary(const struct ha_view *v)
{
    return v->pg.control == HA_CONTROL_SHUT_DOWN || v->pg.control == HA_CONTROL_UNCLEAN_PRIMARY;
}

bool job_runs(const struct ha_view *v, enum ha_job_kind kind)
{
    return v->job.state == HA_JOB_RUNNING && v->job.kind == kind;
}

const char *leader_name(const struct ha_view *v)
{
    return mode_leader(v);
}

const struct member *leader_member(const struct ha_view *v)
{
    return leader_name(v) ? cluster_member(v->store.cluster, leader_name(v)) : NULL;
}

bool leads(const struct ha_view *v)
{
    return mode_is_quorum(v) ? mode_may_lead(v) : v->lease.owner;
}

term leads_under(const struct ha_view *v)
{
    return mode_is_quorum(v) ? v->store.cluster->record.term : v->lease.term;
}

bool leader_is_other(const struct ha_view *v)
{
    return leader_name(v) && !str_eq(leader_name(v), v->conf.name);
}

const struct ha_peer *peer_answer(const struct ha_view *v, const char *name)
{
    for (size_t i = 0; i < v->peers.count; i++)
        if (str_eq(v->peers.at[i].name, name))
            return &v->peers.at[i];
    return NULL;
}

bool leader_is_proved(const struct ha_view *v)
{
    const struct ha_peer *leader = leader_name(v) ? peer_answer(v, leader_name(v)) : NULL;

    return leader && leader->answer == HA_ANSWER_YES && leader->running && leader->primary &&
           v->now_ms - v->peers.asked_ms <= PROOF_AGE_MS_MAX;
}

/* A version that is not known yet is not refused; no leader of it starts as a primary either (reign.c). */
static bool strict_is_unkept(const struct ha_view *v)
{
    return v->conf.sync_mode != HA_SYNC_OFF && v->conf.sync_strict && v->pg.server_version &&
           !minor_keeps_names(v->pg.server_version);
}

static void say_strict(const struct ha_view *v, char ret_why[UNKEPT_MAX])
{
    AUTO(cstr) char *why = minor_why_not_strict(v->pg.server_version);

    str_copy(ret_why, UNKEPT_MAX, why);
}

bool node_is_unfit(const struct ha_view *v, char ret_why[UNKEPT_MAX])
{
    const struct cluster *c = v->store.cluster;
    char why[RECORD_WHY_MAX];

    if (v->conf.refused)
        (void)snprintf(ret_why, UNKEPT_MAX, "%s promises what this program cannot keep yet", v->conf.refused);
    else if (strict_is_unkept(v))
        say_strict(v, ret_why);
    else if (c && record_key_is_opaque(&c->record))
        (void)snprintf(ret_why, UNKEPT_MAX, "the record in the store %s", record_key_why_opaque(&c->record, why));
    else
        return false;
    return true;
}

bool handover_is_asked(const struct ha_view *v)
{
    const struct failover_key *key = v->store.cluster ? &v->store.cluster->failover : NULL;

    if (!key || !key->present)
        return false;
    if (key->leader && !str_eq(key->leader, v->conf.name))
        return false;
    return !str_eq(key->candidate, v->conf.name);
}
