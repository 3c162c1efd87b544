#include "core/ha/rejoin.h"

#include "base/check.h"
#include "base/mutant.h"
#include "base/str.h"
#include "core/ha/beside.h"
#include "core/ha/bootstrap.h"
#include "core/ha/cohort.h"
#include "core/ha/election.h"
#include "core/ha/facts.h"
#include "core/ha/mode.h"
#include "core/ha/restart.h"
#include "core/ha/round.h"
#include "core/ha/start.h"

enum {
    LOOK_AGAIN_MS = 1000, /* a change that should come by an event is looked for then at the latest */
    OPEN_MS = 2000,
    DEMOTE_BUDGET_MS = 2000, /* somebody else owns the key: a soft stop gets that long before everything is killed */
    /*
     * A standby that does not stream although the leader runs is compared with it after that: longer than a
     * leader's restart.
     */
    SILENT_MS = 10000,
    REWIND_TRIES_MAX = 5, /* with their back-offs half a minute */
    STOP_MS = 60000,      /* a planned stop that takes longer is ended by force */
};

/* The member to replicate from: replicatefrom if that one can serve, else the leader; NULL: none. */
static const char *upstream_for(const struct ha_view *v)
{
    const struct cluster *c = v->store.cluster;
    const char *wanted = v->conf.tags.replicatefrom;

    if (!c)
        return NULL;
    if (!str_empty(wanted) && !str_eq(wanted, v->conf.name) && !str_eq(wanted, leader_name(v))) {
        const struct member *from = cluster_member(c, wanted);
        /* Two that name each other would form a ring without a source. */
        if (from && from->conn_url && str_eq(from->state, "running") && !str_eq(from->tags.replicatefrom, v->conf.name))
            return from->name;
    }
    const struct member *leader = leader_member(v);
    return leader && leader->conn_url && !str_eq(leader->name, v->conf.name) ? leader->name : NULL;
}

/* The running replica that clones are taken from, if one is tagged so; else the leader. */
static const char *clone_source(const struct ha_memory *m, const struct ha_view *v)
{
    const struct cluster *c = v->store.cluster;

    if (!m->reinit.from_leader)
        for (size_t i = 0; i < c->member_count; i++) {
            const struct member *from = &c->members[i];
            if (from->tags.clonefrom && !str_eq(from->name, v->conf.name) && !str_eq(from->name, leader_name(v)) &&
                str_eq(from->state, "running") && from->conn_url)
                return from->name;
        }
    const struct member *leader = leader_member(v);
    return leader && leader->conn_url ? leader->name : NULL;
}

static void start_standby(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p, const char *upstream)
{
    if (start_waits(m, v, p))
        return;
    plan_job(p, HA_JOB_START, upstream)->start = HA_START_STANDBY;
    if (upstream)
        (void)plan_why(p, "starting as a standby of %s", upstream);
    else
        (void)plan_why(p, "starting as a standby; there is nobody to follow yet");
}

/* Have the leader's word, not older than a few seconds, that it runs as primary. */
static bool have_proof(const struct ha_view *v, struct ha_plan *p)
{
    if (leader_is_proved(v))
        return true;

    round_again(v, p, 0);
    (void)plan_why(p, "waiting until %s answers as a running primary", leader_name(v));
    return false;
}

static void clone_decide(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    if (backoff_waits(&m->rejoin.clone, v, p)) {
        (void)plan_why(p, "the last clone failed; the next attempt follows a back-off");
        return;
    }
    /* A source that just failed may be the reason: the leader itself is the second choice. */
    const char *source = m->rejoin.clone.failures % 2 ? leader_name(v) : clone_source(m, v);
    if (!source || !cluster_member(v->store.cluster, source)) {
        (void)plan_why(p, "waiting for a member to clone from");
        return;
    }
    if (!have_proof(v, p))
        return;
    (void)plan_job(p, HA_JOB_CLONE, source);
    (void)plan_why(p, "cloning from %s", source);
}

/* Of quorum mode: the leader's timeline was open under a later term than ours, so it has all that was acknowledged. */
static bool is_of_an_earlier_term(const struct ha_view *v, const struct ha_peer *leader)
{
    const struct record_key *r = mode_record(v);
    term ours, theirs;

    return r && r->phase == RECORD_OPEN && str_eq(r->leader, leader->name) &&
           election_term_of(r, v->pg.control_timeline, &ours) && election_term_of(r, leader->timeline, &theirs) &&
           ours < theirs;
}

