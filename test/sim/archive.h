/*
 * The archive: one folder that every node archives to and restores from.
 *
 * A primary with an archive_command puts a segment there from time to time, and the history file of a timeline as that
 * begins. Whoever has a restore_command takes what continues its WAL by name, which is timeline and number: also what a
 * primary archived that has long been superseded.
 */
#pragma once

#include <stdbool.h>

struct pg;

/* As a server starts. */
void archive_start(struct pg *p);
void archive_promoted(struct pg *p);
/* The next segment, if there is one. */
bool archive_restore(struct pg *p);
