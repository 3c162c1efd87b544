/*
 * Ownership of the leader key, with answers that are lost and requests that arrive after everybody has given them up.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "app/agent/leadership.h"
#include "app/agent/registry.h"
#include "base/str.h"
#include "io/loop.h"
#include "test/lib/mem_store.h"
#include "test/unit/store/ask.h"

#define PREFIX "/service/demo/"
#define STATUS "{\"optime\":1}"

enum { TTL_MS = 30000, BUDGET_MS = 300, PATIENCE_MS = 10000 };

static struct loop *loop;
static struct mem_server *server;
static struct store *store, *other;
static struct registry *registry;
static struct leadership *leadership;

static const char *status = STATUS; /* of n1 as a primary; NULL: it has not been one */
static const char *failsafe_list;   /* what n1 writes into /failsafe; NULL: nothing */

static void texts(struct keys_texts *ret_texts, void *arg)
{
    *ret_texts = (struct keys_texts){.member = "{}", .status = status, .failsafe = failsafe_list};
}

static void changed(void *arg)
{
    (void)arg;
}

/* As the agent does. */
static void registry_changed(void *arg)
{
    (void)arg;
    if (leadership)
        leadership_observe(leadership);
}

static int setup(void **state)
{
    loop = loop_new();
    server = mem_server_new(loop);
    store = mem_store_new(server);
    other = mem_store_new(server);
    registry = registry_new(loop, store, PREFIX, registry_changed, NULL);
    leadership = leadership_new(store, registry, PREFIX, "n1", texts, changed, NULL);
    leadership_timing(leadership, TTL_MS, BUDGET_MS);
    registry_start(registry, 60000, BUDGET_MS);
    return 0;
}

static int teardown(void **state)
{
    store_free(store);
    store_free(other);
    registry_free(registry);
    leadership_free(leadership);
    leadership = NULL;
    status = STATUS;
    failsafe_list = NULL;
    mem_server_free(server);
    loop_free(loop);
    return 0;
}

/* ---- helpers ---- */

static struct ha_lease lease(void)
{
    struct ha_lease now;

    leadership_view(leadership, &now);
    return now;
}

static void until(bool (*is_so)(void), const char *what)
{
    msec end_ms = loop_clock_ms() + PATIENCE_MS;

    while (!is_so()) {
        if (loop_clock_ms() > end_ms)
            fail_msg("%s: not within %d ms", what, PATIENCE_MS);
        loop_turn(loop, 20);
    }
}

static bool has_lease(void)
{
    return lease().exists && registry_cluster(registry);
}

static bool owns(void)
{
    return lease().owner && !lease().renewing;
}

static bool is_unfenced(void)
{
    return lease().unfenced;
}

static bool owns_not(void)
{
    return !lease().owner;
}

struct outcome {
    bool done;
    enum leadership_result result;
};

static struct outcome last;

static void take(enum leadership_result result, const char *why, void *arg)
{
    (void)why;
    (void)arg;
    last = (struct outcome){true, result};
}

static bool is_done(void)
{
    return last.done;
}

static enum leadership_result acquire(void)
{
    last.done = false;
    leadership_acquire(leadership, 2, 0, take, NULL);
    until(is_done, "acquire");
    return last.result;
}

static enum leadership_result release(void)
{
    last.done = false;
    leadership_release(leadership, take, NULL);
    until(is_done, "release");
    return last.result;
}

static void lead(void)
{
    leadership_renew(leadership);
    until(has_lease, "a lease");
    assert_int_equal(acquire(), LEADERSHIP_OK);
    until(owns, "ownership");
}

/* What another node reads. */
static struct cluster *read_cluster(void)
{
    AUTO(answer) struct answer a = ask_get_prefix(loop, other, PREFIX, PATIENCE_MS);
    struct cluster_key keys[16];

    assert_true(a.kv_count <= ARRAY_LEN(keys));
    for (size_t i = 0; i < a.kv_count; i++)
        keys[i] = (struct cluster_key){
            .name = a.kvs[i].key + strlen(PREFIX),
            .value = a.kvs[i].value,
            .value_len = a.kvs[i].value_len,
            .mod_revision = a.kvs[i].mod_revision,
            .lease = a.kvs[i].lease,
        };
    return cluster_read(keys, a.kv_count, a.revision);
}

static void refresh(void)
{
    registry_refresh(registry);
    run_for(loop, 50);
}

/* ---- tests ---- */

static void test_a_release_is_told_to_everybody(void **state)
{
    lead();
    AUTO(cluster) struct cluster *during = read_cluster();
    assert_string_equal(during->leader, "n1");
    assert_int_equal(during->record.term, 1);
    assert_false(during->record.released);
    assert_int_equal(release(), LEADERSHIP_OK);
    AUTO(cluster) struct cluster *after = read_cluster();
    assert_null(after->leader);
    assert_true(after->record.released);
}

