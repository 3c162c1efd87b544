/* The steps of the record: what each one leaves and changes, and that no other step passes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "core/ha/cohort.h"
#include "core/ha/ledger.h"

enum { STEPS = 9 };

/* One reign and a failover, a handover, a change of the cohort: each from the one before. */
static struct record_key at[STEPS];

static void members(struct record_cohort *c, int k, const char *a, const char *b)
{
    *c = (struct record_cohort){.k = k};
    if (a)
        record_cohort_add(c, a, 0xa);
    if (b)
        record_cohort_add(c, b, 0xb);
}

/* The next one, as a copy so far. */
static struct record_key *from(int before)
{
    record_key_copy(&at[before], &at[before + 1]);
    return &at[before + 1];
}

static int setup(void **state)
{
    AUTO(record_cohort) struct record_cohort both = {0};
    AUTO(record_cohort) struct record_cohort one = {0};
    AUTO(record_cohort) struct record_cohort next = {0};

    members(&both, 1, "n2", "n3");
    members(&one, 1, "n2", NULL);
    members(&next, 1, "n1", "n3");
    at[0] = (struct record_key){.present = true, .version = RECORD_VERSION, .term = 3, .timeline = 2};
    at[0].leader = str_dup("n1");
    ledger_enter(from(0), 0x1, 2);
    ledger_join(from(1), &both);
    ledger_settle(from(2), true);
    ledger_join(from(3), &one);
    ledger_call(from(4), 5, "n2#17");
    ledger_elect(from(5), "n2", 0xa, 3, 0x3000000);
    ledger_open(from(6), &next);
    ledger_hand_over(from(7), 6, "n3", 0xb, 4, 0x4000000);
    return 0;
}

static int teardown(void **state)
{
    for (size_t i = 0; i < STEPS; i++)
        record_key_deinit(&at[i]);
    return 0;
}

static void test_each_step_may_follow_the_one_before_and_none_else(void **state)
{
    for (int was = 0; was < STEPS; was++)
        for (int to = 0; to < STEPS; to++) {
            bool next = to == was + 1, same = to == was;
            bool back = (was == 2 && to == 1) ||
                        (was == 4 && to == 3); /* a change that is taken back settles on the old cohort */
            bool left = (was == 1 || was == 0) && to <= 1;
            bool handed = was == 4 && to == 6; /* as if the leader itself had named n2 */
            if (ledger_may_follow(&at[was], &at[to]) != (handed || next || same || back || left))
                fail_msg("from %d to %d: %d", was, to, !(handed || next || same || back || left));
        }
}

static void test_what_was_open_is_kept_until_another_is(void **state)
{
    for (int i = 5; i <= 6; i++) {
        assert_string_equal(at[i].open_leader, "n1");
        assert_int_equal(at[i].open_incarnation, 0x1);
        assert_int_equal(at[i].open_term, 3);
        assert_true(cohort_equal(&at[i].open, &at[3].open));
        assert_true(at[i].joining);
        assert_true(cohort_equal(&at[i].joint, &at[4].joint));
    }
    assert_string_equal(at[7].open_leader, "n2");
    assert_int_equal(at[7].open_incarnation, 0xa);
    assert_int_equal(at[7].open_term, 5);
    assert_false(at[7].joining);
    assert_string_equal(at[8].open_leader, "n2");
}

static void test_an_election_takes_a_number_and_opening_gives_it_the_term(void **state)
{
    AUTO(record_key) struct record_key r = {0};
    struct record_cohort nobody = {0};
    size_t count = at[7].line_count;

    assert_int_equal(at[6].timeline, 3);
    assert_int_equal(at[6].leader_timeline, 3);
    assert_int_equal(at[6].lines[at[6].line_count - 1].term, 5);
    assert_int_equal(at[6].lines[at[6].line_count - 1].fork, 0x3000000);

    /* Elected anew where it was primary: its timeline is of the new term only when that is open. */
    record_key_copy(&at[7], &r);
    ledger_call(&r, 9, "n3#20");
    ledger_elect(&r, "n2", 0xa, 3, 0x5000000);
    assert_int_equal(r.timeline, 3);
    assert_int_equal(r.lines[count - 1].term, 5);
    ledger_open(&r, &nobody);
    assert_int_equal(r.lines[count - 1].term, 9);
    assert_int_equal(r.line_count, count);
    assert_int_equal(ledger_next_timeline(&r, 2), 4);
    assert_int_equal(ledger_next_timeline(&r, 7), 8);
}

