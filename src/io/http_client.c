#include "io/http_client.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/list.h"
#include "base/str.h"
#include "io/loop.h"

enum {
    BODY_MAX = 64 * 1024 * 1024, /* of one answer; a store's whole content is a small part of it */
    HEADERS_MAX = 100,           /* of one answer; more are not remembered */
    IDLE_CONNECTIONS_MAX = 16,   /* kept for reuse */
    STREAM_CONNECT_MS = 10000,   /* for a stream that names no limit of its own */
    /* A peer whose host is gone is noticed on an idle stream after 5 + 3 * 2 s. */
    KEEPALIVE_IDLE_S = 5,
    KEEPALIVE_INTERVAL_S = 2,
    KEEPALIVE_COUNT = 3,
    UNACKED_MAX_MS = 11000,
};

struct header {
    char *name, *value;
};

struct http_call {
    struct http_client *client;
    struct list link; /* in client->calls, when cancelled inside curl in client->doomed */
    CURL *easy;
    char *url;
    struct curl_slist *headers;
    char *body;
    size_t body_len, body_at;
    struct loop_timer deadline;
    void (*piece)(const char *bytes, size_t len, void *arg);
    http_done_fn *done;
    void *arg;
    bool cancelled, finished, too_big;
    struct buf answer;
    struct header answer_headers[HEADERS_MAX];
    size_t answer_header_count;
    char reason[CURL_ERROR_SIZE];
};

/* What `done` gets; http_reply_header() finds the call behind it. */
struct full_reply {
    struct http_reply reply;
    const struct http_call *call;
};

struct watched_socket {
    struct loop_fd *watch;
    struct list link;
};

struct http_client {
    struct loop *loop;
    CURLM *multi;
    struct loop_timer curl_timer;
    struct list calls;
    struct list doomed;
    struct list sockets;
    char *cacert, *cert, *key, *key_password;
    char *username, *password;
    bool insecure;
    bool in_curl; /* curl allows no removal of a call from inside its callbacks */
    int busy;     /* our own frames that will look at the client again */
    bool dead;    /* freed from inside a callback: goes when busy is 0 */
};

/* ---- one call ---- */

static void forget_answer_headers(struct http_call *call)
{
    for (size_t i = 0; i < call->answer_header_count; i++) {
        free(call->answer_headers[i].name);
        free(call->answer_headers[i].value);
    }
    call->answer_header_count = 0;
}

static void detach(struct http_call *call)
{
    CHECK(!call->client->in_curl);
    CURLMcode failed = curl_multi_remove_handle(call->client->multi, call->easy);
    CHECK(!failed);
    loop_timer_clear(&call->deadline);
    list_remove(&call->link);
}

static void call_free(struct http_call *call)
{
    curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    forget_answer_headers(call);
    buf_deinit(&call->answer);
    free(call->body);
    free(call->url);
    free(call);
}

static long info_long(const struct http_call *call, CURLINFO what)
{
    long value = 0;

    (void)curl_easy_getinfo(call->easy, what, &value); /* leaves 0 where there is nothing to tell */
    return value;
}

static size_t take_header(char *bytes, size_t size, size_t count, void *arg)
{
    struct http_call *call = arg;
    size_t len = size * count;
    const char *colon = memchr(bytes, ':', len);

    if (len >= 5 && memcmp(bytes, "HTTP/", 5) == 0)
        forget_answer_headers(call); /* what came before was "100 Continue" */
    if (!colon || call->answer_header_count == HEADERS_MAX)
        return len;

    const char *value = colon + 1;
    const char *end = bytes + len;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' '))
        end--;
    call->answer_headers[call->answer_header_count++] = (struct header){
        .name = str_fmt("%.*s", (int)(colon - bytes), bytes),
        .value = str_fmt("%.*s", (int)(end - value), value),
    };
    return len;
}

/* Returning less than was given makes curl end the transfer. */
static size_t take_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct http_call *call = arg;
    size_t len = size * count;
    long status = info_long(call, CURLINFO_RESPONSE_CODE);

    if (call->cancelled)
        return 0;

    if (call->piece && status >= 200 && status < 300) {
        call->piece(bytes, len, call->arg);
        return call->cancelled ? 0 : len;
    }
    if (call->answer.len + len > BODY_MAX) {
        call->too_big = true;
        return 0;
    }
    buf_add(&call->answer, bytes, len);
    return len;
}

