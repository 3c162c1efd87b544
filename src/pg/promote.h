/*
 * Promotion: the trigger file and SIGUSR1 to the postmaster (what pg_ctl promote does, without its waiting; PostgreSQL:
 * postmaster.c, CheckPromoteSignal). pg_promote(wait) would poll at 100 ms.
 *
 * A promotion cannot be taken back once the signal is out, and a file left behind fires at the next unrelated
 * SIGUSR1: promote_withdraw() before every freeze, follow and start.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/auto.h"
#include "base/err.h"

/*
 * postmaster: the pid the guard knows. Fails without effect if the file cannot be made; removes it if the
 * signal fails.
 */
MUST_USE bool promote_trigger(const char *data_dir, pid_t postmaster, struct err *err);
/* Remove the trigger file. Absent is fine. true does not mean that no promotion is under way. */
bool promote_withdraw(const char *data_dir, struct err *err);
