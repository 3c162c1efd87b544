/*
 * A watch on etcd: one HTTP stream that goes on where it was, whichever member it hangs on.
 *
 *   CHECKING ──▶ OPENING ──▶ STREAMING
 *      ▲  ╲          │           │
 *      │   ╲─────────┴─────┬─────┘  no answer, stream ended, stale
 *      └─────── PAUSED ◀───┘
 *   anywhere ──▶ OVER: the history is another one, or what we missed is compacted away
 *
 * Before it opens, and every few seconds while it is open and quiet, the watch asks for the key that changed
 * last (a linearizable read). That read finds a member that works, logs in if need be, shows whether
 * the history is still ours, and whether the stream is stale: alive as a connection, but not showing
 * what has happened. Deletions alone do not show there; that the member answers at all does.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/str.h"
#include "io/http_client.h"
#include "io/loop.h"
#include "store/etcd.h"
#include "store/etcd_access.h"
#include "store/etcd_call.h"
#include "store/etcd_json.h"

enum {
    CHECK_EVERY_MS =
        3000, /* of a quiet stream; one that spoke is left alone once: a stopped member is left within 8 s */
    CHECK_AGAIN_MS = 1000,  /* the stream was behind: it has this long to show what happened */
    CHECK_BUDGET_MS = 2000, /* of the member the stream hangs on */
    FIND_BUDGET_MS = 5000,  /* to find a member that works */
    OPEN_BUDGET_MS = 3000,
    PAUSE_MIN_MS = 100,
    PAUSE_MAX_MS = 2000,
    MESSAGE_MAX = 64 * 1024 * 1024, /* one message; etcd's own limit of a request is 1.5 MB */
};

enum watch_state { WATCH_CHECKING, WATCH_OPENING, WATCH_STREAMING, WATCH_PAUSED, WATCH_OVER };

struct etcd_watch {
    struct store_watch watch;
    struct etcd *etcd;
    struct etcd_access *access;
    struct list link;
    char *prefix;
    int64_t next_revision; /* everything before it has been handed on */
    store_watch_fn *fn;
    void *arg;

    enum watch_state state;
    size_t member; /* OPENING, STREAMING: where the stream hangs */
    struct etcd_call *check;
    struct http_call *stream;
    struct loop_timer timer;        /* OPENING: patience; STREAMING: next check; PAUSED: next try */
    msec pause_ms;                  /* before the next try; 0: at once */
    bool lost;                      /* LOST was told, BACK is due */
    uint64_t cluster_id, raft_term; /* 0: none seen */
    int64_t behind_revision;        /* a check saw this change and the stream has not shown it; 0: none */
    bool heard;                     /* the stream has brought something since the timer came last */
    bool excused;                   /* for that the last check was left out */
    struct buf in;
    struct etcd_scan scan;

    int busy; /* our frames below a callback: stop() only marks then */
    bool stopped;
};

static void find_member(struct etcd_watch *w);
static void stream_lost(struct etcd_watch *w);

static void let_go(struct etcd_watch *w)
{
    etcd_call_cancel(TAKE(w->check));
    http_call_cancel(TAKE(w->stream));
    loop_timer_clear(&w->timer);
    buf_clear(&w->in);
    w->scan = (struct etcd_scan){0};
}

static void enter(struct etcd_watch *w)
{
    w->busy++;
}

static void leave(struct etcd_watch *w)
{
    if (--w->busy > 0 || !w->stopped)
        return;

    etcd_access_unref(w->access);
    buf_deinit(&w->in);
    free(w->prefix);
    free(w);
}

/* The callee may stop the watch: look at w->state afterwards. Always between enter() and leave(). */
static void tell(struct etcd_watch *w, enum store_watch_kind kind, const struct store_kv *kv, int64_t revision)
{
    CHECK(w->busy > 0);
    w->fn(&(struct store_event){.kind = kind, .kv = kv, .revision = revision}, w->arg);
}

static void tell_change(struct etcd_watch *w, const struct etcd_event *event, bool more)
{
    CHECK(w->busy > 0);
    w->fn(&(struct store_event){.kind = event->is_delete ? STORE_WATCH_DELETE : STORE_WATCH_PUT,
                                .kv = &event->kv,
                                .revision = event->kv.mod_revision,
                                .more = more},
          w->arg);
}

static void over(struct etcd_watch *w)
{
    let_go(w);
    w->state = WATCH_OVER;
    tell(w, STORE_WATCH_RESYNC, NULL, w->next_revision - 1);
}

/* Is this still the history we have been following? If so, remember how far it is. */
static bool same_history(struct etcd_watch *w, const struct etcd_header *h)
{
    if (w->cluster_id && h->cluster_id != w->cluster_id)
        return false;
    if (h->raft_term < w->raft_term)
        return false; /* restored from an old copy, perhaps under the same id */

    w->cluster_id = h->cluster_id;
    w->raft_term = h->raft_term;
    return true;
}

