#include "test/sim/guard_sim.h"

#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "app/agent/guard_link.h"
#include "base/check.h"
#include "base/str.h"
#include "io/loop.h"

enum {
    MESSAGE = 200,        /* one way over the socket pair */
    AGENT_AGAIN = 100000, /* a dead agent's successor */
    WATCH_LATE = 100000,
    ORPHANS_KILLED = 1000000,
    SYSTEMD_AGAIN = 2000000,
    SYSTEMD_AGAIN_MAX = 6000000,
    PID_FIRST = 2000000000, /* no process of the real machine has it */
};

static struct sim_guard *guards[HOSTS_MAX];

struct guard_link {
    struct sim_guard *guard;
    uint64_t guard_generation;
    struct guard_link_events events;
    void *arg;
    uint64_t seq;
    struct loop_timer beat;
    msec waits_ms;
    bool silent, over;
};

/* A packet without what it has room for: paths and arguments. */
enum { HEAD = offsetof(struct guard_msg, data_dir) };

struct parcel {
    struct sim_guard *guard;
    struct guard_link *link;
    char head[HEAD] __attribute__((aligned(8)));
    const char *text; /* a constant */
};

/* The one packet that is looked at now; all beyond its head stays empty. */
static struct guard_msg *unpack(const struct parcel *p)
{
    static struct guard_msg msg;

    memcpy(&msg, p->head, HEAD);
    str_copy(msg.text, sizeof(msg.text), p->text ? p->text : "");
    return &msg;
}

/* ---- guard → agent ---- */

static void parcel_seen(void *arg)
{
    struct parcel *p = arg;
    struct guard_link *l = p->link;

    if (!l->over) {
        const struct guard_msg *m = unpack(p);
        l->waits_ms = 0;
        l->silent = false;
        if (m->kind == GUARD_STATE)
            l->events.state(m, l->arg);
        else if (m->kind == GUARD_TERM)
            l->events.term(l->arg);
        else
            l->events.refused(m, l->arg);
    }
    free(p);
}

static void say(struct sim_guard *g, enum guard_kind kind, uint64_t seq, const char *text)
{
    if (!g->link || !g->agent.alive)
        return;
    struct parcel *p = mem_zero(1, sizeof(*p));
    struct guard_msg *m = (struct guard_msg *)(void *)p->head; /* its head alone is touched */
    p->link = g->link;
    m->version = GUARD_PROTOCOL;
    m->kind = kind;
    m->seq = seq;
    m->term = g->fence.term;
    m->stop_at_ms = g->fence.stop_ms;
    m->quit_at_ms = g->fence.quit_ms;
    m->kill_at_ms = g->fence.kill_ms;
    m->pg_state = pg_postmaster_lives(g->pg) ? GUARD_PG_RUNNING
                  : pg_backends_live(g->pg)  ? GUARD_PG_ORPHANS
                                             : GUARD_PG_NONE;
    m->postmaster_pid = pg_postmaster_lives(g->pg) ? (int32_t)g->pid : 0;
    m->exited = g->pg->deaths;
    m->stopping = g->stopping;
    m->fence_fired = g->fence.fired;
    m->fence_spent = g->fence.spent;
    m->agent_restarts = g->agent_starts;
    p->text = text;
    event_in(MESSAGE, &g->agent, parcel_seen, p);
}

/* ---- the guard itself ---- */

static void fence_due(void *arg);

static msec now_ms(const struct sim_guard *g)
{
    return host_clock_ms(g->host);
}

static void look_at(struct sim_guard *g, usec at)
{
    if (at >= g->look_at)
        return;
    g->look_at = at;
    event_at(at, &g->proc, fence_due, g);
}

/* At the next of its deadlines. */
static void look_later(struct sim_guard *g)
{
    const msec deadlines[] = {g->fence.stop_ms, g->fence.quit_ms, g->fence.kill_ms,
                              g->stopping ? g->stop_quit_ms : MSEC_NEVER};

    for (size_t i = 0; i < ARRAY_LEN(deadlines); i++)
        if (deadlines[i] > now_ms(g) && deadlines[i] != MSEC_NEVER)
            look_at(g, host_moment(g->host, deadlines[i]));
}

static bool instance_runs(const struct sim_guard *g)
{
    return pg_postmaster_lives(g->pg) || pg_backends_live(g->pg);
}

static void fence_done(struct sim_guard *g)
{
    if (!g->fence.begun || instance_runs(g))
        return;
    g->fence.begun = false;
    g->fence.spent = true;
}

