/*
 * One request to an etcd, taken to whichever member answers, within its budget.
 *
 * On the way it learns the member's version (which names the gateway), logs in if there is a user,
 * and logs in again when the token is not taken. A request goes to a next member only if the one
 * before certainly did not act on it: it was not sent, or refused. Only a repeatable one (a read, a
 * renewal) is also repeated after silence.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/time.h"
#include "store/etcd_json.h"
#include "store/store.h"

struct etcd_access;
struct etcd_call;

struct etcd_call_spec {
    const char *path; /* below the gateway: "/kv/range"; a literal */
    const char *body;
    bool repeatable;
    size_t only_member; /* ENDPOINT_NONE: any; otherwise one attempt at this one */
    msec budget_ms;
};

struct etcd_outcome {
    enum store_status status;
    const json_t *json;      /* DONE: the answer; borrowed, valid during the callback */
    struct etcd_error error; /* REFUSED: what it said */
    size_t member;           /* DONE: who answered */
    msec sent_at_ms;
    struct err err; /* unless DONE */
};

typedef void etcd_call_fn(const struct etcd_outcome *outcome, void *arg);

/* fn runs once, from the loop, unless the call is cancelled. Holds a reference on *a. */
struct etcd_call *etcd_call_start(struct etcd_access *a, const struct etcd_call_spec *spec, etcd_call_fn *fn,
                                  void *arg);
void etcd_call_cancel(struct etcd_call *c); /* NULL is fine */

/* The headers every request to etcd carries; the token is the only one that varies. */
struct etcd_headers {
    const char *at[4];
    char *token;
};
void etcd_headers_init(struct etcd_headers *h, const struct etcd_access *a);
void etcd_headers_deinit(struct etcd_headers *h);
