#include "pg/passfile.h"

#include <limits.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/str.h"
#include "pg/bin.h"
#include "pg/file.h"
#include "pg/guc.h"
#include "pg/instance.h"
#include "wire/conf/dynamic.h"
#include "wire/conf/settings.h"
#include "wire/conninfo.h"

enum {
    /* A host that vanished without a word: noticed after 10 + 3 × 5 s instead of two hours. */
    KEEPALIVE_IDLE_S = 10,
    KEEPALIVE_INTERVAL_S = 5,
    KEEPALIVE_COUNT = 3,
    TOOL_CONNECT_TIMEOUT_S = 10, /* per address of the host; libpq's own default is none */
};

/*
 * A walreceiver connects by PQconnectPoll, which knows no connect_timeout (libpqwalreceiver.c), and
 * wal_receiver_timeout begins with the stream: a host that drops packets would be waited for as long as the kernel
 * repeats them, two minutes. This ends both, a connection that is not answered and what is sent and not acknowledged
 * (tcp(7)). Some times what makes that profile suspect a node; half of it, and a short trouble of the network ends
 * streams that would have gone on.
 */
static const int stream_user_timeout_ms[] = {
    [PROFILE_FAST] = 2000,
    [PROFILE_DEFAULT] = 5000,
    [PROFILE_WAN] = 15000,
};

/* A field of a passfile: ':' and '\' are escaped (PostgreSQL: fe-connect.c, passwordFromFile). */
static void add_field(struct buf *text, const char *value)
{
    for (const char *c = value; *c; c++) {
        if (*c == ':' || *c == '\\')
            buf_add_char(text, '\\');
        buf_add_char(text, *c);
    }
}

char *passfile_text(const struct pg_user *const *users, int user_count)
{
    AUTO(buf) struct buf text = BUF_EMPTY;

    for (int i = 0; i < user_count; i++) {
        bool seen = str_empty(users[i]->username) || str_empty(users[i]->password);
        for (int k = 0; k < i; k++)
            seen |= str_eq(users[k]->username, users[i]->username);
        if (seen)
            continue;
        buf_add_str(&text, "*:*:*:");
        add_field(&text, users[i]->username);
        buf_add_char(&text, ':');
        add_field(&text, users[i]->password);
        buf_add_char(&text, '\n');
    }
    return buf_take(&text);
}

bool passfile_write(const struct pg_instance *i, bool *ret_changed, struct err *err)
{
    const struct settings *s = i->settings;
    const struct pg_user *const users[] = {&s->postgresql.superuser, &s->postgresql.replication, &s->postgresql.rewind};
    AUTO(cstr) char *text = passfile_text(users, (int)ARRAY_LEN(users));

    return file_replace_if_changed(i->passfile, text, 0600, ret_changed, err) || err_wrap(err, "passfile");
}

char *conninfo_text(const struct conninfo_spec *spec)
{
    AUTO(buf) struct buf text = BUF_EMPTY;
    const struct pg_user *u = spec->user;

    conninfo_add(&text, "user", u->username);
    conninfo_add(&text, "passfile", spec->passfile);
    conninfo_add(&text, "host", spec->host);
    if (spec->port)
        conninfo_add_int(&text, "port", spec->port);
    conninfo_add(&text, "dbname", spec->dbname);
    conninfo_add(&text, "sslmode", u->sslmode ? u->sslmode : "prefer");
    conninfo_add(&text, "sslcert", u->sslcert);
    conninfo_add(&text, "sslkey", u->sslkey);
    if (spec->with_sslpassword)
        conninfo_add(&text, "sslpassword", u->sslpassword);
    conninfo_add(&text, "sslrootcert", u->sslrootcert);
    conninfo_add(&text, "sslcrl", u->sslcrl);
    if (spec->major >= 14)
        conninfo_add(&text, "sslcrldir", u->sslcrldir);
    if (spec->major >= 17)
        conninfo_add(&text, "sslnegotiation", u->sslnegotiation);
    conninfo_add(&text, "gssencmode", u->gssencmode ? u->gssencmode : "prefer");
    conninfo_add(&text, "channel_binding", u->channel_binding ? u->channel_binding : "prefer");
    conninfo_add(&text, "application_name", spec->application_name);
    conninfo_add(&text, "target_session_attrs", spec->target_session_attrs);
    if (spec->connect_timeout_s)
        conninfo_add_int(&text, "connect_timeout", spec->connect_timeout_s);
    if (spec->keepalives) {
        conninfo_add_int(&text, "keepalives_idle", KEEPALIVE_IDLE_S);
        conninfo_add_int(&text, "keepalives_interval", KEEPALIVE_INTERVAL_S);
        conninfo_add_int(&text, "keepalives_count", KEEPALIVE_COUNT);
    }
    if (spec->tcp_user_timeout_ms)
        conninfo_add_int(&text, "tcp_user_timeout", spec->tcp_user_timeout_ms);
    return buf_take(&text);
}

