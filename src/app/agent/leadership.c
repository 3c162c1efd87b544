#include "app/agent/leadership.h"

#include <stdlib.h>
#include <string.h>

#include "app/agent/registry.h"
#include "base/check.h"
#include "base/str.h"
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
    char *key_leader, *key_record, *key_member, *key_status, *key_failsafe;
    msec ttl_ms, budget_ms;

    int64_t lease;     /* 0: none */
    msec lease_ttl_ms; /* it was granted with this; another ttl needs another lease */
    msec renewed_ms, tried_ms;
    bool renewing, publishing, publish_again, beat_again;
    msec beat_renewed_ms; /* the renewal that the beat under way belongs to; 0: none is under way */

    bool owner, was_owner;
    int64_t owner_revision;  /* readings older than this say nothing about ownership */
    int64_t key_revision;    /* the leader key as we put it: what we write holds only for this ownership */
    int64_t record_revision; /* of the record as we know it; a beat that arrives out of its turn does not count */
    bool reattached;         /* the key was put by an earlier life of this node, which may serve under it elsewhere */
    bool release_doubt;      /* a release whose answer never came may still arrive: the key is put anew first */
    msec owner_deadline_ms;
    term term;
    term newest_term; /* that any record had; a key under an earlier one is of the past */
    unsigned int setbacks;
    uint32_t timeline;      /* what we write into the record */
    uint32_t timeline_sent; /* by the transaction under way */
    uint32_t timeline_told; /* it is there */
    uint64_t beat;
    bool unfenced;      /* what we write into the record */
    bool unfenced_sent; /* by the transaction under way */
    bool unfenced_told; /* it is there: never true while it may not be */

    /* What the store is known to hold, so that only changes are written. */
    char *wrote_member, *wrote_status, *wrote_failsafe;
    int64_t wrote_lease;
    char *pending_member, *pending_status, *pending_failsafe; /* under way */
    json_t *sent_failsafe; /* all that was sent since what is known to be there, and that */

    /* The acquire, release or resign under way. */
    leadership_done_fn *done;
    void *done_arg;
    term done_term;
    uint32_t done_timeline;
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

static void gained_ownership(struct leadership *s, term under, uint32_t timeline, int64_t revision,
                             int64_t key_revision, int64_t record_revision)
{
    s->owner = s->was_owner = true;
    s->reattached = false;
    s->release_doubt = false;
    s->owner_revision = revision;
    s->key_revision = key_revision;
    s->record_revision = record_revision;
    s->unfenced_told = s->unfenced;
    s->owner_deadline_ms = s->renewed_ms + s->lease_ttl_ms;
    s->term = under;
    s->timeline = s->timeline_told = timeline;
}

static char *record_text(struct leadership *s, term under, uint32_t timeline, bool released, bool unfenced)
{
    struct record_key record = {.term = under,
                                .timeline = timeline,
                                .leader = s->name,
                                .released = released,
                                .unfenced = unfenced,
                                .beat = ++s->beat};

    return record_key_text(&record);
}

/*
 * What is sent under one ownership must not count under a later one of ours: a request may arrive long after we have
 * given up waiting for its answer. Nobody but us writes the key while it is ours, and we do so once.
 */
static struct store_compare still_ours(const struct leadership *s)
{
    return (struct store_compare){.kind = STORE_IF_MOD_REVISION, .key = s->key_leader, .revision = s->key_revision};
}

