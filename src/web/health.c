#include "web/health.h"

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "web/query.h"
#include "wire/conf/value.h"

enum { OK = 200, UNAVAILABLE = 503 };

#define TAG_PREFIX "tag_"

/* Without a ttl yet (before the first cycle): Patroni's default. */
enum { FACTS_AGE_MAX_MS = 30 * 1000 };

static bool may_answer(enum node_state state)
{
    return state == NODE_RUNNING || state == NODE_STARTING || state == NODE_RESTARTING;
}

struct health_node health_node(const struct snapshot *s, msec now_ms)
{
    msec age_max_ms = s->ttl_ms > 0 ? s->ttl_ms : FACTS_AGE_MAX_MS;
    struct health_node n = {.state = s->state, .role = s->role};

    n.known = s->pg_known && may_answer(s->state) && now_ms - s->taken_ms <= age_max_ms;
    if (!n.known) {
        if (n.state == NODE_RUNNING)
            n.state = NODE_UNKNOWN; /* it should run, and does not answer */
    } else if (!s->in_recovery) {
        n.role = ROLE_PRIMARY;
    } else if (!s->standby_cluster) {
        n.role = ROLE_REPLICA; /* also while it holds the lease and is not promoted yet */
    }
    return n;
}

/* What several paths are made of. */
struct verdicts {
    bool leader, primary, standby_leader, replica;
    bool running;
};

/* Bytes of a lag that a query asks for; anything else than a size is ignored, as it always was. */
static int64_t lag_asked(const char *query, int64_t otherwise)
{
    AUTO(cstr) char *text = query_value(query, "lag");
    int64_t lag = otherwise;

    if (text && !value_text_to_int(text, UNIT_BYTES, &lag))
        return otherwise;
    return lag;
}

static lsn leader_position(const struct snapshot *s)
{
    lsn optime = s->store_known ? s->optime : 0;

    return optime > s->receiver_latest_end ? optime : s->receiver_latest_end;
}

/* How far `at` is behind, negative if it is ahead. */
static int64_t bytes_behind(lsn leader, lsn at)
{
    return (int64_t)(leader - at);
}

static bool is_replica(const struct snapshot *s, const struct health_node *n, const char *query)
{
    AUTO(cstr) char *wanted = query_value(query, "replication_state");
    lsn leader = leader_position(s);

    if (s->noloadbalance || n->role != ROLE_REPLICA || n->state != NODE_RUNNING)
        return false;
    if (wanted && !str_eq(wanted, s->replication_state))
        return false;
    return !leader || bytes_behind(leader, s->replayed_location) <= lag_asked(query, INT64_MAX);
}

static struct verdicts judge(const struct snapshot *s, const char *query, msec now_ms)
{
    struct health_node n = health_node(s, now_ms);
    bool open = n.known && s->writable && !s->in_recovery;
    struct verdicts v = {.running = n.state == NODE_RUNNING, .replica = is_replica(s, &n, query)};

    if (s->pause && !s->store_known) {
        /* The operator has taken over and the store is away: there is no lease to ask for. */
        v.leader = n.role == ROLE_PRIMARY || n.role == ROLE_STANDBY_LEADER;
        v.primary = n.role == ROLE_PRIMARY && open;
        v.standby_leader = n.role == ROLE_STANDBY_LEADER;
    } else if (snapshot_lease_held(s, now_ms)) {
        v.leader = true;
        v.primary = !s->standby_cluster && open;
        v.standby_leader = s->standby_cluster && (n.role == ROLE_REPLICA || n.role == ROLE_STANDBY_LEADER);
        v.replica = v.replica && !s->standby_cluster;
    }
    return v;
}

static bool has(const char *path, const char *word)
{
    return strstr(path, word) != NULL;
}

static bool is_one_of(const char *path, const char *a, const char *b)
{
    return str_eq(path, a) || str_eq(path, b);
}

