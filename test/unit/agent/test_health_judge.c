/* What the probes see, and what is told of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "app/agent/health_judge.h"
#include "wire/peer.h"

enum { NOW_MS = 100000 };

static const struct health_limits limits = {.answer_ms = 500, .write_ms = 400};

/* A server that is well. */
static struct health_signs well(void)
{
    return (struct health_signs){.works = true,
                                 .silent_since_ms = MSEC_NEVER,
                                 .refused_since_ms = MSEC_NEVER,
                                 .disk = {.known = true, .took_us = 1500}};
}

static uint32_t sick(const struct health_signs *s)
{
    return health_sick(s, &limits, 100, NOW_MS);
}

static void test_a_server_that_is_well_has_no_bit(void **state)
{
    struct health_signs s = well();

    assert_int_equal(sick(&s), 0);
    s.silent_since_ms = s.refused_since_ms = NOW_MS - 499;
    s.disk.under_way_ms = 399;
    assert_int_equal(sick(&s), 0);
}

static void test_each_sign_has_its_bit(void **state)
{
    struct health_signs s = well();

    s.silent_since_ms = NOW_MS - 500;
    assert_int_equal(sick(&s), PEER_SICK_PROBE);
    s = well();
    s.refused_since_ms = NOW_MS - 500;
    assert_int_equal(sick(&s), PEER_SICK_CONNECT);
    s = well();
    s.halted_ms = NOW_MS;
    assert_int_equal(sick(&s), PEER_SICK_HALTED);
    s = well();
    s.disk.under_way_ms = 400;
    assert_int_equal(sick(&s), PEER_SICK_DISK);
}

static void test_a_broken_disk_is_sick_at_once_and_a_full_one_is_not(void **state)
{
    struct health_signs s = well();
    const int broken[] = {EIO, EROFS, ENXIO};
    const int other[] = {ENOSPC, EDQUOT, ENOENT, EACCES};

    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        s.disk.error = broken[i];
        assert_int_equal(sick(&s), PEER_SICK_DISK);
    }
    for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
        s.disk.error = other[i];
        assert_int_equal(sick(&s), 0);
    }
    s.disk.error = EIO;
    s.disk.known = false;
    assert_int_equal(sick(&s), 0);
}

static void test_what_starts_or_is_stopped_is_not_sick(void **state)
{
    struct health_signs s = {.silent_since_ms = 1, .refused_since_ms = 1, .halted_ms = 1};

    s.disk = (struct disk_probe_view){.known = true, .error = EIO, .under_way_ms = 60000};
    assert_int_equal(sick(&s), 0);
    s.works = true;
    assert_int_equal(sick(&s), PEER_SICK_PROBE | PEER_SICK_CONNECT | PEER_SICK_HALTED | PEER_SICK_DISK);
}

static void test_who_is_slow_himself_waits_longer(void **state)
{
    struct health_signs s = well();

    s.silent_since_ms = NOW_MS - 999;
    s.disk.under_way_ms = 799;
    assert_int_equal(health_sick(&s, &limits, 200, NOW_MS), 0);
    s.silent_since_ms = NOW_MS - 1000;
    s.disk.under_way_ms = 800;
    assert_int_equal(health_sick(&s, &limits, 200, NOW_MS), PEER_SICK_PROBE | PEER_SICK_DISK);
}

static void test_slowness_grows_with_lateness_and_pressure_and_has_an_end(void **state)
{
    assert_int_equal(health_slowness(0, -1), 100);
    assert_int_equal(health_slowness(20, 50), 100);
    assert_int_equal(health_slowness(300, -1), 400);
    assert_int_equal(health_slowness(0, 90), 140);
    assert_int_equal(health_slowness(100, 90), 240);
    assert_int_equal(health_slowness(60000, 100), SLOWNESS_MAX);
}

static void test_the_disk_tells_the_longer_of_the_last_write_and_the_one_under_way(void **state)
{
    struct disk_probe_view disk = {0};

    assert_true(health_disk_ms(&disk) == MSEC_NEVER);
    disk.known = true;
    assert_true(health_disk_ms(&disk) == MSEC_NEVER);
    disk.under_way_ms = 10;
    assert_int_equal(health_disk_ms(&disk), 10);
    disk.took_us = 12000;
    assert_int_equal(health_disk_ms(&disk), 12);
    disk.under_way_ms = 700;
    assert_int_equal(health_disk_ms(&disk), 700);
}

/* ---- what a walreceiver is sent; PostgreSQL's clock is 1000 s ahead of ours ---- */

static int64_t wall_us(msec ms)
{
    return (ms + 1000000) * 1000;
}

static void test_wal_that_moves_is_as_old_as_the_message_that_brought_it(void **state)
{
    struct wal_progress w = {0};

    assert_true(wal_progress_age(&w, NOW_MS) == UINT32_MAX);
    wal_progress_note(&w, 100, wall_us(NOW_MS - 30), wall_us(NOW_MS), NOW_MS);
    assert_int_equal(wal_progress_age(&w, NOW_MS), 30);
    wal_progress_note(&w, 100, wall_us(NOW_MS - 30), wall_us(NOW_MS + 200), NOW_MS + 200);
    assert_int_equal(wal_progress_age(&w, NOW_MS + 200), 230);
    wal_progress_note(&w, 100, wall_us(NOW_MS + 390), wall_us(NOW_MS + 400), NOW_MS + 400); /* a keepalive */
    assert_int_equal(wal_progress_age(&w, NOW_MS + 400), 10);
}

static void test_a_wall_clock_that_jumps_is_not_believed(void **state)
{
    struct wal_progress w = {0};

    wal_progress_note(&w, 100, wall_us(NOW_MS), wall_us(NOW_MS), NOW_MS);
    /* an hour on between the message and the look: it came after the last look all the same */
    wal_progress_note(&w, 200, wall_us(NOW_MS + 100), wall_us(NOW_MS + 3600000), NOW_MS + 250);
    assert_int_equal(wal_progress_age(&w, NOW_MS + 250), 250);
    /* and back: it did not come after this one */
    wal_progress_note(&w, 300, wall_us(NOW_MS + 3600000), wall_us(NOW_MS + 500), NOW_MS + 500);
    assert_int_equal(wal_progress_age(&w, NOW_MS + 500), 0);
}

static void test_without_a_walreceiver_nothing_moves(void **state)
{
    struct wal_progress w = {0};

    wal_progress_note(&w, 100, wall_us(NOW_MS), wall_us(NOW_MS), NOW_MS);
    wal_progress_note(&w, 200, 0, wall_us(NOW_MS + 300), NOW_MS + 300); /* from the archive */
    assert_int_equal(wal_progress_age(&w, NOW_MS + 300), 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_server_that_is_well_has_no_bit),
        cmocka_unit_test(test_each_sign_has_its_bit),
        cmocka_unit_test(test_a_broken_disk_is_sick_at_once_and_a_full_one_is_not),
        cmocka_unit_test(test_what_starts_or_is_stopped_is_not_sick),
        cmocka_unit_test(test_who_is_slow_himself_waits_longer),
        cmocka_unit_test(test_slowness_grows_with_lateness_and_pressure_and_has_an_end),
        cmocka_unit_test(test_the_disk_tells_the_longer_of_the_last_write_and_the_one_under_way),
        cmocka_unit_test(test_wal_that_moves_is_as_old_as_the_message_that_brought_it),
        cmocka_unit_test(test_a_wall_clock_that_jumps_is_not_believed),
        cmocka_unit_test(test_without_a_walreceiver_nothing_moves),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
