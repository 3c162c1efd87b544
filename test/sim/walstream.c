#include "test/sim/walstream.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/str.h"
#include "test/sim/net.h"
#include "test/sim/pg.h"
#include "test/sim/recovery.h"
#include "test/sim/truths.h"

void (*walstream_replies)(struct pg *p, struct rec *flushed);

enum {
    SENDERS_LOOK = 1000000,
    RECEIVER_LOOK_MIN = 500000,
    RECEIVER_LOOK_MAX = 2000000,
    TIMEOUT = 20000000, /* wal_receiver_timeout and wal_sender_timeout */
    ORPHAN_MAX = 20000,
    PARTIAL_MAX = 23, /* below the length of any record */
    SEGMENT = 16 * 1024 * 1024,
};

static uint64_t connections; /* ever made in this world */

struct message { /* on a connection: to.receiver ⇄ from.senders[sender] */
    int from, to;
    int sender;
    uint64_t connection;
    struct rec *upto; /* WAL that is sent, or flushed */
    bool asks;        /* for an answer */
    bool ends;        /* the timeline ends there; the next one is to be asked for */
};

static struct message *message(const struct message *like)
{
    struct message *m = mem_zero(1, sizeof(*m));

    *m = *like;
    return m;
}

static struct pg_sender *sender_of(const struct message *m)
{
    struct pg *p = pg_of(m->from);
    struct pg_sender *s = &p->senders[m->sender];

    return p->backends.alive && s->active && s->connection == m->connection ? s : NULL;
}

static bool is_received(const struct message *m)
{
    const struct pg *p = pg_of(m->to);

    return p && p->backends.alive && p->receiver.connection == m->connection &&
           p->receiver.state >= RECEIVER_CONNECTING;
}

/* ---- ends of connections ---- */

static void receiver_exit(struct pg *p, usec retry_in);

/* wal_retrieve_retry_interval, of which a part has passed. */
static usec retry_soon(const struct pg *p)
{
    return chance_between(1000, p->recovery.conf.conf->retrieve_retry);
}

static void broken(void *arg)
{
    struct message *m = arg;

    if (is_received(m))
        receiver_exit(pg_of(m->to), retry_soon(pg_of(m->to)));
    free(m);
}

static void break_reaches_receiver(void *arg)
{
    struct message *m = arg;

    if (is_received(m))
        event_in(0, &pg_of(m->to)->backends, broken, m);
    else
        free(m);
}

static void sender_gone(struct pg_sender *s)
{
    s->active = false;
    s->priority = 0;
}

static void sender_exit(struct pg *p, struct pg_sender *s)
{
    struct message m = {
        .from = p->host->id, .to = s->peer, .sender = (int)(s - p->senders), .connection = s->connection};

    if (!s->tool && p->host->up)
        net_send_wal(p->host, &world.hosts[s->peer], &s->last, break_reaches_receiver, message(&m));
    sender_gone(s);
}

static void hung_up(void *arg)
{
    struct message *m = arg;
    struct pg_sender *s = sender_of(m);

    if (s && !s->stuck)
        sender_gone(s);
    free(m);
}

static void break_reaches_sender(void *arg)
{
    struct message *m = arg;

    if (sender_of(m))
        event_in(0, &pg_of(m->from)->backends, hung_up, m);
    else
        free(m);
}

/* ---- walreceiver → walsender ---- */

static void send_to(struct pg *p, struct pg_sender *s, bool asks);
static void next_timeline(struct pg *p, struct pg_sender *s);
static void sender_reload(struct pg *p, struct pg_sender *s);

