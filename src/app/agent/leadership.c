#include "app/agent/leadership.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/agent/registry.h"
#include "base/check.h"
#include "base/str.h"
#include "io/log.h"
#include "io/loop.h"
#include "store/store.h"

enum {
    OPS_MAX = 8,
    RESIGN_MS = 2000, /* at the end of the program; a store that is away lets the lease end by itself */
};

struct leadership {
    struct loop *loop;
    struct store *store;
    struct registry *registry;
    leadership_texts_fn *texts;
    leadership_changed_fn *fn;
    void *arg;
    char *name;
    char *key_leader, *key_record, *key_beat, *key_member, *key_status, *key_failsafe;
    msec ttl_ms, budget_ms;

    int64_t lease;     /* 0: none */
    msec lease_ttl_ms; /* it was granted with this; another ttl needs another lease */
    msec renewed_ms, tried_ms;
    bool renewing, publishing, publish_again, beat_again;
    bool published_as_owner; /* what is under way counts only while the leader key is ours */
    msec beat_renewed_ms;    /* the renewal that the beat under way belongs to; 0: none is under way */
    uint64_t beat;

    bool owner, was_owner;
    int64_t owner_revision; /* readings older than this say nothing about ownership */
    int64_t key_revision;   /* the leader key as we put it: what we write holds only for this ownership */
    bool reattached;        /* the key was put by an earlier life of this node, which may serve under it elsewhere */
    bool release_doubt;     /* a release whose answer never came may still arrive: the key is put anew first */
    msec owner_deadline_ms;
    term term;
    term newest_term; /* that any record had; a key under an earlier one is of the past */
    unsigned int setbacks;

    struct record_key record; /* as it is in the store, as far as is known; every change of it compares its revision */
    struct record_key sent;   /* by the change under way */
    bool recording, record_again;
    int64_t recorded_under; /* key_revision of the change under way */
    bool record_due;        /* it does not say what we want, or may not: changed again with the next renewal */
    uint32_t timeline;      /* what we want in it */
    uint32_t timeline_told; /* it is there */
    bool unfenced;          /* what we want in it */
    bool unfenced_told;     /* it is there: never true while it may not be */
    bool told_opaque;

    /* What the store is known to hold, so that only changes are written. */
    char *wrote_member, *wrote_status, *wrote_failsafe;
    int64_t wrote_lease;
    char *pending_member, *pending_status, *pending_failsafe; /* under way */
    json_t *sent_failsafe; /* all that was sent since what is known to be there, and that */

    /* The acquire, release or resign under way. */
    leadership_done_fn *done;
    void *done_arg;
    struct record_key done_record; /* as it is when that was carried out; mod_revision is of before */
};

static void changed(struct leadership *s)
{
    s->fn(s->arg);
}

/* A store without a leader of its own refuses, too: that is an outage, not an answer. */
static bool is_outage(const struct store_result *r)
{
    if (r->status == STORE_DONE)
        return false;
    return !r->err || (r->err->code != ERR_NOT_FOUND && r->err->code != ERR_DENIED && r->err->code != ERR_INPUT &&
                       r->err->code != ERR_CONFLICT);
}

static void heard(struct leadership *s, const struct store_result *r)
{
    if (is_outage(r))
        registry_unheard(s->registry, r->err ? r->err->text : "no answer");
    else
        registry_heard(s->registry);
}

static void lost_ownership(struct leadership *s)
{
    s->owner = false;
    free(s->wrote_status);
    free(s->wrote_failsafe);
    s->wrote_status = s->wrote_failsafe = NULL;
}

static void lost_lease(struct leadership *s)
{
    s->lease = 0;
    lost_ownership(s);
}

static bool record_is_ours(const struct leadership *s)
{
    return s->record.present && str_eq(s->record.leader, s->name);
}

/*
 * What the record says of what we want in it. A change of ours that is under way may have been carried out after what
 * is known, so until its answer nothing is believed that was not before.
 */
