#include "test/sim/ledger.h"

#include "base/check.h"
#include "base/str.h"
#include "test/sim/session.h"

enum {
    REIGNS_MAX = 4096,
    EXCUSED = 300000,       /* after a whole host has stood still */
    DOUBLED_MAX = 30000000, /* two walsenders of one name beside each other: a cycle of its agent ends one */
    DOUBLED_GAP = 2000000,
};

struct book book;
void (*ledger_acknowledges)(struct pg *p, struct rec *commit);

struct reign {
    int host;
    struct rec *first; /* its timeline's first record, or the database's */
};

static struct reign reigns[REIGNS_MAX];
static struct rec **acknowledged;
static size_t acknowledged_cap;
static usec thawed[HOSTS_MAX];
static bool quorum;
static struct rec *promised; /* the last one of the history that all promises are on */
static struct ledger_events on;
static struct {
    usec since, last;
} doubled[HOSTS_MAX];

/* ---- who acknowledges ---- */

static struct rec *timeline_start(struct rec *r)
{
    while (r->parent && r->parent->tli == r->tli)
        r = r->skip && r->skip->tli == r->tli ? r->skip : r->parent;
    return r;
}

/* From 1; 0: it is a new one. */
static unsigned int reign_known(const struct pg *p, struct rec *commit)
{
    struct rec *first = timeline_start(commit);
    unsigned int i = book.reigns;

    while (i > 0 && (reigns[i - 1].host != p->host->id || reigns[i - 1].first != first))
        i--;
    return i;
}

static unsigned int reign_begins(const struct pg *p, struct rec *commit)
{
    struct rec *first = timeline_start(commit);

    CHECK(book.reigns < REIGNS_MAX);
    if (on.reign_begins)
        on.reign_begins(book.reigns ? reigns[book.reigns - 1].host : -1, p->host->id);
    reigns[book.reigns++] = (struct reign){.host = p->host->id, .first = first};
    story("%s is the primary that acknowledges (timeline %u)", p->host->name, commit->tli);
    return book.reigns;
}

static void about_to_find(void)
{
    if (on.finds)
        on.finds();
}

static const char *newest_name(void)
{
    return world.hosts[reigns[book.reigns - 1].host].name;
}

/* By an empty node in an empty store: it cannot know of the other one. */
static void another_database(const struct pg *p, struct rec *end)
{
    if (wal_common(promised, (struct rec *)(uintptr_t)end)) /* it changes neither */
        return;
    world_excuse("a new database was born in a store that was wiped");
    finding("N8", "%s is open with another database", p->host->name);
}

static void promises(struct pg *p, struct rec *commit, unsigned int reign)
{
    book.promised++;
    if (!promised || wal_leads_to(promised, commit)) {
        promised = commit;
        if (ledger_acknowledges)
            ledger_acknowledges(p, commit);
        return;
    }
    if (wal_leads_to(commit, promised)) /* late, and covered */
        return;
    about_to_find();
    another_database(p, commit);
    if (reign == book.reigns)
        finding("S1", "%s acknowledges on timeline %u and has not what was acknowledged at %lld on timeline %u",
                p->host->name, commit->tli, (long long)promised->end, promised->tli);
    finding("S2'", "%s acknowledges on timeline %u what %s, which acknowledges since, has not", p->host->name,
            commit->tli, newest_name());
}

/* A host that stood still as a whole, its guard and its clock with it: what it does at first is of another time. */
static bool excused(const struct pg *p)
{
    return thawed[p->host->id] && world.now - thawed[p->host->id] < EXCUSED;
}

static void alone(const struct pg *p, struct rec *commit, unsigned int reign)
{
    if (reign == book.reigns)
        return;
    about_to_find();
    if (!wal_common(reigns[book.reigns - 1].first, commit))
        world_excuse("two databases were born, one while the store did not answer");
    finding("N8", "%s acknowledges on timeline %u after %s has on timeline %u", p->host->name, commit->tli,
            newest_name(), reigns[book.reigns - 1].first->tli);
}

static void acknowledges(struct pg *p, struct rec *commit, bool by_tool)
{
    unsigned int reign = reign_known(p, commit);

    if (quorum && by_tool) { /* whoever runs it under the name of a member has acknowledged that */
        book.by_tools++;
        return;
    }
    if (!quorum && book.reigns && reign != book.reigns && excused(p)) {
        book.excused++;
        return;
    }
    if (!reign)
        reign = reign_begins(p, commit);
    if (quorum)
        promises(p, commit, reign);
    else
        alone(p, commit, reign);
    if (book.acknowledged == acknowledged_cap) {
        acknowledged_cap = acknowledged_cap ? acknowledged_cap * 2 : 1024;
        acknowledged = mem_grow(acknowledged, acknowledged_cap, sizeof(*acknowledged));
    }
    acknowledged[book.acknowledged++] = commit;
    book.last_ack = world.now;
}

/* ---- who is counted ---- */

static void counts_twice(struct pg *p, const char *application_name)
{
    int i = p->host->id;

    book.doubled++;
    if (!quorum)
        return;
    if (world.now - doubled[i].last > DOUBLED_GAP)
        doubled[i].since = world.now;
    doubled[i].last = world.now;
    if (world.now - doubled[i].since > DOUBLED_MAX)
        finding("N4", "%s counts two walsenders of the name %s, or one that is not its, for %.0f s", p->host->name,
                application_name, DOUBLED_MAX / 1e6);
}

/* ---- what is told ---- */

void ledger_init(const struct ledger_events *events)
{
    if (events)
        on = *events;
    pg_acknowledges = acknowledges;
    sync_counts_twice = counts_twice;
}

void ledger_quorum(bool in_force)
{
    if (in_force != quorum)
        promised = NULL;
    quorum = in_force;
}

struct rec *ledger_promised(void)
{
    return promised;
}

bool ledger_is_quorum(void)
{
    return quorum;
}

void ledger_thawed(const struct host *h)
{
    thawed[h->id] = world.now;
}

void ledger_opens(const struct pg *p)
{
    if (!quorum || !promised || wal_leads_to(promised, p->disk.written))
        return;
    another_database(p, p->disk.written);
    finding("S1", "%s is open and has not what was acknowledged at %lld on timeline %u", p->host->name,
            (long long)promised->end, promised->tli);
}

void ledger_stopped(const struct pg *p)
{
    if (pg_postmaster_lives(p) || pg_backends_live(p))
        finding("N5", "%s is called stopped, and processes of it live", p->host->name);
}

void ledger_cancelled(void)
{
    book.cancelled++;
}

uint64_t ledger_lost(const struct pg *leader)
{
    uint64_t lost = 0;

    ledger_opens(leader);
    for (uint64_t i = 0; i < book.acknowledged; i++)
        lost += !wal_leads_to(acknowledged[i], leader->disk.written);
    return lost;
}
