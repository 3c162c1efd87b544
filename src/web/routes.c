#include "web/routes.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/str.h"
#include "io/loop.h"
#include "web/auth.h"
#include "web/bodies.h"
#include "web/health.h"
#include "web/metrics.h"
#include "web/query.h"
#include "web/reply.h"
#include "web/status.h"
#include "wire/cluster_view.h"
#include "wire/report.h"

/*
 * How long the agent may take. Patroni has no limits of this kind but for a switchover, which it polls
 * twice max(10, loop_wait) times a second apart.
 */
enum {
    FRESH_MS = 500,         /* a peer that compares positions cannot wait longer */
    SOON_MS = 10 * 1000,    /* no more than a decision */
    STORE_MS = 30 * 1000,   /* a write to the store with its retries */
    FAILSAFE_MS = 5 * 1000, /* the leader that asks gives us two seconds */
    SWITCHOVER_MIN_MS = 10 * 1000,
    RESTART_DEFAULT_S = 300,       /* primary_start_timeout of Patroni */
    RESTART_EXTRA_MS = 600 * 1000, /* a fast stop with its checkpoint before the start */
    MS_PER_S = 1000,
};

struct route {
    enum http_method method;
    const char *word; /* first of the path */
    void (*handle)(struct web_request *r);
    bool unsafe;     /* changes something: credentials are asked for */
    bool no_members; /* allowlist_include_members does not open it */
};

/* ---- answers ---- */

static void json(struct web_request *r, int status, const char *body)
{
    reply_send(r->conf, TAKE(r->http), status, TYPE_JSON, NULL, body);
}

static void text(struct web_request *r, int status, const char *body)
{
    reply_send(r->conf, TAKE(r->http), status, TYPE_HTML, NULL, body);
}

static void page(struct web_request *r, int status)
{
    reply_page(r->conf, TAKE(r->http), status, NULL);
}

static void status(struct web_request *r, int code)
{
    AUTO(cstr) char *body = status_text(r->snapshot, r->now_ms);

    json(r, code, body);
}

static void refused(struct web_request *r, const struct refusal *refusal)
{
    if (refusal->text[0])
        text(r, refusal->status, refusal->text);
    else
        page(r, refusal->status);
}

/* ---- reading ---- */

static void get_health(struct web_request *r)
{
    status(r, health_check(r->snapshot, http_request_path(r->http), http_request_query(r->http), r->now_ms));
}

static void bare_health(struct web_request *r)
{
    int code = health_check(r->snapshot, http_request_path(r->http), http_request_query(r->http), r->now_ms);

    http_reply_bare(TAKE(r->http), code);
}

static void get_liveness(struct web_request *r)
{
    http_reply_bare(TAKE(r->http), health_liveness(r->snapshot, r->now_ms));
}

static void get_readiness(struct web_request *r)
{
    int code = health_readiness(r->snapshot, http_request_query(r->http), r->now_ms);

    http_reply_bare(TAKE(r->http), code);
}

/* *take_value as text; its reference goes. */
static void json_value(struct web_request *r, int status, json_t *take_value)
{
    AUTO(cstr) char *body = json_dumps(take_value, JSON_COMPACT | JSON_ENCODE_ANY);

    json_decref(take_value);
    json(r, status, body);
}

static void get_cluster(struct web_request *r)
{
    const struct cluster *c = r->snapshot->cluster;

    if (!c) {
        text(r, 503, "the store has not been read yet");
        return;
    }
    json_t *view = cluster_view(c);
    (void)json_object_set_new(view, "scope", json_string(r->snapshot->scope));
    json_value(r, 200, view);
}

static void get_history(struct web_request *r)
{
    const struct cluster *c = r->snapshot->cluster;

    json_value(r, 200, c ? reports_history(c->history, c->failovers) : json_array());
}

/* All reports, or the one of /failovers/TERM. */
static void get_failovers(struct web_request *r)
{
    const struct cluster *c = r->snapshot->cluster;
    const char *path = http_request_path(r->http);
    const char *word = path + strspn(path, "/");
    const char *number = word + strcspn(word, "/");

    number += strspn(number, "/");
    if (!c) {
        text(r, 503, "the store has not been read yet");
    } else if (!*number) {
        json_value(r, 200, reports_merged(c->failovers));
    } else {
        json_t *report = report_find(c->failovers, number);
        if (report)
            json_value(r, 200, report);
        else
            text(r, 404, "no report of that term is kept");
    }
}

