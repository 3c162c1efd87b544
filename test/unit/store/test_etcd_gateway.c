/*
 * The etcd client against gateways that follow a script: what a real etcd does rarely, on demand.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "io/loop.h"
#include "test/lib/fake_http.h"
#include "test/unit/store/ask.h"
#include "wire/conf/settings.h"

enum { SERVERS = 2 };

/* How a path is answered. */
enum manner { WELL, SILENT, HANG_UP, GARBAGE, CUT, SCRIPTED };

struct gateway {
    struct fake_http http;
    const char *version;
    enum manner range, txn, keepalive;
    const char *scripted; /* body of a SCRIPTED answer */
    int scripted_status;
    uint64_t cluster_id, raft_term;
    int64_t revision, newest; /* of the last change under the prefix; 0: no key */
    int ranges, txns, keepalives, watches;
    int64_t watch_from;       /* start_revision of the last watch */
    struct fake_peer *watch;  /* its connection */
    const char *watch_answer; /* NULL: "created"; "": nothing */
};

static struct loop *loop;
static struct gateway gateways[SERVERS];
static struct store *store;
static struct story story;

/* ---- the script ---- */

static char *header_of(const struct gateway *g)
{
    return str_fmt("\"header\":{\"cluster_id\":\"%" PRIu64 "\",\"raft_term\":\"%" PRIu64 "\",\"revision\":\"%" PRId64
                   "\"}",
                   g->cluster_id, g->raft_term, g->revision);
}

static void answer(const struct gateway *g, struct fake_peer *peer, enum manner manner, const char *rest)
{
    AUTO(cstr) char *header = header_of(g);
    AUTO(cstr) char *body = str_fmt("{%s%s}", header, rest);

    switch (manner) {
    case WELL:
        fake_http_answer(peer, 200, body);
        return;
    case SILENT:
        return;
    case HANG_UP:
        fake_http_close(peer);
        return;
    case GARBAGE:
        fake_http_answer(peer, 200, "<html>");
        return;
    case CUT:
        fake_http_send(peer, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"succeeded\":true");
        fake_http_close(peer);
        return;
    case SCRIPTED:
        fake_http_answer(peer, g->scripted_status, g->scripted);
        return;
    }
}

static void begin_watch(struct gateway *g, struct fake_peer *peer, const char *body)
{
    const char *from = strstr(body, "\"start_revision\":\"");
    AUTO(cstr) char *header = header_of(g);
    AUTO(cstr) char *created = str_fmt("{\"result\":{%s,\"created\":true}}\n", header);

    assert_non_null(from);
    assert_non_null(strstr(body, "\"progress_notify\":true"));
    g->watches++;
    g->watch_from = strtoll(from + 18, NULL, 10);
    g->watch = peer;
    fake_http_stream(peer);
    if (!g->watch_answer || *g->watch_answer)
        fake_http_piece(peer, g->watch_answer ? g->watch_answer : created);
}

static void serve(struct fake_peer *peer, const char *text, const char *path, const char *body, void *arg)
{
    struct gateway *g = arg;
    const char *below = path + strcspn(path + 1, "/") + 1; /* what follows "/v3" */

    if (str_eq(path, "/version")) {
        if (g->version)
            fake_http_answer(peer, 200, g->version);
        return;
    }

    assert_non_null(strstr(text, "\r\nGrpc-Metadata-hasleader: true\r\n"));
    if (str_eq(below, "/kv/range")) {
        AUTO(cstr) char *kvs = str_fmt(",\"kvs\":[{\"key\":\"YQ==\",\"mod_revision\":\"%" PRId64 "\"}]", g->newest);
        g->ranges++;
        assert_null(strstr(body, "serializable"));
        answer(g, peer, g->range, g->newest ? kvs : "");
    } else if (str_eq(below, "/kv/txn")) {
        g->txns++;
        answer(g, peer, g->txn, ",\"succeeded\":true");
    } else if (str_eq(below, "/lease/keepalive")) {
        g->keepalives++;
        answer(g, peer, g->keepalive, ",\"ID\":\"5\",\"TTL\":\"30\"");
    } else {
        assert_string_equal(below, "/watch");
        begin_watch(g, peer, body);
    }
}

