#include "app/agent/quorum.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "app/agent/breach.h"
#include "app/agent/config.h"
#include "app/agent/health.h"
#include "app/agent/jobs.h"
#include "app/agent/local.h"
#include "app/agent/mesh.h"
#include "app/agent/registry.h"
#include "app/agent/state.h"
#include "base/check.h"
#include "base/fault.h"
#include "base/mutant.h"
#include "base/str.h"
#include "core/ha/beside.h"
#include "core/ha/facts.h"
#include "core/ha/failover.h"
#include "core/ha/mode.h"
#include "core/ha/profile.h"
#include "core/ha/recover.h"
#include "core/ha/roster.h"
#include "io/behind.h"
#include "io/log.h"
#include "pg/conffile.h"
#include "pg/datadir.h"
#include "pg/fence.h"
#include "pg/freeze.h"
#include "pg/hold.h"
#include "pg/incarnation.h"
#include "pg/instance.h"
#include "pg/marker.h"
#include "pg/names.h"
#include "pg/probe.h"
#include "pg/promise.h"
#include "pg/reload.h"
#include "pg/seen.h"
#include "pg/senders.h"
#include "pg/sql.h"
#include "pg/told.h"
#include "wire/conf/dynamic.h"
#include "wire/conf/settings.h"

enum {
    TOLD_EVERY_MS = 5000,   /* a sample: what was acknowledged since may be lost unseen */
    FREEZE_AGAIN_MS = 100,  /* after files that could not be written */
    PROMISE_AGAIN_MS = 500, /* after a promise that could not be */
    NAMES_BUDGET_MS = 3000,
    ADOPT_MS = 1000, /* after the files changed: the server has loaded them */
    MARKER_BUDGET_MS = 3000,
    END_SENDER_BUDGET_MS = 2000,
};

struct quorum {
    struct agent *a;

    struct promise promise; /* as it is on disk */
    bool promise_known;
    msec promise_not_before_ms; /* the disk did not take it; 0: it did */
    struct seen seen;           /* the newest record, as on disk or as soon as the disk takes it */
    bool seen_due;              /* it did not */
    bool refused;               /* what the store said last is older */
    term settled;               /* newest term that was elected, as read; the disk may be behind */

    /* This postmaster; what follows is about it. */
    pid_t postmaster;
    unsigned int deaths;

    struct told told; /* the furthest that was replayed here */
    bool told_due;    /* … and not on disk yet */
    msec told_at_ms;
    struct behind *told_writer;

    struct freeze_job *freeze;
    struct fence_job *fence;
    term freezing; /* the term of the one under way */
    struct ha_freeze shown;
    bool promote_seen;
    msec freeze_not_before_ms;

    struct reload_job *loading;
    char *loading_list;
    char *list; /* proved to be in force; NULL: not */
    msec list_since_ms;
    msec floor_ms;         /* the files' floor became another; only a later look at the server tells what is in force */
    int64_t list_since_us; /* wall clock: what began later has it */
    msec list_failed_ms;
    char *list_why;

    struct marker_job *marking;
    struct hold_job *holding;
    term marking_term;
    lsn marker;
    bool held; /* a commit was seen to wait, and no list of nobody was loaded since */

    struct senders_job *ending;
    struct sql *ending_sql;

    struct ha_sender *senders;
    size_t sender_count;

    /*
     * The walsenders that were there by the first answer after the list in force: a wall clock that jumps is no
     * proof.
     */
    struct old_sender {
        pid_t pid;
        int64_t started_us;
    } * old;
    size_t old_count;
    msec old_of_ms; /* list_since_ms of that list; 0: there was no such answer yet */
};

static const char *state_dir(const struct quorum *q)
{
    return q->a->settings->pgkeep.state_dir;
}

static void forget_list(struct quorum *q)
{
    str_set(&q->list, NULL);
    if (!MUTANT(MARKER_KEPT))
        q->marker = 0;
    marker_cancel(q->marking);
    hold_cancel(q->holding);
    q->marking = NULL;
    q->holding = NULL;
}

/* ---- the promise ---- */

/* The disk says less than it did: its folder was removed, or set back, under our feet. */
static bool is_less(const struct promise *now, const struct promise *before)
{
    return now->term < before->term || (now->term == before->term && now->settled < before->settled);
}

