/*
 * What a kind of store implements; store.c is the front that callers see.
 *
 * A backend embeds `struct store` and `struct store_watch` as first member of its own. Arguments are
 * as in store.h; callbacks run from the loop, never from inside the call.
 */
#pragma once

#include "store/store.h"

struct store_backend {
    void (*free)(struct store *s);
    void (*get_prefix)(struct store *s, const char *prefix, msec budget_ms, store_done_fn *done, void *arg);
    void (*txn)(struct store *s, const struct store_txn *txn, msec budget_ms, store_done_fn *done, void *arg);
    void (*lease_grant)(struct store *s, msec ttl_ms, msec budget_ms, store_done_fn *done, void *arg);
    void (*lease_keepalive)(struct store *s, int64_t lease, msec budget_ms, store_done_fn *done, void *arg);
    void (*lease_revoke)(struct store *s, int64_t lease, msec budget_ms, store_done_fn *done, void *arg);
    struct store_watch *(*watch_start)(struct store *s, const char *prefix, int64_t revision, store_watch_fn *fn,
                                       void *arg);
    void (*watch_stop)(struct store_watch *w);
    bool (*reconfigure)(struct store *s, const struct settings *settings, struct err *err);
    const char *(*describe)(const struct store *s);
};

struct store {
    const struct store_backend *backend;
};

struct store_watch {
    const struct store_backend *backend;
};

void store_kvs_free(struct store_kv *kvs, size_t count);
