/*
 * The JSON gateway's bytes, as etcd 3.4 and 3.5 write them (recorded), and what must be made of them.
 */
#include "store/etcd_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"

static json_t *parse(const char *text)
{
    json_t *json = json_loads(text, 0, NULL);

    if (!json)
        fail_msg("no JSON: %s", text);
    return json;
}

/* ---- requests ---- */

static void test_a_prefix_ends_where_the_next_one_begins(void **state)
{
    static const char *const examples[][2] = {
        {"a/", "{\"key\":\"YS8=\",\"range_end\":\"YTA=\"}"},
        {"a\xff", "{\"key\":\"Yf8=\",\"range_end\":\"Yg==\"}"},
        {"\xff", "{\"key\":\"/w==\",\"range_end\":\"AA==\"}"}, /* to the end of all keys */
        {"", "{\"key\":\"AA==\",\"range_end\":\"AA==\"}"},     /* all keys */
    };

    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        AUTO(buf) struct buf out = BUF_EMPTY;
        etcd_write_range(&out, examples[i][0]);
        assert_string_equal(buf_cstr(&out), examples[i][1]);
    }
}

static void test_a_transaction_is_written_with_all_kinds_of_compares_and_operations(void **state)
{
    const struct store_compare compares[] = {
        {.kind = STORE_IF_ABSENT, .key = "a"},
        {.kind = STORE_IF_PRESENT, .key = "b"},
        {.kind = STORE_IF_MOD_REVISION, .key = "c", .revision = 9007199254740993},
        {.kind = STORE_IF_VALUE, .key = "d", .value = "v"},
    };
    const struct store_op then[] = {
        {.kind = STORE_PUT, .key = "a", .value = "v", .lease = 9007199254740993},
        {.kind = STORE_PUT, .key = "b", .value = ""},
        {.kind = STORE_DELETE, .key = "c"},
    };
    const struct store_op otherwise[] = {
        {.kind = STORE_DELETE_PREFIX, .key = "d/"},
        {.kind = STORE_GET, .key = "e"},
        {.kind = STORE_GET_PREFIX, .key = "f/"},
    };
    AUTO(buf) struct buf out = BUF_EMPTY;

    etcd_write_txn(&out, &(struct store_txn){.compares = compares,
                                             .compare_count = 4,
                                             .then = then,
                                             .then_count = 3,
                                             .otherwise = otherwise,
                                             .otherwise_count = 3});
    assert_string_equal(
        buf_cstr(&out),
        "{\"compare\":["
        "{\"key\":\"YQ==\",\"target\":\"CREATE\",\"result\":\"EQUAL\",\"create_revision\":\"0\"},"
        "{\"key\":\"Yg==\",\"target\":\"CREATE\",\"result\":\"GREATER\",\"create_revision\":\"0\"},"
        "{\"key\":\"Yw==\",\"target\":\"MOD\",\"result\":\"EQUAL\",\"mod_revision\":\"9007199254740993\"},"
        "{\"key\":\"ZA==\",\"target\":\"VALUE\",\"result\":\"EQUAL\",\"value\":\"dg==\"}],"
        "\"success\":["
        "{\"request_put\":{\"key\":\"YQ==\",\"value\":\"dg==\",\"lease\":\"9007199254740993\"}},"
        "{\"request_put\":{\"key\":\"Yg==\",\"value\":\"\"}},"
        "{\"request_delete_range\":{\"key\":\"Yw==\"}}],"
        "\"failure\":["
        "{\"request_delete_range\":{\"key\":\"ZC8=\",\"range_end\":\"ZDA=\"}},"
        "{\"request_range\":{\"key\":\"ZQ==\"}},"
        "{\"request_range\":{\"key\":\"Zi8=\",\"range_end\":\"ZjA=\"}}]}");
    json_decref(parse(buf_cstr(&out)));
}

static void test_a_time_to_live_is_rounded_up_to_seconds(void **state)
{
    AUTO(buf) struct buf out = BUF_EMPTY;

    etcd_write_grant(&out, 1001);
    assert_string_equal(buf_cstr(&out), "{\"TTL\":\"2\"}");
}

