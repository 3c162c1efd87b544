#include "wire/conf/settings_parts.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "wire/conf/value.h"

void settings_read_rest(const struct typed *t, struct settings *s)
{
    (void)typed_endpoint(t, "restapi.listen", 0, &s->restapi.listen); /* absent: check_required() tells */
    s->restapi.certfile = typed_text(t, "restapi.certfile");
    s->restapi.keyfile = typed_text(t, "restapi.keyfile");
    s->restapi.keyfile_password = typed_text(t, "restapi.keyfile_password");
    s->restapi.cafile = typed_text(t, "restapi.cafile");
    s->restapi.ciphers = typed_text(t, "restapi.ciphers");
    s->restapi.verify_client = (enum verify_client)typed_enum(t, "restapi.verify_client");
    typed_text_list(t, "restapi.allowlist", &s->restapi.allowlist);
    s->restapi.allowlist_include_members = typed_bool(t, "restapi.allowlist_include_members");
    s->restapi.username = typed_text(t, "restapi.authentication.username");
    s->restapi.password = typed_text(t, "restapi.authentication.password");
    s->restapi.http_extra_headers = typed_json(t, "restapi.http_extra_headers");
    s->restapi.https_extra_headers = typed_json(t, "restapi.https_extra_headers");
    s->restapi.request_queue_size = (int)typed_int(t, "restapi.request_queue_size");
    s->restapi.server_tokens = (enum server_tokens)typed_enum(t, "restapi.server_tokens");
}

static char *text_or(const struct typed *t, const char *path, const char *otherwise)
{
    char *text = typed_text(t, path);

    return text ? text : str_dup(otherwise);
}

void settings_read_ctl_section(const struct typed *t, struct settings *s)
{
    bool own = typed_node(t, "ctl.authentication.username") != NULL;

    s->ctl.username = text_or(t, "ctl.authentication.username", s->restapi.username);
    s->ctl.password = text_or(t, "ctl.authentication.password", own ? NULL : s->restapi.password);
    s->ctl.insecure = typed_bool(t, "ctl.insecure");
    s->ctl.cacert = text_or(t, "ctl.cacert", s->restapi.cafile);
    s->ctl.cert = text_or(t, "ctl.certfile", s->restapi.certfile);
    s->ctl.key = text_or(t, "ctl.keyfile", s->restapi.keyfile);
    s->ctl.key_password = text_or(t, "ctl.keyfile_password", s->restapi.keyfile_password);
}

/* Sections of the operator's own below bootstrap. */
static json_t *bootstrap_methods(const struct typed *t)
{
    const struct conf_node *section = typed_node(t, "bootstrap");
    json_t *methods = json_object();

    for (size_t i = 0; section && i < section->children.count; i++) {
        const struct conf_node *n = section->children.at[i];
        const struct key *key = key_child("bootstrap", n->key, KEY_LOCAL);

        if (!str_ends(key->path, "*") || !conf_get(n, "command"))
            continue;
        json_t *method = typed_json_of(key, n, KEY_LOCAL);
        CHECK(method);
        CHECK(json_object_set_new(methods, n->key, method) == 0);
    }
    return methods;
}

void settings_read_bootstrap(const struct typed *t, struct settings *s, struct findings *findings)
{
    char *method = typed_text(t, "bootstrap.method");

    s->bootstrap.initdb = typed_json(t, "bootstrap.initdb");
    s->bootstrap.post_bootstrap = typed_text(t, "bootstrap.post_bootstrap");
    s->bootstrap.methods = bootstrap_methods(t);
    if (str_eq(method, "initdb")) {
        free(method);
        return;
    }
    s->bootstrap.method = method;
    if (!json_object_get(s->bootstrap.methods, method))
        findings_at(findings, FINDING_ERROR, typed_node(t, "bootstrap.method"), "bootstrap.method",
                    "there is no section bootstrap.%s with a command", method);
}

static char *user_text(const struct typed *t, const char *user, const char *key)
{
    AUTO(cstr) char *path = str_fmt("postgresql.authentication.%s.%s", user, key);

    return typed_text(t, path);
}

static void read_user(const struct typed *t, const char *user, struct pg_user *ret)
{
    *ret = (struct pg_user){
        .username = user_text(t, user, "username"),
        .password = user_text(t, user, "password"),
        .sslmode = user_text(t, user, "sslmode"),
        .sslcert = user_text(t, user, "sslcert"),
        .sslkey = user_text(t, user, "sslkey"),
        .sslpassword = user_text(t, user, "sslpassword"),
        .sslrootcert = user_text(t, user, "sslrootcert"),
        .sslcrl = user_text(t, user, "sslcrl"),
        .sslcrldir = user_text(t, user, "sslcrldir"),
        .gssencmode = user_text(t, user, "gssencmode"),
        .channel_binding = user_text(t, user, "channel_binding"),
        .sslnegotiation = user_text(t, user, "sslnegotiation"),
    };
}

