#include "test/sim/session.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/str.h"
#include "test/sim/truths.h"

enum { CHECKPOINTER_STARTS = 30000, WALWRITER_DELAY = 200000 };

void (*pg_acknowledges)(struct pg *p, struct rec *commit, bool by_tool);

/* ---- commits ---- */

struct commit {
    struct sync_waiter waiter;
    struct list link; /* of its server, while it waits */
    struct pg *pg;
    int client;
    enum commit_level level;
    uint64_t epoch;
    bool waited;
    enum pg_outcome outcome;
    pg_committed_fn *told;
    void *arg;
};

static void answer(void *arg)
{
    struct commit *c = arg;

    if (c->outcome == PG_ACKNOWLEDGED && c->level == COMMIT_ON && pg_acknowledges)
        pg_acknowledges(c->pg, c->waiter.commit, c->waited && c->waiter.commit->end > c->pg->sync.proper);
    c->told(c->pg, c->waiter.commit, c->outcome, c->arg);
    free(c);
}

static void released(struct sync_waiter *w)
{
    struct commit *c = (struct commit *)w;

    list_remove(&c->link);
    c->waited = true;
    event_in(chance_between(10, 500), &c->pg->backends, answer, c);
}

static void commit_flushed(void *arg)
{
    struct commit *c = arg;
    struct pg *p = c->pg;
    struct rec *commit = c->waiter.commit;

    if (!pg_syncs(p)) {
        free(c);
        return;
    }
    if (!wal_leads_to(commit, p->disk.flushed)) { /* else a later one was flushed, and it with that */
        p->disk.flushed = commit;
        walstream_send(p);
    }
    if (c->epoch != p->session_epoch) {
        free(c);
        return;
    }
    if (c->level == COMMIT_LOCAL || !sync_wait(p, &c->waiter)) {
        c->waited = c->level == COMMIT_ON && sync_is_wanted(p);
        answer(c);
        return;
    }
    list_add_tail(&p->waiting, &c->link);
    if (!p->postmaster.alive)
        sessions_orphaned(p);
}

void pg_commit(struct pg *p, enum commit_level level, int client, uint64_t number, pg_committed_fn *told, void *arg)
{
    struct commit *c;

    CHECK(p->accepting && !p->in_recovery);
    if (!pg_writes(p))
        return;
    c = mem_zero(1, sizeof(*c));
    p->disk.written = wal_append(p->disk.written, REC_COMMIT, 0);
    p->disk.written->client = client;
    p->disk.written->number = number;
    *c =
        (struct commit){.pg = p, .client = client, .level = level, .epoch = p->session_epoch, .told = told, .arg = arg};
    c->waiter.commit = p->disk.written;
    c->waiter.released = released;
    event_in(chance_between(50, p->fsync_max), &p->backends, commit_flushed, c);
}

int pg_cancel_waits(struct pg *p, int client)
{
    int count = 0;

    LIST_EACH (it, tmp, &p->waiting) {
        struct commit *c = LIST_ENTRY(it, struct commit, link);
        if (c->client != client)
            continue;
        count++;
        sync_leave(&c->waiter);
        list_remove(&c->link);
        c->outcome = PG_CANCELLED;
        if (truth(TRUTH_CANCELLED_WAIT_SUCCEEDS))
            event_in(chance_between(10, 500), &p->backends, answer, c);
        else
            free(c);
    }
    return count;
}

bool pg_waits(const struct pg *p, int client, uint64_t number)
{
    for (const struct list *it = p->waiting.next; it != &p->waiting; it = it->next) {
        const struct rec *commit = LIST_ENTRY(it, const struct commit, link)->waiter.commit;
        if (commit->client == client && commit->number == number)
            return true;
    }
    return false;
}

void pg_end_wait(struct pg *p, int client, uint64_t number)
{
    LIST_EACH (it, tmp, &p->waiting) {
        struct commit *c = LIST_ENTRY(it, struct commit, link);
        if (c->client != client || c->waiter.commit->number != number)
            continue;
        sync_leave(&c->waiter);
        list_remove(&c->link);
        free(c);
    }
}

int pg_waits_count(const struct pg *p)
{
    int count = 0;

    for (const struct list *it = p->waiting.next; it != &p->waiting; it = it->next)
        count++;
    return count;
}

bool pg_shows(const struct pg *p, const struct rec *commit)
{
    for (const struct list *it = p->waiting.next; it != &p->waiting; it = it->next)
        if (LIST_ENTRY(it, const struct commit, link)->waiter.commit == commit)
            return false;
    return wal_leads_to(commit, p->in_recovery ? p->replayed : p->disk.written);
}