static void get_config(struct web_request *r)
{
    const struct cluster *c = r->snapshot->cluster;

    if (c && c->config)
        json_value(r, 200, json_incref(c->config));
    else
        page(r, 502);
}

static void get_failsafe(struct web_request *r)
{
    const struct cluster *c = r->snapshot->failsafe_mode_enabled ? r->snapshot->cluster : NULL;

    if (c && c->failsafe)
        json_value(r, 200, json_incref(c->failsafe));
    else
        page(r, 502);
}

static void get_metrics(struct web_request *r)
{
    AUTO(cstr) char *body = metrics_text(r->snapshot, r->now_ms);

    reply_send(r->conf, TAKE(r->http), 200, TYPE_METRICS, NULL, body);
}

/* ---- asking the agent ---- */

/* "127.0.0.1 as admin", for the log. */
static char *who(const struct web_request *r)
{
    const char *username = auth_username(r->conf->auth);
    const char *cert = http_request_client_cert(r->http);
    struct buf name = BUF_EMPTY;

    buf_add_str(&name, http_request_peer(r->http));
    if (username)
        buf_printf(&name, " as %s", username);
    if (cert)
        buf_printf(&name, " with certificate %s", cert);
    return buf_take(&name);
}

static void ask(struct web_request *r, enum op_kind kind, json_t *take_body, msec budget_ms)
{
    AUTO(cstr) char *peer = who(r);

    op_send(r->desk, kind, take_body, r->now_ms + budget_ms, peer, TAKE(r->http));
}

/* NULL: refused, and answered. */
static json_t *read_body(struct web_request *r, bool optional)
{
    bool has_length = http_request_header(r->http, "Content-Length") != NULL;
    struct refusal refusal;
    json_t *body;
    size_t len;
    const char *bytes = http_request_body(r->http, &len);

    if (body_read(bytes, len, has_length, optional, &body, &refusal))
        return body;
    refused(r, &refusal);
    return NULL;
}

static struct body_facts facts(const struct web_request *r)
{
    return (struct body_facts){.paused = r->snapshot->pause, .wall_now_ms = wall_clock_ms()};
}

static void get_patroni(struct web_request *r)
{
    AUTO(cstr) char *fresh = query_value(http_request_query(r->http), "fresh");

    if (str_eq(fresh, "1"))
        ask(r, OP_FRESH_STATUS, NULL, FRESH_MS);
    else
        status(r, 200);
}

static void get_explain(struct web_request *r)
{
    ask(r, OP_EXPLAIN, NULL, SOON_MS);
}

static void get_plan(struct web_request *r)
{
    AUTO(cstr) char *name = query_value(http_request_query(r->http), "if_lost");

    if (name)
        ask(r, OP_PLAN, json_pack("{s:s}", "if_lost", name), SOON_MS);
    else
        text(r, 400, "say what is asked: /plan?if_lost=NODE");
}

static void post_reload(struct web_request *r)
{
    ask(r, OP_RELOAD, NULL, SOON_MS);
}

static void post_restart(struct web_request *r)
{
    json_t *body = read_body(r, true);
    struct body_facts now = facts(r);
    struct refusal refusal;

    if (!body)
        return;
    if (!body_check_restart(body, &now, &refusal)) {
        json_decref(body);
        refused(r, &refusal);
        return;
    }

    const json_t *timeout = json_object_get(body, "timeout");
    msec timeout_s = timeout ? (msec)json_integer_value(timeout) : RESTART_DEFAULT_S;
    ask(r, OP_RESTART, body, msec_min(timeout_s, INT32_MAX) * MS_PER_S + RESTART_EXTRA_MS);
}

static void delete_restart(struct web_request *r)
{
    ask(r, OP_RESTART_DELETE, NULL, SOON_MS);
}

static void post_reinitialize(struct web_request *r)
{
    json_t *body = read_body(r, true);

    if (!body)
        return;
    body_check_reinitialize(body);
    ask(r, OP_REINITIALIZE, body, STORE_MS);
}

