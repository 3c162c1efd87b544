#include "store/etcd_json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/check.h"
#include "base/str.h"
#include "store/backend.h"

/* ---- writing ---- */

/* "name":"<base64>" */
static void write_bytes(struct buf *out, const char *name, const char *bytes, size_t len)
{
    buf_printf(out, "\"%s\":\"", name);
    base64_encode(out, bytes, len);
    buf_add_char(out, '"');
}

static void write_text(struct buf *out, const char *name, const char *text)
{
    write_bytes(out, name, text, strlen(text));
}

/* "key":…,"range_end":… for all that begins with prefix: the end is the prefix with its last byte one higher. */
static void write_prefix(struct buf *out, const char *prefix)
{
    AUTO(buf) struct buf end = BUF_EMPTY;

    buf_add_str(&end, prefix);
    while (end.len && (unsigned char)end.at[end.len - 1] == 0xff)
        end.len--;
    if (end.len)
        end.at[end.len - 1] = (char)((unsigned char)end.at[end.len - 1] + 1);
    else
        buf_add_char(&end, '\0'); /* etcd's "to the end of all keys" */

    if (*prefix)
        write_text(out, "key", prefix);
    else
        write_bytes(out, "key", "\0", 1); /* an empty key is refused */
    buf_add_char(out, ',');
    write_bytes(out, "range_end", end.at, end.len);
}

void etcd_write_range(struct buf *out, const char *prefix)
{
    buf_add_char(out, '{');
    write_prefix(out, prefix);
    buf_add_char(out, '}');
}

void etcd_write_newest(struct buf *out, const char *prefix)
{
    buf_add_char(out, '{');
    write_prefix(out, prefix);
    buf_add_str(out, ",\"sort_target\":\"MOD\",\"sort_order\":\"DESCEND\",\"limit\":\"1\",\"keys_only\":true}");
}

static void write_compare(struct buf *out, const struct store_compare *c)
{
    buf_add_char(out, '{');
    write_text(out, "key", c->key);
    switch (c->kind) {
    case STORE_IF_ABSENT:
        buf_add_str(out, ",\"target\":\"CREATE\",\"result\":\"EQUAL\",\"create_revision\":\"0\"");
        break;
    case STORE_IF_PRESENT:
        buf_add_str(out, ",\"target\":\"CREATE\",\"result\":\"GREATER\",\"create_revision\":\"0\"");
        break;
    case STORE_IF_MOD_REVISION:
        buf_printf(out, ",\"target\":\"MOD\",\"result\":\"EQUAL\",\"mod_revision\":\"%" PRId64 "\"", c->revision);
        break;
    case STORE_IF_VALUE:
        buf_add_str(out, ",\"target\":\"VALUE\",\"result\":\"EQUAL\",");
        write_text(out, "value", c->value);
        break;
    }
    buf_add_char(out, '}');
}

static void write_op(struct buf *out, const struct store_op *op)
{
    switch (op->kind) {
    case STORE_PUT:
        buf_add_str(out, "{\"request_put\":{");
        write_text(out, "key", op->key);
        buf_add_char(out, ',');
        write_text(out, "value", op->value);
        if (op->lease)
            buf_printf(out, ",\"lease\":\"%" PRId64 "\"", op->lease);
        break;
    case STORE_DELETE:
        buf_add_str(out, "{\"request_delete_range\":{");
        write_text(out, "key", op->key);
        break;
    case STORE_DELETE_PREFIX:
        buf_add_str(out, "{\"request_delete_range\":{");
        write_prefix(out, op->key);
        break;
    case STORE_GET:
        buf_add_str(out, "{\"request_range\":{");
        write_text(out, "key", op->key);
        break;
    case STORE_GET_PREFIX:
        buf_add_str(out, "{\"request_range\":{");
        write_prefix(out, op->key);
        break;
    }
    buf_add_str(out, "}}");
}

