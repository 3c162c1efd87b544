/*
 * writer LOG RATE STATEMENT_MS NODE=CONNINFO...
 *
 * A client that knows all nodes, for measurements: it asks each of them for a session that may write
 * (target_session_attrs=read-write), all at once, and writes a row in each session that it gets, RATE times a second.
 * Of a healthy cluster that is one. SIGTERM ends it. What was acknowledged stands in LOG, a line a row, as it comes:
 *
 *   ID NODE TIMELINE SENT ACKNOWLEDGED           (seconds of CLOCK_MONOTONIC)
 *
 * Nothing waits for a server that does not answer: a session is given up after STATEMENT_MS, an attempt after
 * CONNECT_MS, and the other nodes are asked meanwhile. While rows are acknowledged the others are asked seldom, or
 * these attempts would be most of the load.
 */
#include <libpq-fe.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/str.h"

enum {
    NODES_MAX = 8,
    CONNECT_MS = 500,
    AGAIN_MS = 20,        /* after a refusal, while nothing is acknowledged */
    AGAIN_IDLE_MS = 1000, /* and while something is */
    QUIET_MS = 60,        /* nothing was acknowledged for so long: that is an outage */
};

#define INSERT                                     \
    "insert into ledger values ($1, $2) returning" \
    " ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int"

struct session {
    enum { CLOSED, CONNECTING, READY, BUSY } state;
    const char *node;
    char *conninfo;
    PGconn *pg;
    PostgresPollingStatusType wants;
    double until;  /* of this state: the end of our patience, the next row; CLOSED: since when */
    double sent;   /* this, and what follows: BUSY */
    PGresult *row; /* what the statement returned; NULL: nothing yet */
    bool refused;
    uint64_t rows; /* numbers are never used twice */
};

static struct session sessions[NODES_MAX];
static int session_count;
static FILE *ledger;
static double interval_s, statement_s, last_acked;
static volatile sig_atomic_t ended;

static void on_sigterm(int number)
{
    (void)number;
    ended = 1;
}