/* The key stays ours, so it must not be taken away (and called free at once) by a request of the past. */
static void test_a_release_that_arrives_late_does_not_take_away_what_was_put_anew(void **state)
{
    lead();
    mem_server_set_fault(server, MEM_LATE);
    assert_int_equal(release(), LEADERSHIP_UNSURE);
    assert_false(lease().owner); /* while it may still arrive */
    mem_server_set_fault(server, MEM_HEALTHY);
    refresh();
    until(owns, "ownership again");
    mem_server_deliver(server);
    refresh();
    AUTO(cluster) struct cluster *c = read_cluster();
    assert_string_equal(c->leader, "n1");
    assert_false(c->record.released);
    assert_true(lease().owner);
}

static void test_a_release_that_arrives_before_the_key_is_put_anew_counts(void **state)
{
    lead();
    mem_server_set_fault(server, MEM_LATE);
    assert_int_equal(release(), LEADERSHIP_UNSURE);
    mem_server_deliver(server);
    mem_server_set_fault(server, MEM_HEALTHY);
    refresh();
    AUTO(cluster) struct cluster *c = read_cluster();
    assert_null(c->leader);
    assert_true(c->record.released);
    assert_false(lease().owner);
}

static void test_a_renewal_that_arrives_late_does_not_bring_an_old_term_back(void **state)
{
    lead();
    mem_server_set_fault(server, MEM_LATE);
    leadership_renew(leadership);
    run_for(loop, 100);
    mem_server_set_fault(server, MEM_HEALTHY);
    refresh();
    until(owns, "ownership");
    assert_int_equal(release(), LEADERSHIP_OK);
    refresh();
    assert_int_equal(acquire(), LEADERSHIP_OK);
    mem_server_deliver(server);
    AUTO(cluster) struct cluster *c = read_cluster();
    assert_int_equal(c->record.term, 2);
}

/* In pause the record must never say that a fence is on which is off. */
static void test_what_the_record_says_of_the_fence_is_known_or_not_believed(void **state)
{
    lead();
    assert_false(lease().unfenced);
    mem_server_set_fault(server, MEM_LOSE_ANSWERS);
    leadership_tell(leadership, true);
    run_for(loop, 100);
    assert_false(lease().unfenced); /* it is there, but that is not known */
    mem_server_set_fault(server, MEM_HEALTHY);
    refresh();
    leadership_tell(leadership, true);
    until(is_unfenced, "the record");
    AUTO(cluster) struct cluster *off = read_cluster();
    assert_true(off->record.unfenced);

    /* Resumed and paused again, and what was sent in between arrives last. */
    mem_server_set_fault(server, MEM_LATE);
    leadership_tell(leadership, false);
    assert_false(lease().unfenced);
    run_for(loop, 100);
    mem_server_set_fault(server, MEM_HEALTHY);
    leadership_tell(leadership, true);
    until(is_unfenced, "the record again");
    mem_server_deliver(server);
    AUTO(cluster) struct cluster *still = read_cluster();
    assert_true(still->record.unfenced);
}

static void test_ownership_whose_answer_was_lost_is_learnt_by_reading(void **state)
{
    leadership_renew(leadership);
    until(has_lease, "a lease");
    mem_server_set_fault(server, MEM_LOSE_ANSWERS);
    assert_int_equal(acquire(), LEADERSHIP_UNSURE);
    mem_server_set_fault(server, MEM_HEALTHY);
    refresh();
    until(owns, "ownership");
    assert_int_equal(release(), LEADERSHIP_OK);
}

static void test_a_key_that_somebody_removed_ends_ownership_with_the_next_renewal(void **state)
{
    lead();
    (void)ask_delete(loop, other, PREFIX "leader");
    leadership_renew(leadership);
    until(owns_not, "the loss");
}

/* ---- the record and the beat ---- */

static int64_t revision_of(const char *name)
{
    AUTO(cstr) char *key = str_fmt("%s%s", PREFIX, name);
    AUTO(answer) struct answer a = ask_get_prefix(loop, other, key, PATIENCE_MS);

    for (size_t i = 0; i < a.kv_count; i++)
        if (str_eq(a.kvs[i].key, key))
            return a.kvs[i].mod_revision;
    return 0;
}

static void renew(void)
{
    leadership_renew(leadership);
    run_for(loop, 50);
    assert_false(lease().renewing);
}

static void test_a_renewal_changes_the_beat_and_leaves_the_record_alone(void **state)
{
    lead();
    renew();
    int64_t record = revision_of("pgkeep"), beat = revision_of("pgkeep_beat");
    assert_true(beat > record);
    renew();
    assert_int_equal(revision_of("pgkeep"), record);
    assert_true(revision_of("pgkeep_beat") > beat);
}