enum { POSTGRESQL_PORT = 5432 }; /* where `listen` names none, as PostgreSQL and Patroni */

static json_t *postgresql_section(const struct typed *t)
{
    static const char *const left_out[] = {"authentication", "pgpass"};
    json_t *section = typed_json(t, "postgresql");

    if (!section)
        return json_object();
    for (size_t i = 0; i < ARRAY_LEN(left_out); i++)
        (void)json_object_del(section, left_out[i]); /* may not be there */
    return section;
}

void settings_read_postgresql(const struct typed *t, struct settings *s)
{
    /* Absent: check_required() tells. */
    (void)typed_endpoint(t, "postgresql.listen", POSTGRESQL_PORT, &s->postgresql.listen);
    s->postgresql.proxy_address = typed_text(t, "postgresql.proxy_address");
    s->postgresql.data_dir = typed_text(t, "postgresql.data_dir");
    s->postgresql.config_dir = typed_text(t, "postgresql.config_dir");
    s->postgresql.bin_dir = typed_text(t, "postgresql.bin_dir");
    s->postgresql.bin_name = typed_json(t, "postgresql.bin_name");
    s->postgresql.pgpass = typed_text(t, "postgresql.pgpass");
    s->postgresql.custom_conf = typed_text(t, "postgresql.custom_conf");
    s->postgresql.use_unix_socket = typed_bool(t, "postgresql.use_unix_socket");
    s->postgresql.use_unix_socket_repl = typed_bool(t, "postgresql.use_unix_socket_repl");
    s->postgresql.pg_ctl_timeout_s = (int)typed_int(t, "postgresql.pg_ctl_timeout");
    read_user(t, "superuser", &s->postgresql.superuser);
    read_user(t, "replication", &s->postgresql.replication);
    read_user(t, "rewind", &s->postgresql.rewind);
    s->postgresql.callbacks = typed_json(t, "postgresql.callbacks");
    s->postgresql.pre_promote = typed_text(t, "postgresql.pre_promote");
    s->postgresql.before_stop = typed_text(t, "postgresql.before_stop");
    s->postgresql.section = postgresql_section(t);
}

/* "<data_dir>.pgkeep", beside the data directory: on the same disk, but not moved or cloned with it. */
static char *default_state_dir(const char *data_dir)
{
    size_t len = strlen(data_dir);

    while (len > 1 && data_dir[len - 1] == '/')
        len--;
    return str_fmt("%.*s.pgkeep", (int)len, data_dir);
}

/* Whatever reads its tags, Patroni's tools too, finds that it neither leads, streams, counts nor serves. */
static void make_witness(struct settings *s)
{
    static const char *const tags[] = {"nofailover", "noloadbalance", "nostream", "nosync", "witness"};

    if (!s->tags.all)
        s->tags.all = json_object();
    for (size_t i = 0; i < ARRAY_LEN(tags); i++)
        (void)json_object_set_new(s->tags.all, tags[i], json_true());
    if (!s->postgresql.data_dir && s->pgkeep.state_dir)
        s->postgresql.data_dir = str_fmt("%s/no-data", s->pgkeep.state_dir);
}

void settings_read_others(const struct typed *t, struct settings *s)
{
    s->tags.all = typed_json(t, "tags");

    s->watchdog.mode = (enum watchdog_mode)typed_enum(t, "watchdog.mode");
    s->watchdog.device = typed_text(t, "watchdog.device");
    s->watchdog.safety_margin_s = (int)typed_int(t, "watchdog.safety_margin");

    s->log.format = (enum log_format)typed_enum(t, "log.type");
    s->log.level = typed_text(t, "log.level");
    s->log.dir = typed_text(t, "log.dir");
    s->log.file_size = typed_int(t, "log.file_size");
    s->log.file_num = (int)typed_int(t, "log.file_num");
    s->log.syslog = typed_text(t, "pgkeep.syslog");

    s->pgkeep.state_dir = typed_text(t, "pgkeep.state_dir");
    s->pgkeep.witness = typed_bool(t, "pgkeep.witness");
    if (s->pgkeep.witness)
        make_witness(s);
    if (!s->pgkeep.state_dir && s->postgresql.data_dir)
        s->pgkeep.state_dir = default_state_dir(s->postgresql.data_dir);
    if (!s->postgresql.pgpass && s->pgkeep.state_dir)
        s->postgresql.pgpass = str_fmt("%s/passfile", s->pgkeep.state_dir);
}