static void reply_seen(void *arg)
{
    struct message *m = arg;
    struct pg *p = pg_of(m->from);
    struct pg_sender *s = sender_of(m);

    if (!s || (!truth(TRUTH_LATE_REPLY_ACKNOWLEDGES) && !s->tool && !is_received(m))) {
        free(m);
        return;
    }
    if (s->stuck) {
        event_in(100000, &p->backends, reply_seen, m);
        return;
    }
    if (s->reload_due && !wal_leads_to(m->upto, s->sent_before) && truth(TRUTH_FLUSHED_MARKER_PROVES_LIST))
        sender_reload(p, s);
    s->heard = world.now;
    s->flushed = m->upto;
    sync_release(p, s);
    if (m->ends)
        next_timeline(p, s);
    else if (m->asks && s->state >= SENDER_STREAMING)
        send_to(p, s, false);
    free(m);
}

static void reply_arrives(void *arg)
{
    struct message *m = arg;
    struct pg *p = pg_of(m->from);

    if (sender_of(m))
        event_in(0, &p->backends, reply_seen, m);
    else /* a reset */
        net_send_wal_once(p->host, &world.hosts[m->to], break_reaches_receiver, m);
}

enum reply { REPLY, REPLY_ASKS, REPLY_NEXT_TIMELINE };

static void reply(struct pg *p, struct rec *flushed, enum reply kind)
{
    struct pg_receiver *r = &p->receiver;
    struct message m = {.from = r->upstream,
                        .to = p->host->id,
                        .sender = r->sender,
                        .connection = r->connection,
                        .upto = flushed,
                        .asks = kind == REPLY_ASKS,
                        .ends = kind == REPLY_NEXT_TIMELINE};

    if (walstream_replies)
        walstream_replies(p, flushed);
    r->told = world.now;
    net_send_wal(p->host, &world.hosts[r->upstream], &r->last, reply_arrives, message(&m));
}

/* ---- the walreceiver ---- */

bool walstream_receiver_runs(const struct pg *p)
{
    return p->backends.alive && p->receiver.state >= RECEIVER_CONNECTING;
}

/* WalRcvDie: what it has it flushes. */
static void receiver_exit(struct pg *p, usec retry_in)
{
    struct pg_receiver *r = &p->receiver;
    struct message m = {.from = r->upstream, .to = p->host->id, .sender = r->sender, .connection = r->connection};

    bool was_streaming = r->state == RECEIVER_STREAMING;
    r->state = RECEIVER_NONE;
    r->flushing = r->ending = r->next_due = false;
    if (!pg_syncs(p))
        return;
    if (p->disk.flushed != p->disk.written) {
        p->disk.flushed = p->disk.written;
        r->receive = p->disk.flushed->end;
        walstream_send(p);
    }
    if (was_streaming && truth(TRUTH_RECEIVED_PARTIAL_RECORD) && chance_one_in(4)) /* the record behind, cut off */
        r->receive = p->disk.flushed->end + (lsn)chance_between(1, PARTIAL_MAX);
    net_send_wal(p->host, &world.hosts[r->upstream], &r->last, break_reaches_sender, message(&m));
    recovery_receiver_gone(p, retry_in);
}

static void receiver_flush(struct pg *p);
static void timeline_ends(struct pg *p, lsn at);

static void receiver_flushed(void *arg)
{
    struct message *m = arg;
    struct pg *p = pg_of(m->to);
    struct pg_receiver *r = &p->receiver;

    if (!is_received(m) || !wal_leads_to(m->upto, p->disk.written)) { /* its process is gone, or the WAL is */
        free(m);
        return;
    }
    r->flushing = false;
    if (!pg_syncs(p)) {
        free(m);
        return;
    }
    if (wal_leads_to(p->disk.flushed, m->upto))
        p->disk.flushed = m->upto;
    r->receive = p->disk.flushed->end;
    if (!r->ending || truth(TRUTH_REPLY_AFTER_SIGTERM))
        reply(p, p->disk.flushed, REPLY);
    walstream_send(p);
    recovery_replay(p);
    if (r->ending)
        receiver_exit(p, retry_soon(p));
    else if (p->disk.written != p->disk.flushed)
        receiver_flush(p);
    else if (r->next_due)
        timeline_ends(p, p->disk.flushed->end);
    free(m);
}

