#include "test/sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "test/sim/score.h"

struct event {
    usec at;
    uint64_t seq;
    struct proc *proc;
    uint64_t generation;
    event_fn *fn;
    void *arg;
};

struct world world;
void (*world_agent_ended)(struct proc *p);
void (*world_run_event)(event_fn *fn, void *arg);

enum { STEPS_AT_ONCE_MAX = 100000 };

static struct event *heap;
static size_t heap_count, heap_cap;
static struct event *soon; /* of this moment, made in it: they come after what the heap has for it */
static size_t soon_at, soon_count, soon_cap;
static struct event *held; /* of processes that stand still, in the order in which they were due */
static size_t held_count, held_cap;
static uint64_t next_seq;
static uint64_t chance_states[HOSTS_MAX + 1]; /* of each host; the last is the world's */
static bool over;
static const char *excuse; /* NULL: there is none */

/* ---- chance ---- */

/* splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

void chance_seed(uint64_t seed)
{
    for (size_t i = 0; i < ARRAY_LEN(chance_states); i++)
        chance_states[i] = mix(seed * 0x2545f4914f6cdd1dU + i + 1);
}

uint64_t chance_u64(void)
{
    uint64_t *state = &chance_states[world.current ? world.current->host->id : HOSTS_MAX];

    return mix(*state += 0x9e3779b97f4a7c15U);
}

int64_t chance(int64_t below)
{
    CHECK(below > 0);
    return (int64_t)(chance_u64() % (uint64_t)below);
}

int64_t chance_between(int64_t low, int64_t high)
{
    return low + chance(high - low + 1);
}

bool chance_one_in(int64_t times)
{
    return chance(times) == 0;
}

/* ---- events ---- */

static bool before(const struct event *a, const struct event *b)
{
    return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

static void push(struct event e)
{
    if (heap_count == heap_cap) {
        heap_cap = heap_cap ? heap_cap * 2 : 256;
        heap = mem_grow(heap, heap_cap, sizeof(*heap));
    }
    size_t i = heap_count++;
    while (i && before(&e, &heap[(i - 1) / 2])) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = e;
}

static struct event pop(void)
{
    struct event first = heap[0];
    struct event last = heap[--heap_count];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= heap_count)
            break;
        if (child + 1 < heap_count && before(&heap[child + 1], &heap[child]))
            child++;
        if (!before(&heap[child], &last))
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
    return first;
}

static void add(struct event e)
{
    if (e.at > world.now) {
        push(e);
        return;
    }
    if (soon_count == soon_cap) {
        soon_cap = soon_cap ? soon_cap * 2 : 64;
        soon = mem_grow(soon, soon_cap, sizeof(*soon));
    }
    soon[soon_count++] = e;
}

/* False: there is none until `until`. */
static bool take(usec until, struct event *ret_event)
{
    if (heap_count && heap[0].at <= world.now) {
        *ret_event = pop();
        return true;
    }
    if (soon_at < soon_count) {
        *ret_event = soon[soon_at++];
        return true;
    }
    soon_at = soon_count = 0;
    if (!heap_count || heap[0].at > until)
        return false;
    *ret_event = pop();
    return true;
}

void event_at(usec at, struct proc *proc, event_fn *fn, void *arg)
{
    add((struct event){.at = at < world.now ? world.now : at,
                       .seq = next_seq++,
                       .proc = proc,
                       .generation = proc ? proc->generation : 0,
                       .fn = fn,
                       .arg = arg});
}

void event_in(usec delay, struct proc *proc, event_fn *fn, void *arg)
{
    event_at(world.now + delay, proc, fn, arg);
}

static void hold(struct event e)
{
    if (held_count == held_cap) {
        held_cap = held_cap ? held_cap * 2 : 64;
        held = mem_grow(held, held_cap, sizeof(*held));
    }
    held[held_count++] = e;
}

/* What was due while they stood still happens now, in its order. */
static void release_held(void)
{
    size_t kept = 0;

    for (size_t i = 0; i < held_count; i++) {
        struct event e = held[i];
        if (e.proc->alive && e.proc->generation == e.generation && !proc_runs(e.proc)) {
            held[kept++] = e;
        } else {
            e.at = world.now;
            add(e);
        }
    }
    held_count = kept;
}

static void note(const struct event *e)
{
    uint64_t what = (uint64_t)((const char *)e->fn - (const char *)world_run); /* wherever the program is loaded */

    world.steps++;
    world.hash = mix(world.hash ^ what) + (uint64_t)e->at + (e->proc ? (uint64_t)e->proc->host->id + 1 : 0);
}

