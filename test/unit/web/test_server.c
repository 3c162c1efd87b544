/*
 * The REST server as clients see it: over sockets, with TLS, beside an agent that is quick, slow or stuck.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <curl/curl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/str.h"
#include "io/loop.h"
#include "test/lib/http_peer.h"
#include "test/lib/tls_files.h"
#include "test/unit/web/snapshots.h"
#include "web/op.h"
#include "web/server.h"

enum { WAIT_MS = 15 * 1000, US_PER_MS = 1000, SILENT = 100, FRESH_MS = 500, LEASE_MS = 1500 };

/* An answer needs about a millisecond; one that had to wait for silent connections would need five seconds. */
static const double PROMPT_S = 2;

/* ---- the node under test ---- */

static struct {
    struct settings settings;
    struct snapshot_board *board;
    struct web_server *server;
    int port;
    bool stuck;  /* the agent keeps its ops */
    bool ending; /* the agent takes no ops */
    struct op *kept;
    atomic_int ops;         /* that came */
    enum op_kind last_kind; /* written in the HTTP thread, read after the answer */
    char last_peer[256];
    char *last_body;
} t;

/* The clock of the server is the real one; snapshots are made relative to it. */
static struct snapshot *at_now(struct snapshot *s)
{
    msec shift_ms = loop_clock_ms() - NOW;

    s->taken_ms += shift_ms;
    s->loop_ran_ms += shift_ms;
    s->lease_deadline_ms += s->leader ? shift_ms : 0;
    return s;
}

static void answer(struct op *op)
{
    AUTO(cstr) char *body = op->body ? json_dumps(op->body, 0) : NULL;

    switch (op->kind) {
    case OP_FRESH_STATUS:
        snapshot_publish(t.board, at_now(standby_leader())); /* what the probe has found */
        op_reply(op, 200, NULL, "");
        break;
    case OP_RELOAD:
        op_reply(op, 202, NULL, "reload scheduled");
        break;
    case OP_RESTART:
        op_reply(op, 503, NULL, "restart conditions are not satisfied");
        break;
    case OP_RESTART_DELETE:
        op_reply(op, 404, NULL, "no restarts are scheduled");
        break;
    case OP_REINITIALIZE:
        op_reply(op, 200, NULL, "reinitialize started");
        break;
    case OP_RECOVER_RECORD:
        op_reply(op, 409, NULL, "there is nothing to recover");
        break;
    case OP_SWITCHOVER:
        op_reply(op, 200, NULL, "Successfully switched over to \"n2\"");
        break;
    case OP_FAILOVER:
        op_reply(op, 412, NULL, "candidate does not exists");
        break;
    case OP_SWITCHOVER_DELETE:
        op_reply(op, 409, NULL, NULL);
        break;
    case OP_CONFIG_PATCH:
        op_reply(op, 200, NULL, body);
        break;
    case OP_CONFIG_PUT:
        op_reply(op, 200, "Content-Type: application/json; x=y", body);
        break;
    case OP_FAILSAFE:
        op_reply(op, 200, "lsn: 5000000", "Accepted");
        break;
    case OP_EXPLAIN:
        op_reply(op, 200, "Content-Type: application/json", "{\"possible\":true}");
        break;
    case OP_PLAN:
        op_reply(op, 404, NULL, "no node n9 is known");
        break;
    }
}

static bool submit(struct op *take_op, void *arg)
{
    CHECK(arg == &t);
    if (t.ending)
        return false;
    t.last_kind = take_op->kind;
    str_copy(t.last_peer, sizeof(t.last_peer), take_op->peer);
    free(t.last_body);
    t.last_body = take_op->body ? json_dumps(take_op->body, 0) : NULL;
    atomic_fetch_add(&t.ops, 1);
    if (t.stuck)
        t.kept = take_op;
    else
        answer(take_op);
    return true;
}

static int setup(void **state)
{
    (void)state;
    memset(&t, 0, sizeof(t));
    t.settings.restapi.listen.host = (char *)"127.0.0.1";
    t.settings.restapi.request_queue_size = 5;
    t.board = snapshot_board_new();
    return 0;
}

