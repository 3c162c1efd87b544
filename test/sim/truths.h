/*
 * What is true of PostgreSQL and of the machines under it, and bites: each by its name, and each can be switched off to
 * see what it is that it bites. The lists are truths.def (docs/truths.md shows them on real servers) and hazards.def.
 */
#pragma once

#include <stdbool.h>

enum truth {
#define TRUTH(name, text) TRUTH_##name,
#include "test/sim/hazards.def"
#include "test/sim/truths.def"
#undef TRUTH
    TRUTH_COUNT
};

/* In force unless switched off; NAMES_MISSED_AT_START, which newer minor versions have not, unless switched on. */
bool truth(enum truth t);
void truth_set(enum truth t, bool in_force);
/* Its name, and what it says. */
const char *truth_name(enum truth t);
const char *truth_text(enum truth t);
/* false: there is none of that name. */
bool truth_find(const char *name, enum truth *ret_truth);
