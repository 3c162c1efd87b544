#include "app/agent/rounds.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/fault.h"
#include "base/mutant.h"
#include "base/str.h"
#include "io/http_client.h"
#include "io/loop.h"

enum {
    ANSWER_MS = 1000, /* a member that lives answers within milliseconds; a dead host costs this much of a failover */
    DEPOSED_MS = 200, /* one that was deposed is stopped, and most agents have not heard it for seconds: just in case */
    FAILSAFE_MS = 2000, /* Patroni's limit for POST /failsafe */
};

struct question {
    struct rounds *rounds;
    struct http_call *call; /* NULL: over */
    char *name;
    bool failsafe;
    struct ha_peer peer; /* peer.name == name */
};

struct rounds {
    struct loop *loop;
    struct http_client *client;
    rounds_changed_fn *fn;
    void *arg;
    char *name;

    struct question *peers[HA_PEERS_MAX];
    size_t peer_count;
    msec asked_ms;

    struct question *grants[HA_PEERS_MAX];
    size_t grant_count;
    msec failsafe_asked_ms;
    bool failsafe_refused;
    msec failsafe_ms;
};

static void question_free(struct question *q)
{
    if (q->call)
        http_call_cancel(q->call);
    free(q->name);
    free(q);
}

static void drop(struct question **questions, size_t *count)
{
    for (size_t i = 0; i < *count; i++)
        question_free(questions[i]);
    *count = 0;
}

static size_t open_count(struct question *const *questions, size_t count)
{
    size_t open = 0;

    for (size_t i = 0; i < count; i++)
        open += questions[i]->call != NULL;
    return open;
}

static lsn number(const json_t *object, const char *field)
{
    return (lsn)json_integer_value(json_object_get(object, field));
}

/* GET /patroni, Patroni's or ours (reference: REST status JSON). */
static void read_status(struct ha_peer *peer, const json_t *status)
{
    const json_t *xlog = json_object_get(status, "xlog");
    const char *role = json_string_value(json_object_get(status, "role"));
    const char *state = json_string_value(json_object_get(status, "state"));
    struct member_tags tags;

    if (!xlog)
        xlog = json_object_get(status, "wal");
    member_tags_read(json_object_get(status, "tags"), &tags);
    peer->answer = HA_ANSWER_YES;
    peer->running = str_eq(state, "running");
    peer->primary = str_eq(role, "primary") || str_eq(role, "master") || str_eq(role, "promoted");
    peer->leader = peer->primary;
    peer->timeline = (uint32_t)json_integer_value(json_object_get(status, "timeline"));
    peer->position = number(xlog, "location");
    if (!peer->position) {
        lsn received = number(xlog, "received_location");
        lsn replayed = number(xlog, "replayed_location");
        peer->position = received > replayed ? received : replayed;
    }
    peer->streaming = str_eq(json_string_value(json_object_get(status, "replication_state")), "streaming");
    peer->nofailover = tags.nofailover;
    peer->failover_priority = tags.failover_priority;
    peer->watchdog_failed = json_is_true(json_object_get(status, "watchdog_failed"));
    member_tags_deinit(&tags);
}

static void answered(const struct http_reply *reply, void *arg)
{
    struct question *q = arg;
    struct rounds *r = q->rounds;

    FAULT_POINT("round.answered");
    q->call = NULL;
    q->peer.answer = HA_ANSWER_UNREACHABLE;
    if (reply->status == 200 || reply->status == 503) {
        json_t *status = json_loadb(reply->body, reply->body_len, 0, NULL);
        if (json_is_object(status))
            read_status(&q->peer, status);
        json_decref(status);
    }
    r->fn(r->arg);
}

static void granted(const struct http_reply *reply, void *arg)
{
    struct question *q = arg;
    struct rounds *r = q->rounds;

    FAULT_POINT("round.granted");
    q->call = NULL;
    if (reply->status != 200 && !MUTANT(FAILSAFE_BY_MAJORITY))
        r->failsafe_refused = true;
    if (!open_count(r->grants, r->grant_count) && !r->failsafe_refused)
        r->failsafe_ms = msec_max(r->failsafe_ms, r->failsafe_asked_ms);
    r->fn(r->arg);
}