/* True for what one can listen on, but nobody can connect to. */
static bool is_wildcard(const char *host)
{
    return str_eq(host, "*") || str_eq(host, "0.0.0.0") || str_eq(host, "::");
}

static void check_address(const struct typed *t, const char *section, const struct endpoint *listen,
                          struct endpoint *ret_connect, struct findings *findings)
{
    AUTO(cstr) char *path = str_fmt("%s.connect_address", section);
    AUTO(cstr) char *listen_path = str_fmt("%s.listen", section);

    if (typed_endpoint(t, path, listen->host ? listen->port : 1, ret_connect)) {
        if (is_wildcard(ret_connect->host))
            findings_at(findings, FINDING_ERROR, typed_node(t, path), path, "others cannot connect to \"%s\"",
                        ret_connect->host);
        return;
    }
    if (!listen->host || !conf_absent(conf_path(t->root, path)))
        return; /* the audit has complained already */
    if (strchr(listen->host, ',') || is_wildcard(listen->host)) {
        findings_at(findings, FINDING_ERROR, typed_node(t, listen_path), path,
                    "required, because %s is not one address that others can connect to", listen_path);
        return;
    }
    *ret_connect = (struct endpoint){.host = str_dup(listen->host), .port = listen->port};
}

static bool is_loopback(const char *host)
{
    return str_eq_nocase(host, "localhost") || str_starts(host, "127.") || str_eq(host, "::1");
}

/* The port after that of the HTTP interface; where several nodes may share a host, that may be another's. */
static int peer_port(const struct endpoint *rest, const char *connect_host)
{
    return is_loopback(connect_host) ? 0 : rest->port + 1;
}

static void read_peer(const struct typed *t, struct settings *s, struct findings *findings)
{
    struct endpoint *listen = &s->pgkeep.peer_listen;
    struct endpoint *connect = &s->pgkeep.peer_connect;
    const char *host = s->restapi.connect_address.host;

    if (!s->restapi.listen.host || !host)
        return; /* complained about already */
    bool own = typed_endpoint(t, "pgkeep.peer.listen", peer_port(&s->restapi.listen, host), listen);
    if (!own)
        *listen = (struct endpoint){str_dup(s->restapi.listen.host), peer_port(&s->restapi.listen, host)};
    int port = own || !listen->port ? listen->port : peer_port(&s->restapi.connect_address, host);
    if (!typed_endpoint(t, "pgkeep.peer.connect_address", port, connect)) {
        bool reachable = own && !strchr(listen->host, ',') && !is_wildcard(listen->host);
        *connect = (struct endpoint){str_dup(reachable ? listen->host : host), port};
    } else if (is_wildcard(connect->host)) {
        findings_at(findings, FINDING_ERROR, typed_node(t, "pgkeep.peer.connect_address"),
                    "pgkeep.peer.connect_address", "others cannot connect to \"%s\"", connect->host);
    }
    if (listen->port > UINT16_MAX || connect->port > UINT16_MAX)
        findings_at(findings, FINDING_ERROR, typed_node(t, "restapi.listen"), "pgkeep.peer.listen",
                    "required, because there is no port after that of restapi");
}

void settings_check_addresses(const struct typed *t, struct settings *s, struct findings *findings)
{
    check_address(t, "restapi", &s->restapi.listen, &s->restapi.connect_address, findings);
    check_address(t, "postgresql", &s->postgresql.listen, &s->postgresql.connect_address, findings);
    read_peer(t, s, findings);
}

/* The boolean wins over the priority, as in Patroni; saying both is worth a word if they disagree. */
static void check_tag_pair(const struct typed *t, const char *no, const char *priority, struct findings *findings)
{
    const struct conf_node *n = typed_node(t, priority);

    if (!n || !typed_node(t, no))
        return;
    if (typed_bool(t, no) == (typed_int(t, priority) > 0))
        findings_at(findings, FINDING_WARNING, n, priority, "ignored: it contradicts %s, which counts", no);
}

void settings_check_tags(const struct typed *t, struct findings *findings)
{
    check_tag_pair(t, "tags.nofailover", "tags.failover_priority", findings);
    check_tag_pair(t, "tags.nosync", "tags.sync_priority", findings);
}