static int setup(void **state)
{
    static char hosts_text[SERVERS][32];
    static char *hosts[SERVERS];
    struct settings settings = {.store.kind = STORE_ETCD3, .store.hosts = {hosts, SERVERS}};

    loop = loop_new();
    for (size_t i = 0; i < SERVERS; i++) {
        gateways[i] = (struct gateway){
            .version = "{\"etcdserver\":\"3.4.23\"}", .cluster_id = 1, .raft_term = 5, .revision = 100};
        fake_http_start(&gateways[i].http, loop, 16, serve, &gateways[i]);
        (void)snprintf(hosts_text[i], sizeof(hosts_text[i]), "127.0.0.1:%d", gateways[i].http.port);
        hosts[i] = hosts_text[i];
    }
    return store_new(loop, &settings, &store, NULL) ? 0 : -1;
}

static int teardown(void **state)
{
    if (story.watch)
        story_end(&story);
    story = (struct story){0};
    store_free(store);
    for (size_t i = 0; i < SERVERS; i++)
        fake_http_stop(&gateways[i].http);
    loop_free(loop);
    return 0;
}

static struct answer put(msec budget_ms)
{
    const struct store_op op = {.kind = STORE_PUT, .key = "a", .value = "v"};

    return ask_txn(loop, store, &(struct store_txn){.then = &op, .then_count = 1}, budget_ms);
}

static void script(struct gateway *g, int status, const char *body)
{
    g->scripted_status = status;
    g->scripted = body;
}

/* ---- requests ---- */

static void test_the_gateways_path_is_chosen_from_the_version_and_again_after_a_failure(void **state)
{
    gateways[0].version = "{\"etcdserver\":\"3.3.27\",\"etcdcluster\":\"3.3.0\"}";
    AUTO(answer) struct answer a = put(2000);
    assert_int_equal(a.status, STORE_DONE);
    assert_true(str_starts(buf_cstr(&gateways[0].http.last), "POST /v3beta/kv/txn "));
    AUTO(answer) struct answer b = put(2000);
    assert_int_equal(b.status, STORE_DONE);
    assert_int_equal(gateways[0].http.requests, 3); /* asked once */

    gateways[0].range = HANG_UP;
    AUTO(answer) struct answer read = ask_get_prefix(loop, store, "a", 2000);
    assert_int_equal(read.status, STORE_DONE);
    gateways[0].version = "{\"etcdserver\":\"3.2.9\"}";
    gateways[1].range = HANG_UP;
    gateways[0].range = WELL;
    AUTO(answer) struct answer again = ask_get_prefix(loop, store, "a", 2000);
    assert_int_equal(again.status, STORE_DONE);
    assert_true(str_starts(buf_cstr(&gateways[0].http.last), "POST /v3alpha/kv/range "));
}

static void test_a_member_whose_version_is_not_told_is_passed_over_for_changes_too(void **state)
{
    gateways[0].version = NULL; /* silent */
    AUTO(answer) struct answer a = put(2000);
    assert_int_equal(a.status, STORE_DONE);
    assert_int_equal(gateways[0].txns, 0);
    assert_int_equal(gateways[1].txns, 1);

    gateways[1].version = "<html>";
    gateways[1].range = HANG_UP; /* so that it is asked again */
    gateways[0].version = "{\"etcdserver\":\"3.4.23\"}";
    AUTO(answer) struct answer b = ask_get_prefix(loop, store, "a", 2000);
    assert_int_equal(b.status, STORE_DONE);
    assert_int_equal(gateways[0].ranges, 1);
}

static void test_a_change_whose_outcome_is_not_known_is_never_sent_again(void **state)
{
    static const enum manner manners[] = {SILENT, HANG_UP, GARBAGE, CUT};

    for (size_t i = 0; i < ARRAY_LEN(manners); i++) {
        int before = gateways[0].txns + gateways[1].txns;
        gateways[0].txn = gateways[1].txn = manners[i];
        AUTO(answer) struct answer a = put(1200);
        assert_int_equal(a.status, STORE_UNKNOWN);
        run_for(loop, 100);
        assert_int_equal(gateways[0].txns + gateways[1].txns, before + 1);
    }
    gateways[0].txn = gateways[1].txn = SCRIPTED;
    script(&gateways[0], 503, "{\"error\":\"etcdserver: request timed out\",\"code\":14}");
    gateways[1].scripted_status = 503;
    gateways[1].scripted = gateways[0].scripted;
    int before = gateways[0].txns + gateways[1].txns;
    AUTO(answer) struct answer a = put(1200);
    assert_int_equal(a.status, STORE_UNKNOWN);
    assert_non_null(strstr(a.err.text, "request timed out"));
    assert_int_equal(gateways[0].txns + gateways[1].txns, before + 1);
}

