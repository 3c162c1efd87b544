/*
 * pg/sql.h over the model: sessions of the agent's, and what the server answers to each statement that our code has.
 *
 * A session is forked by the postmaster, so a stopped one lets nobody in; it reads the configuration in its own time;
 * it ends with the server, which its client hears. A statement that is not known here is a fault of the simulator's.
 */
#include "pg/sql.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "io/loop.h"
#include "test/sim/pg_api.h"
#include "test/sim/session.h"

enum { STATEMENTS_MAX = 8, LOOK = 10000, SEGMENT_SIZE = 16 * 1024 * 1024, PAGE_SIZE = 8192 };

/* The rows of one statement. */
struct grid {
    int rows, columns;
    char **cells;
};

struct query {
    char *text;
    const char **params;
    int param_count;
    bool may_fail;
};

struct run { /* of a list of statements; the world owns it */
    struct sql *sql;
    struct pg *server;
    struct proc *client;
    struct query queries[STATEMENTS_MAX];
    int count, at;
    sql_done_fn *done;
    void *arg;
    bool told, over;
    struct grid grids[STATEMENTS_MAX];
    struct sql_rows rows[STATEMENTS_MAX];
    struct sql_result result;
};

struct sql {
    struct sql_target target;
    struct pg *server;
    struct pg_session *session;
    uint64_t session_id;
    bool local_commits; /* SET synchronous_commit TO local */
    bool once;
    struct run *run; /* NULL: not busy */
};

/* ---- answers ---- */

enum answer {
    ANSWERED,
    REFUSED,
    LATER, /* run_go_on() is called then */
};

static void row(struct grid *g, int columns)
{
    CHECK(!g->columns || g->columns == columns);
    g->columns = columns;
    g->cells = mem_grow(g->cells, (size_t)(g->rows + 1) * (size_t)columns, sizeof(*g->cells));
    memset(&g->cells[g->rows * columns], 0, (size_t)columns * sizeof(*g->cells));
    g->rows++;
}

static void cell(struct grid *g, int column, const char *text)
{
    g->cells[(g->rows - 1) * g->columns + column] = str_dup(text);
}

static void cell_number(struct grid *g, int column, int64_t number)
{
    AUTO(cstr) char *text = str_fmt("%" PRId64, number);

    cell(g, column, text);
}

static void cell_lsn(struct grid *g, int column, lsn at)
{
    char text[LSN_TEXT_MAX];

    if (at)
        cell(g, column, lsn_text(at, text));
}

static enum answer refuse(struct run *r, const char *sqlstate, const char *text)
{
    str_copy(r->result.sqlstate, sizeof(r->result.sqlstate), sqlstate);
    (void)err_set(&r->result.err, ERR_PG, "%s", text);
    return REFUSED;
}

static void run_go_on(struct run *r);

static void goes_on(void *arg)
{
    run_go_on(arg);
}

/* reload.c */
static enum answer load_time(struct run *r, struct grid *g)
{
    row(g, 3);
    cell_number(g, 0, r->sql->session->conf.at_wall_us);
    cell_number(g, 1, r->sql->session->started_wall_us);
    if (pg_conf_errors(r->server))
        cell(g, 2, "postgresql.conf: an error");
    return ANSWERED;
}

static enum answer settings(struct run *r, struct grid *g)
{
    const struct pg_conf *c = r->sql->session->conf.conf;
    const struct query *q = &r->queries[r->at];

    for (int s = 0; s < PG_SETTING_COUNT; s++) {
        if (!strstr(q->params[0], pg_setting_name((enum pg_setting)s)))
            continue;
        row(g, 5);
        cell(g, 0, pg_setting_name((enum pg_setting)s));
        cell(g, 1, c->at[s].text);
        cell(g, 2, c->at[s].file ? "configuration file" : "default");
        cell(g, 3, c->at[s].file);
        cell(g, 4, c->at[s].file ? "1" : NULL);
    }
    return ANSWERED;
}

/* freeze.c */
static enum answer receiver_and_startup(struct run *r, struct grid *g)
{
    const struct pg *p = r->server;

