#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "test/unit/web/snapshots.h"
#include "web/metrics.h"
#include "wire/peer.h"

#define LABELS "{scope=\"demo\",name=\"n1\"}"

/* The value of a series; fails if it is not there exactly once. free() it. */
static char *value(const char *text, const char *name)
{
    AUTO(cstr) char *line = str_fmt("\n%s" LABELS " ", name);
    const char *at = strstr(text, line);

    if (!at || strstr(at + 1, line))
        fail_msg("%s is not there once", name);
    at += strlen(line);
    return str_fmt("%.*s", (int)strcspn(at, "\n"), at);
}

struct expected {
    const char *name, *type, *value;
};

static void expect(const struct snapshot *s, const struct expected *rows, size_t count)
{
    AUTO(cstr) char *text = metrics_text(s, NOW);

    for (size_t i = 0; i < count; i++) {
        AUTO(cstr) char *got = value(text, rows[i].name);
        AUTO(cstr) char *type = str_fmt("\n# TYPE %s %s\n", rows[i].name, rows[i].type);
        AUTO(cstr) char *help = str_fmt("# HELP %s ", rows[i].name);

        if (!str_eq(got, rows[i].value))
            fail_msg("%s is %s, not %s", rows[i].name, got, rows[i].value);
        if (!strstr(text, type) || !strstr(text, help))
            fail_msg("%s has no help or another type than %s", rows[i].name, rows[i].type);
    }
}

static void test_all_of_patronis_series_of_a_primary(void **state)
{
    static const struct expected rows[] = {
        {"patroni_version", "gauge", "040000"},
        {"patroni_postgres_running", "gauge", "1"},
        {"patroni_postmaster_start_time", "gauge", "1795509935.123456"},
        {"patroni_primary", "gauge", "1"},
        {"patroni_xlog_location", "counter", "5000000"},
        {"patroni_standby_leader", "gauge", "0"},
        {"patroni_replica", "gauge", "0"},
        {"patroni_sync_standby", "gauge", "0"},
        {"patroni_quorum_standby", "gauge", "0"},
        {"patroni_xlog_received_location", "counter", "0"},
        {"patroni_xlog_replayed_location", "counter", "0"},
        {"patroni_xlog_replayed_timestamp", "gauge", "0"},
        {"patroni_xlog_paused", "gauge", "0"},
        {"patroni_postgres_streaming", "gauge", "0"},
        {"patroni_postgres_in_archive_recovery", "gauge", "0"},
        {"patroni_postgres_server_version", "gauge", "150018"},
        {"patroni_cluster_unlocked", "gauge", "0"},
        {"patroni_failsafe_mode_is_active", "gauge", "0"},
        {"patroni_failsafe_mode_enabled", "gauge", "0"},
        {"patroni_failsafe_member", "gauge", "0"},
        {"patroni_postgres_timeline", "counter", "3"},
        {"patroni_dcs_last_seen", "gauge", "1795510800"},
        {"patroni_pending_restart", "gauge", "0"},
        {"patroni_is_paused", "gauge", "0"},
        {"patroni_postgres_state", "gauge", "5"},
        {"patroni_failover_priority", "gauge", "1"},
    };
    AUTO(snapshot) struct snapshot *s = primary();

    (void)state;
    assert_int_equal(ARRAY_LEN(rows), 26);
    expect(s, rows, ARRAY_LEN(rows));
}

static void test_a_replica_counts_what_it_received_and_replayed(void **state)
{
    static const struct expected rows[] = {
        {"patroni_primary", "gauge", "0"},
        {"patroni_replica", "gauge", "1"},
        {"patroni_xlog_location", "counter", "0"},
        {"patroni_xlog_received_location", "counter", "18446744073709551615"},
        {"patroni_xlog_replayed_location", "counter", "5000000"},
        {"patroni_xlog_replayed_timestamp", "gauge", "1795510800.5"},
        {"patroni_xlog_paused", "gauge", "1"},
        {"patroni_postgres_streaming", "gauge", "1"},
        {"patroni_sync_standby", "gauge", "1"},
        {"patroni_pending_restart", "gauge", "1"},
        {"patroni_is_paused", "gauge", "1"},
        {"patroni_cluster_unlocked", "gauge", "1"},
        {"patroni_failsafe_mode_enabled", "gauge", "1"},
        {"patroni_failsafe_member", "gauge", "1"},
        {"patroni_failover_priority", "gauge", "0"},
    };
    AUTO(snapshot) struct snapshot *s = replica();

    (void)state;
    s->received_location = UINT64_MAX;
    s->replayed_epoch = 1795510800.5;
    s->replay_paused = s->sync_standby = s->pending_restart = s->pause = s->cluster_unlocked = true;
    s->failsafe_mode_enabled = s->failsafe_member = s->nofailover = true;
    expect(s, rows, ARRAY_LEN(rows));
}

