/*
 * io/http_client.h, and the REST server behind web/server.h and web/op.h, over the simulated network.
 *
 * The answers are the real ones: GET /patroni is rendered from the newest snapshot, what changes something goes to
 * the agent as an op. As in the real server, which has a thread of its own, a snapshot is answered while the agent's
 * loop is busy; a stopped or dead process answers nothing.
 */
#include "test/sim/rest.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "io/http_client.h"
#include "io/loop.h"
#include "test/sim/net.h"
#include "web/bodies.h"
#include "web/server.h"
#include "web/status.h"

enum { FRESH_MS = 800, OP_MS = 60000 };

struct web_server {
    struct proc *proc;
    struct snapshot_board *board;
    op_submit_fn *submit;
    void *arg;
};

static struct web_server *servers[HOSTS_MAX];

/* One question, from its asker to the answer's arrival. The world owns it and never lets go: a seed is short. */
struct rest_call {
    struct host *from, *to;
    struct proc *asker;
    uint64_t asker_generation;
    char *method, *path, *body;
    rest_done_fn *done;
    void *arg;
    bool over; /* answered, cancelled or out of time */
    int status;
    char *answer;
};

struct sim_op {
    struct op op;
    struct rest_call *call;
    struct web_server *server;
    bool answered;
};

/* ---- answers ---- */

static void answer_arrives(void *arg)
{
    struct rest_call *c = arg;

    if (c->over)
        return;
    c->over = true;
    c->done(c->status, c->answer, c->arg);
}

static void answer_at_host(void *arg)
{
    struct rest_call *c = arg;

    if (c->asker && (!c->asker->alive || c->asker->generation != c->asker_generation))
        return;
    event_in(0, c->asker, answer_arrives, c);
}

static void answer(struct rest_call *c, int status, const char *text)
{
    c->status = status;
    c->answer = str_dup(text ? text : "");
    net_send(c->to, c->from, answer_at_host, c);
}

static void status_now(struct rest_call *c, struct web_server *s)
{
    struct snapshot *snapshot = snapshot_newest(s->board);
    AUTO(cstr) char *text = snapshot ? status_text(snapshot, loop_clock_ms()) : NULL;

    answer(c, text ? 200 : 503, text);
    snapshot_unref(snapshot);
}

void op_reply(struct op *take_op, int status, const char *header, const char *body)
{
    struct sim_op *o = (struct sim_op *)take_op;

    if (o->answered)
        return;
    o->answered = true;
    if (o->op.kind == OP_FRESH_STATUS)
        status_now(o->call, o->server);
    else
        answer(o->call, status, body);
}

static void op_late(void *arg)
{
    struct sim_op *o = arg;

    if (o->answered)
        return;
    o->answered = true;
    if (o->op.kind == OP_FRESH_STATUS)
        status_now(o->call, o->server);
    else
        answer(o->call, 503, "the agent did not answer in time");
}

static void ask_agent(struct web_server *s, struct rest_call *c, enum op_kind kind, json_t *body, msec budget_ms)
{
    struct sim_op *o = mem_zero(1, sizeof(*o));

    o->op = (struct op){.kind = kind, .body = body, .deadline_ms = loop_clock_ms() + budget_ms, .peer = c->from->name};
    o->call = c;
    o->server = s;
    if (!s->submit(&o->op, s->arg)) {
        answer(c, 503, "the agent takes no requests now");
        return;
    }
    event_in(budget_ms * 1000, s->proc, op_late, o);
}

