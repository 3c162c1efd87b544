#include "app/agent/blackbox.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "app/agent/registry.h"
#include "app/agent/state.h"
#include "base/check.h"
#include "base/str.h"
#include "core/ha/facts.h"
#include "core/ha/failover.h"
#include "core/ha/mode.h"
#include "core/ha/suspect.h"
#include "io/log.h"
#include "io/loop.h"
#include "pg/report_file.h"
#include "store/store.h"
#include "wire/conf/dynamic.h"
#include "wire/conf/settings.h"
#include "wire/report.h"

enum {
    CALM_MS = 1000,        /* after it is open: clients that waited come first */
    SERVING_MS = 10000,    /* so long a leader that is open by the record has to serve until it is told without that */
    WRITE_AGAIN_MS = 1000, /* after a write that failed */
    WRITES_MAX = 30,       /* then the file has to do */
    PRUNE_MAX = 8,         /* old terms that one write takes away */
};

/* A moment that may turn out to begin an episode, kept until the record says which. */
struct omen {
    term term; /* CALLED, handover: that is asked for; 0: none */
    msec ms;
};

struct coming_back {     /* to follow another: every node that does not lead is watched so */
    msec since_ms;       /* it does not lead, or its agent started; 0: it leads */
    msec following_ms;   /* it first followed then; 0: not yet */
    const char *how;     /* the heaviest job that it took; NULL: none */
    uint32_t ended_line; /* where it ended on a timeline before the leader's … */
    lsn ended_at;        /* … as far as seen; 0: not */
    bool exact;          /* it was shut down in good order there; after a crash there may have been more */
};

struct blackbox {
    struct agent *a;
    term seen; /* newest term of the record, or promised; 0: nothing read yet */
    bool active, by_quorum;
    struct report_part now; /* the episode of `seen`, while active */
    json_t *text;           /* its part, once it was due; NULL */

    /* Before an episode begins */
    int suspicion;             /* enum suspicion */
    struct report_part before; /* only what is suspected, and its moments */
    struct omen call, handover;
    msec stopping_ms, stopped_ms;
    char last_leader[HA_NAME_MAX]; /* the newest other leader, or ourselves, under `last_term` */
    msec last_alive_ms;            /* asynchronous: its last sign */
    bool released;
    lsn optime; /* that it had published */

    int64_t looked; /* revision of the store whose reports were looked through */
    struct coming_back back;

    msec due_ms; /* 0: nothing to write */
    bool busy, file_done;
    int tries;
    json_t *writing; /* of term… */
    term writing_term;
};

static const struct record_key *record_of(const struct ha_view *v)
{
    const struct cluster *c = v->store.cluster;

    return c && c->record.present && !record_key_is_opaque(&c->record) ? &c->record : NULL;
}

/* The first time counts. */
static void moment(struct report_part *p, enum report_moment what, msec ms)
{
    if (!p->at[what])
        p->at[what] = ms;
}

static bool is_us(const struct blackbox *b, const char *name)
{
    return str_eq(name, agent_name(b->a));
}

/* ---- suspicion ---- */

static msec age_told(const struct peer_state *s, const char *name)
{
    for (size_t i = 0; i < s->heard_count; i++)
        if (str_eq(s->heard[i].name, name) && s->heard[i].age_ms != UINT32_MAX)
            return s->heard[i].age_ms;
    return MSEC_NEVER;
}

static void add_age(struct report_part *p, const char *agent, msec ms)
{
    if (p->age_count == REPORT_BALLOTS_MAX)
        return;
    struct report_age *age = &p->ages[p->age_count++];
    str_copy(age->name, sizeof(age->name), agent);
    age->ms = ms;
}

static void note_ages(struct report_part *p, const struct ha_view *v)
{
    add_age(p, v->conf.name, mesh_age(v, p->whom));
    for (size_t i = 0; v->mesh && i < v->mesh->count; i++) {
        const struct ha_mesh_peer *peer = &v->mesh->at[i];
        msec told_ms = age_told(&peer->state, p->whom);
        if (str_eq(peer->state.name, p->whom) || !mesh_fresh(v, peer->state.name))
            continue;
        add_age(p, peer->state.name, told_ms == MSEC_NEVER ? told_ms : told_ms + v->now_ms - peer->heard_ms);
    }
}

