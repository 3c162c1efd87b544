/*
 * What goes wrong, and what operators do meanwhile: a schedule drawn by chance.
 */
#pragma once

#include "test/sim/node.h"

/* From `from` to `to` faults begin and end; none is left after `to`. */
void faults_schedule(usec from, usec to, struct host *store, struct host *operator_host);
unsigned int faults_count(void);
