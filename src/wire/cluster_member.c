#include "wire/cluster.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"

static void set_string(char **slot, const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    if (text)
        str_set(slot, text);
}

/* Positions are JSON numbers; "0/3000060" is taken too. 0: absent or neither. */
static lsn get_lsn(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    lsn at = 0;

    if (json_is_integer(value) && json_integer_value(value) > 0)
        return (lsn)json_integer_value(value);
    if (!json_is_string(value) || !lsn_parse(json_string_value(value), &at))
        return 0;
    return at;
}

/* Truth as Python sees it, but for strings, where people mean what they write. */
static bool truth(const json_t *value)
{
    static const char *const falses[] = {"", "false", "off", "no", "0", "n", "f"};

    if (json_is_string(value)) {
        for (size_t i = 0; i < ARRAY_LEN(falses); i++) {
            if (str_eq_nocase(json_string_value(value), falses[i]))
                return false;
        }
        return true;
    }
    if (json_is_number(value))
        return json_number_value(value) != 0;
    if (json_is_object(value) || json_is_array(value))
        return json_object_size(value) > 0 || json_array_size(value) > 0;
    return json_is_true(value);
}

/* false: absent or not a whole number. */
static bool get_int(const json_t *object, const char *key, int *ret_value)
{
    const json_t *value = json_object_get(object, key);
    int64_t number = 0;

    if (json_is_integer(value))
        number = json_integer_value(value);
    else if (!json_is_string(value) || !str_to_int(json_string_value(value), INT32_MIN, INT32_MAX, &number))
        return false;
    if (number < INT32_MIN || number > INT32_MAX)
        return false;
    *ret_value = (int)number;
    return true;
}

/* A pair such as nofailover/failover_priority: the boolean wins where it is given (Patroni: tags.py). */
static void read_pair(const json_t *tags, const char *no_key, const char *priority_key, bool *ret_no, int *ret_priority)
{
    const json_t *no = json_object_get(tags, no_key);
    int priority = 1;
    bool has_priority = get_int(tags, priority_key, &priority);

    if (no && !json_is_null(no))
        *ret_no = truth(no);
    else
        *ret_no = has_priority && priority <= 0;
    if (*ret_no)
        *ret_priority = 0;
    else
        *ret_priority = priority > 0 ? priority : 1;
}

void member_tags_read(json_t *tags, struct member_tags *ret_tags)
{
    *ret_tags = (struct member_tags){.failover_priority = 1, .sync_priority = 1};
    if (!json_is_object(tags))
        return;

    read_pair(tags, "nofailover", "failover_priority", &ret_tags->nofailover, &ret_tags->failover_priority);
    read_pair(tags, "nosync", "sync_priority", &ret_tags->nosync, &ret_tags->sync_priority);
    ret_tags->noloadbalance = truth(json_object_get(tags, "noloadbalance"));
    ret_tags->clonefrom = truth(json_object_get(tags, "clonefrom"));
    ret_tags->nostream = truth(json_object_get(tags, "nostream"));
    const char *replicatefrom = json_string_value(json_object_get(tags, "replicatefrom"));
    if (!str_empty(replicatefrom))
        ret_tags->replicatefrom = str_dup(replicatefrom);
    ret_tags->all = json_deep_copy(tags);
}

void member_tags_deinit(struct member_tags *tags)
{
    free(tags->replicatefrom);
    json_decref(tags->all);
    *tags = (struct member_tags){0};
}

static json_t *get_object(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);

    return json_is_object(value) ? json_incref(value) : NULL;
}

struct member *member_read(const char *name, const char *value, size_t value_len)
{
    json_t *json = json_loadb(value, value_len, JSON_ALLOW_NUL, NULL);
    struct member *m = member_of_json(name, json);

    json_decref(json);
    return m;
}

struct member *member_of_json(const char *name, json_t *json)
{
    if (!json_is_object(json))
        return NULL;

    AUTO(member) struct member *m = mem_zero(1, sizeof(*m));
    m->json = json_incref(json);
    m->name = str_dup(name);
    set_string(&m->conn_url, m->json, "conn_url");
    set_string(&m->api_url, m->json, "api_url");
    set_string(&m->state, m->json, "state");
    set_string(&m->role, m->json, "role");
    set_string(&m->version, m->json, "version");
    set_string(&m->replication_state, m->json, "replication_state");
    set_string(&m->proxy_url, m->json, "proxy_url");
    if (str_eq(m->role, "master"))
        str_set(&m->role, "primary");
    member_tags_read(json_object_get(m->json, "tags"), &m->tags);

    m->xlog_location = get_lsn(m->json, "xlog_location");
    m->receive_lsn = get_lsn(m->json, "receive_lsn");
    m->replay_lsn = get_lsn(m->json, "replay_lsn");
    int timeline = 0;
    if (get_int(m->json, "timeline", &timeline) && timeline > 0)
        m->timeline = (uint32_t)timeline;

    m->checkpoint_after_promote_pending = json_is_false(json_object_get(m->json, "checkpoint_after_promote"));
    m->pending_restart = truth(json_object_get(m->json, "pending_restart"));
    m->pending_restart_reason = get_object(m->json, "pending_restart_reason");
    m->scheduled_restart = get_object(m->json, "scheduled_restart");
    m->pause = truth(json_object_get(m->json, "pause"));
    m->pgkeep_info = get_object(m->json, "pgkeep");
    m->pgkeep = m->pgkeep_info != NULL;
    return TAKE(m);
}

/* Free what *m points at; members of a cluster stand in its array. */
static void member_deinit(struct member *m)
{
    free(m->name);
    free(m->conn_url);
    free(m->api_url);
    free(m->state);
    free(m->role);
    free(m->version);
    free(m->replication_state);
    free(m->proxy_url);
    member_tags_deinit(&m->tags);
    json_decref(m->pending_restart_reason);
    json_decref(m->scheduled_restart);
    json_decref(m->pgkeep_info);
    json_decref(m->json);
}

void member_free(struct member *m)
{
    if (!m)
        return;
    member_deinit(m);
    free(m);
}

void cluster_members_free(struct member *members, size_t count)
{
    for (size_t i = 0; i < count; i++)
        member_deinit(&members[i]);
    free(members);
}
