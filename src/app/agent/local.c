#include "app/agent/local.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/mutant.h"
#include "base/str.h"
#include "io/log.h"
#include "io/loop.h"
#include "io/process.h"
#include "pg/history.h"
#include "pg/instance.h"
#include "wire/guard.h"

enum {
    PROBE_EVERY_MS = 2000,  /* how old positions may be, and the knowledge that it answers */
    WHOLE_EVERY_MS = 4500,  /* all else: slots, walsenders, settings */
    CONTROL_EVERY_MS = 5,   /* clients wait for its next state */
    PROBE_HURRY_MS = 10,    /* the same, for an answer */
    OPENING_EVERY_MS = 250, /* asked all the same: pg_control is a hint */
    PROBE_BUDGET_MS = 3000, /* a server that needs longer is silent, which is a fact of its own */
    CONTROL_BUDGET_MS = 5000,
    TELL_AGAIN_MS = 30000,
    RELOAD_MS = 2000, /* a reload needs its time until sessions show it; earlier answers say nothing about it */
};

struct local {
    struct loop *loop;
    local_changed_fn *fn;
    void *arg;
    struct pg_instance *instance;

    /* guard */
    bool guard_known;
    enum guard_pg_state pg_state;
    pid_t postmaster;
    bool adopted;
    unsigned int deaths;

    /* probe */
    struct probe *probe;
    struct loop_timer timer;
    enum local_watch watch;
    msec pace_ms;     /* between two questions in calm; 0: PROBE_EVERY_MS */
    msec moved_ms;    /* when the agent was last woken because a position moved */
    msec asked_ms;    /* last question of the timer's */
    bool shut_down;   /* seen in pg_control while it ends */
    lsn shut_down_at; /* the checkpoint */
    bool answered, accepting;
    bool failed;                                       /* the last question was refused */
    bool awaited;                                      /* somebody waits for the answer, whether it is news or not */
    enum { ASK_NOTHING, ASK_IN_BRIEF, ASK_ALL } again; /* after the question under way */
    msec whole_ms;                                     /* the last one came */
    msec answered_ms;
    struct pg_facts *facts;
    int programs_version;   /* of the next server; 0: not known */
    uint32_t last_timeline; /* a standby cannot tell its timeline once the receiver is gone */
    msec stopped_ms;
    char trouble[ERR_TEXT_MAX]; /* as logged */
    msec tell_again_ms;

    /* files */
    struct datadir_state datadir;
    bool looked;
    struct pg_control_job *control_job;
    struct pg_control control;
    bool control_known;
    char system_id[24];

    char *attached, *attached_conninfo;
    msec attached_ms;
    bool witness;
};

static bool runs(const struct local *p)
{
    return p->pg_state == GUARD_PG_RUNNING;
}

static void tell_trouble(struct local *p, const char *text)
{
    if (loop_clock_ms() < p->tell_again_ms && str_eq(p->trouble, text))
        return;
    p->tell_again_ms = loop_clock_ms() + TELL_AGAIN_MS;
    str_copy(p->trouble, sizeof(p->trouble), text);
    log_warning("postgres.trouble", "%s", text);
}

/* Stopped by a signal or a debugger: neither its pidfd nor open connections show that. */
static void look_at_process(struct local *p)
{
    struct process_stat stat;
    bool stopped = process_stat_read(p->postmaster, &stat) && (stat.state == 'T' || stat.state == 't');

    if (!stopped) {
        p->stopped_ms = 0;
    } else if (!p->stopped_ms) {
        p->stopped_ms = loop_clock_ms();
        p->fn(p->arg);
    }
}

static void forget_answers(struct local *p)
{
    p->answered = p->accepting = p->awaited = false;
    p->again = ASK_NOTHING;
    if (p->watch == LOCAL_STOPPING)
        p->watch = LOCAL_CALM;
    p->shut_down = false;
    p->stopped_ms = 0;
    pg_facts_free(p->facts);
    p->facts = NULL;
}

