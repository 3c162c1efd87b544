/*
 * etcd's JSON gateway, as bytes: requests written, answers read. Pure.
 *
 * Keys and values are base64, 64-bit numbers are strings, and what is zero or false is left out: a
 * PUT event has no "type", a failed transaction no "succeeded", a dead lease no "TTL".
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/buf.h"
#include "base/time.h"
#include "store/store.h"

/* ---- requests ---- */

void etcd_write_range(struct buf *out, const char *prefix);
/* Only the key that changed last, without its value: is anything newer than what we have seen? */
void etcd_write_newest(struct buf *out, const char *prefix);
void etcd_write_txn(struct buf *out, const struct store_txn *txn);
void etcd_write_grant(struct buf *out, msec ttl_ms); /* whole seconds, rounded up */
void etcd_write_lease(struct buf *out, int64_t lease);
void etcd_write_watch(struct buf *out, const char *prefix, int64_t revision);
void etcd_write_login(struct buf *out, const char *username, const char *password);

/* ---- answers ---- */

struct etcd_header {
    uint64_t cluster_id;
    uint64_t raft_term;
    int64_t revision;
};

struct etcd_answer {
    struct etcd_header header;
    bool succeeded;
    struct store_kv *kvs; /* of all ranges, in order */
    size_t kv_count;
    int64_t lease;
    int64_t ttl_s; /* 0: the lease is gone */
};

void etcd_answer_deinit(struct etcd_answer *a);

/*
 * What a unary call or the keepalive stream answered. false: not what etcd says; *ret then holds nothing.
 */
MUST_USE bool etcd_read_answer(const json_t *json, struct etcd_answer *ret);

struct etcd_event {
    bool is_delete;
    struct store_kv kv;
};

struct etcd_watch_message {
    struct etcd_header header;
    bool created, canceled;
    int64_t compact_revision; /* > 0: the watch wanted what is compacted away */
    char cancel_reason[256];
    struct etcd_event *events;
    size_t event_count;
};

void etcd_watch_message_deinit(struct etcd_watch_message *m);
MUST_USE bool etcd_read_watch_message(const json_t *json, struct etcd_watch_message *ret);

/* ---- errors ---- */

enum { ETCD_CODE_NOT_FOUND = 5 }; /* of a gRPC status: the lease is gone */

struct etcd_error {
    int code; /* gRPC; -1: none was given */
    char message[256];
};

/* What an error says about the request. */
enum etcd_verdict {
    ETCD_REFUSED,   /* not applied, and no other member will say otherwise */
    ETCD_ELSEWHERE, /* not applied; another member may be able to */
    ETCD_LOGIN,     /* not applied; our token is missing or too old */
    ETCD_UNCLEAR,   /* may have been applied, now or later */
};

/*
 * The error of 3.4 ({"error": text, "message", "code"}), of 3.5 ({"code", "message"}) or of a stream
 * ({"error": {…}}). false: this is no error.
 */
bool etcd_read_error(const json_t *json, struct etcd_error *ret);
enum etcd_verdict etcd_judge(const struct etcd_error *e);

/* ---- versions and streams ---- */

/* From /version: *ret_version is the server's; returns the path of its gateway ("/v3"), NULL if not understood. */
const char *etcd_read_version(const json_t *json, char *ret_version, size_t cap);

/*
 * Objects out of a stream whose pieces are cut anywhere. Returns the length of the first whole object
 * of bytes[0, len), with what precedes it (blanks), 0 if it has not all come yet; *scan remembers how far we looked.
 */
struct etcd_scan {
    size_t at;
    int depth;
    bool in_string, escaped;
};
size_t etcd_scan_object(struct etcd_scan *scan, const char *bytes, size_t len);
