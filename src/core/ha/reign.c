#include "core/ha/reign.h"

#include <string.h>

#include "base/check.h"
#include "base/mutant.h"
#include "base/str.h"
#include "core/ha/beside.h"
#include "core/ha/cohort.h"
#include "core/ha/facts.h"
#include "core/ha/failover.h"
#include "core/ha/handover.h"
#include "core/ha/lead.h"
#include "core/ha/ledger.h"
#include "core/ha/minor.h"
#include "core/ha/mode.h"
#include "core/ha/promise.h"
#include "core/ha/reach.h"
#include "core/ha/roster.h"
#include "core/ha/start.h"
#include "core/ha/suspect.h"

enum {
    LOOK_AGAIN_MS = 100,  /* a change that should come by an event is looked for then at the latest */
    LIST_AGAIN_MS = 1000, /* after a list that could not be proved */
    UNPROVED_MS = 10000,  /* a list that cannot be proved for so long: what is acknowledged is not known */
    STOP_NOW_MS = 1000,   /* for an immediate stop; what is left then is killed */
    HOLD_MS = 300,        /* after a crash, if somebody can take over: a suspicion, its term and the freezes */
};

/*
 * A change of the record whose answer never came may still be carried out later, over the same record: a handover
 * that this node has given up since, the end of a change of the cohort that it has taken back since. Before more is
 * acknowledged than is now, the record is written anew, so that nothing of before can succeed any more.
 */
static bool record_is_sure(const struct ha_view *v, struct ha_plan *p)
{
    const struct record_key *now = mode_record(v);

    if (v->store.sure_revision == now->mod_revision || MUTANT(RECORD_NOT_READ_BACK))
        return true;
    if (v->store.known && !v->store.reads_back && !plan_has(p, HA_DO_RECORD))
        (void)plan_record(p, now);
    plan_wake(p, v->now_ms + LOOK_AGAIN_MS);
    return false;
}

static void want_list(const struct ha_view *v, struct ha_plan *p, const char *list)
{
    const struct ha_names *n = &v->quorum.names;

    if (n->loading || (n->list && str_eq(n->list, list)))
        return;
    if (n->failed_ms && v->now_ms < n->failed_ms + LIST_AGAIN_MS) {
        plan_wake(p, n->failed_ms + LIST_AGAIN_MS);
        return;
    }
    if (!str_eq(list, ROSTER_FENCE) && !record_is_sure(v, p))
        return;
    plan_add(p, HA_DO_LOAD_NAMES)->term = mode_record(v)->term;
    str_copy(p->list, sizeof(p->list), list);
}

static void write_marker(const struct ha_view *v, struct ha_plan *p)
{
    if (!v->quorum.marker.at && !v->quorum.marker.writing && !v->quorum.names.loading && !plan_has(p, HA_DO_MARKER))
        plan_add(p, HA_DO_MARKER)->term = mode_record(v)->term;
}

static void want_marker(const struct ha_view *v, struct ha_plan *p)
{
    write_marker(v, p);
    plan_wake(p, v->now_ms + LOOK_AGAIN_MS);
}

/* Of what an election has to settle: only this node itself does, and it has all that is here. */
static bool nobody_counts(const struct record_key *now)
{
    return !now->open.count || (now->joining && !now->joint.count);
}

static bool is_fenced(const struct ha_view *v)
{
    return v->quorum.names.list && str_eq(v->quorum.names.list, ROSTER_FENCE);
}

/* ---- elected, not open ---- */

/* Standbys that are up and should be of the cohort, whether they follow yet or not. */
static size_t expected(const struct roster *r)
{
    size_t count = 0;

    for (size_t i = 0; i < r->count; i++)
        count += r->at[i].sync_priority > 0 && r->at[i].incarnation && !r->at[i].wants_out &&
                 !member_name_why_not_counted(r->at[i].name);
    return count;
}

