/*
 * The books: writers, and what must hold at the end; the ledger (ledger.h) has what they were told.
 */
#pragma once

#include "test/sim/ledger.h"
#include "test/sim/node.h"

void book_init(struct host *client_host, int writers);
/* A cluster that may come to be in quorum mode: the record is looked at from time to time, and rules the ledger. */
void book_watch_record(void);
/* Writers write much until then: something is about to happen, or has. */
void book_busy(usec until);
void book_thawed(struct host *h);
/* Whether L1 and L2 hold now. */
bool book_settled(void);
/* Of all nodes, into the story. */
void book_tell_state(void);
/* After all faults are over and their time to recover: L1, L2; counts what was lost. */
void book_close(void);
