/*
 * The lines of a script about quorum mode.
 */
#pragma once

#include "world.h"

/* False: `word` begins no line of quorum mode. Cuts `rest` up. */
bool step_quorum(struct scenario *s, const char *word, char *rest);
