#include "pg/callbacks.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/str.h"
#include "io/child.h"
#include "pg/argv.h"
#include "pg/instance.h"
#include "wire/conf/dynamic.h"
#include "wire/conf/settings.h"

/* Patroni runs on_reload beside the others: a reload must not kill the script that moves an address. */
enum { LANE_MAIN, LANE_RELOAD, LANE_COUNT };

struct lane {
    struct callbacks *owner;
    struct child *child;
    enum callback_action action;
};

struct callbacks {
    struct loop *loop;
    struct lane lanes[LANE_COUNT];
    callback_fn *done;
    void *arg;
};

const char *callback_action_name(enum callback_action action)
{
    switch (action) {
    case CALLBACK_ON_START:
        return "on_start";
    case CALLBACK_ON_STOP:
        return "on_stop";
    case CALLBACK_ON_RESTART:
        return "on_restart";
    case CALLBACK_ON_RELOAD:
        return "on_reload";
    case CALLBACK_ON_ROLE_CHANGE:
        return "on_role_change";
    }
    UNREACHABLE();
}

struct callbacks *callbacks_new(struct loop *l, callback_fn *done, void *arg)
{
    struct callbacks *c = mem_zero(1, sizeof(*c));

    c->loop = l;
    c->done = done;
    c->arg = arg;
    for (int i = 0; i < LANE_COUNT; i++)
        c->lanes[i].owner = c;
    return c;
}

void callbacks_free(struct callbacks *c)
{
    if (!c)
        return;
    for (int i = 0; i < LANE_COUNT; i++)
        child_abandon(c->lanes[i].child);
    free(c);
}

static void lane_done(const struct child_result *result, void *arg)
{
    struct lane *lane = arg;
    struct callbacks *c = lane->owner;
    struct err err = {0};

    lane->child = NULL;
    bool good = child_succeeded(result, callback_action_name(lane->action), &err);
    if (c->done)
        c->done(lane->action, good ? NULL : &err, c->arg); /* may free *c */
}

static void tell(struct callbacks *c, enum callback_action action, const struct err *err)
{
    if (c->done)
        c->done(action, err, c->arg);
}

void callbacks_run(struct callbacks *c, const struct pg_instance *i, enum callback_action action, const char *role)
{
    const char *name = callback_action_name(action);
    const char *command = json_string_value(json_object_get(i->dynamic->callbacks, name));
    struct lane *lane = &c->lanes[action == CALLBACK_ON_RELOAD ? LANE_RELOAD : LANE_MAIN];
    AUTO(argv) char **argv = NULL;
    struct err err = {0};

    if (str_empty(command))
        return;
    if (!command_split(command, &argv, &err)) {
        tell(c, action, &err);
        return;
    }
    argv_add(&argv, name);
    argv_add(&argv, role);
    argv_add(&argv, i->settings->scope);

    child_abandon(TAKE(lane->child)); /* the news it was told is old */
    lane->action = action;
    struct child_spec spec = {.argv = (const char *const *)argv, .own_session = true};
    if (!child_start(c->loop, &spec, lane_done, lane, &lane->child, &err))
        tell(c, action, &err);
}

bool callbacks_running(const struct callbacks *c)
{
    return c->lanes[LANE_MAIN].child || c->lanes[LANE_RELOAD].child;
}

/* ---- scripts that are waited for ---- */

struct script_job {
    struct child *child;
    char *name;
    script_fn *done;
    void *arg;
};

static void script_free(struct script_job *j)
{
    free(j->name);
    free(j);
}

static void script_done(const struct child_result *result, void *arg)
{
    struct script_job *j = arg;
    struct err err = {0};

    j->child = NULL;
    bool good = child_succeeded(result, j->name, &err);
    j->done(good ? NULL : &err, j->arg);
    script_free(j);
}

bool script_start(struct loop *l, const char *name, const char *command, msec budget_ms, script_fn *done, void *arg,
                  struct script_job **ret_job, struct err *err)
{
    AUTO(argv) char **argv = NULL;

    if (!command_split(command, &argv, err))
        return err_wrap(err, "%s", name);

    struct script_job *j = mem_zero(1, sizeof(*j));
    *j = (struct script_job){.name = str_dup(name), .done = done, .arg = arg};
    struct child_spec spec = {.argv = (const char *const *)argv, .own_session = true, .budget_ms = budget_ms};
    if (!child_start(l, &spec, script_done, j, &j->child, err)) {
        script_free(j);
        return err_wrap(err, "%s", name);
    }
    *ret_job = j;
    return true;
}

void script_cancel(struct script_job *j)
{
    if (!j || !j->child)
        return; /* its end is being told: it frees itself */
    child_abandon(j->child);
    script_free(j);
}
