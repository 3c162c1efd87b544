/*
 * One guard per node: a lock in the state directory, held by guard and agent together.
 *
 * The agent inherits the descriptor, so that a successor never starts beside an agent that has outlived
 * its guard. Such an agent is given time to stop PostgreSQL and end; one that does not is killed. The file
 * names both processes.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* May wait up to LOCK_WAIT_MS for the agent of a guard that is dead. *ret_fd is close-on-exec. */
bool lock_take(const char *state_dir, int *ret_fd, struct err *err);

/* Write down who holds it; agent 0: none yet. A failure is not one of the lock: it only costs the successor a wait. */
void lock_note(int fd, pid_t agent);

/* For agent and guard alike, at once. */
void lock_release(int *fd);