static void fence_work(struct sim_guard *g)
{
    msec now = now_ms(g);

    if (g->fence.stop_ms != MSEC_NEVER && now >= g->fence.stop_ms && instance_runs(g)) {
        if (!g->fence.begun) {
            g->fence.begun = true;
            g->fence.fired++;
            story("guard: the fence stops PostgreSQL");
        }
        if (now >= g->fence.quit_ms)
            pg_kill(g->pg);
        else
            pg_stop_fast(g->pg);
    }
    if (g->stopping && now >= g->stop_quit_ms)
        pg_kill(g->pg);
    fence_done(g);
}

static void fence_due(void *arg)
{
    struct sim_guard *g = arg;
    unsigned int fired = g->fence.fired;

    if (world.now < g->look_at)
        return; /* an earlier one has come before it */
    g->look_at = INT64_MAX;
    fence_work(g);
    look_later(g);
    if (g->fence.fired != fired)
        say(g, GUARD_STATE, 0, NULL);
}

static void arm(struct sim_guard *g, const struct guard_msg *m)
{
    if (g->fence.begun) {
        say(g, GUARD_REFUSED, m->seq, "the fence is stopping PostgreSQL");
        return;
    }
    if (m->kill_at_ms <= now_ms(g)) {
        if (instance_runs(g)) {
            g->fence.fired++;
            g->fence.begun = true;
            pg_kill(g->pg);
            fence_done(g);
        }
        say(g, GUARD_REFUSED, m->seq, "its time has passed");
        return;
    }
    if (g->fence.spent && m->kill_at_ms <= g->fence.kill_ms) {
        say(g, GUARD_STATE, m->seq, NULL);
        return;
    }
    g->fence.term = m->term;
    g->fence.stop_ms = m->stop_at_ms;
    g->fence.quit_ms = m->quit_at_ms;
    g->fence.kill_ms = m->kill_at_ms;
    g->fence.spent = false;
    look_at(g, world.now);
    say(g, GUARD_STATE, m->seq, NULL);
}

static void disarm(struct sim_guard *g, const struct guard_msg *m)
{
    if (g->fence.begun) {
        say(g, GUARD_REFUSED, m->seq, "the fence is stopping PostgreSQL");
        return;
    }
    g->fence.stop_ms = g->fence.quit_ms = g->fence.kill_ms = MSEC_NEVER;
    g->fence.spent = false;
    say(g, GUARD_STATE, m->seq, NULL);
}

static void start(struct sim_guard *g, const struct guard_msg *m)
{
    if (instance_runs(g) || g->fence.spent || g->pg->disk.kind != DATADIR_VALID) {
        say(g, GUARD_REFUSED, m->seq, g->fence.spent ? "the fence bars it" : "not now");
        return;
    }
    g->stopping = false;
    g->pid++;
    pg_start(g->pg);
    say(g, GUARD_STATE, m->seq, NULL);
}

static void stop(struct sim_guard *g, const struct guard_msg *m)
{
    g->stopping = instance_runs(g);
    g->stop_quit_ms = msec_min(m->quit_at_ms, m->kill_at_ms);
    if (m->mode == GUARD_STOP_FAST || m->mode == GUARD_STOP_SMART)
        pg_stop_fast(g->pg);
    else
        pg_kill(g->pg);
    look_at(g, world.now);
    say(g, GUARD_STATE, m->seq, NULL);
}

static void requested(void *arg)
{
    struct parcel *p = arg;
    struct sim_guard *g = p->guard;
    const struct guard_msg *m = unpack(p);

    g->heard = world.now;
    fence_work(g); /* a deadline comes before a message that waited */
    switch ((enum guard_kind)m->kind) {
    case GUARD_START:
        start(g, m);
        break;
    case GUARD_STOP:
        stop(g, m);
        break;
    case GUARD_ARM:
        arm(g, m);
        break;
    case GUARD_DISARM:
        disarm(g, m);
        break;
    case GUARD_LEAVE:
        g->leaving = true;
        say(g, GUARD_STATE, m->seq, NULL);
        break;
    case GUARD_HELLO:
    case GUARD_ADOPT:
    case GUARD_PING:
    case GUARD_UPGRADE:
        say(g, GUARD_STATE, m->seq, NULL);
        break;
    case GUARD_BEAT:
        break;
    case GUARD_STATE:
    case GUARD_REFUSED:
    case GUARD_TERM:
    case GUARD_RELOAD:
    case GUARD_REOPEN:
        UNREACHABLE();
    }
    free(p);
}

static void agent_begins(void *arg)
{
    struct sim_guard *g = arg;

    g->run_agent(g);
}

static void start_agent(void *arg)
{
    struct sim_guard *g = arg;

    if (g->agent.alive)
        return;
    if (world.now < g->barred_until) {
        event_at(g->barred_until, &g->proc, start_agent, g);
        return;
    }
    g->agent_starts++;
    g->heard = world.now;
    g->link = NULL;
    proc_start(&g->agent, g->host, "agent");
    event_in(1000, &g->agent, agent_begins, g);
}

