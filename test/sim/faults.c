#include "test/sim/faults.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/str.h"
#include "test/sim/book.h"
#include "test/sim/net.h"
#include "test/sim/rest.h"
#include "test/sim/store_sim.h"

#define FAULTS(X)                \
    X(KILL_POSTMASTER, 3, false) \
    X(KILL_POSTGRES, 3, false)   \
    X(KILL_AGENT, 4, false)      \
    X(STOP_AGENT, 3, true)       \
    X(KILL_GUARD, 2, false)      \
    X(POWER_CUT, 4, true)        \
    X(FREEZE_HOST, 3, true)      \
    X(STOP_POSTGRES, 2, true)    \
    X(STUCK_SESSION, 2, true)    \
    X(ISOLATE, 4, true)          \
    X(CUT_FROM_STORE, 3, true)   \
    X(CUT_ONE_WAY, 3, true)      \
    X(CUT_PAIR, 3, true)         \
    X(SLOW_DISK, 2, true)        \
    X(STORE_FROZEN, 3, true)     \
    X(STORE_REFUSES, 2, true)    \
    X(STORE_SLOW, 2, true)       \
    X(STORE_LATE, 2, true)       \
    X(STORE_LAGS, 2, true)       \
    X(STORE_COMPACTS, 2, false)  \
    X(STORE_EXPIRES, 1, false)   \
    X(NET_LOSSY, 2, true)        \
    X(KEY_REMOVED, 1, false)     \
    X(SWITCHOVER, 6, false)      \
    X(FAILOVER, 1, false)        \
    X(RESTART, 2, false)         \
    X(REINIT, 2, false)

enum fault_kind {
#define X(id, weight, lasts) FAULT_##id,
    FAULTS(X)
#undef X
        FAULT_COUNT
};

static const struct {
    const char *name;
    int weight;
    bool lasts;
} kinds[] = {
#define X(id, weight, lasts) {#id, weight, lasts},
    FAULTS(X)
#undef X
};

enum { BUSY_BEFORE = 1500000, BUSY_AFTER = 3000000 };

struct fault {
    enum fault_kind kind;
    struct node *node, *other;
    uint64_t generation; /* of the process that was stopped */
    usec until;
};

static struct host *store_host, *operator_home;
static usec end_of_faults;
static unsigned int count;

unsigned int faults_count(void)
{
    return count;
}

/* ---- operators ---- */

static void told(int status, const char *body, void *arg)
{
    story("operator: %s: %d %s", (const char *)arg, status, body);
}

static void ask(const struct node *n, const char *path, const char *body)
{
    AUTO(cstr) char *url = str_fmt("http://10.0.0.%d:8008%s", n->host->id + 1, path);

    (void)rest_ask(operator_home, NULL, "POST", url, body, 60000, told, (void *)(uintptr_t)path);
}

static void switchover(const struct node *via, const struct node *to)
{
    struct cluster *c = store_sim_cluster();
    AUTO(cstr)
    char *body = chance_one_in(2)
                     ? str_fmt("{\"leader\":\"%s\",\"candidate\":\"%s\"}", c->leader ? c->leader : "n1", to->host->name)
                     : str_fmt("{\"leader\":\"%s\"}", c->leader ? c->leader : "n1");
    cluster_free(c);
    ask(via, "/switchover", body);
}

static void failover(const struct node *via, const struct node *to)
{
    AUTO(cstr) char *body = str_fmt("{\"candidate\":\"%s\"}", to->host->name);

    ask(via, "/failover", body);
}

/* ---- processes ---- */

static void stop(struct fault *f, struct proc *p)
{
    f->generation = p->alive ? p->generation : 0;
    if (p->alive)
        proc_stop(p);
}

static void go_on(struct fault *f, struct proc *p)
{
    if (p->alive && p->generation == f->generation)
        proc_continue(p);
}

/* ---- beginning and end ---- */

static void begin(struct fault *f)
{
    struct node *n = f->node;

    switch (f->kind) {
    case FAULT_KILL_POSTMASTER:
        pg_kill_postmaster(&n->pg);
        break;
    case FAULT_KILL_POSTGRES:
        pg_kill(&n->pg);
        break;
    case FAULT_KILL_AGENT:
        if (n->guard.agent.alive)
            guard_sim_kill_agent(&n->guard);
        break;
    case FAULT_STOP_AGENT:
        stop(f, &n->guard.agent);
        break;
    case FAULT_KILL_GUARD:
        guard_sim_kill(&n->guard);
        break;
    case FAULT_POWER_CUT:
        node_power_cut(n);
        break;
    case FAULT_FREEZE_HOST:
        host_freeze(n->host);
        break;
    case FAULT_STOP_POSTGRES:
        stop(f, &n->pg.backends);
        break;
    case FAULT_STUCK_SESSION:
        n->pg.stuck = true;
        break;
    case FAULT_ISOLATE:
        net_isolate(n->host);
        break;
    case FAULT_CUT_FROM_STORE:
        net_cut(n->host, store_host);
        net_cut(store_host, n->host);
        break;
    case FAULT_CUT_ONE_WAY:
        if (n != f->other)
            net_cut(n->host, f->other->host);
        else
            net_cut(n->host, store_host);
        break;
    case FAULT_CUT_PAIR:
        net_cut(n->host, f->other->host);
        net_cut(f->other->host, n->host);
        break;
    case FAULT_SLOW_DISK:
        n->pg.fsync_max = 800000;
        break;
    case FAULT_STORE_FROZEN:
        host_freeze(store_host);
        break;
    case FAULT_STORE_REFUSES:
        store_sim_refuse(true);
        break;
    case FAULT_STORE_SLOW:
        store_sim_slow(4000000);
        break;
    case FAULT_STORE_LATE:
        store_sim_late(200);
        break;
    case FAULT_STORE_LAGS:
        store_sim_watch_lag(10000000);
        break;
    case FAULT_STORE_COMPACTS:
        store_sim_compact();
        break;
    case FAULT_STORE_EXPIRES:
        store_sim_expire_early();
        break;
    case FAULT_NET_LOSSY:
        net_slow(50000, 200);
        break;
    case FAULT_KEY_REMOVED:
        store_sim_put("leader", NULL);
        break;
    case FAULT_SWITCHOVER:
        switchover(n, f->other);
        break;
    case FAULT_FAILOVER:
        failover(n, f->other);
        break;
    case FAULT_RESTART:
        ask(n, "/restart", "{}");
        break;
    case FAULT_REINIT:
        ask(n, "/reinitialize", "{}");
        break;
    case FAULT_COUNT:
        UNREACHABLE();
    }
}

