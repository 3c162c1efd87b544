/*
 * The race for an absent leader key.
 *
 * Rule (Patroni's): a node may take the key if no promotable member that can be
 * reached is ahead of it, none runs as primary, and its own lag behind the last published position is
 * small enough; whoever creates the key first wins. Our variations: positions are asked afresh, of
 * every member, after the key was seen absent; timelines are compared before positions; a key that
 * merely vanished is not taken before the last owner's lease has certainly ended.
 */
#pragma once

#include "core/ha/decide.h"

/* The key is absent, we are a running standby or a primary without a key: decide about taking it. */
void elect_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p);

/* We gave the key up, or are about to: others first for a while. */
void elect_stand_back(struct ha_memory *m, const struct ha_view *v, msec for_ms);

/*
 * The number of the timeline that this node is to be promoted to; a primary's own. PostgreSQL takes the next one that
 * it knows nothing of, and so may two nodes of which one was cut off right after its promotion: two histories under one
 * number, which nothing that PostgreSQL looks at can tell apart. So a number is taken in the record before it is used.
 */
uint32_t elect_timeline(const struct ha_view *v);
