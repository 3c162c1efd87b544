/*
 * What this node says about itself: member key, status key, and the snapshot for REST.
 */
#pragma once

#include "app/agent/leadership.h"
#include "app/agent/state.h"

/* After each decision: new texts, a new snapshot, the callbacks of a changed role. Returns when again at the latest. */
msec publish(struct agent *a);
void publish_deinit(struct agent *a);
/* keys_texts_fn; arg is the agent. */
void publish_texts(struct keys_texts *ret_texts, void *arg);
/* HA_DO_ASK_FAILSAFE. */
void publish_ask_failsafe(struct agent *a);

/* While an action waits: REST knows the fence that was armed since. */
void publish_fence(struct agent *a, const struct ha_fence *fence);
