/*
 * Snapshots for tests: a healthy node at the moment NOW, to be bent into shape.
 */
#pragma once

#include "base/str.h"
#include "web/snapshot.h"

#define NOW 1000000

/* A running replica that streams, nothing behind. */
static inline UNUSED struct snapshot *replica(void)
{
    struct snapshot *s = snapshot_new();

    s->seq = 7;
    s->taken_ms = NOW - 500;
    s->scope = str_dup("demo");
    s->name = str_dup("n1");
    s->version = str_dup("0.1.0");
    s->told_version = str_dup("4.0.0");
    s->agent_id = str_dup("0123456789abcdef");
    s->state = NODE_RUNNING;
    s->role = ROLE_REPLICA;
    s->pg_known = true;
    s->in_recovery = true;
    s->postmaster_start_time = str_dup("2026-11-24 08:45:35.123456+00:00");
    s->postmaster_start_epoch = 1795509935.123456;
    s->server_version = 150018;
    s->system_identifier = str_dup("7430000000000000001");
    s->timeline = 3;
    s->received_location = 5000000;
    s->replayed_location = 5000000;
    s->receiver_latest_end = 5000000;
    s->optime = 5000000;
    s->replication_state = str_dup("streaming");
    s->ttl_ms = 30 * 1000;
    s->loop_wait_ms = 10 * 1000;
    s->loop_ran_ms = NOW - 3000;
    s->maximum_lag_on_failover = 1024 * 1024;
    s->store_known = true;
    s->dcs_last_seen = 1795510800;
    s->failover_priority = 1;
    s->term = 4;
    return s;
}

/* The primary under a valid lease. */
static inline UNUSED struct snapshot *primary(void)
{
    struct snapshot *s = replica();

    s->role = ROLE_PRIMARY;
    s->in_recovery = false;
    s->writable = true;
    s->location = 5000000;
    s->received_location = s->replayed_location = s->receiver_latest_end = 0;
    str_set(&s->replication_state, NULL);
    s->leader = true;
    s->lease_deadline_ms = NOW + 20 * 1000;
    return s;
}

/* The leader of a standby cluster. */
static inline UNUSED struct snapshot *standby_leader(void)
{
    struct snapshot *s = replica();

    s->role = ROLE_STANDBY_LEADER;
    s->standby_cluster = true;
    s->leader = true;
    s->lease_deadline_ms = NOW + 20 * 1000;
    return s;
}
