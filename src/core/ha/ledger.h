/*
 * The steps of the record: which next one may follow which, and how it is made.
 *
 *                call(t')                   elect(w)                 open(S, k)
 *   OPEN(t, L) ------------> TERM(t') ----------------> ELECTED(t', w) ------------> OPEN(t', w)
 *      |  ^                    |  ^                        |
 *      |  | join, settle       +--+ call(t'' > t')         +--call--> TERM(t'')
 *      +--+
 *      +------ hand_over(t', w): L itself, stopped for good under its promise of t' ------> ELECTED(t', w)
 *
 * In TERM and ELECTED the last OPEN configuration stays in the record (open, open_leader, joint): whoever is elected
 * must have what that one acknowledged, until another one is open. Elected is not open. Terms only grow. A timeline's
 * number is taken with the election; its term is what it was last open under, because only that says what it holds: a
 * leader elected anew without a promotion goes on with its timeline, and until it is open nothing on it is more than
 * before.
 *
 * Each function changes a copy of the record as it is (plan_record()); every step is a compare-and-set on its revision.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "wire/record.h"

/*
 * Quorum mode begins, by the leader, as long as its lease and fence hold. From asynchronous mode: nobody's
 * acknowledgement counts yet. From Patroni's rules (beside.h): the open cohort goes on counting, by the incarnations
 * that it has by now.
 */
void ledger_enter(struct record_key *r, uint64_t incarnation, uint32_t timeline);
/* It ends. By the open leader, with an empty cohort that does not change, and the fence armed. */
void ledger_leave(struct record_key *r);

/*
 * Patroni's rules begin (beside.h), or begin anew with a new leader. keep: the open cohort goes on counting, out of
 * quorum mode; else nobody is counted.
 */
void ledger_go_beside(struct record_key *r, bool keep);
/* They end, with synchronous_mode. */
void ledger_leave_patroni(struct record_key *r);

void ledger_call(struct record_key *r, term t, const char *coordinator);
/* timeline: the number it is promoted to, or the one that it is primary on. fork: where it ended up, frozen. */
void ledger_elect(struct record_key *r, const char *winner, uint64_t incarnation, uint32_t timeline, lsn fork);
void ledger_hand_over(struct record_key *r, term t, const char *winner, uint64_t incarnation, uint32_t timeline,
                      lsn fork);
void ledger_open(struct record_key *r, const struct record_cohort *cohort);

/*
 * The change of a cohort: first both count, … While one is under way only the change to nobody may take its place:
 * what it asks for, the leader itself, settles every other cohort as well.
 */
void ledger_join(struct record_key *r, const struct record_cohort *to);
/* … then, once its barrier has passed, the one whose list is in force: the new one, or the old one again. */
void ledger_settle(struct record_key *r, bool to_joint);

/*
 * The record `r` was seen, and the store has lost it: its leader, which is still open as it says, writes it anew
 * under a term that nobody has promised.
 */
void ledger_reopen(struct record_key *r, term t);

/* May *to follow *from? The rule that the functions above obey, once more and independent of them. */
bool ledger_may_follow(const struct record_key *from, const struct record_key *to);

/* A number that no timeline has had. */
uint32_t ledger_next_timeline(const struct record_key *r, uint32_t newest_seen);
