#include "app/agent/record_cas.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/fault.h"
#include "base/mutant.h"
#include "base/str.h"
#include "store/store.h"

enum { COMPARES_MAX = 3, OPS_MAX = 4, LOOKS = 2 };

struct txn_parts {
    struct store_compare compares[COMPARES_MAX];
    struct store_op ops[OPS_MAX];
    size_t compare_count, op_count;
};

static void add_compare(struct txn_parts *t, struct store_compare compare)
{
    CHECK(t->compare_count < COMPARES_MAX);
    t->compares[t->compare_count++] = compare;
}

static void add_op(struct txn_parts *t, struct store_op op)
{
    CHECK(t->op_count < OPS_MAX);
    t->ops[t->op_count++] = op;
}

static struct store_compare at_revision(const char *key, int64_t revision)
{
    if (!revision)
        return (struct store_compare){.kind = STORE_IF_ABSENT, .key = key};
    return (struct store_compare){.kind = STORE_IF_MOD_REVISION, .key = key, .revision = revision};
}

/*
 * What is sent under one ownership must not count under a later one of ours: a request may arrive long after we have
 * given up waiting for its answer. Nobody but us writes the key while it is ours, and we do so once.
 */
static void add_key(struct txn_parts *t, const struct record_cas *c, const struct cas_change *change)
{
    struct store_op put = {.kind = STORE_PUT, .key = c->key_leader, .value = c->name, .lease = change->lease};
    struct store_op drop = {.kind = STORE_DELETE, .key = c->key_leader};

    switch (change->key) {
    case CAS_KEY_ANY:
        break;
    case CAS_KEY_OURS:
        add_compare(t, at_revision(c->key_leader, change->key_revision));
        break;
    case CAS_KEY_TAKE:
        add_compare(t, at_revision(c->key_leader, 0));
        add_op(t, put);
        break;
    case CAS_KEY_RENEW:
        add_compare(t, at_revision(c->key_leader, change->key_revision));
        add_compare(t, (struct store_compare){.kind = STORE_IF_VALUE, .key = c->key_leader, .value = c->name});
        add_op(t, put);
        break;
    case CAS_KEY_GIVE_UP:
        add_compare(t, at_revision(c->key_leader, change->key_revision));
        add_op(t, drop);
        break;
    case CAS_KEY_DROP:
        add_op(t, drop);
        break;
    }
}

/* ---- the answer ---- */

static const struct store_kv *found(const struct store_result *r, const char *key)
{
    for (size_t i = 0; i < r->kv_count; i++)
        if (str_eq(r->kvs[i].key, key))
            return &r->kvs[i];
    return NULL;
}

static bool key_is_as_wanted(const struct record_cas *c, const struct store_kv *leader)
{
    switch (c->key) {
    case CAS_KEY_ANY:
    case CAS_KEY_DROP:
        return true;
    case CAS_KEY_TAKE:
        return !leader;
    case CAS_KEY_OURS:
    case CAS_KEY_RENEW:
    case CAS_KEY_GIVE_UP:
        return leader && leader->mod_revision == c->key_revision;
    }
    return false;
}

static void answered(const struct store_result *r, void *arg)
{
    struct record_cas *c = arg;
    struct cas_result result = {.outcome = CAS_UNSURE, .revision = r->revision, .answer = r};
    AUTO(record_key) struct record_key read_back = {0};
    AUTO(record_key) struct record_key sent = c->sent; /* the callback may begin another change */

    FAULT_POINT("record.answered");
    CHECK(c->busy);
    c->busy = false;
    c->sent = (struct record_key){0};
    if (r->status == STORE_DONE && r->succeeded) {
        sent.mod_revision = r->revision;
        result.outcome = CAS_DONE;
        result.record = c->writes ? &sent : NULL;
    } else if (r->status == STORE_DONE) {
        const struct store_kv *record = found(r, c->key_record);
        const char *why;
        if (record) /* a bad one is an opaque one */
            (void)record_key_read(record->value, record->value_len, record->mod_revision, &read_back, &why);
        result.outcome = key_is_as_wanted(c, found(r, c->key_leader)) ? CAS_OTHER_RECORD : CAS_OTHER_KEY;
        result.record = &read_back;
    }
    c->done(&result, c->arg);
}

void cas_begin(struct record_cas *c, const struct cas_change *change, msec budget_ms, cas_done_fn *done, void *arg)
{
    struct txn_parts t = {.compare_count = 0};
    struct store_op looks[LOOKS] = {{.kind = STORE_GET, .key = c->key_leader},
                                    {.kind = STORE_GET, .key = c->key_record}};
    AUTO(cstr) char *text = change->next ? record_key_text(change->next) : NULL;

    CHECK(!c->busy);
    CHECK(!change->next || change->record_revision != CAS_ANY_REVISION);
    if (change->record_revision != CAS_ANY_REVISION && !MUTANT(RECORD_UNCOMPARED))
        add_compare(&t, at_revision(c->key_record, change->record_revision));
    add_key(&t, c, change);
    if (text)
        add_op(&t, (struct store_op){.kind = STORE_PUT, .key = c->key_record, .value = text});
    if (change->sync)
        add_op(&t, (struct store_op){.kind = str_empty(change->sync) ? STORE_DELETE : STORE_PUT,
                                     .key = c->key_sync,
                                     .value = change->sync});
    if (change->status)
        add_op(&t, (struct store_op){.kind = STORE_PUT, .key = c->key_status, .value = change->status});

    c->busy = true;
    c->key = change->key;
    c->key_revision = change->key_revision;
    c->writes = change->next != NULL;
    if (change->next)
        record_key_copy(change->next, &c->sent);
    c->done = done;
    c->arg = arg;
    struct store_txn txn = {.compares = t.compares,
                            .compare_count = t.compare_count,
                            .then = t.ops,
                            .then_count = t.op_count,
                            .otherwise = looks,
                            .otherwise_count = LOOKS};
    FAULT_POINT("record.send");
    store_txn(c->store, &txn, budget_ms, answered, c);
}

void cas_init(struct record_cas *c, struct store *store, const struct cas_keys *keys)
{
    *c = (struct record_cas){.store = store,
                             .name = keys->name,
                             .key_leader = keys->leader,
                             .key_record = keys->record,
                             .key_sync = keys->sync,
                             .key_status = keys->status};
}

void cas_deinit(struct record_cas *c)
{
    record_key_deinit(&c->sent);
}
