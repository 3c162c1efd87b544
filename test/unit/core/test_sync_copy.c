/* The `sync` key beside the record: what Patroni's members could make of it is never more than the record promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/str.h"
#include "core/ha/cohort.h"
#include "core/ha/ledger.h"
#include "core/ha/sync_copy.h"
#include "wire/cluster.h"

enum { NODES = 4, SETS = 1 << NODES };

static const char *const names[NODES] = {"a", "b", "c", "d"};

static void fill(struct record_cohort *c, unsigned int set, int k)
{
    *c = (struct record_cohort){.k = k};
    for (unsigned int i = 0; i < NODES; i++)
        if (set & 1U << i)
            record_cohort_add(c, names[i], 7 + i);
}

static struct record_key record_of(unsigned int open, int k, bool joining, unsigned int joint, int joint_k)
{
    struct record_key r = {.present = true, .version = RECORD_VERSION, .mode = RECORD_PATRONI, .term = 3};

    r.leader = str_dup("l");
    fill(&r.open, open, k);
    r.joining = joining;
    if (joining)
        fill(&r.joint, joint, joint_k);
    return r;
}

static struct sync_key read_copy(const struct record_key *r, bool by_votes)
{
    AUTO(cstr) char *text = sync_copy_text(r, by_votes);
    const struct cluster_key key = {.name = "sync", .value = text, .value_len = strlen(text), .mod_revision = 1};
    AUTO(cluster) struct cluster *c = cluster_read(&key, 1, 1);
    struct sync_key copy = c->sync;

    c->sync = (struct sync_key){0};
    assert_true(copy.present);
    assert_string_equal(copy.leader, "l");
    return copy;
}

static unsigned int listed(const struct sync_key *copy)
{
    unsigned int set = 0;

    for (const char *at = copy->sync_standby; at && *at; at++)
        if (*at != ',')
            set |= 1U << (unsigned int)(*at - 'a');
    return set;
}

static int count(unsigned int set)
{
    return __builtin_popcount(set);
}

/* Every acknowledged commit is on some node of the set: k others of the cohort could not be found outside of it. */
static bool covers(unsigned int set, unsigned int cohort, int k)
{
    return count(cohort) > 0 && count(cohort & ~set) < k;
}

struct both {
    unsigned int open, joint;
    int k, joint_k;
    bool joining;
};

/* Whoever wins by Patroni's rules has asked a set of nodes that settles the record, and is not behind any of it. */
static void check(const struct both *b, bool by_votes)
{
    AUTO(record_key) struct record_key r = record_of(b->open, b->k, b->joining, b->joint, b->joint_k);
    struct sync_key copy = read_copy(&r, by_votes);
    unsigned int voters = listed(&copy);

    assert_true(by_votes || copy.quorum == 0);
    for (unsigned int set = 1; set < SETS; set++) {
        if ((set & ~voters) || count(set) < copy.quorum + 1)
            continue;
        int k = b->joining && b->joint_k < b->k ? b->joint_k : b->k; /* election: cohort.h */
        if (!covers(set, b->open | (b->joining ? b->joint : 0), k))
            fail_msg("open %x k %d, joint %x k %d: %s %d lets %x win", b->open, b->k, b->joint, b->joint_k,
                     copy.sync_standby, copy.quorum, set);
    }
    free(copy.leader);
    free(copy.sync_standby);
}

static void test_no_candidate_could_lack_a_commit(void **state)
{
    for (unsigned int open = 0; open < SETS; open++)
        for (int k = open ? 1 : 0; k <= count(open); k++) {
            check(&(struct both){.open = open, .k = k}, true);
            check(&(struct both){.open = open, .k = k}, false);
            for (unsigned int joint = 0; joint < SETS; joint++)
                for (int joint_k = joint ? 1 : 0; joint_k <= count(joint); joint_k++) {
                    struct both b = {open, joint, k, joint_k, true};
                    check(&b, true);
                    check(&b, false);
                }
        }
}

/* A leader that is cut off from the store acknowledges on: whoever of Patroni's comes must not win, listed or not. */
static void test_in_quorum_mode_nobody_could_win(void **state)
{
    for (unsigned int open = 0; open < SETS; open++)
        for (unsigned int joint = 0; joint < SETS; joint++) {
            AUTO(record_key) struct record_key r = record_of(open, open != 0, joint != 0, joint, joint != 0);
            r.mode = RECORD_QUORUM;
            struct sync_key copy = read_copy(&r, true);
            assert_int_equal(listed(&copy), open | joint);
            assert_int_equal(copy.quorum, count(open | joint)); /* one of them has the votes of one less */
            free(copy.leader);
            free(copy.sync_standby);
            copy = read_copy(&r, false);
            assert_int_equal(listed(&copy), 0);
            free(copy.leader);
            free(copy.sync_standby);
        }
}