/* Others count from the last beat that they see, also where the lease and all that hangs on it are gone by then. */
static void test_the_beat_outlives_the_lease(void **state)
{
    lead();
    renew();
    mem_server_advance(server, TTL_MS);
    assert_int_equal(revision_of("leader"), 0);
    assert_true(revision_of("pgkeep_beat") > 0);
}

static void put_record(const char *text)
{
    (void)ask_put(loop, other, PREFIX "pgkeep", text, 0);
}

static void test_a_record_that_another_changed_is_no_lost_leader_key(void **state)
{
    lead();
    msec deadline_ms = lease().deadline_ms;
    put_record("{\"version\":2,\"term\":1,\"leader\":\"n1\",\"timeline\":2,\"released\":false,\"later\":{\"x\":1}}");
    leadership_tell(leadership, true); /* before the change is heard of */
    run_for(loop, 50);
    assert_true(lease().owner);
    leadership_tell(leadership, true);
    until(is_unfenced, "the record");
    renew();
    assert_true(lease().owner);
    assert_true(lease().deadline_ms >= deadline_ms);
    AUTO(cluster) struct cluster *c = read_cluster();
    assert_true(c->record.unfenced);
    assert_int_equal(json_object_size(json_object_get(c->record.json, "later")), 1);
}

static void test_a_release_over_a_record_that_another_changed_is_decided_anew(void **state)
{
    lead();
    put_record("{\"version\":2,\"term\":1,\"leader\":\"n1\",\"timeline\":9,\"released\":false}");
    assert_int_equal(release(), LEADERSHIP_CHANGED);
    assert_true(lease().owner);
    assert_int_equal(release(), LEADERSHIP_OK);
    AUTO(cluster) struct cluster *c = read_cluster();
    assert_null(c->leader);
    assert_true(c->record.released);
    assert_int_equal(c->record.timeline, 9);
}

static void test_a_record_that_is_removed_is_written_anew(void **state)
{
    lead();
    (void)ask_delete(loop, other, PREFIX "pgkeep");
    refresh();
    assert_true(lease().owner);
    renew();
    AUTO(cluster) struct cluster *c = read_cluster();
    assert_true(c->record.present);
    assert_int_equal(c->record.term, 1);
    assert_int_equal(c->record.timeline, 2);
}

/* What it promises is not known here. */
static void test_a_record_of_a_newer_version_is_left_as_it_is(void **state)
{
    static const char newer[] = "{\"version\":9,\"term\":1,\"leader\":\"n1\",\"timeline\":2,\"released\":false}";

    lead();
    put_record(newer);
    refresh();
    int64_t written = revision_of("pgkeep");
    leadership_tell(leadership, true);
    renew();
    assert_false(lease().unfenced);
    assert_true(lease().owner); /* it goes on beating: what runs goes on */
    assert_int_equal(revision_of("pgkeep"), written);
    assert_int_equal(release(), LEADERSHIP_OK);
    assert_int_equal(revision_of("leader"), 0);
    assert_int_equal(revision_of("pgkeep"), written);
    refresh();
    assert_int_equal(acquire(), LEADERSHIP_LOST);
    assert_int_equal(revision_of("leader"), 0);
    assert_int_equal(revision_of("pgkeep"), written);
}

/* ---- a change that the plan wants (HA_DO_RECORD) ---- */

/* Term `under` by us as coordinator, over the record as it is shown now, or was when it was at `revision`. */
static enum leadership_result change(term under, int64_t revision, bool take_key, bool drop_key)
{
    struct ha_plan plan = {.count = 0};

    struct ha_record_change *c = plan_record(&plan, &registry_cluster(registry)->record);
    c->next.mode = RECORD_QUORUM;
    c->next.phase = take_key ? RECORD_ELECTED : RECORD_TERM;
    c->next.term = under;
    str_set(&c->next.coordinator, "n1#1");
    if (take_key)
        str_set(&c->next.leader, "n1");
    if (revision)
        c->expected_revision = revision;
    c->take_leader_key = take_key;
    c->drop_leader_key = drop_key;
    c->sync = str_dup("{\"leader\":\"n1\",\"quorum\":0,\"sync_standby\":null}");
    last.done = false;
    leadership_change(leadership, c, take, NULL);
    until(is_done, "the change");
    plan_reset(&plan);
    return last.result;
}

static bool has_read_back(void)
{
    return !leadership_reads_back(leadership);
}

static void n2_leads(int of_term);
static bool reads_nobody(void);

/* n2 leads, and is suspected. */
static void follow_n2(void)
{
    leadership_renew(leadership);
    until(has_lease, "a lease");
    n2_leads(4);
}

