#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "test/unit/web/snapshots.h"
#include "web/health.h"

/* A path with its query, against a snapshot: 200 or 503. */
static void expect(const struct snapshot *s, const char *what, int code)
{
    AUTO(cstr) char *path = str_dup(what);
    char *query = strchr(path, '?');

    if (query)
        *query++ = '\0';
    int got = health_check(s, path, query ? query : "", NOW);
    if (got != code)
        fail_msg("%s: %d, not %d", what, got, code);
}

static void expect_each(const struct snapshot *s, const char *const *paths, size_t count, int code)
{
    for (size_t i = 0; i < count; i++)
        expect(s, paths[i], code);
}

#define EXPECT(s, code, ...)                               \
    do {                                                   \
        static const char *const paths_[] = {__VA_ARGS__}; \
        expect_each(s, paths_, ARRAY_LEN(paths_), code);   \
    } while (0)

#define PRIMARY_PATHS "/", "/primary", "/master", "/read-write", "/primary/x", "/any-primary", "//master"
#define SYNC_PATHS "/sync", "/synchronous", "/read-only-sync", "/read-only-synchronous", "/quorum", "/read-only-quorum"

static void test_the_primary_answers_what_is_asked_of_a_primary(void **state)
{
    AUTO(snapshot) struct snapshot *s = primary();

    (void)state;
    EXPECT(s, 200, PRIMARY_PATHS, "/leader", "/health", "/read-only", "/read-only-sync", "/read-only-synchronous",
           "/read-only-quorum", "/healthy", "/xleaderx");
    EXPECT(s, 503, "/replica", "/standby-leader", "/standby_leader", "/sync", "/async", "/asynchronous", "/quorum",
           "/nothing", "/Primary", "/sync/", "/async/x", "");
}

static void test_a_replica_answers_what_is_asked_of_a_replica(void **state)
{
    AUTO(snapshot) struct snapshot *s = replica();

    (void)state;
    EXPECT(s, 200, "/replica", "/replica/x", "/read-only", "/async", "/asynchronous", "/health");
    EXPECT(s, 503, PRIMARY_PATHS, SYNC_PATHS, "/leader", "/standby-leader", "/patroni", "/unknown");
}

static void test_the_leader_of_a_standby_cluster_is_neither_primary_nor_replica(void **state)
{
    AUTO(snapshot) struct snapshot *s = standby_leader();

    (void)state;
    EXPECT(s, 200, "/standby-leader", "/standby_leader", "/leader", "/read-only", "/health", "/read-only-sync");
    EXPECT(s, 503, PRIMARY_PATHS, "/replica", "/async");
}

static void test_primary_is_only_told_while_postgresql_takes_writes_under_a_valid_lease(void **state)
{
    AUTO(snapshot) struct snapshot *promoting = primary();
    AUTO(snapshot) struct snapshot *lapsed = primary();
    AUTO(snapshot) struct snapshot *down = primary();
    AUTO(snapshot) struct snapshot *silent = primary();
    AUTO(snapshot) struct snapshot *unseen = primary();
    AUTO(snapshot) struct snapshot *read_only = primary();

    (void)state;
    promoting->in_recovery = true; /* holds the lease, not promoted yet */
    promoting->writable = false;
    EXPECT(promoting, 503, PRIMARY_PATHS);
    EXPECT(promoting, 200, "/leader", "/health", "/replica");

    lapsed->lease_deadline_ms = NOW;
    EXPECT(lapsed, 503, PRIMARY_PATHS, "/leader", "/read-only");
    EXPECT(lapsed, 200, "/health");
    lapsed->lease_deadline_ms = NOW + 1;
    EXPECT(lapsed, 200, PRIMARY_PATHS, "/leader");

    down->state = NODE_STOPPED;
    down->pg_known = false;
    EXPECT(down, 503, PRIMARY_PATHS, "/read-only", "/health");
    EXPECT(down, 200, "/leader");

    silent->pg_known = false; /* should run, does not answer */
    EXPECT(silent, 503, PRIMARY_PATHS, "/health");

    unseen->taken_ms = NOW - unseen->ttl_ms - 1; /* nobody has looked for too long */
    EXPECT(unseen, 503, PRIMARY_PATHS, "/health");

    read_only->writable = false;
    EXPECT(read_only, 503, PRIMARY_PATHS);
}