static void expect(struct record_key *take_record, bool by_votes, const char *text)
{
    AUTO(cstr) char *copy = sync_copy_text(take_record, by_votes);

    assert_string_equal(copy, text);
    record_key_deinit(take_record);
}

static void test_texts(void **state)
{
    struct record_key r;

    r = record_of(0x6, 1, false, 0, 0);
    expect(&r, true, "{\"leader\":\"l\",\"quorum\":1,\"sync_standby\":\"b,c\"}");
    r = record_of(0x6, 2, false, 0, 0);
    expect(&r, false, "{\"leader\":\"l\",\"quorum\":0,\"sync_standby\":\"b,c\"}");
    r = record_of(0x6, 1, false, 0, 0); /* none of them is sure to have a commit by itself */
    expect(&r, false, "{\"leader\":\"l\",\"quorum\":0,\"sync_standby\":null}");
    r = record_of(0x6, 1, true, 0xc, 2);
    expect(&r, true, "{\"leader\":\"l\",\"quorum\":2,\"sync_standby\":\"b,c,d\"}");
    r = record_of(0x2, 1, true, 0x6, 2);
    expect(&r, false, "{\"leader\":\"l\",\"quorum\":0,\"sync_standby\":null}");
    r = record_of(0x6, 1, true, 0, 0); /* soon the leader acknowledges by itself */
    expect(&r, true, "{\"leader\":\"l\",\"quorum\":0,\"sync_standby\":null}");
    r = record_of(0, 0, false, 0, 0);
    expect(&r, true, "{\"leader\":\"l\",\"quorum\":0,\"sync_standby\":null}");
}

static void test_a_directory_that_was_replaced_makes_names_worthless(void **state)
{
    struct record_key r = record_of(0x6, 1, true, 0x6, 1);

    r.joint.at[0].incarnation++;
    expect(&r, true, "{\"leader\":\"l\",\"quorum\":0,\"sync_standby\":null}");
}

static void test_an_election_leaves_the_copy_as_it_is(void **state)
{
    AUTO(record_key) struct record_key r = record_of(0x6, 1, false, 0, 0);
    r.mode = RECORD_QUORUM;

    ledger_call(&r, 4, "b#1");
    assert_null(sync_copy_text(&r, true));
    ledger_elect(&r, "b", 8, 2, 0x3000000);
    assert_null(sync_copy_text(&r, true));
}

static void test_the_copy_goes_with_quorum_mode(void **state)
{
    struct record_key r = record_of(0, 0, false, 0, 0);
    r.mode = RECORD_QUORUM;

    ledger_leave(&r);
    expect(&r, true, "");
}

/* What an open leader that has nothing else to change makes of a copy that somebody else wrote. */
static bool repairs(const char *there)
{
    const struct cluster_key key = {.name = "sync", .value = there, .value_len = strlen(there), .mod_revision = 1};
    AUTO(cluster) struct cluster *c = cluster_read(&key, there[0] ? 1 : 0, 1);
    struct ha_view v = {.conf = {.name = "l", .sync_mode = HA_SYNC_QUORUM}, .store = {.known = true, .cluster = c}};
    struct ha_plan p = {0};

    c->record = record_of(0x6, 1, false, 0, 0);
    c->record.mode = RECORD_QUORUM;
    c->record.leader_incarnation = v.quorum.incarnation = 9;
    v.quorum.promise.known = true;
    sync_copy_decide(&v, &p);
    bool planned = plan_has(&p, HA_DO_RECORD);
    if (planned) {
        assert_string_equal(p.record.sync, "{\"leader\":\"l\",\"quorum\":2,\"sync_standby\":\"b,c\"}");
        assert_true(ledger_may_follow(&c->record, &p.record.next));
    }
    plan_reset(&p);
    return planned;
}

static void test_a_copy_that_says_something_else_is_written_anew(void **state)
{
    assert_false(repairs("{\"leader\": \"l\", \"quorum\": 2, \"sync_standby\": \"b,c\"}"));
    assert_true(repairs(""));
    assert_true(repairs("{\"leader\":\"l\",\"quorum\":1,\"sync_standby\":\"b,c\"}"));
    assert_true(repairs("{\"leader\":\"l\",\"quorum\":2,\"sync_standby\":\"b,c,d\"}"));
    assert_true(repairs("{\"leader\":\"b\",\"quorum\":2,\"sync_standby\":\"b,c\"}"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_candidate_could_lack_a_commit),
        cmocka_unit_test(test_in_quorum_mode_nobody_could_win),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_a_directory_that_was_replaced_makes_names_worthless),
        cmocka_unit_test(test_an_election_leaves_the_copy_as_it_is),
        cmocka_unit_test(test_the_copy_goes_with_quorum_mode),
        cmocka_unit_test(test_a_copy_that_says_something_else_is_written_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
