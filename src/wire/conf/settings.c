#include "wire/conf/settings.h"
#include "wire/cluster.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "wire/conf/audit.h"
#include "wire/conf/environment.h"
#include "wire/conf/parameters.h"
#include "wire/conf/settings_parts.h"
#include "wire/conf/typed.h"
#include "wire/conf/value.h"
#include "wire/conf/yaml.h"
#include "wire/peer_link.h"

enum purpose { FOR_NODE, FOR_CTL, FOR_LOOKING };

static void pg_user_deinit(struct pg_user *u)
{
    free(u->username);
    free(u->password);
    free(u->sslmode);
    free(u->sslcert);
    free(u->sslkey);
    free(u->sslpassword);
    free(u->sslrootcert);
    free(u->sslcrl);
    free(u->sslcrldir);
    free(u->gssencmode);
    free(u->channel_binding);
    free(u->sslnegotiation);
}

static void restapi_deinit(struct settings *s)
{
    endpoint_deinit(&s->restapi.listen);
    endpoint_deinit(&s->restapi.connect_address);
    free(s->restapi.certfile);
    free(s->restapi.keyfile);
    free(s->restapi.keyfile_password);
    free(s->restapi.cafile);
    free(s->restapi.ciphers);
    string_list_deinit(&s->restapi.allowlist);
    free(s->restapi.username);
    free(s->restapi.password);
    json_decref(s->restapi.http_extra_headers);
    json_decref(s->restapi.https_extra_headers);
}

static void store_deinit(struct settings *s)
{
    string_list_deinit(&s->store.hosts);
    free(s->store.protocol);
    free(s->store.username);
    free(s->store.password);
    free(s->store.cacert);
    free(s->store.cert);
    free(s->store.key);
}

static void postgresql_deinit(struct settings *s)
{
    endpoint_deinit(&s->postgresql.listen);
    endpoint_deinit(&s->postgresql.connect_address);
    free(s->postgresql.proxy_address);
    free(s->postgresql.data_dir);
    free(s->postgresql.config_dir);
    free(s->postgresql.bin_dir);
    free(s->postgresql.pgpass);
    free(s->postgresql.custom_conf);
    json_decref(s->postgresql.bin_name);
    pg_user_deinit(&s->postgresql.superuser);
    pg_user_deinit(&s->postgresql.replication);
    pg_user_deinit(&s->postgresql.rewind);
    json_decref(s->postgresql.callbacks);
    free(s->postgresql.pre_promote);
    free(s->postgresql.before_stop);
    json_decref(s->postgresql.section);
}

static void settings_free(struct settings *s)
{
    free(s->path);
    free(s->scope);
    free(s->namespace_);
    free(s->name);
    free(s->key_prefix);
    restapi_deinit(s);
    store_deinit(s);
    json_decref(s->bootstrap.dcs);
    json_decref(s->bootstrap.initdb);
    free(s->bootstrap.method);
    json_decref(s->bootstrap.methods);
    free(s->bootstrap.post_bootstrap);
    postgresql_deinit(s);
    json_decref(s->tags.all);
    free(s->watchdog.device);
    free(s->log.level);
    free(s->log.dir);
    free(s->log.syslog);
    free(s->ctl.username);
    free(s->ctl.password);
    free(s->ctl.cacert);
    free(s->ctl.cert);
    free(s->ctl.key);
    free(s->ctl.key_password);
    free(s->pgkeep.state_dir);
    endpoint_deinit(&s->pgkeep.peer_listen);
    endpoint_deinit(&s->pgkeep.peer_connect);
    free(s);
}

/* The count is atomic because the HTTP thread holds snapshots too. */
struct settings *settings_ref(struct settings *s)
{
    __atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
    return s;
}

void settings_unref(struct settings *s)
{
    if (!s)
        return;
    CHECK(__atomic_load_n(&s->refs, __ATOMIC_RELAXED) > 0);
    if (__atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) == 0)
        settings_free(s);
}

/* All files, later ones over earlier ones. NULL with findings if one is no configuration. */
static struct conf_node *sources_read(const struct conf_source *sources, size_t count, struct findings *findings)
{
    AUTO(conf_node) struct conf_node *root = NULL;
    bool ok = true;