static void remember(struct local *p, struct pg_facts *take_facts)
{
    pg_facts_free(p->facts);
    p->facts = take_facts;
    if (p->facts->timeline)
        p->last_timeline = p->facts->timeline;
    str_copy(p->system_id, sizeof(p->system_id), p->facts->system_identifier);
}

/* A server that starts, stops or is slow is told by its states; one that refuses us needs somebody's hand. */
static void tell_refusal(struct local *p, const struct probe_answer *answer)
{
    /* One that fails once has met a promotion between two of its functions. */
    bool again = answer->status == SQL_FAILED && p->failed;
    p->failed = answer->status == SQL_FAILED;
    if (answer->status == SQL_DENIED || again)
        tell_trouble(p, answer->err.text);
}

/* True if anything moved. */
static bool take_positions(struct pg_facts *f, const struct probe_answer *answer)
{
    lsn received = answer->receive > answer->replay ? answer->receive : answer->replay;
    lsn position = f->in_recovery ? received : answer->current;
    bool moved = position != f->position || answer->replay != f->replay;

    f->receive = answer->receive;
    f->replay = answer->replay;
    f->current = answer->current;
    f->current_flush = answer->current_flush;
    f->receiver.last_msg_epoch_us = answer->last_msg_epoch_us;
    f->position = position;
    return moved;
}

/* Positions move all the time; decisions that wait for them have them asked for. */
static bool is_news(struct local *p, bool moved)
{
    msec now_ms = loop_clock_ms();

    if (p->awaited || p->watch != LOCAL_CALM || !p->accepting)
        return true;
    if (!moved || (p->pace_ms && now_ms < p->moved_ms + PROBE_EVERY_MS))
        return false;
    p->moved_ms = now_ms;
    return true;
}

/* Half a copy does not come up: somebody completed it, or put something better in its place. */
static void disprove_clone(struct local *p)
{
    struct err err = {0};

    if (!p->adopted || p->datadir.kind != DATADIR_HALF || p->datadir.marker != DATADIR_MARK_CLONE)
        return;
    if (!datadir_unmark(p->instance->state_dir, &err)) {
        tell_trouble(p, err.text);
        return;
    }
    log_warning("datadir.proved",
                "a clone into %s was broken off, but the server that was started there answers: "
                "its data is taken for good",
                p->instance->data_dir);
    local_look(p);
}

static void probed(const struct probe_answer *answer, void *arg)
{
    struct local *p = arg;

    if (!runs(p) || p->watch == LOCAL_STOPPING) {
        pg_facts_free(answer->take_facts);
        return;
    }
    bool answered = answer->status == SQL_DONE || answer->status == SQL_STARTING;
    bool news = true;
    if (answer->status == SQL_DONE && answer->brief) {
        if (!p->facts)
            return; /* forgotten meanwhile; the next question is a whole one */
        news = is_news(p, take_positions(p->facts, answer));
        p->answered_ms = answer->asked_ms;
    } else if (answer->status == SQL_DONE) {
        remember(p, answer->take_facts);
        disprove_clone(p);
        p->whole_ms = loop_clock_ms();
        p->answered_ms = p->facts->asked_ms;
    } else {
        tell_refusal(p, answer);
    }
    p->answered = answered;
    p->accepting = answer->status == SQL_DONE;
    p->awaited = p->again != ASK_NOTHING;
    if (p->again == ASK_IN_BRIEF)
        probe_ask_in_brief(p->probe, PROBE_BUDGET_MS);
    else if (p->again == ASK_ALL)
        probe_ask(p->probe, PROBE_BUDGET_MS);
    p->again = ASK_NOTHING;
    if (news)
        p->fn(p->arg); /* REST publishes every whole answer, changed or not */
}

