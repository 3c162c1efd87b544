#include "test/sim/pg.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/str.h"
#include "test/sim/net.h"

enum {
    RETRY = 5000000, /* wal_retrieve_retry_interval */
    RECEIVER_LOOK = 2000000,
    RECEIVER_TIMEOUT = 20000000, /* wal_receiver_timeout and wal_sender_timeout */
    ORPHANS_MAX = 1500000,
};

void (*pg_acknowledges)(struct pg *p, struct rec *commit);

static struct pg *all[HOSTS_MAX];

struct pg *pg_of(int host_id)
{
    return all[host_id];
}

void pg_init(struct pg *p, struct host *host, void (*died)(struct pg *p, void *arg), void *arg)
{
    *p = (struct pg){.host = host, .died = died, .died_arg = arg, .fsync_max = 3000};
    p->disk.kind = DATADIR_ABSENT;
    p->disk.upstream = p->upstream = NOBODY;
    all[host->id] = p;
}

bool pg_postmaster_lives(const struct pg *p)
{
    return p->postmaster.alive;
}

bool pg_backends_live(const struct pg *p)
{
    return p->backends.alive;
}

bool pg_is_open(const struct pg *p)
{
    return p->postmaster.alive && p->accepting && !p->in_recovery && !p->stopping;
}

uint32_t pg_timeline(const struct pg *p)
{
    return p->disk.written ? p->disk.written->tli : 0;
}

uint32_t pg_newest_history(const struct pg *p)
{
    for (uint32_t tli = TLI_MAX - 1; tli > 1; tli--)
        if (p->disk.history[tli])
            return tli;
    return 1;
}

void pg_learn_histories(struct pg *p, struct rec *end)
{
    for (struct rec *r = end; r && r->tli > 1 && !p->disk.history[r->tli]; r = r->parent) {
        while (r->kind != REC_TIMELINE)
            r = r->skip->tli == r->tli ? r->skip : r->parent;
        p->disk.history[r->tli] = r;
    }
}

/* ---- streaming ---- */

struct wal_message {
    int from, to;
    uint64_t connection;
    struct rec *upto;
};

static struct wal_message *message(int from, int to, uint64_t connection, struct rec *upto)
{
    struct wal_message *m = mem_zero(1, sizeof(*m));

    *m = (struct wal_message){.from = from, .to = to, .connection = connection, .upto = upto};
    return m;
}

static void receiver_try(void *arg);

static bool receives(const struct pg *p, const struct wal_message *m)
{
    return p->postmaster.alive && p->in_recovery && !p->promoting && p->receiver.connection == m->connection;
}

static void ack_seen(void *arg)
{
    struct wal_message *m = arg;
    struct pg *p = pg_of(m->to);
    struct pg_sender *s = &p->senders[m->from];

    if (s->active && s->connection == m->connection)
        s->flushed = m->upto;
    free(m);
}

static void ack_arrives(void *arg)
{
    struct wal_message *m = arg;
    struct pg *p = pg_of(m->to);

    if (p->backends.alive)
        event_in(0, &p->backends, ack_seen, m);
}

static void replay_done(void *arg)
{
    struct wal_message *m = arg;
    struct pg *p = pg_of(m->to);

    if (p->in_recovery && p->replayed && wal_leads_to(p->replayed, m->upto) && wal_leads_to(m->upto, p->disk.written)) {
        p->replayed = m->upto;
        if (!p->accepting && !p->stopping && wal_leads_to(p->disk.min_recovery, p->replayed)) {
            p->accepting = true;
            p->disk.backup_label = false;
        }
    }
    free(m);
}

static void senders_send(struct pg *p);

static void flush_done(void *arg)
{
    struct wal_message *m = arg;
    struct pg *p = pg_of(m->to);

    if (!wal_leads_to(m->upto, p->disk.written)) { /* thrown away meanwhile */
        free(m);
        return;
    }
    if (wal_leads_to(p->disk.flushed, m->upto))
        p->disk.flushed = m->upto;
    net_send(p->host, &world.hosts[m->from], ack_arrives, message(m->to, m->from, m->connection, m->upto));
    senders_send(p);
    event_in(chance_between(100, 3000), &p->postmaster, replay_done, m);
}

