#include "wire/conf/dynamic.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "wire/conf/audit.h"
#include "wire/conf/parameters.h"
#include "wire/conf/typed.h"
#include "wire/conf/value.h"

static const char source_name[] = "dynamic configuration";

static void dynamic_free(struct dynamic *d)
{
    json_decref(d->slots);
    json_decref(d->ignore_slots);
    json_decref(d->standby_cluster);
    json_decref(d->parameters);
    json_decref(d->pg_hba);
    json_decref(d->pg_ident);
    json_decref(d->recovery_conf);
    json_decref(d->rewind_options);
    json_decref(d->create_replica_methods);
    json_decref(d->callbacks);
    free(d->pre_promote);
    free(d->before_stop);
    free(d->bin_dir);
    free(d->custom_conf);
    json_decref(d->bin_name);
    json_decref(d->postgresql);
    json_decref(d->json);
    free(d);
}

struct dynamic *dynamic_ref(struct dynamic *d)
{
    __atomic_add_fetch(&d->refs, 1, __ATOMIC_RELAXED);
    return d;
}

void dynamic_unref(struct dynamic *d)
{
    if (!d)
        return;
    CHECK(__atomic_load_n(&d->refs, __ATOMIC_RELAXED) > 0);
    if (__atomic_sub_fetch(&d->refs, 1, __ATOMIC_ACQ_REL) == 0)
        dynamic_free(d);
}

static msec seconds_of(const struct typed *t, const char *path)
{
    return typed_int(t, path) * 1000;
}

/* For 0, which would fail every promotion: pg_ctl just does not wait then. */
enum { PG_CTL_TIMEOUT_S = 60 };

/* Patroni's floors: a shorter lease or budget does more harm than good. */
enum { TTL_MIN_S = 20, LOOP_WAIT_MIN_S = 1, RETRY_TIMEOUT_MIN_S = 3 };

static int64_t seconds_raised(const struct typed *t, const char *path, int64_t min, struct findings *findings)
{
    int64_t seconds = typed_int(t, path);

    if (seconds >= min)
        return seconds;
    findings_at(findings, FINDING_WARNING, typed_node(t, path), path, "%lld is below %lld, which is used",
                (long long)seconds, (long long)min);
    return min;
}

/*
 * A primary has to have demoted itself before its key expires: it may sleep loop_wait, then retry
 * reading, then renewing. So loop_wait + 2*retry_timeout must not exceed ttl; first loop_wait gives
 * way, then retry_timeout, as in Patroni, so that both programs keep the same time in one cluster.
 */
static void read_timings(const struct typed *t, struct dynamic *d, struct findings *findings)
{
    int64_t loop_wait = seconds_raised(t, "loop_wait", LOOP_WAIT_MIN_S, findings);
    int64_t retry_timeout = seconds_raised(t, "retry_timeout", RETRY_TIMEOUT_MIN_S, findings);
    int64_t ttl = seconds_raised(t, "ttl", TTL_MIN_S, findings);
    int64_t new_loop_wait = loop_wait;
    int64_t new_retry_timeout = retry_timeout;

    if (LOOP_WAIT_MIN_S + 2 * retry_timeout > ttl) {
        new_loop_wait = LOOP_WAIT_MIN_S;
        new_retry_timeout = (ttl - LOOP_WAIT_MIN_S) / 2;
    } else if (loop_wait + 2 * retry_timeout > ttl) {
        new_loop_wait = ttl - 2 * retry_timeout;
    }
    if (loop_wait + 2 * retry_timeout > ttl)
        findings_at(findings, FINDING_WARNING, t->root, "loop_wait + 2*retry_timeout <= ttl",
                    "does not hold for %lld + 2*%lld and %lld: loop_wait %lld and retry_timeout %lld are used",
                    (long long)loop_wait, (long long)retry_timeout, (long long)ttl, (long long)new_loop_wait,
                    (long long)new_retry_timeout);
    d->ttl_ms = ttl * 1000;
    d->loop_wait_ms = new_loop_wait * 1000;
    d->retry_timeout_ms = new_retry_timeout * 1000;
}