    row(g, 9);
    cell(g, 0, p->in_recovery ? "t" : "f");
    if (walstream_receiver_runs(p)) {
        cell_number(g, 1, p->receiver.pid);
        cell(g, 2, p->receiver.state == RECEIVER_STREAMING ? "streaming" : "starting");
    }
    if (p->in_recovery) {
        cell(g, 3, recovery_wait_event(p));
        cell_lsn(g, 4, p->receiver.receive);
        cell_lsn(g, 5, p->replayed ? p->replayed->end : 0);
        cell(g, 6, p->recovery.blocked == RECOVERY_PAUSED ? "t" : "f");
    }
    cell_number(g, 7, SEGMENT_SIZE);
    cell_number(g, 8, PAGE_SIZE);
    return ANSWERED;
}

static enum answer resume(struct run *r, struct grid *g)
{
    struct pg *p = r->server;

    if (!p->in_recovery)
        return refuse(r, "55000", "recovery is not in progress");
    if (p->promoting)
        return refuse(r, "55000", "standby promotion is ongoing");
    if (p->recovery.blocked == RECOVERY_PAUSED)
        recovery_unblock(p);
    row(g, 1);
    return ANSWERED;
}

static enum answer identify(struct run *r, struct grid *g)
{
    const struct pg *p = r->server;
    const struct rec *at = p->in_recovery ? p->replayed : p->disk.flushed;
    lsn received = p->in_recovery && p->receiver.tli == at->tli ? p->receiver.receive : 0;

    row(g, 4);
    cell(g, 0, p->disk.system_id);
    cell_number(g, 1, at->tli);
    cell_lsn(g, 2, received > at->end ? received : at->end);
    return ANSWERED;
}

/* fence.c */
static enum answer flushed_where(struct run *r, struct grid *g)
{
    const struct pg *p = r->server;

    if (p->in_recovery)
        return refuse(r, "55000", "recovery is in progress");
    row(g, 2);
    cell_lsn(g, 0, p->disk.flushed->end);
    cell_number(g, 1, p->disk.written->tli);
    return ANSWERED;
}

/* hold.c */
static enum answer own_pid(struct run *r, struct grid *g)
{
    row(g, 1);
    cell_number(g, 0, r->sql->session->pid);
    return ANSWERED;
}

static void end_session(struct pg *p, int pid)
{
    for (int i = 0; i < SESSIONS_MAX; i++)
        if (p->sessions[i].active && p->sessions[i].pid == pid)
            pg_disconnect(&p->sessions[i]);
    pg_end_wait(p, NOBODY, (uint64_t)pid);
}

static enum answer see_wait(struct run *r, struct grid *g)
{
    int64_t pid = 0;

    if (!str_to_int(r->queries[r->at].params[0], 0, INT32_MAX, &pid))
        return refuse(r, "22P02", "no number");
    bool waits = pg_waits(r->server, NOBODY, (uint64_t)pid);
    row(g, 2);
    cell(g, 0, waits ? "SyncRep" : NULL);
    cell(g, 1, waits ? "t" : NULL);
    if (waits)
        end_session(r->server, (int)pid);
    return ANSWERED;
}

/* senders.c: those that are still there are listed, and told to end. */
static enum answer end_senders(struct run *r, struct grid *g)
{
    const struct query *q = &r->queries[r->at];
    int64_t pid = 0;
    int64_t started = 0;
    int64_t before = INT64_MAX;

    (void)!str_to_int(q->params[0], 0, INT32_MAX, &pid);
    (void)!str_to_int(q->params[1], 0, INT64_MAX, &started);
    (void)!str_to_int(q->params[2], 0, INT64_MAX, &before);
    g->columns = 2;
    for (int i = 0; i < SENDERS_MAX; i++) {
        const struct pg_sender *s = &r->server->senders[i];
        if (!s->active || (pid && s->pid != pid) || (started && s->started_wall_us != started) ||
            s->started_wall_us >= before)
            continue;
        row(g, 2);
        cell_number(g, 0, s->pid);
        cell(g, 1, "t");
        (void)walstream_end_sender(r->server, s->pid);
    }
    return ANSWERED;
}

/* marker.c */
static enum answer set_local(struct run *r, struct grid *g)
{
    r->sql->local_commits = true;
    return ANSWERED;
}

static enum answer set_something(struct run *r, struct grid *g)
{
    return ANSWERED;
}

static void emitted(struct pg *p, struct rec *commit, enum pg_outcome how, void *arg)
{
    struct run *r = arg;

    row(&r->grids[r->at - 1], 1);
    cell_lsn(&r->grids[r->at - 1], 0, commit->start);
    run_go_on(r);
}

