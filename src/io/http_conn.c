#include "io/http_conn.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/str.h"
#include "base/trace.h"
#include "io/http_tls.h"
#include "io/loop.h"

enum {
    MS_PER_S = 1000,
    US_PER_MS = 1000,
    HEADER_MAX = 64, /* of those we write ourselves */
};

/*
 * A connection's phases. It is closed from any of them; while HANDLING it has no limit of its own: the
 * request has a deadline (http_request_keep).
 */
#define TO(phase) (1U << CONN_##phase)
#define CONN_PHASES(X)                            \
    X(HELLO, "hello", TO(REQUEST) | TO(HANDLING)) \
    X(REQUEST, "request", TO(HANDLING))           \
    X(HANDLING, "handling", TO(REPLYING))         \
    X(REPLYING, "replying", TO(IDLE))             \
    X(IDLE, "idle", TO(REQUEST) | TO(HANDLING))

enum conn_phase {
#define X(id, name, next) CONN_##id,
    CONN_PHASES(X)
#undef X
};

static const struct {
    const char *name;
    unsigned int next;
} conn_rules[] = {
#define X(id, name, next) [CONN_##id] = {name, next},
    CONN_PHASES(X)
#undef X
};

struct conn {
    struct http_conns *house;
    struct bufferevent *bev;         /* evhttp's; ours too while evcon is NULL */
    struct evhttp_connection *evcon; /* NULL until adopted */
    struct http_request *request;    /* while HANDLING */
    struct event *timer;             /* the limit of the phase */
    enum conn_phase phase;
    unsigned int generation; /* of the configuration it was accepted under */
    bool tls;
    bool closing;     /* ends with the answer under way */
    bool unwelcome;   /* the house is full and nobody can be asked to leave */
    struct list link; /* in house->conns or house->arrivals */
};

struct http_request {
    struct http_conns *house;
    struct conn *conn;            /* NULL: the connection is gone */
    struct evhttp_request *evreq; /* NULL: evhttp freed it with the connection */
    enum http_method method;
    char *path, *query, *peer, *client_cert;
    bool tls;
    struct event *expiry; /* NULL: not kept */
    http_request_fn *expired, *gone;
    void *arg;
    struct list link; /* in house->kept */
};

static struct timeval to_timeval(msec ms)
{
    ms = msec_max(ms, 0);
    return (struct timeval){.tv_sec = ms / MS_PER_S, .tv_usec = ms % MS_PER_S * US_PER_MS};
}

/* ---- connections ---- */

static msec phase_limit_ms(const struct conn *c)
{
    const struct http_limits *limits = &c->house->limits;

    switch (c->phase) {
    case CONN_HELLO:
        return limits->hello_ms;
    case CONN_REQUEST:
        return limits->request_ms;
    case CONN_HANDLING:
        return MSEC_NEVER;
    case CONN_REPLYING:
        return limits->reply_ms;
    case CONN_IDLE:
        return limits->idle_ms;
    }
    UNREACHABLE();
}

/* The clock of the phase starts; the connection is now the one that moved last. */
static void conn_arm(struct conn *c)
{
    msec limit_ms = phase_limit_ms(c);
    struct timeval limit = to_timeval(limit_ms);

    list_remove(&c->link);
    list_add_tail(&c->house->conns, &c->link);
    if (limit_ms == MSEC_NEVER)
        (void)event_del(c->timer); /* fine if it is not set */
    else
        (void)event_add(c->timer, &limit);
}

static void conn_move(struct conn *c, enum conn_phase to)
{
    CHECK(conn_rules[c->phase].next & 1U << to);
    trace_add("http: %p: %s -> %s", (void *)c, conn_rules[c->phase].name, conn_rules[to].name);
    c->phase = to;
    conn_arm(c);
}

/* Close it, whatever it is doing, unless a handler has its request. */
static void conn_close(struct conn *c)
{
    CHECK(c->evcon);
    CHECK(!c->request);
    if (c->tls)
        http_tls_goodbye(bufferevent_openssl_get_ssl(c->bev));
    evhttp_connection_free(c->evcon); /* calls conn_closed */
}

