#include "app/agent/config.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/agent/guard_link.h"
#include "app/agent/health.h"
#include "app/agent/leadership.h"
#include "app/agent/local.h"
#include "app/agent/mesh.h"
#include "app/agent/quorum.h"
#include "app/agent/registry.h"
#include "app/agent/rounds.h"
#include "app/agent/twin.h"
#include "app/conf_files.h"
#include "base/check.h"
#include "base/str.h"
#include "core/ha/profile.h"
#include "io/http_client.h"
#include "io/log.h"
#include "pg/bin.h"
#include "pg/callbacks.h"
#include "pg/datadir.h"
#include "pg/file.h"
#include "pg/instance.h"
#include "pg/passfile.h"
#include "store/store.h"
#include "web/server.h"
#include "wire/conf/dynamic.h"

enum { CACHE_MAX = 1024 * 1024 };

static void log_findings(struct findings *findings)
{
    for (size_t i = 0; i < findings->count; i++) {
        if (findings->at[i].level == FINDING_ERROR)
            log_error("config.finding", "%s", findings->at[i].text);
        else
            log_warning("config.finding", "%s", findings->at[i].text);
    }
    findings_deinit(findings);
}

struct settings *config_read_local(const char *path)
{
    AUTO(conf_files) struct conf_files files = {0};
    struct findings findings = {0};
    struct err err = {0};

    if (path && !conf_files_read(path, &files, &err)) {
        log_error("config.unreadable", "%s", err.text);
        return NULL;
    }
    struct settings *settings = settings_read(files.at, files.count, (const char *const *)environ, &findings);
    log_findings(&findings);
    return settings;
}

void config_apply_log(const struct settings *s)
{
    AUTO(cstr) char *file = s->log.dir ? str_fmt("%s/patroni.log", s->log.dir) : NULL;
    struct log_conf conf = {
        .level = LOG_LEVEL_INFO,
        .json = s->log.format == LOG_FORMAT_JSON,
        .file = file,
        .file_size_max = s->log.file_size,
        .file_count = s->log.file_num,
        .syslog_facility = s->log.syslog,
    };
    struct err err = {0};

    (void)log_level_parse(s->log.level, &conf.level); /* checked when the settings were read */
    if (!log_configure(&conf, &err))
        log_error("log.unusable", "%s, keeping the old log", err.text);
}

static void new_http_client(struct agent *a)
{
    const struct settings *s = a->settings;
    struct http_client_conf conf = {
        .cacert = s->ctl.cacert,
        .cert = s->ctl.cert,
        .key = s->ctl.key,
        .key_password = s->ctl.key_password,
        .insecure = s->ctl.insecure,
        .username = s->restapi.username,
        .password = s->restapi.password,
    };
    struct http_client *client = http_client_new(a->loop, &conf);

    rounds_client(a->rounds, client);
    twin_forget(a);
    http_client_free(a->http);
    a->http = client;
}

static void apply_to_mesh(struct agent *a, const struct settings *s)
{
    struct member_tags tags;
    struct err err = {0};

    member_tags_read(s->tags.all, &tags);
    a->failover_priority = tags.failover_priority;
    a->sync_priority = tags.sync_priority;
    member_tags_deinit(&tags);
    if (!mesh_configure(a->mesh, s, &err))
        log_error("peer.kept", "%s, keeping what was in force", err.text);
}

/* Packages may have been replaced since: a server that is seen to run tells for itself. */
static void programs_told(int version, const struct err *err, void *arg)
{
    struct agent *a = arg;

    if (err)
        log_warning("postgresql.version", "%s", err->text);
    local_programs(a->local, version);
}

static void ask_programs(struct agent *a)
{
    struct err err = {0};

    if (!pg_bin_version(a->loop, a->instance->bin, programs_told, a, &err))
        programs_told(0, &err, a);
}

bool config_make_instance(struct agent *a)
{
    struct datadir_state datadir;
    struct pg_bin *bin = NULL;
    struct pg_instance *instance = NULL;
    struct err err = {0};
    bool changed;
    const json_t *merged = a->dynamic->postgresql;
    struct pg_bin_spec spec = {
        .bin_dir = json_string_value(json_object_get(merged, "bin_dir")),
        .bin_name = json_object_get(merged, "bin_name"),
        .path_env = getenv("PATH"),
    };

    if (a->settings->pgkeep.witness)
        return false;
    datadir_look(a->settings->postgresql.data_dir, a->settings->pgkeep.state_dir, &datadir, NULL);
    spec.data_major = datadir.major;
    if (!pg_bin_find(&spec, &bin, &err) || !pg_instance_new(a->settings, a->dynamic, bin, &instance, &err) ||
        !passfile_write(instance, &changed, &err)) {
        if (!str_eq(a->instance_trouble, err.text))
            log_error("postgresql.unusable", "%s", err.text);
        str_set(&a->instance_trouble, err.text);
        pg_instance_unref(instance);
        return false;
    }
    str_set(&a->instance_trouble, NULL);
    pg_instance_unref(a->instance);
    a->instance = instance;
    local_instance(a->local, instance);
    health_instance(a->health, instance, a->dynamic->synchronous_mode != SYNC_MODE_OFF, a->dynamic->failover_profile);
    ask_programs(a);
    return true;
}

