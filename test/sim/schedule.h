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

/* kind, how often, whether it lasts, what it hits */
#define FAULTS(X) \
    X(KILL_POSTMASTER, 3, false, NODE) \
    X(KILL_POSTGRES, 3, false, NODE) \
    X(KILL_AGENT, 4, false, NODE) \
    X(STOP_AGENT, 3, true, NODE) \
    X(NO_AGENT, 4, true, NODE) \
    X(KILL_GUARD, 2, false, NODE) \
    X(SERVICE_RESTART, 3, false, NODE) \
    X(POWER_CUT, 4, true, NODE) \
    X(FREEZE_HOST, 3, true, NODE) \
    X(STOP_BACKENDS, 1, true, NODE) \
    X(STOP_POSTGRES, 2, true, NODE) \
    X(STUCK_SESSION, 2, true, NODE) \
    X(SLOW_DISK, 2, true, NODE) \
    X(CLOCK_RATE, 2, true, NODE) \
    X(CLOCK_JUMP, 1, false, NOBODY) \
    X(HOST_REPLACED, 1, true, NODE) \
    X(ISOLATE, 2, true, NODE) \
    X(ISOLATE_BUT_CLIENTS, 6, true, NODE) \
    X(DEAF, 1, true, NODE) \
    X(MUTE, 1, true, NODE) \
    X(CUT_FROM_STORE, 4, true, NODE) \
    X(CUT_ONE_WAY, 3, true, PAIR) \
    X(CUT_PAIR, 3, true, PAIR) \
    X(FLAPPING, 2, true, PAIR) \
    X(NET_LOSSY, 2, true, ALL) \
    X(POWER_CUT_ALL, 1, true, ALL) \
    X(ROLLING_KILL, 2, false, ALL) \
    X(STORE_FROZEN, 3, true, ALL) \
    X(STORE_REFUSES, 2, true, ALL) \
    X(STORE_SLOW, 2, true, ALL) \
    X(STORE_LATE, 2, true, ALL) \
    X(STORE_ANSWERS_LATE, 3, true, ALL) \
    X(STORE_SPLIT, 3, true, NODE) \
    X(STORE_LAGS, 2, true, ALL) \
    X(STORE_STALE, 1, true, ALL) \
    X(STORE_COMPACTS, 2, false, ALL) \
    X(STORE_EXPIRES, 3, false, ALL) \
    X(STORE_RESTORED, 1, true, ALL) \
    X(KEY_REMOVED, 4, false, ALL) \
    X(POINT_KILL, 8, true, NOBODY) \
    X(POINT_CUT, 2, true, NOBODY) \
    X(POINT_HANG, 3, true, NOBODY) \
    X(POINT_FAIL, 3, true, NOBODY) \
    X(SWITCHOVER, 6, false, NOBODY) \
    X(FAILOVER, 1, false, NOBODY) \
    X(RESTART, 2, false, NOBODY) \
    X(REINIT, 2, false, NOBODY) \
    X(PAUSE, 4, true, NOBODY) \
    X(CONFIG, 1, false, NOBODY) \
    X(PG_CONFLICT, 1, true, NOBODY) \
    X(PG_PAUSED, 1, true, NOBODY) \
    X(PG_HANGS, 1, true, NOBODY) \
    X(PG_SENDER_STUCK, 2, true, NODE) \
    X(PG_CRASH, 2, false, NODE) \
    X(PG_TOOL, 1, false, NOBODY) \
    X(PG_CANCEL, 1, false, NOBODY) \
    X(PG_CONF_WRONG, 2, true, NODE) \
    X(PG_ALTER_SYSTEM, 1, false, NOBODY) \
    X(DISK_FULL, 1, true, NODE) \
    X(DISK_FAILS, 1, true, NODE)

enum fault_kind {
#define X(id, weight, lasts, reach) FAULT_##id,
    FAULTS(X)
#undef X
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
 * on, quorum; profile: default, fast, wan.
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
    X(profile, chance(3))

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

void schedule_draw(uint64_t seed, struct schedule *ret);
bool schedule_read(const char *path, struct schedule *ret, struct err *err);
void schedule_write(const struct schedule *s, FILE *to);
/* One fault in words. */
void fault_tell(const struct fault *f, char *to, size_t size);