static void write_again(struct quorum *q)
{
    const struct promise *p = &q->promise;
    struct err err = {0};

    bool ok = promise_give(state_dir(q), p->term, p->coordinator, p->settled, &err);
    log_critical("promise.lost", "term %llu was promised, and %s/promise says it no more: %s",
                 (unsigned long long)p->term, state_dir(q), ok ? "written again" : err.text);
}

/*
 * What was read once, or given, holds for as long as this agent lives, whatever becomes of the file: a freeze hangs
 * on it.
 */
static void read_promise(struct quorum *q)
{
    struct promise now;
    struct err err = {0};

    switch (promise_read(state_dir(q), &now, &err)) {
    case PROMISE_READ:
    case PROMISE_ABSENT:
        if (q->promise_known && is_less(&now, &q->promise)) {
            write_again(q);
        } else {
            q->promise = now;
            q->promise_known = true;
        }
        break;
    case PROMISE_UNUSABLE:
        log_error("promise.unusable", "%s", err.text);
        break;
    }
}

/* True: it is on disk, and nothing that was decided before is touched by it. */
static bool carry_out_promise(struct quorum *q, const struct ha_plan_promise *p)
{
    struct err err = {0};

    if (!p->term)
        return true;
    if (loop_clock_ms() < q->promise_not_before_ms)
        return false;
    FAULT_POINT("promise.before");
    bool ok = promise_give(state_dir(q), p->term, p->to, p->settled, &err);
    bool refused = !ok && err.code != ERR_CONFLICT; /* by the disk */
    q->promise_not_before_ms = refused ? loop_clock_ms() + PROMISE_AGAIN_MS : 0;
    if (ok && p->term != q->promise.term)
        log_info("promise.given", "promised term %llu to %s", (unsigned long long)p->term, p->to);
    if (!ok)
        log_error("promise.not_given", "term %llu: %s", (unsigned long long)p->term, err.text);
    read_promise(q);
    FAULT_POINT("promise.after");
    if (!refused)
        agent_wake(q->a);
    return ok && p->settled >= p->term;
}

/* ---- the newest record ---- */

/* What it does not take is held in memory, and tried again with the next look. */
static void write_seen(struct quorum *q)
{
    struct err err = {0};
    bool failed_before = q->seen_due;

    FAULT_POINT("seen.before");
    q->seen_due = !seen_write(state_dir(q), &q->seen, &err);
    if (q->seen_due && !failed_before)
        log_error("record.not_noted", "%s; trying again", err.text);
    FAULT_POINT("seen.after");
}

/* Before anybody decides by it. */
static bool judge_record(const struct cluster *c, uint64_t store, void *arg)
{
    struct quorum *q = arg;
    const struct record_key *now = &c->record;

    if (!recover_is_followed(&q->seen.record, q->seen.store, now, store)) {
        if (!q->refused)
            log_critical(
                "store.of_the_past",
                "the store has a record of term %llu (revision %lld, store %016llx); one of term %llu (revision "
                "%lld, store %016llx) was seen here: it was put back or replaced, and nothing is decided by it",
                (unsigned long long)now->term, (long long)now->mod_revision, (unsigned long long)store,
                (unsigned long long)q->seen.record.term, (long long)q->seen.record.mod_revision,
                (unsigned long long)q->seen.store);
        q->refused = true;
        return false;
    }
    if (q->refused)
        log_info("store.of_now", "the store has a record that may follow what was seen here: going on by it");
    q->refused = false;
    bool same = q->seen.record.mod_revision == now->mod_revision && q->seen.store == store;
    if (!now->present || record_key_is_opaque(now) || (same && !q->seen_due))
        return true;
    if (!same) {
        seen_deinit(&q->seen);
        q->seen.store = store;
        record_key_copy(now, &q->seen.record);
    }
    write_seen(q);
    return true;
}

/* ---- the freeze ---- */

static void forget_freeze(struct quorum *q)
{
    freeze_cancel(q->freeze);
    fence_cancel(q->fence);
    q->freeze = NULL;
    q->fence = NULL;
    q->freezing = 0;
    q->shown = (struct ha_freeze){0};
}

