#include "app/agent/keys.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/fault.h"
#include "base/str.h"
#include "store/store.h"
#include "wire/cluster.h"

enum { OPS_MAX = 4, COUNT_TEXT_MAX = 24 };

struct keys {
    struct store *store;
    keys_texts_fn *texts;
    void *texts_arg;
    keys_stand_fn *stand;
    keys_done_fn *done;
    void *arg;
    char *name;
    char *key_leader, *key_beat, *key_member, *key_status, *key_failsafe;
    msec budget_ms; /* of what follows the one under way */

    bool publishing, again, again_beat;
    int64_t key_revision; /* what is under way holds while the leader key is that one; 0: it is no leader's */
    msec beat_renewed_ms; /* the renewal that the beat under way belongs to; 0: none is under way */
    int64_t lease;        /* of what is under way */
    uint64_t beat;
    uint32_t timeline;

    /* What the store is known to hold. */
    char *wrote_member, *wrote_status, *wrote_failsafe;
    int64_t wrote_lease;
    char *pending_member, *pending_status, *pending_failsafe; /* under way */
    json_t *sent_failsafe; /* all that was sent since what is known to be there, and that */
};

void keys_forget_leader(struct keys *k)
{
    free(k->wrote_status);
    free(k->wrote_failsafe);
    k->wrote_status = k->wrote_failsafe = NULL;
}

/* ---- failsafe ---- */

static void sent_failsafe(struct keys *k, const char *text)
{
    json_t *list = str_empty(text) ? NULL : json_loads(text, 0, NULL);

    if (list)
        (void)json_object_update(k->sent_failsafe, list);
    json_decref(list);
}

json_t *keys_failsafe(const struct keys *k, const struct cluster *c)
{
    if (!c || !c->failsafe)
        return NULL;
    json_t *all = json_object();
    for (size_t i = 0; i < c->member_count; i++)
        if (c->members[i].api_url)
            (void)json_object_set_new(all, c->members[i].name, json_string(c->members[i].api_url));
    (void)json_object_update(all, k->sent_failsafe);
    (void)json_object_update(all, c->failsafe);
    return all;
}

/* ---- publishing ---- */

static void publish_done(const struct store_result *r, void *arg)
{
    struct keys *k = arg;
    struct keys_result result = {KEYS_UNSURE, k->beat_renewed_ms, k->key_revision, r};

    FAULT_POINT("keys.published");
    k->publishing = false;
    k->beat_renewed_ms = 0;
    if (r->status == STORE_DONE && r->succeeded) {
        result.outcome = KEYS_WRITTEN;
        str_set(&k->wrote_member, k->pending_member);
        k->wrote_lease = k->lease;
        if (k->pending_status)
            str_set(&k->wrote_status, k->pending_status);
        if (k->pending_failsafe) {
            str_set(&k->wrote_failsafe, k->pending_failsafe);
            (void)json_object_clear(k->sent_failsafe);
            sent_failsafe(k, k->pending_failsafe);
        }
    } else if (r->status == STORE_DONE && k->key_revision) {
        result.outcome = KEYS_REFUSED;
    }
    k->done(&result, k->arg);
    if (k->again)
        keys_publish(k, k->again_beat, k->budget_ms);
}

static bool add_if_changed(struct store_op *ops, size_t *count, const char *key, const char *now, const char *before,
                           int64_t lease)
{
    if (!now || str_eq(now, before))
        return false;
    CHECK(*count < OPS_MAX);
    if (!*now)
        ops[(*count)++] = (struct store_op){.kind = STORE_DELETE, .key = key};
    else
        ops[(*count)++] = (struct store_op){.kind = STORE_PUT, .key = key, .value = now, .lease = lease};
    return true;
}

