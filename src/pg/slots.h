/*
 * Replication slots: create, drop, advance, by SQL on our own server. What to do is core's decision.
 *
 * Acts are idempotent: a slot that exists is not created again, a missing one is not dropped, nothing is moved
 * backwards. A slot in use is never dropped. Each act reports for itself; one refusal stops no other.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/time.h"
#include "wire/lsn.h"

struct loop;
struct pg_instance;

enum slot_act_kind {
    SLOT_CREATE_PHYSICAL, /* reserves WAL at once */
    SLOT_CREATE_LOGICAL,  /* primary only; in `database` */
    SLOT_DROP,            /* if inactive */
    SLOT_ADVANCE,         /* to `to`, never backwards, never beyond what we have */
};

struct slot_act {
    enum slot_act_kind kind;
    const char *name;
    const char *database, *plugin; /* logical ones; ADVANCE of a logical slot needs database */
    lsn to;                        /* ADVANCE */
};

struct slot_outcome {
    const char *name;
    bool done;      /* the slot now is as asked for */
    struct err err; /* why not */
};

typedef void slots_fn(const struct slot_outcome *outcomes, size_t count, void *arg);
struct slots_job;

/* Copies. Acts on one database run in order; `done` runs once, from the loop. */
struct slots_job *slots_apply(struct loop *l, struct pg_instance *i, const struct slot_act *acts, size_t count,
                              msec budget_ms, slots_fn *done, void *arg);
void slots_cancel(struct slots_job *j); /* no callback */