static void freeze_shown(struct quorum *q, enum peer_freeze kind, lsn position, uint32_t timeline, const char *why_not)
{
    term t = q->freezing;

    q->freeze = NULL;
    q->fence = NULL;
    q->freezing = 0;
    q->shown = (struct ha_freeze){.kind = kind, .term = t, .position = position, .timeline = timeline};
    q->shown.failed = kind == PEER_FREEZE_NONE;
    if (q->shown.failed)
        log_warning("freeze.not_shown", "term %llu: %s", (unsigned long long)t, why_not);
    else
        log_info("freeze.shown", "nothing of a term before %llu is acknowledged here any more", (unsigned long long)t);
    FAULT_POINT("freeze.shown");
    agent_wake(q->a);
}

struct told_what {
    char dir[PATH_MAX];
    struct told told;
};

static void write_told(const void *what)
{
    const struct told_what *w = what;

    bool done = told_write(w->dir, &w->told, NULL);
    (void)done; /* the next one is written all the same */
}

/*
 * What a primary has flushed may end in the middle of a record, and after a crash it ends before that. What a standby
 * of its own has replayed ends with one, and so does a marker.
 */
static lsn certain_of_primary(const struct quorum *q, const struct ha_pg *pg)
{
    const struct ha_mesh *mesh = mesh_view(q->a->mesh);
    lsn position = q->marker;

    for (size_t i = 0; mesh && i < mesh->count; i++) {
        const struct peer_state *s = &mesh->at[i].state;
        bool ours = s->in_recovery && str_eq(s->upstream, agent_name(q->a)) && s->timeline == pg->timeline;
        if (ours && s->replayed > position && s->replayed <= pg->flushed)
            position = s->replayed;
    }
    return position;
}

static void note_told(struct quorum *q, const struct ha_pg *pg, const struct pg_facts *f)
{
    const struct datadir_state *d = local_datadir(q->a->local);
    struct ha_health health;

    if (!q->promise.by_quorum || !d || !f || pg->process != HA_PROC_RUNNING || !pg->answered || q->a->freeze.frozen)
        return;
    struct told now = {.incarnation = d->incarnation,
                       .timeline = pg->timeline,
                       .position = f->in_recovery ? f->replay : certain_of_primary(q, pg)};
    q->told_due |= told_note(&q->told, &now);
    if (!q->told_due || loop_clock_ms() < q->told_at_ms || behind_is_busy(q->told_writer))
        return;
    health_view(q->a->health, &health);
    if (health.sick || strlen(state_dir(q)) >= PATH_MAX) /* a disk that hangs would keep the thread */
        return;
    struct told_what what = {.told = q->told};
    str_copy(what.dir, sizeof(what.dir), state_dir(q));
    q->told_due = !behind_run(q->told_writer, &what);
    q->told_at_ms = loop_clock_ms() + TOLD_EVERY_MS;
}

/* Its contents were set back under the same incarnation: they are another one from now on, and count for nothing. */
static bool survives_a_setback(struct quorum *q, uint32_t timeline, lsn position, struct err *err)
{
    const struct datadir_state *d = local_datadir(q->a->local);
    struct pg_instance *i = q->a->instance;
    struct told final = {.incarnation = d ? d->incarnation : 0, .timeline = timeline, .position = position};
    char was[LSN_TEXT_MAX], is[LSN_TEXT_MAX];

    if (!told_is_undercut(&q->told, &final))
        return true;
    log_critical(
        "datadir.set_back",
        "the data directory ends at %s of timeline %u and was at %s: it was set back, and does not count before "
        "the cluster has taken it in anew",
        lsn_text(final.position, is), final.timeline, lsn_text(q->told.position, was));
    bool renewed = incarnation_renew(i->data_dir, i->state_dir, NULL, err);
    read_promise(q);
    local_look_briefly(q->a->local);
    return renewed;
}

static void standby_frozen(const struct freeze_result *r, void *arg)
{
    struct quorum *q = arg;

    q->promote_seen |= r->promote_seen;
    struct err err = r->err;
    bool shown = r->proof != FREEZE_NOT_SHOWN || MUTANT(FREEZE_BY_TIMEOUT);
    shown = shown && survives_a_setback(q, r->timeline, r->position, &err);
    freeze_shown(q, shown ? PEER_FREEZE_STANDBY : PEER_FREEZE_NONE, r->position, r->timeline, err.text);
}

