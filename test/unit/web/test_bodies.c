#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/str.h"
#include "web/bodies.h"

#define NOON_MS 1795521600000 /* 2026-11-24T12:00:00Z */
#define UNREADABLE "Unable to parse scheduled timestamp. It should be in an unambiguous format, e.g. ISO 8601"

static const struct body_facts facts = {.wall_now_ms = NOON_MS};
static const struct body_facts in_pause = {.wall_now_ms = NOON_MS, .paused = true};

static void test_a_body_is_a_json_object_of_known_length(void **state)
{
    static const struct {
        const char *bytes;
        bool has_length, optional;
        int status; /* 0: taken */
    } rows[] = {
        {"{\"a\": 1}", true, false, 0},
        {"{\"a\": 1}", true, true, 0},
        {"", false, false, 411},
        {"", false, true, 0},
        {"", true, false, 400},
        {"", true, true, 0},
        {"{}", true, false, 400},
        {"{}", true, true, 0},
        {"[1]", true, false, 400},
        {"[1]", true, true, 400},
        {"\"x\"", true, true, 400},
        {"nonsense", true, true, 400},
        {"{\"a\": 1} x", true, true, 400},
        {"{\"a\": 1", true, false, 400},
        {"{\"a\": 1}", false, false, 411}, /* sent in chunks */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct refusal refusal = {0};
        json_t *body = NULL;
        bool taken =
            body_read(rows[i].bytes, strlen(rows[i].bytes), rows[i].has_length, rows[i].optional, &body, &refusal);

        if (taken != !rows[i].status || refusal.status != rows[i].status)
            fail_msg("%s: %d", rows[i].bytes, refusal.status);
        assert_string_equal(refusal.text, "");
        assert_true(!taken || json_is_object(body));
        json_decref(body);
    }
}

struct row {
    const char *in;
    int status;       /* 0: taken */
    const char *text; /* the refusal, or the body afterwards */
};

static json_t *loads(const char *text)
{
    json_t *body = json_loads(text, 0, NULL);

    assert_non_null(body);
    return body;
}

static void expect_body(json_t *body, const char *text)
{
    json_t *wanted = loads(text);

    if (!json_equal(body, wanted))
        fail_msg("%s, not %s", json_dumps(body, JSON_COMPACT), text);
    json_decref(wanted);
}

static void expect_restart(const struct row *rows, size_t count, const struct body_facts *now)
{
    for (size_t i = 0; i < count; i++) {
        json_t *body = loads(rows[i].in);
        struct refusal refusal = {0};
        bool taken = body_check_restart(body, now, &refusal);

        if (refusal.status != rows[i].status || taken != !rows[i].status)
            fail_msg("%s: %d %s", rows[i].in, refusal.status, refusal.text);
        if (taken)
            expect_body(body, rows[i].text);
        else
            assert_string_equal(refusal.text, rows[i].text);
        json_decref(body);
    }
}

static void test_fields_of_a_restart(void **state)
{
#define ROLE "PostgreSQL role should be either primary, standby_leader, or replica"
#define TIMEOUT "Timeout should be a positive number of seconds"
#define FORMAT "Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: "
    static const struct row rows[] = {
        {"{}", 0, "{}"},
        {"{\"restart_pending\": true}", 0, "{\"restart_pending\": true}"},
        {"{\"restart_pending\": false}", 0, "{\"restart_pending\": true}"}, /* that it is there counts */
        {"{\"restart_pending\": null}", 0, "{\"restart_pending\": true}"},
        {"{\"role\": \"primary\"}", 0, "{\"role\": \"primary\"}"},
        {"{\"role\": \"standby_leader\"}", 0, "{\"role\": \"standby_leader\"}"},
        {"{\"role\": \"replica\"}", 0, "{\"role\": \"replica\"}"},
        {"{\"role\": \"king\"}", 400, ROLE},
        {"{\"role\": null}", 400, ROLE},
        {"{\"postgres_version\": \"15.2\"}", 0, "{\"postgres_version\": \"15.2\"}"},
        {"{\"postgres_version\": \"9.6.24\"}", 0, "{\"postgres_version\": \"9.6.24\"}"},
        {"{\"postgres_version\": \"15\"}", 400, FORMAT "15"},
        {"{\"postgres_version\": \"9.6\"}", 400, FORMAT "9.6"},
        {"{\"postgres_version\": \"1.2.3.4\"}", 400, FORMAT "1.2.3.4"},
        {"{\"postgres_version\": \"a.b\"}", 400, "Invalid PostgreSQL version: a.b"},
        {"{\"postgres_version\": \"15.\"}", 400, "Invalid PostgreSQL version: 15."},
        {"{\"postgres_version\": 15.2}", 400, "Invalid PostgreSQL version: 15.2"},
        {"{\"timeout\": 30}", 0, "{\"timeout\": 30}"},
        {"{\"timeout\": \"30\"}", 0, "{\"timeout\": 30}"},
        {"{\"timeout\": \"30s\"}", 0, "{\"timeout\": 30}"},
        {"{\"timeout\": \"5min\"}", 0, "{\"timeout\": 300}"},
        {"{\"timeout\": \"1500 ms\"}", 0, "{\"timeout\": 2}"},
        {"{\"timeout\": 2.6}", 0, "{\"timeout\": 3}"},
        {"{\"timeout\": 0}", 400, TIMEOUT},
        {"{\"timeout\": -1}", 400, TIMEOUT},
        {"{\"timeout\": \"soon\"}", 400, TIMEOUT},
        {"{\"timeout\": true}", 400, TIMEOUT},
        {"{\"timeout\": null}", 400, TIMEOUT},
        {"{\"timeout\": 1e300}", 400, TIMEOUT},
        {"{\"force\": true}", 400, "Unknown filter for the scheduled restart: force"},
        {"{\"role\": \"king\", \"force\": true}", 400, ROLE}, /* the first that is wrong */
        {"{\"force\": true, \"role\": \"king\"}", 400, "Unknown filter for the scheduled restart: force"},
    };

    (void)state;
    expect_restart(rows, ARRAY_LEN(rows), &facts);
}

