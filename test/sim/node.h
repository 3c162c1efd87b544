/*
 * A node: a host with guard, agent and PostgreSQL. The agent is the real one, app/agent, on the simulated world.
 */
#pragma once

#include "test/sim/guard_sim.h"
#include "test/sim/pg.h"

enum { NODES_MAX = 7 };

struct agent;
struct peer_state;
struct settings;

struct node {
    struct host *host;
    struct pg pg;
    struct sim_guard guard;
    struct agent *agent; /* of the process that runs, or ran last */
    bool witness;        /* it has no PostgreSQL: nothing ever runs in `pg` */
    char *yaml;
    struct settings *settings; /* what it says */
};

extern struct node nodes[NODES_MAX];
extern int node_count;

/* dcs: the lines of bootstrap.dcs, indented by four. witness: the last one is. */
void nodes_init(int count, const char *dcs, bool witness);
void node_power_cut(struct node *n);
void node_power_on(struct node *n);
void node_lose_disk(struct node *n); /* while it is down */
/* Who is open for writes; NULL: nobody. */
struct node *node_leader(void);
/* It streams from the leader, with nothing of its own. */
/* Its REST says that it is the primary. */
bool node_serves(const struct node *n);
bool node_follows(const struct node *n, const struct node *leader);

/* Long after the last fault: each agent hears each other one. */
void nodes_check_mesh(void);
/*
 * It has a database of its own, made while the store did not answer: two of them were born. Which one is to go is an
 * operator's to say.
 */
bool node_is_foreign(const struct node *n, const struct node *leader);
/* Its line for operators: what it is doing. */
/* What its agent, which runs now, tells the others of its promise and its freeze. false: it does not run yet. */
bool node_tells(const struct node *n, struct peer_state *ret);
/* Of its disk: the term that is promised, and what its data directory is to the cluster. */
term node_promise(const struct node *n);
uint64_t node_incarnation(const struct node *n);
const char *node_why(const struct node *n);
