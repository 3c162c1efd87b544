/*
 * Health checks: from a snapshot, a path and the time to 200 or 503. Pure.
 *
 * What a load balancer asks. The paths are matched as Patroni does, by what they contain ("/primary",
 * "/x-primary-y", "/db/master" are one), so that every check that worked goes on working.
 *
 * Where we differ, on purpose: /primary (and "/", /master, /read-write) is 200 only while PostgreSQL here
 * was seen open for writes by the last probe AND the lease is valid at this moment. Patroni answers by
 * its own belief in the lease alone, also while it still promotes, or while PostgreSQL is down. /leader
 * stays what it is there: who holds the lease. Facts about PostgreSQL that are older than the ttl count
 * as unknown: nobody has looked for too long.
 */
#pragma once

#include <stdbool.h>

#include "base/time.h"
#include "web/snapshot.h"

/* The state and role to tell at now_ms, and whether the facts about PostgreSQL may be told at all. */
struct health_node {
    enum node_state state;
    enum node_role role;
    bool known;
};
struct health_node health_node(const struct snapshot *s, msec now_ms);

/* Any path that is none of the others, and every path for HEAD and OPTIONS. */
int health_check(const struct snapshot *s, const char *path, const char *query, msec now_ms);

/* GET /liveness: the loop runs, or the cluster is paused. */
int health_liveness(const struct snapshot *s, msec now_ms);

/* GET /readiness?lag=…&mode=apply|write: leads, or streams and is near enough. */
int health_readiness(const struct snapshot *s, const char *query, msec now_ms);
