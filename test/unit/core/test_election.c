/*
 * The arithmetic of quorum mode against every small case: a commit is any k members of the cohort beside the leader,
 * so all of them can be listed. What election_hold() says must be so for each of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "core/ha/cohort.h"
#include "core/ha/election.h"

enum { NODES = 6, LEADER = 0 };

static const char *const names[NODES] = {"n0", "n1", "n2", "n3", "n4", "n5"};

static void cohort_of(unsigned int set, int k, struct record_cohort *ret)
{
    *ret = (struct record_cohort){.k = k};
    for (int i = 0; i < NODES; i++)
        if (set & 1U << i)
            record_cohort_add(ret, names[i], 100 + (uint64_t)i);
}

static void record_of(unsigned int set, int k, struct record_key *ret)
{
    *ret = (struct record_key){.present = true,
                               .mode = RECORD_QUORUM,
                               .phase = RECORD_TERM,
                               .term = 7,
                               .timeline = 3,
                               .leader = str_dup(names[LEADER]),
                               .open_leader = str_dup(names[LEADER]),
                               .leader_incarnation = 100,
                               .open_incarnation = 100,
                               .open_term = 6};
    record_key_add_line(ret, &(struct record_line){.timeline = 3, .term = 6});
    cohort_of(set, k, &ret->open);
}

static int bits(unsigned int set)
{
    return __builtin_popcount(set);
}

/* Nodes of `holders` (and the leader) have the commit at 200, the others end at 100. */
static void ballots_of(unsigned int frozen, unsigned int holders, struct ballot *ret)
{
    for (int i = 0; i < NODES; i++)
        ret[i] = (struct ballot){.name = names[i],
                                 .incarnation = 100 + (uint64_t)i,
                                 .frozen = frozen & 1U << i,
                                 .timeline = 3,
                                 .position = holders & 1U << i || i == LEADER ? 200 : 100,
                                 .priority = 1};
}

/* Can k members that are not frozen still acknowledge, or did k that are all not frozen? */
static bool escapes(unsigned int set, int k, unsigned int frozen)
{
    return !(frozen & 1U << LEADER) && bits(set & ~frozen) >= k;
}

