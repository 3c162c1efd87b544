/*
 * Delta debugging (Zeller, Hildebrandt: Simplifying and isolating failure-inducing input, 2002) over the list of
 * faults: without one half, one quarter, … of them, until none can be spared. The same faults under another chance
 * count as the same failure, because leaving one out shifts what is drawn after it.
 */
#include "test/sim/minimize.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"

enum { CHANCES = 8, ROUNDS_MAX = 2000 };

struct search {
    struct pool *pool;
    struct schedule best;
    struct outcome outcome;
    struct schedule tried[CHANCES];
    int found; /* which of those failed in the same way; -1: none */
    struct outcome found_outcome;
    unsigned int tries;
};

struct attempt {
    struct search *search;
    int which;
};

static void tried(const struct outcome *o, void *arg)
{
    struct attempt *a = arg;
    struct search *s = a->search;
    bool same = str_eq(o->invariant, s->outcome.invariant);

    if (same && (s->found < 0 || a->which < s->found)) {
        s->found = a->which;
        s->found_outcome = *o;
    }
    free(a);
}

/* Does it still fail, with its own chance or with one of a few others? Then it is the best one from now on. */
static bool still_fails(struct search *s, const struct schedule *candidate)
{
    s->found = -1;
    for (int i = 0; i < CHANCES && s->found < 0; i++) {
        struct attempt *a = mem_zero(1, sizeof(*a));
        *a = (struct attempt){.search = s, .which = i};
        s->tried[i] = *candidate;
        s->tried[i].seed += (uint64_t)i * 1000003;
        s->tries++;
        pool_start(s->pool, &s->tried[i], false, tried, a);
    }
    pool_wait(s->pool);
    if (s->found < 0)
        return false;
    s->best = s->tried[s->found];
    s->outcome = s->found_outcome;
    (void)fprintf(stderr, "%u worlds: %zu faults, %lld nodes\n", s->tries, s->best.count,
                  (long long)s->best.setup.nodes);
    return true;
}

static void without(const struct schedule *from, size_t at, size_t count, struct schedule *ret)
{
    *ret = *from;
    ret->count -= count;
    memmove(&ret->faults[at], &from->faults[at + count], (from->count - at - count) * sizeof(*ret->faults));
}

/* What comes after the finding cannot have caused it. */
static void drop_later(struct search *s)
{
    struct schedule shorter = s->best;

    while (shorter.count && shorter.faults[shorter.count - 1].at > s->outcome.at)
        shorter.count--;
    if (shorter.count < s->best.count)
        (void)still_fails(s, &shorter);
}

static void drop_faults(struct search *s)
{
    for (size_t chunk = (s->best.count + 1) / 2; chunk; chunk /= 2) {
        bool any = true;
        while (any && s->tries < ROUNDS_MAX) {
            any = false;
            for (size_t at = 0; at + chunk <= s->best.count;) {
                struct schedule fewer;
                without(&s->best, at, chunk, &fewer);
                if (still_fails(s, &fewer))
                    any = true; /* the next ones have moved here */
                else
                    at += chunk;
            }
            any &= chunk == 1;
        }
    }
}

static void shorten(struct search *s)
{
    for (size_t i = 0; i < s->best.count; i++) {
        for (int halves = 0; halves < 6 && s->best.faults[i].lasts > 100000; halves++) {
            struct schedule shorter = s->best;
            shorter.faults[i].lasts /= 2;
            if (!still_fails(s, &shorter))
                break;
        }
    }
}

/* Whom it really hits is easier to read than "the leader", where that makes no difference; the same for the setup. */
static void simplify(struct search *s)
{
    struct schedule plain = s->best;

    for (int64_t nodes = 2; nodes < s->best.setup.nodes; nodes++) {
        plain.setup.nodes = nodes;
        if (still_fails(s, &plain))
            break;
    }
    plain = s->best;
    plain.setup.late_node = 0;
    plain.setup.failsafe_mode = 0;
    if (s->best.setup.late_node || s->best.setup.failsafe_mode)
        (void)still_fails(s, &plain);
}

void minimize(struct pool *p, struct schedule *s, struct outcome *o)
{
    struct search *search = mem_zero(1, sizeof(*search));

    CHECK(o->invariant[0]);
    search->pool = p;
    search->best = *s;
    search->outcome = *o;
    drop_later(search);
    drop_faults(search);
    simplify(search);
    drop_faults(search);
    shorten(search);
    *s = search->best;
    *o = search->outcome;
    free(search);
}
