#include "app/agent/leadership.h"

#include <stdlib.h>

#include "app/agent/lease.h"
#include "app/agent/record_cas.h"
#include "app/agent/registry.h"
#include "base/check.h"
#include "base/fault.h"
#include "base/mutant.h"
#include "base/str.h"
#include "io/log.h"
#include "store/store.h"

enum {
    RESIGN_MS = 2000, /* at the end of the program; a store that is away lets the lease end by itself */
};

struct leadership {
    struct registry *registry;
    struct lease *lease;
    struct keys *keys;
    keys_texts_fn *texts;
    leadership_changed_fn *fn;
    void *arg;
    char *name;
    char *key_leader, *key_record, *key_sync, *key_status;
    msec budget_ms;

    bool owner, was_owner;
    int64_t owner_revision; /* readings older than this say nothing about ownership */
    int64_t key_revision;   /* the leader key as we put it: what we write holds only for this ownership */
    bool reattached;        /* the key was put by an earlier life of this node, which may serve under it elsewhere */
    bool release_doubt;     /* a release whose answer never came may still arrive: the key is put anew first */
    term term;
    term newest_term; /* that any record had; a key under an earlier one is of the past */
    unsigned int setbacks;

    /* The record as it is in the store, as far as is known, and what the leader of asynchronous mode wants in it. */
    struct record_key record;
    struct record_cas tell;
    bool tell_again;
    int64_t told_under;     /* key_revision of the change under way */
    bool record_due;        /* it does not say what we want, or may not: changed again with the next renewal */
    uint32_t timeline;      /* what we want in it */
    uint32_t timeline_told; /* it is there */
    bool unfenced;          /* what we want in it */
    bool unfenced_told;     /* it is there: never true while it may not be */
    bool told_opaque;

    /* The key of an earlier life, being put on our lease. */
    struct record_cas reattach;
    struct record_key reattach_record; /* as it is when that is done, where it is not written */

    /* The acquire, release, change or resign under way. */
    struct record_cas transition;
    leadership_done_fn *done;
    void *done_arg;
    bool takes, drops;       /* a change: the leader key */
    uint64_t reading_ticket; /* what became of the last change that reading will show; 0: it is known */
    int64_t shown_revision;  /* or any picture from this revision on; 0: no change yet */
    int64_t sure_revision;   /* of the record as our last change left it, known for sure; 0: not so */

