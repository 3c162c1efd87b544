#include "test/lib/mem_store.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/list.h"
#include "base/str.h"
#include "io/loop.h"
#include "store/backend.h"
#include "test/lib/mem_kv.h"

struct mem_server {
    struct loop *loop;
    struct mem_kv *kv;
    struct mem_kv *backup; /* NULL: none */
    uint64_t cluster_id;
    msec ahead_ms; /* of the loop's clock */
    msec latency_ms;
    enum mem_fault fault;
    struct list stores;
    struct list late; /* requests that were answered and are still under way */
    struct list held; /* requests that were carried out, their answers are under way */
    bool holds;
    struct loop_timer expiry;
};

struct mem_store {
    struct store store;
    struct mem_server *server;
    struct list link;
    struct list requests, watches;
};

enum request_kind { REQUEST_TXN, REQUEST_GRANT, REQUEST_KEEPALIVE, REQUEST_REVOKE };

struct request {
    struct mem_store *owner;
    struct list link;
    struct loop_timer timer; /* the latency; after it the end of the budget */
    enum request_kind kind;
    bool arrived;             /* the latency is over: it waits for the store to be back */
    bool applied;             /* carried out, the answer was lost */
    struct store_result held; /* carried out, the answer is under way; status STORE_DONE: there is one */
    struct mem_kv_answer held_answer;
    msec sent_at_ms, end_ms;
    struct store_txn txn; /* all of it ours */
    int64_t lease;
    msec ttl_ms;
    store_done_fn *done;
    void *arg;
};

struct mem_watch {
    struct store_watch watch;
    struct mem_store *owner;
    struct list link;
    struct loop_timer timer;
    char *prefix;
    int64_t next_revision;
    uint64_t cluster_id;
    bool lost, over;
    bool telling, stopped;
    store_watch_fn *fn;
    void *arg;
};

static const struct store_backend mem_backend;

static msec server_now_ms(const struct mem_server *m)
{
    return loop_clock_ms() + m->ahead_ms;
}

static struct mem_store *mem_of(struct store *s)
{
    CHECK(s->backend == &mem_backend);
    return (struct mem_store *)s;
}

/* Something happened: watches look, from the loop; the next lease to end is due when it is. */
static void server_changed(struct mem_server *m)
{
    msec next_ms = mem_kv_next_expiry(m->kv);

    loop_timer_set(&m->expiry, next_ms == MSEC_NEVER ? MSEC_NEVER : next_ms - m->ahead_ms);
    LIST_EACH (it, tmp, &m->stores) {
        struct mem_store *s = LIST_ENTRY(it, struct mem_store, link);
        LIST_EACH (w, tmp_w, &s->watches)
            loop_timer_set(&LIST_ENTRY(w, struct mem_watch, link)->timer, loop_clock_ms());
    }
}

/* ---- transactions of our own ---- */

static struct store_op *copy_ops(const struct store_op *ops, size_t count)
{
    struct store_op *copy = mem_zero(count, sizeof(*copy));

    for (size_t i = 0; i < count; i++) {
        copy[i] = ops[i];
        copy[i].key = str_dup(ops[i].key);
        copy[i].value = str_dup(ops[i].value);
    }
    return copy;
}

static struct store_txn copy_txn(const struct store_txn *txn)
{
    struct store_compare *compares = mem_zero(txn->compare_count, sizeof(*compares));
    struct store_txn copy = *txn;

    for (size_t i = 0; i < txn->compare_count; i++) {
        compares[i] = txn->compares[i];
        compares[i].key = str_dup(txn->compares[i].key);
        compares[i].value = str_dup(txn->compares[i].value);
    }
    copy.compares = compares;
    copy.then = copy_ops(txn->then, txn->then_count);
    copy.otherwise = copy_ops(txn->otherwise, txn->otherwise_count);
    return copy;
}

static void free_const(const void *p)
{
    free((void *)(uintptr_t)p);
}

