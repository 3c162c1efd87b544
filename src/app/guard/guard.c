#include "app/guard/guard.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/guard/clock.h"
#include "app/guard/ending.h"
#include "app/guard/leftovers.h"
#include "app/guard/notify.h"
#include "app/guard/say.h"
#include "base/check.h"

enum {
    WAKE_MS = 1000,        /* we look around at least this often */
    SUSPENDED_MS = 250,    /* woken this much late we were suspended, and so perhaps was the agent */
    PACKETS_PER_TURN = 32, /* then everything else has its turn */
    LEFTOVERS_MS = 500,    /* what takes longer to die waits for a disk, and has no code of its own left to run */
    LEFTOVERS_STEP_MS = 10,
};

/* Something of the instance lives, or is about to. */
static bool something_is_left(const struct guard *g)
{
    return g->pg.state != GUARD_PG_NONE || g->pg.start == INSTANCE_STARTING;
}

/* --- the fence --- */

bool guard_fence_begun(const struct guard *g)
{
    return g->fence.halt.set && g->fence.fired && !g->fence.spent && something_is_left(g);
}

static void fence_apply(struct guard *g, enum halt_level level, msec now_ms)
{
    bool something = something_is_left(g);

    instance_halt(&g->pg, level, now_ms);
    something |= something_is_left(g); /* the kill looks for itself */
    if (something && !g->fence.fired) {
        g->fence.fired = true;
        g->fence_fired++;
        g->channel.state_due = true;
        say_warning("guard.fence",
                    "the fence of term %llu was not renewed in time (%lld ms ago), stopping PostgreSQL: %s",
                    (unsigned long long)g->fence.term, (long long)(now_ms - g->fence.halt.at_ms), halt_name(level));
    }
    if (!something_is_left(g)) {
        g->fence.spent = true;
        g->fence.closed = level == HALT_KILL;
        g->channel.state_due = true;
    }
}

bool guard_fence_first(struct guard *g, msec now_ms)
{
    /* Also one that is spent: somebody else may have started PostgreSQL since. */
    if (!g->fence.halt.set || g->fence.closed || halt_level(&g->fence.halt, now_ms) != HALT_KILL)
        return false;
    fence_apply(g, HALT_KILL, now_ms);
    return !g->fence.closed;
}

/* --- what happened --- */

static void fill_state(struct guard_msg *m, void *arg)
{
    const struct guard *g = arg;
    const struct instance *pg = &g->pg;
    bool armed = g->fence.halt.set;

    m->term = g->fence.term;
    m->stop_at_ms = armed ? g->fence.halt.at_ms : MSEC_NEVER;
    m->quit_at_ms = armed ? g->fence.halt.quit_at_ms : MSEC_NEVER;
    m->kill_at_ms = armed ? g->fence.halt.kill_at_ms : MSEC_NEVER;
    m->mode = g->stop_mode;
    m->stopping = g->stop.set;
    m->pg_state = pg->state;
    m->postmaster_pid = pg->pid;
    m->exit_status = pg->exit_status;
    m->exit_known = pg->exit_known;
    m->exited = pg->exited;
    m->adopted = pg->adopted;
    m->orphan_count = (uint32_t)pg->orphan_count;
    m->fence_fired = g->fence_fired;
    m->fence_spent = g->fence.spent;
    m->agent_restarts = g->agent.restarts;
    memcpy(m->data_dir, pg->dir, sizeof(m->data_dir));
}

/* What has reached its end with the last process; before the agent is told that there is none. */
static void settle(struct guard *g)
{
    if (something_is_left(g))
        return;
    if (g->fence.fired && !g->fence.spent) {
        g->fence.spent = true;
        g->channel.state_due = true;
    }
    if (g->stop.set) {
        g->stop.set = false;
        g->channel.state_due = true;
    }
}

static void flush(struct guard *g)
{
    settle(g);
    g->channel.state_due |= g->pg.changed;
    g->pg.changed = false;
    channel_flush(&g->channel, fill_state, g, g->pg.pidfd);
}

