/*
 * Switchover and manual failover: the failover key asks.
 *
 * The leader checks that somebody can take over, stops PostgreSQL in good order (a checkpoint first, while clients
 * still work), and lets go of the key once the shutdown checkpoint is written, saying where it is: the successor takes
 * the key when it has it. Level-triggered: a leader that finds itself cleanly stopped while the key still asks goes on
 * from there, whoever stopped it. The others ask here whose turn it is before they race.
 */
#pragma once

#include "core/ha/decide.h"

/* ---- the leader ---- */

/* We are primary and the failover key is present. True if the plan is made. */
bool handover_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p);

/* We own the key, PostgreSQL has shut down and the failover key asks us to leave. True if the plan is made. */
bool handover_finish(const struct ha_view *v, struct ha_plan *p);

/* ---- its successors: the key is absent ---- */

/*
 * Walsenders ship the shutdown checkpoint before they end; a successor that has it not so long after the key went will
 * never have it.
 */
enum { HANDOVER_CATCH_UP_MS = 2000 };

enum handover_turn {
    TURN_OPEN_RACE, /* nobody is asked for, or it had its time: whoever is best */
    TURN_OURS,      /* the last leader handed over to us, and we have all that it had: nobody is to be asked */
    TURN_FORCED,    /* an operator wants us, whatever we lack: only a primary that still runs is in the way */
    TURN_WAIT,      /* it was handed over, and its last record may still arrive here */
    TURN_OTHERS,    /* another one is asked for, or any but us: theirs, if one of them can */
};

/* Whose turn is it? */
enum handover_turn handover_turn_of(const struct ha_memory *m, const struct ha_view *v);

/* TURN_OTHERS, and a round has told who can lead. True if one that is asked for can: the plan leaves it to that one. */
bool handover_leave(const struct ha_view *v, struct ha_plan *p);

/* The last leader let go while it was asked to, for us: in pause, too, the rest is ours. */
bool handover_is_for_us(const struct ha_memory *m, const struct ha_view *v);

/* This member stepped down in good order, and we have all that it had: however far it says to be, it is no better. */
bool handover_has_all_of(const struct ha_memory *m, const struct ha_view *v, const char *member);

/*
 * Quorum mode: this node, shut down, elects whoever has its last record (candidate; NULL: the best one) in one step:
 * nothing is left here that could acknowledge, and it has everything that ever was. False: nobody has it (yet).
 */
bool handover_elect(const struct ha_view *v, struct ha_plan *p, const char *candidate);
