#include "test/lib/mem_kv.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "store/backend.h"

struct lease {
    int64_t id;
    msec ttl_ms, end_ms;
};

struct mem_kv {
    int64_t revision, compact_revision, last_lease;
    struct store_kv *keys; /* sorted by key */
    size_t key_count;
    struct lease *leases;
    size_t lease_count;
    struct mem_event *events; /* in order */
    size_t event_count;
};

struct mem_kv *mem_kv_new(void)
{
    struct mem_kv *kv = mem_zero(1, sizeof(*kv));

    kv->revision = 1; /* as a fresh etcd */
    return kv;
}

void mem_kv_free(struct mem_kv *kv)
{
    if (!kv)
        return;

    store_kvs_free(kv->keys, kv->key_count);
    for (size_t i = 0; i < kv->event_count; i++) {
        free(kv->events[i].kv.key);
        free(kv->events[i].kv.value);
    }
    free(kv->events);
    free(kv->leases);
    free(kv);
}

int64_t mem_kv_revision(const struct mem_kv *kv)
{
    return kv->revision;
}

/* ---- keys ---- */

/* Index of the first key that is not less. */
static size_t lower_bound(const struct mem_kv *kv, const char *key)
{
    size_t low = 0;
    size_t high = kv->key_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(kv->keys[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct store_kv *find(const struct mem_kv *kv, const char *key)
{
    size_t i = lower_bound(kv, key);

    return i < kv->key_count && str_eq(kv->keys[i].key, key) ? &kv->keys[i] : NULL;
}

static struct store_kv copy_of(const struct store_kv *kv)
{
    struct store_kv copy = *kv;

    copy.key = str_dup(kv->key);
    copy.value = str_dup(kv->value);
    return copy;
}

static void remember(struct mem_kv *kv, bool is_delete, const struct store_kv *change)
{
    kv->events = mem_grow(kv->events, kv->event_count + 1, sizeof(*kv->events));
    kv->events[kv->event_count++] = (struct mem_event){.is_delete = is_delete, .kv = copy_of(change)};
}

static void put(struct mem_kv *kv, const struct store_op *op, int64_t revision)
{
    size_t i = lower_bound(kv, op->key);
    struct store_kv *at = find(kv, op->key);

    if (!at) {
        kv->keys = mem_grow(kv->keys, kv->key_count + 1, sizeof(*kv->keys));
        at = &kv->keys[i];
        memmove(at + 1, at, (kv->key_count - i) * sizeof(*at));
        kv->key_count++;
        *at = (struct store_kv){.key = str_dup(op->key), .create_revision = revision};
    }
    str_set(&at->value, op->value);
    at->value_len = strlen(op->value);
    at->mod_revision = revision;
    at->lease = op->lease;
    remember(kv, false, at);
}

static void delete_at(struct mem_kv *kv, size_t i, int64_t revision)
{
    struct store_kv *at = &kv->keys[i];
    struct store_kv gone = {.key = at->key, .mod_revision = revision};

    gone.value = str_dup("");
    remember(kv, true, &gone);
    free(gone.value);
    free(at->key);
    free(at->value);
    memmove(at, at + 1, (kv->key_count - i - 1) * sizeof(*at));
    kv->key_count--;
}

/* True if a key was there. */
static bool delete_matching(struct mem_kv *kv, const char *key, bool prefix, int64_t revision)
{
    size_t i = lower_bound(kv, key);
    bool any = false;

    while (i < kv->key_count && (prefix ? str_starts(kv->keys[i].key, key) : str_eq(kv->keys[i].key, key))) {
        delete_at(kv, i, revision);
        any = true;
    }
    return any;
}

static void get_matching(const struct mem_kv *kv, const char *key, bool prefix, struct mem_kv_answer *a)
{
    for (size_t i = lower_bound(kv, key); i < kv->key_count; i++) {
        const struct store_kv *at = &kv->keys[i];
        if (!(prefix ? str_starts(at->key, key) : str_eq(at->key, key)))
            return;
        a->kvs = mem_grow(a->kvs, a->kv_count + 1, sizeof(*a->kvs));
        a->kvs[a->kv_count++] = copy_of(at);
    }
}

/* ---- leases ---- */

static struct lease *find_lease(const struct mem_kv *kv, int64_t id)
{
    for (size_t i = 0; i < kv->lease_count; i++) {
        if (kv->leases[i].id == id)
            return &kv->leases[i];
    }
    return NULL;
}

int64_t mem_kv_grant(struct mem_kv *kv, msec ttl_ms, msec now_ms)
{
    kv->leases = mem_grow(kv->leases, kv->lease_count + 1, sizeof(*kv->leases));
    struct lease *l = &kv->leases[kv->lease_count++];

    ttl_ms = (ttl_ms + 999) / 1000 * 1000; /* whole seconds, as etcd has them */
    *l = (struct lease){.id = ++kv->last_lease, .ttl_ms = ttl_ms, .end_ms = now_ms + ttl_ms};
    return l->id;
}

msec mem_kv_keepalive(struct mem_kv *kv, int64_t lease, msec now_ms)
{
    struct lease *l = find_lease(kv, lease);

    if (!l)
        return 0;
    l->end_ms = now_ms + l->ttl_ms;
    return l->ttl_ms;
}

void mem_kv_revoke(struct mem_kv *kv, int64_t lease)
{
    struct lease *l = find_lease(kv, lease);
    bool any = false;

    if (!l)
        return;

    for (size_t i = 0; i < kv->key_count;) {
        if (kv->keys[i].lease == lease) {
            delete_at(kv, i, kv->revision + 1);
            any = true;
        } else {
            i++;
        }
    }
    kv->revision += any;
    *l = kv->leases[--kv->lease_count];
}

void mem_kv_expire(struct mem_kv *kv, msec now_ms)
{
    for (size_t i = 0; i < kv->lease_count;) {
        if (kv->leases[i].end_ms <= now_ms)
            mem_kv_revoke(kv, kv->leases[i].id); /* puts another one in its place */
        else
            i++;
    }
}

void mem_kv_extend(struct mem_kv *kv, msec now_ms)
{
    for (size_t i = 0; i < kv->lease_count; i++)
        kv->leases[i].end_ms = now_ms + kv->leases[i].ttl_ms;
}

msec mem_kv_next_expiry(const struct mem_kv *kv)
{
    msec next_ms = MSEC_NEVER;

    for (size_t i = 0; i < kv->lease_count; i++)
        next_ms = msec_min(next_ms, kv->leases[i].end_ms);
    return next_ms;
}

/* ---- all of it ---- */

struct mem_kv *mem_kv_copy(const struct mem_kv *kv)
{
    struct mem_kv *copy = mem_zero(1, sizeof(*copy));

    *copy = (struct mem_kv){.revision = kv->revision,
                            .compact_revision = kv->revision,
                            .last_lease = kv->last_lease,
                            .key_count = kv->key_count,
                            .lease_count = kv->lease_count};
    copy->keys = mem_zero(kv->key_count, sizeof(*copy->keys));
    for (size_t i = 0; i < kv->key_count; i++)
        copy->keys[i] = copy_of(&kv->keys[i]);
    copy->leases = mem_zero(kv->lease_count, sizeof(*copy->leases));
    for (size_t i = 0; i < kv->lease_count; i++)
        copy->leases[i] = kv->leases[i];
    return copy;
}

/* ---- transactions ---- */

static bool holds(const struct mem_kv *kv, const struct store_compare *c)
{
    const struct store_kv *at = find(kv, c->key);

    switch (c->kind) {
    case STORE_IF_ABSENT:
        return !at;
    case STORE_IF_PRESENT:
        return at;
    case STORE_IF_MOD_REVISION:
        return (at ? at->mod_revision : 0) == c->revision;
    case STORE_IF_VALUE:
        return at && str_eq(at->value, c->value);
    }
    UNREACHABLE();
}

static bool changes(const struct store_op *op, const char *key)
{
    switch (op->kind) {
    case STORE_PUT:
    case STORE_DELETE:
        return str_eq(op->key, key);
    case STORE_DELETE_PREFIX:
        return str_starts(key, op->key);
    case STORE_GET:
    case STORE_GET_PREFIX:
        return false;
    }
    UNREACHABLE();
}

static enum mem_kv_result check_ops(const struct mem_kv *kv, const struct store_op *ops, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (ops[i].kind != STORE_PUT)
            continue;
        for (size_t k = 0; k < count; k++) {
            if (k != i && changes(&ops[k], ops[i].key))
                return MEM_KV_DUPLICATE_KEY;
        }
        if (ops[i].lease && !find_lease(kv, ops[i].lease))
            return MEM_KV_NO_LEASE;
    }
    return MEM_KV_OK;
}

static void apply(struct mem_kv *kv, const struct store_op *ops, size_t count, struct mem_kv_answer *a)
{
    int64_t revision = kv->revision + 1;
    bool changed = false;

    for (size_t i = 0; i < count; i++) {
        const struct store_op *op = &ops[i];
        switch (op->kind) {
        case STORE_PUT:
            put(kv, op, revision);
            changed = true;
            break;
        case STORE_DELETE:
            changed |= delete_matching(kv, op->key, false, revision);
            break;
        case STORE_DELETE_PREFIX:
            changed |= delete_matching(kv, op->key, true, revision);
            break;
        case STORE_GET:
            get_matching(kv, op->key, false, a);
            break;
        case STORE_GET_PREFIX:
            get_matching(kv, op->key, true, a);
            break;
        }
    }
    kv->revision += changed;
}

void mem_kv_answer_deinit(struct mem_kv_answer *a)
{
    store_kvs_free(a->kvs, a->kv_count);
    *a = (struct mem_kv_answer){0};
}

enum mem_kv_result mem_kv_txn(struct mem_kv *kv, const struct store_txn *txn, struct mem_kv_answer *ret)
{
    bool succeeded = true;

    for (size_t i = 0; i < txn->compare_count; i++)
        succeeded &= holds(kv, &txn->compares[i]);
    const struct store_op *ops = succeeded ? txn->then : txn->otherwise;
    size_t count = succeeded ? txn->then_count : txn->otherwise_count;

    enum mem_kv_result result = check_ops(kv, ops, count);
    if (result != MEM_KV_OK)
        return result;

    *ret = (struct mem_kv_answer){.succeeded = succeeded};
    apply(kv, ops, count, ret);
    return MEM_KV_OK;
}

/* ---- events ---- */

void mem_kv_compact(struct mem_kv *kv, int64_t revision)
{
    size_t drop = 0;

    CHECK(revision <= kv->revision);
    while (drop < kv->event_count && kv->events[drop].kv.mod_revision < revision) {
        free(kv->events[drop].kv.key);
        free(kv->events[drop].kv.value);
        drop++;
    }
    kv->event_count -= drop;
    if (drop)
        memmove(kv->events, kv->events + drop, kv->event_count * sizeof(*kv->events));
    if (revision > kv->compact_revision)
        kv->compact_revision = revision;
}

int64_t mem_kv_compact_revision(const struct mem_kv *kv)
{
    return kv->compact_revision;
}

const struct mem_event *mem_kv_event(const struct mem_kv *kv, int64_t revision, size_t skip)
{
    size_t low = 0;
    size_t high = kv->event_count;

    while (low < high) { /* the first that is not earlier */
        size_t middle = low + (high - low) / 2;
        if (kv->events[middle].kv.mod_revision < revision)
            low = middle + 1;
        else
            high = middle;
    }
    return skip < kv->event_count - low ? &kv->events[low + skip] : NULL;
}
