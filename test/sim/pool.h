/*
 * Worlds side by side: each in a process of its own, so that what it leaves behind goes with it.
 */
#pragma once

#include "test/sim/schedule.h"
#include "test/sim/score.h"

struct pool;

/* The outcome is the pool's until the call returns. */
typedef void pool_done_fn(const struct outcome *o, void *arg);

struct pool *pool_new(int jobs);
void pool_free(struct pool *p);
/* Begins as soon as there is a place; `done` may be called for others meanwhile. */
void pool_start(struct pool *p, const struct schedule *s, bool verbose, pool_done_fn *done, void *arg);
/* Until all are done. */
void pool_wait(struct pool *p);
