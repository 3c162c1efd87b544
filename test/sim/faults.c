#include "test/sim/faults.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "test/sim/book.h"
#include "test/sim/faults_net.h"
#include "test/sim/faults_pg.h"
#include "test/sim/net.h"
#include "test/sim/points.h"
#include "test/sim/rest.h"
#include "test/sim/score.h"
#include "test/sim/store_sim.h"
#include "test/sim/watch.h"

enum {
    BUSY_BEFORE = 1500000,
    BUSY_AFTER = 3000000,
    ASK_AGAIN = 3000000, /* an operator who insists */
    OPERATOR_COMES = 20000000,
    LOOK_AGAIN = 61000000,
    FLAP_MIN = 100000,
    FLAP_MAX = 3000000,
    FLAP_WAL_MAX = 12000000, /* long enough to be noticed in most profiles */
    ROLL_MAX = 5000000,      /* from one node's end to the next one's */
    PPM_MAX = 20000,
    JUMP_MAX = 100000, /* s */
    CUT_BEHIND = 40000000,
};

struct doing { /* a fault that has begun */
    const struct fault *fault;
    struct node *node, *other;
    uint64_t generation, generation2; /* of the processes that were stopped */
    bool on;                          /* FLAPPING: it is cut now */
    bool over;
    usec ends;
    int step;
    struct peeling *peeling;
};

enum { ARMED_MAX = 16, HIT_AFTER_MAX = 150000 };

static struct doing *armed[ARMED_MAX]; /* RECORD_HIT: they wait for the record */
static bool synchronous;
static struct host *store_host, *operator_home;

/* ---- chance of its own: another fault does not change it ---- */

