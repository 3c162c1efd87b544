/*
 * A store that is not what it was: put back to an earlier state, wiped, or replaced by another one.
 *
 * What its record says of term and cohort is of the past then, and a failover by it would ask the wrong nodes. So
 * each agent keeps the newest record that it has seen on its disk (pg/seen.h) and believes no older one: it goes on
 * as if the store were away, by what it knew before, and nothing is decided. The record comes back in one of two
 * ways.
 *
 * By its leader, without anybody's word. That leader has seen the record OPEN, is still the open leader by its own
 * promise, and as many members of its cohort as a commit needs follow it now and have promised nothing later. By that
 * alone nobody else can have been elected since: an election needs so many members frozen that fewer than k are left.
 * It writes the record as it was, under a term above every promise that is heard.
 *
 * By an operator's word (`pgkeep recover-record`), where nobody is open any more: what was seen is written as an
 * election under a new term, which goes its usual way: freeze, compare, elect. What only the operator can know is
 * that nobody has seen a later record. So all who count by that record must be heard, unless it is forced, and who
 * has seen the newest is the one to be asked.
 */
#pragma once

#include "core/ha/decide.h"

/*
 * May what a store says now follow what was seen, in `seen_store`? A later term may, in any store; of the same term
 * only a later revision of the same store. It matters where one of the two is of quorum mode.
 */
bool recover_is_followed(const struct record_key *seen, uint64_t seen_store, const struct record_key *now,
                         uint64_t store);

void recover_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p);

/* The rule for what it writes, once more and independent of it. */
bool recover_may_write(const struct ha_view *v, const struct record_key *next);