static void conn_late(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;

    trace_add("http: %p: out of time while in %s", (void *)c, conn_rules[c->phase].name);
    conn_close(c);
}

/* Called for each change of what has come in and is not parsed yet. */
static void input_changed(struct evbuffer *input, const struct evbuffer_cb_info *info, void *arg)
{
    struct conn *c = arg;

    if (info->n_added > 0 && (c->phase == CONN_HELLO || c->phase == CONN_IDLE))
        conn_move(c, CONN_REQUEST);
}

static void conn_free(struct conn *c)
{
    c->house->count--;
    list_remove(&c->link);
    event_free(c->timer);
    free(c);
}

/* evhttp lets go of a connection, for whatever reason. */
static void conn_closed(struct evhttp_connection *evcon, void *arg)
{
    struct conn *c = arg;
    struct http_request *r = c->request;

    CHECK(c->evcon == evcon);
    (void)evbuffer_remove_cb(bufferevent_get_input(c->bev), input_changed, c);
    if (r) {
        r->conn = NULL;
        /* Either it is freed with the connection, or cut off and ours to free by answering it. */
        if (evhttp_request_get_connection(r->evreq))
            r->evreq = NULL;
    }
    conn_free(c);
}

/*
 * evhttp of libevent 2.1 does not tell about new connections. What it gives its bufferevent as argument
 * of the callbacks is the connection; that is how we get to hear of its end. NULL: evhttp failed to
 * set it up and let go of the bufferevent.
 */
static void conn_adopt(struct conn *c)
{
    void *evcon = NULL;

    bufferevent_getcb(c->bev, NULL, NULL, NULL, &evcon);
    if (!evcon) {
        (void)bufferevent_decref(c->bev);
        conn_free(c);
        return;
    }

    CHECK(evhttp_connection_get_bufferevent(evcon) == c->bev);
    c->evcon = evcon;
    evhttp_connection_set_closecb(c->evcon, conn_closed, c);
    (void)evbuffer_add_cb(bufferevent_get_input(c->bev), input_changed, c);
    (void)bufferevent_decref(c->bev); /* evhttp has the other reference */
    conn_arm(c);
    if (c->unwelcome)
        conn_close(c);
}

static void adopt_arrivals(struct http_conns *cs)
{
    LIST_EACH (it, tmp, &cs->arrivals)
        conn_adopt(LIST_ENTRY(it, struct conn, link));
}

static void arrival_due(evutil_socket_t fd, short what, void *arg)
{
    adopt_arrivals(arg);
}

/* The house is full: whoever has kept us waiting longest has to go. false: all are being served. */
static bool make_room(struct http_conns *cs)
{
    LIST_EACH (it, tmp, &cs->conns) {
        struct conn *c = LIST_ENTRY(it, struct conn, link);

        if (c->phase == CONN_HELLO || c->phase == CONN_REQUEST || c->phase == CONN_IDLE) {
            conn_close(c);
            return true;
        }
    }
    return false;
}

/* evhttp has accepted a connection and wants its bufferevent. */
static struct bufferevent *conn_new(struct event_base *base, void *arg)
{
    struct http_conns *cs = arg;

