/* The record: what it says, and that what it says to others is not lost on the way through here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

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

static void test_what_is_no_record_is_said_to_be_none(void **state)
{
    static const char *const bad[] = {
        "", "{\"cut", "[]", "null", "3", "{}", "\"x\"", "{\"term\":-1}", "{\"term\":\"4\"}", "{\"term\":1.5}"};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        AUTO(record_key) struct record_key r = {0};
        assert_int_equal(read_text(bad[i], &r), RECORD_BAD);
        assert_false(r.present);
        assert_int_equal(r.mod_revision, 7);
    }
}

static void test_a_version_that_is_higher_or_no_number_is_newer(void **state)
{
    static const struct {
        const char *text;
        bool newer;
    } cases[] = {
        {"{\"term\":1}", false},
        {"{\"term\":1,\"version\":1}", false},
        {"{\"term\":1,\"version\":2}", false},
        {"{\"term\":1,\"version\":3}", true},
        {"{\"term\":1,\"version\":\"2\"}", true},
        {"{\"term\":1,\"version\":0}", true},
        {"{\"term\":1,\"version\":99999999999}", true},
        {"{\"version\":3}", true}, /* though it has no term as we know it */
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(record_key) struct record_key r = {0};
        (void)read_text(cases[i].text, &r);
        assert_int_equal(record_key_is_newer(&r), cases[i].newer);
    }
}

static void test_a_number_that_is_no_timeline_is_not_told(void **state)
{
    static const char *const texts[] = {"{\"term\":1,\"timeline\":-1}", "{\"term\":1,\"timeline\":4294967296}",
                                        "{\"term\":1,\"timeline\":\"3\"}"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        AUTO(record_key) struct record_key r = {0};
        assert_int_equal(read_text(texts[i], &r), RECORD_OK);
        assert_int_equal(r.timeline, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_record_reads_back_as_written),
        cmocka_unit_test(test_fields_of_others_survive_a_change),
        cmocka_unit_test(test_what_is_no_record_is_said_to_be_none),
        cmocka_unit_test(test_a_version_that_is_higher_or_no_number_is_newer),
        cmocka_unit_test(test_a_number_that_is_no_timeline_is_not_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
