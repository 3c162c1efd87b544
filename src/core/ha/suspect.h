/*
 * Suspicion: has whoever the cluster waits for (its leader, or the coordinator of an election) failed?
 *
 * In quorum mode a wrong suspicion costs a moment, not data: the election freezes first and reads positions then. So
 * this may be quick. It is not hasty, though:
 *   - silence counts when most of the agents that are heard here miss the same node, each by its own account, and no
 *     WAL has come from it to a standby of the cohort; an agent alone may be restarted by its guard;
 *   - what a node says of itself counts at once: its postmaster died and nobody planned that. That is a suspicion as
 *     well, no proof: backends outlive a postmaster;
 *   - a PostgreSQL that runs and does not work (stopped by a signal, a disk that hangs) gets its time;
 *   - a leader that is heard, and whose WAL does not get to enough of its cohort for a commit (reach.h), is suspected
 *     after lost_ms if it reaches none, and after twice that if it reaches some: it drops the others itself by then,
 *     if it can write the record. Only if two of the cohort are up, though: one alone has nobody to acknowledge either,
 *     and it is the leader who goes on without it, or in strict mode waits;
 *   - where this agent itself stood still, ages count from its awakening.
 */
#pragma once

#include <stdbool.h>

#include "core/ha/decide.h"

enum suspicion {
    SUSPECT_NOBODY,
    SUSPECT_DEAD,   /* its own agent says so */
    SUSPECT_SILENT, /* nobody hears it */
    SUSPECT_SICK,   /* it runs, but does not work */
    SUSPECT_CUT,    /* it works, but not for its cohort */
    SUSPECT_STUCK,  /* an election makes no progress */
};

struct suspect {
    enum suspicion kind;
    const char *name; /* whom */
    char why[HA_NAME_MAX + 128];
};

/* Also sets p's wake for the moment at which that may change. */
struct suspect suspect_look(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p);

/*
 * What is given limit_ms, for somebody who tells his state more seldom than the profile in force here has it: another
 * one is in force there, while the configuration changes, or where the store is not reached.
 */
msec mesh_quiet(const struct ha_view *v, const char *name, msec limit_ms);
/* The newest state of `name`, if it is not older than suspect_ms (mesh_quiet); NULL. Our own name: what we say. */
const struct peer_state *mesh_fresh(const struct ha_view *v, const char *name);
/* Who is late itself hears others late: so long is it to be waited for what is given limit_ms. */
msec mesh_patience(const struct ha_view *v, msec limit_ms);
/* How long ago `name` was heard; MSEC_NEVER: never. */
msec mesh_age(const struct ha_view *v, const char *name);
