/*
 * Synchronous replication, as PostgreSQL does it (syncrep.c): lists of names, waiters, and who releases them.
 *
 * PostgreSQL counts walsenders, by application_name, not nodes. A walsender that hears from its receiver releases every
 * waiter up to the position that its OWN list makes of the positions of all; whether a commit waits at all is a flag in
 * shared memory that the checkpointer keeps. What has once been released is released: the position only grows.
 */
#pragma once

#include <stdbool.h>

#include "base/list.h"
#include "test/sim/wal.h"
#include "test/sim/world.h"

struct pg;
struct pg_sender;

enum { SYNC_LIST_MAX = 16, APPLICATION_NAME_MAX = 64 };

struct sync_list { /* never changes */
    enum { SYNC_FIRST, SYNC_ANY } method;
    int wanted;
    int count;
    char names[SYNC_LIST_MAX][APPLICATION_NAME_MAX];
};

/* "a, b", "2 (a, b)", "FIRST 2 (a, b)", "ANY 1 (a, "b")", "*". *ret_list, to free(), NULL for "". false: not a list. */
bool sync_list_parse(const char *text, struct sync_list **ret_list);
/* The place of a name in the list, from 1; 1 for all of an ANY list; 0: not in it. Case does not matter. */
int sync_list_priority(const struct sync_list *l, const char *application_name);

struct sync {   /* in shared memory: gone with a crash */
    bool known; /* the checkpointer has looked */
    bool defined;
    lsn released;
    lsn proper;          /* of that, what servers have, and not only a tool that goes by the name of one */
    struct list waiters; /* by position */
};

struct sync_waiter {
    struct list link;
    struct rec *commit;
    /* It need not wait any more; not called where the session ends. */
    void (*released)(struct sync_waiter *w);
};

void sync_init(struct sync *s);
/* Does a commit that asks for it wait? */
bool sync_is_wanted(const struct pg *p);
/* false: it need not wait. */
bool sync_wait(struct pg *p, struct sync_waiter *w);
void sync_leave(struct sync_waiter *w);
bool sync_waits(const struct sync_waiter *w);
/* The checkpointer has loaded a configuration, or begins: without a list everybody who waits is released. */
void sync_define(struct pg *p);
/* A walsender takes its own list: at its begin, and when it loads a configuration. */
void sync_take_list(struct pg *p, struct pg_sender *s);
/* A walsender has heard from its receiver. */
void sync_release(struct pg *p, struct pg_sender *s);

/* Told when a walsender has taken its list; NULL: nobody asks. */
extern void (*sync_list_taken)(struct pg *p, const struct pg_sender *s);
/* Told when two walsenders of one name are counted for a release, or one that is no server's; NULL: nobody asks. */
extern void (*sync_counts_twice)(struct pg *p, const char *application_name);