static void start(struct snapshot *take_snapshot)
{
    struct err err;

    if (take_snapshot)
        snapshot_publish(t.board, at_now(take_snapshot));
    if (!web_server_start(&t.settings, t.board, submit, &t, &t.server, &err))
        fail_msg("%s", err.text);
    t.port = web_server_port(t.server);
}

static int teardown(void **state)
{
    (void)state;
    web_server_stop(t.server);
    if (t.kept)
        answer(t.kept);
    snapshot_board_free(t.board);
    json_decref(t.settings.restapi.http_extra_headers);
    json_decref(t.settings.restapi.https_extra_headers);
    free(t.last_body);
    return 0;
}

static void use_tls(const struct tls_files *files, enum verify_client verify)
{
    t.settings.restapi.certfile = (char *)files->cert;
    t.settings.restapi.keyfile = (char *)files->key;
    t.settings.restapi.cafile = (char *)files->ca;
    t.settings.restapi.verify_client = verify;
}

static struct peer_answer ask(const char *method, const char *path, const char *body)
{
    return peer_ask_once(&(struct peer_request){.port = t.port, .method = method, .path = path, .body = body});
}

/* Status, and (unless NULL) the whole body. */
static void expect(const char *method, const char *path, const char *body, int status, const char *answer_body)
{
    struct peer_answer a = ask(method, path, body);

    if (a.status != status || (answer_body && !str_eq(a.body, answer_body)))
        fail_msg("%s %s %s: %d %s", method, path, body ? body : "", a.status, a.body);
    peer_answer_deinit(&a);
}

static void expect_type(const char *method, const char *path, const char *body, const char *type)
{
    struct peer_answer a = ask(method, path, body);
    AUTO(cstr) char *line = str_fmt("\r\nContent-Type: %s\r\n", type);

    if (!strstr(a.headers, line))
        fail_msg("%s %s: %s", method, path, a.headers);
    peer_answer_deinit(&a);
}

static void expect_talk(const char *request, const char *wanted)
{
    AUTO(cstr) char *got = peer_talk(t.port, request);

    assert_string_equal(got, wanted);
}

/* ---- reading ---- */

/* Names and values in turn. */
static struct cluster *keys(const char *const *texts)
{
    struct cluster_key at[8];
    size_t count = 0;

    for (size_t i = 0; texts[i]; i += 2)
        at[count++] = (struct cluster_key){.name = texts[i], .value = texts[i + 1], .value_len = strlen(texts[i + 1])};
    return cluster_read(at, count, 1);
}

static void test_every_path_that_is_read_answers_with_its_code_and_type(void **state)
{
    struct snapshot *s = primary();

    (void)state;
    s->failsafe_mode_enabled = true;
    s->cluster = keys((const char *const[]){"config", "{\"ttl\": 30}", "history",
                                            "[[1, 25, \"no recovery target specified\", "
                                            "\"2026-11-24T09:00:00+00:00\", \"n1\"]]",
                                            "failsafe", "{\"n1\": \"http://127.0.0.1:8008/patroni\"}",
                                            "pgkeep_failovers/4/n1", "{\"v\":1,\"mode\":\"quorum\"}", NULL});
    start(s);
    expect("GET", "/cluster", NULL, 200, "{\"members\":[],\"scope\":\"demo\"}");
    expect("GET", "/config", NULL, 200, "{\"ttl\":30}");
    expect("GET", "/config/and/more?x=y", NULL, 200, "{\"ttl\":30}");
    expect("GET", "//config", NULL, 200, "{\"ttl\":30}");
    expect("GET", "/history", NULL, 200,
           "[[1,25,\"no recovery target specified\",\"2026-11-24T09:00:00+00:00\",\"n1\"]]");
    expect("GET", "/failsafe", NULL, 200, "{\"n1\":\"http://127.0.0.1:8008/patroni\"}");
    expect("GET", "/failovers/5", NULL, 404, "no report of that term is kept");
    expect("GET", "/failovers/4", NULL, 200, NULL);
    expect_type("GET", "/failovers", NULL, "application/json");
    expect_type("GET", "/cluster", NULL, "application/json");
    expect_type("GET", "/patroni", NULL, "application/json");
    expect_type("GET", "/primary", NULL, "application/json");
    expect_type("GET", "/metrics", NULL, "text/plain; version=0.0.4");

    struct peer_answer metrics = ask("GET", "/metrics", NULL);
    assert_int_equal(metrics.status, 200);
    assert_non_null(strstr(metrics.body, "\npatroni_primary{scope=\"demo\",name=\"n1\"} 1\n"));
    peer_answer_deinit(&metrics);
    assert_int_equal(atomic_load(&t.ops), 0);
}

