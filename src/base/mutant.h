/*
 * Mutants: deliberate mistakes in the algorithm, which the simulator must find.
 *
 * MUTANT(NAME) is false, and gone, outside the simulator's build; there it is true while that mutant runs
 * (`sim --mutant NAME`). mutants.def lists them. One that survives says that the simulator is too kind.
 */
#pragma once

#ifdef PGKEEP_SIMULATOR

enum mutant {
    MUTANT_NONE,
#define MUTANT_DEFINE(name, mode, text) MUTANT_##name,
#include "base/mutants.def"
#undef MUTANT_DEFINE
    MUTANT_COUNT
};

extern enum mutant mutant; /* the one that runs */

#define MUTANT(name) (__builtin_expect(mutant == MUTANT_##name, 0))

#else

#define MUTANT(name) 0

#endif
