/*
 * Questions about a view that several duties ask. Each reads as a sentence.
 */
#pragma once

#include <stdbool.h>

#include "core/ha/view.h"

/* A postmaster runs and may be out of recovery: seen so, or nothing proves the contrary. */
bool pg_may_be_primary(const struct ha_view *v);
/* A postmaster answered and is out of recovery. */
bool pg_is_primary(const struct ha_view *v);
/* A postmaster answered and is in recovery. */
bool pg_is_standby(const struct ha_view *v);
/*
 * A postmaster that stands still for good: it takes no connection and ends no backend, though its backends may
 * go on.
 */
bool pg_is_halted(const struct ha_view *v);
/* No process of the data directory is left. */
bool pg_is_stopped(const struct ha_view *v);
/* The data directory was last used by a primary: it may hold WAL that nobody else has. */
bool pg_was_primary(const struct ha_view *v);

bool job_runs(const struct ha_view *v, enum ha_job_kind kind);

/* Who leads, by the rules that hold (mode.h); NULL: nobody, or the cluster was never read. */
const char *leader_name(const struct ha_view *v);
bool leader_is_other(const struct ha_view *v);
/* Its member key; NULL: none. */
const struct member *leader_member(const struct ha_view *v);
/* This node is the leader, by the rules that hold (mode.h); whether it may serve is another question. */
bool leads(const struct ha_view *v);
/* … under this term. */
term leads_under(const struct ha_view *v);
/* The answer of `name` in the newest round; NULL: not asked. */
const struct ha_peer *peer_answer(const struct ha_view *v, const char *name);
/* The leader itself said, in a round not older than a few seconds, that it runs as primary. */
bool leader_is_proved(const struct ha_view *v);

/*
 * Something promises what this node cannot keep: a setting that is not built, or that PostgreSQL here does not keep; a
 * record of a newer pgkeep or one that cannot be read. Then this node must not become primary, in any mode. ret_why:
 * what, as the subject of a sentence.
 */
enum { UNKEPT_MAX = 160 };
bool node_is_unfit(const struct ha_view *v, char ret_why[UNKEPT_MAX]);

/* The failover key asks this node, the leader, to hand over (its time may be in the future). */
bool handover_is_asked(const struct ha_view *v);
