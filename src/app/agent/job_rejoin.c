/*
 * Jobs of coming back: compare histories, rewind, clone, give the data directory up.
 */
#include <stdlib.h>

#include "app/agent/config.h"
#include "app/agent/jobs.h"
#include "app/agent/local.h"
#include "app/agent/registry.h"
#include "base/fault.h"
#include "base/str.h"
#include "io/log.h"
#include "pg/clone.h"
#include "pg/datadir.h"
#include "pg/instance.h"
#include "pg/rewind.h"

enum {
    JUDGE_MS = 10000,    /* a few queries to the leader */
    RECOVER_MS = 600000, /* crash recovery takes as long as checkpoint_timeout's worth of WAL */
};

/* ---- compare ---- */

static void judge(struct jobs *j, const struct rewind_position *known);

static void recovered(enum rewind_outcome outcome, const struct rewind_position *position, const struct err *err,
                      void *arg)
{
    struct jobs *j = arg;

    j->rewind = NULL;
    FAULT_POINT("job.check_rejoin.recovered");
    switch (outcome) {
    case REWIND_DONE:
        judge(j, position->tli ? position : NULL);
        break;
    case REWIND_FAILED:
    case REWIND_FAILED_UNTOUCHED:
        job_end(j, err);
        break;
    }
}

static void judged(const struct rewind_judgement *found, void *arg)
{
    struct jobs *j = arg;
    struct err err = found->err;

    j->rewind = NULL;
    FAULT_POINT("job.check_rejoin.judged");
    log_info("rejoin.compared", "compared with %s: %s; %s", j->subject, rewind_verdict_name(found->verdict),
             found->err.text);
    switch (found->verdict) {
    case REWIND_NOT_NEEDED:
        j->verdict = HA_REJOIN_FOLLOW;
        job_end(j, NULL);
        break;
    case REWIND_NEEDED:
        if (!found->upstream_checkpointed) {
            (void)err_set(&err, ERR_PG, "%s has not finished the checkpoint after its promotion", j->subject);
            job_end(j, &err);
            break;
        }
        j->verdict = HA_REJOIN_REWIND;
        job_end(j, NULL);
        break;
    case REWIND_IMPOSSIBLE:
        j->verdict = HA_REJOIN_CLONE;
        job_end(j, NULL);
        break;
    case REWIND_RECOVER_FIRST:
        log_info("rejoin.recover",
                 "this node was not shut down cleanly: recovering it without clients to learn where it ends");
        if (!rewind_recover(j->agent->loop, j->agent->instance, REWIND_QUARANTINE, RECOVER_MS, recovered, j, &j->rewind,
                            &err))
            job_end(j, &err);
        break;
    case REWIND_FOREIGN:
    case REWIND_UNKNOWN:
        job_end(j, &err);
        break;
    }
}

static void judge(struct jobs *j, const struct rewind_position *known)
{
    struct rewind_source source = {0};
    struct err err = {0};
    AUTO(cstr) char *host = NULL;

    if (!job_member_address(j, j->subject, &host, &source.port, &err)) {
        job_end(j, &err);
        return;
    }
    source.host = host;
    if (!rewind_judge(j->agent->loop, j->agent->instance, &source, known, JUDGE_MS, judged, j, &j->rewind, &err))
        job_end(j, &err);
}

void job_check_rejoin_begin(struct jobs *j)
{
    const struct pg_facts *facts = local_facts(j->agent->local);
    struct rewind_position known = {0};

    if (local_postmaster(j->agent->local) && facts && facts->in_recovery) {
        known.tli = local_timeline(j->agent->local);
        known.end = facts->replay; /* what was received and not replayed can still be thrown away */
    }
    judge(j, known.tli ? &known : NULL);
}

/* ---- rewind ---- */

static void rewound(enum rewind_outcome outcome, const struct err *err, void *arg)
{
    struct jobs *j = arg;

    j->rewind = NULL;
    FAULT_POINT("job.rewind.done");
    switch (outcome) {
    case REWIND_DONE:
        job_end(j, NULL);
        break;
    case REWIND_FAILED_UNTOUCHED:
        j->nothing_done = true;
        job_end(j, err);
        break;
    case REWIND_FAILED:
        job_end(j, err);
        break;
    }
}

static void rewind_progress(int64_t done_bytes, int64_t total_bytes, void *arg)
{
    struct jobs *j = arg;

    j->done_bytes = done_bytes;
    j->total_bytes = total_bytes;
}

