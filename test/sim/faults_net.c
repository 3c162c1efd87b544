#include "test/sim/faults_net.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/str.h"
#include "test/sim/guard_sim.h"
#include "test/sim/net.h"
#include "test/sim/node.h"

enum {
    PEEL_MAX = 4000000,
    KILL_LATE_MAX = 600000,
    UNDER_WAY = 5000, /* what is sent at the moment of a cut still arrives, and is not answered */
    SIDE_SALT = 100,
    LATE_MAX = 8000000,
    LEAVES_MAX = 12000000,
};

struct peeling {
    const struct fault *fault;
    struct node *node;
    int gone; /* links */
    bool over;
};

static struct host *store_host, *clients_host;
static struct host *leaving; /* a parameter of cut_in() and cut_out() */

void faults_net_init(struct host *store, struct host *clients)
{
    store_host = store;
    clients_host = clients;
}

static int64_t salted(const struct fault *f, int which, int64_t below)
{
    uint64_t z = (f->salt + 1) * 0x9e3779b97f4a7c15U + (uint64_t)which * 0xbf58476d1ce4e5b9U;

    z = (z ^ (z >> 29)) * 0x94d049bb133111ebU;
    return (int64_t)((z ^ (z >> 32)) % (uint64_t)below);
}

/* ---- one host ---- */

static void with_servers(struct host *h, void (*change)(struct host *from, struct host *to))
{
    for (int i = 0; i < world.host_count; i++) {
        struct host *other = &world.hosts[i];
        if (other == clients_host)
            continue;
        change(other, h);
        change(h, other);
    }
}

void net_leave_servers(struct host *h)
{
    with_servers(h, net_cut);
}

void net_join_servers(struct host *h)
{
    with_servers(h, net_mend);
}

static void joins_again(void *arg)
{
    struct host *h = arg;

    story("%s is back in the network", h->name);
    net_join_servers(h);
}

static void cut_in(struct host *from, struct host *to)
{
    if (to == leaving)
        net_cut(from, to);
}

static void cut_out(struct host *from, struct host *to)
{
    if (from == leaving)
        net_cut(from, to);
}

static void falls_silent(void *arg)
{
    leaving = arg;
    with_servers(leaving, cut_out);
}

void net_leave_servers_for(int host, usec for_so_long)
{
    struct host *h = &world.hosts[host];

    leaving = h;
    with_servers(h, cut_in);
    event_in(UNDER_WAY, NULL, falls_silent, h);
    event_in(UNDER_WAY + for_so_long, NULL, joins_again, h);
}

/* ---- late words ---- */

static bool is_late[HOSTS_MAX], has_left[HOSTS_MAX];

static void all_late(struct host *to, usec by)
{
    for (int i = 0; i < world.host_count; i++)
        if (&world.hosts[i] != clients_host && &world.hosts[i] != to)
            net_late(&world.hosts[i], to, by);
}

static void leaves(void *arg)
{
    struct host *h = arg;

    if (!is_late[h->id] || has_left[h->id])
        return;
    story("%s leaves the network", h->name);
    net_leave_servers(h);
    has_left[h->id] = true;
}

void net_late_words(const struct fault *f, struct node *n)
{
    is_late[n->host->id] = true;
    all_late(n->host, salted(f, 3, LATE_MAX));
    event_in(salted(f, 4, LEAVES_MAX), NULL, leaves, n->host);
}

void net_late_words_end(struct node *n)
{
    if (has_left[n->host->id])
        net_join_servers(n->host);
    is_late[n->host->id] = has_left[n->host->id] = false;
    all_late(n->host, 0);
}

/* ---- two sides ---- */

static bool are_apart(const struct fault *f, const struct host *a, const struct host *b)
{
    return salted(f, SIDE_SALT + a->id, 2) != salted(f, SIDE_SALT + b->id, 2);
}

void net_partition(const struct fault *f, void (*change)(struct host *from, struct host *to))
{
    for (int i = 0; i < world.host_count; i++)
        for (int j = 0; j < world.host_count; j++) {
            struct host *a = &world.hosts[i], *b = &world.hosts[j];
            if (a != clients_host && b != clients_host && a != b && are_apart(f, a, b))
                change(a, b);
        }
}

/* ---- one link after the other ---- */

/* The nth to go: one for each node, that of the node itself is the store. */
static struct host *far_end(const struct peeling *p, int nth)
{
    int first = (int)salted(p->fault, 0, node_count);
    int at = (first + (salted(p->fault, 1, 2) ? nth : node_count - nth)) % node_count;

    return &nodes[at] == p->node ? store_host : nodes[at].host;
}

/* Of a third only what *n says is lost. */
static void with_far_end(const struct peeling *p, struct host *far, void (*change)(struct host *from, struct host *to))
{
    change(p->node->host, far);
    if (salted(p->fault, 2, 3))
        change(far, p->node->host);
}

static void kill_agent(void *arg)
{
    struct node *n = arg;

    if (n->guard.agent.alive)
        guard_sim_kill_agent(&n->guard);
}

static void peel(void *arg)
{
    struct peeling *p = arg;

    if (p->over) {
        free(p);
        return;
    }
    if (p->gone == node_count) {
        event_in(PEEL_MAX, NULL, peel, p);
        return;
    }
    struct host *far = far_end(p, p->gone++);
    story("the link of %s to %s goes", p->node->host->name, far->name);
    with_far_end(p, far, net_cut);
    if (far != store_host && salted(p->fault, 10 * p->gone, 2))
        event_in(salted(p->fault, 10 * p->gone + 1, KILL_LATE_MAX), NULL, kill_agent, &nodes[far->id]);
    event_in(salted(p->fault, 10 * p->gone + 2, PEEL_MAX), NULL, peel, p);
}

struct peeling *peeling_begin(const struct fault *f, struct node *n)
{
    struct peeling *p = mem_zero(1, sizeof(*p));

    *p = (struct peeling){.fault = f, .node = n};
    peel(p);
    return p;
}

void peeling_end(struct peeling *take_p)
{
    struct peeling *p = take_p;

    for (int i = 0; i < p->gone; i++)
        with_far_end(p, far_end(p, i), net_mend);
    p->over = true; /* its next step is still to come, and frees it */
}