static void test_a_change_that_a_member_could_not_take_goes_to_the_next(void **state)
{
    gateways[0].txn = SCRIPTED;
    script(&gateways[0], 503, "{\"error\":\"etcdserver: no leader\",\"code\":14}");
    AUTO(answer) struct answer a = put(2000);
    assert_int_equal(a.status, STORE_DONE);
    assert_int_equal(gateways[0].txns, 1);
    assert_int_equal(gateways[1].txns, 1);

    /* Nobody could: that is a refusal, and it took as long as it was allowed to. */
    gateways[1].txn = SCRIPTED;
    script(&gateways[1], 503, "{\"code\":14,\"message\":\"etcdserver: no leader\"}");
    AUTO(answer) struct answer b = put(700);
    assert_int_equal(b.status, STORE_REFUSED);
    assert_in_range(b.took_ms, 200, 1500);
}

static void test_both_forms_of_error_are_refusals(void **state)
{
    gateways[0].txn = SCRIPTED;
    script(&gateways[0], 400,
           "{\"error\":\"etcdserver: duplicate key\",\"message\":\"etcdserver: duplicate key\",\"code\":3}");
    AUTO(answer) struct answer a = put(2000);
    assert_int_equal(a.status, STORE_REFUSED);
    script(&gateways[0], 400, "{\"code\":3,\"message\":\"etcdserver: duplicate key\"}");
    AUTO(answer) struct answer b = put(2000);
    assert_int_equal(b.status, STORE_REFUSED);
    assert_non_null(strstr(b.err.text, "etcdserver: duplicate key"));
    assert_int_equal(gateways[0].txns, 2);
    assert_int_equal(gateways[1].txns, 0);
}

static void test_a_read_and_a_renewal_are_repeated_at_the_next_member(void **state)
{
    static const enum manner manners[] = {SILENT, HANG_UP, GARBAGE, CUT};

    for (size_t i = 0; i < ARRAY_LEN(manners); i++) {
        struct gateway *bad = &gateways[i % 2]; /* the one that answered last */
        gateways[0].range = gateways[1].range = gateways[0].keepalive = gateways[1].keepalive = WELL;
        bad->range = bad->keepalive = manners[i];
        AUTO(answer) struct answer read = ask_get_prefix(loop, store, "a", 1200);
        assert_int_equal(read.status, STORE_DONE);
        bad->range = WELL;
        AUTO(answer) struct answer renewed = ask_keepalive(loop, store, 5, 1200);
        assert_int_equal(renewed.status, STORE_DONE);
        assert_int_equal(renewed.ttl_ms, 30000);
    }
    assert_true(gateways[0].ranges >= 4);
    assert_true(gateways[1].ranges >= 4);
}

static void test_a_renewals_deadline_counts_from_the_attempt_that_was_answered(void **state)
{
    gateways[0].keepalive = SILENT;
    msec begin_ms = loop_clock_ms();
    AUTO(answer) struct answer renewed = ask_keepalive(loop, store, 5, 2000);
    assert_int_equal(renewed.status, STORE_DONE);
    assert_true(renewed.sent_at_ms >= begin_ms + 950); /* half of the budget was the other's */
    assert_true(renewed.sent_at_ms <= loop_clock_ms());
}

static void test_keepalive_of_a_dead_lease_answers_200_without_ttl_or_with_an_error_inside(void **state)
{
    static const char *const bodies[] = {
        "{\"result\":{\"header\":{\"cluster_id\":\"1\",\"revision\":\"1\",\"raft_term\":\"5\"},\"ID\":\"5\"}}\n",
        "{\"error\":{\"grpc_code\":5,\"http_code\":404,\"message\":\"etcdserver: requested lease not found\","
        "\"http_status\":\"Not Found\"}}",
    };

    gateways[0].keepalive = SCRIPTED;
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        script(&gateways[0], 200, bodies[i]);
        AUTO(answer) struct answer a = ask_keepalive(loop, store, 5, 2000);
        assert_int_equal(a.status, STORE_DONE);
        assert_int_equal(a.ttl_ms, 0);
        assert_int_equal(a.lease, 5);
    }
}

static void test_an_error_inside_a_200_is_an_error(void **state)
{
    gateways[0].keepalive = SCRIPTED;
    script(&gateways[0], 200, "{\"error\":{\"grpc_code\":2,\"message\":\"not a primary lessor\"}}");
    AUTO(answer) struct answer a = ask_keepalive(loop, store, 5, 2000);
    assert_int_equal(a.status, STORE_DONE);
    assert_int_equal(a.ttl_ms, 30000); /* from the other member */
    assert_int_equal(gateways[0].keepalives, 1);
}