static double now_s(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void give_up(struct session *s, double now)
{
    PQclear(s->row);
    s->row = NULL;
    PQfinish(s->pg);
    s->pg = NULL;
    s->state = CLOSED;
    s->until = now;
}

static void ask(struct session *s, double now)
{
    s->pg = PQconnectStart(s->conninfo);
    if (!s->pg || PQstatus(s->pg) == CONNECTION_BAD) {
        give_up(s, now);
        return;
    }
    s->state = CONNECTING;
    s->wants = PGRES_POLLING_WRITING;
    s->until = now + CONNECT_MS / 1e3;
}

static void go_on_connecting(struct session *s, double now)
{
    s->wants = PQconnectPoll(s->pg);
    if (s->wants == PGRES_POLLING_FAILED) {
        give_up(s, now);
    } else if (s->wants == PGRES_POLLING_OK) {
        s->state = READY;
        s->until = now;
    }
}

static void write_row(struct session *s, double now)
{
    char id[96];
    const char *values[] = {id, s->node};

    (void)snprintf(id, sizeof(id), "%s.%llu", s->node, (unsigned long long)++s->rows);
    PQclear(s->row);
    s->row = NULL;
    s->refused = false;
    s->sent = now;
    s->until = now + statement_s;
    s->state = BUSY;
    if (!PQsendQueryParams(s->pg, INSERT, 2, NULL, values, NULL, NULL, 0))
        give_up(s, now);
}

/*
 * Row and command tag are there before the commit, and a server that dies in that moment sends them on: only
 * ReadyForQuery says that it is done.
 */
static void row_done(struct session *s, double now)
{
    double next = s->sent + interval_s;

    if (!s->row || s->refused || PQtransactionStatus(s->pg) != PQTRANS_IDLE) {
        give_up(s, now);
        return;
    }
    (void)fprintf(ledger, "%s.%llu %s %s %.6f %.6f\n", s->node, (unsigned long long)s->rows, s->node,
                  PQgetvalue(s->row, 0, 0), s->sent, now);
    last_acked = now;
    s->state = READY;
    s->until = next > now ? next : now;
}

static void read_from(struct session *s, double now)
{
    if (!PQconsumeInput(s->pg)) {
        give_up(s, now);
        return;
    }
    while (s->state == BUSY && !PQisBusy(s->pg)) {
        PGresult *r = PQgetResult(s->pg);
        if (!r) {
            row_done(s, now);
        } else if (PQresultStatus(r) == PGRES_TUPLES_OK && !s->row) {
            s->row = r;
        } else {
            s->refused = true;
            PQclear(r);
        }
    }
}

static void answered(struct session *s, double now)
{
    if (s->state == CONNECTING)
        go_on_connecting(s, now);
    else
        read_from(s, now);
}

static void its_time_has_come(struct session *s, double now)
{
    switch (s->state) {
    case CLOSED:
        ask(s, now);
        break;
    case READY:
        write_row(s, now);
        break;
    case CONNECTING:
    case BUSY:
        give_up(s, now);
        break;
    }
}

/* The next attempt is far off while rows are acknowledged, and near when they stop. */
static double due(const struct session *s)
{
    if (s->state != CLOSED)
        return s->until;
    double idle = s->until + AGAIN_IDLE_MS / 1e3;
    double soon = s->until + AGAIN_MS / 1e3;
    double quiet = last_acked + QUIET_MS / 1e3;
    soon = soon > quiet ? soon : quiet;
    return soon < idle ? soon : idle;
}

static void turn(void)
{
    struct pollfd fds[NODES_MAX];
    struct session *of[NODES_MAX];
    nfds_t count = 0;
    double now = now_s();
    double wake = now + 1;

    for (struct session *s = sessions; s < sessions + session_count; s++) {
        if (due(s) <= now)
            its_time_has_come(s, now);
        if (due(s) < wake)
            wake = due(s);
        if (!s->pg)
            continue;
        bool writes = s->state == CONNECTING && s->wants == PGRES_POLLING_WRITING;
        fds[count] = (struct pollfd){.fd = PQsocket(s->pg), .events = writes ? POLLOUT : POLLIN};
        of[count++] = s;
    }
    double left_s = wake - now_s();
    struct timespec wait = {0};
    if (left_s > 0)
        wait = (struct timespec){.tv_sec = (time_t)left_s, .tv_nsec = (long)((left_s - (double)(time_t)left_s) * 1e9)};
    if (ppoll(fds, count, &wait, NULL) <= 0)
        return;
    for (nfds_t i = 0; i < count; i++)
        if (fds[i].revents)
            answered(of[i], now_s());
}

int main(int argc, char **argv)
{
    int64_t rate = 0;
    int64_t statement_ms = 0;

    if (argc < 5 || argc - 4 > NODES_MAX || !str_to_int(argv[2], 1, 100000, &rate) ||
        !str_to_int(argv[3], 1, 3600000, &statement_ms)) {
        (void)fputs("usage: writer LOG RATE STATEMENT_MS NODE=CONNINFO...\n", stderr);
        return 2;
    }
    ledger = fopen(argv[1], "we");
    if (!ledger) {
        perror(argv[1]);
        return 1;
    }
    (void)setvbuf(ledger, NULL, _IOLBF, 0);
    interval_s = 1.0 / (double)rate;
    statement_s = (double)statement_ms / 1e3;
    for (char **arg = argv + 4; *arg; arg++) {
        char *conninfo = strchr(*arg, '=');
        if (!conninfo)
            return 2;
        *conninfo++ = 0;
        sessions[session_count++] =
            (struct session){.node = *arg, .conninfo = str_fmt("%s target_session_attrs=read-write", conninfo)};
    }
    (void)signal(SIGTERM, on_sigterm);
    while (!ended)
        turn();
    for (struct session *s = sessions; s < sessions + session_count; s++) {
        PQclear(s->row);
        PQfinish(s->pg);
        free(s->conninfo);
    }
    (void)fclose(ledger);
    return 0;
}