static void send_question(struct question *q, const char *url, const char *body, msec budget_ms)
{
    static const char *const json_header[] = {"Content-Type: application/json", NULL};
    struct http_request request = {
        .method = body ? "POST" : "GET",
        .url = url,
        .body = body,
        .body_len = body ? strlen(body) : 0,
        .headers = body ? json_header : NULL,
        .budget_ms = budget_ms,
    };

    q->call = http_client_send(q->rounds->client, &request, body ? granted : answered, q);
}

static struct question *question_new(struct rounds *r, const char *name)
{
    struct question *q = mem_zero(1, sizeof(*q));

    q->rounds = r;
    q->name = str_dup(name);
    q->peer = (struct ha_peer){.name = q->name, .answer = HA_ANSWER_ASKED, .failover_priority = 1};
    return q;
}

void rounds_ask(struct rounds *r, const struct cluster *c)
{
    drop(r->peers, &r->peer_count);
    r->asked_ms = loop_clock_ms();
    for (size_t i = 0; i < c->member_count && r->peer_count < HA_PEERS_MAX; i++) {
        const struct member *m = &c->members[i];
        if (str_eq(m->name, r->name) || str_empty(m->api_url))
            continue;
        struct question *q = question_new(r, m->name);
        char *url = str_fmt("%s%sfresh=1", m->api_url, strchr(m->api_url, '?') ? "&" : "?");
        r->peers[r->peer_count++] = q;
        bool deposed = c->record.deposed && c->record.released && str_eq(c->record.leader, m->name);
        send_question(q, url, NULL, deposed ? DEPOSED_MS : ANSWER_MS);
        free(url);
    }
    if (!r->peer_count)
        r->fn(r->arg); /* nobody to ask: the round is complete at once */
}

void rounds_ask_failsafe(struct rounds *r, const json_t *failsafe, const char *body)
{
    const char *name;
    json_t *url;

    drop(r->grants, &r->grant_count);
    r->failsafe_asked_ms = loop_clock_ms();
    r->failsafe_refused = false;
    json_object_foreach((json_t *)failsafe, name, url)
    {
        if (str_eq(name, r->name))
            continue;
        if (!json_is_string(url) || r->grant_count == HA_PEERS_MAX) {
            r->failsafe_refused = true;
            continue;
        }
        struct question *q = question_new(r, name);
        /* api_url is http://host:port/patroni; the endpoint is its sibling. */
        const char *text = json_string_value(url);
        const char *host = strstr(text, "://");
        const char *slash = host ? strchr(host + 3, '/') : NULL;
        char *target = str_fmt("%.*s/failsafe", slash ? (int)(slash - text) : (int)strlen(text), text);
        r->grants[r->grant_count++] = q;
        send_question(q, target, body, FAILSAFE_MS);
        free(target);
    }
    if (!r->grant_count && !r->failsafe_refused) {
        r->failsafe_ms = r->failsafe_asked_ms; /* a cluster of one grants itself */
        r->fn(r->arg);
    }
}

void rounds_view(const struct rounds *r, struct ha_peers *ret_peers)
{
    ret_peers->asked_ms = r->asked_ms;
    ret_peers->complete = r->asked_ms && !open_count(r->peers, r->peer_count);
    ret_peers->count = r->peer_count;
    for (size_t i = 0; i < r->peer_count; i++)
        ret_peers->at[i] = r->peers[i]->peer;
}

void rounds_failsafe_view(const struct rounds *r, struct ha_lease *ret_lease)
{
    ret_lease->failsafe_ms = r->failsafe_ms;
    ret_lease->failsafe_asking = open_count(r->grants, r->grant_count) > 0;
    ret_lease->failsafe_tried_ms = r->failsafe_asked_ms;
}

void rounds_client(struct rounds *r, struct http_client *client)
{
    drop(r->peers, &r->peer_count);
    drop(r->grants, &r->grant_count);
    r->asked_ms = 0;
    r->client = client;
}

struct rounds *rounds_new(struct loop *l, const char *name, rounds_changed_fn *fn, void *arg)
{
    struct rounds *r = mem_zero(1, sizeof(*r));

    r->loop = l;
    r->name = str_dup(name);
    r->fn = fn;
    r->arg = arg;
    return r;
}

void rounds_free(struct rounds *r)
{
    if (!r)
        return;
    drop(r->peers, &r->peer_count);
    drop(r->grants, &r->grant_count);
    free(r->name);
    free(r);
}
