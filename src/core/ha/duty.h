/*
 * The situation of this node, named before anything is decided in it.
 *
 * The order is the precedence: the first row that holds is the duty of this cycle, and decide.c has one case for each.
 * (A job under way, an operator's SIGTERM and a directory of another cluster come before all of them.)
 */
#pragma once

#include "core/ha/decide.h"

enum ha_duty {
    DUTY_WITNESS,     /* there is no PostgreSQL here, and is not to be one */
    DUTY_FROZEN,      /* quorum mode: a term is promised that nobody is elected under yet */
    DUTY_WAIT,        /* the store was never read: nothing is known of the cluster */
    DUTY_DEMOTE,      /* the lease is about to end, or is lost, and PostgreSQL may be a primary */
    DUTY_HALTED,      /* the postmaster is stopped by a signal */
    DUTY_REIGN,       /* quorum mode: the record elected us */
    DUTY_LEAD,        /* we own the leader key, and may act by it */
    DUTY_REATTACH,    /* the leader key is ours and hangs on an older lease: the shell sees to that */
    DUTY_FOLLOW,      /* another owns it */
    DUTY_BIRTH,       /* nobody does, there is no cluster yet, and it may be made here */
    DUTY_HANDED_OVER, /* nobody does: we let go of it, and wait for the one that was to have it */
    DUTY_DOUBT,       /* nobody does, and a promotion here that did not end well may still happen */
    DUTY_RACE,        /* nobody does, and PostgreSQL here runs */
    DUTY_STAY_UP,     /* nobody to follow: keep a standby running so that it can be read and elected */
};

/* fence: as of this plan. */
enum ha_duty duty_of(const struct ha_memory *m, const struct ha_view *v, const struct ha_fence *fence);
