#include "store/etcd.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/str.h"
#include "io/loop.h"
#include "store/etcd_access.h"
#include "store/etcd_call.h"
#include "store/etcd_json.h"

enum request_kind { REQUEST_RANGE, REQUEST_TXN, REQUEST_GRANT, REQUEST_KEEPALIVE, REQUEST_REVOKE };

/*
 * Only a transaction is not repeated after silence. A read and a renewal change nothing that a second
 * one would not; a grant whose answer was lost leaves a lease that nobody knows and that ends by
 * itself; revoking twice is revoking.
 */
static const struct {
    const char *path;
    bool repeatable;
} kinds[] = {
    [REQUEST_RANGE] = {"/kv/range", true},      [REQUEST_TXN] = {"/kv/txn", false},
    [REQUEST_GRANT] = {"/lease/grant", true},   [REQUEST_KEEPALIVE] = {"/lease/keepalive", true},
    [REQUEST_REVOKE] = {"/lease/revoke", true},
};

struct request {
    enum request_kind kind;
    int64_t lease; /* KEEPALIVE, REVOKE */
    struct etcd_call *call;
    store_done_fn *done;
    void *arg;
    struct list link;
};

static struct etcd *etcd_of(struct store *s)
{
    CHECK(s->backend == &etcd_backend);
    return (struct etcd *)s;
}

static void request_free(struct request *r)
{
    list_remove(&r->link);
    free(r);
}

static bool lease_is_gone(const struct request *r, const struct etcd_outcome *o)
{
    return (r->kind == REQUEST_KEEPALIVE || r->kind == REQUEST_REVOKE) && o->status == STORE_REFUSED &&
           o->error.code == ETCD_CODE_NOT_FOUND;
}

static void on_outcome(const struct etcd_outcome *o, void *arg)
{
    struct request *r = arg;
    struct etcd_answer answer = {0};
    struct err err = o->err;
    struct store_result result = {.status = o->status, .sent_at_ms = o->sent_at_ms, .lease = r->lease};

    r->call = NULL;
    if (lease_is_gone(r, o)) {
        result.status = STORE_DONE; /* that is what was asked */
    } else if (o->status == STORE_DONE && !etcd_read_answer(o->json, &answer)) {
        result.status = STORE_UNKNOWN;
        (void)err_set(&err, ERR_STORE, "etcd's answer to %s is not understood", kinds[r->kind].path);
    }
    result.succeeded = answer.succeeded;
    result.revision = answer.header.revision;
    result.raft_term = answer.header.raft_term;
    result.cluster_id = answer.header.cluster_id;
    result.kvs = answer.kvs;
    result.kv_count = answer.kv_count;
    if (answer.lease)
        result.lease = answer.lease;
    result.ttl_ms = answer.ttl_s * 1000;
    if (result.status != STORE_DONE)
        result.err = &err;

    /* Off the list first: the callback may free the store. */
    store_done_fn *done = r->done;
    void *done_arg = r->arg;
    request_free(r);
    done(&result, done_arg);
    etcd_answer_deinit(&answer);
}

static void request_start(struct store *s, enum request_kind kind, int64_t lease, const struct buf *body,
                          msec budget_ms, store_done_fn *done, void *arg)
{
    struct etcd *e = etcd_of(s);
    struct request *r = mem_zero(1, sizeof(*r));

    *r = (struct request){.kind = kind, .lease = lease, .done = done, .arg = arg};
    list_add_tail(&e->requests, &r->link);
    r->call = etcd_call_start(e->access,
                              &(struct etcd_call_spec){
                                  .path = kinds[kind].path,
                                  .body = buf_cstr(body),
                                  .repeatable = kinds[kind].repeatable,
                                  .only_member = ENDPOINT_NONE,
                                  .budget_ms = budget_ms,
                              },
                              on_outcome, r);
}

static void etcd_get_prefix(struct store *s, const char *prefix, msec budget_ms, store_done_fn *done, void *arg)
{
    AUTO(buf) struct buf body = BUF_EMPTY;

    etcd_write_range(&body, prefix);
    request_start(s, REQUEST_RANGE, 0, &body, budget_ms, done, arg);
}