static void write_ops(struct buf *out, const char *name, const struct store_op *ops, size_t count)
{
    buf_printf(out, "\"%s\":[", name);
    for (size_t i = 0; i < count; i++) {
        if (i)
            buf_add_char(out, ',');
        write_op(out, &ops[i]);
    }
    buf_add_char(out, ']');
}

void etcd_write_txn(struct buf *out, const struct store_txn *txn)
{
    buf_add_str(out, "{\"compare\":[");
    for (size_t i = 0; i < txn->compare_count; i++) {
        if (i)
            buf_add_char(out, ',');
        write_compare(out, &txn->compares[i]);
    }
    buf_add_str(out, "],");
    write_ops(out, "success", txn->then, txn->then_count);
    buf_add_char(out, ',');
    write_ops(out, "failure", txn->otherwise, txn->otherwise_count);
    buf_add_char(out, '}');
}

void etcd_write_grant(struct buf *out, msec ttl_ms)
{
    buf_printf(out, "{\"TTL\":\"%" PRId64 "\"}", (ttl_ms + 999) / 1000);
}

void etcd_write_lease(struct buf *out, int64_t lease)
{
    buf_printf(out, "{\"ID\":\"%" PRId64 "\"}", lease);
}

void etcd_write_watch(struct buf *out, const char *prefix, int64_t revision)
{
    buf_add_str(out, "{\"create_request\":{");
    write_prefix(out, prefix);
    buf_printf(out, ",\"start_revision\":\"%" PRId64 "\",\"progress_notify\":true}}", revision);
}

void etcd_write_login(struct buf *out, const char *username, const char *password)
{
    json_t *login = json_pack("{s:s, s:s}", "name", username, "password", password ? password : "");
    char *text = login ? json_dumps(login, JSON_COMPACT) : NULL;

    /* What is no UTF-8 cannot be said in JSON; etcd refuses the empty name. */
    buf_add_str(out, text ? text : "{}");
    free(text);
    json_decref(login);
}

/* ---- reading ---- */

/* An integer, as a string (the gateway) or a number (what others might write). Absent is 0. */
static bool read_int(const json_t *object, const char *name, int64_t *ret)
{
    const json_t *value = json_object_get(object, name);

    if (!value || json_is_null(value)) {
        *ret = 0;
        return true;
    }
    if (json_is_integer(value)) {
        *ret = json_integer_value(value);
        return true;
    }
    return json_is_string(value) && str_to_int(json_string_value(value), INT64_MIN, INT64_MAX, ret);
}

/* Identifiers use all 64 bits. */
static bool read_id(const json_t *object, const char *name, uint64_t *ret)
{
    const char *text = json_string_value(json_object_get(object, name));
    char *end = NULL;
    int64_t value;

    if (!text || *text < '0' || *text > '9') {
        if (!read_int(object, name, &value))
            return false;
        *ret = (uint64_t)value;
        return true;
    }

    errno = 0;
    unsigned long long id = strtoull(text, &end, 10);
    if (errno || *end)
        return false;
    *ret = id;
    return true;
}

/* The bytes under a name; absent is empty. NULL: no base64. *ret_len may be NULL. */
static char *read_bytes(const json_t *object, const char *name, size_t *ret_len)
{
    const json_t *value = json_object_get(object, name);
    AUTO(buf) struct buf bytes = BUF_EMPTY;

    if (value && (!json_is_string(value) || !base64_decode(&bytes, json_string_value(value))))
        return NULL;
    if (ret_len)
        *ret_len = bytes.len;
    return buf_take(&bytes);
}

static bool read_header(const json_t *object, struct etcd_header *ret)
{
    const json_t *header = json_object_get(object, "header");

    return json_is_object(header) && read_id(header, "cluster_id", &ret->cluster_id) &&
           read_id(header, "raft_term", &ret->raft_term) && read_int(header, "revision", &ret->revision);
}