/* ---- the stream ---- */

static void take_events(struct etcd_watch *w, const struct etcd_watch_message *m)
{
    int64_t shown = w->next_revision;

    /* All of them even if the callback moves the watch: a revision is handed on whole. */
    for (size_t i = 0; i < m->event_count && !w->stopped; i++) {
        const struct etcd_event *event = &m->events[i];
        tell_change(w, event, i + 1 < m->event_count);
        if (event->kv.mod_revision >= shown)
            shown = event->kv.mod_revision + 1;
    }
    if (m->event_count == 0 && !m->created && m->header.revision >= shown)
        shown = m->header.revision + 1; /* progress: nothing of ours has happened up to here */
    w->next_revision = shown;
}

static void take_message(struct etcd_watch *w, const struct etcd_watch_message *m)
{
    if (!same_history(w, &m->header) || m->compact_revision > 0) {
        over(w);
        return;
    }
    if (m->canceled) {
        stream_lost(w);
        return;
    }
    if (m->created && w->state == WATCH_OPENING) {
        w->state = WATCH_STREAMING;
        w->behind_revision = 0;
        loop_timer_set_about(&w->timer, loop_clock_ms() + CHECK_EVERY_MS);
        if (w->lost) {
            w->lost = false;
            tell(w, STORE_WATCH_BACK, NULL, w->next_revision - 1);
        }
    }
    w->heard = true;
    if (w->state == WATCH_STREAMING)
        take_events(w, m);
    else if (w->state == WATCH_OPENING)
        stream_lost(w); /* events before the watch exists: this is no etcd */
}

static void take_json(struct etcd_watch *w, const json_t *json)
{
    struct etcd_watch_message message;

    if (!json || !etcd_read_watch_message(json, &message)) {
        stream_lost(w); /* an error, or nothing that we know */
        return;
    }
    take_message(w, &message);
    etcd_watch_message_deinit(&message);
}

static void on_piece(const char *bytes, size_t len, void *arg)
{
    struct etcd_watch *w = arg;
    size_t object_len;

    enter(w);
    buf_add(&w->in, bytes, len);
    while (w->stream && (object_len = etcd_scan_object(&w->scan, w->in.at, w->in.len)) > 0) {
        json_t *json = json_loadb(w->in.at, object_len, 0, NULL);
        memmove(w->in.at, w->in.at + object_len, w->in.len - object_len + 1);
        w->in.len -= object_len;
        take_json(w, json);
        json_decref(json);
    }
    if (w->stream && w->in.len > MESSAGE_MAX)
        stream_lost(w);
    leave(w);
}

static void on_stream_end(const struct http_reply *reply, void *arg)
{
    struct etcd_watch *w = arg;

    enter(w);
    w->stream = NULL;
    if (!reply->status)
        etcd_access_failed(w->access, w->member);
    stream_lost(w);
    leave(w);
}

static void open_stream(struct etcd_watch *w)
{
    const struct etcd_member *m = &w->access->members[w->member];
    AUTO(cstr) char *url = str_fmt("%s%s/watch", m->url, m->gateway);
    AUTO(buf) struct buf body = BUF_EMPTY;
    struct etcd_headers headers;

    w->state = WATCH_OPENING;
    etcd_write_watch(&body, w->prefix, w->next_revision);
    etcd_headers_init(&headers, w->access);
    const struct http_request request = {
        .method = "POST",
        .url = url,
        .body = body.at,
        .body_len = body.len,
        .headers = headers.at,
        .connect_ms = OPEN_BUDGET_MS,
        .piece = on_piece,
    };
    w->stream = http_client_send(w->access->http, &request, on_stream_end, w);
    etcd_headers_deinit(&headers);
    loop_timer_set(&w->timer, loop_clock_ms() + OPEN_BUDGET_MS);
}

/* ---- checks ---- */

/* The stream is open; has it shown what the check has seen? */
static void judge_stream(struct etcd_watch *w, int64_t newest_revision)
{
    if (w->behind_revision && w->next_revision <= w->behind_revision) {
        etcd_access_failed(w->access, w->member);
        stream_lost(w);
        return;
    }
    w->behind_revision = newest_revision >= w->next_revision ? newest_revision : 0;
    if (w->behind_revision) {
        loop_timer_set(&w->timer, loop_clock_ms() + CHECK_AGAIN_MS);
        return;
    }
    w->pause_ms = 0; /* it has lived for a while: the next loss is a new story */
    loop_timer_set_about(&w->timer, loop_clock_ms() + CHECK_EVERY_MS);
}