static void test_what_the_store_has_not_told_is_an_error_of_its_own(void **state)
{
    (void)state;
    start(replica());
    expect("GET", "/config", NULL, 502, NULL);
    expect("GET", "/failsafe", NULL, 502, NULL);
    expect("GET", "/history", NULL, 200, "[]");
    expect("GET", "/failovers", NULL, 503, "the store has not been read yet");
    expect("GET", "/cluster", NULL, 503, NULL);
}

static void test_the_status_comes_with_every_health_check_and_an_unknown_path_is_one(void **state)
{
    static const struct {
        const char *path;
        int status;
    } rows[] = {{"/patroni", 200}, {"/", 200},       {"/primary", 200},
                {"/replica", 503}, {"/health", 200}, {"/nothing", 503}};

    (void)state;
    start(primary());
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct peer_answer a = ask("GET", rows[i].path, NULL);
        json_t *status = json_loads(a.body, 0, NULL);
        assert_int_equal(a.status, rows[i].status);
        assert_string_equal(json_string_value(json_object_get(status, "role")), "primary");
        json_decref(status);
        peer_answer_deinit(&a);
    }
}

static void test_head_and_options_are_a_bare_status_line_on_every_path(void **state)
{
    (void)state;
    start(primary());
    expect_talk("OPTIONS /primary HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n"); /* as HAProxy asks */
    expect_talk("OPTIONS / HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n");
    expect_talk("HEAD /primary HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n");
    expect_talk("HEAD /replica?lag=1MB HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.0 503 Service Unavailable\r\n\r\n");
    /* They never reach what GET would: Patroni's quirk, which checks may rely on. */
    expect_talk("HEAD /patroni HTTP/1.0\r\n\r\n", "HTTP/1.0 503 Service Unavailable\r\n\r\n");
    expect_talk("OPTIONS /metrics HTTP/1.0\r\n\r\n", "HTTP/1.0 503 Service Unavailable\r\n\r\n");
    expect_talk("OPTIONS /liveness HTTP/1.0\r\n\r\n", "HTTP/1.0 503 Service Unavailable\r\n\r\n");
    expect_talk("HEAD /config HTTP/1.0\r\n\r\n", "HTTP/1.0 503 Service Unavailable\r\n\r\n");
}

static void test_liveness_and_readiness_are_a_bare_status_line(void **state)
{
    (void)state;
    start(replica());
    expect_talk("GET /liveness HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n");
    expect_talk("GET /readiness?lag=1kB&mode=write HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n");
    expect("GET", "/liveness", NULL, 200, "");
}

static void test_the_lease_is_judged_at_the_moment_of_the_request(void **state)
{
    struct snapshot *s = primary();

    (void)state;
    s->lease_deadline_ms = NOW + LEASE_MS;
    start(s);
    expect("GET", "/primary", NULL, 200, NULL);
    expect("GET", "/leader", NULL, 200, NULL);
    (void)usleep((LEASE_MS + 50) * US_PER_MS);
    expect("GET", "/primary", NULL, 503, NULL); /* nobody has published anything new */
    expect("GET", "/leader", NULL, 503, NULL);
}

static void test_the_newest_snapshot_is_the_one_that_answers(void **state)
{
    (void)state;
    start(NULL);
    expect("GET", "/patroni", NULL, 200, NULL); /* before the first */
    expect("GET", "/health", NULL, 503, NULL);
    snapshot_publish(t.board, at_now(replica()));
    expect("GET", "/replica", NULL, 200, NULL);
    snapshot_publish(t.board, at_now(primary()));
    expect("GET", "/replica", NULL, 503, NULL);
    expect("GET", "/primary", NULL, 200, NULL);
}

