/*
 * What this node publishes: its member key, and as the leader beat, status and failsafe. Only what has changed.
 *
 * As the leader everything goes in one transaction that holds only while the leader key is ours. One transaction at a
 * time; what changes meanwhile goes with the next. An answer that never came leaves the keys as unknown: they are
 * written again.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/time.h"

struct store;
struct store_result;
struct cluster;
struct keys;

/* What to write; strings are borrowed for the time of the call. */
struct keys_texts {
    const char *member;   /* members/<name>; never NULL */
    const char *status;   /* leader: status; NULL: leave alone */
    const char *failsafe; /* leader: failsafe; NULL: leave alone; "": delete */
    uint32_t timeline;    /* that PostgreSQL here is primary on; 0: it is none */
};
/* Asked right before a transaction is sent. */
typedef void keys_texts_fn(struct keys_texts *ret_texts, void *arg);

/* As whom, asked at the same moment. */
struct keys_stand {
    int64_t lease;        /* 0: none, and nothing is published */
    int64_t key_revision; /* of the leader key that is ours; 0: it is not */
    msec renewed_ms;      /* the renewal that a beat tells of */
};
typedef void keys_stand_fn(struct keys_stand *ret_stand, void *arg);

enum keys_outcome {
    KEYS_WRITTEN,
    KEYS_REFUSED, /* the leader key was not ours any more */
    KEYS_UNSURE,
};
struct keys_result {
    enum keys_outcome outcome;
    msec beat_renewed_ms; /* as the stand had it; 0: there was no beat in it */
    int64_t key_revision; /* as the stand had it */
    const struct store_result *answer;
};
typedef void keys_done_fn(const struct keys_result *result, void *arg);

struct keys *keys_new(struct store *store, const char *prefix, const char *name, const char *key_leader);
/* After store_free(). */
void keys_free(struct keys *k);
AUTO_DEFINE(keys, struct keys, keys_free)

/* Once, before anything else. */
void keys_connect(struct keys *k, keys_texts_fn *texts, void *texts_arg, keys_stand_fn *stand, keys_done_fn *done,
                  void *arg);

/* Write what has changed. `beat`: after a renewal; the leader says that it lives. */
void keys_publish(struct keys *k, bool beat, msec budget_ms);
/* The leader key is not ours: what the store has of a leader's keys may be another's. */
void keys_forget_leader(struct keys *k);
/* A new picture: our member key is written again where somebody removed it, or it vanished with an older lease. */
void keys_observe(struct keys *k, const struct cluster *c, msec budget_ms);

/* Of PostgreSQL as primary here, when it was asked for last; 0: it is none. */
uint32_t keys_timeline(const struct keys *k);

/*
 * {name: api_url} of everybody who may believe that we ask it before we stay without the store: the failsafe key as it
 * was read, as it may have become by what we sent since, and the members. NULL: there is no such key. json_decref() it.
 */
json_t *keys_failsafe(const struct keys *k, const struct cluster *c);