    adopt_arrivals(cs); /* of the same call of accept(), so that they can be asked to leave */
    struct conn *c = mem_zero(1, sizeof(*c));
    c->house = cs;
    c->phase = CONN_HELLO;
    c->generation = cs->generation;
    c->tls = cs->tls;
    c->unwelcome = cs->count >= cs->limits.conn_max && !make_room(cs);
    c->timer = evtimer_new(base, conn_late, c);
    CHECK(c->timer);
    if (cs->tls) {
        SSL *ssl = SSL_new(cs->tls);
        CHECK(ssl);
        c->bev = bufferevent_openssl_socket_new(base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
    } else {
        c->bev = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    }
    CHECK(c->bev); /* evhttp would take NULL for "plain", also where TLS is asked for */
    bufferevent_incref(c->bev);
    cs->count++;
    list_init(&c->link);
    list_add_tail(&cs->arrivals, &c->link);
    event_active(cs->arrival, EV_TIMEOUT, 0); /* before anything is read from it */
    return c->bev;
}

static struct conn *conn_of(struct http_conns *cs, const struct evhttp_connection *evcon)
{
    LIST_EACH (it, tmp, &cs->conns) {
        struct conn *c = LIST_ENTRY(it, struct conn, link);

        if (c->evcon == evcon)
            return c;
    }
    UNREACHABLE();
}

/* ---- requests ---- */

static void request_free(struct http_request *r)
{
    if (r->conn)
        r->conn->request = NULL;
    else if (r->evreq)
        evhttp_request_free(r->evreq);
    if (r->expiry) {
        list_remove(&r->link);
        event_free(r->expiry);
    }
    free(r->path);
    free(r->query);
    free(r->peer);
    free(r->client_cert);
    free(r);
}

/* false: a method that the server was told not to let through. */
static bool method_of(enum evhttp_cmd_type type, enum http_method *ret_method)
{
    static const struct {
        enum evhttp_cmd_type type;
        enum http_method method;
    } methods[] = {
        {EVHTTP_REQ_GET, HTTP_GET},       {EVHTTP_REQ_HEAD, HTTP_HEAD}, {EVHTTP_REQ_OPTIONS, HTTP_OPTIONS},
        {EVHTTP_REQ_POST, HTTP_POST},     {EVHTTP_REQ_PUT, HTTP_PUT},   {EVHTTP_REQ_PATCH, HTTP_PATCH},
        {EVHTTP_REQ_DELETE, HTTP_DELETE},
    };

    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        if (methods[i].type == type) {
            *ret_method = methods[i].method;
            return true;
        }
    }
    return false;
}

/*
 * Path and query of a request's target: "/path?query", or the same behind "http://host" (RFC 9112, 3.2.2).
 * evhttp's own parser takes the first word after "//" for a host.
 */
static void target_split(struct http_request *r, const char *target)
{
    const char *host = strstr(target, "://");

    if (*target != '/' && host)
        target = host + 3 + strcspn(host + 3, "/?#");
    const char *path = target + strspn(target, "/");
    size_t path_len = strcspn(path, "?#");
    const char *query = path[path_len] == '?' ? path + path_len + 1 : "";

    r->path = str_fmt("/%.*s", (int)path_len, path);
    r->query = str_fmt("%.*s", (int)strcspn(query, "#"), query);
}

/* evhttp has read a whole request. */
static void request_came(struct evhttp_request *evreq, void *arg)
{
    struct http_conns *cs = arg;
    struct evhttp_connection *evcon = evhttp_request_get_connection(evreq);
    char *peer = NULL;
    ev_uint16_t peer_port;

    adopt_arrivals(cs);
    struct conn *c = conn_of(cs, evcon);
    conn_move(c, CONN_HANDLING);

    struct http_request *r = mem_zero(1, sizeof(*r));
    r->house = cs;
    r->conn = c;
    r->evreq = evreq;
    bool allowed = method_of(evhttp_request_get_command(evreq), &r->method);
    CHECK(allowed);
    target_split(r, evhttp_request_get_uri(evreq));
    evhttp_connection_get_peer(evcon, &peer, &peer_port);
    r->peer = str_dup(peer ? peer : "?");
    r->tls = c->tls;
    if (c->tls)
        r->client_cert = http_tls_peer(bufferevent_openssl_get_ssl(c->bev));
    c->request = r;

    cs->handler(r, cs->arg);
    /* Answered (then r is gone and nothing is in hand) or kept. */
    CHECK(c->phase != CONN_HANDLING || (c->request == r && r->expiry));
}

enum http_method http_request_method(const struct http_request *r)
{
    return r->method;
}

const char *http_request_path(const struct http_request *r)
{
    return r->path;
}

const char *http_request_query(const struct http_request *r)
{
    return r->query;
}

const char *http_request_header(const struct http_request *r, const char *name)
{
    return r->evreq ? evhttp_find_header(evhttp_request_get_input_headers(r->evreq), name) : NULL;
}