static void read_scalars(const struct typed *t, struct dynamic *d)
{
    d->maximum_lag_on_failover = typed_int(t, "maximum_lag_on_failover");
    d->maximum_lag_on_syncnode = typed_int(t, "maximum_lag_on_syncnode");
    d->primary_race_backoff_ms = seconds_of(t, "primary_race_backoff");
    d->check_timeline = typed_bool(t, "check_timeline");
    d->max_timelines_history = (int)typed_int(t, "max_timelines_history");
    d->primary_start_timeout_ms = seconds_of(t, "primary_start_timeout");
    d->primary_stop_timeout_ms = msec_max(0, seconds_of(t, "primary_stop_timeout"));
    d->pause = typed_bool(t, "pause");
    d->failsafe_mode = typed_bool(t, "failsafe_mode");
    d->synchronous_mode = (enum sync_mode)typed_enum(t, "synchronous_mode");
    d->synchronous_mode_strict = typed_bool(t, "synchronous_mode_strict");
    d->synchronous_node_count = (int)typed_int(t, "synchronous_node_count");
    d->failover_profile = (enum failover_profile)typed_enum(t, "failover_profile");
    d->peer_lease = typed_bool(t, "peer_lease");
    d->member_slots_ttl_ms = seconds_of(t, "member_slots_ttl");
    d->use_slots = typed_bool(t, "postgresql.use_slots");
}

/* What a standby acknowledges counts by the slot that its walsender holds: its name anybody may carry. */
static void need_slots(const struct typed *t, struct dynamic *d, struct findings *findings)
{
    if (d->synchronous_mode == SYNC_MODE_OFF || d->use_slots)
        return;
    findings_at(findings, FINDING_WARNING, typed_node(t, "postgresql.use_slots"), "postgresql.use_slots",
                "off, and synchronous_mode needs the slots: they are used");
    d->use_slots = true;
}

static bool is_slot_name(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");

    return len > 0 && len < 64 && !name[len]; /* NAMEDATALEN */
}

/* The slot's properties with `type` filled in; NULL for a slot that only a standby cluster has. */
static json_t *slot_to_json(const struct conf_node *n, const char *path, struct findings *findings)
{
    json_t *slot =
        n->type == CONF_MAP ? typed_json_of(key_find("slots.*", KEY_DYNAMIC), n, KEY_DYNAMIC) : json_object();
    bool plugin = json_object_get(slot, "database") && json_object_get(slot, "plugin");

    if (str_eq(json_string_value(json_object_get(slot, "cluster_type")), "standby")) {
        json_decref(slot);
        return NULL;
    }
    if (!json_object_get(slot, "type")) {
        const char *type = plugin ? "logical" : "physical";
        if (plugin)
            findings_at(findings, FINDING_WARNING, n, path, "a logical slot: not built yet, left alone");
        CHECK(json_object_set_new(slot, "type", json_string(type)) == 0);
    }
    return slot;
}

static json_t *read_slots(const struct typed *t, struct findings *findings)
{
    const struct conf_node *section = typed_node(t, "slots");
    json_t *slots = json_object();

    for (size_t i = 0; section && i < section->children.count; i++) {
        const struct conf_node *n = section->children.at[i];
        AUTO(cstr) char *path = str_fmt("slots.%s", n->key);

        if (!is_slot_name(n->key)) {
            findings_at(findings, FINDING_ERROR, n, path,
                        "ignored: a slot's name has lower case letters, digits and _ only, at most 63");
            continue;
        }
        json_t *slot = slot_to_json(n, path, findings);
        if (slot)
            CHECK(json_object_set_new(slots, n->key, slot) == 0);
    }
    if (json_object_size(slots) > 0)
        return slots;
    json_decref(slots);
    return NULL;
}

/* A section that asks for nothing is none. */
static json_t *read_standby_cluster(const struct typed *t)
{
    const struct conf_node *n = typed_node(t, "standby_cluster");

    return key_harmless(key_find("standby_cluster", KEY_DYNAMIC), n) ? NULL : typed_json(t, "standby_cluster");
}

/* The parameters of one side, without those that have rules of their own. */
static void parameters_merge(json_t *parameters, const json_t *section)
{
    const char *name;
    json_t *value;

    json_object_foreach(json_object_get(section, "parameters"), name, value) if (!parameter_is_shared(name))
        parameters_set(parameters, name, value);
}

/* Patroni's rule: each key of the local section replaces the dynamic one; parameters merge by name. */
static json_t *postgresql_merge(const json_t *dynamic, const struct settings *local, struct findings *findings)
{
    const json_t *own = local ? local->postgresql.section : NULL;
    json_t *merged = dynamic ? json_copy((json_t *)(uintptr_t)dynamic) : json_object();
    json_t *parameters = json_object();

    if (own)
        CHECK(json_object_update(merged, (json_t *)(uintptr_t)own) == 0);
    parameters_merge(parameters, dynamic);
    parameters_merge(parameters, own);
    parameters_add_shared(parameters, json_object_get(dynamic, "parameters"), local, findings);
    CHECK(json_object_set_new(merged, "parameters", parameters) == 0);
    return merged;
}

