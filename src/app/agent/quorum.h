/*
 * Quorum mode's hands: the promise on disk, the freeze, the list of names, the marker, walsenders.
 *
 * What a postmaster was shown to do holds for that postmaster alone: with another one everything is proved anew. The
 * promise and the freeze are carried out with the fence, before any action and also while one waits; the rest are
 * actions that only begin here, their ends are in the next view.
 */
#pragma once

#include "base/auto.h"
#include "core/ha/decide.h"

struct agent;
struct quorum;

/* Reads the promise. An unreadable one is logged: this node takes no part then. */
struct quorum *quorum_new(struct agent *a);
void quorum_free(struct quorum *q);
AUTO_DEFINE(quorum, struct quorum, quorum_free)

/* Once there is a registry: a record that is older than the newest seen is not believed. */
void quorum_watch_store(struct quorum *q);

/* What came to be known of PostgreSQL: before every view. */
void quorum_notice(struct quorum *q);
void quorum_view(struct quorum *q, struct ha_view *v);
void quorum_state(struct quorum *q, struct peer_state *s);

/*
 * False: the promise is another one now, or could not be written; nothing else of this plan is to be done.
 * *again_ms becomes earlier where something is to be tried again.
 */
bool quorum_carry_out(struct quorum *q, const struct ha_plan *p, msec *again_ms);

void quorum_load_names(struct quorum *q, const char *list);
/* Files of ours, written anew, took away a list that was read after ours: which one is in force is not known. */
void quorum_names_overridden(struct quorum *q);
void quorum_write_marker(struct quorum *q, term t);
void quorum_end_sender(struct quorum *q, uint32_t pid, const char *name);

/* Others wait for what PostgreSQL here shows next: it is asked often. */
bool quorum_waits(const struct quorum *q, const struct ha_view *v);