static void test_schedule_of_a_restart(void **state)
{
    static const struct row rows[] = {
        {"{\"schedule\": \"2026-11-24T12:00:00+00:00\"}", 0, "{\"schedule\": \"2026-11-24T12:00:00+00:00\"}"},
        {"{\"schedule\": \"2026-11-24T13:30+01:00\"}", 0, "{\"schedule\": \"2026-11-24T13:30+01:00\"}"},
        {"{\"schedule\": \"2026-11-24T12:30:00+01:00\"}", 422, "Cannot schedule restart in the past"},
        {"{\"schedule\": \"2026-11-24T11:59:59Z\"}", 422, "Cannot schedule restart in the past"},
        {"{\"schedule\": \"2026-12-24T12:00:00\"}", 400, "Timezone information is mandatory for the scheduled restart"},
        {"{\"schedule\": \"tomorrow\"}", 422, UNREADABLE},
        {"{\"schedule\": \"\"}", 422, UNREADABLE},
        {"{\"schedule\": 1795521600}", 422, UNREADABLE},
        {"{\"schedule\": null}", 422, UNREADABLE},
    };
    static const struct row paused[] = {
        {"{\"schedule\": \"2026-12-24T12:00:00Z\"}", 500, "Can't schedule restart in the paused state"},
        {"{\"role\": \"king\", \"schedule\": \"\"}", 500, "Can't schedule restart in the paused state"},
        {"{\"timeout\": 30}", 0, "{\"timeout\": 30}"},
    };

    (void)state;
    expect_restart(rows, ARRAY_LEN(rows), &facts);
    expect_restart(paused, ARRAY_LEN(paused), &in_pause);
}

static void expect_failover(enum op_kind kind, const struct row *rows, size_t count, const struct body_facts *now)
{
    for (size_t i = 0; i < count; i++) {
        json_t *body = loads(rows[i].in);
        struct refusal refusal = {0};
        enum op_kind becomes = kind;
        bool taken = body_check_failover(body, &becomes, now, &refusal);

        if (refusal.status != rows[i].status || taken != !rows[i].status)
            fail_msg("%s: %d %s", rows[i].in, refusal.status, refusal.text);
        if (taken) {
            expect_body(body, rows[i].text);
            assert_int_equal(becomes, json_object_get(body, "leader") ? OP_SWITCHOVER : OP_FAILOVER);
        } else {
            assert_string_equal(refusal.text, rows[i].text);
        }
        json_decref(body);
    }
}

