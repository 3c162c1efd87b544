#include "test/sim/watch.h"

#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "core/ha/cohort.h"
#include "test/sim/book.h"
#include "test/sim/faults.h"
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
static term promised_to[HOSTS_MAX];         /* what was told to be promised */
static struct rec *at_start[HOSTS_MAX];     /* where its disk ended as the server came up as a primary */
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

/* Members of the cohort, and of the one that it changes to, that have it. */
static int holders(const struct rec *r)
{
    int count = 0;

    for (size_t i = 0; i < record.open.count; i++)
        count += has(record.open.at[i].name, record.open.at[i].incarnation, r);
    for (size_t i = 0; record.joining && i < record.joint.count; i++) {
        const struct record_member *m = &record.joint.at[i];
        if (!cohort_has(&record.open, m->name, m->incarnation))
            count += has(m->name, m->incarnation, r);
    }
    return count;
}

/*
 * So many of both have each acknowledged commit, whichever list counted them (core/ha/cohort.h): every set of nodes
 * that settles it has one of them. 0: nobody but the leader settles it.
 */
static int counted(void)
{
    if (!record.open.count || (record.joining && !record.joint.count))
        return 0;
    return record.joining && record.joint.k < record.open.k ? record.joint.k : record.open.k;
}

static void tell_cohort(const char *which, const struct record_cohort *c)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct node *n = node_named(c->at[i].name);
        const struct rec *end = n ? n->pg.disk.flushed : NULL;
        story("%s: any %d, %s %016llx: at %lld of timeline %u, %016llx now", which, c->k, c->at[i].name,
              (unsigned long long)c->at[i].incarnation, end ? (long long)end->end : 0, end ? end->tli : 0,
              n ? (unsigned long long)node_incarnation(n) : 0);
    }
}

/* Born while nobody knew of the one before, or forgotten by the store: the ledger judges that when it opens. */
static bool is_of_another_database(struct rec *promised)
{
    const struct node *led = node_named(record.open_leader);

    return led && led->pg.disk.flushed && !wal_common(promised, led->pg.disk.flushed);
}

static void check_promises(void)
{
    struct rec *promised = ledger_promised();

    if (!is_quorum() || !promised || is_of_another_database(promised))
        return;
    bool on_each_settling_set = holders(promised) >= counted();
    if (!on_each_settling_set) {
        story("acknowledged last: %lld of timeline %u", (long long)promised->end, promised->tli);
        tell_cohort("open", &record.open);
        if (record.joining)
            tell_cohort("joint", &record.joint);
    }
    if (!on_each_settling_set)
        broken("N2", "nodes could settle the record's cohort none of which has what was acknowledged last");
    const struct node *led = node_named(record.open_leader); /* rewound since, it settles nothing */
    if (led && node_incarnation(led) == record.open_incarnation &&
        !has(record.open_leader, record.open_incarnation, promised))
        broken("N2", "the open leader, which settles the record, has not what was acknowledged last");
    if (record.phase == RECORD_ELECTED && !has(record.leader, record.leader_incarnation, promised))
        broken("N2", "the elected has not what was acknowledged last");
}

/* ---- lists ---- */

/* How many of the list's names that the bits choose are members of the cohort, or of the one that it changes to. */
static int chosen_members(const struct sync_list *l, unsigned int bits)
{
    int count = 0;

    for (int i = 0; i < l->count; i++)
        count += (bits >> i & 1) && (cohort_has_name(&record.open, l->names[i]) ||
                                     (record.joining && cohort_has_name(&record.joint, l->names[i])));
    return count;
}

