/* Who could be promoted now, and what if: asked of views as an agent has them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "core/ha/explain.h"
#include "core/ha/profile.h"

enum { NOW_MS = 100000, NODES = 4 };

#define POSITION 0x5000000

struct stage {
    struct ha_view v;
    struct ha_mesh mesh;
    struct cluster *cluster;
    struct explain now;
    struct explain_loss loss;
};

static const char quorum_record[] =
    "{\"version\":2,\"term\":7,\"leader\":\"n1\",\"leader_incarnation\":\"1\",\"timeline\":3,\"leader_timeline\":3,"
    "\"mode\":\"quorum\",\"phase\":\"open\",\"open\":{\"k\":1,\"members\":{\"n2\":\"2\",\"n3\":\"3\"}},"
    "\"open_leader\":\"n1\",\"open_incarnation\":\"1\",\"open_term\":7,\"lines\":[[3,7,\"0/3000110\"]]}";
static const char async_record[] = "{\"version\":2,\"term\":7,\"leader\":\"n1\",\"timeline\":3}";

static void put_state(struct peer_state *s, int i)
{
    peer_state_init(s);
    (void)snprintf(s->name, sizeof(s->name), "n%d", i);
    s->incarnation = (uint64_t)i;
    s->timeline = 3;
    s->position = s->replayed = POSITION;
    s->process = PEER_PROC_RUNNING;
    s->accepting = true;
    s->in_recovery = i != 1;
    s->primary = s->serving = i == 1;
    s->failover_priority = s->sync_priority = 1;
    if (i != 1) {
        str_copy(s->upstream, sizeof(s->upstream), "n1");
        s->wal_age_ms = 20;
    }
}

/* n1 leads, n2 and n3 acknowledge, n4 follows; n3 is asked. */
static void stage_set(struct stage *s, const char *record)
{
    static const char member[] =
        "{\"conn_url\":\"postgres://h:1/postgres\",\"state\":\"running\",\"pgkeep\":{\"v\":1}}";
    static const char status[] = "{\"optime\":83886080}";
    struct cluster_key keys[NODES + 3];
    static const char *const names[] = {"members/n1", "members/n2", "members/n3", "members/n4"};

    *s = (struct stage){0};
    for (int i = 0; i < NODES; i++)
        keys[i] = (struct cluster_key){.name = names[i], .value = member, .value_len = strlen(member)};
    keys[NODES] = (struct cluster_key){.name = "pgkeep", .value = record, .value_len = strlen(record)};
    keys[NODES + 1] = (struct cluster_key){.name = "leader", .value = "n1", .value_len = 2};
    keys[NODES + 2] =
        (struct cluster_key){.name = "status", .value = status, .value_len = strlen(status), .mod_revision = 1};
    s->cluster = cluster_read(keys, ARRAY_LEN(keys), 9);
    assert_null(s->cluster->bad);
    s->v.now_ms = NOW_MS;
    s->v.conf = (struct ha_conf){
        .name = "n3", .ttl_ms = 30000, .maximum_lag_on_failover = 1 << 20, .profile = *profile_of(PROFILE_FAST)};
    s->v.store.cluster = s->cluster;
    s->v.mesh = &s->mesh;
    s->mesh.resumed_ms = 1;
    put_state(&s->mesh.own, 3);
    for (int i = 1; i <= NODES; i++)
        if (i != 3) {
            struct ha_mesh_peer *p = &s->mesh.at[s->mesh.count++];
            put_state(&p->state, i);
            p->heard_ms = NOW_MS - 30;
        }
}

static struct peer_state *state_of(struct stage *s, const char *name)
{
    for (size_t i = 0; i < s->mesh.count; i++)
        if (str_eq(s->mesh.at[i].state.name, name))
            return &s->mesh.at[i].state;
    return &s->mesh.own;
}

static void fall_silent(struct stage *s, const char *name)
{
    for (size_t i = 0; i < s->mesh.count; i++)
        if (str_eq(s->mesh.at[i].state.name, name))
            s->mesh.at[i].heard_ms = NOW_MS - 5000;
}

static const struct explain_node *node(struct stage *s, const char *name)
{
    explain_now(&s->v, &s->now);
    for (size_t i = 0; i < s->now.count; i++)
        if (str_eq(s->now.at[i].name, name))
            return &s->now.at[i];
    fail_msg("no node %s", name);
    return NULL;
}

static void stage_end(struct stage *s)
{
    cluster_free(s->cluster);
}

static void test_any_of_several_is_as_good(void **state)
{
    struct stage s;
    stage_set(&s, quorum_record);

    assert_true(node(&s, "n1")->leads);
    assert_false(node(&s, "n1")->can);
    assert_true(node(&s, "n2")->can);
    assert_true(node(&s, "n2")->acknowledges);
    assert_true(node(&s, "n4")->can);
    assert_false(node(&s, "n4")->acknowledges);
    assert_true(s.now.by_quorum && s.now.possible);
    explain_if_lost(&s.v, "n1", &s.loss);
    assert_true(s.loss.known && s.loss.leads && s.loss.possible);
    assert_string_equal(s.loss.winner, "n2");
    assert_int_equal(s.loss.equal_count, 2);
    assert_string_equal(s.loss.risk, "nothing that was acknowledged is lost");
    stage_end(&s);
}

