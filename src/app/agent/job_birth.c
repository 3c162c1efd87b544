/*
 * Jobs of a cluster's birth: initdb or the custom method, then users and post_bootstrap.
 */
#include "app/agent/jobs.h"
#include "app/agent/local.h"
#include "base/fault.h"
#include "io/log.h"
#include "pg/datadir.h"
#include "pg/initdb.h"
#include "pg/instance.h"

enum { USERS_MS = 30000 }; /* three roles and a few grants */

static void created(const struct err *err, void *arg)
{
    struct jobs *j = arg;

    j->bootstrap = NULL;
    FAULT_POINT("job.bootstrap.created");
    job_end(j, err);
}

void job_bootstrap_begin(struct jobs *j)
{
    struct err err = {0};

    if (!bootstrap_create(j->agent->loop, j->agent->instance, created, j, &j->bootstrap, &err))
        job_end(j, &err);
}

static void script_done(const struct err *err, void *arg)
{
    struct jobs *j = arg;
    struct err unmark = {0};

    j->bootstrap = NULL;
    if (!err &&
        !FAULT_CALL("job.post_bootstrap.unmark", &unmark, datadir_unmark(j->agent->instance->state_dir, &unmark)))
        err = &unmark;
    job_end(j, err);
}

static void users_done(const struct err *err, void *arg)
{
    struct jobs *j = arg;
    struct err begin = {0};

    j->bootstrap = NULL;
    FAULT_POINT("job.post_bootstrap.users");
    if (!err && !bootstrap_script(j->agent->loop, j->agent->instance, script_done, j, &j->bootstrap, &begin))
        err = &begin;
    if (err)
        job_end(j, err);
}

void job_post_bootstrap_begin(struct jobs *j)
{
    struct err err = {0};

    if (!bootstrap_users(j->agent->loop, j->agent->instance, USERS_MS, users_done, j, &j->bootstrap, &err))
        job_end(j, &err);
}
