/*
 * A real PostgreSQL for the guard's tests: small, without fsync, in the rig's data directory.
 */
#pragma once

#include <libpq-fe.h>
#include <stdbool.h>

#include "rig.h"

/* The newest installed one's programs; false: none is installed. */
bool pgrig_find(void);
/*
 * Of the group of tests. initdb once per program; the tests have it in turn, each as the one before left it (after a
 * crash, mostly).
 */
int pgrig_make_template(void **state);
int pgrig_drop_template(void **state);

/*
 * rig_init with the data directory, and an agent that is replaced only after long silence: supervision is tested
 * elsewhere, and a busy machine shall not end a test by it. rig_deinit without the data directory.
 */
void pgrig_init(struct rig *r);
void pgrig_deinit(struct rig *r);

/* GUARD_START's arguments for it. */
struct guard_msg pgrig_start_message(const struct rig *r);
/* Starts it through the guard, waits until it takes connections; the postmaster's pid. */
pid_t pgrig_start(struct rig *r);
/* Starts it as somebody else would. */
pid_t pgrig_start_foreign(struct rig *r);
void pgrig_until_ready(const struct rig *r);

PGconn *pgrig_connect(const struct rig *r);
/* A client whose backend is stopped, as by a frozen disk or a debugger. */
PGconn *pgrig_stopped_backend(const struct rig *r, pid_t *ret_pid);
/* A backend that computes for minutes and looks at nothing meanwhile; its pid. */
pid_t pgrig_make_busy(PGconn *conn);
/* postmaster.pid of the data directory; 0: none. */
pid_t pgrig_pid(const struct rig *r);
/* PostgreSQL's log says it, or does within wait_ms. */
bool pgrig_log_says(const struct rig *r, const char *text, msec wait_ms);