static void test_a_fresh_status_waits_for_the_agent_but_not_for_long(void **state)
{
    struct peer_answer a;

    (void)state;
    start(replica());
    a = ask("GET", "/patroni?fresh=1", NULL);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "\"role\": \"standby_leader\"")); /* what the agent published for it */
    assert_int_equal(t.last_kind, OP_FRESH_STATUS);
    peer_answer_deinit(&a);

    t.stuck = true;
    a = ask("GET", "/patroni?fresh=1", NULL);
    assert_int_equal(a.status, 200);
    assert_true(a.took_s >= FRESH_MS / 1000.0 && a.took_s < FRESH_MS / 1000.0 + PROMPT_S);
    assert_non_null(strstr(a.body, "\"role\": "));
    peer_answer_deinit(&a);

    a = ask("GET", "/patroni?fresh=0", NULL);
    assert_true(a.took_s < PROMPT_S);
    assert_int_equal(atomic_load(&t.ops), 2);
    peer_answer_deinit(&a);
}

/* ---- changing ---- */

static void test_every_request_for_a_change_reaches_the_agent_and_its_answer_the_client(void **state)
{
    struct snapshot *s = primary();
    static const struct {
        const char *method, *path, *body;
        enum op_kind kind;
        const char *seen; /* the body as the agent gets it; NULL: none */
        int status;
        const char *answer;
    } rows[] = {
        {"POST", "/reload", NULL, OP_RELOAD, NULL, 202, "reload scheduled"},
        {"POST", "/restart", NULL, OP_RESTART, "{}", 503, "restart conditions are not satisfied"},
        {"POST", "/restart", "{\"timeout\": \"5min\"}", OP_RESTART, "{\"timeout\": 300}", 503, NULL},
        {"DELETE", "/restart", NULL, OP_RESTART_DELETE, NULL, 404, "no restarts are scheduled"},
        {"POST", "/reinitialize", "{\"force\": \"yes\"}", OP_REINITIALIZE, "{\"force\": true, \"from_leader\": false}",
         200, "reinitialize started"},
        {"POST", "/recover_record", "{\"force\": 1}", OP_RECOVER_RECORD, "{\"force\": true}", 409,
         "there is nothing to recover"},
        {"POST", "/switchover", "{\"leader\": \"n1\", \"member\": \"n2\"}", OP_SWITCHOVER,
         "{\"leader\": \"n1\", \"candidate\": \"n2\"}", 200, "Successfully switched over to \"n2\""},
        {"POST", "/failover", "{\"candidate\": \"n2\"}", OP_FAILOVER, "{\"candidate\": \"n2\"}", 412,
         "candidate does not exists"},
        {"POST", "/failover", "{\"leader\": \"n1\", \"candidate\": \"n2\"}", OP_SWITCHOVER,
         "{\"leader\": \"n1\", \"candidate\": \"n2\"}", 200, NULL},
        {"DELETE", "/switchover", NULL, OP_SWITCHOVER_DELETE, NULL, 409, NULL},
        {"PATCH", "/config", "{\"ttl\": 20}", OP_CONFIG_PATCH, "{\"ttl\": 20}", 200, "{\"ttl\": 20}"},
        {"PUT", "/config", "{\"ttl\": 25}", OP_CONFIG_PUT, "{\"ttl\": 25}", 200, "{\"ttl\": 25}"},
        {"POST", "/failsafe", "{\"name\": \"n2\"}", OP_FAILSAFE, "{\"name\": \"n2\"}", 200, "Accepted"},
        {"GET", "/explain", NULL, OP_EXPLAIN, NULL, 200, "{\"possible\":true}"},
        {"GET", "/plan?if_lost=n%39", NULL, OP_PLAN, "{\"if_lost\": \"n9\"}", 404, "no node n9 is known"},
    };

    (void)state;
    s->failsafe_mode_enabled = true;
    start(s);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        expect(rows[i].method, rows[i].path, rows[i].body, rows[i].status, rows[i].answer);
        assert_int_equal(atomic_load(&t.ops), i + 1);
        assert_int_equal(t.last_kind, rows[i].kind);
        assert_true(str_eq(t.last_body, rows[i].seen));
        assert_string_equal(t.last_peer, "127.0.0.1");
    }
    expect_type("PATCH", "/config", "{\"ttl\": 20}", "application/json");
    expect_type("PUT", "/config", "{\"ttl\": 20}", "application/json; x=y"); /* as the agent said */
    expect_type("GET", "/explain", NULL, "application/json");
    expect("GET", "/plan", NULL, 400, "say what is asked: /plan?if_lost=NODE");
    expect_type("POST", "/reload", NULL, "text/html");

    struct peer_answer a = ask("POST", "/failsafe", "{\"name\": \"n2\"}");
    assert_non_null(strstr(a.headers, "\r\nlsn: 5000000\r\n"));
    peer_answer_deinit(&a);
    a = ask("DELETE", "/switchover", NULL); /* the agent had no words for it */
    assert_non_null(strstr(a.body, "409 Conflict"));
    peer_answer_deinit(&a);
}

