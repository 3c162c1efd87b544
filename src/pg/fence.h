/*
 * The write fence of a primary: nothing is acknowledged any more, shown, while it goes on running.
 *
 * The list goes (pg/names.h), the floor's name that cannot exist is proved loaded, and then every walsender that began
 * before the proving session is ended and waited for: each has a list of its own, and one that is busy with a reply may
 * release commits by the old one. Walsenders that come later have the floor. And a commit is seen to wait (pg/hold.h):
 * where there was no list before, the fence may be loaded and hold nobody. Only then is the flush position read: every
 * commit that was acknowledged before, and every one whose reply is still on its way, lies below it.
 * Sessions that wait for their commit go on waiting; none of them is signalled, which would let it go.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/time.h"
#include "wire/lsn.h"

struct loop;
struct pg_instance;
struct fence_job;

struct fence_result {
    bool fenced;
    struct err err; /* why that is not shown; the caller stops the instance */
    lsn flushed;
    uint32_t timeline;
    msec took_ms;
};

typedef void fence_fn(const struct fence_result *result, void *arg);

/*
 * Again at any time: it is all proved anew. `fn` runs once, from the loop, at the latest after budget_ms; the job
 * frees itself after it.
 */
struct fence_job *fence_start(struct loop *l, struct pg_instance *i, pid_t postmaster, msec budget_ms, fence_fn *fn,
                              void *arg);
void fence_cancel(struct fence_job *j); /* no callback; NULL is fine */
