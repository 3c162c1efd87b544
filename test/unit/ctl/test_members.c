#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "app/ctl/members.h"
#include "base/str.h"
#include "wire/cluster_view.h"

/* A cluster out of "key=value" lines, as the store would hold it. */
static struct cluster *cluster_of(const char *const *pairs)
{
    struct cluster_key keys[16];
    char names[16][32];
    size_t count = 0;

    for (; pairs[count]; count++) {
        size_t len = strcspn(pairs[count], "=");
        str_copy(names[count], sizeof(names[count]), pairs[count]);
        names[count][len] = '\0';
        keys[count] = (struct cluster_key){.name = names[count],
                                           .value = pairs[count] + len + 1,
                                           .value_len = strlen(pairs[count] + len + 1),
                                           .mod_revision = 1};
    }
    return cluster_read(keys, count, 1);
}

#define N1                                                                                                         \
    "members/n1={\"conn_url\":\"postgres://10.0.0.1:5432/postgres\",\"api_url\":\"http://10.0.0.1:8008/patroni\"," \
    "\"state\":\"running\",\"role\":\"primary\",\"version\":\"4.1.0\",\"xlog_location\":67108960,\"timeline\":7}"
#define N2                                                                                                         \
    "members/n2={\"conn_url\":\"postgres://10.0.0.2:5432/postgres\",\"api_url\":\"http://10.0.0.2:8008/patroni\"," \
    "\"state\":\"running\",\"role\":\"replica\",\"version\":\"4.1.0\",\"xlog_location\":67108960,"                 \
    "\"receive_lsn\":67108960,\"replay_lsn\":64000000,\"replication_state\":\"streaming\",\"timeline\":7}"

static void expect_table(const struct cluster *c, enum listing_format format, const char *text)
{
    AUTO(listing) struct listing *l = members_listing(c, "demo", false, format);
    AUTO(buf) struct buf out = BUF_EMPTY;

    listing_render(l, format, NULL, false, &out);
    assert_string_equal(buf_cstr(&out), text);
}

static void test_leader_and_streaming_replica(void **state)
{
    const char *const keys[] = {"initialize=7001", "leader=n1", "status={\"optime\":67108960}", N1, N2, NULL};
    AUTO(cluster) struct cluster *c = cluster_of(keys);

    expect_table(c, LISTING_PRETTY,
                 "+ Cluster: demo (7001) -------+-----------+----+-------------+-----+------------+-----+\n"
                 "| Member | Host     | Role    | State     | TL | Receive LSN | Lag | Replay LSN | Lag |\n"
                 "+--------+----------+---------+-----------+----+-------------+-----+------------+-----+\n"
                 "| n1     | 10.0.0.1 | Leader  | running   |  7 |             |     |            |     |\n"
                 "| n2     | 10.0.0.2 | Replica | streaming |  7 |   0/4000060 |   0 |  0/3D09000 |   3 |\n"
                 "+--------+----------+---------+-----------+----+-------------+-----+------------+-----+\n");
}

static void test_standbys_without_positions_are_unknown(void **state)
{
    const char *const keys[] = {
        "initialize=7001",
        "leader=n1",
        "status={\"optime\":100}",
        N1,
        "members/n3={\"conn_url\":\"postgres://10.0.0.3:5432/postgres\",\"state\":\"stopped\",\"role\":\"replica\"}",
        NULL};
    AUTO(cluster) struct cluster *c = cluster_of(keys);

    expect_table(c, LISTING_TSV,
                 "Cluster\tMember\tHost\tRole\tState\tTL\tReceive LSN\tReceive Lag\tReplay LSN\tReplay Lag\n"
                 "demo\tn1\t10.0.0.1\tLeader\trunning\t7\t\t\t\t\n"
                 "demo\tn3\t10.0.0.3\tReplica\tstopped\t\tunknown\t\tunknown\t\n");
}

