#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "test/unit/web/snapshots.h"
#include "web/status.h"

/* The status but for our own part, which is checked by itself. */
static char *patronis_part(const struct snapshot *s)
{
    AUTO(cstr) char *text = status_text(s, NOW);
    json_t *status = json_loads(text, 0, NULL);

    assert_non_null(status);
    assert_int_equal(json_object_del(status, "pgkeep"), 0);
    char *rest = json_dumps(status, JSON_ENSURE_ASCII);
    assert_true(strncmp(text, rest, strlen(rest) - 1) == 0); /* ours is the last */
    json_decref(status);
    return rest;
}

static void expect(const struct snapshot *s, const char *wanted)
{
    AUTO(cstr) char *got = patronis_part(s);

    assert_string_equal(got, wanted);
}

static void test_a_primary_is_shown_as_patroni_shows_it(void **state)
{
    AUTO(snapshot) struct snapshot *s = primary();
    struct snapshot_walsender *w = mem_zero(2, sizeof(*w));

    (void)state;
    w[0] = (struct snapshot_walsender){.usename = str_dup("replicator"),
                                       .application_name = str_dup("n2"),
                                       .client_addr = str_dup("10.0.0.2"),
                                       .state = str_dup("streaming"),
                                       .sync_state = str_dup("async"),
                                       .sync_priority = 0};
    w[1] = (struct snapshot_walsender){.usename = str_dup("replicator"),
                                       .application_name = str_dup("pg_basebackup"),
                                       .state = str_dup("backup"),
                                       .sync_state = str_dup("sync"),
                                       .sync_priority = 1};
    s->walsenders = w;
    s->walsender_count = 2;
    str_set(&s->tags, "{\"clonefrom\": true, \"zone\": \"a\"}");
    expect(
        s,
        "{\"state\": \"running\", \"postmaster_start_time\": \"2026-11-24 08:45:35.123456+00:00\", "
        "\"role\": \"primary\", \"server_version\": 150018, \"xlog\": {\"location\": 5000000}, \"timeline\": 3, "
        "\"replication\": [{\"usename\": \"replicator\", \"application_name\": \"n2\", \"client_addr\": \"10.0.0.2\", "
        "\"state\": \"streaming\", \"sync_state\": \"async\", \"sync_priority\": 0}, "
        "{\"usename\": \"replicator\", \"application_name\": \"pg_basebackup\", \"client_addr\": null, "
        "\"state\": \"backup\", \"sync_state\": \"sync\", \"sync_priority\": 1}], \"dcs_last_seen\": 1795510800, "
        "\"tags\": {\"clonefrom\": true, \"zone\": \"a\"}, \"database_system_identifier\": \"7430000000000000001\", "
        "\"patroni\": {\"version\": \"4.0.0\", \"scope\": \"demo\", \"name\": \"n1\"}}");
}

static void test_a_replica_is_shown_as_patroni_shows_it(void **state)
{
    AUTO(snapshot) struct snapshot *s = replica();

    (void)state;
    s->received_location = 5000100;
    str_set(&s->replayed_timestamp, "2026-11-24 09:00:00.5+00:00");
    expect(s, "{\"state\": \"running\", \"postmaster_start_time\": \"2026-11-24 08:45:35.123456+00:00\", "
              "\"role\": \"replica\", \"server_version\": 150018, \"xlog\": {\"received_location\": 5000100, "
              "\"replayed_location\": 5000000, \"replayed_timestamp\": \"2026-11-24 09:00:00.5+00:00\", "
              "\"paused\": false}, \"timeline\": 3, \"replication_state\": \"streaming\", "
              "\"dcs_last_seen\": 1795510800, \"database_system_identifier\": \"7430000000000000001\", "
              "\"patroni\": {\"version\": \"4.0.0\", \"scope\": \"demo\", \"name\": \"n1\"}}");
}