static void test_a_password_with_any_characters_is_valid_json(void **state)
{
    AUTO(buf) struct buf out = BUF_EMPTY;

    etcd_write_login(&out, "me", "a\"b\\c\nö");
    json_t *login = parse(buf_cstr(&out));
    assert_string_equal(json_string_value(json_object_get(login, "password")), "a\"b\\c\nö");
    json_decref(login);
}

/* ---- answers ---- */

#define HEADER                                                                                    \
    "\"header\":{\"cluster_id\":\"15118495548433857066\",\"member_id\":\"13668033151171901709\"," \
    "\"revision\":\"9007199254740993\",\"raft_term\":\"2\"}"

static struct etcd_answer read_answer(const char *text)
{
    json_t *json = parse(text);
    struct etcd_answer a = {0};

    if (!etcd_read_answer(json, &a))
        fail_msg("not understood: %s", text);
    json_decref(json);
    return a;
}

static void test_64_bit_integers_arrive_as_strings(void **state)
{
    struct etcd_answer a = read_answer("{" HEADER "}");

    assert_true(a.header.cluster_id == UINT64_C(15118495548433857066)); /* beyond a signed number */
    assert_true(a.header.revision == INT64_C(9007199254740993));        /* beyond a double */
    assert_int_equal(a.header.raft_term, 2);
    assert_int_equal(a.kv_count, 0);
    assert_false(a.succeeded);

    struct etcd_answer b = read_answer("{\"header\":{\"cluster_id\":7,\"revision\":8,\"raft_term\":9}}");
    assert_int_equal(b.header.cluster_id, 7);
    assert_int_equal(b.header.revision, 8);
}

static void test_keys_and_values_are_base64_and_what_is_empty_is_left_out(void **state)
{
    struct etcd_answer a =
        read_answer("{" HEADER ",\"kvs\":[{\"key\":\"YTI=\",\"create_revision\":\"3\",\"mod_revision\":\"4\","
                    "\"version\":\"1\"},{\"key\":\"Yg==\",\"value\":\"AAE=\",\"lease\":\"4111120211159962374\"}],"
                    "\"count\":\"2\"}");

    assert_int_equal(a.kv_count, 2);
    assert_string_equal(a.kvs[0].key, "a2");
    assert_string_equal(a.kvs[0].value, "");
    assert_int_equal(a.kvs[0].create_revision, 3);
    assert_int_equal(a.kvs[0].mod_revision, 4);
    assert_int_equal(a.kvs[0].lease, 0);
    assert_int_equal(a.kvs[1].value_len, 2);
    assert_memory_equal(a.kvs[1].value, "\0\1", 3);
    assert_true(a.kvs[1].lease == INT64_C(4111120211159962374));
    etcd_answer_deinit(&a);
}

static void test_ranges_of_a_transaction_are_collected_among_its_other_answers(void **state)
{
    struct etcd_answer a = read_answer(
        "{" HEADER ",\"succeeded\":true,\"responses\":[{\"response_range\":{\"header\":{\"revision\":\"2\"},\"kvs\":"
        "[{\"key\":\"YQ==\",\"value\":\"MQ==\"}],\"count\":\"1\"}},{\"response_put\":{\"header\":{\"revision\":\"2\"}}}"
        ","
        "{\"response_range\":{}},{\"response_delete_range\":{\"deleted\":\"1\"}},"
        "{\"response_range\":{\"kvs\":[{\"key\":\"Yg==\",\"value\":\"Mg==\"}]}}]}");

    assert_true(a.succeeded);
    assert_int_equal(a.kv_count, 2);
    assert_string_equal(a.kvs[1].key, "b");
    etcd_answer_deinit(&a);
}

static void test_a_keepalive_without_ttl_means_the_lease_is_lost(void **state)
{
    assert_int_equal(read_answer("{\"result\":{" HEADER ",\"ID\":\"123\",\"TTL\":\"5\"}}").ttl_s, 5);
    assert_int_equal(read_answer("{\"result\":{" HEADER ",\"ID\":\"123\"}}").ttl_s, 0);
    assert_int_equal(read_answer("{\"result\":{" HEADER ",\"ID\":\"123\"}}").lease, 123);
}