static void primary_fenced(const struct fence_result *r, void *arg)
{
    struct quorum *q = arg;

    freeze_shown(q, r->fenced ? PEER_FREEZE_FENCED : PEER_FREEZE_NONE, r->flushed, r->timeline, r->err.text);
    if (r->fenced) {
        str_set(&q->list, ROSTER_FENCE);
        q->list_since_ms = loop_clock_ms();
        q->list_since_us = wall_clock_ms() * 1000;
        q->marker = 0;
        q->held = true;
    }
}

/* The files say already that nothing is received: a->freeze.frozen is in force. */
static void freeze_standby(struct quorum *q, msec budget_ms)
{
    struct agent *a = q->a;
    struct config_hold hold;
    struct err err = {0};
    struct conf_input in = config_input(a, CONF_STANDBY, NULL, &hold);
    const struct pg_facts *f = local_facts(a->local);
    struct freeze_spec spec = {
        .instance = a->instance,
        .input = &in,
        .postmaster = q->postmaster,
        .noted_timeline = f && f->receiver.present ? f->receiver.received_tli : q->promise.position_timeline,
        .promote_seen = q->promote_seen,
        .budget_ms = budget_ms,
    };

    if (!freeze_start(a->loop, &spec, standby_frozen, q, &q->freeze, &err)) {
        log_error("freeze.files", "%s", err.text);
        q->freeze = NULL;
        q->freezing = 0;
        q->freeze_not_before_ms = loop_clock_ms() + FREEZE_AGAIN_MS;
    }
    config_hold_deinit(&hold);
}

/* Stopped, and with it everything that could acknowledge. Where it ended is known of a good end only. */
static void freeze_stopped(struct quorum *q, const struct ha_pg *pg, term t)
{
    bool end_known = pg->control == HA_CONTROL_SHUT_DOWN || MUTANT(END_OF_CONTROL);
    struct ha_freeze shown = {.kind = PEER_FREEZE_STOPPED,
                              .term = t,
                              .position = end_known ? pg->control_position : 0,
                              .timeline = pg->control_timeline};

    if (q->shown.kind == shown.kind && q->shown.term == t && q->shown.position == shown.position)
        return;
    forget_freeze(q);
    q->shown = shown;
    FAULT_POINT("freeze.stopped");
    agent_wake(q->a);
}

static void freeze(struct quorum *q, term t)
{
    struct agent *a = q->a;
    struct ha_pg pg;
    msec budget_ms = profile_of(a->dynamic->failover_profile)->freeze_ms;

    local_view(a->local, &pg);
    if (pg.process == HA_PROC_NONE && a->jobs->state != HA_JOB_RUNNING) {
        freeze_stopped(q, &pg, t);
        return;
    }
    bool done = q->freezing == t || (q->shown.term == t && (q->shown.kind != PEER_FREEZE_NONE || q->shown.failed));
    bool answers = pg.process == HA_PROC_RUNNING && pg.answered && pg.accepting && a->instance && q->postmaster;
    if (done || !answers || a->jobs->state == HA_JOB_RUNNING || loop_clock_ms() < q->freeze_not_before_ms)
        return;
    forget_freeze(q);
    reload_cancel(q->loading);
    q->loading = NULL;
    q->freezing = t;
    FAULT_POINT("freeze.begin");
    log_info("freeze.begin", "freezing for term %llu", (unsigned long long)t);
    if (pg.in_recovery)
        freeze_standby(q, budget_ms);
    else
        q->fence = fence_start(a->loop, a->instance, q->postmaster, budget_ms, primary_fenced, q);
}

/* For an agent that comes up while the store is away. */
static void note_mode(struct quorum *q, bool by_quorum)
{
    struct err err = {0};

    if (!q->promise_known || by_quorum == q->promise.by_quorum)
        return;
    if (!promise_note_mode(state_dir(q), by_quorum, &err))
        log_error("promise.mode", "%s", err.text);
    read_promise(q);
}

/*
 * What the files of this node have to say, whoever writes them next. Before the record is read: what they say. In
 * quorum mode that is known from the disk; beside Patroni a list may be in force that its line must not be taken from.
 */
