/*
 * The leader's duties in quorum mode, from its election to the daily change of its cohort.
 *
 *   elected  → promoted under the write fence (or a primary already: elected anew)
 *   marker   → a record, flushed here, seen on k members of the cohort to be by their own agents and by PostgreSQL here
 *   OPEN     → the store's record says so
 *   the list → loaded and proved: only now a commit is acknowledged, to direct clients as well
 *
 * A PostgreSQL that comes up again under an open record goes the last two ways anew: it starts under the fence, and
 * what it holds beyond what was acknowledged must be on k members before anybody can build on it.
 *
 * The cohort changes by the joint rule: the record first says that an election must settle both, then the new list is
 * loaded and proved, then two barriers pass: no walsender works with the old list any more, and a marker written after
 * that is on k members of the new cohort. Then the record forgets the old one. One change at a time; a change that
 * cannot end is taken back the same way.
 */
#pragma once

#include "core/ha/decide.h"

/* The record elected this node. Says in p->serving whether it is open. */
void reign_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p);

/* By the leader of asynchronous mode, open and with its lease: quorum mode begins, if configured and possible. */
void reign_enter(const struct ha_view *v, struct ha_plan *p);
