/* pg_controldata's text: every version's labels, and what the states mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/str.h"
#include "pg/control.h"

/* PostgreSQL 15 of Debian 12. 14 to 18 print the same labels; 18 adds "Default char data signedness". */
static const char sample[] = "pg_control version number:            1300\n"
                             "Catalog version number:               202209061\n"
                             "Database system identifier:           7575757575757575757\n"
                             "Database cluster state:               in production\n"
                             "pg_control last modified:             Tue Nov 24 09:00:00 2026\n"
                             "Latest checkpoint location:           0/3000060\n"
                             "Latest checkpoint's REDO location:    0/3000028\n"
                             "Latest checkpoint's REDO WAL file:    000000010000000000000003\n"
                             "Latest checkpoint's TimeLineID:       2\n"
                             "Latest checkpoint's PrevTimeLineID:   1\n"
                             "Latest checkpoint's full_page_writes: on\n"
                             "Latest checkpoint's NextXID:          1:734\n"
                             "Latest checkpoint's NextOID:          13761\n"
                             "Fake LSN counter for unlogged rels:   0/3E8\n"
                             "Minimum recovery ending location:     0/4000000\n"
                             "Min recovery ending loc's timeline:   2\n"
                             "Backup start location:                0/0\n"
                             "Backup end location:                  0/0\n"
                             "End-of-backup record required:        no\n"
                             "wal_level setting:                    replica\n"
                             "wal_log_hints setting:                off\n"
                             "max_connections setting:              100\n"
                             "max_worker_processes setting:         8\n"
                             "max_wal_senders setting:              10\n"
                             "max_prepared_xacts setting:           0\n"
                             "max_locks_per_xact setting:           64\n"
                             "track_commit_timestamp setting:       off\n"
                             "Maximum data alignment:               8\n"
                             "Database block size:                  8192\n"
                             "WAL block size:                       8192\n"
                             "Bytes per WAL segment:                16777216\n"
                             "Data page checksum version:           0\n"
                             "Mock authentication nonce:            d2f0\n";

/* The sample with one line's value replaced; free() it. */
static char *with(const char *label, const char *value)
{
    const char *line = strstr(sample, label);
    AUTO(buf) struct buf text = BUF_EMPTY;

    assert_non_null(line);
    buf_add(&text, sample, (size_t)(line - sample) + strlen(label));
    buf_printf(&text, ": %s", value);
    buf_add_str(&text, strchr(line, '\n'));
    return buf_take(&text);
}

static struct pg_control parsed(const char *text)
{
    struct pg_control c;
    struct err err = {0};

    if (!pg_control_parse(text, &c, &err))
        fail_msg("%s", err.text);
    return c;
}

static void test_every_value_is_read(void **state)
{
    struct pg_control c = parsed(sample);

    assert_string_equal(c.system_identifier, "7575757575757575757");
    assert_int_equal(c.state, PG_CONTROL_IN_PRODUCTION);
    assert_string_equal(c.state_text, "in production");
    assert_int_equal(c.control_version, 1300);
    assert_int_equal(c.checkpoint, 0x3000060);
    assert_int_equal(c.redo, 0x3000028);
    assert_int_equal(c.checkpoint_tli, 2);
    assert_int_equal(c.prev_tli, 1);
    assert_true(c.next_xid == ((int64_t)1 << 32 | 734));
    assert_int_equal(c.min_recovery, 0x4000000);
    assert_int_equal(c.min_recovery_tli, 2);
    assert_false(c.backup_end_required);
    assert_string_equal(c.wal_level, "replica");
    assert_false(c.wal_log_hints);
    assert_int_equal(c.max_connections, 100);
    assert_int_equal(c.max_worker_processes, 8);
    assert_int_equal(c.max_wal_senders, 10);
    assert_int_equal(c.max_prepared_xacts, 0);
    assert_int_equal(c.max_locks_per_xact, 64);
    assert_int_equal(c.wal_segment_size, 16777216);
    assert_int_equal(c.checksum_version, 0);
}

static void test_rewind_needs_hints_or_checksums(void **state)
{
    AUTO(cstr) char *hints = with("wal_log_hints setting", "on");
    AUTO(cstr) char *checksums = with("Data page checksum version", "1");
    struct pg_control neither = parsed(sample);
    struct pg_control first = parsed(hints);
    struct pg_control second = parsed(checksums);

    assert_false(pg_control_can_rewind(&neither));
    assert_true(pg_control_can_rewind(&first));
    assert_true(pg_control_can_rewind(&second));
}

static void test_states_say_where_the_instance_ends(void **state)
{
    static const struct {
        const char *text;
        bool clean, known, standby;
        lsn end;
    } cases[] = {
        {"starting up", false, false, false, 0},
        {"shut down", true, true, false, 0x3000060},
        {"shut down in recovery", true, true, true, 0x4000000},
        {"shutting down", false, false, false, 0},
        {"in crash recovery", false, false, false, 0},
        {"in archive recovery", false, true, true, 0x4000000},
        {"in production", false, false, false, 0},
        {"unrecognized status code", false, false, false, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(cstr) char *text = with("Database cluster state", cases[i].text);
        struct pg_control c = parsed(text);
        uint32_t tli = 0;
        lsn end = 0;
        bool standby = false;
        assert_int_equal(pg_control_clean(&c), cases[i].clean);
        assert_int_equal(pg_control_end(&c, &tli, &end, &standby), cases[i].known);
        assert_int_equal(end, cases[i].end);
        assert_int_equal(standby, cases[i].standby);
        assert_int_equal(tli, cases[i].known ? 2 : 0);
    }
}

static void test_missing_or_malformed_lines_are_named(void **state)
{
    static const char *const labels[] = {
        "Database system identifier",  "Latest checkpoint location",       "Latest checkpoint's TimeLineID",
        "Latest checkpoint's NextXID", "Minimum recovery ending location", "max_connections setting",
        "Bytes per WAL segment",       "Data page checksum version",
    };

    for (size_t i = 0; i < ARRAY_LEN(labels); i++) {
        AUTO(cstr) char *text = with(labels[i], "");
        struct pg_control c;
        struct err err;
        assert_false(pg_control_parse(text, &c, &err));
        assert_non_null(strstr(err.text, labels[i]));
    }
    struct pg_control c;
    assert_false(pg_control_parse("", &c, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_value_is_read),
        cmocka_unit_test(test_rewind_needs_hints_or_checksums),
        cmocka_unit_test(test_states_say_where_the_instance_ends),
        cmocka_unit_test(test_missing_or_malformed_lines_are_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