static void hold_files(struct quorum *q, const struct ha_plan *p)
{
    struct agent *a = q->a;
    const struct cluster *c = registry_cluster(a->registry);
    const struct record_key *r = c && c->record.present ? &c->record : NULL;

    bool by_quorum = r ? r->mode == RECORD_QUORUM : q->promise.by_quorum;
    bool stands = !r && !c && (a->freeze.names_floor || (a->instance && names_floor_stands(a->instance)));
    const char *floor = by_quorum || (r && r->mode == RECORD_PATRONI) || stands ? NAMES_FENCE : NULL;

    note_mode(q, by_quorum);
    if ((floor == NULL) != (a->freeze.names_floor == NULL)) {
        a->reload_needed = true;
        q->floor_ms = loop_clock_ms();
        forget_list(q);
    }
    a->freeze = (struct conf_freeze){.frozen = p->freeze != 0, .names_floor = floor};
}

bool quorum_carry_out(struct quorum *q, const struct ha_plan *p, msec *again_ms)
{
    if (!carry_out_promise(q, &p->promise)) {
        *again_ms = msec_min(*again_ms, q->promise_not_before_ms ? q->promise_not_before_ms : MSEC_NEVER);
        return false;
    }
    hold_files(q, p);
    if (p->freeze)
        freeze(q, p->freeze);
    else if (q->freezing || q->shown.term)
        forget_freeze(q);
    return true;
}

/* ---- the list ---- */

static void loaded(const struct reload_result *r, void *arg)
{
    struct quorum *q = arg;

    q->loading = NULL;
    forget_list(q);
    if (r->proved) {
        sql_free(r->take_sql);
        str_set(&q->list, q->loading_list);
        q->list_since_ms = loop_clock_ms();
        q->list_since_us = r->connected_us;
        q->list_failed_ms = 0;
        log_info("names.loaded", "synchronous_standby_names = '%s'", q->list);
    } else {
        q->list_failed_ms = loop_clock_ms();
        str_set(&q->list_why, r->err.text);
        log_error("names.not_loaded", "synchronous_standby_names = '%s': %s", q->loading_list, r->err.text);
    }
    FAULT_POINT("names.loaded");
    local_probe(q->a->local);
    agent_wake(q->a);
}

void quorum_load_names(struct quorum *q, const char *list)
{
    struct agent *a = q->a;
    struct err err = {0};
    bool fence = str_eq(list, ROSTER_FENCE);

    if (q->loading || !q->postmaster || !a->instance)
        return;
    if (str_empty(list)) { /* what was seen to wait, or is being seen to, was so before it */
        hold_cancel(q->holding);
        q->holding = NULL;
        q->held = false;
    }
    str_set(&q->loading_list, list);
    FAULT_POINT("names.load");
    /* The floor and the include have to stand in postgresql.conf before the file that is included means anything. */
    if (a->reload_needed &&
        !config_apply(a, local_facts(a->local)->in_recovery ? CONF_STANDBY : CONF_PRIMARY, NULL, &err))
        log_error("postgresql.files", "%s, keeping the old files", err.text);
    bool ok =
        fence ? names_drop(a->loop, a->instance, q->postmaster, NAMES_BUDGET_MS, loaded, q, &q->loading, &err)
              : names_load(a->loop, a->instance, q->postmaster, list, NAMES_BUDGET_MS, loaded, q, &q->loading, &err);
    if (ok)
        return;
    q->loading = NULL;
    forget_list(q);
    q->list_failed_ms = loop_clock_ms();
    str_set(&q->list_why, err.text);
    log_error("names.files", "%s", err.text);
}

/* ---- marker and walsenders ---- */

static void marked(lsn end, const struct err *err, void *arg)
{
    struct quorum *q = arg;

    q->marking = NULL;
    if (err)
        log_warning("marker.failed", "%s", err->text);
    else
        q->marker = end;
    FAULT_POINT("marker.written");
    local_probe(q->a->local);
    agent_wake(q->a);
}

static void commits_wait(const struct err *err, void *arg)
{
    struct quorum *q = arg;

    q->holding = NULL;
    q->held = !err;
    FAULT_POINT("marker.held");
    if (err) {
        log_warning("fence.passed", "%s", err->text);
        agent_wake(q->a);
        return;
    }
    q->marking = marker_write(q->a->loop, q->a->instance, q->marking_term, MARKER_BUDGET_MS, marked, q);
}