static struct store_compare record_as_known(const struct leadership *s)
{
    if (!s->record_revision)
        return (struct store_compare){.kind = STORE_IF_ABSENT, .key = s->key_record};
    return (struct store_compare){.kind = STORE_IF_MOD_REVISION, .key = s->key_record, .revision = s->record_revision};
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

static void publish_done(const struct store_result *r, void *arg)
{
    struct leadership *s = arg;
    bool as_owner = s->pending_status != NULL || s->pending_failsafe != NULL;

    s->publishing = false;
    heard(s, r);
    if (r->status == STORE_DONE && r->succeeded) {
        /* Only now is it proved that the key was still ours after that renewal. */
        if (s->beat_renewed_ms && s->owner)
            s->owner_deadline_ms = msec_max(s->owner_deadline_ms, s->beat_renewed_ms + s->lease_ttl_ms);
        if (s->beat_renewed_ms && s->owner) {
            s->unfenced_told = s->unfenced_sent && s->unfenced;
            s->timeline_told = s->timeline_sent;
            s->record_revision = r->revision;
        }
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
        if (r->status == STORE_DONE && as_owner) {
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

/* `beat`: a renewal; the record says that its owner lives. */
static void publish(struct leadership *s, bool beat)
{
    struct leadership_texts texts = {0};
    struct store_op ops[OPS_MAX];
    size_t count = 0;
    char *record = NULL;

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
        if (texts.timeline > s->timeline) /* PostgreSQL knew of more than the store did */
            s->timeline = texts.timeline;
        record = record_text(s, s->term, s->timeline, false, s->unfenced);
        s->unfenced_sent = s->unfenced;
        s->timeline_sent = s->timeline;
        ops[count++] = (struct store_op){.kind = STORE_PUT, .key = s->key_record, .value = record};
    }
    if (count) {
        struct store_compare ours[] = {still_ours(s), record_as_known(s)};
        struct store_txn txn = {.compares = ours,
                                .compare_count = !s->owner ? 0
                                                 : record  ? 2
                                                           : 1,
                                .then = ops,
                                .then_count = count};
        s->publishing = true;
        store_txn(s->store, &txn, s->budget_ms, publish_done, s);
    }
    free(record);
}

void leadership_tell(struct leadership *s, bool unfenced)
{
    s->unfenced = unfenced;
    if (!unfenced)
        s->unfenced_told = false;
    publish(s, true);
}

void leadership_take_timeline(struct leadership *s, uint32_t timeline)
{
    s->timeline = timeline;
    publish(s, true);
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
        gained_ownership(s, s->done_term, s->done_timeline, r->revision, r->revision, r->revision);
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

    bool continued = c->record.present && str_eq(c->record.leader, s->name);
    term under = continued ? c->record.term : c->record.term + 1;
    s->unfenced = continued && c->record.unfenced;
    char *record = record_text(s, under, c->record.timeline, false, s->unfenced);
    struct store_compare same[] = {
        {.kind = STORE_IF_VALUE, .key = s->key_leader, .value = s->name},
        {.kind = STORE_IF_MOD_REVISION, .key = s->key_leader, .revision = c->leader_revision},
    };
    struct store_op ops[] = {
        {.kind = STORE_PUT, .key = s->key_leader, .value = s->name, .lease = s->lease},
        {.kind = STORE_PUT, .key = s->key_record, .value = record},
    };
    struct store_txn txn = {.compares = same, .compare_count = 2, .then = ops, .then_count = 2};

    s->done_term = under;
    s->done_timeline = c->record.timeline;
    s->renewing = true;
    store_txn(s->store, &txn, s->budget_ms, reattach_done, s);
    free(record);
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
        gained_ownership(s, s->done_term, s->done_timeline, r->revision, r->revision, r->revision);
        finish(s, LEADERSHIP_OK, NULL);
    } else if (r->status == STORE_DONE) {
        finish(s, LEADERSHIP_LOST, "another node took the leader key first");
    } else {
        finish(s, LEADERSHIP_UNSURE, r->err ? r->err->text : "no answer");
    }
}

void leadership_acquire(struct leadership *s, uint32_t timeline, leadership_done_fn *done, void *arg)
{
    const struct cluster *c = registry_cluster(s->registry);

    begin(s, done, arg);
    CHECK(s->lease && c);
    s->newest_term = c->record.term; /* also in a store that went back: an election there is about what there is now */
    s->done_term = c->record.term + 1;
    s->done_timeline = timeline > c->record.timeline ? timeline : c->record.timeline;
    s->unfenced = false;
    char *record = record_text(s, s->done_term, s->done_timeline, false, s->unfenced);
    struct store_compare compares[] = {
        {.kind = STORE_IF_ABSENT, .key = s->key_leader},
        c->record.mod_revision ? (struct store_compare){.kind = STORE_IF_MOD_REVISION,
                                                        .key = s->key_record,
                                                        .revision = c->record.mod_revision}
                               : (struct store_compare){.kind = STORE_IF_ABSENT, .key = s->key_record},
    };
    struct store_op ops[] = {
        {.kind = STORE_PUT, .key = s->key_leader, .value = s->name, .lease = s->lease},
        {.kind = STORE_PUT, .key = s->key_record, .value = record},
    };
    struct store_txn txn = {.compares = compares, .compare_count = 2, .then = ops, .then_count = 2};
    store_txn(s->store, &txn, s->budget_ms, acquired, s);
    free(record);
}

static void released(const struct store_result *r, void *arg)
{
    struct leadership *s = arg;

    heard(s, r);
    registry_refresh(s->registry);
    if (r->status == STORE_DONE) {
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

void leadership_release(struct leadership *s, leadership_done_fn *done, void *arg)
{
    begin(s, done, arg);
    struct leadership_texts texts = {0};
    s->texts(&texts, s->arg);
    /* Only who has a word of its own to say as a primary can say that nobody serves under the key any more. */
    bool certain = texts.status || !s->reattached;
    char *record = record_text(s, s->term, s->timeline, certain, false);

    struct store_compare ours = still_ours(s);
    struct store_op ops[] = {
        {.kind = STORE_DELETE, .key = s->key_leader},
        {.kind = STORE_PUT, .key = s->key_record, .value = record},
        {.kind = STORE_PUT, .key = s->key_status, .value = texts.status},
    };
    struct store_txn txn = {.compares = &ours, .compare_count = 1, .then = ops, .then_count = texts.status ? 3 : 2};
    store_txn(s->store, &txn, s->budget_ms, released, s);
    free(record);
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
    if (ours && !s->owner && !s->release_doubt) { /* a txn whose answer never came */
        s->unfenced = c->record.present && str_eq(c->record.leader, s->name) && c->record.unfenced;
        gained_ownership(s, c->record.present ? c->record.term : 0, c->record.timeline, c->revision, c->leader_revision,
                         c->record.mod_revision);
    } else if (!ours && s->owner) {
        lost_ownership(s);
    }
    if (ours && s->owner && c->record.mod_revision > s->record_revision)
        s->record_revision = c->record.mod_revision; /* a beat whose answer never came */
    /* A watch may show the key before the record of the same transaction. */
    if (ours && c->record.present && str_eq(c->record.leader, s->name) && c->record.term > s->term) {
        s->term = c->record.term;
        s->timeline = s->timeline_told = c->record.timeline;
    }
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
    ret_lease->telling = s->publishing;
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
    char *strings[] = {s->name,           s->key_leader,     s->key_record,     s->key_member,
                       s->key_status,     s->key_failsafe,   s->wrote_member,   s->wrote_status,
                       s->wrote_failsafe, s->pending_member, s->pending_status, s->pending_failsafe};
    for (size_t i = 0; i < ARRAY_LEN(strings); i++)
        free(strings[i]);
    json_decref(s->sent_failsafe);
    free(s);
}