static void served(void *arg)
{
    struct rest_call *c = arg;
    struct web_server *s = servers[c->to->id];
    static const struct {
        const char *method, *path;
        enum op_kind kind;
    } ops[] = {
        {"POST", "/failsafe", OP_FAILSAFE},
        {"POST", "/switchover", OP_SWITCHOVER},
        {"POST", "/failover", OP_FAILOVER},
        {"POST", "/restart", OP_RESTART},
        {"POST", "/reinitialize", OP_REINITIALIZE},
        {"PATCH", "/config", OP_CONFIG_PATCH},
        {"POST", "/recover_record", OP_RECOVER_RECORD},
    };

    if (str_eq(c->path, "/patroni")) {
        status_now(c, s);
        return;
    }
    if (str_eq(c->path, "/patroni?fresh=1")) {
        ask_agent(s, c, OP_FRESH_STATUS, NULL, FRESH_MS);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        if (!str_eq(c->method, ops[i].method) || !str_eq(c->path, ops[i].path))
            continue;
        json_t *body = json_loads(c->body ? c->body : "{}", 0, NULL);
        ask_agent(s, c, ops[i].kind, body, OP_MS);
        return;
    }
    answer(c, 404, "");
}

static void asked_at_host(void *arg)
{
    struct rest_call *c = arg;
    struct web_server *s = servers[c->to->id];

    if (!s || !s->proc->alive)
        answer(c, 0, "connection refused");
    else
        event_in(0, s->proc, served, c);
}

static void out_of_time(void *arg)
{
    struct rest_call *c = arg;

    if (c->over)
        return;
    c->over = true;
    c->done(0, "no answer in time", c->arg);
}

struct rest_call *rest_ask(struct host *from, struct proc *asker, const char *method, const char *url, const char *body,
                           msec budget_ms, rest_done_fn *done, void *arg)
{
    struct rest_call *c = mem_zero(1, sizeof(*c));
    int number = 0;

    CHECK(sscanf(url, "http://10.0.0.%d:", &number) == 1 && number >= 1 && number <= world.host_count);
    c->from = from;
    c->to = &world.hosts[number - 1];
    c->asker = asker;
    c->asker_generation = asker ? asker->generation : 0;
    c->method = str_dup(method);
    c->path = str_dup(strchr(url + strlen("http://"), '/'));
    c->body = str_dup(body);
    c->done = done;
    c->arg = arg;
    net_send(from, c->to, asked_at_host, c);
    event_in(budget_ms * 1000, asker, out_of_time, c);
    return c;
}

/* ---- io/http_client.h ---- */

struct http_client {
    struct loop *loop;
};

struct http_call {
    struct rest_call *call;
    http_done_fn *done;
    void *arg;
};

struct http_client *http_client_new(struct loop *l, const struct http_client_conf *conf)
{
    struct http_client *c = mem_zero(1, sizeof(*c));

    c->loop = l;
    return c;
}

void http_client_free(struct http_client *c)
{
    free(c);
}

static void http_answered(int status, const char *body, void *arg)
{
    struct http_call *call = arg;
    struct http_reply reply = {.status = status, .sent = true, .body = body, .body_len = strlen(body)};

    call->done(&reply, call->arg);
}

struct http_call *http_client_send(struct http_client *c, const struct http_request *request, http_done_fn *done,
                                   void *arg)
{
    struct http_call *call = mem_zero(1, sizeof(*call));

    call->done = done;
    call->arg = arg;
    call->call = rest_ask(world.current->host, world.current, request->method, request->url, request->body,
                          request->budget_ms, http_answered, call);
    return call;
}

void http_call_cancel(struct http_call *call)
{
    call->call->over = true;
}

/* ---- web/server.h ---- */

bool web_server_start(const struct settings *settings, struct snapshot_board *board, op_submit_fn *submit, void *arg,
                      struct web_server **ret_server, struct err *err)
{
    struct web_server *s = mem_zero(1, sizeof(*s));

    *s = (struct web_server){.proc = world.current, .board = board, .submit = submit, .arg = arg};
    servers[world.current->host->id] = s;
    *ret_server = s;
    return true;
}

bool web_server_reload(struct web_server *s, const struct settings *settings, struct err *err)
{
    return true;
}

void web_server_stop(struct web_server *s)
{
    if (s)
        servers[s->proc->host->id] = NULL;
}