/* Every method but the built-in one needs a section that says what to run. */
static void check_methods(const struct dynamic *d, const struct conf_node *tree, struct findings *findings)
{
    size_t i;
    json_t *item;

    json_array_foreach(d->create_replica_methods, i, item)
    {
        const char *name = json_string_value(item);
        if (str_eq(name, "basebackup") || json_object_get(json_object_get(d->postgresql, name), "command"))
            continue;
        findings_at(findings, FINDING_WARNING, tree, "postgresql.create_replica_methods",
                    "\"%s\" is passed over: there is no section postgresql.%s with a command", name, name);
    }
}

/* An empty list or mapping is one that was not given: nobody wants a pg_hba.conf without a line. */
static json_t *json_filled(const struct typed *t, const char *path)
{
    json_t *json = typed_json(t, path);

    if (json_array_size(json) > 0 || json_object_size(json) > 0)
        return json;
    json_decref(json);
    return NULL;
}

static void read_postgresql(const struct typed *t, const struct settings *local, struct dynamic *d,
                            struct findings *findings)
{
    json_t *dynamic = typed_json(t, "postgresql");

    d->postgresql = postgresql_merge(dynamic, local, findings);
    json_decref(dynamic);
    d->parameters = json_incref(json_object_get(d->postgresql, "parameters"));

    json_t *whole = json_pack("{s:O}", "postgresql", d->postgresql);
    CHECK(whole);
    AUTO(conf_node) struct conf_node *tree = conf_from_json(whole, source_name);
    json_decref(whole);
    struct typed merged = {.root = tree, .scope = KEY_BOTH};

    d->use_pg_rewind = typed_bool(&merged, "postgresql.use_pg_rewind");
    d->remove_data_directory_on_rewind_failure =
        typed_bool(&merged, "postgresql.remove_data_directory_on_rewind_failure");
    d->remove_data_directory_on_diverged_timelines =
        typed_bool(&merged, "postgresql.remove_data_directory_on_diverged_timelines");
    d->pg_hba = json_filled(&merged, "postgresql.pg_hba");
    d->pg_ident = json_filled(&merged, "postgresql.pg_ident");
    d->recovery_conf = json_filled(&merged, "postgresql.recovery_conf");
    d->rewind_options = json_filled(&merged, "postgresql.rewind");
    d->create_replica_methods = json_filled(&merged, "postgresql.create_replica_methods");
    d->callbacks = json_filled(&merged, "postgresql.callbacks");
    d->pre_promote = typed_text(&merged, "postgresql.pre_promote");
    d->before_stop = typed_text(&merged, "postgresql.before_stop");
    d->bin_dir = typed_text(&merged, "postgresql.bin_dir");
    d->bin_name = json_filled(&merged, "postgresql.bin_name");
    d->custom_conf = typed_text(&merged, "postgresql.custom_conf");
    d->pg_ctl_timeout_s = (int)typed_int(&merged, "postgresql.pg_ctl_timeout");
    if (!d->pg_ctl_timeout_s)
        d->pg_ctl_timeout_s = PG_CTL_TIMEOUT_S;
    d->use_unix_socket = typed_bool(&merged, "postgresql.use_unix_socket");
    d->use_unix_socket_repl = typed_bool(&merged, "postgresql.use_unix_socket_repl");
    check_methods(d, tree, findings);
}

struct dynamic *dynamic_read(const json_t *config, const struct settings *local, struct findings *findings)
{
    struct dynamic *d = mem_zero(1, sizeof(*d));

    if (config && !json_is_object(config))
        findings_add(findings, FINDING_ERROR, "%s: is no configuration: expected an object; the defaults are used",
                     source_name);
    d->refs = 1;
    d->json = json_is_object(config) ? json_incref((json_t *)(uintptr_t)config) : json_object();

    AUTO(conf_node) struct conf_node *tree = conf_from_json(d->json, source_name);
    struct typed t = {.root = tree, .scope = KEY_DYNAMIC};
    audit_rename_old(tree, KEY_DYNAMIC, findings);
    audit_dynamic(tree, findings);
    read_timings(&t, d, findings);
    read_scalars(&t, d);
    need_slots(&t, d, findings);
    d->slots = read_slots(&t, findings);
    d->ignore_slots = json_filled(&t, "ignore_slots");
    d->standby_cluster = read_standby_cluster(&t);
    read_postgresql(&t, local, d, findings);
    return d;
}

json_t *dynamic_seed(const struct settings *local)
{
    return local->bootstrap.dcs ? json_incref(local->bootstrap.dcs) : json_object();
}

const char *dynamic_refused(const struct dynamic *d)
{
    return d->standby_cluster ? "standby_cluster" : NULL;
}

const char *dynamic_shared_parameter(const struct dynamic *d, const char *name)
{
    const char *spelled = parameter_is_shared(name) ? parameters_spelling(d->parameters, name) : NULL;

    return spelled ? json_string_value(json_object_get(d->parameters, spelled)) : NULL;
}