void world_run(usec until)
{
    unsigned int steps_at_once = 0;
    struct event e;

    while (!over && take(until, &e)) {
        if (e.at > world.now)
            steps_at_once = 0;
        else if (++steps_at_once > STEPS_AT_ONCE_MAX)
            finding("still", "%u events at one moment", (unsigned int)STEPS_AT_ONCE_MAX);
        world.now = e.at;
        if (e.proc && (!e.proc->alive || e.proc->generation != e.generation))
            continue;
        if (e.proc && !proc_runs(e.proc)) {
            hold(e);
            continue;
        }
        note(&e);
        world.current = e.proc;
        if (e.proc && world_run_event)
            world_run_event(e.fn, e.arg);
        else
            e.fn(e.arg);
        world.current = NULL;
    }
    if (!over)
        world.now = until;
}

void world_end(void)
{
    over = true;
}

/* ---- hosts and processes ---- */

void world_init(uint64_t seed, bool verbose)
{
    CHECK(!heap_count && !world.host_count); /* a world is a process of ours: the next seed is another one */
    world.seed = seed;
    world.verbose = verbose;
    chance_seed(seed);
    world.now = WORLD_BEGIN;
}

struct host *world_add_host(const char *name)
{
    CHECK(world.host_count < HOSTS_MAX);
    struct host *h = &world.hosts[world.host_count];
    h->id = world.host_count++;
    str_copy(h->name, sizeof(h->name), name);
    host_boot(h);
    return h;
}

void host_boot(struct host *h)
{
    CHECK(!h->up);
    h->up = true;
    proc_start(&h->kernel, h, "kernel");
}

void host_crash(struct host *h)
{
    CHECK(h->up);
    proc_kill(&h->kernel);
    h->up = false;
}

void proc_start(struct proc *p, struct host *host, const char *what)
{
    CHECK(!p->alive && host->up);
    p->host = host;
    p->what = what;
    p->alive = true;
    p->stops = 0;
    p->generation++;
}

void proc_kill(struct proc *p)
{
    p->alive = false;
}

void proc_stop(struct proc *p)
{
    p->stops++;
}

void proc_continue(struct proc *p)
{
    CHECK(p->stops > 0);
    p->stops--;
    release_held();
}

bool proc_runs(const struct proc *p)
{
    return p->alive && !p->stops && p->host->up && !p->host->stops;
}

void host_freeze(struct host *h)
{
    h->stops++;
}

void host_thaw(struct host *h)
{
    CHECK(h->stops > 0);
    h->stops--;
    release_held();
}

enum { MILLION = 1000000 };

static usec clock_now(const struct host *h)
{
    usec since = world.now - h->clock_at;

    return h->clock + since + since * h->clock_ppm / MILLION;
}

msec host_clock_ms(const struct host *h)
{
    return clock_now(h) / 1000;
}

usec host_moment(const struct host *h, msec clock_ms)
{
    usec shown = clock_ms * 1000 - h->clock;

    if (h->clock_ppm)
        shown = shown * MILLION / (MILLION + h->clock_ppm) + 2; /* not before it does show it */
    return h->clock_at + shown;
}

void host_clock_rate(struct host *h, int ppm)
{
    h->clock = clock_now(h);
    h->clock_at = world.now;
    h->clock_ppm = ppm;
}

/* ---- the story ---- */

static double seconds(void)
{
    return (double)(world.now - WORLD_BEGIN) / 1e6;
}

static void tell(const char *who, const char *fmt, va_list args)
{
    char text[512];

    (void)vsnprintf(text, sizeof(text), fmt, args);
    (void)printf("%10.3f  %-6s %s\n", seconds(), who, text);
}

void story(const char *fmt, ...)
{
    va_list args;

    if (!world.verbose)
        return;
    va_start(args, fmt);
    tell(world.current ? world.current->host->name : "", fmt, args);
    va_end(args);
}

void world_excuse(const char *why)
{
    excuse = why;
}

void finding(const char *invariant, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(outcome->text, sizeof(outcome->text), fmt, args);
    va_end(args);
    bool excused = excuse && (str_eq(invariant, "N8") || str_eq(invariant, "S6") || str_eq(invariant, "L2"));
    if (excused) {
        story("excused (%s): %s: %s", excuse, invariant, outcome->text);
        outcome->score.excused++;
        outcome->text[0] = '\0';
    } else {
        str_copy(outcome->invariant, sizeof(outcome->invariant), invariant);
    }
    world_close();
    (void)fflush(stdout);
    _Exit(excused ? 0 : 1);
}

void world_close(void)
{
    outcome->at = world.now - WORLD_BEGIN;
    outcome->hash = world.hash;
    outcome->steps = world.steps;
    outcome->score.seeds = 1;
    outcome->score.simulated = (uint64_t)outcome->at;
    outcome->ended = true;
}
