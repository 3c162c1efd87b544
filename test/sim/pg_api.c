/*
 * src/pg's services to the agent, over the model (pg.h): instances, files, pg_control, the probe, SQL, slots,
 * promotion.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mutant.h"
#include "base/str.h"
#include "io/loop.h"
#include "pg/bin.h"
#include "pg/callbacks.h"
#include "pg/conffile.h"
#include "pg/conflict.h"
#include "pg/control.h"
#include "pg/datadir.h"
#include "pg/file.h"
#include "pg/history.h"
#include "pg/incarnation.h"
#include "pg/instance.h"
#include "pg/names.h"
#include "pg/passfile.h"
#include "pg/probe.h"
#include "pg/promote.h"
#include "pg/report_file.h"
#include "pg/slots.h"
#include "pg/sql.h"
#include "pg/wal_file.h"
#include "test/sim/disk.h"
#include "test/sim/net.h"
#include "test/sim/pg_api.h"
#include "test/sim/session.h"
#include "test/sim/truths.h"
#include "wire/conf/dynamic.h"
#include "wire/conf/settings.h"

enum { FIXED_VERSION = 150020, OLD_VERSION = 150012, MAJOR = 15 };

/* The truth of the older ones has its number. */
static int server_version(void)
{
    return truth(TRUTH_NAMES_MISSED_AT_START) ? OLD_VERSION : FIXED_VERSION;
}

void pg_stands_still(const struct pg *p, const char *what)
{
    if (pg_postmaster_lives(p) || pg_backends_live(p))
        finding("N5", "the data directory of %s is %s while processes of it run", p->host->name, what);
}

struct pg *pg_here(void)
{
    struct pg *p = pg_of(world.current->host->id);

    CHECK(p);
    return p;
}

int pg_host_of(const char *address)
{
    int number = 0;

    if (!address || sscanf(address, "10.0.0.%d", &number) != 1)
        return NOBODY;
    return number - 1;
}

/* ---- programs and instances ---- */

bool pg_bin_find(const struct pg_bin_spec *spec, struct pg_bin **ret_bin, struct err *err)
{
    *ret_bin = mem_zero(1, sizeof(**ret_bin));
    (*ret_bin)->major = MAJOR;
    return true;
}

bool pg_bin_version(struct loop *l, const struct pg_bin *bin, pg_bin_version_fn *done, void *arg, struct err *err)
{
    done(server_version(), NULL, arg);
    return true;
}

bool pg_instance_new(struct settings *settings, struct dynamic *dynamic, struct pg_bin *take_bin,
                     struct pg_instance **ret_instance, struct err *err)
{
    struct pg_instance *i = mem_zero(1, sizeof(*i));

    i->refs = 1;
    i->settings = settings_ref(settings);
    i->dynamic = dynamic_ref(dynamic);
    i->bin = take_bin;
    i->major = MAJOR;
    i->data_dir = settings->postgresql.data_dir;
    i->state_dir = settings->pgkeep.state_dir;
    i->config_dir = settings->postgresql.data_dir;
    i->config_file = str_fmt("%s/postgresql.conf", i->config_dir);
    i->log_path = settings->pgkeep.state_dir; /* a folder: nobody reads a log here */
    *ret_instance = i;
    return true;
}

struct pg_instance *pg_instance_ref(struct pg_instance *i)
{
    if (i)
        i->refs++;
    return i;
}

void pg_instance_unref(struct pg_instance *i)
{
    if (i && --i->refs == 0) {
        settings_unref(i->settings);
        dynamic_unref(i->dynamic);
        free(i->config_file);
        free(i->bin);
        free(i);
    }
}

struct sql_target pg_instance_local(const struct pg_instance *i, const char *dbname)
{
    return (struct sql_target){0};
}

struct sql_target pg_instance_local_replication(const struct pg_instance *i)
{
    return (struct sql_target){.replication = true};
}

bool passfile_write(const struct pg_instance *i, bool *ret_changed, struct err *err)
{
    *ret_changed = false;
    return true;
}

char *primary_conninfo(const struct pg_instance *i, const char *host, int port)
{
    static const char *const user_timeouts[] = {
        [PROFILE_FAST] = "2000", [PROFILE_DEFAULT] = "5000", [PROFILE_WAN] = "15000"}; /* as passfile.c has them */
    AUTO(cstr) char *text = str_fmt("host=%s port=%d application_name=%s", host, port, i->settings->name);

    if (i->dynamic->synchronous_mode == SYNC_MODE_OFF)
        return TAKE(text);
    return str_fmt("%s tcp_user_timeout=%s", text, user_timeouts[i->dynamic->failover_profile]);
}

