/*
 * What of PostgreSQL's settings breaks quorum mode's promise: one question to the server, a few milliseconds of its
 * time, asked now and then.
 *
 * Found are synchronous_commit below `on` in the configuration files and, on a primary, by ALTER ROLE and ALTER
 * DATABASE (standbys have the same by replication); fsync and full_page_writes off; settings that this program owns,
 * overridden by ALTER SYSTEM. Not found, because PostgreSQL shows it to nobody: what a session sets for itself, by SET,
 * set_config(), PGOPTIONS or its driver. (A function's own SET ends with the function, before its commit.)
 */
#pragma once

#include "pg/sql.h"
#include "wire/breach.h"

struct loop;

/*
 * Ask a superuser's session of its own; `done` runs once with the answer for breach_read(). The handle is for
 * sql_free(), and frees itself after that.
 */
struct sql *breach_ask(struct loop *l, const struct sql_target *target, msec budget_ms, sql_done_fn *done, void *arg);

/* Adds to *b what was found. False: not answered, result->err says why. */
MUST_USE bool breach_read(const struct sql_result *result, struct breaches *b);
