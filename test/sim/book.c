#include "test/sim/book.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/str.h"
#include "test/sim/net.h"
#include "test/sim/score.h"
#include "test/sim/store_sim.h"

enum {
    WRITERS_MAX = 8,
    ANSWER_MAX = 1000000, /* a writer's patience */
    REIGNS_MAX = 4096,
    EXCUSED = 300000, /* after a whole host has stood still */
    PROGRESS = 15000000,
    REFUSED_OFTEN = 20,
    BUSY = 5000000, /* after a new primary's first acknowledgement */
};

struct book book;

/* ---- who acknowledges ---- */

struct reign {
    int host;
    struct rec *first; /* its timeline's first record, or the database's */
};

static struct reign reigns[REIGNS_MAX];
static struct rec **acknowledged;
static size_t acknowledged_cap;
static usec thawed[HOSTS_MAX];

static struct rec *timeline_start(struct rec *r)
{
    while (r->parent && r->parent->tli == r->tli)
        r = r->skip && r->skip->tli == r->tli ? r->skip : r->parent;
    return r;
}

static usec busy_until;

void book_busy(usec until)
{
    if (until > busy_until)
        busy_until = until;
}

/* No two nodes acknowledge at one moment: once a later one has, no earlier one does. */
static void acknowledges(struct pg *p, struct rec *commit)
{
    struct rec *first = timeline_start(commit);
    unsigned int i = book.reigns;

    while (i > 0 && (reigns[i - 1].host != p->host->id || reigns[i - 1].first != first))
        i--;
    if (!i) {
        CHECK(book.reigns < REIGNS_MAX);
        score_reign(book.reigns ? reigns[book.reigns - 1].host : -1, p->host->id);
        reigns[book.reigns++] = (struct reign){.host = p->host->id, .first = first};
        book_busy(world.now + BUSY);
        story("%s is the primary that acknowledges (timeline %u)", p->host->name, commit->tli);
    } else if (i != book.reigns) {
        if (thawed[p->host->id] && world.now - thawed[p->host->id] < EXCUSED) {
            book.excused++;
            return;
        }
        book_tell_state();
        finding("N8", "%s acknowledges on timeline %u after %s has on timeline %u", p->host->name, commit->tli,
                world.hosts[reigns[book.reigns - 1].host].name, reigns[book.reigns - 1].first->tli);
    }
    if (book.acknowledged == acknowledged_cap) {
        acknowledged_cap = acknowledged_cap ? acknowledged_cap * 2 : 1024;
        acknowledged = mem_grow(acknowledged, acknowledged_cap, sizeof(*acknowledged));
    }
    acknowledged[book.acknowledged++] = commit;
    book.last_ack = world.now;
}

void book_thawed(struct host *h)
{
    thawed[h->id] = world.now;
}

/* ---- writers ---- */

struct writer {
    int id, target;
    uint64_t number, attempt;
    unsigned int refused; /* in a row */
    bool waiting;
};

struct letter_to { /* a statement on its way, and its answer */
    struct writer *writer;
    int host;
    uint64_t attempt;
    bool ok;
};

static struct host *home;
static struct writer writers[WRITERS_MAX];

/* What can be lost is written around faults; in between it is enough to see that it works. */
static usec pause_between(void)
{
    return world.now < busy_until ? chance_between(20000, 300000) : chance_between(500000, 3000000);
}

static usec pause_refused(const struct writer *w)
{
    return w->refused < REFUSED_OFTEN ? chance_between(10000, 100000) : chance_between(100000, 400000);
}

static void write_next(void *arg);

static void answer_seen(void *arg)
{
    struct letter_to *l = arg;
    struct writer *w = l->writer;

    if (w->waiting && w->attempt == l->attempt) {
        w->waiting = false;
        if (!l->ok)
            w->target = (w->target + 1) % node_count;
        w->refused = l->ok ? 0 : w->refused + 1;
        event_in(l->ok ? pause_between() : pause_refused(w), &home->kernel, write_next, w);
    }
    free(l);
}

static void committed(struct pg *p, struct rec *commit, void *arg)
{
    struct letter_to *l = arg;

    l->ok = true;
    net_send(p->host, home, answer_seen, l);
}

