/*
 * Which rules hold: of the lease (asynchronous mode) or of the quorum; and what they make of the record.
 *
 * In quorum mode the record says who leads, whatever becomes of the leader key: the key hangs on a lease and is a
 * publication for Patroni's tools and for readers of REST. Three different permissions follow:
 *   - to lead (promote, run out of recovery): the record elected us, and our promise is of no later term;
 *   - to acknowledge: it says that we are open, too. The list of names is that gate;
 *   - to serve (REST, poolers): and the lease holds.
 */
#pragma once

#include <stdbool.h>

#include "core/ha/view.h"

/* The record's rules hold, not the lease's. */
bool mode_is_quorum(const struct ha_view *v);

/* The record as far as this node may act on it: of quorum mode, and not older than our promise; else NULL. */
const struct record_key *mode_record(const struct ha_view *v);

/* Who leads: in quorum mode by the record (elected or open), else the owner of the leader key; NULL: nobody. */
const char *mode_leader(const struct ha_view *v);

/*
 * The quorum is the fence: losing the store stops nobody. Not while quorum mode is about to be left: the lease's
 * fence is in force before the record says so.
 */
bool mode_needs_no_fence(const struct ha_view *v);

/* A member of Patroni's: it promises and freezes nothing. */
bool mode_has_strangers(const struct cluster *c);

bool mode_may_lead(const struct ha_view *v);
bool mode_may_acknowledge(const struct ha_view *v);
bool mode_may_serve(const struct ha_view *v);

/*
 * A later term than any that has been elected is promised: nothing of an earlier one is acknowledged or done here,
 * until the record elects somebody under that term or a later one.
 */
bool mode_must_freeze(const struct ha_view *v);
