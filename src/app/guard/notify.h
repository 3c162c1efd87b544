/*
 * What the guard tells systemd: STOPPING, and WATCHDOG as long as its own loop turns.
 *
 * READY is the agent's to say (NotifyAccess=all). Never blocks, does nothing without NOTIFY_SOCKET.
 */
#pragma once

#include "base/time.h"

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. */
void notify_init(void);
void notify_send(const char *text);

/* How often WATCHDOG=1 is due; MSEC_NEVER if systemd does not ask for it. */
msec notify_watchdog_ms(void);
