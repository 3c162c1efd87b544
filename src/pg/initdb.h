/*
 * A new cluster: initdb or a custom method, and after the first start users and post_bootstrap.
 *
 * Three jobs, in this order, the agent starts the server between the first and the second:
 *   bootstrap_create  initdb (or the method's command); leaves the marker DATADIR_MARK_BOOTSTRAP
 *   bootstrap_users   superuser's password, replication and rewind users with their grants
 *   bootstrap_script  post_bootstrap
 * When all is well the agent removes the marker (datadir_unmark). Passwords go through a 0600 file or
 * the wire, with statement logging off; never a command line.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/time.h"

struct loop;
struct pg_instance;

/* err NULL: done. Runs once, from the loop; the job frees itself after it. */
typedef void bootstrap_fn(const struct err *err, void *arg);
struct bootstrap_job;

/*
 * The data directory must be absent or empty. Picks bootstrap.method. For a custom method the caller then reads the
 * control file and starts with CONF_BOOTSTRAP (bootstrap_is_custom says so).
 */
MUST_USE bool bootstrap_create(struct loop *l, struct pg_instance *i, bootstrap_fn *done, void *arg,
                               struct bootstrap_job **ret_job, struct err *err);
MUST_USE bool bootstrap_users(struct loop *l, struct pg_instance *i, msec budget_ms, bootstrap_fn *done, void *arg,
                              struct bootstrap_job **ret_job, struct err *err);
/* Nothing configured: done runs with NULL from the loop. */
MUST_USE bool bootstrap_script(struct loop *l, struct pg_instance *i, bootstrap_fn *done, void *arg,
                               struct bootstrap_job **ret_job, struct err *err);
void bootstrap_cancel(struct bootstrap_job *j); /* kills what runs; no callback */

/* The configured method is not initdb and has a command. */
bool bootstrap_is_custom(const struct pg_instance *i);
/* recovery_conf of the custom method; NULL: none. */
const json_t *bootstrap_recovery_conf(const struct pg_instance *i);
bool bootstrap_keep_recovery_conf(const struct pg_instance *i);