/*
 * The directory of the higher timeline, or of more WAL on the same one, may be the only good one: the leader
 * itself may be the one that came back from the past. That is for an operator to judge.
 */
static bool holds_more(const struct ha_view *v, const struct ha_peer *leader, struct ha_plan *p)
{
    if (!leader || !leader->timeline)
        return false;
    bool later = v->pg.control_timeline > leader->timeline;
    bool further = v->pg.control_timeline == leader->timeline && v->pg.control_position > leader->position;
    if ((!later && !further) || is_of_an_earlier_term(v, leader))
        return false;
    return plan_why(p,
                    "this data directory holds more than %s does (timeline %u against %u): left alone for an operator",
                    leader->name, v->pg.control_timeline, leader->timeline);
}

/*
 * Elections count on what this directory holds as long as it is in the record's cohort: it leaves that before it is
 * touched. The leader hears of it from our state.
 */
static bool is_counted_on(const struct ha_view *v, struct ha_plan *p)
{
    const struct cluster *c = v->store.cluster;
    const struct record_key *r = &c->record;
    bool counted;

    if (MUTANT(TOUCHED_IN_COHORT))
        return false;
    if (mode_is_quorum(v) && v->quorum.incarnation)
        counted = cohort_has(&r->open, v->conf.name, v->quorum.incarnation) ||
                  (r->joining && cohort_has(&r->joint, v->conf.name, v->quorum.incarnation));
    else if (beside_patroni(v) && str_eq(r->leader, leader_name(v))) /* a leader of ours, which hears of it */
        counted = cohort_has_name(&r->open, v->conf.name) || (r->joining && cohort_has_name(&r->joint, v->conf.name));
    else
        return false;
    p->wants_out = true;
    if (!counted)
        return false;
    plan_wake(p, v->now_ms + ROUND_AGAIN_MS);
    return plan_why(p, "waiting to be taken out of the cohort before this data directory is touched");
}

/* Give the data directory up: moved aside, or removed where configuration says so. */
static void discard_decide(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p, bool remove,
                           const char *why)
{
    const struct ha_peer *leader = peer_answer(v, leader_name(v));
    if (backoff_waits(&m->rejoin.discard, v, p)) {
        (void)plan_why(p, "%s; the next attempt follows a back-off", why);
        return;
    }
    /* Who asks for a new copy has judged that, and this one is kept. */
    if (is_counted_on(v, p) || !(MUTANT(DISCARD_UNPROVED) || have_proof(v, p)) ||
        (!m->reinit.under_way && holds_more(v, leader, p)))
        return;
    plan_job(p, HA_JOB_DISCARD, leader_name(v))->remove = remove;
    (void)plan_why(p, "%s: giving this data directory up", why);
}

static void rewind_decide(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    const struct member *leader = leader_member(v);

    if (!v->conf.use_pg_rewind) {
        if (v->conf.remove_on_diverged_timelines) {
            discard_decide(m, v, p, true, "timelines diverged and pg_rewind is off");
            return;
        }
        (void)plan_why(p, "timelines diverged; use_pg_rewind and remove_data_directory_on_diverged_timelines are "
                          "off: an operator must reinitialize this node");
        return;
    }
    /* One that never began may be a leader that is just restarting; one that never begins is a failure, too. */
    bool failed = m->rejoin.rewind_failures || m->rejoin.backoff.failures >= REWIND_TRIES_MAX;
    if (failed && v->conf.remove_on_rewind_failure) {
        discard_decide(m, v, p, true, "pg_rewind failed");
        return;
    }
    if (backoff_waits(&m->rejoin.backoff, v, p)) {
        (void)plan_why(p, "pg_rewind failed; the next attempt follows a back-off");
        return;
    }
    if (leader && leader->checkpoint_after_promote_pending) {
        plan_wake(p, v->now_ms + LOOK_AGAIN_MS);
        (void)plan_why(p, "waiting for the checkpoint of %s before pg_rewind", leader->name);
        return;
    }
    if (is_counted_on(v, p) || !have_proof(v, p) || holds_more(v, peer_answer(v, leader_name(v)), p))
        return;
    (void)plan_job(p, HA_JOB_REWIND, leader_name(v));
    (void)plan_why(p, "timelines diverged: rewinding against %s", leader_name(v));
}

