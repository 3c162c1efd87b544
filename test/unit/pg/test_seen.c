/* The newest record of the store that this node has seen: read back as written, and a damaged one is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "config.h"
#include "pg/file.h"
#include "pg/seen.h"

static char *folder, *path;

static int setup(void **state)
{
    (void)state;
    folder = config_folder();
    path = str_fmt("%s/record", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(path);
    config_remove_folder(folder);
    return 0;
}

static const char text[] =
    "{\"version\":2,\"term\":7,\"leader\":\"n1\",\"leader_incarnation\":\"11\",\"timeline\":3,"
    "\"mode\":\"quorum\",\"phase\":\"open\",\"open\":{\"k\":1,\"members\":{\"n2\":\"22\"},"
    "\"leader\":\"n1\",\"incarnation\":\"11\",\"term\":7},\"lines\":[[3,7,\"0/0\"]],\"new\":[1]}";

static void write_one(uint64_t store, int64_t revision)
{
    AUTO(seen) struct seen s = {.store = store};
    struct err err = {0};
    const char *why;

    assert_int_equal(record_key_read(text, strlen(text), revision, &s.record, &why), RECORD_OK);
    assert_true(seen_write(folder, &s, &err));
}

static void test_nothing_was_seen_before_the_first(void **state)
{
    AUTO(seen) struct seen s = {0};
    struct err err = {0};

    (void)state;
    assert_true(seen_read(folder, &s, &err));
    assert_false(s.record.present);
}

static void test_what_was_seen_is_read_back_with_what_is_not_known_here(void **state)
{
    AUTO(seen) struct seen s = {0};
    struct err err = {0};

    (void)state;
    write_one(UINT64_MAX, 42);
    assert_true(seen_read(folder, &s, &err));
    assert_true(s.store == UINT64_MAX && s.record.mod_revision == 42 && s.record.term == 7);
    assert_int_equal(s.record.open.count, 1);
    AUTO(cstr) char *again = record_key_text(&s.record);
    assert_non_null(strstr(again, "\"new\":[1]"));
}

/* Each byte of it, one after the other. */
static void test_a_damaged_one_is_none(void **state)
{
    AUTO(cstr) char *whole = NULL;
    struct err err = {0};
    size_t len = 0;

    (void)state;
    write_one(1, 42);
    assert_true(file_read(path, 4096, &whole, &len, &err));
    for (size_t i = 0; i < len; i++) {
        AUTO(seen) struct seen s = {0};
        whole[i] ^= 1;
        assert_true(file_replace(path, whole, len, 0600, &err));
        whole[i] ^= 1;
        assert_false(seen_read(folder, &s, &err));
        assert_false(s.record.present);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing_was_seen_before_the_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_was_seen_is_read_back_with_what_is_not_known_here, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_damaged_one_is_none, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
