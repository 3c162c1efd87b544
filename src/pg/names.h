/*
 * synchronous_standby_names in quorum mode: a floor in postgresql.conf, and an override that holds the list.
 *
 * The floor (conf_input.names_floor) is a name that cannot exist, so that whatever gets lost closes the node instead of
 * opening it: nothing is acknowledged. The list stands in a file of its own beside postgresql.conf, included as its
 * last line; only the leader of an open term has it. It goes before every start of a server, and clones and rewinds
 * bring the source's, which goes before the in-progress mark does.
 * ALTER SYSTEM's postgresql.auto.conf is read after both: the name goes from there as well, and whatever overrides the
 * two all the same is found by the proof (pg/reload.h), which tells where it stands.
 */
#pragma once

#include <sys/types.h>

#include "base/auto.h"
#include "base/err.h"
#include "pg/reload.h"

struct loop;
struct pg_instance;

#define NAMES_FENCE \
    "__fence__" /* application_name of nobody: member names of the configuration are letters and digits */
#define NAMES_FILE "pgkeep.sync.conf"

/* Where the override is read from. free() it. */
char *names_path(const struct pg_instance *i);

/* Remove the override, on disk, without a word to the server. Absent is fine. */
MUST_USE bool names_remove(const struct pg_instance *i, struct err *err);

/* postgresql.conf, as it is on disk, has the floor and the include. */
bool names_floor_stands(const struct pg_instance *i);

/*
 * Load this list into the running server ("": nobody is waited for), or go back to the floor: files on disk, SIGHUP,
 * proof. That one server process has the list does not mean that all have: reload_result.connected_us tells who may
 * not. False: a file could not be written, no callback; what is in force is not known then either.
 */
MUST_USE bool names_load(struct loop *l, struct pg_instance *i, pid_t postmaster, const char *list, msec budget_ms,
                         reload_fn *fn, void *arg, struct reload_job **ret_job, struct err *err);
MUST_USE bool names_drop(struct loop *l, struct pg_instance *i, pid_t postmaster, msec budget_ms, reload_fn *fn,
                         void *arg, struct reload_job **ret_job, struct err *err);
