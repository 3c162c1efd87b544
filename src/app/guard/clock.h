/*
 * The guard's clock: CLOCK_BOOTTIME, because a lease goes on while the machine is suspended.
 */
#pragma once

#include <time.h>

#include "base/check.h"
#include "base/time.h"

static inline msec clock_now_ms(void)
{
    struct timespec now;

    CHECK(clock_gettime(CLOCK_BOOTTIME, &now) == 0); /* fails only for a clock that does not exist */
    return (msec)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* moment + wait_ms, where MSEC_NEVER stays MSEC_NEVER. */
static inline msec clock_after_ms(msec moment_ms, msec wait_ms)
{
    return moment_ms == MSEC_NEVER || wait_ms == MSEC_NEVER ? MSEC_NEVER : moment_ms + wait_ms;
}