static void wal_seen(void *arg)
{
    struct wal_message *m = arg;
    struct pg *p = pg_of(m->to);

    if (!receives(p, m) || !p->receiver.streaming) {
        free(m);
        return;
    }
    p->receiver.heard = world.now;
    if (wal_leads_to(m->upto, p->disk.written)) {
        free(m);
        return;
    }
    if (!wal_leads_to(p->disk.written, m->upto))
        finding("S6", "%s writes the WAL of %s (timeline %u, %lld) behind other WAL of the same positions",
                p->host->name, world.hosts[m->from].name, m->upto->tli, (long long)m->upto->end);
    p->disk.written = m->upto;
    pg_learn_histories(p, m->upto);
    event_in(chance_between(50, p->fsync_max), &p->postmaster, flush_done, m);
}

static void wal_arrives(void *arg)
{
    struct wal_message *m = arg;
    struct pg *p = pg_of(m->to);

    if (p->postmaster.alive)
        event_in(0, &p->postmaster, wal_seen, m);
}

/* Walsenders send what is flushed. */
static void senders_send(struct pg *p)
{
    for (int i = 0; i < world.host_count; i++) {
        struct pg_sender *s = &p->senders[i];
        if (s->active)
            net_send_in_order(p->host, &world.hosts[i], &s->last, wal_arrives,
                              message(p->host->id, i, s->connection, p->disk.flushed));
    }
}

static void receiver_retry(struct pg *p, usec in)
{
    p->receiver.streaming = false;
    p->receiver.connection++;
    event_in(in, &p->postmaster, receiver_try, p);
}

static void connection_broken(void *arg)
{
    struct wal_message *m = arg;
    struct pg *p = pg_of(m->to);

    if (receives(p, m))
        receiver_retry(p, chance_between(1000, RETRY));
    free(m);
}

static void break_arrives(void *arg)
{
    struct wal_message *m = arg;
    struct pg *p = pg_of(m->to);

    if (p->postmaster.alive)
        event_in(0, &p->postmaster, connection_broken, m);
}

/* The kernel tells the other ends when processes die. */
static void senders_end(struct pg *p)
{
    for (int i = 0; i < world.host_count; i++) {
        struct pg_sender *s = &p->senders[i];
        if (s->active && p->host->up)
            net_send_in_order(p->host, &world.hosts[i], &s->last, break_arrives,
                              message(p->host->id, i, s->connection, NULL));
        s->active = false;
    }
}

/* START_REPLICATION: agreed on by timeline and position (walsender.c, StartReplication). */
static bool may_start(struct pg *upstream, const struct pg *p)
{
    struct rec *theirs = upstream->in_recovery ? upstream->disk.flushed : upstream->disk.written;
    struct rec *ours = p->disk.written;

    if (!str_eq(upstream->disk.system_id, p->disk.system_id))
        return false;
    struct rec *last = wal_last_of(theirs, ours->tli);
    return last && ours->end <= last->end;
}

struct attempt {
    int from, to; /* who asks whom */
    uint64_t connection;
};

static void refused(void *arg)
{
    struct attempt *a = arg;
    struct pg *p = pg_of(a->from);

    if (p->in_recovery && !p->promoting && p->receiver.connection == a->connection)
        receiver_retry(p, RETRY);
    free(a);
}

static void accepted(void *arg)
{
    struct attempt *a = arg;
    struct pg *p = pg_of(a->from);

    if (p->in_recovery && !p->promoting && p->receiver.connection == a->connection) {
        p->receiver.streaming = true;
        p->receiver.heard = world.now;
        struct pg_sender *s = &pg_of(a->to)->senders[a->from];
        if (s->active && s->connection == a->connection)
            net_send_in_order(pg_of(a->to)->host, p->host, &s->last, wal_arrives,
                              message(a->to, a->from, a->connection, pg_of(a->to)->disk.flushed));
    }
    free(a);
}

static void refusal_arrives(void *arg)
{
    struct attempt *a = arg;

    if (pg_of(a->from)->postmaster.alive)
        event_in(0, &pg_of(a->from)->postmaster, refused, a);
}

static void acceptance_arrives(void *arg)
{
    struct attempt *a = arg;

    if (pg_of(a->from)->postmaster.alive)
        event_in(0, &pg_of(a->from)->postmaster, accepted, a);
}

