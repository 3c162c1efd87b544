/*
 * synchronous_standby_names in quorum mode: a floor in postgresql.conf, and an override that holds the list.
 *
 * The floor (conf_input.names_floor) is a name that cannot exist, so that whatever gets lost closes the node instead of
 * opening it: nothing is acknowledged. The list stands in a file of its own beside postgresql.conf, included as its last
 * line; only the leader of an open term has it. It goes before every start of a server, and clones and rewinds bring the
 * source's, which goes before the in-progress mark does.
 */
#pragma once

#include "base/auto.h"
#include "base/err.h"

struct pg_instance;

#define NAMES_FENCE \
    "__fence__" /* application_name of nobody: member names of the configuration are letters and digits */
#define NAMES_FILE "pgkeep.sync.conf"

/* Where the override is read from. free() it. */
char *names_path(const struct pg_instance *i);

/* Remove the override, on disk, without a word to the server. Absent is fine. */
MUST_USE bool names_remove(const struct pg_instance *i, struct err *err);
