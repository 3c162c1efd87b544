#include "store/etcd_call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "io/http_client.h"
#include "io/loop.h"
#include "store/etcd_access.h"

enum {
    CONNECT_MAX_MS = 2000, /* allows for one lost SYN, which is sent again after a second */
    PAUSE_MIN_MS = 100,    /* between rounds over all members while none can be reached */
    PAUSE_MAX_MS = 1000,
    LOGINS_MAX = 2, /* of one request; a token that is refused right after a login will be again */
};

struct etcd_call {
    struct etcd_access *access;
    const char *path;
    char *body;
    bool repeatable;
    size_t only_member;
    msec deadline_ms;
    etcd_call_fn *fn;
    void *arg;

    size_t member;  /* being asked */
    uint64_t tried; /* of this round, a bit each */
    msec attempt_end_ms;
    msec pause_ms;
    int logins;
    unsigned int token_serial; /* of the token the request went out with */
    msec sent_at_ms;
    bool unclear; /* some attempt may have reached a member and was not answered */
    bool refused; /* the last attempt was answered, by a refusal */
    struct etcd_error error;
    struct err why; /* of the last attempt */

    struct http_call *http;
    struct loop_timer timer; /* the start and the pauses between rounds */
    bool finishing;
};

static void next_member(struct etcd_call *c);
static void ask_member(struct etcd_call *c);

static void call_free(struct etcd_call *c)
{
    loop_timer_clear(&c->timer);
    http_call_cancel(c->http);
    etcd_access_unref(c->access);
    free(c->body);
    free(c);
}

static void finish(struct etcd_call *c, struct etcd_outcome *o)
{
    c->finishing = true;
    o->sent_at_ms = c->sent_at_ms;
    if (o->status != STORE_DONE) {
        o->err = c->why;
        o->error = c->error;
        CHECK(o->err.code != ERR_NONE);
    }
    c->fn(o, c->arg);
    call_free(c);
}

static void finish_without(struct etcd_call *c, enum store_status status)
{
    finish(c, &(struct etcd_outcome){.status = status});
}

/* Nobody could be asked any more: what is known about the attempts that were made? */
static void give_up(struct etcd_call *c)
{
    if (c->why.code == ERR_NONE)
        (void)err_set(&c->why, ERR_TIMEOUT, "no time was left to ask etcd");
    finish_without(c, c->unclear ? STORE_UNKNOWN : c->refused ? STORE_REFUSED : STORE_AWAY);
}

/* ---- headers ---- */

void etcd_headers_init(struct etcd_headers *h, const struct etcd_access *a)
{
    size_t count = 0;

    *h = (struct etcd_headers){0};
    h->at[count++] = "Content-Type: application/json";
    /* A member that is cut off from the majority refuses at once instead of keeping us waiting. */
    h->at[count++] = "Grpc-Metadata-hasleader: true";
    if (!str_empty(a->token)) {
        h->token = str_fmt("Authorization: %s", a->token);
        h->at[count] = h->token;
    }
}

void etcd_headers_deinit(struct etcd_headers *h)
{
    free(h->token);
}

/* ---- one step at one member ---- */

static void send_step(struct etcd_call *c, const char *method, const char *path, const char *body, http_done_fn *done)
{
    const struct etcd_member *m = &c->access->members[c->member];
    AUTO(cstr) char *url = str_fmt("%s%s", m->url, path);
    struct etcd_headers headers;
    msec left_ms = msec_max(c->attempt_end_ms - loop_clock_ms(), 1);

    etcd_headers_init(&headers, c->access);
    const struct http_request request = {
        .method = method,
        .url = url,
        .body = body,
        .body_len = body ? strlen(body) : 0,
        .headers = headers.at,
        .connect_ms = msec_min(left_ms, CONNECT_MAX_MS),
        .budget_ms = left_ms,
    };
    c->http = http_client_send(c->access->http, &request, done, c);
    etcd_headers_deinit(&headers);
}

/* The member did not do what it should; c->why says it. */
static void member_failed(struct etcd_call *c)
{
    etcd_access_failed(c->access, c->member);
    next_member(c);
}

/* What the member said instead of a result; false if it is none of etcd's errors either. */
static bool read_error(const struct http_reply *r, const json_t *json, struct etcd_error *ret)
{
    if (json_is_object(json) && etcd_read_error(json, ret))
        return true;
    if (r->status == 200)
        return false;

    ret->code = -1;
    if (r->status == 404)
        str_copy(ret->message, sizeof(ret->message),
                 "HTTP status 404; is its JSON gateway switched off (--enable-grpc-gateway)?");
    else /* what refuses in plain text says why in its first line: no certificates with a CommonName, a proxy */
        (void)snprintf(ret->message, sizeof(ret->message), "HTTP status %d: %.*s", r->status,
                       (int)strcspn(r->body, "\r\n"), r->body);
    return true;
}