static void test_a_coordinator_takes_a_term_over_a_leader_that_it_is_not(void **state)
{
    follow_n2();
    assert_int_equal(change(5, 0, false, false), LEADERSHIP_OK);
    until(has_read_back, "the picture");
    const struct cluster *c = registry_cluster(registry);
    assert_int_equal(c->record.term, 5);
    assert_int_equal(c->record.phase, RECORD_TERM);
    assert_string_equal(c->record.coordinator, "n1#1");
    assert_string_equal(c->record.leader, "n2");
    assert_string_equal(c->sync.leader, "n1"); /* the copy, of the same moment */
    assert_int_equal(c->sync.mod_revision, c->record.mod_revision);
    assert_string_equal(c->leader, "n2");
    assert_false(lease().owner);
}

static void test_the_leader_key_changes_with_the_record(void **state)
{
    follow_n2();
    assert_int_equal(change(5, 0, true, false), LEADERSHIP_LOST); /* n2's key is there */
    until(has_read_back, "the picture");
    assert_int_equal(registry_cluster(registry)->record.term, 4);
    assert_int_equal(change(5, 0, false, true), LEADERSHIP_OK);
    until(has_read_back, "the picture");
    assert_true(reads_nobody());
    assert_int_equal(change(5, 0, true, false), LEADERSHIP_OK);
    assert_true(lease().owner);
    assert_int_equal(lease().term, 5);
    until(has_read_back, "the picture");
    renew();
    assert_true(lease().owner);
    assert_int_equal(change(6, 0, false, true), LEADERSHIP_OK);
    assert_false(lease().owner);
    renew();
    assert_false(lease().owner);
}

static void test_a_change_over_another_record_than_was_read_is_lost(void **state)
{
    follow_n2();
    int64_t was = registry_cluster(registry)->record.mod_revision;
    n2_leads(5);
    assert_int_equal(change(6, was, false, false), LEADERSHIP_LOST);
    assert_true(leadership_reads_back(leadership));
    until(has_read_back, "the picture");
    assert_int_equal(registry_cluster(registry)->record.term, 5);
    assert_false(registry_cluster(registry)->sync.present);
}

static void test_nothing_is_changed_before_what_became_of_a_change_is_known(void **state)
{
    follow_n2();
    mem_server_set_fault(server, MEM_LOSE_ANSWERS);
    assert_int_equal(change(5, 0, false, false), LEADERSHIP_UNSURE);
    run_for(loop, 50);
    assert_true(leadership_reads_back(leadership));
    assert_int_equal(change(6, 0, false, false), LEADERSHIP_LOST);
    mem_server_set_fault(server, MEM_HEALTHY);
    refresh();
    until(has_read_back, "the picture");
    assert_int_equal(registry_cluster(registry)->record.term, 5);
}

/* Sent before that reading, and carried out after it. */
static void test_a_change_that_arrives_late_does_not_come_after_a_later_one(void **state)
{
    follow_n2();
    mem_server_set_fault(server, MEM_LATE);
    assert_int_equal(change(5, 0, false, false), LEADERSHIP_UNSURE);
    mem_server_set_fault(server, MEM_HEALTHY);
    refresh();
    until(has_read_back, "the picture");
    assert_int_equal(registry_cluster(registry)->record.term, 4);
    assert_int_equal(change(6, 0, false, false), LEADERSHIP_OK);
    mem_server_deliver(server);
    AUTO(cluster) struct cluster *c = read_cluster();
    assert_int_equal(c->record.term, 6);
}

/* A term that another takes is no term of ours, and what a leader of asynchronous mode keeps up to date stays. */
static void test_a_leader_writes_nothing_into_a_term_that_another_took(void **state)
{
    lead();
    put_record("{\"version\":2,\"term\":2,\"leader\":\"n1\",\"timeline\":2,\"released\":false,\"mode\":\"quorum\","
               "\"phase\":\"term\",\"coordinator\":\"n2#1\",\"open\":{\"k\":0,\"members\":{}}}");
    int64_t written = revision_of("pgkeep");
    refresh();
    leadership_tell(leadership, true);
    leadership_take_timeline(leadership, 7);
    renew();
    assert_true(lease().owner);
    assert_int_equal(lease().term, 1);
    assert_false(lease().unfenced);
    assert_int_equal(revision_of("pgkeep"), written);
}

/* The rules of Patroni's, begun by us: while the leader key is as it came to us. */
static enum leadership_result go_beside(void)
{
    struct ha_plan plan = {.count = 0};

    struct ha_record_change *c = plan_record(&plan, &registry_cluster(registry)->record);
    c->next.mode = RECORD_PATRONI;
    c->own_leader_key = true;
    c->sync = str_dup("{\"leader\":\"n1\",\"quorum\":0,\"sync_standby\":null}");
    last.done = false;
    leadership_change(leadership, c, take, NULL);
    until(is_done, "the change");
    plan_reset(&plan);
    return last.result;
}

