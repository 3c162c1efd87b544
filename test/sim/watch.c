#include "test/sim/watch.h"

#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "test/sim/book.h"
#include "test/sim/points.h"
#include "test/sim/recovery.h"
#include "test/sim/session.h"
#include "test/sim/store_sim.h"
#include "wire/peer.h"

enum { LOST_MAX = 64 };

struct claim {             /* what an agent told of its freeze last */
    enum peer_freeze kind; /* NONE: nothing, or it is over */
    term term;             /* stays when it is over */
    struct rec *end;       /* of the disk, then */
    lsn position;
};

static struct record_key record; /* as the store has it */
static struct claim claims[HOSTS_MAX];
static term elected_under[HOSTS_MAX];       /* the last term */
static term settled;                        /* the last term that somebody was elected under */
static struct rec *acknowledged[HOSTS_MAX]; /* by a walreceiver there, from its disk */
static struct rec *timelines[TLI_MAX];      /* the first record of the one of that number */
static uint64_t lost[LOST_MAX];             /* incarnations */
static size_t lost_count;

static bool is_quorum(void)
{
    return record.present && record.mode == RECORD_QUORUM;
}

static _Noreturn void broken(const char *invariant, const char *text)
{
    book_tell_state();
    finding(invariant, "%s", text);
}

static bool was_lost(uint64_t incarnation)
{
    for (size_t i = 0; i < lost_count; i++)
        if (lost[i] == incarnation)
            return true;
    return false;
}

static struct node *node_named(const char *name)
{
    for (int i = 0; i < node_count && name; i++)
        if (str_eq(nodes[i].host->name, name))
            return &nodes[i];
    return NULL;
}

/* ---- what is where ---- */

/* What was admitted under that name and number has this record on its disk; or a fault took that disk. */
static bool has(const char *name, uint64_t incarnation, const struct rec *r)
{
    const struct node *n = node_named(name);

    if (was_lost(incarnation))
        return true;
    return n && node_incarnation(n) == incarnation && n->pg.disk.flushed && wal_leads_to(r, n->pg.disk.flushed);
}

static int having(const struct record_cohort *c, const struct rec *r)
{
    int count = 0;

    for (size_t i = 0; i < c->count; i++)
        count += has(c->at[i].name, c->at[i].incarnation, r);
    return count;
}

/* No |S| - k + 1 members of S are all without it; with nobody in S nobody but the leader settles it. */
static bool on_each_settling_set(const struct record_cohort *c, int holders)
{
    return !c->count || holders >= c->k;
}

static void check_promises(void)
{
    struct rec *promised = ledger_promised();

    if (!is_quorum() || !promised)
        return;
    bool by_open = on_each_settling_set(&record.open, having(&record.open, promised));
    bool by_joint = record.joining && on_each_settling_set(&record.joint, having(&record.joint, promised));
    if (!by_open && !by_joint)
        broken("N2", "nodes could settle the record's cohort none of which has what was acknowledged last");
    if (record.open_leader && !has(record.open_leader, record.open_incarnation, promised))
        broken("N2", "the open leader, which settles the record, has not what was acknowledged last");
    if (record.phase == RECORD_ELECTED && !has(record.leader, record.leader_incarnation, promised))
        broken("N2", "the elected has not what was acknowledged last");
}

/* ---- lists ---- */

/* Which of the list's names the bits choose are members of the cohort. */
static int chosen_members(const struct sync_list *l, unsigned int bits, const struct record_cohort *c)
{
    int count = 0;

    for (int i = 0; i < l->count; i++)
        for (size_t k = 0; k < c->count && (bits >> i & 1); k++)
            count += str_eq_nocase(l->names[i], c->at[k].name);
    return count;
}

static bool covered(const struct record_cohort *c, int members)
{
    return c->count ? members >= c->k : true;
}

/* Every set that the list lets acknowledge is met by every set of nodes, other than the leader, that settles. */
static bool is_covered(const struct sync_list *l)
{
    if (!l)
        return !record.open.count || (record.joining && !record.joint.count);
    for (unsigned int bits = 0; bits < 1U << l->count; bits++) {
        if (__builtin_popcount(bits) != l->wanted)
            continue;
        if (!covered(&record.open, chosen_members(l, bits, &record.open)) &&
            !(record.joining && covered(&record.joint, chosen_members(l, bits, &record.joint))))
            return false;
    }
    return true;
}

static bool is_fence(const struct sync_list *l)
{
    return l && l->count == 1 && !node_named(l->names[0]);
}

static bool leads_by_record(const struct pg *p)
{
    const struct node *n = &nodes[p->host->id];

    return is_quorum() && record.open_leader && str_eq(record.open_leader, p->host->name) &&
           node_incarnation(n) == record.open_incarnation && !p->in_recovery && p->backends.alive;
}

static void check_sender(const struct pg *p, const struct pg_sender *s)
{
    bool counts = s->active && (s->state == SENDER_STREAMING || s->state == SENDER_STOPPING) && s->priority;

    if (!counts || s->tool || is_fence(s->conf.conf->names) || is_covered(s->conf.conf->names))
        return;
    story("%s: the walsender of %s goes by the list %s", p->host->name, s->name, s->conf.conf->at[PG_SYNC_NAMES].text);
    broken("N1", "a walsender works with a list that the record does not cover");
}

static void check_lists(const struct pg *p)
{
    if (!leads_by_record(p))
        return;
    for (int i = 0; i < SENDERS_MAX; i++)
        check_sender(p, &p->senders[i]);
    if (p->accepting && p->sync.known && !p->sync.defined && !is_covered(NULL))
        broken("N1", "nobody is waited for, and the record has a cohort");
}

