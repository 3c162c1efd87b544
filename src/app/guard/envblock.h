/*
 * The environment of a process that the guard starts, without allocating.
 *
 * What is ours alone never reaches it: systemd's notify and watchdog variables (PostgreSQL would answer
 * for the whole unit), and, for PostgreSQL, secrets that belong to the agent (any PL function can read
 * the postmaster's environment).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { ENVBLOCK_MAX = 512 };

enum envblock_for { ENVBLOCK_AGENT, ENVBLOCK_POSTMASTER };

struct envblock {
    char *at[ENVBLOCK_MAX + 1]; /* ends with NULL; points into the caller's environ and into extra */
    size_t count;
};

/* False if there are too many variables. */
bool envblock_init(struct envblock *e, char *const *from, enum envblock_for whom);
/* KEY=VALUE, replaces an earlier KEY; "KEY" alone removes it. The text must outlive *e. */
bool envblock_set(struct envblock *e, char *assignment);
