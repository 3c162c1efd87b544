/* Parameters by version: what is written, corrected, left out; when two values are the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <strings.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/str.h"
#include "pg/guc.h"
#include "pg/guc_table.h"

static void test_values_are_judged_by_version(void **state)
{
    static const struct {
        int major;
        const char *name, *value;
        enum guc_verdict verdict;
        const char *corrected;
    } cases[] = {
        {15, "max_connections", "100", GUC_FINE, ""},
        {15, "MAX_Connections", "100", GUC_FINE, ""},
        {15, "max_connections", "0", GUC_CORRECTED, "1"},
        {15, "max_connections", "many", GUC_BAD, ""},
        {15, "shared_buffers", "128MB", GUC_FINE, ""},
        {15, "shared_buffers", "1kB", GUC_CORRECTED, "16"},
        {15, "shared_buffers", "10s", GUC_BAD, ""},
        {15, "autovacuum", "ON", GUC_FINE, ""},
        {15, "autovacuum", "maybe", GUC_BAD, ""},
        {15, "wal_level", "replica", GUC_FINE, ""},
        {15, "wal_level", "hot_standby", GUC_FINE, ""},
        {15, "wal_level", "most", GUC_BAD, ""},
        {15, "synchronous_commit", "remote_apply", GUC_FINE, ""},
        {15, "synchronous_commit", "yes", GUC_FINE, ""},
        {15, "checkpoint_completion_target", "0.9", GUC_FINE, ""},
        {15, "checkpoint_completion_target", "9", GUC_CORRECTED, "1"},
        {15, "log_file_mode", "0640", GUC_FINE, ""},
        {15, "autovacuum_vacuum_cost_delay", "2ms", GUC_FINE, ""},
        {15, "search_path", "anything, at all", GUC_FINE, ""},
        {15, "pg_stat_statements.max", "x", GUC_FINE, ""},
        {15, "no_such_parameter", "1", GUC_UNKNOWN, ""},
        {15, "server_version", "16", GUC_UNKNOWN, ""},
        {15, "data_directory", "/elsewhere", GUC_UNKNOWN, ""},
        {14, "archive_library", "x", GUC_UNKNOWN, ""},
        {15, "archive_library", "x", GUC_FINE, ""},
        {14, "stats_temp_directory", "x", GUC_FINE, ""},
        {15, "stats_temp_directory", "x", GUC_UNKNOWN, ""},
        {14, "wal_compression", "zstd", GUC_BAD, ""},
        {15, "wal_compression", "zstd", GUC_FINE, ""},
        {15, "vacuum_defer_cleanup_age", "1", GUC_FINE, ""},
        {16, "vacuum_defer_cleanup_age", "1", GUC_UNKNOWN, ""},
        {15, "force_parallel_mode", "on", GUC_FINE, ""},
        {18, "force_parallel_mode", "on", GUC_FINE, ""},
        {16, "old_snapshot_threshold", "-1", GUC_FINE, ""},
        {17, "old_snapshot_threshold", "-1", GUC_UNKNOWN, ""},
        {16, "summarize_wal", "on", GUC_UNKNOWN, ""},
        {17, "summarize_wal", "on", GUC_FINE, ""},
        {17, "log_connections", "receipt", GUC_BAD, ""},
        {18, "log_connections", "receipt", GUC_FINE, ""},
        {18, "io_method", "io_uring", GUC_FINE, ""},
        {19, "a_parameter_of_the_future", "1", GUC_FINE, ""},
        {19, "max_connections", "many", GUC_BAD, ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(buf) struct buf corrected = BUF_EMPTY;
        enum guc_verdict v = guc_check(cases[i].major, cases[i].name, cases[i].value, &corrected);
        if (v != cases[i].verdict || !str_eq(buf_cstr(&corrected), cases[i].corrected))
            fail_msg("%d %s=%s: verdict %d, \"%s\"", cases[i].major, cases[i].name, cases[i].value, (int)v,
                     buf_cstr(&corrected));
    }
}

static void test_numbers_with_units(void **state)
{
    static const struct {
        const char *text, *unit;
        bool good;
        long long value;
    } cases[] = {
        {"128MB", "MB", true, 128},   {"1GB", "MB", true, 1024},   {"1GB", "8kB", true, 131072},
        {"8192", "kB", true, 8192},   {" 5 min ", "s", true, 300}, {"1.5GB", "MB", true, 1536},
        {"1d", "ms", true, 86400000}, {"0x10", NULL, true, 16},    {"0600", NULL, true, 384},
        {"-1", "kB", true, -1},       {"1e3", NULL, true, 1000},   {"1mb", "MB", false, 0},
        {"1s", "MB", false, 0},       {"5MB", NULL, false, 0},     {"", "MB", false, 0},
        {"MB", "MB", false, 0},       {"1 2", NULL, false, 0},     {"inf", NULL, false, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        long long value = -7;
        bool good = guc_parse_int(cases[i].text, cases[i].unit, &value);
        if (good != cases[i].good || (good && value != cases[i].value))
            fail_msg("\"%s\" in %s: %lld", cases[i].text, cases[i].unit ? cases[i].unit : "-", value);
    }
}

static void test_booleans_as_postgresql_spells_them(void **state)
{
    static const struct {
        const char *text;
        bool good, value;
    } cases[] = {
        {"on", true, true},  {"OFF", true, false}, {"tr", true, true}, {"f", true, false},
        {"yes", true, true}, {"n", true, false},   {"1", true, true},  {"0", true, false},
        {"o", false, false}, {"2", false, false},  {"", false, false}, {"truely", false, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool value = false;
        assert_int_equal(guc_parse_bool(cases[i].text, &value), cases[i].good);
        assert_int_equal(value, cases[i].value);
    }
}

static void test_the_table_is_sorted_and_its_versions_do_not_overlap(void **state)
{
    for (size_t i = 1; i < guc_table_count; i++) {
        const struct guc_row *a = &guc_table[i - 1];
        const struct guc_row *b = &guc_table[i];
        int order = strcasecmp(a->name, b->name);
        assert_true(order <= 0);
        if (order == 0)
            assert_true(a->until && a->until <= b->from);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_are_judged_by_version),
        cmocka_unit_test(test_numbers_with_units),
        cmocka_unit_test(test_booleans_as_postgresql_spells_them),
        cmocka_unit_test(test_the_table_is_sorted_and_its_versions_do_not_overlap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
