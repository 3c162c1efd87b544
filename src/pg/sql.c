#include "pg/sql.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/str.h"
#include "io/loop.h"
#include "pg/resolve.h"
#include "pg/sql_text.h"
#include "wire/conf/settings.h"

enum sql_state {
    ST_IDLE,       /* nothing to do; the connection may or may not be there */
    ST_RESOLVING,  /* waiting for addresses */
    ST_CONNECTING, /* PQconnectPoll() */
    ST_PREPARING,  /* SET statement_timeout is under way */
    ST_RUNNING,    /* statement `at` is under way */
    ST_ENDED,      /* the result stands, the loop will tell it */
};

struct statement { /* a copy */
    char *text;
    char **params;
    int param_count;
    bool may_fail;
};

struct sql {
    struct loop *loop;
    struct sql_target target; /* strings are ours */
    struct pg_user user;
    bool once; /* frees itself after done */

    enum sql_state state;
    PGconn *conn;
    struct loop_fd *watch;
    struct resolve_job *resolving;
    struct resolve_result addresses;
    int server_version;
    long long timeout_ms; /* statement_timeout in force; -1: not set */

    struct statement *statements;
    int count, at;
    bool failed; /* the statement under way; its end (ReadyForQuery) is still to come */
    struct sql_rows *rows;
    msec budget_ms;
    struct loop_timer timer; /* deadline of the list */
    struct loop_timer soon;  /* a result that was known at once: told from the loop */
    struct sql_result result;
    sql_done_fn *done;
    void *arg;
    bool telling, free_after;
};

static void deadline_over(void *arg);
static void tell_soon(void *arg);

/* ---- the target ---- */

static void user_copy(struct pg_user *to, const struct pg_user *from)
{
    to->username = str_dup(from->username);
    to->password = str_dup(from->password);
    to->sslmode = str_dup(from->sslmode);
    to->sslcert = str_dup(from->sslcert);
    to->sslkey = str_dup(from->sslkey);
    to->sslpassword = str_dup(from->sslpassword);
    to->sslrootcert = str_dup(from->sslrootcert);
    to->sslcrl = str_dup(from->sslcrl);
    to->sslcrldir = str_dup(from->sslcrldir);
    to->gssencmode = str_dup(from->gssencmode);
    to->channel_binding = str_dup(from->channel_binding);
    to->sslnegotiation = str_dup(from->sslnegotiation);
}