const char *http_request_body(struct http_request *r, size_t *ret_len)
{
    struct evbuffer *body = r->evreq ? evhttp_request_get_input_buffer(r->evreq) : NULL;

    *ret_len = body ? evbuffer_get_length(body) : 0;
    const unsigned char *bytes = *ret_len ? evbuffer_pullup(body, -1) : NULL;
    CHECK(bytes || *ret_len == 0);
    return bytes ? (const char *)bytes : "";
}

const char *http_request_peer(const struct http_request *r)
{
    return r->peer;
}

bool http_request_is_tls(const struct http_request *r)
{
    return r->tls;
}

const char *http_request_client_cert(const struct http_request *r)
{
    return r->client_cert;
}

static void request_expired(evutil_socket_t fd, short what, void *arg)
{
    struct http_request *r = arg;

    r->expired(r->arg);
}

void http_request_keep(struct http_request *r, msec at_ms, http_request_fn *expired, http_request_fn *gone, void *arg)
{
    struct timeval in = to_timeval(at_ms - loop_clock_ms());

    CHECK(expired);
    CHECK(gone);
    if (!r->expiry) {
        r->expiry = evtimer_new(r->house->base, request_expired, r);
        CHECK(r->expiry);
        list_init(&r->link);
        list_add_tail(&r->house->kept, &r->link);
    }
    r->expired = expired;
    r->gone = gone;
    r->arg = arg;
    (void)event_add(r->expiry, &in);
}

/* ---- answers ---- */

const char *http_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {202, "Accepted"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {409, "Conflict"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Request Entity Too Large"},
        {422, "Unprocessable Entity"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
    };

    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        if (reasons[i].status == status)
            return reasons[i].reason;
    }
    return "Unknown";
}

/* The last byte of an answer is with the kernel; evhttp closes or reads on after this. */
static void reply_sent(struct evhttp_request *evreq, void *arg)
{
    struct conn *c = arg;

    conn_move(c, CONN_IDLE);
    if (c->closing && c->tls)
        http_tls_goodbye(bufferevent_openssl_get_ssl(c->bev));
}

/*
 * Common start of all answers. NULL: there is nobody left to answer; *r is freed then, otherwise still
 * the caller's.
 */
static struct conn *reply_begin(struct http_request *r, bool close)
{
    struct conn *c = r->conn;

    if (!c) {
        request_free(r);
        return NULL;
    }

    c->closing = close || r->evreq->minor == 0 || c->generation != c->house->generation;
    /* evhttp keeps HTTP/1.0 open when asked by this header; nobody we know needs that. */
    if (r->evreq->minor == 0)
        (void)evhttp_remove_header(evhttp_request_get_input_headers(r->evreq), "Connection"); /* fine if absent */
    else if (c->closing)
        (void)evhttp_add_header(evhttp_request_get_output_headers(r->evreq), "Connection", "close");
    evhttp_request_set_on_complete_cb(r->evreq, reply_sent, c);
    conn_move(c, CONN_REPLYING);
    return c;
}

static void add_date(struct evkeyvalq *headers)
{
    char text[HEADER_MAX];
    time_t now = (time_t)(wall_clock_ms() / MS_PER_S);
    struct tm parts;

    if (gmtime_r(&now, &parts) && strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &parts))
        (void)evhttp_add_header(headers, "Date", text);
}

void http_reply(struct http_request *take_request, int status, const struct http_header *headers, size_t header_count,
                const char *body, size_t body_len)
{
    struct http_request *r = take_request;
    struct conn *c = reply_begin(r, false);
    char length[HEADER_MAX];

    if (!c)
        return;

    struct evkeyvalq *out = evhttp_request_get_output_headers(r->evreq);
    for (size_t i = 0; i < header_count; i++) {
        if (evhttp_add_header(out, headers[i].name, headers[i].value) != 0)
            trace_add("http: header %s dropped: a line break in it", headers[i].name);
    }
    add_date(out);
    (void)snprintf(length, sizeof(length), "%zu", body_len);
    (void)evhttp_add_header(out, "Content-Length", length);

    struct evbuffer *bytes = evbuffer_new();
    CHECK(bytes);
    if (r->method != HTTP_HEAD) {
        int failed = evbuffer_add(bytes, body, body_len);
        CHECK(!failed);
    }
    evhttp_send_reply(r->evreq, status, http_reason(status), bytes);
    evbuffer_free(bytes);
    /* While we write we do not read: a client that has shut down its sending side still gets its answer,
     * and one that goes on talking waits its turn. One that does not read is bounded by reply_ms. */
    (void)bufferevent_disable(c->bev, EV_READ);
    request_free(r);
}