/* A member of Patroni's that took the key says in `sync` who may win; what we still believe must not come over that. */
static void test_a_leader_that_was_replaced_does_not_write_the_sync_key(void **state)
{
    lead();
    refresh();
    assert_int_equal(go_beside(), LEADERSHIP_OK);
    until(has_read_back, "the picture");
    assert_string_equal(registry_cluster(registry)->sync.leader, "n1");
    (void)ask_put(loop, other, PREFIX "leader", "n2", 0);
    (void)ask_put(loop, other, PREFIX "sync", "{\"leader\":\"n2\",\"sync_standby\":\"n3\"}", 0);
    assert_int_equal(go_beside(), LEADERSHIP_LOST);
    AUTO(cluster) struct cluster *c = read_cluster();
    assert_string_equal(c->sync.leader, "n2");
    refresh();
    assert_false(lease().owner);
    assert_int_equal(go_beside(), LEADERSHIP_LOST);
}

/* ---- a key of an earlier life ---- */

/* In quorum mode the record says who leads: the key is put on our lease, the record stays as it is. */
static void test_a_key_of_an_earlier_life_follows_a_record_of_quorum_mode(void **state)
{
    static const char ours[] =
        "{\"version\":2,\"term\":5,\"leader\":\"n1\",\"timeline\":2,\"released\":false,\"mode\":\"quorum\","
        "\"phase\":\"open\",\"open\":{\"k\":0,\"members\":{}}}";
    AUTO(answer) struct answer then = ask_grant(loop, other, TTL_MS, BUDGET_MS);

    put_record(ours);
    int64_t written = revision_of("pgkeep");
    (void)ask_put(loop, other, PREFIX "leader", "n1", then.lease);
    leadership_renew(leadership);
    until(owns, "ownership");
    assert_int_equal(lease().term, 5);
    assert_int_equal(revision_of("pgkeep"), written);
    renew();
    assert_true(lease().owner);
}

static void test_a_key_of_an_earlier_life_is_left_where_the_record_says_another(void **state)
{
    static const char theirs[] =
        "{\"version\":2,\"term\":5,\"leader\":\"n2\",\"timeline\":2,\"released\":false,\"mode\":\"quorum\","
        "\"phase\":\"elected\",\"open\":{\"k\":0,\"members\":{}}}";
    AUTO(answer) struct answer then = ask_grant(loop, other, TTL_MS, BUDGET_MS);

    put_record(theirs);
    int64_t key = ask_put(loop, other, PREFIX "leader", "n1", then.lease);
    leadership_renew(leadership);
    until(has_lease, "a lease");
    refresh();
    renew();
    assert_false(lease().owner);
    assert_int_equal(revision_of("leader"), key);
}

static char *record_of(term under, const char *leader)
{
    AUTO(cstr) char *name = str_dup(leader);
    struct record_key record = {.term = under, .timeline = 1, .leader = name};

    return record_key_text(&record);
}

static void find_a_key_of_ours(void)
{
    AUTO(answer) struct answer then = ask_grant(loop, other, TTL_MS, BUDGET_MS);
    AUTO(cstr) char *record = record_of(5, "n1");

    (void)ask_put(loop, other, PREFIX "pgkeep", record, 0);
    (void)ask_put(loop, other, PREFIX "leader", "n1", then.lease);
    leadership_renew(leadership);
    until(owns, "ownership");
}

/* The host was made anew under its old name; the old one may be cut off and serve until its lease ends. */
static void test_a_key_that_we_never_served_under_is_not_said_to_be_free(void **state)
{
    status = NULL;
    find_a_key_of_ours();
    assert_int_equal(release(), LEADERSHIP_OK);
    AUTO(cluster) struct cluster *c = read_cluster();
    assert_null(c->leader);
    assert_false(c->record.released);
}

static void test_a_key_of_an_earlier_life_is_free_when_its_primary_says_so(void **state)
{
    find_a_key_of_ours();
    assert_int_equal(release(), LEADERSHIP_OK);
    AUTO(cluster) struct cluster *c = read_cluster();
    assert_true(c->record.released);
}

static bool owner(void)
{
    return lease().owner;
}

static bool leader_is(const char *name)
{
    AUTO(cluster) struct cluster *c = read_cluster();

    return str_eq(c->leader, name);
}

static bool is_free(void)
{
    return leader_is(NULL);
}

static bool is_ours(void)
{
    AUTO(cluster) struct cluster *c = read_cluster();

    return lease().exists && c->leader_lease == lease().id;
}

