/*
 * Who owns the leader key by our knowledge, and the transitions of key and record.
 *
 * The leader key hangs on this node's lease (lease.h); what is published beside it is in keys.h. The record changes on
 * transitions only, and each change of it compares its revision (record_cas.h). That it is another than we knew says
 * nothing about the leader key.
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

#include "app/agent/keys.h"
#include "base/auto.h"
#include "core/ha/plan.h"
#include "core/ha/view.h"

struct store;
struct registry;
struct leadership;

typedef void leadership_changed_fn(void *arg);

struct leadership *leadership_new(struct store *store, struct registry *registry, const char *prefix, const char *name,
                                  keys_texts_fn *texts, leadership_changed_fn *fn, void *arg);
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
void leadership_acquire(struct leadership *s, uint32_t timeline, term above, leadership_done_fn *done, void *arg);
/* Let go of it, saying so in the record. LOST: it was not ours any more. */
void leadership_release(struct leadership *s, leadership_done_fn *done, void *arg);
/*
 * HA_DO_RECORD. LOST: a compare failed, and nothing was done; UNSURE: it may have been done. Until a picture that shows
 * the end of it has come leadership_reads_back() is true.
 */
void leadership_change(struct leadership *s, const struct ha_record_change *change, leadership_done_fn *done,
                       void *arg);
bool leadership_reads_back(const struct leadership *s);
/* Revision of the record that the last such change left, if that is known for sure and no other was sent since; 0. */
int64_t leadership_sure_revision(const struct leadership *s);
/* The end of this node: delete the member key, revoke the lease. OK or UNSURE. */
void leadership_resign(struct leadership *s, leadership_done_fn *done, void *arg);

/* The registry has a new picture: who owns the leader key by it? */
void leadership_observe(struct leadership *s);

/* See keys_failsafe(). */
json_t *leadership_failsafe(const struct leadership *s);

void leadership_view(const struct leadership *s, struct ha_lease *ret_lease);
int64_t leadership_lease(const struct leadership *s); /* 0: none */
