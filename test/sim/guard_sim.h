/*
 * The guard of a host, and the agent's link to it (app/agent/guard_link.h).
 *
 * What wire/guard.h promises: the fence stops PostgreSQL whatever the agent does; an agent that is dead or says nothing
 * is replaced; what a killed postmaster leaves is killed; without the guard PostgreSQL goes.
 */
#pragma once

#include "test/sim/pg.h"

struct sim_guard {
    struct host *host;
    struct pg *pg;
    struct proc proc;
    struct proc agent;
    struct guard_link *link; /* of the agent that runs */
    struct {
        uint64_t term;
        msec stop_ms, quit_ms, kill_ms; /* MSEC_NEVER: not armed */
        bool begun;                     /* it is stopping an instance */
        bool spent;                     /* it has stopped one, and bars a start */
        unsigned int fired;
    } fence;
    usec barred_until;               /* no agent can be started before */
    usec look_at;                    /* the earliest look at its deadlines that is queued; INT64_MAX: none */
    msec stop_quit_ms, stop_kill_ms; /* of the agent's STOP */
    bool stopping;
    usec heard; /* the agent's last sign of life */
    unsigned int pid;
    unsigned int agent_starts;
    bool leaving;
    void (*run_agent)(struct sim_guard *g); /* as an event of the new agent */
};

void guard_sim_init(struct sim_guard *g, struct host *host, struct pg *pg, void (*run_agent)(struct sim_guard *g));
void guard_sim_start(struct sim_guard *g); /* systemctl start */
void guard_sim_kill(struct sim_guard *g);  /* SIGKILL: PostgreSQL gets SIGQUIT from the kernel, the agent sees it */
void guard_sim_power_cut(struct sim_guard *g);
void guard_sim_kill_agent(struct sim_guard *g);
/* The agent ends, and what it needs to start again is not there until then. */
void guard_sim_bar_agent(struct sim_guard *g, usec until);
void guard_sim_term(struct sim_guard *g); /* systemctl restart */
void guard_sim_agent_exited(struct sim_guard *g, int status);
void guard_sim_pg_died(struct pg *p, void *guard);