/* What its transaction did was seen in the store, used, and given up, before its answer came. */
static void test_an_answer_that_comes_late_does_not_bring_a_released_key_back(void **state)
{
    AUTO(answer) struct answer then = ask_grant(loop, other, TTL_MS, BUDGET_MS);
    AUTO(cstr) char *record = record_of(5, "n1");

    (void)ask_put(loop, other, PREFIX "pgkeep", record, 0);
    (void)ask_put(loop, other, PREFIX "leader", "n1", then.lease);
    refresh();
    mem_server_hold_answers(server, true);
    leadership_renew(leadership);
    until(is_ours, "the key on our lease");
    registry_refresh(registry);
    until(owner, "ownership by reading");
    leadership_release(leadership, take, NULL);
    until(is_free, "the release");
    last.done = false;
    mem_server_hold_answers(server, false);
    until(is_done, "the answers");
    assert_false(lease().owner);
    AUTO(cluster) struct cluster *c = read_cluster();
    assert_null(c->leader);
}

/* ---- failsafe_mode ---- */

static bool asks(const char *name)
{
    json_t *whom = leadership_failsafe(leadership);
    bool is_asked = json_object_get(whom, name);

    json_decref(whom);
    return is_asked;
}

static bool asks_n2(void)
{
    return asks("n2");
}

static bool asks_n2_no_more(void)
{
    return !asks("n2");
}

/* It reads itself in /failsafe, perhaps, and may become primary without having granted anything. */
static void test_who_is_in_a_list_that_may_have_arrived_is_asked(void **state)
{
    lead();
    failsafe_list = "{\"n2\":\"http://n2/patroni\"}";
    leadership_publish(leadership);
    until(asks_n2, "the first list");

    mem_server_set_fault(server, MEM_LOSE_ANSWERS);
    failsafe_list = "{\"n2\":\"http://n2/patroni\",\"n3\":\"http://n3/patroni\"}";
    leadership_publish(leadership);
    run_for(loop, 50);
    failsafe_list = "{}";
    leadership_publish(leadership);
    run_for(loop, 50);
    assert_true(asks("n3"));

    mem_server_set_fault(server, MEM_HEALTHY);
    leadership_publish(leadership);
    until(asks_n2_no_more, "the list without anybody");
    assert_false(asks("n3"));
}

static void test_a_member_that_is_not_in_the_list_yet_is_asked(void **state)
{
    lead();
    failsafe_list = "{\"n2\":\"http://n2/patroni\"}";
    leadership_publish(leadership);
    until(asks_n2, "the list");
    (void)ask_put(loop, other, PREFIX "members/n3", "{\"api_url\": \"http://n3/patroni\"}", 0);
    refresh();
    assert_true(asks("n3"));
}

/* ---- the electorate of a peer lease ---- */

/* The record, which is ours, has these two and us from now on. */
static enum leadership_result begin_electorate(void)
{
    struct ha_plan plan = {.count = 0};

    refresh();
    struct ha_record_change *c = plan_record(&plan, &registry_cluster(registry)->record);
    record_key_drop_electorate(&c->next);
    c->next.electorate.lease_ms = 4000;
    record_electorate_add(&c->next.electorate, "n1");
    record_electorate_add(&c->next.electorate, "n2");
    record_electorate_add(&c->next.electorate, "n3");
    last.done = false;
    leadership_change(leadership, c, take, NULL);
    assert_non_null(lease().electorate_doubt); /* from before it is sent */
    until(is_done, "the change");
    plan_reset(&plan);
    return last.result;
}

static enum leadership_result end_electorate(void)
{
    struct ha_plan plan = {.count = 0};

    refresh();
    struct ha_record_change *c = plan_record(&plan, &registry_cluster(registry)->record);
    record_key_drop_electorate(&c->next);
    last.done = false;
    leadership_change(leadership, c, take, NULL);
    until(is_done, "the change");
    plan_reset(&plan);
    return last.result;
}

static void test_an_electorate_is_obeyed_until_the_record_is_known_to_have_none(void **state)
{
    lead();
    assert_int_equal(begin_electorate(), LEADERSHIP_OK);
    assert_null(lease().electorate_doubt);
    assert_int_equal(lease().electorate->count, 3);
    mem_server_set_fault(server, MEM_LATE);
    assert_int_equal(end_electorate(), LEADERSHIP_UNSURE);
    refresh();
    assert_int_equal(lease().electorate->count, 3);
    mem_server_set_fault(server, MEM_HEALTHY);
    mem_server_deliver(server);
    refresh();
    assert_null(lease().electorate);
}

static void test_an_electorate_in_doubt_may_come_later(void **state)
{
    lead();
    mem_server_set_fault(server, MEM_LATE);
    assert_int_equal(begin_electorate(), LEADERSHIP_UNSURE);
    refresh();
    assert_non_null(lease().electorate_doubt);
    assert_null(lease().electorate);
    mem_server_set_fault(server, MEM_HEALTHY);
    mem_server_deliver(server);
    refresh();
    assert_null(lease().electorate_doubt);
    assert_int_equal(lease().electorate->count, 3);
}