static void free_ops(const struct store_op *ops, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free_const(ops[i].key);
        free_const(ops[i].value);
    }
    free_const(ops);
}

static void free_txn(struct store_txn *txn)
{
    for (size_t i = 0; i < txn->compare_count; i++) {
        free_const(txn->compares[i].key);
        free_const(txn->compares[i].value);
    }
    free_const(txn->compares);
    free_ops(txn->then, txn->then_count);
    free_ops(txn->otherwise, txn->otherwise_count);
}

/* ---- requests ---- */

static void request_free(struct request *r)
{
    loop_timer_clear(&r->timer);
    list_remove(&r->link);
    free_txn(&r->txn);
    free(r);
}

static void request_finish(struct request *r, struct store_result *result)
{
    const struct mem_server *m = r->owner->server;
    store_done_fn *done = r->done;
    void *arg = r->arg;

    result->sent_at_ms = r->sent_at_ms;
    if (result->status == STORE_DONE && !result->revision) {
        result->revision = mem_kv_revision(m->kv);
        result->cluster_id = m->cluster_id;
        result->raft_term = 1;
    }
    request_free(r); /* first: the callback may free the store */
    done(result, arg);
}

static void request_fail(struct request *r, enum store_status status, enum err_code code, const char *text)
{
    struct err err;

    (void)err_set(&err, code, "memory: %s", text);
    request_finish(r, &(struct store_result){.status = status, .lease = r->lease, .err = &err});
}

/* Carry it out. False (with the reason) if it is refused. */
static bool request_apply(const struct request *r, struct store_result *result, struct mem_kv_answer *answer,
                          struct err *err)
{
    struct mem_server *m = r->owner->server;

    result->lease = r->lease;
    switch (r->kind) {
    case REQUEST_TXN:
        switch (mem_kv_txn(m->kv, &r->txn, answer)) {
        case MEM_KV_OK:
            break;
        case MEM_KV_NO_LEASE:
            return err_set(err, ERR_NOT_FOUND, "memory: requested lease not found");
        case MEM_KV_DUPLICATE_KEY:
            return err_set(err, ERR_STORE, "memory: duplicate key given in txn request");
        }
        result->succeeded = answer->succeeded;
        result->kvs = answer->kvs;
        result->kv_count = answer->kv_count;
        break;
    case REQUEST_GRANT:
        result->lease = mem_kv_grant(m->kv, r->ttl_ms, server_now_ms(m));
        result->ttl_ms = mem_kv_keepalive(m->kv, result->lease, server_now_ms(m));
        break;
    case REQUEST_KEEPALIVE:
        result->ttl_ms = mem_kv_keepalive(m->kv, r->lease, server_now_ms(m));
        break;
    case REQUEST_REVOKE:
        mem_kv_revoke(m->kv, r->lease);
        break;
    }
    return true;
}

static bool request_changes(const struct request *r)
{
    for (size_t i = 0; i < r->txn.then_count; i++)
        if (r->txn.then[i].kind != STORE_GET_PREFIX)
            return true;
    return false;
}

static void request_serve(struct request *r)
{
    struct mem_server *m = r->owner->server;
    struct store_result result = {.status = STORE_DONE};
    struct mem_kv_answer answer = {0};
    struct err err;

    mem_kv_expire(m->kv, server_now_ms(m));
    if (!request_apply(r, &result, &answer, &err)) {
        result.status = STORE_REFUSED;
        result.err = &err;
    }
    server_changed(m);
    if (m->holds && result.status == STORE_DONE && request_changes(r)) {
        result.revision = mem_kv_revision(m->kv);
        result.cluster_id = m->cluster_id;
        result.raft_term = 1;
        r->held = result;
        r->held_answer = answer;
        loop_timer_clear(&r->timer);
        list_remove(&r->link);
        list_add_tail(&m->held, &r->link);
        return;
    }
    if (m->fault == MEM_LOSE_ANSWERS) {
        r->applied = true;
        loop_timer_set(&r->timer, r->kind == REQUEST_TXN ? loop_clock_ms() : r->end_ms);
    } else {
        request_finish(r, &result);
    }
    mem_kv_answer_deinit(&answer);
}

