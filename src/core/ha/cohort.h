/*
 * Cohorts: sets of standbys whose acknowledgement counts, and what a set of frozen nodes proves about them.
 *
 * A commit under the cohort (S, k) of a leader L is acknowledged once it is durable on L and on k members of S. A set
 * F of frozen nodes settles the cohort when
 *   - L is in F: nothing more is acknowledged, and L has all that was; or
 *   - F has at least |S| - k + 1 members of S: every k members of S include one of them, so all that was
 *     acknowledged is on some node of F, and fewer than k members are left to acknowledge anything new.
 * A member is a name and an incarnation: what a re-cloned or rewound directory holds is not what was admitted.
 * With S empty (only L acknowledges) nobody but L settles it.
 *
 * While the cohort changes from (S, k) to (S', k'), some walsenders go by the one list and some by the other, and each
 * counts, by its own k, every walsender that takes itself for listed, by whichever list (syncrep.c,
 * SyncRepGetCandidateStandbys). So any min(k, k') members of S and S' together may have acknowledged, and that is the
 * cohort to settle. To settle the two apart is not enough: from ANY 1 (a) to ANY 2 (a, b) that of a alone would do,
 * while the old walsender of a counts b.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/record.h"

bool cohort_has(const struct record_cohort *c, const char *name, uint64_t incarnation);
bool cohort_has_name(const struct record_cohort *c, const char *name);

/* What an election by this record has to settle: its cohort, and while that changes both together. */
bool cohort_counts(const struct record_key *r, const char *name, uint64_t incarnation);
size_t cohort_counted(const struct record_key *r); /* so many members */
/* |S| - k + 1: so many frozen members settle it without its leader; SIZE_MAX: no number of them does. */
size_t cohort_settling(const struct record_key *r);

/* Same members in any order, same k. */
bool cohort_equal(const struct record_cohort *a, const struct record_cohort *b);