static void test_in_pause_without_the_store_the_role_decides(void **state)
{
    AUTO(snapshot) struct snapshot *was_primary = primary();
    AUTO(snapshot) struct snapshot *was_replica = replica();
    AUTO(snapshot) struct snapshot *was_standby_leader = standby_leader();

    (void)state;
    was_primary->pause = was_replica->pause = was_standby_leader->pause = true;
    was_primary->store_known = was_replica->store_known = was_standby_leader->store_known = false;
    was_primary->lease_deadline_ms = was_standby_leader->lease_deadline_ms = NOW - 60 * 1000;
    EXPECT(was_primary, 200, PRIMARY_PATHS, "/leader", "/read-only");
    EXPECT(was_replica, 503, PRIMARY_PATHS, "/leader", "/async");
    EXPECT(was_replica, 200, "/replica", "/read-only");
    EXPECT(was_standby_leader, 200, "/standby-leader", "/leader");
    was_primary->writable = false;
    EXPECT(was_primary, 503, PRIMARY_PATHS);
    was_primary->writable = true;
    was_primary->pause = false;
    EXPECT(was_primary, 503, PRIMARY_PATHS, "/leader");
}

static void test_a_replica_that_does_not_want_load_or_does_not_run_is_none(void **state)
{
    AUTO(snapshot) struct snapshot *s = replica();

    (void)state;
    s->noloadbalance = true;
    EXPECT(s, 503, "/replica", "/read-only", "/async");
    s->noloadbalance = false;
    s->state = NODE_STARTING;
    EXPECT(s, 503, "/replica", "/read-only", "/async", "/health");
    s->state = NODE_RUNNING;
    s->pg_known = false;
    EXPECT(s, 503, "/replica", "/read-only", "/async", "/health");
}

static void test_synchronous_standbys_are_told_apart(void **state)
{
    AUTO(snapshot) struct snapshot *s = replica();

    (void)state;
    s->sync_standby = true;
    EXPECT(s, 200, "/sync", "/synchronous", "/read-only-sync", "/read-only-synchronous", "/replica");
    EXPECT(s, 503, "/async", "/asynchronous", "/quorum", "/read-only-quorum");
    s->sync_standby = false;
    s->quorum_standby = true;
    EXPECT(s, 200, "/quorum", "/read-only-quorum", "/replica");
    EXPECT(s, 503, "/async", "/sync", "/read-only-sync");
    s->store_known = false; /* who is synchronous, only the store says */
    EXPECT(s, 503, "/quorum", "/read-only-quorum", "/async", "/sync");
    EXPECT(s, 200, "/replica");
}

static void test_lag_is_counted_from_the_farthest_known_position_of_the_leader(void **state)
{
    AUTO(snapshot) struct snapshot *s = replica();

    (void)state;
    s->replayed_location = 5000000;
    s->optime = 5000000 + 20 * 1024;
    EXPECT(s, 200, "/replica", "/replica?lag=20kB", "/replica?lag=20480", "/replica?lag=1MB", "/replica?lag=1GB",
           "/replica?lag=0x5000", "/replica?lag=20%20kB", "/async?lag=20kB", "/read-only?lag=20kB");
    EXPECT(s, 503, "/replica?lag=19kB", "/replica?lag=20479", "/replica?lag=0", "/async?lag=1", "/read-only?lag=19kB",
           "/replica?lag=19kB&lag=1GB");
    s->optime = 0;
    s->receiver_latest_end = 5000000 + 20 * 1024; /* newer than the store's */
    EXPECT(s, 503, "/replica?lag=19kB");
    s->receiver_latest_end = 0;
    s->optime = 5000000 + 20 * 1024;
    s->store_known = false; /* nothing is known of the leader: nothing to be behind of */
    EXPECT(s, 200, "/replica?lag=0");
}