/* ---- the data directory ---- */

bool datadir_postmaster_starts(const char *data_dir, pid_t postmaster)
{
    return !pg_here()->accepting;
}

void datadir_look(const char *data_dir, const char *state_dir, struct datadir_state *ret_state, struct err *err)
{
    const struct pg *p = pg_here();

    *ret_state = (struct datadir_state){
        .kind = p->disk.marker && p->disk.kind == DATADIR_VALID ? DATADIR_HALF : p->disk.kind,
        .marker = p->disk.marker,
        .major = p->disk.kind == DATADIR_VALID ? MAJOR : 0,
        .standby_signal = p->disk.standby_signal,
        .backup_label = p->disk.backup_label,
        .promote_file = p->disk.promote_file,
        .incarnation = incarnation_look(data_dir, state_dir),
    };
}

bool datadir_clear_promote(const char *data_dir, struct err *err)
{
    struct pg *p = pg_here();

    memset(p->disk.placeholder, 0, sizeof(p->disk.placeholder));
    return promote_withdraw(data_dir, err);
}

bool datadir_clear_signals(const char *data_dir, struct err *err)
{
    pg_here()->disk.standby_signal = false;
    return true;
}

bool datadir_set_standby_signal(const char *data_dir, struct err *err)
{
    pg_here()->disk.standby_signal = true;
    return true;
}

bool datadir_unmark(const char *state_dir, struct err *err)
{
    pg_here()->disk.marker = DATADIR_MARK_NONE;
    return true;
}

bool datadir_move_aside(const char *data_dir, const char *reason, int64_t wall_ms, char **ret_path, struct err *err)
{
    pg_stands_still(pg_here(), "moved aside");
    pg_wipe(pg_here());
    *ret_path = str_fmt("%s.%s", data_dir, reason);
    return true;
}

bool datadir_remove_job(struct loop *l, const char *data_dir, int64_t wall_ms, struct err *err)
{
    pg_stands_still(pg_here(), "removed");
    pg_wipe(pg_here());
    return true;
}

/* ---- histories ---- */

struct history *pg_history_of(struct rec *end)
{
    struct history *h = mem_zero(1, sizeof(*h));
    struct rec *forks[TLI_MAX];
    size_t count = 0;

    h->tli = end->tli;
    for (struct rec *r = end; r && r->tli > 1;) {
        while (r->kind != REC_TIMELINE)
            r = r->skip->tli == r->tli ? r->skip : r->parent;
        r = r->parent;
        forks[count++] = r;
    }
    h->at = mem_zero(count + 1, sizeof(*h->at));
    for (size_t i = 0; i < count; i++)
        h->at[h->count++] =
            (struct history_entry){.tli = forks[count - 1 - i]->tli, .switch_at = forks[count - 1 - i]->end};
    return h;
}

bool history_load(const char *data_dir, uint32_t tli, struct history **ret_history, struct err *err)
{
    struct pg *p = pg_here();

    if (tli == 1)
        return history_parse(1, "", ret_history, err);
    if (tli >= TLI_MAX || !p->disk.history[tli])
        return err_set(err, ERR_NOT_FOUND, "no history of timeline %u", tli);
    *ret_history = pg_history_of(p->disk.history[tli]);
    return true;
}

bool history_newest(const char *data_dir, uint32_t *ret_tli, struct err *err)
{
    *ret_tli = pg_newest_history(pg_here());
    return true;
}

/* What is written is what was received; each record knows its timeline, as the files' names do. */
enum wal_held wal_held_above(const struct wal_place *place, lsn end, uint32_t *ret_tli)
{
    const struct rec *at = wal_at(pg_here()->disk.written, end);

    if (!at)
        return WAL_HELD_UNSURE;
    if (at->tli <= place->replayed_tli)
        return WAL_HELD_NOT;
    *ret_tli = at->tli;
    return WAL_HELD;
}

/* ---- pg_control ---- */

struct pg_control_job {
    struct step step;
    pg_control_fn *done;
    void *arg;
};

struct pg_control pg_control_of(const struct pg *p)
{
    struct pg_control c = {.state = p->disk.state,
                           .checkpoint = p->disk.checkpoint->start,
                           .redo = p->disk.checkpoint->start,
                           .checkpoint_tli = p->disk.checkpoint_tli,
                           .wal_log_hints = true};