static void test_what_is_not_known_is_zero(void **state)
{
    static const struct expected rows[] = {
        {"patroni_postgres_running", "gauge", "0"},
        {"patroni_postmaster_start_time", "gauge", "0"},
        {"patroni_xlog_location", "counter", "0"},
        {"patroni_postgres_server_version", "gauge", "0"},
        {"patroni_postgres_timeline", "counter", "0"},
        {"patroni_postgres_state", "gauge", "-1"},
        {"pgkeep_writable", "gauge", "0"},
    };
    AUTO(snapshot) struct snapshot *s = primary();

    (void)state;
    s->pg_known = false;
    expect(s, rows, ARRAY_LEN(rows));
}

static void test_our_own_series(void **state)
{
    static const struct expected rows[] = {
        {"pgkeep_writable", "gauge", "1"},
        {"pgkeep_term", "gauge", "4"},
        {"pgkeep_lease_seconds", "gauge", "20.000"},
        {"pgkeep_facts_age_seconds", "gauge", "0.500"},
        {"pgkeep_cycle_age_seconds", "gauge", "3.000"},
        {"pgkeep_watchdog_failed", "gauge", "0"},
        {"pgkeep_clone_done_bytes", "gauge", "10"},
        {"pgkeep_clone_total_bytes", "gauge", "100"},
    };
    AUTO(snapshot) struct snapshot *s = primary();

    (void)state;
    str_set(&s->clone_progress, "{\"done\":10,\"total\":100,\"from\":\"n2\"}");
    expect(s, rows, ARRAY_LEN(rows));
    str_set(&s->clone_progress, NULL);
    AUTO(cstr) char *text = metrics_text(s, NOW);
    assert_null(strstr(text, "pgkeep_clone"));
    s->lease_deadline_ms = MSEC_NEVER; /* in pause */
    static const struct expected endless[] = {{"pgkeep_lease_seconds", "gauge", "+Inf"}};
    expect(s, endless, 1);
}

static void test_how_long_ago_each_peer_was_heard(void **state)
{
    AUTO(snapshot) struct snapshot *s = primary();
    AUTO(cstr) char *alone = metrics_text(s, NOW);

    assert_null(strstr(alone, "pgkeep_peer_age_seconds"));
    s->peers = mem_zero(2, sizeof(*s->peers));
    s->peers[0] = (struct snapshot_peer){str_dup("n2"), 1234};
    s->peers[1] = (struct snapshot_peer){str_dup("n3"), MSEC_NEVER};
    s->peer_count = 2;
    AUTO(cstr) char *text = metrics_text(s, NOW);
    assert_non_null(strstr(text, "# TYPE pgkeep_peer_age_seconds gauge\n"
                                 "pgkeep_peer_age_seconds{scope=\"demo\",name=\"n1\",peer=\"n2\"} 1.234\n"
                                 "pgkeep_peer_age_seconds{scope=\"demo\",name=\"n1\",peer=\"n3\"} +Inf\n"));
}

