#include "wire/conf/parameters.h"

#include <stdlib.h>
#include <strings.h>

#include "base/check.h"
#include "base/str.h"
#include "wire/conf/value.h"

enum shared_kind {
    SHARED_INT, /* at least `min` */
    SHARED_BOOL,
    SHARED_WAL_LEVEL,
    SHARED_SIZE,  /* a size of at least `min` MB */
    SHARED_FIXED, /* nobody can change it */
    SHARED_ADDRESS,
    SHARED_PORT,
    SHARED_SCOPE, /* from the local settings */
};

/* Patroni's list with Patroni's limits and defaults (patroni/postgresql/config.py, CMDLINE_OPTIONS). */
static const struct shared {
    const char *name;
    enum shared_kind kind;
    const char *fallback;
    int64_t min;
} shared[] = {
    {"listen_addresses", SHARED_ADDRESS, NULL, 0},     {"port", SHARED_PORT, NULL, 0},
    {"cluster_name", SHARED_SCOPE, NULL, 0},           {"hot_standby", SHARED_FIXED, "on", 0},
    {"wal_log_hints", SHARED_FIXED, "on", 0}, /* pg_rewind needs it */
    {"wal_level", SHARED_WAL_LEVEL, "replica", 0},     {"max_connections", SHARED_INT, "100", 25},
    {"max_wal_senders", SHARED_INT, "10", 3},          {"max_replication_slots", SHARED_INT, "10", 4},
    {"max_prepared_transactions", SHARED_INT, "0", 0}, {"max_locks_per_transaction", SHARED_INT, "64", 32},
    {"max_worker_processes", SHARED_INT, "8", 2},      {"track_commit_timestamp", SHARED_BOOL, "off", 0},
    {"wal_keep_size", SHARED_SIZE, "128MB", 16},
};

enum { WAL_SEGMENT_MB = 16 }; /* what wal_keep_segments counted in */

bool parameter_is_shared(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(shared); i++)
        if (strcasecmp(shared[i].name, name) == 0)
            return true;
    return strcasecmp(name, "wal_keep_segments") == 0;
}

const char *parameters_spelling(const json_t *parameters, const char *name)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)parameters, key, value) if (strcasecmp(key, name) == 0) return key;
    return NULL;
}

void parameters_set(json_t *parameters, const char *name, json_t *value)
{
    AUTO(cstr) char *old = str_dup(parameters_spelling(parameters, name));

    if (old && !str_eq(old, name))
        CHECK(json_object_del(parameters, old) == 0);
    CHECK(json_object_set(parameters, name, value) == 0);
}

/* "hot_standby" and "archive" are what replica was called before PostgreSQL 9.6. */
static char *wal_level_value(const char *text)
{
    if (strcasecmp(text, "logical") == 0)
        return str_dup("logical");
    if (strcasecmp(text, "replica") == 0 || strcasecmp(text, "hot_standby") == 0)
        return str_dup("replica");
    return NULL;
}

static char *int_value(const struct shared *s, const struct conf_node *n)
{
    int64_t value;

    if (!value_int(n, UNIT_NONE, &value) || value < s->min || value > INT32_MAX)
        return NULL;
    return str_fmt("%lld", (long long)value);
}

/* The value in the form PostgreSQL gets it; NULL: not allowed. */
static char *shared_value(const struct shared *s, const struct conf_node *n)
{
    AUTO(cstr) char *text = value_text(n);
    int64_t megabytes;
    bool on;

    switch (s->kind) {
    case SHARED_INT:
        return int_value(s, n);
    case SHARED_BOOL:
        return value_bool(n, &on) ? str_dup(on ? "on" : "off") : NULL;
    case SHARED_FIXED:
        return value_bool(n, &on) && on ? str_dup("on") : NULL;
    case SHARED_WAL_LEVEL:
        return text ? wal_level_value(text) : NULL;
    case SHARED_SIZE:
        if (!value_int(n, UNIT_MEGABYTES, &megabytes) || megabytes < s->min)
            return NULL;
        return n->type == CONF_STRING ? TAKE(text) : str_fmt("%lldMB", (long long)megabytes);
    case SHARED_ADDRESS:
    case SHARED_PORT:
    case SHARED_SCOPE:
        return NULL;
    }
    UNREACHABLE();
}

static char *local_value(const struct shared *s, const struct settings *local)
{
    if (!local)
        return NULL;
    if (s->kind == SHARED_ADDRESS)
        return str_dup(local->postgresql.listen.host);
    if (s->kind == SHARED_PORT)
        return str_fmt("%d", local->postgresql.listen.port);
    CHECK(s->kind == SHARED_SCOPE);
    return str_dup(local->scope);
}

/* wal_keep_segments: 8 → "128MB"; NULL if it is not given, or not allowed. */
static char *size_of_segments(const json_t *asked)
{
    const char *spelled = parameters_spelling(asked, "wal_keep_segments");
    AUTO(conf_node)
    struct conf_node *n = spelled ? conf_from_json(json_object_get(asked, spelled), "dynamic configuration") : NULL;
    int64_t segments;

    if (!value_int(n, UNIT_NONE, &segments) || segments < 1 || segments > INT32_MAX / WAL_SEGMENT_MB)
        return NULL;
    return str_fmt("%lldMB", (long long)segments * WAL_SEGMENT_MB);
}

static char *asked_value(const struct shared *s, const json_t *asked, const char *instead, struct findings *findings)
{
    const char *spelled = parameters_spelling(asked, s->name);

    if (!spelled)
        return NULL;
    AUTO(cstr) char *path = str_fmt("postgresql.parameters.%s", spelled);
    AUTO(conf_node) struct conf_node *n = conf_from_json(json_object_get(asked, spelled), "dynamic configuration");
    AUTO(cstr) char *value = shared_value(s, n);
    if (!value) {
        AUTO(cstr) char *shown = value_shown(n, false);
        findings_at(findings, FINDING_WARNING, n, path, "%s is not allowed; %s is used", shown, instead);
    }
    return TAKE(value);
}

void parameters_add_shared(json_t *parameters, const json_t *asked, const struct settings *local,
                           struct findings *findings)
{
    for (size_t i = 0; i < ARRAY_LEN(shared); i++) {
        const struct shared *s = &shared[i];
        AUTO(cstr) char *fallback = s->fallback ? str_dup(s->fallback) : local_value(s, local);
        AUTO(cstr) char *value = asked_value(s, asked, fallback ? fallback : "the local value", findings);

        if (!value && s->kind == SHARED_SIZE)
            value = size_of_segments(asked);
        if (!value)
            value = TAKE(fallback);
        if (!value)
            continue;
        json_t *json = json_string(value);
        CHECK(json);
        parameters_set(parameters, s->name, json);
        json_decref(json);
    }
}