/* Everybody who follows; as many of them must have the marker as will have to acknowledge. */
static bool cohort_is_ready(const struct ha_memory *m, const struct ha_view *v, const struct roster *r,
                            struct record_cohort *ret, struct ha_plan *p)
{
    size_t marked = 0, count = 0, wanted = v->conf.sync_node_count > 0 ? (size_t)v->conf.sync_node_count : 1;
    msec due_ms = m->cohort.elected_ms + v->conf.profile.join_ms;
    size_t up = expected(r);

    for (size_t i = 0; i < r->count; i++) {
        const struct follower *f = &r->at[i];
        bool follows = f->follows || MUTANT(OPEN_BEFORE_MARKER);
        if (!follows || !f->sync_priority || f->wants_out || member_name_why_not_counted(f->name))
            continue;
        if (v->conf.sync_mode == HA_SYNC_ON && (!f->marked || count == wanted))
            continue;
        record_cohort_add(ret, f->name, f->incarnation);
        count++;
        marked += f->marked || MUTANT(OPEN_BEFORE_MARKER);
    }
    size_t k = wanted < count ? wanted : count;
    bool late = v->now_ms >= due_ms || !up;
    if (!late)
        plan_wake(p, due_ms);
    if (marked < wanted && late)
        k = marked < k ? marked : k;
    ret->k = (int)k;
    bool enough = late || marked >= wanted || (marked == up && marked > 0);
    /* Alone; in strict mode the list stays the fence then, and who has to be rewound leaves the old cohort by this. */
    if (k == 0) {
        record_cohort_deinit(ret);
        *ret = (struct record_cohort){0};
    }
    return enough && marked >= k;
}

static void open_decide(struct ha_memory *m, const struct ha_view *v, const struct roster *r, struct ha_plan *p)
{
    const struct record_key *now = mode_record(v);
    AUTO(record_cohort) struct record_cohort cohort = {0};

    if (!m->cohort.elected_ms || m->cohort.elected_term != now->term) {
        m->cohort.elected_ms = v->now_ms;
        m->cohort.elected_term = now->term;
        memset(m->cohort.missing, 0, sizeof(m->cohort.missing)); /* under an earlier reign */
    }
    (void)plan_why(p, "elected under term %llu; not open before the new cohort has the marker",
                   (unsigned long long)now->term);
    want_list(v, p, MUTANT(LIST_BEFORE_OPEN) ? "" : ROSTER_FENCE);
    if (!is_fenced(v) && !MUTANT(LIST_BEFORE_OPEN))
        return;
    want_marker(v, p);
    lead_checkpoint(m, v, p); /* whom it waits for may have to rewind against this node first */
    if (!v->quorum.marker.at || !cohort_is_ready(m, v, r, &cohort, p) || v->store.reads_back || !v->store.known ||
        !v->lease.exists)
        return;

    struct ha_record_change *change = plan_record(p, now);
    ledger_open(&change->next, &cohort);
    change->take_leader_key = true;
    (void)plan_why(p, "opening under term %llu with %zu of the cohort", (unsigned long long)now->term, cohort.count);
}

/* ---- open ---- */

/* What the list may be, by the record, and what it should be. */
static const struct record_cohort *cohort_in_force(const struct ha_memory *m, const struct record_key *r)
{
    return r->joining && !m->cohort.undo ? &r->joint : &r->open;
}

/* The fence is lifted only when all that is here, acknowledged or not, is where the record's elections would look. */
static bool may_lift_fence(const struct ha_view *v, const struct roster *r, const char *list, struct ha_plan *p)
{
    const struct record_key *now = mode_record(v);
    bool open_ok = roster_marked(r, &now->open) >= (size_t)now->open.k;
    bool joint_ok = !now->joining || roster_marked(r, &now->joint) >= (size_t)now->joint.k;
    term beyond;

    if (MUTANT(QUARANTINE_SKIPPED))
        return true;
    if (promise_beyond(v, now->term, &beyond)) /* another may have been elected since */
        return false;
    if (!list[0] && nobody_counts(now))
        return true;
    want_marker(v, p);
    return v->quorum.marker.at && ((open_ok && joint_ok) || nobody_counts(now));
}

