/*
 * The store's interface with waiting: each function asks, runs the loop until the answer is there, and returns a copy.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "store/store.h"

struct loop;

enum { ASK_BUDGET_MS = 10000 };

struct answer {
    enum store_status status;
    bool succeeded;
    int64_t revision, lease;
    uint64_t raft_term, cluster_id;
    msec ttl_ms, sent_at_ms, took_ms;
    struct store_kv *kvs;
    size_t kv_count;
    struct err err;
};

void answer_deinit(struct answer *a);
static inline UNUSED void answer_freep(struct answer *a)
{
    answer_deinit(a);
}

/* Only sends: the answer is filled in when it comes. A struct answer that waits has took_ms < 0. */
void answer_init(struct answer *a);
bool answer_has_come(const struct answer *a);
void take_answer(const struct store_result *r, void *arg); /* arg: the struct answer */
void await(struct loop *l, struct answer *a);

struct answer ask_get_prefix(struct loop *l, struct store *s, const char *prefix, msec budget_ms);
struct answer ask_txn(struct loop *l, struct store *s, const struct store_txn *txn, msec budget_ms);
struct answer ask_grant(struct loop *l, struct store *s, msec ttl_ms, msec budget_ms);
struct answer ask_keepalive(struct loop *l, struct store *s, int64_t lease, msec budget_ms);
struct answer ask_revoke(struct loop *l, struct store *s, int64_t lease, msec budget_ms);

/* One put, which must succeed; returns its revision. */
int64_t ask_put(struct loop *l, struct store *s, const char *key, const char *value, int64_t lease);
int64_t ask_delete(struct loop *l, struct store *s, const char *key);

/* A watch that writes down what it is told: "put a/1=v@5 delete a/1@6 lost back resync ". */
struct story {
    struct store_watch *watch;
    struct buf text;
    int64_t last_revision;
};
void story_begin(struct story *y, struct store *s, const char *prefix, int64_t revision);
void story_end(struct story *y);
/* Until the text has this in it, or the patience is over (which fails the test). */
void story_until(struct loop *l, struct story *y, const char *text, msec patience_ms);

void run_for(struct loop *l, msec ms);