/* In words, which the memory does not keep: looked at once more, on copies. */
static void suspicion_why(const struct ha_memory *m, const struct ha_view *v, char *ret_why, size_t cap)
{
    struct ha_memory *again = mem_zero(1, sizeof(*again));
    struct ha_plan *nothing = mem_zero(1, sizeof(*nothing));

    *again = *m;
    struct suspect s = suspect_look(again, v, nothing);
    str_copy(ret_why, cap, s.why);
    plan_reset(nothing);
    free(nothing);
    free(again);
}

static void note_suspicion(struct blackbox *b, const struct ha_memory *m, const struct ha_view *v)
{
    if (m->suspect.kind == b->suspicion && (b->suspicion == SUSPECT_NOBODY || str_eq(b->before.whom, m->suspect.name)))
        return;
    b->suspicion = m->suspect.kind;
    b->before = (struct report_part){0};
    if (m->suspect.kind == SUSPECT_NOBODY || !mode_is_quorum(v))
        return;
    str_copy(b->before.whom, sizeof(b->before.whom), m->suspect.name);
    suspicion_why(m, v, b->before.why, sizeof(b->before.why));
    note_ages(&b->before, v);
    msec age_ms = mesh_age(v, m->suspect.name);
    if (m->suspect.kind == SUSPECT_SILENT && age_ms != MSEC_NEVER)
        moment(&b->before, REPORT_HEARD, v->now_ms - age_ms);
    moment(&b->before, REPORT_SUSPECTED, m->suspect.since_ms);
}

static void adopt_suspicion(struct blackbox *b)
{
    struct report_part *p = &b->now;

    if (!b->before.whom[0] || p->whom[0])
        return;
    memcpy(p->whom, b->before.whom, sizeof(p->whom));
    memcpy(p->why, b->before.why, sizeof(p->why));
    memcpy(p->ages, b->before.ages, sizeof(p->ages));
    p->age_count = b->before.age_count;
    p->at[REPORT_HEARD] = b->before.at[REPORT_HEARD];
    p->at[REPORT_SUSPECTED] = b->before.at[REPORT_SUSPECTED];
}

/* ---- an episode ---- */

static bool is_handover(const struct record_key *r)
{
    return r->phase != RECORD_TERM && r->coordinator && !strchr(r->coordinator, '#') &&
           !str_eq(r->coordinator, r->leader);
}

static void begin(struct blackbox *b, const struct ha_view *v, const struct record_key *r, term t)
{
    bool goes_on = b->active && !b->now.at[REPORT_ELECTED]; /* one that ended nowhere: it is one story */
    struct report_part last = b->now;

    b->now = (struct report_part){.term = t, .wall_ms = v->wall_ms, .lost_bytes = -1};
    b->active = true;
    b->seen = t;
    b->by_quorum = b->now.by_quorum = r->mode == RECORD_QUORUM;
    json_decref(b->text);
    b->text = NULL;
    b->due_ms = 0;
    str_copy(b->now.node, sizeof(b->now.node), v->conf.name);
    str_copy(b->now.old_leader, sizeof(b->now.old_leader), b->last_leader);
    if (b->by_quorum && r->open_leader && r->phase != RECORD_OPEN)
        str_copy(b->now.old_leader, sizeof(b->now.old_leader), r->open_leader);
    if (goes_on) {
        b->before = last;
        memcpy(b->now.old_leader, last.old_leader, sizeof(last.old_leader));
    }
    adopt_suspicion(b);
    if (b->call.term == t)
        moment(&b->now, REPORT_CALLED, b->call.ms);
    if (b->handover.term == t)
        moment(&b->now, REPORT_CHOSEN, b->handover.ms);
    if (is_us(b, b->now.old_leader)) {
        b->now.at[REPORT_STOPPING] = b->stopping_ms;
        b->now.at[REPORT_STOPPED] = b->stopped_ms;
    }
    if (!b->by_quorum && b->last_alive_ms && !is_us(b, b->now.old_leader))
        moment(&b->now, REPORT_HEARD, b->last_alive_ms);
}

/* What a record that is open says goes for the next episode. */
static void remember_leader(struct blackbox *b, const struct ha_memory *m, const struct ha_view *v,
                            const struct record_key *r)
{
    if (r->phase != RECORD_OPEN || r->term != b->seen || !r->leader)
        return;
    str_copy(b->last_leader, sizeof(b->last_leader), r->leader);
    b->released = r->released && !r->deposed;
    b->optime = v->store.cluster->status.optime;
    if (str_eq(m->leader.name, r->leader))
        b->last_alive_ms = m->leader.alive_ms;
}