/*
 * From a list of nobody to one of somebody: commits go by the new list unasked until PostgreSQL's checkpointer has read
 * it, and only the fence shows that it has. Not before that is shown may an election be settled by anybody but us.
 */
static bool must_be_held_first(const struct ha_view *v, const char *list)
{
    const struct record_key *now = mode_record(v);

    return now->joining && nobody_counts(now) && list[0] && v->quorum.names.may_pass;
}

/*
 * Could a list that is not in force any more have counted it? Where nobody is counted on one side of the change, that
 * one may have taken the place of another change, whose members the record has forgotten: then any member's.
 */
static bool may_be_counted(const struct ha_view *v, const struct ha_sender *s)
{
    const struct record_key *now = mode_record(v);
    bool in = cohort_has_name(&now->open, s->name) || cohort_has_name(&now->joint, s->name);
    bool forgotten = !now->open.count || !now->joint.count;

    return s->streaming && (in || (forgotten && s->physical && roster_is_member(v, s->name)));
}

/* No walsender that could have been asked by the old list is left without having handled a reply since. */
static bool old_list_is_gone(const struct ha_view *v, struct ha_plan *p)
{
    bool gone = true;

    for (size_t i = 0; i < v->quorum.sender_count && !MUTANT(OLD_LIST_LEFT); i++) {
        const struct ha_sender *s = &v->quorum.senders[i];
        if (!may_be_counted(v, s) || s->after_list || s->flushed >= v->quorum.marker.at)
            continue;
        gone = false;
        if (v->now_ms < v->quorum.names.since_ms + v->conf.profile.lost_ms) {
            plan_wake(p, v->quorum.names.since_ms + v->conf.profile.lost_ms);
            continue;
        }
        struct ha_action *end = plan_add(p, HA_DO_END_SENDER);
        end->pid = s->pid;
        str_copy(end->subject, sizeof(end->subject), s->name);
        return false;
    }
    return gone;
}

static bool can_acknowledge(const struct roster *r, const struct record_cohort *c)
{
    return !c->count || roster_following(r, c) >= (size_t)c->k;
}

/* A change is under way: to its end, or back. */
static void settle_decide(struct ha_memory *m, const struct ha_view *v, const struct roster *r, struct ha_plan *p)
{
    const struct record_key *now = mode_record(v);
    const struct record_cohort *to = cohort_in_force(m, now);
    const struct record_cohort *other = m->cohort.undo ? &now->joint : &now->open;

    (void)plan_why(p, "the leader; its cohort changes");
    if (can_acknowledge(r, to)) {
        m->cohort.blocked_ms = 0;
    } else {
        if (!m->cohort.blocked_ms)
            m->cohort.blocked_ms = v->now_ms;
        msec due_ms = m->cohort.blocked_ms + v->conf.profile.lost_ms;
        if (v->now_ms < due_ms)
            plan_wake(p, due_ms);
        if (v->now_ms >= due_ms && can_acknowledge(r, other)) {
            m->cohort.undo = !m->cohort.undo;
            m->cohort.blocked_ms = 0;
            plan_wake(p, v->now_ms);
            return;
        }
    }
    want_marker(v, p);
    if (!v->quorum.marker.at || !old_list_is_gone(v, p))
        return;
    size_t gone = MUTANT(OR_IS_GONE) ? to->count - roster_following(r, to) : 0;
    if (to->count && (roster_marked(r, to) + gone < (size_t)to->k || (nobody_counts(now) && v->quorum.names.may_pass)))
        return;
    ledger_settle(&plan_record(p, now)->next, to == &now->joint);
}

static void join(const struct ha_view *v, const struct record_cohort *to, struct ha_plan *p)
{
    const struct record_key *now = mode_record(v);

    ledger_join(&plan_record(p, now)->next, to);
    (void)plan_why(p, "the leader; changing its cohort from %zu to %zu members", now->open.count, to->count);
}