static void receiver_flush(struct pg *p)
{
    struct message m = {.from = p->receiver.upstream,
                        .to = p->host->id,
                        .sender = p->receiver.sender,
                        .connection = p->receiver.connection,
                        .upto = p->disk.written};

    p->receiver.flushing = true;
    event_in(chance_between(50, p->fsync_max), &p->backends, receiver_flushed, message(&m));
}

/* Streaming on a timeline that is new to it begins at the segment's begin, and so does what it says it has. */
static void receive_from(struct pg *p, uint32_t tli)
{
    struct pg_receiver *r = &p->receiver;

    if (r->receive && r->tli == tli)
        return;
    r->tli = tli;
    r->receive = p->disk.written->end;
    if (truth(TRUTH_RECEIVED_SEGMENT_START))
        r->receive -= r->receive % SEGMENT;
}

static void begin_streaming(struct pg *p, const struct message *m)
{
    struct pg_receiver *r = &p->receiver;

    if (r->state == RECEIVER_STREAMING)
        return;
    r->state = RECEIVER_STREAMING;
    r->sender = m->sender;
    r->heard = world.now;
    pg_learn_histories(p, m->upto); /* their files are fetched first */
    reply(p, p->replayed, REPLY);   /* what is replayed is what it begins to tell */
}

/* Its timeline ends there, by the other's history: on to the next one, unless the startup process is past that. */
static void timeline_ends(struct pg *p, lsn at)
{
    if (p->disk.written->end > at) {
        story("postgres: a new timeline forked off before the current recovery point");
        reply(p, p->replayed, REPLY);
        receiver_exit(p, p->recovery.conf.conf->retrieve_retry);
    } else if (p->receiver.flushing) {
        p->receiver.next_due = true;
    } else {
        reply(p, p->disk.flushed, REPLY_NEXT_TIMELINE);
    }
}

static void receive_new(struct pg *p, const struct message *m)
{
    if (!wal_leads_to(p->disk.written, m->upto))
        finding("S6", "%s writes the WAL of %s (timeline %u, %lld) behind other WAL of the same positions",
                p->host->name, world.hosts[m->from].name, m->upto->tli, (long long)m->upto->end);
    if (!pg_writes(p))
        return;
    receive_from(p, m->upto->tli);
    p->disk.written = m->upto;
    pg_learn_histories(p, m->upto);
    p->receiver.next_due = false;
    if (!p->receiver.flushing)
        receiver_flush(p);
}

static void receive(struct pg *p, const struct message *m)
{
    p->receiver.heard = world.now;
    if (m->upto->end > p->disk.written->end)
        receive_new(p, m);
    else if (m->asks && !m->ends && !p->receiver.flushing)
        reply(p, p->disk.flushed, REPLY);
    if (m->ends)
        timeline_ends(p, m->upto->end);
}

static void wal_seen(void *arg)
{
    struct message *m = arg;

    if (is_received(m) && !pg_of(m->to)->receiver.ending) {
        begin_streaming(pg_of(m->to), m); /* where the acceptance was lost on the way it comes again, before this */
        receive(pg_of(m->to), m);
    }
    free(m);
}

static void wal_arrives(void *arg)
{
    struct message *m = arg;
    struct pg *p = pg_of(m->to);

    if (is_received(m))
        event_in(0, &p->backends, wal_seen, m);
    else /* a reset */
        net_send_wal_once(p->host, &world.hosts[m->from], break_reaches_sender, m);
}

static void terminated(void *arg)
{
    struct message *m = arg;
    struct pg *p = pg_of(m->to);

    if (is_received(m)) {
        if (p->receiver.flushing)
            p->receiver.ending = true;
        else
            receiver_exit(p, retry_soon(p));
    }
    free(m);
}

bool walstream_end_receiver(struct pg *p)
{
    struct message m = {.to = p->host->id, .connection = p->receiver.connection};

    if (!walstream_receiver_runs(p))
        return false;
    event_in(chance_between(300, 5000), &p->backends, terminated, message(&m));
    return true;
}

/* ---- walsender → walreceiver ---- */

