#include "web/bodies.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "wire/conf/value.h"
#include "wire/when.h"

enum { VERSION_PARTS_MAX = 3, VERSION_TWO_PARTS = 10 };

/* Always false. */
static bool PRINTF_LIKE(3, 4) refuse(struct refusal *r, int status, const char *fmt, ...)
{
    va_list args;

    r->status = status;
    va_start(args, fmt);
    (void)vsnprintf(r->text, sizeof(r->text), fmt, args); /* a cut text is still the refusal */
    va_end(args);
    return false;
}

bool body_read(const char *bytes, size_t len, bool has_length, bool optional, json_t **ret_body,
               struct refusal *ret_refusal)
{
    if (optional && (!has_length || len == 0)) {
        *ret_body = json_object();
        return true;
    }
    if (!has_length)
        return refuse(ret_refusal, 411, "%s", "");

    json_t *body = json_loadb(bytes, len, 0, NULL);
    if (!json_is_object(body) || (!optional && json_object_size(body) == 0)) {
        json_decref(body);
        return refuse(ret_refusal, 400, "%s", "");
    }
    *ret_body = body;
    return true;
}

/* Takes the value. */
static void put(json_t *object, const char *key, json_t *value)
{
    int failed = json_object_set_new(object, key, value);
    CHECK(!failed);
}

/* As Patroni's parse_schedule(). */
static bool check_schedule(const json_t *value, const char *action, int64_t wall_now_ms, struct refusal *r)
{
    const char *text = json_string_value(value);
    int64_t at_ms;

    if (text && when_parse(text, &at_ms)) {
        if (at_ms < wall_now_ms)
            return refuse(r, 422, "Cannot schedule %s in the past", action);
        return true;
    }

    AUTO(cstr) char *in_some_zone = text ? str_fmt("%sZ", text) : NULL;
    if (in_some_zone && when_parse(in_some_zone, &at_ms))
        return refuse(r, 400, "Timezone information is mandatory for the scheduled %s", action);
    return refuse(r, 422, "Unable to parse scheduled timestamp. It should be in an unambiguous format, e.g. ISO 8601");
}

/* As Patroni's postgres_version_to_int(): "9.6.24" or, from 10 on, "15.2". */
static bool check_version(const json_t *value, struct refusal *r)
{
    const char *text = json_string_value(value);
    AUTO(cstr) char *shown = text ? str_dup(text) : json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    int count = 0;
    int64_t first = 0;

    for (const char *at = text; at; count++) {
        size_t len = strcspn(at, ".");
        int64_t part;
        AUTO(cstr) char *digits = strndup(at, len);

        CHECK(digits);
        if (!str_to_int(digits, 0, INT32_MAX, &part))
            return refuse(r, 400, "Invalid PostgreSQL version: %s", shown);
        if (count == 0)
            first = part;
        at = at[len] ? at + len + 1 : NULL;
    }
    if (!text)
        return refuse(r, 400, "Invalid PostgreSQL version: %s", shown ? shown : "?");
    if (count < 2 || count > VERSION_PARTS_MAX || (count == 2 && first < VERSION_TWO_PARTS))
        return refuse(r, 400, "Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: %s", text);
    return true;
}

static bool check_role(const json_t *value, struct refusal *r)
{
    const char *role = json_string_value(value);

    if (str_eq(role, "primary") || str_eq(role, "standby_leader") || str_eq(role, "replica"))
        return true;
    return refuse(r, 400, "PostgreSQL role should be either primary, standby_leader, or replica");
}

/* A number, or a text with a unit: "30s", "5min". */
static bool timeout_seconds(const json_t *value, int64_t *ret_seconds)
{
    if (json_is_string(value))
        return value_text_to_int(json_string_value(value), UNIT_SECONDS, ret_seconds);
    if (json_is_integer(value)) {
        *ret_seconds = json_integer_value(value);
        return true;
    }
    double seconds = json_real_value(value);
    if (!json_is_real(value) || seconds < 0 || seconds > INT32_MAX)
        return false;
    *ret_seconds = (int64_t)(seconds + 0.5);
    return true;
}

bool body_check_restart(json_t *body, const struct body_facts *facts, struct refusal *ret_refusal)
{
    const char *key;
    json_t *value;
    void *tmp;

    if (facts->paused && json_object_get(body, "schedule"))
        return refuse(ret_refusal, 500, "Can't schedule restart in the paused state");

    /* In the order of the request: the first that is wrong is the one that is named. */
    json_object_foreach_safe(body, tmp, key, value)
    {
        int64_t seconds;

        if (str_eq(key, "schedule")) {
            if (!check_schedule(value, "restart", facts->wall_now_ms, ret_refusal))
                return false;
        } else if (str_eq(key, "role")) {
            if (!check_role(value, ret_refusal))
                return false;
        } else if (str_eq(key, "postgres_version")) {
            if (!check_version(value, ret_refusal))
                return false;
        } else if (str_eq(key, "timeout")) {
            if (!timeout_seconds(value, &seconds) || seconds <= 0)
                return refuse(ret_refusal, 400, "Timeout should be a positive number of seconds");
            put(body, key, json_integer(seconds));
        } else if (str_eq(key, "restart_pending")) {
            put(body, key, json_true()); /* that it is there is what counts */
        } else {
            return refuse(ret_refusal, 400, "Unknown filter for the scheduled restart: %s", key);
        }
    }
    return true;
}