static void post_recover_record(struct web_request *r)
{
    json_t *body = read_body(r, true);

    if (!body)
        return;
    body_check_recover_record(body);
    ask(r, OP_RECOVER_RECORD, body, STORE_MS);
}

static void switchover(struct web_request *r, enum op_kind kind)
{
    json_t *body = read_body(r, false);
    struct body_facts now = facts(r);
    struct refusal refusal;

    if (!body)
        return;
    if (!body_check_failover(body, &kind, &now, &refusal)) {
        json_decref(body);
        refused(r, &refusal);
        return;
    }

    msec to_finish_ms = 2 * msec_max(SWITCHOVER_MIN_MS, r->snapshot->loop_wait_ms);
    ask(r, kind, body, json_object_get(body, "scheduled_at") ? STORE_MS : to_finish_ms);
}

static void post_switchover(struct web_request *r)
{
    switchover(r, OP_SWITCHOVER);
}

static void post_failover(struct web_request *r)
{
    switchover(r, OP_FAILOVER);
}

static void delete_switchover(struct web_request *r)
{
    ask(r, OP_SWITCHOVER_DELETE, NULL, STORE_MS);
}

static void patch_config(struct web_request *r)
{
    json_t *body = read_body(r, false);

    if (body)
        ask(r, OP_CONFIG_PATCH, body, STORE_MS);
}

static void put_config(struct web_request *r)
{
    json_t *body = read_body(r, false);

    if (body)
        ask(r, OP_CONFIG_PUT, body, STORE_MS);
}

static void post_failsafe(struct web_request *r)
{
    if (!r->snapshot->failsafe_mode_enabled) {
        page(r, 502);
        return;
    }

    json_t *body = read_body(r, false);
    if (body)
        ask(r, OP_FAILSAFE, body, FAILSAFE_MS);
}

/* ---- the table ---- */

static const struct route routes[] = {
    {HTTP_GET, "patroni", get_patroni},
    {HTTP_GET, "cluster", get_cluster},
    {HTTP_GET, "history", get_history},
    {HTTP_GET, "config", get_config},
    {HTTP_GET, "failsafe", get_failsafe},
    {HTTP_GET, "metrics", get_metrics},
    {HTTP_GET, "explain", get_explain},
    {HTTP_GET, "failovers", get_failovers},
    {HTTP_GET, "plan", get_plan},
    {HTTP_GET, "liveness", get_liveness},
    {HTTP_GET, "readiness", get_readiness},
    {HTTP_POST, "reload", post_reload, .unsafe = true},
    {HTTP_POST, "restart", post_restart, .unsafe = true},
    {HTTP_DELETE, "restart", delete_restart, .unsafe = true},
    {HTTP_POST, "recover_record", post_recover_record, .unsafe = true},
    {HTTP_POST, "reinitialize", post_reinitialize, .unsafe = true},
    {HTTP_POST, "switchover", post_switchover, .unsafe = true},
    {HTTP_DELETE, "switchover", delete_switchover, .unsafe = true},
    {HTTP_POST, "failover", post_failover, .unsafe = true},
    {HTTP_PATCH, "config", patch_config, .unsafe = true},
    {HTTP_PUT, "config", put_config, .unsafe = true},
    {HTTP_POST, "failsafe", post_failsafe, .unsafe = true, .no_members = true},
};

static const struct route *find(enum http_method method, const char *path)
{
    const char *word = path + strspn(path, "/");
    size_t len = strcspn(word, "/");

    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        if (routes[i].method == method && strlen(routes[i].word) == len && strncmp(routes[i].word, word, len) == 0)
            return &routes[i];
    }
    return NULL;
}

static void unrouted(struct web_request *r)
{
    switch (http_request_method(r->http)) {
    case HTTP_GET:
        get_health(r);
        return;
    case HTTP_HEAD:
    case HTTP_OPTIONS:
        bare_health(r);
        return;
    case HTTP_POST:
    case HTTP_PUT:
    case HTTP_PATCH:
    case HTTP_DELETE:
        page(r, 501);
        return;
    }
    UNREACHABLE();
}

static void unauthorized(struct web_request *r, const char *why)
{
    const struct http_header challenge = {"WWW-Authenticate", "Basic realm=\"pgkeep\""};

    reply_send(r->conf, TAKE(r->http), 401, TYPE_HTML, &challenge, why);
}

