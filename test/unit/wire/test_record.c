/* The record: what it says, and that what it says to others is not lost on the way through here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/str.h"
#include "wire/record.h"

static enum record_result read_text(const char *text, struct record_key *ret_record)
{
    const char *why;

    return record_key_read(text, strlen(text), 7, ret_record, &why);
}

static void test_a_record_reads_back_as_written(void **state)
{
    char leader[] = "n3";
    struct record_key record = {.term = 12, .timeline = 7, .leader = leader, .released = true, .unfenced = true};
    AUTO(cstr) char *text = record_key_text(&record);
    AUTO(record_key) struct record_key r = {0};

    assert_string_equal(text, "{\"version\":2,\"term\":12,\"leader\":\"n3\",\"timeline\":7,\"released\":true,"
                              "\"unfenced\":true}");
    assert_int_equal(read_text(text, &r), RECORD_OK);
    assert_true(r.present);
    assert_int_equal(r.version, 2);
    assert_int_equal(r.mod_revision, 7);
    assert_int_equal(r.term, 12);
    assert_int_equal(r.timeline, 7);
    assert_string_equal(r.leader, "n3");
    assert_true(r.released);
    assert_true(r.unfenced);
}

static void test_fields_of_others_survive_a_change(void **state)
{
    AUTO(record_key) struct record_key r = {0};
    AUTO(record_key) struct record_key copy = {0};

    assert_int_equal(
        read_text("{\"term\":4,\"leader\":\"n1\",\"timeline\":3,\"unfenced\":true,\"later\":[1,{\"a\":2}]}", &r),
        RECORD_OK);
    assert_int_equal(r.version, 1);
    record_key_copy(&r, &copy);
    copy.term = 5;
    copy.timeline = 0;
    copy.unfenced = false;
    str_set(&copy.leader, "n2");
    AUTO(cstr) char *text = record_key_text(&copy);
    AUTO(cstr) char *before = record_key_text(&r);

    assert_string_equal(text,
                        "{\"term\":5,\"leader\":\"n2\",\"later\":[1,{\"a\":2}],\"version\":2,\"released\":false}");
    assert_string_equal(before,
                        "{\"term\":4,\"leader\":\"n1\",\"timeline\":3,\"unfenced\":true,\"later\":[1,{\"a\":2}],"
                        "\"version\":2,\"released\":false}");
}

/* Another program may write over it no more than we over what it knows: it is left alone. */
static void test_what_is_malformed_is_no_record_and_opaque(void **state)
{
    static const char *const bad[] = {
        "",
        "{\"cut",
        "[]",
        "null",
        "3",
        "\"x\"",
        "{}",
        "{\"term\":-1}",
        "{\"term\":\"4\"}",
        "{\"term\":1.5}",
        "{\"term\":1,\"term\":2}",
        "{\"term\":1,\"timeline\":-1}",
        "{\"term\":1,\"timeline\":4294967296}",
        "{\"term\":1,\"timeline\":\"3\"}",
        "{\"term\":1,\"leader\":3}",
        "{\"term\":1,\"leader\":\"a\\u0000b\"}",
        "{\"term\":1,\"leader_incarnation\":5}",
        "{\"term\":1,\"leader_incarnation\":\"\"}",
        "{\"term\":1,\"leader_incarnation\":\"0x5\"}",
        "{\"term\":1,\"leader_incarnation\":\"12345678901234567\"}",
        "{\"term\":1,\"released\":1}",
        "{\"term\":1,\"unfenced\":null}",
        "{\"term\":1,\"mode\":\"sync\"}",
        "{\"term\":1,\"phase\":\"opened\"}",
        "{\"term\":1,\"phase\":2}",
        "{\"term\":1,\"coordinator\":[]}",
        "{\"term\":1,\"leader_timeline\":-1}",
        "{\"term\":1,\"open\":{\"k\":0,\"members\":{},\"leader\":\"n1\",\"term\":1}}",
        "{\"term\":1,\"open\":{\"k\":0,\"members\":{},\"leader\":\"n1\",\"incarnation\":\"1\"}}",
        "{\"term\":1,\"open\":[]}",
        "{\"term\":1,\"open\":{}}",
        "{\"term\":1,\"open\":{\"members\":{}}}",
        "{\"term\":1,\"open\":{\"k\":0}}",
        "{\"term\":1,\"open\":{\"k\":1,\"members\":{}}}",
        "{\"term\":1,\"open\":{\"k\":0,\"members\":{\"a\":\"1\"}}}",
        "{\"term\":1,\"open\":{\"k\":2,\"members\":{\"a\":\"1\"}}}",
        "{\"term\":1,\"open\":{\"k\":-1,\"members\":{\"a\":\"1\"}}}",
        "{\"term\":1,\"open\":{\"k\":1,\"members\":{\"a\":1}}}",
        "{\"term\":1,\"open\":{\"k\":1,\"members\":{\"a\":\" 1\"}}}",
        "{\"term\":1,\"open\":{\"k\":1,\"members\":{\"\":\"1\"}}}",
        "{\"term\":1,\"open\":{\"k\":1,\"members\":{\"a\":\"1\",\"a\":\"2\"}}}",
        "{\"term\":1,\"joint\":{\"k\":1}}",
        "{\"term\":1,\"lines\":{}}",
        "{\"term\":1,\"lines\":[3]}",
        "{\"term\":1,\"lines\":[[3,1]]}",
        "{\"term\":1,\"lines\":[[0,1,\"0/0\"]]}",
        "{\"term\":1,\"lines\":[[3,-1,\"0/0\"]]}",
        "{\"term\":1,\"lines\":[[3,1,\"0\"]]}",
        "{\"term\":1,\"lines\":[[3,1,7]]}",
        "{\"term\":1,\"lines\":[[3,1,\"0/0\",1]]}",
    };
    char why[RECORD_WHY_MAX];

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        AUTO(record_key) struct record_key r = {0};
        if (read_text(bad[i], &r) != RECORD_BAD)
            fail_msg("read: %s", bad[i]);
        assert_false(r.present);
        assert_true(record_key_is_opaque(&r));
        assert_string_equal(record_key_why_opaque(&r, why), "cannot be read");
        assert_int_equal(r.mod_revision, 7);
    }
}

