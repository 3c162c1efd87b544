/*
 * Where a demo lives: one folder, an ordinary user, programs that this user can reach.
 *
 * PostgreSQL refuses to run as root. Started as root we become `postgres` (else the user who called
 * sudo) for good, after copying our programs where that user can execute them: the checkout may lie under
 * a home that only root can enter.
 */
#pragma once

#include <stdbool.h>

#include "base/auto.h"
#include "base/err.h"

struct place {
    char *dir;     /* ours alone; absolute */
    char *program; /* pgkeep, as the user of the demo can run it */
    char *user;    /* name of the user we became; NULL: we stayed who we were */
};

/* dir NULL: a new one below $TMPDIR, /tmp or /var/tmp. A folder that is there must be empty. */
MUST_USE bool place_make(const char *dir, struct place *ret, struct err *err);
/* The folder and all in it. */
MUST_USE bool place_remove(const struct place *p, struct err *err);
void place_deinit(struct place *p);