static void test_every_acknowledged_commit_survives_every_election(void **state)
{
    unsigned long held = 0, settled = 0;

    for (unsigned int set = 2; set < 1U << NODES; set += 2)
        for (int k = 1; k <= bits(set); k++) {
            struct record_key r;
            record_of(set, k, &r);
            for (unsigned int frozen = 0; frozen < 1U << NODES; frozen++)
                for (unsigned int acked = set;; acked = (acked - 1) & set) { /* every subset of the cohort */
                    struct ballot ballots[NODES];
                    struct election e;
                    ballots_of(frozen, acked, ballots);
                    election_hold(&r, ballots, NODES, &e);
                    held++;
                    assert_int_equal(e.result == ELECTION_UNSETTLED, escapes(set, k, frozen));
                    if (e.result == ELECTION_WON) {
                        settled++;
                        assert_true(ballots[e.winner].frozen);
                        /* k members had it: it counts as acknowledged, and the winner has it */
                        if (bits(acked) >= k)
                            assert_int_equal(ballots[e.winner].position, 200);
                    }
                    if (!acked)
                        break;
                }
            record_key_deinit(&r);
        }
    assert_true(settled > 1000 && held > settled);
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* Whoever is listed by either list may be counted by the smaller number (cohort.h). */
static void check_change(unsigned int from, int from_k, unsigned int to, int to_k)
{
    enum { SMALL = 4 };
    unsigned int both = from | to;
    int k = smaller(from_k, to_k);
    struct record_key r;

    record_of(from, from_k, &r);
    r.joining = true;
    cohort_of(to, to_k, &r.joint);
    for (unsigned int frozen = 0; frozen < 1U << SMALL; frozen++)
        for (unsigned int acked = 0; acked < 1U << SMALL; acked++) {
            struct ballot ballots[NODES];
            struct election e;
            if ((acked & ~both) || bits(acked) < k)
                continue;
            ballots_of(frozen, acked, ballots);
            election_hold(&r, ballots, NODES, &e);
            assert_int_equal(e.result == ELECTION_UNSETTLED, escapes(both, k, frozen));
            if (e.result == ELECTION_WON)
                assert_int_equal(ballots[e.winner].position, 200);
        }
    record_key_deinit(&r);
}

static void test_while_the_cohort_changes_any_mixture_of_both_may_have_acknowledged(void **state)
{
    for (unsigned int from = 2; from < 1U << 4; from += 2)
        for (unsigned int to = 2; to < 1U << 4; to += 2)
            for (int from_k = 1; from_k <= bits(from); from_k++)
                for (int to_k = 1; to_k <= bits(to); to_k++)
                    check_change(from, from_k, to, to_k);
}

static void test_another_incarnation_is_another_member(void **state)
{
    struct record_key r;
    struct ballot ballots[NODES];
    struct election e;

    record_of(2 | 4, 1, &r);
    ballots_of(2 | 4, 0, ballots);
    election_hold(&r, ballots, NODES, &e);
    assert_int_equal(e.result, ELECTION_WON);
    ballots[1].incarnation = 999; /* cloned anew */
    election_hold(&r, ballots, NODES, &e);
    assert_int_equal(e.result, ELECTION_UNSETTLED);
    ballots_of(1, 0, ballots);
    ballots[0].incarnation = 999; /* the old leader's disk was replaced */
    election_hold(&r, ballots, NODES, &e);
    assert_int_equal(e.result, ELECTION_UNSETTLED);
    record_key_deinit(&r);
}

static void test_a_timeline_that_nobody_opened_is_not_ahead(void **state)
{
    struct record_key r;
    struct ballot ballots[NODES];
    struct election e;

    /* n2 was promoted to timeline 4 in term 5, and never open; then n0 was open again, on timeline 3, in term 6. */
    record_of(2, 1, &r);
    record_key_add_line(&r, &(struct record_line){.timeline = 4, .term = 5, .fork = 150});
    ballots_of(2 | 4, 2, ballots);
    ballots[2].timeline = 4;
    ballots[2].position = 900;
    election_hold(&r, ballots, NODES, &e);
    assert_int_equal(e.result, ELECTION_WON);
    assert_string_equal(ballots[e.winner].name, "n1");
    ballots[1].why_not = "is tagged nofailover";
    election_hold(&r, ballots, NODES, &e);
    assert_int_equal(e.result, ELECTION_NOBODY);
    record_key_deinit(&r);
}

static void test_an_unknown_timeline_counts_for_nothing(void **state)
{
    struct record_key r;
    struct ballot ballots[NODES];
    struct election e;

    record_of(2, 1, &r);
    ballots_of(2, 2, ballots);
    ballots[1].timeline = 9; /* somebody promoted it by hand */
    election_hold(&r, ballots, NODES, &e);
    assert_int_equal(e.result, ELECTION_UNSETTLED);
    record_key_deinit(&r);
}

static void test_who_may_not_lead_counts_but_does_not_win(void **state)
{
    struct record_key r;
    struct ballot ballots[NODES];
    struct election e;

    record_of(2 | 4, 1, &r);
    ballots_of(2 | 4, 2, ballots);
    ballots[2].why_not = "is tagged nofailover"; /* n2 lacks it; n1 has it */
    election_hold(&r, ballots, NODES, &e);
    assert_int_equal(e.result, ELECTION_WON);
    assert_string_equal(ballots[e.winner].name, "n1");
    ballots[1].why_not = "is silent";
    election_hold(&r, ballots, NODES, &e);
    assert_int_equal(e.result, ELECTION_NOBODY);
    assert_non_null(strstr(e.why, "n1 is silent"));
    record_key_deinit(&r);
}

static void test_a_fenced_primary_settles_alone_and_needs_no_promotion(void **state)
{
    struct record_key r;
    struct ballot ballots[NODES];
    struct election e;

    record_of(2 | 4, 1, &r);
    ballots_of(1 | 2, 2, ballots);
    ballots[0].primary = true;
    election_hold(&r, ballots, NODES, &e);
    assert_int_equal(e.result, ELECTION_WON);
    assert_string_equal(ballots[e.winner].name, "n0");
    ballots[1].preferred = true; /* the operator names another, and it has everything */
    election_hold(&r, ballots, NODES, &e);
    assert_string_equal(ballots[e.winner].name, "n1");
    record_key_deinit(&r);
}

static void test_with_an_empty_cohort_only_its_leader_settles(void **state)
{
    struct record_key r;
    struct ballot ballots[NODES];
    struct election e;

    record_of(0, 0, &r);
    ballots_of(2 | 4 | 8, 0, ballots);
    election_hold(&r, ballots, NODES, &e);
    assert_int_equal(e.result, ELECTION_UNSETTLED);
    assert_false(election_could_settle(&r, ballots + 1, NODES - 1));
    assert_true(election_could_settle(&r, ballots, NODES));
    ballots_of(1, 0, ballots);
    election_hold(&r, ballots, NODES, &e);
    assert_int_equal(e.result, ELECTION_WON);
    record_key_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_acknowledged_commit_survives_every_election),
        cmocka_unit_test(test_while_the_cohort_changes_any_mixture_of_both_may_have_acknowledged),
        cmocka_unit_test(test_another_incarnation_is_another_member),
        cmocka_unit_test(test_a_timeline_that_nobody_opened_is_not_ahead),
        cmocka_unit_test(test_an_unknown_timeline_counts_for_nothing),
        cmocka_unit_test(test_who_may_not_lead_counts_but_does_not_win),
        cmocka_unit_test(test_a_fenced_primary_settles_alone_and_needs_no_promotion),
        cmocka_unit_test(test_with_an_empty_cohort_only_its_leader_settles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
