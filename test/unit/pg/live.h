/*
 * Real servers for the tests of pg/: each in a folder of its own under /tmp, on loopback, fsync off.
 *
 * Everything waits with a deadline and fails the test when it passes.
 */
#pragma once

#include <sys/types.h>

#include "config.h"
#include "io/loop.h"
#include "pg/conffile.h"
#include "pg/control.h"
#include "pg/probe.h"
#include "pg/sql.h"

struct child;

struct live {
    struct loop *loop;
    char *folder;
    int port;
    struct config config;
    struct child *postmaster; /* NULL: stopped */
    pid_t pid;
    bool ended;
};

/* more: lines of the postgresql section, dynamic: the store's config key. Nothing runs yet. */
void live_new(struct live *n, struct loop *l, const char *name, const char *more, const char *dynamic);
void live_free(struct live *n);

/* Make the instance's snapshot anew (the version of the data directory, other settings). */
void live_refresh(struct live *n);

/* initdb, configuration, start, users: a primary with a table t(i int). */
void live_bootstrap(struct live *n);

/* upstream NULL: as primary. Waits until it accepts connections. */
void live_start(struct live *n, const struct live *upstream);
/* The same without waiting for anything. */
void live_launch(struct live *n, enum conf_role role, const struct live *upstream);
void live_stop(struct live *n, int signo); /* SIGINT: fast; SIGQUIT: immediate; SIGKILL: everything of it */

/* A standby of `upstream` by clone_start(). */
void live_clone(struct live *n, const struct live *upstream);

/* Until *flag. */
void live_wait(struct loop *l, const bool *flag, const char *what);

/* First cell of the last statement's result, or the SQLSTATE of a failure. free() it. */
char *live_query(struct live *n, const char *sql);
/* Repeat until the answer is `wanted`. */
void live_query_until(struct live *n, const char *sql, const char *wanted);

struct pg_facts *live_facts(struct live *n);
struct pg_control live_control(struct live *n);