static void test_a_lag_that_is_no_size_is_ignored(void **state)
{
    AUTO(snapshot) struct snapshot *s = replica();

    (void)state;
    s->optime = 90000000;
    EXPECT(s, 200, "/replica?lag=", "/replica?lag", "/replica?lag=much", "/replica?lag=1parsec", "/replica?lag=kB",
           "/replica?lag=99999999999999999999", "/replica?lag=16kb");
    EXPECT(s, 503, "/replica?lag=16kB");
    s->replayed_location = 95000000; /* ahead of what the store has heard */
    EXPECT(s, 200, "/replica?lag=0");
}

static void test_a_replica_can_be_asked_for_its_replication_state(void **state)
{
    AUTO(snapshot) struct snapshot *s = replica();

    (void)state;
    EXPECT(s, 200, "/replica?replication_state=streaming", "/async?replication_state=streaming");
    EXPECT(s, 503, "/replica?replication_state=in+archive+recovery");
    str_set(&s->replication_state, "in archive recovery");
    EXPECT(s, 200, "/replica?replication_state=in%20archive%20recovery");
    str_set(&s->replication_state, NULL);
    EXPECT(s, 503, "/replica?replication_state=streaming");
}

static void test_tags_are_compared_where_it_is_not_the_leader_that_is_looked_for(void **state)
{
    AUTO(snapshot) struct snapshot *r = replica();
    AUTO(snapshot) struct snapshot *p = primary();

    (void)state;
    str_set(&r->tags, "{\"zone\": \"a b\", \"clonefrom\": true, \"rank\": 3, \"share\": 0.5, \"none\": null}");
    EXPECT(r, 200, "/replica?tag_zone=a%20b", "/replica?tag_zone=a+b&tag_rank=3", "/replica?tag_clonefrom=true",
           "/replica?tag_share=0.5", "/health?tag_rank=3", "/async?tag_rank=3", "/replica?tag_=", "/replica?zone=x",
           "/replica?tag_rank=3&tag_rank=4");
    EXPECT(r, 503, "/replica?tag_zone=a", "/replica?tag_zone=a%20b&tag_rank=4", "/replica?tag_clonefrom=True",
           "/replica?tag_absent=1", "/replica?tag_none=null", "/health?tag_rank=4", "/async?tag_rank=4",
           "/replica?tag_rank=4&tag_rank=3");
    EXPECT(p, 200, "/primary?tag_zone=x", "/leader?tag_zone=x", "/?tag_zone=x", "/read-write?tag_zone=x");
    EXPECT(p, 503, "/read-only?tag_zone=x", "/health?tag_zone=x");
    EXPECT(p, 200, "/primary?lag=0");
}

static void test_liveness_follows_the_loop(void **state)
{
    AUTO(snapshot) struct snapshot *r = replica();
    AUTO(snapshot) struct snapshot *p = primary();
    AUTO(snapshot) struct snapshot *nothing = snapshot_new();

    (void)state;
    assert_int_equal(health_liveness(p, p->loop_ran_ms + 40 * 1000 - 1), 200); /* loop_wait + ttl */
    assert_int_equal(health_liveness(r, r->loop_ran_ms + 70 * 1000 - 1), 200); /* loop_wait + 2 ttl */
    assert_int_equal(health_liveness(r, r->loop_ran_ms + 70 * 1000), 503);
    p->taken_ms = p->loop_ran_ms + 40 * 1000; /* the probes go on */
    assert_int_equal(health_liveness(p, p->loop_ran_ms + 40 * 1000), 503);
    p->pause = true;
    assert_int_equal(health_liveness(p, p->loop_ran_ms + 90 * 1000), 200);
    assert_int_equal(health_liveness(nothing, NOW), 503);
}

