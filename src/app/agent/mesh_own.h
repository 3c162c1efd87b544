/*
 * What the other agents are told of this one, from what its parts know.
 */
#pragma once

struct agent;
struct peer_state;

/* mesh_state_fn; arg is the agent. */
void mesh_own_state(struct peer_state *state, void *arg);