static void request_is_late(struct request *r)
{
    struct mem_server *m = r->owner->server;
    struct store_result result = {.status = STORE_UNKNOWN, .sent_at_ms = r->sent_at_ms};
    struct err err;

    (void)err_set(&err, ERR_TIMEOUT, "memory: no answer");
    result.err = &err;
    loop_timer_clear(&r->timer);
    list_remove(&r->link);
    list_add_tail(&m->late, &r->link);
    r->done(&result, r->arg);
}

static void request_arrives(struct request *r)
{
    r->arrived = true;
    switch (r->owner->server->fault) {
    case MEM_LATE:
        if (request_changes(r))
            request_is_late(r);
        else
            request_serve(r);
        return;
    case MEM_HEALTHY:
    case MEM_LOSE_ANSWERS:
        request_serve(r);
        return;
    case MEM_AWAY:
        loop_timer_set(&r->timer, r->end_ms);
        return;
    case MEM_REFUSE:
        request_fail(r, STORE_REFUSED, ERR_STORE, "refused");
        return;
    }
}

static void request_due(void *arg)
{
    struct request *r = arg;

    if (r->applied)
        request_fail(r, STORE_UNKNOWN, ERR_TIMEOUT, "no answer");
    else if (loop_clock_ms() >= r->end_ms || (r->arrived && r->owner->server->fault == MEM_AWAY))
        request_fail(r, STORE_AWAY, ERR_TIMEOUT, "cannot be reached");
    else
        request_arrives(r);
}

static struct request *request_new(struct store *s, enum request_kind kind, msec budget_ms, store_done_fn *done,
                                   void *arg)
{
    struct mem_store *owner = mem_of(s);
    struct request *r = mem_zero(1, sizeof(*r));

    r->owner = owner;
    r->kind = kind;
    r->done = done;
    r->arg = arg;
    r->sent_at_ms = loop_clock_ms();
    r->end_ms = r->sent_at_ms + budget_ms;
    list_add_tail(&owner->requests, &r->link);
    loop_timer_init(&r->timer, owner->server->loop, request_due, r);
    loop_timer_set(&r->timer, msec_min(r->sent_at_ms + owner->server->latency_ms, r->end_ms));
    return r;
}

static void mem_txn(struct store *s, const struct store_txn *txn, msec budget_ms, store_done_fn *done, void *arg)
{
    request_new(s, REQUEST_TXN, budget_ms, done, arg)->txn = copy_txn(txn);
}

static void mem_get_prefix(struct store *s, const char *prefix, msec budget_ms, store_done_fn *done, void *arg)
{
    const struct store_op get = {.kind = STORE_GET_PREFIX, .key = prefix};

    mem_txn(s, &(struct store_txn){.then = &get, .then_count = 1}, budget_ms, done, arg);
}

static void mem_lease_grant(struct store *s, msec ttl_ms, msec budget_ms, store_done_fn *done, void *arg)
{
    request_new(s, REQUEST_GRANT, budget_ms, done, arg)->ttl_ms = ttl_ms;
}

static void mem_lease_keepalive(struct store *s, int64_t lease, msec budget_ms, store_done_fn *done, void *arg)
{
    request_new(s, REQUEST_KEEPALIVE, budget_ms, done, arg)->lease = lease;
}

static void mem_lease_revoke(struct store *s, int64_t lease, msec budget_ms, store_done_fn *done, void *arg)
{
    request_new(s, REQUEST_REVOKE, budget_ms, done, arg)->lease = lease;
}

/* ---- watches ---- */

static void watch_free(struct mem_watch *w)
{
    free(w->prefix);
    free(w);
}