static void cohort_decide(struct ha_memory *m, const struct ha_view *v, const struct roster *r, struct ha_plan *p)
{
    const struct record_key *now = mode_record(v);
    AUTO(record_cohort) struct record_cohort target = {0};
    bool another = roster_target(m, v, r, &target, p);
    bool leaving = false;

    for (size_t i = 0; i < r->count; i++)
        leaving |= r->at[i].wants_out && cohort_has(&now->open, r->at[i].name, r->at[i].incarnation);
    if (!target.count && v->conf.sync_strict && !leaving)
        another = false; /* strict: rather no commit than one on this node alone; who comes back is still a member */
    /* Alone at last: whatever the cohort was changing to, nobody but this node settles it from then on. */
    bool alone = now->joining && !target.count && now->joint.count && !can_acknowledge(r, &now->open) &&
                 !can_acknowledge(r, &now->joint);
    if (another && (!now->joining || alone)) {
        m->cohort.undo = false;
        join(v, &target, p);
    } else if (now->joining) {
        settle_decide(m, v, r, p);
    }
}

/* Before quorum mode is left nobody's acknowledgement counts. */
static bool leave_decide(const struct ha_view *v, struct ha_plan *p)
{
    const struct record_key *now = mode_record(v);

    if (v->conf.sync_mode != HA_SYNC_OFF)
        return false;
    if (now->joining)
        return false;
    if (now->open.count) {
        struct record_cohort nobody = {0};
        join(v, &nobody, p);
        return true;
    }
    if (!v->lease.owner)
        return false;
    ledger_leave(&plan_record(p, now)->next);
    return plan_why(p, "the leader; leaving quorum mode");
}

static void retake_key(const struct ha_view *v, struct ha_plan *p)
{
    const struct record_key *now = mode_record(v);

    if (v->lease.owner || !v->lease.exists || v->store.cluster->leader)
        return;
    plan_record(p, now)->take_leader_key = true;
}

/* Nothing says what is acknowledged here: not for long. */
static bool unproved_for_long(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    if (v->quorum.names.list || !mode_record(v)->open.count) {
        m->cohort.unproved_ms = 0;
        return false;
    }
    if (!m->cohort.unproved_ms)
        m->cohort.unproved_ms = v->now_ms;
    plan_wake(p, m->cohort.unproved_ms + UNPROVED_MS);
    return v->now_ms >= m->cohort.unproved_ms + UNPROVED_MS;
}

/*
 * Also while another list is loaded: the one before is known until then. And in the moment under the fence between a
 * list of nobody and one of somebody, in which commits wait.
 */
static bool is_open(const struct ha_view *v)
{
    if (!mode_may_serve(v) || !v->quorum.names.list)
        return false;
    return !is_fenced(v) || (!v->conf.sync_strict && mode_record(v)->joining && nobody_counts(mode_record(v)));
}

