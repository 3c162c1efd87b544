#include "test/sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"

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

static struct event *heap;
static size_t heap_count, heap_cap;
static struct event *soon; /* of this moment, made in it: they come after what the heap has for it */
static size_t soon_at, soon_count, soon_cap;
static struct event *held; /* of processes that stand still, in the order in which they were due */
static size_t held_count, held_cap;
static uint64_t next_seq;
static uint64_t chance_state;
static bool over;

/* ---- chance ---- */

/* splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
uint64_t chance_u64(void)
{
    uint64_t z = (chance_state += 0x9e3779b97f4a7c15U);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
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

void world_run(usec until)
{
    struct event e;

    while (!over && take(until, &e)) {
        world.now = e.at;
        if (e.proc && (!e.proc->alive || e.proc->generation != e.generation))
            continue;
        if (e.proc && !proc_runs(e.proc)) {
            hold(e);
            continue;
        }
        world.current = e.proc;
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
    chance_state = seed * 0x2545f4914f6cdd1dU + 1;
    world.now = 1000000000; /* no moment is 0, which means "never" to many */
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

msec host_clock_ms(const struct host *h)
{
    return (world.now + h->clock_offset) / 1000;
}

/* ---- the story ---- */

static void tell(const char *who, const char *fmt, va_list args)
{
    char text[512];

    (void)vsnprintf(text, sizeof(text), fmt, args);
    (void)printf("%10.3f  %-6s %s\n", (double)world.now / 1e6, who, text);
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

void finding(const char *invariant, const char *fmt, ...)
{
    va_list args;
    char text[512];

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    (void)printf("seed %llu: %s at %.3f: %s\n", (unsigned long long)world.seed, invariant, (double)world.now / 1e6,
                 text);
    (void)fflush(stdout);
    _Exit(1);
}