static void on_checked(const struct etcd_outcome *o, void *arg)
{
    struct etcd_watch *w = arg;
    struct etcd_answer answer = {0};

    enter(w);
    w->check = NULL;
    if (o->status != STORE_DONE || !etcd_read_answer(o->json, &answer)) {
        stream_lost(w);
    } else if (!same_history(w, &answer.header) || answer.header.revision < w->next_revision - 1) {
        over(w);
    } else if (w->state == WATCH_CHECKING) {
        w->member = o->member;
        open_stream(w);
    } else {
        judge_stream(w, answer.kv_count ? answer.kvs[0].mod_revision : 0);
    }
    etcd_answer_deinit(&answer);
    leave(w);
}

static void check(struct etcd_watch *w, size_t only_member, msec budget_ms)
{
    AUTO(buf) struct buf body = BUF_EMPTY;

    CHECK(!w->check);
    etcd_write_newest(&body, w->prefix);
    w->check = etcd_call_start(w->access,
                               &(struct etcd_call_spec){
                                   .path = "/kv/range",
                                   .body = buf_cstr(&body),
                                   .repeatable = true,
                                   .only_member = only_member,
                                   .budget_ms = budget_ms,
                               },
                               on_checked, w);
}

static void find_member(struct etcd_watch *w)
{
    w->state = WATCH_CHECKING;
    check(w, ENDPOINT_NONE, FIND_BUDGET_MS);
}

/* ---- from loss to the next try ---- */

/* The first try is at once; one that fails soon after the last waits, longer each time. */
static void stream_lost(struct etcd_watch *w)
{
    msec wait_ms = w->pause_ms;

    let_go(w);
    w->pause_ms = wait_ms ? msec_min(2 * wait_ms, PAUSE_MAX_MS) : PAUSE_MIN_MS;
    if (wait_ms) {
        w->state = WATCH_PAUSED;
        loop_timer_set(&w->timer, loop_clock_ms() + wait_ms);
    } else {
        find_member(w);
    }
    if (!w->lost) {
        w->lost = true;
        tell(w, STORE_WATCH_LOST, NULL, w->next_revision - 1);
    }
}

/* One that has just spoken is not asked whether it lives; but only once, for it may be far behind. */
static void check_stream(struct etcd_watch *w)
{
    w->excused = w->heard && !w->excused && !w->behind_revision;
    w->heard = false;
    if (w->excused)
        loop_timer_set_about(&w->timer, loop_clock_ms() + CHECK_EVERY_MS);
    else
        check(w, w->member, CHECK_BUDGET_MS);
}

static void timer_due(void *arg)
{
    struct etcd_watch *w = arg;

    enter(w);
    switch (w->state) {
    case WATCH_OPENING:
        etcd_access_failed(w->access, w->member);
        stream_lost(w);
        break;
    case WATCH_STREAMING:
        if (!w->check)
            check_stream(w);
        break;
    case WATCH_PAUSED:
        find_member(w);
        break;
    case WATCH_CHECKING:
    case WATCH_OVER:
        break;
    }
    leave(w);
}

/* ---- the interface ---- */

struct store_watch *etcd_watch_start(struct store *s, const char *prefix, int64_t revision, store_watch_fn *fn,
                                     void *arg)
{
    struct etcd *e = (struct etcd *)s;
    struct etcd_watch *w = mem_zero(1, sizeof(*w));

    w->watch.backend = &etcd_backend;
    w->etcd = e;
    w->access = etcd_access_ref(e->access);
    w->prefix = str_dup(prefix);
    w->next_revision = revision;
    w->fn = fn;
    w->arg = arg;
    loop_timer_init(&w->timer, e->loop, timer_due, w);
    list_add_tail(&e->watches, &w->link);
    find_member(w);
    return &w->watch;
}

void etcd_watch_stop(struct store_watch *watch)
{
    struct etcd_watch *w = (struct etcd_watch *)watch;

    CHECK(!w->stopped);
    enter(w);
    let_go(w);
    list_remove(&w->link);
    w->state = WATCH_OVER;
    w->stopped = true;
    leave(w);
}

void etcd_watches_stop(struct etcd *e)
{
    while (!list_empty(&e->watches))
        etcd_watch_stop(&LIST_ENTRY(e->watches.next, struct etcd_watch, link)->watch);
}

void etcd_watches_member_failed(struct etcd *e, size_t member)
{
    LIST_EACH (it, tmp, &e->watches) {
        struct etcd_watch *w = LIST_ENTRY(it, struct etcd_watch, link);
        if (w->state == WATCH_STREAMING && w->member == member && !w->check) {
            w->heard = false;
            loop_timer_set(&w->timer, loop_clock_ms());
        }
    }
}

void etcd_watches_move(struct etcd *e)
{
    LIST_EACH (it, tmp, &e->watches) {
        struct etcd_watch *w = LIST_ENTRY(it, struct etcd_watch, link);
        if (w->state == WATCH_OVER)
            continue;
        let_go(w);
        etcd_access_unref(w->access);
        w->access = etcd_access_ref(e->access);
        w->pause_ms = 0;
        find_member(w);
    }
}