static void test_the_one_that_has_more_wins_and_nofailover_never_does(void **state)
{
    struct stage s;
    stage_set(&s, quorum_record);

    state_of(&s, "n2")->failover_priority = 0;
    state_of(&s, "n2")->position = POSITION + 100; /* it has what was acknowledged: who leads must have that */
    state_of(&s, "n3")->position = POSITION + 200;
    state_of(&s, "n4")->upstream[0] = '\0';
    assert_false(node(&s, "n2")->can);
    assert_string_equal(node(&s, "n2")->why, "is tagged nofailover");
    assert_true(node(&s, "n2")->nofailover);
    assert_false(node(&s, "n4")->can);
    assert_non_null(strstr(node(&s, "n4")->why, "lacks 200 bytes"));
    explain_if_lost(&s.v, "n1", &s.loss);
    assert_string_equal(s.loss.winner, "n3");
    assert_int_equal(s.loss.equal_count, 0);
    stage_end(&s);
}

static void test_too_few_are_up_to_prove_anything(void **state)
{
    struct stage s;
    stage_set(&s, quorum_record);

    fall_silent(&s, "n2");
    assert_string_equal(node(&s, "n2")->why, "is silent for 5000 ms");
    assert_false(node(&s, "n3")->can);
    assert_non_null(
        strstr(node(&s, "n3")->why, "1 of the cohort's 2 members are frozen at a known place, 2 are needed"));
    explain_if_lost(&s.v, "n1", &s.loss);
    assert_false(s.loss.possible);
    assert_null(s.loss.winner);
    assert_non_null(strstr(s.loss.risk, "nobody writes"));
    stage_end(&s);
}

static void test_a_standby_that_is_lost(void **state)
{
    struct stage s;
    stage_set(&s, quorum_record);

    explain_if_lost(&s.v, "n2", &s.loss);
    assert_true(s.loss.possible && !s.loss.leads);
    assert_null(s.loss.winner);
    assert_non_null(strstr(s.loss.risk, "commits go on: 1 that acknowledge are left, 1 are needed"));
    explain_if_lost(&s.v, "n4", &s.loss);
    assert_string_equal(s.loss.risk, "no commit waits for it");
    fall_silent(&s, "n2");
    s.v.conf.sync_strict = true;
    explain_if_lost(&s.v, "n3", &s.loss);
    assert_non_null(strstr(s.loss.risk, "commits wait until a standby"));
    explain_if_lost(&s.v, "n9", &s.loss);
    assert_false(s.loss.known);
    stage_end(&s);
}

static void test_paused_nobody_is_promoted(void **state)
{
    struct stage s;
    stage_set(&s, quorum_record);

    s.v.conf.pause = true;
    explain_if_lost(&s.v, "n1", &s.loss);
    assert_false(s.loss.possible);
    assert_non_null(strstr(s.loss.why, "paused"));
    stage_end(&s);
}

static void test_asynchronous_tells_the_bound(void **state)
{
    struct stage s;
    stage_set(&s, async_record);

    state_of(&s, "n2")->position = POSITION - (2 << 20);
    state_of(&s, "n4")->position = POSITION - 10;
    assert_false(node(&s, "n2")->can);
    assert_non_null(strstr(node(&s, "n2")->why, "is too far behind: 2097152 bytes"));
    assert_true(node(&s, "n3")->can);
    assert_false(s.now.by_quorum);
    explain_if_lost(&s.v, "n1", &s.loss);
    assert_string_equal(s.loss.winner, "n3");
    assert_int_equal(s.loss.equal_count, 1);
    assert_string_equal(s.loss.equals[0], "n4");
    assert_non_null(strstr(s.loss.risk, "at most 1048576 bytes"));
    fall_silent(&s, "n4");
    assert_string_equal(node(&s, "n4")->why, "cannot be reached");
    stage_end(&s);
}

static void test_nothing_was_read_yet(void **state)
{
    struct ha_view v = {0};
    struct explain now;
    struct explain_loss loss;

    explain_now(&v, &now);
    assert_int_equal(now.count, 0);
    assert_string_equal(now.why, "the store has not been read yet");
    explain_if_lost(&v, "n1", &loss);
    assert_false(loss.known);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_of_several_is_as_good),
        cmocka_unit_test(test_the_one_that_has_more_wins_and_nofailover_never_does),
        cmocka_unit_test(test_too_few_are_up_to_prove_anything),
        cmocka_unit_test(test_a_standby_that_is_lost),
        cmocka_unit_test(test_paused_nobody_is_promoted),
        cmocka_unit_test(test_asynchronous_tells_the_bound),
        cmocka_unit_test(test_nothing_was_read_yet),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