static void test_every_field_that_is_there_only_sometimes(void **state)
{
    AUTO(snapshot) struct snapshot *s = replica();

    (void)state;
    s->received_location = 0; /* nothing received: what is replayed counts, as in Patroni */
    s->replay_paused = true;
    s->sync_standby = true;
    s->timeline = 0;
    s->pause = true;
    s->cluster_unlocked = true;
    s->failsafe_mode_is_active = true;
    s->pending_restart = true;
    str_set(&s->pending_restart_reason, "{\"max_connections\":{\"old_value\":\"100\",\"new_value\":\"200\"}}");
    str_set(&s->scheduled_restart, "{\"schedule\":\"2026-11-24T10:00:00+00:00\"}");
    s->watchdog_failed = true;
    str_set(&s->tags, "{}");
    expect(s, "{\"state\": \"running\", \"postmaster_start_time\": \"2026-11-24 08:45:35.123456+00:00\", "
              "\"role\": \"replica\", \"server_version\": 150018, \"xlog\": {\"received_location\": 5000000, "
              "\"replayed_location\": 5000000, \"replayed_timestamp\": null, \"paused\": true}, "
              "\"sync_standby\": true, \"timeline\": null, \"replication_state\": \"streaming\", \"pause\": true, "
              "\"cluster_unlocked\": true, \"failsafe_mode_is_active\": true, \"dcs_last_seen\": 1795510800, "
              "\"database_system_identifier\": \"7430000000000000001\", \"pending_restart\": true, "
              "\"pending_restart_reason\": {\"max_connections\": {\"old_value\": \"100\", \"new_value\": \"200\"}}, "
              "\"patroni\": {\"version\": \"4.0.0\", \"scope\": \"demo\", \"name\": \"n1\"}, "
              "\"scheduled_restart\": {\"schedule\": \"2026-11-24T10:00:00+00:00\"}, \"watchdog_failed\": true}");
}

static void test_what_postgresql_does_not_answer_is_left_out(void **state)
{
    AUTO(snapshot) struct snapshot *silent = primary();
    AUTO(snapshot) struct snapshot *stopped = primary();
    AUTO(snapshot) struct snapshot *starting = replica();
    static const char rest[] = ", \"dcs_last_seen\": 1795510800, \"database_system_identifier\": "
                               "\"7430000000000000001\", \"patroni\": {\"version\": \"4.0.0\", \"scope\": \"demo\", "
                               "\"name\": \"n1\"}}";
    AUTO(cstr) char *of_silent = str_fmt("{\"state\": \"unknown\", \"role\": \"primary\"%s", rest);
    AUTO(cstr) char *of_stopped = str_fmt("{\"state\": \"stopped\", \"role\": \"demoted\"%s", rest);
    AUTO(cstr) char *of_starting = str_fmt("{\"state\": \"starting\", \"role\": \"replica\"%s", rest);

    (void)state;
    silent->pg_known = false; /* a postmaster runs, but nothing is known of it */
    expect(silent, of_silent);
    stopped->state = NODE_STOPPED;
    stopped->role = ROLE_DEMOTED; /* and the facts of before are not told, even if they are still there */
    expect(stopped, of_stopped);
    starting->state = NODE_STARTING;
    starting->pg_known = false;
    expect(starting, of_starting);
}

static void test_the_role_is_what_postgresql_is(void **state)
{
    AUTO(snapshot) struct snapshot *promoting = primary();
    AUTO(snapshot) struct snapshot *leader = standby_leader();
    AUTO(cstr) char *text = NULL;

    (void)state;
    promoting->in_recovery = true; /* elected, not promoted */
    text = status_text(promoting, NOW);
    assert_non_null(strstr(text, "\"role\": \"replica\""));
    free(text);
    text = status_text(leader, NOW);
    assert_non_null(strstr(text, "\"role\": \"standby_leader\""));
}

static void test_a_store_that_was_not_read_leaves_the_cluster_unlocked(void **state)
{
    AUTO(snapshot) struct snapshot *s = replica();

    (void)state;
    s->store_known = false;
    AUTO(cstr) char *text = status_text(s, NOW);
    assert_non_null(strstr(text, "\"cluster_unlocked\": true"));
}

static void test_our_own_fields_stand_under_one_key(void **state)
{
    AUTO(snapshot) struct snapshot *s = primary();

    (void)state;
    str_set(&s->clone_progress, "{\"done\":10,\"total\":100,\"from\":\"n2\"}");
    AUTO(cstr) char *text = status_text(s, NOW);
    assert_non_null(strstr(text, "\"pgkeep\": {\"v\": 1, \"version\": \"0.1.0\", \"agent\": \"0123456789abcdef\", "
                                 "\"seq\": 7, \"age_ms\": 500, \"term\": 4, "
                                 "\"lease_ms\": 20000, \"writable\": true, "
                                 "\"clone\": {\"done\": 10, \"total\": 100, \"from\": \"n2\"}}}"));
}