    for (size_t i = 0; i < count; i++) {
        AUTO(conf_node)
        struct conf_node *one = conf_yaml_read(sources[i].path, sources[i].text, sources[i].len, findings);
        if (one && one->type != CONF_MAP)
            findings_add(findings, FINDING_ERROR, "%s: is no configuration: expected a mapping, found %s",
                         sources[i].path, conf_type_name(one->type));
        if (!one || one->type != CONF_MAP) {
            ok = false;
            continue;
        }
        if (!root)
            root = conf_node_new(CONF_MAP, one->file, 0);
        conf_merge(root, TAKE(one));
    }
    return ok ? TAKE(root) : NULL;
}

/*
 * Patroni's order: the file with single variables over it; without a file the one variable that holds
 * everything, alone; without that the single variables.
 */
static struct conf_node *tree_read(const struct conf_source *sources, size_t count, const char *const *environment,
                                   struct findings *findings)
{
    static const char variable[] = "PATRONI_CONFIGURATION";
    const char *whole = environment_get(environment, variable);

    if (whole && count == 0) {
        struct conf_source source = {"environment PATRONI_CONFIGURATION", whole, strlen(whole)};
        return sources_read(&source, 1, findings);
    }
    if (whole)
        findings_add(findings, FINDING_WARNING, "environment %s: ignored, because there is a file", variable);

    AUTO(conf_node) struct conf_node *env = environment_read(environment, findings);
    if (count == 0) {
        if (env->children.count == 0)
            findings_add(findings, FINDING_ERROR, "no configuration: neither a file nor PATRONI_ variables");
        return TAKE(env);
    }
    struct conf_node *root = sources_read(sources, count, findings);
    if (root)
        conf_merge(root, TAKE(env));
    return root;
}

static char *path_of(const struct conf_source *sources, size_t count)
{
    if (count == 0)
        return NULL;
    const char *slash = strrchr(sources[0].path, '/');
    if (count == 1 || !slash)
        return str_dup(sources[0].path);
    return str_fmt("%.*s", (int)(slash - sources[0].path), sources[0].path);
}

static char *without_slashes(const char *text)
{
    while (*text == '/')
        text++;
    size_t len = strlen(text);
    while (len > 0 && text[len - 1] == '/')
        len--;
    return str_fmt("%.*s", (int)len, text);
}

static void read_identity(const struct typed *t, struct settings *s)
{
    const struct conf_node *given = conf_get(t->root, "namespace");
    AUTO(cstr)
    char *namespace_ = given && given->type == CONF_STRING ? str_dup(given->string) : typed_text(t, "namespace");

    s->scope = typed_text(t, "scope");
    s->name = typed_text(t, "name");
    s->namespace_ = without_slashes(namespace_);
    if (s->scope)
        s->key_prefix = str_fmt("/%s/%s/", s->namespace_, s->scope);
}

/* Both become parts of the store's keys. */
static void check_identity(const struct typed *t, const struct settings *s, struct findings *findings)
{
    if (s->scope && strchr(s->scope, '/'))
        findings_at(findings, FINDING_ERROR, conf_get(t->root, "scope"), "scope", "must not contain a slash");
    if (s->name && strchr(s->name, '/'))
        findings_at(findings, FINDING_ERROR, conf_get(t->root, "name"), "name", "must not contain a slash");
    if (s->name && strlen(s->name) >= PEER_NAME_MAX)
        findings_at(findings, FINDING_ERROR, conf_get(t->root, "name"), "name", "longer than %d bytes",
                    PEER_NAME_MAX - 1);
    if (s->key_prefix && strlen(s->key_prefix) >= PEER_CLUSTER_MAX)
        findings_at(findings, FINDING_ERROR, conf_get(t->root, "scope"), "scope",
                    "longer than %d bytes together with the namespace", PEER_CLUSTER_MAX - 4);
    if (s->name && member_name_is_reserved(s->name))
        findings_at(findings, FINDING_ERROR, conf_get(t->root, "name"), "name", "this name is reserved");
    else if (s->name && strlen(s->name) < PEER_NAME_MAX && member_name_why_not_counted(s->name))
        findings_at(findings, FINDING_WARNING, conf_get(t->root, "name"), "name",
                    "this one %s: with synchronous_mode no commit counts on this node",
                    member_name_why_not_counted(s->name));
}

