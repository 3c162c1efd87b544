/*
 * The network between hosts: delay, loss (which TCP turns into delay), cuts in one direction or both.
 *
 * A message that is sent while its direction is cut never arrives, and nobody is told: whoever waits has a deadline
 * of its own. What arrives is the receiving host's kernel's, so it waits while the host stands still and is gone if
 * the host goes down.
 */
#pragma once

#include "test/sim/world.h"

void net_init(usec delay_min, usec delay_max);

/* `arrive` runs as an event of `to`'s kernel. Messages of one pair may overtake each other. */
void net_send(struct host *from, struct host *to, event_fn *arrive, void *arg);

/* A connection keeps its order: *last is its own, 0 at first. */
void net_send_in_order(struct host *from, struct host *to, usec *last, event_fn *arrive, void *arg);

/* Faults; counted per direction, so that two reasons for a cut need two ends. */
void net_cut(struct host *from, struct host *to);
void net_mend(struct host *from, struct host *to);
/* What is sent there arrives later by so much, in the order in which it was sent. */
void net_late(struct host *from, struct host *to, usec by);
void net_isolate(struct host *h); /* from all others, both ways */
void net_rejoin(struct host *h);
bool net_reaches(const struct host *from, const struct host *to);

/*
 * Between two PostgreSQLs: such a way can be cut by itself, while the agents hear each other (a firewall, large packets
 * that are dropped).
 */
void net_cut_wal(struct host *from, struct host *to);
void net_mend_wal(struct host *from, struct host *to);
bool net_reaches_wal(const struct host *from, const struct host *to);
void net_send_wal(struct host *from, struct host *to, usec *last, event_fn *arrive, void *arg); /* in order */
void net_send_wal_once(struct host *from, struct host *to, event_fn *arrive, void *arg);

void net_slow(usec delay_max, int loss_permille); /* everywhere */
