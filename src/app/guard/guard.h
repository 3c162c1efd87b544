/*
 * The guard: keeps PostgreSQL, replaces the agent, and fires the fence.
 *
 * One thread, one poll over a handful of descriptors, a timer on CLOCK_BOOTTIME. A turn goes: first the
 * fence (if its last moment has passed nothing that waits to be read counts any more), then what
 * happened (children, the agent's packets), then what is due. Nothing is allocated after start, nothing
 * blocks; every duty is a function of this struct and the time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "app/guard/agent.h"
#include "app/guard/channel.h"
#include "app/guard/halt.h"
#include "app/guard/instance.h"
#include "app/guard/spawn.h"

struct fence {
    struct halt halt; /* set: armed */
    term term;
    bool fired;  /* it has stopped something */
    bool spent;  /* it has begun, and nothing of the instance is left */
    bool closed; /* its last moment has passed, and then nothing was left */
};

/* The way down: from the first SIGTERM, or an agent that asks for it, to exit. */
struct ending {
    unsigned int signals; /* SIGTERM and SIGINT so far; each further one hurries */
    msec begun_ms;        /* of the first, or of LEAVE */
    msec hurried_ms;      /* of the second */
    bool leave;           /* LEAVE: PostgreSQL stays */
    bool leave_asked;     /* the anchor was told to stay */
    bool agent_done;      /* it has ended and gets no successor */
    bool agent_failed;    /* it did not end in good order */
};

struct upgrade {
    pid_t probe; /* the new binary, trying out our state; 0: none */
    uint64_t seq;
    msec deadline_ms;
    bool ready;  /* the probe succeeded: exec as soon as the agent has been told */
    bool failed; /* it did not: the agent is told */
};

struct guard {
    /* from the command line */
    char *const *argv;
    char *const *env;
    const char *self_path; /* what an upgrade executes */
    char *title;           /* where the command line stands, for ps */
    size_t title_cap;

    struct spawn_origin origin;
    int lock_fd;
    int timer_fd;
    int signal_fd;
    msec planned_ms; /* when the timer was to wake us: waking much later means we were suspended */
    msec turn_ms;    /* what was due until then has been done */
    struct {
        bool signal, channel, instance;
    } ready;          /* what woke us: the rest has nothing to be read */
    msec watchdog_ms; /* the next word to systemd */

    struct agent agent;
    struct channel channel;
    struct instance pg;
    struct fence fence;
    uint32_t fence_fired;
    struct halt stop; /* the agent's STOP */
    uint32_t stop_mode;
    struct halt own;    /* our own, at the end */
    uint64_t start_seq; /* the START to answer; 0: none */
    struct ending ending;
    struct upgrade upgrade;
    int exit_code; /* -1: run on */
};

/* Until the guard's end; its exit code. */
int guard_run(struct guard *g);

/* The fence's last moment comes before everything else; true if it has passed and its work is not done. */
bool guard_fence_first(struct guard *g, msec now_ms);
/* The fence stops something, or has stopped it. */
bool guard_fence_begun(const struct guard *g);

/* Carry out the request in g->channel.in; answers it, now or (START, UPGRADE) when it is known how it went. */
void guard_request(struct guard *g);