static size_t give_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct http_call *call = arg;
    size_t len = call->body_len - call->body_at;

    if (len > size * count)
        len = size * count;
    memcpy(bytes, call->body + call->body_at, len);
    call->body_at += len;
    return len;
}

static enum err_code kind_of(CURLcode code)
{
    /* NOLINTNEXTLINE(clang-diagnostic-switch-enum): not our enum, it grows with each release */
    switch ((int)code) {
    case CURLE_OPERATION_TIMEDOUT:
        return ERR_TIMEOUT;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_LOGIN_DENIED:
        return ERR_DENIED;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
        return ERR_INPUT;
    default:
        return ERR_SYS;
    }
}

/* Hand the outcome over and forget the call. The client may be gone afterwards, if it is not held busy. */
static void finish(struct http_call *call, CURLcode code, bool deadline_passed)
{
    struct full_reply full = {.call = call};
    struct http_reply *reply = &full.reply;
    long status = info_long(call, CURLINFO_RESPONSE_CODE);

    reply->sent = info_long(call, CURLINFO_REQUEST_SIZE) > 0;
    reply->body = buf_cstr(&call->answer);
    reply->body_len = call->answer.len;
    if (code == CURLE_OK && !deadline_passed && status > 0) {
        reply->status = (int)status;
    } else if (deadline_passed) {
        (void)err_set(&reply->err, ERR_TIMEOUT, "%s: no answer in time", call->url);
    } else if (call->too_big) {
        (void)err_set(&reply->err, ERR_INPUT, "%s: the answer is larger than %d bytes", call->url, BODY_MAX);
    } else {
        (void)err_set(&reply->err, kind_of(code), "%s: %s", call->url,
                      *call->reason ? call->reason : curl_easy_strerror(code));
        if (reply->err.code == ERR_SYS)
            reply->err.sys_errno = (int)info_long(call, CURLINFO_OS_ERRNO);
    }

    detach(call);
    call->finished = true;
    call->done(reply, call->arg);
    call_free(call);
}

/* ---- curl on the loop ---- */

static void destroy(struct http_client *c)
{
    (void)curl_multi_cleanup(c->multi); /* no call is left in it */
    LIST_EACH (it, tmp, &c->sockets) {
        struct watched_socket *s = LIST_ENTRY(it, struct watched_socket, link);
        loop_fd_remove(s->watch);
        free(s);
    }
    loop_timer_clear(&c->curl_timer);
    free(c->cacert);
    free(c->cert);
    free(c->key);
    free(c->key_password);
    free(c->username);
    free(c->password);
    free(c);
}

static void leave(struct http_client *c)
{
    c->busy--;
    if (c->dead && c->busy == 0)
        destroy(c);
}

/* After curl has worked: drop what was cancelled meanwhile, hand over what is done. */
static void settle(struct http_client *c)
{
    CURLMsg *message;
    int left;

    LIST_EACH (it, tmp, &c->doomed) {
        struct http_call *call = LIST_ENTRY(it, struct http_call, link);
        detach(call);
        call_free(call);
    }
    while (!c->dead && (message = curl_multi_info_read(c->multi, &left))) {
        struct http_call *call = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode code = message->data.result; /* the message dies with the handle */
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
        CHECK(call);
        finish(call, code, false);
    }
}

static void drive(struct http_client *c, curl_socket_t fd, int mask)
{
    int running;

    c->busy++;
    c->in_curl = true;
    CURLMcode failed = curl_multi_socket_action(c->multi, fd, mask, &running);
    CHECK(!failed);
    c->in_curl = false;
    settle(c);
    leave(c);
}

static void socket_ready(int fd, unsigned int ready, void *arg)
{
    int mask = (ready & LOOP_READ ? CURL_CSELECT_IN : 0) | (ready & LOOP_WRITE ? CURL_CSELECT_OUT : 0);

    drive(arg, fd, mask);
}

