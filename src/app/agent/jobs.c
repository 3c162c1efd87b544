#include "app/agent/jobs.h"

#include <stdlib.h>

#include "app/agent/config.h"
#include "app/agent/local.h"
#include "app/agent/registry.h"
#include "base/check.h"
#include "base/fault.h"
#include "base/str.h"
#include "io/log.h"
#include "pg/callbacks.h"
#include "pg/clone.h"
#include "pg/conflict.h"
#include "pg/initdb.h"
#include "pg/instance.h"
#include "pg/promote.h"
#include "pg/rewind.h"
#include "pg/sql.h"

static void drop_handles(struct jobs *j)
{
    if (j->bootstrap)
        bootstrap_cancel(j->bootstrap);
    if (j->clone)
        clone_cancel(j->clone);
    if (j->rewind)
        rewind_cancel(j->rewind);
    if (j->script)
        script_cancel(j->script);
    sql_free(j->sql);
    conflict_stop(j->conflict);
    j->bootstrap = NULL;
    j->clone = NULL;
    j->rewind = NULL;
    j->script = NULL;
    j->sql = NULL;
    j->conflict = NULL;
    loop_timer_clear(&j->timer);
}

void job_end(struct jobs *j, const struct err *err)
{
    enum ha_job_kind kind = j->action.job;

    CHECK(j->state == HA_JOB_RUNNING);
    FAULT_POINT("job.end");
    drop_handles(j);
    local_watch(j->agent->local, LOCAL_CALM);
    j->state = err ? HA_JOB_FAILED : HA_JOB_OK;
    str_copy(j->error, sizeof(j->error), err ? err->text : "");
    msec took_ms = loop_clock_ms() - j->since_ms;
    j->since_ms = loop_clock_ms();
    if (err)
        log_error("job.failed", "%s failed after %lld ms: %s", ha_job_text(kind), (long long)took_ms, err->text);
    else
        log_info("job.done", "%s done in %lld ms", ha_job_text(kind), (long long)took_ms);

    /* Files may have changed, and with them the version of the data directory. */
    if (kind == HA_JOB_BOOTSTRAP || kind == HA_JOB_CLONE)
        (void)config_make_instance(j->agent); /* what is wrong has been logged */
    if (kind == HA_JOB_PROMOTE && !err)
        local_look_briefly(j->agent->local); /* the server tells the rest; clients come first */
    else if (kind != HA_JOB_STOP)
        local_look(j->agent->local);
    agent_wake(j->agent);
}

static void timer_due(void *arg)
{
    jobs_notice(arg);
}

static void begin(struct jobs *j)
{
    switch (j->action.job) {
    case HA_JOB_NONE:
        UNREACHABLE();
    case HA_JOB_BOOTSTRAP:
        FAULT_POINT("job.bootstrap");
        job_bootstrap_begin(j);
        break;
    case HA_JOB_POST_BOOTSTRAP:
        FAULT_POINT("job.post_bootstrap");
        job_post_bootstrap_begin(j);
        break;
    case HA_JOB_START:
        FAULT_POINT("job.start");
        job_start_begin(j);
        break;
    case HA_JOB_STOP:
        FAULT_POINT("job.stop");
        job_stop_begin(j);
        break;
    case HA_JOB_PRE_PROMOTE:
        FAULT_POINT("job.pre_promote");
        job_pre_promote_begin(j);
        break;
    case HA_JOB_PROMOTE:
        FAULT_POINT("job.promote");
        job_promote_begin(j);
        break;
    case HA_JOB_CHECK_REJOIN:
        FAULT_POINT("job.check_rejoin");
        job_check_rejoin_begin(j);
        break;
    case HA_JOB_REWIND:
        FAULT_POINT("job.rewind");
        job_rewind_begin(j);
        break;
    case HA_JOB_CLONE:
        FAULT_POINT("job.clone");
        job_clone_begin(j);
        break;
    case HA_JOB_DISCARD:
        FAULT_POINT("job.discard");
        job_discard_begin(j);
        break;
    }
}

void jobs_begin(struct jobs *j, const struct ha_action *action)
{
    CHECK(j->state != HA_JOB_RUNNING);
    j->action = *action;
    j->state = HA_JOB_RUNNING;
    j->id++;
    j->since_ms = loop_clock_ms();
    j->verdict = HA_REJOIN_UNKNOWN;
    j->nothing_done = j->signalled = j->refused = false;
    j->deadline_ms = MSEC_NEVER;
    j->done_bytes = j->total_bytes = 0;
    str_copy(j->subject, sizeof(j->subject), action->subject);

    struct ha_pg pg;
    local_view(j->agent->local, &pg);
    j->deaths = pg.deaths;
    if (!j->agent->instance && !config_make_instance(j->agent)) {
        struct err err = {0};
        (void)err_set(&err, ERR_PG, "%s", j->agent->instance_trouble);
        j->nothing_done = true;
        job_end(j, &err);
        return;
    }
    begin(j);
}

void jobs_cancel(struct jobs *j)
{
    struct err err = {0};

    if (j->state != HA_JOB_RUNNING)
        return;
    FAULT_POINT("job.cancel");
    /* Whether it comes too late is for decisions to doubt; the file must not fire at a later signal. */
    if (j->action.job == HA_JOB_PROMOTE && j->signalled && !promote_withdraw(j->agent->instance->data_dir, &err))
        log_error("promote.not_withdrawn", "%s", err.text);
    (void)err_set(&err, ERR_PG, "cancelled");
    job_end(j, &err);
}

void jobs_notice(struct jobs *j)
{
    if (j->state != HA_JOB_RUNNING)
        return;
    if (j->action.job == HA_JOB_START)
        job_start_notice(j);
    else if (j->action.job == HA_JOB_STOP)
        job_stop_notice(j);
    else if (j->action.job == HA_JOB_PROMOTE)
        job_promote_notice(j);
}

void jobs_view(const struct jobs *j, struct ha_job *ret_job)
{
    *ret_job = (struct ha_job){
        .kind = j->action.job,
        .state = j->state,
        .id = j->id,
        .since_ms = j->since_ms,
        .verdict = j->verdict,
        .subject = j->subject,
        .nothing_done = j->nothing_done,
    };
}

bool jobs_running(const struct jobs *j, enum ha_job_kind kind)
{
    return j->state == HA_JOB_RUNNING && j->action.job == kind;
}

bool job_member_address(struct jobs *j, const char *name, char **ret_host, int *ret_port, struct err *err)
{
    const struct cluster *c = registry_cluster(j->agent->registry);
    const struct member *m = c ? cluster_member(c, name) : NULL;

    if (!m || str_empty(m->conn_url))
        return err_set(err, ERR_NOT_FOUND, "member %s has published no address", name);
    if (!url_host_port(m->conn_url, ret_host, ret_port))
        return err_set(err, ERR_INPUT, "member %s has published \"%s\", which is no address", name, m->conn_url);
    return true;
}

struct jobs *jobs_new(struct agent *a)
{
    struct jobs *j = mem_zero(1, sizeof(*j));

    j->agent = a;
    loop_timer_init(&j->timer, a->loop, timer_due, j);
    return j;
}

void jobs_free(struct jobs *j)
{
    if (!j)
        return;
    drop_handles(j);
    free(j);
}