static void test_another_record_ends_the_doubt(void **state)
{
    lead();
    mem_server_set_fault(server, MEM_LATE);
    assert_int_equal(begin_electorate(), LEADERSHIP_UNSURE);
    mem_server_set_fault(server, MEM_HEALTHY);
    until(has_read_back, "the picture");
    assert_non_null(lease().electorate_doubt);
    assert_int_equal(end_electorate(), LEADERSHIP_OK);
    assert_null(lease().electorate_doubt);
    mem_server_deliver(server);
    refresh();
    assert_null(lease().electorate);
}

/* Whoever took the key from us by the electorate left a record without one. */
static void test_who_is_deposed_still_obeys(void **state)
{
    static const char deposed[] =
        "{\"version\":2,\"term\":1,\"leader\":\"n1\",\"timeline\":2,\"released\":true,\"deposed\":true}";

    lead();
    assert_int_equal(begin_electorate(), LEADERSHIP_OK);
    put_record(deposed);
    (void)ask_delete(loop, other, PREFIX "leader");
    until(owns_not, "the loss of the key");
    refresh();
    assert_int_equal(lease().electorate->count, 3);
    assert_int_equal(acquire(), LEADERSHIP_OK);
    assert_null(lease().electorate);
    AUTO(cluster) struct cluster *c = read_cluster();
    assert_false(c->record.deposed);
}

static void test_a_record_that_says_that_the_fence_is_off_has_no_electorate(void **state)
{
    lead();
    assert_int_equal(begin_electorate(), LEADERSHIP_OK);
    leadership_tell(leadership, true);
    until(is_unfenced, "the record");
    assert_null(lease().electorate);
    AUTO(cluster) struct cluster *c = read_cluster();
    assert_int_equal(c->record.electorate.count, 0);
    assert_true(c->record.unfenced);
}

static void test_a_leader_is_deposed_only_while_its_key_is_as_it_was_read(void **state)
{
    struct ha_plan plan = {.count = 0};

    follow_n2();
    refresh();
    struct ha_record_change *c = plan_record(&plan, &registry_cluster(registry)->record);
    c->next.released = c->next.deposed = true;
    c->drop_leader_key = c->drops_as_read = true;
    c->drop_revision = registry_cluster(registry)->leader_revision;
    (void)ask_put(loop, other, PREFIX "leader", "n3", 0); /* a Patroni's, which writes no record */
    last.done = false;
    leadership_change(leadership, c, take, NULL);
    until(is_done, "the change");
    plan_reset(&plan);
    assert_int_equal(last.result, LEADERSHIP_LOST);
    AUTO(cluster) struct cluster *now = read_cluster();
    assert_string_equal(now->leader, "n3");
    assert_false(now->record.released);
}

/* ---- a store that is put back to an earlier state ---- */

static bool is_stranger(void)
{
    const struct cluster *c = registry_cluster(registry);

    return lease().exists && !lease().renewing && (!c->leader || c->leader_lease != lease().id);
}

static bool reads_leader(const char *name)
{
    const struct cluster *c = registry_cluster(registry);

    return c && str_eq(c->leader, name);
}

static bool reads_n1(void)
{
    return reads_leader("n1");
}

static bool reads_n2(void)
{
    return reads_leader("n2");
}

static bool reads_nobody(void)
{
    return reads_leader(NULL);
}

static bool reads_no_record(void)
{
    return !registry_cluster(registry)->record.present;
}

static void n2_leads(int of_term)
{
    AUTO(cstr) char *record = record_of((term)of_term, "n2");

    (void)ask_put(loop, other, PREFIX "pgkeep", record, 0);
    (void)ask_put(loop, other, PREFIX "leader", "n2", 0);
    until(reads_n2, "the reign of n2");
}

/* n2 has written since what n1 may not have: who is to lead is for positions to decide. */
static void test_a_leader_of_the_past_lets_its_key_end(void **state)
{
    lead();
    mem_server_backup(server);
    assert_int_equal(release(), LEADERSHIP_OK);
    n2_leads(2);

    mem_server_restore(server); /* with the very lease that is ours still */
    until(reads_n1, "the earlier state");
    leadership_renew(leadership);
    until(is_stranger, "another lease");
    assert_false(lease().owner);
    mem_server_advance(server, TTL_MS);
    until(reads_nobody, "the end of the key");
}

static void test_a_leader_of_the_past_does_not_take_a_key_of_another_lease(void **state)
{
    AUTO(answer) struct answer then = ask_grant(loop, other, TTL_MS, BUDGET_MS);
    AUTO(cstr) char *record = record_of(5, "n1");
    (void)ask_put(loop, other, PREFIX "pgkeep", record, 0);
    (void)ask_put(loop, other, PREFIX "leader", "n1", then.lease);
    mem_server_backup(server);
    n2_leads(6);

    mem_server_restore(server);
    until(reads_n1, "the earlier state");
    leadership_renew(leadership);
    until(is_stranger, "a lease");
    refresh();
    assert_false(lease().owner);
    assert_int_equal(registry_cluster(registry)->leader_lease, then.lease);
}