void job_rewind_begin(struct jobs *j)
{
    struct agent *a = j->agent;
    struct config_hold hold;
    struct err err = {0};
    AUTO(cstr) char *host = NULL;
    struct conf_input in = config_input(a, CONF_STANDBY, j->subject, &hold);
    struct rewind_spec spec = {
        .instance = a->instance,
        .primary_conninfo = in.primary_conninfo,
        .primary_slot_name = in.primary_slot_name,
        .freeze = &a->freeze,
        .progress = rewind_progress,
    };

    bool ok = job_member_address(j, j->subject, &host, &spec.source.port, &err);
    spec.source.host = host;
    if (!ok || !FAULT_CALL("job.rewind.start", &err, rewind_start(a->loop, &spec, rewound, j, &j->rewind, &err))) {
        j->nothing_done = true;
        job_end(j, &err);
    }
    config_hold_deinit(&hold);
}

/* ---- clone ---- */

static void cloned(const char *method, const struct err *err, void *arg)
{
    struct jobs *j = arg;

    j->clone = NULL;
    FAULT_POINT("job.clone.done");
    if (!err)
        log_info("clone.done", "cloned from %s by %s", j->subject[0] ? j->subject : "no member", method);
    job_end(j, err);
}

static void clone_progressed(const struct clone_progress *p, void *arg)
{
    struct jobs *j = arg;
    int percent_before = j->total_bytes ? (int)(j->done_bytes * 100 / j->total_bytes) : 0;

    j->done_bytes = p->done_bytes;
    j->total_bytes = p->total_bytes;
    int percent = p->total_bytes ? (int)(p->done_bytes * 100 / p->total_bytes) : 0;
    if (percent / 10 != percent_before / 10)
        log_info("clone.progress", "cloning from %s by %s: %d%% of %lld MB", j->subject, p->method, percent,
                 (long long)(p->total_bytes / (1024 * 1024)));
    agent_wake(j->agent);
}

void job_clone_begin(struct jobs *j)
{
    struct agent *a = j->agent;
    const struct cluster *c = registry_cluster(a->registry);
    struct config_hold hold;
    struct err err = {0};
    AUTO(cstr) char *host = NULL;
    const char *source = j->subject[0] ? j->subject : NULL; /* none: only methods that need no leader */
    struct conf_input in = config_input(a, CONF_STANDBY, source, &hold);
    struct clone_spec spec = {
        .instance = a->instance,
        .source = {.name = source, .system_identifier = c ? c->initialize : NULL},
        .primary_conninfo = in.primary_conninfo,
        .primary_slot_name = in.primary_slot_name,
        .freeze = &a->freeze,
        .leftovers_ours = &j->clone_ours,
        .progress = clone_progressed,
    };

    bool ok = !source || job_member_address(j, source, &host, &spec.source.port, &err);
    spec.source.host = host;
    /* The leader makes our slot when it sees our member key; published in /status before we need it. */
    if (ok && source && c && str_eq(c->leader, source) && json_object_get(c->status.slots, hold.slot ? hold.slot : ""))
        spec.source.slot = hold.slot;
    if (!ok || !FAULT_CALL("job.clone.start", &err, clone_start(a->loop, &spec, cloned, j, &j->clone, &err)))
        job_end(j, &err);
    config_hold_deinit(&hold);
}

/* ---- discard ---- */

void job_discard_begin(struct jobs *j)
{
    const struct pg_instance *i = j->agent->instance;
    struct err err = {0};
    AUTO(cstr) char *path = NULL;
    bool ok;

    if (j->action.remove) {
        log_warning("datadir.removed", "removing the data directory %s", i->data_dir);
        ok = FAULT_CALL("job.discard.remove", &err,
                        datadir_remove_job(j->agent->loop, i->data_dir, wall_clock_ms(), &err));
    } else {
        ok = FAULT_CALL("job.discard.move", &err,
                        datadir_move_aside(i->data_dir, "replaced", wall_clock_ms(), &path, &err));
        if (ok)
            log_warning("datadir.moved", "the old data directory is now %s", path);
    }
    FAULT_POINT("job.discard.gone");
    if (ok)
        ok = rewind_keep_drop(i, &err) && FAULT_CALL("job.discard.unmark", &err, datadir_unmark(i->state_dir, &err));
    job_end(j, ok ? NULL : &err);
}