/* Before 4.1 members published one position; a member that streams shows it as received, another as replayed. */
static void test_old_members_show_their_one_position(void **state)
{
    const char *const keys[] = {
        "initialize=7001",
        "leader=n1",
        "status={\"optime\":67108960}",
        N1,
        "members/n2={\"conn_url\":\"postgres://10.0.0.2:5432/postgres\",\"state\":\"running\",\"role\":\"replica\","
        "\"xlog_location\":64000000,\"timeline\":7}",
        "members/n3={\"conn_url\":\"postgres://10.0.0.3:5432/postgres\",\"state\":\"running\",\"role\":\"replica\","
        "\"xlog_location\":67108960,\"timeline\":7,\"replication_state\":\"streaming\"}",
        NULL};
    AUTO(cluster) struct cluster *c = cluster_of(keys);

    expect_table(c, LISTING_TSV,
                 "Cluster\tMember\tHost\tRole\tState\tTL\tReceive LSN\tReceive Lag\tReplay LSN\tReplay Lag\n"
                 "demo\tn1\t10.0.0.1\tLeader\trunning\t7\t\t\t\t\n"
                 "demo\tn2\t10.0.0.2\tReplica\trunning\t7\tunknown\t\t0/3D09000\t3\n"
                 "demo\tn3\t10.0.0.3\tReplica\tstreaming\t7\t0/4000060\t0\tunknown\t\n");
}

static void test_a_clone_shows_how_far_it_is(void **state)
{
    const char *const keys[] = {"initialize=7001", "leader=n1", N1,
                                "members/n2={\"conn_url\":\"postgres://10.0.0.2:5432/postgres\",\"state\":\"creating "
                                "replica\",\"role\":\"replica\","
                                "\"pgkeep\":{\"v\":1,\"clone\":{\"done\":43000000,\"total\":100000000}}}",
                                NULL};
    AUTO(cluster) struct cluster *c = cluster_of(keys);
    AUTO(listing) struct listing *table = members_listing(c, "demo", false, LISTING_PRETTY);
    AUTO(listing) struct listing *tsv = members_listing(c, "demo", false, LISTING_TSV);

    assert_string_equal(json_string_value(json_array_get(json_array_get(table->rows, 1), 4)), "creating replica 43%");
    assert_string_equal(json_string_value(json_array_get(json_array_get(tsv->rows, 1), 4)), "creating replica");
}

static void test_ports_show_when_they_matter(void **state)
{
    const char *const same_host[] = {
        "leader=a", "members/a={\"conn_url\":\"postgres://h:5432/postgres\",\"state\":\"running\"}",
        "members/b={\"conn_url\":\"postgres://h:5432/postgres\",\"state\":\"running\"}", NULL};
    const char *const odd_port[] = {
        "leader=a", "members/a={\"conn_url\":\"postgres://h:5433/postgres\",\"state\":\"running\"}", NULL};
    const char *const usual[] = {"leader=a",
                                 "members/a={\"conn_url\":\"postgres://h:5432/postgres\",\"state\":\"running\"}", NULL};
    const char *const *const clusters[] = {same_host, odd_port, usual};
    static const char *const hosts[] = {"h:5432", "h:5433", "h"};

    for (size_t i = 0; i < ARRAY_LEN(clusters); i++) {
        AUTO(cluster) struct cluster *c = cluster_of(clusters[i]);
        AUTO(listing) struct listing *l = members_listing(c, "x", false, LISTING_TSV);
        assert_string_equal(json_string_value(json_array_get(json_array_get(l->rows, 0), 2)), hosts[i]);
    }
}

static void test_restart_and_tags_have_columns_when_somebody_has_them(void **state)
{
    const char *const keys[] = {
        "leader=n1", N1,
        "members/n2={\"conn_url\":\"postgres://10.0.0.2:5432/postgres\",\"state\":\"running\",\"role\":\"replica\","
        "\"pending_restart\":true,\"pending_restart_reason\":{\"max_connections\":{\"old_value\":\"100\",\"new_value\":"
        "\"200\"}},"
        "\"scheduled_restart\":{\"schedule\":\"2026-12-01T10:00:00+00:00\",\"postgres_version\":\"16.2\"},"
        "\"tags\":{\"nofailover\":true}}",
        NULL};
    AUTO(cluster) struct cluster *c = cluster_of(keys);

    expect_table(
        c, LISTING_TSV,
        "Cluster\tMember\tHost\tRole\tState\tTL\tReceive LSN\tReceive Lag\tReplay LSN\tReplay Lag\tPending restart\t"
        "Pending restart reason\tScheduled restart\tTags\n"
        "demo\tn1\t10.0.0.1\tLeader\trunning\t7\t\t\t\t\t\t\t\t\n"
        "demo\tn2\t10.0.0.2\tReplica\trunning\t\tunknown\t\tunknown\t\t*\tmax_connections: 100->200\t"
        "2026-12-01T10:00:00+00:00 if version < 16.2\t{nofailover: true}\n");
}