/* Stopped, with a data directory of the cluster: may it follow as it is? */
static void come_back(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    bool judged = m->rejoin.verdict != HA_REJOIN_UNKNOWN && str_eq(m->rejoin.leader, leader_name(v));

    /* Its first start failed (a port that was taken). It is a copy of the history, without an end of its own yet. */
    if (!judged && v->pg.backup_label) {
        start_standby(m, v, p, upstream_for(v));
        return;
    }
    if (!judged) {
        /*
         * A standby whose leader is silent may start: it can be read and elected, and it follows nobody it
         * should not.
         */
        if (!pg_was_primary(v) && v->now_ms < m->rejoin.backoff.not_before_ms) {
            start_standby(m, v, p, upstream_for(v));
            return;
        }
        if (backoff_waits(&m->rejoin.backoff, v, p)) {
            (void)plan_why(p, "could not compare histories with %s; trying again after a back-off", leader_name(v));
            return;
        }
        if (!have_proof(v, p))
            return;
        (void)plan_job(p, HA_JOB_CHECK_REJOIN, leader_name(v));
        (void)plan_why(p, "comparing histories with %s", leader_name(v));
        return;
    }

    switch (m->rejoin.verdict) {
    case HA_REJOIN_UNKNOWN:
        UNREACHABLE();
    case HA_REJOIN_FOLLOW:
        start_standby(m, v, p, upstream_for(v));
        break;
    case HA_REJOIN_REWIND:
        rewind_decide(m, v, p);
        break;
    case HA_REJOIN_CLONE:
        if (v->conf.remove_on_diverged_timelines || v->conf.remove_on_rewind_failure)
            discard_decide(m, v, p, true, "diverged from the leader, and pg_rewind cannot help");
        else
            (void)plan_why(p, "diverged from %s, and pg_rewind cannot help: an operator must reinitialize this node",
                           leader_name(v));
        break;
    }
}

/* The request is taken; from here on memory carries it. */
static void reinit_begin(struct ha_memory *m, bool from_leader, struct ha_plan *p)
{
    struct ha_action *answer = plan_add(p, HA_DO_ANSWER);

    answer->answer_to = HA_ANSWER_REINIT;
    answer->ok = true;
    m->reinit.under_way = true;
    m->reinit.from_leader = from_leader;
}

static bool operator_asks(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    if (v->request.reinit) {
        reinit_begin(m, v->request.reinit_from_leader, p);
        (void)plan_stop(p, HA_STOP_IMMEDIATE, DEMOTE_BUDGET_MS);
        return plan_why(p, "reinitializing as the operator asked");
    }
    return restart_decide(m, v, p);
}

/*
 * The new leader has the key and is being promoted. Who connects now gets the rest of the old timeline, is
 * thrown out, and comes again, at the expense of the clients that wait.
 */
static bool opens_soon(const struct ha_memory *m, const struct ha_view *v, const char *upstream)
{
    const struct member *leader = leader_member(v);

    return !mode_is_quorum(v) && leader && str_eq(leader->name, upstream) && !str_eq(v->pg.upstream, upstream) &&
           !str_eq(leader->role, "primary") && v->now_ms < m->leader.new_ms + OPEN_MS;
}

/*
 * A walreceiver calls itself streaming before it has asked for anything, and one whose timeline the upstream does not
 * know comes again and again: what counts is that it is on the leader's timeline, or on the way there.
 */
static bool streams(struct ha_memory *m, const struct ha_view *v)
{
    const struct member *leader = leader_member(v);
    bool there = !leader || !leader->timeline || !v->pg.timeline || v->pg.timeline == leader->timeline;
    bool moves = v->pg.position > m->rejoin.position;

    m->rejoin.position = v->pg.position;
    return v->pg.streaming && (there || moves);
}

