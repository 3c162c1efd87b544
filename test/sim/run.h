/*
 * One world, from its begin to its end, in a process of its own.
 */
#pragma once

#include "test/sim/schedule.h"
#include "test/sim/score.h"

/* Ends the process: with 0 if all is well. `ret` says how it went (score.h). */
_Noreturn void run_schedule(const struct schedule *s, struct outcome *ret, bool verbose);
