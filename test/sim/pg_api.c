/*
 * src/pg's services to the agent, over the model (pg.h): instances, files, pg_control, the probe, SQL, slots,
 * promotion.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "io/loop.h"
#include "pg/bin.h"
#include "pg/callbacks.h"
#include "pg/conffile.h"
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
#include "pg/slots.h"
#include "pg/sql.h"
#include "test/sim/net.h"
#include "test/sim/pg_api.h"
#include "wire/conf/dynamic.h"
#include "wire/conf/settings.h"

enum { SERVER_VERSION = 150020, MAJOR = 15 };

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

bool pg_instance_new(struct settings *settings, struct dynamic *dynamic, struct pg_bin *take_bin,
                     struct pg_instance **ret_instance, struct err *err)
{
    struct pg_instance *i = mem_zero(1, sizeof(*i));

    i->refs = 1;
    i->settings = settings;
    i->dynamic = dynamic;
    i->bin = take_bin;
    i->major = MAJOR;
    i->data_dir = settings->postgresql.data_dir;
    i->state_dir = settings->pgkeep.state_dir;
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
    return str_fmt("host=%s port=%d", host, port);
}

/* ---- configuration files ---- */

bool conffile_write(const struct conf_input *in, struct conf_result *ret_result, struct findings *findings,
                    struct err *err)
{
    struct pg *p = pg_here();
    int upstream = in->primary_conninfo ? pg_host_of(in->primary_conninfo + strlen("host=")) : NOBODY;

    *ret_result = (struct conf_result){.config_changed = upstream != p->disk.upstream};
    p->disk.upstream = upstream;
    return true;
}

bool conffile_postmaster_args(const struct conf_input *in, char ***ret_argv, struct findings *findings, struct err *err)
{
    *ret_argv = mem_zero(2, sizeof(**ret_argv));
    (*ret_argv)[0] = str_dup("/bin/postgres");
    return true;
}

void conffile_args_free(char **argv)
{
    free(argv[0]);
    free(argv);
}

bool file_read(const char *path, size_t max, char **ret_text, size_t *ret_len, struct err *err)
{
    return err_set(err, ERR_NOT_FOUND, "%s: no files here", path);
}

char *file_read_end(const char *path, size_t max)
{
    return NULL;
}

bool file_replace(const char *path, const char *text, size_t len, unsigned int mode, struct err *err)
{
    return true;
}

/* The list of synchronous standbys is not modelled. */
bool names_remove(const struct pg_instance *i, struct err *err)
{
    return true;
}

/* ---- the data directory ---- */

bool incarnation_settle(const char *data_dir, const char *state_dir, bool *ret_renewed, struct err *err)
{
    *ret_renewed = false;
    return true;
}

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

static void give_up(struct pg *p)
{
    CHECK(!pg_postmaster_lives(p) && !pg_backends_live(p));
    p->disk.kind = DATADIR_EMPTY;
    p->disk.written = p->disk.flushed = p->disk.checkpoint = p->disk.min_recovery = NULL;
    p->disk.standby_signal = p->disk.backup_label = p->disk.promote_file = false;
    memset(p->disk.history, 0, sizeof(p->disk.history));
    memset(p->disk.placeholder, 0, sizeof(p->disk.placeholder));
}

bool datadir_move_aside(const char *data_dir, const char *reason, int64_t wall_ms, char **ret_path, struct err *err)
{
    give_up(pg_here());
    *ret_path = str_fmt("%s.%s", data_dir, reason);
    return true;
}

bool datadir_remove_job(struct loop *l, const char *data_dir, int64_t wall_ms, struct err *err)
{
    give_up(pg_here());
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
    msec asked_ms;
};

struct question {
    struct probe *probe;
    uint64_t id;
    struct proc *agent;
    bool brief;
    msec asked_ms;
    struct probe_answer answer;
};

void pg_facts_free(struct pg_facts *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < f->slot_count; i++)
        free(f->slots[i].name);
    free(f->slots);
    free(f->primary_conninfo);
    free(f);
}

const char *pg_facts_replication_state(const struct pg_facts *f)
{
    return f->receiver.present ? "streaming" : f->in_recovery ? "in archive recovery" : NULL;
}

json_t *pg_facts_pending_json(const struct pg_facts *f)
{
    return NULL;
}

static void slots_of(const struct pg *p, struct pg_facts *f)
{
    f->slots = mem_zero(p->disk.slot_count + 1, sizeof(*f->slots));
    f->slot_count = p->disk.slot_count;
    for (size_t i = 0; i < f->slot_count; i++)
        f->slots[i] = (struct pg_slot){
            .name = str_dup(p->disk.slots[i]), .physical = true, .restart_lsn = f->position, .safe_wal_size = -1};
}

