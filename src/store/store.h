/*
 * The store: where a cluster agrees. Modelled on etcd v3 (revisions, transactions, leases, watches).
 *
 * Everything is asynchronous on the caller's loop: a call returns at once, its callback runs once,
 * from the loop, never from inside the call. Every request has a deadline. Results say what is
 * known: DONE (answered), REFUSED (answered: certainly not applied), UNKNOWN (sent, no answer: it may
 * have been applied; read it back before acting on it), AWAY (never left this host).
 * A store without a leader REFUSES. Only a transaction is left UNKNOWN at the first silence; a read, a
 * grant, a renewal or a revocation is repeated at the next member within its budget.
 * A lease's deadline counts from `sent_at_ms`, the moment before the request that granted or renewed
 * it was sent, so that we believe in it for less time than the store does.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/time.h"

struct loop;
struct store;
struct store_watch;
struct settings;

enum store_status { STORE_DONE, STORE_REFUSED, STORE_UNKNOWN, STORE_AWAY };

struct store_kv {
    char *key; /* whole key */
    char *value;
    size_t value_len;
    int64_t create_revision;
    int64_t mod_revision;
    int64_t lease;
};

enum store_compare_kind {
    STORE_IF_ABSENT,       /* create_revision == 0 */
    STORE_IF_PRESENT,      /* create_revision > 0 */
    STORE_IF_MOD_REVISION, /* mod_revision == revision */
    STORE_IF_VALUE,        /* value == value */
};

struct store_compare {
    enum store_compare_kind kind;
    const char *key;
    int64_t revision;
    const char *value;
};

enum store_op_kind { STORE_PUT, STORE_DELETE, STORE_DELETE_PREFIX, STORE_GET, STORE_GET_PREFIX };

struct store_op {
    enum store_op_kind kind;
    const char *key;
    const char *value; /* PUT */
    int64_t lease;     /* PUT; 0: none */
};

/* All compares true → `then`, else `otherwise`. Either list may be empty. Copied by the call. */
struct store_txn {
    const struct store_compare *compares;
    size_t compare_count;
    const struct store_op *then;
    size_t then_count;
    const struct store_op *otherwise;
    size_t otherwise_count;
};

/* What came back; valid only during the callback. */
struct store_result {
    enum store_status status;
    bool succeeded;   /* txn: the compares held and `then` was applied */
    int64_t revision; /* of the answer's header */
    uint64_t raft_term;
    uint64_t cluster_id;
    const struct store_kv *kvs; /* of all GETs, in order */
    size_t kv_count;
    int64_t lease;         /* grant, keepalive */
    msec ttl_ms;           /* grant, keepalive; 0: the lease is gone */
    msec sent_at_ms;       /* CLOCK_BOOTTIME before the (last) sending */
    const struct err *err; /* set unless DONE */
};

typedef void store_done_fn(const struct store_result *result, void *arg);

/*
 * A client of the store that the settings name. Connects lazily; endpoints that fail are left for
 * the next one and tried again later, within the budget of each request.
 */
MUST_USE bool store_new(struct loop *loop, const struct settings *settings, struct store **ret_store, struct err *err);
/* Cancels what is under way; no callback runs afterwards. */
void store_free(struct store *s);
AUTO_DEFINE(store, struct store, store_free)

/* Linearizable reads. budget_ms: from now until the callback has run at the latest. */
void store_get_prefix(struct store *s, const char *prefix, msec budget_ms, store_done_fn *done, void *arg);
void store_txn(struct store *s, const struct store_txn *txn, msec budget_ms, store_done_fn *done, void *arg);

void store_lease_grant(struct store *s, msec ttl_ms, msec budget_ms, store_done_fn *done, void *arg);
/* DONE with ttl_ms 0: the lease is gone (not an error of the store). */
void store_lease_keepalive(struct store *s, int64_t lease, msec budget_ms, store_done_fn *done, void *arg);
void store_lease_revoke(struct store *s, int64_t lease, msec budget_ms, store_done_fn *done, void *arg);

/*
 * Watch every key under prefix from `revision` on. The watch lives until stopped: it reconnects by
 * itself, goes on where it was, and says RESYNC when it cannot know what it missed (compaction,
 * another cluster id, a raft term that went back): the caller reads again and starts a new watch.
 * A watch wakes, it never decides: it may lag behind.
 */
enum store_watch_kind { STORE_WATCH_PUT, STORE_WATCH_DELETE, STORE_WATCH_RESYNC, STORE_WATCH_LOST, STORE_WATCH_BACK };

struct store_event {
    enum store_watch_kind kind;
    const struct store_kv *kv; /* PUT: new value; DELETE: key alone; NULL otherwise */
    int64_t revision;
    bool more; /* PUT, DELETE: the next event follows at once, so that a transaction can be taken as a whole */
};

typedef void store_watch_fn(const struct store_event *event, void *arg);

struct store_watch *store_watch_start(struct store *s, const char *prefix, int64_t revision, store_watch_fn *fn,
                                      void *arg);
void store_watch_stop(struct store_watch *w);

/* Replace endpoints and credentials after a reload; requests under way finish on the old ones. */
MUST_USE bool store_reconfigure(struct store *s, const struct settings *settings, struct err *err);

/* For people: "etcd 3.4.23 at 127.0.0.1:2379". */
const char *store_describe(const struct store *s);