void local_probe(struct local *p)
{
    if (!p->probe || !runs(p) || p->watch == LOCAL_STOPPING)
        return;
    p->awaited = true;
    if (probe_asking(p->probe)) /* in brief, maybe, or sent before the asker's moment */
        p->again = ASK_ALL;
    else
        probe_ask(p->probe, PROBE_BUDGET_MS);
}

/*
 * To learn the timeline of a standby without a receiver takes a connection of its own, while clients wait.
 * Replay goes to another timeline by its history file only, which is in pg_wal then (timeline.c).
 */
static bool timeline_stands(const struct local *p)
{
    uint32_t newest = 0;

    return p->facts && p->facts->timeline && history_newest(p->instance->data_dir, &newest, NULL) &&
           newest <= p->facts->timeline;
}

void local_refresh(struct local *p)
{
    if (!timeline_stands(p)) {
        local_probe(p);
        return;
    }
    if (!p->probe || !runs(p) || p->watch == LOCAL_STOPPING)
        return;
    p->awaited = true;
    if (!probe_asking(p->probe))
        probe_ask_in_brief(p->probe, PROBE_BUDGET_MS);
    else if (p->again == ASK_NOTHING)
        p->again = ASK_IN_BRIEF;
}

static enum ha_data data_of(const struct local *p);
static enum ha_process process_of(const struct local *p);

static void look_at_answers(struct local *p)
{
    if (!p->probe || probe_asking(p->probe))
        return;
    if (p->watch == LOCAL_ANSWER && !p->accepting && datadir_postmaster_starts(p->instance->data_dir, p->postmaster))
        return;
    p->asked_ms = loop_clock_ms();
    if (p->facts && (p->watch != LOCAL_CALM || loop_clock_ms() - p->whole_ms < WHOLE_EVERY_MS))
        probe_ask_in_brief(p->probe, PROBE_BUDGET_MS);
    else
        probe_ask(p->probe, PROBE_BUDGET_MS);
}

static void watch_the_stop(struct local *p)
{
    lsn checkpoint = 0;

    /* One that has not answered since its start may show how the last one ended. */
    if (p->shut_down || !p->facts || pg_control_glance(p->instance->data_dir, &checkpoint) != PG_CONTROL_SHUT_DOWN)
        return;
    p->shut_down = true;
    p->shut_down_at = checkpoint;
    p->fn(p->arg);
}

/* The state is written right after the server has begun to take writes (xlog.c, StartupXLOG). */
static void watch_it_open(struct local *p)
{
    lsn checkpoint = 0;

    if (pg_control_glance(p->instance->data_dir, &checkpoint) == PG_CONTROL_IN_PRODUCTION ||
        loop_clock_ms() - p->asked_ms >= OPENING_EVERY_MS)
        look_at_answers(p);
}

static void look_again_later(struct local *p)
{
    msec now_ms = loop_clock_ms();

    switch (p->watch) {
    case LOCAL_CALM:
        if (p->pace_ms)
            loop_timer_set(&p->timer, now_ms + p->pace_ms);
        else
            loop_timer_set_about(&p->timer, now_ms + PROBE_EVERY_MS);
        break;
    case LOCAL_ANSWER:
        loop_timer_set(&p->timer, now_ms + PROBE_HURRY_MS);
        break;
    case LOCAL_OPENING:
    case LOCAL_STOPPING:
        loop_timer_set(&p->timer, now_ms + CONTROL_EVERY_MS);
        break;
    }
}

static void look_at_running(struct local *p)
{
    look_at_process(p);
    if (p->datadir.kind == DATADIR_HALF || p->datadir.kind == DATADIR_UNREADABLE)
        local_look_briefly(p); /* an operator may take the mark away */
    switch (p->watch) {
    case LOCAL_CALM:
    case LOCAL_ANSWER:
        look_at_answers(p);
        break;
    case LOCAL_OPENING:
        watch_it_open(p);
        break;
    case LOCAL_STOPPING:
        watch_the_stop(p);
        break;
    }
}