static void secret_free(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

static void user_deinit(struct pg_user *u)
{
    free(u->username);
    secret_free(u->password);
    free(u->sslmode);
    free(u->sslcert);
    free(u->sslkey);
    secret_free(u->sslpassword);
    free(u->sslrootcert);
    free(u->sslcrl);
    free(u->sslcrldir);
    free(u->gssencmode);
    free(u->channel_binding);
    free(u->sslnegotiation);
}

struct sql *sql_new(struct loop *l, const struct sql_target *target)
{
    struct sql *s = mem_zero(1, sizeof(*s));

    s->loop = l;
    s->target = *target;
    s->target.host = str_dup(target->host);
    s->target.hostaddr = str_dup(target->hostaddr);
    s->target.dbname = str_dup(target->dbname);
    s->target.application_name = str_dup(target->application_name);
    s->target.passfile = str_dup(target->passfile);
    if (target->user) {
        user_copy(&s->user, target->user);
        s->target.user = &s->user;
    }
    s->timeout_ms = -1;
    loop_timer_init(&s->timer, l, deadline_over, s);
    loop_timer_init(&s->soon, l, tell_soon, s);
    return s;
}

/* ---- the list ---- */

static void list_drop(struct sql *s)
{
    for (int i = 0; i < s->count; i++) {
        PQclear(s->rows[i].pg_result);
        free(s->statements[i].text);
        for (int p = 0; p < s->statements[i].param_count; p++)
            free(s->statements[i].params[p]);
        free(s->statements[i].params);
    }
    free(s->statements);
    free(s->rows);
    s->statements = NULL;
    s->rows = NULL;
    s->count = s->at = 0;
}

static void list_take(struct sql *s, const struct sql_statement *statements, int count)
{
    s->statements = mem_zero((size_t)count, sizeof(*s->statements));
    s->rows = mem_zero((size_t)count, sizeof(*s->rows));
    s->count = count;
    s->at = 0;
    s->failed = false;
    for (int i = 0; i < count; i++) {
        const struct sql_statement *from = &statements[i];
        struct statement *to = &s->statements[i];
        to->text = str_dup(from->text);
        to->param_count = from->param_count;
        to->may_fail = from->may_fail;
        to->params = mem_zero((size_t)from->param_count, sizeof(*to->params));
        for (int p = 0; p < from->param_count; p++)
            to->params[p] = str_dup(from->params[p]);
    }
}

static void conn_drop(struct sql *s)
{
    loop_fd_remove(TAKE(s->watch));
    if (s->conn)
        PQfinish(s->conn);
    s->conn = NULL;
    s->timeout_ms = -1;
    resolve_cancel(TAKE(s->resolving));
}

static void sql_destroy(struct sql *s)
{
    conn_drop(s);
    loop_timer_clear(&s->timer);
    loop_timer_clear(&s->soon);
    list_drop(s);
    user_deinit(&s->user);
    free((char *)s->target.host);
    free((char *)s->target.hostaddr);
    free((char *)s->target.dbname);
    free((char *)s->target.application_name);
    free((char *)s->target.passfile);
    free(s);
}

void sql_free(struct sql *s)
{
    if (!s)
        return;
    if (s->telling)
        s->free_after = true; /* from inside done */
    else
        sql_destroy(s);
}

/* Tell the result that stands in s->result. *s may be gone afterwards. */
static void tell(struct sql *s)
{
    s->result.rows = s->rows;
    s->result.rows_count = s->at;
    s->result.server_version = s->server_version;
    struct sql_result result = s->result;
    struct statement *statements = TAKE(s->statements);
    struct sql_rows *rows = TAKE(s->rows);
    int count = s->count;
    s->count = s->at = 0;
    s->state = ST_IDLE;

    s->telling = true;
    s->done(&result, s->arg); /* may run the next list, or free */
    s->telling = false;
    struct sql old = {.statements = statements, .rows = rows, .count = count};
    list_drop(&old);
    if (s->free_after || (s->once && s->state == ST_IDLE))
        sql_destroy(s);
}

/* The list ends. The loop tells it, so that no callback runs inside sql_run() or under libpq's callers here. */
static void finish(struct sql *s, enum sql_status status)
{
    CHECK(s->state != ST_ENDED);
    s->state = ST_ENDED;
    s->result.status = status;
    loop_timer_clear(&s->timer);
    if (status != SQL_DONE && status != SQL_FAILED)
        conn_drop(s);
    loop_timer_set(&s->soon, loop_clock_ms());
}

static void tell_soon(void *arg)
{
    tell(arg);
}

static const char *where(const struct sql *s, char *text, size_t cap)
{
    const char *host = s->target.host;

    if (!host || *host == '/')
        (void)snprintf(text, cap, "PostgreSQL at socket %s/.s.PGSQL.%d", host ? host : "(default folder)",
                       s->target.port);
    else
        (void)snprintf(text, cap, "PostgreSQL at %s:%d", host, s->target.port);
    return text;
}

static void fail(struct sql *s, enum sql_status status, enum err_code code, const char *what)
{
    char place[256];

    (void)err_set(&s->result.err, code, "%s: %s", where(s, place, sizeof(place)), what);
    finish(s, status);
}

/* The connection is broken: libpq's message says how. */
static void fail_conn(struct sql *s, bool connecting)
{
    char text[ERR_TEXT_MAX / 2];
    char place[256];

    sql_read_message(PQerrorMessage(s->conn), s->result.sqlstate, text, sizeof(text));
    enum sql_status status =
        connecting ? sql_classify_connect(s->result.sqlstate, PQconnectionNeedsPassword(s->conn)) : SQL_LOST;
    if (status == SQL_FAILED)
        conn_drop(s);
    /* libpq's text of a failed connection names the place itself. */
    if (connecting && *text)
        (void)err_set(&s->result.err, status == SQL_DENIED ? ERR_DENIED : ERR_PG, "%s", text);
    else
        (void)err_set(&s->result.err, ERR_PG, "%s: %s", where(s, place, sizeof(place)),
                      *text ? text : "connection lost");
    finish(s, status);
}

static void deadline_over(void *arg)
{
    struct sql *s = arg;
    char what[128];

    (void)snprintf(what, sizeof(what), "%s in %lld ms",
                   s->state == ST_RUNNING || s->state == ST_PREPARING ? "no answer" : "no connection",
                   (long long)s->budget_ms);
    fail(s, SQL_TIMEOUT, ERR_TIMEOUT, what);
}

/* ---- running ---- */

static void conn_ready(int fd, unsigned int ready, void *arg);

/* Watch the connection's socket, which libpq may have replaced. */
static void watch(struct sql *s, unsigned int events)
{
    loop_fd_remove(TAKE(s->watch));
    s->watch = loop_fd_add(s->loop, PQsocket(s->conn), events, conn_ready, s);
}

/* Push what is queued; watch for the answer. false: the connection broke. */
static bool push(struct sql *s)
{
    int left = PQflush(s->conn);

    if (left < 0)
        return false;
    loop_fd_events(s->watch, left ? LOOP_READ | LOOP_WRITE : LOOP_READ);
    return true;
}

static bool send_statement(struct sql *s)
{
    const struct statement *st = &s->statements[s->at];

    if (st->param_count == 0)
        return PQsendQuery(s->conn, st->text) == 1;
    return PQsendQueryParams(s->conn, st->text, st->param_count, NULL, (const char *const *)st->params, NULL, NULL,
                             0) == 1;
}

/* Send the next thing: the timeout if it differs, else the statement at s->at; all sent: the end. */
static void advance(struct sql *s)
{
    bool sent;

    if (s->at == s->count) {
        finish(s, SQL_DONE);
        return;
    }
    if (!s->target.replication && s->timeout_ms != s->budget_ms) {
        char set[64];
        (void)snprintf(set, sizeof(set), "SET statement_timeout TO %lld", (long long)s->budget_ms);
        s->state = ST_PREPARING;
        sent = PQsendQuery(s->conn, set) == 1;
    } else {
        s->state = ST_RUNNING;
        sent = send_statement(s);
    }
    if (!sent || !push(s))
        fail_conn(s, false);
}

static void keep_result(struct sql *s, PGresult *take_result)
{
    struct sql_rows *rows = &s->rows[s->at];

    PQclear(rows->pg_result); /* of several statements in one text the last counts */
    *rows = (struct sql_rows){
        .row_count = PQntuples(take_result), .column_count = PQnfields(take_result), .pg_result = take_result};
}

static bool is_good(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);

    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY;
}