static void compare_record(struct leadership *s)
{
    bool ours = s->owner && record_is_ours(s);
    bool unfenced_there = ours && s->record.unfenced && s->unfenced;

    s->unfenced_told = unfenced_there && (s->unfenced_told || !s->recording);
    if (ours) {
        s->timeline_told = s->record.timeline;
        s->timeline = s->record.timeline > s->timeline ? s->record.timeline : s->timeline;
    }
    if (s->recording)
        return;
    bool differs = s->record.timeline != s->timeline || s->record.unfenced != s->unfenced;
    s->record_due = s->owner && (ours ? differs : !s->record.present); /* another's is not ours to change */
}

static void know_record(struct leadership *s, const struct record_key *record, int64_t revision)
{
    struct record_key copy;
    char why[RECORD_WHY_MAX];

    record_key_copy(record, &copy);
    record_key_deinit(&s->record);
    s->record = copy;
    s->record.mod_revision = revision;
    if (record_key_is_opaque(&s->record) && !s->told_opaque)
        log_critical("record.opaque",
                     "the record in the store (pgkeep) %s: this node does not become primary, and leaves it as it is",
                     record_key_why_opaque(&s->record, why));
    s->told_opaque = record_key_is_opaque(&s->record);
    compare_record(s);
}

static void gained_ownership(struct leadership *s, const struct record_key *record, int64_t revision,
                             int64_t key_revision, int64_t record_revision)
{
    s->owner = s->was_owner = true;
    s->reattached = false;
    s->release_doubt = false;
    s->owner_revision = revision;
    s->key_revision = key_revision;
    s->owner_deadline_ms = s->renewed_ms + s->lease_ttl_ms;
    s->term = record->term;
    s->unfenced = s->unfenced_told = record->unfenced && str_eq(record->leader, s->name);
    s->timeline = s->timeline_told = record->timeline;
    know_record(s, record, record_revision);
}

/*
 * What is sent under one ownership must not count under a later one of ours: a request may arrive long after we have
 * given up waiting for its answer. Nobody but us writes the key while it is ours, and we do so once.
 */
static struct store_compare still_ours(const struct leadership *s)
{
    return (struct store_compare){.kind = STORE_IF_MOD_REVISION, .key = s->key_leader, .revision = s->key_revision};
}

static struct store_compare record_is_at(const struct leadership *s, int64_t revision)
{
    if (!revision)
        return (struct store_compare){.kind = STORE_IF_ABSENT, .key = s->key_record};
    return (struct store_compare){.kind = STORE_IF_MOD_REVISION, .key = s->key_record, .revision = revision};
}

/* What a refused transaction reads in its place, so that it tells which compare failed. */
enum { LOOK_COUNT = 2 };

static void look(const struct leadership *s, struct store_op ret_ops[LOOK_COUNT])
{
    ret_ops[0] = (struct store_op){.kind = STORE_GET, .key = s->key_leader};
    ret_ops[1] = (struct store_op){.kind = STORE_GET, .key = s->key_record};
}

static const struct store_kv *found(const struct store_result *r, const char *key)
{
    for (size_t i = 0; i < r->kv_count; i++)
        if (str_eq(r->kvs[i].key, key))
            return &r->kvs[i];
    return NULL;
}

/*
 * A refused change of the record by the owner. True: the leader key is ours still, so it was the record that is another
 * than we knew; now it is known. False: the key is not ours.
 */
static bool refused_for_the_record(struct leadership *s, const struct store_result *r)
{
    const struct store_kv *leader = found(r, s->key_leader);
    const struct store_kv *kv = found(r, s->key_record);
    struct record_key record = {0};
    const char *why;

    if (!leader || leader->mod_revision != s->key_revision)
        return false;
    if (kv)
        (void)record_key_read(kv->value, kv->value_len, kv->mod_revision, &record, &why); /* a bad one is none */
    know_record(s, &record, record.mod_revision);
    record_key_deinit(&record);
    return true;
}

/* ---- failsafe ---- */

static void sent_failsafe(struct leadership *s, const char *text)
{
    json_t *list = str_empty(text) ? NULL : json_loads(text, 0, NULL);

    if (list)
        (void)json_object_update(s->sent_failsafe, list);
    json_decref(list);
}

