#include "web/server.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/str.h"
#include "io/http_server.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "web/auth.h"
#include "web/conf.h"
#include "web/op_desk.h"
#include "web/routes.h"

/* Names of the allowlist that move (DHCP, containers) are noticed after this; a stub resolver shrugs at it. */
enum { NAMES_REFRESH_MS = 60 * 1000 };

struct web_server {
    struct http_server *http;
    struct snapshot_board *board;
    struct op_desk *desk;
    struct resolver *names;

    /* Of the HTTP thread: what the names being watched come from. Held, so that no other has its address. */
    struct web_conf *watched_conf;
    uint64_t watched_seq;

    pthread_mutex_t lock; /* guards conf; held while the server starts, so that no request comes before its time */
    struct web_conf *conf;
};

static struct web_conf *conf_of(struct web_server *s)
{
    (void)pthread_mutex_lock(&s->lock);
    struct web_conf *conf = web_conf_ref(s->conf);
    (void)pthread_mutex_unlock(&s->lock);
    return conf;
}

/* The newest snapshot; before the first, one that knows nothing. */
static struct snapshot *newest(struct web_server *s)
{
    struct snapshot *snapshot = snapshot_newest(s->board);

    return snapshot ? snapshot : snapshot_new();
}

static void watch_names(struct web_server *s, struct web_conf *conf, const struct snapshot *snapshot)
{
    if (conf == s->watched_conf && snapshot->seq == s->watched_seq)
        return;

    auth_watch(conf->auth, snapshot, s->names);
    web_conf_unref(s->watched_conf);
    s->watched_conf = web_conf_ref(conf);
    s->watched_seq = snapshot->seq;
}

static void handle(struct http_request *take_request, void *arg)
{
    struct web_server *s = arg;
    AUTO(web_conf) struct web_conf *conf = conf_of(s);
    AUTO(snapshot) struct snapshot *snapshot = newest(s);
    struct web_request r = {
        .http = take_request,
        .conf = conf,
        .snapshot = snapshot,
        .desk = s->desk,
        .names = s->names,
        .now_ms = loop_clock_ms(),
    };

    watch_names(s, conf, snapshot);
    routes_handle(&r);
}

static void answer(struct http_request *take_request, const struct op_answer *answer, void *arg)
{
    struct web_server *s = arg;
    AUTO(web_conf) struct web_conf *conf = conf_of(s);
    AUTO(snapshot) struct snapshot *snapshot = newest(s);
    struct web_request r = {.http = take_request, .conf = conf, .snapshot = snapshot, .now_ms = loop_clock_ms()};

    routes_answer(&r, answer);
}

static void server_free(struct web_server *s)
{
    op_desk_unref(s->desk);
    resolver_free(s->names);
    web_conf_unref(s->watched_conf);
    web_conf_unref(s->conf);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

bool web_server_start(const struct settings *settings, struct snapshot_board *board, op_submit_fn *submit, void *arg,
                      struct web_server **ret_server, struct err *err)
{
    const struct http_server_conf http_conf = web_conf_server(settings);
    struct web_conf *conf;

    if (!web_conf_new(settings, &conf, err))
        return err_wrap(err, "REST");

    struct web_server *s = mem_zero(1, sizeof(*s));
    int failed = pthread_mutex_init(&s->lock, NULL);
    CHECK(!failed);
    s->board = board;
    s->conf = conf;
    s->names = resolver_new(NAMES_REFRESH_MS);
    s->desk = op_desk_new(submit, arg, answer, s);

    /* The first request waits here until the desk is open. */
    (void)pthread_mutex_lock(&s->lock);
    bool started = http_server_start(&http_conf, handle, s, &s->http, err);
    if (started)
        op_desk_open(s->desk, s->http);
    (void)pthread_mutex_unlock(&s->lock);
    if (!started) {
        server_free(s);
        return err_wrap(err, "REST");
    }
    *ret_server = s;
    return true;
}

bool web_server_reload(struct web_server *s, const struct settings *settings, struct err *err)
{
    const struct http_server_conf http_conf = web_conf_server(settings);
    struct web_conf *conf;

    if (!web_conf_new(settings, &conf, err))
        return err_wrap(err, "REST");
    if (!http_server_reload(s->http, &http_conf, err)) {
        web_conf_unref(conf);
        return err_wrap(err, "REST");
    }

    (void)pthread_mutex_lock(&s->lock);
    struct web_conf *old = s->conf;
    s->conf = conf;
    (void)pthread_mutex_unlock(&s->lock);
    web_conf_unref(old);
    return true;
}

void web_server_stop(struct web_server *s)
{
    if (!s)
        return;

    op_desk_close(s->desk); /* then nobody posts to the server any more */
    http_server_stop(s->http);
    server_free(s);
}

int web_server_port(const struct web_server *s)
{
    return http_server_port(s->http);
}