static int64_t salted(const struct fault *f, int which, int64_t below)
{
    uint64_t z = (f->salt + 1) * 0x9e3779b97f4a7c15U + (uint64_t)which * 0xbf58476d1ce4e5b9U;

    z = (z ^ (z >> 29)) * 0x94d049bb133111ebU;
    return (int64_t)((z ^ (z >> 32)) % (uint64_t)below);
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

static void change_config(const struct node *n, const char *patch)
{
    AUTO(cstr) char *url = str_fmt("http://10.0.0.%d:8008/config", n->host->id + 1);

    (void)rest_ask(operator_home, NULL, "PATCH", url, patch, 60000, told, (void *)(uintptr_t)patch);
}

static void switchover(const struct doing *d)
{
    struct cluster *c = store_sim_cluster();
    const char *leader = c->leader ? c->leader : "n1";
    AUTO(cstr)
    char *body = salted(d->fault, 1, 2)
                     ? str_fmt("{\"leader\":\"%s\",\"candidate\":\"%s\"}", leader, d->other->host->name)
                     : str_fmt("{\"leader\":\"%s\"}", leader);
    cluster_unref(c);
    ask(d->node, "/switchover", body);
}

/* Whom nothing may have stopped an operator goes and looks after, before somebody else is named. */
static void failover(const struct doing *d)
{
    struct cluster *c = store_sim_cluster();
    bool may_run_on = c->record.unfenced && !c->record.released;

    cluster_unref(c);
    if (may_run_on)
        return;
    AUTO(cstr) char *body = str_fmt("{\"candidate\":\"%s\"}", d->other->host->name);

    ask(d->node, "/failover", body);
}

static void configure(const struct doing *d)
{
    static const char *const patches[] = {
        "{\"ttl\":30}",
        "{\"ttl\":20}",
        "{\"loop_wait\":2}",
        "{\"loop_wait\":10}",
        "{\"retry_timeout\":3}",
        "{\"retry_timeout\":5}",
        "{\"failsafe_mode\":true}",
        "{\"failsafe_mode\":false}",
        "{\"maximum_lag_on_failover\":0}",
        "{\"maximum_lag_on_failover\":1048576}",
        "{\"primary_start_timeout\":0}",
        "{\"primary_start_timeout\":300}",
        "{\"failover_profile\":\"fast\"}",
        "{\"failover_profile\":\"wan\"}",
        "{\"failover_profile\":\"default\"}",
        "{\"postgresql\":{\"use_slots\":false}}",
        "{\"postgresql\":{\"use_slots\":true}}",
        "{\"postgresql\":{\"parameters\":{\"work_mem\":\"8MB\"}}}",
    };

    change_config(d->node, patches[salted(d->fault, 1, (int64_t)ARRAY_LEN(patches))]);
}

/* ---- pause: who has paused a cluster does not leave it so ---- */

static void resume(void *arg);
static void is_resumed(void *arg);

static void resumed(int status, const char *body, void *arg)
{
    story("operator: resume: %d %s", status, body);
    if (status != 200)
        event_in(ASK_AGAIN, NULL, resume, arg);
    else
        event_in(LOOK_AGAIN, NULL, is_resumed, arg);
}

/* The request to pause may have been carried out after the one to resume. */
static void is_resumed(void *arg)
{
    struct cluster *c = store_sim_cluster();
    bool paused = json_is_true(json_object_get(c->config, "pause"));

    cluster_unref(c);
    if (paused)
        resume(arg);
}

static void resume(void *arg)
{
    int via = (int)(intptr_t)arg;
    AUTO(cstr) char *url = str_fmt("http://10.0.0.%d:8008/config", nodes[via].host->id + 1);

    (void)rest_ask(operator_home, NULL, "PATCH", url, "{\"pause\":null}", 10000, resumed,
                   (void *)(intptr_t)((via + 1) % node_count));
}

/* ---- a store that was put back: whom the leader does not help, an operator does, node after node ---- */

static void recover(void *arg);

static int well_in_a_row; /* nodes that believe the store */

static void recovered(int status, const char *body, void *arg)
{
    story("operator: recover_record: %d %s", status, body);
    well_in_a_row = strstr(body, "nothing to recover") ? well_in_a_row + 1 : 0;
    event_in(well_in_a_row < node_count ? ASK_AGAIN : OPERATOR_COMES, NULL, recover, arg);
}

static void recover(void *arg)
{
    int via = (int)(intptr_t)arg % node_count;
    AUTO(cstr) char *url = str_fmt("http://10.0.0.%d:8008/recover_record", nodes[via].host->id + 1);

    (void)rest_ask(operator_home, NULL, "POST", url, "{}", 10000, recovered,
                   (void *)(intptr_t)((via + 1) % node_count));
}

static void operator_comes(const struct fault *f)
{
    static bool there;

    if (!there) /* from then on one looks after it now and then */
        event_in(OPERATOR_COMES, NULL, recover, (void *)(intptr_t)f->node);
    there = true;
}

/* ---- processes ---- */

static uint64_t stop(struct proc *p)
{
    if (!p->alive)
        return 0;
    proc_stop(p);
    return p->generation;
}

static void go_on(uint64_t generation, struct proc *p)
{
    if (p->alive && p->generation == generation)
        proc_continue(p);
}

static void kill_one(const struct fault *f, struct node *n)
{
    switch (salted(f, 1, 4)) {
    case 0:
        if (n->guard.agent.alive)
            guard_sim_kill_agent(&n->guard);
        break;
    case 1:
        pg_kill_postmaster(&n->pg);
        break;
    case 2:
        pg_kill(&n->pg);
        break;
    default:
        guard_sim_kill(&n->guard);
    }
}

/* One node after the other. */
static void roll(void *arg)
{
    struct doing *d = arg;

    if (d->step == node_count) {
        free(d);
        return;
    }
    book_busy(world.now + BUSY_AFTER);
    kill_one(d->fault, &nodes[(d->fault->node + d->step++) % node_count]);
    event_in(salted(d->fault, 1 + d->step, ROLL_MAX), NULL, roll, d);
}

/* ---- links ---- */

static struct host *far_end(const struct doing *d)
{
    return d->node != d->other ? d->other->host : store_host;
}

static void cut(struct host *a, struct host *b, bool both_ways)
{
    net_cut(a, b);
    if (both_ways)
        net_cut(b, a);
}

static void mend(struct host *a, struct host *b, bool both_ways)
{
    net_mend(a, b);
    if (both_ways)
        net_mend(b, a);
}

/* From the store and the other nodes; clients still reach it, and are answered. */
static void from_servers(struct host *h, bool in, bool out, void (*change)(struct host *from, struct host *to))
{
    for (int i = 0; i < world.host_count; i++) {
        struct host *other = &world.hosts[i];
        if (other == operator_home)
            continue;
        if (in)
            change(other, h);
        if (out)
            change(h, other);
    }
}

/* The way of the WAL alone, from and to every other node; both ways, or one of the two. */
static void wal_from_servers(const struct doing *d, void (*change)(struct host *from, struct host *to))
{
    int64_t ways = salted(d->fault, 0, 4);

    for (int i = 0; i < node_count; i++) {
        if (&nodes[i] == d->node)
            continue;
        if (ways != 2)
            change(d->node->host, nodes[i].host);
        if (ways != 3)
            change(nodes[i].host, d->node->host);
    }
}

static void turn(const struct doing *d, bool on)
{
    if (d->fault->kind == FAULT_FLAPPING_WAL)
        wal_from_servers(d, on ? net_cut_wal : net_mend_wal);
    else
        (on ? cut : mend)(d->node->host, far_end(d), salted(d->fault, 0, 2) == 0);
}

static void flap(void *arg)
{
    struct doing *d = arg;

    if (d->over) {
        free(d);
        return;
    }
    d->on = !d->on;
    turn(d, d->on);
    usec longest = d->fault->kind == FAULT_FLAPPING_WAL ? FLAP_WAL_MAX : FLAP_MAX;
    event_in(FLAP_MIN + salted(d->fault, ++d->step, longest), NULL, flap, d);
}

/* ---- hosts ---- */

static void power_returns(void *arg)
{
    node_power_on(arg);
}

static void power_cut_all(const struct fault *f)
{
    for (int i = 0; i < node_count; i++) {
        node_power_cut(&nodes[i]);
        event_in(1000 + salted(f, 1 + i, f->lasts), NULL, power_returns, &nodes[i]);
    }
}

/* A disk may be lost only if another node has the data and is known to follow, or the data would be gone. */
static void replace_host(struct doing *d)
{
    const struct node *leader = node_leader();
    int following = 0;

    for (int i = 0; i < node_count; i++)
        following += &nodes[i] != d->node && leader && node_follows(&nodes[i], leader);
    bool safe = leader && leader != d->node && (following || node_count == 2);
    d->on = safe && d->node->host->up && watch_may_lose(d->node);
    if (!d->on)
        return;
    node_power_cut(d->node);
    node_lose_disk(d->node);
}

/* How long a killed agent is not started again: mostly at once, or long enough for its lease to end. */
static usec stays_away(const struct fault *f)
{
    int64_t kind = salted(f, 2, 4);

    return kind < 2 ? 0 : salted(f, 1, kind == 2 ? 5000000 : 40000000);
}

static void set_trap(const struct doing *d)
{
    const struct fault *f = d->fault;
    struct trap trap = {.host = f->anyone ? ANYWHERE : d->node->host->id,
                        .deed = (enum point_deed)(f->kind - FAULT_POINT_KILL),
                        .nth = f->nth,
                        .hangs = f->kind == FAULT_POINT_KILL
                                     ? stays_away(f)
                                     : 10000 + salted(f, 1, salted(f, 2, 2) ? 500000 : 30000000),
                        .until = world.now + f->lasts};

    str_copy(trap.name, sizeof(trap.name), f->point);
    points_set(&trap);
}

/* ---- behind a late answer ---- */

static void mend_behind(void *arg)
{
    from_servers(((struct node *)arg)->host, false, true, net_mend);
}

/* The answer that comes late is the last one: what is believed by it lasts as long as it can. */
static void cut_off_behind(struct node *n)
{
    score_hit(n->host->id);
    book_busy(world.now + CUT_BEHIND);
    from_servers(n->host, false, true, net_cut);
    event_in(CUT_BEHIND, NULL, mend_behind, n);
}

/* ---- in the middle of a change of the record ---- */

enum deed { DEED_NONE, DEED_POWER, DEED_CUT, DEED_AGENT, DEED_POSTGRES, DEED_POSTMASTER, DEED_COUNT };

static bool is_awaited(const struct fault *f, const struct record_key *r)
{
    switch (salted(f, 1, 3)) {
    case 0:
        return r->joining;
    case 1:
        return r->phase == RECORD_TERM;
    default:
        return r->phase == RECORD_ELECTED;
    }
}

static void hit(void *arg)
{
    struct doing *d = arg;
    struct node *n = d->node;

    story("=== in the middle of it: %s", n->host->name);
    score_hit(n->host->id);
    book_busy(world.now + BUSY_AFTER);
    d->step = (int)(DEED_NONE + 1 + salted(d->fault, 2, DEED_COUNT - 1));
    switch ((enum deed)d->step) {
    case DEED_POWER:
        node_power_cut(n);
        break;
    case DEED_CUT:
        from_servers(n->host, true, true, net_cut);
        break;
    case DEED_AGENT:
        guard_sim_bar_agent(&n->guard, world.now + stays_away(d->fault));
        break;
    case DEED_POSTGRES:
        pg_kill(&n->pg);
        break;
    case DEED_POSTMASTER:
        pg_kill_postmaster(&n->pg);
        break;
    case DEED_NONE:
    case DEED_COUNT:
        UNREACHABLE();
    }
}

/* What goes on for so long: until the fault is over. */
static void hit_over(const struct doing *d)
{
    if (d->step == DEED_POWER)
        node_power_on(d->node);
    else if (d->step == DEED_CUT)
        from_servers(d->node->host, true, true, net_mend);
}

static void arm(struct doing *d)
{
    for (int i = 0; i < ARMED_MAX; i++)
        if (!armed[i]) {
            armed[i] = d;
            return;
        }
}

static void disarm(const struct doing *d)
{
    for (int i = 0; i < ARMED_MAX; i++)
        if (armed[i] == d)
            armed[i] = NULL;
}

void faults_see_record(const struct record_key *r)
{
    for (int i = 0; i < ARMED_MAX; i++) {
        struct doing *d = armed[i];
        if (!d || !is_awaited(d->fault, r))
            continue;
        armed[i] = NULL;
        for (int k = 0; k < node_count && d->fault->leader; k++)
            if (str_eq(nodes[k].host->name, r->leader))
                d->node = &nodes[k];
        usec after = salted(d->fault, 3, HIT_AFTER_MAX);
        if (world.now + after < d->ends)
            event_in(after, NULL, hit, d);
    }
}

/* ---- beginning and end ---- */

static void begin(struct doing *d)
{
    const struct fault *f = d->fault;
    struct node *n = d->node;

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
        d->generation = stop(&n->guard.agent);
        break;
    case FAULT_NO_AGENT:
        guard_sim_bar_agent(&n->guard, world.now + f->lasts);
        break;
    case FAULT_KILL_GUARD:
        guard_sim_kill(&n->guard);
        break;
    case FAULT_SERVICE_RESTART:
        guard_sim_term(&n->guard);
        break;
    case FAULT_POWER_CUT:
        node_power_cut(n);
        break;
    case FAULT_FREEZE_HOST:
        host_freeze(n->host);
        break;
    case FAULT_STOP_POSTGRES:
        d->generation2 = stop(&n->pg.postmaster);
        d->generation = stop(&n->pg.backends);
        break;
    case FAULT_STOP_BACKENDS:
        d->generation = stop(&n->pg.backends);
        break;
    case FAULT_STUCK_SESSION:
        n->pg.stuck = true;
        break;
    case FAULT_SLOW_DISK:
        n->pg.fsync_max = 800000;
        break;
    case FAULT_CLOCK_RATE:
        host_clock_rate(n->host, (int)(salted(f, 1, 2 * PPM_MAX) - PPM_MAX));
        break;
    case FAULT_CLOCK_JUMP:
        n->host->wall_offset += (salted(f, 1, JUMP_MAX) - JUMP_MAX / 2) * 1000000;
        break;
    case FAULT_HOST_REPLACED:
        replace_host(d);
        break;
    case FAULT_ISOLATE:
        net_isolate(n->host);
        break;
    case FAULT_ISOLATE_BUT_CLIENTS:
        net_leave_servers(n->host);
        break;
    case FAULT_DEAF:
    case FAULT_MUTE:
        from_servers(n->host, f->kind == FAULT_DEAF, f->kind == FAULT_MUTE, net_cut);
        break;
    case FAULT_CUT_FROM_STORE:
        cut(n->host, store_host, true);
        break;
    case FAULT_LATE_WORDS:
        net_late_words(f, n);
        break;
    case FAULT_PARTITION:
        net_partition(f, net_cut);
        break;
    case FAULT_CUT_ONE_BY_ONE:
        d->peeling = peeling_begin(f, n);
        break;
    case FAULT_CUT_ONE_WAY:
        cut(n->host, far_end(d), false);
        break;
    case FAULT_CUT_PAIR:
        cut(n->host, far_end(d), true);
        break;
    case FAULT_CUT_WAL:
        wal_from_servers(d, net_cut_wal);
        break;
    case FAULT_CUT_WAL_PAIR:
        net_cut_wal(n->host, d->other->host);
        net_cut_wal(d->other->host, n->host);
        break;
    case FAULT_FLAPPING:
    case FAULT_FLAPPING_WAL:
        flap(d);
        break;
    case FAULT_NET_LOSSY:
        net_slow(50000, 200);
        break;
    case FAULT_POWER_CUT_ALL:
        power_cut_all(f);
        break;
    case FAULT_ROLLING_KILL:
        roll(d);
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
    case FAULT_STORE_ANSWERS_LATE:
        store_sim_answers_late(true);
        break;
    case FAULT_STORE_SPLIT:
        store_sim_split(n->host);
        break;
    case FAULT_STORE_LAGS:
        store_sim_watch_lag(10000000);
        break;
    case FAULT_STORE_STALE:
        store_sim_stale(true);
        break;
    case FAULT_STORE_COMPACTS:
        store_sim_compact();
        break;
    case FAULT_STORE_EXPIRES:
        store_sim_expire_early();
        break;
    case FAULT_STORE_RESTORED:
        store_sim_back_up();
        break;
    case FAULT_STORE_WIPED:
        if (!ledger_is_quorum()) /* asynchronous mode has nothing to go on from */
            break;
        store_sim_wipe();
        operator_comes(f);
        break;
    case FAULT_KEY_REMOVED:
        store_sim_put("leader", NULL);
        break;
    case FAULT_POINT_KILL:
    case FAULT_POINT_CUT:
    case FAULT_POINT_HANG:
    case FAULT_POINT_FAIL:
    case FAULT_POINT_ISOLATE:
        set_trap(d);
        break;
    case FAULT_RECORD_HIT:
        d->ends = world.now + f->lasts;
        arm(d);
        break;
    case FAULT_SWITCHOVER:
        switchover(d);
        break;
    case FAULT_FAILOVER:
        failover(d);
        break;
    case FAULT_RESTART:
        ask(n, "/restart", "{}");
        break;
    case FAULT_REINIT:
        ask(n, "/reinitialize", "{}");
        break;
    case FAULT_PAUSE:
        change_config(n, "{\"pause\":true}");
        break;
    case FAULT_CONFIG:
        configure(d);
        break;
    case FAULT_PG_CONFLICT:
    case FAULT_PG_PAUSED:
    case FAULT_PG_HANGS:
        if (!n->pg.in_recovery) /* it is standbys whose replay stands */
            n = d->node = d->other;
        pg_fault_begin(f->kind, &n->pg, (uint64_t)salted(f, 1, INT32_MAX));
        break;
    case FAULT_PG_SENDER_STUCK:
    case FAULT_PG_CRASH:
    case FAULT_PG_TOOL:
    case FAULT_PG_CANCEL:
    case FAULT_PG_CONF_WRONG:
    case FAULT_PG_ALTER_SYSTEM:
    case FAULT_PG_SLOT_LOST:
    case FAULT_DISK_FULL:
    case FAULT_DISK_FAILS:
        pg_fault_begin(f->kind, &n->pg, (uint64_t)salted(f, 1, INT32_MAX));
        break;
    case FAULT_COUNT:
        UNREACHABLE();
    }
}

