#include "test/sim/node.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "app/agent/agent.h"
#include "app/agent/mesh.h"
#include "app/agent/quorum.h"
#include "app/agent/state.h"
#include "app/conf_files.h"
#include "base/check.h"
#include "base/str.h"
#include "pg/incarnation.h"
#include "pg/promise.h"
#include "test/sim/disk.h"
#include "test/sim/faults_net.h"
#include "test/sim/points.h"
#include "test/sim/watch.h"
#include "wire/conf/settings.h"

enum { SILENCE_MAX_MS = 1000 };

struct node nodes[NODES_MAX];
int node_count;

/* ---- what the agent's start finds ---- */

bool conf_files_read(const char *path, struct conf_files *ret_files, struct err *err)
{
    const struct node *n = &nodes[world.current->host->id];

    ret_files->at = mem_zero(1, sizeof(*ret_files->at));
    ret_files->count = 1;
    ret_files->at[0].path = str_dup("node.yml");
    ret_files->at[0].text = str_dup(n->yaml);
    ret_files->at[0].len = strlen(n->yaml);
    return true;
}

void conf_files_deinit(struct conf_files *f)
{
    for (size_t i = 0; i < f->count; i++) {
        free((char *)f->at[i].path);
        free((char *)f->at[i].text);
    }
    free(f->at);
}

/* ---- life ---- */

/* Of a file that does not change, and never changed itself: read once, whatever number of agents there are. */
static struct settings *settings_of(struct node *n)
{
    struct conf_files files = {0};
    struct findings findings = {0};
    const char *const environment[] = {NULL};

    if (n->settings)
        return settings_ref(n->settings);
    bool read = conf_files_read("node.yml", &files, NULL);
    n->settings = settings_read(files.at, files.count, environment, &findings);
    if (!n->settings)
        for (size_t i = 0; i < findings.count; i++)
            story("%s", findings.at[i].text);
    CHECK(read && n->settings);
    findings_deinit(&findings);
    conf_files_deinit(&files);
    return settings_ref(n->settings);
}

static void run_agent(struct sim_guard *g)
{
    struct node *n = &nodes[g->host->id];

    n->agent = agent_new("node.yml", settings_of(n));
    CHECK(n->agent);
}

static void agent_over(void *arg)
{
    struct node *n = arg;

    if (!n->guard.agent.alive)
        return;
    if (n->agent->guard_lost) /* pgkeep-guard --clear */
        pg_kill(&n->pg);
    guard_sim_agent_exited(&n->guard, n->agent->exit_status);
}

static void agent_ended(struct proc *p)
{
    struct node *n = &nodes[p->host->id];

    event_in(0, p, agent_over, n);
}

static void power_returns(void *arg)
{
    node_power_on(arg);
}

void run_guard_clear(const char *data_dir)
{
    UNREACHABLE(); /* agent_over() does it */
}

/* ---- fault points ---- */

static void kill_agent(int host, usec stays_away)
{
    guard_sim_bar_agent(&nodes[host].guard, world.now + stays_away);
}

static void cut_power(int host)
{
    node_power_cut(&nodes[host]);
    event_in(chance_between(100000, 20000000), NULL, power_returns, &nodes[host]);
}

/* What stands before main(): each agent's own name is drawn by chance, not by the kernel. */
ssize_t getrandom(void *bytes, size_t len, unsigned int flags)
{
    for (size_t i = 0; i < len; i++)
        ((unsigned char *)bytes)[i] = (unsigned char)chance(256);
    return (ssize_t)len;
}

static char *node_yaml(int number, int store, const char *dcs)
{
    return str_fmt("scope: sim\n"
                   "name: n%d\n"
                   "restapi:\n"
                   "  listen: 10.0.0.%d:8008\n"
                   "  connect_address: 10.0.0.%d:8008\n"
                   "etcd3:\n"
                   "  host: 10.0.0.%d:2379\n"
                   "bootstrap:\n"
                   "  dcs:\n%s"
                   "postgresql:\n"
                   "  listen: 10.0.0.%d:5432\n"
                   "  connect_address: 10.0.0.%d:5432\n"
                   "  data_dir: /sim/n%d/data\n"
                   "  authentication:\n"
                   "    superuser: {username: postgres}\n"
                   "    replication: {username: replicator}\n",
                   number, number, number, store, dcs, number, number, number);
}

static char *witness_yaml(int number, int store)
{
    return str_fmt("scope: sim\n"
                   "name: n%d\n"
                   "restapi:\n"
                   "  listen: 10.0.0.%d:8008\n"
                   "  connect_address: 10.0.0.%d:8008\n"
                   "etcd3:\n"
                   "  host: 10.0.0.%d:2379\n"
                   "pgkeep: {witness: true, state_dir: /sim/n%d/data.pgkeep}\n",
                   number, number, number, store, number);
}

