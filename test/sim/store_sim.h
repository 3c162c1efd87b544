/*
 * The store: one server that answers linearizably, behind the network. Its clients are store.h's.
 */
#pragma once

#include "test/sim/world.h"
#include "wire/cluster.h"

void store_sim_init(struct host *host, const char *prefix);

/* Faults. To be away is to be cut off or to stand still: net.h, host_freeze(). */
void store_sim_refuse(bool refuse);            /* no leader of its own: answers, and does nothing */
void store_sim_slow(usec commit_max);          /* how long a commit takes at most */
void store_sim_late(int permille);             /* requests that are carried out seconds after their asker gave up */
void store_sim_answers_late(bool late);        /* what was carried out in time */
void store_sim_split(const struct host *from); /* its requests go to a member that has lost the others; NULL: none */
void store_sim_watch_lag(usec lag_max);
void store_sim_compact(void);      /* watches that lag behind cannot go on */
void store_sim_expire_early(void); /* every lease ends now (a store that restarts may do that) */
void store_sim_stale(bool stale);  /* readings show what was there when that began, or now */
void store_sim_back_up(void);
void store_sim_restore(void);                            /* as it was backed up: another cluster to its clients */
void store_sim_wipe(void);                               /* a new one takes its place */
void store_sim_put(const char *name, const char *value); /* an operator's etcdctl; NULL deletes */

/* Told when the record is another one, before anybody else hears of it; NULL: nobody asks. */
extern void (*store_sim_record_changed)(const struct record_key *r);

/* What it holds now, for who checks. cluster_free() it. */
struct cluster *store_sim_cluster(void);
