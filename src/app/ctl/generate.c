/*
 * --generate-config: a configuration that takes over the PostgreSQL that runs here.
 *
 * What has to be equal on all nodes goes into bootstrap.dcs; pg_hba.conf is taken over line by line.
 * postgresql.conf stays where it is: the node keeps it as postgresql.base.conf and includes it.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/conf_files.h"
#include "app/ctl/config_change.h"
#include "app/ctl/ctl.h"
#include "app/ctl/init.h"
#include "app/ctl/init_file.h"
#include "app/ctl/yaml_out.h"
#include "base/str.h"
#include "wire/conf/parameters.h"
#include "wire/conf/sample.h"

#define GENERATE_CONNECT_S "5"
#define GENERATE_OPTIONS "-c statement_timeout=10000" /* catalog reads of a few rows */

struct found {
    PGconn *conn;
    PGresult *facts; /* one row, see facts_sql */
};

static void found_freep(struct found *f)
{
    PQclear(f->facts);
    PQfinish(f->conn);
}

static const char facts_sql[] =
    "SELECT pg_catalog.current_setting('data_directory'), pg_catalog.current_setting('config_file'),"
    " pg_catalog.current_setting('hba_file'), pg_catalog.current_setting('listen_addresses'),"
    " pg_catalog.current_setting('port'), pg_catalog.current_setting('is_superuser'), current_user,"
    " pg_catalog.current_setting('cluster_name')";

enum fact { FACT_DATA, FACT_CONFIG, FACT_HBA, FACT_LISTEN, FACT_PORT, FACT_SUPERUSER, FACT_USER, FACT_CLUSTER };

static const char *fact(const struct found *f, enum fact which)
{
    return PQgetvalue(f->facts, 0, (int)which);
}

/* One line; the rest of libpq's text is advice for programmers. */
static bool fail(struct err *err, const char *what, const PGconn *conn)
{
    const char *text = PQerrorMessage(conn);

    return err_set(err, ERR_PG, "%s: %.*s", what, (int)strcspn(text, "\n"), text);
}

static bool look(const char *dsn, struct found *f, struct err *err)
{
    const char *names[] = {"dbname", "connect_timeout", "fallback_application_name", "options", NULL};
    const char *values[] = {dsn ? dsn : "dbname=postgres", GENERATE_CONNECT_S, "pgkeep", GENERATE_OPTIONS, NULL};

    f->conn = PQconnectdbParams(names, values, 1); /* the dsn may be a URL or key=value, and comes first */
    if (PQstatus(f->conn) != CONNECTION_OK)
        return fail(err, "connecting", f->conn);
    f->facts = PQexec(f->conn, facts_sql);
    if (PQresultStatus(f->facts) != PGRES_TUPLES_OK)
        return fail(err, "asking for its settings", f->conn);
    if (!str_eq(fact(f, FACT_SUPERUSER), "on"))
        return err_set(err, ERR_DENIED, "%s is no superuser: not all settings can be read", fact(f, FACT_USER));
    return true;
}

/* Settings that somebody made, of those that must be equal on all nodes; new reference, NULL: *err says why. */
static json_t *shared_parameters(const struct found *f, struct err *err)
{
    json_t *parameters = json_object();
    PGresult *r = PQexec(f->conn, "SELECT name, pg_catalog.current_setting(name) FROM pg_catalog.pg_settings"
                                  " WHERE source <> 'default' ORDER BY name");

    if (PQresultStatus(r) != PGRES_TUPLES_OK) {
        (void)fail(err, "asking for its settings", f->conn);
        json_decref(parameters);
        parameters = NULL;
    }
    for (int i = 0; parameters && i < PQntuples(r); i++) {
        const char *name = PQgetvalue(r, i, 0);
        if (!parameter_is_shared(name) || str_eq(name, "port") || str_eq(name, "listen_addresses") ||
            str_eq(name, "cluster_name"))
            continue;
        json_object_set_new(parameters, name, json_string(PQgetvalue(r, i, 1)));
    }
    PQclear(r);
    return parameters;
}

