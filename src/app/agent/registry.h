/*
 * The registry: the cluster's keys as this node last read them, kept current by a watch.
 *
 * A linearizable reading of the whole prefix, then a watch from its revision; read again every
 * loop_wait (the watch may be silently dead) and at once after a resync. Watch events wake and update;
 * what must be sure (ownership of the leader key) rests on transactions, not on this picture.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/time.h"
#include "wire/cluster.h"

struct loop;
struct store;
struct registry;

typedef void registry_changed_fn(void *arg); /* something was learned, or lost */

struct registry *registry_new(struct loop *l, struct store *store, const char *prefix, registry_changed_fn *fn,
                              void *arg);
/* After store_free(), which cancels the reading and the watch. */
void registry_free(struct registry *r);
AUTO_DEFINE(registry, struct registry, registry_free)

/* Read every period_ms; a request may take budget_ms. Reads at once. */
void registry_start(struct registry *r, msec period_ms, msec budget_ms);
void registry_timing(struct registry *r, msec period_ms, msec budget_ms);
/* Read again now (after an unknown outcome, a lost compare); one more follows a reading under way. */
void registry_refresh(struct registry *r);

/* Read again now. The ticket is for registry_has_read: whether a reading that began after this call has arrived. */
uint64_t registry_read_anew(struct registry *r);
bool registry_has_read(const struct registry *r, uint64_t ticket);

/*
 * Is what the store says to be believed? Asked for every new picture, before anybody sees it; store: its own id. One
 * that is not stands beside the last that was, and the store counts as not answering until another one comes.
 */
typedef bool registry_judge_fn(const struct cluster *c, uint64_t store, void *arg);
void registry_judge(struct registry *r, registry_judge_fn *judge, void *arg);
/* What is not believed, as registry_cluster(); NULL: all is. */
struct cluster *registry_past(const struct registry *r);

/* Newest picture; NULL before the first reading. Valid until the next change, or as long as a reference is held. */
struct cluster *registry_cluster(const struct registry *r);
/*
 * Who is there: the newest picture that is believed, or for want of one what is not. Not to decide by: members and
 * their addresses only.
 */
struct cluster *registry_members(const struct registry *r);
/* How often the store was found put back to an earlier state: no revision of before means anything then. */
unsigned int registry_setbacks(const struct registry *r);
/* When the newest fact arrived; 0: never. */
msec registry_read_ms(const struct registry *r);
/* The store answered last time we asked, and is to be believed. */
bool registry_answers(const struct registry *r);

/*
 * Other requests of this agent tell whether the store answers, too. An outage is logged, with its cause, and
 * its end.
 */
void registry_heard(struct registry *r);
void registry_unheard(struct registry *r, const char *why);