    /* The peer lease: as the record has it, as long as it is known to be ours and no longer; kept where it is not. */
    struct record_electorate electorate;
    /* Of a change that may still be carried out, over the record of doubt_revision. */
    struct record_electorate doubt;
    int64_t doubt_revision;
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

static const char *error_of(const struct store_result *r)
{
    return r->err ? r->err->text : "no answer";
}

static void heard(struct leadership *s, const struct store_result *r)
{
    if (is_outage(r))
        registry_unheard(s->registry, error_of(r));
    else
        registry_heard(s->registry);
}

/* ---- ownership ---- */

static void lost_ownership(struct leadership *s)
{
    s->owner = false;
    keys_forget_leader(s->keys);
}

/* The answer says that the key is not ours; an older picture may still show it. */
static void refused_ownership(struct leadership *s, int64_t revision)
{
    lost_ownership(s);
    s->owner_revision = revision;
}

static void lost_lease(struct leadership *s)
{
    lease_forget(s->lease);
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

    s->unfenced_told = unfenced_there && (s->unfenced_told || !s->tell.busy);
    if (ours) {
        s->timeline_told = s->record.timeline;
        s->timeline = s->record.timeline > s->timeline ? s->record.timeline : s->timeline;
    }
    if (s->tell.busy)
        return;
    bool differs = s->record.timeline != s->timeline || s->record.unfenced != s->unfenced;
    s->record_due = s->owner && (ours ? differs : !s->record.present); /* another's is not ours to change */
}

/*
 * That a record has no electorate says that nobody can take over by one only while the record is of our own reign:
 * who deposed us left none either.
 */
static void compare_electorate(struct leadership *s)
{
    const struct record_key *r = &s->record;

    if (s->doubt.count && r->mod_revision > s->doubt_revision)
        record_electorate_deinit(&s->doubt);
    if (!s->owner || !record_is_ours(s) || r->released || r->term != s->term)
        return;
    record_electorate_deinit(&s->electorate);
    record_electorate_copy(&r->electorate, &s->electorate);
}

static void know_record(struct leadership *s, const struct record_key *record)
{
    struct record_key copy;
    char why[RECORD_WHY_MAX];

    record_key_copy(record, &copy);
    record_key_deinit(&s->record);
    s->record = copy;
    if (record_key_is_opaque(&s->record) && !s->told_opaque)
        log_critical("record.opaque",
                     "the record in the store (pgkeep) %s: this node does not become primary, and leaves it as it is",
                     record_key_why_opaque(&s->record, why));
    s->told_opaque = record_key_is_opaque(&s->record);
    compare_record(s);
    compare_electorate(s);
}

/*
 * The record is as of the moment that the key is known to be ours; revision: of the store then. An answer may come when
 * what it tells has been seen, used and given up already: nothing that is older than what is known of the key counts.
 */
static void gained_ownership(struct leadership *s, const struct record_key *record, int64_t revision,
                             int64_t key_revision)
{
    if (revision < s->owner_revision)
        return;
    s->owner = s->was_owner = true;
    s->reattached = false;
    s->release_doubt = false;
    s->owner_revision = revision;
    s->key_revision = key_revision;
    lease_hold(s->lease);
    s->term = record->term;
    s->unfenced = s->unfenced_told = record->unfenced && str_eq(record->leader, s->name);
    s->timeline = s->timeline_told = record->timeline;
    know_record(s, record);
}

/* ---- the record, as the leader of asynchronous mode ---- */

static void write_record(struct leadership *s);

static void told(const struct cas_result *r, void *arg)
{
    struct leadership *s = arg;
    bool same_ownership = s->owner && s->key_revision == s->told_under;

    FAULT_POINT("leadership.told");
    heard(s, r->answer);
    switch (r->outcome) {
    case CAS_DONE:
        if (r->revision > s->record.mod_revision)
            know_record(s, r->record);
        else
            compare_record(s);
        break;
    case CAS_OTHER_RECORD:
        if (same_ownership)
            know_record(s, r->record);
        registry_refresh(s->registry);
        break;
    case CAS_OTHER_KEY:
        if (same_ownership)
            refused_ownership(s, r->revision);
        registry_refresh(s->registry);
        break;
    case CAS_UNSURE: /* it stays due */
        registry_refresh(s->registry);
        break;
    }
    if (s->tell_again)
        write_record(s);
    changed(s);
}

/*
 * Change what differs in the record, if it is as we know it. In quorum mode it changes by the plan's word alone:
 * whoever coordinates must not find it changed by a leader that is being replaced.
 */
static void write_record(struct leadership *s)
{
    AUTO(record_key) struct record_key next = {0};

    if (s->tell.busy) {
        s->tell_again = true;
        return;
    }
    s->tell_again = false;
    bool others = s->record.present && !record_is_ours(s);
    if (!s->owner || !s->record_due || others || record_key_is_opaque(&s->record) || s->record.mode == RECORD_QUORUM)
        return;

    record_key_copy(&s->record, &next);
    if (!next.present) { /* somebody removed it */
        next.present = true;
        next.term = s->term;
        str_set(&next.leader, s->name);
    }
    next.timeline = s->timeline;
    next.unfenced = s->unfenced;
    if (next.unfenced) /* that there is an electorate says that the guard is armed */
        record_key_drop_electorate(&next);
    struct cas_change change = {
        .next = &next, .record_revision = s->record.mod_revision, .key = CAS_KEY_OURS, .key_revision = s->key_revision};
    s->told_under = s->key_revision;
    cas_begin(&s->tell, &change, s->budget_ms, told, s);
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

/* ---- publishing ---- */

static void stand(struct keys_stand *ret_stand, void *arg)
{
    const struct leadership *s = arg;

    *ret_stand = (struct keys_stand){
        .lease = lease_id(s->lease),
        .key_revision = s->owner ? s->key_revision : 0,
        .renewed_ms = lease_renewed_ms(s->lease),
    };
}

static void published(const struct keys_result *r, void *arg)
{
    struct leadership *s = arg;
    bool same_ownership = s->owner && s->key_revision == r->key_revision;

    heard(s, r->answer);
    switch (r->outcome) {
    case KEYS_WRITTEN:
        /* Only now is it proved that the key was still ours after that renewal. */
        if (r->beat_renewed_ms && same_ownership)
            lease_prove(s->lease, r->beat_renewed_ms);
        break;
    case KEYS_REFUSED:
        if (same_ownership)
            refused_ownership(s, r->answer->revision);
        registry_refresh(s->registry);
        break;
    case KEYS_UNSURE:
        registry_refresh(s->registry);
        break;
    }
    changed(s);
}

void leadership_publish(struct leadership *s)
{
    keys_publish(s->keys, false, s->budget_ms);
}

/* After a renewal. */
static void publish_beat(struct leadership *s)
{
    keys_publish(s->keys, true, s->budget_ms);
    if (s->owner && keys_timeline(s->keys) > s->timeline) { /* PostgreSQL knew of more than the store did */
        s->timeline = keys_timeline(s->keys);
        s->record_due = true;
    }
    write_record(s);
}

/* ---- the lease ---- */

static bool is_of_the_past(const struct leadership *s, const struct cluster *c)
{
    return c->record.term < s->newest_term;
}

static void reattached(const struct cas_result *r, void *arg)
{
    struct leadership *s = arg;

    FAULT_POINT("leadership.reattached");
    heard(s, r->answer);
    if (r->outcome == CAS_DONE)
        gained_ownership(s, r->record ? r->record : &s->reattach_record, r->revision, r->revision);
    else
        registry_refresh(s->registry);
    s->reattached = s->owner;
    publish_beat(s);
    changed(s);
}

/* The record of our next ownership, over what there is. deinit() it. */
static void take_over_record(const struct leadership *s, const struct record_key *now, struct record_key *ret_next)
{
    record_key_copy(now, ret_next);
    ret_next->present = true;
    ret_next->term = now->term + 1;
    str_set(&ret_next->leader, s->name);
    ret_next->released = ret_next->unfenced = ret_next->deposed = false;
    record_key_drop_electorate(ret_next);
}

/*
 * The leader key carries our name but hangs on a lease of an earlier life of this agent (or of another
 * ttl). Nobody else can have taken it, so it is put on this one. Also after a release in doubt: once put anew, the
 * key is another than the one that the release would take away.
 */
static bool reattach(struct leadership *s)
{
    const struct cluster *c = registry_cluster(s->registry);
    AUTO(record_key) struct record_key next = {0};

    bool as_it_should = c && c->leader_lease == lease_id(s->lease) && !s->release_doubt;
    if (!c || registry_past(s->registry) || !str_eq(c->leader, s->name) || as_it_should || s->owner ||
        is_of_the_past(s, c))
        return false;
    bool continued = c->record.present && str_eq(c->record.leader, s->name);
    bool by_quorum = c->record.mode == RECORD_QUORUM; /* the record says who leads, and the key follows it */
    if (record_key_is_opaque(&c->record) || (by_quorum && !continued))
        return false;

    take_over_record(s, &c->record, &next);
    if (continued) {
        next.term = c->record.term;
        next.unfenced = c->record.unfenced;
    }
    record_key_deinit(&s->reattach_record);
    record_key_copy(&c->record, &s->reattach_record);
    struct cas_change change = {.next = by_quorum ? NULL : &next,
                                .record_revision = c->record.mod_revision,
                                .key = CAS_KEY_RENEW,
                                .key_revision = c->leader_revision,
                                .lease = lease_id(s->lease)};
    cas_begin(&s->reattach, &change, s->budget_ms, reattached, s);
    return true;
}

static void lease_event(enum lease_event event, const struct store_result *answer, void *arg)
{
    struct leadership *s = arg;

    heard(s, answer);
    switch (event) {
    case LEASE_GRANTED:
        lost_ownership(s); /* an older lease of ours may still carry the key: reattach() sees to it */
        if (!reattach(s))
            leadership_publish(s);
        break;
    case LEASE_KEPT:
        if (MUTANT(DEADLINE_WITHOUT_PROOF) && s->owner)
            lease_hold(s->lease);
        if (!reattach(s))
            publish_beat(s);
        break;
    case LEASE_LOST:
        lost_ownership(s);
        registry_refresh(s->registry);
        break;
    case LEASE_SILENT:
        break;
    }
    changed(s);
}

static bool is_renewing(const struct leadership *s)
{
    return lease_is_renewing(s->lease) || s->reattach.busy;
}

void leadership_renew(struct leadership *s)
{
    if (!is_renewing(s))
        lease_renew(s->lease);
}

/* ---- acquire, release, change, resign ---- */

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

static void acquired(const struct cas_result *r, void *arg)
{
    struct leadership *s = arg;

    FAULT_POINT("leadership.acquired");
    heard(s, r->answer);
    registry_refresh(s->registry);
    switch (r->outcome) {
    case CAS_DONE:
        gained_ownership(s, r->record, r->revision, r->revision);
        if (s->owner)
            finish(s, LEADERSHIP_OK, NULL);
        else
            finish(s, LEADERSHIP_LOST, "the leader key was ours, and is not any more");
        break;
    case CAS_OTHER_KEY:
        finish(s, LEADERSHIP_LOST, "another node took the leader key first");
        break;
    case CAS_OTHER_RECORD:
        finish(s, LEADERSHIP_CHANGED, "the record was changed meanwhile: deciding anew");
        break;
    case CAS_UNSURE:
        finish(s, LEADERSHIP_UNSURE, error_of(r->answer));
        break;
    }
}

void leadership_acquire(struct leadership *s, uint32_t timeline, term above, leadership_done_fn *done, void *arg)
{
    const struct cluster *c = registry_cluster(s->registry);
    AUTO(record_key) struct record_key next = {0};

    begin(s, done, arg);
    CHECK(lease_id(s->lease));
    CHECK(c);
    if (record_key_is_opaque(&c->record)) {
        finish(s, LEADERSHIP_LOST, "what the record in the store promises is not known here");
        return;
    }
    s->newest_term = c->record.term; /* also in a store that went back: an election there is about what there is now */
    take_over_record(s, &c->record, &next);
    if (next.term <= above)
        next.term = above + 1;
    if (timeline > next.timeline && !MUTANT(TIMELINE_NOT_TAKEN))
        next.timeline = timeline;
    struct cas_change change = {
        .next = &next, .record_revision = c->record.mod_revision, .key = CAS_KEY_TAKE, .lease = lease_id(s->lease)};
    cas_begin(&s->transition, &change, s->budget_ms, acquired, s);
}

static void gave_up(struct leadership *s, int64_t revision)
{
    s->was_owner = s->release_doubt = false;
    refused_ownership(s, revision);
}

static void released(const struct cas_result *r, void *arg)
{
    struct leadership *s = arg;

    FAULT_POINT("leadership.released");
    heard(s, r->answer);
    registry_refresh(s->registry);
    switch (r->outcome) {
    case CAS_DONE:
        gave_up(s, r->revision);
        finish(s, LEADERSHIP_OK, NULL);
        break;
    case CAS_OTHER_KEY:
        gave_up(s, r->revision);
        finish(s, LEADERSHIP_LOST, "it was not ours any more");
        break;
    case CAS_OTHER_RECORD:
        know_record(s, r->record);
        finish(s, LEADERSHIP_CHANGED, "the record was changed meanwhile: deciding anew");
        break;
    case CAS_UNSURE:
        s->release_doubt = true;
        lost_ownership(s);
        finish(s, LEADERSHIP_UNSURE, error_of(r->answer));
        break;
    }
}

void leadership_release(struct leadership *s, leadership_done_fn *done, void *arg)
{
    struct keys_texts texts = {0};
    AUTO(record_key) struct record_key next = {0};

    begin(s, done, arg);
    s->texts(&texts, s->arg);
    /* Only who has a word of its own to say as a primary can say that nobody serves under the key any more. */
    bool certain = texts.status || !s->reattached;
    bool writes = !record_key_is_opaque(&s->record) && (!s->record.present || record_is_ours(s));

    record_key_copy(&s->record, &next);
    if (!next.present)
        next.term = s->term;
    next.timeline = s->timeline;
    str_set(&next.leader, s->name);
    next.released = certain;
    next.unfenced = next.deposed = false;
    record_key_drop_electorate(&next);
    struct cas_change change = {.next = writes ? &next : NULL,
                                .record_revision = writes ? s->record.mod_revision : CAS_ANY_REVISION,
                                .key = CAS_KEY_GIVE_UP,
                                .key_revision = s->key_revision,
                                .status = texts.status};
    cas_begin(&s->transition, &change, s->budget_ms, released, s);
}

static void change_done(const struct cas_result *r, void *arg)
{
    struct leadership *s = arg;

    FAULT_POINT("leadership.changed");
    heard(s, r->answer);
    if (r->outcome != CAS_UNSURE)
        record_electorate_deinit(&s->doubt);
    s->reading_ticket = registry_read_anew(s->registry);
    switch (r->outcome) {
    case CAS_DONE:
        s->reading_ticket = 0;
        s->shown_revision = s->sure_revision = r->revision;
        if (s->drops)
            gave_up(s, r->revision);
        if (s->takes)
            gained_ownership(s, r->record, r->revision, r->revision);
        else
            know_record(s, r->record);
        finish(s, LEADERSHIP_OK, NULL);
        break;
    case CAS_OTHER_KEY:
        finish(s, LEADERSHIP_LOST,
               s->takes ? "there is a leader key already" : "the leader key is another's, or was put anew");
        break;
    case CAS_OTHER_RECORD:
        know_record(s, r->record);
        finish(s, LEADERSHIP_LOST, "the record was changed meanwhile");
        break;
    case CAS_UNSURE:
        s->release_doubt |= s->drops && s->owner;
        if (s->drops)
            lost_ownership(s);
        finish(s, LEADERSHIP_UNSURE, error_of(r->answer));
        break;
    }
}

/* It makes others able to take over from us; from before it is sent we have to obey it. */
static bool begins_electorate(const struct leadership *s, const struct ha_record_change *change)
{
    return change->next.electorate.count && str_eq(change->next.leader, s->name);
}

static void doubt_electorate(struct leadership *s, const struct ha_record_change *change)
{
    const struct record_electorate *e = &change->next.electorate;

    CHECK(!s->doubt.count || record_electorate_equal(&s->doubt, e)); /* another could be carried out before this one */
    record_electorate_deinit(&s->doubt);
    record_electorate_copy(e, &s->doubt);
    s->doubt_revision = change->expected_revision;
}

void leadership_change(struct leadership *s, const struct ha_record_change *change, leadership_done_fn *done, void *arg)
{
    struct keys_texts texts = {0};
    bool begins = begins_electorate(s, change);

    begin(s, done, arg);
    CHECK(!(change->take_leader_key && change->drop_leader_key));
    if (leadership_reads_back(s)) {
        finish(s, LEADERSHIP_LOST, "what became of the last change is not known yet");
        return;
    }
    if (change->own_leader_key && !s->owner) {
        finish(s, LEADERSHIP_LOST, "the leader key is not ours");
        return;
    }
    if (change->take_leader_key && !lease_id(s->lease)) {
        finish(s, LEADERSHIP_LOST, "there is no lease");
        return;
    }
    if (begins && !s->owner) {
        finish(s, LEADERSHIP_LOST, "the leader key is not ours any more");
        return;
    }
    s->sure_revision = 0;
    s->takes = change->take_leader_key;
    s->drops = change->drop_leader_key && !change->drops_as_read;
    if (begins) {
        doubt_electorate(s, change);
        FAULT_POINT("leadership.begins");
    }
    if (s->owner && s->drops) /* the last word of who led */
        s->texts(&texts, s->arg);
    struct cas_change all = {.next = &change->next,
                             .record_revision = change->expected_revision,
                             .key = s->takes                           ? CAS_KEY_TAKE
                                    : change->drops_as_read            ? CAS_KEY_GIVE_UP
                                    : s->drops                         ? CAS_KEY_DROP
                                    : change->own_leader_key || begins ? CAS_KEY_OURS
                                                                       : CAS_KEY_ANY,
                             .key_revision = change->drops_as_read ? change->drop_revision : s->key_revision,
                             .lease = lease_id(s->lease),
                             .sync = change->sync,
                             .status = texts.status};
    cas_begin(&s->transition, &all, s->budget_ms, change_done, s);
}

bool leadership_reads_back(const struct leadership *s)
{
    const struct cluster *c = registry_cluster(s->registry);

    if (MUTANT(RECORD_NOT_READ_BACK))
        return false;
    if (s->reading_ticket && !registry_has_read(s->registry, s->reading_ticket))
        return true;
    return s->shown_revision && (!c || c->revision < s->shown_revision);
}

int64_t leadership_sure_revision(const struct leadership *s)
{
    return s->sure_revision;
}

static void revoked(const struct store_result *r, void *arg)
{
    struct leadership *s = arg;

    lost_ownership(s);
    finish(s, r->status == STORE_DONE ? LEADERSHIP_OK : LEADERSHIP_UNSURE, NULL);
}

void leadership_resign(struct leadership *s, leadership_done_fn *done, void *arg)
{
    begin(s, done, arg);
    if (!lease_id(s->lease)) {
        finish(s, LEADERSHIP_OK, NULL);
        return;
    }
    lease_revoke(s->lease, RESIGN_MS, revoked); /* the member key goes with it */
}

/* ---- observing ---- */

/* No revision of before means anything in a store that went back. */
static void note_setbacks(struct leadership *s)
{
    if (s->setbacks != registry_setbacks(s->registry))
        s->owner_revision = s->shown_revision = 0;
    s->setbacks = registry_setbacks(s->registry);
}

/* Ownership by the picture. False: it is of the past, and nothing of it counts. */
static bool observe_ownership(struct leadership *s, const struct cluster *c)
{
    bool ours = lease_id(s->lease) && str_eq(c->leader, s->name) &&
                (c->leader_lease == lease_id(s->lease) || MUTANT(OWNER_BY_NAME));

    if (ours && !s->owner && !s->release_doubt && is_of_the_past(s, c)) {
        lost_lease(s); /* kept alive it would keep the key: another one is granted, and this one ends */
        return false;
    }
    /* A watch may show the key before the record of the same transaction, which says that it is ours. */
    bool record_to_come = c->record.present && c->record.mod_revision < c->leader_revision &&
                          (!str_eq(c->record.leader, s->name) || c->record.released);
    if (ours && !s->owner && !s->release_doubt && !record_to_come) /* a txn whose answer never came */
        gained_ownership(s, &c->record, c->revision, c->leader_revision);
    else if (!ours && s->owner)
        refused_ownership(s, c->revision);
    /* What we wrote since is known by its answer; a picture may be older. */
    bool older = s->owner && c->record.mod_revision && c->record.mod_revision < s->record.mod_revision;
    if (!older && c->record.mod_revision != s->record.mod_revision)
        know_record(s, &c->record);
    /* A coordinator's term is its own until it has elected us. */
    if (ours && c->record.phase != RECORD_TERM && str_eq(c->record.leader, s->name) && c->record.term > s->term)
        s->term = c->record.term;
    if (c->leader && !str_eq(c->leader, s->name))
        s->was_owner = false;
    return true;
}

void leadership_observe(struct leadership *s)
{
    const struct cluster *c = registry_cluster(s->registry);

    note_setbacks(s);
    if (!c || c->revision < s->owner_revision)
        return;
    if (c->record.term > s->newest_term)
        s->newest_term = c->record.term;
    if (!observe_ownership(s, c))
        return;
    keys_observe(s->keys, c, s->budget_ms);
    /* The grant may have been answered before the first reading. */
    if (lease_id(s->lease) && !s->owner && !is_renewing(s) && !s->done)
        (void)reattach(s);
}

/* ---- the outside ---- */

json_t *leadership_failsafe(const struct leadership *s)
{
    return keys_failsafe(s->keys, registry_cluster(s->registry));
}

void leadership_view(const struct leadership *s, struct ha_lease *ret_lease)
{
    ret_lease->exists = lease_id(s->lease) != 0;
    ret_lease->id = lease_id(s->lease);
    ret_lease->ttl_ms = lease_ttl_ms(s->lease);
    ret_lease->owner = s->owner;
    ret_lease->was_owner = s->was_owner;
    ret_lease->term = s->term;
    ret_lease->timeline = s->timeline_told;
    ret_lease->renewed_ms = lease_renewed_ms(s->lease);
    ret_lease->deadline_ms = lease_deadline_ms(s->lease);
    ret_lease->unfenced = s->unfenced_told;
    ret_lease->telling = s->tell.busy;
    ret_lease->renewing = is_renewing(s);
    ret_lease->tried_ms = lease_tried_ms(s->lease);
    ret_lease->electorate = s->electorate.count ? &s->electorate : NULL;
    ret_lease->electorate_doubt = s->doubt.count ? &s->doubt : NULL;
}

int64_t leadership_lease(const struct leadership *s)
{
    return lease_id(s->lease);
}

struct leadership *leadership_new(struct store *store, struct registry *registry, const char *prefix, const char *name,
                                  keys_texts_fn *texts, leadership_changed_fn *fn, void *arg)
{
    struct leadership *s = mem_zero(1, sizeof(*s));

    s->registry = registry;
    s->texts = texts;
    s->fn = fn;
    s->arg = arg;
    s->name = str_dup(name);
    s->key_leader = str_fmt("%sleader", prefix);
    s->key_record = str_fmt("%spgkeep", prefix);
    s->key_sync = str_fmt("%ssync", prefix);
    s->key_status = str_fmt("%sstatus", prefix);
    const struct cas_keys keys = {s->name, s->key_leader, s->key_record, s->key_sync, s->key_status};
    cas_init(&s->tell, store, &keys);
    cas_init(&s->reattach, store, &keys);
    cas_init(&s->transition, store, &keys);
    s->lease = lease_new(store, lease_event, s);
    s->keys = keys_new(store, prefix, name, s->key_leader);
    keys_connect(s->keys, texts, arg, stand, published, s);
    return s;
}

void leadership_timing(struct leadership *s, msec ttl_ms, msec budget_ms)
{
    s->budget_ms = budget_ms;
    lease_timing(s->lease, ttl_ms, budget_ms);
}

void leadership_free(struct leadership *s)
{
    if (!s)
        return;
    cas_deinit(&s->tell);
    cas_deinit(&s->reattach);
    cas_deinit(&s->transition);
    record_key_deinit(&s->record);
    record_key_deinit(&s->reattach_record);
    record_electorate_deinit(&s->electorate);
    record_electorate_deinit(&s->doubt);
    lease_free(s->lease);
    keys_free(s->keys);
    free(s->name);
    free(s->key_leader);
    free(s->key_record);
    free(s->key_sync);
    free(s->key_status);
    free(s);
}
