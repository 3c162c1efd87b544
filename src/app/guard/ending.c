#include "app/guard/ending.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "app/guard/carry.h"
#include "app/guard/clock.h"
#include "app/guard/lock.h"
#include "app/guard/notify.h"
#include "app/guard/say.h"
#include "wire/guard.h"

enum {
    OWN_QUIT_MS = 60000, /* our own fast stop, which may write a checkpoint; doubled, systemd's patience ends first */
    KILL_AFTER_QUIT_MS = 6000, /* PostgreSQL gives its children 5 s after SIGQUIT */
    HURRY_QUIT_MS = 10000,     /* after a second signal */
};

static bool going_down(const struct guard *g)
{
    return g->ending.signals || g->ending.leave;
}

static void own_stop(struct guard *g, enum halt_level first, msec quit_ms, msec now_ms)
{
    g->own = (struct halt){.set = true,
                           .first = first,
                           .at_ms = now_ms,
                           .quit_at_ms = now_ms + quit_ms,
                           .kill_at_ms = now_ms + quit_ms + KILL_AFTER_QUIT_MS};
}

void ending_signal(struct guard *g, msec now_ms)
{
    struct ending *e = &g->ending;

    e->signals++;
    if (e->signals == 1) {
        e->begun_ms = now_ms;
        g->channel.term_due = true;
        notify_send("STOPPING=1");
        say_info("guard.term", "asked to end, telling the agent");
        return;
    }
    if (g->pg.claimed && !e->leave)
        own_stop(g, e->signals == 2 ? HALT_FAST : HALT_QUIT, e->signals == 2 ? HURRY_QUIT_MS : 0, now_ms);
    if (e->signals == 2)
        e->hurried_ms = now_ms;
    say_warning("guard.term", "asked to end again, %s", e->leave ? "but PostgreSQL stays" : "stopping PostgreSQL now");
}

void ending_agent_gone(struct guard *g, int status)
{
    bool config = WIFEXITED(status) && WEXITSTATUS(status) == GUARD_EXIT_CONFIG;

    if (going_down(g)) {
        g->ending.agent_done = true;
        g->ending.agent_failed = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
        return;
    }
    if (config && !g->pg.claimed)
        g->exit_code = GUARD_EXIT_CONFIG;
    else if (config)
        say_error("guard.agent_config",
                  "the agent's configuration is wrong; PostgreSQL runs on, trying again until it is right");
}

void ending_probe_gone(struct guard *g, int status)
{
    g->upgrade.probe = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == CARRY_EXIT_GOOD) {
        g->upgrade.ready = true;
        return;
    }
    say_error("guard.upgrade", "%s does not take over from us (wait status %d), running on", g->self_path, status);
    g->upgrade.failed = true;
}

/* --- duties --- */

/* As long as the agent may take: GUARD_TERM's time, or the end of the stop that it asked for. */
static msec agent_bound_ms(const struct guard *g)
{
    msec bound_ms = g->ending.begun_ms + GUARD_END_MS;

    if (g->ending.hurried_ms)
        return g->ending.hurried_ms + HURRY_QUIT_MS;
    if (g->stop.set && g->stop.kill_at_ms != MSEC_NEVER)
        bound_ms = msec_max(bound_ms, g->stop.kill_at_ms + KILL_AFTER_QUIT_MS);
    return bound_ms;
}

/* LEAVE: PostgreSQL stays. If we are its grandparent, its parent must first be told to outlive us. */
static void leave_duty(struct guard *g)
{
    bool ours = g->pg.claimed && !g->pg.adopted && g->pg.anchor_fd >= 0;

    if (ours && !g->ending.leave_asked)
        g->ending.leave_asked = anchor_stay(g->pg.anchor_fd);
    if (ours && !g->pg.anchor_stays)
        return; /* it answers within a millisecond; while it does not, we had better stay */
    if (g->pg.claimed && !ours && !g->pg.adopted)
        return; /* its parent died: it goes down, and we see it through */
    lock_release(&g->lock_fd);
    say_info("guard.left", "ended; %s", g->pg.claimed ? "PostgreSQL runs on" : "PostgreSQL is not running");
    g->exit_code = 0;
}

static void down_duty(struct guard *g, msec now_ms)
{
    if (!g->pg.claimed) {
        say_info("guard.ended", "ended");
        g->exit_code = g->ending.agent_failed ? 1 : 0;
        return;
    }
    if (!g->own.set)
        own_stop(g, HALT_FAST, OWN_QUIT_MS, now_ms);
}

static void upgrade_duty(struct guard *g, msec now_ms)
{
    struct upgrade *u = &g->upgrade;
    struct err err;

    if (u->probe && now_ms >= u->deadline_ms) {
        (void)kill(u->probe, SIGKILL); /* its end is a failure like any other */
        u->deadline_ms = MSEC_NEVER;
    }
    if (u->probe || g->channel.answer.due)
        return;
    if (u->seq && (u->failed || u->ready)) {
        if (u->failed)
            channel_refuse(&g->channel, u->seq, "the new binary does not take over the state of this guard");
        else
            channel_answer(&g->channel, u->seq);
        u->seq = 0;
        return; /* it is sent first */
    }
    if (u->ready && !going_down(g)) {
        say_info("guard.upgrade", "executing %s in place", g->self_path);
        carry_exec(g, &err);
        say_error("guard.upgrade", "%s, running on", err.text);
    }
    u->ready = false;
    u->failed = false;
}

void ending_duty(struct guard *g, msec now_ms)
{
    struct ending *e = &g->ending;

    upgrade_duty(g, now_ms);
    if (!going_down(g) || g->exit_code >= 0)
        return;

    if (g->agent.state == AGENT_NONE && !e->agent_done) {
        e->agent_done = true; /* asked to end while there was none */
        e->agent_failed = true;
    }
    if (g->agent.state == AGENT_RUNNING && now_ms >= agent_bound_ms(g))
        agent_kill(&g->agent, "did not end in time");
    if (!e->agent_done)
        return;
    if (e->leave)
        leave_duty(g);
    else
        down_duty(g, now_ms);
}

msec ending_next_ms(const struct guard *g, msec now_ms)
{
    const struct upgrade *u = &g->upgrade;
    msec next = u->probe ? u->deadline_ms : MSEC_NEVER;

    if ((u->ready || u->failed) && !g->channel.answer.due)
        return now_ms;
    if (g->ending.agent_done && !g->ending.leave && !g->pg.claimed)
        return now_ms;
    if (going_down(g) && g->agent.state == AGENT_RUNNING)
        next = msec_min(next, agent_bound_ms(g));
    return next;
}
