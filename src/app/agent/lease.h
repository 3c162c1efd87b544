/*
 * This node's lease in the store: granted, kept alive, and until when what hangs on it is certainly there.
 *
 * One lease per node carries the member key and, on the leader, the leader key. Times count from before a request was
 * sent, so that we believe in it for less time than the store does. That the lease lives does not say that the leader
 * key does: the deadline moves only when it is proved.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/time.h"

struct store;
struct store_result;
struct lease;

/* What came of a renewal. LOST: the store knows it no more. SILENT: no answer, or a refusal. */
enum lease_event { LEASE_GRANTED, LEASE_KEPT, LEASE_LOST, LEASE_SILENT };
typedef void lease_fn(enum lease_event event, const struct store_result *answer, void *arg);

struct lease *lease_new(struct store *store, lease_fn *fn, void *arg);
/* After store_free(). */
void lease_free(struct lease *l);
AUTO_DEFINE(lease, struct lease, lease_free)

void lease_timing(struct lease *l, msec ttl_ms, msec budget_ms);

/* Grant if there is none, or it has another ttl; else keep it alive. Not while that is under way. */
void lease_renew(struct lease *l);
/* Forget it: it ends by itself, and another is granted. */
void lease_forget(struct lease *l);
/* End it in the store, with all that hangs on it; `done` runs once, later. There must be one. */
typedef void lease_revoked_fn(const struct store_result *answer, void *arg);
void lease_revoke(struct lease *l, msec budget_ms, lease_revoked_fn *done);

/* The leader key hangs on it, as of the last renewal. */
void lease_hold(struct lease *l);
/* The leader key was still there after the renewal that was sent at renewed_ms. */
void lease_prove(struct lease *l, msec renewed_ms);

int64_t lease_id(const struct lease *l);       /* 0: none */
msec lease_ttl_ms(const struct lease *l);      /* it was granted with this */
msec lease_renewed_ms(const struct lease *l);  /* moment before the last successful renewal was sent; 0: never */
msec lease_tried_ms(const struct lease *l);    /* when the last renewal was begun, whatever came of it; 0: never */
msec lease_deadline_ms(const struct lease *l); /* until when the leader key on it was certainly ours; 0: it never was */
bool lease_is_renewing(const struct lease *l);
