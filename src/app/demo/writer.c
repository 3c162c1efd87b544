#include "app/demo/writer.h"

#include <libpq-fe.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "io/loop.h"

#define CONNECT_S "2" /* per address: on loopback it answers or it is dead */

enum { STATEMENT_MS = 5000 };

struct writer {
    char *conninfo, *passfile;
    PGconn *conn;
    int64_t next;          /* number of the row to be written */
    int64_t *acknowledged; /* numbers, ascending */
    size_t acknowledged_count;
};

struct writer *writer_new(const char *conninfo, const char *passfile)
{
    struct writer *w = mem_zero(1, sizeof(*w));

    w->conninfo = str_dup(conninfo);
    w->passfile = str_dup(passfile);
    w->next = 1;
    return w;
}

void writer_free(struct writer *w)
{
    if (!w)
        return;
    PQfinish(w->conn);
    free(w->conninfo);
    free(w->passfile);
    free(w->acknowledged);
    free(w);
}

static void disconnect(struct writer *w)
{
    PQfinish(w->conn);
    w->conn = NULL;
}

static bool fail(struct writer *w, const char *what, struct err *err)
{
    const char *text = PQerrorMessage(w->conn);

    (void)err_set(err, ERR_PG, "%s: %.*s", what, (int)strcspn(text, "\n"), text);
    disconnect(w);
    return false;
}

static bool open_connection(struct writer *w, struct err *err)
{
    const char *names[] = {"dbname", "passfile", "connect_timeout", "application_name", NULL};
    const char *values[] = {w->conninfo, w->passfile, CONNECT_S, "pgkeep-demo", NULL};

    if (w->conn)
        return true;
    w->conn = PQconnectdbParams(names, values, 1);
    return PQstatus(w->conn) == CONNECTION_OK || fail(w, "connecting", err);
}

/* PQexec with a deadline: a server that was stopped in its tracks says nothing, for ever. */
static bool run(struct writer *w, const char *sql, PGresult **ret_result, struct err *err)
{
    msec deadline_ms = loop_clock_ms() + STATEMENT_MS;

    if (!open_connection(w, err))
        return false;
    if (!PQsendQuery(w->conn, sql))
        return fail(w, "sending", err);
    while (PQisBusy(w->conn)) {
        struct pollfd at = {.fd = PQsocket(w->conn), .events = POLLIN};
        msec left = deadline_ms - loop_clock_ms();
        if (left <= 0 || poll(&at, 1, (int)left) == 0) {
            disconnect(w);
            return err_set(err, ERR_TIMEOUT, "no answer within %d s", STATEMENT_MS / 1000);
        }
        if (!PQconsumeInput(w->conn))
            return fail(w, "waiting", err);
    }

    PGresult *first = PQgetResult(w->conn), *more;
    while ((more = PQgetResult(w->conn)))
        PQclear(more);
    ExecStatusType status = PQresultStatus(first);
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
        *ret_result = first;
        return true;
    }
    PQclear(first);
    return fail(w, "refused", err);
}

/* One statement without a result, within a few seconds. */
static bool writer_run(struct writer *w, const char *sql, struct err *err)
{
    PGresult *r = NULL;

    if (!run(w, sql, &r, err))
        return false;
    PQclear(r);
    return true;
}

bool writer_prepare(struct writer *w, struct err *err)
{
    return writer_run(
        w, "CREATE TABLE IF NOT EXISTS pgkeep_demo (id bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())",
        err);
}

/* A row whose answer is lost may have been written; its number is not used again. */
bool writer_row(struct writer *w, struct err *err)
{
    int64_t number = w->next++;
    AUTO(cstr) char *sql = str_fmt("INSERT INTO pgkeep_demo (id) VALUES (%lld)", (long long)number);

    if (!writer_run(w, sql, err))
        return false;
    w->acknowledged = mem_grow(w->acknowledged, w->acknowledged_count + 1, sizeof(*w->acknowledged));
    w->acknowledged[w->acknowledged_count++] = number;
    return true;
}

bool writer_number(struct writer *w, const char *sql, int64_t *ret_value, struct err *err)
{
    PGresult *r = NULL;

    if (!run(w, sql, &r, err))
        return false;
    bool ok = PQntuples(r) > 0 && str_to_int(PQgetvalue(r, 0, 0), INT64_MIN, INT64_MAX, ret_value);
    PQclear(r);
    return ok || err_set(err, ERR_PG, "no number came back");
}

int64_t writer_acknowledged(const struct writer *w)
{
    return (int64_t)w->acknowledged_count;
}

bool writer_missing(struct writer *w, int64_t *ret_count, struct err *err)
{
    AUTO(buf) struct buf sql = BUF_EMPTY;

    buf_add_str(&sql, "SELECT count(*) FROM unnest('{");
    for (size_t i = 0; i < w->acknowledged_count; i++)
        buf_printf(&sql, "%s%lld", i ? "," : "", (long long)w->acknowledged[i]);
    buf_add_str(&sql, "}'::bigint[]) AS a(id) WHERE NOT EXISTS (SELECT FROM pgkeep_demo d WHERE d.id = a.id)");
    return writer_number(w, buf_cstr(&sql), ret_count, err);
}

bool writer_redirect(struct writer *w, const char *conninfo, struct err *err)
{
    static const char sql[] =
        "SELECT (pg_catalog.pg_last_wal_replay_lsn() >= pg_catalog.pg_last_wal_receive_lsn())::int";
    msec deadline_ms = loop_clock_ms() + STATEMENT_MS;
    int64_t caught_up = 0;

    disconnect(w);
    str_set(&w->conninfo, conninfo);
    while (!caught_up) {
        if (!writer_number(w, sql, &caught_up, err))
            return err_wrap(err, "waiting for replay");
        if (loop_clock_ms() >= deadline_ms)
            return err_set(err, ERR_TIMEOUT, "replay does not catch up within %d s", STATEMENT_MS / 1000);
        if (!caught_up)
            (void)poll(NULL, 0, 20); /* a short sleep */
    }
    return true;
}