static void test_slots_tell_what_they_hold_back(void **state)
{
    AUTO(snapshot) struct snapshot *s = primary();
    AUTO(cstr) char *none = metrics_text(s, NOW);

    assert_null(strstr(none, "pgkeep_slot"));
    s->slots = mem_zero(2, sizeof(*s->slots));
    s->slots[0] = (struct snapshot_slot){.name = str_dup("n2"), .active = true, .retained_bytes = 16};
    s->slots[1] = (struct snapshot_slot){.name = str_dup("n3"), .retained_bytes = 1ULL << 40, .held = 70000};
    s->slot_count = 2;
    AUTO(cstr) char *text = metrics_text(s, NOW);
    assert_non_null(strstr(text, "# TYPE pgkeep_slot_active gauge\n"
                                 "pgkeep_slot_active{scope=\"demo\",name=\"n1\",slot=\"n2\"} 1\n"
                                 "pgkeep_slot_active{scope=\"demo\",name=\"n1\",slot=\"n3\"} 0\n"));
    assert_non_null(strstr(text, "pgkeep_slot_retained_bytes{scope=\"demo\",name=\"n1\",slot=\"n3\"} 1099511627776\n"));
    assert_non_null(strstr(text, "pgkeep_slot_held_transactions{scope=\"demo\",name=\"n1\",slot=\"n3\"} 70000\n"));
}

static void test_gray_failures_have_series(void **state)
{
    static const struct expected rows[] = {
        {"pgkeep_wal_age_seconds", "gauge", "0.250"},
        {"pgkeep_disk_probe_seconds", "gauge", "0.012345"},
        {"pgkeep_disk_free_bytes", "gauge", "1000"},
        {"pgkeep_disk_total_bytes", "gauge", "4000"},
    };
    AUTO(snapshot) struct snapshot *s = replica();

    (void)state;
    s->wal_moved_ms = NOW - 250;
    s->disk_known = true;
    s->disk_took_us = 12345;
    s->disk_free_bytes = 1000;
    s->disk_total_bytes = 4000;
    s->sick = PEER_SICK_DISK | PEER_SICK_CONNECT;
    expect(s, rows, ARRAY_LEN(rows));
    AUTO(cstr) char *text = metrics_text(s, NOW);
    assert_non_null(strstr(text, "# TYPE pgkeep_sick gauge\n"
                                 "pgkeep_sick{scope=\"demo\",name=\"n1\",reason=\"probe\"} 0\n"
                                 "pgkeep_sick{scope=\"demo\",name=\"n1\",reason=\"disk\"} 1\n"
                                 "pgkeep_sick{scope=\"demo\",name=\"n1\",reason=\"halted\"} 0\n"
                                 "pgkeep_sick{scope=\"demo\",name=\"n1\",reason=\"connect\"} 1\n"));
}

static void test_quorum_mode_shows_phase_cohort_and_promise(void **state)
{
    static const struct expected rows[] = {{"pgkeep_quorum_mode", "gauge", "1"},
                                           {"pgkeep_cohort_members", "gauge", "3"},
                                           {"pgkeep_cohort_k", "gauge", "2"},
                                           {"pgkeep_promised_term", "gauge", "5"},
                                           {"pgkeep_frozen", "gauge", "1"}};
    static const struct expected without[] = {{"pgkeep_quorum_mode", "gauge", "0"}, {"pgkeep_frozen", "gauge", "0"}};
    AUTO(snapshot) struct snapshot *s = primary();

    (void)state;
    s->quorum.known = true;
    AUTO(cstr) char *async = metrics_text(s, NOW);
    expect(s, without, ARRAY_LEN(without));
    assert_null(strstr(async, "pgkeep_phase"));
    assert_null(strstr(async, "pgkeep_cohort"));
    s->quorum = (struct snapshot_quorum){.known = true,
                                         .mode = RECORD_QUORUM,
                                         .phase = RECORD_ELECTED,
                                         .cohort_members = 3,
                                         .cohort_k = 2,
                                         .promised = 5,
                                         .frozen = true};
    expect(s, rows, ARRAY_LEN(rows));
    AUTO(cstr) char *text = metrics_text(s, NOW);
    assert_non_null(strstr(text, "# TYPE pgkeep_phase gauge\n"
                                 "pgkeep_phase{scope=\"demo\",name=\"n1\",phase=\"open\"} 0\n"
                                 "pgkeep_phase{scope=\"demo\",name=\"n1\",phase=\"term\"} 0\n"
                                 "pgkeep_phase{scope=\"demo\",name=\"n1\",phase=\"elected\"} 1\n"));
}