static void test_only_the_change_to_nobody_may_replace_another_change(void **state)
{
    AUTO(record_key) struct record_key alone = {0};
    AUTO(record_key) struct record_key other = {0};
    struct record_cohort nobody = {0};

    record_key_copy(&at[4], &alone);
    ledger_join(&alone, &nobody);
    assert_true(ledger_may_follow(&at[4], &alone));
    record_key_copy(&at[4], &other);
    record_cohort_deinit(&other.joint);
    members(&other.joint, 1, "n3", NULL);
    assert_false(ledger_may_follow(&at[4], &other));
}

static void test_terms_and_numbers_never_fall(void **state)
{
    AUTO(record_key) struct record_key r = {0};

    record_key_copy(&at[7], &r);
    r.term--;
    assert_false(ledger_may_follow(&at[7], &r));
    r.term++;
    r.timeline--;
    assert_false(ledger_may_follow(&at[7], &r));
}

static void test_quorum_mode_is_left_only_when_nobody_is_counted(void **state)
{
    AUTO(record_key) struct record_key r = {0};

    record_key_copy(&at[1], &r);
    ledger_leave(&r);
    assert_true(ledger_may_follow(&at[1], &r));
    assert_false(ledger_may_follow(&at[3], &r));
    assert_false(ledger_may_follow(&at[6], &r));
}

/* at[3]: open with n2 and n3. at[4]: that changes. */
static void test_patronis_rules_begin_and_end_with_the_cohort_as_it_is(void **state)
{
    AUTO(record_key) struct record_key beside = {0};
    AUTO(record_key) struct record_key changing = {0};
    AUTO(record_key) struct record_key again = {0};

    record_key_copy(&at[3], &beside);
    ledger_go_beside(&beside, true);
    assert_true(cohort_has_name(&beside.open, "n2") && cohort_has_name(&beside.open, "n3"));
    assert_true(ledger_may_follow(&at[3], &beside));
    assert_false(ledger_may_follow(&at[4], &beside)); /* what is under way ends first */
    assert_false(ledger_may_follow(&at[5], &beside)); /* and an election */
    assert_false(ledger_may_follow(&at[1], &beside)); /* whom nobody counted on is not counted by this */

    record_key_copy(&beside, &changing);
    ledger_join(&changing, &at[8].open);
    assert_true(ledger_may_follow(&beside, &changing));

    record_key_copy(&beside, &again);
    ledger_enter(&again, 0x1, 2);
    assert_int_equal(again.open.count, 2);
    assert_true(ledger_may_follow(&beside, &again));
    assert_false(ledger_may_follow(&changing, &again));
    assert_false(ledger_may_follow(&at[0], &again)); /* from asynchronous mode nobody is counted yet */
}

static void test_who_leads_next_by_patronis_rules_counts_on_nobody(void **state)
{
    AUTO(record_key) struct record_key r = {0};
    AUTO(record_key) struct record_key off = {0};

    record_key_copy(&at[3], &r);
    ledger_go_beside(&r, true);
    record_key_copy(&r, &off);
    ledger_go_beside(&off, false);
    assert_true(off.mode == RECORD_PATRONI && !off.open.count && !off.joining);
    ledger_leave_patroni(&off);
    assert_true(off.mode == RECORD_ASYNC);
    assert_true(ledger_may_follow(&r, &off));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_step_may_follow_the_one_before_and_none_else),
        cmocka_unit_test(test_what_was_open_is_kept_until_another_is),
        cmocka_unit_test(test_an_election_takes_a_number_and_opening_gives_it_the_term),
        cmocka_unit_test(test_only_the_change_to_nobody_may_replace_another_change),
        cmocka_unit_test(test_terms_and_numbers_never_fall),
        cmocka_unit_test(test_quorum_mode_is_left_only_when_nobody_is_counted),
        cmocka_unit_test(test_patronis_rules_begin_and_end_with_the_cohort_as_it_is),
        cmocka_unit_test(test_who_leads_next_by_patronis_rules_counts_on_nobody),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