static void list_taken(struct pg *p, const struct pg_sender *s)
{
    if (leads_by_record(p))
        check_sender(p, s);
}

/* ---- freezes ---- */

static bool is_settled(term t)
{
    return !is_quorum() || settled >= t;
}

static struct claim *claim_of(const struct pg *p)
{
    struct claim *c = &claims[p->host->id];

    if (c->kind != PEER_FREEZE_NONE && is_settled(c->term))
        c->kind = PEER_FREEZE_NONE;
    return c;
}

static void check_position(const struct pg *p, const struct peer_state *s)
{
    struct rec *last = acknowledged[p->host->id];
    struct rec *end = p->disk.flushed;

    if (!end || !s->position)
        return;
    struct rec *there = wal_at(end, s->position);
    story("%s is frozen at %lld of timeline %u", p->host->name, (long long)s->position, s->timeline);
    if (s->freeze != PEER_FREEZE_FENCED && s->position < end->end)
        broken("N3", "a frozen position is before the end of what is on the disk");
    if (last && wal_leads_to(last, end) && last->end > s->position)
        broken("N3", "a frozen position is before what was acknowledged from there");
    if (s->timeline && there && there->tli != s->timeline)
        broken("N3", "a frozen position is told to be of another timeline than it is");
}

static void freeze_told(const struct node *n)
{
    const struct pg *p = &n->pg;
    struct peer_state s;

    if (!node_tells(n, &s) || s.freeze == PEER_FREEZE_NONE || is_settled(s.frozen_term))
        return;
    if (node_promise(n) < s.frozen_term)
        broken("S4", "a freeze is told for a term whose promise is not on the disk");
    if (s.freeze == PEER_FREEZE_STOPPED)
        ledger_stopped(p);
    check_position(p, &s);
    claims[p->host->id] =
        (struct claim){.kind = s.freeze, .term = s.frozen_term, .end = p->disk.written, .position = s.position};
}

static void replies(struct pg *p, struct rec *flushed)
{
    const struct claim *c = claim_of(p);

    if (c->kind != PEER_FREEZE_NONE && c->end && !wal_leads_to(flushed, c->end))
        broken("N6", "a walreceiver acknowledges what came after its node told that it is frozen");
    acknowledged[p->host->id] = flushed;
}

static void acknowledges(struct pg *p, struct rec *commit)
{
    const struct claim *c = claim_of(p);

    if (!is_quorum())
        return;
    if (c->kind == PEER_FREEZE_FENCED && commit->end > c->position)
        broken("N6", "a primary acknowledges what lies beyond the position that it told as fenced");
    if (c->kind == PEER_FREEZE_STOPPED)
        broken("N6", "a primary acknowledges that is told to be stopped");
    check_promises();
}

/* ---- timelines ---- */

/* Elected for what it had, frozen (who was handed the leadership was not). An archive may have had more of that. */
static void check_fork(const struct pg *p, const struct rec *first)
{
    const struct claim *c = &claims[p->host->id];

    if (c->term != record.term || !c->end || (first->parent && wal_leads_to(c->end, first->parent)))
        return;
    story("%s: timeline %u forks at %lld, frozen it was at %lld", p->host->name, first->tli,
          first->parent ? (long long)first->parent->end : 0, (long long)c->end->end);
    broken("N9", "a timeline begins elsewhere than its leader was frozen");
}

static void promoted(struct pg *p, struct rec *first)
{
    int h = p->host->id;

    if (!is_quorum())
        return;
    if (timelines[first->tli % TLI_MAX] && timelines[first->tli % TLI_MAX] != first)
        broken("N9", "two timelines have one number");
    timelines[first->tli % TLI_MAX] = first;
    if (claims[h].term > elected_under[h])
        broken("A12", "a node leaves recovery that was frozen since it was elected, if it ever was");
    check_fork(p, first);
}

/* ---- directories ---- */

static bool counts_on(const struct node *n)
{
    uint64_t incarnation = node_incarnation(n);
    const struct record_cohort *cohorts[] = {&record.open, &record.joint};

    for (size_t c = 0; c < (record.joining ? 2 : 1); c++)
        for (size_t i = 0; i < cohorts[c]->count; i++)
            if (incarnation && cohorts[c]->at[i].incarnation == incarnation)
                return true;
    return false;
}

static void touched(struct pg *p)
{
    acknowledged[p->host->id] = NULL;
    if (is_quorum() && counts_on(&nodes[p->host->id]))
        broken("S7", "a data directory is touched that the record counts on");
}

void watch_disk_lost(const struct node *n)
{
    CHECK(lost_count < LOST_MAX);
    lost[lost_count++] = node_incarnation(n);
    acknowledged[n->host->id] = NULL;
}

/* ---- the record ---- */

static void record_changed(const struct record_key *r)
{
    record_key_deinit(&record);
    record_key_copy(r, &record);
    ledger_quorum(is_quorum());
    if (!is_quorum())
        return;
    const struct node *leader = node_named(record.leader);
    if (record.phase != RECORD_TERM)
        settled = record.term;
    if (leader && record.phase != RECORD_TERM)
        elected_under[leader->host->id] = record.term;
    check_promises();
    for (int i = 0; i < node_count; i++)
        check_lists(&nodes[i].pg);
}

static void point_reached(const char *name)
{
    if (str_eq(name, "freeze.shown"))
        freeze_told(&nodes[world.current->host->id]);
}

void watch_init(void)
{
    store_sim_record_changed = record_changed;
    points_reached = point_reached;
    sync_list_taken = list_taken;
    walstream_replies = replies;
    recovery_promotes = promoted;
    pg_touched = touched;
    ledger_acknowledges = acknowledges;
}
