/*
 * Mutants (base/mutant.h): by name, and run until one is caught.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

size_t mutants_count(void);
const char *mutant_name(size_t i); /* 0 ≤ i < count */
const char *mutant_text(size_t i);
/* From now on that one runs. False: there is none of that name. */
bool mutant_choose(const char *name);

/* Each of them, or the one of that name, over seeds from `from` on until it is caught. Returns how many survived. */
int mutants_run(const char *only, uint64_t from, uint64_t seeds, int jobs);