static void read_packets(struct guard *g)
{
    for (int i = 0; i < PACKETS_PER_TURN; i++) {
        switch (channel_receive(&g->channel)) {
        case CHANNEL_NONE:
            return;
        case CHANNEL_CLOSED:
            channel_close(&g->channel); /* if it lives on without a word to us, it is silent */
            return;
        case CHANNEL_REQUEST:
            agent_heard(&g->agent, clock_now_ms());
            guard_request(g);
            break;
        case CHANNEL_BAD:
            break;
        }
        flush(g);
    }
}

static bool kill_leftovers(const struct guard *g)
{
    const pid_t ours[] = {g->agent.pid, g->upgrade.probe, g->pg.anchor_pid, g->pg.pid};

    return leftovers_kill(ours, ARRAY_LEN(ours));
}

static void on_agent_end(struct guard *g, int status, msec now_ms)
{
    read_packets(g); /* its last words count: LEAVE, then exit */
    channel_close(&g->channel);
    g->start_seq = 0;
    g->upgrade.seq = 0;
    agent_ended(&g->agent, status, now_ms);
    (void)kill_leftovers(g); /* the rest is done before its successor starts */
    ending_agent_gone(g, status);
}

static void reap(struct guard *g, msec now_ms)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == g->agent.pid)
            on_agent_end(g, status, now_ms);
        else if (pid == g->upgrade.probe)
            ending_probe_gone(g, status);
        else
            (void)instance_reaped(&g->pg, pid, status, now_ms); /* or an orphan of anybody's */
    }
}

static void read_signals(struct guard *g, msec now_ms)
{
    struct signalfd_siginfo info;

    while (read(g->signal_fd, &info, sizeof(info)) == sizeof(info)) {
        switch (info.ssi_signo) {
        case SIGTERM:
        case SIGINT:
            ending_signal(g, now_ms);
            break;
        case SIGHUP:
            g->channel.reload_due = true;
            break;
        case SIGUSR1:
            g->channel.reopen_due = true;
            break;
        default: /* SIGCHLD: reaped next */
            break;
        }
    }
}

/* --- what is due --- */

static void pg_duty(struct guard *g, msec now_ms)
{
    enum halt_level fence = g->fence.closed ? HALT_NONE : halt_level(&g->fence.halt, now_ms);
    enum halt_level stop = halt_level(&g->stop, now_ms);
    enum halt_level own = halt_level(&g->own, now_ms);

    if (fence == HALT_KILL || (fence != HALT_NONE && !g->fence.spent))
        fence_apply(g, fence, now_ms);
    if (stop != HALT_NONE || own != HALT_NONE)
        instance_halt(&g->pg, stop > own ? stop : own, now_ms);
    instance_tick(&g->pg, now_ms);
}

/* A start is answered when exec has succeeded, or has failed and nothing of the attempt is left. */
static void start_duty(struct guard *g)
{
    struct instance *pg = &g->pg;
    bool failed = pg->start == INSTANCE_START_FAILED && pg->state != GUARD_PG_RUNNING;

    if (pg->start != INSTANCE_STARTED && !failed)
        return;
    if (g->start_seq) {
        if (g->channel.answer.due)
            return; /* after the answer in hand */
        if (failed)
            channel_refuse(&g->channel, g->start_seq, pg->start_err.text);
        else
            channel_answer(&g->channel, g->start_seq);
        g->start_seq = 0;
    }
    if (failed)
        say_error("guard.pg_start_failed", "starting PostgreSQL failed: %s", pg->start_err.text);
    pg->start = INSTANCE_NOT_STARTING;
}

/* Silence is judged by the time at which the turn began: a suspension in the middle of it is not the agent's. */
static void agent_duty(struct guard *g, msec began_ms, msec now_ms)
{
    int fd;

    if (agent_hung(&g->agent, began_ms))
        agent_kill(&g->agent, g->agent.greeted ? "is silent" : "did not say hello in time");
    if (g->agent.state != AGENT_NONE || g->ending.agent_done || g->exit_code >= 0 || now_ms < g->agent.start_at_ms)
        return;
    if (kill_leftovers(g) && now_ms < g->agent.ended_ms + LEFTOVERS_MS) {
        g->agent.start_at_ms = now_ms + LEFTOVERS_STEP_MS;
        return;
    }
    channel_close(&g->channel);
    if (agent_start(&g->agent, now_ms, &fd))
        channel_open(&g->channel, fd);
}

