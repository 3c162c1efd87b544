/*
 * Our lease in the store, and the leader key that hangs on it.
 *
 * One lease per node carries the member key and, on the leader, the leader key. A renewal is one
 * keepalive and, on the leader, one transaction that is conditional on the leader key still being
 * ours: beat, status and what else changed. Times count from before a request was sent.
 *
 * The record changes on transitions only, and each change of it compares its revision. That it is another than we knew
 * says nothing about the leader key: a refused change reads both back.
 *
 * Ownership is believed only on the word of a transaction or of a reading: an answer that never came
 * leaves it as it was and asks the registry to look.
 *
 * A store may be put back to an earlier state. Whose the key was then says nothing about who should lead now: a key
 * under an earlier term than one that was read is left to end, also where it carries our name.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/auto.h"
#include "core/ha/view.h"

struct loop;
struct store;
struct registry;
struct leadership;

/* What is written with the next renewal or on change; strings are copied. */
struct leadership_texts {
    const char *member;   /* members/<name>; never NULL */
    const char *status;   /* leader: status; NULL: leave alone */
    const char *failsafe; /* leader: failsafe; NULL: leave alone; "": delete */
    uint32_t timeline;    /* that PostgreSQL here is primary on; 0: it is none */
};

typedef void leadership_changed_fn(void *arg);
/* Asked right before a renewal writes: what to publish. */
typedef void leadership_texts_fn(struct leadership_texts *ret_texts, void *arg);

struct leadership *leadership_new(struct loop *l, struct store *store, struct registry *registry, const char *prefix,
                                  const char *name, leadership_texts_fn *texts, leadership_changed_fn *fn, void *arg);
/* After store_free(). */
void leadership_free(struct leadership *s);
AUTO_DEFINE(leadership, struct leadership, leadership_free)

void leadership_timing(struct leadership *s, msec ttl_ms, msec budget_ms);

/* HA_DO_RENEW: grant if there is no lease, else keep it alive; then publish what changed. */
void leadership_renew(struct leadership *s);
/* The record says from now on whether our fence is off; lease.unfenced once it is known to be there. */
void leadership_tell(struct leadership *s, bool unfenced);
/* The record has this number from now on; lease.timeline once it is known to be there. */
void leadership_take_timeline(struct leadership *s, uint32_t timeline);
/* Publish now if something changed, without waiting for the next renewal. */
void leadership_publish(struct leadership *s);

/* CHANGED: the record was another than we knew; nothing was done, and it is known now. */
enum leadership_result { LEADERSHIP_OK, LEADERSHIP_LOST, LEADERSHIP_CHANGED, LEADERSHIP_UNSURE };
typedef void leadership_done_fn(enum leadership_result result, const char *why, void *arg);

/*
 * Create the leader key, and take a timeline's number in the record. OK: we own it from now on. UNSURE: the registry
 * will tell.
 */
void leadership_acquire(struct leadership *s, uint32_t timeline, leadership_done_fn *done, void *arg);
/* Let go of it, saying so in the record. LOST: it was not ours any more. */
void leadership_release(struct leadership *s, leadership_done_fn *done, void *arg);
/* The end of this node: delete the member key, revoke the lease. OK or UNSURE. */
void leadership_resign(struct leadership *s, leadership_done_fn *done, void *arg);

/* The registry has a new picture: who owns the leader key by it? */
void leadership_observe(struct leadership *s);

/*
 * {name: api_url} of everybody who may believe that we ask it before we stay without the store: the failsafe key as it
 * was read, as it may have become by what we sent since, and the members. NULL: there is no such key. json_decref() it.
 */
json_t *leadership_failsafe(const struct leadership *s);

void leadership_view(const struct leadership *s, struct ha_lease *ret_lease);
int64_t leadership_lease(const struct leadership *s); /* 0: none */
