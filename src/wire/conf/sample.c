#include "wire/conf/sample.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "wire/conf/scalar.h"

struct sample sample_placeholders(void)
{
    static const char *const hosts[] = {"etcd-01:2379", "etcd-02:2379", "etcd-03:2379", NULL};

    return (struct sample){
        .scope = "cluster-1",
        .namespace_ = "/service/",
        .name = "node-1",
        .restapi_listen = "0.0.0.0:8008",
        .restapi_connect_address = "10.0.0.1:8008",
        .pg_listen = "0.0.0.0:5432",
        .pg_connect_address = "10.0.0.1:5432",
        .data_dir = "/var/lib/postgresql/15/main",
        .etcd_hosts = hosts,
        .superuser = "postgres",
        .superuser_password = "change me: superuser",
        .replication = "replicator",
        .replication_password = "change me: replicator",
        .rewind = "rewind",
        .rewind_password = "change me: rewind",
    };
}

/* Text that YAML reads back as this text: bare where that is clear, else in double quotes. */
static char *quoted(const char *text)
{
    static const char bare[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:-";
    size_t len = strlen(text);
    struct buf b = BUF_EMPTY;

    if (strspn(text, bare) == len && scalar_resolve(text).type == CONF_STRING && text[0] != '-' && text[0] != ':' &&
        text[len - 1] != ':')
        return str_dup(text);

    buf_add_char(&b, '"');
    for (; *text; text++) {
        if ((unsigned char)*text < ' ')
            buf_printf(&b, "\\x%02x", (unsigned int)*text);
        else if (*text == '"' || *text == '\\')
            buf_printf(&b, "\\%c", *text);
        else
            buf_add_char(&b, *text);
    }
    buf_add_char(&b, '"');
    return buf_take(&b);
}

/* "<indent>key: value"; nothing for NULL. */
static void add_key(struct buf *b, const char *key, const char *value)
{
    if (!value)
        return;
    AUTO(cstr) char *text = quoted(value);
    buf_printf(b, "%s: %s\n", key, text);
}

static void add_item(struct buf *b, const char *indent, const char *value)
{
    AUTO(cstr) char *text = quoted(value);

    buf_printf(b, "%s- %s\n", indent, text);
}

static void add_head(struct buf *b, const struct sample *s)
{
    buf_add_str(b, "# One node of a pgkeep cluster. Patroni reads this file too. Every key, with its default:\n"
                   "# docs/patroni-keys.md. Holds passwords: mode 0600, owned by the user who runs it.\n"
                   "\n"
                   "# The cluster, the same on all its nodes; and this node, unique in it.\n");
    add_key(b, "scope", s->scope);
    add_key(b, "namespace", s->namespace_);
    add_key(b, "name", s->name);
    buf_add_str(b, "\n"
                   "# HTTP interface: health checks of load balancers, and what nodes ask each other.\n"
                   "restapi:\n");
    add_key(b, "  listen", s->restapi_listen);
    add_key(b, "  connect_address", s->restapi_connect_address);
    buf_add_str(b, "\n# The store in which the cluster agrees.\netcd3:\n  hosts:\n");
    for (const char *const *host = s->etcd_hosts; *host; host++)
        add_item(b, "    ", *host);
}

static void add_bootstrap(struct buf *b)
{
    buf_add_str(
        b, "\n"
           "# How the cluster is made, once. Later changes of `dcs`: pgkeep edit-config.\n"
           "bootstrap:\n"
           "  dcs:\n"
           "    ttl: 30             # seconds a dead leader's key lives\n"
           "    loop_wait: 10       # loop_wait + 2*retry_timeout must not exceed ttl\n"
           "    retry_timeout: 10\n"
           "    maximum_lag_on_failover: 1048576 # asynchronous only: bytes a new leader may be behind\n"
           "    synchronous_mode: quorum # a commit waits for one standby, and is not lost; off: it waits for none\n"
           "    postgresql:\n"
           "      use_pg_rewind: true\n"
           "      use_slots: true\n"
           "      parameters: # what has to be equal on all nodes stands here\n"
           "        max_connections: 100\n"
           "        max_wal_senders: 10\n"
           "        max_replication_slots: 10\n"
           "  initdb:\n"
           "    - encoding: UTF8\n"
           "    - data-checksums\n");
}

static void add_user(struct buf *b, const char *kind, const char *name, const char *password)
{
    if (!name)
        return;
    buf_printf(b, "    %s:\n", kind);
    add_key(b, "      username", name);
    add_key(b, "      password", password);
}

/* A user as pg_hba.conf spells it: in quotes unless it is a plain word. */
static char *hba_name(const char *name)
{
    struct buf b = BUF_EMPTY;

    if (strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(name))
        return str_dup(name);
    buf_add_char(&b, '"');
    for (; *name; name++)
        buf_printf(&b, *name == '"' ? "%c\"" : "%c", *name);
    buf_add_char(&b, '"');
    return buf_take(&b);
}

static void add_postgresql(struct buf *b, const struct sample *s)
{
    buf_add_str(b, "\n# The PostgreSQL of this node.\npostgresql:\n");
    add_key(b, "  listen", s->pg_listen);
    add_key(b, "  connect_address", s->pg_connect_address);
    add_key(b, "  data_dir", s->data_dir);
    if (s->bin_dir)
        add_key(b, "  bin_dir", s->bin_dir);
    else
        buf_add_str(b, "  # bin_dir: the version of the data directory, else the newest installed\n");
    buf_add_str(b, "  authentication:\n");
    add_user(b, "superuser", s->superuser, s->superuser_password);
    add_user(b, "replication", s->replication, s->replication_password);
    add_user(b, "rewind", s->rewind, s->rewind_password);

    AUTO(cstr) char *user = hba_name(s->replication);
    AUTO(cstr) char *replication = str_fmt("host replication %s samenet scram-sha-256", user);
    buf_add_str(b,
                "  pg_hba: # samenet is the subnets of this host; widen it where nodes or clients stand elsewhere\n");
    add_item(b, "    ", "local all all scram-sha-256");
    add_item(b, "    ", replication);
    add_item(b, "    ", "host all all samenet scram-sha-256");
}

char *sample_render(const struct sample *s)
{
    struct buf b = BUF_EMPTY;

    add_head(&b, s);
    add_bootstrap(&b);
    add_postgresql(&b, s);
    buf_add_str(&b, "\n"
                    "# tags:\n"
                    "#   nofailover: false\n"
                    "#   failover_priority: 1\n"
                    "#   clonefrom: false\n"
                    "#   noloadbalance: false\n"
                    "#   nosync: false\n"
                    "#   replicatefrom: node-2\n");
    return buf_take(&b);
}
