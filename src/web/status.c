#include "web/status.h"

#include <jansson.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "web/health.h"

enum { STATUS_V = 1 };

/* Names that PostgreSQL lets people choose need not be UTF-8; JSON has to be. */
static json_t *text_or_null(const char *text)
{
    if (!text)
        return json_null();

    json_t *value = json_string(text);
    if (!value) {
        AUTO(cstr) char *plain = str_dup(text);
        for (char *at = plain; *at; at++) {
            if ((unsigned char)*at >= 0x80)
                *at = '?';
        }
        value = json_string(plain);
    }
    CHECK(value);
    return value;
}

/* Takes the reference. */
static void set(json_t *object, const char *key, json_t *value)
{
    int failed = json_object_set_new(object, key, value);
    CHECK(!failed);
}

/* What the agent handed over as JSON text; a text that is none is left out. */
static void set_json(json_t *object, const char *key, const char *text)
{
    json_t *value = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;

    if (value)
        set(object, key, value);
}

static json_t *xlog(const struct snapshot *s)
{
    json_t *x = json_object();

    if (!s->in_recovery) {
        set(x, "location", json_integer((json_int_t)s->location));
        return x;
    }

    lsn received = s->received_location ? s->received_location : s->replayed_location;
    set(x, "received_location", json_integer((json_int_t)received));
    set(x, "replayed_location", json_integer((json_int_t)s->replayed_location));
    set(x, "replayed_timestamp", text_or_null(s->replayed_timestamp));
    set(x, "paused", json_boolean(s->replay_paused));
    return x;
}

static json_t *replication(const struct snapshot *s)
{
    json_t *rows = json_array();

    for (size_t i = 0; i < s->walsender_count; i++) {
        const struct snapshot_walsender *w = &s->walsenders[i];
        json_t *row = json_object();

        set(row, "usename", text_or_null(w->usename));
        set(row, "application_name", text_or_null(w->application_name));
        set(row, "client_addr", text_or_null(w->client_addr));
        set(row, "state", text_or_null(w->state));
        set(row, "sync_state", text_or_null(w->sync_state));
        set(row, "sync_priority", json_integer(w->sync_priority));
        int failed = json_array_append_new(rows, row);
        CHECK(!failed);
    }
    return rows;
}

/* What only PostgreSQL itself can say. */
static void set_facts(json_t *status, const struct snapshot *s, enum node_role role)
{
    set(status, "postmaster_start_time", text_or_null(s->postmaster_start_time));
    set(status, "role", json_string(node_role_text(role)));
    set(status, "server_version", json_integer(s->server_version));
    set(status, "xlog", xlog(s));
    if (role == ROLE_REPLICA && s->quorum_standby)
        set(status, "quorum_standby", json_true());
    else if (role == ROLE_REPLICA && s->sync_standby)
        set(status, "sync_standby", json_true());
    set(status, "timeline", s->timeline ? json_integer(s->timeline) : json_null());
    if (s->replication_state)
        set(status, "replication_state", text_or_null(s->replication_state));
    if (s->walsender_count > 0)
        set(status, "replication", replication(s));
}

/* What is left of the lease; null where it has no end (in pause). */
static json_t *lease_left(const struct snapshot *s, msec now_ms)
{
    if (!snapshot_lease_held(s, now_ms))
        return json_integer(0);
    return s->lease_deadline_ms == MSEC_NEVER ? json_null() : json_integer(s->lease_deadline_ms - now_ms);
}

/* Mode, and in quorum mode how far the record has come and what this node has promised. */
static void set_quorum(json_t *p, const struct snapshot_quorum *q)
{
    if (!q->known)
        return;
    set(p, "mode", json_string(record_mode_text(q->mode)));
    if (q->mode == RECORD_QUORUM) {
        json_t *cohort = json_object();
        set(cohort, "members", json_integer((json_int_t)q->cohort_members));
        set(cohort, "k", json_integer(q->cohort_k));
        if (q->joining)
            set(cohort, "changing", json_true());
        set(p, "phase", json_string(record_phase_text(q->phase)));
        set(p, "cohort", cohort);
    }
    if (q->promised)
        set(p, "promised", json_integer((json_int_t)q->promised));
    if (q->frozen)
        set(p, "frozen", json_true());
}

/* What breaks the promise from inside, where something does. */
static void set_broken(json_t *p, const struct breaches *b)
{
    if (b->count)
        set(p, "broken", breaches_json(b));
    if (b->left_out)
        set(p, "broken_left_out", json_integer((json_int_t)b->left_out));
}

static json_t *ours(const struct snapshot *s, msec now_ms)
{
    json_t *p = json_object();

    set(p, "v", json_integer(STATUS_V));
    set(p, "version", text_or_null(s->version));
    set(p, "agent", text_or_null(s->agent_id));
    set(p, "seq", json_integer((json_int_t)s->seq));
    set(p, "age_ms", json_integer(msec_max(0, now_ms - s->taken_ms)));
    set(p, "term", json_integer((json_int_t)s->term));
    set(p, "lease_ms", lease_left(s, now_ms));
    set(p, "writable", json_boolean(health_node(s, now_ms).known && s->writable));
    set_quorum(p, &s->quorum);
    set_broken(p, &s->broken);
    set_json(p, "clone", s->clone_progress);
    return p;
}

char *status_text(const struct snapshot *s, msec now_ms)
{
    struct health_node n = health_node(s, now_ms);
    json_t *status = json_object();
    json_t *tags = s->tags ? json_loads(s->tags, 0, NULL) : NULL;

    set(status, "state", json_string(node_state_text(n.state)));
    if (n.known)
        set_facts(status, s, n.role);
    else
        set(status, "role", json_string(node_role_text(n.role)));

    if (s->pause)
        set(status, "pause", json_true());
    if (s->cluster_unlocked || !s->store_known)
        set(status, "cluster_unlocked", json_true());
    if (s->failsafe_mode_is_active)
        set(status, "failsafe_mode_is_active", json_true());
    set(status, "dcs_last_seen", json_integer(s->dcs_last_seen));

    if (json_object_size(tags) > 0)
        set(status, "tags", json_incref(tags));
    json_decref(tags);
    if (s->system_identifier)
        set(status, "database_system_identifier", text_or_null(s->system_identifier));
    if (s->pending_restart) {
        set(status, "pending_restart", json_true());
        set_json(status, "pending_restart_reason", s->pending_restart_reason);
    }
    json_t *patroni = json_object();
    set(patroni, "version", text_or_null(s->told_version));
    set(patroni, "scope", text_or_null(s->scope));
    set(patroni, "name", text_or_null(s->name));
    set(status, "patroni", patroni);
    set_json(status, "scheduled_restart", s->scheduled_restart);
    if (s->watchdog_failed)
        set(status, "watchdog_failed", json_true());
    set(status, "pgkeep", ours(s, now_ms));

    /* Python's form: blanks after colons and commas, nothing but ASCII. */
    char *text = json_dumps(status, JSON_ENSURE_ASCII);
    CHECK(text);
    json_decref(status);
    return text;
}