static void timer_due(void *arg)
{
    struct local *p = arg;

    if (runs(p)) {
        look_at_running(p);
    } else if (p->guard_known && !p->control_job &&
               (process_of(p) == HA_PROC_UNKNOWN || data_of(p) == HA_DATA_UNKNOWN)) {
        local_look(p); /* it could not be read: again, for as long as it takes */
    }
    look_again_later(p);
}

void local_watch(struct local *p, enum local_watch what)
{
    bool stopped_asking = p->watch == LOCAL_STOPPING;

    if (p->watch == what || (what == LOCAL_STOPPING && !runs(p)))
        return;
    p->watch = what;
    p->shut_down = false;
    if (what == LOCAL_STOPPING)
        p->accepting = false;
    if (what == LOCAL_CALM && !stopped_asking)
        look_again_later(p);
    else
        loop_timer_set(&p->timer, loop_clock_ms());
}

static void control_read(const struct pg_control *control, const struct err *err, void *arg)
{
    struct local *p = arg;

    p->control_job = NULL;
    p->control_known = control != NULL;
    if (control) {
        p->control = *control;
        str_copy(p->system_id, sizeof(p->system_id), control->system_identifier);
    } else {
        tell_trouble(p, err->text);
    }
    p->fn(p->arg);
}

void local_look_briefly(struct local *p)
{
    struct err err = {0};

    if (!p->instance)
        return;
    datadir_look(p->instance->data_dir, p->instance->state_dir, &p->datadir, &err);
    if (p->datadir.kind == DATADIR_UNREADABLE)
        tell_trouble(p, err.text);
    p->looked = true;
}

void local_look(struct local *p)
{
    struct err err = {0};

    if (!p->instance)
        return;
    local_look_briefly(p);
    p->control_known = false;
    if (p->control_job)
        pg_control_cancel(p->control_job);
    p->control_job = NULL;

    bool has_control = p->datadir.kind == DATADIR_VALID;
    if (!has_control) {
        p->system_id[0] = '\0';
        p->last_timeline = 0;
        return;
    }
    if (!pg_control_read(p->loop, p->instance->bin, p->instance->data_dir, CONTROL_BUDGET_MS, control_read, p,
                         &p->control_job, &err))
        tell_trouble(p, err.text);
}

void local_guard_state(struct local *p, const struct guard_msg *state)
{
    bool was_running = runs(p);
    pid_t was = p->postmaster;

    p->guard_known = true;
    p->pg_state = (enum guard_pg_state)state->pg_state;
    p->postmaster = state->postmaster_pid;
    p->adopted = state->adopted || p->pg_state == GUARD_PG_FOREIGN;
    p->deaths = state->exited;
    if (runs(p) && (!was_running || was != p->postmaster)) {
        forget_answers(p);
        if (p->probe)
            probe_reset(p->probe, NULL);
        local_look(p);
        loop_timer_set(&p->timer, loop_clock_ms());
    } else if (!runs(p) && was_running) {
        forget_answers(p);
        local_look(p);
    }
    p->fn(p->arg);
}

void local_set_witness(struct local *p)
{
    p->witness = true;
}

static enum ha_data data_of(const struct local *p)
{
    if (p->witness)
        return HA_DATA_EMPTY;
    if (!p->looked)
        return HA_DATA_UNKNOWN;
    switch (p->datadir.kind) {
    case DATADIR_ABSENT:
    case DATADIR_EMPTY:
        /* A marker over nothing is what a clone that never wrote a byte leaves. */
        return HA_DATA_EMPTY;
    case DATADIR_VALID:
        return HA_DATA_VALID;
    case DATADIR_FOREIGN:
        return HA_DATA_FOREIGN;
    case DATADIR_UNREADABLE:
        return HA_DATA_UNKNOWN;
    case DATADIR_HALF:
        break;
    }
    switch (p->datadir.marker) {
    case DATADIR_MARK_BOOTSTRAP:
        return HA_DATA_BOOTSTRAPPING;
    case DATADIR_MARK_CLONE:
        return MUTANT(CLONE_MARK_IGNORED) ? HA_DATA_VALID : HA_DATA_CLONING;
    case DATADIR_MARK_REWIND:
        return MUTANT(REWIND_MARK_IGNORED) ? HA_DATA_VALID : HA_DATA_REWINDING;
    case DATADIR_MARK_NONE:
        break;
    }
    return HA_DATA_UNKNOWN;
}

