/*
 * What the two halves of src/pg's stand-in share: each speaks of the PostgreSQL of the host whose event runs.
 */
#pragma once

#include "pg/control.h"
#include "pg/history.h"
#include "test/sim/pg.h"

struct pg *pg_here(void);
/* The directory is about to be changed as a stopped one's: no process of it may be left. */
void pg_stands_still(const struct pg *p, const char *what);
/* "10.0.0.N" → its host; NOBODY: none. */
int pg_host_of(const char *address);
struct history *pg_history_of(struct rec *end);
struct pg_control pg_control_of(const struct pg *p);

/* A step of a tool: an event of the agent, dropped when the tool was cancelled. */
struct step {
    bool cancelled;
};