/* A value of `count` members, each with a name of `len` bytes. */
static char *cohort_of(size_t count, size_t len)
{
    AUTO(buf) struct buf text = BUF_EMPTY;

    buf_printf(&text, "{\"term\":1,\"open\":{\"k\":1,\"members\":{");
    for (size_t i = 0; i < count; i++)
        buf_printf(&text, "%s\"%0*zu\":\"1\"", i ? "," : "", (int)len, i);
    buf_printf(&text, "}}}");
    return buf_take(&text);
}

static void test_what_is_bigger_than_it_can_be_is_malformed(void **state)
{
    static const struct {
        size_t count, len;
        enum record_result result;
    } cases[] = {
        {RECORD_MEMBERS_MAX, 3, RECORD_OK},
        {RECORD_MEMBERS_MAX + 1, 3, RECORD_BAD},
        {2, RECORD_NAME_MAX, RECORD_OK},
        {2, RECORD_NAME_MAX + 1, RECORD_BAD},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(record_key) struct record_key r = {0};
        AUTO(cstr) char *text = cohort_of(cases[i].count, cases[i].len);
        assert_int_equal(read_text(text, &r), cases[i].result);
    }
    AUTO(cstr) char *long_one = str_fmt("{\"term\":1,\"x\":\"%0*d\"}", RECORD_TEXT_MAX, 0);
    AUTO(record_key) struct record_key r = {0};
    assert_int_equal(read_text(long_one, &r), RECORD_BAD);
}

/* ---- quorum mode ---- */

#define QUORUM                                                                                 \
    "{\"version\":2,\"term\":7,\"leader\":\"n1\",\"leader_incarnation\":\"5f00000000000001\"," \
    "\"leader_timeline\":4,\"timeline\":4,"                                                    \
    "\"released\":false,\"mode\":\"quorum\",\"phase\":\"elected\",\"coordinator\":\"n2#3\","   \
    "\"open\":{\"k\":1,\"members\":{\"n2\":\"8c\",\"n3\":\"ffffffffffffffff\"},"               \
    "\"leader\":\"n3\",\"incarnation\":\"a1\",\"term\":6},"                                    \
    "\"joint\":{\"k\":0,\"members\":{}},\"lines\":[[3,5,\"0/3000110\"],[4,7,\"0/0\"]]}"

