/*
 * What a run has seen: counted by the process of each seed, added up by the one that runs them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "test/sim/world.h"

enum { SCORE_FAULTS_MAX = 96, SCORE_POINTS_MAX = 256, INVARIANT_MAX = 24, FOUND_MAX = 1024 };

struct score { /* counts alone: added up as an array of them */
    uint64_t seeds, findings;
    uint64_t faults, reigns, failovers, acknowledged, lost, excused;
    uint64_t simulated;               /* µs */
    uint64_t fault[SCORE_FAULTS_MAX]; /* by kind */
    struct score_point {
        uint64_t reached, killed, cut, hung, failed, isolated;
    } points[SCORE_POINTS_MAX]; /* in the order of the section */
};

struct outcome {
    bool ended;                    /* by itself: a finding, or clean */
    char invariant[INVARIANT_MAX]; /* "": clean */
    char text[FOUND_MAX];
    usec at;
    uint64_t hash, steps;
    struct score score;
};

/* Of this process. */
extern struct outcome *outcome;

void score_add(struct score *to, const struct score *from);

/* Something hits that node; if it leads and another one leads next, that is a failover. */
void score_hit(int host);
void score_hit_all(void);
/* Another primary acknowledges than before. before < 0: it is the first. */
void score_reign(int before, int now);
