/*
 * The members of a cluster as `list` and `topology` show them: Patroni 4.1's columns and words.
 */
#pragma once

#include <stdbool.h>

#include "app/ctl/listing.h"
#include "base/buf.h"
#include "wire/cluster.h"

/* extended: the columns for restarts and tags even if nobody has any. */
struct listing *members_listing(const struct cluster *c, const char *cluster_name, bool extended,
                                enum listing_format format);

/*
 * What holds for the cluster as a whole: maintenance mode, a scheduled switchover. Empty if nothing. extended: what our
 * own record says as well.
 */
void members_service_info(const struct cluster *c, bool extended, struct buf *out);

/* "n1 (127.0.0.1:5432)": how an operator recognises a member. free() it. */
char *member_label(const struct member *m);
