#include "core/ha/beside.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "core/ha/cohort.h"
#include "core/ha/facts.h"
#include "core/ha/ledger.h"
#include "core/ha/mode.h"
#include "core/ha/promise.h"
#include "core/ha/roster.h"
#include "core/ha/suspect.h"

enum {
    LOOK_AGAIN_MS = 100,
    LIST_AGAIN_MS = 1000,            /* after a list that could not be proved */
    JOIN_LAG_MAX = 16 * 1024 * 1024, /* as roster.c: a standby that is further behind would make commits wait */
    VOTES_SINCE = 4,                 /* Patroni's major version */
};

static const struct record_key *record(const struct ha_view *v)
{
    return &v->store.cluster->record;
}

bool beside_patroni(const struct ha_view *v)
{
    const struct cluster *c = v->store.cluster;

    return c && c->record.present && !record_key_is_opaque(&c->record) && c->record.mode == RECORD_PATRONI;
}

bool beside_by_votes(const struct ha_view *v)
{
    const struct cluster *c = v->store.cluster;

    if (v->conf.sync_mode != HA_SYNC_QUORUM)
        return false;
    for (size_t i = 0; c && i < c->member_count; i++)
        if (!c->members[i].pgkeep && (!c->members[i].version || atoi(c->members[i].version) < VOTES_SINCE)) /* NOLINT */
            return false;
    return true;
}

static bool wants_it(const struct ha_view *v)
{
    return v->conf.sync_mode != HA_SYNC_OFF && mode_has_strangers(v->store.cluster);
}

/* The record is what this ownership of the leader key made of it, and may be changed. */
static bool record_is_ours(const struct ha_view *v)
{
    const struct record_key *r = record(v);

    return v->lease.owner && r->present && !record_key_is_opaque(r) && str_eq(r->leader, v->conf.name) &&
           r->term == v->lease.term && v->store.known && !v->store.reads_back;
}

static struct record_key *change(const struct ha_view *v, struct ha_plan *p)
{
    struct ha_record_change *c = plan_record(p, record(v));

    c->own_leader_key = true;
    return &c->next;
}

/* ---- the list in force ---- */

static bool is_fenced(const struct ha_view *v)
{
    return v->quorum.names.list && str_eq(v->quorum.names.list, ROSTER_FENCE);
}

static bool nobody_counts(const struct record_key *r)
{
    return !r->open.count || (r->joining && !r->joint.count);
}

/* As in quorum mode (reign.c): before more is acknowledged than now, no change of ours may be in doubt. */
static void want_list(const struct ha_view *v, struct ha_plan *p, const char *list)
{
    const struct ha_names *n = &v->quorum.names;

    if (n->loading || (n->list && str_eq(n->list, list)))
        return;
    if (n->failed_ms && v->now_ms < n->failed_ms + LIST_AGAIN_MS) {
        plan_wake(p, n->failed_ms + LIST_AGAIN_MS);
        return;
    }
    if (!str_eq(list, ROSTER_FENCE) && v->store.sure_revision != record(v)->mod_revision) {
        if (!plan_has(p, HA_DO_RECORD))
            (void)change(v, p);
        plan_wake(p, v->now_ms + LOOK_AGAIN_MS);
        return;
    }
    plan_add(p, HA_DO_LOAD_NAMES)->term = v->lease.term;
    str_copy(p->list, sizeof(p->list), list);
}

static void write_marker(const struct ha_view *v, struct ha_plan *p)
{
    const struct ha_marker *m = &v->quorum.marker;

    if (!m->at && !m->writing && !v->quorum.names.loading && !plan_has(p, HA_DO_MARKER))
        plan_add(p, HA_DO_MARKER)->term = v->lease.term;
}

static void want_marker(const struct ha_view *v, struct ha_plan *p)
{
    write_marker(v, p);
    plan_wake(p, v->now_ms + LOOK_AGAIN_MS);
}

/* ---- standbys, as PostgreSQL here sees them: nobody else can be asked about a member of Patroni's ---- */

static bool is_marked(const struct ha_view *v, const char *name)
{
    const struct ha_sender *s = roster_own_sender(v, name);

    return s && v->quorum.marker.at && s->flushed >= v->quorum.marker.at;
}

static size_t count_marked(const struct ha_view *v, const struct record_cohort *c)
{
    size_t count = 0;

    for (size_t i = 0; i < c->count; i++)
        count += is_marked(v, c->at[i].name);
    return count;
}

static bool can_acknowledge(const struct ha_view *v, const struct record_cohort *c)
{
    size_t count = 0;

    for (size_t i = 0; i < c->count; i++)
        count += roster_own_sender(v, c->at[i].name) != NULL;
    return count >= (size_t)c->k;
}