static void test_topology_is_a_tree(void **state)
{
    const char *const keys[] = {
        "leader=b",
        "members/a={\"conn_url\":\"postgres://1:5432/p\",\"state\":\"running\",\"tags\":{\"replicatefrom\":\"c\"}}",
        "members/b={\"conn_url\":\"postgres://2:5432/p\",\"state\":\"running\"}",
        "members/c={\"conn_url\":\"postgres://3:5432/p\",\"state\":\"running\"}",
        "members/d={\"conn_url\":\"postgres://4:5432/p\",\"state\":\"running\",\"tags\":{\"replicatefrom\":\"gone\"}}",
        NULL};
    static const char *const names[] = {"b", "+ c", "  + a", "+ d"};
    AUTO(cluster) struct cluster *c = cluster_of(keys);
    AUTO(listing) struct listing *l = members_listing(c, "x", false, LISTING_TOPOLOGY);

    assert_int_equal(json_array_size(l->rows), ARRAY_LEN(names));
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_string_equal(json_string_value(json_array_get(json_array_get(l->rows, i), 1)), names[i]);
}

static void test_roles_in_synchronous_and_standby_clusters(void **state)
{
    const char *const sync_keys[] = {"leader=n1",
                                     "config={\"synchronous_mode\":true}",
                                     "sync={\"leader\":\"n1\",\"quorum\":0,\"sync_standby\":\"N2,n9\"}",
                                     N1,
                                     N2,
                                     NULL};
    const char *const quorum_keys[] = {"leader=n1",
                                       "config={\"synchronous_mode\":\"quorum\"}",
                                       "sync={\"leader\":\"n1\",\"quorum\":1,\"sync_standby\":\"n2\"}",
                                       N1,
                                       N2,
                                       NULL};
    const char *const standby_keys[] = {"leader=n1", "config={\"standby_cluster\":{\"host\":\"far\"}}", N1, N2, NULL};
    const char *const *const clusters[] = {sync_keys, quorum_keys, standby_keys};
    static const char *const roles[][2] = {
        {"Leader", "Sync Standby"}, {"Leader", "Quorum Standby"}, {"Standby Leader", "Replica"}};

    for (size_t i = 0; i < ARRAY_LEN(clusters); i++) {
        AUTO(cluster) struct cluster *c = cluster_of(clusters[i]);
        AUTO(listing) struct listing *l = members_listing(c, "x", false, LISTING_TSV);
        for (size_t k = 0; k < 2; k++)
            assert_string_equal(json_string_value(json_array_get(json_array_get(l->rows, k), 3)), roles[i][k]);
    }
}

static void test_what_holds_for_the_whole_cluster(void **state)
{
    const char *const keys[] = {
        "leader=n1",
        "config={\"pause\":true}",
        "failover={\"leader\":\"n1\",\"member\":\"n2\",\"scheduled_at\":\"2026-12-01T10:00:00+01:00\"}",
        N1,
        N2,
        NULL};
    AUTO(cluster) struct cluster *c = cluster_of(keys);
    AUTO(buf) struct buf out = BUF_EMPTY;

    members_service_info(c, false, &out);
    assert_string_equal(buf_cstr(&out), " Maintenance mode: on\n"
                                        " Switchover scheduled at: 2026-12-01T10:00:00+01:00\n"
                                        "                    from: n1\n"
                                        "                      to: n2\n");
}

