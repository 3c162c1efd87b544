/*
 * The copy of the record for Patroni's members and tools: its `sync` key, written in the transaction that changes the
 * record, so that neither is ever ahead of the other.
 *
 * A member of Patroni's that finds no leader goes by this key. In `synchronous_mode: on` whoever it lists may win by
 * itself. In `quorum` a listed member wins with the votes of `quorum` other listed ones that are not ahead of it, one
 * that is not listed needs one vote more.
 *
 * Beside members of Patroni's (beside.h) the copy promises no more than the record does, of both cohorts while one
 * becomes the other:
 *   on      the members that have every acknowledged commit by themselves: those of both, where k is all of them;
 *   quorum  the members of either, and so many votes that any such set settles both: all of them - the lower k.
 * Where nobody but the leader settles the record nobody is listed, and then nobody but the leader wins.
 *
 * In quorum mode nobody of Patroni's may win at all, and one that has just come may try: it waits for the leader key's
 * ttl, which ends nobody's reign then. A leader that is cut off from the store knows nothing of it and goes on
 * acknowledging with its cohort.
 *   on      nobody is listed;
 *   quorum  the members are listed, and `quorum` is their number, which nobody gets.
 *
 * While an election is under way the last copy stays: the last OPEN configuration is what has to be settled.
 */
#pragma once

#include <stdbool.h>

#include "core/ha/plan.h"
#include "core/ha/view.h"

/*
 * The key's value beside this record, to be freed; "": the key is deleted, quorum mode is over. NULL: it stays as it
 * is. by_votes: synchronous_mode is quorum, not on.
 */
char *sync_copy_text(const struct record_key *next, bool by_votes);

/* The copy beside the change of the record that is planned; by an open leader that plans none: if it is another. */
void sync_copy_decide(const struct ha_view *v, struct ha_plan *p);
