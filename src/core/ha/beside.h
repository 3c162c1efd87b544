/*
 * Beside Patroni: a synchronous mode while members of the cluster are run by it.
 *
 * Such a member promises and freezes nothing, and finds a new leader by the leader key's lease and by Patroni's `sync`
 * key. So the cluster goes by Patroni's rules then, whoever leads it: nobody is replaced before its lease has ended,
 * the fence is armed, and who is to win has to stand in `sync`. The record says so (RECORD_PATRONI), and the leader
 * keeps in it whose acknowledgement a commit needs and whom that is changing to, as in quorum mode; `sync` is its copy
 * (sync_copy.h), written in the same transaction and only while the leader key is ours:
 *
 *   a member goes   from the key as the change begins, from the list of names after that
 *   a member comes  to the list first; to the key when what was written after that is on its disk
 *
 * Whoever gets the leader key says in `sync` that nobody else has what it will acknowledge, before it is promoted.
 *
 * The two ways between this and quorum mode are transitions of the record with nothing under way: the list, and what is
 * needed for a commit, are the same before and after. The lease's fence is armed before the record says that it counts.
 * Into quorum mode every one of the cohort must be ours by then, as this incarnation, and have the marker.
 */
#pragma once

#include "core/ha/decide.h"

/* The record says so. */
bool beside_patroni(const struct ha_view *v);

/*
 * Who wins by votes, not by itself: synchronous_mode is `quorum`, and every member of Patroni's knows of that (4.0.0).
 * To an earlier one all that `sync` lists may win.
 */
bool beside_by_votes(const struct ha_view *v);

/*
 * The leader, primary and with its lease: what there is to do about standbys that acknowledge. False: nothing, as none
 * is Patroni's and the record says nothing of it.
 */
bool beside_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p);

/* Quorum mode, open, and a member of Patroni's came: back to its rules. False: not so, or not yet. */
bool beside_begins(const struct ha_view *v, struct ha_plan *p);

/* The leader key is ours; may this node be promoted? Says why not. */
bool beside_may_promote(const struct ha_view *v, struct ha_plan *p);

/* `sync` says that this one may have lost what was acknowledged. By votes: whether those of the round suffice. */
bool beside_is_barred(const struct ha_view *v, const char *name);
bool beside_lacks_votes(const struct ha_view *v);
