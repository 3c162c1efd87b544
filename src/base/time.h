/*
 * Durations, moments and terms.
 *
 * Every moment in pgkeep is milliseconds of CLOCK_BOOTTIME (it goes on in suspend); wall time is
 * only ever formatted for people or copied into Patroni's keys. Pure code gets `now_ms` as an
 * argument; nobody below io/ reads a clock.
 */
#pragma once

#include <stdint.h>

typedef int64_t msec;  /* a duration, or a moment on CLOCK_BOOTTIME */
typedef uint64_t term; /* grows with every new primary; 0 is "none yet" */

#define MSEC_NEVER INT64_MAX

static inline msec msec_min(msec a, msec b)
{
    return a < b ? a : b;
}

static inline msec msec_max(msec a, msec b)
{
    return a > b ? a : b;
}
