/*
 * The roster: what the leader knows of the standbys that follow it in quorum mode, joined from three sources that
 * must agree: its own walsenders, what the standbys' agents say, and the record.
 *
 * PostgreSQL counts walsenders by name, not nodes. A standby's acknowledgement means something only if exactly one
 * walsender of that name is counted, a physical one that holds the member's own slot; the others are ended.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/ha/decide.h"
#include "wire/record.h"

struct follower {
    const char *name;
    uint64_t incarnation;
    int sync_priority; /* 0: nosync */
    bool follows;      /* streams from us, under our term, on our timeline, by a walsender that is its own */
    bool marked;       /* … and has the marker on its disk, as both its agent and that walsender say */
    bool stalled;      /* … but nothing has come to it for a while, though there is more (reach.h) */
    bool wants_out;    /* its directory is to be rewound or replaced */
    lsn lag;           /* bytes it has not flushed, by PostgreSQL here */
};

struct roster {
    struct follower at[HA_PEERS_MAX];
    size_t count; /* agents that are up, ours not among them, sorted by name */
};

void roster_read(const struct ha_view *v, struct roster *ret);
const struct follower *roster_find(const struct roster *r, const char *name);

/*
 * Of the cohort's members, as they were admitted: how many follow, and not at a standstill; how many have the marker.
 */
size_t roster_following(const struct roster *r, const struct record_cohort *c);
size_t roster_marked(const struct roster *r, const struct record_cohort *c);

/*
 * The cohort that should be: who follows, with hysteresis for those that are in the record already (m remembers since
 * when one is missing). Names point into v. false: nothing better than the record's is known.
 */
bool roster_target(struct ha_memory *m, const struct ha_view *v, const struct roster *r, struct record_cohort *ret,
                   struct ha_plan *p);

/* The one walsender that is this member's, streaming; NULL: none, or not only one. */
const struct ha_sender *roster_own_sender(const struct ha_view *v, const char *name);
/* Since when a member of the cohort does not follow; 0: it does. */
msec roster_missing_since(struct ha_memory *m, const struct ha_view *v, const char *name, bool follows);

/* An agent of that name is in the mesh, or the record's cohorts have a member of it. */
bool roster_is_member(const struct ha_view *v, const char *name);

/* Walsenders that would be counted under a member's name and are not its own: to be ended. */
void roster_audit(const struct ha_view *v, struct ha_plan *p);

#define ROSTER_FENCE "__fence__" /* a name that cannot exist: nothing is acknowledged */

/* For synchronous_standby_names, at most HA_LIST_MAX; an empty cohort: "", in strict mode the fence. */
const char *roster_list(const struct record_cohort *c, bool strict, char *ret_text, size_t cap);
