/*
 * The books: writers that remember what was acknowledged to them, and what must hold of it.
 */
#pragma once

#include "test/sim/node.h"

extern struct book {
    uint64_t acknowledged, lost;
    unsigned int reigns;  /* primaries that acknowledged something, one after the other */
    unsigned int excused; /* acknowledgements of a host that had stood still: async mode's stated limit */
    usec last_ack;
} book;

void book_init(struct host *client_host, int writers);
/* Writers write much until then: something is about to happen, or has. */
void book_busy(usec until);
void book_thawed(struct host *h);
/* Whether L1 and L2 hold now. */
bool book_settled(void);
/* Of all nodes, into the story. */
void book_tell_state(void);
/* After all faults are over and their time to recover: L1, L2; counts what was lost. */
void book_close(void);
