#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "app/ctl/scheduled.h"
#include "base/auto.h"

static const int64_t NOW_MS = 1795510800000; /* 2026-11-24 09:00 UTC */

static void local_zone(const char *zone)
{
    assert_int_equal(setenv("TZ", zone, 1), 0);
    tzset();
}

static void expect(const char *text, const char *iso, int64_t epoch_ms)
{
    struct scheduled s;

    assert_int_equal(scheduled_parse(text, NOW_MS, &s), SCHEDULED_AT);
    assert_string_equal(s.iso, iso);
    assert_true(s.epoch_ms == epoch_ms);
}

static void test_now_is_no_moment(void **state)
{
    struct scheduled s;

    assert_int_equal(scheduled_parse("now", NOW_MS, &s), SCHEDULED_NOW);
    assert_int_equal(scheduled_parse("", NOW_MS, &s), SCHEDULED_NOW);
    assert_int_equal(scheduled_parse(NULL, NOW_MS, &s), SCHEDULED_NOW);
}

static void test_an_offset_counts_wherever_we_are(void **state)
{
    local_zone("UTC");
    expect("2026-11-24T10:00+01:00", "2026-11-24T10:00:00+01:00", NOW_MS);
    expect("2026-11-24T10:00:00+0100", "2026-11-24T10:00:00+01:00", NOW_MS);
    expect("2026-11-24 09:00Z", "2026-11-24T09:00:00+00:00", NOW_MS);
    expect("2026-11-24T09:00 UTC", "2026-11-24T09:00:00+00:00", NOW_MS);
    expect("2026-11-24T06:00:00-3", "2026-11-24T06:00:00-03:00", NOW_MS);
    expect("20261124T090000+00:00", "2026-11-24T09:00:00+00:00", NOW_MS);
    expect("2026-11-24T09:00:00.250Z", "2026-11-24T09:00:00.250000+00:00", NOW_MS + 250);
}

static void test_without_offset_the_local_zone_counts(void **state)
{
    local_zone("CET-1CEST,M3.5.0,M10.5.0/3");
    expect("2026-11-24T10:00", "2026-11-24T10:00:00+01:00", NOW_MS);
    expect("2026-11-24 10:00", "2026-11-24T10:00:00+01:00", NOW_MS);
    expect("2026-07-01T10:00", "2026-07-01T10:00:00+02:00", 1782892800000);
    expect("2026-11-25", "2026-11-25T00:00:00+01:00", NOW_MS + 14 * 3600 * 1000);
}

static void test_a_time_alone_is_today(void **state)
{
    local_zone("CET-1CEST,M3.5.0,M10.5.0/3");
    expect("11:30", "2026-11-24T11:30:00+01:00", NOW_MS + 90 * 60 * 1000);
}

static void test_what_cannot_be_or_is_ambiguous_is_refused(void **state)
{
    static const char *const bad[] = {"tomorrow",
                                      "24/11/26",
                                      "2026-13-01T10:00",
                                      "2026-02-29T10:00",
                                      "2026-11-24T24:00",
                                      "2026-11-24T10:60",
                                      "2026-11-24T10",
                                      "2026-11-24T10:00+1:",
                                      "2026-11-24T10:00+99:00",
                                      "2026-11-24T10:00 CET",
                                      "2026-11-2410:00",
                                      "10",
                                      "2026-11-24T10:00+01:00x"};
    struct scheduled s;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (scheduled_parse(bad[i], NOW_MS, &s) != SCHEDULED_BAD)
            fail_msg("accepted: %s as %s", bad[i], s.iso);
}

static void test_leap_days_exist_in_leap_years(void **state)
{
    expect("2028-02-29T00:00Z", "2028-02-29T00:00:00+00:00", 1835395200000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_now_is_no_moment),
        cmocka_unit_test(test_an_offset_counts_wherever_we_are),
        cmocka_unit_test(test_without_offset_the_local_zone_counts),
        cmocka_unit_test(test_a_time_alone_is_today),
        cmocka_unit_test(test_what_cannot_be_or_is_ambiguous_is_refused),
        cmocka_unit_test(test_leap_days_exist_in_leap_years),
    };

    return cmocka_run_group_tests_name("ctl/scheduled", tests, NULL, NULL);
}