static void tool_arrives(void *arg);

/* Up to the end of the timeline that it streams, which may not be ours any more. */
static void send_to(struct pg *p, struct pg_sender *s, bool asks)
{
    struct rec *last = wal_last_of(p->disk.flushed, s->tli);
    struct message m = {.from = p->host->id,
                        .to = s->peer,
                        .sender = (int)(s - p->senders),
                        .connection = s->connection,
                        .upto = last,
                        .asks = asks,
                        .ends = last != p->disk.flushed};

    CHECK(last);
    s->sent = last;
    s->over = m.ends;
    net_send_wal(p->host, &world.hosts[s->peer], &s->last, s->tool ? tool_arrives : wal_arrives, message(&m));
}

/* Walsenders send what is flushed. */
void walstream_send(struct pg *p)
{
    for (int i = 0; i < SENDERS_MAX; i++) {
        struct pg_sender *s = &p->senders[i];
        if (s->active && s->state >= SENDER_STREAMING && !s->stuck && !s->over)
            send_to(p, s, false);
    }
}

static void caught_up(void *arg)
{
    struct message *m = arg;
    struct pg *p = pg_of(m->from);
    struct pg_sender *s = sender_of(m);

    if (s && s->state == SENDER_CATCHUP) {
        s->state = p->stopping ? SENDER_STOPPING : SENDER_STREAMING;
        send_to(p, s, true);
    }
    free(m);
}

static void catch_up(struct pg *p, struct pg_sender *s)
{
    struct message m = {.from = p->host->id, .sender = (int)(s - p->senders), .connection = s->connection};

    s->state = SENDER_CATCHUP;
    event_in(chance_one_in(10) ? chance(500000) : chance_between(20, 200), &p->backends, caught_up, message(&m));
}

/* START_REPLICATION again, on the same connection. */
static void next_timeline(struct pg *p, struct pg_sender *s)
{
    struct rec *last = wal_last_of(p->disk.flushed, s->tli);

    if (last == p->disk.flushed || !s->over) /* asked for twice */
        return;
    s->tli = wal_after(p->disk.flushed, last)->tli;
    s->over = false;
    sync_take_list(p, s);
    catch_up(p, s);
}

/* What was lost on the way is sent again; who says nothing is given up. */
static void senders_look(void *arg)
{
    struct pg *p = arg;

    event_in(SENDERS_LOOK, &p->backends, senders_look, p);
    for (int i = 0; i < SENDERS_MAX; i++) {
        struct pg_sender *s = &p->senders[i];
        if (!s->active || s->stuck)
            continue;
        if (world.now - s->heard > TIMEOUT)
            sender_exit(p, s);
        else if (s->state >= SENDER_STREAMING && s->flushed != p->disk.flushed)
            send_to(p, s, true);
    }
}

static void sender_terminated(void *arg)
{
    struct message *m = arg;
    struct pg *p = pg_of(m->from);
    struct pg_sender *s = sender_of(m);

    if (s && s->stuck) {
        event_in(100000, &p->backends, sender_terminated, m);
        return;
    }
    if (s)
        sender_exit(p, s);
    free(m);
}

bool walstream_end_sender(struct pg *p, int pid)
{
    for (int i = 0; i < SENDERS_MAX; i++) {
        struct message m = {.from = p->host->id, .sender = i, .connection = p->senders[i].connection};
        if (!p->senders[i].active || p->senders[i].pid != pid)
            continue;
        event_in(chance_between(50, 3000), &p->backends, sender_terminated, message(&m));
        return true;
    }
    return false;
}

bool walstream_is_behind(const struct pg *p)
{
    for (int i = 0; i < SENDERS_MAX; i++) {
        const struct pg_sender *s = &p->senders[i];
        if (s->active && !s->over && s->flushed != p->disk.flushed)
            return true;
    }
    return false;
}

void walstream_end_senders(struct pg *p)
{
    for (int i = 0; i < SENDERS_MAX; i++)
        if (p->senders[i].active)
            sender_exit(p, &p->senders[i]);
}

