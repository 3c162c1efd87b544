/*
 * Links that go one after the other, and a host that is cut off at a line of our own code. Clients still reach it, and
 * are answered: that is where two primaries would be seen.
 */
#pragma once

#include "test/sim/schedule.h"

struct node;
struct peeling;

void faults_net_init(struct host *store, struct host *clients);

/* From the store and all other nodes. */
void net_leave_servers(struct host *h);
void net_join_servers(struct host *h);
/* The same for so long, when what is under way has arrived; points.h. */
void net_leave_servers_for(int host, usec for_so_long);

/*
 * What the servers send to *n arrives seconds late, and after some time *n leaves them, while what they sent before
 * still arrives.
 */
void net_late_words(const struct fault *f, struct node *n);
void net_late_words_end(struct node *n);

/* All servers, the store among them, on two sides that the fault's chance draws; change: net_cut or net_mend. */
void net_partition(const struct fault *f, void (*change)(struct host *from, struct host *to));

/*
 * The links of *n to the store and the other nodes, each some time after the one before, in an order of the fault's
 * own; and now and then the agent at the other end is killed meanwhile.
 */
struct peeling *peeling_begin(const struct fault *f, struct node *n);
void peeling_end(struct peeling *take_p);
