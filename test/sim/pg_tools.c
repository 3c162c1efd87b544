/*
 * src/pg's long jobs, over the model (pg.h): compare, recover, rewind, clone, bootstrap.
 *
 * They take their time and can be cut off at any moment; markers are set before the first byte and go after the last,
 * as the real ones do.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "pg/clone.h"
#include "pg/conffile.h"
#include "pg/incarnation.h"
#include "pg/initdb.h"
#include "pg/instance.h"
#include "pg/names.h"
#include "pg/rewind.h"
#include "test/sim/net.h"
#include "test/sim/pg_api.h"
#include "test/sim/truths.h"

/* ---- compare, recover, rewind ---- */

struct rewind_job {
    struct step step;
    int source;
    struct rewind_position known;
    rewind_judge_fn *judged;
    rewind_recover_fn *recovered;
    rewind_fn *rewound;
    void *arg;
    struct rewind_judgement found;
    struct rewind_end end;
    struct host *from;
    struct proc *agent;
    uint64_t generation;
    bool answered;
    struct history *theirs;
    struct pg_instance *instance;
    char *conninfo, *slot; /* to write into the configuration afterwards */
    const struct conf_freeze *freeze;
    bool needless; /* "no rewind required" */
};

static void judge_told(void *arg)
{
    struct rewind_job *j = arg;
    struct rewind_judgement *f = &j->found;
    struct history *ours = NULL;

    if (j->step.cancelled || j->answered)
        return;
    j->answered = true;
    if (!j->theirs) {
        f->verdict = REWIND_UNKNOWN;
        (void)err_set(&f->err, ERR_PG, "it cannot be asked");
    } else {
        (void)!history_load("", j->end.tli, &ours, NULL);
        f->verdict =
            rewind_compare(&j->end, ours, f->upstream_tli, f->upstream_lsn, j->theirs, &f->fork_tli, &f->fork_at);
        (void)err_set(&f->err, ERR_NONE, "ours %u/%lld theirs %u/%lld", j->end.tli, (long long)j->end.at,
                      f->upstream_tli, (long long)f->upstream_lsn);
        history_free(ours);
    }
    j->judged(f, j->arg);
}

static void judge_back(void *arg)
{
    struct rewind_job *j = arg;

    if (j->agent->alive && j->agent->generation == j->generation)
        event_in(0, j->agent, judge_told, j);
}

static void judge_upstream(void *arg)
{
    struct rewind_job *j = arg;
    struct pg *upstream = pg_of(j->source);

    if (upstream->accepting && !upstream->in_recovery && !upstream->stopping) {
        j->found.upstream_tli = upstream->disk.written->tli;
        j->found.upstream_lsn = upstream->disk.written->end;
        j->found.upstream_checkpointed = upstream->disk.checkpoint_tli == upstream->disk.written->tli;
        j->theirs = pg_history_of(upstream->disk.written);
    }
    net_send(upstream->host, j->from, judge_back, j);
}

static void judge_arrives(void *arg)
{
    struct rewind_job *j = arg;
    struct pg *upstream = pg_of(j->source);

    if (upstream->postmaster.alive)
        event_in(1000, &upstream->backends, judge_upstream, j);
    else
        net_send(upstream->host, j->from, judge_back, j);
}

static void judge_begin(void *arg)
{
    struct rewind_job *j = arg;
    struct pg *p = pg_here();
    bool was_standby = false;

    if (j->step.cancelled)
        return;
    struct pg_control control = pg_control_of(p);
    if (j->known.tli) {
        j->end = (struct rewind_end){.tli = j->known.tli, .at = j->known.end};
    } else if (pg_control_end(&control, &j->end.tli, &j->end.at, &was_standby)) {
        j->end.record_start = !was_standby;
    } else {
        j->found.verdict = REWIND_RECOVER_FIRST;
        j->answered = true;
        j->judged(&j->found, j->arg);
        return;
    }
    j->found.our_tli = j->end.tli;
    j->found.our_end = j->end.at;
    net_send(p->host, &world.hosts[j->source], judge_arrives, j);
}

static struct rewind_job *rewind_job(void *arg)
{
    struct rewind_job *j = mem_zero(1, sizeof(*j));

    j->arg = arg;
    j->agent = world.current;
    j->generation = world.current->generation;
    j->from = world.current->host;
    return j;
}

bool rewind_judge(struct loop *l, struct pg_instance *i, const struct rewind_source *source,
                  const struct rewind_position *known, msec budget_ms, rewind_judge_fn *done, void *arg,
                  struct rewind_job **ret_job, struct err *err)
{
    struct rewind_job *j = rewind_job(arg);

