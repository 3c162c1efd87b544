/*
 * The way back to Patroni: what quorum mode left in this node's files goes.
 *
 * In postgresql.conf: the floor of the names (the write fence), the include of the list, what names an upstream, an
 * empty restore_command and our defaults for quorum mode; the list's own file; in postgresql.auto.conf the recovery
 * parameters and the names, which would override Patroni's. Any part of it can be done before and again: the list goes
 * first and the floor last, so that who dies half-way leaves a node that acknowledges nothing.
 *
 * Only the files: a server that runs goes on with what it has loaded, and is not told.
 */
#pragma once

#include <stdbool.h>

#include "base/auto.h"
#include "base/err.h"

struct pg_instance;

struct detach_done {
    bool names;       /* the list's file is gone */
    bool auto_conf;   /* of postgresql.auto.conf something is */
    bool conf;        /* of postgresql.conf something is */
    bool quarantined; /* standby.signal is there, and was not */
};

/*
 * quarantine: a standby.signal first, so that a start by hand comes up as a standby. Synced when it returns. False:
 * some of it may be done; *ret_done says what.
 */
MUST_USE bool detach_files(const struct pg_instance *i, bool quarantine, struct detach_done *ret_done, struct err *err);

/* Pure: postgresql.conf, one of ours, without what is told above; NULL: nothing of that is in it. free() it. */
char *detach_config_text(const char *text);