static void test_timetolive_of_a_dead_lease_is_minus_one_and_means_the_same(void **state)
{
    assert_int_equal(read_answer("{" HEADER ",\"ID\":\"123\",\"TTL\":\"-1\"}").ttl_s, 0);
}

static void test_what_etcd_does_not_say_is_not_understood(void **state)
{
    static const char *const bad[] = {
        "{}",
        "[]",
        "{\"header\":{\"cluster_id\":\"x\"}}",
        "{\"header\":[]}",
        "{" HEADER ",\"kvs\":{}}",
        "{" HEADER ",\"kvs\":[{\"key\":\"!\"}]}",
        "{" HEADER ",\"kvs\":[{\"key\":\"YQ==\"},{\"key\":\"YQ==\",\"value\":1}]}",
        "{" HEADER ",\"kvs\":[\"YQ==\"]}",
        "{" HEADER ",\"kvs\":[{\"key\":\"YQ==\",\"mod_revision\":\"1x\"}]}",
        "{" HEADER ",\"responses\":[{\"response_range\":{\"kvs\":[{\"key\":\"YQ==\"},7]}}]}",
        "{" HEADER ",\"TTL\":\"99999999999999999999\"}",
        "{" HEADER ",\"ID\":true}",
        "{\"header\":{\"cluster_id\":\"99999999999999999999\"}}",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        json_t *json = parse(bad[i]);
        struct etcd_answer a = {0};
        if (etcd_read_answer(json, &a))
            fail_msg("%s was understood", bad[i]);
        json_decref(json);
    }
}

/* ---- watches ---- */

static struct etcd_watch_message read_message(const char *text)
{
    json_t *json = parse(text);
    struct etcd_watch_message m = {0};

    if (!etcd_read_watch_message(json, &m))
        fail_msg("not understood: %s", text);
    json_decref(json);
    return m;
}

static void test_a_put_event_has_no_type(void **state)
{
    struct etcd_watch_message m = read_message(
        "{\"result\":{" HEADER ",\"events\":[{\"kv\":{\"key\":\"YTE=\",\"create_revision\":\"2\",\"mod_revision\":"
        "\"2\",\"version\":\"1\",\"value\":\"dg==\"}},{\"type\":\"DELETE\",\"kv\":{\"key\":\"YTE=\","
        "\"mod_revision\":\"3\"}},{\"type\":\"PUT\",\"kv\":{\"key\":\"YTI=\",\"mod_revision\":\"4\"}}]}}");

    assert_int_equal(m.event_count, 3);
    assert_false(m.events[0].is_delete);
    assert_string_equal(m.events[0].kv.value, "v");
    assert_true(m.events[1].is_delete);
    assert_string_equal(m.events[1].kv.key, "a1");
    assert_int_equal(m.events[1].kv.mod_revision, 3);
    assert_false(m.events[2].is_delete);
    assert_false(m.created);
    assert_false(m.canceled);
    etcd_watch_message_deinit(&m);
}

static void test_created_progress_and_cancelled_are_told_apart(void **state)
{
    struct etcd_watch_message created = read_message("{\"result\":{" HEADER ",\"created\":true}}");
    struct etcd_watch_message progress = read_message("{\"result\":{" HEADER "}}");
    struct etcd_watch_message compacted =
        read_message("{\"result\":{\"header\":{\"cluster_id\":\"1\",\"raft_term\":\"2\"},\"canceled\":true,"
                     "\"compact_revision\":\"3\"}}");
    struct etcd_watch_message denied = read_message("{\"result\":{" HEADER ",\"created\":true,\"canceled\":true,"
                                                    "\"cancel_reason\":\"etcdserver: permission denied\"}}");

    assert_true(created.created);
    assert_false(progress.created);
    assert_int_equal(progress.event_count, 0);
    assert_true(compacted.canceled);
    assert_int_equal(compacted.compact_revision, 3);
    assert_true(denied.canceled);
    assert_int_equal(denied.compact_revision, 0);
    assert_string_equal(denied.cancel_reason, "etcdserver: permission denied");
    etcd_watch_message_deinit(&created);
    etcd_watch_message_deinit(&progress);
    etcd_watch_message_deinit(&compacted);
    etcd_watch_message_deinit(&denied);
}