    str_copy(c.system_identifier, sizeof(c.system_identifier), p->disk.system_id);
    str_copy(c.state_text, sizeof(c.state_text), "as the model says");
    if (p->disk.standby_signal && p->disk.min_recovery) {
        c.min_recovery = p->disk.min_recovery->end;
        c.min_recovery_tli = p->disk.min_recovery->tli;
    }
    return c;
}

static void control_read(void *arg)
{
    struct pg_control_job *j = arg;
    struct err err = {0};

    if (j->step.cancelled)
        return;
    if (!pg_here()->disk.checkpoint) {
        (void)err_set(&err, ERR_NOT_FOUND, "no control file");
        j->done(NULL, &err, j->arg);
        return;
    }
    struct pg_control control = pg_control_of(pg_here());
    j->done(&control, NULL, j->arg);
}

bool pg_control_read(struct loop *l, const struct pg_bin *bin, const char *data_dir, msec budget_ms,
                     pg_control_fn *done, void *arg, struct pg_control_job **ret_job, struct err *err)
{
    struct pg_control_job *j = mem_zero(1, sizeof(*j));

    *j = (struct pg_control_job){.done = done, .arg = arg};
    event_in(chance_between(3000, 20000), world.current, control_read, j);
    *ret_job = j;
    return true;
}

void pg_control_cancel(struct pg_control_job *j)
{
    if (j)
        j->step.cancelled = true;
}

enum pg_control_state pg_control_glance(const char *data_dir, lsn *ret_checkpoint)
{
    const struct pg *p = pg_here();

    if (!p->disk.checkpoint)
        return PG_CONTROL_UNKNOWN;
    *ret_checkpoint = p->disk.checkpoint->start;
    return p->disk.state;
}

/* ---- the probe ---- */

struct probe {
    struct proc *agent;
    probe_fn *fn;
    void *arg;
    uint64_t question; /* the newest; an older answer is nobody's */
    bool asking;
    bool pulse; /* with the next question in brief */
    msec asked_ms;
    struct pg *server; /* its connection */
    struct pg_session *session;
    uint64_t session_id;
};

struct question {
    struct probe *probe;
    uint64_t id;
    struct proc *agent;
    bool brief, pulse;
    msec asked_ms;
    struct probe_answer answer;
};

void pg_facts_free(struct pg_facts *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < f->slot_count; i++) {
        free(f->slots[i].name);
        free(f->slots[i].wal_status);
    }
    for (size_t i = 0; i < f->sender_count; i++) {
        free(f->senders[i].application_name);
        free(f->senders[i].state);
        free(f->senders[i].slot_name);
    }
    free(f->slots);
    free(f->senders);
    free(f->receiver.status);
    free(f->receiver.conninfo);
    free(f->receiver.slot_name);
    free(f->synchronous_standby_names);
    free(f->primary_conninfo);
    free(f->primary_slot_name);
    free(f);
}

const char *pg_facts_replication_state(const struct pg_facts *f)
{
    if (!f->in_recovery)
        return NULL;
    return f->receiver.present && str_eq(f->receiver.status, "streaming") ? "streaming" : "in archive recovery";
}

json_t *pg_facts_pending_json(const struct pg_facts *f)
{
    return NULL;
}

/* Of a moment that has been, by the clock of now. */
static int64_t wall_us(usec at)
{
    return pg_wall_us(world.current->host) - (world.now - at);
}

static void slots_of(struct pg *p, struct pg_facts *f)
{
    f->slots = mem_zero(p->disk.slot_count + 1, sizeof(*f->slots));
    f->slot_count = p->disk.slot_count;
    for (size_t i = 0; i < f->slot_count; i++) {
        const struct pg_sender *owner = walstream_sender_of(p, p->disk.slots[i].name);
        f->slots[i] = (struct pg_slot){.name = str_dup(p->disk.slots[i].name),
                                       .physical = true,
                                       .active = owner != NULL,
                                       .active_pid = owner ? owner->pid : 0,
                                       .restart_lsn = p->disk.slots[i].lost ? 0 : f->position,
                                       .wal_status = str_dup(p->disk.slots[i].lost ? "lost" : "reserved"),
                                       .safe_wal_size = -1};
    }
}

