/*
 * PostgreSQL's minor versions that miss the list of names right after a start.
 *
 * The checkpointer tells the backends that synchronous_standby_names is set. Up to 14.17, 15.12, 16.8 and 17.4 one that
 * comes before it takes "not told yet" for "there is none": its commit is acknowledged at once, whatever the list or
 * the fence in the files says. Fixed in 14.18, 15.13, 16.9 and 17.5 (release notes: "race condition in handling of
 * synchronous_standby_names immediately after startup"; seen on 14.17 and 16.8, docs/truths.md, NAMES_MISSED_AT_START).
 *
 * A standby has no commits, and its checkpointer has read the list long before a promotion. So where a version may miss
 * the list, and the quorum is what keeps commits, no leader starts as a primary: it comes up as a standby under a new
 * term, and is elected anew. synchronous_mode_strict is refused there.
 */
#pragma once

#include <stdbool.h>

/* version: as server_version_num, 150013. Not known (0) is not fixed. */
bool minor_keeps_names(int version);

/* Why synchronous_mode_strict is refused with this version, which is known and not fixed; free() it. */
char *minor_why_not_strict(int version);
