/*
 * What goes wrong with one PostgreSQL: queries and pauses in the way of replay, processes that hang or crash, a wrong
 * configuration, tools and sessions that do what they should not, disks that are full or fail.
 */
#pragma once

#include "test/sim/pg.h"
#include "test/sim/schedule.h"

/* One of these kinds, at that server; luck: for choices of its own. What it needs may not be there: then nothing. */
void pg_fault_begin(enum fault_kind kind, struct pg *p, uint64_t luck);
void pg_fault_end(enum fault_kind kind, struct pg *p);