static enum answer emit(struct run *r, struct grid *g)
{
    if (r->server->in_recovery || r->server->stopping)
        return refuse(r, "25006", "cannot execute in a read-only transaction");
    pg_commit(r->server, r->sql->local_commits ? COMMIT_LOCAL : COMMIT_ON, NOBODY, (uint64_t)r->sql->session->pid,
              emitted, r);
    return LATER;
}

static enum answer flushed(struct run *r, struct grid *g)
{
    if (r->server->in_recovery)
        return refuse(r, "55000", "recovery is in progress");
    row(g, 1);
    cell_lsn(g, 0, r->server->disk.flushed->end);
    return ANSWERED;
}

static enum answer checkpoint(struct run *r, struct grid *g)
{
    event_in(pg_checkpoint(r->server), &r->server->backends, goes_on, r);
    return LATER;
}

static enum answer one(struct run *r, struct grid *g)
{
    row(g, 1);
    cell(g, 0, "1");
    return ANSWERED;
}

/* breach_ask.c: nobody here asks PostgreSQL for less than the cluster promises. */
static enum answer breaches(struct run *r, struct grid *g)
{
    g->columns = 3;
    return ANSWERED;
}

static const struct {
    const char *part; /* of the statement, and of none above it */
    enum answer (*fn)(struct run *r, struct grid *g);
} known[] = {
    {"SELECT (EXTRACT(epoch FROM pg_conf_load_time())", load_time},
    {"FROM pg_settings WHERE name = ANY", settings},
    {"LEFT JOIN pg_stat_get_wal_receiver() w ON w.pid = a.receiver", receiver_and_startup},
    {"pg_wal_replay_resume()", resume},
    {"IDENTIFY_SYSTEM", identify},
    {"SELECT pg_current_wal_flush_lsn(), ('x'", flushed_where},
    {"SELECT a.pid, pg_terminate_backend(a.pid)", end_senders},
    {"SET synchronous_commit TO local", set_local},
    {"SET synchronous_commit TO on", set_something},
    {"SET default_transaction_read_only TO off", set_something},
    {"SELECT pg_backend_pid()", own_pid},
    {"SELECT a.wait_event, CASE", see_wait},
    {"SELECT pg_logical_emit_message(true", emit},
    {"SELECT pg_current_wal_flush_lsn()", flushed},
    {"CHECKPOINT", checkpoint},
    {"WITH f AS MATERIALIZED (SELECT lower(name)", breaches},
    {"SELECT 1", one},
};

static enum answer answer(struct run *r)
{
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strstr(r->queries[r->at].text, known[i].part))
            return known[i].fn(r, &r->grids[r->at]);
    story("a statement that the model does not know: %s", r->queries[r->at].text);
    UNREACHABLE();
}

/* ---- a list of statements, at the server ---- */

static void run_tell(void *arg);

static void run_over(struct run *r, enum sql_status status, const char *why)
{
    if (r->over)
        return;
    r->over = true;
    r->result.status = status;
    if (status != SQL_DONE && !r->result.err.code)
        (void)err_set(&r->result.err, ERR_PG, "%s", why);
    event_in(chance_between(50, 500), r->client, run_tell, r);
}

static void run_go_on(struct run *r)
{
    while (!r->over && r->at < r->count) {
        enum answer a = answer(r);
        const struct query *q = &r->queries[r->at];
        if (a == REFUSED && !q->may_fail) {
            r->result.failed_i = r->at;
            run_over(r, SQL_FAILED, "");
            return;
        }
        r->rows[r->at].failed = a == REFUSED;
        r->at++;
        if (a == LATER)
            return;
    }
    run_over(r, SQL_DONE, "");
}

static bool session_lives(const struct sql *s)
{
    return s->server && pg_session_lives(s->server, s->session, s->session_id);
}

static void drop_session(struct sql *s)
{
    if (session_lives(s))
        pg_disconnect(s->session);
    s->session = NULL;
    s->local_commits = false;
}

static void run_begins(void *arg)
{
    struct run *r = arg;

    if (!r->over)
        run_go_on(r);
}

static void session_begins(void *arg)
{
    struct run *r = arg;

    if (r->over)
        return;
    if (r->server->accepting && !r->server->stopping) {
        run_begins(r);
        return;
    }
    drop_session(r->sql);
    run_over(r, SQL_STARTING, "the database system is not yet accepting connections");
}