/* The paths that only mean something while the store can be read. */
static bool is_synchronous_verdict(const struct snapshot *s, const char *path, const struct verdicts *v)
{
    bool leads = v->primary || v->standby_leader;

    if (!s->store_known)
        return false;
    if (is_one_of(path, "/sync", "/synchronous"))
        return s->sync_standby && v->replica;
    if (str_eq(path, "/quorum"))
        return s->quorum_standby && v->replica;
    if (is_one_of(path, "/async", "/asynchronous"))
        return !s->sync_standby && !s->quorum_standby && v->replica;
    if (str_eq(path, "/read-only-quorum"))
        return leads || (s->quorum_standby && v->replica);
    if (is_one_of(path, "/read-only-sync", "/read-only-synchronous"))
        return leads || (s->sync_standby && v->replica);
    return false;
}

/* A tag as it is compared with the query: text as it is, the rest as Python prints it in lower case. */
static char *tag_text(const json_t *tag)
{
    if (json_is_string(tag))
        return str_dup(json_string_value(tag));
    if (json_is_boolean(tag))
        return str_dup(json_is_true(tag) ? "true" : "false");
    return tag && !json_is_null(tag) ? json_dumps(tag, JSON_ENCODE_ANY) : NULL;
}

/* Every tag_x=y of the query is so here. */
static bool tags_fit(const struct snapshot *s, const char *query)
{
    json_t *tags = s->tags ? json_loads(s->tags, 0, NULL) : NULL;
    bool fit = true;

    for (const char *at = query; fit && at;) {
        AUTO(cstr) char *key = query_next_key(&at);

        if (!key || !str_starts(key, TAG_PREFIX))
            continue;
        AUTO(cstr) char *wanted = query_value(query, key);
        AUTO(cstr) char *here = tag_text(json_object_get(tags, key + strlen(TAG_PREFIX)));
        fit = here && str_eq(here, wanted);
    }
    json_decref(tags);
    return fit;
}

int health_check(const struct snapshot *s, const char *path, const char *query, msec now_ms)
{
    struct verdicts v = judge(s, query, now_ms);
    bool good;

    if (str_eq(path, "/"))
        path = "/primary";

    /* Who leads is found whatever its tags. */
    if (has(path, "standby_leader") || has(path, "standby-leader"))
        return v.standby_leader ? OK : UNAVAILABLE;
    if (has(path, "leader"))
        return v.leader ? OK : UNAVAILABLE;
    if (has(path, "master") || has(path, "primary") || has(path, "read-write"))
        return v.primary ? OK : UNAVAILABLE;

    if (has(path, "replica"))
        good = v.replica;
    else if (has(path, "read-only") && !has(path, "sync") && !has(path, "quorum"))
        good = v.primary || v.standby_leader || v.replica;
    else if (has(path, "health"))
        good = v.running;
    else
        good = is_synchronous_verdict(s, path, &v);
    return good && tags_fit(s, query) ? OK : UNAVAILABLE;
}

int health_liveness(const struct snapshot *s, msec now_ms)
{
    struct health_node n = health_node(s, now_ms);
    /* A replica may stumble for longer: nobody but its own clients depends on it. */
    msec patience_ms = n.role == ROLE_PRIMARY && n.state == NODE_RUNNING ? s->ttl_ms : 2 * s->ttl_ms;

    if (s->pause)
        return OK;
    return now_ms < s->loop_ran_ms + s->loop_wait_ms + patience_ms ? OK : UNAVAILABLE;
}

int health_readiness(const struct snapshot *s, const char *query, msec now_ms)
{
    struct health_node n = health_node(s, now_ms);
    AUTO(cstr) char *mode = query_value(query, "mode");
    lsn here = str_eq(mode, "write") ? s->received_location : s->replayed_location;

    if (snapshot_lease_held(s, now_ms))
        return OK; /* it led a moment ago, or has just won: clients may wait for it */
    if (n.state != NODE_RUNNING || !str_eq(s->replication_state, "streaming"))
        return UNAVAILABLE;
    if (!s->store_known && !s->receiver_latest_end)
        return s->failsafe_mode_is_active ? OK : UNAVAILABLE; /* how far the leader is, nobody can say */
    return bytes_behind(leader_position(s), here) <= lag_asked(query, s->maximum_lag_on_failover) ? OK : UNAVAILABLE;
}