/* It watches us. For want of an agent systemd would end guard and PostgreSQL, and have no better agent to start. */
static void watchdog_duty(struct guard *g, msec now_ms)
{
    if (notify_watchdog_ms() == MSEC_NEVER || now_ms < g->watchdog_ms)
        return;
    notify_send("WATCHDOG=1");
    g->watchdog_ms = now_ms + notify_watchdog_ms();
}

static msec next_ms(const struct guard *g, msec now_ms)
{
    msec next = clock_after_ms(now_ms, WAKE_MS);

    if (!g->fence.closed)
        next = msec_min(next, halt_next_ms(&g->fence.halt, now_ms));
    next = msec_min(next, halt_next_ms(&g->stop, now_ms));
    next = msec_min(next, halt_next_ms(&g->own, now_ms));
    next = msec_min(next, instance_next_ms(&g->pg));
    next = msec_min(next, agent_hung_at_ms(&g->agent));
    next = msec_min(next, ending_next_ms(g, now_ms));
    if (g->agent.state == AGENT_NONE && !g->ending.agent_done)
        next = msec_min(next, g->agent.start_at_ms);
    if (notify_watchdog_ms() != MSEC_NEVER)
        next = msec_min(next, g->watchdog_ms);
    return next;
}

static void everything_is_ready(struct guard *g)
{
    g->ready.signal = g->ready.channel = g->ready.instance = true;
}

static void wait_for_something(struct guard *g)
{
    const struct channel *c = &g->channel;
    struct pollfd fds[] = {
        {.fd = g->timer_fd, .events = POLLIN},
        {.fd = g->signal_fd, .events = POLLIN},
        {.fd = c->fd, .events = (short)((c->answer.due ? 0 : POLLIN) | (channel_blocked(c) ? POLLOUT : 0))},
        {.fd = g->pg.anchor_fd, .events = POLLIN},
        {.fd = instance_poll_fd(&g->pg), .events = POLLIN},
    };
    g->planned_ms = next_ms(g, g->turn_ms); /* what became due since then wakes us at once */
    const struct itimerspec at = {
        .it_value = {.tv_sec = g->planned_ms / 1000, .tv_nsec = g->planned_ms % 1000 * 1000000}};
    CHECK(timerfd_settime(g->timer_fd, TFD_TIMER_ABSTIME, &at, NULL) == 0);

    if (poll(fds, ARRAY_LEN(fds), -1) < 0) { /* the timer is its deadline */
        CHECK(errno == EINTR || errno == ENOMEM);
        everything_is_ready(g);
        return;
    }
    if (fds[0].revents) {
        uint64_t ticks;
        (void)!read(g->timer_fd, &ticks, sizeof(ticks)); /* how many is of no interest */
    }
    g->ready.signal = fds[1].revents;
    g->ready.channel = fds[2].revents;
    g->ready.instance = fds[3].revents || fds[4].revents;
}

static void guard_turn(struct guard *g)
{
    const msec began_ms = clock_now_ms();

    (void)guard_fence_first(g, began_ms);
    if (began_ms >= g->planned_ms)
        everything_is_ready(g); /* now and then we look around; and nobody's silence is judged with packets unread */
    if (g->planned_ms && began_ms > g->planned_ms + SUSPENDED_MS)
        agent_heard(&g->agent, began_ms); /* its silence may be ours */

    if (g->ready.instance)
        instance_collect(&g->pg, began_ms);
    if (g->ready.channel)
        read_packets(g);
    if (g->ready.signal) {
        read_signals(g, began_ms);
        reap(g, began_ms);
    }

    const msec now_ms = g->turn_ms = clock_now_ms();
    ending_duty(g, now_ms); /* may want a stop, now */
    pg_duty(g, now_ms);
    start_duty(g);
    agent_duty(g, began_ms, now_ms);
    watchdog_duty(g, now_ms);
    flush(g);
}

int guard_run(struct guard *g)
{
    while (g->exit_code < 0) {
        guard_turn(g);
        if (g->exit_code < 0)
            wait_for_something(g);
    }
    return g->exit_code;
}
