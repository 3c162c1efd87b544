/*
 * Switchover and manual failover as REST asks for them: checked, written to the failover key, followed
 * until the new leader runs.
 */
#pragma once

#include "app/agent/state.h"

struct op;

/* POST /switchover, POST /failover. Answers at once, or when it is over. */
void switchover_ask(struct agent *a, struct op *op);
/* DELETE /switchover: only a scheduled one. */
void switchover_delete(struct agent *a, struct op *op);
/* In every cycle: is the one we follow over? Returns when to be called again at the latest; MSEC_NEVER. */
msec switchover_follow(struct agent *a);
/* The agent ends. */
void switchover_drop(struct agent *a);

/* "15.4" → 150004, "15" → 150000, for the restart condition postgres_version. */
int version_number(const char *text);
