/*
 * Watching for what breaks quorum mode's promise from inside (wire/breach.h), and saying so: once in the log when it
 * comes and when it goes, in the member key, in REST and metrics for as long as it is there.
 *
 * PostgreSQL is asked every half a minute while the node is of a cluster in quorum mode, and soon after it begins to
 * serve; on a connection of its own, off the way of decisions, one question at a time. Nothing is decided by it, but
 * that files which lost a line of ours to ALTER SYSTEM are written anew.
 */
#pragma once

#include <stdint.h>

#include "wire/breach.h"

struct agent;
struct breach_watch;
struct pg_walsender;

struct breach_watch *breach_watch_new(struct agent *a);
void breach_watch_free(struct breach_watch *w); /* NULL is fine */

/* With each cycle: by_quorum: the node is of a cluster in quorum mode; serving: by the newest plan it is open. */
void breach_watch_notice(struct breach_watch *w, bool by_quorum, bool serving);
/* This one had the name of a member, was not its own, and is being ended. */
void breach_watch_walsender(struct breach_watch *w, const struct pg_walsender *s);
/* Another list was in force than the one that was proved last, or may have been: "it was '*'". */
void breach_watch_names(struct breach_watch *w, const char *other);

/* All there is, as of the last look; valid until the next turn of the loop. */
const struct breaches *breach_watch_found(const struct breach_watch *w);
uint64_t breach_watch_version(const struct breach_watch *w);          /* another one when what is found is */
uint64_t breach_watch_walsenders_ended(const struct breach_watch *w); /* since the agent started */
