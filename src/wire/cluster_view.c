#include "wire/cluster_view.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"

/* Patroni's parse_bool: booleans, 1, and the usual words. */
static bool json_says_yes(const json_t *value)
{
    if (json_is_boolean(value))
        return json_is_true(value);
    if (json_is_integer(value))
        return json_integer_value(value) == 1;

    const char *text = json_string_value(value);
    return str_eq_nocase(text, "on") || str_eq_nocase(text, "true") || str_eq_nocase(text, "yes") || str_eq(text, "1");
}

bool cluster_is_paused(const struct cluster *c)
{
    return json_says_yes(json_object_get(c->config, "pause"));
}

bool cluster_is_standby(const struct cluster *c)
{
    const json_t *section = json_object_get(c->config, "standby_cluster");

    return json_object_get(section, "host") || json_object_get(section, "port") ||
           json_object_get(section, "restore_command");
}

bool cluster_is_quorum(const struct cluster *c)
{
    return !cluster_is_standby(c) &&
           str_eq_nocase(json_string_value(json_object_get(c->config, "synchronous_mode")), "quorum");
}

bool cluster_is_synchronous(const struct cluster *c)
{
    const json_t *mode = json_object_get(c->config, "synchronous_mode");

    return cluster_is_quorum(c) || (!cluster_is_standby(c) && json_says_yes(mode));
}

static bool acknowledges(const struct record_key *r, const char *name)
{
    for (size_t i = 0; i < r->open.count; i++)
        if (str_eq_nocase(r->open.at[i].name, name))
            return true;
    return false;
}

bool cluster_sync_lists(const struct cluster *c, const char *name)
{
    if (c->record.mode == RECORD_QUORUM) /* the key says it to Patroni's members, for whom it is another question */
        return acknowledges(&c->record, name);

    const char *at = c->sync.present ? c->sync.sync_standby : NULL;
    size_t name_len = strlen(name);

    while (at && *at) {
        size_t len = strcspn(at, ",");
        if (len == name_len && strncasecmp(at, name, len) == 0)
            return true;
        at += len;
        at += *at == ',';
    }
    return false;
}

bool member_is_witness(const struct member *m)
{
    return m->pgkeep && json_says_yes(json_object_get(m->tags.all, "witness"));
}

static const char *view_role(const struct cluster *c, const struct member *m)
{
    if (member_is_witness(m))
        return "witness";
    if (str_eq(m->name, c->leader))
        return cluster_is_standby(c) ? "standby_leader" : "leader";
    if (cluster_is_synchronous(c) && cluster_sync_lists(c, m->name))
        return cluster_is_quorum(c) ? "quorum_standby" : "sync_standby";
    return "replica";
}

/* Patroni shows how a standby replicates rather than that it runs. */
static const char *view_state(const struct member *m, const char *role)
{
    if (str_eq(role, "witness"))
        return "running"; /* its agent does: else it had no key */
    if (!str_eq(role, "leader") && !str_empty(m->replication_state))
        return m->replication_state;
    return m->state ? m->state : "";
}

static void view_position(json_t *row, const char *kind, lsn optime, lsn at)
{
    char lsn_key[32], lag_key[32], text[LSN_TEXT_MAX];

    (void)snprintf(lsn_key, sizeof(lsn_key), "%slsn", kind); /* kind is one of three short words */
    (void)snprintf(lag_key, sizeof(lag_key), "%slag", kind);
    json_object_set_new(row, lsn_key, json_string(at ? lsn_text(at, text) : "unknown"));
    if (!at)
        json_object_set_new(row, lag_key, json_string("unknown"));
    else
        json_object_set_new(row, lag_key, json_integer(optime > at ? (json_int_t)(optime - at) : 0));
}

static json_t *view_member(const struct cluster *c, const struct member *m)
{
    static const char *const copied[] = {"timeline", "pending_restart", "pending_restart_reason", "scheduled_restart",
                                         "tags"};
    const char *role = view_role(c, m);
    json_t *row = json_object();
    char *host = NULL;
    int port = 0;

    json_object_set_new(row, "name", json_string(m->name));
    json_object_set_new(row, "role", json_string(role));
    json_object_set_new(row, "state", json_string(view_state(m, role)));
    json_object_set_new(row, "api_url", m->api_url ? json_string(m->api_url) : json_null());
    if (m->conn_url && url_host_port(m->conn_url, &host, &port)) {
        json_object_set_new(row, "host", json_string(host));
        if (port > 0)
            json_object_set_new(row, "port", json_integer(port));
        free(host);
    }
    for (size_t i = 0; i < ARRAY_LEN(copied); i++) {
        json_t *value = json_object_get(m->json, copied[i]);
        if (value)
            json_object_set(row, copied[i], value);
    }
    if (!str_eq(m->name, c->leader) && !member_is_witness(m)) {
        view_position(row, "receive_", c->status.optime, m->receive_lsn);
        view_position(row, "replay_", c->status.optime, m->replay_lsn);
        view_position(row, "", c->status.optime, m->xlog_location);
    }

    json_t *clone = json_object_get(m->pgkeep_info, "clone");
    if (json_is_object(clone))
        json_object_set(row, "clone", clone);
    json_t *broken = json_object_get(m->pgkeep_info, "broken");
    if (json_is_array(broken))
        json_object_set(row, "broken", broken);
    return row;
}

json_t *cluster_view(const struct cluster *c)
{
    json_t *view = json_object();
    json_t *members = json_array();

    for (size_t i = 0; i < c->member_count; i++)
        json_array_append_new(members, view_member(c, &c->members[i]));
    json_object_set_new(view, "members", members);
    if (cluster_is_paused(c))
        json_object_set_new(view, "pause", json_true());
    if (c->failover.present && c->failover.scheduled_at) {
        json_t *planned = json_object();
        json_object_set_new(planned, "at", json_string(c->failover.scheduled_at));
        if (c->failover.leader)
            json_object_set_new(planned, "from", json_string(c->failover.leader));
        if (c->failover.candidate)
            json_object_set_new(planned, "to", json_string(c->failover.candidate));
        json_object_set_new(view, "scheduled_switchover", planned);
    }
    return view;
}
