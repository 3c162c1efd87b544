#include "app/ctl/wait.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/str.h"
#include "io/http_client.h"
#include "io/loop.h"

enum {
    WAIT_GRACE_MS = 5 * 1000, /* behind a request's own budget; it ends by itself, this is the belt */
    WAIT_TURN_MS = 200,       /* how often the progress line moves */
    WAIT_SILENT_MS = 700,     /* what is faster needs no progress */
};

void wait_begin(struct ctl *ctl, const char *doing)
{
    if (!ctl->doing)
        ctl->doing_since_ms = loop_clock_ms();
    ctl->doing = doing;
}

void wait_end(struct ctl *ctl)
{
    ctl->doing = NULL;
}

/* True if a line is there now. */
static bool show_progress(const struct ctl *ctl)
{
    msec waited = ctl->doing ? loop_clock_ms() - ctl->doing_since_ms : 0;

    if (waited <= WAIT_SILENT_MS || !isatty(STDERR_FILENO))
        return false;
    (void)fprintf(stderr, "\r\033[K%s … %lld s", ctl->doing, (long long)(waited / 1000));
    return true;
}

/* The line is gone afterwards: what the caller prints next starts at the margin. */
bool wait_until(struct ctl *ctl, const bool *done, msec deadline_ms)
{
    bool shown = false;

    while (!*done) {
        msec left = deadline_ms - loop_clock_ms();
        if (left <= 0)
            break;
        shown = show_progress(ctl);
        loop_turn(ctl->loop, msec_min(left, WAIT_TURN_MS));
    }
    if (shown)
        (void)fputs("\r\033[K", stderr);
    return *done;
}

void wait_ms(struct ctl *ctl, msec duration_ms)
{
    bool never = false;

    (void)wait_until(ctl, &never, loop_clock_ms() + duration_ms); /* waiting is all */
}

/* One request to the store: what its callback leaves behind. */
struct asked {
    bool done;
    bool succeeded;
    enum store_status status;
    struct cluster *cluster;
    size_t prefix_len; /* 0: not a reading */
    struct err err;
};

static void read_cluster(struct asked *a, const struct store_result *result)
{
    struct cluster_key *keys = mem_zero(result->kv_count, sizeof(*keys));

    for (size_t i = 0; i < result->kv_count; i++) {
        const struct store_kv *kv = &result->kvs[i];
        CHECK(strlen(kv->key) >= a->prefix_len);
        keys[i] = (struct cluster_key){.name = kv->key + a->prefix_len,
                                       .value = kv->value,
                                       .value_len = kv->value_len,
                                       .mod_revision = kv->mod_revision,
                                       .lease = kv->lease};
    }
    a->cluster = cluster_read(keys, result->kv_count, result->revision);
    free(keys);
}

static void on_answer(const struct store_result *result, void *arg)
{
    struct asked *a = arg;

    a->done = true;
    a->status = result->status;
    a->succeeded = result->succeeded;
    if (result->status != STORE_DONE)
        a->err = *result->err;
    else if (a->prefix_len)
        read_cluster(a, result);
}

static bool open_store(struct ctl *ctl, struct err *err)
{
    if (!ctl->store && !store_new(ctl->loop, ctl->settings, &ctl->store, err))
        return err_wrap(err, "store");
    return true;
}

/*
 * Waits for *a, which lives in the caller's frame: if the answer never comes the store goes, so that it
 * cannot come later.
 */
static bool await_store(struct ctl *ctl, struct asked *a, struct err *err)
{
    if (!wait_until(ctl, &a->done, loop_clock_ms() + WAIT_STORE_MS + WAIT_GRACE_MS)) {
        store_free(TAKE(ctl->store));
        return err_set(err, ERR_TIMEOUT, "store: no answer within %d s", (WAIT_STORE_MS + WAIT_GRACE_MS) / 1000);
    }
    if (a->status == STORE_DONE)
        return true;

    *err = a->err;
    if (a->status == STORE_UNKNOWN)
        return err_wrap(err, "store: the request may have been applied");
    return err_wrap(err, "store");
}