static void apply_timing(struct agent *a)
{
    const struct dynamic *d = a->dynamic;

    if (a->leadership)
        leadership_timing(a->leadership, d->ttl_ms, d->retry_timeout_ms);
    if (a->registry)
        registry_timing(a->registry, d->loop_wait_ms, d->retry_timeout_ms);
    bool hurries = d->synchronous_mode != SYNC_MODE_OFF; /* else nobody decides by who is heard */
    mesh_set_heartbeat(a->mesh, profile_of(hurries ? d->failover_profile : PROFILE_DEFAULT)->beat_ms);
}

/* Swap in; *take_dynamic becomes ours. */
static void use_dynamic(struct agent *a, struct dynamic *take_dynamic)
{
    dynamic_unref(a->dynamic);
    a->dynamic = take_dynamic;
    apply_timing(a);
    (void)config_make_instance(a); /* what is wrong has been logged; the old instance stays */
    a->reload_needed = true;
    agent_wake(a);
}

void config_start(struct agent *a)
{
    new_http_client(a);
    apply_to_mesh(a, a->settings);
    apply_timing(a);
    (void)config_make_instance(a); /* what is wrong has been logged; a job that needs it tries again */
}

/*
 * <data_dir>/patroni.dynamic.json: what both programs restore the config key from when the store has lost
 * everything.
 */
static char *cache_path(const struct agent *a)
{
    return str_fmt("%s/patroni.dynamic.json", a->settings->postgresql.data_dir);
}

static void write_cache(struct agent *a, const json_t *config)
{
    AUTO(cstr) char *path = cache_path(a);
    AUTO(cstr) char *text = json_dumps(config, JSON_COMPACT);
    struct err err = {0};

    if (local_datadir(a->local)->kind == DATADIR_VALID && !file_replace(path, text, strlen(text), 0600, &err))
        log_warning("config.cache", "%s", err.text);
}

json_t *config_seed(struct agent *a)
{
    AUTO(cstr) char *path = cache_path(a);
    char *text = NULL;
    size_t len = 0;

    if (a->config_revision)
        return json_incref(a->dynamic->json);
    if (local_datadir(a->local)->kind == DATADIR_VALID && file_read(path, CACHE_MAX, &text, &len, NULL)) {
        json_t *cached = json_loadb(text, len, 0, NULL);
        free(text);
        if (json_is_object(cached)) {
            log_info("config.seed", "the dynamic configuration is taken from %s", path);
            return cached;
        }
        json_decref(cached);
    }
    return dynamic_seed(a->settings);
}

void config_take_dynamic(struct agent *a)
{
    const struct cluster *c = registry_cluster(a->registry);
    struct findings findings = {0};

    if (!c || !c->config || c->config_revision == a->config_revision)
        return;
    bool first = a->config_revision == 0;
    a->config_revision = c->config_revision;
    struct dynamic *dynamic = dynamic_read(c->config, a->settings, &findings);
    log_findings(&findings);
    write_cache(a, c->config);
    if (dynamic_refused(dynamic))
        log_critical("config.refused",
                     "%s is not built yet: this node will not become primary, and if it is the "
                     "leader its PostgreSQL goes on with the files that it has until it stops",
                     dynamic_refused(dynamic));
    if (!first)
        log_info("config.dynamic", "the dynamic configuration changed (revision %lld)", (long long)c->config_revision);
    use_dynamic(a, dynamic);
}

/* SIGHUP to the postmaster. */
static bool signal_reload(struct agent *a, struct err *err)
{
    return !local_postmaster(a->local) || guard_link_signal_postmaster(a->guard, SIGHUP, err);
}

