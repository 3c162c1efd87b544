/*
 * etcd, version 3, through its JSON gateway (every member serves it beside gRPC).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/list.h"
#include "store/backend.h"

struct etcd_access;
struct etcd_watch;
struct loop;
struct settings;

struct etcd {
    struct store store;
    struct loop *loop;
    struct etcd_access *access;
    struct list requests; /* under way */
    struct list watches;
    char *description;
};

MUST_USE bool etcd_new(struct loop *l, const struct settings *settings, struct store **ret_store, struct err *err);

/* ---- between etcd.c and etcd_watch.c ---- */

extern const struct store_backend etcd_backend;

struct store_watch *etcd_watch_start(struct store *s, const char *prefix, int64_t revision, store_watch_fn *fn,
                                     void *arg);
void etcd_watch_stop(struct store_watch *w);
void etcd_watches_stop(struct etcd *e);
/* Somebody got no answer from this member: watches that hang on it look at once whether they still live. */
void etcd_watches_member_failed(struct etcd *e, size_t member);
/* Go on at e->access, which is new. */
void etcd_watches_move(struct etcd *e);
