/*
 * What a run has reached, in numbers.
 */
#pragma once

#include "test/sim/score.h"

/* The closing line. */
void report_closing(const struct score *s, double seconds);
/*
 * Which actions and fault points were reached, at which the process was killed, which faults there were. Returns the
 * share of points at which it was killed, in percent.
 */
int report_coverage(const struct score *s);
