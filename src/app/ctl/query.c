/*
 * query: one statement of the operator's on a member's PostgreSQL.
 *
 * Blocking on purpose: the statement is the operator's own and may take as long as they like (Ctrl-C ends
 * it); only connecting has a deadline. Connections follow libpq's environment and ~/.pgpass.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/conf_files.h"
#include "app/ctl/ctl.h"
#include "app/ctl/prompt.h"
#include "app/ctl/show.h"
#include "app/ctl/targets.h"
#include "app/ctl/verbs.h"
#include "app/ctl/wait.h"
#include "base/str.h"

#define QUERY_CONNECT_S "5"

enum { /* pg_type.dat */
       OID_BOOL = 16,
       OID_INT8 = 20,
       OID_INT2 = 21,
       OID_INT4 = 23,
       OID_OID = 26,
       OID_JSON = 114,
       OID_FLOAT4 = 700,
       OID_FLOAT8 = 701,
       OID_JSONB = 3802,
};

struct query {
    const char *cluster_name, *role, *member, *username, *dbname, *sql, *delimiter;
    enum listing_format format;
    msec period_ms; /* 0: once */
    char *password; /* NULL: libpq's business */
    PGconn *conn;   /* kept from one round to the next */
};

static void query_deinit(struct query *q)
{
    PQfinish(q->conn);
    if (q->password)
        explicit_bzero(q->password, strlen(q->password));
    free(q->password);
}

static inline void query_freep(struct query *q)
{
    query_deinit(q);
}

static json_t *cell_of(const PGresult *r, int row, int column, enum listing_format format)
{
    const char *text = PQgetvalue(r, row, column);
    bool objects = format == LISTING_JSON || format == LISTING_YAML;
    json_t *value = NULL;
    int64_t integer;

    if (PQgetisnull(r, row, column))
        return json_null();
    switch (PQftype(r, column)) {
    case OID_BOOL:
        return json_boolean(*text == 't');
    case OID_INT2:
    case OID_INT4:
    case OID_INT8:
    case OID_OID:
        return str_to_int(text, INT64_MIN, INT64_MAX, &integer) ? json_integer(integer) : json_string(text);
    case OID_FLOAT4:
    case OID_FLOAT8:
        value = json_real(strtod(text, NULL)); /* NULL for NaN and infinities, which JSON does not have */
        return value ? value : json_string(text);
    case OID_JSON:
    case OID_JSONB:
        value = objects ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
        return value ? value : json_string(text);
    default:
        value = json_string(text);
        return value ? value : json_string("(not valid UTF-8)");
    }
}

static struct listing *listing_of(const PGresult *r, enum listing_format format)
{
    struct listing *l = listing_new();

    for (int i = 0; i < PQnfields(r); i++)
        listing_column(l, PQfname(r, i), TABLE_LEFT);
    for (int row_i = 0; row_i < PQntuples(r); row_i++) {
        json_t *row = json_array();
        for (int i = 0; i < PQnfields(r); i++)
            json_array_append_new(row, cell_of(r, row_i, i, format));
        json_array_append_new(l->rows, row);
    }
    return l;
}

/* A message of libpq without its line ends; free() it. */
static char *one_line(const char *message)
{
    char *line = str_dup(message);

    for (size_t i = strlen(line); i > 0 && line[i - 1] == '\n'; i--)
        line[i - 1] = '\0';
    for (char *at = line; *at; at++)
        if (*at == '\n')
            *at = ' ';
    return line;
}

/*
 * What went wrong stands where the rows would be, as in patronictl; who takes those for rows finds it on stderr too,
 * in full where there is a detail.
 */
static bool show_failure(const struct ctl *ctl, const struct query *q, const char *message, const char *detail)
{
    char time[SHOW_TIME_MAX];
    AUTO(listing) struct listing *l = listing_new();

    (void)show_time(time, false);
    if (q->format == LISTING_TSV) {
        (void)printf("%s%s%s\n", time, q->delimiter, message);
    } else {
        listing_column(l, "timestamp", TABLE_LEFT);
        listing_column(l, "error", TABLE_LEFT);
        json_array_append_new(l->rows, json_pack("[ss]", time, message));
        show_listing(ctl, l, q->format, NULL);
    }
    detail = detail ? detail : message;
    (void)ctl_refuse("%.*s", (int)strcspn(detail, "\n"), detail);
    return false;
}

/* False: the member is not what was asked for, or does not answer; the connection is closed again. */
static bool connection_fits(struct query *q)
{
    bool wants_standby = q->role && (str_eq(q->role, "replica") || str_starts(q->role, "standby"));
    bool wants_primary = q->role && (str_eq(q->role, "primary") || str_eq(q->role, "master"));

    if (!wants_standby && !wants_primary)
        return true;
    PGresult *r = PQexec(q->conn, "SELECT pg_catalog.pg_is_in_recovery()");
    bool in_recovery = PQresultStatus(r) != PGRES_TUPLES_OK || *PQgetvalue(r, 0, 0) == 't';
    PQclear(r);
    if (in_recovery == wants_standby)
        return true;

    PQfinish(q->conn);
    q->conn = NULL;
    return false;
}

static void connect_to(struct query *q, const char *host, int port)
{
    char port_text[16];
    const char *names[] = {"host",   "port", "fallback_application_name", "connect_timeout", "user", "password",
                           "dbname", NULL};
    const char *values[] = {host, port_text, "pgkeep ctl", QUERY_CONNECT_S, q->username, q->password, q->dbname, NULL};

    (void)snprintf(port_text, sizeof(port_text), "%d", port ? port : 5432);
    q->conn = PQconnectdbParams(names, values, 0); /* a NULL value leaves a name to libpq's defaults */
}