static void senders_of(const struct pg *p, struct pg_facts *f)
{
    static const char *const states[] = {"startup", "catchup", "streaming", "backup", "stopping"};

    f->senders = mem_zero(SENDERS_MAX, sizeof(*f->senders));
    for (int i = 0; i < SENDERS_MAX; i++) {
        const struct pg_sender *s = &p->senders[i];
        if (!s->active)
            continue;
        f->senders[f->sender_count++] = (struct pg_walsender){.pid = s->pid,
                                                              .started_us = s->started_wall_us,
                                                              .physical = true,
                                                              .application_name = str_dup(s->name),
                                                              .state = str_dup(states[s->state]),
                                                              .sync_priority = s->priority,
                                                              .flush = s->flushed ? s->flushed->end : 0,
                                                              .slot_name = *s->slot ? str_dup(s->slot) : NULL};
    }
}

static void receiver_of(const struct pg *p, struct pg_facts *f)
{
    const struct pg_receiver *r = &p->receiver;

    if (!p->in_recovery || !walstream_receiver_runs(p))
        return;
    f->receiver.present = true;
    f->receiver.pid = r->pid;
    f->receiver.status = str_dup(r->state == RECEIVER_STREAMING ? "streaming" : "starting");
    f->receiver.conninfo = str_dup(r->wanted->at[PG_CONNINFO].text);
    f->receiver.slot_name = str_dup(r->wanted->at[PG_SLOT_NAME].text);
    f->receiver.received_tli = r->tli;
    f->receiver.flushed = r->receive;
    f->receiver.last_msg_epoch_us = wall_us(r->heard);
}

static void positions_of(const struct pg *p, lsn *ret_receive, lsn *ret_replay, lsn *ret_current)
{
    *ret_receive = p->in_recovery ? p->receiver.receive : 0;
    *ret_replay = p->in_recovery && p->replayed ? p->replayed->end : 0;
    *ret_current = p->in_recovery ? 0 : p->disk.written->end;
}

/* What that connection is told; some of it is what its own backend has loaded. */
static struct pg_facts *facts_of(struct pg *p, const struct pg_session *s, msec asked_ms)
{
    struct pg_facts *f = mem_zero(1, sizeof(*f));
    const struct pg_conf *c = s->conf.conf;

    f->asked_ms = f->answered_ms = asked_ms;
    f->server_version = server_version();
    f->in_recovery = p->in_recovery;
    f->timeline = p->replayed ? (p->in_recovery ? p->replayed->tli : p->disk.written->tli) : 0;
    f->checkpoint_tli = p->disk.checkpoint_tli;
    f->checkpoint_lsn = p->disk.checkpoint->start;
    str_copy(f->system_identifier, sizeof(f->system_identifier), p->disk.system_id);
    positions_of(p, &f->receive, &f->replay, &f->current);
    f->current_flush = p->in_recovery ? 0 : p->disk.flushed->end;
    f->position = p->in_recovery ? (f->receive > f->replay ? f->receive : f->replay) : f->current;
    f->replay_paused = p->recovery.blocked == RECOVERY_PAUSED;
    slots_of(p, f);
    senders_of(p, f);
    receiver_of(p, f);
    f->synchronous_standby_names = str_dup(c->at[PG_SYNC_NAMES].text);
    f->primary_conninfo = str_dup(c->at[PG_CONNINFO].text);
    f->primary_slot_name = str_dup(c->at[PG_SLOT_NAME].text);
    f->restart_after_crash = c->restart_after_crash;
    f->fsync = true;
    f->conf_load_us = s->conf.at_wall_us;
    f->conf_error_count = pg_conf_errors(p);
    return f;
}

static void probe_seen(void *arg)
{
    struct question *q = arg;
    struct probe *p = q->probe;

    if (p->question != q->id) {
        pg_facts_free(q->answer.take_facts);
        free(q);
        return;
    }
    p->asking = false;
    q->answer.asked_ms = q->asked_ms;
    p->fn(&q->answer, p->arg);
    free(q);
}

static void answer_back(struct question *q, enum sql_status status)
{
    q->answer.status = status;
    if (status != SQL_DONE)
        (void)err_set(&q->answer.err, ERR_PG, "the server is not there, or starts");
    event_in(chance_between(100, 2000), q->agent, probe_seen, q);
}

/* On the connection that it has, or a new one. */
static bool connected(struct probe *probe, struct pg *p, struct proc *client)
{
    if (pg_session_lives(p, probe->session, probe->session_id))
        return true;
    probe->server = p;
    probe->session = pg_connect(p, client);
    probe->session_id = probe->session ? probe->session->id : 0;
    return probe->session != NULL;
}

