/*
 * Fault points: the lines at which the simulator may end, stop or delay the process, or let a call fail.
 *
 * They stand where an act is half done: before and after what cannot be taken back. Outside the simulator's build they
 * are nothing at all. A name is "part.act.place" and unique; `sim --coverage` counts what was reached.
 */
#pragma once

#include <stdbool.h>

struct err;

#ifdef PGKEEP_SIMULATOR

struct fault_point {
    const char *name;
    bool can_fail;
};

/* test/sim/points.c. May not return for a long time, or never. */
void fault_point(const struct fault_point *p);
/* True: the call is to fail, *err says so. */
bool fault_point_fails(const struct fault_point *p, struct err *err);

/* All of them stand in one section, so that those that were never reached can be counted. */
#define FAULT_POINT_DEFINE(name, can_fail)           \
    static const struct fault_point fault_point_here \
        __attribute__((section("fault_points"), used, aligned(sizeof(void *)))) = {(name), (can_fail)}

#define FAULT_POINT(name)                \
    do {                                 \
        FAULT_POINT_DEFINE(name, false); \
        fault_point(&fault_point_here);  \
    } while (0)

#define FAULT_CALL(name, err, call)                                   \
    __extension__({                                                   \
        FAULT_POINT_DEFINE(name, true);                               \
        fault_point_fails(&fault_point_here, (err)) ? false : (call); \
    })

#else

/* Here the process may be ended, stopped or delayed. */
#define FAULT_POINT(name) ((void)0)
/* A call that returns bool and fills *err: here it may fail without having been made, or the process as above. */
#define FAULT_CALL(name, err, call) (call)

#endif