static void test_quorum_mode_tells_its_phase_and_its_cohort(void **state)
{
    AUTO(snapshot) struct snapshot *s = primary();

    (void)state;
    s->quorum = (struct snapshot_quorum){.known = true,
                                         .mode = RECORD_QUORUM,
                                         .phase = RECORD_TERM,
                                         .term = 4,
                                         .joining = true,
                                         .cohort_members = 2,
                                         .cohort_k = 1,
                                         .promised = 5,
                                         .frozen = true};
    AUTO(cstr) char *text = status_text(s, NOW);
    assert_non_null(
        strstr(text, "\"writable\": true, \"mode\": \"quorum\", \"phase\": \"term\", \"cohort\": {\"members\": 2, "
                     "\"k\": 1, \"changing\": true}, \"promised\": 5, \"frozen\": true}"));
    assert_null(strstr(text, "broken"));
    breaches_add(&s->broken, BREACH_WALSENDER, "who", 3);
    AUTO(cstr) char *broken = status_text(s, NOW);
    assert_non_null(strstr(broken, "\"broken\": [{\"reason\": \"walsender\", \"text\": \"who\", \"count\": 3}]"));
    s->broken = (struct breaches){0};
    s->quorum = (struct snapshot_quorum){.known = true, .mode = RECORD_ASYNC};
    AUTO(cstr) char *async = status_text(s, NOW);
    assert_non_null(strstr(async, "\"writable\": true, \"mode\": \"async\"}"));
}

static void test_a_lease_without_an_end_has_no_number(void **state)
{
    AUTO(snapshot) struct snapshot *s = primary();

    (void)state;
    s->lease_deadline_ms = MSEC_NEVER; /* in pause */
    AUTO(cstr) char *text = status_text(s, NOW);
    assert_non_null(strstr(text, "\"lease_ms\": null, \"writable\": true"));
}

static void test_a_name_that_is_no_utf8_does_not_break_the_answer(void **state)
{
    AUTO(snapshot) struct snapshot *s = primary();
    struct snapshot_walsender *w = mem_zero(1, sizeof(*w));

    (void)state;
    w->application_name = str_dup("caf\xe9 \"x\"");
    w->usename = str_dup("caf\xc3\xa9");
    s->walsenders = w;
    s->walsender_count = 1;
    AUTO(cstr) char *text = status_text(s, NOW);
    assert_non_null(strstr(text, "\"application_name\": \"caf? \\\"x\\\"\""));
    assert_non_null(strstr(text, "\"usename\": \"caf\\u00E9\""));
}

static void test_before_the_first_snapshot_there_is_an_answer(void **state)
{
    AUTO(snapshot) struct snapshot *s = snapshot_new();

    (void)state;
    expect(s, "{\"state\": \"unknown\", \"role\": \"uninitialized\", \"cluster_unlocked\": true, \"dcs_last_seen\": 0, "
              "\"patroni\": {\"version\": null, \"scope\": null, \"name\": null}}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_primary_is_shown_as_patroni_shows_it),
        cmocka_unit_test(test_a_replica_is_shown_as_patroni_shows_it),
        cmocka_unit_test(test_every_field_that_is_there_only_sometimes),
        cmocka_unit_test(test_what_postgresql_does_not_answer_is_left_out),
        cmocka_unit_test(test_the_role_is_what_postgresql_is),
        cmocka_unit_test(test_a_store_that_was_not_read_leaves_the_cluster_unlocked),
        cmocka_unit_test(test_our_own_fields_stand_under_one_key),
        cmocka_unit_test(test_quorum_mode_tells_its_phase_and_its_cohort),
        cmocka_unit_test(test_a_lease_without_an_end_has_no_number),
        cmocka_unit_test(test_a_name_that_is_no_utf8_does_not_break_the_answer),
        cmocka_unit_test(test_before_the_first_snapshot_there_is_an_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
