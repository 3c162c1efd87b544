/*
 * Sessions: commits and who is told of them, checkpoints, connections that are looked at by themselves.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "test/sim/pg.h"

enum pg_outcome {
    PG_ACKNOWLEDGED,
    PG_CANCELLED, /* success with a warning: the wait for the standbys was cancelled */
};

/*
 * The session answers its client. It never does if the session, or all of them, end first; the answer is then still
 * to travel.
 */
typedef void pg_committed_fn(struct pg *p, struct rec *commit, enum pg_outcome outcome, void *arg);

/* synchronous_commit: on promises what the cluster's mode says, local nothing. */
enum commit_level { COMMIT_ON, COMMIT_LOCAL };

void pg_commit(struct pg *p, enum commit_level level, int client, uint64_t number, pg_committed_fn *told, void *arg);
/* pg_cancel_backend() of those of that client which wait for standbys; how many. */
int pg_cancel_waits(struct pg *p, int client);
/* Does that one wait for standbys? Its session is ended with it. */
bool pg_waits(const struct pg *p, int client, uint64_t number);
void pg_end_wait(struct pg *p, int client, uint64_t number);
int pg_waits_count(const struct pg *p);
/* What others see: all that is in its WAL, unless its session still waits. */
bool pg_shows(const struct pg *p, const struct rec *commit);
/* How long it will take. */
usec pg_checkpoint(struct pg *p);
/* A record that means nothing and that nobody waits for; the walwriter flushes it. */
void pg_pulse(struct pg *p);

/* A connection of that process; NULL: too many clients. It is gone when the server's sessions are: pg_session_lives. */
struct pg_session *pg_connect(struct pg *p, struct proc *client);
bool pg_session_lives(const struct pg *p, const struct pg_session *s, uint64_t id);
void pg_disconnect(struct pg_session *s);

/* Set by who keeps the books: a commit is about to be acknowledged. by_tool: no server but this one may have it. */
extern void (*pg_acknowledges)(struct pg *p, struct rec *commit, bool by_tool);

/* Of pg.c: at a start; SIGHUP; sessions end by a stop; the postmaster is gone; nothing is left. */
void sessions_start(struct pg *p);
void sessions_reload(struct pg *p);
void sessions_end(struct pg *p);
void sessions_orphaned(struct pg *p);