/* The slot synchronisation of PostgreSQL 17 connects with primary_conninfo and needs a database in it. */
static bool syncs_slots(const struct pg_instance *i)
{
    const json_t *value = json_object_get(i->dynamic->parameters, "sync_replication_slots");
    bool on = json_is_true(value);

    if (json_is_string(value) && !guc_parse_bool(json_string_value(value), &on))
        on = false;
    return i->major >= 17 && on;
}

/* What postgresql.parameters says for the server's own connections holds for those that it makes as well. */
static int user_timeout_ms(const struct pg_instance *i)
{
    const json_t *asked = json_object_get(i->dynamic->parameters, "tcp_user_timeout");
    long long ms;

    if (i->dynamic->synchronous_mode == SYNC_MODE_OFF)
        return 0;
    if (json_is_integer(asked) && json_integer_value(asked) >= 0 && json_integer_value(asked) <= INT_MAX)
        return (int)json_integer_value(asked);
    if (json_is_string(asked) && guc_parse_int(json_string_value(asked), "ms", &ms) && ms >= 0 && ms <= INT_MAX)
        return (int)ms;
    return stream_user_timeout_ms[i->dynamic->failover_profile];
}

char *primary_conninfo(const struct pg_instance *i, const char *host, int port)
{
    const struct settings *s = i->settings;
    struct conninfo_spec spec = {
        .user = &s->postgresql.replication,
        .host = host,
        .port = port,
        .dbname = syncs_slots(i) ? "postgres" : NULL,
        .application_name = s->name,
        .passfile = str_empty(s->postgresql.replication.password) ? NULL : i->passfile,
        .major = i->major,
        .tcp_user_timeout_ms = user_timeout_ms(i),
        .with_sslpassword = true,
    };

    return conninfo_text(&spec);
}

static char *service_path(const struct pg_instance *i)
{
    return str_fmt("%s/pg_service.conf", i->state_dir);
}

bool tool_conninfo(const struct pg_instance *i, const struct pg_user *user, const char *host, int port,
                   const char *dbname, char **ret_conninfo, struct err *err)
{
    struct conninfo_spec spec = {
        .user = user,
        .host = host,
        .port = port,
        .dbname = dbname,
        .application_name = "pgkeep_job", /* must not count as a synchronous standby */
        .passfile = str_empty(user->password) ? NULL : i->passfile,
        .target_session_attrs = NULL,
        .major = i->major,
        .connect_timeout_s = TOOL_CONNECT_TIMEOUT_S,
        .keepalives = true,
    };
    AUTO(cstr) char *conninfo = conninfo_text(&spec);

    if (!passfile_write(i, NULL, err))
        return false;
    if (!str_empty(user->sslpassword)) {
        AUTO(cstr) char *path = service_path(i);
        AUTO(cstr) char *text = str_fmt("[pgkeep_job]\nsslpassword=%s\n", user->sslpassword);
        if (!file_replace_if_changed(path, text, 0600, NULL, err))
            return err_wrap(err, "service file");
        AUTO(cstr) char *with_service = str_fmt("service=pgkeep_job %s", conninfo);
        *ret_conninfo = TAKE(with_service);
        return true;
    }
    *ret_conninfo = TAKE(conninfo);
    return true;
}

char *tool_environment(const struct pg_instance *i)
{
    AUTO(cstr) char *path = service_path(i);

    return str_fmt("PGSERVICEFILE=%s", path);
}