static void test_a_bad_event_spoils_its_message(void **state)
{
    static const char *const bad[] = {
        "{}",
        "{\"error\":{\"grpc_code\":14,\"message\":\"etcdserver: no leader\"}}",
        "{\"result\":{}}",
        "{\"result\":{" HEADER ",\"events\":[{\"kv\":{\"key\":\"YQ==\"}},{}]}}",
        "{\"result\":{" HEADER ",\"events\":[{\"kv\":{\"key\":\"?\"}}]}}",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        json_t *json = parse(bad[i]);
        struct etcd_watch_message m = {0};
        assert_false(etcd_read_watch_message(json, &m));
        json_decref(json);
    }
}

/* Whatever the pieces are, the objects are the same: one byte at a time and all at once. */
static void test_objects_are_found_however_the_stream_is_cut(void **state)
{
    static const char stream[] = "{\"a\":1}\n {\"b\":\"}{\\\"]\",\"c\":[{\"d\":{}}]}\n\n{\"e\":\"\\\\\"}\n{\"cut\":";
    static const char *const want[] = {"{\"a\":1}", "\n {\"b\":\"}{\\\"]\",\"c\":[{\"d\":{}}]}",
                                       "\n\n{\"e\":\"\\\\\"}"};

    for (size_t step = 1; step <= sizeof(stream); step++) {
        AUTO(buf) struct buf in = BUF_EMPTY;
        struct etcd_scan scan = {0};
        size_t found = 0;

        for (size_t at = 0; at < sizeof(stream) - 1; at += step) {
            size_t len = sizeof(stream) - 1 - at < step ? sizeof(stream) - 1 - at : step;
            size_t object_len;
            buf_add(&in, stream + at, len);
            while ((object_len = etcd_scan_object(&scan, in.at, in.len)) > 0) {
                assert_true(found < 3);
                assert_int_equal(object_len, strlen(want[found]));
                assert_memory_equal(in.at, want[found], object_len);
                memmove(in.at, in.at + object_len, in.len - object_len + 1);
                in.len -= object_len;
                found++;
            }
        }
        assert_int_equal(found, 3);
    }
}

/* ---- errors ---- */

static void test_error_bodies_differ_and_all_are_read(void **state)
{
    static const char *const bodies[] = {
        "{\"error\":\"etcdserver: no leader\",\"message\":\"etcdserver: no leader\",\"code\":14}", /* 3.4 */
        "{\"code\":14,\"message\":\"etcdserver: no leader\"}",                                     /* 3.5 */
        "{\"code\":14,\"message\":\"etcdserver: no leader\",\"details\":[]}",                      /* 3.6 */
        "{\"error\":\"etcdserver: no leader\",\"code\":14}",                                       /* 3.3 */
        ("{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":\"etcdserver: no leader\","
         "\"http_status\":\"Service Unavailable\"}}"),                                    /* stream, 3.4 */
        "{\"error\":{\"code\":14,\"message\":\"etcdserver: no leader\",\"details\":[]}}", /* stream, 3.5 */
    };
    struct etcd_error e;

    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        json_t *json = parse(bodies[i]);
        assert_true(etcd_read_error(json, &e));
        assert_int_equal(e.code, 14);
        assert_string_equal(e.message, "etcdserver: no leader");
        json_decref(json);
    }
    json_t *answer = parse("{" HEADER ",\"succeeded\":true}");
    assert_false(etcd_read_error(answer, &e));
    json_decref(answer);
}