static enum ha_process process_of(const struct local *p)
{
    if (p->witness)
        return HA_PROC_NONE;
    if (!p->guard_known)
        return HA_PROC_UNKNOWN;
    switch (p->pg_state) {
    case GUARD_PG_NONE:
        /* Nothing may be decided about a stopped instance before its control file was read. */
        return p->looked && (p->datadir.kind != DATADIR_VALID || p->control_known) ? HA_PROC_NONE : HA_PROC_UNKNOWN;
    case GUARD_PG_RUNNING:
    case GUARD_PG_FOREIGN: /* about to be adopted */
        return HA_PROC_RUNNING;
    case GUARD_PG_ORPHANS:
        return MUTANT(ORPHANS_IGNORED) ? HA_PROC_NONE : HA_PROC_ORPHANS;
    }
    return HA_PROC_UNKNOWN;
}

static void control_view(const struct local *p, struct ha_pg *pg)
{
    bool standby = false;
    lsn end = 0;
    uint32_t tli = p->control.checkpoint_tli;

    if (!p->control_known)
        return;
    bool clean = pg_control_end(&p->control, &tli, &end, &standby);
    bool recovering =
        p->control.state == PG_CONTROL_IN_ARCHIVE_RECOVERY || p->control.state == PG_CONTROL_SHUT_DOWN_IN_RECOVERY;
    if (clean)
        pg->control = standby ? HA_CONTROL_SHUT_DOWN_STANDBY : HA_CONTROL_SHUT_DOWN;
    else
        pg->control = recovering ? HA_CONTROL_UNCLEAN_STANDBY : HA_CONTROL_UNCLEAN_PRIMARY;
    pg->control_timeline = tli;
    pg->control_position = clean ? end : p->control.checkpoint;
}

void local_view(const struct local *p, struct ha_pg *ret_pg)
{
    const struct pg_facts *f = p->facts;

    *ret_pg = (struct ha_pg){
        .data = data_of(p),
        .process = process_of(p),
        .adopted = p->adopted,
        .deaths = p->deaths,
        .system_id = local_system_id(p),
        .version = p->datadir.major,
        .server_version = f ? f->server_version : p->programs_version,
        .answered = p->answered,
        .accepting = p->accepting,
        .answered_ms = p->answered_ms,
        .upstream = p->attached,
        .standby_signal = p->datadir.standby_signal,
        .backup_label = p->datadir.backup_label,
        .halted_ms = runs(p) ? p->stopped_ms : 0,
        .shut_down_at = runs(p) && p->shut_down ? p->shut_down_at : 0,
    };
    control_view(p, ret_pg);
    if (!f)
        return;
    ret_pg->in_recovery = f->in_recovery;
    if (!f->in_recovery) /* seen at its start, or put there since: it is about the next start only */
        ret_pg->standby_signal = false;
    ret_pg->timeline = local_timeline(p);
    ret_pg->position = f->position;
    ret_pg->flushed = f->in_recovery ? 0 : f->current_flush;
    ret_pg->replayed = f->in_recovery ? f->replay : f->current;
    ret_pg->streaming = f->receiver.present && str_eq(f->receiver.status, "streaming");
    ret_pg->replay_paused = f->replay_paused;
    ret_pg->checkpointed = f->in_recovery || f->checkpoint_tli == f->timeline;
    ret_pg->pending_restart = f->pending_count > 0;
    if (p->attached && f->asked_ms >= p->attached_ms + RELOAD_MS &&
        !str_eq(p->attached_conninfo ? p->attached_conninfo : "", f->primary_conninfo ? f->primary_conninfo : ""))
        ret_pg->upstream_conninfo_state = "primary_conninfo in force is another";
}