/* As wall_clock_ms(). */
static int64_t wall_us(usec at)
{
    return wall_clock_ms() * 1000 - (world.now - at);
}

static struct pg_facts *facts_of(const struct pg *p, msec asked_ms)
{
    static char streaming[] = "streaming";
    struct pg_facts *f = mem_zero(1, sizeof(*f));

    f->asked_ms = f->answered_ms = asked_ms;
    f->server_version = SERVER_VERSION;
    f->in_recovery = p->in_recovery;
    f->timeline = p->replayed ? (p->in_recovery ? p->replayed->tli : p->disk.written->tli) : 0;
    f->checkpoint_tli = p->disk.checkpoint_tli;
    f->checkpoint_lsn = p->disk.checkpoint->start;
    str_copy(f->system_identifier, sizeof(f->system_identifier), p->disk.system_id);
    f->current = p->in_recovery ? 0 : p->disk.written->end;
    f->current_flush = p->in_recovery ? 0 : p->disk.flushed->end;
    f->receive = p->in_recovery ? p->disk.flushed->end : 0;
    f->replay = p->in_recovery && p->replayed ? p->replayed->end : 0;
    f->position = p->in_recovery ? (f->receive > f->replay ? f->receive : f->replay) : f->current;
    slots_of(p, f);
    f->receiver.present = p->in_recovery && p->receiver.streaming;
    f->receiver.status = f->receiver.present ? streaming : NULL;
    f->receiver.last_msg_epoch_us = f->receiver.present ? wall_us(p->receiver.heard) : 0;
    f->receiver.received_tli = f->receiver.present ? p->disk.flushed->tli : 0;
    f->primary_conninfo = p->upstream == NOBODY ? NULL : str_fmt("host=10.0.0.%d port=5432", p->upstream + 1);
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

static void look_inside(void *arg)
{
    struct question *q = arg;
    const struct pg *p = pg_here();

    if (!p->accepting) {
        answer_back(q, SQL_STARTING);
        return;
    }
    if (q->brief) {
        struct pg_facts *f = facts_of(p, q->asked_ms);
        q->answer.brief = true;
        q->answer.receive = f->receive;
        q->answer.replay = f->replay;
        q->answer.current = f->current;
        q->answer.current_flush = f->current_flush;
        q->answer.last_msg_epoch_us = f->receiver.last_msg_epoch_us;
        pg_facts_free(f);
    } else {
        q->answer.take_facts = facts_of(p, q->asked_ms);
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
    *q = (struct question){
        .probe = p, .id = p->question, .agent = world.current, .brief = brief, .asked_ms = loop_clock_ms()};
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
    if (p)
        p->question++;
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
    /* Standbys of the model hear from their sender with or without it. */
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
}

/* ---- SQL of the agent's own ---- */

struct sql {
    struct step step;
    bool checkpoint;
    sql_done_fn *done;
    void *arg;
};

static void sql_over(void *arg)
{
    struct sql *s = arg;
    struct sql_result result = {.status = SQL_DONE};

    if (s->step.cancelled)
        return;
    if (!pg_here()->accepting) {
        result.status = SQL_NO_SERVER;
        (void)err_set(&result.err, ERR_PG, "the server went away");
    }
    s->done(&result, s->arg);
}

struct sql *sql_once(struct loop *l, const struct sql_target *target, const struct sql_statement *statements, int count,
                     msec budget_ms, sql_done_fn *done, void *arg)
{
    struct sql *s = mem_zero(1, sizeof(*s));

    *s = (struct sql){.done = done, .arg = arg};
    if (str_eq(statements[0].text, "CHECKPOINT"))
        pg_checkpoint(pg_here());
    event_in(chance_between(20000, 600000), world.current, sql_over, s);
    return s;
}

void sql_free(struct sql *s)
{
    if (s)
        s->step.cancelled = true;
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

bool promote_withdraw(const char *data_dir, struct err *err)
{
    pg_here()->disk.promote_file = false;
    return true;
}

bool promote_skip_to(const char *data_dir, uint32_t newest, uint32_t tli, struct err *err)
{
    struct pg *p = pg_here();

    for (uint32_t skipped = newest + 1; skipped < tli && skipped < TLI_MAX; skipped++)
        p->disk.placeholder[skipped] = !p->disk.history[skipped];
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

    while (i < p->disk.slot_count && !str_eq(p->disk.slots[i], name))
        i++;
    return i;
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
            str_copy(p->disk.slots[p->disk.slot_count++], SLOT_NAME_MAX, j->acts[i].name);
        else if (j->acts[i].kind == SLOT_DROP && at < p->disk.slot_count)
            str_copy(p->disk.slots[at], SLOT_NAME_MAX, p->disk.slots[--p->disk.slot_count]);
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