/* The rules of pg_hba.conf without comments; new reference. An unreadable file is said and left out. */
static json_t *hba_lines(const char *path)
{
    AUTO(conf_files) struct conf_files files = {0};
    json_t *lines = json_array();
    char *state = NULL;
    struct err err;

    if (!conf_files_read(path, &files, &err)) {
        ctl_note("Warning: pg_hba is left out: %s", err.text);
        return lines;
    }
    AUTO(cstr) char *text = str_dup(files.at[0].text);
    for (char *line = strtok_r(text, "\r\n", &state); line; line = strtok_r(NULL, "\r\n", &state)) {
        line += strspn(line, " \t");
        if (*line && *line != '#')
            json_array_append_new(lines, json_string(line));
    }
    return lines;
}

/* `*` and lists: the first address that means one host. */
static const char *connect_host(const char *listen)
{
    bool any = str_empty(listen) || *listen == '*' || str_starts(listen, "0.0.0.0") || str_starts(listen, "::") ||
               str_starts(listen, "localhost");

    return any ? "127.0.0.1" : listen;
}

static json_t *section(json_t *in, const char *name)
{
    json_t *found = json_object_get(in, name);

    if (!found) {
        found = json_object();
        json_object_set_new(in, name, found);
    }
    return found;
}

/* New reference; NULL: *err says why. */
static json_t *configuration_of(const struct found *f, struct err *err)
{
    const char *listen = fact(f, FACT_LISTEN), *password = PQpass(f->conn);
    AUTO(cstr) char *pg_listen = str_fmt("%s:%s", str_empty(listen) ? "localhost" : listen, fact(f, FACT_PORT));
    AUTO(cstr)
    char *connect =
        str_fmt("%.*s:%s", (int)strcspn(connect_host(listen), ", "), connect_host(listen), fact(f, FACT_PORT));
    struct sample s = sample_placeholders();

    s.scope = *fact(f, FACT_CLUSTER) ? fact(f, FACT_CLUSTER) : s.scope;
    s.pg_listen = pg_listen;
    s.pg_connect_address = connect;
    s.data_dir = fact(f, FACT_DATA);
    s.superuser = fact(f, FACT_USER);
    s.superuser_password = str_empty(password) ? s.superuser_password : password;

    AUTO(cstr) char *text = sample_render(&s);
    json_t *config = config_change_document("sample", text, err);
    json_t *parameters = config ? shared_parameters(f, err) : NULL;
    if (!parameters) {
        json_decref(config);
        return NULL;
    }
    json_t *bootstrap = section(config, "bootstrap");
    json_t *postgresql = section(config, "postgresql");
    (void)json_object_del(bootstrap, "initdb"); /* the cluster exists */
    json_object_set_new(section(section(bootstrap, "dcs"), "postgresql"), "parameters", parameters);
    json_object_set_new(postgresql, "pg_hba", hba_lines(fact(f, FACT_HBA)));

    AUTO(cstr) char *config_dir = str_dup(fact(f, FACT_CONFIG));
    char *slash = strrchr(config_dir, '/');
    if (slash)
        *slash = '\0';
    if (!str_eq(config_dir, s.data_dir))
        json_object_set_new(postgresql, "config_dir", json_string(config_dir)); /* Debian keeps them apart */
    return config;
}

int generate_config_main(int argc, char **argv)
{
    __attribute__((cleanup(found_freep))) struct found f = {0};
    struct ctl as = {.program = "pgkeep",
                     .verb = argv[0],
                     .usage = "[FILE]",
                     .help = "Write a configuration that takes over the PostgreSQL that runs here"};
    const char *dsn = NULL, *file = NULL;
    int status;
    struct err err;
    const struct opt opts[] = {
        {0, "dsn", "TEXT", "How to connect to it, as a superuser (default: libpq's environment)", .text = &dsn},
        OPT_END,
    };

    if (!ctl_file_argument(&as, opts, argc, argv, &file, &status))
        return status;
    if (!look(dsn, &f, &err))
        return ctl_fail(&err);

    json_t *config = configuration_of(&f, &err);
    if (!config)
        return ctl_fail(&err);
    AUTO(cstr) char *text = yaml_text(config, YAML_BLOCK);
    json_decref(config);
    status = init_put(file, text);
    ctl_note(
        "Still to be filled in: name, restapi.connect_address, the store, and the passwords that say `change me`.");
    return status;
}
