#include "core/ha/observe.h"

#include "base/check.h"
#include "base/str.h"
#include "core/ha/facts.h"

enum {
    UP_MS = 10000, /* a server that ran that long did start */
    /* What makes initdb fail lasts, and each attempt leaves a directory: the first failure waits like a fourth one. */
    BOOTSTRAP_FAILURES = 3,
};

/* The newest store revision that only an owner of the key can have caused. */
static int64_t newest_beat(const struct cluster *c, const char *leader)
{
    int64_t beat = c->status.mod_revision > c->beat_revision ? c->status.mod_revision : c->beat_revision;

    if (c->record.present && str_eq(c->record.leader, leader) && c->record.mod_revision > beat)
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
    str_copy(m->leader, sizeof(m->leader), name);
    m->leader_new_ms = v->now_ms;
    m->leader_sign = 0;
    m->rejoin = HA_REJOIN_UNKNOWN;
    m->rewind_failures = 0;
    backoff_reset(&m->rejoin_backoff);
}

static void leader_present(struct ha_memory *m, const struct ha_view *v)
{
    const struct cluster *c = v->store.cluster;
    int64_t sign = newest_sign(c);

    if (!str_eq(m->leader, c->leader))
        leader_changes(m, v, c->leader);
    if (sign != m->leader_sign) {
        m->leader_sign = sign;
        m->leader_alive_ms = msec_max(v->store.read_ms, m->started_ms);
    }
    m->leader_key = c->leader_revision;
    m->leader_gone_ms = 0;
    m->leader_released = false;
}

bool observe_record_stands(const struct ha_memory *m, const struct ha_view *v)
{
    const struct record_key *record = &v->store.cluster->record;

    return record->present && str_eq(record->leader, m->leader) && record->mod_revision >= m->leader_key;
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

    if (!m->leader_gone_ms)
        m->leader_gone_ms = v->now_ms;
    if (!m->leader[0] && c->record.present)
        str_copy(m->leader, sizeof(m->leader), c->record.leader);

    /* A whole reign that we did not see. */
    bool missed = m->leader[0] && c->record.present && !str_eq(c->record.leader, m->leader) &&
                  c->record.mod_revision > m->leader_sign;
    if (missed)
        leader_changes(m, v, c->record.leader);

    /* Beats that we see only now, when the key is gone again: from the last one on the lease may hold for a ttl. */
    int64_t beat = m->leader[0] ? newest_beat(c, m->leader) : 0;
    if (beat > m->leader_sign) {
        m->leader_sign = beat;
        m->leader_alive_ms = msec_max(v->store.read_ms, m->started_ms);
    }

    if (v->store.failsafe_heard_ms > m->leader_alive_ms) {
        str_copy(m->leader, sizeof(m->leader), v->store.failsafe_heard_from);
        m->leader_alive_ms = v->store.failsafe_heard_ms;
    }

    /*
     * Patroni deletes the key and keeps its member key, which hangs on the same lease. One of ours says so in
     * the record: a key that somebody else removed is not given up.
     */
    const struct member *last = m->leader[0] ? cluster_member(c, m->leader) : NULL;
    bool kept_lease = last && last->lease && !last->pgkeep;
    bool recorded = c->record.released && observe_record_stands(m, v);
    msec until_ms;
    if (observe_promised(v, &until_ms)) {
        m->leader_released = false;
        return;
    }
    m->leader_released = recorded || kept_lease || str_eq(m->leader, v->conf.name);
}

/*
 * An agent before us may have granted a stay that we know nothing of. A leader of Patroni's leaves no record, and one
 * that has lost the store no key; only a key that we have seen is about the last leader.
 */
static bool stay_may_be_forgotten(const struct ha_memory *m, const struct ha_view *v)
{
    const json_t *asked = v->store.cluster->failsafe;
    size_t others = json_object_size(asked) - (json_object_get(asked, v->conf.name) != NULL);

    return v->conf.failsafe_mode && others > 0 && !m->leader_key;
}

bool observe_past_is_unknown(const struct ha_memory *m, const struct ha_view *v)
{
    return !m->leader[0] && str_empty(v->store.cluster->initialize);
}

