/*
 * A schedule: the cluster that is set up, and what goes wrong when. Drawn from a seed, or read from a file.
 *
 * The whole of it is known before the world begins, and the world draws its own chance from the seed: the same schedule
 * is the same history, a shorter one a similar history.
 *
 *   seed 1234
 *   set nodes 3
 *   fault 61.250 POWER_CUT leader/2 other 3 for 12.500 with 77
 *   fault 70.000 POINT_KILL 1 for 60.000 point act.promote 1
 */
#pragma once

#include <stdio.h>

#include "base/err.h"
#include "test/sim/points.h"
#include "test/sim/world.h"

/* What a fault may hit. */
enum reach { REACH_NODE, REACH_PAIR, REACH_ALL, REACH_NOBODY };

enum fault_kind {
#define FAULT(id, weight, lasts, reach) FAULT_##id,
#include "test/sim/faults.def"
#undef FAULT
    FAULT_COUNT
};

struct fault {
    enum fault_kind kind;
    usec at;
    bool anyone;     /* a trap: whoever reaches that point */
    bool leader;     /* whoever leads then; else, and if nobody does: */
    int node, other; /* 0: the first */
    usec lasts;
    uint64_t salt; /* for choices of its own */
    char point[POINT_NAME_MAX];
    unsigned int nth;
};

/*
 * The cluster: name, what is drawn. Times in ms; pace: of what lies between two faults, in percent; synchronous: off,
 * on, quorum; profile: default, fast, wan; old_minor: PostgreSQL before the fix of NAMES_MISSED_AT_START; storm: in
 * quorum mode one leader after the other is hit, as fast as they come; witness: in a synchronous mode the last of three
 * nodes or more has no PostgreSQL (all three by the seed itself, so that the histories of the others stay what they
 * were); peer_lease: where nothing is synchronous; cuts: networks that part in every way.
 */
#define SETUP(X)                                                                    \
    X(nodes, chance_one_in(4) ? 2 : chance_one_in(4) ? 5 : 3)                       \
    X(loop_wait, chance_one_in(2) ? 10 : 3)                                         \
    X(failsafe_mode, chance_one_in(3))                                              \
    X(primary_start_timeout, chance_one_in(2) ? 0 : chance_one_in(2) ? 300 : 10)    \
    X(late_node, chance_one_in(6) ? chance_between(30000, 120000) : 0)              \
    X(pace, chance_one_in(3) ? 50 : 100)                                            \
    X(faults_from, chance_one_in(8) ? chance(20000) : chance_between(20000, 35000)) \
    X(faults_for, chance_between(30000, 400000))                                    \
    X(settle, chance_one_in(16) ? 240000 : 30000)                                   \
    X(synchronous, chance_one_in(3) ? 0 : chance_one_in(4) ? 1 : 2)                 \
    X(strict, chance_one_in(4))                                                     \
    X(acknowledge, chance_one_in(4) ? 2 : 1)                                        \
    X(profile, chance(3))                                                           \
    X(archive, chance_one_in(4))                                                    \
    X(old_minor, seed % 8 == 5)                                                     \
    X(storm, seed % 4 == 3)                                                         \
    X(witness, seed % 16 == 9)                                                      \
    X(peer_lease, seed % 4 != 2)                                                    \
    X(cuts, ret->setup.synchronous == 0)

struct setup {
#define X(name, draw) int64_t name;
    SETUP(X)
#undef X
};

enum { SCHEDULE_FAULTS_MAX = 512 };

struct schedule {
    uint64_t seed;
    struct setup setup;
    struct fault faults[SCHEDULE_FAULTS_MAX]; /* in the order of their times */
    size_t count;
};

const char *fault_kind_text(enum fault_kind kind);
bool fault_kind_lasts(enum fault_kind kind);
enum reach fault_kind_reach(enum fault_kind kind);

/* For all that is drawn from now on; both texts stay the caller's, for good. False: there is no such thing. */
bool schedule_fix(const char *name, const char *value);
void schedule_draw(uint64_t seed, struct schedule *ret);
bool schedule_read(const char *path, struct schedule *ret, struct err *err);
void schedule_write(const struct schedule *s, FILE *to);
/* One fault in words. */
void fault_tell(const struct fault *f, char *to, size_t size);