static void test_a_record_of_quorum_mode_reads_back_as_written(void **state)
{
    AUTO(record_key) struct record_key r = {0};
    AUTO(record_key) struct record_key copy = {0};

    assert_int_equal(read_text(QUORUM, &r), RECORD_OK);
    assert_int_equal(r.mode, RECORD_QUORUM);
    assert_int_equal(r.phase, RECORD_ELECTED);
    assert_string_equal(r.coordinator, "n2#3");
    assert_int_equal(r.leader_incarnation, UINT64_C(0x5f00000000000001));
    assert_int_equal(r.leader_timeline, 4);
    assert_string_equal(r.open_leader, "n3");
    assert_int_equal(r.open_incarnation, 0xa1);
    assert_int_equal(r.open_term, 6);
    assert_int_equal(r.open.count, 2);
    assert_int_equal(r.open.k, 1);
    assert_int_equal(record_cohort_find(&r.open, "n3")->incarnation, UINT64_MAX);
    assert_null(record_cohort_find(&r.open, "n1"));
    assert_true(r.joining);
    assert_int_equal(r.joint.count, 0);
    assert_int_equal(r.line_count, 2);
    assert_int_equal(r.lines[0].timeline, 3);
    assert_int_equal(r.lines[0].term, 5);
    assert_int_equal(r.lines[0].fork, 0x3000110);
    assert_int_equal(r.lines[1].fork, 0);

    /* From the fields alone, as from what was read. */
    record_key_copy(&r, &copy);
    AUTO(cstr) char *over = record_key_text(&copy);
    json_decref(copy.json);
    copy.json = NULL;
    AUTO(cstr) char *anew = record_key_text(&copy);
    assert_string_equal(over, QUORUM);
    assert_string_equal(anew, QUORUM);
}

static void test_what_is_over_leaves_the_record(void **state)
{
    AUTO(record_key) struct record_key r = {0};

    assert_int_equal(read_text(QUORUM, &r), RECORD_OK);
    r.joining = false;
    record_cohort_deinit(&r.open);
    str_set(&r.open_leader, NULL);
    AUTO(cstr) char *degraded = record_key_text(&r);
    assert_non_null(strstr(degraded, "\"open\":{\"k\":0,\"members\":{}}"));
    assert_null(strstr(degraded, "joint"));

    r.mode = RECORD_ASYNC;
    r.phase = RECORD_OPEN;
    r.leader_incarnation = 0;
    r.leader_timeline = 0;
    str_set(&r.coordinator, NULL);
    r.line_count = 0;
    AUTO(cstr) char *async = record_key_text(&r);
    assert_string_equal(async, "{\"version\":2,\"term\":7,\"leader\":\"n1\",\"timeline\":4,\"released\":false}");
}

static void test_unknown_fields_of_a_cohort_survive(void **state)
{
    AUTO(record_key) struct record_key r = {0};

    assert_int_equal(
        read_text("{\"term\":7,\"mode\":\"quorum\",\"open\":{\"k\":1,\"members\":{\"n2\":\"1\"},\"since\":5}}", &r),
        RECORD_OK);
    record_cohort_add(&r.open, "n1", 2);
    AUTO(cstr) char *text = record_key_text(&r);
    assert_non_null(strstr(text, "\"open\":{\"k\":1,\"members\":{\"n1\":\"2\",\"n2\":\"1\"},\"since\":5}"));
}

static void test_the_members_of_a_cohort_are_in_one_order(void **state)
{
    AUTO(record_key) struct record_key r = {0};

    assert_int_equal(
        read_text("{\"term\":7,\"open\":{\"k\":2,\"members\":{\"n3\":\"3\",\"n1\":\"1\",\"n2\":\"2\"}}}", &r),
        RECORD_OK);
    assert_string_equal(r.open.at[0].name, "n1");
    assert_string_equal(r.open.at[1].name, "n2");
    assert_string_equal(r.open.at[2].name, "n3");
    assert_int_equal(r.open.at[2].incarnation, 3);
}

static void test_the_newest_lines_are_kept(void **state)
{
    AUTO(record_key) struct record_key r = {.term = 1};

    for (uint32_t i = 1; i <= RECORD_LINES_MAX + 3; i++) {
        struct record_line line = {.timeline = i, .term = i, .fork = i};
        record_key_add_line(&r, &line);
    }
    assert_int_equal(r.line_count, RECORD_LINES_MAX);
    assert_int_equal(r.lines[0].timeline, 4);
    assert_int_equal(r.lines[RECORD_LINES_MAX - 1].timeline, RECORD_LINES_MAX + 3);

    AUTO(record_key) struct record_key copy = {0};
    record_key_copy(&r, &copy);
    r.lines[0].timeline = 9;
    assert_int_equal(copy.line_count, RECORD_LINES_MAX);
    assert_int_equal(copy.lines[0].timeline, 4);
}

/* ---- the electorate ---- */

