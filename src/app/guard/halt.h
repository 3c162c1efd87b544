/*
 * A halt: how hard PostgreSQL is being stopped at a given moment.
 *
 * The fence, an agent's STOP and the guard's own end are each a halt; the hardest one counts. Pure: time
 * is an argument, what to do is returned.
 */
#pragma once

#include <stdbool.h>

#include "base/time.h"

enum halt_level {
    HALT_NONE,
    HALT_SMART, /* SIGTERM to the postmaster */
    HALT_FAST,  /* SIGINT */
    HALT_QUIT,  /* SIGQUIT */
    HALT_KILL,  /* SIGKILL to every process of the instance */
};

struct halt {
    bool set;
    enum halt_level first; /* how it begins, at at_ms */
    msec at_ms;
    msec quit_at_ms; /* MSEC_NEVER: no such step */
    msec kill_at_ms; /* MSEC_NEVER: no such step */
};

/* From each moment on, its level; never less than before, as now_ms grows. */
enum halt_level halt_level(const struct halt *h, msec now_ms);

/* The next moment after now_ms at which the level rises; MSEC_NEVER if it will not. */
msec halt_next_ms(const struct halt *h, msec now_ms);

/* The signal for the postmaster; 0 for HALT_NONE. */
int halt_signal(enum halt_level level);
const char *halt_name(enum halt_level level);