static void test_body_of_a_switchover(void **state)
{
    static const struct row rows[] = {
        {"{\"leader\": \"n1\"}", 0, "{\"leader\": \"n1\"}"},
        {"{\"leader\": \"n1\", \"candidate\": \"n2\"}", 0, "{\"leader\": \"n1\", \"candidate\": \"n2\"}"},
        {"{\"leader\": \"n1\", \"member\": \"n2\"}", 0, "{\"leader\": \"n1\", \"candidate\": \"n2\"}"},
        {"{\"leader\": \"n1\", \"candidate\": \"n3\", \"member\": \"n2\"}", 0,
         "{\"leader\": \"n1\", \"candidate\": \"n3\"}"},
        {"{\"leader\": \"n1\", \"candidate\": null, \"scheduled_at\": \"\", \"other\": 1}", 0, "{\"leader\": \"n1\"}"},
        {"{\"leader\": \"n1\", \"scheduled_at\": \"2026-12-24T12:00:00Z\"}", 0,
         "{\"leader\": \"n1\", \"scheduled_at\": \"2026-12-24T12:00:00Z\"}"},
        {"{\"candidate\": \"n2\"}", 400, "Switchover could be performed only from a specific leader"},
        {"{\"leader\": \"\", \"candidate\": \"n2\"}", 400, "Switchover could be performed only from a specific leader"},
        {"{\"leader\": \"n1\", \"candidate\": \"n1\"}", 400, "Switchover target and source are the same"},
        {"{\"leader\": \"n1\", \"scheduled_at\": \"2026-11-24T11:00:00Z\"}", 422,
         "Cannot schedule switchover in the past"},
        {"{\"leader\": \"n1\", \"scheduled_at\": \"2026-12-24T11:00:00\"}", 400,
         "Timezone information is mandatory for the scheduled switchover"},
        {"{\"leader\": \"n1\", \"scheduled_at\": \"soon\"}", 422, UNREADABLE},
        {"{\"leader\": \"n1\", \"scheduled_at\": 5}", 422, UNREADABLE},
        {"{\"leader\": 1}", 400, "leader should be a text"},
    };
    static const struct row paused[] = {
        {"{\"leader\": \"n1\", \"candidate\": \"n2\"}", 0, "{\"leader\": \"n1\", \"candidate\": \"n2\"}"},
        {"{\"leader\": \"n1\"}", 400, "Switchover is possible only to a specific candidate in a paused state"},
        {"{\"leader\": \"n1\", \"scheduled_at\": \"2026-12-24T12:00:00Z\"}", 400,
         "Can't schedule switchover in the paused state"},
    };

    (void)state;
    expect_failover(OP_SWITCHOVER, rows, ARRAY_LEN(rows), &facts);
    expect_failover(OP_SWITCHOVER, paused, ARRAY_LEN(paused), &in_pause);
}

static void test_body_of_a_failover(void **state)
{
    static const struct row rows[] = {
        {"{\"candidate\": \"n2\"}", 0, "{\"candidate\": \"n2\"}"},
        {"{\"member\": \"n2\"}", 0, "{\"candidate\": \"n2\"}"},
        {"{\"leader\": \"n1\", \"candidate\": \"n2\"}", 0,
         "{\"leader\": \"n1\", \"candidate\": \"n2\"}"}, /* a switchover */
        {"{\"leader\": \"n1\"}", 400, "Failover could be performed only to a specific candidate"},
        {"{\"candidate\": \"\"}", 400, "Failover could be performed only to a specific candidate"},
        {"{\"candidate\": \"n2\", \"scheduled_at\": \"2026-12-24T12:00:00Z\"}", 400, "Failover can't be scheduled"},
        {"{\"leader\": \"n2\", \"candidate\": \"n2\"}", 400, "Switchover target and source are the same"},
    };

    (void)state;
    expect_failover(OP_FAILOVER, rows, ARRAY_LEN(rows), &facts);
    expect_failover(OP_FAILOVER, rows, 3, &in_pause);
}

static void test_body_of_a_reinitialize(void **state)
{
    static const struct {
        const char *in;
        bool force, from_leader;
    } rows[] = {
        {"{}", false, false},
        {"{\"force\": true}", true, false},
        {"{\"force\": \"on\", \"from_leader\": \"Yes\"}", true, true},
        {"{\"force\": 1, \"from-leader\": true}", true, true},
        {"{\"force\": \"off\", \"from_leader\": 0, \"other\": 1}", false, false},
        {"{\"force\": \"maybe\", \"from_leader\": []}", false, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        json_t *body = loads(rows[i].in);

        body_check_reinitialize(body);
        assert_int_equal(json_object_size(body), 2);
        assert_int_equal(json_is_true(json_object_get(body, "force")), rows[i].force);
        assert_int_equal(json_is_true(json_object_get(body, "from_leader")), rows[i].from_leader);
        json_decref(body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_body_is_a_json_object_of_known_length),
        cmocka_unit_test(test_fields_of_a_restart),
        cmocka_unit_test(test_schedule_of_a_restart),
        cmocka_unit_test(test_body_of_a_switchover),
        cmocka_unit_test(test_body_of_a_failover),
        cmocka_unit_test(test_body_of_a_reinitialize),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