static void test_an_electorate_reads_back_as_written_and_makes_another_version(void **state)
{
    AUTO(record_key) struct record_key r = {0};
    AUTO(record_key) struct record_key copy = {0};

    assert_int_equal(read_text("{\"term\":4,\"leader\":\"n1\",\"challenger\":\"n2\","
                               "\"electorate\":{\"lease_ms\":4000,\"members\":[\"n3\",\"n1\",\"n2\"],\"since\":5}}",
                               &r),
                     RECORD_OK);
    assert_int_equal(r.electorate.lease_ms, 4000);
    assert_int_equal(r.electorate.count, 3);
    assert_string_equal(r.electorate.names[0], "n1");
    assert_string_equal(r.electorate.names[2], "n3");
    assert_string_equal(r.challenger, "n2");

    record_key_copy(&r, &copy);
    assert_true(record_electorate_equal(&r.electorate, &copy.electorate));
    AUTO(cstr) char *text = record_key_text(&copy);
    assert_non_null(strstr(text, "\"version\":3"));
    assert_non_null(strstr(text, "{\"lease_ms\":4000,\"members\":[\"n1\",\"n2\",\"n3\"],\"since\":5}"));
    record_key_drop_electorate(&copy);
    AUTO(cstr) char *without = record_key_text(&copy);
    assert_string_equal(without, "{\"term\":4,\"leader\":\"n1\",\"version\":2,\"released\":false}");
}

static void test_electorates_differ_by_name_and_lease(void **state)
{
    AUTO(record_electorate) struct record_electorate a = {.lease_ms = 4000};
    AUTO(record_electorate) struct record_electorate b = {.lease_ms = 4000};

    record_electorate_add(&a, "n1");
    record_electorate_add(&b, "n2");
    assert_false(record_electorate_equal(&a, &b));
    record_electorate_add(&a, "n2");
    record_electorate_add(&b, "n1");
    assert_true(record_electorate_equal(&a, &b));
    assert_true(record_electorate_has(&a, "n2"));
    assert_false(record_electorate_has(&a, "n3"));
    b.lease_ms = 3000;
    assert_false(record_electorate_equal(&a, &b));
}

static void test_a_malformed_electorate_makes_the_record_opaque(void **state)
{
    static const char *const cases[] = {
        "{\"term\":4,\"electorate\":{\"members\":[\"n1\"]}}",
        "{\"term\":4,\"electorate\":{\"lease_ms\":0,\"members\":[\"n1\"]}}",
        "{\"term\":4,\"electorate\":{\"lease_ms\":4000,\"members\":[]}}",
        "{\"term\":4,\"electorate\":{\"lease_ms\":4000,\"members\":[\"n1\",\"n1\"]}}",
        "{\"term\":4,\"electorate\":{\"lease_ms\":4000,\"members\":[\"n1\",7]}}",
        "{\"term\":4,\"electorate\":[\"n1\"]}",
        "{\"term\":4,\"challenger\":\"n2\"}",
        "{\"term\":4,\"deposed\":\"yes\"}",
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(record_key) struct record_key r = {0};
        assert_int_equal(read_text(cases[i], &r), RECORD_BAD);
        assert_true(record_key_is_opaque(&r));
    }
}

/* ---- versions ---- */

static void test_a_version_that_is_higher_or_no_number_is_opaque(void **state)
{
    static const struct {
        const char *text;
        bool opaque;
    } cases[] = {
        {"{\"term\":1}", false},
        {"{\"term\":1,\"version\":1}", false},
        {"{\"term\":1,\"version\":2}", false},
        {"{\"term\":1,\"version\":3}", false},
        {"{\"term\":1,\"version\":4}", true},
        {"{\"term\":1,\"version\":\"2\"}", true},
        {"{\"term\":1,\"version\":0}", true},
        {"{\"term\":1,\"version\":99999999999}", true},
        {"{\"version\":4}", true}, /* though it has no term as we know it */
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(record_key) struct record_key r = {0};
        (void)read_text(cases[i].text, &r);
        assert_int_equal(record_key_is_opaque(&r), cases[i].opaque);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_record_reads_back_as_written),
        cmocka_unit_test(test_fields_of_others_survive_a_change),
        cmocka_unit_test(test_what_is_malformed_is_no_record_and_opaque),
        cmocka_unit_test(test_what_is_bigger_than_it_can_be_is_malformed),
        cmocka_unit_test(test_a_record_of_quorum_mode_reads_back_as_written),
        cmocka_unit_test(test_what_is_over_leaves_the_record),
        cmocka_unit_test(test_unknown_fields_of_a_cohort_survive),
        cmocka_unit_test(test_the_members_of_a_cohort_are_in_one_order),
        cmocka_unit_test(test_the_newest_lines_are_kept),
        cmocka_unit_test(test_an_electorate_reads_back_as_written_and_makes_another_version),
        cmocka_unit_test(test_electorates_differ_by_name_and_lease),
        cmocka_unit_test(test_a_malformed_electorate_makes_the_record_opaque),
        cmocka_unit_test(test_a_version_that_is_higher_or_no_number_is_opaque),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
