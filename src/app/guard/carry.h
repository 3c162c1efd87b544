/*
 * An upgrade in place: what one guard hands to the next one in the same process.
 *
 * exec keeps the pid, the children, their death signals, the lock and the descriptors; what is in memory
 * goes through a sealed memfd. The new binary first reads it in a process of its own: once we have
 * executed it there is no way back, and a guard that dies takes PostgreSQL with it.
 *
 * Only ever append to the struct; a reader fills what an older writer did not know with zero.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/time.h"

struct guard;

#define CARRY_ENV_FD "PGKEEP_GUARD_CARRY_FD"
#define CARRY_ENV_CHECK "PGKEEP_GUARD_CARRY_CHECK" /* set for the probe */

/* How the probe says that it could take over; not 0, which any program may say. */
enum { CARRY_EXIT_GOOD = 42 };

/* Starts the new binary on a copy of our state, with our command line; guard->upgrade then holds the probe. */
bool carry_probe(struct guard *g, msec now_ms, struct err *err);

/* Executes the new binary. Returns only if that fails; everything is then as before. */
void carry_exec(struct guard *g, struct err *err);

/* In the new binary: takes over from descriptor fd, which is closed. The agent of before is in g->agent. */
bool carry_take(struct guard *g, int fd, struct err *err);

/* In the probe: true if carry_take() would work. */
bool carry_check(const char *data_dir, int fd, struct err *err);