static void asked(void *arg)
{
    struct attempt *a = arg;
    struct pg *upstream = pg_of(a->to);
    struct pg *p = pg_of(a->from);
    struct pg_sender *s = &upstream->senders[a->from];
    bool ok = upstream->accepting && !upstream->stopping && may_start(upstream, p);

    if (ok)
        *s = (struct pg_sender){
            .active = true, .connection = a->connection, .flushed = p->disk.flushed, .last = s->last};
    net_send_in_order(upstream->host, p->host, &s->last, ok ? acceptance_arrives : refusal_arrives, a);
}

static void attempt_arrives(void *arg)
{
    struct attempt *a = arg;
    struct pg *upstream = pg_of(a->to);

    if (upstream && upstream->postmaster.alive)
        event_in(0, &upstream->backends, asked, a);
    else
        net_send(&world.hosts[a->to], &world.hosts[a->from], refusal_arrives, a);
}

static void receiver_try(void *arg)
{
    struct pg *p = arg;

    if (!p->in_recovery || p->promoting || p->stopping || p->receiver.streaming || p->upstream == NOBODY)
        return;
    struct attempt *a = mem_zero(1, sizeof(*a));
    p->receiver.connection++;
    p->receiver.heard = world.now;
    *a = (struct attempt){.from = p->host->id, .to = p->upstream, .connection = p->receiver.connection};
    net_send(p->host, &world.hosts[p->upstream], attempt_arrives, a);
}

/* wal_receiver_timeout, and an attempt that nobody answers. */
static void receiver_look(void *arg)
{
    struct pg *p = arg;

    event_in(RECEIVER_LOOK, &p->postmaster, receiver_look, p);
    if (!p->in_recovery || p->promoting || p->upstream == NOBODY)
        return;
    const struct pg *upstream = pg_of(p->upstream);
    const struct pg_sender *s = &upstream->senders[p->host->id];
    bool alive = p->receiver.streaming && s->active && s->connection == p->receiver.connection &&
                 net_reaches(p->host, upstream->host) && net_reaches(upstream->host, p->host) &&
                 proc_runs(&upstream->backends);
    if (alive)
        p->receiver.heard = world.now;
    else if (world.now - p->receiver.heard > RECEIVER_TIMEOUT)
        receiver_retry(p, 0);
}

/* ---- life ---- */

static void opened(struct pg *p)
{
    p->accepting = true;
    p->in_recovery = false;
    p->disk.state = PG_CONTROL_IN_PRODUCTION;
    story("postgres: open for writes on timeline %u at %lld", pg_timeline(p), (long long)p->disk.written->end);
}

static void recovered(void *arg)
{
    struct pg *p = arg;

    if (p->stopping)
        return;
    p->replayed = p->disk.written;
    p->disk.flushed = p->disk.written;
    opened(p);
}

static void standby_ready(void *arg)
{
    struct pg *p = arg;

    if (p->stopping)
        return;
    p->replayed = p->disk.written;
    p->disk.flushed = p->disk.written;
    if (wal_leads_to(p->disk.min_recovery, p->replayed)) {
        p->accepting = true;
        p->disk.backup_label = false;
    }
    receiver_try(p);
}

void pg_start(struct pg *p)
{
    CHECK(!p->postmaster.alive && !p->backends.alive && p->disk.kind == DATADIR_VALID);
    for (uint32_t tli = 0; tli < TLI_MAX; tli++)
        if (p->disk.placeholder[tli])
            finding("A11", "%s is started with an empty history file of timeline %u", p->host->name, tli);
    proc_start(&p->postmaster, p->host, "postmaster");
    proc_start(&p->backends, p->host, "backends");
    p->accepting = p->stopping = p->promoting = p->stuck = false;
    p->upstream = p->disk.upstream;
    p->receiver.streaming = false;
    p->session_epoch++;
    bool clean = p->disk.state == PG_CONTROL_SHUT_DOWN || p->disk.state == PG_CONTROL_SHUT_DOWN_IN_RECOVERY;
    usec takes = clean ? chance_between(30000, 200000) : chance_between(60000, 1500000);
    p->in_recovery = p->disk.standby_signal;
    if (p->in_recovery) {
        p->disk.state = PG_CONTROL_IN_ARCHIVE_RECOVERY;
        event_in(takes, &p->postmaster, standby_ready, p);
        event_in(RECEIVER_LOOK, &p->postmaster, receiver_look, p);
    } else {
        p->disk.state = clean ? PG_CONTROL_STARTING_UP : PG_CONTROL_IN_CRASH_RECOVERY;
        event_in(takes, &p->postmaster, recovered, p);
    }
}