bool observe_key_is_free(const struct ha_memory *m, const struct ha_view *v, msec *ret_when_ms)
{
    if (observe_past_is_unknown(m, v)) {
        *ret_when_ms = m->leader_gone_ms + v->conf.ttl_ms;
        return v->now_ms >= *ret_when_ms;
    }
    *ret_when_ms = stay_may_be_forgotten(m, v) ? m->started_ms + v->conf.ttl_ms : v->now_ms;
    if (!m->leader[0] || m->leader_released)
        return v->now_ms >= *ret_when_ms;

    bool by_promise = v->store.failsafe_heard_ms && m->leader_alive_ms == v->store.failsafe_heard_ms;
    msec ended_ms = m->leader_alive_ms + (by_promise ? promise_ms(v) : v->conf.ttl_ms);
    *ret_when_ms = msec_max(*ret_when_ms, ended_ms);
    return v->now_ms >= *ret_when_ms;
}

static void start_ended(struct ha_memory *m, const struct ha_view *v)
{
    if (v->job.state == HA_JOB_OK) {
        m->up_since_ms = v->now_ms;
        m->reinitializing = false; /* it runs: whatever was to be replaced has been, or the leader went away first */
    } else {
        backoff_failed(&m->start_backoff, v->now_ms);
    }
}

static void rejoin_ended(struct ha_memory *m, const struct ha_view *v)
{
    bool ok = v->job.state == HA_JOB_OK;

    if (v->job.kind == HA_JOB_CHECK_REJOIN && ok) {
        m->rejoin = v->job.verdict;
        backoff_reset(&m->rejoin_backoff);
        str_copy(m->rejoin_leader, sizeof(m->rejoin_leader), m->leader);
        return;
    }
    if (ok) { /* rewound: nothing of the old history is left */
        m->rejoin = HA_REJOIN_FOLLOW;
        str_copy(m->rejoin_leader, sizeof(m->rejoin_leader), m->leader);
        m->rewind_failures = 0;
        backoff_reset(&m->rejoin_backoff);
        return;
    }
    if (v->job.kind == HA_JOB_REWIND && !v->job.nothing_done)
        m->rewind_failures++;
    backoff_failed(&m->rejoin_backoff, v->now_ms);
}

static void clone_ended(struct ha_memory *m, const struct ha_view *v)
{
    if (v->job.state == HA_JOB_FAILED) {
        backoff_failed(&m->clone_backoff, v->now_ms);
        return;
    }
    backoff_reset(&m->clone_backoff);
    m->reinitializing = false;
    m->rejoin = HA_REJOIN_FOLLOW;
    str_copy(m->rejoin_leader, sizeof(m->rejoin_leader), m->leader);
}

static void bootstrap_ended(struct ha_memory *m, const struct ha_view *v)
{
    m->bootstrap_ours = true;
    if (v->job.state == HA_JOB_OK) {
        m->bootstrapping = true;
        return;
    }
    m->bootstrapping = false;
    if (!m->bootstrap_backoff.failures)
        m->bootstrap_backoff.failures = BOOTSTRAP_FAILURES;
    backoff_failed(&m->bootstrap_backoff, v->now_ms);
}

static void promotion_ended(struct ha_memory *m, const struct ha_view *v)
{
    if (m->promote_term != v->lease.term)
        m->promote_failures = 0;
    m->promote_term = v->lease.term;
    m->promote_doubt = v->job.state != HA_JOB_OK;
    m->promote_failures = m->promote_doubt ? m->promote_failures + 1 : 0;
}

/* What was received and not replayed yet comes before it opens. */
static void promotion_seen(struct ha_memory *m, const struct ha_view *v)
{
    if (!job_runs(v, HA_JOB_PROMOTE))
        return;
    if (m->promote_moved_ms < v->job.since_ms) {
        m->promote_moved_ms = v->job.since_ms;
        m->promote_replayed = v->pg.replayed;
    } else if (v->pg.replayed > m->promote_replayed) {
        m->promote_moved_ms = v->now_ms;
        m->promote_replayed = v->pg.replayed;
    }
}

