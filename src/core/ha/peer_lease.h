/*
 * The peer lease of asynchronous mode, on the leader's side: it needs the grants of most of the other agents, too, and
 * is over seconds after they stop, not a ttl. So others may take over as soon (depose.h). docs/async-lease.md has the
 * argument.
 *
 * A grant is a word of an elector's in the mesh: "I help nobody against you before a lease has passed since the message
 * of yours that I heard last". The leader counts it from when IT sent that message. The electors are in the record; so
 * is, by their being there, that the guard is armed. The lease of the store stays in force: a peer lease only ever
 * makes the leader's time shorter.
 *
 *   sent ─────────────── stop ── quit ── kill ── deadline          free (an elector's clock)
 *     0               L-1.6 s L-1.3 s  L-1 s       L                 1.05 L
 *
 * An electorate is obeyed by the fence for a while before the record has it, and until the record certainly has it no
 * more: while it changes both the old and the new one have to be held.
 */
#pragma once

#include "core/ha/decide.h"

enum { PEER_LEASE_ELECTORS_MIN = 3 }; /* of two, one alone is no majority: the survivor could take over from nobody */

/* Until when most of each electorate that may be in force has granted us to lead; MSEC_NEVER: there is none. */
msec peer_lease_deadline(const struct ha_memory *m, const struct ha_view *v);
/* Those deadlines for the guard that follow from it. */
msec peer_lease_stop_at(msec deadline_ms);
msec peer_lease_quit_at(msec deadline_ms);
msec peer_lease_kill_at(msec deadline_ms);

/* Which electorate this node wishes for, if it leads; before the fence is decided. */
void peer_lease_seen(struct ha_memory *m, const struct ha_view *v);
/* When the fence has to be moved on. */
void peer_lease_wake(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p);
/* Begin one, change it, or give it up in the record; after all that may change the record for other reasons. */
void peer_lease_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p);