/* Under the fence it is shown first that it holds: what went by before that is before the marker. */
void quorum_write_marker(struct quorum *q, term t)
{
    struct agent *a = q->a;

    if (q->marking || q->holding || q->loading || !q->list || !a->instance)
        return;
    q->marking_term = t;
    if (str_eq(q->list, ROSTER_FENCE))
        q->holding = hold_prove(a->loop, a->instance, MARKER_BUDGET_MS, commits_wait, q);
    else
        q->marking = marker_write(a->loop, a->instance, t, MARKER_BUDGET_MS, marked, q);
}

static void sender_ended(const struct err *err, void *arg)
{
    struct quorum *q = arg;

    q->ending = NULL;
    if (err)
        log_warning("walsender.not_ended", "%s", err->text);
    sql_free(q->ending_sql);
    q->ending_sql = NULL;
    local_probe(q->a->local);
}

/* A member's, by the slot that is its own. */
static bool is_own(const struct pg_walsender *w)
{
    AUTO(cstr) char *slot = slot_name_from_member(w->application_name);

    return w->physical && str_eq(w->slot_name, slot);
}

void quorum_end_sender(struct quorum *q, uint32_t pid, const char *name)
{
    const struct pg_facts *f = local_facts(q->a->local);
    struct agent *a = q->a;

    for (size_t i = 0; f && i < f->sender_count && !q->ending; i++) {
        if ((uint32_t)f->senders[i].pid != pid)
            continue;
        struct sql_target target = pg_instance_local(a->instance, NULL);
        log_warning("walsender.ended", "ending walsender %u, which would be counted as %s", pid, name);
        if (!is_own(&f->senders[i])) /* else it only has an old list */
            breach_watch_walsender(a->breaches, &f->senders[i]);
        q->ending_sql = sql_new(a->loop, &target);
        q->ending = senders_end_one(a->loop, q->ending_sql, f->senders[i].pid, f->senders[i].started_us,
                                    END_SENDER_BUDGET_MS, sender_ended, q);
    }
}

/* ---- what is seen ---- */

static void forget_postmaster(struct quorum *q)
{
    forget_freeze(q);
    forget_list(q);
    reload_cancel(q->loading);
    q->loading = NULL;
    q->promote_seen = false;
    q->held = false;
    q->list_failed_ms = 0;
}

/* What the new backends of a server that was there before this agent have in force, and the files agree with. */
static void adopt_list(struct quorum *q, const struct pg_facts *f)
{
    bool settled = q->a->freeze.names_floor && !q->a->reload_needed && f && f->asked_ms > q->floor_ms + ADOPT_MS;

    if (q->list || q->loading || q->list_failed_ms || !settled || f->conf_error_count || !f->synchronous_standby_names)
        return;
    str_set(&q->list, f->synchronous_standby_names);
    q->list_since_ms = loop_clock_ms();
    q->list_since_us = wall_clock_ms() * 1000;
}

/* What is in force is not known, or not what was proved: who leads goes by the fence, who is frozen freezes again. */
static void distrust_list(struct quorum *q, const char *other)
{
    log_warning("names.another", "synchronous_standby_names is not ours: %s", other);
    breach_watch_names(q->a->breaches, other);
    forget_list(q);
    q->floor_ms = loop_clock_ms();
    if (q->shown.kind == PEER_FREEZE_FENCED)
        forget_freeze(q);
    agent_wake(q->a);
}

void quorum_names_overridden(struct quorum *q)
{
    distrust_list(q, "it stood in postgresql.auto.conf (ALTER SYSTEM), which is read after our files");
}

/* The server tells of another list than the one that was proved. */
static void notice_another_list(struct quorum *q, const struct pg_facts *f)
{
    bool settled = q->list && !q->loading && !q->fence && f && f->synchronous_standby_names &&
                   f->asked_ms > msec_max(q->list_since_ms, q->floor_ms) + ADOPT_MS;

    if (!settled || str_eq(q->list, f->synchronous_standby_names))
        return;
    AUTO(cstr) char *other = str_fmt("it was '%.100s'", f->synchronous_standby_names);
    distrust_list(q, other);
}

