/*
 * The guard's own lines on stderr, in the format of the agent's log:
 *
 *   2026-11-24 08:45:35,123 INFO: agent started, pid 4711 event=guard.agent_started
 *
 * Never blocks: a line that the reader of stderr does not take is dropped and counted, because a guard
 * that waits for a log collector misses its deadline. Act first, say it afterwards.
 */
#pragma once

#include "base/auto.h"

/* Once, before the first line; from then on nothing is allocated. */
void say_init(void);

/* event: a stable id such as "guard.fence" */
void say_info(const char *event, const char *fmt, ...) PRINTF_LIKE(2, 3);
void say_warning(const char *event, const char *fmt, ...) PRINTF_LIKE(2, 3);
void say_error(const char *event, const char *fmt, ...) PRINTF_LIKE(2, 3);