void local_set_pace(struct local *p, msec every_ms)
{
    if (p->pace_ms == every_ms)
        return;
    p->pace_ms = every_ms;
    if (p->watch == LOCAL_CALM)
        look_again_later(p);
}

void local_pulse(struct local *p)
{
    if (!p->probe || !runs(p) || p->watch != LOCAL_CALM)
        return;
    probe_pulse(p->probe);
    if (!probe_asking(p->probe))
        probe_ask_in_brief(p->probe, PROBE_BUDGET_MS);
}

void local_signs(const struct local *p, struct local_signs *ret_signs)
{
    bool asked = p->probe && runs(p) && p->watch != LOCAL_STOPPING;

    *ret_signs = (struct local_signs){
        .runs = runs(p),
        .works = asked && p->facts,
        .silent_since_ms = asked ? probe_silent_since(p->probe) : MSEC_NEVER,
        .halted_ms = runs(p) ? p->stopped_ms : 0,
        .facts = p->facts,
        .answered_ms = p->answered_ms,
    };
}

void local_instance(struct local *p, struct pg_instance *i)
{
    struct sql_target target = pg_instance_local(i, NULL);

    pg_instance_unref(p->instance);
    p->instance = pg_instance_ref(i);
    if (p->probe)
        probe_reset(p->probe, &target);
    else
        p->probe = probe_new(p->loop, &target, probed, p);
    struct sql_target replication = pg_instance_local_replication(i);
    probe_set_replication(p->probe, &replication); /* tells the timeline of a standby without a receiver */
    if (!runs(p))
        local_look(p);
}

void local_programs(struct local *p, int server_version)
{
    p->programs_version = server_version;
    p->fn(p->arg);
}

void local_attached(struct local *p, const char *upstream, const char *conninfo)
{
    p->attached_ms = loop_clock_ms();
    str_set(&p->attached, upstream);
    str_set(&p->attached_conninfo, conninfo);
}

const struct pg_facts *local_facts(const struct local *p)
{
    return p->facts;
}

bool local_answers(const struct local *p)
{
    return p->answered && p->accepting;
}

msec local_answered_ms(const struct local *p)
{
    return p->answered_ms;
}

const struct datadir_state *local_datadir(const struct local *p)
{
    return &p->datadir;
}

const struct pg_control *local_control(const struct local *p)
{
    return p->control_known ? &p->control : NULL;
}

const char *local_system_id(const struct local *p)
{
    return p->system_id[0] ? p->system_id : NULL;
}

pid_t local_postmaster(const struct local *p)
{
    return p->postmaster;
}

uint32_t local_timeline(const struct local *p)
{
    if (p->facts && p->facts->timeline)
        return p->facts->timeline;
    if (p->last_timeline)
        return p->last_timeline;
    if (p->facts)
        return p->facts->checkpoint_tli;
    return p->control_known ? p->control.checkpoint_tli : 0;
}

struct local *local_new(struct loop *l, local_changed_fn *fn, void *arg)
{
    struct local *p = mem_zero(1, sizeof(*p));

    p->loop = l;
    p->fn = fn;
    p->arg = arg;
    loop_timer_init(&p->timer, l, timer_due, p);
    look_again_later(p);
    return p;
}

void local_free(struct local *p)
{
    if (!p)
        return;
    loop_timer_clear(&p->timer);
    if (p->control_job)
        pg_control_cancel(p->control_job);
    probe_free(p->probe);
    pg_facts_free(p->facts);
    pg_instance_unref(p->instance);
    free(p->attached);
    free(p->attached_conninfo);
    free(p);
}