void quorum_notice(struct quorum *q)
{
    struct ha_pg pg;
    struct err err = {0};
    pid_t postmaster = local_postmaster(q->a->local);
    const struct pg_facts *f = local_facts(q->a->local);

    local_view(q->a->local, &pg);
    if (postmaster != q->postmaster || pg.deaths != q->deaths) {
        forget_postmaster(q);
        q->postmaster = postmaster;
        q->deaths = pg.deaths;
        /* One that was there before this agent: what it was asked for and a freeze has seen is not known here. */
        q->promote_seen = postmaster && !q->a->jobs->id;
    }
    note_told(q, &pg, f);
    adopt_list(q, f);
    notice_another_list(q, f);
    uint32_t timeline = f && f->receiver.present ? f->receiver.received_tli : 0;
    if (!timeline || timeline == q->promise.position_timeline || !q->promise_known)
        return;
    if (promise_note_timeline(state_dir(q), timeline, &err))
        read_promise(q);
    else
        log_error("promise.timeline", "%s", err.text);
}

static void note_old_senders(struct quorum *q, const struct pg_facts *f)
{
    if (!f || q->old_of_ms == q->list_since_ms || f->asked_ms <= q->list_since_ms)
        return;
    q->old = mem_grow(q->old, f->sender_count + 1, sizeof(*q->old));
    q->old_count = f->sender_count;
    q->old_of_ms = q->list_since_ms;
    for (size_t i = 0; i < f->sender_count; i++)
        q->old[i] = (struct old_sender){.pid = f->senders[i].pid, .started_us = f->senders[i].started_us};
}

/* It began after the list that is in force was loaded. */
static bool is_after_list(const struct quorum *q, const struct pg_walsender *w)
{
    if (q->old_of_ms != q->list_since_ms)
        return false;
    for (size_t i = 0; i < q->old_count; i++)
        if (q->old[i].pid == w->pid && q->old[i].started_us == w->started_us)
            return false;
    return w->started_us > q->list_since_us;
}

static void see_senders(struct quorum *q)
{
    const struct pg_facts *f = local_facts(q->a->local);
    size_t count = f ? f->sender_count : 0;

    note_old_senders(q, f);
    q->senders = mem_grow(q->senders, count + 1, sizeof(*q->senders));
    q->sender_count = count;
    for (size_t i = 0; i < count; i++) {
        const struct pg_walsender *w = &f->senders[i];
        AUTO(cstr) char *slot = slot_name_from_member(w->application_name);
        q->senders[i] = (struct ha_sender){
            .name = w->application_name,
            .pid = (uint32_t)w->pid,
            .physical = w->physical,
            .own_slot = str_eq(w->slot_name, slot),
            .starting = str_eq(w->state, "startup"),
            .streaming = str_eq(w->state, "streaming"),
            .after_list = is_after_list(q, w),
            .flushed = w->flush,
        };
    }
}

void quorum_view(struct quorum *q, struct ha_view *v)
{
    const struct datadir_state *d = local_datadir(q->a->local);

    v->quorum.promise =
        (struct ha_promise){.known = q->promise_known, .term = q->promise.term, .settled = q->promise.settled};
    str_copy(v->quorum.promise.to, sizeof(v->quorum.promise.to), q->promise.coordinator);
    v->quorum.incarnation = d ? d->incarnation : 0;
    v->quorum.seen = q->seen.record.present ? &q->seen.record : NULL;
    v->quorum.seen_store = q->seen.store;
    v->quorum.freeze = q->shown;
    v->quorum.names = (struct ha_names){.list = q->list,
                                        .since_ms = q->list_since_ms,
                                        .may_pass = !q->held,
                                        .loading = q->loading != NULL,
                                        .failed_ms = q->list_failed_ms,
                                        .why_not = q->list_why};
    v->quorum.marker = (struct ha_marker){.at = q->marker, .writing = q->marking || q->holding};
    see_senders(q);
    v->quorum.senders = q->senders;
    v->quorum.sender_count = q->sender_count;
}

/*
 * PostgreSQL stops, or has stopped in good order, because another is to lead: this node elects that one itself. One
 * that fell over on the way is a failure like any other.
 */
