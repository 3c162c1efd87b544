/*
 * Gray failures: is the PostgreSQL that runs here one that works, and are we ourselves in time?
 *
 * Four probes off the way of decisions, each of which may hang by itself: the connection that is kept (local.c), a new
 * connection now and then, a write to pg_wal's file system (io/disk_probe.h), the postmaster's state in /proc. Beside
 * them the WAL that a standby is sent, and our own lateness. What they see is judged by health_judge.h, changes of
 * `sick` are logged and wake the agent.
 *
 * Without quorum mode nobody decides by any of it: then it is looked at once a second, and no connections are made.
 *
 * Cost in quorum mode with the default profile, measured: four questions a second 3 ms of PostgreSQL's time in each
 * second, a connection every two seconds 1 (socket) to 7 (TCP and SCRAM), the agent 1 more, the disk's writer half of
 * one and 0.6 MB: together 0.5 to 1 % of a core.
 */
#pragma once

#include "base/auto.h"
#include "core/ha/view.h"
#include "io/disk_probe.h"
#include "wire/conf/dynamic.h"

struct health;
struct local;
struct loop;
struct pg_instance;

typedef void health_changed_fn(void *arg); /* `sick` is another one */
/*
 * May a sign of life be written to the WAL at this moment? Asked right before one: what a primary writes that was
 * replaced, or is frozen, only makes a rewind of its return.
 */
typedef bool health_may_write_fn(void *arg);

struct health *health_new(struct loop *l, struct local *local, health_changed_fn *changed,
                          health_may_write_fn *may_write, void *arg);
void health_free(struct health *h);
AUTO_DEFINE(health, struct health, health_free)

/* A new snapshot of the settings. quorum: synchronous_mode is not off, and others decide by what we tell. */
void health_instance(struct health *h, struct pg_instance *i, bool quorum, enum failover_profile profile);
/* What local.h tells may have changed: at once, where a process has begun or ended. */
void health_notice(struct health *h);

void health_view(const struct health *h, struct ha_health *ret_health);
void health_disk(const struct health *h, struct disk_probe_view *ret_disk);