static void note_term(struct blackbox *b, const struct ha_view *v, const struct record_key *r)
{
    term newest = r->mode == RECORD_QUORUM && v->quorum.promise.term > r->term ? v->quorum.promise.term : r->term;

    if (!b->seen && r->phase == RECORD_OPEN && newest == r->term) {
        b->seen = newest; /* whatever it was, it was before this agent */
        return;
    }
    if (newest > b->seen)
        begin(b, v, r, newest);
}

/* A stop that may belong to a switchover. */
static void note_stop(struct blackbox *b, const struct ha_view *v)
{
    if (pg_is_primary(v) && !job_runs(v, HA_JOB_STOP)) {
        b->stopping_ms = b->stopped_ms = 0;
        return;
    }
    if (job_runs(v, HA_JOB_STOP) && !b->stopping_ms)
        b->stopping_ms = v->job.since_ms;
    if (b->stopping_ms && !b->stopped_ms && (v->pg.shut_down_at || v->pg.process == HA_PROC_NONE))
        b->stopped_ms = v->now_ms;
}

static void note_ballots(struct blackbox *b, const struct ha_view *v, const struct record_key *r)
{
    struct ballot ballots[HA_PEERS_MAX];
    struct report_part *p = &b->now;
    struct report_ballot old[REPORT_BALLOTS_MAX];
    size_t count = failover_ballots(v, r->term, ballots), old_count = p->ballot_count;

    memcpy(old, p->ballots, sizeof(old));
    p->ballot_count = 0;
    for (size_t i = 0; i < count && p->ballot_count < REPORT_BALLOTS_MAX; i++) {
        struct report_ballot *to = &p->ballots[p->ballot_count++];
        *to = (struct report_ballot){.frozen = ballots[i].frozen,
                                     .frozen_ms = -1,
                                     .timeline = ballots[i].timeline,
                                     .position = ballots[i].position};
        str_copy(to->name, sizeof(to->name), ballots[i].name);
        str_copy(to->why_not, sizeof(to->why_not), ballots[i].why_not ? ballots[i].why_not : "");
        to->known = election_term_of(r, to->timeline, &to->timeline_term);
        for (size_t k = 0; k < old_count; k++)
            if (str_eq(old[k].name, to->name))
                to->frozen_ms = old[k].frozen_ms;
        if (to->frozen && to->frozen_ms < 0 && p->at[REPORT_CALLED])
            to->frozen_ms = v->now_ms - p->at[REPORT_CALLED];
    }
}

static void note_election(struct blackbox *b, const struct ha_view *v, const struct record_key *r,
                          const struct ha_plan *p)
{
    struct ballot ballots[HA_PEERS_MAX];
    struct election e;

    b->now.coordinated = true;
    note_ballots(b, v, r);
    if (!plan_has(p, HA_DO_RECORD) || p->record.next.phase != RECORD_ELECTED)
        return;
    election_hold(r, ballots, failover_ballots(v, r->term, ballots), &e);
    b->now.at[REPORT_CHOSEN] = v->now_ms;
    str_copy(b->now.winner, sizeof(b->now.winner), p->record.next.leader);
    str_copy(b->now.decided, sizeof(b->now.decided), e.why);
}

/* What the plan does to the record, if the store agrees. */
static void note_change(struct blackbox *b, const struct ha_view *v, const struct record_key *r,
                        const struct ha_plan *p)
{
    const struct record_key *next = &p->record.next;

    if (!plan_has(p, HA_DO_RECORD) || r->mode != RECORD_QUORUM)
        return;
    if (next->phase == RECORD_TERM && next->term > r->term && b->call.term != next->term)
        b->call = (struct omen){next->term, v->now_ms};
    if (next->phase == RECORD_ELECTED && r->phase == RECORD_OPEN)
        b->handover = (struct omen){next->term, v->now_ms};
    if (next->phase == RECORD_OPEN && r->phase == RECORD_ELECTED && r->term == b->seen)
        b->now.at[REPORT_MARKED] = v->now_ms;
}

