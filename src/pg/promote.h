/*
 * Promotion: the trigger file and SIGUSR1 to the postmaster (what pg_ctl promote does, without its waiting; PostgreSQL:
 * postmaster.c, CheckPromoteSignal). pg_promote(wait) would poll at 100 ms.
 *
 * A promotion cannot be taken back once the signal is out, and a file left behind fires at the next unrelated
 * SIGUSR1: datadir_clear_promote() before every follow and start.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/auto.h"
#include "base/err.h"

/*
 * The next promotion takes timeline tli, not an earlier number: each before it that has no history file (a clone has
 * none of those before its own) gets an empty one, which a running server takes for one of a stranger (xlogrecovery.c,
 * rescanLatestTimeLine; timeline.c, findNewestTimeLine). None may be the newest at a start, which would wait for that
 * timeline for ever: datadir_clear_promote() removes what is above the newest real one, not while the promotion may
 * still happen. Below it they stay, for standbys that come from before them (pg/history.h). Never one for `newest`, the
 * timeline that this server is on: the new one's ancestors are read from there.
 */
MUST_USE bool promote_skip_to(const char *data_dir, uint32_t newest, uint32_t tli, struct err *err);
/*
 * postmaster: the pid the guard knows. Fails without effect if the file cannot be made; removes it if the
 * signal fails.
 */
MUST_USE bool promote_trigger(const char *data_dir, pid_t postmaster, struct err *err);
/* Remove the trigger file. Absent is fine. true does not mean that no promotion is under way. */
bool promote_withdraw(const char *data_dir, struct err *err);
