/*
 * Twins: another running node under our name, found before anything is written in that name.
 *
 * Two nodes that share a name renew each other's keys and follow each other's promises. As in Patroni, a
 * node that starts asks the address that its member key holds; whoever answers there in our name, and is
 * not ourselves, was first, and we go. An agent that finds its PostgreSQL already in its guard's hands is the
 * successor of another agent here and asks nobody.
 *
 * Nor is there room for two names that differ in case only: PostgreSQL compares the names of standbys without it, and
 * their replication slot would be the same one. Who joins such a cluster does not start.
 */
#pragma once

#include <stdbool.h>

#include "app/agent/state.h"

/* False: the question is under way, nothing may be decided yet; its end wakes. */
bool twin_looked_for(struct agent *a);
/* The client that carries the question goes away. */
void twin_forget(struct agent *a);
