/*
 * The black box: what this node saw of a failover or switchover, and when, for people to read afterwards.
 *
 * It looks on: it decides nothing, and nothing waits for it. While it happens only memory is written; a second after
 * the new leader is open each node that took part writes its own part (wire/report.h) below the cluster's keys and
 * into pgkeep.state_dir/failovers. A leader that was replaced adds what became of it once it follows. Losing all of
 * that harms nobody but who wants to know.
 */
#pragma once

#include "base/auto.h"
#include "core/ha/decide.h"

struct agent;
struct blackbox;

struct blackbox *blackbox_new(struct agent *a);
void blackbox_free(struct blackbox *b);
AUTO_DEFINE(blackbox, struct blackbox, blackbox_free)

/* What was seen and is about to be done. m is as the decision left it; actions of p that are refused do no harm. */
void blackbox_note(struct blackbox *b, const struct ha_memory *m, const struct ha_view *v, const struct ha_plan *p);

/* Write what is due. Returns when to be called again at the latest; MSEC_NEVER. */
msec blackbox_write(struct blackbox *b);