static void disconnect(struct probe *probe)
{
    if (probe->server && pg_session_lives(probe->server, probe->session, probe->session_id))
        pg_disconnect(probe->session);
    probe->session = NULL;
}

static void look_inside(void *arg)
{
    struct question *q = arg;
    struct pg *p = pg_here();

    if (!p->accepting) {
        answer_back(q, SQL_STARTING);
        return;
    }
    if (!connected(q->probe, p, q->agent)) {
        answer_back(q, SQL_DENIED);
        return;
    }
    if (q->brief) {
        q->answer.brief = true;
        positions_of(p, &q->answer.receive, &q->answer.replay, &q->answer.current);
        q->answer.current_flush = p->in_recovery ? 0 : p->disk.flushed->end;
        q->answer.last_msg_epoch_us = p->in_recovery && walstream_receiver_runs(p) ? wall_us(p->receiver.heard) : 0;
        if (q->pulse && !p->in_recovery)
            pg_pulse(p);
    } else {
        q->answer.take_facts = facts_of(p, q->probe->session, q->asked_ms);
    }
    answer_back(q, SQL_DONE);
}

static void probe_late(void *arg)
{
    struct question *q = arg; /* a copy of the one under way */
    struct probe *p = q->probe;

    if (p->asking && p->question == q->id) {
        p->asking = false;
        p->question++;
        q->answer = (struct probe_answer){.status = SQL_TIMEOUT, .asked_ms = q->asked_ms};
        p->fn(&q->answer, p->arg);
    }
    free(q);
}

static void probe_send(struct probe *p, msec budget_ms, bool brief)
{
    struct question *q = mem_zero(1, sizeof(*q));
    struct question *limit = mem_zero(1, sizeof(*limit));
    struct pg *server = pg_here();

    p->asking = true;
    p->asked_ms = loop_clock_ms();
    p->question++;
    *q = (struct question){.probe = p,
                           .id = p->question,
                           .agent = world.current,
                           .brief = brief,
                           .pulse = brief && p->pulse,
                           .asked_ms = loop_clock_ms()};
    p->pulse &= !brief;
    *limit = *q;
    event_in(budget_ms * 1000, world.current, probe_late, limit);
    if (!pg_backends_live(server) || !pg_postmaster_lives(server))
        answer_back(q, SQL_NO_SERVER);
    else
        event_in(chance_between(200, 3000), &server->backends, look_inside, q);
}

struct probe *probe_new(struct loop *l, const struct sql_target *target, probe_fn *fn, void *arg)
{
    struct probe *p = mem_zero(1, sizeof(*p));

    *p = (struct probe){.agent = world.current, .fn = fn, .arg = arg};
    return p;
}

void probe_free(struct probe *p)
{
    if (!p)
        return;
    p->question++;
    disconnect(p);
}

void probe_set_replication(struct probe *p, const struct sql_target *target)
{
    /* A standby's timeline is always told here. */
}

void probe_ask(struct probe *p, msec budget_ms)
{
    if (!p->asking)
        probe_send(p, budget_ms, false);
}

/* A promotion in between makes the answer a whole one. */
void probe_ask_in_brief(struct probe *p, msec budget_ms)
{
    const struct pg *server = pg_here();

    if (!p->asking)
        probe_send(p, budget_ms, server->in_recovery && server->accepting);
}

void probe_pulse(struct probe *p)
{
    p->pulse = true;
}

msec probe_silent_since(const struct probe *p)
{
    return p->asking ? p->asked_ms : MSEC_NEVER;
}

bool probe_asking(const struct probe *p)
{
    return p->asking;
}

void probe_reset(struct probe *p, const struct sql_target *target)
{
    p->asking = false;
    p->question++;
    disconnect(p);
}

/* ---- promotion ---- */

static void signal_arrives(void *arg)
{
    pg_promote_signal(arg);
}

bool promote_trigger(const char *data_dir, pid_t postmaster, struct err *err)
{
    struct pg *p = pg_here();

    if (!pg_postmaster_lives(p))
        return err_set(err, ERR_PG, "no postmaster");
    if (!p->promoting)
        p->disk.promote_file = true;
    event_in(chance_between(50, 2000), &p->postmaster, signal_arrives, p);
    return true;
}

