/*
 * A failing schedule made small: fewer faults, shorter ones, fewer nodes, as long as the same invariant breaks.
 */
#pragma once

#include "test/sim/pool.h"

/*
 * *s fails with *o. It becomes the smallest that was found to fail so; what is tried is told on stderr. A shorter one
 * may fail under another seed of the world only, which *s then names.
 */
void minimize(struct pool *p, struct schedule *s, struct outcome *o);