/* false: may not, and was told so. */
static bool may(struct web_request *r, const struct route *route)
{
    const struct auth_request request = {
        .peer = http_request_peer(r->http),
        .tls = http_request_is_tls(r->http),
        .has_certificate = http_request_client_cert(r->http) != NULL,
        .authorization = http_request_header(r->http, "Authorization"),
        .no_members = route->no_members,
    };

    switch (auth_check(r->conf->auth, &request, r->snapshot, r->names)) {
    case AUTH_OK:
        return true;
    case AUTH_BAD_ADDRESS:
        text(r, 403, "Access is denied");
        return false;
    case AUTH_NO_CERTIFICATE:
        text(r, 403, "client certificate required");
        return false;
    case AUTH_NO_CREDENTIALS:
        unauthorized(r, "no auth header received");
        return false;
    case AUTH_BAD_CREDENTIALS:
        unauthorized(r, "not authenticated");
        return false;
    }
    UNREACHABLE();
}

void routes_handle(struct web_request *r)
{
    const struct route *route = find(http_request_method(r->http), http_request_path(r->http));

    if (!route)
        unrouted(r);
    else if (!route->unsafe || may(r, route))
        route->handle(r);
    CHECK(!r->http);
}

/* ---- the agent's answers ---- */

/* Said when the agent did not: as far as we know. */
static const char *unknown_text(enum op_kind kind)
{
    switch (kind) {
    case OP_FRESH_STATUS:
        return ""; /* answered from what there is */
    case OP_RELOAD:
        return "Reload status unknown";
    case OP_RESTART:
        return "Restart status unknown";
    case OP_RESTART_DELETE:
        return "Deletion of the scheduled restart: status unknown";
    case OP_RECOVER_RECORD:
        return "Recovery of the record: status unknown";
    case OP_REINITIALIZE:
        return "Reinitialize status unknown";
    case OP_SWITCHOVER:
        return "Switchover status unknown";
    case OP_FAILOVER:
        return "Failover status unknown";
    case OP_SWITCHOVER_DELETE:
        return "Deletion of the scheduled switchover: status unknown";
    case OP_CONFIG_PATCH:
    case OP_CONFIG_PUT:
        return "Configuration change: status unknown";
    case OP_FAILSAFE:
        return "Failsafe status unknown";
    case OP_EXPLAIN:
    case OP_PLAN:
        return "the agent did not answer in time";
    }
    UNREACHABLE();
}

/* "lsn: 123" → name and value in *storage; false: none. */
static bool split_header(const char *line, char **ret_storage, struct http_header *ret_header)
{
    const char *colon = line ? strchr(line, ':') : NULL;

    if (!colon)
        return false;

    char *storage = str_dup(line);
    char *value = storage + (colon - line);
    *value++ = '\0';
    *ret_header = (struct http_header){storage, value + strspn(value, " ")};
    *ret_storage = storage;
    return true;
}

static void agent_said(struct web_request *r, const struct op_answer *answer)
{
    bool is_config = (answer->kind == OP_CONFIG_PATCH || answer->kind == OP_CONFIG_PUT) && answer->status == 200;
    struct http_header header;
    AUTO(cstr) char *storage = NULL;

    if (answer->status >= 400 && str_empty(answer->body)) {
        page(r, answer->status);
        return;
    }
    bool has_header = split_header(answer->header, &storage, &header);
    reply_send(r->conf, TAKE(r->http), answer->status, is_config ? TYPE_JSON : TYPE_HTML, has_header ? &header : NULL,
               answer->body ? answer->body : "");
}

void routes_answer(struct web_request *r, const struct op_answer *answer)
{
    if (answer->kind == OP_FRESH_STATUS) {
        status(r, 200); /* as fresh as could be had */
        return;
    }

    switch (answer->outcome) {
    case OP_ANSWERED:
        agent_said(r, answer);
        break;
    case OP_LATE:
        text(r, 503, unknown_text(answer->kind));
        break;
    case OP_BUSY:
        text(r, 503, "too many requests are under way");
        break;
    case OP_REFUSED:
        text(r, 503, "the agent takes no requests now");
        break;
    }
    CHECK(!r->http);
}