/* What it wins there it wins, however far the count had gone before. */
static void test_an_election_in_a_store_that_went_back_counts(void **state)
{
    leadership_renew(leadership);
    until(has_lease, "a lease");
    mem_server_backup(server);
    for (int i = 0; i < 10; i++)
        n2_leads(i);
    (void)ask_delete(loop, other, PREFIX "leader");
    until(reads_nobody, "the key's end");
    assert_int_equal(acquire(), LEADERSHIP_OK);
    assert_int_equal(lease().term, 10);
    assert_int_equal(release(), LEADERSHIP_OK);

    mem_server_restore(server);
    until(reads_no_record, "the earlier state");
    mem_server_set_fault(server, MEM_LOSE_ANSWERS);
    assert_int_equal(acquire(), LEADERSHIP_UNSURE);
    mem_server_set_fault(server, MEM_HEALTHY);
    refresh();
    until(owns, "ownership");
    assert_int_equal(lease().term, 1);
}

int main(void)
{
#define LEADERSHIP_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        LEADERSHIP_TEST(test_a_release_is_told_to_everybody),
        LEADERSHIP_TEST(test_a_release_that_arrives_late_does_not_take_away_what_was_put_anew),
        LEADERSHIP_TEST(test_a_release_that_arrives_before_the_key_is_put_anew_counts),
        LEADERSHIP_TEST(test_a_renewal_that_arrives_late_does_not_bring_an_old_term_back),
        LEADERSHIP_TEST(test_what_the_record_says_of_the_fence_is_known_or_not_believed),
        LEADERSHIP_TEST(test_ownership_whose_answer_was_lost_is_learnt_by_reading),
        LEADERSHIP_TEST(test_a_key_that_somebody_removed_ends_ownership_with_the_next_renewal),
        LEADERSHIP_TEST(test_a_renewal_changes_the_beat_and_leaves_the_record_alone),
        LEADERSHIP_TEST(test_the_beat_outlives_the_lease),
        LEADERSHIP_TEST(test_a_record_that_another_changed_is_no_lost_leader_key),
        LEADERSHIP_TEST(test_a_release_over_a_record_that_another_changed_is_decided_anew),
        LEADERSHIP_TEST(test_a_record_that_is_removed_is_written_anew),
        LEADERSHIP_TEST(test_a_record_of_a_newer_version_is_left_as_it_is),
        LEADERSHIP_TEST(test_a_coordinator_takes_a_term_over_a_leader_that_it_is_not),
        LEADERSHIP_TEST(test_the_leader_key_changes_with_the_record),
        LEADERSHIP_TEST(test_a_change_over_another_record_than_was_read_is_lost),
        LEADERSHIP_TEST(test_nothing_is_changed_before_what_became_of_a_change_is_known),
        LEADERSHIP_TEST(test_a_change_that_arrives_late_does_not_come_after_a_later_one),
        LEADERSHIP_TEST(test_a_leader_writes_nothing_into_a_term_that_another_took),
        LEADERSHIP_TEST(test_a_leader_that_was_replaced_does_not_write_the_sync_key),
        LEADERSHIP_TEST(test_a_key_of_an_earlier_life_follows_a_record_of_quorum_mode),
        LEADERSHIP_TEST(test_a_key_of_an_earlier_life_is_left_where_the_record_says_another),
        LEADERSHIP_TEST(test_a_key_that_we_never_served_under_is_not_said_to_be_free),
        LEADERSHIP_TEST(test_a_key_of_an_earlier_life_is_free_when_its_primary_says_so),
        LEADERSHIP_TEST(test_an_answer_that_comes_late_does_not_bring_a_released_key_back),
        LEADERSHIP_TEST(test_who_is_in_a_list_that_may_have_arrived_is_asked),
        LEADERSHIP_TEST(test_a_member_that_is_not_in_the_list_yet_is_asked),
        LEADERSHIP_TEST(test_an_electorate_is_obeyed_until_the_record_is_known_to_have_none),
        LEADERSHIP_TEST(test_an_electorate_in_doubt_may_come_later),
        LEADERSHIP_TEST(test_another_record_ends_the_doubt),
        LEADERSHIP_TEST(test_who_is_deposed_still_obeys),
        LEADERSHIP_TEST(test_a_record_that_says_that_the_fence_is_off_has_no_electorate),
        LEADERSHIP_TEST(test_a_leader_is_deposed_only_while_its_key_is_as_it_was_read),
        LEADERSHIP_TEST(test_a_leader_of_the_past_lets_its_key_end),
        LEADERSHIP_TEST(test_a_leader_of_the_past_does_not_take_a_key_of_another_lease),
        LEADERSHIP_TEST(test_an_election_in_a_store_that_went_back_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
