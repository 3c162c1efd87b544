#include "store/store.h"

#include "base/check.h"
#include "store/backend.h"
#include "store/etcd.h"
#include "wire/conf/settings.h"

bool store_new(struct loop *loop, const struct settings *settings, struct store **ret_store, struct err *err)
{
    if (settings->store.kind != STORE_ETCD3)
        return err_set(err, ERR_INPUT, "the configuration names no etcd (version 3) as its store");
    return etcd_new(loop, settings, ret_store, err);
}

void store_free(struct store *s)
{
    if (s)
        s->backend->free(s);
}

void store_get_prefix(struct store *s, const char *prefix, msec budget_ms, store_done_fn *done, void *arg)
{
    CHECK(prefix);
    CHECK(done);
    s->backend->get_prefix(s, prefix, budget_ms, done, arg);
}

void store_txn(struct store *s, const struct store_txn *txn, msec budget_ms, store_done_fn *done, void *arg)
{
    CHECK(txn);
    CHECK(done);
    s->backend->txn(s, txn, budget_ms, done, arg);
}

void store_lease_grant(struct store *s, msec ttl_ms, msec budget_ms, store_done_fn *done, void *arg)
{
    CHECK(ttl_ms > 0);
    CHECK(done);
    s->backend->lease_grant(s, ttl_ms, budget_ms, done, arg);
}

void store_lease_keepalive(struct store *s, int64_t lease, msec budget_ms, store_done_fn *done, void *arg)
{
    CHECK(lease);
    CHECK(done);
    s->backend->lease_keepalive(s, lease, budget_ms, done, arg);
}

void store_lease_revoke(struct store *s, int64_t lease, msec budget_ms, store_done_fn *done, void *arg)
{
    CHECK(lease);
    CHECK(done);
    s->backend->lease_revoke(s, lease, budget_ms, done, arg);
}

struct store_watch *store_watch_start(struct store *s, const char *prefix, int64_t revision, store_watch_fn *fn,
                                      void *arg)
{
    CHECK(prefix);
    CHECK(revision > 0);
    CHECK(fn);
    return s->backend->watch_start(s, prefix, revision, fn, arg);
}

void store_watch_stop(struct store_watch *w)
{
    if (w)
        w->backend->watch_stop(w);
}

bool store_reconfigure(struct store *s, const struct settings *settings, struct err *err)
{
    return s->backend->reconfigure(s, settings, err);
}

const char *store_describe(const struct store *s)
{
    return s->backend->describe(s);
}