static void statement_runs(void *arg)
{
    struct letter_to *l = arg;
    struct pg *p = &nodes[l->host].pg;

    if (pg_is_open(p))
        pg_commit(p, l->writer->id, l->writer->number, committed, l);
    else
        net_send(p->host, home, answer_seen, l);
}

/* A session of before may still be served by a backend whose postmaster is dead. */
static void statement_arrives(void *arg)
{
    struct letter_to *l = arg;
    struct pg *p = &nodes[l->host].pg;

    if (pg_backends_live(p) && p->accepting)
        event_in(chance_between(50, 1000), &p->backends, statement_runs, l);
    else
        net_send(p->host, home, answer_seen, l);
}

static void patience_over(void *arg)
{
    struct letter_to *l = arg; /* a copy */
    struct writer *w = l->writer;

    if (w->waiting && w->attempt == l->attempt) {
        w->waiting = false;
        w->target = (w->target + 1) % node_count;
        event_in(0, &home->kernel, write_next, w);
    }
    free(l);
}

static void write_next(void *arg)
{
    struct writer *w = arg;
    struct letter_to *l = mem_zero(1, sizeof(*l));
    struct letter_to *limit = mem_zero(1, sizeof(*limit));

    w->number++;
    w->attempt++;
    w->waiting = true;
    *l = (struct letter_to){.writer = w, .host = w->target, .attempt = w->attempt};
    *limit = *l;
    net_send(home, nodes[w->target].host, statement_arrives, l);
    event_in(ANSWER_MAX, &home->kernel, patience_over, limit);
}

void book_init(struct host *client_host, int count)
{
    home = client_host;
    pg_acknowledges = acknowledges;
    for (int i = 0; i < count; i++) {
        writers[i] = (struct writer){.id = i, .target = i % node_count};
        event_in(chance(1000000), &home->kernel, write_next, &writers[i]);
    }
}

/* ---- the end ---- */

void book_tell_state(void)
{
    struct cluster *c = store_sim_cluster();

    story("leader key: %s", c->leader ? c->leader : "-");
    for (int i = 0; i < node_count; i++) {
        const struct node *n = &nodes[i];
        story("%s: up=%d guard=%d agent=%d postmaster=%d accepting=%d recovery=%d streaming=%d timeline=%u at=%lld "
              "dir=%d "
              "marker=%d state=%d signal=%d: %s",
              n->host->name, n->host->up, n->guard.proc.alive, n->guard.agent.alive, n->pg.postmaster.alive,
              n->pg.accepting, n->pg.in_recovery, n->pg.receiver.streaming, pg_timeline(&n->pg),
              n->pg.disk.written ? (long long)n->pg.disk.written->end : 0, n->pg.disk.kind, n->pg.disk.marker,
              n->pg.disk.state, n->pg.disk.standby_signal, node_why(n));
    }
    cluster_free(c);
}

/* What of L1 and L2 does not hold; false: nothing. */
static bool unsettled(const struct node **ret_leader, const char **ret_invariant, char *why, size_t size)
{
    const struct node *leader = NULL;

    *ret_invariant = "L1";
    for (int i = 0; i < node_count; i++) {
        if (!pg_is_open(&nodes[i].pg))
            continue;
        if (leader)
            return snprintf(why, size, "%s and %s are both open", leader->host->name, nodes[i].host->name);
        leader = &nodes[i];
    }
    if (!leader || world.now - book.last_ack > PROGRESS)
        return snprintf(why, size, "nobody acknowledges since %.1f s", (double)(world.now - book.last_ack) / 1e6);
    *ret_invariant = "L2";
    for (int i = 0; i < node_count; i++)
        if (&nodes[i] != leader && !node_follows(&nodes[i], leader))
            return snprintf(why, size, "%s has not come back", nodes[i].host->name);
    *ret_leader = leader;
    return false;
}

bool book_settled(void)
{
    const struct node *leader;
    const char *invariant;
    char why[128];

    return !unsettled(&leader, &invariant, why, sizeof(why));
}

void book_close(void)
{
    const struct node *leader = NULL;
    const char *invariant;
    char why[128];

    if (unsettled(&leader, &invariant, why, sizeof(why))) {
        book_tell_state();
        finding(invariant, "%s", why);
    }
    for (uint64_t i = 0; i < book.acknowledged; i++)
        book.lost += !wal_leads_to(acknowledged[i], leader->pg.disk.written);
}