/* By the record this node is the one that this term is about. */
static void note_win(struct blackbox *b, const struct ha_view *v, const struct record_key *r, const struct ha_plan *p)
{
    struct report_part *now = &b->now;

    now->won = true;
    now->timeline = r->mode == RECORD_QUORUM ? r->leader_timeline : r->timeline;
    if (!now->at[REPORT_PRIMARY] && v->pg.timeline && v->pg.in_recovery) {
        now->from_timeline = v->pg.timeline;
        now->fork = v->pg.position;
    }
    for (size_t i = 0; i < r->line_count; i++)
        if (r->lines[i].timeline == now->timeline && r->lines[i].fork)
            now->fork = r->lines[i].fork;
    if (job_runs(v, HA_JOB_PROMOTE))
        moment(now, REPORT_PROMOTING, v->job.since_ms);
    now->handed = now->handed || (!b->by_quorum && b->released && b->optime && now->fork >= b->optime);
    if (!b->by_quorum && now->lost_bytes < 0 && now->fork && !b->released) {
        now->lost_bytes = b->optime > now->fork ? (int64_t)(b->optime - now->fork) : 0;
        now->lost_age_ms = v->now_ms - b->last_alive_ms;
    }
    if (pg_is_primary(v) && now->at[REPORT_ELECTED])
        moment(now, REPORT_PRIMARY, v->now_ms);
    if (now->at[REPORT_PRIMARY] && p->serving)
        moment(now, REPORT_SERVING, v->now_ms);
}

/* It is told what happened once it is over, by who took part. */
static void note_end(struct blackbox *b, const struct ha_view *v)
{
    const struct report_part *p = &b->now;
    bool part = p->won || p->coordinated || p->whom[0] || (b->by_quorum && p->at[REPORT_PROMISED]) ||
                (is_us(b, p->old_leader) && p->at[REPORT_STOPPED]);

    if (!p->at[REPORT_OPEN])
        return;
    if (!part || (!b->by_quorum && !p->won && !is_us(b, p->old_leader))) {
        b->active = false;
        return;
    }
    msec due_ms = p->at[REPORT_OPEN] + CALM_MS;
    if (p->won)
        due_ms = p->at[REPORT_SERVING] ? p->at[REPORT_SERVING] + CALM_MS : p->at[REPORT_OPEN] + SERVING_MS;
    if (v->now_ms < due_ms) {
        b->due_ms = due_ms;
        return;
    }
    b->text = report_part_json(p);
    b->active = false;
    b->tries = 0;
    b->file_done = false;
    b->due_ms = v->now_ms;
}

static void note_episode(struct blackbox *b, const struct ha_view *v, const struct record_key *r,
                         const struct ha_plan *p)
{
    struct report_part *now = &b->now;
    bool ours = r->term == b->seen;

    adopt_suspicion(b);
    if (v->quorum.promise.term == b->seen)
        moment(now, REPORT_PROMISED, v->now_ms);
    if (v->quorum.freeze.term == b->seen && v->quorum.freeze.kind != PEER_FREEZE_NONE)
        moment(now, REPORT_FROZEN, v->now_ms);
    if (!ours)
        return;
    if (r->phase == RECORD_TERM) {
        if (failover_is_ours(v->conf.name, r))
            note_election(b, v, r, p);
        return;
    }
    if (is_handover(r) && b->by_quorum) {
        now->switchover = true;
        now->coordinated = is_us(b, r->coordinator);
        str_copy(now->winner, sizeof(now->winner), now->coordinated ? r->leader : "");
        str_copy(now->decided, sizeof(now->decided), "it shut down, and the new leader has all of it");
    }
    if (!b->by_quorum && !now->at[REPORT_ELECTED])
        now->switchover = b->released && v->store.cluster->failover.present;
    moment(now, REPORT_ELECTED, v->now_ms);
    if (r->phase == RECORD_OPEN)
        moment(now, REPORT_OPEN, v->now_ms);
    if (is_us(b, r->leader))
        note_win(b, v, r, p);
    note_end(b, v);
}

/* ---- coming back ---- */

static bool names_us(const struct blackbox *b, const json_t *parts)
{
    const char *node;
    json_t *part;

    json_object_foreach((json_t *)parts, node,
                        part) if (json_object_get(part, "won") &&
                                  is_us(b, json_string_value(json_object_get(part, "old_leader")))) return true;
    return false;
}

