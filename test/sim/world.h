/*
 * The simulated world: one clock, one queue of events, one seeded source of chance, processes and hosts.
 *
 * Everything that happens is an event, in the order of its time and, at one time, of its making; so a seed is
 * a whole history and gives it again. An event belongs to a process or to nobody. What belongs to a process that
 * is dead is dropped, what belongs to a stopped one (SIGSTOP, a host that stands still) waits until it goes on.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/time.h"

typedef int64_t usec;

enum { HOSTS_MAX = 16, HOST_NAME_MAX = 16 };

struct proc {
    struct host *host;
    const char *what; /* "agent", "guard", … for the story */
    bool alive;
    int stops;
    uint64_t generation;
};

struct host {
    char name[HOST_NAME_MAX];
    int id;
    bool up;
    int stops;          /* reasons why everything on it stands still */
    usec clock;         /* its CLOCK_BOOTTIME showed this … */
    usec clock_at;      /* … at this moment, and goes on from there … */
    int clock_ppm;      /* … so much too fast */
    usec wall_offset;   /* of its CLOCK_REALTIME */
    struct proc kernel; /* lives as long as the host is up: what arrives belongs to it */
};

typedef void event_fn(void *arg);

extern struct world {
    usec now;
    uint64_t seed;
    uint64_t hash; /* of all that has happened: who, what, when */
    uint64_t steps;
    struct proc *current; /* whose event runs; NULL: nobody's */
    struct host hosts[HOSTS_MAX];
    int host_count;
    bool verbose; /* the story is told as it happens */
} world;

#define WORLD_BEGIN ((usec)1000000000) /* no moment is 0, which means "never" to many */

void world_init(uint64_t seed, bool verbose);
struct host *world_add_host(const char *name);

/*
 * Chance. Each host has a stream of its own, drawn from by what runs there, and so has the world: what one host does
 * more or less does not change another's luck until they meet.
 */
void chance_seed(uint64_t seed);
uint64_t chance_u64(void);
/* 0 ≤ result < below. */
int64_t chance(int64_t below);
/* low ≤ result ≤ high. */
int64_t chance_between(int64_t low, int64_t high);
/* True once in `times`. */
bool chance_one_in(int64_t times);

/* NULL: an event of the world, which nothing stops. */
void event_at(usec at, struct proc *proc, event_fn *fn, void *arg);
void event_in(usec delay, struct proc *proc, event_fn *fn, void *arg);
/* Runs events until `until`, or until world_end(). */
void world_run(usec until);
void world_end(void);
/* Into `outcome`: how it ended. */
void world_close(void);

void proc_start(struct proc *p, struct host *host, const char *what);
void proc_kill(struct proc *p); /* SIGKILL; its events never happen */
void proc_stop(struct proc *p); /* SIGSTOP; counted */
void proc_continue(struct proc *p);
bool proc_runs(const struct proc *p); /* alive, and neither it nor its host stands still */

void host_crash(struct host *h); /* power off: whoever has processes there kills them */
void host_boot(struct host *h);
void host_freeze(struct host *h); /* VM pause; counted */
void host_thaw(struct host *h);

/* CLOCK_BOOTTIME of a host, and the moment at which it will show clock_ms. */
msec host_clock_ms(const struct host *h);
usec host_moment(const struct host *h, msec clock_ms);
/* From now on it is so much too fast; what was planned by its clock comes too early or late, who waits looks again. */
void host_clock_rate(struct host *h, int ppm);

/* The loop of a process has stopped: what follows is its owner's (node.c). */
extern void (*world_agent_ended)(struct proc *p);

/* Runs an event of the current process; set by who wants to stop it in the middle (points.c). NULL: it is called. */
extern void (*world_run_event)(event_fn *fn, void *arg);

/* One line of the story. */
void story(const char *fmt, ...) PRINTF_LIKE(1, 2);
/*
 * From now on N8, S6 and L2 may be broken by what nobody here can help: the world ends there, and is counted as
 * excused.
 */
void world_excuse(const char *why);
/* An invariant is broken: the seed has failed. */
_Noreturn void finding(const char *invariant, const char *fmt, ...) PRINTF_LIKE(2, 3);
