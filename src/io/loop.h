/*
 * The event loop: descriptors, timers, signals, deferred calls. One per thread.
 *
 * epoll, level-triggered; time is CLOCK_BOOTTIME (it goes on in suspend). A callback never blocks.
 * An object may be removed from inside any callback, its own too: removal takes effect at once, the
 * memory is freed when the turn ends. In a turn timers come before descriptors, so that a deadline
 * is heard before a message that came too late (after a suspend both are waiting).
 * loop_new() has SIGPIPE ignored: a reader that went away is an error of the write.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/auto.h"
#include "base/list.h"
#include "base/time.h"

struct loop;
struct loop_fd;
struct loop_signal;

enum { LOOP_READ = 1, LOOP_WRITE = 2 };

typedef void loop_fd_fn(int fd, unsigned int ready,
                        void *arg); /* ready: LOOP_READ|LOOP_WRITE; errors and hang-ups show as both */
typedef void loop_timer_fn(void *arg);
typedef void loop_signal_fn(int signo, void *arg);
typedef void loop_drop_fn(void *arg);

struct loop_timer { /* embedded in its owner */
    struct loop *loop;
    msec at_ms; /* MSEC_NEVER: not set */
    loop_timer_fn *fn;
    void *arg;
    struct list link;
};

struct loop *loop_new(void); /* aborts if the kernel has no epoll for us */
void loop_free(struct loop *l);
AUTO_DEFINE(loop, struct loop, loop_free)

/* Run until loop_stop(). */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);
/* One turn: wait at most max_wait_ms, run what is due. For tests and for tools that wait. */
void loop_turn(struct loop *l, msec max_wait_ms);

/*
 * How late it is: a timer that came too late after a wait, or a callback that took so long that whatever came meanwhile
 * waited for it. The longest such time since the last call.
 */
msec loop_take_lag_ms(struct loop *l);
/*
 * Lateness of gap_ms or more is a gap, in which this process did not run (stopped, suspended, blocked, without a
 * processor), and what is known was not heard in time. loop_resumed_ms: when the last one ended, known before anything
 * runs that comes after it; 0: there was none. Until gap_ms is set there are none.
 */
void loop_set_gap(struct loop *l, msec gap_ms);
msec loop_resumed_ms(const struct loop *l);

/* CLOCK_BOOTTIME, read afresh. */
msec loop_clock_ms(void);
/* Wall clock, for people and for Patroni's keys only. */
int64_t wall_clock_ms(void);

/* The descriptor stays the caller's; remove it before closing. */
struct loop_fd *loop_fd_add(struct loop *l, int fd, unsigned int events, loop_fd_fn *fn, void *arg);
void loop_fd_events(struct loop_fd *f, unsigned int events);
void loop_fd_remove(struct loop_fd *f); /* NULL is fine */
/* For what nobody else owns: drop(arg) runs if loop_free() finds the descriptor still watched. */
void loop_fd_on_loop_free(struct loop_fd *f, loop_drop_fn *drop);

void loop_timer_init(struct loop_timer *t, struct loop *l, loop_timer_fn *fn, void *arg);
void loop_timer_set(struct loop_timer *t, msec at_ms); /* absolute; replaces an earlier setting */
/*
 * For what comes again and again and need not be exact: up to LOOP_GRID_MS earlier than at_ms (never in the
 * past), at a moment that all such timers of this process share, so that they wake it together.
 */
enum { LOOP_GRID_MS = 400 };
void loop_timer_set_about(struct loop_timer *t, msec at_ms);
void loop_timer_clear(struct loop_timer *t);

/* Blocks the signal in this thread and delivers it as a callback (signalfd). */
struct loop_signal *loop_signal_add(struct loop *l, int signo, loop_signal_fn *fn, void *arg);
void loop_signal_remove(struct loop_signal *s);

/* Run fn once, before the loop waits again. */
void loop_defer(struct loop *l, loop_timer_fn *fn, void *arg);