static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct http_client *c = arg;
    struct watched_socket *s = socket_arg;
    unsigned int events = 0;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (s) {
            loop_fd_remove(s->watch);
            list_remove(&s->link);
            free(s);
        }
        return 0;
    }

    if (what & CURL_POLL_IN)
        events |= LOOP_READ;
    if (what & CURL_POLL_OUT)
        events |= LOOP_WRITE;
    if (s) {
        loop_fd_events(s->watch, events);
        return 0;
    }
    s = mem_zero(1, sizeof(*s));
    s->watch = loop_fd_add(c->loop, fd, events, socket_ready, c);
    list_add_tail(&c->sockets, &s->link);
    CURLMcode failed = curl_multi_assign(c->multi, fd, s);
    CHECK(!failed);
    return 0;
}

static int set_curl_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct http_client *c = arg;

    (void)multi;
    loop_timer_set(&c->curl_timer, timeout_ms < 0 ? MSEC_NEVER : loop_clock_ms() + timeout_ms);
    return 0;
}

static void curl_timer_due(void *arg)
{
    drive(arg, CURL_SOCKET_TIMEOUT, 0);
}

/* ---- sending ---- */

static int prepare_socket(void *arg, curl_socket_t fd, curlsocktype purpose)
{
    static const struct {
        int level, name, value;
    } options[] = {
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S},
        {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKED_MAX_MS},
    };

    (void)arg;
    (void)purpose;
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        /* A kernel without one of them notices a dead peer later; the caller's budget still holds. */
        (void)setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(options[i].value));
    return CURL_SOCKOPT_OK;
}

#define SET(option, value)                                                  \
    do {                                                                    \
        CURLcode set_failed_ = curl_easy_setopt(call->easy, option, value); \
        CHECK(!set_failed_);                                                \
    } while (0)

static void set_transport(struct http_call *call, const struct http_client *c)
{
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROXY, ""); /* nor from the environment */
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    /* HTTP/2 would put a watch and a renewal on one connection, and one stalled socket would hold both. */
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
#if LIBCURL_VERSION_NUM >= 0x075500
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
#else
    SET(CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
    /* Giving up on a name must not wait for the resolver's thread. Older versions do wait. */
    SET(CURLOPT_QUICK_EXIT, 1L);
#endif
    SET(CURLOPT_SOCKOPTFUNCTION, prepare_socket);
    if (c->cacert)
        SET(CURLOPT_CAINFO, c->cacert);
    if (c->cert)
        SET(CURLOPT_SSLCERT, c->cert);
    if (c->key)
        SET(CURLOPT_SSLKEY, c->key);
    if (c->key_password)
        SET(CURLOPT_KEYPASSWD, c->key_password);
    SET(CURLOPT_SSL_VERIFYPEER, c->insecure ? 0L : 1L);
    SET(CURLOPT_SSL_VERIFYHOST, c->insecure ? 0L : 2L);
    if (c->username) {
        SET(CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        SET(CURLOPT_USERNAME, c->username);
        SET(CURLOPT_PASSWORD, c->password ? c->password : "");
    }
}

/*
 * curl repeats a request by itself when a reused connection ends without a byte of an answer: the
 * server may have acted on the first one. It cannot repeat a body that it cannot rewind, so bodies
 * come from a function without a seek; a request without a body that may act gets a connection of
 * its own, where curl does not repeat.
 */
static void set_request(struct http_call *call, const struct http_request *r)
{
    bool reads = str_eq(r->method, "GET") || str_eq(r->method, "HEAD");

    SET(CURLOPT_URL, r->url);
    if (r->body || str_eq(r->method, "POST")) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_len);
        SET(CURLOPT_READFUNCTION, give_body);
        SET(CURLOPT_READDATA, call);
    }
    if (str_eq(r->method, "HEAD"))
        SET(CURLOPT_NOBODY, 1L);
    else if (!str_eq(r->method, "POST"))
        SET(CURLOPT_CUSTOMREQUEST, r->method);
    if (!reads && !call->body_len)
        SET(CURLOPT_FRESH_CONNECT, 1L);
    SET(CURLOPT_HTTPHEADER, call->headers);
}

static void set_callbacks(struct http_call *call)
{
    SET(CURLOPT_PRIVATE, call);
    SET(CURLOPT_ERRORBUFFER, call->reason);
    SET(CURLOPT_HEADERFUNCTION, take_header);
    SET(CURLOPT_HEADERDATA, call);
    SET(CURLOPT_WRITEFUNCTION, take_body);
    SET(CURLOPT_WRITEDATA, call);
}

static void add_header(struct http_call *call, const char *line)
{
    struct curl_slist *more = curl_slist_append(call->headers, line);

    CHECK(more);
    call->headers = more;
}