json_t *leadership_failsafe(const struct leadership *s)
{
    const struct cluster *c = registry_cluster(s->registry);

    if (!c || !c->failsafe)
        return NULL;
    json_t *all = json_object();
    for (size_t i = 0; i < c->member_count; i++)
        if (c->members[i].api_url)
            (void)json_object_set_new(all, c->members[i].name, json_string(c->members[i].api_url));
    (void)json_object_update(all, s->sent_failsafe);
    (void)json_object_update(all, c->failsafe);
    return all;
}

/* ---- publishing ---- */

static void publish(struct leadership *s, bool beat);
static void write_record(struct leadership *s);

static void publish_done(const struct store_result *r, void *arg)
{
    struct leadership *s = arg;

    s->publishing = false;
    heard(s, r);
    if (r->status == STORE_DONE && r->succeeded) {
        /* Only now is it proved that the key was still ours after that renewal. */
        if (s->beat_renewed_ms && s->owner)
            s->owner_deadline_ms = msec_max(s->owner_deadline_ms, s->beat_renewed_ms + s->lease_ttl_ms);
        str_set(&s->wrote_member, s->pending_member);
        s->wrote_lease = s->lease;
        if (s->pending_status)
            str_set(&s->wrote_status, s->pending_status);
        if (s->pending_failsafe) {
            str_set(&s->wrote_failsafe, s->pending_failsafe);
            (void)json_object_clear(s->sent_failsafe);
            sent_failsafe(s, s->pending_failsafe);
        }
    } else {
        /* Refused compare: the key is not ours any more; anything else: unknown. The registry looks. */
        if (r->status == STORE_DONE && s->published_as_owner) {
            lost_ownership(s);
            s->owner_revision = r->revision; /* an older picture may still show it */
        }
        registry_refresh(s->registry);
    }
    s->beat_renewed_ms = 0;
    if (s->publish_again)
        publish(s, s->beat_again);
    changed(s);
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

/* `beat`: a renewal; the owner says that it lives. */
static void publish(struct leadership *s, bool beat)
{
    struct leadership_texts texts = {0};
    struct store_op ops[OPS_MAX];
    size_t count = 0;
    char count_text[24];

    if (s->publishing) {
        s->publish_again = true;
        s->beat_again |= beat;
        return;
    }
    s->publish_again = s->beat_again = false;
    if (!s->lease)
        return;

    s->texts(&texts, s->arg);
    str_set(&s->pending_member, texts.member);
    str_set(&s->pending_status, s->owner ? texts.status : NULL);
    str_set(&s->pending_failsafe, s->owner ? texts.failsafe : NULL);

    const char *before = s->wrote_lease == s->lease ? s->wrote_member : NULL;
    (void)add_if_changed(ops, &count, s->key_member, s->pending_member, before, s->lease);
    (void)add_if_changed(ops, &count, s->key_status, s->pending_status, s->wrote_status, 0);
    if (add_if_changed(ops, &count, s->key_failsafe, s->pending_failsafe, s->wrote_failsafe, 0))
        sent_failsafe(s, s->pending_failsafe);
    if (s->owner && beat) {
        s->beat_renewed_ms = s->renewed_ms;
        (void)snprintf(count_text, sizeof(count_text), "%llu", (unsigned long long)++s->beat); /* it is long enough */
        ops[count++] = (struct store_op){.kind = STORE_PUT, .key = s->key_beat, .value = count_text};
    }
    if (count) {
        struct store_compare ours = still_ours(s);
        struct store_txn txn = {.compares = &ours, .compare_count = s->owner ? 1 : 0, .then = ops, .then_count = count};
        s->publishing = true;
        s->published_as_owner = s->owner;
        store_txn(s->store, &txn, s->budget_ms, publish_done, s);
    }
    if (s->owner && beat) {
        if (texts.timeline > s->timeline) { /* PostgreSQL knew of more than the store did */
            s->timeline = texts.timeline;
            s->record_due = true;
        }
        write_record(s);
    }
}

/* ---- the record ---- */

static void recorded(const struct store_result *r, void *arg)
{
    struct leadership *s = arg;
    bool same_ownership = s->owner && s->key_revision == s->recorded_under;

    s->recording = false;
    heard(s, r);
    if (r->status == STORE_DONE && r->succeeded) {
        if (r->revision > s->record.mod_revision)
            know_record(s, &s->sent, r->revision);
        else
            compare_record(s);
    } else if (r->status == STORE_DONE) {
        if (same_ownership && !refused_for_the_record(s, r)) {
            lost_ownership(s);
            s->owner_revision = r->revision;
        }
        registry_refresh(s->registry);
    } else {
        registry_refresh(s->registry); /* it stays due */
    }
    record_key_deinit(&s->sent);
    if (s->record_again)
        write_record(s);
    changed(s);
}

/* Change what differs in the record, if it is as we know it. */
static void write_record(struct leadership *s)
{
    if (s->recording) {
        s->record_again = true;
        return;
    }
    s->record_again = false;
    bool others = s->record.present && !record_is_ours(s);
    if (!s->owner || !s->record_due || others || record_key_is_opaque(&s->record))
        return;

    record_key_copy(&s->record, &s->sent);
    if (!s->sent.present) { /* somebody removed it */
        s->sent.present = true;
        s->sent.term = s->term;
        str_set(&s->sent.leader, s->name);
    }
    s->sent.timeline = s->timeline;
    s->sent.unfenced = s->unfenced;
    AUTO(cstr) char *text = record_key_text(&s->sent);
    struct store_compare compares[] = {still_ours(s), record_is_at(s, s->record.mod_revision)};
    struct store_op put = {.kind = STORE_PUT, .key = s->key_record, .value = text};
    struct store_op looks[LOOK_COUNT];
    look(s, looks);
    struct store_txn txn = {.compares = compares,
                            .compare_count = ARRAY_LEN(compares),
                            .then = &put,
                            .then_count = 1,
                            .otherwise = looks,
                            .otherwise_count = LOOK_COUNT};
    s->recording = true;
    s->recorded_under = s->key_revision;
    store_txn(s->store, &txn, s->budget_ms, recorded, s);
}

void leadership_tell(struct leadership *s, bool unfenced)
{
    s->unfenced = unfenced;
    if (!unfenced)
        s->unfenced_told = false;
    s->record_due = true; /* also where it is said to be there: what was sent before must not come after */
    write_record(s);
}

void leadership_take_timeline(struct leadership *s, uint32_t timeline)
{
    s->timeline = timeline;
    s->record_due = true;
    write_record(s);
}

void leadership_publish(struct leadership *s)
{
    publish(s, false);
}

/* ---- the lease ---- */

static void reattach_done(const struct store_result *r, void *arg)
{
    struct leadership *s = arg;

    heard(s, r);
    s->renewing = false;
    if (r->status == STORE_DONE && r->succeeded)
        gained_ownership(s, &s->done_record, r->revision, r->revision, r->revision);
    else
        registry_refresh(s->registry);
    s->reattached = s->owner;
    publish(s, true);
    changed(s);
}

static bool is_of_the_past(const struct leadership *s, const struct cluster *c)
{
    return c->record.term < s->newest_term;
}

/* The record of our next ownership, over what there is. */
static void take_over_record(struct leadership *s, const struct record_key *now)
{
    struct record_key *next = &s->done_record;

    record_key_deinit(next);
    record_key_copy(now, next);
    next->present = true;
    next->term = now->term + 1;
    str_set(&next->leader, s->name);
    next->released = next->unfenced = false;
}

/*
 * The leader key carries our name but hangs on a lease of an earlier life of this agent (or of another
 * ttl). Nobody else can have taken it, so it is put on this one. Also after a release in doubt: once put anew, the
 * key is another than the one that the release would take away.
 */
static bool reattach(struct leadership *s)
{
    const struct cluster *c = registry_cluster(s->registry);

    bool as_it_should = c && c->leader_lease == s->lease && !s->release_doubt;
    if (!c || !str_eq(c->leader, s->name) || as_it_should || s->owner || is_of_the_past(s, c))
        return false;
    if (record_key_is_opaque(&c->record))
        return false;

    bool continued = c->record.present && str_eq(c->record.leader, s->name);
    take_over_record(s, &c->record);
    if (continued) {
        s->done_record.term = c->record.term;
        s->done_record.unfenced = c->record.unfenced;
    }
    AUTO(cstr) char *record = record_key_text(&s->done_record);
    struct store_compare same[] = {
        {.kind = STORE_IF_VALUE, .key = s->key_leader, .value = s->name},
        {.kind = STORE_IF_MOD_REVISION, .key = s->key_leader, .revision = c->leader_revision},
        record_is_at(s, c->record.mod_revision),
    };
    struct store_op ops[] = {
        {.kind = STORE_PUT, .key = s->key_leader, .value = s->name, .lease = s->lease},
        {.kind = STORE_PUT, .key = s->key_record, .value = record},
    };
    struct store_txn txn = {.compares = same, .compare_count = ARRAY_LEN(same), .then = ops, .then_count = 2};

    s->renewing = true;
    store_txn(s->store, &txn, s->budget_ms, reattach_done, s);
    return true;
}

static void granted(const struct store_result *r, void *arg)
{
    struct leadership *s = arg;

    heard(s, r);
    s->renewing = false;
    if (r->status == STORE_DONE && r->lease) {
        lost_ownership(s); /* an older lease of ours may still carry the key: reattach() sees to it */
        s->lease = r->lease;
        s->lease_ttl_ms = s->ttl_ms;
        s->renewed_ms = r->sent_at_ms;
        if (!reattach(s))
            publish(s, false);
    }
    changed(s);
}

static void kept_alive(const struct store_result *r, void *arg)
{
    struct leadership *s = arg;

    heard(s, r);
    s->renewing = false;
    if (r->status == STORE_DONE && r->ttl_ms <= 0) {
        lost_lease(s);
        registry_refresh(s->registry);
    } else if (r->status == STORE_DONE) {
        s->renewed_ms = r->sent_at_ms;
        if (!reattach(s))
            publish(s, true);
    }
    changed(s);
}

void leadership_renew(struct leadership *s)
{
    if (s->renewing)
        return;
    s->renewing = true;
    s->tried_ms = loop_clock_ms();
    if (s->lease && s->lease_ttl_ms == s->ttl_ms)
        store_lease_keepalive(s->store, s->lease, s->budget_ms, kept_alive, s);
    else
        store_lease_grant(s->store, s->ttl_ms, s->budget_ms, granted, s);
}

/* ---- acquire, release, resign ---- */

static void finish(struct leadership *s, enum leadership_result result, const char *why)
{
    leadership_done_fn *done = s->done;

    s->done = NULL;
    changed(s);
    if (done)
        done(result, why, s->done_arg);
}

static void begin(struct leadership *s, leadership_done_fn *done, void *arg)
{
    CHECK(!s->done); /* the plan is executed one action at a time */
    s->done = done;
    s->done_arg = arg;
}

static void acquired(const struct store_result *r, void *arg)
{
    struct leadership *s = arg;

    heard(s, r);
    registry_refresh(s->registry);
    if (r->status == STORE_DONE && r->succeeded) {
        gained_ownership(s, &s->done_record, r->revision, r->revision, r->revision);
        finish(s, LEADERSHIP_OK, NULL);
    } else if (r->status == STORE_DONE) {
        finish(s, LEADERSHIP_LOST,
               found(r, s->key_leader) ? "another node took the leader key first"
                                       : "the record was changed meanwhile: deciding anew");
    } else {
        finish(s, LEADERSHIP_UNSURE, r->err ? r->err->text : "no answer");
    }
}

void leadership_acquire(struct leadership *s, uint32_t timeline, leadership_done_fn *done, void *arg)
{
    const struct cluster *c = registry_cluster(s->registry);

    begin(s, done, arg);
    CHECK(s->lease && c);
    if (record_key_is_opaque(&c->record)) {
        finish(s, LEADERSHIP_LOST, "what the record in the store promises is not known here");
        return;
    }
    s->newest_term = c->record.term; /* also in a store that went back: an election there is about what there is now */
    take_over_record(s, &c->record);
    if (timeline > s->done_record.timeline)
        s->done_record.timeline = timeline;
    AUTO(cstr) char *record = record_key_text(&s->done_record);
    struct store_compare compares[] = {
        {.kind = STORE_IF_ABSENT, .key = s->key_leader},
        record_is_at(s, c->record.mod_revision),
    };
    struct store_op ops[] = {
        {.kind = STORE_PUT, .key = s->key_leader, .value = s->name, .lease = s->lease},
        {.kind = STORE_PUT, .key = s->key_record, .value = record},
    };
    struct store_op looks[LOOK_COUNT];
    look(s, looks);
    struct store_txn txn = {.compares = compares,
                            .compare_count = ARRAY_LEN(compares),
                            .then = ops,
                            .then_count = ARRAY_LEN(ops),
                            .otherwise = looks,
                            .otherwise_count = LOOK_COUNT};
    store_txn(s->store, &txn, s->budget_ms, acquired, s);
}

static void released(const struct store_result *r, void *arg)
{
    struct leadership *s = arg;

    heard(s, r);
    registry_refresh(s->registry);
    if (r->status == STORE_DONE && !r->succeeded && refused_for_the_record(s, r)) {
        finish(s, LEADERSHIP_CHANGED, "the record was changed meanwhile: deciding anew");
    } else if (r->status == STORE_DONE) {
        s->was_owner = s->release_doubt = false;
        lost_ownership(s);
        s->owner_revision = r->revision;
        finish(s, r->succeeded ? LEADERSHIP_OK : LEADERSHIP_LOST, r->succeeded ? NULL : "it was not ours any more");
    } else {
        s->release_doubt = true;
        lost_ownership(s);
        finish(s, LEADERSHIP_UNSURE, r->err ? r->err->text : "no answer");
    }
}

/* NULL: the record is not ours to change. free() it. */
static char *release_text(struct leadership *s, bool certain)
{
    AUTO(record_key) struct record_key next = {0};

    if (record_key_is_opaque(&s->record) || (s->record.present && !record_is_ours(s)))
        return NULL;
    record_key_copy(&s->record, &next);
    if (!next.present)
        next.term = s->term;
    next.timeline = s->timeline;
    str_set(&next.leader, s->name);
    next.released = certain;
    next.unfenced = false;
    return record_key_text(&next);
}

void leadership_release(struct leadership *s, leadership_done_fn *done, void *arg)
{
    begin(s, done, arg);
    struct leadership_texts texts = {0};
    s->texts(&texts, s->arg);
    /* Only who has a word of its own to say as a primary can say that nobody serves under the key any more. */
    bool certain = texts.status || !s->reattached;
    AUTO(cstr) char *record = release_text(s, certain);

    struct store_compare compares[] = {still_ours(s), record_is_at(s, s->record.mod_revision)};
    struct store_op ops[3] = {{.kind = STORE_DELETE, .key = s->key_leader}};
    size_t count = 1;
    if (record)
        ops[count++] = (struct store_op){.kind = STORE_PUT, .key = s->key_record, .value = record};
    if (texts.status)
        ops[count++] = (struct store_op){.kind = STORE_PUT, .key = s->key_status, .value = texts.status};
    struct store_op looks[LOOK_COUNT];
    look(s, looks);
    struct store_txn txn = {.compares = compares,
                            .compare_count = record ? 2 : 1,
                            .then = ops,
                            .then_count = count,
                            .otherwise = looks,
                            .otherwise_count = LOOK_COUNT};
    store_txn(s->store, &txn, s->budget_ms, released, s);
}

static void revoked(const struct store_result *r, void *arg)
{
    struct leadership *s = arg;

    lost_lease(s);
    finish(s, r->status == STORE_DONE ? LEADERSHIP_OK : LEADERSHIP_UNSURE, NULL);
}

void leadership_resign(struct leadership *s, leadership_done_fn *done, void *arg)
{
    begin(s, done, arg);
    if (!s->lease) {
        finish(s, LEADERSHIP_OK, NULL);
        return;
    }
    store_lease_revoke(s->store, s->lease, RESIGN_MS, revoked, s); /* the member key goes with it */
}

/* ---- observing ---- */

static void note_setbacks(struct leadership *s)
{
    if (s->setbacks != registry_setbacks(s->registry))
        s->owner_revision = 0;
    s->setbacks = registry_setbacks(s->registry);
}

void leadership_observe(struct leadership *s)
{
    const struct cluster *c = registry_cluster(s->registry);

    note_setbacks(s);
    if (!c || c->revision < s->owner_revision)
        return;
    if (c->record.term > s->newest_term)
        s->newest_term = c->record.term;

    bool ours = s->lease && str_eq(c->leader, s->name) && c->leader_lease == s->lease;
    if (ours && !s->owner && !s->release_doubt && is_of_the_past(s, c)) {
        lost_lease(s); /* kept alive it would keep the key: another one is granted, and this one ends */
        return;
    }
    /* A watch may show the key before the record of the same transaction, which says that it is ours. */
    bool record_to_come = c->record.present && c->record.mod_revision < c->leader_revision &&
                          (!str_eq(c->record.leader, s->name) || c->record.released);
    if (ours && !s->owner && !s->release_doubt && !record_to_come) /* a txn whose answer never came */
        gained_ownership(s, &c->record, c->revision, c->leader_revision, c->record.mod_revision);
    else if (!ours && s->owner)
        lost_ownership(s);
    /* What we wrote since is known by its answer; a picture may be older. */
    bool older = s->owner && c->record.mod_revision && c->record.mod_revision < s->record.mod_revision;
    if (!older && c->record.mod_revision != s->record.mod_revision)
        know_record(s, &c->record, c->record.mod_revision);
    if (ours && c->record.present && str_eq(c->record.leader, s->name) && c->record.term > s->term)
        s->term = c->record.term;
    if (c->leader && !str_eq(c->leader, s->name))
        s->was_owner = false;

    /* Somebody removed our member key, or it vanished with an older lease: publish it again. */
    const struct member *member = cluster_member(c, s->name);
    if (s->wrote_member && !member && s->lease && !s->publishing) {
        free(s->wrote_member);
        s->wrote_member = NULL;
        publish(s, false);
    }
    /* The grant may have been answered before the first reading. */
    if (s->lease && !s->owner && !s->renewing && !s->done)
        (void)reattach(s);
}

void leadership_view(const struct leadership *s, struct ha_lease *ret_lease)
{
    ret_lease->exists = s->lease != 0;
    ret_lease->id = s->lease;
    ret_lease->ttl_ms = s->lease_ttl_ms;
    ret_lease->owner = s->owner;
    ret_lease->was_owner = s->was_owner;
    ret_lease->term = s->term;
    ret_lease->timeline = s->timeline_told;
    ret_lease->renewed_ms = s->renewed_ms;
    ret_lease->deadline_ms = s->owner_deadline_ms;
    ret_lease->unfenced = s->unfenced_told;
    ret_lease->telling = s->recording;
    ret_lease->renewing = s->renewing;
    ret_lease->tried_ms = s->tried_ms;
}

int64_t leadership_lease(const struct leadership *s)
{
    return s->lease;
}

struct leadership *leadership_new(struct loop *l, struct store *store, struct registry *registry, const char *prefix,
                                  const char *name, leadership_texts_fn *texts, leadership_changed_fn *fn, void *arg)
{
    struct leadership *s = mem_zero(1, sizeof(*s));

    s->loop = l;
    s->store = store;
    s->registry = registry;
    s->texts = texts;
    s->fn = fn;
    s->arg = arg;
    s->name = str_dup(name);
    s->sent_failsafe = json_object();
    s->key_leader = str_fmt("%sleader", prefix);
    s->key_record = str_fmt("%spgkeep", prefix);
    s->key_beat = str_fmt("%spgkeep_beat", prefix);
    s->key_member = str_fmt("%smembers/%s", prefix, name);
    s->key_status = str_fmt("%sstatus", prefix);
    s->key_failsafe = str_fmt("%sfailsafe", prefix);
    return s;
}

void leadership_timing(struct leadership *s, msec ttl_ms, msec budget_ms)
{
    s->ttl_ms = ttl_ms;
    s->budget_ms = budget_ms;
}

void leadership_free(struct leadership *s)
{
    if (!s)
        return;
    record_key_deinit(&s->record);
    record_key_deinit(&s->sent);
    record_key_deinit(&s->done_record);
    char *strings[] = {s->name,           s->key_leader,     s->key_record,      s->key_beat,     s->key_member,
                       s->key_status,     s->key_failsafe,   s->wrote_member,    s->wrote_status, s->wrote_failsafe,
                       s->pending_member, s->pending_status, s->pending_failsafe};
    for (size_t i = 0; i < ARRAY_LEN(strings); i++)
        free(strings[i]);
    json_decref(s->sent_failsafe);
    free(s);
}