static void test_what_is_wrong_in_form_never_reaches_the_agent(void **state)
{
    static const struct {
        const char *method, *path, *body;
        int status;
        const char *answer;
    } rows[] = {
        {"PATCH", "/config", "nonsense", 400, NULL},
        {"PATCH", "/config", "{}", 400, NULL},
        {"PUT", "/config", "[1]", 400, NULL},
        {"POST", "/restart", "nonsense", 400, NULL},
        {"POST", "/restart", "{\"role\": \"king\"}", 400,
         "PostgreSQL role should be either primary, standby_leader, or replica"},
        {"POST", "/restart", "{\"schedule\": \"2020-01-01T00:00:00Z\"}", 422, "Cannot schedule restart in the past"},
        {"POST", "/switchover", "{\"candidate\": \"n2\"}", 400,
         "Switchover could be performed only from a specific leader"},
        {"POST", "/failover", "{\"leader\": \"n1\"}", 400, "Failover could be performed only to a specific candidate"},
        {"POST", "/failsafe", "{\"name\": \"n2\"}", 502, NULL}, /* not enabled */
        {"POST", "/nothing", "{}", 501, NULL},
        {"POST", "/", NULL, 501, NULL},
        {"POST", "/config", "{\"ttl\": 20}", 501, NULL},
        {"PUT", "/restart", "{}", 501, NULL},
        {"PATCH", "/primary", "{}", 501, NULL},
        {"DELETE", "/config", NULL, 501, NULL},
    };

    (void)state;
    start(primary());
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        expect(rows[i].method, rows[i].path, rows[i].body, rows[i].status, rows[i].answer);

    static const char *const unmeasured[] = {
        "PATCH /config HTTP/1.0\r\n\r\n",
        "POST /switchover HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "PUT /config HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n{\"ttl\": "
        "20}\r\n0\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(unmeasured); i++) {
        AUTO(cstr) char *got = peer_talk(t.port, unmeasured[i]);
        assert_non_null(strstr(got, " 411 Length Required\r\n"));
    }
    assert_int_equal(atomic_load(&t.ops), 0);
}

static void test_in_pause_what_needs_the_other_hand_is_refused(void **state)
{
    struct snapshot *s = primary();

    (void)state;
    s->pause = true;
    start(s);
    expect("POST", "/restart", "{\"schedule\": \"2099-01-01T00:00:00Z\"}", 500,
           "Can't schedule restart in the paused state");
    expect("POST", "/switchover", "{\"leader\": \"n1\"}", 400,
           "Switchover is possible only to a specific candidate in a paused state");
    assert_int_equal(atomic_load(&t.ops), 0);
}

static void test_an_agent_that_is_ending_or_stuck_does_not_stop_the_reading(void **state)
{
    (void)state;
    start(primary());
    t.ending = true;
    expect("POST", "/reload", NULL, 503, "the agent takes no requests now");
    expect("GET", "/patroni?fresh=1", NULL, 200, NULL);
    t.ending = false;
    t.stuck = true;

    int waiting = peer_connect(t.port);
    peer_send(waiting, "POST /restart HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    for (int i = 0; atomic_load(&t.ops) == 0 && i < WAIT_MS; i++)
        (void)usleep(US_PER_MS);
    struct peer_answer a = ask("GET", "/primary", NULL);
    assert_int_equal(a.status, 200);
    assert_true(a.took_s < PROMPT_S);
    peer_answer_deinit(&a);
    answer(TAKE(t.kept)); /* it comes to, and whoever waited is answered */
    AUTO(cstr) char *got = peer_read(waiting, WAIT_MS, NULL);
    assert_non_null(strstr(got, "restart conditions are not satisfied"));
    (void)close(waiting);
}

/* ---- who may ---- */

static void test_changes_need_the_password_and_reading_does_not(void **state)
{
    struct peer_answer a;
    struct peer_request request = {.method = "POST", .path = "/reload"};

    (void)state;
    t.settings.restapi.username = (char *)"admin";
    t.settings.restapi.password = (char *)"secret";
    start(primary());
    request.port = t.port;
    expect("GET", "/primary", NULL, 200, NULL);
    expect("GET", "/patroni?fresh=1", NULL, 200, NULL);
    int reads = atomic_load(&t.ops);

    a = peer_ask_once(&request);
    assert_int_equal(a.status, 401);
    assert_string_equal(a.body, "no auth header received");
    assert_non_null(strstr(a.headers, "\r\nWWW-Authenticate: Basic realm=\"pgkeep\"\r\n"));
    peer_answer_deinit(&a);
    request.user = "admin:guess";
    a = peer_ask_once(&request);
    assert_int_equal(a.status, 401);
    assert_string_equal(a.body, "not authenticated");
    peer_answer_deinit(&a);
    assert_int_equal(atomic_load(&t.ops), reads);

    request.user = "admin:secret";
    a = peer_ask_once(&request);
    assert_int_equal(a.status, 202);
    assert_string_equal(t.last_peer, "127.0.0.1 as admin");
    peer_answer_deinit(&a);

    /* Credentials come before the form, and an unknown path is unknown to everybody. */
    expect("PATCH", "/config", "nonsense", 401, NULL);
    expect("POST", "/nothing", NULL, 501, NULL);
}

static void test_changes_come_from_the_allowlist_only(void **state)
{
    char *far[] = {(char *)"10.0.0.0/8"};
    char *near[] = {(char *)"10.0.0.0/8", (char *)"127.0.0.0/8"};
    struct err err;

    (void)state;
    t.settings.restapi.allowlist = (struct string_list){far, ARRAY_LEN(far)};
    start(primary());
    expect("POST", "/reload", NULL, 403, "Access is denied");
    expect("GET", "/primary", NULL, 200, NULL);
    t.settings.restapi.allowlist = (struct string_list){near, ARRAY_LEN(near)};
    assert_true(web_server_reload(t.server, &t.settings, &err));
    expect("POST", "/reload", NULL, 202, NULL);
}

static void test_members_are_let_in_as_the_snapshot_names_them(void **state)
{
    struct snapshot *s = primary();

    (void)state;
    t.settings.restapi.allowlist_include_members = true;
    s->failsafe_mode_enabled = true;
    start(s);
    expect("POST", "/reload", NULL, 403, "Access is denied");
    expect("POST", "/failsafe", "{\"name\": \"n2\"}", 200, "Accepted"); /* open while there is no allowlist */

    s = primary();
    s->seq++;
    s->cluster = keys((const char *const[]){"members/n1", "{\"api_url\":\"http://localhost:8008/patroni\"}", NULL});
    snapshot_publish(t.board, at_now(s));
    struct peer_answer a = {0};
    for (int i = 0; a.status != 202 && i < 500; i++) { /* the name is looked up in the background */
        peer_answer_deinit(&a);
        a = ask("POST", "/reload", NULL);
        (void)usleep(10 * US_PER_MS);
    }
    assert_int_equal(a.status, 202);
    peer_answer_deinit(&a);
}

static void test_an_optional_certificate_is_needed_for_changes_only(void **state)
{
    AUTO(tls_files) struct tls_files *files = tls_files_new();
    struct peer_request request = {.method = "PATCH", .path = "/config", .body = "{\"ttl\": 20}", .ca = files->ca};
    struct peer_answer a;

    (void)state;
    use_tls(files, VERIFY_CLIENT_OPTIONAL);
    t.settings.restapi.username = (char *)"admin";
    t.settings.restapi.password = (char *)"secret";
    start(primary());
    request.port = t.port;
    request.user = "admin:secret";
    a = peer_ask_once(&request);
    assert_int_equal(a.status, 403);
    assert_string_equal(a.body, "client certificate required");
    peer_answer_deinit(&a);

    request.cert = files->client_cert;
    request.key = files->client_key;
    a = peer_ask_once(&request);
    assert_int_equal(a.status, 200);
    assert_string_equal(t.last_peer, "127.0.0.1 as admin with certificate CN = admin");
    peer_answer_deinit(&a);

    request.cert = files->alien_cert;
    request.key = files->alien_key;
    a = peer_ask_once(&request);
    assert_int_equal(a.status, 0);
    peer_answer_deinit(&a);

    a = peer_ask_once(&(struct peer_request){.port = t.port, .path = "/primary", .ca = files->ca});
    assert_int_equal(a.status, 200);
    peer_answer_deinit(&a);
}

/* ---- how it looks ---- */

static void test_the_server_names_itself_as_it_is_told_to(void **state)
{
    static const struct {
        enum server_tokens tokens;
        const char *line;
    } rows[] = {
        {SERVER_TOKENS_ORIGINAL, "\r\nServer: pgkeep/" PGKEEP_VERSION " Patroni/4.0.0\r\n"},
        {SERVER_TOKENS_MINIMAL, "\r\nServer: pgkeep/" PGKEEP_VERSION "\r\n"},
        {SERVER_TOKENS_PRODUCT_ONLY, "\r\nServer: pgkeep\r\n"},
    };
    struct err err;

    (void)state;
    start(primary());
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        t.settings.restapi.server_tokens = rows[i].tokens;
        assert_true(web_server_reload(t.server, &t.settings, &err));
        struct peer_answer a = ask("GET", "/primary", NULL);
        assert_non_null(strstr(a.headers, rows[i].line));
        peer_answer_deinit(&a);
    }
}

static void test_extra_headers_are_in_every_answer_those_of_https_with_tls_only(void **state)
{
    AUTO(tls_files) struct tls_files *files = tls_files_new();
    struct err err;

    (void)state;
    t.settings.restapi.http_extra_headers = json_pack("{s:s, s:s}", "X-Frame-Options", "DENY", "X-Which", "http");
    t.settings.restapi.https_extra_headers = json_pack("{s:s, s:i}", "x-which", "https", "X-Age", 5);
    start(primary());
    struct peer_answer a = ask("GET", "/primary", NULL);
    assert_non_null(strstr(a.headers, "\r\nX-Frame-Options: DENY\r\n"));
    assert_non_null(strstr(a.headers, "\r\nX-Which: http\r\n"));
    assert_null(strstr(a.headers, "X-Age"));
    peer_answer_deinit(&a);
    a = ask("POST", "/nothing", NULL);
    assert_non_null(strstr(a.headers, "\r\nX-Frame-Options: DENY\r\n"));
    peer_answer_deinit(&a);

    use_tls(files, VERIFY_CLIENT_NONE);
    assert_true(web_server_reload(t.server, &t.settings, &err));
    a = peer_ask_once(&(struct peer_request){.port = t.port, .path = "/", .ca = files->ca});
    assert_non_null(strstr(a.headers, "\r\nX-Frame-Options: DENY\r\n"));
    assert_non_null(strstr(a.headers, "\r\nX-Which: https\r\n"));
    assert_non_null(strstr(a.headers, "\r\nX-Age: 5\r\n"));
    assert_null(strstr(a.headers, "X-Which: http\r\n"));
    peer_answer_deinit(&a);
}

/* ---- reload, load ---- */

static void test_reload_takes_new_credentials_and_certificates_and_a_bad_one_changes_nothing(void **state)
{
    AUTO(tls_files) struct tls_files *files = tls_files_new();
    struct peer_request request = {.method = "POST", .path = "/reload", .ca = files->ca, .user = "admin:new"};
    struct peer_answer a;
    struct err err;

    (void)state;
    use_tls(files, VERIFY_CLIENT_NONE);
    t.settings.restapi.username = (char *)"admin";
    t.settings.restapi.password = (char *)"old";
    start(primary());
    request.port = t.port;
    a = peer_ask_once(&request);
    assert_int_equal(a.status, 401);
    assert_non_null(strstr(a.cert, "CN = node"));
    peer_answer_deinit(&a);

    t.settings.restapi.password = (char *)"new";
    tls_files_renew(files, "renewed");
    assert_true(web_server_reload(t.server, &t.settings, &err));
    a = peer_ask_once(&request);
    assert_int_equal(a.status, 202);
    assert_non_null(strstr(a.cert, "CN = renewed"));
    peer_answer_deinit(&a);

    char *bad[] = {(char *)"10.0.0.0/99"};
    struct settings wrong = t.settings;
    wrong.restapi.allowlist = (struct string_list){bad, 1};
    wrong.restapi.password = (char *)"other";
    assert_false(web_server_reload(t.server, &wrong, &err));
    assert_string_equal(err.text,
                        "REST: restapi.allowlist: \"10.0.0.0/99\" is neither an address nor a network nor a name");
    wrong = t.settings;
    wrong.restapi.password = (char *)"other";
    wrong.restapi.keyfile = (char *)"/nowhere/node.key";
    assert_false(web_server_reload(t.server, &wrong, &err));
    assert_string_equal(err.text, "REST: reading private key /nowhere/node.key: No such file or directory");
    a = peer_ask_once(&request);
    assert_int_equal(a.status, 202);
    peer_answer_deinit(&a);
}

static void test_a_start_that_fails_says_why(void **state)
{
    struct web_server *none = NULL;
    struct settings second;
    struct err err;

    (void)state;
    start(primary());
    second = t.settings;
    second.restapi.listen.port = t.port;
    assert_false(web_server_start(&second, t.board, submit, &t, &none, &err));
    AUTO(cstr) char *text = str_fmt("REST: listening on 127.0.0.1, port %d: Address already in use", t.port);
    assert_string_equal(err.text, text);
    assert_null(none);
}

static void test_a_hundred_silent_tls_connections_and_a_stuck_agent_slow_no_health_check(void **state)
{
    AUTO(tls_files) struct tls_files *files = tls_files_new();
    int silent[SILENT];

    (void)state;
    use_tls(files, VERIFY_CLIENT_OPTIONAL);
    t.stuck = true;
    start(primary());
    for (int i = 0; i < SILENT; i++)
        silent[i] = peer_connect(t.port);
    for (int i = 0; i < 20; i++) {
        struct peer_answer a =
            peer_ask_once(&(struct peer_request){.port = t.port, .path = "/primary", .ca = files->ca});
        assert_int_equal(a.status, 200);
        assert_true(a.took_s < PROMPT_S);
        peer_answer_deinit(&a);
    }
    for (int i = 0; i < SILENT; i++)
        (void)close(silent[i]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_path_that_is_read_answers_with_its_code_and_type),
        TEST(test_what_the_store_has_not_told_is_an_error_of_its_own),
        TEST(test_the_status_comes_with_every_health_check_and_an_unknown_path_is_one),
        TEST(test_head_and_options_are_a_bare_status_line_on_every_path),
        TEST(test_liveness_and_readiness_are_a_bare_status_line),
        TEST(test_the_lease_is_judged_at_the_moment_of_the_request),
        TEST(test_the_newest_snapshot_is_the_one_that_answers),
        TEST(test_a_fresh_status_waits_for_the_agent_but_not_for_long),
        TEST(test_every_request_for_a_change_reaches_the_agent_and_its_answer_the_client),
        TEST(test_what_is_wrong_in_form_never_reaches_the_agent),
        TEST(test_in_pause_what_needs_the_other_hand_is_refused),
        TEST(test_an_agent_that_is_ending_or_stuck_does_not_stop_the_reading),
        TEST(test_changes_need_the_password_and_reading_does_not),
        TEST(test_changes_come_from_the_allowlist_only),
        TEST(test_members_are_let_in_as_the_snapshot_names_them),
        TEST(test_an_optional_certificate_is_needed_for_changes_only),
        TEST(test_the_server_names_itself_as_it_is_told_to),
        TEST(test_extra_headers_are_in_every_answer_those_of_https_with_tls_only),
        TEST(test_reload_takes_new_credentials_and_certificates_and_a_bad_one_changes_nothing),
        TEST(test_a_start_that_fails_says_why),
        TEST(test_a_hundred_silent_tls_connections_and_a_stuck_agent_slow_no_health_check),
    };

    /* The pieces that only libcurl's first use would make, before there are threads. */
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return failed;
}