static void all_gone(struct pg *p)
{
    senders_end(p);
    p->accepting = p->promoting = p->stopping = false;
    p->receiver.streaming = false;
    p->session_epoch++;
}

static void tell_death(void *arg)
{
    struct pg *p = arg;

    p->died(p, p->died_arg);
}

static void told_soon(struct pg *p)
{
    event_in(chance_between(50, 1000), &p->host->kernel, tell_death, p);
}

void pg_kill(struct pg *p)
{
    if (!p->postmaster.alive && !p->backends.alive)
        return;
    if (p->postmaster.alive)
        p->deaths++;
    proc_kill(&p->postmaster);
    proc_kill(&p->backends);
    all_gone(p);
    told_soon(p);
}

static void orphans_end(void *arg)
{
    struct pg *p = arg;

    proc_kill(&p->backends);
    all_gone(p);
    told_soon(p);
}

void pg_kill_postmaster(struct pg *p)
{
    if (!p->postmaster.alive)
        return;
    p->deaths++;
    proc_kill(&p->postmaster);
    p->receiver.streaming = false;
    told_soon(p);
    event_in(chance(ORPHANS_MAX), &p->backends, orphans_end, p);
}

void pg_power_cut(struct pg *p)
{
    proc_kill(&p->postmaster);
    proc_kill(&p->backends);
    all_gone(p);
    if (p->disk.flushed)
        p->disk.written = p->disk.flushed;
}

static void ended(void *arg)
{
    struct pg *p = arg;

    p->deaths++;
    proc_kill(&p->postmaster);
    proc_kill(&p->backends);
    all_gone(p);
    told_soon(p);
}

static void shut_down(void *arg)
{
    struct pg *p = arg;

    if (p->stuck)
        return;
    if (p->in_recovery) {
        p->disk.state = PG_CONTROL_SHUT_DOWN_IN_RECOVERY;
        if (p->replayed && wal_leads_to(p->disk.min_recovery, p->replayed))
            p->disk.min_recovery = p->replayed;
    } else {
        p->disk.written = p->disk.flushed = wal_append(p->disk.written, REC_SHUTDOWN, 0);
        p->disk.checkpoint = p->disk.written;
        p->disk.checkpoint_tli = p->disk.written->tli;
        p->disk.state = PG_CONTROL_SHUT_DOWN;
        senders_send(p);
    }
    event_in(chance_between(2000, 150000), &p->postmaster, ended, p);
}

void pg_stop_fast(struct pg *p)
{
    if (!p->postmaster.alive || p->stopping)
        return;
    p->stopping = true;
    p->session_epoch++; /* sessions end; what waited was not acknowledged */
    bool open = p->accepting && !p->in_recovery;
    if (!open && !p->in_recovery) { /* still recovering: it ends as it is */
        event_in(chance_between(2000, 100000), &p->postmaster, ended, p);
        return;
    }
    event_in(chance_between(10000, 200000), &p->postmaster, shut_down, p);
}

static void reloaded(void *arg)
{
    struct pg *p = arg;

    if (p->upstream == p->disk.upstream)
        return;
    p->upstream = p->disk.upstream;
    receiver_retry(p, chance_between(0, 20000));
}

void pg_reload(struct pg *p)
{
    if (p->postmaster.alive)
        event_in(chance_between(500, 20000), &p->postmaster, reloaded, p);
}

/* ---- promotion ---- */

/* timeline.c, findNewestTimeLine: one after the other, until there is no file of the next. */
static uint32_t next_timeline(const struct pg *p)
{
    uint32_t tli = pg_timeline(p) + 1;

    while (tli < TLI_MAX - 1 && (p->disk.history[tli] || p->disk.placeholder[tli]))
        tli++;
    return tli;
}