/* Its client hears nothing: the connection is cut, success is not said (syncrep.c, SyncRepWaitForLSN). */
static void cut(struct pg *p)
{
    LIST_EACH (it, tmp, &p->waiting) {
        struct commit *c = LIST_ENTRY(it, struct commit, link);
        sync_leave(&c->waiter);
        list_remove(&c->link);
        free(c);
    }
}

static void postmaster_missed(void *arg)
{
    cut(arg);
}

void sessions_orphaned(struct pg *p)
{
    event_in(chance(1000), &p->backends, postmaster_missed, p);
}

void sessions_end(struct pg *p)
{
    p->session_epoch++;
    cut(p);
    for (int i = 0; i < SESSIONS_MAX; i++)
        p->sessions[i].active = false;
}

/* ---- the checkpointer ---- */

static void checkpointer_begins(void *arg)
{
    sync_define(arg);
}

static void checkpointer_reloads(void *arg)
{
    struct pg *p = arg;

    if (pg_conf_load(p, &p->checkpointer_conf))
        sync_define(p);
}

static void checkpoint_done(void *arg)
{
    struct pg *p = arg;

    if (p->in_recovery || p->stopping || !p->accepting || !pg_writes(p) || !pg_syncs(p))
        return;
    p->disk.written = p->disk.flushed = wal_append(p->disk.written, REC_CHECKPOINT, 0);
    p->disk.checkpoint = p->disk.written;
    p->disk.checkpoint_tli = p->disk.written->tli;
    walstream_send(p);
}

usec pg_checkpoint(struct pg *p)
{
    usec takes = chance_between(20000, 500000);

    event_in(takes, &p->backends, checkpoint_done, p);
    return takes;
}

/* ---- the walwriter ---- */

static void walwriter_writes(void *arg)
{
    struct pg *p = arg;

    if (p->in_recovery || p->disk.flushed == p->disk.written || !pg_syncs(p))
        return;
    p->disk.flushed = p->disk.written;
    walstream_send(p);
}

void pg_pulse(struct pg *p)
{
    if (p->in_recovery || !p->accepting || !pg_writes(p))
        return;
    p->disk.written = wal_append(p->disk.written, REC_MESSAGE, 0);
    event_in(chance(WALWRITER_DELAY) + chance_between(50, p->fsync_max), &p->backends, walwriter_writes, p);
}

/* ---- connections ---- */

static bool in_use(const struct pg_session *s)
{
    return s->active && s->client->alive && s->client->generation == s->client_generation;
}

struct pg_session *pg_connect(struct pg *p, struct proc *client)
{
    static uint64_t last_id;

    for (int i = 0; i < SESSIONS_MAX; i++) {
        struct pg_session *s = &p->sessions[i];
        if (in_use(s))
            continue;
        *s = (struct pg_session){.active = true,
                                 .id = ++last_id,
                                 .client = client,
                                 .client_generation = client->generation,
                                 .pid = pg_new_pid(p),
                                 .started = world.now,
                                 .started_wall_us = pg_wall_us(p->host),
                                 .conf = p->postmaster_conf};
        return s;
    }
    return NULL;
}

bool pg_session_lives(const struct pg *p, const struct pg_session *s, uint64_t id)
{
    return p->backends.alive && s && s->active && s->id == id;
}

void pg_disconnect(struct pg_session *s)
{
    s->active = false;
}

/* ---- what pg.c tells ---- */

struct hangup {
    struct pg *pg;
    struct pg_session *session;
    uint64_t id;
};

static void session_reloads(void *arg)
{
    struct hangup *h = arg;

    if (pg_session_lives(h->pg, h->session, h->id))
        (void)pg_conf_load(h->pg, &h->session->conf);
    free(h);
}

static void sessions_reload_all(void *arg)
{
    struct pg *p = arg;

    (void)pg_conf_load(p, &p->sessions_conf);
}

void sessions_reload(struct pg *p)
{
    event_in(pg_signal_takes(), &p->backends, sessions_reload_all, p);
    event_in(pg_signal_takes(), &p->backends, checkpointer_reloads, p);
    for (int i = 0; i < SESSIONS_MAX; i++) {
        if (!p->sessions[i].active)
            continue;
        struct hangup *h = mem_zero(1, sizeof(*h));
        *h = (struct hangup){.pg = p, .session = &p->sessions[i], .id = p->sessions[i].id};
        event_in(pg_signal_takes(), &p->backends, session_reloads, h);
    }
}

void sessions_start(struct pg *p)
{
    p->sessions_conf = p->checkpointer_conf = p->postmaster_conf;
    sync_init(&p->sync);
    event_in(chance_between(1000, CHECKPOINTER_STARTS), &p->backends, checkpointer_begins, p);
}
