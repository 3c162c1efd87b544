#include "test/sim/book.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/str.h"
#include "test/sim/net.h"
#include "test/sim/score.h"
#include "test/sim/session.h"
#include "test/sim/store_sim.h"

enum {
    WRITERS_MAX = 16,
    ANSWER_MAX = 1000000, /* a writer's patience */
    PROGRESS = 15000000,
    RECORD_LOOK = 500000,
    REFUSED_OFTEN = 20,
    BUSY = 5000000, /* after a new primary's first acknowledgement */
};

static usec busy_until;
static term newest_term; /* that the record had */

void book_busy(usec until)
{
    if (until > busy_until)
        busy_until = until;
}

void book_thawed(struct host *h)
{
    ledger_thawed(h);
}

/* ---- writers ---- */

struct writer {
    int id, target;
    uint64_t number, attempt;
    unsigned int refused; /* in a row */
    bool waiting;
    bool stays;  /* with one node, whoever leads: an application in its data centre, a forgotten connection string */
    int session; /* the host of the one it has; NOBODY: none */
    uint64_t session_epoch;
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
    if (w->stays && world.now >= busy_until)
        return chance_between(500000, 2000000);
    return w->refused < REFUSED_OFTEN ? chance_between(10000, 100000) : chance_between(100000, 400000);
}

static void turn_away(struct writer *w)
{
    w->session = NOBODY;
    if (!w->stays)
        w->target = (w->target + 1) % node_count;
}

static void write_next(void *arg);

static void answer_seen(void *arg)
{
    struct letter_to *l = arg;
    struct writer *w = l->writer;

    if (w->waiting && w->attempt == l->attempt) {
        w->waiting = false;
        if (!l->ok)
            turn_away(w);
        w->refused = l->ok ? 0 : w->refused + 1;
        event_in(l->ok ? pause_between() : pause_refused(w), &home->kernel, write_next, w);
    }
    free(l);
}

static void committed(struct pg *p, struct rec *commit, enum pg_outcome how, void *arg)
{
    struct letter_to *l = arg;

    if (how == PG_CANCELLED)
        ledger_cancelled();
    l->ok = true;
    net_send(p->host, home, answer_seen, l);
}

/* A session of before may still be served by a backend whose postmaster is dead; a new one is made by a postmaster. */
static bool serves(const struct pg *p, const struct writer *w)
{
    bool session = w->session == p->host->id && w->session_epoch == p->session_epoch;

    return pg_is_open(p) || (session && pg_backends_live(p) && p->accepting && !p->in_recovery && !p->stopping);
}

static void statement_runs(void *arg)
{
    struct letter_to *l = arg;
    struct pg *p = &nodes[l->host].pg;

    if (!serves(p, l->writer)) {
        net_send(p->host, home, answer_seen, l);
        return;
    }
    l->writer->session = l->host;
    l->writer->session_epoch = p->session_epoch;
    pg_commit(p, COMMIT_ON, l->writer->id, l->writer->number, committed, l);
}

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
        turn_away(w);
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

static void reign_begins(int before, int now)
{
    score_reign(before, now);
    book_busy(world.now + BUSY);
}

/* The mode and who is to be open, as the record says; one that was open before may not know yet that it is not. */
static void look_at_record(void *arg)
{
    struct cluster *c = store_sim_cluster();
    const struct record_key *r = &c->record;

    (void)arg;
    /* What a store that was put back says of the mode is of the past. */
    if (r->present && r->term >= newest_term) {
        newest_term = r->term;
        ledger_quorum(r->mode == RECORD_QUORUM);
    }
    for (int i = 0; i < node_count && r->leader && r->phase == RECORD_OPEN && r->term == newest_term; i++)
        if (str_eq(nodes[i].host->name, r->leader) && node_serves(&nodes[i]))
            ledger_opens(&nodes[i].pg);
    cluster_unref(c);
    event_in(RECORD_LOOK, NULL, look_at_record, NULL);
}

void book_watch_record(void)
{
    event_in(RECORD_LOOK, NULL, look_at_record, NULL);
}

void book_init(struct host *client_host, int count)
{
    static const struct ledger_events events = {.reign_begins = reign_begins, .finds = book_tell_state};

    home = client_host;
    ledger_init(&events);
    for (int i = 0; i < count; i++) {
        writers[i] = (struct writer){.id = i, .target = i % node_count, .stays = i < node_count, .session = NOBODY};
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
              n->pg.accepting, n->pg.in_recovery, n->pg.receiver.state == RECEIVER_STREAMING, pg_timeline(&n->pg),
              n->pg.disk.written ? (long long)n->pg.disk.written->end : 0, n->pg.disk.kind, n->pg.disk.marker,
              n->pg.disk.state, n->pg.disk.standby_signal, node_why(n));
    }
    cluster_unref(c);
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
        if (&nodes[i] != leader && !node_follows(&nodes[i], leader) && !node_is_foreign(&nodes[i], leader))
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
    for (int i = 0; i < node_count; i++)
        book.excused += node_is_foreign(&nodes[i], leader);
    book.lost = ledger_lost(&leader->pg);
}
