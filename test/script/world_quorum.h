/*
 * What quorum mode adds to the world of a scenario: other agents, this node's promise, freeze, list and marker.
 *
 * An agent of the mesh is heard at every moment, says the same until a line changes it, and hears whom we hear; one
 * that is silent was heard last when it fell silent. What this node tells is made from the rest of the view, as the
 * shell does it. A promise is on disk at once; freeze, list and marker take until the script says what came of them.
 */
#pragma once

#include "world.h"

/* The first line about quorum mode: the promise is known (none), the others are listened to. */
void quorum_begin(struct scenario *s);

/* The agent of that name; made if there is none: a standby of nobody that runs, on timeline 1. */
struct ha_mesh_peer *agent_of(struct scenario *s, const char *name);
struct agent_more *agent_more_of(struct scenario *s, const char *name);

/* That of nX: 0xXX; 0 of a name without a digit at its end: it has no data. */
uint64_t incarnation_of(const char *name);

/* Before a decision: ages and what this node tells are as of now. */
void quorum_tell(struct scenario *s);
/* After it: what the shell does at once. */
void quorum_carry_out(struct scenario *s);
/* Another postmaster, or none. */
void quorum_forget_postmaster(struct scenario *s);

/* The same decision without memory: what it does otherwise is kept for quorum_judge(). */
void quorum_forgetful(struct scenario *s);
/* At the end of a file that says `forgetful`. False: a plan without memory had what no plan with it has; says so. */
bool quorum_judge(const struct scenario *s);