static void tell(struct mem_watch *w, enum store_watch_kind kind, const struct store_kv *kv, int64_t revision)
{
    w->fn(&(struct store_event){.kind = kind, .kv = kv, .revision = revision}, w->arg);
}

static void tell_events(struct mem_watch *w)
{
    const struct mem_server *m = w->owner->server;
    const struct mem_event *event;
    int64_t from = w->next_revision;

    for (size_t skip = 0; !w->stopped && (event = mem_kv_event(m->kv, from, skip)); skip++) {
        w->next_revision = event->kv.mod_revision + 1;
        if (str_starts(event->kv.key, w->prefix))
            tell(w, event->is_delete ? STORE_WATCH_DELETE : STORE_WATCH_PUT, &event->kv, event->kv.mod_revision);
    }
}

static void watch_look(struct mem_watch *w)
{
    const struct mem_server *m = w->owner->server;

    if (m->fault == MEM_AWAY) {
        if (!w->lost) {
            w->lost = true;
            tell(w, STORE_WATCH_LOST, NULL, w->next_revision - 1);
        }
        return;
    }
    if (w->cluster_id != m->cluster_id || w->next_revision < mem_kv_compact_revision(m->kv)) {
        w->over = true;
        tell(w, STORE_WATCH_RESYNC, NULL, w->next_revision - 1);
        return;
    }
    if (w->lost) {
        w->lost = false;
        tell(w, STORE_WATCH_BACK, NULL, w->next_revision - 1);
    }
    if (!w->stopped)
        tell_events(w);
}

static void watch_due(void *arg)
{
    struct mem_watch *w = arg;

    if (w->over)
        return;

    w->telling = true;
    watch_look(w);
    w->telling = false;
    if (w->stopped)
        watch_free(w);
}

static struct store_watch *mem_watch_start(struct store *s, const char *prefix, int64_t revision, store_watch_fn *fn,
                                           void *arg)
{
    struct mem_store *owner = mem_of(s);
    struct mem_watch *w = mem_zero(1, sizeof(*w));

    w->watch.backend = &mem_backend;
    w->owner = owner;
    w->prefix = str_dup(prefix);
    w->next_revision = revision;
    w->cluster_id = owner->server->cluster_id;
    w->fn = fn;
    w->arg = arg;
    list_add_tail(&owner->watches, &w->link);
    loop_timer_init(&w->timer, owner->server->loop, watch_due, w);
    loop_timer_set(&w->timer, loop_clock_ms());
    return &w->watch;
}

static void mem_watch_stop(struct store_watch *watch)
{
    struct mem_watch *w = (struct mem_watch *)watch;

    CHECK(!w->stopped);
    w->stopped = true;
    loop_timer_clear(&w->timer);
    list_remove(&w->link);
    if (!w->telling)
        watch_free(w);
}

/* ---- clients ---- */

static bool mem_reconfigure(struct store *s, const struct settings *settings, struct err *err)
{
    (void)s;
    (void)settings; /* memory has no address and no password */
    (void)err;
    return true;
}

static const char *mem_describe(const struct store *s)
{
    (void)s;
    return "memory";
}

static void mem_free(struct store *s)
{
    struct mem_store *m = mem_of(s);

    LIST_EACH (it, tmp, &m->watches)
        mem_watch_stop(&LIST_ENTRY(it, struct mem_watch, link)->watch);
    LIST_EACH (it, tmp, &m->requests)
        request_free(LIST_ENTRY(it, struct request, link));
    list_remove(&m->link);
    free(m);
}

static const struct store_backend mem_backend = {
    .free = mem_free,
    .get_prefix = mem_get_prefix,
    .txn = mem_txn,
    .lease_grant = mem_lease_grant,
    .lease_keepalive = mem_lease_keepalive,
    .lease_revoke = mem_lease_revoke,
    .watch_start = mem_watch_start,
    .watch_stop = mem_watch_stop,
    .reconfigure = mem_reconfigure,
    .describe = mem_describe,
};

