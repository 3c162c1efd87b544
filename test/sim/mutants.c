#include "test/sim/mutants.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/mutant.h"
#include "base/str.h"
#include "test/sim/pool.h"

enum mutant mutant;

enum mode { ASYNC, PEERS, QUORUM, ANY };

static const struct {
    const char *name, *text;
    enum mode mode;
} mutants[] = {
    {"NONE", "", ANY},
#define MUTANT_DEFINE(name, mode, text) {#name, text, mode},
#include "base/mutants.def"
#undef MUTANT_DEFINE
};

size_t mutants_count(void)
{
    return MUTANT_COUNT - 1;
}

const char *mutant_name(size_t i)
{
    return mutants[i + 1].name;
}

const char *mutant_text(size_t i)
{
    return mutants[i + 1].text;
}

bool mutant_choose(const char *name)
{
    for (int i = MUTANT_NONE + 1; i < MUTANT_COUNT; i++) {
        if (!str_eq(mutants[i].name, name))
            continue;
        mutant = (enum mutant)i;
        return true;
    }
    return false;
}

struct hunt {
    uint64_t tried;
    uint64_t seed; /* that caught it; 0: none yet */
    char invariant[INVARIANT_MAX];
};

struct one {
    struct hunt *hunt;
    uint64_t seed;
};

static void keep(const struct outcome *o, void *arg)
{
    *(struct outcome *)arg = *o;
}

/* Without the mutant that seed is clean. */
static bool is_its_doing(struct pool *p, uint64_t seed, struct schedule *s)
{
    struct outcome o = {0};
    enum mutant was = mutant;

    mutant = MUTANT_NONE;
    schedule_draw(seed, s);
    pool_start(p, s, false, keep, &o);
    pool_wait(p);
    mutant = was;
    if (o.invariant[0])
        (void)printf("         seed %llu fails without any mutant: %s\n", (unsigned long long)seed, o.invariant);
    return !o.invariant[0];
}

static void seed_done(const struct outcome *o, void *arg)
{
    struct one *one = arg;
    struct hunt *h = one->hunt;

    h->tried++;
    if (o->invariant[0] && (!h->seed || one->seed < h->seed)) {
        h->seed = one->seed;
        str_copy(h->invariant, sizeof(h->invariant), o->invariant);
    }
    free(one);
}

static double now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A mistake in the rules of one mode shows in no cluster of the other: such seeds count, and need not be run. */
static bool may_show(size_t i, const struct schedule *s)
{
    if (mutants[i + 1].mode == PEERS)
        return !s->setup.synchronous && s->setup.peer_lease;
    return mutants[i + 1].mode == ANY || (mutants[i + 1].mode == QUORUM) == (s->setup.synchronous != 0);
}

/* True if it was caught. */
static bool hunt(struct pool *p, size_t i, uint64_t from, uint64_t seeds)
{
    struct schedule *s = mem_zero(1, sizeof(*s));
    struct hunt h = {0};
    double begin = now();

    CHECK(mutant_choose(mutant_name(i)));
    for (uint64_t n = 0; n < seeds && !h.seed; n++) {
        struct one *one = mem_zero(1, sizeof(*one));
        *one = (struct one){.hunt = &h, .seed = from + n};
        schedule_draw(from + n, s);
        if (may_show(i, s)) {
            pool_start(p, s, false, seed_done, one);
        } else {
            h.tried++;
            free(one);
        }
        if (h.seed || n + 1 == seeds)
            pool_wait(p);
        if (h.seed && !is_its_doing(p, h.seed, s))
            h.seed = 0;
    }
    mutant = MUTANT_NONE;
    free(s);
    if (h.seed)
        (void)printf("caught   %-24s by seed %llu (%s), after %llu, in %.1f s: %s\n", mutant_name(i),
                     (unsigned long long)h.seed, h.invariant, (unsigned long long)h.tried, now() - begin,
                     mutant_text(i));
    else
        (void)printf("SURVIVED %-24s %llu seeds, in %.1f s: %s\n", mutant_name(i), (unsigned long long)h.tried,
                     now() - begin, mutant_text(i));
    (void)fflush(stdout);
    return h.seed != 0;
}

/* Names with commas between them. */
static bool is_among(const char *names, const char *name)
{
    size_t len = strlen(name);

    for (const char *at = names; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, name, len) == 0 && (at[len] == ',' || !at[len]))
            return true;
    }
    return false;
}

int mutants_run(const char *only, uint64_t from, uint64_t seeds, int jobs)
{
    double begin = now();
    struct pool *p = pool_new(jobs);
    int survivors = 0;
    int hunted = 0;

    for (size_t i = 0; i < mutants_count(); i++) {
        if (only && !is_among(only, mutant_name(i)))
            continue;
        hunted++;
        survivors += !hunt(p, i, from, seeds);
    }
    pool_free(p);
    (void)printf("%d mutants, %d caught, %d survived, in %.0f s\n", hunted, hunted - survivors, survivors,
                 now() - begin);
    return survivors;
}