static void end(struct doing *d)
{
    const struct fault *f = d->fault;
    struct node *n = d->node;

    switch (f->kind) {
    case FAULT_STOP_AGENT:
        go_on(d->generation, &n->guard.agent);
        break;
    case FAULT_POWER_CUT:
        node_power_on(n);
        break;
    case FAULT_FREEZE_HOST:
        book_thawed(n->host);
        host_thaw(n->host);
        break;
    case FAULT_STOP_POSTGRES:
        go_on(d->generation2, &n->pg.postmaster);
        go_on(d->generation, &n->pg.backends);
        break;
    case FAULT_STOP_BACKENDS:
        go_on(d->generation, &n->pg.backends);
        break;
    case FAULT_STUCK_SESSION:
        n->pg.stuck = false;
        break;
    case FAULT_SLOW_DISK:
        n->pg.fsync_max = 3000;
        break;
    case FAULT_CLOCK_RATE:
        host_clock_rate(n->host, 0);
        break;
    case FAULT_HOST_REPLACED:
        if (d->on)
            node_power_on(n);
        break;
    case FAULT_ISOLATE:
        net_rejoin(n->host);
        break;
    case FAULT_ISOLATE_BUT_CLIENTS:
        net_join_servers(n->host);
        break;
    case FAULT_DEAF:
    case FAULT_MUTE:
        from_servers(n->host, f->kind == FAULT_DEAF, f->kind == FAULT_MUTE, net_mend);
        break;
    case FAULT_CUT_FROM_STORE:
        mend(n->host, store_host, true);
        break;
    case FAULT_LATE_WORDS:
        net_late_words_end(n);
        break;
    case FAULT_PARTITION:
        net_partition(f, net_mend);
        break;
    case FAULT_CUT_ONE_BY_ONE:
        peeling_end(d->peeling);
        break;
    case FAULT_CUT_ONE_WAY:
        mend(n->host, far_end(d), false);
        break;
    case FAULT_CUT_PAIR:
        mend(n->host, far_end(d), true);
        break;
    case FAULT_CUT_WAL:
        wal_from_servers(d, net_mend_wal);
        break;
    case FAULT_CUT_WAL_PAIR:
        net_mend_wal(n->host, d->other->host);
        net_mend_wal(d->other->host, n->host);
        break;
    case FAULT_FLAPPING:
    case FAULT_FLAPPING_WAL:
        if (d->on)
            turn(d, false);
        d->over = true;
        break;
    case FAULT_NET_LOSSY:
        net_slow(2000, 0);
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
    case FAULT_STORE_ANSWERS_LATE:
        store_sim_answers_late(false);
        if (salted(f, 5, 2))
            cut_off_behind(n);
        break;
    case FAULT_STORE_SPLIT:
        store_sim_split(NULL);
        break;
    case FAULT_STORE_LAGS:
        store_sim_watch_lag(0);
        break;
    case FAULT_STORE_STALE:
        store_sim_stale(false);
        break;
    case FAULT_STORE_RESTORED:
        store_sim_restore();
        if (synchronous)
            operator_comes(f);
        resume((void *)(intptr_t)f->node); /* the pause may have been backed up, too */
        break;
    case FAULT_PAUSE:
        resume((void *)(intptr_t)f->node);
        break;
    case FAULT_RECORD_HIT:
        disarm(d);
        hit_over(d);
        break;
    case FAULT_PG_CONFLICT:
    case FAULT_PG_PAUSED:
    case FAULT_PG_HANGS:
    case FAULT_PG_SENDER_STUCK:
    case FAULT_PG_CONF_WRONG:
    case FAULT_DISK_FULL:
    case FAULT_DISK_FAILS:
        pg_fault_end(f->kind, &n->pg);
        break;
    case FAULT_PG_CRASH:
    case FAULT_PG_TOOL:
    case FAULT_PG_CANCEL:
    case FAULT_PG_ALTER_SYSTEM:
    case FAULT_PG_SLOT_LOST:
    case FAULT_KILL_POSTMASTER:
    case FAULT_KILL_POSTGRES:
    case FAULT_KILL_AGENT:
    case FAULT_NO_AGENT:
    case FAULT_KILL_GUARD:
    case FAULT_SERVICE_RESTART:
    case FAULT_CLOCK_JUMP:
    case FAULT_POWER_CUT_ALL:
    case FAULT_ROLLING_KILL:
    case FAULT_STORE_COMPACTS:
    case FAULT_STORE_EXPIRES:
    case FAULT_STORE_WIPED:
    case FAULT_KEY_REMOVED:
    case FAULT_POINT_KILL:
    case FAULT_POINT_CUT:
    case FAULT_POINT_HANG:
    case FAULT_POINT_FAIL:
    case FAULT_POINT_ISOLATE:
    case FAULT_SWITCHOVER:
    case FAULT_FAILOVER:
    case FAULT_RESTART:
    case FAULT_REINIT:
    case FAULT_CONFIG:
        break; /* nothing of it goes on */
    case FAULT_COUNT:
        UNREACHABLE();
    }
}