static void promoted(void *arg)
{
    struct pg *p = arg;
    uint32_t tli = next_timeline(p);

    if (p->stopping || !p->in_recovery)
        return;
    CHECK(tli < TLI_MAX);
    p->replayed = p->disk.written;
    p->disk.written = p->disk.flushed = wal_append(p->disk.written, REC_TIMELINE, tli);
    p->disk.history[tli] = p->disk.written;
    p->disk.standby_signal = false;
    p->promoting = false;
    opened(p);
    senders_send(p);
}

void pg_promote_signal(struct pg *p)
{
    if (!p->postmaster.alive || !p->in_recovery || p->promoting || p->stopping || !p->disk.promote_file || !p->replayed)
        return;
    p->disk.promote_file = false;
    if (!wal_leads_to(p->disk.min_recovery, p->disk.written)) {
        pg_kill(p); /* "requested recovery stop point is before consistent recovery point" */
        return;
    }
    p->promoting = true;
    p->receiver.streaming = false;
    p->receiver.connection++;
    event_in(chance_one_in(20) ? chance_between(200000, 5000000) : chance_between(10000, 120000), &p->postmaster,
             promoted, p);
}

/* ---- SQL ---- */

struct waiting {
    struct pg *pg;
    struct rec *commit;
    uint64_t epoch;
    pg_committed_fn *told;
    void *arg;
};

static void commit_flushed(void *arg)
{
    struct waiting *w = arg;
    struct pg *p = w->pg;

    if (!wal_leads_to(w->commit, p->disk.flushed)) { /* else a later one was flushed, and it with that */
        p->disk.flushed = w->commit;
        senders_send(p);
    }
    if (w->epoch == p->session_epoch) {
        pg_acknowledges(p, w->commit);
        w->told(p, w->commit, w->arg);
    }
    free(w);
}

void pg_commit(struct pg *p, int client, uint64_t number, pg_committed_fn *told, void *arg)
{
    struct waiting *w = mem_zero(1, sizeof(*w));

    CHECK(p->accepting && !p->in_recovery);
    p->disk.written = wal_append(p->disk.written, REC_COMMIT, 0);
    p->disk.written->client = client;
    p->disk.written->number = number;
    *w = (struct waiting){.pg = p, .commit = p->disk.written, .epoch = p->session_epoch, .told = told, .arg = arg};
    event_in(chance_between(50, p->fsync_max), &p->backends, commit_flushed, w);
}

static void checkpoint_done(void *arg)
{
    struct pg *p = arg;

    if (p->in_recovery || p->stopping || !p->accepting)
        return;
    p->disk.written = p->disk.flushed = wal_append(p->disk.written, REC_CHECKPOINT, 0);
    p->disk.checkpoint = p->disk.written;
    p->disk.checkpoint_tli = p->disk.written->tli;
    senders_send(p);
}

void pg_checkpoint(struct pg *p)
{
    event_in(chance_between(20000, 500000), &p->postmaster, checkpoint_done, p);
}

/* ---- files ---- */

void pg_initdb(struct pg *p, const char *system_id)
{
    struct rec *first = wal_append(NULL, REC_INITDB, 1);

    str_copy(p->disk.system_id, sizeof(p->disk.system_id), system_id);
    p->disk.kind = DATADIR_VALID;
    p->disk.written = p->disk.flushed = p->disk.checkpoint = p->disk.min_recovery = first;
    p->disk.checkpoint_tli = 1;
    p->disk.state = PG_CONTROL_SHUT_DOWN;
    p->disk.upstream = NOBODY;
}

void pg_copy(struct pg *p, const struct pg *from)
{
    str_copy(p->disk.system_id, sizeof(p->disk.system_id), from->disk.system_id);
    p->disk.kind = DATADIR_VALID;
    p->disk.written = p->disk.flushed = p->disk.min_recovery = from->disk.flushed;
    p->disk.checkpoint = from->disk.checkpoint;
    p->disk.checkpoint_tli = from->disk.checkpoint_tli;
    p->disk.state = PG_CONTROL_IN_PRODUCTION;
    p->disk.backup_label = true;
    p->disk.promote_file = false;
    for (uint32_t tli = 0; tli < TLI_MAX; tli++)
        p->disk.history[tli] = from->disk.history[tli];
}
