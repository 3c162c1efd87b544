/*
 * `pgkeep demo --check`: the cluster is started, written to, hurt, and has to be whole again.
 */
#pragma once

#include "app/demo/cluster.h"

/* Everything is started already. Prints each phase with its time; false: *err and the logs were shown. */
MUST_USE bool trial_run(struct demo *d, struct err *err);