static bool read_kv(const json_t *json, struct store_kv *ret)
{
    struct store_kv kv = {0};

    kv.key = read_bytes(json, "key", NULL);
    kv.value = read_bytes(json, "value", &kv.value_len);
    if (json_is_object(json) && kv.key && kv.value && read_int(json, "create_revision", &kv.create_revision) &&
        read_int(json, "mod_revision", &kv.mod_revision) && read_int(json, "lease", &kv.lease)) {
        *ret = kv;
        return true;
    }
    free(kv.key);
    free(kv.value);
    return false;
}

/* Appends the keys of one range's answer. */
static bool read_kvs(const json_t *range, struct etcd_answer *a)
{
    const json_t *kvs = json_object_get(range, "kvs");
    size_t count = json_array_size(kvs);

    if (!kvs)
        return true; /* none */
    if (!json_is_array(kvs))
        return false;

    a->kvs = mem_grow(a->kvs, a->kv_count + count, sizeof(*a->kvs));
    for (size_t i = 0; i < count; i++) {
        if (!read_kv(json_array_get(kvs, i), &a->kvs[a->kv_count]))
            return false;
        a->kv_count++;
    }
    return true;
}

static bool read_responses(const json_t *json, struct etcd_answer *a)
{
    const json_t *responses = json_object_get(json, "responses");

    for (size_t i = 0; i < json_array_size(responses); i++) {
        const json_t *range = json_object_get(json_array_get(responses, i), "response_range");
        if (range && !read_kvs(range, a))
            return false;
    }
    return true;
}

void etcd_answer_deinit(struct etcd_answer *a)
{
    store_kvs_free(a->kvs, a->kv_count);
    *a = (struct etcd_answer){0};
}

bool etcd_read_answer(const json_t *json, struct etcd_answer *ret)
{
    const json_t *result = json_object_get(json, "result"); /* streams wrap their messages */
    const json_t *body = result ? result : json;
    struct etcd_answer a = {.succeeded = json_is_true(json_object_get(body, "succeeded"))};

    if (read_header(body, &a.header) && read_kvs(body, &a) && read_responses(body, &a) &&
        read_int(body, "ID", &a.lease) && read_int(body, "TTL", &a.ttl_s)) {
        if (a.ttl_s < 0)
            a.ttl_s = 0; /* timetolive says -1 of a dead lease */
        *ret = a;
        return true;
    }
    etcd_answer_deinit(&a);
    return false;
}

void etcd_watch_message_deinit(struct etcd_watch_message *m)
{
    for (size_t i = 0; i < m->event_count; i++) {
        free(m->events[i].kv.key);
        free(m->events[i].kv.value);
    }
    free(m->events);
    *m = (struct etcd_watch_message){0};
}

static bool read_events(const json_t *result, struct etcd_watch_message *m)
{
    const json_t *events = json_object_get(result, "events");
    size_t count = json_array_size(events);

    m->events = mem_zero(count, sizeof(*m->events));
    for (size_t i = 0; i < count; i++) {
        const json_t *event = json_array_get(events, i);
        const char *type = json_string_value(json_object_get(event, "type"));
        if (!read_kv(json_object_get(event, "kv"), &m->events[i].kv))
            return false;
        m->events[i].is_delete = str_eq(type, "DELETE");
        m->event_count++;
    }
    return true;
}

bool etcd_read_watch_message(const json_t *json, struct etcd_watch_message *ret)
{
    const json_t *result = json_object_get(json, "result");
    const char *reason = json_string_value(json_object_get(result, "cancel_reason"));
    struct etcd_watch_message m = {
        .created = json_is_true(json_object_get(result, "created")),
        .canceled = json_is_true(json_object_get(result, "canceled")),
    };

    if (reason)
        str_copy(m.cancel_reason, sizeof(m.cancel_reason), reason);
    if (read_header(result, &m.header) && read_int(result, "compact_revision", &m.compact_revision) &&
        read_events(result, &m)) {
        *ret = m;
        return true;
    }
    etcd_watch_message_deinit(&m);
    return false;
}

/* ---- errors ---- */

