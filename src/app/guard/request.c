/*
 * The agent's requests, one function each: what is refused and why, and what it changes.
 */
#include "app/guard/guard.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

#include "app/guard/carry.h"
#include "app/guard/clock.h"
#include "app/guard/envblock.h"
#include "app/guard/say.h"
#include "base/str.h"

enum { ARGV_MAX = 256 };

static void refuse(struct guard *g, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void refuse(struct guard *g, const char *fmt, ...)
{
    char why[GUARD_TEXT_MAX];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(why, sizeof(why), fmt, args);
    va_end(args);
    channel_refuse(&g->channel, g->channel.in.seq, why);
    say_warning("guard.refused", "refused a request of the agent (kind %u): %s", g->channel.in.kind, why);
}

static void done(struct guard *g)
{
    channel_answer(&g->channel, g->channel.in.seq);
}

static void on_hello(struct guard *g, msec now_ms)
{
    if (strcmp(g->channel.in.data_dir, g->pg.dir) != 0) {
        refuse(g, "this guard is for %.200s", g->pg.dir);
        return;
    }
    g->agent.greeted = true;
    instance_look(&g->pg, now_ms);
    done(g);
}

/* The NUL-separated texts of m->args as argv; false if there are none, too many, or the last has no end. */
static bool argv_of(struct guard_msg *m, char *argv[ARGV_MAX + 1])
{
    size_t count = 0;

    if (!m->args_len || m->args[m->args_len - 1] != '\0')
        return false;
    for (size_t at = 0; at < m->args_len; at += strlen(m->args + at) + 1) {
        if (count == ARGV_MAX)
            return false;
        argv[count++] = m->args + at;
    }
    argv[count] = NULL;
    return argv[0][0] == '/';
}

static bool env_of(struct guard_msg *m, char *const *from, struct envblock *env)
{
    if (!envblock_init(env, from, ENVBLOCK_POSTMASTER))
        return false;
    for (size_t at = 0; at < sizeof(m->env) && m->env[at]; at += strlen(m->env + at) + 1)
        if (!memchr(m->env + at, '\0', sizeof(m->env) - at) || !envblock_set(env, m->env + at))
            return false;
    return true;
}

static const char *start_obstacle(struct guard *g, msec now_ms)
{
    if (g->ending.signals || g->ending.leave || g->upgrade.probe || g->upgrade.ready)
        return "the guard is about to end or to be replaced";
    if (g->start_seq)
        return "a start is under way";
    if (g->fence.halt.set && (g->fence.spent || halt_level(&g->fence.halt, now_ms) != HALT_NONE))
        return "the fence has passed: disarm it or arm a later one first";
    instance_look(&g->pg, now_ms);
    switch (g->pg.state) {
    case GUARD_PG_NONE:
        return NULL;
    case GUARD_PG_RUNNING:
        return "PostgreSQL is running";
    case GUARD_PG_ORPHANS:
        return "processes of a dead postmaster are left: stop with mode kill first";
    case GUARD_PG_FOREIGN:
        return "PostgreSQL is running, started by somebody else: adopt it";
    }
    return NULL;
}

static void on_start(struct guard *g, msec now_ms)
{
    static char *argv[ARGV_MAX + 1];
    static struct envblock env;
    struct guard_msg *m = &g->channel.in;
    struct err err;

    const char *obstacle = start_obstacle(g, now_ms);
    if (obstacle) {
        refuse(g, "%s", obstacle);
        return;
    }
    if (!argv_of(m, argv) || !env_of(m, g->env, &env)) {
        refuse(g, "malformed arguments or environment (argv[0] must be an absolute path)");
        return;
    }

    const struct anchor_spec spec = {.argv = argv,
                                     .envp = env.at,
                                     .cwd = g->pg.dir,
                                     .log_path = m->log_path,
                                     .origin = &g->origin,
                                     .title = g->title,
                                     .title_cap = g->title_cap};
    g->stop.set = false;
    if (!instance_start(&g->pg, &spec, &err)) {
        refuse(g, "starting %.100s: %.120s", argv[0], err.text);
        return;
    }
    g->start_seq = m->seq;
}

static msec moment_of(msec wanted_ms)
{
    return wanted_ms > 0 ? wanted_ms : MSEC_NEVER;
}

static void on_stop(struct guard *g, msec now_ms)
{
    static const enum halt_level levels[] = {HALT_SMART, HALT_FAST, HALT_QUIT, HALT_KILL};
    const struct guard_msg *m = &g->channel.in;

    if (m->mode > GUARD_STOP_KILL) {
        refuse(g, "unknown stop mode %u", m->mode);
        return;
    }
    instance_look(&g->pg, now_ms);
    if (g->pg.state == GUARD_PG_FOREIGN) {
        refuse(g, "this PostgreSQL was started by somebody else: adopt it first");
        return;
    }
    if (g->pg.state == GUARD_PG_ORPHANS && !g->pg.claimed && m->mode != GUARD_STOP_KILL) {
        refuse(g, "there is no postmaster to signal: stop with mode kill");
        return;
    }
    done(g);
    if (g->pg.state == GUARD_PG_NONE && !g->start_seq)
        return; /* it is stopped */

    g->stop_mode = m->mode;
    g->stop = (struct halt){.set = true,
                            .first = levels[m->mode],
                            .at_ms = now_ms,
                            .quit_at_ms = moment_of(m->quit_at_ms),
                            .kill_at_ms = moment_of(m->kill_at_ms)};
}

static void on_adopt(struct guard *g, msec now_ms)
{
    struct err err;

    if (g->ending.signals)
        refuse(g, "the guard is about to end");
    else if (g->channel.in.postmaster_pid <= 0)
        refuse(g, "no process is named");
    else if (!instance_adopt(&g->pg, g->channel.in.postmaster_pid, now_ms, &err))
        refuse(g, "%s", err.text);
    else
        done(g);
}

static void on_arm(struct guard *g, msec now_ms)
{
    const struct guard_msg *m = &g->channel.in;

    if (m->stop_at_ms <= 0 || m->stop_at_ms > m->quit_at_ms || m->quit_at_ms > m->kill_at_ms ||
        m->kill_at_ms == MSEC_NEVER) {
        refuse(g, "the moments of a fence must be set and in order");
        return;
    }
    if (guard_fence_first(g, now_ms) || guard_fence_begun(g)) {
        refuse(g, "the fence of term %llu is stopping PostgreSQL", (unsigned long long)g->fence.term);
        return;
    }
    if (g->pg.state == GUARD_PG_FOREIGN) {
        refuse(g, "this PostgreSQL was started by somebody else: adopt it first");
        return;
    }
    bool passed = now_ms >= m->kill_at_ms;
    if (passed && g->fence.spent) {
        refuse(g, "the deadline of this fence has passed");
        return;
    }

    g->fence = (struct fence){.term = m->term};
    g->fence.halt = (struct halt){.set = true,
                                  .first = HALT_FAST,
                                  .at_ms = m->stop_at_ms,
                                  .quit_at_ms = m->quit_at_ms,
                                  .kill_at_ms = m->kill_at_ms};
    if (passed) {
        (void)guard_fence_first(g, now_ms);
        refuse(g, "the deadline of this fence has passed: PostgreSQL is stopped");
        return;
    }
    instance_learn_exe(&g->pg);
    done(g);
}

static void on_disarm(struct guard *g, msec now_ms)
{
    if (guard_fence_first(g, now_ms) || guard_fence_begun(g)) {
        refuse(g, "the fence of term %llu is stopping PostgreSQL", (unsigned long long)g->fence.term);
        return;
    }
    g->fence = (struct fence){0};
    done(g);
}

static void on_leave(struct guard *g, msec now_ms)
{
    if (g->fence.halt.set)
        refuse(g, "a fence is armed: disarm it first");
    else if (g->start_seq || g->stop.set || g->own.set || g->upgrade.probe || g->upgrade.ready)
        refuse(g, "a start, a stop or an upgrade is under way");
    else {
        g->ending.leave = true;
        g->ending.begun_ms = g->ending.signals ? g->ending.begun_ms : now_ms;
        done(g);
        say_info("guard.leaving", "the agent leaves PostgreSQL to itself");
    }
}

static void on_upgrade(struct guard *g, msec now_ms)
{
    struct err err;

    if (g->ending.signals || g->ending.leave || g->upgrade.probe || g->upgrade.ready || g->start_seq)
        refuse(g, "the guard is about to end, or a start or an upgrade is under way");
    else if (!carry_probe(g, now_ms, &err))
        refuse(g, "%s", err.text);
    else
        g->upgrade.seq = g->channel.in.seq;
}

void guard_request(struct guard *g)
{
    /* Afresh for each: we may have been suspended since the last one, and a deadline may have passed. */
    msec now_ms = clock_now_ms();
    uint32_t kind = g->channel.in.kind;

    if (!g->agent.greeted && kind != GUARD_HELLO && kind != GUARD_PING && kind != GUARD_BEAT) {
        refuse(g, "no HELLO yet");
        return;
    }
    switch ((enum guard_kind)kind) {
    case GUARD_HELLO:
        on_hello(g, now_ms);
        return;
    case GUARD_START:
        on_start(g, now_ms);
        return;
    case GUARD_STOP:
        on_stop(g, now_ms);
        return;
    case GUARD_ADOPT:
        on_adopt(g, now_ms);
        return;
    case GUARD_ARM:
        on_arm(g, now_ms);
        return;
    case GUARD_DISARM:
        on_disarm(g, now_ms);
        return;
    case GUARD_PING:
        done(g);
        return;
    case GUARD_LEAVE:
        on_leave(g, now_ms);
        return;
    case GUARD_UPGRADE:
        on_upgrade(g, now_ms);
        return;
    case GUARD_BEAT: /* that it came is all */
        return;
    case GUARD_STATE:
    case GUARD_REFUSED:
    case GUARD_TERM:
    case GUARD_RELOAD:
    case GUARD_REOPEN:
        break;
    }
    refuse(g, "unknown request %u", kind);
}
