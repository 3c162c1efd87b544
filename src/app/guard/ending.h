/*
 * How a guard ends: for good, taking PostgreSQL along; in a pause, leaving it; or as a new binary.
 *
 * SIGTERM asks the agent to end in good order (the fence holds all the while). Then PostgreSQL is stopped
 * if it still runs, unless the agent said LEAVE. A second signal does not wait for the agent, a third one
 * not for PostgreSQL.
 */
#pragma once

#include "app/guard/guard.h"

/* SIGTERM or SIGINT. */
void ending_signal(struct guard *g, msec now_ms);
/* The agent was reaped: the end of the way, or the beginning of a successor. */
void ending_agent_gone(struct guard *g, int status);
/* The new binary has tried our state. */
void ending_probe_gone(struct guard *g, int status);

void ending_duty(struct guard *g, msec now_ms);
/* When the duty has something to do next. */
msec ending_next_ms(const struct guard *g, msec now_ms);
