/*
 * What operators ask by REST, as far as the cluster's state is needed to answer.
 *
 * Texts and codes are Patroni's (reference: REST API). Answers that take time (restart, switchover) wait
 * for the fact, not for the request: a switchover is done when the new leader runs.
 */
#pragma once

#include "app/agent/state.h"
#include "web/op.h"

/* op_submit_fn of the REST server; arg is the agent. Runs in the HTTP thread. */
bool ops_submit(struct op *take_op, void *arg);
void ops_init(struct agent *a);
void ops_deinit(struct agent *a);

/*
 * First thing of a cycle: scheduled work that is due, switchovers that are over. Returns when it wants to be
 * called again if nothing else happens; MSEC_NEVER.
 */
msec ops_before_cycle(struct agent *a);
/* A snapshot has been published: who asked for a fresh one before PostgreSQL was asked for it gets it. */
void ops_published(struct agent *a);
/* The plan answers a request. */
void ops_answer(struct agent *a, enum ha_answer_to what, bool ok);