static void test_a_gateway_that_is_switched_off_is_named(void **state)
{
    gateways[0].range = gateways[1].range = SCRIPTED;
    script(&gateways[0], 404, "404 page not found\n");
    script(&gateways[1], 404, "404 page not found\n");
    AUTO(answer) struct answer a = ask_get_prefix(loop, store, "a", 600);
    assert_true(a.status != STORE_DONE);
    assert_non_null(strstr(a.err.text, "--enable-grpc-gateway"));
}

static void test_no_budget_at_all_ends_in_a_callback_and_sends_nothing(void **state)
{
    AUTO(answer) struct answer a = put(0);
    assert_int_equal(a.status, STORE_AWAY);
    assert_int_equal(a.err.code, ERR_TIMEOUT);
    assert_int_equal(gateways[0].http.accepted, 0);
}

/* ---- watches ---- */

static struct gateway *const first = &gateways[0];

/* Whatever happens to the first one, there is no other to go to. */
static void only_the_first_answers(void)
{
    gateways[1].range = HANG_UP;
}

static void begin_story(int64_t revision)
{
    msec end_ms = loop_clock_ms() + 5000;

    story_begin(&story, store, "a", revision);
    while (!first->watches && loop_clock_ms() < end_ms)
        loop_turn(loop, 10);
    assert_int_equal(first->watches, 1);
    run_for(loop, 20);
}

static void await_watches(const struct gateway *g, int count, msec patience_ms)
{
    msec end_ms = loop_clock_ms() + patience_ms;

    while (g->watches < count && loop_clock_ms() < end_ms)
        loop_turn(loop, 10);
    assert_true(g->watches >= count);
}

static void send_watch(struct gateway *g, const char *rest)
{
    AUTO(cstr) char *header = header_of(g);
    AUTO(cstr) char *message = str_fmt("{\"result\":{%s%s}}\n", header, rest);

    fake_http_piece(g->watch, message);
}

#define EVENT(revision) \
    ",\"events\":[{\"kv\":{\"key\":\"YQ==\",\"value\":\"dg==\",\"mod_revision\":\"" #revision "\"}}]"

static void test_a_watch_cut_into_single_bytes_is_put_together(void **state)
{
    AUTO(cstr) char *header = header_of(first);
    AUTO(cstr)
    char *messages = str_fmt("{\"result\":{%s" EVENT(101) "}}\n{\"result\":{%s" EVENT(102) "}}\n", header, header);

    begin_story(101);
    for (const char *at = messages; *at; at++) {
        const char piece[] = {*at, '\0'};
        fake_http_piece(first->watch, piece);
        loop_turn(loop, 0);
    }
    story_until(loop, &story, "put a=v@102 ", 5000);
    assert_string_equal(buf_cstr(&story.text), "put a=v@101 put a=v@102 ");
}

static void test_a_watch_goes_on_from_what_it_has_shown_or_was_told_to_have_seen(void **state)
{
    only_the_first_answers();
    begin_story(101);
    assert_int_equal(first->watch_from, 101);
    first->revision = 150;
    send_watch(first, EVENT(120)); /* the header is ahead of the event: other keys, or not yet sent */
    story_until(loop, &story, "@120 ", 5000);
    fake_http_close(first->watch);
    await_watches(first, 2, 5000);
    assert_int_equal(first->watch_from, 121);

    first->revision = 200;
    send_watch(first, ""); /* progress: everything up to the header's revision has been sent */
    run_for(loop, 50);
    fake_http_close(first->watch);
    await_watches(first, 3, 5000);
    assert_int_equal(first->watch_from, 201);
    story_until(loop, &story, "put a=v@120 lost back lost back ", 5000);
}

static void test_a_watch_that_is_refused_again_and_again_does_not_run_hot(void **state)
{
    first->watch_answer = "{\"result\":{\"header\":{\"cluster_id\":\"1\",\"raft_term\":\"5\"},\"created\":true,"
                          "\"canceled\":true,\"cancel_reason\":\"etcdserver: permission denied\"}}\n";
    begin_story(101);
    run_for(loop, 1500);
    assert_in_range(first->watches, 2, 6);
    assert_string_equal(buf_cstr(&story.text), "lost "); /* told once */
}

static void test_compaction_ends_a_watch_with_resync(void **state)
{
    begin_story(90);
    fake_http_piece(first->watch, "{\"result\":{\"header\":{\"cluster_id\":\"1\",\"raft_term\":\"5\"},"
                                  "\"canceled\":true,\"compact_revision\":\"95\"}}\n");
    story_until(loop, &story, "resync ", 5000);
    run_for(loop, 300);
    assert_int_equal(first->watches, 1); /* over: the caller reads and begins anew */
    assert_string_equal(buf_cstr(&story.text), "resync ");
}