static json_t *read_json(const struct http_reply *r)
{
    /* After the object of a stream there may be more; the first one answers the only request. */
    return json_loadb(r->body, r->body_len, JSON_DISABLE_EOF_CHECK, NULL);
}

static enum etcd_verdict judge(const struct http_reply *r, const struct etcd_error *error)
{
    if (error->code >= 0)
        return etcd_judge(error);
    if (r->status == 404)
        return ETCD_ELSEWHERE;
    if (r->status >= 400 && r->status < 500)
        return ETCD_REFUSED;
    return etcd_judge(error);
}

static void set_why(struct etcd_call *c, enum err_code code, const char *text)
{
    (void)err_set(&c->why, code, "etcd at %s: %s", c->access->members[c->member].name, text);
}

/* ---- the request itself ---- */

static void drop_token(struct etcd_call *c)
{
    struct etcd_access *a = c->access;

    if (a->token_serial == c->token_serial)
        free(TAKE(a->token));
}

static enum err_code kind_of_refusal(const struct etcd_error *e)
{
    enum { PERMISSION_DENIED = 7 };

    if (e->code == ETCD_CODE_NOT_FOUND)
        return ERR_NOT_FOUND;
    return e->code == PERMISSION_DENIED ? ERR_DENIED : ERR_STORE;
}

static void request_refused(struct etcd_call *c, const struct http_reply *r)
{
    c->refused = true;
    set_why(c, kind_of_refusal(&c->error), c->error.message);
    switch (judge(r, &c->error)) {
    case ETCD_REFUSED:
        endpoints_answered(&c->access->endpoints, c->member);
        finish_without(c, STORE_REFUSED);
        return;
    case ETCD_ELSEWHERE:
        member_failed(c);
        return;
    case ETCD_LOGIN:
        set_why(c, ERR_DENIED, c->error.message);
        drop_token(c);
        if (c->access->username && c->logins < LOGINS_MAX)
            ask_member(c);
        else
            finish_without(c, STORE_REFUSED);
        return;
    case ETCD_UNCLEAR:
        c->refused = false;
        c->unclear = true;
        if (c->repeatable) {
            member_failed(c);
            return;
        }
        etcd_access_failed(c->access, c->member);
        finish_without(c, STORE_UNKNOWN);
        return;
    }
}

static void on_request_reply(const struct http_reply *r, void *arg)
{
    struct etcd_call *c = arg;

    c->http = NULL;
    json_t *json = r->status ? read_json(r) : NULL;
    if (r->status && read_error(r, json, &c->error)) {
        request_refused(c, r);
    } else if (json_is_object(json)) {
        endpoints_answered(&c->access->endpoints, c->member);
        finish(c, &(struct etcd_outcome){.status = STORE_DONE, .json = json, .member = c->member});
    } else {
        c->refused = false;
        c->unclear |= r->sent;
        c->why = r->err;
        if (r->status)
            set_why(c, ERR_STORE, "answered what is no JSON object");
        if (r->sent && !c->repeatable) {
            etcd_access_failed(c->access, c->member);
            finish_without(c, STORE_UNKNOWN);
        } else {
            member_failed(c);
        }
    }
    json_decref(json);
}

static void ask_request(struct etcd_call *c)
{
    AUTO(cstr) char *path = str_fmt("%s%s", c->access->members[c->member].gateway, c->path);

    c->token_serial = c->access->token_serial;
    c->sent_at_ms = loop_clock_ms();
    send_step(c, "POST", path, c->body, on_request_reply);
}

/* ---- what comes before it ---- */