/* By the postmaster: it has what that has at this moment, and hears of later reloads as all do. */
static void forked(void *arg)
{
    struct run *r = arg;
    struct sql *s = r->sql;

    if (r->over || !r->server->backends.alive)
        return;
    s->server = r->server;
    s->session = pg_connect(r->server, r->client);
    if (!s->session) {
        run_over(r, SQL_DENIED, "too many clients already");
        return;
    }
    s->session_id = s->session->id;
    event_in(chance_between(300, 2000), &r->server->backends, session_begins, r);
}

/* Its connection breaks as the server goes; who cannot connect is told so at once. */
static void run_looks(void *arg)
{
    struct run *r = arg;

    if (r->over)
        return;
    if (!pg_postmaster_lives(r->server) && !session_lives(r->sql))
        run_over(r, r->sql->session ? SQL_LOST : SQL_NO_SERVER, "the server is not there");
    else if (r->sql->session && !session_lives(r->sql))
        run_over(r, SQL_LOST, "the connection broke");
    else
        event_in(LOOK, r->client, run_looks, r);
}

/* ---- the client ---- */

static void run_tell(void *arg)
{
    struct run *r = arg;
    struct sql *s = r->sql;

    if (r->told || !s || s->run != r)
        return;
    r->told = true;
    s->run = NULL;
    for (int i = 0; i < r->at; i++) {
        r->rows[i].row_count = r->grids[i].rows;
        r->rows[i].column_count = r->grids[i].columns;
        r->rows[i].pg_result = &r->grids[i];
    }
    r->result.rows = r->rows;
    r->result.rows_count = r->at;
    if (s->once || r->result.status == SQL_TIMEOUT || r->result.status == SQL_LOST)
        drop_session(s);
    r->done(&r->result, r->arg); /* may free s */
}

static void run_late(void *arg)
{
    struct run *r = arg;

    if (r->told || !r->sql || r->sql->run != r)
        return;
    r->over = true;
    r->result.status = SQL_TIMEOUT;
    (void)err_set(&r->result.err, ERR_TIMEOUT, "no answer in time");
    run_tell(r);
}

struct sql *sql_new(struct loop *l, const struct sql_target *target)
{
    struct sql *s = mem_zero(1, sizeof(*s));

    s->target = *target;
    return s;
}

void sql_free(struct sql *s)
{
    if (!s)
        return;
    if (s->run) {
        s->run->over = true;
        s->run->sql = NULL;
    }
    drop_session(s);
    free(s);
}

bool sql_busy(const struct sql *s)
{
    return s->run != NULL;
}

const struct sql_target *sql_target_of(const struct sql *s)
{
    return &s->target;
}

static void copy_query(struct query *to, const struct sql_statement *from)
{
    *to = (struct query){.text = str_dup(from->text), .param_count = from->param_count, .may_fail = from->may_fail};
    to->params = mem_zero((size_t)from->param_count + 1, sizeof(*to->params));
    for (int i = 0; i < from->param_count; i++)
        to->params[i] = str_dup(from->params[i]);
}

void sql_run(struct sql *s, const struct sql_statement *statements, int count, msec budget_ms, sql_done_fn *done,
             void *arg)
{
    struct run *r = mem_zero(1, sizeof(*r));

    CHECK(!s->run && count <= STATEMENTS_MAX);
    *r = (struct run){.sql = s, .server = pg_here(), .client = world.current, .count = count, .done = done, .arg = arg};
    for (int i = 0; i < count; i++)
        copy_query(&r->queries[i], &statements[i]);
    s->run = r;
    event_in(budget_ms * 1000, r->client, run_late, r);
    if (session_lives(s)) {
        event_in(chance_between(50, 1000), &r->server->backends, run_begins, r);
    } else {
        s->session = NULL;
        event_in(chance_between(50, 500), &r->server->postmaster, forked, r);
    }
    event_in(chance_between(100, 1000), r->client, run_looks, r);
}

struct sql *sql_once(struct loop *l, const struct sql_target *target, const struct sql_statement *statements, int count,
                     msec budget_ms, sql_done_fn *done, void *arg)
{
    struct sql *s = sql_new(l, target);

    s->once = true;
    sql_run(s, statements, count, budget_ms, done, arg);
    return s;
}

const char *sql_cell(const struct sql_rows *rows, int r, int column)
{
    const struct grid *g = rows->pg_result;

    CHECK(r >= 0 && r < g->rows && column >= 0 && column < g->columns);
    return g->cells[r * g->columns + column];
}

const char *sql_failure(const struct sql_rows *rows)
{
    return rows->failed ? "refused" : NULL;
}