/* Running in recovery and answering: right upstream, really streaming? */
static void stay_attached(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    const char *upstream = upstream_for(v);

    (void)plan_why(p, "a standby, following %s", upstream ? upstream : "nobody");
    if (operator_asks(m, v, p))
        return;
    /* A leader without an address (its member key is about to come) is no reason to let go of the old one. */
    if (upstream && opens_soon(m, v, upstream)) {
        plan_wake(p, m->leader.new_ms + OPEN_MS);
        (void)plan_why(p, "a standby; %s is about to open", upstream);
        return;
    }
    if (upstream && (!str_eq(v->pg.upstream, upstream) || v->pg.upstream_conninfo_state)) {
        struct ha_action *follow = plan_add(p, HA_DO_FOLLOW);
        str_copy(follow->subject, sizeof(follow->subject), upstream);
        m->rejoin.silent_ms = 0;
        return;
    }
    if (streams(m, v) || !upstream || v->conf.tags.nostream || v->conf.pause) {
        m->rejoin.silent_ms = 0;
        return;
    }
    if (!m->rejoin.silent_ms)
        m->rejoin.silent_ms = v->now_ms;
    if (v->now_ms - m->rejoin.silent_ms < SILENT_MS) {
        plan_wake(p, m->rejoin.silent_ms + SILENT_MS);
        return;
    }
    bool judged = m->rejoin.verdict != HA_REJOIN_UNKNOWN && str_eq(m->rejoin.leader, leader_name(v));
    if (!judged && v->now_ms >= m->rejoin.backoff.not_before_ms && have_proof(v, p)) {
        (void)plan_job(p, HA_JOB_CHECK_REJOIN, leader_name(v));
        (void)plan_why(p, "does not stream from %s; comparing histories", upstream);
    } else if (judged && m->rejoin.verdict == HA_REJOIN_REWIND && v->conf.use_pg_rewind) {
        (void)plan_stop(p, HA_STOP_FAST, STOP_MS);
        (void)plan_why(p, "diverged from %s; stopping for pg_rewind", upstream);
    } else if (judged && m->rejoin.verdict == HA_REJOIN_CLONE) {
        bool replace = v->conf.remove_on_diverged_timelines || v->conf.remove_on_rewind_failure;
        if (replace)
            (void)plan_stop(p, HA_STOP_FAST, STOP_MS);
        (void)plan_why(p, "diverged from %s, and pg_rewind cannot help: %s", upstream,
                       replace ? "stopping for a clone" : "an operator must reinitialize this node");
    } else if (judged && m->rejoin.verdict == HA_REJOIN_FOLLOW) {
        m->rejoin.verdict = HA_REJOIN_UNKNOWN; /* look again after the next silence: the leader may have moved on */
        m->rejoin.silent_ms = 0;
        (void)plan_why(p, "does not stream from %s although its history fits (see PostgreSQL's log)", upstream);
    }
}

/* A standby takes none before it is consistent. What it lacks until then may be had from the leader of now only. */
static void wait_for_connections(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    const char *upstream = upstream_for(v);

    plan_wake(p, v->now_ms + LOOK_AGAIN_MS);
    (void)plan_why(p, "waiting for PostgreSQL to accept connections");
    if (operator_asks(m, v, p) || !upstream || str_eq(v->pg.upstream, upstream) || opens_soon(m, v, upstream))
        return;
    str_copy(plan_add(p, HA_DO_FOLLOW)->subject, HA_NAME_MAX, upstream);
    (void)plan_why(p, "waiting for PostgreSQL to accept connections; from now on it follows %s", upstream);
}

static void rejoin_running(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    if (pg_may_be_primary(v) || m->promotion.doubt) {
        if (v->conf.pause) {
            (void)plan_why(p, "paused: runs as primary although %s owns the leader key", leader_name(v));
            return;
        }
        (void)plan_stop(p, HA_STOP_FAST, DEMOTE_BUDGET_MS);
        (void)plan_why(p, "%s owns the leader key: demoting", leader_name(v));
        return;
    }
    if (!v->pg.answered || !v->pg.accepting)
        wait_for_connections(m, v, p);
    else
        stay_attached(m, v, p);
}

static void rejoin_stopped(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    if (m->reinit.under_way && (v->pg.data == HA_DATA_VALID || v->pg.data == HA_DATA_REWINDING)) {
        discard_decide(m, v, p, false, "reinitialize");
        return;
    }
    if (v->request.reinit) {
        reinit_begin(m, v->request.reinit_from_leader, p);
        plan_wake(p, v->now_ms);
        (void)plan_why(p, "reinitializing as the operator asked");
        return;
    }
    if (v->conf.pause && !m->reinit.under_way && !m->restart.under_way && !v->request.restart) {
        (void)plan_why(p, "paused and PostgreSQL is not running");
        return;
    }

    switch (v->pg.data) {
    case HA_DATA_UNKNOWN:
        (void)plan_why(p, "waiting to learn what the data directory holds");
        break;
    case HA_DATA_FOREIGN:
        (void)plan_why(p, "the data directory holds files that are no database: left alone");
        break;
    case HA_DATA_BOOTSTRAPPING:
        bootstrap_discard(m, v, p);
        break;
    case HA_DATA_EMPTY:
    case HA_DATA_CLONING:
        clone_decide(m, v, p);
        break;
    case HA_DATA_REWINDING:
        rewind_decide(m, v, p);
        break;
    case HA_DATA_VALID:
        come_back(m, v, p);
        break;
    }
}