/* The newest report that names this node as the replaced leader; NULL, or it says already what became of it. */
static const json_t *report_to_end(struct blackbox *b, const struct cluster *c, term *ret_term)
{
    const char *term_text;
    json_t *parts, *newest = NULL;
    int64_t found = 0, t;

    json_object_foreach(c->failovers, term_text, parts)
    {
        if (!str_to_int(term_text, 1, INT64_MAX, &t) || t <= found || !names_us(b, parts))
            continue;
        found = t;
        newest = parts;
    }
    *ret_term = (term)found;
    return json_object_get(json_object_get(newest, agent_name(b->a)), "returned") ? NULL : newest;
}

static const json_t *winner_of(const json_t *parts)
{
    const char *node;
    json_t *part;

    json_object_foreach((json_t *)parts, node, part) if (json_object_get(part, "won")) return json_object_get(part,
                                                                                                              "won");
    return NULL;
}

static json_t *bare_part(const struct blackbox *b, const struct ha_view *v, term t)
{
    struct report_part *bare = mem_zero(1, sizeof(*bare));

    bare->term = t;
    bare->wall_ms = v->wall_ms;
    bare->by_quorum = mode_is_quorum(v);
    str_copy(bare->node, sizeof(bare->node), agent_name(b->a));
    str_copy(bare->old_leader, sizeof(bare->old_leader), agent_name(b->a));
    json_t *part = report_part_json(bare);
    free(bare);
    return part;
}

static void tell_return(struct blackbox *b, const struct ha_view *v, const json_t *parts, term t)
{
    const json_t *won = winner_of(parts), *part = json_object_get(parts, agent_name(b->a));
    const char *fork_text = json_string_value(json_object_get(won, "fork"));
    bool same_line = b->back.ended_line == (uint32_t)json_integer_value(json_object_get(won, "from"));
    int64_t extra = -1;
    lsn fork;

    if (b->back.ended_at && same_line && fork_text && lsn_parse(fork_text, &fork))
        extra = b->back.ended_at > fork ? (int64_t)(b->back.ended_at - fork) : b->back.exact ? 0 : -1;
    b->text = part ? json_deep_copy(part) : bare_part(b, v, t);
    report_part_return(b->text, b->back.how ? b->back.how : "reload", b->back.following_ms - b->back.since_ms, extra,
                       b->back.exact);
    b->tries = 0;
    b->file_done = false;
    b->due_ms = v->now_ms;
}

/*
 * On a timeline that is not the leader's; it may have gone on writing beyond the place where that one begins. What a
 * standby has that follows somebody is no more its own.
 */
static void note_where_it_ended(struct coming_back *back, const struct ha_view *v, uint32_t leader_timeline)
{
    bool running = v->pg.process == HA_PROC_RUNNING && v->pg.answered;
    uint32_t timeline = running ? v->pg.timeline : v->pg.control_timeline;
    lsn at = running ? v->pg.position : v->pg.control_position;
    bool clean = v->pg.process == HA_PROC_NONE && v->pg.control == HA_CONTROL_SHUT_DOWN;

    if (!timeline || timeline >= leader_timeline || at < back->ended_at)
        return;
    if (running ? v->pg.in_recovery && !str_empty(v->pg.upstream) : !clean)
        return;
    back->exact = clean;
    back->ended_line = timeline;
    back->ended_at = at;
}

static void note_job(struct coming_back *back, const struct ha_view *v)
{
    if (job_runs(v, HA_JOB_CLONE))
        back->how = "clone";
    else if (job_runs(v, HA_JOB_REWIND) && !str_eq(back->how, "clone"))
        back->how = "rewind";
    else if (job_runs(v, HA_JOB_START) && !back->how)
        back->how = "start";
}

static void note_return(struct blackbox *b, const struct ha_view *v, const struct record_key *r)
{
    const struct cluster *c = v->store.cluster;
    struct coming_back *back = &b->back;
    term t;

    if (leads(v)) {
        *back = (struct coming_back){0};
        return;
    }
    if (!back->since_ms)
        back->since_ms = v->now_ms;
    if (!back->following_ms) {
        note_where_it_ended(back, v, r->mode == RECORD_QUORUM ? r->leader_timeline : r->timeline);
        note_job(back, v);
        if (pg_is_standby(v) && v->pg.streaming && leader_is_other(v) && !b->active)
            back->following_ms = v->now_ms;
    }
    if (!back->following_ms || b->text || b->looked == c->revision)
        return;
    b->looked = c->revision;
    const json_t *parts = report_to_end(b, c, &t);
    if (parts)
        tell_return(b, v, parts, t);
}

