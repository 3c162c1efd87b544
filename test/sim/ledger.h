/*
 * The ledger: who acknowledged what, and what must hold of that at every moment.
 *
 * In asynchronous mode, N8: no two nodes acknowledge at one moment. In quorum mode every acknowledgement is a
 * promise: S1: it is in the history of every node that acknowledges later, or is opened; S2': once another node has
 * acknowledged, an older primary acknowledges nothing but what that one has, which is what lies before the frozen
 * position; N4: of one name one walsender is counted; N5: where "stopped" is said no process of the instance is left.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "test/sim/pg.h"

extern struct book {
    uint64_t acknowledged, lost;
    uint64_t promised;    /* of those, in quorum mode */
    uint64_t by_tools;    /* on the word of tools that go by a member's name: nobody's promise */
    uint64_t cancelled;   /* success with a warning, which promises nothing */
    unsigned int reigns;  /* primaries that acknowledged something, one after the other */
    unsigned int excused; /* acknowledgements of a host that had stood still: async mode's stated limit */
    unsigned int doubled; /* releases that counted a name twice */
    usec last_ack;
} book;

struct ledger_events {                         /* NULL: nobody asks */
    void (*reign_begins)(int before, int now); /* hosts; before < 0: the first */
    void (*finds)(void);                       /* something is about to be found */
};

/* From now on acknowledgements are written down. */
void ledger_init(const struct ledger_events *events);
/* In quorum mode: told of each acknowledgement; NULL: nobody asks. */
extern void (*ledger_acknowledges)(struct pg *p, struct rec *commit);
/* The last record of the history that all promises are on; NULL: nothing was promised yet. */
struct rec *ledger_promised(void);
/* From now on acknowledgements are promises, or are none any more. */
void ledger_quorum(bool in_force);
bool ledger_is_quorum(void);
void ledger_thawed(const struct host *h);
/* It is open: the store's record says so, or REST. */
void ledger_opens(const struct pg *p);
void ledger_stopped(const struct pg *p);
void ledger_cancelled(void);
/* At the end: what of all that was acknowledged this node has not. */
uint64_t ledger_lost(const struct pg *leader);