void nodes_init(int count, const char *dcs, bool witness)
{
    CHECK(count <= NODES_MAX);
    world_agent_ended = agent_ended;
    points_init(kill_agent, cut_power, net_leave_servers_for);
    node_count = count;
    for (int i = 0; i < count; i++) {
        struct node *n = &nodes[i];
        AUTO(cstr) char *name = str_fmt("n%d", i + 1);
        n->host = world_add_host(name);
        CHECK(n->host->id == i);
        n->host->clock = chance(1000000000);
        n->host->clock_at = world.now;
        n->witness = witness && i + 1 == count;
        n->yaml = n->witness ? witness_yaml(i + 1, count + 1) : node_yaml(i + 1, count + 1, dcs);
        guard_sim_init(&n->guard, n->host, &n->pg, run_agent);
        pg_init(&n->pg, n->host, guard_sim_pg_died, &n->guard);
    }
}

void node_power_cut(struct node *n)
{
    if (!n->host->up)
        return;
    story("power cut of %s", n->host->name);
    guard_sim_power_cut(&n->guard);
    host_crash(n->host);
}

static void guard_starts(void *arg)
{
    guard_sim_start(arg);
}

void node_power_on(struct node *n)
{
    if (n->host->up)
        return;
    story("power on of %s", n->host->name);
    host_boot(n->host);
    event_in(chance_between(500000, 5000000), &n->host->kernel, guard_starts, &n->guard);
}

void node_lose_disk(struct node *n)
{
    CHECK(!n->host->up);
    watch_disk_lost(n);
    pg_lose_disk(&n->pg);
}

struct node *node_leader(void)
{
    for (int i = 0; i < node_count; i++)
        if (pg_is_open(&nodes[i].pg))
            return &nodes[i];
    return NULL;
}

bool node_serves(const struct node *n)
{
    return n->guard.agent.alive && n->agent && n->agent->plan.serving && pg_is_open(&n->pg);
}

bool node_follows(const struct node *n, const struct node *leader)
{
    const struct pg *p = &n->pg;

    if (n->witness)
        return n->guard.agent.alive; /* that it hears and is heard is looked at, too */
    return p->postmaster.alive && p->in_recovery && p->receiver.state == RECEIVER_STREAMING &&
           wal_leads_to(p->disk.written, leader->pg.disk.written);
}

/* How long n has not heard the other; MSEC_NEVER: it never did. */
static msec silence_ms(const struct node *n, const struct node *other)
{
    const struct ha_mesh *m;
    struct proc *before = world.current;

    world.current = (struct proc *)&n->guard.agent; /* whose clock it is */
    m = mesh_view(n->agent->mesh);
    world.current = before;
    for (size_t i = 0; i < m->count; i++)
        if (str_eq(m->at[i].state.name, other->host->name) && m->at[i].heard_ms)
            return host_clock_ms(n->host) - m->at[i].heard_ms;
    return MSEC_NEVER;
}

void nodes_check_mesh(void)
{
    for (int i = 0; i < node_count; i++) {
        for (int j = 0; j < node_count; j++) {
            if (i == j || !nodes[i].guard.agent.alive || !nodes[j].guard.agent.alive)
                continue;
            msec ms = silence_ms(&nodes[i], &nodes[j]);
            if (ms > SILENCE_MAX_MS)
                finding("M1", "%s has not heard %s for %lld ms", nodes[i].host->name, nodes[j].host->name,
                        (long long)ms);
        }
    }
}

bool node_is_foreign(const struct node *n, const struct node *leader)
{
    return n->pg.disk.system_id[0] && !str_eq(n->pg.disk.system_id, leader->pg.disk.system_id);
}

bool node_tells(const struct node *n, struct peer_state *ret)
{
    CHECK(world.current == &n->guard.agent);
    peer_state_init(ret);
    if (!n->agent || !n->agent->quorum)
        return false;
    quorum_state(n->agent->quorum, ret);
    return true;
}

static const char *state_dir(const struct node *n)
{
    return n->settings ? n->settings->pgkeep.state_dir : "";
}

/* Of its disk; read again when something on it has changed. */
static const struct on_disk {
    uint64_t changes, incarnation;
    term promised;
} * on_disk(const struct node *n)
{
    static struct on_disk read[NODES_MAX];
    struct on_disk *o = &read[n->host->id];
    uint64_t changes = disk_changes(disk_of(n->host));
    struct proc *before = world.current;
    struct promise promise;

    if (o->changes == changes)
        return o;
    world.current = &n->host->kernel; /* whose disk it is */
    bool promised = promise_read(state_dir(n), &promise, NULL) == PROMISE_READ;
    *o = (struct on_disk){.changes = changes,
                          .incarnation = incarnation_look(n->pg.data_dir, state_dir(n)),
                          .promised = promised ? promise.term : 0};
    world.current = before;
    return o;
}

term node_promise(const struct node *n)
{
    return on_disk(n)->promised;
}

uint64_t node_incarnation(const struct node *n)
{
    return on_disk(n)->incarnation;
}

const char *node_why(const struct node *n)
{
    return n->agent ? n->agent->plan.why : "";
}