static void test_readiness_is_leading_or_streaming_near_enough(void **state)
{
    AUTO(snapshot) struct snapshot *p = primary();
    AUTO(snapshot) struct snapshot *r = replica();

    (void)state;
    assert_int_equal(health_readiness(p, "", NOW), 200);
    p->state = NODE_STOPPED;
    assert_int_equal(health_readiness(p, "", NOW), 200); /* leads */
    p->lease_deadline_ms = NOW;
    assert_int_equal(health_readiness(p, "", NOW), 503);

    assert_int_equal(health_readiness(r, "", NOW), 200);
    r->optime = r->received_location + 1024 * 1024;
    r->replayed_location -= 1;
    assert_int_equal(health_readiness(r, "", NOW), 503); /* one more than maximum_lag_on_failover */
    assert_int_equal(health_readiness(r, "mode=apply", NOW), 503);
    assert_int_equal(health_readiness(r, "mode=nonsense", NOW), 503);
    assert_int_equal(health_readiness(r, "mode=write", NOW), 200);
    assert_int_equal(health_readiness(r, "lag=2MB", NOW), 200);
    assert_int_equal(health_readiness(r, "mode=write&lag=1kB", NOW), 503);
    assert_int_equal(health_readiness(r, "lag=much", NOW), 503);
}

static void test_readiness_needs_somebody_who_knows_the_leader(void **state)
{
    AUTO(snapshot) struct snapshot *r = replica();

    (void)state;
    r->store_known = false;
    assert_int_equal(health_readiness(r, "", NOW), 200); /* the receiver knows */
    r->receiver_latest_end = 0;
    assert_int_equal(health_readiness(r, "", NOW), 503);
    r->failsafe_mode_is_active = true;
    assert_int_equal(health_readiness(r, "", NOW), 200);
    str_set(&r->replication_state, "in archive recovery");
    assert_int_equal(health_readiness(r, "", NOW), 503);
    str_set(&r->replication_state, "streaming");
    r->state = NODE_STARTING;
    assert_int_equal(health_readiness(r, "", NOW), 503);
}

static void test_before_the_first_snapshot_nothing_is_healthy(void **state)
{
    AUTO(snapshot) struct snapshot *s = snapshot_new();

    (void)state;
    EXPECT(s, 503, PRIMARY_PATHS, SYNC_PATHS, "/leader", "/replica", "/health", "/read-only", "/async");
    assert_int_equal(health_readiness(s, "", NOW), 503);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_primary_answers_what_is_asked_of_a_primary),
        cmocka_unit_test(test_a_replica_answers_what_is_asked_of_a_replica),
        cmocka_unit_test(test_the_leader_of_a_standby_cluster_is_neither_primary_nor_replica),
        cmocka_unit_test(test_primary_is_only_told_while_postgresql_takes_writes_under_a_valid_lease),
        cmocka_unit_test(test_in_pause_without_the_store_the_role_decides),
        cmocka_unit_test(test_a_replica_that_does_not_want_load_or_does_not_run_is_none),
        cmocka_unit_test(test_synchronous_standbys_are_told_apart),
        cmocka_unit_test(test_lag_is_counted_from_the_farthest_known_position_of_the_leader),
        cmocka_unit_test(test_a_lag_that_is_no_size_is_ignored),
        cmocka_unit_test(test_a_replica_can_be_asked_for_its_replication_state),
        cmocka_unit_test(test_tags_are_compared_where_it_is_not_the_leader_that_is_looked_for),
        cmocka_unit_test(test_liveness_follows_the_loop),
        cmocka_unit_test(test_readiness_is_leading_or_streaming_near_enough),
        cmocka_unit_test(test_readiness_needs_somebody_who_knows_the_leader),
        cmocka_unit_test(test_before_the_first_snapshot_nothing_is_healthy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