bool config_reload(struct agent *a)
{
    struct findings findings = {0};
    struct err err = {0};
    struct settings *fresh = config_read_local(a->config_path);

    if (!fresh) {
        log_error("config.kept", "the configuration has errors, keeping the old one");
        return false;
    }
    if (!str_eq(fresh->scope, a->settings->scope) || !str_eq(fresh->name, a->settings->name) ||
        !str_eq(fresh->namespace_, a->settings->namespace_) ||
        !str_eq(fresh->postgresql.data_dir, a->settings->postgresql.data_dir)) {
        log_error("config.kept", "scope, namespace, name and data_dir cannot change without a restart, keeping the "
                                 "old configuration");
        settings_unref(fresh);
        return false;
    }
    struct settings *old = a->settings;
    a->settings = fresh;
    if (!web_server_reload(a->web, fresh, &err))
        log_error("rest.kept", "%s, keeping the old REST listener", err.text);
    if (!store_reconfigure(a->store, fresh, &err))
        log_error("store.kept", "%s, keeping the old store connection", err.text);
    config_apply_log(fresh);
    new_http_client(a);
    apply_to_mesh(a, fresh);

    const struct cluster *c = registry_cluster(a->registry);
    /* While the key cannot be read, or is gone, what was in force goes on. */
    struct dynamic *dynamic = dynamic_read(c && c->config ? c->config : a->dynamic->json, fresh, &findings);
    log_findings(&findings);
    use_dynamic(a, dynamic);
    settings_unref(old);
    /* Also where no file of ours changes: there may be new certificates in the place of old ones. */
    if (!signal_reload(a, &err))
        log_error("postgresql.reload", "%s", err.text);
    if (local_postmaster(a->local))
        callbacks_run(a->callbacks, a->instance, CALLBACK_ON_RELOAD, node_role_text(a->role_told));
    log_info("config.reloaded", "configuration reloaded");
    return true;
}

void config_hold_deinit(struct config_hold *hold)
{
    free(hold->conninfo);
    free(hold->slot);
    for (size_t i = 0; hold->members && hold->members[i].name; i++)
        free((char *)hold->members[i].host);
    free(hold->members);
    *hold = (struct config_hold){0};
}

struct conf_input config_input(struct agent *a, enum conf_role role, const char *upstream, struct config_hold *hold)
{
    const struct cluster *c = registry_cluster(a->registry);
    const struct member *from = c && upstream ? cluster_member(c, upstream) : NULL;
    struct conf_input in = {.instance = a->instance, .role = role, .control = local_control(a->local)};
    char *host;
    int port;

    *hold = (struct config_hold){0};
    struct member_tags tags;
    member_tags_read(a->settings->tags.all, &tags);
    bool streams = !tags.nostream; /* else it lives on restore_command alone */
    member_tags_deinit(&tags);
    if (from && streams && url_host_port(from->conn_url, &host, &port)) {
        hold->conninfo = primary_conninfo(a->instance, host, port);
        if (a->dynamic->use_slots)
            hold->slot = slot_name_from_member(agent_name(a));
        free(host);
    }
    in.primary_conninfo = hold->conninfo;
    in.primary_slot_name = hold->slot;

    hold->members = mem_zero((c ? c->member_count : 0) + 1, sizeof(*hold->members));
    for (size_t i = 0; c && i < c->member_count; i++) {
        if (str_empty(c->members[i].conn_url) || !url_host_port(c->members[i].conn_url, &host, &port))
            continue;
        hold->members[in.member_count++] = (struct conf_member){.name = c->members[i].name, .host = host};
    }
    in.members = hold->members;
    conffile_hold(&in, &a->freeze);
    return in;
}

bool config_knows_address(const struct agent *a, const char *member)
{
    const struct cluster *c = registry_cluster(a->registry);
    const struct member *m = c ? cluster_member(c, member) : NULL;

    return m && !str_empty(m->conn_url);
}

bool config_apply(struct agent *a, enum conf_role role, const char *upstream, struct err *err)
{
    struct config_hold hold;
    struct conf_result result = {0};
    struct findings findings = {0};

    CHECK(a->instance);
    struct conf_input in = config_input(a, role, upstream, &hold);
    bool ok = conffile_write(&in, &result, &findings, err);
    log_findings(&findings);
    if (ok) {
        const char *conninfo = in.primary_conninfo ? in.primary_conninfo : "";
        bool attached = upstream && !in.frozen && config_knows_address(a, upstream);
        local_attached(a->local, attached ? upstream : "", conninfo);
        if (result.names_overridden)
            quorum_names_overridden(a->quorum);
        if (result.config_changed || result.hba_changed || result.ident_changed)
            ok = signal_reload(a, err);
    }
    config_hold_deinit(&hold);
    return ok;
}