/* Nobody reads there: replay waits for nobody. */
struct conflict_job *conflict_start(struct loop *l, const struct pg_instance *i, conflict_fn *fn, void *arg)
{
    return NULL;
}

void conflict_stop(struct conflict_job *j)
{
    CHECK(!j);
}

bool promote_withdraw(const char *data_dir, struct err *err)
{
    if (!MUTANT(PROMOTE_FILE_KEPT))
        pg_here()->disk.promote_file = false;
    return true;
}

/* MUTANT(REAL_HISTORY_PLACED): whoever has them. */
static void place_histories(struct pg *p, uint32_t newest, uint32_t tli)
{
    for (uint32_t skipped = newest + 1; skipped < tli && skipped < TLI_MAX; skipped++)
        for (int i = 0; i < world.host_count && !p->disk.history[skipped]; i++)
            if (pg_of(i))
                p->disk.history[skipped] = pg_of(i)->disk.history[skipped];
}

bool promote_skip_to(const char *data_dir, uint32_t newest, uint32_t tli, struct err *err)
{
    struct pg *p = pg_here();

    for (uint32_t skipped = newest + 1; skipped < tli && skipped < TLI_MAX; skipped++)
        p->disk.placeholder[skipped] = !p->disk.history[skipped];
    if (MUTANT(REAL_HISTORY_PLACED))
        place_histories(p, newest, tli);
    return true;
}

/* ---- slots, callbacks, scripts ---- */

struct slots_job {
    struct step step;
    struct slot_act acts[SLOTS_MAX];
    size_t count;
    slots_fn *done;
    void *arg;
};

static size_t slot_at(const struct pg *p, const char *name)
{
    size_t i = 0;

    while (i < p->disk.slot_count && !str_eq(p->disk.slots[i].name, name))
        i++;
    return i;
}

static void add_slot(struct pg *p, const char *name)
{
    struct pg_slot_file *slot = &p->disk.slots[p->disk.slot_count++];

    *slot = (struct pg_slot_file){0};
    str_copy(slot->name, sizeof(slot->name), name);
}

static void slots_over(void *arg)
{
    struct slots_job *j = arg;
    struct slot_outcome outcomes[SLOTS_MAX];
    struct pg *p = pg_here();

    if (j->step.cancelled)
        return;
    for (size_t i = 0; i < j->count; i++) {
        size_t at = slot_at(p, j->acts[i].name);
        outcomes[i] = (struct slot_outcome){.name = j->acts[i].name, .done = p->accepting};
        if (!p->accepting)
            (void)err_set(&outcomes[i].err, ERR_PG, "the server is not there");
        else if (j->acts[i].kind == SLOT_CREATE_PHYSICAL && at == p->disk.slot_count && at < SLOTS_MAX)
            add_slot(p, j->acts[i].name);
        else if (j->acts[i].kind == SLOT_DROP && at < p->disk.slot_count)
            p->disk.slots[at] = p->disk.slots[--p->disk.slot_count];
    }
    j->done(outcomes, j->count, j->arg);
}

struct slots_job *slots_apply(struct loop *l, struct pg_instance *i, const struct slot_act *acts, size_t count,
                              msec budget_ms, slots_fn *done, void *arg)
{
    struct slots_job *j = mem_zero(1, sizeof(*j));

    CHECK(count <= SLOTS_MAX);
    *j = (struct slots_job){.count = count, .done = done, .arg = arg};
    for (size_t k = 0; k < count; k++) {
        j->acts[k] = acts[k];
        j->acts[k].name = str_dup(acts[k].name);
    }
    event_in(chance_between(1000, 50000), world.current, slots_over, j);
    return j;
}

void slots_cancel(struct slots_job *j)
{
    j->step.cancelled = true;
}

struct callbacks *callbacks_new(struct loop *l, callback_fn *done, void *arg)
{
    return NULL;
}

void callbacks_free(struct callbacks *c)
{
}

void callbacks_run(struct callbacks *c, const struct pg_instance *i, enum callback_action action, const char *role)
{
}

const char *callback_action_name(enum callback_action action)
{
    return "callback";
}

bool script_start(struct loop *l, const char *name, const char *command, msec budget_ms, script_fn *done, void *arg,
                  struct script_job **ret_job, struct err *err)
{
    return err_set(err, ERR_SYS, "no scripts here");
}

void script_cancel(struct script_job *j)
{
}

bool report_file_keep(const char *state_dir, term t, const char *text, size_t keep, struct err *err)
{
    return true;
}
