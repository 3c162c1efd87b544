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
    usec clock_offset;  /* of its CLOCK_BOOTTIME */
    struct proc kernel; /* lives as long as the host is up: what arrives belongs to it */
};

typedef void event_fn(void *arg);

extern struct world {
    usec now;
    uint64_t seed;
    struct proc *current; /* whose event runs; NULL: nobody's */
    struct host hosts[HOSTS_MAX];
    int host_count;
    bool verbose; /* the story is told as it happens */
} world;

void world_init(uint64_t seed, bool verbose);
struct host *world_add_host(const char *name);

/* Chance. */
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

void proc_start(struct proc *p, struct host *host, const char *what);
void proc_kill(struct proc *p); /* SIGKILL; its events never happen */
void proc_stop(struct proc *p); /* SIGSTOP; counted */
void proc_continue(struct proc *p);
bool proc_runs(const struct proc *p); /* alive, and neither it nor its host stands still */

void host_crash(struct host *h); /* power off: whoever has processes there kills them */
void host_boot(struct host *h);
void host_freeze(struct host *h); /* VM pause; counted */
void host_thaw(struct host *h);

/* CLOCK_BOOTTIME of a host. */
msec host_clock_ms(const struct host *h);

/* The loop of a process has stopped: what follows is its owner's (node.c). */
extern void (*world_agent_ended)(struct proc *p);

/* One line of the story. */
void story(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* An invariant is broken: told, and the seed has failed. */
_Noreturn void finding(const char *invariant, const char *fmt, ...) PRINTF_LIKE(2, 3);