/* Every set that the list lets acknowledge is met by every set of nodes, other than the leader, that settles. */
static bool is_covered(const struct sync_list *l)
{
    if (!l)
        return !record.open.count || (record.joining && !record.joint.count);
    for (unsigned int bits = 0; bits < 1U << l->count; bits++) {
        if (__builtin_popcount(bits) != l->wanted)
            continue;
        if (chosen_members(l, bits) < counted())
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

/* What it came up with, acknowledged or not, is where the record's elections look before anything is built on it. */
static void check_quarantine(const struct pg *p)
{
    const struct rec *end = at_start[p->host->id];

    if (!end || holders(end) >= counted())
        return;
    broken("S5", "the fence is lifted, and what the server came up with is not on the cohort");
}

static void list_taken(struct pg *p, const struct pg_sender *s)
{
    if (!leads_by_record(p))
        return;
    check_sender(p, s);
    if (s->priority && !is_fence(s->conf.conf->names))
        check_quarantine(p);
}

static void opens(struct pg *p)
{
    at_start[p->host->id] = p->disk.written;
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
    /* pg_control tells where the shutdown checkpoint begins; no commit is in that. */
    bool shut_down = s->freeze == PEER_FREEZE_STOPPED && end->kind == REC_SHUTDOWN;
    if (s->freeze != PEER_FREEZE_FENCED && s->position < (shut_down ? end->start : end->end))
        broken("N3", "a frozen position is before the end of what is on the disk");
    if (last && wal_leads_to(last, end) && last->end > s->position)
        broken("N3", "a frozen position is before what was acknowledged from there");
    if (s->timeline && there && there->tli != s->timeline)
        broken("N3", "a frozen position is told to be of another timeline than it is");
}

static void check_promise(const struct node *n)
{
    if (node_promise(n) < promised_to[n->host->id])
        broken("S4", "a freeze was told for a term whose promise is not on the disk");
}

static void freeze_told(const struct node *n)
{
    const struct pg *p = &n->pg;
    struct peer_state s;

    if (!node_tells(n, &s) || s.freeze == PEER_FREEZE_NONE || is_settled(s.frozen_term))
        return;
    promised_to[p->host->id] = s.frozen_term;
    check_promise(n);
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

/* A late reply may still acknowledge what it had when it was frozen. */
static void check_not_open(const struct pg *p, const struct rec *commit)
{
    const struct claim *c = &claims[p->host->id];
    bool frozen = c->term == record.term && c->end;

    if (frozen ? !wal_leads_to(commit, c->end) : commit->tli == record.leader_timeline)
        broken("A2", "the elected acknowledges before it is open");
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
    if (record.phase == RECORD_ELECTED && str_eq(record.leader, p->host->name))
        check_not_open(p, commit);
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

/*
 * A timeline that left ours further on is where recovery is bound for, and what a promotion before that is told to come
 * from (truths.def: FOREIGN_HISTORY_CORRUPTS). One that left it before is passed over.
 */
static void check_histories(const struct pg *p, const struct rec *first)
{
    for (uint32_t tli = first->parent ? first->parent->tli + 1 : TLI_MAX; tli < first->tli; tli++) {
        const struct rec *other = p->disk.history[tli];
        if (other && other->parent && first->parent != other->parent && wal_leads_to(first->parent, other->parent))
            broken("N9", "a promotion finds the history of a timeline that it has not come to yet");
    }
}

/* One that nobody opens may have taken a number that another was to have (a promotion that came late). */
static void check_number(const struct node *leader)
{
    uint32_t tli = record.leader_timeline % TLI_MAX;
    struct rec *first = leader->pg.disk.history[tli];

    if (timelines[tli] && first && timelines[tli] != first)
        broken("N9", "two timelines were open under one number");
    if (first)
        timelines[tli] = first;
}

static void promoted(struct pg *p, struct rec *first)
{
    int h = p->host->id;

    if (!is_quorum())
        return;
    if (claims[h].term > elected_under[h])
        broken("A12", "a node leaves recovery that was frozen since it was elected, if it ever was");
    check_fork(p, first);
    check_histories(p, first);
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

bool watch_may_lose(const struct node *n)
{
    const struct node *leader = node_named(record.open_leader);

    if (!is_quorum())
        return true;
    return record.phase == RECORD_OPEN && !record.joining && leader && leader != n && node_serves(leader);
}

void watch_disk_lost(const struct node *n)
{
    CHECK(lost_count < LOST_MAX);
    lost[lost_count++] = node_incarnation(n);
    acknowledged[n->host->id] = NULL;
    promised_to[n->host->id] = 0;
}

/* ---- elections ---- */

/* Frozen under the record's term, and what was admitted under that name and number. */
static bool is_frozen(const char *name, uint64_t incarnation)
{
    const struct node *n = node_named(name);

    return n && claims[n->host->id].term == record.term && node_incarnation(n) == incarnation;
}

/* Of both cohorts together: what is frozen leaves too few to acknowledge, and has one of each that did. */
static bool is_settled_by_frozen(void)
{
    int members = (int)record.open.count;
    int frozen = 0;

    for (size_t i = 0; i < record.open.count; i++)
        frozen += is_frozen(record.open.at[i].name, record.open.at[i].incarnation);
    for (size_t i = 0; record.joining && i < record.joint.count; i++) {
        const struct record_member *m = &record.joint.at[i];
        if (cohort_has(&record.open, m->name, m->incarnation))
            continue;
        members++;
        frozen += is_frozen(m->name, m->incarnation);
    }
    return counted() && frozen > members - counted();
}

static void check_election(void)
{
    bool by_leader = record.open_leader && is_frozen(record.open_leader, record.open_incarnation);

    if (!by_leader && !is_settled_by_frozen())
        broken("N3", "somebody is elected, and those who froze under that term do not settle the cohort");
    if (!is_frozen(record.leader, record.leader_incarnation))
        broken("N3", "somebody is elected who has not frozen under that term");
}

/* What the elected had when it was that, or opened with, is on its new cohort: the marker showed it. */
static void check_opening(const struct node *leader)
{
    const struct claim *c = &claims[leader->host->id];
    const struct rec *begin = at_start[leader->host->id];
    const struct rec *frozen = c->term == record.term ? c->end : NULL;

    if ((begin && holders(begin) < counted()) || (frozen && holders(frozen) < counted()))
        broken("S5", "the elected is open, and its cohort has not what it came with");
}

/* ---- the record ---- */

static void record_changed(const struct record_key *r)
{
    bool opened = is_quorum() && record.phase == RECORD_ELECTED && r->phase == RECORD_OPEN;
    bool elects = is_quorum() && record.phase == RECORD_TERM && r->phase == RECORD_ELECTED && r->term == record.term;

    record_key_deinit(&record);
    record_key_copy(r, &record);
    ledger_quorum(is_quorum());
    if (!is_quorum())
        return;
    faults_see_record(&record);
    const struct node *leader = node_named(record.leader);
    if (record.phase != RECORD_TERM)
        settled = record.term;
    if (leader && record.phase != RECORD_TERM)
        elected_under[leader->host->id] = record.term;
    if (leader && record.phase == RECORD_OPEN)
        check_number(leader);
    if (elects)
        check_election();
    if (opened && leader)
        check_opening(leader);
    check_promises();
    for (int i = 0; i < node_count; i++) {
        check_lists(&nodes[i].pg);
        check_promise(&nodes[i]);
    }
}

static void point_reached(const char *name)
{
    if (str_eq(name, "freeze.shown") || str_eq(name, "freeze.stopped"))
        freeze_told(&nodes[world.current->host->id]);
}

void watch_init(void)
{
    store_sim_record_changed = record_changed;
    points_reached = point_reached;
    sync_list_taken = list_taken;
    walstream_replies = replies;
    recovery_promotes = promoted;
    pg_opens = opens;
    pg_touched = touched;
    ledger_acknowledges = acknowledges;
}