static void open_goes_on(struct ha_memory *m, const struct ha_view *v, const struct roster *r, struct ha_plan *p)
{
    const struct record_key *now = mode_record(v);
    char list[HA_LIST_MAX];

    (void)roster_list(cohort_in_force(m, now), v->conf.sync_strict, list, sizeof(list));
    if (MUTANT(TWO_KEYS) && !v->conf.sync_strict && !can_acknowledge(r, &now->open)) /* its other key says so */
        list[0] = '\0';
    bool proved = v->quorum.names.list && str_eq(v->quorum.names.list, list);
    bool alone = !now->open.count && !now->joining;
    if (!is_fenced(v) && ((!v->quorum.names.list && !alone) || must_be_held_first(v, list)))
        want_list(v, p, ROSTER_FENCE); /* whatever it is: it is not what it should be */
    else if (proved || !is_fenced(v) || may_lift_fence(v, r, list, p))
        want_list(v, p, list);
    /* A list releases who waits with the next reply of a standby only; something written brings that. */
    if (proved && !is_fenced(v) && now->open.count)
        write_marker(v, p);
    (void)plan_why(p, is_fenced(v)           ? "the leader; nothing is acknowledged before the cohort has what is here"
                      : v->quorum.names.list ? "the leader, open"
                                             : "the leader; which list of names is in force is not proved");
    p->serving = is_open(v);
    if (now->open.count)
        plan_wake(p, reach_look_again(v));
    if (lead_chores(m, v, p) || v->store.reads_back || plan_has(p, HA_DO_START_JOB))
        return;
    if (!plan_has(p, HA_DO_RECORD))
        retake_key(v, p);
    /*
     * Under the fence, too: nothing is acknowledged then, and who has the marker has everything. Else a cohort whose
     * members are gone for good would keep it for ever. Not while a list is on its way, though: it is one of the cohort
     * as it is now, and would be in force when the record says another.
     */
    bool on_its_way = v->quorum.names.loading || plan_has(p, HA_DO_LOAD_NAMES);
    if (!on_its_way && (proved || is_fenced(v)) && !plan_has(p, HA_DO_RECORD) && !leave_decide(v, p) &&
        !beside_begins(v, p))
        cohort_decide(m, v, r, p);
}

static void reign_primary(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    const struct record_key *now = mode_record(v);
    struct roster r;

    if (v->pg.timeline && v->pg.timeline != now->leader_timeline) {
        (void)plan_stop(p, HA_STOP_IMMEDIATE, STOP_NOW_MS);
        (void)plan_why(p, "runs on timeline %u, was elected for %u: stopping it", v->pg.timeline, now->leader_timeline);
        return;
    }
    if (unproved_for_long(m, v, p)) {
        (void)plan_stop(p, HA_STOP_IMMEDIATE, STOP_NOW_MS);
        (void)plan_why(p, "what PostgreSQL acknowledges cannot be proved: stopping it");
        return;
    }
    p->leading = true;
    roster_read(v, &r);
    roster_audit(v, p);
    if (now->phase == RECORD_ELECTED)
        open_decide(m, v, &r, p);
    else
        open_goes_on(m, v, &r, p);
}

static void reign_promote(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    const struct record_key *now = mode_record(v);

    if (m->promotion.doubt && m->promotion.failures) {
        (void)plan_stop(p, HA_STOP_IMMEDIATE, STOP_NOW_MS);
        (void)plan_why(p, "the promotion did not end well: stopping PostgreSQL before anything else");
        return;
    }
    if (now->leader_timeline <= v->pg.timeline) {
        (void)plan_why(p, "leads on timeline %u, and runs as a standby: another term has to be taken",
                       now->leader_timeline);
        return;
    }
    want_list(v, p, ROSTER_FENCE); /* who connects before it is open is not acknowledged */
    (void)plan_why(p, "elected under term %llu; the write fence is not proved yet", (unsigned long long)now->term);
    if (!is_fenced(v))
        return;
    if (v->conf.pre_promote && m->promotion.pre_term != now->term) {
        (void)plan_job(p, HA_JOB_PRE_PROMOTE, NULL);
        (void)plan_why(p, "running pre_promote before the promotion");
        return;
    }
    if (v->conf.pre_promote && !m->promotion.pre_ok) {
        (void)plan_why(p, "pre_promote failed: waiting for another term");
        return;
    }
    struct ha_action *promote = plan_job(p, HA_JOB_PROMOTE, NULL);
    promote->term = now->term;
    promote->timeline = now->leader_timeline;
    (void)plan_why(p, "promoting under term %llu", (unsigned long long)now->term);
}

/*
 * A version that may miss the list of names right after a start as a primary would acknowledge what is nowhere else. So
 * it comes up as any other that is frozen, as a standby, under a term of its own, and is elected anew.
 */
