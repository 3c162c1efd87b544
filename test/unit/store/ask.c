#include "test/unit/store/ask.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "io/loop.h"
#include "store/backend.h"

enum { PATIENCE_MS = 30000 };

void answer_init(struct answer *a)
{
    *a = (struct answer){.took_ms = -loop_clock_ms()};
}

bool answer_has_come(const struct answer *a)
{
    return a->took_ms >= 0;
}

void answer_deinit(struct answer *a)
{
    store_kvs_free(a->kvs, a->kv_count);
    a->kvs = NULL;
    a->kv_count = 0;
}

void take_answer(const struct store_result *r, void *arg)
{
    struct answer *a = arg;

    assert_false(answer_has_come(a)); /* once */
    assert_true((r->status == STORE_DONE) == (r->err == NULL));
    a->took_ms += loop_clock_ms();
    a->status = r->status;
    a->succeeded = r->succeeded;
    a->revision = r->revision;
    a->raft_term = r->raft_term;
    a->cluster_id = r->cluster_id;
    a->lease = r->lease;
    a->ttl_ms = r->ttl_ms;
    a->sent_at_ms = r->sent_at_ms;
    if (r->err)
        a->err = *r->err;
    a->kvs = mem_zero(r->kv_count, sizeof(*a->kvs));
    a->kv_count = r->kv_count;
    for (size_t i = 0; i < r->kv_count; i++) {
        a->kvs[i] = r->kvs[i];
        a->kvs[i].key = str_dup(r->kvs[i].key);
        a->kvs[i].value = mem_zero(r->kvs[i].value_len + 1, 1);
        memcpy(a->kvs[i].value, r->kvs[i].value, r->kvs[i].value_len);
    }
}

void await(struct loop *l, struct answer *a)
{
    msec end_ms = loop_clock_ms() + PATIENCE_MS;

    while (!answer_has_come(a) && loop_clock_ms() < end_ms)
        loop_turn(l, 100);
    assert_true(answer_has_come(a));
}

struct answer ask_get_prefix(struct loop *l, struct store *s, const char *prefix, msec budget_ms)
{
    struct answer a;

    answer_init(&a);
    store_get_prefix(s, prefix, budget_ms, take_answer, &a);
    assert_false(answer_has_come(&a)); /* never from inside the call */
    await(l, &a);
    return a;
}

struct answer ask_txn(struct loop *l, struct store *s, const struct store_txn *txn, msec budget_ms)
{
    struct answer a;

    answer_init(&a);
    store_txn(s, txn, budget_ms, take_answer, &a);
    assert_false(answer_has_come(&a));
    await(l, &a);
    return a;
}

struct answer ask_grant(struct loop *l, struct store *s, msec ttl_ms, msec budget_ms)
{
    struct answer a;

    answer_init(&a);
    store_lease_grant(s, ttl_ms, budget_ms, take_answer, &a);
    assert_false(answer_has_come(&a));
    await(l, &a);
    return a;
}

struct answer ask_keepalive(struct loop *l, struct store *s, int64_t lease, msec budget_ms)
{
    struct answer a;

    answer_init(&a);
    store_lease_keepalive(s, lease, budget_ms, take_answer, &a);
    assert_false(answer_has_come(&a));
    await(l, &a);
    return a;
}

struct answer ask_revoke(struct loop *l, struct store *s, int64_t lease, msec budget_ms)
{
    struct answer a;

    answer_init(&a);
    store_lease_revoke(s, lease, budget_ms, take_answer, &a);
    assert_false(answer_has_come(&a));
    await(l, &a);
    return a;
}

static int64_t ask_one(struct loop *l, struct store *s, const struct store_op *op)
{
    AUTO(answer)
    struct answer a = ask_txn(l, s, &(struct store_txn){.then = op, .then_count = 1}, ASK_BUDGET_MS);

    if (a.status != STORE_DONE)
        fail_msg("%s", a.err.text);
    assert_true(a.succeeded);
    return a.revision;
}

int64_t ask_put(struct loop *l, struct store *s, const char *key, const char *value, int64_t lease)
{
    return ask_one(l, s, &(struct store_op){.kind = STORE_PUT, .key = key, .value = value, .lease = lease});
}

int64_t ask_delete(struct loop *l, struct store *s, const char *key)
{
    return ask_one(l, s, &(struct store_op){.kind = STORE_DELETE, .key = key});
}

/* ---- watches ---- */

static void write_down(const struct store_event *e, void *arg)
{
    struct story *y = arg;

    switch (e->kind) {
    case STORE_WATCH_PUT:
        buf_printf(&y->text, "put %s=%s@%" PRId64 " ", e->kv->key, e->kv->value, e->revision);
        assert_int_equal(e->kv->mod_revision, e->revision);
        break;
    case STORE_WATCH_DELETE:
        buf_printf(&y->text, "delete %s@%" PRId64 " ", e->kv->key, e->revision);
        break;
    case STORE_WATCH_RESYNC:
        buf_add_str(&y->text, "resync ");
        break;
    case STORE_WATCH_LOST:
        buf_add_str(&y->text, "lost ");
        break;
    case STORE_WATCH_BACK:
        buf_add_str(&y->text, "back ");
        break;
    }
    if (e->kv) {
        assert_true(e->revision >= y->last_revision); /* in order, none twice */
        y->last_revision = e->revision;
    } else {
        assert_true(e->kind != STORE_WATCH_PUT && e->kind != STORE_WATCH_DELETE);
    }
}

void story_begin(struct story *y, struct store *s, const char *prefix, int64_t revision)
{
    *y = (struct story){.last_revision = revision};
    y->watch = store_watch_start(s, prefix, revision, write_down, y);
    assert_int_equal(y->text.len, 0);
}

void story_end(struct story *y)
{
    store_watch_stop(y->watch);
    buf_deinit(&y->text);
}

void story_until(struct loop *l, struct story *y, const char *text, msec patience_ms)
{
    msec end_ms = loop_clock_ms() + patience_ms;

    while (!strstr(buf_cstr(&y->text), text) && loop_clock_ms() < end_ms)
        loop_turn(l, 100);
    if (!strstr(buf_cstr(&y->text), text))
        fail_msg("waited for \"%s\", was told \"%s\"", text, buf_cstr(&y->text));
}

void run_for(struct loop *l, msec ms)
{
    msec end_ms = loop_clock_ms() + ms;

    while (loop_clock_ms() < end_ms)
        loop_turn(l, msec_min(20, ms));
}
