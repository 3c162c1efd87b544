/*
 * The watch: what must hold of the state of a cluster in quorum mode, looked at whenever it may have changed, long
 * before a commit happens to be lost.
 *
 *   N1   what any walsender of the open leader's server may be released by, the record covers: each set of standbys
 *        that its list lets acknowledge is met by every set that settles the record
 *   N2   every set that settles the record (its open cohort and, while it changes, the next one) has on one of its
 *        disks all that was ever acknowledged; so has who is elected
 *   N3   who froze under its term settles the cohort when somebody is elected, who is one of them
 *        a frozen position is where its disk ends, of the right timeline, and not before what was acknowledged from it
 *   N5   who says that it is stopped has no process left
 *   N6   who says that it is frozen for a term acknowledges nothing new before somebody is elected under that term
 *   N9   a number is one open timeline's, which begins where its leader was frozen
 *   A2   the elected acknowledges nothing before it is open
 *   S3   once somebody is elected nothing is acknowledged that it has not
 *   S4   what is told to be promised is on the disk
 *   S5   the fence of a server that came up as a primary is lifted when the cohort has what it came up with
 *   S7   a directory that the record counts on is not touched
 *   A12  who was frozen since it was elected does not leave recovery
 */
#pragma once

#include "test/sim/node.h"

/* For a cluster that may come to be in quorum mode: from now on. */
void watch_init(void);
/* Whoever loses that disk loses nothing with it: another one leads, is open, and has all of it. */
bool watch_may_lose(const struct node *n);
/* Its disk is about to be lost: by a fault, and so not by a decision of anybody here. */
void watch_disk_lost(const struct node *n);
