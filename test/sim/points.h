/*
 * The fault points of our own code (base/fault.h): the agent's process ends, hangs or meets an error at
 * that very line, or its host leaves the network.
 *
 * A trap waits on one host, for a point by name or for the nth that is reached. It goes off once, or is taken away when
 * its time is over.
 */
#pragma once

#include "test/sim/world.h"

struct node;

enum { POINT_NAME_MAX = 48, ANYWHERE = -1 };

#define POINT_DEEDS(X) X(KILL, "kill") X(CUT, "power-cut") X(HANG, "hang") X(FAIL, "fail") X(ISOLATE, "isolate")

enum point_deed {
#define X(id, text) POINT_##id,
    POINT_DEEDS(X)
#undef X
        POINT_DEED_COUNT
};

const char *point_deed_text(enum point_deed deed);

struct trap {
    int host; /* ANYWHERE: whoever comes first */
    enum point_deed deed;
    char name[POINT_NAME_MAX]; /* "": any */
    unsigned int nth;          /* 1: the next */
    usec hangs;                /* HANG, ISOLATE: for so long; KILL: not started again for so long */
    usec until;
};

/*
 * kill ends the agent that runs on that host (its guard starts another), cut the whole of the host; isolate cuts it off
 * from the other servers for a while.
 */
void points_init(void (*kill)(int host, usec stays_away), void (*cut)(int host), void (*isolate)(int host, usec));
void points_set(const struct trap *trap);

/* Told of each point that is reached, by the process that reaches it; NULL: nobody asks. */
extern void (*points_reached)(const char *name);

size_t points_count(void);
const char *point_name(size_t i);
bool point_can_fail(size_t i);
