/*
 * One change of the record: compare and set, with all that belongs to it in the same transaction.
 *
 * A refused change reads the leader key and the record back, so that it tells which of the two is another than was
 * thought. A change whose answer never came may still be carried out later; another one that compares the same revision
 * and is carried out first makes an end of it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"
#include "wire/record.h"

struct store;
struct store_result;

/* What becomes of the leader key. OURS, RENEW and GIVE_UP hold only while it is the one of key_revision. */
enum cas_key {
    CAS_KEY_ANY,     /* left alone, whoever has it */
    CAS_KEY_OURS,    /* left alone */
    CAS_KEY_TAKE,    /* put on our lease; there must be none */
    CAS_KEY_RENEW,   /* put anew, on our lease */
    CAS_KEY_GIVE_UP, /* deleted */
    CAS_KEY_DROP,    /* deleted, whoever has it */
};

enum { CAS_ANY_REVISION = -1 };

struct cas_change {
    const struct record_key *next; /* NULL: the record is left alone */
    int64_t record_revision;       /* it must be at; 0: there must be none; CAS_ANY_REVISION: it may be any */
    enum cas_key key;
    int64_t key_revision;
    int64_t lease;
    const char *sync;   /* copy for Patroni's members; "": deleted; NULL: left alone */
    const char *status; /* NULL: left alone */
};

enum cas_outcome {
    CAS_DONE,
    CAS_OTHER_KEY,    /* refused: the leader key is not as the change wants it */
    CAS_OTHER_RECORD, /* refused: the record is at another revision */
    CAS_UNSURE,       /* no answer: it may have been carried out, or will be */
};

/* Valid during the callback. */
struct cas_result {
    enum cas_outcome outcome;
    int64_t revision;                /* of the store, when it answered */
    const struct record_key *record; /* as it is now: as written, or as read back; NULL: not known */
    const struct store_result *answer;
};

typedef void cas_done_fn(const struct cas_result *result, void *arg);

/* One change at a time. Embedded; all zero but for what cas_init() sets. */
struct record_cas {
    struct store *store;
    const char *name, *key_leader, *key_record, *key_sync, *key_status; /* borrowed */
    bool busy;
    enum cas_key key; /* of the change under way */
    int64_t key_revision;
    bool writes;
    struct record_key sent;
    cas_done_fn *done;
    void *arg;
};

/* The names are whole keys, but for `name`, which is this node's; all are borrowed. */
struct cas_keys {
    const char *name, *leader, *record, *sync, *status;
};
void cas_init(struct record_cas *c, struct store *store, const struct cas_keys *keys);
/* After store_free(). */
void cas_deinit(struct record_cas *c);

/* `done` runs once, later; what *change points at is needed for the call only. */
void cas_begin(struct record_cas *c, const struct cas_change *change, msec budget_ms, cas_done_fn *done, void *arg);