/* A hung agent is killed before its successor starts; a dead one is replaced. */
static void watch_agent(void *arg)
{
    struct sim_guard *g = arg;
    usec silence = GUARD_SILENCE_MS * 1000;
    bool silent = world.now - g->heard >= silence;

    if (g->agent.alive && silent) {
        story("guard: the agent says nothing; replacing it");
        guard_sim_kill_agent(g);
    }
    event_at(silent ? world.now + silence : g->heard + silence + chance(WATCH_LATE), &g->proc, watch_agent, g);
}

void guard_sim_kill_agent(struct sim_guard *g)
{
    proc_kill(&g->agent);
    if (g->proc.alive)
        event_in(AGENT_AGAIN, &g->proc, start_agent, g);
}

void guard_sim_bar_agent(struct sim_guard *g, usec until)
{
    if (until > g->barred_until)
        g->barred_until = until;
    if (g->agent.alive)
        guard_sim_kill_agent(g);
}

/* Its patience with an agent that is to end is over, or there is none. */
static void term_due(void *arg)
{
    struct sim_guard *g = arg;

    guard_sim_agent_exited(g, 0);
}

void guard_sim_term(struct sim_guard *g)
{
    if (!g->proc.alive)
        return;
    if (g->agent.alive)
        say(g, GUARD_TERM, 0, NULL);
    event_in(g->agent.alive ? GUARD_END_MS * 1000 : 0, &g->proc, term_due, g);
}

static void orphans_due(void *arg)
{
    struct sim_guard *g = arg;

    if (!pg_postmaster_lives(g->pg))
        pg_kill(g->pg);
}

void guard_sim_pg_died(struct pg *p, void *arg)
{
    struct sim_guard *g = arg;

    if (!g->proc.alive)
        return;
    if (!instance_runs(g))
        g->stopping = false;
    else
        event_in(ORPHANS_KILLED, &g->proc, orphans_due, g);
    fence_done(g);
    say(g, GUARD_STATE, 0, NULL);
}

void guard_sim_start(struct sim_guard *g)
{
    if (g->proc.alive || !g->host->up)
        return;
    proc_start(&g->proc, g->host, "guard");
    g->fence.stop_ms = g->fence.quit_ms = g->fence.kill_ms = MSEC_NEVER;
    g->fence.begun = g->fence.spent = g->stopping = g->leaving = false;
    g->look_at = INT64_MAX;
    event_in(1000, &g->proc, start_agent, g);
    event_in(2000, &g->proc, watch_agent, g);
}

static void systemd_starts(void *arg)
{
    guard_sim_start(arg);
}

static void systemd_later(struct sim_guard *g)
{
    event_in(chance_between(SYSTEMD_AGAIN, SYSTEMD_AGAIN_MAX), &g->host->kernel, systemd_starts, g);
}

static void link_closed(void *arg)
{
    struct sim_guard *g = arg;

    if (g->link && !g->link->over) {
        g->link->over = true;
        loop_timer_clear(&g->link->beat);
        g->link->events.closed("the guard died", g->link->arg);
    }
}

static void quit_postgres(void *arg)
{
    struct sim_guard *g = arg;

    pg_kill(g->pg);
}

void guard_sim_kill(struct sim_guard *g)
{
    if (!g->proc.alive)
        return;
    proc_kill(&g->proc);
    event_in(chance_between(1000, 100000), &g->host->kernel, quit_postgres, g); /* PR_SET_PDEATHSIG */
    if (g->agent.alive)
        event_in(MESSAGE, &g->agent, link_closed, g);
    systemd_later(g);
}

void guard_sim_power_cut(struct sim_guard *g)
{
    proc_kill(&g->proc);
    proc_kill(&g->agent);
    pg_power_cut(g->pg);
}

void guard_sim_agent_exited(struct sim_guard *g, int status)
{
    story("agent: exits with status %d", status);
    proc_kill(&g->agent);
    if (!g->proc.alive)
        return;
    if (status == GUARD_EXIT_CONFIG || status == 0) {
        proc_kill(&g->proc);
        if (!g->leaving)
            pg_kill(g->pg);
        systemd_later(g);
        return;
    }
    event_in(AGENT_AGAIN, &g->proc, start_agent, g);
}

void guard_sim_init(struct sim_guard *g, struct host *host, struct pg *pg, void (*run_agent)(struct sim_guard *g))
{
    *g = (struct sim_guard){.host = host, .pg = pg, .pid = PID_FIRST, .run_agent = run_agent};
    guards[host->id] = g;
}

