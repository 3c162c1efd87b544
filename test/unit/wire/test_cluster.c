/* The cluster's keys: Patroni's JSON read with tolerance and written exactly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "wire/cluster.h"

static struct cluster_key key(const char *name, const char *value)
{
    return (struct cluster_key){
        .name = name, .value = value, .value_len = strlen(value), .mod_revision = 7, .lease = 99};
}

static struct cluster *read_one(const char *name, const char *value)
{
    struct cluster_key k = key(name, value);

    return cluster_read(&k, 1, 42);
}

static void test_a_whole_cluster_of_patroni_is_read(void **state)
{
    struct cluster_key keys[] = {
        key("initialize", "7000000000000000001"),
        key("leader", "n1"),
        key("config", "{\"ttl\":30,\"loop_wait\":10}"),
        key("status", "{\"optime\":67109120,\"slots\":{\"n2\":67108864,\"n3\":\"5\"},\"retain_slots\":[\"n2\"]}"),
        key("members/n2",
            "{\"conn_url\":\"postgres://10.0.0.2:5432/postgres\",\"api_url\":\"http://10.0.0.2:8008/patroni\","
            "\"state\":\"running\",\"role\":\"replica\",\"version\":\"3.0.2\",\"xlog_location\":67109120,"
            "\"timeline\":3,\"replication_state\":\"streaming\",\"tags\":{\"nofailover\":true,\"site\":\"a\"}}"),
        key("members/n1",
            "{\"state\":\"running\",\"role\":\"master\",\"checkpoint_after_promote\":false,"
            "\"pgkeep\":{\"v\":1},\"pause\":true,\"pending_restart\":true,"
            "\"pending_restart_reason\":{\"max_connections\":{\"old_value\":\"100\",\"new_value\":\"200\"}}}"),
        key("history", "[[1,67108864,\"no recovery target specified\",\"2026-11-24T08:00:00+00:00\",\"n1\"]]"),
        key("failsafe", "{\"n1\":\"http://10.0.0.1:8008/patroni\"}"),
        key("sync", "{\"leader\":\"n1\",\"quorum\":0,\"sync_standby\":\"n2,n3\"}"),
        key("pgkeep", "{\"v\":1,\"term\":4,\"leader\":\"n1\",\"released\":false,\"later\":1}"),
        key("pgkeep_beat", "17"),
        key("something/else", "garbage"),
    };
    AUTO(cluster) struct cluster *c = cluster_read(keys, ARRAY_LEN(keys), 42);

    assert_null(c->bad);
    assert_int_equal(c->revision, 42);
    assert_string_equal(c->initialize, "7000000000000000001");
    assert_string_equal(c->leader, "n1");
    assert_int_equal(c->leader_revision, 7);
    assert_int_equal(c->leader_lease, 99);
    assert_int_equal(json_integer_value(json_object_get(c->config, "ttl")), 30);
    assert_int_equal(c->status.optime, 67109120);
    assert_int_equal(json_integer_value(json_object_get(c->status.slots, "n2")), 67108864);
    assert_int_equal(json_integer_value(json_object_get(c->status.slots, "n3")), 5);
    assert_int_equal(json_array_size(c->status.retain_slots), 1);
    assert_int_equal(json_array_size(c->history), 1);
    assert_int_equal(json_object_size(c->failsafe), 1);
    assert_true(c->sync.present);
    assert_string_equal(c->sync.sync_standby, "n2,n3");
    assert_true(c->record.present);
    assert_int_equal(c->record.term, 4);
    assert_int_equal(c->beat_revision, 7);

    assert_int_equal(c->member_count, 2);
    assert_string_equal(c->members[0].name, "n1");
    assert_string_equal(c->members[0].role, "primary");
    assert_true(c->members[0].checkpoint_after_promote_pending);
    assert_true(c->members[0].pgkeep);
    assert_true(c->members[0].pause);
    assert_true(c->members[0].pending_restart);
    assert_int_equal(json_object_size(c->members[0].pending_restart_reason), 1);
    const struct member *n2 = cluster_member(c, "n2");
    assert_non_null(n2);
    assert_int_equal(n2->xlog_location, 67109120);
    assert_int_equal(n2->timeline, 3);
    assert_true(n2->tags.nofailover);
    assert_int_equal(n2->tags.failover_priority, 0);
    assert_string_equal(json_string_value(json_object_get(n2->tags.all, "site")), "a");
    assert_false(n2->pgkeep);
    assert_false(n2->checkpoint_after_promote_pending);
    assert_ptr_equal(cluster_leader_member(c), &c->members[0]);
    assert_null(cluster_member(c, "n9"));
}

static void test_an_empty_prefix_is_a_cluster_that_does_not_exist_yet(void **state)
{
    AUTO(cluster) struct cluster *c = cluster_read(NULL, 0, 1);

    assert_null(c->initialize);
    assert_null(c->leader);
    assert_null(cluster_leader_member(c));
    assert_false(c->failover.present);
    assert_int_equal(c->member_count, 0);
}

static void test_initialize_is_empty_while_a_bootstrap_runs(void **state)
{
    AUTO(cluster) struct cluster *c = read_one("initialize", "");

    assert_string_equal(c->initialize, "");
}

static void test_a_malformed_key_is_absent_and_named(void **state)
{
    static const char *const names[] = {"config", "status", "members/n1", "history", "sync", "pgkeep", "failsafe"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        AUTO(cluster) struct cluster *c = read_one(names[i], "{\"cut");
        assert_non_null(c->bad);
        assert_true(str_starts(c->bad, names[i]));
        assert_null(c->config);
        assert_int_equal(c->member_count, 0);
        assert_false(c->sync.present);
        assert_false(c->record.present);
    }
}

static void test_values_of_the_wrong_type_count_as_absent(void **state)
{
    AUTO(cluster) struct cluster *c = read_one("config", "[1]");
    AUTO(cluster) struct cluster *m = read_one("members/n1", "\"text\"");

    assert_null(c->config);
    assert_non_null(c->bad);
    assert_int_equal(m->member_count, 0);
    assert_non_null(m->bad);
}

static void test_optime_comes_from_status_or_its_older_forms(void **state)
{
    struct cluster_key both[] = {key("optime/leader", "100"), key("status", "{\"optime\":200}")};
    AUTO(cluster) struct cluster *new_wins = cluster_read(both, 2, 1);
    AUTO(cluster) struct cluster *old_alone = read_one("optime/leader", "100");
    AUTO(cluster) struct cluster *number = read_one("status", "300");

    assert_int_equal(new_wins->status.optime, 200);
    assert_int_equal(old_alone->status.optime, 100);
    assert_int_equal(number->status.optime, 300);
    assert_null(number->status.slots);
}

static void test_failover_key_in_all_its_forms(void **state)
{
    static const struct {
        const char *value;
        bool present;
        const char *leader, *candidate;
        int64_t at_ms;
    } cases[] = {
        {"{}", false, NULL, NULL, 0},
        {"null", false, NULL, NULL, 0},
        {"", false, NULL, NULL, 0},
        {"{\"leader\":\"a\"}", true, "a", NULL, 0},
        {"{\"member\":\"b\"}", true, NULL, "b", 0},
        {"{\"leader\":\"\",\"member\":\"b\"}", true, NULL, "b", 0},
        {"a:b", true, "a", "b", 0},
        {" a : b ", true, "a", "b", 0},
        {"a", true, "a", NULL, 0},
        {":b", true, NULL, "b", 0},
        {"{\"leader\":\"a\",\"scheduled_at\":\"2026-11-24T10:00:00+02:00\"}", true, "a", NULL, 1795507200000},
        {"{\"leader\":\"a\",\"scheduled_at\":\"2026-11-24T08:00:00.250Z\"}", true, "a", NULL, 1795507200250},
        {"{\"leader\":\"a\",\"scheduled_at\":\"2016-02-29 23:59:59+0000\"}", true, "a", NULL, 1456790399000},
        {"{\"leader\":\"a\",\"scheduled_at\":\"1970-01-01T00:00+00\"}", true, "a", NULL, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(cluster) struct cluster *c = read_one("failover", cases[i].value);
        assert_int_equal(c->failover.present, cases[i].present);
        assert_true(str_eq(c->failover.leader, cases[i].leader));
        assert_true(str_eq(c->failover.candidate, cases[i].candidate));
        assert_int_equal(c->failover.scheduled_epoch_ms, cases[i].at_ms);
        assert_null(c->bad);
    }
}

static void test_a_schedule_without_a_zone_is_never_done_now(void **state)
{
    static const char *const bad[] = {"2026-11-24T10:00:00", "tomorrow", "2026-13-01T00:00:00Z",
                                      "2026-11-24T10:00:00+2"};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        AUTO(cstr) char *value = str_fmt("{\"leader\":\"a\",\"scheduled_at\":\"%s\"}", bad[i]);
        AUTO(cluster) struct cluster *c = read_one("failover", value);
        assert_false(c->failover.present);
        assert_non_null(c->bad);
    }
}

static void test_tags_where_the_no_form_wins(void **state)
{
    static const struct {
        const char *tags;
        bool nofailover;
        int failover_priority;
        bool nosync;
        int sync_priority;
    } cases[] = {
        {"{}", false, 1, false, 1},
        {"{\"failover_priority\":0}", true, 0, false, 1},
        {"{\"failover_priority\":5}", false, 5, false, 1},
        {"{\"failover_priority\":\"2\"}", false, 2, false, 1},
        {"{\"nofailover\":true,\"failover_priority\":3}", true, 0, false, 1},
        {"{\"nofailover\":false,\"failover_priority\":0}", false, 1, false, 1},
        {"{\"nosync\":true}", false, 1, true, 0},
        {"{\"sync_priority\":-1}", false, 1, true, 0},
        {"{\"nofailover\":\"false\"}", false, 1, false, 1},
        {"{\"nofailover\":1}", true, 0, false, 1},
        {"{\"nofailover\":null,\"failover_priority\":0}", true, 0, false, 1},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *json = json_loads(cases[i].tags, 0, NULL);
        struct member_tags tags;
        member_tags_read(json, &tags);
        assert_int_equal(tags.nofailover, cases[i].nofailover);
        assert_int_equal(tags.failover_priority, cases[i].failover_priority);
        assert_int_equal(tags.nosync, cases[i].nosync);
        assert_int_equal(tags.sync_priority, cases[i].sync_priority);
        member_tags_deinit(&tags);
        json_decref(json);
    }

    struct member_tags absent;
    member_tags_read(NULL, &absent);
    assert_int_equal(absent.failover_priority, 1);
    assert_null(absent.all);
    member_tags_deinit(&absent);
}

static void test_written_values_are_patronis_to_the_byte(void **state)
{
    json_t *slots = json_pack("{s:I,s:I}", "n1", (json_int_t)67109120, "n2", (json_int_t)67108864);
    json_t *retain = json_pack("[s]", "n2");
    AUTO(cstr) char *status = status_key_text(67109120, slots, retain);
    AUTO(cstr) char *bare = status_key_text(0, NULL, NULL);
    AUTO(cstr) char *cleared = failover_key_text(NULL, NULL, NULL);
    AUTO(cstr) char *failover = failover_key_text("a", "b", "2026-11-24T10:00:00+00:00");
    AUTO(cstr) char *manual = failover_key_text(NULL, "b", NULL);
    AUTO(cstr) char *sync = sync_key_text("n1", 1, "n2,n3");
    AUTO(cstr) char *sync_empty = sync_key_text("n1", 0, "");

    assert_string_equal(status,
                        "{\"optime\":67109120,\"slots\":{\"n1\":67109120,\"n2\":67108864},\"retain_slots\":[\"n2\"]}");
    assert_string_equal(bare, "{\"optime\":0}");
    assert_string_equal(cleared, "{}");
    assert_string_equal(failover, "{\"leader\":\"a\",\"member\":\"b\",\"scheduled_at\":\"2026-11-24T10:00:00+00:00\"}");
    assert_string_equal(manual, "{\"member\":\"b\"}");
    assert_string_equal(sync, "{\"leader\":\"n1\",\"quorum\":1,\"sync_standby\":\"n2,n3\"}");
    assert_string_equal(sync_empty, "{\"leader\":\"n1\",\"quorum\":0,\"sync_standby\":null}");
    json_decref(slots);
    json_decref(retain);
}

static void test_slot_names_are_mangled_as_patroni_does(void **state)
{
    static const struct {
        const char *member, *slot;
    } cases[] = {
        {"db-01", "db_01"},
        {"Node.Example.COM", "node_example_com"},
        {"a b", "au0032b"},
        {"x@y", "xu0064y"},
        {"n_1", "n_1"},
        {"ÄB", "u0228b"},
        {"\xd0\x96", "u1078"},
        {"\xe6\xbc\xa2", "u28450"},
        {"\xf0\x9f\x90\x98", "u128024"},
        {"0123456789012345678901234567890123456789012345678901234567890123456789",
         "012345678901234567890123456789012345678901234567890123456789012"},
        {"01234567890123456789012345678901234567890123456789012345678901@",
         "01234567890123456789012345678901234567890123456789012345678901u"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(cstr) char *slot = slot_name_from_member(cases[i].member);
        assert_string_equal(slot, cases[i].slot);
    }
}

static void test_host_and_port_of_urls(void **state)
{
    static const struct {
        const char *url, *host;
        int port;
    } good[] = {
        {"postgres://10.0.0.1:5433/postgres", "10.0.0.1", 5433},
        {"postgres://db-01/postgres", "db-01", 5432},
        {"postgresql://u:p@db-01:5433/x?a=b", "db-01", 5433},
        {"http://[2001:db8::1]:8008/patroni", "2001:db8::1", 8008},
        {"postgres://[::1]", "::1", 5432},
        {"https://h/patroni", "h", 443},
        {"http://h", "h", 80},
    };
    static const char *const bad[] = {"",
                                      "h:5432",
                                      "postgres://",
                                      "postgres://:5432/x",
                                      "postgres://h:0/x",
                                      "postgres://h:99999/x",
                                      "postgres://h:x/x",
                                      "ftp://h/x",
                                      "postgres://[::1/x"};

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        AUTO(cstr) char *host = NULL;
        int port = 0;
        assert_true(url_host_port(good[i].url, &host, &port));
        assert_string_equal(host, good[i].host);
        assert_int_equal(port, good[i].port);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char *host = NULL;
        int port = -1;
        assert_false(url_host_port(bad[i], &host, &port));
        assert_null(host);
        assert_int_equal(port, -1);
    }
    assert_false(url_host_port(NULL, &(char *){NULL}, &(int){0}));
}

/* The examples of RFC 7396, appendix A. */
static void test_merge_patch_follows_the_rfc(void **state)
{
    static const struct {
        const char *target, *patch, *result;
    } cases[] = {
        {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
        {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
        {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
        {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
        {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
        {"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
        {"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
        {"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
        {"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
        {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *patch = json_loads(cases[i].patch, 0, NULL);
        json_t *wanted = json_loads(cases[i].result, 0, NULL);
        json_t *got = json_merge_patch(json_loads(cases[i].target, 0, NULL), patch);
        assert_true(json_equal(got, wanted));
        json_decref(got);
        json_decref(wanted);
        json_decref(patch);
    }

    json_t *patch = json_pack("{s:{s:i,s:n}}", "a", "b", 1, "c");
    json_t *fresh = json_merge_patch(NULL, patch);
    json_t *wanted = json_pack("{s:{s:i}}", "a", "b", 1);
    assert_true(json_equal(fresh, wanted));
    json_decref(fresh);
    json_decref(wanted);
    json_decref(patch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_whole_cluster_of_patroni_is_read),
        cmocka_unit_test(test_an_empty_prefix_is_a_cluster_that_does_not_exist_yet),
        cmocka_unit_test(test_initialize_is_empty_while_a_bootstrap_runs),
        cmocka_unit_test(test_a_malformed_key_is_absent_and_named),
        cmocka_unit_test(test_values_of_the_wrong_type_count_as_absent),
        cmocka_unit_test(test_optime_comes_from_status_or_its_older_forms),
        cmocka_unit_test(test_failover_key_in_all_its_forms),
        cmocka_unit_test(test_a_schedule_without_a_zone_is_never_done_now),
        cmocka_unit_test(test_tags_where_the_no_form_wins),
        cmocka_unit_test(test_written_values_are_patronis_to_the_byte),
        cmocka_unit_test(test_slot_names_are_mangled_as_patroni_does),
        cmocka_unit_test(test_host_and_port_of_urls),
        cmocka_unit_test(test_merge_patch_follows_the_rfc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
