/*
 * Freezing a standby: no walreceiver runs, none can start, and that is shown; then where its WAL ends.
 *
 * What is done: the promote file and a list of synchronous standbys go; the files say primary_conninfo = '' and
 * restore_command = '' (conf_input.frozen); SIGHUP and its proof (pg/reload.h); a walreceiver that is still there gets
 * SIGTERM, and each new one, every millisecond or two; then looks at the server until one of two things is shown.
 * Neither is a matter of time: both follow from how the startup process works (xlogrecovery.c,
 * WaitForWALToBecomeAvailable, as it is in 15 and 18). It alone asks for walreceivers, in one place; it knows the
 * new primary_conninfo once it handles the SIGHUP, which the proof of the reload says has been sent to it. What has
 * to be shown is that it cannot come to that place without handling it first.
 *
 *   At the end of WAL: it is in RecoveryRetrieveRetryInterval, without a walreceiver, in two looks. Before that
 *   sleep it has shut the walreceiver down (one that it had asked for and that was not there yet finds that out and
 *   exits; later minor versions let one live that waits for a timeline, which we end), and directly after the sleep
 *   it handles signals. So whatever it does next, it does with an empty conninfo. Nor is a promotion under way: it
 *   checks for the request after each such sleep and does not come back to it then; the file, which it looks for at
 *   that moment, was removed before the first look. All WAL is replayed, but for a record that is there in part.
 *
 *   Cut off from its receiver: after the reload was proved the shared state showed a walreceiver that streams, that
 *   has been ended since, and none came in two looks and CUT_OFF_MS. This is for a startup process that is blocked
 *   (replay paused, a recovery conflict, recovery_min_apply_delay, a stopped process) or has much left to replay: it
 *   has not noticed yet. While a walreceiver streams, the startup process reads from the stream; it finds out about
 *   its end only in the wait for more, and behind that it handles signals before it tries anything else. So the
 *   SIGHUP, sent before that look, comes first. (The one way around: received WAL that does not pass its checksums
 *   makes it try archive, pg_wal and stream again without a look at signals. Such a standby cannot replay on, and is
 *   stopped by who finds it so.) That a promotion was triggered before, and comes when the blocked replay is
 *   through, is told by pg_wal_replay_resume, which is refused then; where a promote file was found this proof is
 *   not taken, the startup process may have seen it and not have said so yet. The caller, too, does not freeze but
 *   stops a server whose promotion it has asked for.
 *
 * Not shown by either: a blocked startup process whose walreceiver ended before, with its upstream. It may be
 * replaying what it found in pg_wal, and then goes on to the stream without a look at signals. A pause is lifted for
 * this (pg_wal_replay_resume; a stop, the alternative, would lift it too); in a recovery conflict the budget passes.
 * Queries are not cancelled: the caller stops the server instead, which is frozen when no process of it is left.
 *
 * The position is the larger of received and replayed: received is kept in shared memory behind the walreceiver's end,
 * and is what it flushed; it is unknown (or the begin of a segment) after a restart, when the end of WAL is what was
 * replayed. Its timeline is that of replay where it is the replayed one, or was received on that timeline, which
 * IDENTIFY_SYSTEM tells. Else the walreceiver had gone on to a newer one that replay has not come to yet: the files in
 * pg_wal tell which (pg/wal_file.h). pg_control's is an older one, and so is the caller's note where the receiver went
 * on since.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/time.h"
#include "pg/conffile.h"
#include "wire/lsn.h"

struct loop;
struct pg_instance;
struct freeze_job;

enum freeze_proof {
    FREEZE_NOT_SHOWN,  /* stop the server, then it is frozen */
    FREEZE_AT_THE_END, /* the startup process waits at the end of WAL */
    FREEZE_CUT_OFF,    /* it is blocked or busy, and finds no upstream when it goes on */
};

struct freeze_result {
    enum freeze_proof proof;
    struct err err; /* FREEZE_NOT_SHOWN: why */
    lsn position;   /* max(receive, replay), but for what was received on a timeline that replay has left */
    lsn receive;    /* 0: nothing was received since the server started */
    lsn replay;
    uint32_t timeline; /* of position; 0: not known: no comparison with others */
    bool promote_seen; /* a promote file was there: the caller remembers it for the life of this postmaster */
    msec took_ms;
};

typedef void freeze_fn(const struct freeze_result *result, void *arg);

struct freeze_spec {
    struct pg_instance *instance;   /* a reference is taken */
    const struct conf_input *input; /* CHECKed to be frozen; used only during the call */
    pid_t postmaster;
    uint32_t
        noted_timeline; /* received_tli as last seen (promise.position_timeline): files that lack it say nothing; 0 */
    bool promote_seen;  /* of an earlier result */
    msec budget_ms;
};

/*
 * The promise has been written before. Files are written during the call; false: that failed, no callback. Again at any
 * time: all is proved anew. `fn` runs once, from the loop, at the latest after the budget; the job frees itself after
 * it.
 */
MUST_USE bool freeze_start(struct loop *l, const struct freeze_spec *spec, freeze_fn *fn, void *arg,
                           struct freeze_job **ret_job, struct err *err);
void freeze_cancel(struct freeze_job *j); /* no callback; what was written stays; NULL is fine */