static void test_the_extended_list_tells_what_our_record_says(void **state)
{
    const char *const quorum[] = {"leader=n1",
                                  "pgkeep={\"version\":2,\"term\":7,\"leader\":\"n1\",\"mode\":\"quorum\",\"phase\":"
                                  "\"elected\",\"open\":{\"k\":1,"
                                  "\"members\":{\"n3\":\"1\",\"n2\":\"2\"}},\"joint\":{\"k\":0,\"members\":{}}}",
                                  N1, N2, NULL};
    const char *const plain[] = {"leader=n1", "pgkeep={\"term\":3,\"leader\":\"n1\"}", N1, N2, NULL};
    AUTO(cluster) struct cluster *c = cluster_of(quorum);
    AUTO(cluster) struct cluster *async = cluster_of(plain);
    AUTO(buf) struct buf out = BUF_EMPTY;
    AUTO(buf) struct buf brief = BUF_EMPTY;

    members_service_info(c, true, &out);
    assert_string_equal(buf_cstr(&out), " Mode: quorum, term: 7, phase: elected\n"
                                        " Commits wait for: 1 of n2, n3; changing to: 0 of nobody\n");
    buf_clear(&out);
    members_service_info(async, true, &out);
    assert_string_equal(buf_cstr(&out), " Mode: async, term: 3\n");
    members_service_info(c, false, &brief);
    assert_string_equal(buf_cstr(&brief), "");
}

static void test_a_broken_promise_is_told_to_everybody_who_looks(void **state)
{
    const char *const keys[] = {
        "leader=n1",
        "members/n1={\"conn_url\":\"postgres://10.0.0.1:5432/postgres\",\"role\":\"primary\",\"state\":\"running\","
        "\"pgkeep\":{\"v\":1,\"broken\":[{\"reason\":\"synchronous_commit\",\"text\":\"ALTER ROLE app SET "
        "synchronous_commit = off\"}]}}",
        N2, NULL};
    AUTO(cluster) struct cluster *c = cluster_of(keys);
    AUTO(buf) struct buf out = BUF_EMPTY;

    members_service_info(c, false, &out);
    assert_string_equal(buf_cstr(&out), " Promise broken on n1: ALTER ROLE app SET synchronous_commit = off\n");
    json_t *view = cluster_view(c);
    const json_t *n1 = json_array_get(json_object_get(view, "members"), 0);
    assert_int_equal(json_array_size(json_object_get(n1, "broken")), 1);
    json_decref(view);
}

static void test_the_view_has_patronis_fields(void **state)
{
    const char *const keys[] = {"initialize=7001", "leader=n1", "status={\"optime\":67108960}", N1, N2, NULL};
    AUTO(cluster) struct cluster *c = cluster_of(keys);
    json_t *view = cluster_view(c);
    AUTO(cstr) char *text = json_dumps(view, JSON_COMPACT);

    assert_string_equal(
        text, "{\"members\":[{\"name\":\"n1\",\"role\":\"leader\",\"state\":\"running\",\"api_url\":"
              "\"http://10.0.0.1:8008/patroni\",\"host\":\"10.0.0.1\",\"port\":5432,\"timeline\":7},"
              "{\"name\":\"n2\",\"role\":\"replica\",\"state\":\"streaming\",\"api_url\":"
              "\"http://10.0.0.2:8008/patroni\",\"host\":\"10.0.0.2\",\"port\":5432,\"timeline\":7,"
              "\"receive_lsn\":\"0/4000060\",\"receive_lag\":0,\"replay_lsn\":\"0/3D09000\",\"replay_lag\":3108960,"
              "\"lsn\":\"0/4000060\",\"lag\":0}]}");
    json_decref(view);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leader_and_streaming_replica),
        cmocka_unit_test(test_standbys_without_positions_are_unknown),
        cmocka_unit_test(test_old_members_show_their_one_position),
        cmocka_unit_test(test_a_clone_shows_how_far_it_is),
        cmocka_unit_test(test_ports_show_when_they_matter),
        cmocka_unit_test(test_restart_and_tags_have_columns_when_somebody_has_them),
        cmocka_unit_test(test_topology_is_a_tree),
        cmocka_unit_test(test_roles_in_synchronous_and_standby_clusters),
        cmocka_unit_test(test_what_holds_for_the_whole_cluster),
        cmocka_unit_test(test_the_extended_list_tells_what_our_record_says),
        cmocka_unit_test(test_a_broken_promise_is_told_to_everybody_who_looks),
        cmocka_unit_test(test_the_view_has_patronis_fields),
    };

    return cmocka_run_group_tests_name("ctl/members", tests, NULL, NULL);
}