    j->source = pg_host_of(source->host);
    j->judged = done;
    if (known)
        j->known = *known;
    event_in(chance_between(3000, 20000), world.current, judge_begin, j);
    event_in(budget_ms * 1000, world.current, judge_told, j); /* theirs NULL: unknown */
    *ret_job = j;
    return true;
}

static void recover_over(void *arg)
{
    struct rewind_job *j = arg;
    struct pg *p = pg_here();

    if (j->step.cancelled)
        return;
    pg_stands_still(p, "recovered");
    p->disk.flushed = p->disk.written;
    p->disk.min_recovery = p->disk.written;
    p->disk.standby_signal = true;
    p->disk.state = PG_CONTROL_SHUT_DOWN_IN_RECOVERY;
    struct rewind_position position = {.tli = p->disk.written->tli, .end = p->disk.written->end};
    j->recovered(REWIND_DONE, &position, NULL, j->arg);
}

bool rewind_recover(struct loop *l, struct pg_instance *i, enum rewind_recovery how, msec budget_ms,
                    rewind_recover_fn *done, void *arg, struct rewind_job **ret_job, struct err *err)
{
    struct rewind_job *j = rewind_job(arg);

    j->recovered = done;
    event_in(chance_between(100000, 2500000), world.current, recover_over, j);
    *ret_job = j;
    return true;
}

static bool reaches(const struct pg *p, const struct pg *source)
{
    return net_reaches_wal(p->host, source->host) && net_reaches_wal(source->host, p->host) &&
           proc_runs(&source->backends);
}

/* The directory is a standby of ours again, and only then not marked any more. */
static bool make_standby(struct pg *p, struct pg_instance *i, const char *conninfo, const char *slot,
                         const struct conf_freeze *freeze)
{
    struct conf_input in = {
        .instance = i, .role = CONF_STANDBY, .primary_conninfo = conninfo, .primary_slot_name = slot};
    struct conf_result result;

    conffile_hold(&in, freeze);
    if (!names_remove(i, NULL) || !conffile_write(&in, &result, NULL, NULL) ||
        !incarnation_renew(i->data_dir, i->state_dir, NULL, NULL))
        return false;
    p->disk.standby_signal = true;
    p->disk.torn = false;
    p->disk.marker = DATADIR_MARK_NONE;
    return true;
}

static void rewind_over(void *arg)
{
    struct rewind_job *j = arg;
    struct pg *p = pg_here();
    struct pg *source = pg_of(j->source);
    struct err err = {0};

    if (j->step.cancelled)
        return;
    if (!reaches(p, source) || !pg_is_open(source)) {
        (void)err_set(&err, ERR_PG, "pg_rewind: the connection broke");
        j->rewound(REWIND_FAILED, &err, j->arg);
        return;
    }
    pg_stands_still(p, "rewound");
    if (!j->needless || !truth(TRUTH_REWIND_TOO_EARLY)) {
        struct rec *common = wal_common(p->disk.written, source->disk.flushed);
        pg_copy(p, source);
        p->disk.written = p->disk.flushed = common;
    }
    if (make_standby(p, j->instance, j->conninfo, j->slot, j->freeze)) {
        j->rewound(REWIND_DONE, NULL, j->arg);
        return;
    }
    (void)err_set(&err, ERR_SYS, "the disk is full, or fails");
    j->rewound(REWIND_FAILED, &err, j->arg);
}

/* From the first byte on the directory is neither what it was nor what it is to be; its signal file goes early. */
static void rewind_begin(void *arg)
{
    struct rewind_job *j = arg;
    struct pg *p = pg_here();
    struct pg *source = pg_of(j->source);
    struct err err = {0};

    if (j->step.cancelled)
        return;
    if (!reaches(p, source) || !pg_is_open(source)) {
        (void)err_set(&err, ERR_PG, "pg_rewind: cannot connect");
        j->rewound(REWIND_FAILED_UNTOUCHED, &err, j->arg);
        return;
    }
    pg_stands_still(p, "rewound");
    j->needless = source->disk.checkpoint_tli == pg_timeline(p); /* as far as its pg_control tells */
    p->disk.marker = DATADIR_MARK_REWIND;
    if (!j->needless && pg_touched)
        pg_touched(p);
    if (!j->needless && truth(TRUTH_REWIND_CUT_OFF)) {
        p->disk.torn = true;
        p->disk.standby_signal = false;
    }
    event_in(chance_between(200000, 4000000), world.current, rewind_over, j);
}

bool rewind_start(struct loop *l, const struct rewind_spec *spec, rewind_fn *done, void *arg,
                  struct rewind_job **ret_job, struct err *err)
{
    struct rewind_job *j = rewind_job(arg);

