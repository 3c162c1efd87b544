/*
 * The status of this node as JSON: the body of GET /patroni and of every health check. Pure.
 *
 * Keys, their order and the forms of numbers and times are Patroni's. What we add stands under "pgkeep"
 * and nowhere else.
 */
#pragma once

#include "base/time.h"
#include "web/snapshot.h"

/* free() it. */
char *status_text(const struct snapshot *s, msec now_ms);