static void over(void *arg)
{
    struct doing *d = arg;

    book_busy(world.now + BUSY_AFTER);
    story("=== over: %s %s", fault_kind_text(d->fault->kind), d->node->host->name);
    end(d);
    if (d->fault->kind != FAULT_FLAPPING && d->fault->kind != FAULT_FLAPPING_WAL)
        free(d);
}

static void note_hit(const struct doing *d)
{
    switch (fault_kind_reach(d->fault->kind)) {
    case REACH_NODE:
        score_hit(d->node->host->id);
        break;
    case REACH_PAIR:
        score_hit(d->node->host->id);
        score_hit(d->other->host->id);
        break;
    case REACH_ALL:
        score_hit_all();
        break;
    case REACH_NOBODY:
        break;
    }
}

static void soon(void *arg)
{
    (void)arg;
    book_busy(world.now + BUSY_BEFORE + BUSY_AFTER);
}

static void starts(void *arg)
{
    const struct fault *f = arg;
    struct doing *d = mem_zero(1, sizeof(*d));
    struct node *leader = f->leader ? node_leader() : NULL;

    d->fault = f;
    d->node = leader ? leader : &nodes[f->node % node_count];
    d->other = &nodes[f->other % node_count];
    outcome->score.faults++;
    outcome->score.fault[f->kind]++;
    story("=== fault: %s %s other %s", fault_kind_text(f->kind), d->node->host->name, d->other->host->name);
    note_hit(d);
    book_busy(world.now + BUSY_AFTER);
    if (f->lasts)
        event_in(f->lasts, NULL, over, d);
    begin(d); /* what does not last may be gone after this */
}

void faults_play(const struct schedule *s, struct host *store, struct host *operator_host)
{
    store_host = store;
    operator_home = operator_host;
    faults_net_init(store, operator_host);
    synchronous = s->setup.synchronous != 0;
    for (size_t i = 0; i < s->count; i++) {
        const struct fault *f = &s->faults[i];
        event_at(WORLD_BEGIN + f->at - BUSY_BEFORE, NULL, soon, NULL);
        event_at(WORLD_BEGIN + f->at, NULL, starts, (void *)(uintptr_t)f);
    }
}
