/*
 * Metrics of this node in Prometheus' text format: the body of GET /metrics. Pure.
 *
 * Names, types, labels and values of the patroni_* series are Patroni's, so that its dashboards and
 * alerts go on working; the pgkeep_* series are what they lack.
 */
#pragma once

#include "base/time.h"
#include "web/snapshot.h"

/* free() it. */
char *metrics_text(const struct snapshot *s, msec now_ms);
