#include "core/ha/observe.h"

#include "base/check.h"
#include "base/mutant.h"
#include "base/str.h"
#include "core/ha/bootstrap.h"
#include "core/ha/facts.h"
#include "core/ha/lead.h"
#include "core/ha/mode.h"
#include "core/ha/peer_lease.h"
#include "core/ha/promotion.h"
#include "core/ha/rejoin.h"
#include "core/ha/restart.h"
#include "core/ha/start.h"

/* The newest store revision that only an owner of the key can have caused. */
static int64_t newest_beat(const struct cluster *c, const char *leader)
{
    int64_t beat = c->status.mod_revision > c->beat_revision ? c->status.mod_revision : c->beat_revision;
    bool its_own = c->record.present && str_eq(c->record.leader, leader) && !c->record.challenger;

    if (its_own && c->record.mod_revision > beat)
        beat = c->record.mod_revision;
    return beat;
}

/* The newest store revision that the leader itself must have caused. */
static int64_t newest_sign(const struct cluster *c)
{
    int64_t sign = newest_beat(c, c->leader);
    const struct member *member = cluster_leader_member(c);

    if (c->leader_revision > sign)
        sign = c->leader_revision;
    if (member && member->mod_revision > sign)
        sign = member->mod_revision;
    return sign;
}

static void leader_changes(struct ha_memory *m, const struct ha_view *v, const char *name)
{
    str_copy(m->leader.name, sizeof(m->leader.name), name);
    m->leader.new_ms = v->now_ms;
    m->leader.sign = 0;
    rejoin_leader_changes(m);
}

static void leader_present(struct ha_memory *m, const struct ha_view *v)
{
    const struct cluster *c = v->store.cluster;
    int64_t sign = newest_sign(c);

    if (!str_eq(m->leader.name, c->leader))
        leader_changes(m, v, c->leader);
    if (sign != m->leader.sign) {
        m->leader.sign = sign;
        m->leader.alive_ms = msec_max(v->store.read_ms, m->seen.started_ms);
    }
    m->leader.key = c->leader_revision;
    m->leader.gone_ms = 0;
    m->leader.released = false;
}

bool observe_record_stands(const struct ha_memory *m, const struct ha_view *v)
{
    const struct record_key *record = &v->store.cluster->record;

    return record->present && str_eq(record->leader, m->leader.name) && record->mod_revision >= m->leader.key;
}

/* How long a leader in failsafe mode may count on what we granted. Its ttl may be an older one than ours. */
static msec promise_ms(const struct ha_view *v)
{
    return msec_max(v->conf.ttl_ms, v->store.failsafe_heard_ttl_ms);
}

bool observe_promised(const struct ha_view *v, msec *ret_until_ms)
{
    if (!v->store.failsafe_heard_ms || str_eq(v->store.failsafe_heard_from, v->conf.name))
        return false;
    *ret_until_ms = v->store.failsafe_heard_ms + promise_ms(v);
    return v->now_ms < *ret_until_ms;
}

static void leader_absent(struct ha_memory *m, const struct ha_view *v)
{
    const struct cluster *c = v->store.cluster;

    if (!m->leader.gone_ms)
        m->leader.gone_ms = v->now_ms;
    if (!m->leader.name[0] && c->record.present)
        str_copy(m->leader.name, sizeof(m->leader.name), c->record.leader);

    /* A whole reign that we did not see. */
    bool missed = m->leader.name[0] && c->record.present && !str_eq(c->record.leader, m->leader.name) &&
                  c->record.mod_revision > m->leader.sign;
    if (missed)
        leader_changes(m, v, c->record.leader);

    /* Beats that we see only now, when the key is gone again: from the last one on the lease may hold for a ttl. */
    int64_t beat = m->leader.name[0] ? newest_beat(c, m->leader.name) : 0;
    if (beat > m->leader.sign) {
        m->leader.sign = beat;
        m->leader.alive_ms = msec_max(v->store.read_ms, m->seen.started_ms);
    }

    if (v->store.failsafe_heard_ms > m->leader.alive_ms) {
        str_copy(m->leader.name, sizeof(m->leader.name), v->store.failsafe_heard_from);
        m->leader.alive_ms = v->store.failsafe_heard_ms;
    }

    /*
     * Patroni deletes the key and keeps its member key, which hangs on the same lease. One of ours says so in
     * the record: a key that somebody else removed is not given up.
     */
    const struct member *last = m->leader.name[0] ? cluster_member(c, m->leader.name) : NULL;
    bool kept_lease = last && last->lease && !last->pgkeep;
    bool recorded = c->record.released && observe_record_stands(m, v);
    msec until_ms;
    if (observe_promised(v, &until_ms)) {
        m->leader.released = false;
        return;
    }
    m->leader.released = recorded || kept_lease || str_eq(m->leader.name, v->conf.name);
}

/* Our PostgreSQL runs as the primary that an agent before us fenced: such a one grants nothing. */
static bool led_before(const struct ha_view *v)
{
    return v->lease.inherited_kill_ms && pg_is_primary(v);
}