static void check_there(const struct typed *t, const char *const *paths, size_t count, struct findings *findings)
{
    for (size_t i = 0; i < count; i++) {
        const struct conf_node *n = conf_path(t->root, paths[i]);

        if (conf_absent(n)) /* whether it is right is the audit's matter */
            findings_at(findings, FINDING_ERROR, n ? n : t->root, paths[i], "required, but missing");
    }
}

static void check_required(const struct typed *t, const struct settings *s, struct findings *findings)
{
    static const char *const of_all[] = {"scope", "name", "restapi.listen"};
    static const char *const of_nodes[] = {"postgresql.listen", "postgresql.data_dir",
                                           "postgresql.authentication.replication.username"};
    static const char *const of_witnesses[] = {"pgkeep.state_dir"};

    check_there(t, of_all, ARRAY_LEN(of_all), findings);
    if (!s->pgkeep.witness)
        check_there(t, of_nodes, ARRAY_LEN(of_nodes), findings);
    else
        check_there(t, of_witnesses, ARRAY_LEN(of_witnesses), findings);
    if (s->pgkeep.witness && !conf_absent(conf_path(t->root, "postgresql")))
        findings_at(findings, FINDING_ERROR, conf_path(t->root, "postgresql"), "postgresql",
                    "a witness has no PostgreSQL: either this section goes or pgkeep.witness");
}

/* The local file must not set what has to be equal on all nodes. */
static void check_parameters(const struct typed *t, struct findings *findings)
{
    const struct conf_node *parameters = typed_node(t, "postgresql.parameters");

    for (size_t i = 0; parameters && i < parameters->children.count; i++) {
        const struct conf_node *n = parameters->children.at[i];
        AUTO(cstr) char *path = str_fmt("postgresql.parameters.%s", n->key);

        if (parameter_is_shared(n->key))
            findings_at(findings, FINDING_WARNING, n, path,
                        "ignored here: has to be equal on all nodes, so only the dynamic configuration sets it");
    }
}

static struct settings *settings_read_for(enum purpose purpose, const struct conf_source *sources, size_t source_count,
                                          const char *const *environment, struct findings *findings)
{
    size_t errors_before = findings->error_count;
    AUTO(conf_node) struct conf_node *root = tree_read(sources, source_count, environment, findings);

    if (!root)
        return NULL;

    AUTO(settings) struct settings *s = mem_zero(1, sizeof(*s));
    struct typed t = {.root = root, .scope = KEY_LOCAL};
    s->refs = 1;
    s->path = path_of(sources, source_count);
    s->bootstrap.dcs = typed_node(&t, "bootstrap.dcs") ? conf_to_json(typed_node(&t, "bootstrap.dcs")) : NULL;
    audit_rename_old(root, KEY_LOCAL, findings);
    audit_local(root, findings);

    read_identity(&t, s);
    settings_read_store(&t, s, findings);
    settings_read_rest(&t, s);
    settings_read_ctl_section(&t, s);
    settings_read_bootstrap(&t, s, findings);
    settings_read_postgresql(&t, s);
    settings_read_others(&t, s);
    if (purpose != FOR_CTL) {
        check_required(&t, s, findings);
        check_identity(&t, s, findings);
        check_parameters(&t, findings);
        settings_check_addresses(&t, s, findings);
        settings_check_tags(&t, findings);
    }
    return purpose == FOR_LOOKING || findings->error_count == errors_before ? TAKE(s) : NULL;
}

struct settings *settings_read(const struct conf_source *sources, size_t source_count, const char *const *environment,
                               struct findings *findings)
{
    return settings_read_for(FOR_NODE, sources, source_count, environment, findings);
}

struct settings *settings_read_ctl(const struct conf_source *sources, size_t source_count,
                                   const char *const *environment, struct findings *findings)
{
    return settings_read_for(FOR_CTL, sources, source_count, environment, findings);
}

struct settings *settings_read_anyway(const struct conf_source *sources, size_t source_count,
                                      const char *const *environment, struct findings *findings)
{
    return settings_read_for(FOR_LOOKING, sources, source_count, environment, findings);
}