static bool connect_member(struct ctl *ctl, struct query *q)
{
    AUTO(cluster) struct cluster *c = NULL;
    AUTO(cstr) char *host = NULL;
    AUTO(cstr)
    char *missing = q->member ? str_fmt("No connection to member %s is available", q->member)
                    : q->role ? str_fmt("No connection to role '%s' is available", q->role)
                              : str_dup("No connection is available");
    struct err err;
    int port = 0;

    if (!ctl_read(ctl, q->cluster_name, &c, &err))
        return show_failure(ctl, q, missing, err.text);
    const struct member *m = targets_any(c, q->role, q->member);
    if (!m || !m->conn_url || !url_host_port(m->conn_url, &host, &port))
        return show_failure(ctl, q, missing, NULL);

    connect_to(q, host, port);
    if (PQstatus(q->conn) != CONNECTION_OK) {
        AUTO(cstr) char *detail = one_line(PQerrorMessage(q->conn));
        AUTO(cstr) char *message = str_fmt("ERROR, SQLSTATE: %s", detail);
        PQfinish(q->conn);
        q->conn = NULL;
        return show_failure(ctl, q, message, detail);
    }
    (void)PQsetClientEncoding(q->conn, "UTF8"); /* refused only by a server that is about to go */
    return connection_fits(q) || show_failure(ctl, q, missing, NULL);
}

static bool run_once(struct ctl *ctl, struct query *q)
{
    bool ok = true;

    if (!q->conn && !connect_member(ctl, q))
        return false;
    PGresult *r = PQexec(q->conn, q->sql);
    ExecStatusType status = PQresultStatus(r); /* no switch: each libpq knows more of them than the one before */
    if (status == PGRES_TUPLES_OK) {
        AUTO(listing) struct listing *l = listing_of(r, q->format);
        show_listing(ctl, l, q->format, q->delimiter);
    } else if (status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY) {
        ctl_note("%s", PQcmdStatus(r));
    } else {
        const char *sqlstate = PQresultErrorField(r, PG_DIAG_SQLSTATE);
        const char *said = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
        AUTO(cstr) char *lost = one_line(PQerrorMessage(q->conn));
        AUTO(cstr) char *message = str_fmt("ERROR, SQLSTATE: %s", sqlstate ? sqlstate : lost);
        ok = show_failure(ctl, q, message, said ? said : lost);
        PQfinish(q->conn);
        q->conn = NULL;
    }
    PQclear(r);
    return ok;
}

static int run_query(struct ctl *ctl, struct query *q)
{
    for (;;) {
        bool ok = run_once(ctl, q);
        if (fflush(stdout) != 0)
            return CTL_FAILED;
        if (!q->period_ms)
            return ok ? CTL_OK : CTL_FAILED;
        wait_ms(ctl, q->period_ms);
    }
}

/* The statement from --command or --file. False: the verb ends with *ret_exit. */
static bool settle_sql(const char *command, const char *file, struct conf_files *files, const char **ret_sql,
                       int *ret_exit)
{
    struct err err;

    if (command && file) {
        *ret_exit = ctl_refuse("--file and --command are mutually exclusive options");
        return false;
    }
    if (!command && !file) {
        *ret_exit = ctl_refuse("You need to specify either --command or --file");
        return false;
    }
    if (file && !(str_eq(file, "-") ? conf_files_read_stdin(files, &err) : conf_files_read(file, files, &err))) {
        *ret_exit = ctl_fail(&err);
        return false;
    }
    *ret_sql = file ? files->at[0].text : command;
    return true;
}

int verb_query(struct ctl *ctl, int argc, char **argv)
{
    AUTO(query) struct query q = {.delimiter = "\t"};
    AUTO(conf_files) struct conf_files files = {0};
    const char *format = "tsv", *file = NULL, *command = NULL, *watch = NULL;
    bool password = false, every_two = false;
    int status;
    const struct opt opts[] = {
        {0, "format", "TEXT", "Output format (pretty, tsv, json, yaml)", .text = &format, .choices = LISTING_FORMATS},
        {'f', "file", "FILENAME", "Execute the SQL commands from this file", .text = &file},
        {0, "password", NULL, "Force password prompt", .flag = &password},
        {'U', "username", "TEXT", "Database user name", .text = &q.username},
        {'W', "", NULL, "Auto update the screen every 2 seconds", .flag = &every_two},
        {'w', "watch", "FLOAT", "Auto update the screen every X seconds", .text = &watch},
        {'r', "role", TARGET_ROLES_META, "The role of the query", .text = &q.role, .choices = TARGET_ROLES},
        {'m', "member", "TEXT", "Query a specific member", .text = &q.member},
        {0, "delimiter", "TEXT", "The column delimiter", .text = &q.delimiter},
        {'c', "command", "TEXT", "The SQL commands to execute", .text = &command},
        {'d', "dbname", "TEXT", "Database name to connect to", .text = &q.dbname},
        OPT_END,
    };

    if (!ctl_options(ctl, opts, &argc, argv, &status) ||
        !ctl_cluster_argument(ctl, argc, argv, &q.cluster_name, &status) ||
        !show_watch_period(ctl, watch, every_two, &q.period_ms, &status))
        return status;
    if (q.role && q.member)
        return ctl_refuse("--role and --member are mutually exclusive options");
    if (!settle_sql(command, file, &files, &q.sql, &status))
        return status;
    if (password && !prompt_secret(stdin, stdout, "Password", &q.password))
        return ctl_abort();
    q.format = listing_format_of(format);
    return run_query(ctl, &q);
}