/* Take in the result of a job once. */
static void job_ended(struct ha_memory *m, const struct ha_view *v)
{
    if (v->job.state == HA_JOB_IDLE || v->job.state == HA_JOB_RUNNING || v->job.id == m->job_seen)
        return;
    m->job_seen = v->job.id;

    switch (v->job.kind) {
    case HA_JOB_START:
        start_ended(m, v);
        break;
    case HA_JOB_CHECK_REJOIN:
    case HA_JOB_REWIND:
        rejoin_ended(m, v);
        break;
    case HA_JOB_CLONE:
        clone_ended(m, v);
        break;
    case HA_JOB_BOOTSTRAP:
    case HA_JOB_POST_BOOTSTRAP:
        bootstrap_ended(m, v);
        break;
    case HA_JOB_PRE_PROMOTE:
        m->pre_promote_ok = v->job.state == HA_JOB_OK;
        m->pre_promote_term = v->lease.term;
        if (!m->pre_promote_ok)
            m->stand_back_until_ms = v->now_ms + v->conf.ttl_ms;
        break;
    case HA_JOB_DISCARD:
        m->rejoin = HA_REJOIN_UNKNOWN;
        if (v->job.state == HA_JOB_FAILED) {
            backoff_failed(&m->discard_backoff, v->now_ms);
        } else {
            backoff_reset(&m->discard_backoff);
            m->bootstrap_ours = false;
        }
        break;
    case HA_JOB_PROMOTE:
        promotion_ended(m, v);
        break;
    case HA_JOB_NONE:
    case HA_JOB_STOP:
        break;
    }
}

static void postgres_seen(struct ha_memory *m, const struct ha_view *v)
{
    if (v->pg.deaths != m->deaths) {
        m->deaths = v->pg.deaths;
        m->checkpoint_asked = false;
        m->opened_ms = 0;
        m->promote_doubt = m->found_fenced = false;
        m->rejoin = HA_REJOIN_UNKNOWN;
        /* A server that dies soon after each start is not started in a hot loop. */
        bool soon = v->job.kind != HA_JOB_STOP && m->up_since_ms && v->now_ms - m->up_since_ms < UP_MS;
        if (soon && m->died_soon)
            backoff_failed(&m->start_backoff, v->now_ms);
        m->died_soon = soon; /* once is an accident */
    }
    if (m->up_since_ms && v->pg.process == HA_PROC_RUNNING && v->now_ms - m->up_since_ms >= UP_MS) {
        backoff_reset(&m->start_backoff);
    }
    if (v->lease.owner && !pg_is_primary(v) && v->pg.process != HA_PROC_RUNNING) {
        if (!m->crashed_ms)
            m->crashed_ms = v->now_ms;
    } else if (pg_is_primary(v) || !v->lease.owner) {
        m->crashed_ms = 0;
    }
    if (!m->restarting && v->pg.process == HA_PROC_RUNNING && v->pg.accepting)
        m->restart_timeout_ms = 0;
    /* A fence is never in force over a mere standby: the agent before us was promoting it, or about to. */
    if (m->found_fenced && (v->pg.standby_signal || pg_is_standby(v)))
        m->promote_doubt = true;
    if (m->promote_doubt || pg_is_primary(v))
        m->found_fenced = false;
    if (pg_is_primary(v))
        m->promote_doubt = false;
    bool may_open = pg_may_be_primary(v) || m->promote_doubt || job_runs(v, HA_JOB_PROMOTE) || v->lease.owner;
    if (leader_is_other(v) && may_open) {
        if (!m->rival_ms)
            m->rival_ms = v->now_ms;
    } else {
        m->rival_ms = 0;
    }
}

void observe(struct ha_memory *m, const struct ha_view *v)
{
    if (!m->started_ms) {
        m->started_ms = v->now_ms;
        m->deaths = v->pg.deaths;
        m->found_fenced = v->lease.inherited_kill_ms && v->pg.process == HA_PROC_RUNNING;
    }
    CHECK(v->now_ms >= m->started_ms);

    if (v->store.cluster) {
        if (v->store.cluster->leader)
            leader_present(m, v);
        else
            leader_absent(m, v);
    }
    postgres_seen(m, v);
    if (job_runs(v, HA_JOB_BOOTSTRAP))
        m->bootstrapping = true;
    promotion_seen(m, v);
    job_ended(m, v);
}
