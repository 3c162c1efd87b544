/*
 * Streaming: walsenders, walreceivers, and the connections between them.
 *
 * A connection is TCP's: in order, and what was sent into a cut is sent again once that is over. Neither end is told of
 * a cut; it finds out by its timeout, or by a reset from a host that knows no such connection any more. Until then a
 * walsender whose receiver is long gone stands beside its successor. Streaming is agreed on by timeline and position,
 * not by content, and the position is that of the segment's begin (walsender.c, StartReplication): a standby that is
 * ahead is let in, tells where it is, and leaves when it hears where its timeline ends.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "test/sim/pg_conf.h"
#include "test/sim/sync.h"
#include "test/sim/world.h"

struct pg;

enum { SENDERS_MAX = 10, SLOT_NAME_MAX = 64 }; /* max_wal_senders' default; NAMEDATALEN */

enum sender_state { SENDER_STARTUP, SENDER_CATCHUP, SENDER_STREAMING, SENDER_BACKUP, SENDER_STOPPING };

struct pg_sender { /* a walsender */
    bool active;
    bool tool; /* it serves a pg_receivewal, or what else streams and is no server */
    uint64_t connection;
    int pid;
    int peer; /* host */
    enum sender_state state;
    char name[APPLICATION_NAME_MAX];
    char slot[SLOT_NAME_MAX]; /* "": none */
    struct rec *flushed;      /* as its receiver reported last; NULL: nothing yet */
    struct pg_loaded conf;
    int priority; /* what it makes of its list */
    uint32_t tli; /* the timeline that it streams; its receiver asks for the next one where that ends */
    bool over;    /* it has been sent to that timeline's end */
    struct rec *sent;
    struct rec *sent_before; /* SIGHUP, if one is due: replies to what came later come after it */
    bool reload_due;
    usec started, heard;
    int64_t started_wall_us;
    usec last;  /* order of the stream */
    bool stuck; /* stopped, or blocked in a write: it looks neither at its receiver nor at signals */
};

enum receiver_state { RECEIVER_NONE, RECEIVER_REQUESTED, RECEIVER_CONNECTING, RECEIVER_STREAMING };

struct pg_receiver {
    enum receiver_state state;
    uint64_t connection;          /* the newest */
    uint64_t request;             /* of the startup process; an older one comes to nothing */
    const struct pg_conf *wanted; /* conninfo and slot of the request */
    int pid;
    int upstream, sender; /* whose walsender, and which */
    usec started, heard, told, reached;
    usec last; /* order of the stream */
    bool flushing;
    bool ending;   /* SIGTERM came while it flushes */
    bool next_due; /* its timeline ends with what it flushes */
    lsn receive;   /* pg_last_wal_receive_lsn(): the server's, outlives it; 0: NULL */
    uint32_t tli;  /* of what it receives */
};

/* Told when a walreceiver says what it has flushed; NULL: nobody asks. */
extern void (*walstream_replies)(struct pg *p, struct rec *flushed);

/* As the server starts. */
void walstream_start(struct pg *p);
/* The startup process asks the postmaster for a walreceiver; it takes the request back. */
void walstream_request(struct pg *p);
void walstream_cancel(struct pg *p);
/* SIGTERM to the walreceiver; false: there is none. What it has, it flushes and reports first. */
bool walstream_end_receiver(struct pg *p);
bool walstream_receiver_runs(const struct pg *p);

/* There is more to send. */
void walstream_send(struct pg *p);
/* SIGHUP, to each walsender in its time. */
void walstream_reload(struct pg *p);
/* pg_terminate_backend(): it ends when it comes to it. false: no walsender has that pid. */
bool walstream_end_sender(struct pg *p, int pid);
/* Somebody who streams has not confirmed all that is here. */
bool walstream_is_behind(const struct pg *p);
/* All of them: the kernel tells the other ends. */
void walstream_end_senders(struct pg *p);
/* After the postmaster's death each ends as soon as it waits for something. */
void walstream_orphaned(struct pg *p);
struct pg_sender *walstream_sender_of(struct pg *p, const char *slot);

/*
 * A pg_receivewal --synchronous on some host, or a base backup that streams: it receives, flushes and says so under its
 * application_name. It ends when the connection does.
 */
void walstream_tool(struct pg *p, struct host *from, const char *application_name, const char *slot);