struct store *mem_store_new(struct mem_server *m)
{
    struct mem_store *s = mem_zero(1, sizeof(*s));

    s->store.backend = &mem_backend;
    s->server = m;
    list_init(&s->requests);
    list_init(&s->watches);
    list_add_tail(&m->stores, &s->link);
    return &s->store;
}

/* ---- the server ---- */

static void expiry_due(void *arg)
{
    struct mem_server *m = arg;

    mem_kv_expire(m->kv, server_now_ms(m));
    server_changed(m);
}

struct mem_server *mem_server_new(struct loop *l)
{
    struct mem_server *m = mem_zero(1, sizeof(*m));

    m->loop = l;
    m->kv = mem_kv_new();
    m->cluster_id = 1;
    list_init(&m->stores);
    list_init(&m->late);
    list_init(&m->held);
    loop_timer_init(&m->expiry, l, expiry_due, m);
    return m;
}

void mem_server_free(struct mem_server *m)
{
    if (!m)
        return;

    CHECK(list_empty(&m->stores));
    LIST_EACH (it, tmp, &m->late)
        request_free(LIST_ENTRY(it, struct request, link));
    loop_timer_clear(&m->expiry);
    mem_kv_free(m->kv);
    mem_kv_free(m->backup);
    free(m);
}

void mem_server_set_fault(struct mem_server *m, enum mem_fault fault)
{
    m->fault = fault;
    server_changed(m);
    if (fault == MEM_AWAY)
        return;

    /* Who has been waiting for the store to be back is served in the next turn. */
    LIST_EACH (it, tmp, &m->stores) {
        struct mem_store *s = LIST_ENTRY(it, struct mem_store, link);
        LIST_EACH (at, tmp_r, &s->requests) {
            struct request *r = LIST_ENTRY(at, struct request, link);
            if (r->arrived && !r->applied)
                loop_timer_set(&r->timer, msec_min(loop_clock_ms(), r->end_ms));
        }
    }
}

void mem_server_deliver(struct mem_server *m)
{
    LIST_EACH (it, tmp, &m->late) {
        struct request *r = LIST_ENTRY(it, struct request, link);
        struct mem_kv_answer answer = {0};
        (void)mem_kv_txn(m->kv, &r->txn, &answer); /* nobody hears how it went */
        mem_kv_answer_deinit(&answer);
        request_free(r);
    }
    server_changed(m);
}

void mem_server_hold_answers(struct mem_server *m, bool hold)
{
    m->holds = hold;
    while (!hold && !list_empty(&m->held)) {
        struct request *r = LIST_ENTRY(m->held.prev, struct request, link);
        struct mem_kv_answer answer = r->held_answer;
        struct store_result result = r->held;
        request_finish(r, &result);
        mem_kv_answer_deinit(&answer);
    }
}

void mem_server_set_latency(struct mem_server *m, msec latency_ms)
{
    m->latency_ms = latency_ms;
}

void mem_server_advance(struct mem_server *m, msec ms)
{
    m->ahead_ms += ms;
    mem_kv_expire(m->kv, server_now_ms(m));
    server_changed(m);
}

void mem_server_compact(struct mem_server *m)
{
    mem_kv_compact(m->kv, mem_kv_revision(m->kv));
}

static void replace_with(struct mem_server *m, struct mem_kv *take_kv)
{
    mem_kv_free(m->kv);
    m->kv = take_kv;
    m->cluster_id++;
    server_changed(m);
}

void mem_server_replace(struct mem_server *m)
{
    replace_with(m, mem_kv_new());
}

void mem_server_backup(struct mem_server *m)
{
    mem_kv_free(m->backup);
    m->backup = mem_kv_copy(m->kv);
}

void mem_server_restore(struct mem_server *m)
{
    CHECK(m->backup);
    replace_with(m, mem_kv_copy(m->backup));
}
