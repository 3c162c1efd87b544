/*
 * SQL on the loop: one connection, lists of statements, every list with a deadline.
 *
 * libpq by descriptor (PQconnectStart, PQconnectPoll, PQsendQueryParams); names are resolved beside the
 * loop, so nothing blocks. One list at a time per connection; statements run one after another
 * outside a transaction unless the list contains BEGIN and COMMIT. Results are text. When the deadline
 * passes the connection is dropped (the server ends the statement at its own statement_timeout, which
 * is set to the same budget). Passwords stand in the target only and reach neither logs nor errors.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/time.h"

struct loop;
struct pg_user;
struct sql;

struct sql_target {       /* borrowed strings; sql_new copies */
    const char *host;     /* "/dir" Unix socket; a name or address otherwise; NULL: libpq's default socket directory */
    const char *hostaddr; /* numeric; NULL: host is resolved when it is a name */
    int port;
    const char *dbname;           /* NULL: "postgres" */
    const struct pg_user *user;   /* name, password, TLS; NULL: libpq's default user */
    bool replication;             /* the replication protocol: simple queries only */
    const char *application_name; /* NULL: "pgkeep" */
    const char *passfile;         /* used where user has no password; NULL */
};

enum sql_status {
    SQL_DONE,
    SQL_NO_SERVER, /* refused, no socket, unreachable, unresolvable */
    SQL_STARTING,  /* 57P03: starting up, shutting down or not yet accepting */
    SQL_DENIED,    /* 28xxx: password, pg_hba, no such role; 3D000 no such database */
    SQL_TIMEOUT,   /* our deadline passed; the statement may or may not have run */
    SQL_LOST,      /* the connection broke in the middle; the statement may or may not have run */
    SQL_FAILED,    /* the server refused the statement; sqlstate says why */
};

struct sql_statement {
    const char *text;
    const char *const *params; /* text format; NULL for SQL NULL */
    int param_count;
    bool may_fail; /* an SQL error does not end the list */
};

struct sql_rows { /* of one statement; valid during the callback */
    int row_count;
    int column_count;
    void *pg_result;
    bool failed; /* a may_fail statement that did */
};

struct sql_result {
    enum sql_status status;
    struct err err;              /* set unless SQL_DONE */
    char sqlstate[6];            /* "" unless the server said one */
    int failed_i;                /* which statement, with SQL_FAILED */
    const struct sql_rows *rows; /* of the statements that finished, in order */
    int rows_count;
    int server_version; /* server_version_num; 0: never connected */
};

typedef void sql_done_fn(const struct sql_result *result, void *arg);

/* Connects with the first list. */
struct sql *sql_new(struct loop *l, const struct sql_target *target);
/* No callback runs afterwards; what is under way is dropped. Allowed from inside `done`. */
void sql_free(struct sql *s);
AUTO_DEFINE(sql, struct sql, sql_free)

/*
 * Run a list. One at a time: CHECKs !sql_busy. Copies everything. `done` runs once from the loop, never from inside
 * this call. A connection found broken before anything was sent is made anew once.
 */
void sql_run(struct sql *s, const struct sql_statement *statements, int count, msec budget_ms, sql_done_fn *done,
             void *arg);
bool sql_busy(const struct sql *s);

/*
 * Connect, run, disconnect, free: for single acts. Returns the handle for sql_free (cancel); it frees itself
 * after done.
 */
struct sql *sql_once(struct loop *l, const struct sql_target *target, const struct sql_statement *statements, int count,
                     msec budget_ms, sql_done_fn *done, void *arg);

/* What sql_new was given (its own copy); valid as long as *s. */
const struct sql_target *sql_target_of(const struct sql *s);

/*
 * The password as the server stores it, so that the words themselves never leave us (algorithm "scram-sha-256"
 * or "md5"; a text that is a stored form already comes back as it is). Needs the connection of a list that has
 * just ended. NULL: *err. free() it.
 */
char *sql_encrypt_password(struct sql *s, const char *user, const char *password, const char *algorithm,
                           struct err *err);

/* The cell's text; NULL for SQL NULL. Bounds are CHECKed. */
const char *sql_cell(const struct sql_rows *rows, int row, int column);
/* Of a may_fail statement that failed: its message; NULL for others. */
const char *sql_failure(const struct sql_rows *rows);

/* Pure: "it''s" in quotes; E'' where backslashes ask for it. free() it. */
char *sql_quote_literal(const char *text);
char *sql_quote_ident(const char *name);
