/*
 * The agent's side of guard and agent: requests out, states in, and the heartbeat both ways.
 *
 * The link beats by itself from the loop, so an agent whose loop stands still is replaced. A request is
 * sent at once or not at all, nothing is queued: a promise that arrives late is worse than none. What a
 * request led to comes back as a state or a refusal with its seq. A fence is in force once the guard has read
 * it; a guard that does not read answers nothing either, and is silent long before a fence would be due.
 *
 * When the guard is gone (closed) or does not answer (silent), nobody stops PostgreSQL for us any more:
 * the agent must do it. One that the guard started gets SIGQUIT by itself as the guard dies; an adopted
 * one does not. guard_link_signal_postmaster() reaches the postmaster only; what outlives it is for
 * "pgkeep-guard --clear".
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/time.h"
#include "wire/guard.h"

struct guard_link;
struct loop;

/* None may free the link, except closed, which is the last. *m is valid during the call. */
struct guard_link_events {
    void (*state)(const struct guard_msg *m, void *arg);   /* every STATE, also the echo of a ping */
    void (*refused)(const struct guard_msg *m, void *arg); /* m->seq, m->text */
    void (*term)(void *arg);                               /* end in good order, then exit 0 */
    void (*reload)(void *arg);
    void (*reopen)(void *arg);                  /* log files */
    void (*silent)(void *arg);                  /* no answer for GUARD_ECHO_MS; called again only after there was one */
    void (*closed)(const char *why, void *arg); /* the guard is dead or not to be understood */
};

/* Takes the descriptor that the guard left in the environment, and says HELLO. False: we have no guard. */
MUST_USE bool guard_link_open(struct loop *l, const char *data_dir, const struct guard_link_events *events, void *arg,
                              struct guard_link **ret_link, struct err *err);
/* The same over take_fd (closed on failure too); guard: its pid, 0: not to be watched. */
MUST_USE bool guard_link_open_fd(struct loop *l, int take_fd, pid_t guard, const char *data_dir,
                                 const struct guard_link_events *events, void *arg, struct guard_link **ret_link,
                                 struct err *err);
void guard_link_free(struct guard_link *g);
AUTO_DEFINE(guard_link, struct guard_link, guard_link_free)

/*
 * Requests. False: nothing was sent. Otherwise guard_link_seq() is what the answer will carry.
 */

/*
 * argv[0]: absolute path; env: KEY=VALUE added to the guard's environment, may be NULL; log_path NULL: the
 * guard's stderr.
 */
MUST_USE bool guard_link_start(struct guard_link *g, const char *const *argv, const char *const *env,
                               const char *log_path, struct err *err);
/* quit_at_ms, kill_at_ms: MSEC_NEVER for no such step. */
MUST_USE bool guard_link_stop(struct guard_link *g, enum guard_stop_mode mode, msec quit_at_ms, msec kill_at_ms,
                              struct err *err);
MUST_USE bool guard_link_adopt(struct guard_link *g, pid_t postmaster, struct err *err);
MUST_USE bool guard_link_arm(struct guard_link *g, term t, msec stop_at_ms, msec quit_at_ms, msec kill_at_ms,
                             struct err *err);
MUST_USE bool guard_link_disarm(struct guard_link *g, struct err *err);
/* The agent is to exit after the echo. */
MUST_USE bool guard_link_leave(struct guard_link *g, struct err *err);
/* After the echo the agent is killed and its successor started. */
MUST_USE bool guard_link_upgrade(struct guard_link *g, struct err *err);

/* Of the last request that was sent; the link's own pings are requests too. */
uint64_t guard_link_seq(const struct guard_link *g);

/* Ours to watch, the link's to close; -1: none. */
int guard_link_guard_pidfd(const struct guard_link *g);
/* Signal 0 asks whether there is one. */
MUST_USE bool guard_link_signal_postmaster(const struct guard_link *g, int signo, struct err *err);