/* Who is asked by either list under that name, and is not that member's own, is ended; as in quorum mode (roster.h). */
static void audit(const struct ha_view *v, struct ha_plan *p)
{
    const struct record_key *r = record(v);

    for (size_t i = 0; i < v->quorum.sender_count; i++) {
        const struct ha_sender *s = &v->quorum.senders[i];
        bool counted = cohort_has_name(&r->open, s->name) || (r->joining && cohort_has_name(&r->joint, s->name));
        if (s->starting || (s->physical && s->own_slot) || !counted)
            continue;
        struct ha_action *end = plan_add(p, HA_DO_END_SENDER);
        end->pid = s->pid;
        str_copy(end->subject, sizeof(end->subject), s->name);
        return;
    }
}

static bool old_list_is_gone(const struct ha_view *v, struct ha_plan *p)
{
    msec due_ms = v->quorum.names.since_ms + v->conf.profile.lost_ms;

    for (size_t i = 0; i < v->quorum.sender_count; i++) {
        const struct ha_sender *s = &v->quorum.senders[i];
        if (!s->streaming || !cluster_member(v->store.cluster, s->name) || s->after_list ||
            s->flushed >= v->quorum.marker.at)
            continue;
        plan_wake(p, due_ms);
        if (v->now_ms < due_ms)
            return false;
        struct ha_action *end = plan_add(p, HA_DO_END_SENDER);
        end->pid = s->pid;
        str_copy(end->subject, sizeof(end->subject), s->name);
        return false;
    }
    return true;
}

/* ---- the cohort that should be ---- */

struct choice {
    const char *name;
    int priority;
    bool in;
};