static void test_another_cluster_id_ends_a_watch_with_resync(void **state)
{
    begin_story(101);
    first->cluster_id = 2;
    send_watch(first, EVENT(101));
    story_until(loop, &story, "resync ", 5000);
    assert_string_equal(buf_cstr(&story.text), "resync "); /* an event of another history is not shown */
}

static void test_a_raft_term_that_went_back_ends_a_watch_with_resync(void **state)
{
    only_the_first_answers();
    begin_story(101);
    first->raft_term = 6;
    first->revision = 110;
    send_watch(first, EVENT(101));
    first->raft_term = 4;
    fake_http_close(first->watch);
    story_until(loop, &story, "resync ", 5000);
    assert_int_equal(first->watches, 1); /* seen by the check before it opened again */
}

/* The same cluster id and a higher term, as after a forced new cluster from an old copy of the data. */
static void test_a_revision_that_went_back_ends_a_watch_with_resync(void **state)
{
    only_the_first_answers();
    begin_story(101);
    first->revision = 140;
    send_watch(first, EVENT(140));
    story_until(loop, &story, "@140 ", 5000);
    first->revision = 120;
    fake_http_close(first->watch);
    story_until(loop, &story, "resync ", 5000);
}

static void test_a_stream_that_does_not_show_what_has_happened_is_left(void **state)
{
    begin_story(101);
    first->newest = first->revision = 110; /* the check will see it, the stream never tells */
    await_watches(&gateways[1], 1, 12000);
    assert_int_equal(gateways[1].watch_from, 101);
    gateways[1].revision = 110;
    send_watch(&gateways[1], EVENT(110));
    story_until(loop, &story, "@110 ", 5000);
    assert_string_equal(buf_cstr(&story.text), "lost back put a=v@110 ");
}

static void test_a_stream_that_never_says_created_is_left(void **state)
{
    first->watch_answer = "";
    begin_story(101);
    await_watches(&gateways[1], 1, 10000);
    story_until(loop, &story, "lost back ", 5000);
}

static void test_a_stream_of_garbage_is_left_and_asked_again(void **state)
{
    begin_story(101);
    fake_http_piece(first->watch, "{\"result\":{}}\n");
    await_watches(first, 2, 5000);
    fake_http_piece(first->watch, "}}}}");
    await_watches(first, 3, 5000);
    fake_http_piece(first->watch, "{\"error\":{\"grpc_code\":14,\"message\":\"etcdserver: no leader\"}}\n");
    await_watches(first, 4, 5000);
    story_until(loop, &story, "back ", 5000);
}

#define GATEWAY_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        GATEWAY_TEST(test_the_gateways_path_is_chosen_from_the_version_and_again_after_a_failure),
        GATEWAY_TEST(test_a_member_whose_version_is_not_told_is_passed_over_for_changes_too),
        GATEWAY_TEST(test_a_change_whose_outcome_is_not_known_is_never_sent_again),
        GATEWAY_TEST(test_a_change_that_a_member_could_not_take_goes_to_the_next),
        GATEWAY_TEST(test_both_forms_of_error_are_refusals),
        GATEWAY_TEST(test_a_read_and_a_renewal_are_repeated_at_the_next_member),
        GATEWAY_TEST(test_a_renewals_deadline_counts_from_the_attempt_that_was_answered),
        GATEWAY_TEST(test_keepalive_of_a_dead_lease_answers_200_without_ttl_or_with_an_error_inside),
        GATEWAY_TEST(test_an_error_inside_a_200_is_an_error),
        GATEWAY_TEST(test_a_gateway_that_is_switched_off_is_named),
        GATEWAY_TEST(test_no_budget_at_all_ends_in_a_callback_and_sends_nothing),
        GATEWAY_TEST(test_a_watch_cut_into_single_bytes_is_put_together),
        GATEWAY_TEST(test_a_watch_goes_on_from_what_it_has_shown_or_was_told_to_have_seen),
        GATEWAY_TEST(test_a_watch_that_is_refused_again_and_again_does_not_run_hot),
        GATEWAY_TEST(test_compaction_ends_a_watch_with_resync),
        GATEWAY_TEST(test_another_cluster_id_ends_a_watch_with_resync),
        GATEWAY_TEST(test_a_raft_term_that_went_back_ends_a_watch_with_resync),
        GATEWAY_TEST(test_a_revision_that_went_back_ends_a_watch_with_resync),
        GATEWAY_TEST(test_a_stream_that_does_not_show_what_has_happened_is_left),
        GATEWAY_TEST(test_a_stream_that_never_says_created_is_left),
        GATEWAY_TEST(test_a_stream_of_garbage_is_left_and_asked_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