/* ---- agent → guard: app/agent/guard_link.h ---- */

struct ask {
    enum guard_kind kind;
    enum guard_stop_mode mode;
    term term;
    msec stop_at_ms, quit_at_ms, kill_at_ms;
};

static bool send_request(struct guard_link *l, const struct ask *ask)
{
    struct sim_guard *g = l->guard;

    if (l->over)
        return false;
    l->seq++;
    if (ask->kind != GUARD_BEAT && ask->kind != GUARD_START && !l->waits_ms)
        l->waits_ms = loop_clock_ms();
    if (!g->proc.alive)
        return true; /* into a socket whose end is not yet noticed */
    struct parcel *p = mem_zero(1, sizeof(*p));
    struct guard_msg *m = (struct guard_msg *)(void *)p->head; /* its head alone is touched */
    p->guard = g;
    m->kind = ask->kind;
    m->mode = ask->mode;
    m->term = ask->term;
    m->stop_at_ms = ask->stop_at_ms;
    m->quit_at_ms = ask->quit_at_ms;
    m->kill_at_ms = ask->kill_at_ms;
    m->seq = l->seq;
    event_in(MESSAGE, &g->proc, requested, p);
    return true;
}

static void beat(void *arg)
{
    struct guard_link *l = arg;
    struct ask ping = {.kind = GUARD_PING};

    loop_timer_set(&l->beat, loop_clock_ms() + GUARD_BEAT_MS);
    (void)send_request(l, &ping);
    if (!l->waits_ms || loop_clock_ms() - l->waits_ms < GUARD_ECHO_MS || l->silent)
        return;
    l->silent = true;
    l->events.silent(l->arg);
}

bool guard_link_open(struct loop *l, const char *data_dir, const struct guard_link_events *events, void *arg,
                     struct guard_link **ret_link, struct err *err)
{
    struct guard_link *g = mem_zero(1, sizeof(*g));
    struct ask hello = {.kind = GUARD_HELLO};

    g->guard = guards[world.current->host->id];
    g->events = *events;
    g->arg = arg;
    g->guard->link = g;
    loop_timer_init(&g->beat, l, beat, g);
    loop_timer_set(&g->beat, loop_clock_ms() + GUARD_BEAT_MS);
    *ret_link = g;
    return send_request(g, &hello);
}

void guard_link_free(struct guard_link *g)
{
    /* The world keeps what is under way. */
}

bool guard_link_start(struct guard_link *g, const char *const *argv, const char *const *env, const char *log_path,
                      struct err *err)
{
    return send_request(g, &(struct ask){.kind = GUARD_START});
}

bool guard_link_stop(struct guard_link *g, enum guard_stop_mode mode, msec quit_at_ms, msec kill_at_ms, struct err *err)
{
    return send_request(
        g, &(struct ask){.kind = GUARD_STOP, .mode = mode, .quit_at_ms = quit_at_ms, .kill_at_ms = kill_at_ms});
}

bool guard_link_adopt(struct guard_link *g, pid_t postmaster, struct err *err)
{
    return send_request(g, &(struct ask){.kind = GUARD_ADOPT});
}

bool guard_link_arm(struct guard_link *g, term t, msec stop_at_ms, msec quit_at_ms, msec kill_at_ms, struct err *err)
{
    CHECK(0 < stop_at_ms && stop_at_ms <= quit_at_ms && quit_at_ms <= kill_at_ms && kill_at_ms < MSEC_NEVER);
    return send_request(g, &(struct ask){.kind = GUARD_ARM,
                                         .term = t,
                                         .stop_at_ms = stop_at_ms,
                                         .quit_at_ms = quit_at_ms,
                                         .kill_at_ms = kill_at_ms});
}

bool guard_link_disarm(struct guard_link *g, struct err *err)
{
    return send_request(g, &(struct ask){.kind = GUARD_DISARM});
}

bool guard_link_leave(struct guard_link *g, struct err *err)
{
    return send_request(g, &(struct ask){.kind = GUARD_LEAVE});
}

bool guard_link_upgrade(struct guard_link *g, struct err *err)
{
    return send_request(g, &(struct ask){.kind = GUARD_UPGRADE});
}

uint64_t guard_link_seq(const struct guard_link *g)
{
    return g->seq;
}

/* Always readable: who waits for it finds the guard dead at once. */
int guard_link_guard_pidfd(const struct guard_link *g)
{
    static int fd = -1;

    if (fd < 0)
        fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return fd;
}

bool guard_link_signal_postmaster(const struct guard_link *g, int signo, struct err *err)
{
    if (signo == SIGHUP)
        pg_reload(g->guard->pg);
    else
        pg_kill(g->guard->pg);
    return true;
}
