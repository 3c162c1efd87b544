#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/ctl/checks.h"
#include "base/str.h"
#include "io/loop.h"
#include "pg/datadir.h"
#include "store/store.h"
#include "wire/cluster.h"
#include "wire/conf/dynamic.h"

enum { STORE_LOOK_MS = 10 * 1000 };

/* 0, or the errno of a try to listen there. */
static int try_bind(const struct addrinfo *at)
{
    int one = 1;
    AUTO(fd) int fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);

    if (fd < 0)
        return errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one,
                     sizeof(one)); /* as the servers do; without it more seems taken */
    if (at->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    if (bind(fd, at->ai_addr, at->ai_addrlen) < 0 || listen(fd, 1) < 0)
        return errno;
    return 0;
}

pid_t check_postmaster(const struct check *c)
{
    struct datadir_state state = {0};

    if (!c->settings->postgresql.data_dir)
        return 0;
    datadir_look(c->settings->postgresql.data_dir, c->settings->pgkeep.state_dir, &state, NULL);
    bool alive = state.postmaster_pid > 0 && (kill(state.postmaster_pid, 0) == 0 || errno == EPERM);
    return alive ? state.postmaster_pid : 0;
}

static void report_bind(struct check *c, const char *key, const char *host, int port, int error, pid_t postmaster)
{
    if (error == EADDRINUSE && postmaster)
        check_passed(c, "port %d is used by the PostgreSQL of this data directory (pid %d), which would be adopted",
                     port, (int)postmaster);
    else if (error == EADDRINUSE)
        check_error(c, key, "port %d of %s is in use by another program", port, host);
    else if (error == EADDRNOTAVAIL)
        check_error(c, key, "%s is no address of this host", host);
    else if (error)
        check_error(c, key, "cannot listen on %s port %d: %s", host, port, strerror(error));
}

static void check_address(struct check *c, const char *key, const char *host, int port, pid_t postmaster)
{
    struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM}, *found = NULL;
    bool any = str_eq(host, "*");
    char port_text[16];

    (void)snprintf(port_text, sizeof(port_text), "%d", port);
    int failed = getaddrinfo(any ? NULL : host, port_text, &hints, &found);
    if (failed) {
        check_error(c, key, "%s: %s", host, gai_strerror(failed));
        return;
    }
    int error = 0;
    for (const struct addrinfo *at = found; at && !error; at = at->ai_next) {
        error = try_bind(at);
        if (error == EAFNOSUPPORT)
            error = 0; /* a host without IPv6 */
    }
    freeaddrinfo(found);
    report_bind(c, key, host, port, error, postmaster);
}

static void check_endpoint(struct check *c, const char *key, const struct endpoint *e, pid_t postmaster)
{
    if (!e->host || e->port <= 0)
        return;
    for (const char *at = e->host; *at;) {
        size_t len = strcspn(at, ",");
        AUTO(cstr) char *host = str_fmt("%.*s", (int)len, at);
        check_address(c, key, host, e->port, postmaster);
        at += len;
        at += *at == ',';
    }
}

void check_listen(struct check *c)
{
    check_endpoint(c, "restapi.listen", &c->settings->restapi.listen, 0);
    check_endpoint(c, "postgresql.listen", &c->settings->postgresql.listen, check_postmaster(c));
}

struct store_answer {
    bool done;
    enum store_status status;
    struct cluster *cluster;
    size_t prefix_len;
    struct err err;
};

static void on_keys(const struct store_result *result, void *arg)
{
    struct store_answer *a = arg;
    struct cluster_key *keys = mem_zero(result->kv_count, sizeof(*keys));

    a->done = true;
    a->status = result->status;
    if (result->status != STORE_DONE) {
        a->err = *result->err;
        free(keys);
        return;
    }
    for (size_t i = 0; i < result->kv_count; i++)
        keys[i] = (struct cluster_key){.name = result->kvs[i].key + a->prefix_len,
                                       .value = result->kvs[i].value,
                                       .value_len = result->kvs[i].value_len,
                                       .mod_revision = result->kvs[i].mod_revision,
                                       .lease = result->kvs[i].lease};
    a->cluster = cluster_read(keys, result->kv_count, result->revision);
    free(keys);
}

/* What is in force for all, and what this program could not promise. */
static void check_dynamic(struct check *c, const struct cluster *cluster)
{
    struct findings found = {0};

    if (!cluster->config)
        return;
    AUTO(dynamic) struct dynamic *d = dynamic_read(cluster->config, c->settings, &found);
    for (size_t i = 0; i < found.count; i++)
        findings_add(&c->findings, found.at[i].level, "config key in the store: %s", found.at[i].text);
    if (dynamic_refused(d))
        findings_add(&c->findings, FINDING_ERROR,
                     "config key in the store: %s is not built yet: this node would not become primary",
                     dynamic_refused(d));
    AUTO(cstr) char *why_not = check_why_not_strict(c, d);
    if (why_not)
        findings_add(&c->findings, FINDING_ERROR, "config key in the store: %s: this node would not become primary",
                     why_not);
    findings_deinit(&found);
    c->in_force = TAKE(d);
}

/* Nodes of two clusters under one name destroy each other's standbys: worth saying before the start. */
static void check_cluster(struct check *c, const struct cluster *cluster)
{
    const struct settings *s = c->settings;
    const struct member *m = s->name ? cluster_member(cluster, s->name) : NULL;
    char *host = NULL;
    int port = 0;

    if (cluster->bad)
        check_warn(c, "scope", "the store holds something unreadable: %s", cluster->bad);
    if (!str_empty(cluster->initialize) && c->system_identifier && !str_eq(cluster->initialize, c->system_identifier))
        check_error(c, "scope",
                    "the cluster %s in the store has system identifier %s, this data directory %s: another cluster",
                    s->scope, cluster->initialize, c->system_identifier);
    if (m && m->conn_url && url_host_port(m->conn_url, &host, &port)) {
        const struct endpoint *own = &s->postgresql.connect_address;
        if (own->host && (!str_eq(host, own->host) || port != own->port))
            check_error(c, "name", "%s is already a member of %s, at %s:%d: names are unique", s->name, s->scope, host,
                        port);
        free(host);
    }
}

void check_store(struct check *c)
{
    AUTO(store) struct store *store = NULL;
    struct store_answer a = {0};

    if (c->settings->store.kind == STORE_NONE || !c->settings->key_prefix)
        return;
    if (!store_new(c->loop, c->settings, &store, &a.err)) {
        check_error(c, check_store_section(c), "store: %s", a.err.text);
        return;
    }
    a.prefix_len = strlen(c->settings->key_prefix);
    store_get_prefix(store, c->settings->key_prefix, STORE_LOOK_MS, on_keys, &a);
    msec deadline_ms = loop_clock_ms() + STORE_LOOK_MS + 1000;
    while (!a.done && loop_clock_ms() < deadline_ms)
        loop_turn(c->loop, 100);

    if (!a.done || a.status != STORE_DONE) {
        check_error(c, check_store_section(c), "store: %s", a.done ? a.err.text : "no answer");
        return;
    }
    check_passed(c, "store: %s; %s", store_describe(store),
                 a.cluster->initialize ? "the cluster is there" : "the cluster is not there yet");
    check_cluster(c, a.cluster);
    check_dynamic(c, a.cluster);
    cluster_free(a.cluster);
}