static void test_each_reason_of_a_broken_promise_is_a_series(void **state)
{
    static const struct expected rows[] = {{"pgkeep_walsenders_ended_total", "counter", "4"}};
    AUTO(snapshot) struct snapshot *s = primary();

    (void)state;
    breaches_add(&s->broken, BREACH_COMMIT, "one", 1);
    breaches_add(&s->broken, BREACH_COMMIT, "two", 1);
    breaches_add(&s->broken, BREACH_WALSENDER, "three", 4);
    s->walsenders_ended = 4;
    expect(s, rows, ARRAY_LEN(rows));
    AUTO(cstr) char *text = metrics_text(s, NOW);
    assert_non_null(strstr(text, "# TYPE pgkeep_promise_broken gauge\n"
                                 "pgkeep_promise_broken{scope=\"demo\",name=\"n1\",reason=\"synchronous_commit\"} 2\n"
                                 "pgkeep_promise_broken{scope=\"demo\",name=\"n1\",reason=\"standby_names\"} 0\n"
                                 "pgkeep_promise_broken{scope=\"demo\",name=\"n1\",reason=\"durability\"} 0\n"
                                 "pgkeep_promise_broken{scope=\"demo\",name=\"n1\",reason=\"override\"} 0\n"
                                 "pgkeep_promise_broken{scope=\"demo\",name=\"n1\",reason=\"walsender\"} 1\n"));
}

static void test_a_write_that_hangs_grows_with_time(void **state)
{
    static const struct expected rows[] = {{"pgkeep_disk_probe_seconds", "gauge", "1.500000"}};
    AUTO(snapshot) struct snapshot *s = replica();

    (void)state;
    s->disk_known = true;
    s->disk_took_us = 12345;
    s->disk_hangs_since_ms = NOW - 1500;
    expect(s, rows, ARRAY_LEN(rows));
}

static void test_what_was_not_measured_has_no_series(void **state)
{
    AUTO(snapshot) struct snapshot *s = primary();
    AUTO(cstr) char *text = metrics_text(s, NOW);

    (void)state;
    assert_null(strstr(text, "pgkeep_wal_age"));
    assert_null(strstr(text, "pgkeep_disk"));
}

static void test_labels_are_escaped(void **state)
{
    AUTO(snapshot) struct snapshot *s = replica();

    (void)state;
    str_set(&s->scope, "a\"b\\c\nd");
    AUTO(cstr) char *text = metrics_text(s, NOW);
    assert_non_null(strstr(text, "\npatroni_replica{scope=\"a\\\"b\\\\c\\nd\",name=\"n1\"} 1\n"));
}

static void test_the_page_is_what_prometheus_reads(void **state)
{
    AUTO(snapshot) struct snapshot *s = replica();
    AUTO(cstr) char *text = metrics_text(s, NOW);

    (void)state;
    assert_true(str_ends(text, "\n"));
    assert_non_null(strstr(text, "# Values: 0=initializing new cluster, 1=initdb failed,"));
    assert_non_null(strstr(text, " 14=crashed\n# TYPE patroni_postgres_state gauge\n"));
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char *end;
        const char *number = strrchr(line, ' ');

        if (*line == '#')
            continue;
        assert_true(strstr(line, LABELS " ") || str_starts(line, "pgkeep_sick{scope=\"demo\",name=\"n1\",reason=\"") ||
                    str_starts(line, "pgkeep_promise_broken{scope=\"demo\",name=\"n1\",reason=\""));
        (void)strtod(number + 1, &end);
        assert_true(*end == '\0' && end != number + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quorum_mode_shows_phase_cohort_and_promise),
        cmocka_unit_test(test_all_of_patronis_series_of_a_primary),
        cmocka_unit_test(test_a_replica_counts_what_it_received_and_replayed),
        cmocka_unit_test(test_what_is_not_known_is_zero),
        cmocka_unit_test(test_our_own_series),
        cmocka_unit_test(test_how_long_ago_each_peer_was_heard),
        cmocka_unit_test(test_slots_tell_what_they_hold_back),
        cmocka_unit_test(test_gray_failures_have_series),
        cmocka_unit_test(test_each_reason_of_a_broken_promise_is_a_series),
        cmocka_unit_test(test_a_write_that_hangs_grows_with_time),
        cmocka_unit_test(test_what_was_not_measured_has_no_series),
        cmocka_unit_test(test_labels_are_escaped),
        cmocka_unit_test(test_the_page_is_what_prometheus_reads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