static int by_choice(const void *a, const void *b)
{
    const struct choice *x = a, *y = b;

    if (x->priority != y->priority)
        return x->priority > y->priority ? -1 : 1;
    if (x->in != y->in)
        return x->in ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Its agent says that its directory is to be replaced. */
static bool wants_out(const struct ha_view *v, const char *name)
{
    const struct peer_state *s = v->mesh ? mesh_fresh(v, name) : NULL;

    return s && s->wants_out;
}

static bool belongs(struct ha_memory *m, const struct ha_view *v, const struct member *member, bool in,
                    struct ha_plan *p)
{
    const struct ha_sender *s = roster_own_sender(v, member->name);
    lsn lag = s && v->pg.position > s->flushed ? v->pg.position - s->flushed : 0;
    lsn lag_max = v->conf.maximum_lag_on_syncnode > 0 ? (lsn)v->conf.maximum_lag_on_syncnode : UINT64_MAX;
    int priority = member->tags.sync_priority;

    if (str_eq(member->name, v->conf.name) || member->tags.nosync || priority <= 0 ||
        member_name_why_not_counted(member->name) || wants_out(v, member->name))
        return false;
    if (!in)
        return s && lag <= (lag_max < JOIN_LAG_MAX ? lag_max : JOIN_LAG_MAX);
    if (s && lag > lag_max)
        return false;
    msec since_ms = roster_missing_since(m, v, member->name, s != NULL);
    msec due_ms = since_ms + v->conf.profile.lost_ms;
    if (!since_ms || v->now_ms < due_ms) {
        if (since_ms)
            plan_wake(p, due_ms);
        return true;
    }
    return false;
}

/* True: it is another than the record's. */
static bool find_target(struct ha_memory *m, const struct ha_view *v, struct record_cohort *ret, struct ha_plan *p)
{
    const struct cluster *c = v->store.cluster;
    const struct record_cohort *now = &record(v)->open;
    struct choice choices[HA_PEERS_MAX];
    size_t count = 0, wanted = v->conf.sync_node_count > 0 ? (size_t)v->conf.sync_node_count : 1;
    bool by_votes = beside_by_votes(v);

    for (size_t i = 0; i < c->member_count && count < HA_PEERS_MAX; i++) {
        const struct member *member = &c->members[i];
        bool in = cohort_has_name(now, member->name);
        if (belongs(m, v, member, in, p))
            choices[count++] = (struct choice){member->name, member->tags.sync_priority, in};
    }
    qsort(choices, count, sizeof(choices[0]), by_choice);
    if (!by_votes && count > wanted)
        count = wanted;
    *ret = (struct record_cohort){.k = (int)(wanted < count ? wanted : count)};
    for (size_t i = 0; i < count; i++) {
        const struct record_member *was = record_cohort_find(now, choices[i].name);
        record_cohort_add(ret, choices[i].name, was ? was->incarnation : 0);
    }
    return !cohort_equal(ret, now);
}

/* ---- its change ---- */

static void join(const struct ha_view *v, const struct record_cohort *to, struct ha_plan *p)
{
    ledger_join(change(v, p), to);
    (void)plan_why(p, "the leader with the lock; its synchronous standbys change from %zu to %zu",
                   record(v)->open.count, to->count);
}

static void settle(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    static const struct record_cohort nobody = {0};
    const struct record_key *r = record(v);
    const struct record_cohort *to = &r->joint;

    (void)plan_why(p, "the leader with the lock; its synchronous standbys change");
    if (can_acknowledge(v, to))
        m->cohort.blocked_ms = 0;
    else if (!m->cohort.blocked_ms)
        m->cohort.blocked_ms = v->now_ms;
    msec due_ms = m->cohort.blocked_ms + v->conf.profile.lost_ms;
    if (m->cohort.blocked_ms && v->now_ms < due_ms)
        plan_wake(p, due_ms);
    if (m->cohort.blocked_ms && v->now_ms >= due_ms) { /* whom it was to be has gone: by way of nobody to another */
        m->cohort.blocked_ms = 0;
        join(v, &nobody, p);
        return;
    }
    want_marker(v, p);
    if (!v->quorum.marker.at || !old_list_is_gone(v, p))
        return;
    if (to->count && (count_marked(v, to) < (size_t)to->k || (nobody_counts(r) && v->quorum.names.may_pass)))
        return;
    ledger_settle(change(v, p), true);
}

static void change_cohort(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    AUTO(record_cohort) struct record_cohort target = {0};

    if (record(v)->joining) {
        settle(m, v, p);
        return;
    }
    m->cohort.blocked_ms = 0;
    if (!find_target(m, v, &target, p))
        return;
    bool leaving = false;
    for (size_t i = 0; i < record(v)->open.count; i++)
        leaving |= wants_out(v, record(v)->open.at[i].name);
    if (!target.count && v->conf.sync_strict && !leaving)
        return; /* rather no commit than one on this node alone; who comes back is still synchronous */
    join(v, &target, p);
}

/* ---- from one set of rules to the other ---- */

/* All of the cohort are ours now, and have what is here: quorum mode may go on with it. */
static bool may_freeze_all(const struct ha_view *v, struct ha_plan *p)
{
    const struct record_cohort *c = &record(v)->open;

    if (!c->count)
        return true;
    want_marker(v, p);
    for (size_t i = 0; i < c->count; i++) {
        const struct peer_state *s = mesh_fresh(v, c->at[i].name);
        if (!s || !s->incarnation || !s->in_recovery || !is_marked(v, c->at[i].name) ||
            s->position < v->quorum.marker.at)
            return false;
    }
    return true;
}

static void enter_quorum(const struct ha_view *v, struct ha_plan *p)
{
    term beyond;

    if (!v->mesh || !v->quorum.promise.known || !v->quorum.incarnation || !v->pg.timeline ||
        promise_beyond(v, record(v)->term, &beyond) || !may_freeze_all(v, p))
        return;
    struct record_key *next = change(v, p);
    for (size_t i = 0; i < next->open.count; i++)
        next->open.at[i].incarnation = mesh_fresh(v, next->open.at[i].name)->incarnation;
    ledger_enter(next, v->quorum.incarnation, v->pg.timeline);
    (void)plan_why(p, "the leader with the lock; no member is Patroni's any more: quorum mode begins");
}

static void leave(const struct ha_view *v, struct ha_plan *p)
{
    ledger_leave_patroni(change(v, p));
    (void)plan_why(p, "the leader with the lock; synchronous_mode is off");
}

static void keep(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    const struct record_key *r = record(v);
    char list[HA_LIST_MAX];

    if (v->conf.sync_mode == HA_SYNC_OFF) {
        leave(v, p);
        return;
    }
    (void)roster_list(r->joining ? &r->joint : &r->open, v->conf.sync_strict, list, sizeof(list));
    bool proved = v->quorum.names.list && str_eq(v->quorum.names.list, list);
    bool hold_first = r->joining && nobody_counts(r) && list[0] && v->quorum.names.may_pass;
    bool unknown = !v->quorum.names.list && (r->open.count || r->joining);
    if (!is_fenced(v) && (hold_first || unknown))
        want_list(v, p, ROSTER_FENCE); /* whatever it is: it is not what it should be */
    else if (proved || !is_fenced(v) || !list[0])
        want_list(v, p, list);
    else { /* under the fence: first what is here is where it would be looked for */
        want_marker(v, p);
        bool open_ok = count_marked(v, &r->open) >= (size_t)r->open.k;
        bool joint_ok = !r->joining || count_marked(v, &r->joint) >= (size_t)r->joint.k;
        if (v->quorum.marker.at && ((open_ok && joint_ok) || nobody_counts(r)))
            want_list(v, p, list);
    }
    if (proved && !is_fenced(v) && r->open.count) /* who waits is released by the next reply; this brings it */
        write_marker(v, p);
    audit(v, p);
    /* A list on its way is one of the cohort as it is now, and would be in force when the record says another. */
    bool on_its_way = v->quorum.names.loading || plan_has(p, HA_DO_LOAD_NAMES);
    if (on_its_way || (!proved && !is_fenced(v)) || plan_has(p, HA_DO_RECORD))
        return;
    if (!wants_it(v) && !r->joining && proved)
        enter_quorum(v, p);
    if (!plan_has(p, HA_DO_RECORD))
        change_cohort(m, v, p);
}

bool beside_decide(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    char unfit[UNKEPT_MAX];

    if (!beside_patroni(v) && !wants_it(v))
        return false;
    if (!record_is_ours(v) || plan_has(p, HA_DO_START_JOB) || plan_has(p, HA_DO_RECORD))
        return true;
    if (beside_patroni(v)) {
        keep(m, v, p);
        return true;
    }
    if (node_is_unfit(v, unfit)) {
        (void)plan_why(p, "the leader with the lock; synchronous_mode does not begin: %s", unfit);
        return true;
    }
    ledger_go_beside(change(v, p), false);
    (void)plan_why(p, "the leader with the lock; synchronous_mode begins, by the rules of Patroni's members");
    return true;
}

bool beside_begins(const struct ha_view *v, struct ha_plan *p)
{
    const struct record_key *r = record(v);

    if (!wants_it(v) || !v->lease.owner || r->phase != RECORD_OPEN || r->joining || v->store.reads_back ||
        plan_has(p, HA_DO_RECORD))
        return false;
    CHECK(!mode_needs_no_fence(v)); /* it is armed before this is done */
    ledger_go_beside(change(v, p), true);
    return plan_why(p, "the leader; a member is Patroni's: its rules begin, and the lease counts");
}

/* ---- who may win ---- */

static bool has_name(const char *list, const char *name)
{
    size_t len = strlen(name);

    for (const char *at = list ? list : ""; *at;) {
        size_t part = strcspn(at, ",");
        if (part == len && strncasecmp(at, name, len) == 0)
            return true;
        at += part + (at[part] == ',');
    }
    return false;
}

/* The key says who may have what was acknowledged. An empty one says nothing, to Patroni as well. */
static const struct sync_key *sync_in_force(const struct ha_view *v)
{
    const struct cluster *c = v->store.cluster;
    bool counts = c && v->conf.sync_mode != HA_SYNC_OFF && !mode_is_quorum(v) && c->sync.present;

    return counts && !str_empty(c->sync.leader) ? &c->sync : NULL;
}

bool beside_is_barred(const struct ha_view *v, const char *name)
{
    const struct sync_key *s = sync_in_force(v);

    if (!s || str_eq_nocase(s->leader, name) || has_name(s->sync_standby, name))
        return false;
    return !beside_by_votes(v) || str_empty(s->sync_standby);
}

bool beside_lacks_votes(const struct ha_view *v)
{
    const struct sync_key *s = sync_in_force(v);
    int votes;

    if (!s || !beside_by_votes(v) || str_eq_nocase(s->leader, v->conf.name))
        return false;
    votes = has_name(s->sync_standby, v->conf.name) ? 0 : -1;
    for (size_t i = 0; i < v->peers.count; i++) {
        const struct ha_peer *peer = &v->peers.at[i];
        votes += peer->answer == HA_ANSWER_YES && peer->running && !str_eq(peer->name, v->conf.name) &&
                 has_name(s->sync_standby, peer->name) && peer->position <= v->pg.position;
    }
    return votes < s->quorum;
}

bool beside_may_promote(const struct ha_view *v, struct ha_plan *p)
{
    const struct record_key *r = record(v);
    const struct sync_key *s = &v->store.cluster->sync;

    if (v->conf.sync_mode == HA_SYNC_OFF || (!beside_patroni(v) && !wants_it(v) && !sync_in_force(v)))
        return true;
    bool alone = r->mode == RECORD_PATRONI && !r->open.count && !r->joining && s->present &&
                 str_eq(s->leader, v->conf.name) && str_empty(s->sync_standby);
    if (alone && str_eq(r->leader, v->conf.name) && r->term == v->lease.term)
        return true;
    if (record_is_ours(v) && !plan_has(p, HA_DO_RECORD))
        ledger_go_beside(change(v, p), false);
    plan_wake(p, v->now_ms + LIST_AGAIN_MS);
    (void)plan_why(p, "telling the members that nobody else has what will be acknowledged here, before the promotion");
    return false;
}