void rejoin_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    CHECK(leader_is_other(v) && !leads(v));

    switch (v->pg.process) {
    case HA_PROC_UNKNOWN:
        (void)plan_why(p, "waiting to learn what runs here");
        break;
    case HA_PROC_ORPHANS:
        (void)plan_add(p, HA_DO_KILL_ORPHANS);
        (void)plan_why(p, "the postmaster died; ending the processes it left");
        break;
    case HA_PROC_NONE:
        rejoin_stopped(m, v, p);
        break;
    case HA_PROC_RUNNING:
        rejoin_running(m, v, p);
        break;
    }
}

/* A method that needs no leader (a restore from a backup) may fill an empty directory of a known cluster. */
static bool clone_alone(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    bool empty = v->pg.data == HA_DATA_EMPTY || v->pg.data == HA_DATA_CLONING;

    if (!empty || !v->conf.clone_without_leader || v->conf.pause || !v->store.cluster ||
        str_empty(v->store.cluster->initialize))
        return false;
    if (backoff_waits(&m->rejoin.clone, v, p))
        return plan_why(p, "the last clone failed; the next attempt follows a back-off");
    (void)plan_job(p, HA_JOB_CLONE, NULL);
    return plan_why(p, "no leader; creating this replica by a method that needs none");
}

void rejoin_stay_up(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    if (v->pg.process == HA_PROC_ORPHANS) {
        (void)plan_add(p, HA_DO_KILL_ORPHANS);
        (void)plan_why(p, "the postmaster died; ending the processes it left");
    } else if (v->pg.process == HA_PROC_NONE && v->pg.data == HA_DATA_VALID &&
               (!v->conf.pause || m->restart.under_way)) {
        start_standby(m, v, p, NULL);
    } else if (v->pg.process == HA_PROC_NONE && clone_alone(m, v, p)) {
        return;
    } else if (v->pg.process == HA_PROC_RUNNING && pg_is_standby(v)) {
        (void)plan_why(p, "a standby; no leader is known");
        (void)operator_asks(m, v, p);
    } else {
        (void)plan_why(p, "waiting for a leader");
    }
}

void rejoin_leader_changes(struct ha_memory *m)
{
    m->rejoin.verdict = HA_REJOIN_UNKNOWN;
    m->rejoin.rewind_failures = 0;
    backoff_reset(&m->rejoin.backoff);
}

void rejoin_died(struct ha_memory *m)
{
    m->rejoin.verdict = HA_REJOIN_UNKNOWN;
}

/* It holds against the leader of now. */
static void judge(struct ha_memory *m, enum ha_rejoin verdict)
{
    m->rejoin.verdict = verdict;
    str_copy(m->rejoin.leader, sizeof(m->rejoin.leader), m->leader.name);
}

void rejoin_start_ended(struct ha_memory *m, const struct ha_view *v)
{
    if (v->job.state == HA_JOB_OK)
        m->reinit.under_way = false; /* whatever was to be replaced has been, or the leader went away first */
}

void rejoin_check_ended(struct ha_memory *m, const struct ha_view *v)
{
    if (v->job.state == HA_JOB_FAILED) {
        backoff_failed(&m->rejoin.backoff, v->now_ms);
        return;
    }
    judge(m, v->job.verdict);
    backoff_reset(&m->rejoin.backoff);
}

void rejoin_rewind_ended(struct ha_memory *m, const struct ha_view *v)
{
    if (v->job.state == HA_JOB_FAILED) {
        m->rejoin.rewind_failures += !v->job.nothing_done;
        backoff_failed(&m->rejoin.backoff, v->now_ms);
        return;
    }
    judge(m, HA_REJOIN_FOLLOW); /* nothing of the old history is left */
    m->rejoin.rewind_failures = 0;
    backoff_reset(&m->rejoin.backoff);
}

void rejoin_clone_ended(struct ha_memory *m, const struct ha_view *v)
{
    if (v->job.state == HA_JOB_FAILED) {
        backoff_failed(&m->rejoin.clone, v->now_ms);
        return;
    }
    judge(m, HA_REJOIN_FOLLOW);
    backoff_reset(&m->rejoin.clone);
    m->reinit.under_way = false;
}

void rejoin_discard_ended(struct ha_memory *m, const struct ha_view *v)
{
    m->rejoin.verdict = HA_REJOIN_UNKNOWN;
    if (v->job.state == HA_JOB_FAILED)
        backoff_failed(&m->rejoin.discard, v->now_ms);
    else
        backoff_reset(&m->rejoin.discard);
}
