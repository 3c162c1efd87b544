/* The promise and the incarnation: two small files that must be right after any crash. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/str.h"
#include "config.h"
#include "pg/datadir.h"
#include "pg/file.h"
#include "pg/incarnation.h"
#include "pg/promise.h"

static char *folder, *data, *promise_path;

static int setup(void **state)
{
    folder = config_folder();
    data = str_fmt("%s/data", folder);
    promise_path = str_fmt("%s/promise", folder);
    assert_int_equal(mkdir(data, 0700), 0);
    return 0;
}

static int teardown(void **state)
{
    free(data);
    free(promise_path);
    config_remove_folder(folder);
    return 0;
}

static void give(term t, const char *coordinator)
{
    struct err err = {0};

    if (!promise_give(folder, t, coordinator, 0, &err))
        fail_msg("%s", err.text);
}

static void note_record(term t, int64_t revision, const char *store)
{
    struct err err = {0};

    if (!promise_note_record(folder, t, revision, store, &err))
        fail_msg("%s", err.text);
}

static bool is_refused(bool done, const struct err *err)
{
    return !done && err->code == ERR_CONFLICT;
}

static bool refuses(term t, const char *coordinator)
{
    struct err err = {0};
    bool done = promise_give(folder, t, coordinator, 0, &err);

    return is_refused(done, &err);
}

static bool refuses_record(term t, int64_t revision, const char *store)
{
    struct err err = {0};
    bool done = promise_note_record(folder, t, revision, store, &err);

    return is_refused(done, &err);
}

static struct promise now(void)
{
    struct promise p;

    assert_int_equal(promise_read(folder, &p, NULL), PROMISE_READ);
    return p;
}

static void test_what_was_promised_is_read_back(void **state)
{
    struct promise p;

    assert_int_equal(promise_read(folder, &p, NULL), PROMISE_ABSENT);
    assert_int_equal(p.term, 0);
    give(UINT64_C(1) << 40, "n2 of rack \"b\"/17");
    note_record(4, 100, "cdf818194e3a8c32");
    assert_true(promise_note_incarnation(folder, 0xfedcba9876543210U, NULL));
    assert_true(promise_note_timeline(folder, 3, NULL));
    p = now();
    assert_true(p.term == UINT64_C(1) << 40);
    assert_string_equal(p.coordinator, "n2 of rack \"b\"/17");
    assert_true(p.incarnation == 0xfedcba9876543210U);
    assert_int_equal(p.record_term, 4);
    assert_int_equal(p.record_revision, 100);
    assert_string_equal(p.store_cluster, "cdf818194e3a8c32");
    assert_int_equal(p.position_timeline, 3);
    give(p.term, p.coordinator); /* the same again, as for the repeated question of the same coordinator */
    assert_int_equal(now().position_timeline, 3);
}

static void test_a_promise_never_goes_backwards(void **state)
{
    give(7, "n2/1");
    assert_true(refuses(6, "n2/1"));
    assert_true(refuses(7, "n3/1"));
    assert_true(refuses(7, "n2/2"));
    give(8, "n3/1");
    assert_true(refuses(7, "n2/1"));
    assert_int_equal(now().term, 8);
    assert_string_equal(now().coordinator, "n3/1");
}

/* A store that was restored from a backup, or another one. */
static void test_a_record_that_is_behind_is_refused(void **state)
{
    note_record(4, 100, "a");
    assert_true(refuses_record(3, 200, "a"));
    assert_true(refuses_record(4, 99, "a"));
    assert_true(refuses_record(3, 200, "b"));
    note_record(4, 5, "b"); /* the same term in another store, whose revisions are others */
    note_record(5, 1, "b"); /* written anew under a higher term */
    assert_true(refuses_record(4, 1000, "a"));
    assert_int_equal(now().record_term, 5);
    assert_int_equal(now().record_revision, 1);
}

/* Any byte changed, any end cut off. */
static void test_a_damaged_promise_is_not_an_absent_one_and_is_not_overwritten(void **state)
{
    struct promise read;
    struct err err = {0};

    give(7, "n2/1");
    AUTO(cstr) char *good = config_slurp(promise_path);
    size_t len = strlen(good);
    for (size_t at = 0; at < len; at++) {
        AUTO(cstr) char *bad = str_dup(good);
        bad[at] = bad[at] == '7' ? '8' : '7';
        config_spill(promise_path, bad);
        assert_int_equal(promise_read(folder, &read, NULL), PROMISE_UNUSABLE);
        bad[at] = '\0';
        config_spill(promise_path, bad);
        assert_int_equal(promise_read(folder, &read, NULL), PROMISE_UNUSABLE);
        assert_int_equal(read.term, 0);
    }
    assert_false(promise_give(folder, 9, "n2/1", 0, &err));
    assert_int_equal(err.code, ERR_INPUT);
    assert_non_null(strstr(err.text, "votes for nobody"));
    assert_non_null(strstr(err.text, "damaged"));
    AUTO(cstr) char *later = str_fmt("pgkeep promise 2\n%s", good);
    config_spill(promise_path, later);
    assert_int_equal(promise_read(folder, &read, &err), PROMISE_UNUSABLE);
    assert_non_null(strstr(err.text, "another version"));
}