/* A statement failed; true if that ends the list. */
static bool take_failure(struct sql *s, PGresult *take_result)
{
    const char *sqlstate = PQresultErrorField(take_result, PG_DIAG_SQLSTATE);
    const char *primary = PQresultErrorField(take_result, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(take_result, PG_DIAG_MESSAGE_DETAIL);

    if (s->state == ST_RUNNING && s->statements[s->at].may_fail) {
        keep_result(s, take_result);
        s->rows[s->at].failed = true;
        return false;
    }
    s->result.failed_i = s->at;
    str_copy(s->result.sqlstate, sizeof(s->result.sqlstate), sqlstate ? sqlstate : "");
    (void)err_set(&s->result.err, ERR_PG, "%s%s%s", primary ? primary : PQresultErrorMessage(take_result),
                  detail ? ": " : "", detail ? detail : "");
    PQclear(take_result);
    return true;
}

/* The statement under way has ended on the server's side: on with the list. */
static void statement_ended(struct sql *s)
{
    if (s->failed) {
        finish(s, SQL_FAILED);
        return;
    }
    if (s->state == ST_PREPARING)
        s->timeout_ms = s->budget_ms;
    else
        s->at++;
    advance(s);
}

/* One result; false: the connection broke with it, and the list is over. */
static bool take_result(struct sql *s, PGresult *result)
{
    if (is_good(result)) {
        if (s->state == ST_RUNNING)
            keep_result(s, result);
        else
            PQclear(result);
        return true;
    }
    s->failed |= take_failure(s, result);
    if (PQstatus(s->conn) != CONNECTION_BAD)
        return true;
    if (s->failed)
        finish(s, SQL_LOST);
    else
        fail_conn(s, false);
    return false;
}

static void take_results(struct sql *s)
{
    while (!PQisBusy(s->conn)) {
        PGresult *result = PQgetResult(s->conn);
        if (!result) {
            statement_ended(s); /* the next one, if any, has been sent: its answer is a new event */
            return;
        }
        if (!take_result(s, result))
            return;
    }
}

static void run_ready(struct sql *s, unsigned int ready)
{
    if ((ready & LOOP_READ) && !PQconsumeInput(s->conn)) {
        fail_conn(s, false);
        return;
    }
    if (!push(s)) {
        fail_conn(s, false);
        return;
    }
    take_results(s);
}

/* ---- connecting ---- */

static void connected(struct sql *s)
{
    CHECK(PQsetnonblocking(s->conn, 1) == 0);
    s->server_version = PQserverVersion(s->conn);
    watch(s, LOOP_READ);
    advance(s);
}

static void poll_connection(struct sql *s)
{
    loop_fd_remove(TAKE(s->watch)); /* before libpq may close the descriptor */
    switch (PQconnectPoll(s->conn)) {
    case PGRES_POLLING_READING:
        watch(s, LOOP_READ);
        return;
    case PGRES_POLLING_WRITING:
        watch(s, LOOP_WRITE);
        return;
    case PGRES_POLLING_OK:
        connected(s);
        return;
    case PGRES_POLLING_FAILED:
    case PGRES_POLLING_ACTIVE:
        fail_conn(s, true);
        return;
    }
    UNREACHABLE();
}

static void conn_ready(int fd, unsigned int ready, void *arg)
{
    struct sql *s = arg;

    (void)fd;
    switch (s->state) {
    case ST_CONNECTING:
        poll_connection(s);
        return;
    case ST_PREPARING:
    case ST_RUNNING:
        run_ready(s, ready);
        return;
    case ST_ENDED:
    case ST_IDLE: /* a notice, or the server went away */
        if (!PQconsumeInput(s->conn))
            conn_drop(s);
        return;
    case ST_RESOLVING:
        break;
    }
    UNREACHABLE();
}

static void quiet(void *arg, const char *message)
{
    (void)arg; /* libpq would print notices on our stderr */
    (void)message;
}

struct keywords {
    const char *names[40];
    const char *values[40];
    size_t count;
};

static void keyword(struct keywords *k, const char *name, const char *value)
{
    if (!value)
        return;
    CHECK(k->count + 1 < ARRAY_LEN(k->names));
    k->names[k->count] = name;
    k->values[k->count++] = value;
}

static void add_user(struct keywords *k, const struct pg_user *u)
{
    keyword(k, "user", u->username);
    keyword(k, "password", u->password);
    keyword(k, "sslmode", u->sslmode);
    keyword(k, "sslcert", u->sslcert);
    keyword(k, "sslkey", u->sslkey);
    keyword(k, "sslpassword", u->sslpassword);
    keyword(k, "sslrootcert", u->sslrootcert);
    keyword(k, "sslcrl", u->sslcrl);
    keyword(k, "channel_binding", u->channel_binding);
    if (PQlibVersion() >= 140000)
        keyword(k, "sslcrldir", u->sslcrldir);
    if (PQlibVersion() >= 170000)
        keyword(k, "sslnegotiation", u->sslnegotiation);
    /* Looking for Kerberos tickets may ask the network; who wants them says so. */
    keyword(k, "gssencmode", u->gssencmode ? u->gssencmode : "disable");
}

/* host and hostaddr are lists of the same length: every address is of the one host. */
static void connect_start(struct sql *s)
{
    AUTO(buf) struct buf hosts = BUF_EMPTY;
    AUTO(buf) struct buf addrs = BUF_EMPTY;
    struct keywords k = {0};
    char port[16];

    for (size_t i = 0; i < s->addresses.count; i++) {
        buf_printf(&hosts, "%s%s", i ? "," : "", s->target.host ? s->target.host : s->addresses.addr[i]);
        buf_printf(&addrs, "%s%s", i ? "," : "", s->addresses.addr[i]);
    }
    (void)snprintf(port, sizeof(port), "%d", s->target.port);
    keyword(&k, "host", hosts.len ? buf_cstr(&hosts) : s->target.host);
    keyword(&k, "hostaddr", addrs.len ? buf_cstr(&addrs) : NULL);
    keyword(&k, "port", port);
    keyword(&k, "dbname", s->target.replication ? NULL : s->target.dbname ? s->target.dbname : "postgres");
    keyword(&k, "replication", s->target.replication ? "true" : NULL);
    keyword(&k, "application_name", s->target.application_name ? s->target.application_name : "pgkeep");
    keyword(&k, "client_encoding", "UTF8");
    keyword(&k, "options", s->target.replication ? NULL : "-c search_path=pg_catalog");
    keyword(&k, "passfile", s->target.passfile);
    if (s->target.user)
        add_user(&k, s->target.user);

    s->state = ST_CONNECTING;
    s->conn = PQconnectStartParams(k.names, k.values, 0);
    CHECK(s->conn);
    if (PQstatus(s->conn) == CONNECTION_BAD) {
        fail_conn(s, true);
        return;
    }
    (void)PQsetErrorVerbosity(s->conn, PQERRORS_VERBOSE); /* the old setting is of no interest */
    (void)PQsetNoticeProcessor(s->conn, quiet, NULL);     /* the same */
    watch(s, LOOP_WRITE);                                 /* libpq: act as if PQconnectPoll() had said WRITING */
}

static void resolved(const struct resolve_result *result, void *arg)
{
    struct sql *s = arg;

    s->resolving = NULL;
    if (!result->count) {
        s->result.err = result->err;
        finish(s, result->err.code == ERR_TIMEOUT ? SQL_TIMEOUT : SQL_NO_SERVER);
        return;
    }
    s->addresses = *result;
    connect_start(s);
}

static void connect_begin(struct sql *s)
{
    const struct sql_target *t = &s->target;

    s->server_version = 0;
    s->addresses.count = 0;
    if (t->hostaddr) {
        s->addresses.count = 1;
        str_copy(s->addresses.addr[0], RESOLVE_ADDR_TEXT_MAX, t->hostaddr);
    } else if (t->host && *t->host != '/') {
        s->state = ST_RESOLVING;
        s->resolving = resolve_start(s->loop, t->host, s->budget_ms, resolved, s);
        return;
    }
    connect_start(s);
}

/* ---- the public side ---- */

void sql_run(struct sql *s, const struct sql_statement *statements, int count, msec budget_ms, sql_done_fn *done,
             void *arg)
{
    CHECK(!sql_busy(s));
    CHECK(count > 0 && budget_ms > 0 && done);
    list_take(s, statements, count);
    s->result = (struct sql_result){0};
    s->budget_ms = budget_ms;
    s->done = done;
    s->arg = arg;
    loop_timer_set(&s->timer, loop_clock_ms() + budget_ms);

    /* A connection that died while nobody looked is made anew: nothing has been sent on it. */
    if (s->conn && (!PQconsumeInput(s->conn) || PQstatus(s->conn) != CONNECTION_OK))
        conn_drop(s);
    if (s->conn)
        advance(s);
    else
        connect_begin(s);
}

bool sql_busy(const struct sql *s)
{
    return s->state != ST_IDLE;
}

struct sql *sql_once(struct loop *l, const struct sql_target *target, const struct sql_statement *statements, int count,
                     msec budget_ms, sql_done_fn *done, void *arg)
{
    struct sql *s = sql_new(l, target);

    s->once = true;
    sql_run(s, statements, count, budget_ms, done, arg);
    return s;
}

const struct sql_target *sql_target_of(const struct sql *s)
{
    return &s->target;
}

/* PostgreSQL: crypt.c, get_password_type. */
static bool is_stored_form(const char *password)
{
    return str_starts(password, "SCRAM-SHA-256$") ||
           (str_starts(password, "md5") && strlen(password) == 35 && strspn(password + 3, "0123456789abcdef") == 32);
}

char *sql_encrypt_password(struct sql *s, const char *user, const char *password, const char *algorithm,
                           struct err *err)
{
    if (is_stored_form(password))
        return str_dup(password);
    if (!s->conn) {
        (void)err_set(err, ERR_PG, "encrypting the password of %s: no connection", user);
        return NULL;
    }
    char *stored = PQencryptPasswordConn(s->conn, password, user, algorithm);
    if (!stored) {
        (void)err_set(err, ERR_PG, "encrypting the password of %s: %s", user, PQerrorMessage(s->conn));
        return NULL;
    }
    char *copy = str_dup(stored);
    PQfreemem(stored);
    return copy;
}

const char *sql_cell(const struct sql_rows *rows, int row, int column)
{
    CHECK(row >= 0 && row < rows->row_count);
    CHECK(column >= 0 && column < rows->column_count);
    if (PQgetisnull(rows->pg_result, row, column))
        return NULL;
    return PQgetvalue(rows->pg_result, row, column);
}

const char *sql_failure(const struct sql_rows *rows)
{
    const char *primary;

    if (!rows->failed)
        return NULL;
    primary = PQresultErrorField(rows->pg_result, PG_DIAG_MESSAGE_PRIMARY);
    return primary ? primary : PQresultErrorMessage(rows->pg_result);
}
