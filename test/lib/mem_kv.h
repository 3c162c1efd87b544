/*
 * Keys, revisions and leases in memory, behaving as etcd does. For tests of what uses a store.
 *
 * Time is an argument. Every change is remembered as an event until compaction. A put that names a
 * lease that does not exist, or two changes of one key in a transaction, refuse the whole of it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/time.h"
#include "store/store.h"

struct mem_kv;

struct mem_event {
    bool is_delete;
    struct store_kv kv; /* a deletion has the key and its own revision alone */
};

enum mem_kv_result { MEM_KV_OK, MEM_KV_NO_LEASE, MEM_KV_DUPLICATE_KEY };

struct mem_kv_answer {
    bool succeeded;
    struct store_kv *kvs;
    size_t kv_count;
};

struct mem_kv *mem_kv_new(void);
void mem_kv_free(struct mem_kv *kv);
/* Keys and leases as they are; the events that led there are forgotten. */
struct mem_kv *mem_kv_copy(const struct mem_kv *kv);
AUTO_DEFINE(mem_kv, struct mem_kv, mem_kv_free)

int64_t mem_kv_revision(const struct mem_kv *kv);

void mem_kv_answer_deinit(struct mem_kv_answer *a);
enum mem_kv_result mem_kv_txn(struct mem_kv *kv, const struct store_txn *txn, struct mem_kv_answer *ret);

int64_t mem_kv_grant(struct mem_kv *kv, msec ttl_ms, msec now_ms);
/* The whole time to live again; 0: there is no such lease. */
msec mem_kv_keepalive(struct mem_kv *kv, int64_t lease, msec now_ms);
void mem_kv_revoke(struct mem_kv *kv, int64_t lease); /* with its keys, as one revision */
void mem_kv_expire(struct mem_kv *kv, msec now_ms);
/* Every lease has its whole time to live again, as after the start of a server. */
void mem_kv_extend(struct mem_kv *kv, msec now_ms);
msec mem_kv_next_expiry(const struct mem_kv *kv); /* MSEC_NEVER: no lease */

/* Forget events before `revision`; watches that want them cannot be served. */
void mem_kv_compact(struct mem_kv *kv, int64_t revision);
int64_t mem_kv_compact_revision(const struct mem_kv *kv);

/* The first event at or after `revision` that is not among the `skip` first ones; NULL: none yet. */
const struct mem_event *mem_kv_event(const struct mem_kv *kv, int64_t revision, size_t skip);