bool etcd_read_error(const json_t *json, struct etcd_error *ret)
{
    const json_t *error = json_object_get(json, "error");
    const json_t *body = json_is_object(error) ? error : json;
    const char *message = json_string_value(json_object_get(body, "message"));
    const json_t *code = json_object_get(body, "grpc_code");

    if (!code)
        code = json_object_get(body, "code");
    if (!message)
        message = json_string_value(error);
    if (!error && !(code && message))
        return false;

    ret->code = json_is_integer(code) ? (int)json_integer_value(code) : -1;
    str_copy(ret->message, sizeof(ret->message), message ? message : "no reason given");
    return true;
}

/*
 * The codes of gRPC say what kind of refusal it is, except that etcd gives some of its own the wrong
 * code (Unknown, Unavailable, InvalidArgument); those are known by their text.
 */
static const struct {
    const char *text;
    enum etcd_verdict verdict;
} known_errors[] = {
    {"etcdserver: user name is empty", ETCD_LOGIN},
    {"etcdserver: invalid auth token", ETCD_LOGIN},
    {"etcdserver: revision of auth store is old", ETCD_LOGIN},
    {"etcdserver: no leader", ETCD_ELSEWHERE}, /* told before anything is proposed */
    {"etcdserver: not leader", ETCD_ELSEWHERE},
    {"etcdserver: too many requests", ETCD_ELSEWHERE}, /* this member lags; also told before */
    {"raft proposal dropped", ETCD_ELSEWHERE},
    {"not a primary lessor", ETCD_ELSEWHERE}, /* of a leader that has just lost its office */
};

enum etcd_verdict etcd_judge(const struct etcd_error *e)
{
    enum {
        INVALID_ARGUMENT = 3,
        ALREADY_EXISTS = 6,
        PERMISSION_DENIED = 7,
        RESOURCE_EXHAUSTED = 8,
        FAILED_PRECONDITION = 9,
        OUT_OF_RANGE = 11,
        UNIMPLEMENTED = 12,
        UNAUTHENTICATED = 16,
    };

    for (size_t i = 0; i < ARRAY_LEN(known_errors); i++) {
        if (strstr(e->message, known_errors[i].text))
            return known_errors[i].verdict;
    }
    switch (e->code) {
    case INVALID_ARGUMENT:
    case ETCD_CODE_NOT_FOUND:
    case ALREADY_EXISTS:
    case PERMISSION_DENIED:
    case RESOURCE_EXHAUSTED:
    case FAILED_PRECONDITION:
    case OUT_OF_RANGE:
    case UNIMPLEMENTED:
        return ETCD_REFUSED;
    case UNAUTHENTICATED:
        return ETCD_LOGIN;
    default:
        return ETCD_UNCLEAR; /* timeouts, a member that stops, what we do not know */
    }
}

/* ---- versions and streams ---- */

const char *etcd_read_version(const json_t *json, char *ret_version, size_t cap)
{
    const char *version = json_string_value(json_object_get(json, "etcdserver"));
    char *dot = NULL;
    char *end = NULL;

    if (!version)
        return NULL;
    long major = strtol(version, &dot, 10);
    if (dot == version || *dot != '.')
        return NULL;
    long minor = strtol(dot + 1, &end, 10);
    if (end == dot + 1)
        return NULL;

    str_copy(ret_version, cap, version);
    if (major < 3 || (major == 3 && minor < 3))
        return "/v3alpha";
    if (major == 3 && minor == 3)
        return "/v3beta";
    return "/v3";
}

size_t etcd_scan_object(struct etcd_scan *scan, const char *bytes, size_t len)
{
    for (; scan->at < len; scan->at++) {
        char c = bytes[scan->at];

        if (scan->in_string) {
            if (scan->escaped)
                scan->escaped = false;
            else if (c == '\\')
                scan->escaped = true;
            else if (c == '"')
                scan->in_string = false;
        } else if (c == '"') {
            scan->in_string = true;
        } else if (c == '{' || c == '[') {
            scan->depth++;
        } else if ((c == '}' || c == ']') && --scan->depth <= 0) {
            size_t object_len = scan->at + 1;
            *scan = (struct etcd_scan){0};
            return object_len;
        }
    }
    return 0;
}