struct pg_sender *walstream_sender_of(struct pg *p, const char *slot)
{
    for (int i = 0; i < SENDERS_MAX; i++)
        if (p->senders[i].active && str_eq(p->senders[i].slot, slot))
            return &p->senders[i];
    return NULL;
}

static void sender_reload(struct pg *p, struct pg_sender *s)
{
    s->reload_due = false;
    if (!pg_conf_load(p, &s->conf))
        return;
    sync_take_list(p, s);
    if (!truth(TRUTH_LIST_RELEASES_AT_NEXT_REPLY))
        sync_release(p, s);
}

static void sender_hangup(void *arg)
{
    struct message *m = arg;
    struct pg *p = pg_of(m->from);
    struct pg_sender *s = sender_of(m);

    if (s && s->stuck) {
        event_in(100000, &p->backends, sender_hangup, m);
        return;
    }
    if (s && s->reload_due)
        sender_reload(p, s);
    free(m);
}

static void hang_up_on(struct pg *p, struct pg_sender *s)
{
    struct message m = {.from = p->host->id, .sender = (int)(s - p->senders), .connection = s->connection};

    s->reload_due = true;
    s->sent_before = s->sent;
    event_in(truth(TRUTH_WALSENDER_OLD_LIST) ? pg_signal_takes() : 0, &p->backends, sender_hangup, message(&m));
}

void walstream_reload(struct pg *p)
{
    for (int i = 0; i < SENDERS_MAX; i++)
        if (p->senders[i].active)
            hang_up_on(p, &p->senders[i]);
}

void walstream_orphaned(struct pg *p)
{
    struct message receiver = {.to = p->host->id, .connection = p->receiver.connection};

    for (int i = 0; i < SENDERS_MAX; i++) {
        struct message m = {.from = p->host->id, .sender = i, .connection = p->senders[i].connection};
        if (p->senders[i].active)
            event_in(chance(ORPHAN_MAX), &p->backends, sender_terminated, message(&m));
    }
    if (walstream_receiver_runs(p))
        event_in(chance(ORPHAN_MAX), &p->backends, terminated, message(&receiver));
}

/* ---- connecting ---- */

struct attempt {
    struct message m;
    bool tool;
    char name[APPLICATION_NAME_MAX];
    char slot[SLOT_NAME_MAX];
    struct pg_loaded conf; /* what the walsender inherits, and when */
    usec forked;
    int64_t forked_wall_us;
};

/* By timeline and position, and that is the begin of the segment. */
static bool may_start(struct pg *upstream, const struct pg *p)
{
    lsn from = p->disk.written->end - p->disk.written->end % SEGMENT;

    if (!str_eq(upstream->disk.system_id, p->disk.system_id))
        return false;
    struct rec *last = wal_last_of(upstream->disk.flushed, p->disk.written->tli);
    return last && from <= last->end;
}

static struct pg_sender *free_sender(struct pg *p)
{
    for (int i = 0; i < SENDERS_MAX; i++)
        if (!p->senders[i].active)
            return &p->senders[i];
    return NULL;
}

static void refused(void *arg)
{
    struct attempt *a = arg;

    if (is_received(&a->m))
        receiver_exit(pg_of(a->m.to), pg_of(a->m.to)->recovery.conf.conf->retrieve_retry);
    free(a);
}

static void refusal_arrives(void *arg)
{
    struct attempt *a = arg;

    if (!a->tool && is_received(&a->m))
        event_in(0, &pg_of(a->m.to)->backends, refused, a);
    else
        free(a);
}

static void accepted(void *arg)
{
    struct attempt *a = arg;

    if (is_received(&a->m) && !pg_of(a->m.to)->receiver.ending)
        begin_streaming(pg_of(a->m.to), &a->m);
    free(a);
}

