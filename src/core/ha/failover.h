/*
 * Failover in quorum mode: take a term, wait for the freezes, elect. Any agent may do this; who is elected is another
 * question. Level-triggered: the record says how far it has come, so that a coordinator that dies is replaced, and
 * one that comes back goes on.
 */
#pragma once

#include "core/ha/decide.h"
#include "core/ha/election.h"

void failover_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p);

/* By the leader, to be elected anew by its own wish. False: not now. */
bool failover_call_anew(const struct ha_view *v, struct ha_plan *p);

/*
 * What each node that is known here would say in an election of term t, this one included; sorted by name, at most
 * HA_PEERS_MAX. What they point at is v's. t 0: as if each were frozen where it is.
 */
size_t failover_ballots(const struct ha_view *v, term t, struct ballot *ret_ballots);

/* The record names this node as coordinator; of an earlier life of its agent, maybe: the record counts. */
bool failover_is_ours(const char *name, const struct record_key *r);

/* A number that no timeline has, as far as anybody here knows. */
uint32_t failover_next_timeline(const struct ha_view *v);

/* Nodes that are up could settle the record without `without`, and one of them may lead: somebody could take over. */
bool failover_is_possible(const struct ha_view *v, const char *without);