void keys_publish(struct keys *k, bool beat, msec budget_ms)
{
    struct keys_texts texts = {0};
    struct keys_stand stand = {0};
    struct store_op ops[OPS_MAX];
    size_t count = 0;
    char count_text[COUNT_TEXT_MAX];

    k->budget_ms = budget_ms;
    if (k->publishing) {
        k->again = true;
        k->again_beat |= beat;
        return;
    }
    k->again = k->again_beat = false;
    k->stand(&stand, k->arg);
    if (!stand.lease)
        return;

    k->texts(&texts, k->texts_arg);
    k->lease = stand.lease;
    k->key_revision = stand.key_revision;
    k->timeline = texts.timeline;
    str_set(&k->pending_member, texts.member);
    str_set(&k->pending_status, k->key_revision ? texts.status : NULL);
    str_set(&k->pending_failsafe, k->key_revision ? texts.failsafe : NULL);

    const char *before = k->wrote_lease == k->lease ? k->wrote_member : NULL;
    (void)add_if_changed(ops, &count, k->key_member, k->pending_member, before, k->lease);
    (void)add_if_changed(ops, &count, k->key_status, k->pending_status, k->wrote_status, 0);
    if (add_if_changed(ops, &count, k->key_failsafe, k->pending_failsafe, k->wrote_failsafe, 0))
        sent_failsafe(k, k->pending_failsafe);
    if (k->key_revision && beat) {
        k->beat_renewed_ms = stand.renewed_ms;
        (void)snprintf(count_text, sizeof(count_text), "%llu", (unsigned long long)++k->beat); /* it is long enough */
        (void)add_if_changed(ops, &count, k->key_beat, count_text, NULL, 0);
    }
    if (!count)
        return;

    struct store_compare ours = {.kind = STORE_IF_MOD_REVISION, .key = k->key_leader, .revision = stand.key_revision};
    struct store_txn txn = {
        .compares = &ours, .compare_count = k->key_revision ? 1 : 0, .then = ops, .then_count = count};
    k->publishing = true;
    FAULT_POINT("keys.send");
    store_txn(k->store, &txn, budget_ms, publish_done, k);
}

void keys_observe(struct keys *k, const struct cluster *c, msec budget_ms)
{
    struct keys_stand stand = {0};

    k->stand(&stand, k->arg);
    if (!k->wrote_member || cluster_member(c, k->name) || !stand.lease || k->publishing)
        return;
    free(k->wrote_member);
    k->wrote_member = NULL;
    keys_publish(k, false, budget_ms);
}

uint32_t keys_timeline(const struct keys *k)
{
    return k->timeline;
}

void keys_connect(struct keys *k, keys_texts_fn *texts, void *texts_arg, keys_stand_fn *stand, keys_done_fn *done,
                  void *arg)
{
    k->texts = texts;
    k->texts_arg = texts_arg;
    k->stand = stand;
    k->done = done;
    k->arg = arg;
}

struct keys *keys_new(struct store *store, const char *prefix, const char *name, const char *key_leader)
{
    struct keys *k = mem_zero(1, sizeof(*k));

    k->store = store;
    k->name = str_dup(name);
    k->key_leader = str_dup(key_leader);
    k->key_beat = str_fmt("%spgkeep_beat", prefix);
    k->key_member = str_fmt("%smembers/%s", prefix, name);
    k->key_status = str_fmt("%sstatus", prefix);
    k->key_failsafe = str_fmt("%sfailsafe", prefix);
    k->sent_failsafe = json_object();
    return k;
}

void keys_free(struct keys *k)
{
    if (!k)
        return;
    char *strings[] = {k->name,           k->key_leader,     k->key_beat,       k->key_member,
                       k->key_status,     k->key_failsafe,   k->wrote_member,   k->wrote_status,
                       k->wrote_failsafe, k->pending_member, k->pending_status, k->pending_failsafe};
    for (size_t i = 0; i < ARRAY_LEN(strings); i++)
        free(strings[i]);
    json_decref(k->sent_failsafe);
    free(k);
}
