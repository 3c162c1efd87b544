/*
 * A store in memory on the loop, for tests of what uses one: the interface of store.h, faults at will.
 *
 * One server, any number of clients, one loop. Leases end by the loop's clock, which a test may push
 * ahead. What the clients see follows store.h: a store that is away answers AWAY when the request's
 * budget is over, or serves it if it is back before.
 */
#pragma once

#include <stdint.h>

#include "base/auto.h"
#include "base/time.h"
#include "store/store.h"

struct loop;
struct mem_server;

enum mem_fault {
    MEM_HEALTHY,
    MEM_AWAY,         /* nobody can be reached; watches say LOST, later BACK */
    MEM_LOSE_ANSWERS, /* requests are carried out, their answers are lost: UNKNOWN */
    MEM_LATE,         /* changes are answered UNKNOWN and carried out by mem_server_deliver; all else is served */
    MEM_REFUSE,       /* every request is refused */
};

struct mem_server *mem_server_new(struct loop *l);
void mem_server_free(struct mem_server *m); /* its clients first */
AUTO_DEFINE(mem_server, struct mem_server, mem_server_free)

struct store *mem_store_new(struct mem_server *m);

void mem_server_set_fault(struct mem_server *m, enum mem_fault fault);
void mem_server_deliver(struct mem_server *m);
/* Changes are carried out at once, and answered when this ends, the last one first, with what was so then. */
void mem_server_hold_answers(struct mem_server *m, bool hold);
void mem_server_set_latency(struct mem_server *m, msec latency_ms); /* of every answer */
/* Leases end that much sooner. */
void mem_server_advance(struct mem_server *m, msec ms);
/* Forget the history up to now. */
void mem_server_compact(struct mem_server *m);
/* Another, empty store answers from now on. */
void mem_server_replace(struct mem_server *m);
/* Remember what is in the store, and put exactly that back: clients then meet another store, at an earlier revision. */
void mem_server_backup(struct mem_server *m);
void mem_server_restore(struct mem_server *m);
