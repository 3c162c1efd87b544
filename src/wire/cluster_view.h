/*
 * The cluster as people see it: the object that GET /cluster answers and that `list` prints.
 *
 * Fields, names and order are Patroni 4.1's; `clone` ({"done","total"} in bytes) is our addition for
 * members that are being created. Lags count from /status.optime, "unknown" where a position is missing.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "wire/cluster.h"

/* New reference; never NULL. Without `scope`: whoever answers knows it. */
json_t *cluster_view(const struct cluster *c);

/* What the dynamic configuration of the cluster says; all false while there is none. */
bool cluster_is_paused(const struct cluster *c);
bool cluster_is_standby(const struct cluster *c);     /* standby_cluster names a remote host or archive */
bool cluster_is_synchronous(const struct cluster *c); /* any synchronous mode; never in a standby cluster */
bool cluster_is_quorum(const struct cluster *c);      /* synchronous_mode: quorum; never in a standby cluster */

/* An agent of ours without PostgreSQL (pgkeep.witness); "role": "witness" in the view. */
bool member_is_witness(const struct member *m);

/*
 * Is its acknowledgement waited for? By the record in quorum mode, else by the comma-separated list of /sync. Compared
 * without case, as Patroni does.
 */
bool cluster_sync_lists(const struct cluster *c, const char *name);