void blackbox_note(struct blackbox *b, const struct ha_memory *m, const struct ha_view *v, const struct ha_plan *p)
{
    const struct record_key *r = record_of(v);

    if (!r)
        return;
    note_suspicion(b, m, v);
    note_stop(b, v);
    note_term(b, v, r);
    note_change(b, v, r, p);
    if (b->active)
        note_episode(b, v, r, p);
    remember_leader(b, m, v, r);
    note_return(b, v, r);
}

/* ---- writing ---- */

static void written(const struct store_result *result, void *arg)
{
    struct blackbox *b = arg;

    b->busy = false;
    if (result->status == STORE_DONE || ++b->tries >= WRITES_MAX) {
        if (result->status != STORE_DONE)
            log_warning("report.not_written", "the report of term %llu is in %s/failovers only",
                        (unsigned long long)b->writing_term, b->a->settings->pgkeep.state_dir);
        if (b->text == b->writing) {
            json_decref(b->text);
            b->text = NULL;
            b->due_ms = 0;
        }
    } else {
        b->due_ms = loop_clock_ms() + WRITE_AGAIN_MS;
    }
    json_decref(b->writing);
    b->writing = NULL;
    agent_wake(b->a);
}

/* Keys of the terms that have to go; at most PRUNE_MAX. Each is to be freed. */
static size_t old_keys(const struct blackbox *b, char *ret_keys[PRUNE_MAX])
{
    const struct cluster *c = registry_cluster(b->a->registry);
    term terms[PRUNE_MAX];
    size_t count = reports_to_remove(c->failovers, b->writing_term, terms, PRUNE_MAX);

    for (size_t i = 0; i < count; i++)
        ret_keys[i] = str_fmt("%s%s%llu/", b->a->settings->key_prefix, REPORTS_PREFIX, (unsigned long long)terms[i]);
    return count;
}

static void write_key(struct blackbox *b, const char *text)
{
    struct agent *a = b->a;
    char *old[PRUNE_MAX];
    struct store_op ops[PRUNE_MAX + 1];
    size_t count = old_keys(b, old);
    AUTO(cstr)
    char *key = str_fmt("%s%s%llu/%s", a->settings->key_prefix, REPORTS_PREFIX, (unsigned long long)b->writing_term,
                        agent_name(a));
    AUTO(cstr) char *initialize = str_fmt("%sinitialize", a->settings->key_prefix);
    struct store_compare alive = {.kind = STORE_IF_PRESENT, .key = initialize}; /* else the cluster was removed */
    struct store_txn txn = {.compares = &alive, .compare_count = 1, .then = ops, .then_count = count + 1};

    ops[0] = (struct store_op){.kind = STORE_PUT, .key = key, .value = text};
    for (size_t i = 0; i < count; i++)
        ops[i + 1] = (struct store_op){.kind = STORE_DELETE_PREFIX, .key = old[i]};
    b->busy = true;
    store_txn(a->store, &txn, a->dynamic->retry_timeout_ms, written, b);
    for (size_t i = 0; i < count; i++)
        free(old[i]);
}

msec blackbox_write(struct blackbox *b)
{
    struct err err = {0};

    if (b->busy || !b->due_ms || !registry_cluster(b->a->registry))
        return MSEC_NEVER;
    if (loop_clock_ms() < b->due_ms || !b->text)
        return msec_max(b->due_ms, loop_clock_ms() + 1);
    b->writing = json_incref(b->text);
    b->writing_term = (term)json_integer_value(json_object_get(b->text, "term"));
    AUTO(cstr) char *text = report_part_text(b->writing);
    if (!b->file_done && !report_file_keep(b->a->settings->pgkeep.state_dir, b->writing_term, text, REPORTS_KEPT, &err))
        log_warning("report.no_file", "%s", err.text);
    b->file_done = true;
    write_key(b, text);
    return MSEC_NEVER;
}

struct blackbox *blackbox_new(struct agent *a)
{
    struct blackbox *b = mem_zero(1, sizeof(*b));

    b->a = a;
    return b;
}

void blackbox_free(struct blackbox *b)
{
    if (!b)
        return;
    json_decref(b->text);
    json_decref(b->writing);
    free(b);
}
