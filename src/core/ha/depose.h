/*
 * The peer lease of asynchronous mode, on the side of those who do not lead (peer_lease.h has the leader's).
 *
 * Every agent tells the leader of the record that it grants it a lease, until the record has a challenger. From then on
 * it grants nothing, and once its last grant is certainly over it says that it is free of this record. Any candidate
 * that most of the electorate misses the leader with may challenge; when most of the electorate is free, it deposes the
 * leader: the key goes and the record says `released`, in one transaction over the record that they are free of. Then
 * the race is as open as after a leader that let go by itself.
 *
 * The leader may take the challenge out of the record as long as it reaches the store: whoever changes the record first
 * makes an end of the other's attempt.
 */
#pragma once

#include "core/ha/decide.h"

/* What this agent says as an elector. Also while an action waits. */
void depose_vote(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p);
/* After the vote: challenge, depose. */
void depose_decide(const struct ha_view *v, struct ha_plan *p);
