#include "test/sim/wal.h"

#include "base/check.h"
#include "base/str.h"

enum { RECORD_BYTES = 64, WAL_BEGINS = 16 * 1024 * 1024 };

struct rec *wal_append(struct rec *parent, enum rec_kind kind, uint32_t tli)
{
    struct rec *r = mem_zero(1, sizeof(*r));

    r->parent = parent;
    r->kind = kind;
    r->tli = tli ? tli : parent ? parent->tli : 1;
    r->start = parent ? parent->end : WAL_BEGINS;
    r->end = r->start + RECORD_BYTES;
    r->depth = parent ? parent->depth + 1 : 0;
    /* Jump pointers (Myers, "An applicative random-access stack", 1983): an ancestor in logarithmic time. */
    if (parent) {
        const struct rec *s = parent->skip;
        bool equal = s && s->skip && parent->depth - s->depth == s->depth - s->skip->depth;
        r->skip = equal ? s->skip : parent;
    }
    return r;
}

static struct rec *ancestor(struct rec *r, uint32_t depth)
{
    while (r && r->depth > depth)
        r = r->skip && r->skip->depth >= depth ? r->skip : r->parent;
    return r;
}

bool wal_leads_to(const struct rec *a, const struct rec *b)
{
    return a->depth <= b->depth && ancestor((struct rec *)b, a->depth) == a;
}

struct rec *wal_common(struct rec *a, struct rec *b)
{
    if (a->depth > b->depth)
        a = ancestor(a, b->depth);
    else
        b = ancestor(b, a->depth);
    while (a != b) {
        if (a->skip != b->skip) {
            a = a->skip;
            b = b->skip;
        } else {
            a = a->parent;
            b = b->parent;
        }
        if (!a || !b)
            return NULL;
    }
    return a;
}

struct rec *wal_last_of(struct rec *end, uint32_t tli)
{
    while (end && end->tli > tli)
        end = end->skip && end->skip->tli > tli ? end->skip : end->parent;
    return end && end->tli == tli ? end : NULL;
}

struct rec *wal_after(struct rec *end, const struct rec *r)
{
    struct rec *next = ancestor(end, r->depth + 1);

    CHECK(next && next->parent == r);
    return next;
}

struct rec *wal_at(struct rec *end, lsn at)
{
    while (end && end->end > at)
        end = end->skip && end->skip->end > at ? end->skip : end->parent;
    return end;
}
