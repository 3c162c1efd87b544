/*
 * Lease arithmetic: until when this node may act as primary, and how the fence follows from it.
 *
 * Rule (async mode): a lease is ours until `renewed + ttl`, counted from before the renewal was sent,
 * so the store never gives it away earlier than we believe. At that moment no process of the instance
 * may be left, whatever the agent does: the guard kills before it. Our margins, for ttl T:
 *
 *   renewed ──────────────── stop ─── quit ── kill ─ deadline
 *      0                   0.78 T   0.88 T  0.95 T     T
 *
 * `stop` is later than Patroni's loop_wait + retry_timeout (2/3 T by default), so a store that is away
 * for a moment costs nothing; kill leaves 1 s at ttl 20 for SIGKILL to take effect and for the guard's
 * timer to be late. In pause there is no fence, as in Patroni; but the record says so first, and nobody is elected
 * beside a leader whose fence was off until that leader, or an operator, is heard.
 */
#pragma once

#include "core/ha/decide.h"

/* True while clients may be served as primary: before the soft stop. */
bool fence_may_serve(const struct ha_memory *m, const struct ha_view *v);

/* Sets plan->fence, asks for renewal when due, asks the members when the store is away. */
void fence_decide(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p);