static void end(struct fault *f)
{
    struct node *n = f->node;

    switch (f->kind) {
    case FAULT_STOP_AGENT:
        go_on(f, &n->guard.agent);
        break;
    case FAULT_POWER_CUT:
        node_power_on(n);
        break;
    case FAULT_FREEZE_HOST:
        book_thawed(n->host);
        host_thaw(n->host);
        break;
    case FAULT_STOP_POSTGRES:
        go_on(f, &n->pg.backends);
        break;
    case FAULT_STUCK_SESSION:
        n->pg.stuck = false;
        break;
    case FAULT_ISOLATE:
        net_rejoin(n->host);
        break;
    case FAULT_CUT_FROM_STORE:
        net_mend(n->host, store_host);
        net_mend(store_host, n->host);
        break;
    case FAULT_CUT_ONE_WAY:
        if (n != f->other)
            net_mend(n->host, f->other->host);
        else
            net_mend(n->host, store_host);
        break;
    case FAULT_CUT_PAIR:
        net_mend(n->host, f->other->host);
        net_mend(f->other->host, n->host);
        break;
    case FAULT_SLOW_DISK:
        n->pg.fsync_max = 3000;
        break;
    case FAULT_STORE_FROZEN:
        host_thaw(store_host);
        break;
    case FAULT_STORE_REFUSES:
        store_sim_refuse(false);
        break;
    case FAULT_STORE_SLOW:
        store_sim_slow(8000);
        break;
    case FAULT_STORE_LATE:
        store_sim_late(0);
        break;
    case FAULT_STORE_LAGS:
        store_sim_watch_lag(0);
        break;
    case FAULT_NET_LOSSY:
        net_slow(2000, 0);
        break;
    case FAULT_KILL_POSTMASTER:
    case FAULT_KILL_POSTGRES:
    case FAULT_KILL_AGENT:
    case FAULT_KILL_GUARD:
    case FAULT_STORE_COMPACTS:
    case FAULT_STORE_EXPIRES:
    case FAULT_KEY_REMOVED:
    case FAULT_SWITCHOVER:
    case FAULT_FAILOVER:
    case FAULT_RESTART:
    case FAULT_REINIT:
    case FAULT_COUNT:
        UNREACHABLE();
    }
}

static void over(void *arg)
{
    struct fault *f = arg;

    book_busy(world.now + BUSY_AFTER);
    story("=== over: %s %s", kinds[f->kind].name, f->node->host->name);
    end(f);
    free(f);
}

static enum fault_kind pick(void)
{
    int total = 0;
    int at;

    for (int i = 0; i < FAULT_COUNT; i++)
        total += kinds[i].weight;
    at = (int)chance(total);
    for (int i = 0; i < FAULT_COUNT; i++) {
        at -= kinds[i].weight;
        if (at < 0)
            return (enum fault_kind)i;
    }
    UNREACHABLE();
}

/* Most hit the leader: that is where it hurts. */
static struct node *victim(void)
{
    struct node *n = &nodes[chance(node_count)];

    for (int i = 0; i < node_count && !chance_one_in(3); i++)
        if (pg_is_open(&nodes[i].pg))
            n = &nodes[i];
    return n;
}

static void next(void *arg);

static void soon(void *arg)
{
    (void)arg;
    book_busy(world.now + BUSY_BEFORE + BUSY_AFTER);
}

static void next_in(usec in)
{
    event_in(in > BUSY_BEFORE ? in - BUSY_BEFORE : 0, NULL, soon, NULL);
    event_in(in, NULL, next, NULL);
}

static void next(void *arg)
{
    (void)arg;
    if (world.now >= end_of_faults)
        return;
    struct fault *f = mem_zero(1, sizeof(*f));
    f->kind = pick();
    f->node = victim();
    f->other = &nodes[chance(node_count)];
    count++;
    story("=== fault: %s %s%s%s", kinds[f->kind].name, f->node->host->name, f->other != f->node ? " other " : "",
          f->other != f->node ? f->other->host->name : "");
    book_busy(world.now + BUSY_AFTER);
    begin(f);
    if (kinds[f->kind].lasts) {
        usec lasts = chance_one_in(3) ? chance_between(50000, 3000000) : chance_between(1000000, 60000000);
        usec at = world.now + lasts < end_of_faults ? world.now + lasts : end_of_faults;
        event_at(at, NULL, over, f);
    } else {
        free(f);
    }
    next_in(chance_one_in(3) ? chance(1500000) : chance_between(1000000, 45000000));
}

void faults_schedule(usec from, usec to, struct host *store, struct host *operator_host)
{
    store_host = store;
    operator_home = operator_host;
    end_of_faults = to;
    next_in(from - world.now);
}