    j->rewound = done;
    j->source = pg_host_of(spec->source.host);
    j->instance = pg_instance_ref(spec->instance);
    j->conninfo = str_dup(spec->primary_conninfo);
    j->slot = str_dup(spec->primary_slot_name);
    j->freeze = spec->freeze;
    event_in(chance_between(5000, 50000), world.current, rewind_begin, j);
    *ret_job = j;
    return true;
}

bool rewind_keep_drop(const struct pg_instance *i, struct err *err)
{
    return true;
}

void rewind_cancel(struct rewind_job *j)
{
    if (j)
        j->step.cancelled = true;
}

/* ---- clone ---- */

struct clone_job {
    struct step step;
    int source;
    struct pg_instance *instance;
    char *conninfo, *slot;
    const struct conf_freeze *freeze;
    clone_fn *done;
    void *arg;
};

static void clone_over(void *arg)
{
    struct clone_job *j = arg;
    struct pg *p = pg_here();
    struct pg *source = j->source == NOBODY ? NULL : pg_of(j->source);
    struct err err = {0};

    if (j->step.cancelled)
        return;
    if (!source || !reaches(p, source) || !source->accepting || source->stopping) {
        (void)err_set(&err, ERR_PG, "pg_basebackup: the source cannot be reached");
        j->done("basebackup", &err, j->arg);
        return;
    }
    pg_stands_still(p, "cloned");
    pg_copy(p, source);
    if (make_standby(p, j->instance, j->conninfo, j->slot, j->freeze)) {
        j->done("basebackup", NULL, j->arg);
        return;
    }
    (void)err_set(&err, ERR_SYS, "pg_basebackup: the disk is full, or fails");
    j->done("basebackup", &err, j->arg);
}

bool clone_start(struct loop *l, const struct clone_spec *spec, clone_fn *done, void *arg, struct clone_job **ret_job,
                 struct err *err)
{
    struct clone_job *j = mem_zero(1, sizeof(*j));

    *j = (struct clone_job){.source = pg_host_of(spec->source.host),
                            .instance = pg_instance_ref(spec->instance),
                            .conninfo = str_dup(spec->primary_conninfo),
                            .slot = str_dup(spec->primary_slot_name),
                            .freeze = spec->freeze,
                            .done = done,
                            .arg = arg};
    pg_here()->disk.marker = DATADIR_MARK_CLONE;
    event_in(chance_between(300000, 5000000), world.current, clone_over, j);
    *ret_job = j;
    return true;
}

void clone_cancel(struct clone_job *j)
{
    if (j)
        j->step.cancelled = true;
}

bool clone_works_alone(const struct pg_instance *i)
{
    return false;
}

/* ---- a new cluster ---- */

struct bootstrap_job {
    struct step step;
    bool create;
    struct pg_instance *instance;
    bootstrap_fn *done;
    void *arg;
};

static void bootstrap_over(void *arg)
{
    struct bootstrap_job *j = arg;

    if (j->step.cancelled)
        return;
    if (j->create) {
        char id[SYSTEM_ID_MAX];
        (void)snprintf(id, sizeof(id), "7%018lld", (long long)chance(1000000000));
        pg_initdb(pg_here(), id);
        (void)!incarnation_renew(j->instance->data_dir, j->instance->state_dir, NULL, NULL); /* the start settles it */
    }
    j->done(NULL, j->arg);
}

static bool bootstrap_step(bool create, struct pg_instance *i, usec takes, bootstrap_fn *done, void *arg,
                           struct bootstrap_job **ret_job)
{
    struct bootstrap_job *j = mem_zero(1, sizeof(*j));

    *j = (struct bootstrap_job){.create = create, .instance = i, .done = done, .arg = arg};
    event_in(takes, world.current, bootstrap_over, j);
    *ret_job = j;
    return true;
}

bool bootstrap_create(struct loop *l, struct pg_instance *i, bootstrap_fn *done, void *arg,
                      struct bootstrap_job **ret_job, struct err *err)
{
    pg_here()->disk.marker = DATADIR_MARK_BOOTSTRAP;
    return bootstrap_step(true, i, chance_between(500000, 3000000), done, arg, ret_job);
}

bool bootstrap_users(struct loop *l, struct pg_instance *i, msec budget_ms, bootstrap_fn *done, void *arg,
                     struct bootstrap_job **ret_job, struct err *err)
{
    return bootstrap_step(false, i, chance_between(20000, 200000), done, arg, ret_job);
}

bool bootstrap_script(struct loop *l, struct pg_instance *i, bootstrap_fn *done, void *arg,
                      struct bootstrap_job **ret_job, struct err *err)
{
    return bootstrap_step(false, i, 100, done, arg, ret_job);
}

void bootstrap_cancel(struct bootstrap_job *j)
{
    if (j)
        j->step.cancelled = true;
}
