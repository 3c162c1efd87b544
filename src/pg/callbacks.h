/*
 * The operator's scripts: on_start, on_stop, … and pre_promote, before_stop.
 *
 * Callbacks run beside us, one at a time: a new one kills the old with its whole process group (on_reload has a lane of
 * its own, as in Patroni). Called as `command <action> <role> <scope>`. Their result is reported, nothing
 * depends on it.
 */
#pragma once

#include <stdbool.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/time.h"

struct loop;
struct pg_instance;
struct callbacks;

enum callback_action {
    CALLBACK_ON_START,
    CALLBACK_ON_STOP,
    CALLBACK_ON_RESTART,
    CALLBACK_ON_RELOAD,
    CALLBACK_ON_ROLE_CHANGE
};

/* err NULL: exit 0. */
typedef void callback_fn(enum callback_action action, const struct err *err, void *arg);

struct callbacks *callbacks_new(struct loop *l, callback_fn *done, void *arg);
void callbacks_free(struct callbacks *c); /* kills what runs */
AUTO_DEFINE(callbacks, struct callbacks, callbacks_free)

/* Starts the configured command of the action, if there is one. role: Patroni's string ("primary", "replica", …). */
void callbacks_run(struct callbacks *c, const struct pg_instance *i, enum callback_action action, const char *role);
bool callbacks_running(const struct callbacks *c);
const char *callback_action_name(enum callback_action action);

/* A script whose end somebody waits for (pre_promote, before_stop). err NULL: exit 0. */
typedef void script_fn(const struct err *err, void *arg);
struct script_job;
/* budget_ms 0: no limit of its own. command: split as a shell would, nothing appended. */
MUST_USE bool script_start(struct loop *l, const char *name, const char *command, msec budget_ms, script_fn *done,
                           void *arg, struct script_job **ret_job, struct err *err);
void script_cancel(struct script_job *j);