/*
 * An agent before us may have granted a stay that we know nothing of. A leader of Patroni's leaves no record, and one
 * that has lost the store no key; only a key that we have seen is about the last leader.
 */
static bool stay_may_be_forgotten(const struct ha_memory *m, const struct ha_view *v)
{
    const json_t *asked = v->store.cluster->failsafe;
    size_t others = json_object_size(asked) - (json_object_get(asked, v->conf.name) != NULL);

    return v->conf.failsafe_mode && others > 0 && !m->leader.key && !led_before(v) && !MUTANT(FAILSAFE_FORGOTTEN);
}

bool observe_past_is_unknown(const struct ha_memory *m, const struct ha_view *v)
{
    return !m->leader.name[0] && str_empty(v->store.cluster->initialize);
}

bool observe_key_is_free(const struct ha_memory *m, const struct ha_view *v, msec *ret_when_ms)
{
    if (observe_past_is_unknown(m, v)) {
        *ret_when_ms = m->leader.gone_ms + v->conf.ttl_ms;
        return v->now_ms >= *ret_when_ms;
    }
    *ret_when_ms = stay_may_be_forgotten(m, v) ? m->seen.started_ms + v->conf.ttl_ms : v->now_ms;
    if (!m->leader.name[0] || m->leader.released)
        return v->now_ms >= *ret_when_ms;

    bool by_promise = v->store.failsafe_heard_ms && m->leader.alive_ms == v->store.failsafe_heard_ms;
    msec ended_ms = m->leader.alive_ms + (by_promise ? promise_ms(v) : v->conf.ttl_ms);
    if (!MUTANT(KEY_TAKEN_AT_ONCE))
        *ret_when_ms = msec_max(*ret_when_ms, ended_ms);
    return v->now_ms >= *ret_when_ms;
}

/* Take in the result of a job once: each is told to those who wait for it. */
static void job_ended(struct ha_memory *m, const struct ha_view *v)
{
    if (v->job.state == HA_JOB_IDLE || v->job.state == HA_JOB_RUNNING || v->job.id == m->seen.job)
        return;
    m->seen.job = v->job.id;

    switch (v->job.kind) {
    case HA_JOB_START:
        start_ended(m, v);
        rejoin_start_ended(m, v);
        break;
    case HA_JOB_CHECK_REJOIN:
        rejoin_check_ended(m, v);
        break;
    case HA_JOB_REWIND:
        rejoin_rewind_ended(m, v);
        break;
    case HA_JOB_CLONE:
        rejoin_clone_ended(m, v);
        break;
    case HA_JOB_BOOTSTRAP:
    case HA_JOB_POST_BOOTSTRAP:
        bootstrap_ended(m, v);
        break;
    case HA_JOB_PRE_PROMOTE:
        promotion_pre_ended(m, v);
        break;
    case HA_JOB_DISCARD:
        rejoin_discard_ended(m, v);
        bootstrap_discard_ended(m, v);
        break;
    case HA_JOB_PROMOTE:
        promotion_ended(m, v);
        break;
    case HA_JOB_NONE:
    case HA_JOB_STOP:
        break;
    }
}

/* Another owns the key while PostgreSQL here may be a primary, or become one. */
static void rival_seen(struct ha_memory *m, const struct ha_view *v)
{
    bool may_open = pg_may_be_primary(v) || m->promotion.doubt || job_runs(v, HA_JOB_PROMOTE) || v->lease.owner;

    if (!leader_is_other(v) || !may_open)
        m->seen.rival_ms = 0;
    else if (!m->seen.rival_ms)
        m->seen.rival_ms = v->now_ms;
}

static void postgres_seen(struct ha_memory *m, const struct ha_view *v)
{
    if (v->pg.deaths != m->seen.deaths) {
        m->seen.deaths = v->pg.deaths;
        start_died(m, v);
        lead_died(m);
        promotion_died(m);
        rejoin_died(m);
    }
    start_seen(m, v);
    lead_seen(m, v);
    promotion_seen(m, v);
    restart_seen(m, v);
    bootstrap_seen(m, v);
}

/* In quorum mode nobody waits for a lease: the name is all there is to remember. */
static void leader_by_record(struct ha_memory *m, const struct ha_view *v)
{
    const char *name = leader_name(v);

    if (name && !str_eq(m->leader.name, name))
        leader_changes(m, v, name);
    m->leader.alive_ms = v->now_ms;
    m->leader.gone_ms = 0;
    m->leader.released = false;
}

void observe(struct ha_memory *m, const struct ha_view *v)
{
    if (!m->seen.started_ms) {
        m->seen.started_ms = v->now_ms;
        m->seen.deaths = v->pg.deaths;
        promotion_found(m, v);
    }
    CHECK(v->now_ms >= m->seen.started_ms);

    if (v->store.cluster) {
        if (mode_is_quorum(v))
            leader_by_record(m, v);
        else if (v->store.cluster->leader)
            leader_present(m, v);
        else
            leader_absent(m, v);
    }
    postgres_seen(m, v);
    rival_seen(m, v);
    job_ended(m, v);
    peer_lease_seen(m, v);
}
