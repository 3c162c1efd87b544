/*
 * Host names to addresses, beside the loop.
 *
 * getaddrinfo() may take as long as the resolver likes, so it runs in a thread of its own; the deadline is
 * ours and does not wait for it. Numeric addresses are answered without a thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/time.h"

struct loop;
struct resolve_job;

enum { RESOLVE_ADDR_TEXT_MAX = 64, RESOLVE_ADDR_MAX = 8 };

struct resolve_result {
    char addr[RESOLVE_ADDR_MAX][RESOLVE_ADDR_TEXT_MAX]; /* numeric, in the resolver's order */
    size_t count;                                       /* 0: see err */
    struct err err;
};

typedef void resolve_fn(const struct resolve_result *result, void *arg);

/* done runs once, from the loop. */
struct resolve_job *resolve_start(struct loop *l, const char *host, msec budget_ms, resolve_fn *done, void *arg);
void resolve_cancel(struct resolve_job *j); /* no callback; the thread ends by itself */

/* True for a numeric IPv4 or IPv6 address. Pure. */
bool resolve_is_numeric(const char *host);