static void set_headers(struct http_call *call, const struct http_request *r)
{
    bool has_type = false;

    for (size_t i = 0; r->headers && r->headers[i]; i++) {
        add_header(call, r->headers[i]);
        has_type |= strncasecmp(r->headers[i], "Content-Type:", strlen("Content-Type:")) == 0;
    }
    if (!has_type)
        add_header(call, r->body ? "Content-Type: application/json" : "Content-Type:");
    add_header(call, "Expect:"); /* one round trip less, and no second attempt without it */
}

static void deadline_passed(void *arg)
{
    struct http_call *call = arg;
    struct http_client *c = call->client;

    c->busy++;
    finish(call, CURLE_OK, true);
    leave(c);
}

struct http_call *http_client_send(struct http_client *c, const struct http_request *r, http_done_fn *done, void *arg)
{
    CHECK(!c->dead);
    CHECK(done);
    struct http_call *call = mem_zero(1, sizeof(*call));
    msec connect_ms = r->connect_ms ? r->connect_ms : r->budget_ms ? r->budget_ms : STREAM_CONNECT_MS;

    call->client = c;
    call->easy = curl_easy_init();
    CHECK(call->easy);
    call->url = str_dup(r->url);
    call->piece = r->piece;
    call->done = done;
    call->arg = arg;
    if (r->body) {
        call->body = mem_zero(r->body_len + 1, 1);
        memcpy(call->body, r->body, r->body_len);
        call->body_len = r->body_len;
    }
    loop_timer_init(&call->deadline, c->loop, deadline_passed, call);
    set_headers(call, r);
    set_transport(call, c);
    set_callbacks(call);
    set_request(call, r);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);

    list_add_tail(&c->calls, &call->link);
    CURLMcode failed = curl_multi_add_handle(c->multi, call->easy);
    CHECK(!failed);
    if (r->budget_ms)
        loop_timer_set(&call->deadline, loop_clock_ms() + r->budget_ms);
    return call;
}

void http_call_cancel(struct http_call *call)
{
    if (!call || call->finished || call->cancelled)
        return;

    call->cancelled = true;
    if (call->client->in_curl) {
        loop_timer_clear(&call->deadline);
        list_remove(&call->link);
        list_add_tail(&call->client->doomed, &call->link);
        return;
    }
    detach(call);
    call_free(call);
}

const char *http_reply_header(const struct http_reply *reply, const char *name)
{
    const struct http_call *call = ((const struct full_reply *)(const void *)reply)->call;

    for (size_t i = 0; i < call->answer_header_count; i++) {
        if (str_eq_nocase(call->answer_headers[i].name, name))
            return call->answer_headers[i].value;
    }
    return NULL;
}

/* ---- the client ---- */

static void init_curl(void)
{
    CURLcode failed = curl_global_init(CURL_GLOBAL_DEFAULT);

    CHECK(!failed);
}

static void set_multi(struct http_client *c)
{
    CURLMcode failed = curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);

    failed |= curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    failed |= curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, set_curl_timer);
    failed |= curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    failed |= curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)IDLE_CONNECTIONS_MAX);
    CHECK(!failed);
}

struct http_client *http_client_new(struct loop *l, const struct http_client_conf *conf)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, init_curl);
    struct http_client *c = mem_zero(1, sizeof(*c));
    c->loop = l;
    list_init(&c->calls);
    list_init(&c->doomed);
    list_init(&c->sockets);
    loop_timer_init(&c->curl_timer, l, curl_timer_due, c);
    c->cacert = str_dup(conf->cacert);
    c->cert = str_dup(conf->cert);
    c->key = str_dup(conf->key);
    c->key_password = str_dup(conf->key_password);
    c->username = str_dup(conf->username);
    c->password = str_dup(conf->password);
    c->insecure = conf->insecure;
    c->multi = curl_multi_init();
    CHECK(c->multi);
    set_multi(c);
    return c;
}

void http_client_free(struct http_client *c)
{
    if (!c)
        return;

    CHECK(!c->dead);
    LIST_EACH (it, tmp, &c->calls)
        http_call_cancel(LIST_ENTRY(it, struct http_call, link));
    c->dead = true;
    if (c->busy == 0)
        destroy(c);
}
