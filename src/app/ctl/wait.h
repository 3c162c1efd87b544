/*
 * Waiting on our own loop: the store and REST, made synchronous, every wait with a deadline.
 *
 * Between wait_begin() and wait_end() a line on stderr, where that is a terminal, shows how long it has been.
 */
#pragma once

#include <jansson.h>

#include "app/ctl/ctl.h"
#include "base/time.h"
#include "store/store.h"

enum {
    WAIT_STORE_MS = 10 * 1000,  /* one request, over all endpoints; patronictl's retry_timeout */
    WAIT_CONNECT_MS = 5 * 1000, /* to a member's REST API: on a LAN it answers or it is dead */
    WAIT_REST_MS = 30 * 1000,   /* calls that only note something */
};

/* `doing` lives until wait_end(). Called again before that it changes the words, not the clock. */
void wait_begin(struct ctl *ctl, const char *doing);
void wait_end(struct ctl *ctl);

/* Turns the loop until *done, or the moment has come. True if *done. */
bool wait_until(struct ctl *ctl, const bool *done, msec deadline_ms);
void wait_ms(struct ctl *ctl, msec duration_ms);

/* All keys below prefix. */
MUST_USE bool wait_prefix(struct ctl *ctl, const char *prefix, struct cluster **ret_cluster, struct err *err);
/*
 * *ret_succeeded: the compares held. ERR_STORE with "may have been applied" where that is not known.
 */
MUST_USE bool wait_txn(struct ctl *ctl, const struct store_txn *txn, bool *ret_succeeded, struct err *err);

struct rest_reply {
    int status;
    char *body; /* never NULL */
};

void rest_reply_deinit(struct rest_reply *r);
static inline UNUSED void rest_reply_freep(struct rest_reply *r)
{
    rest_reply_deinit(r);
}

/* A call to a member's REST API: path without the leading slash. False: no HTTP answer. */
MUST_USE bool wait_rest(struct ctl *ctl, const struct member *m, const char *method, const char *path,
                        const json_t *body, msec budget_ms, struct rest_reply *ret_reply, struct err *err);