static void test_a_promise_that_the_disk_does_not_take_is_not_given(void **state)
{
    struct err err = {0};
    struct rlimit whole;

    give(7, "n2/1");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &whole), 0);
    struct rlimit full = {.rlim_cur = 10, .rlim_max = whole.rlim_max};
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
    bool written = promise_give(folder, 8, "n3/1", 0, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &whole), 0);
    assert_false(written);
    assert_int_equal(err.code, ERR_SYS);
    assert_int_equal(now().term, 7);
}

static void test_names_that_would_break_the_file_are_refused(void **state)
{
    struct err err = {0};

    assert_false(promise_give(folder, 7, "n2\nterm 9", 0, &err));
    assert_int_equal(err.code, ERR_INPUT);
    assert_false(file_exists(promise_path));
}

static uint64_t seen(void)
{
    struct datadir_state s;

    datadir_look(data, folder, &s, NULL);
    assert_true(s.incarnation == incarnation_look(data, folder));
    return s.incarnation;
}

static void test_an_incarnation_stays_over_starts_and_changes_with_the_contents(void **state)
{
    uint64_t first = 0;
    uint64_t second = 0;
    bool renewed = false;

    assert_true(seen() == 0);
    assert_true(incarnation_settle(data, folder, &renewed, NULL));
    assert_true(renewed);
    first = seen();
    assert_true(first != 0);
    assert_true(incarnation_settle(data, folder, &renewed, NULL));
    assert_false(renewed);
    assert_true(seen() == first);
    assert_true(incarnation_renew(data, folder, &second, NULL));
    assert_true(second != first && seen() == second);
}

static void test_a_directory_that_came_from_elsewhere_is_a_new_incarnation(void **state)
{
    AUTO(cstr) char *path = str_fmt("%s/%s", data, INCARNATION_FILE);
    uint64_t own = 0;
    bool renewed = false;

    assert_true(incarnation_renew(data, folder, &own, NULL));
    config_spill(path, "0123456789abcdef\n"); /* as pg_rewind brings it */
    assert_true(seen() == 0);
    assert_true(incarnation_settle(data, folder, &renewed, NULL));
    assert_true(renewed && seen() != 0 && seen() != own && seen() != 0x0123456789abcdefU);
    static const char *const bad[] = {"", "0123456789abcdef", "0123456789abcde\n", "0000000000000000\n", "x"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        config_spill(path, bad[i]);
        assert_true(seen() == 0);
    }
}

static void test_a_lost_state_directory_makes_a_new_incarnation(void **state)
{
    uint64_t own = 0;
    bool renewed = false;

    assert_true(incarnation_renew(data, folder, &own, NULL));
    assert_true(file_remove(promise_path, NULL));
    assert_true(seen() == 0);
    assert_true(incarnation_settle(data, folder, &renewed, NULL));
    assert_true(renewed && seen() != own);
}

static void test_a_new_incarnation_keeps_the_promise_and_forgets_the_timeline(void **state)
{
    give(7, "n2/1");
    assert_true(promise_note_timeline(folder, 3, NULL));
    assert_true(incarnation_renew(data, folder, NULL, NULL));
    struct promise p = now();
    assert_int_equal(p.term, 7);
    assert_string_equal(p.coordinator, "n2/1");
    assert_int_equal(p.position_timeline, 0);
    assert_true(p.incarnation != 0 && p.incarnation == seen());
}

static void test_beside_a_damaged_promise_no_incarnation_counts(void **state)
{
    config_spill(promise_path, "pgkeep promise 1\nrubbish\n");
    assert_true(incarnation_renew(data, folder, NULL, NULL));
    assert_true(seen() == 0);
    AUTO(cstr) char *text = config_slurp(promise_path);
    assert_string_equal(text, "pgkeep promise 1\nrubbish\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_was_promised_is_read_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_promise_never_goes_backwards, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_record_that_is_behind_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_damaged_promise_is_not_an_absent_one_and_is_not_overwritten, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_promise_that_the_disk_does_not_take_is_not_given, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names_that_would_break_the_file_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_incarnation_stays_over_starts_and_changes_with_the_contents, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_directory_that_came_from_elsewhere_is_a_new_incarnation, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_lost_state_directory_makes_a_new_incarnation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_new_incarnation_keeps_the_promise_and_forgets_the_timeline, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_beside_a_damaged_promise_no_incarnation_counts, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