static void etcd_txn(struct store *s, const struct store_txn *txn, msec budget_ms, store_done_fn *done, void *arg)
{
    AUTO(buf) struct buf body = BUF_EMPTY;

    etcd_write_txn(&body, txn);
    request_start(s, REQUEST_TXN, 0, &body, budget_ms, done, arg);
}

static void etcd_lease_grant(struct store *s, msec ttl_ms, msec budget_ms, store_done_fn *done, void *arg)
{
    AUTO(buf) struct buf body = BUF_EMPTY;

    etcd_write_grant(&body, ttl_ms);
    request_start(s, REQUEST_GRANT, 0, &body, budget_ms, done, arg);
}

static void etcd_lease_keepalive(struct store *s, int64_t lease, msec budget_ms, store_done_fn *done, void *arg)
{
    AUTO(buf) struct buf body = BUF_EMPTY;

    etcd_write_lease(&body, lease);
    request_start(s, REQUEST_KEEPALIVE, lease, &body, budget_ms, done, arg);
}

static void etcd_lease_revoke(struct store *s, int64_t lease, msec budget_ms, store_done_fn *done, void *arg)
{
    AUTO(buf) struct buf body = BUF_EMPTY;

    etcd_write_lease(&body, lease);
    request_start(s, REQUEST_REVOKE, lease, &body, budget_ms, done, arg);
}

/* ---- the client ---- */

static void on_member_failed(size_t member, void *arg)
{
    etcd_watches_member_failed(arg, member);
}

static void use_access(struct etcd *e, struct etcd_access *take_access)
{
    if (e->access) {
        e->access->failed = NULL; /* requests that finish on it concern no watch */
        etcd_access_unref(e->access);
    }
    e->access = take_access;
    e->access->failed = on_member_failed;
    e->access->failed_arg = e;
}

static void describe(struct etcd *e)
{
    const struct etcd_member *m = &e->access->members[e->access->endpoints.current];

    free(e->description);
    e->description =
        *m->version ? str_fmt("etcd %s at %s", m->version, m->name) : str_fmt("etcd at %s (no answer yet)", m->name);
}

static const char *etcd_describe(const struct store *s)
{
    struct etcd *e = (struct etcd *)(uintptr_t)s; /* the text is ours to keep, the client is not changed */

    describe(etcd_of(&e->store));
    return e->description;
}

static bool etcd_reconfigure(struct store *s, const struct settings *settings, struct err *err)
{
    struct etcd *e = etcd_of(s);
    struct etcd_access *access;

    if (!etcd_access_new(e->loop, settings, &access, err))
        return false;

    use_access(e, access);
    etcd_watches_move(e);
    return true;
}

static void etcd_free(struct store *s)
{
    struct etcd *e = etcd_of(s);

    etcd_watches_stop(e);
    LIST_EACH (it, tmp, &e->requests) {
        struct request *r = LIST_ENTRY(it, struct request, link);
        etcd_call_cancel(r->call);
        request_free(r);
    }
    e->access->failed = NULL;
    etcd_access_unref(e->access);
    free(e->description);
    free(e);
}

const struct store_backend etcd_backend = {
    .free = etcd_free,
    .get_prefix = etcd_get_prefix,
    .txn = etcd_txn,
    .lease_grant = etcd_lease_grant,
    .lease_keepalive = etcd_lease_keepalive,
    .lease_revoke = etcd_lease_revoke,
    .watch_start = etcd_watch_start,
    .watch_stop = etcd_watch_stop,
    .reconfigure = etcd_reconfigure,
    .describe = etcd_describe,
};

bool etcd_new(struct loop *l, const struct settings *settings, struct store **ret_store, struct err *err)
{
    struct etcd_access *access;

    if (!etcd_access_new(l, settings, &access, err))
        return false;

    struct etcd *e = mem_zero(1, sizeof(*e));
    e->store.backend = &etcd_backend;
    e->loop = l;
    list_init(&e->requests);
    list_init(&e->watches);
    use_access(e, access);
    *ret_store = &e->store;
    return true;
}
