/* Timeline histories: parsed strictly; where two part, and what belongs to one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"
#include "pg/history.h"
#include "pg/rewind.h"

static const char three[] = "1\t0/3000000\tno recovery target specified\n"
                            "\n"
                            "# a comment\n"
                            "2\t0/5000000\tbefore 2026-11-24 08:00:00+00\n";

static struct history *parsed(uint32_t tli, const char *text)
{
    struct history *h = NULL;

    assert_true(history_parse(tli, text, &h, NULL));
    return h;
}

static void test_a_history_file_is_read(void **state)
{
    AUTO(history) struct history *h = parsed(3, three);

    assert_int_equal(h->tli, 3);
    assert_int_equal(h->count, 2);
    assert_int_equal(h->at[0].tli, 1);
    assert_int_equal(h->at[0].switch_at, 0x3000000);
    assert_string_equal(h->at[0].reason, "no recovery target specified");
    assert_int_equal(h->at[1].switch_at, 0x5000000);
}

static void test_timeline_one_has_an_empty_history(void **state)
{
    AUTO(history) struct history *h = parsed(1, "");

    assert_int_equal(h->count, 0);
}

static void test_damaged_histories_are_refused(void **state)
{
    static const char *const bad[] = {
        "x\t0/3000000\tr\n", "1\t3000000\tr\n",        "1\n",      "2\t0/5\tr\n1\t0/6\tr\n",
        "3\t0/5\tr\n",       "1\t0/5\tr\n1\t0/6\tr\n", "0\t0/5\n",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct history *h = NULL;
        struct err err;
        assert_false(history_parse(3, bad[i], &h, &err));
        assert_null(h);
        assert_int_equal(err.code, ERR_INPUT);
    }
}

static void test_two_histories_part_where_the_earlier_left(void **state)
{
    static const struct {
        uint32_t a_tli;
        const char *a;
        uint32_t b_tli;
        const char *b;
        bool common;
        uint32_t tli;
        lsn at;
    } cases[] = {
        {1, "", 1, "", true, 1, UINT64_MAX},
        {1, "", 2, "1\t0/3000000\tr\n", true, 1, 0x3000000},
        {2, "1\t0/3000000\tr\n", 2, "1\t0/4000000\tr\n", true, 1, 0x3000000},
        {2, "1\t0/3000000\tr\n", 3, "1\t0/3000000\tr\n2\t0/5000000\tr\n", true, 2, 0x5000000},
        {2, "1\t0/3000000\tr\n", 3, "1\t0/3000000\tr\n", true, 1, 0x3000000},
        {3, three, 3, three, true, 3, UINT64_MAX},
        {2, "", 1, "", false, 0, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(history) struct history *a = parsed(cases[i].a_tli, cases[i].a);
        AUTO(history) struct history *b = parsed(cases[i].b_tli, cases[i].b);
        uint32_t tli = 0;
        lsn at = 0;
        assert_int_equal(history_fork(a, b, &tli, &at), cases[i].common);
        assert_int_equal(tli, cases[i].tli);
        assert_int_equal(at, cases[i].at);
        tli = 0;
        assert_int_equal(history_fork(b, a, &tli, &at), cases[i].common);
        assert_int_equal(tli, cases[i].tli);
    }
}

/* Where a stopped node ends against the leader: the decision that spares or costs a data directory. */
static void test_rewind_is_decided_by_position_and_history(void **state)
{
    static const char left_at_3[] = "1\t0/3000000\tr\n";
    static const char left_at_4[] = "1\t0/4000000\tr\n";
    static const struct {
        const char *what;
        struct rewind_end end;
        const char *ours; /* NULL: no file */
        uint32_t upstream_tli;
        lsn upstream_lsn;
        const char *theirs;
        enum rewind_verdict verdict;
        lsn fork_at;
    } cases[] = {
        {"standby behind on one timeline", {1, 0x2000000, false}, "", 1, 0x3000000, "", REWIND_NOT_NEEDED, 0},
        {"level with the leader", {1, 0x3000000, false}, "", 1, 0x3000000, "", REWIND_NOT_NEEDED, 0},
        {"leader lost WAL", {1, 0x3000008, false}, "", 1, 0x3000000, "", REWIND_IMPOSSIBLE, 0},
        {"standby stopped before the switch",
         {1, 0x2FFFFF8, false},
         "",
         2,
         0x4000000,
         left_at_3,
         REWIND_NOT_NEEDED,
         0x3000000},
        {"standby stopped at the switch",
         {1, 0x3000000, false},
         "",
         2,
         0x4000000,
         left_at_3,
         REWIND_NOT_NEEDED,
         0x3000000},
        {"standby went beyond the switch",
         {1, 0x3000001, false},
         "",
         2,
         0x4000000,
         left_at_3,
         REWIND_NEEDED,
         0x3000000},
        {"old primary whose shutdown record was shipped",
         {1, 0x2FFFF88, true},
         "",
         2,
         0x4000000,
         left_at_3,
         REWIND_NOT_NEEDED,
         0x3000000},
        {"old primary whose shutdown record was not shipped",
         {1, 0x3000000, true},
         "",
         2,
         0x4000000,
         left_at_3,
         REWIND_NEEDED,
         0x3000000},
        {"old primary far ahead", {1, 0x9000000, true}, "", 2, 0x4000000, left_at_3, REWIND_NEEDED, 0x3000000},
        {"two promotions to the same number",
         {2, 0x3500000, false},
         left_at_3,
         2,
         0x9000000,
         left_at_4,
         REWIND_NEEDED,
         0x3000000},
        {"same number and same root", {2, 0x3500000, false}, left_at_3, 2, 0x9000000, left_at_3, REWIND_NOT_NEEDED, 0},
        {"we are on a newer timeline", {2, 0x3500000, false}, left_at_3, 1, 0x3000000, "", REWIND_NEEDED, 0x3000000},
        {"newer timeline, history file lost", {2, 0x3500000, false}, NULL, 1, 0x3000000, "", REWIND_NEEDED, 0},
        {"history file lost, still an ancestor",
         {1, 0x2000000, false},
         NULL,
         2,
         0x4000000,
         left_at_3,
         REWIND_NOT_NEEDED,
         0x3000000},
        {"no common timeline", {2, 0x2000000, false}, "", 3, 0x4000000, left_at_3, REWIND_IMPOSSIBLE, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(history) struct history *ours = cases[i].ours ? parsed(cases[i].end.tli, cases[i].ours) : NULL;
        AUTO(history) struct history *theirs = parsed(cases[i].upstream_tli, cases[i].theirs);
        uint32_t fork_tli;
        lsn fork_at;
        enum rewind_verdict v = rewind_compare(&cases[i].end, ours, cases[i].upstream_tli, cases[i].upstream_lsn,
                                               theirs, &fork_tli, &fork_at);
        if (v != cases[i].verdict || fork_at != cases[i].fork_at)
            fail_msg("%s: %s, fork at %llX", cases[i].what, rewind_verdict_name(v), (unsigned long long)fork_at);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_history_file_is_read),
        cmocka_unit_test(test_timeline_one_has_an_empty_history),
        cmocka_unit_test(test_damaged_histories_are_refused),
        cmocka_unit_test(test_two_histories_part_where_the_earlier_left),
        cmocka_unit_test(test_rewind_is_decided_by_position_and_history),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