void http_reply_bare(struct http_request *take_request, int status)
{
    struct http_request *r = take_request;
    struct conn *c = reply_begin(r, true);
    char line[HEADER_MAX];

    if (!c)
        return;

    int len = snprintf(line, sizeof(line), "HTTP/1.0 %d %s\r\n\r\n", status, http_reason(status));
    /* evhttp has no such answer: the bytes go past it, and it is told that the answer has ended. It
     * calls us, and closes, when they are written. HTTP/1.0 needs to be told to close, too. */
    if (r->evreq->minor == 0)
        (void)evhttp_add_header(evhttp_request_get_output_headers(r->evreq), "Connection", "close");
    int failed = bufferevent_write(c->bev, line, (size_t)len);
    CHECK(!failed);
    evhttp_send_reply_end(r->evreq);
    (void)bufferevent_enable(c->bev, EV_WRITE);
    request_free(r);
}

/* ---- the house ---- */

void http_conns_init(struct http_conns *cs, struct event_base *base, http_handler_fn *handler, void *arg)
{
    *cs = (struct http_conns){.base = base, .handler = handler, .arg = arg};
    list_init(&cs->conns);
    list_init(&cs->arrivals);
    list_init(&cs->kept);
    cs->http = evhttp_new(base);
    cs->arrival = evtimer_new(base, arrival_due, cs);
    CHECK(cs->http && cs->arrival);
    evhttp_set_bevcb(cs->http, conn_new, cs);
    evhttp_set_gencb(cs->http, request_came, cs);
    evhttp_set_allowed_methods(cs->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_OPTIONS | EVHTTP_REQ_POST |
                                             EVHTTP_REQ_PUT | EVHTTP_REQ_PATCH | EVHTTP_REQ_DELETE);
    evhttp_set_default_content_type(cs->http, NULL);
    /* A body above the limit is read to its end (within request_ms) before we say so: a client that is
     * still sending would otherwise see a broken connection instead of 413. */
    (void)evhttp_set_flags(cs->http, EVHTTP_SERVER_LINGERING_CLOSE);
}

void http_conns_configure(struct http_conns *cs, SSL_CTX *take_tls, const struct http_limits *limits)
{
    SSL_CTX_free(cs->tls); /* connections under it have references of their own */
    cs->tls = take_tls;
    cs->limits = *limits;
    evhttp_set_max_body_size(cs->http, (ev_ssize_t)limits->body_max);
    evhttp_set_max_headers_size(cs->http, (ev_ssize_t)limits->headers_max);
    /* Ours are shorter; evhttp's count from byte to byte and are left as a second line. */
    struct timeval longest = to_timeval(2 * msec_max(limits->request_ms, msec_max(limits->idle_ms, limits->reply_ms)));
    evhttp_set_timeout_tv(cs->http, &longest);

    cs->generation++;
    adopt_arrivals(cs);
    LIST_EACH (it, tmp, &cs->conns) {
        struct conn *c = LIST_ENTRY(it, struct conn, link);
        if (c->phase == CONN_IDLE)
            conn_close(c);
    }
}

void http_conns_deinit(struct http_conns *cs)
{
    adopt_arrivals(cs);
    LIST_EACH (it, tmp, &cs->kept) {
        struct http_request *r = LIST_ENTRY(it, struct http_request, link);

        r->gone(r->arg);
        request_free(r);
    }
    evhttp_free(cs->http); /* calls conn_closed for each */
    CHECK(cs->count == 0);
    event_free(cs->arrival);
    SSL_CTX_free(cs->tls);
}