static bool hands_over(const struct agent *a, const struct cluster *c)
{
    struct ha_pg pg;

    if (!a->memory.handover.stopped_for || !c || !c->failover.present ||
        c->failover.mod_revision != a->memory.handover.stopped_for)
        return false;
    local_view(a->local, &pg);
    return pg.process == HA_PROC_RUNNING || pg.shut_down_at || pg.control == HA_CONTROL_SHUT_DOWN ||
           pg.control == HA_CONTROL_UNKNOWN;
}

static uint32_t timeline_of_control(const struct quorum *q)
{
    struct ha_pg pg;

    local_view(q->a->local, &pg);
    return pg.control_timeline;
}

void quorum_state(struct quorum *q, struct peer_state *s)
{
    const struct datadir_state *d = local_datadir(q->a->local);
    const struct cluster *c = registry_cluster(q->a->registry);
    const struct record_key *now = c ? &c->record : &q->seen.record; /* a store that is away is not waited for */
    const struct record_key *r = now->present && now->mode == RECORD_QUORUM ? now : NULL;
    bool settled = r && r->phase != RECORD_TERM && r->term >= q->promise.term;

    s->record_term = q->seen.record.term;
    s->record_revision = q->seen.record.mod_revision;
    s->store = q->seen.store;
    s->promised = q->promise.term;
    str_copy(s->coordinator, sizeof(s->coordinator), q->promise.coordinator);
    bool ours = r && r->phase == RECORD_TERM && failover_is_ours(agent_name(q->a), r);
    s->calls = ours && r->term == q->promise.term ? r->term : 0;
    s->incarnation = d ? d->incarnation : 0;
    s->wants_out = q->a->plan.wants_out;
    s->planned = q->a->memory.restart.under_way || q->a->dynamic->pause || s->ending || hands_over(q->a, c);
    if (settled && str_eq(s->upstream, r->leader))
        s->upstream_term = r->term;
    if (!q->a->freeze.frozen || q->shown.kind == PEER_FREEZE_NONE)
        return;
    s->freeze = q->shown.kind;
    s->frozen_term = q->shown.term;
    if (MUTANT(POSITION_OF_PROBE) || MUTANT(FREEZE_BY_TIMEOUT))
        return;
    s->position = q->shown.position;
    s->timeline = MUTANT(TIMELINE_OF_CONTROL) && q->shown.timeline ? timeline_of_control(q) : q->shown.timeline;
}

bool quorum_waits(const struct quorum *q, const struct ha_view *v)
{
    const struct record_key *r = mode_record(v);

    if (q->a->freeze.frozen && q->shown.kind == PEER_FREEZE_NONE)
        return true;
    if (beside_patroni(v) && v->lease.owner && pg_is_primary(v)) {
        const struct record_key *own = &v->store.cluster->record;
        return own->joining || !q->list || (str_eq(q->list, ROSTER_FENCE) && own->open.count);
    }
    if (r && leader_is_other(v) && pg_is_standby(v)) /* the leader waits for our place in its history */
        return r->phase == RECORD_ELECTED || r->joining;
    if (!r || !mode_may_lead(v) || !pg_is_primary(v))
        return false;
    bool fenced = q->list && str_eq(q->list, ROSTER_FENCE);
    return r->phase == RECORD_ELECTED || r->joining || (fenced && r->open.count);
}

void quorum_watch_store(struct quorum *q)
{
    registry_judge(q->a->registry, judge_record, q);
}

struct quorum *quorum_new(struct agent *a)
{
    struct quorum *q = mem_zero(1, sizeof(*q));
    struct err err = {0};

    q->a = a;
    read_promise(q);
    q->told_writer = behind_new(write_told, sizeof(struct told_what));
    told_read(state_dir(q), &q->told);
    if (!seen_read(state_dir(q), &q->seen, &err))
        log_error("record.unusable", "%s", err.text);
    a->freeze.frozen = q->promise_known && q->promise.term > q->promise.settled;
    a->freeze.names_floor = q->promise.by_quorum ? NAMES_FENCE : NULL;
    return q;
}

void quorum_free(struct quorum *q)
{
    if (!q)
        return;
    forget_postmaster(q);
    seen_deinit(&q->seen);
    behind_free(q->told_writer);
    sql_free(q->ending_sql);
    senders_cancel(q->ending);
    free(q->list);
    free(q->loading_list);
    free(q->list_why);
    free(q->senders);
    free(q->old);
    free(q);
}