static void on_login_reply(const struct http_reply *r, void *arg)
{
    enum { FAILED_PRECONDITION = 9 };

    struct etcd_call *c = arg;
    struct etcd_access *a = c->access;
    struct etcd_error error;

    c->http = NULL;
    c->refused = false;
    json_t *json = r->status ? read_json(r) : NULL;
    const char *token = json_string_value(json_object_get(json, "token"));
    if (r->status == 200 && !str_empty(token)) {
        str_set(&a->token, token);
        a->token_serial++;
        ask_member(c);
    } else if (!r->status || !read_error(r, json, &error)) {
        c->why = r->err;
        if (r->status)
            set_why(c, ERR_STORE, "answered a login without a token");
        member_failed(c);
    } else if (error.code == FAILED_PRECONDITION) {
        str_set(&a->token, ""); /* "authentication is not enabled" */
        a->token_serial++;
        ask_member(c);
    } else if (judge(r, &error) == ETCD_REFUSED) {
        c->error = error;
        set_why(c, ERR_DENIED, error.message);
        finish_without(c, STORE_REFUSED);
    } else {
        set_why(c, ERR_STORE, error.message);
        member_failed(c);
    }
    json_decref(json);
}

static void ask_token(struct etcd_call *c)
{
    AUTO(buf) struct buf body = BUF_EMPTY;
    AUTO(cstr) char *path = str_fmt("%s/auth/authenticate", c->access->members[c->member].gateway);

    c->logins++;
    etcd_write_login(&body, c->access->username, c->access->password);
    send_step(c, "POST", path, buf_cstr(&body), on_login_reply);
}

static void on_version_reply(const struct http_reply *r, void *arg)
{
    struct etcd_call *c = arg;
    struct etcd_member *m = &c->access->members[c->member];

    c->http = NULL;
    c->refused = false;
    json_t *json = r->status == 200 ? read_json(r) : NULL;
    m->gateway = json ? etcd_read_version(json, m->version, sizeof(m->version)) : NULL;
    json_decref(json);
    if (m->gateway) {
        ask_member(c);
        return;
    }

    c->why = r->err;
    if (r->status)
        set_why(c, ERR_STORE, "/version is not answered as etcd does");
    member_failed(c);
}

/* The next thing this member has to be asked. */
static void ask_member(struct etcd_call *c)
{
    const struct etcd_access *a = c->access;

    if (loop_clock_ms() >= c->attempt_end_ms) {
        if (c->why.code == ERR_NONE)
            set_why(c, ERR_TIMEOUT, "no answer in time");
        next_member(c);
    } else if (!a->members[c->member].gateway) {
        send_step(c, "GET", "/version", NULL, on_version_reply);
    } else if (a->username && !a->token) {
        ask_token(c);
    } else {
        ask_request(c);
    }
}

/* ---- from member to member ---- */

static void next_member(struct etcd_call *c)
{
    const struct endpoints *e = &c->access->endpoints;
    msec now_ms = loop_clock_ms();
    msec left_ms = c->deadline_ms - now_ms;
    size_t i = endpoints_pick(e, c->tried, now_ms);

    if (c->only_member != ENDPOINT_NONE)
        i = c->tried ? ENDPOINT_NONE : c->only_member;
    if (left_ms <= 0) {
        give_up(c);
        return;
    }
    if (i == ENDPOINT_NONE) {
        if (c->only_member != ENDPOINT_NONE || c->pause_ms >= left_ms) {
            give_up(c);
            return;
        }
        c->tried = 0;
        loop_timer_set(&c->timer, now_ms + c->pause_ms);
        c->pause_ms = msec_min(2 * c->pause_ms, PAUSE_MAX_MS);
        return;
    }

    c->attempt_end_ms = now_ms + (c->only_member == ENDPOINT_NONE ? endpoints_share(e, c->tried, left_ms) : left_ms);
    c->tried |= (uint64_t)1 << i;
    c->member = i;
    ask_member(c);
}

static void timer_due(void *arg)
{
    next_member(arg);
}

struct etcd_call *etcd_call_start(struct etcd_access *a, const struct etcd_call_spec *spec, etcd_call_fn *fn, void *arg)
{
    struct etcd_call *c = mem_zero(1, sizeof(*c));
    msec now_ms = loop_clock_ms();

    CHECK(spec->body);
    CHECK(spec->only_member == ENDPOINT_NONE || spec->only_member < a->endpoints.count);
    c->access = etcd_access_ref(a);
    c->path = spec->path;
    c->body = str_dup(spec->body);
    c->repeatable = spec->repeatable;
    c->only_member = spec->only_member;
    c->deadline_ms = now_ms + spec->budget_ms;
    c->pause_ms = PAUSE_MIN_MS;
    c->fn = fn;
    c->arg = arg;
    loop_timer_init(&c->timer, a->loop, timer_due, c);
    loop_timer_set(&c->timer, now_ms); /* from the loop: even a budget of nothing ends in a callback later */
    return c;
}

void etcd_call_cancel(struct etcd_call *c)
{
    if (c && !c->finishing)
        call_free(c);
}
