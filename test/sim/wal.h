/*
 * WAL: one tree of records, every history there ever was in this world.
 *
 * An instance's WAL is the way from the root to the record that it ends with, so "has this node that commit?" is "is
 * that record on the way?", whatever timeline numbers and positions say. Numbers and positions are what PostgreSQL
 * and agents see: two branches may carry the same ones.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "wire/lsn.h"

enum rec_kind { REC_INITDB, REC_COMMIT, REC_CHECKPOINT, REC_SHUTDOWN, REC_TIMELINE, REC_MESSAGE };

struct rec {
    struct rec *parent; /* NULL: the first */
    struct rec *skip;   /* an ancestor far away */
    uint32_t depth;
    uint32_t tli;
    lsn start, end;
    enum rec_kind kind;
    int client; /* COMMIT: whose, and its how-manieth */
    uint64_t number;
};

/* parent NULL: a new database. tli as the parent's unless given (0). */
struct rec *wal_append(struct rec *parent, enum rec_kind kind, uint32_t tli);
/* a is on the way to b, or is b. */
bool wal_leads_to(const struct rec *a, const struct rec *b);
/* The last record that both have; NULL: two databases. */
struct rec *wal_common(struct rec *a, struct rec *b);
/* Of the way to `end`: the last record of that timeline; NULL: none. */
struct rec *wal_last_of(struct rec *end, uint32_t tli);
/* Of the way to `end`: the record after r, which is on it and is not `end`. */
struct rec *wal_after(struct rec *end, const struct rec *r);
/* Of the way to `end`: the record that ends at `at`, or the last one before it. */
struct rec *wal_at(struct rec *end, lsn at);