/* null, "" and false are nothing, as in Python. */
static bool is_given(const json_t *value)
{
    if (json_is_string(value))
        return json_string_length(value) > 0;
    return value && !json_is_null(value) && !json_is_false(value);
}

/* A field as text. false (refused): something that is no text. *ret_text is NULL if it is not given. */
static bool take_text(const json_t *body, const char *key, const char **ret_text, struct refusal *r)
{
    const json_t *value = json_object_get(body, key);

    *ret_text = json_string_value(value);
    if (!is_given(value))
        *ret_text = NULL;
    else if (!*ret_text)
        return refuse(r, 400, "%s should be a text", key);
    return true;
}

/* The order of the checks is Patroni's. */
static bool check_failover(const char *leader, const char *candidate, const json_t *scheduled_at, bool is_failover,
                           const struct body_facts *facts, struct refusal *r)
{
    bool scheduled = is_given(scheduled_at);

    if (is_failover && !candidate)
        return refuse(r, 400, "Failover could be performed only to a specific candidate");
    if (!is_failover && !leader)
        return refuse(r, 400, "Switchover could be performed only from a specific leader");
    if (scheduled && is_failover)
        return refuse(r, 400, "Failover can't be scheduled");
    if (scheduled && facts->paused)
        return refuse(r, 400, "Can't schedule switchover in the paused state");
    if (scheduled && !check_schedule(scheduled_at, "switchover", facts->wall_now_ms, r))
        return false;
    if (facts->paused && !candidate)
        return refuse(r, 400, "Switchover is possible only to a specific candidate in a paused state");
    if (str_eq(leader, candidate))
        return refuse(r, 400, "Switchover target and source are the same");
    return true;
}

bool body_check_failover(json_t *body, enum op_kind *kind, const struct body_facts *facts, struct refusal *ret_refusal)
{
    const json_t *scheduled_at = json_object_get(body, "scheduled_at");
    const char *leader;
    const char *candidate;
    const char *member;

    CHECK(*kind == OP_FAILOVER || *kind == OP_SWITCHOVER);
    if (!take_text(body, "leader", &leader, ret_refusal) || !take_text(body, "candidate", &candidate, ret_refusal) ||
        !take_text(body, "member", &member, ret_refusal))
        return false;
    if (!candidate)
        candidate = member; /* its name in old clients */
    if (!check_failover(leader, candidate, scheduled_at, *kind == OP_FAILOVER, facts, ret_refusal))
        return false;

    json_t *plain = json_object();
    if (leader)
        put(plain, "leader", json_string(leader));
    if (candidate)
        put(plain, "candidate", json_string(candidate));
    if (is_given(scheduled_at))
        put(plain, "scheduled_at", json_string(json_string_value(scheduled_at)));
    if (leader)
        *kind = OP_SWITCHOVER;
    int failed = json_object_clear(body) || json_object_update(body, plain);
    CHECK(!failed);
    json_decref(plain);
    return true;
}

/* As Patroni's parse_bool(): on, true, yes, 1 in any case. */
static bool is_true(const json_t *value)
{
    static const char *const words[] = {"on", "true", "yes", "1"};
    const char *text = json_string_value(value);

    for (size_t i = 0; text && i < ARRAY_LEN(words); i++) {
        if (str_eq_nocase(text, words[i]))
            return true;
    }
    return json_is_true(value) || (json_is_integer(value) && json_integer_value(value) == 1);
}

void body_check_recover_record(json_t *body)
{
    bool force = is_true(json_object_get(body, "force"));

    (void)json_object_clear(body); /* an object, so it cannot fail */
    put(body, "force", json_boolean(force));
}

void body_check_reinitialize(json_t *body)
{
    bool force = is_true(json_object_get(body, "force"));
    /* The documentation of Patroni writes it with a dash, its code reads the other. */
    bool from_leader = is_true(json_object_get(body, "from_leader")) || is_true(json_object_get(body, "from-leader"));

    (void)json_object_clear(body); /* an object, so it cannot fail */
    put(body, "force", json_boolean(force));
    put(body, "from_leader", json_boolean(from_leader));
}
