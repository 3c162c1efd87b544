/*
 * Which member of the store to ask next.
 *
 * We stay with the member that answered last. One that failed is left alone for a while that doubles
 * with each failure in a row; when all have failed, the one whose while ends first is asked: nothing
 * is refused because of what was. A request has a share of its budget for each member, so that one
 * that takes connections but never answers (stopped, half-dead) cannot use up all of it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/time.h"

enum {
    ENDPOINTS_MAX = 64,
    ENDPOINT_BACKOFF_MIN_MS = 1000,  /* a restart of etcd takes about this long */
    ENDPOINT_BACKOFF_MAX_MS = 16000, /* more only delays going back after a long outage of one member */
    ENDPOINT_SHARE_MIN_MS = 500,     /* below this an answer that is only slow would look like none */
};

#define ENDPOINT_NONE SIZE_MAX

struct endpoint_health {
    unsigned int failures; /* in a row */
    msec retry_at_ms;      /* left alone until then; 0: healthy */
};

struct endpoints {
    struct endpoint_health at[ENDPOINTS_MAX];
    size_t count;
    size_t current; /* answered last */
};

/* The best one that is not in `tried` (a bit each). ENDPOINT_NONE: all are. */
size_t endpoints_pick(const struct endpoints *e, uint64_t tried, msec now_ms);

/* How much of what is left one attempt may use. */
msec endpoints_share(const struct endpoints *e, uint64_t tried, msec left_ms);

void endpoints_answered(struct endpoints *e, size_t i);
void endpoints_failed(struct endpoints *e, size_t i, msec now_ms);
