/*
 * One line of a script: which fact it sets.
 */
#pragma once

#include "world.h"

/* Cuts `line` up. True: it says `decide`. */
bool step_run(struct scenario *s, char *line);
