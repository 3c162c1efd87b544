/*
 * What an agent's programs have started and left behind.
 *
 * A program that the agent runs dies with it, what that has started does not: the tool under a script would write on
 * into the directory that the next agent makes a clone in. All of it comes to us, the subreaper. The agent's programs
 * lead process groups of their own in our session, except those that may leave something running: what has a session
 * of its own is left alone, and so is our own group, which is older than we are.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * SIGKILL to each of their groups; true if there were any. What they had started in other groups is ours only when they
 * are gone: call it again. `spared`: children of our own.
 */
bool leftovers_kill(const pid_t *spared, size_t count);