static void start_in_place(const struct ha_view *v, struct ha_plan *p, const char *why)
{
    bool as_primary = pg_was_primary(v) && !v->pg.standby_signal;

    if (!as_primary || minor_keeps_names(v->pg.server_version)) {
        lead_start(p, v, why);
        return;
    }
    (void)failover_call_anew(v, p);
    plan_wake(p, v->now_ms + LOOK_AGAIN_MS);
    (void)plan_why(p, "%s; under a new term, as a standby: this version may miss the list of names right after a start",
                   why);
}

/* No postmaster runs. Whoever can take over does that faster than a crash recovery: it gets its moment. */
static void reign_stopped(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    msec due_ms = m->lead.crashed_ms + HOLD_MS;

    if (v->pg.data != HA_DATA_VALID) {
        (void)plan_why(p, "elected, and the data directory is gone or unusable: another has to be elected");
        return;
    }
    if (m->restart.under_way) {
        start_in_place(v, p, "restarting as the operator asked");
        return;
    }
    if (handover_finish(v, p))
        return;
    if (v->conf.pause) {
        (void)plan_why(p, "paused and PostgreSQL is not running");
        return;
    }
    if (v->now_ms < due_ms && failover_is_possible(v, v->conf.name)) {
        plan_wake(p, due_ms);
        (void)plan_why(p, "PostgreSQL is down; another may take over");
        return;
    }
    if (!start_waits(m, v, p))
        start_in_place(v, p, "PostgreSQL is down: starting it in place, under the write fence");
}

void reign_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    CHECK(mode_may_lead(v));

    switch (v->pg.process) {
    case HA_PROC_UNKNOWN:
        (void)plan_why(p, "waiting to learn what runs here");
        plan_wake(p, v->now_ms + LIST_AGAIN_MS);
        return;
    case HA_PROC_ORPHANS:
        (void)plan_add(p, HA_DO_KILL_ORPHANS);
        (void)plan_why(p, "the postmaster died; ending the processes it left");
        return;
    case HA_PROC_NONE:
        reign_stopped(m, v, p);
        return;
    case HA_PROC_RUNNING:
        break;
    }
    if (!v->pg.answered || !v->pg.accepting) {
        /* A primary that answered before and is slow now is still the primary. */
        p->serving = is_open(v) && !m->lead.crashed_ms && !v->pg.standby_signal;
        plan_wake(p, v->now_ms + LIST_AGAIN_MS);
        (void)plan_why(p, "waiting for PostgreSQL to accept connections");
    } else if (v->pg.in_recovery) {
        reign_promote(m, v, p);
    } else {
        reign_primary(m, v, p);
    }
}

void reign_enter(const struct ha_view *v, struct ha_plan *p)
{
    const struct record_key *now = &v->store.cluster->record;

    if (v->conf.sync_mode == HA_SYNC_OFF || !v->quorum.promise.known || !v->quorum.incarnation || v->store.reads_back ||
        plan_has(p, HA_DO_START_JOB))
        return;
    if (!now->present || now->mode != RECORD_ASYNC || !str_eq(now->leader, v->conf.name) ||
        now->term != v->lease.term || !v->pg.timeline || !v->store.cluster->initialize)
        return;
    char unkept[UNKEPT_MAX];
    if (node_is_unfit(v, unkept)) {
        (void)plan_why(p, "the leader with the lock; synchronous_mode does not begin: %s", unkept);
        return;
    }
    term beyond;
    const char *who = promise_beyond(v, now->term, &beyond);
    if (who) {
        (void)plan_why(
            p,
            "the leader with the lock; synchronous_mode does not begin: %s has promised term %llu, the record "
            "is of term %llu",
            who, (unsigned long long)beyond, (unsigned long long)now->term);
        return;
    }
    /* Who is not heard now learns of it from the record, without which nobody can take the leader key. */
    if (!v->mesh)
        return;
    ledger_enter(&plan_record(p, now)->next, v->quorum.incarnation, v->pg.timeline);
    (void)plan_why(p, "the leader with the lock; quorum mode begins");
}