static void acceptance_arrives(void *arg)
{
    struct attempt *a = arg;

    if (is_received(&a->m))
        event_in(0, &pg_of(a->m.to)->backends, accepted, a);
    else
        net_send_wal_once(&world.hosts[a->m.to], &world.hosts[a->m.from], break_reaches_sender, message(&a->m));
}

/* Why not; NULL: it may begin. */
static const char *refusal(struct pg *p, const struct attempt *a)
{
    if (!p->accepting || p->stopping)
        return "the server is not there";
    if (!free_sender(p))
        return "no walsender is left";
    const struct pg_slot_file *slot = *a->slot ? pg_slot_of(p, a->slot) : NULL;
    if (*a->slot && !slot)
        return "its slot does not exist";
    if (slot && slot->lost)
        return "its slot is lost";
    if (!a->tool && !pg_of(a->m.to)->disk.written)
        return "its directory is gone";
    if (!a->tool && pg_of(a->m.to)->disk.written->end < p->disk.wal_from)
        return "the WAL that it needs has been removed";
    if (*a->slot && walstream_sender_of(p, a->slot) && truth(TRUTH_SLOT_HAS_ONE_WALSENDER))
        return "its slot has an owner";
    if (!a->tool && !may_start(p, pg_of(a->m.to)))
        return "its timeline is none of this server's history, or that ends before its segment";
    return NULL;
}

/* START_REPLICATION, by a walsender that was forked for it. */
static void asked(void *arg)
{
    struct attempt *a = arg;
    struct pg *upstream = pg_of(a->m.from);
    struct host *peer = &world.hosts[a->m.to];
    const char *why_not = refusal(upstream, a);

    if (why_not) {
        story("postgres: %s may not stream: %s", a->name, why_not);
        net_send_wal_once(upstream->host, peer, refusal_arrives, a);
        return;
    }
    struct pg_sender *s = free_sender(upstream);
    *s = (struct pg_sender){.active = true,
                            .tool = a->tool,
                            .connection = a->m.connection,
                            .pid = pg_new_pid(upstream),
                            .peer = a->m.to,
                            .conf = a->conf,
                            .tli = a->tool ? pg_timeline(upstream) : pg_timeline(pg_of(a->m.to)),
                            .sent = upstream->disk.flushed,
                            .started = a->forked,
                            .started_wall_us = a->forked_wall_us,
                            .heard = world.now};
    str_copy(s->name, sizeof(s->name), a->name);
    str_copy(s->slot, sizeof(s->slot), a->slot);
    sync_take_list(upstream, s);
    a->m.sender = (int)(s - upstream->senders);
    if (s->conf.at != upstream->postmaster_conf.at) /* the signal came while it began */
        hang_up_on(upstream, s);
    a->m.upto = upstream->disk.flushed;
    if (a->tool)
        free(a);
    else
        net_send_wal(upstream->host, peer, &s->last, acceptance_arrives, a);
    catch_up(upstream, s);
}

static void forked(void *arg)
{
    struct attempt *a = arg;
    struct pg *p = pg_of(a->m.from);

    a->conf = p->postmaster_conf;
    a->forked = world.now;
    a->forked_wall_us = pg_wall_us(p->host);
    event_in(chance_between(300, 2000), &p->backends, asked, a);
}

static void attempt_arrives(void *arg)
{
    struct attempt *a = arg;
    struct pg *upstream = pg_of(a->m.from);

    if (upstream && upstream->postmaster.alive)
        event_in(0, &upstream->postmaster, forked, a);
    else
        net_send_wal_once(&world.hosts[a->m.from], &world.hosts[a->m.to], refusal_arrives, a);
}