static void test_only_what_was_certainly_not_applied_counts_as_refused(void **state)
{
    static const struct {
        int code;
        const char *message;
        enum etcd_verdict verdict;
    } errors[] = {
        {5, "etcdserver: requested lease not found", ETCD_REFUSED},
        {3, "etcdserver: duplicate key given in txn request", ETCD_REFUSED},
        {3, "etcdserver: request is too large", ETCD_REFUSED},
        {7, "etcdserver: permission denied", ETCD_REFUSED},
        {8, "etcdserver: mvcc: database space exceeded", ETCD_REFUSED},
        {11, "etcdserver: mvcc: required revision has been compacted", ETCD_REFUSED},
        {3, "etcdserver: authentication failed, invalid user ID or password", ETCD_REFUSED},
        {3, "etcdserver: user name is empty", ETCD_LOGIN},
        {16, "etcdserver: invalid auth token", ETCD_LOGIN},
        {3, "etcdserver: revision of auth store is old", ETCD_LOGIN},
        {14, "etcdserver: no leader", ETCD_ELSEWHERE},
        {9, "etcdserver: not leader", ETCD_ELSEWHERE},
        {8, "etcdserver: too many requests", ETCD_ELSEWHERE},
        {2, "raft proposal dropped", ETCD_ELSEWHERE},
        {2, "not a primary lessor", ETCD_ELSEWHERE},
        {14, "etcdserver: request timed out", ETCD_UNCLEAR},
        {14, "etcdserver: request timed out, possibly due to previous leader failure", ETCD_UNCLEAR},
        {14, "etcdserver: request timed out, possibly due to connection lost", ETCD_UNCLEAR},
        {14, "etcdserver: leader changed", ETCD_UNCLEAR},
        {14, "etcdserver: server stopped", ETCD_UNCLEAR},
        {14, "transport is closing", ETCD_UNCLEAR},
        {4, "context deadline exceeded", ETCD_UNCLEAR},
        {1, "context canceled", ETCD_UNCLEAR},
        {2, "something new", ETCD_UNCLEAR},
        {13, "internal", ETCD_UNCLEAR},
        {-1, "HTTP status 502", ETCD_UNCLEAR},
    };

    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        struct etcd_error e = {.code = errors[i].code};
        str_copy(e.message, sizeof(e.message), errors[i].message);
        if (etcd_judge(&e) != errors[i].verdict)
            fail_msg("%s", errors[i].message);
    }
}

/* ---- versions ---- */

static void test_the_gateways_path_follows_the_version(void **state)
{
    static const struct {
        const char *text, *path;
    } versions[] = {
        {"{\"etcdserver\":\"3.2.32\",\"etcdcluster\":\"3.2.0\"}", "/v3alpha"},
        {"{\"etcdserver\":\"3.3.27\",\"etcdcluster\":\"3.3.0\"}", "/v3beta"},
        {"{\"etcdserver\":\"3.4.23\",\"etcdcluster\":\"3.4.0\"}", "/v3"},
        {"{\"etcdserver\":\"3.10.0\"}", "/v3"},
        {"{\"etcdserver\":\"4.0.0-rc.1\"}", "/v3"},
        {"{\"etcdserver\":\"latest\"}", NULL},
        {"{\"Version\":\"1.0\"}", NULL},
        {"[]", NULL},
    };
    char version[32];

    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        json_t *json = parse(versions[i].text);
        assert_true(str_eq(etcd_read_version(json, version, sizeof(version)), versions[i].path));
        json_decref(json);
    }
    assert_string_equal(version, "4.0.0-rc.1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_prefix_ends_where_the_next_one_begins),
        cmocka_unit_test(test_a_transaction_is_written_with_all_kinds_of_compares_and_operations),
        cmocka_unit_test(test_a_time_to_live_is_rounded_up_to_seconds),
        cmocka_unit_test(test_a_password_with_any_characters_is_valid_json),
        cmocka_unit_test(test_64_bit_integers_arrive_as_strings),
        cmocka_unit_test(test_keys_and_values_are_base64_and_what_is_empty_is_left_out),
        cmocka_unit_test(test_ranges_of_a_transaction_are_collected_among_its_other_answers),
        cmocka_unit_test(test_a_keepalive_without_ttl_means_the_lease_is_lost),
        cmocka_unit_test(test_timetolive_of_a_dead_lease_is_minus_one_and_means_the_same),
        cmocka_unit_test(test_what_etcd_does_not_say_is_not_understood),
        cmocka_unit_test(test_a_put_event_has_no_type),
        cmocka_unit_test(test_created_progress_and_cancelled_are_told_apart),
        cmocka_unit_test(test_a_bad_event_spoils_its_message),
        cmocka_unit_test(test_objects_are_found_however_the_stream_is_cut),
        cmocka_unit_test(test_error_bodies_differ_and_all_are_read),
        cmocka_unit_test(test_only_what_was_certainly_not_applied_counts_as_refused),
        cmocka_unit_test(test_the_gateways_path_follows_the_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