bool wait_prefix(struct ctl *ctl, const char *prefix, struct cluster **ret_cluster, struct err *err)
{
    struct asked a = {.prefix_len = strlen(prefix)};

    if (!open_store(ctl, err))
        return false;
    store_get_prefix(ctl->store, prefix, WAIT_STORE_MS, on_answer, &a);
    if (!await_store(ctl, &a, err))
        return false;
    *ret_cluster = a.cluster;
    return true;
}

bool wait_txn(struct ctl *ctl, const struct store_txn *txn, bool *ret_succeeded, struct err *err)
{
    struct asked a = {0};

    if (!open_store(ctl, err))
        return false;
    store_txn(ctl->store, txn, WAIT_STORE_MS, on_answer, &a);
    if (!await_store(ctl, &a, err))
        return false;
    *ret_succeeded = a.succeeded;
    return true;
}

void rest_reply_deinit(struct rest_reply *r)
{
    free(r->body);
    r->body = NULL;
}

/* ctl.* first; what it leaves out is taken from restapi.*, as patronictl does. */
static void open_rest(struct ctl *ctl)
{
    const struct settings *s = ctl->settings;
    bool own_user = s->ctl.username != NULL;
    struct http_client_conf conf = {
        .cacert = s->ctl.cacert ? s->ctl.cacert : s->restapi.cafile,
        .cert = s->ctl.cert,
        .key = s->ctl.key,
        .key_password = s->ctl.key_password,
        .insecure = s->ctl.insecure,
        .username = own_user ? s->ctl.username : s->restapi.username,
        .password = own_user ? s->ctl.password : s->restapi.password,
    };

    if (!conf.cert && s->restapi.verify_client != VERIFY_CLIENT_NONE) {
        conf.cert = s->restapi.certfile;
        conf.key = s->restapi.keyfile;
        conf.key_password = s->restapi.keyfile_password;
    }
    if (!ctl->rest)
        ctl->rest = http_client_new(ctl->loop, &conf);
}

struct called {
    bool done;
    struct rest_reply reply;
    struct err err;
};

static void on_reply(const struct http_reply *reply, void *arg)
{
    struct called *c = arg;

    c->done = true;
    c->reply.status = reply->status;
    if (reply->status)
        c->reply.body = str_dup(reply->body ? reply->body : "");
    else
        c->err = reply->err;
}

/* "http://h:8008/patroni" and "restart" → "http://h:8008/restart" */
static char *rest_url(const char *api_url, const char *path)
{
    const char *host = strstr(api_url, "://");

    host = host ? host + 3 : api_url;
    return str_fmt("%.*s/%s", (int)(host - api_url + (ptrdiff_t)strcspn(host, "/")), api_url, path);
}

bool wait_rest(struct ctl *ctl, const struct member *m, const char *method, const char *path, const json_t *body,
               msec budget_ms, struct rest_reply *ret_reply, struct err *err)
{
    static const char *const headers[] = {"Content-Type: application/json", NULL};
    struct called c = {0};

    if (!m->api_url)
        return err_set(err, ERR_NOT_FOUND, "member %s publishes no REST address", m->name);
    open_rest(ctl);

    AUTO(cstr) char *url = rest_url(m->api_url, path);
    AUTO(cstr) char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    struct http_request request = {.method = method,
                                   .url = url,
                                   .body = text,
                                   .body_len = text ? strlen(text) : 0,
                                   .headers = body ? headers : NULL,
                                   .connect_ms = msec_min(WAIT_CONNECT_MS, budget_ms),
                                   .budget_ms = budget_ms};
    struct http_call *call = http_client_send(ctl->rest, &request, on_reply, &c);

    if (!wait_until(ctl, &c.done, loop_clock_ms() + budget_ms + WAIT_GRACE_MS)) {
        http_call_cancel(call);
        return err_set(err, ERR_TIMEOUT, "%s %s: no answer", method, url);
    }
    if (!c.reply.status) {
        *err = c.err; /* names the URL */
        return false;
    }
    *ret_reply = c.reply;
    return true;
}
