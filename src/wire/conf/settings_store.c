#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "wire/conf/settings_parts.h"
#include "wire/conf/value.h"

enum { ETCD_PORT = 2379 };

static const struct {
    const char *section;
    enum store_kind kind;
} stores[] = {
    {"etcd3", STORE_ETCD3},         {"etcd", STORE_ETCD2},          {"consul", STORE_CONSUL},
    {"zookeeper", STORE_ZOOKEEPER}, {"exhibitor", STORE_EXHIBITOR}, {"kubernetes", STORE_KUBERNETES},
    {"raft", STORE_RAFT},
};

/* "host:port", IPv6 in brackets. */
static void host_add(struct settings *s, const char *host, int port)
{
    AUTO(cstr) char *text = str_fmt(strchr(host, ':') ? "[%s]:%d" : "%s:%d", host, port);

    string_list_add(&s->store.hosts, text);
}

static void read_url(const char *text, struct settings *s)
{
    struct value_url url;

    if (!value_url(text, ETCD_PORT, &url))
        return;
    host_add(s, url.host, url.port);
    str_set(&s->store.protocol, url.protocol);
    if (url.username) {
        str_set(&s->store.username, url.username);
        str_set(&s->store.password, url.password);
    }
    value_url_deinit(&url);
}

static void read_hosts(const struct typed *t, const char *path, int default_port, struct settings *s)
{
    struct string_list hosts = {0};

    typed_text_list(t, path, &hosts);
    for (size_t i = 0; i < hosts.count; i++) {
        struct endpoint e;
        if (value_endpoint(hosts.at[i], default_port, &e)) {
            host_add(s, e.host, e.port);
            endpoint_deinit(&e);
        }
    }
    string_list_deinit(&hosts);
}

/* Patroni's order of precedence: url, hosts, host. */
static void read_etcd3(const struct typed *t, struct settings *s, struct findings *findings)
{
    AUTO(cstr) char *url = typed_text(t, "etcd3.url");
    int port = (int)typed_int(t, "etcd3.port");

    s->store.protocol = typed_text(t, "etcd3.protocol");
    s->store.username = typed_text(t, "etcd3.username");
    s->store.password = typed_text(t, "etcd3.password");
    s->store.cacert = typed_text(t, "etcd3.cacert");
    s->store.cert = typed_text(t, "etcd3.cert");
    s->store.key = typed_text(t, "etcd3.key");
    s->store.use_proxies = typed_bool(t, "etcd3.use_proxies");
    if (url)
        read_url(url, s);
    else if (typed_node(t, "etcd3.hosts"))
        read_hosts(t, "etcd3.hosts", port, s);
    else
        read_hosts(t, "etcd3.host", port, s);

    bool given =
        conf_path(t->root, "etcd3.url") || conf_path(t->root, "etcd3.hosts") || conf_path(t->root, "etcd3.host");
    if (!given) /* given, but not right: the audit has complained */
        findings_at(findings, FINDING_ERROR, conf_get(t->root, "etcd3"), "etcd3",
                    "names no endpoint: hosts, host or url is required (srv and proxy are not built yet)");
}

/* A section that is given, but not what is used. */
static void tell_unbuilt(const struct typed *t, const char *section, bool have_etcd3, struct findings *findings)
{
    const struct conf_node *n = conf_get(t->root, section);

    if (have_etcd3)
        findings_at(findings, FINDING_WARNING, n, section, "not built yet, ignored: etcd3 is used");
    else if (str_eq(section, "etcd"))
        findings_at(findings, FINDING_ERROR, n, section,
                    "etcd's version 2 protocol is not built: name the same hosts under etcd3 (keys of "
                    "version 2 are not visible there)");
    else
        findings_at(findings, FINDING_ERROR, n, section, "not built yet as a store; etcd3 is");
}

void settings_read_store(const struct typed *t, struct settings *s, struct findings *findings)
{
    bool have_etcd3 = typed_node(t, "etcd3") != NULL;

    for (size_t i = 0; i < ARRAY_LEN(stores); i++) {
        const struct conf_node *n = conf_get(t->root, stores[i].section);

        if (!n || n->type == CONF_NULL)
            continue;
        if (s->store.kind == STORE_NONE)
            s->store.kind = stores[i].kind;
        if (stores[i].kind != STORE_ETCD3)
            tell_unbuilt(t, stores[i].section, have_etcd3, findings);
    }
    if (have_etcd3)
        read_etcd3(t, s, findings);
    else if (s->store.kind == STORE_NONE)
        findings_at(findings, FINDING_ERROR, t->root, "etcd3", "required, but missing: no store is named");
}