static void receiver_begins(void *arg)
{
    struct message *request = arg;
    struct pg *p = pg_of(request->to);
    struct pg_receiver *r = &p->receiver;
    struct attempt *a;

    if (truth(TRUTH_PROMOTE_FILE_FIRES_LATER))
        pg_promote_signal(p); /* it asked by SIGUSR1, at which the postmaster looks for that file as well */
    if (r->state != RECEIVER_REQUESTED || r->request != request->connection || p->stopping) {
        free(request);
        return;
    }
    free(request);
    r->state = RECEIVER_CONNECTING;
    r->connection = ++connections;
    r->pid = pg_new_pid(p);
    r->upstream = r->wanted->upstream;
    r->started = r->heard = r->reached = world.now;
    r->last = 0;
    a = mem_zero(1, sizeof(*a));
    a->m = (struct message){.from = r->upstream, .to = p->host->id, .connection = r->connection};
    str_copy(a->name, sizeof(a->name), r->wanted->application_name);
    str_copy(a->slot, sizeof(a->slot), r->wanted->at[PG_SLOT_NAME].text);
    net_send_wal_once(p->host, &world.hosts[r->upstream], attempt_arrives, a);
}

void walstream_request(struct pg *p)
{
    struct message m = {.to = p->host->id, .connection = ++p->receiver.request};

    CHECK(p->receiver.state == RECEIVER_NONE);
    receive_from(p, p->disk.written->tli);
    p->receiver.state = RECEIVER_REQUESTED;
    p->receiver.wanted = p->recovery.conf.conf;
    event_in(chance_between(200, 3000), &p->postmaster, receiver_begins, message(&m));
}

void walstream_cancel(struct pg *p)
{
    if (p->receiver.state == RECEIVER_REQUESTED)
        p->receiver.state = RECEIVER_NONE;
}

/* ---- looks ---- */

/* What TCP knows: has what was sent been acknowledged by the other host's kernel? */
static bool is_reached(const struct pg_receiver *r, const struct host *here)
{
    const struct host *there = &world.hosts[r->upstream];

    return there->up && net_reaches_wal(here, there) && net_reaches_wal(there, here);
}

static void receiver_looks(void *arg)
{
    struct pg *p = arg;
    struct pg_receiver *r = &p->receiver;
    const struct pg_conf *c = p->recovery.conf.conf;
    usec again = c->receiver_status < RECEIVER_LOOK_MIN   ? RECEIVER_LOOK_MIN
                 : c->receiver_status > RECEIVER_LOOK_MAX ? RECEIVER_LOOK_MAX
                                                          : c->receiver_status;

    event_in(again, &p->backends, receiver_looks, p);
    if (!walstream_receiver_runs(p) || r->flushing)
        return;
    if (is_reached(r, p->host))
        r->reached = world.now;
    bool given_up = r->wanted->user_timeout && world.now - r->reached > r->wanted->user_timeout;
    if (given_up || world.now - r->heard > TIMEOUT)
        receiver_exit(p, 0);
    else if (r->state == RECEIVER_STREAMING && world.now - r->told >= c->receiver_status)
        reply(p, p->disk.flushed, REPLY_ASKS);
}

void walstream_start(struct pg *p)
{
    uint64_t request = p->receiver.request;
    uint64_t connection = p->receiver.connection;

    p->receiver = (struct pg_receiver){.request = request, .connection = connection, .upstream = NOBODY};
    event_in(SENDERS_LOOK, &p->backends, senders_look, p);
    if (p->in_recovery)
        event_in(RECEIVER_LOOK_MAX, &p->backends, receiver_looks, p);
}

/* ---- tools ---- */

static void tool_flushed(void *arg)
{
    struct message *m = arg;

    net_send_wal_once(&world.hosts[m->to], &world.hosts[m->from], reply_arrives, m);
}

static void tool_arrives(void *arg)
{
    struct message *m = arg;

    event_in(chance_between(50, 3000), &world.hosts[m->to].kernel, tool_flushed, m);
}

void walstream_tool(struct pg *p, struct host *from, const char *application_name, const char *slot)
{
    struct attempt *a = mem_zero(1, sizeof(*a));

    a->tool = true;
    a->m = (struct message){.from = p->host->id, .to = from->id, .connection = ++connections};
    str_copy(a->name, sizeof(a->name), application_name);
    str_copy(a->slot, sizeof(a->slot), slot ? slot : "");
    net_send_wal_once(from, p->host, attempt_arrives, a);
}
