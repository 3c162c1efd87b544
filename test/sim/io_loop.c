/*
 * io/loop.h, io/mailbox.h, io/log.h and io/child.h over the simulated world: what the agent's code is linked with here.
 *
 * A loop belongs to the process whose event made it. Nothing of it runs but as an event of that process, so a
 * stopped agent does nothing, and then finds its timers late, as a real one does.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/str.h"
#include "io/child.h"
#include "io/log.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "test/sim/world.h"

enum { DEFERRED_MAX = 64 };
#define USEC_NEVER INT64_MAX

struct loop {
    struct proc *proc;
    struct list timers;
    struct {
        loop_timer_fn *fn;
        void *arg;
    } deferred[DEFERRED_MAX];
    size_t deferred_count;
    usec turn_at; /* the earliest turn that is queued; USEC_NEVER: none */
    bool in_turn;
    bool stopped;
    msec lag_ms, gap_ms, resumed_ms;
};

static void turn(void *arg);

static void turn_by(struct loop *l, usec at)
{
    if (l->in_turn || at >= l->turn_at)
        return;
    l->turn_at = at < world.now ? world.now : at;
    event_at(l->turn_at, l->proc, turn, l);
}

static usec moment(const struct loop *l, msec at_ms)
{
    return at_ms == MSEC_NEVER ? USEC_NEVER : host_moment(l->proc->host, at_ms);
}

static struct loop_timer *next_timer(struct loop *l)
{
    struct loop_timer *next = NULL;

    LIST_EACH (it, tmp, &l->timers) {
        struct loop_timer *t = LIST_ENTRY(it, struct loop_timer, link);
        if (!next || t->at_ms < next->at_ms)
            next = t;
    }
    return next;
}

static void run_timers(struct loop *l)
{
    msec now_ms = loop_clock_ms();
    struct loop_timer *first = next_timer(l);

    if (first && first->at_ms < now_ms) { /* as after a stop */
        l->lag_ms = msec_max(l->lag_ms, now_ms - first->at_ms);
        if (l->gap_ms && now_ms - first->at_ms >= l->gap_ms)
            l->resumed_ms = now_ms;
    }
    for (struct loop_timer *t = next_timer(l); t && t->at_ms <= now_ms && !l->stopped; t = next_timer(l)) {
        loop_timer_clear(t);
        t->fn(t->arg);
    }
}

static void run_deferred(struct loop *l)
{
    for (size_t i = 0; i < l->deferred_count && !l->stopped; i++)
        l->deferred[i].fn(l->deferred[i].arg);
    l->deferred_count = 0;
}

static void turn(void *arg)
{
    struct loop *l = arg;

    if (world.now < l->turn_at)
        return; /* an earlier one has come before it */
    l->turn_at = USEC_NEVER;
    l->in_turn = true;
    run_timers(l);
    run_deferred(l);
    l->in_turn = false;
    if (l->stopped)
        return;
    struct loop_timer *next = next_timer(l);
    if (next)
        turn_by(l, moment(l, next->at_ms));
}

struct loop *loop_new(void)
{
    struct loop *l = mem_zero(1, sizeof(*l));

    CHECK(world.current);
    l->proc = world.current;
    l->turn_at = USEC_NEVER;
    list_init(&l->timers);
    return l;
}

void loop_free(struct loop *l)
{
    free(l);
}

void loop_run(struct loop *l)
{
    UNREACHABLE(); /* here loops run by the world's events */
}

void loop_stop(struct loop *l)
{
    l->stopped = true;
    world_agent_ended(l->proc);
}

msec loop_take_lag_ms(struct loop *l)
{
    msec lag_ms = l->lag_ms;

    l->lag_ms = 0;
    return lag_ms;
}

void loop_set_gap(struct loop *l, msec gap_ms)
{
    l->gap_ms = gap_ms;
}

msec loop_resumed_ms(const struct loop *l)
{
    return l->resumed_ms;
}

msec loop_clock_ms(void)
{
    return world.current ? host_clock_ms(world.current->host) : world.now / 1000;
}

int64_t wall_clock_ms(void)
{
    return 1700000000000 + (world.now + (world.current ? world.current->host->wall_offset : 0)) / 1000;
}

void loop_timer_init(struct loop_timer *t, struct loop *l, loop_timer_fn *fn, void *arg)
{
    *t = (struct loop_timer){.loop = l, .at_ms = MSEC_NEVER, .fn = fn, .arg = arg};
    list_init(&t->link);
}

void loop_timer_set(struct loop_timer *t, msec at_ms)
{
    t->at_ms = at_ms;
    list_remove(&t->link);
    if (at_ms == MSEC_NEVER)
        return;
    list_add_tail(&t->loop->timers, &t->link);
    turn_by(t->loop, moment(t->loop, at_ms));
}

void loop_timer_set_about(struct loop_timer *t, msec at_ms)
{
    loop_timer_set(t, at_ms);
}

void loop_timer_clear(struct loop_timer *t)
{
    list_remove(&t->link);
    t->at_ms = MSEC_NEVER;
}

void loop_defer(struct loop *l, loop_timer_fn *fn, void *arg)
{
    CHECK(l->deferred_count < DEFERRED_MAX);
    l->deferred[l->deferred_count].fn = fn;
    l->deferred[l->deferred_count++].arg = arg;
    turn_by(l, world.now);
}

struct loop_signal *loop_signal_add(struct loop *l, int signo, loop_signal_fn *fn, void *arg)
{
    return NULL; /* an upgrade in place is the cluster tests' */
}

/* ---- mailbox: the HTTP thread's letters ---- */

struct mailbox {
    struct loop *loop;
    mailbox_fn *fn;
    void *arg;
    struct list letters;
};

static void deliver(void *arg)
{
    struct mailbox *m = arg;

    while (!list_empty(&m->letters)) {
        struct list *first = m->letters.next;
        list_remove(first);
        m->fn(LIST_ENTRY(first, struct letter, link), m->arg);
    }
}

struct mailbox *mailbox_new(struct loop *l, mailbox_fn *fn, void *arg)
{
    struct mailbox *m = mem_zero(1, sizeof(*m));

    m->loop = l;
    m->fn = fn;
    m->arg = arg;
    list_init(&m->letters);
    return m;
}

void mailbox_free(struct mailbox *m)
{
    free(m);
}

bool mailbox_send(struct mailbox *m, struct letter *letter)
{
    list_add_tail(&m->letters, &letter->link);
    event_in(0, m->loop->proc, deliver, m);
    return true;
}

/* ---- log: the agents' part of the story ---- */

void log_line(enum log_level level, const char *event, const char *fmt, ...)
{
    static const char *const names[] = {"debug", "info", "warning", "error", "CRITICAL"};
    char text[512];
    va_list args;

    if (!world.verbose)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    story("%s: %s", names[level], text);
}

bool log_configure(const struct log_conf *conf, struct err *err)
{
    return true;
}

void log_reopen(void)
{
}

bool log_level_parse(const char *name, enum log_level *ret_level)
{
    return true;
}

/* ---- programs: the simulated agents run none of their own ---- */

bool child_start(struct loop *l, const struct child_spec *spec, child_done_fn *done, void *arg,
                 struct child **ret_child, struct err *err)
{
    return err_set(err, ERR_SYS, "no programs here");
}

void child_abandon(struct child *c)
{
}

bool child_succeeded(const struct child_result *r, const char *name, struct err *err)
{
    return true;
}
