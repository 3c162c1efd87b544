#include "app/agent/ops.h"

#include <stdlib.h>
#include <string.h>

#include "app/agent/config.h"
#include "app/agent/foresee.h"
#include "app/agent/jobs.h"
#include "app/agent/leadership.h"
#include "app/agent/local.h"
#include "app/agent/registry.h"
#include "app/agent/switchover.h"
#include "base/fault.h"
#include "base/str.h"
#include "core/ha/minor.h"
#include "io/log.h"
#include "io/mailbox.h"
#include "pg/instance.h"
#include "store/store.h"
#include "wire/conf/dynamic.h"
#include "wire/conf/settings.h"
#include "wire/when.h"

enum { TOLD_TTL_MAX_MS = 86400000 }; /* nobody may keep the others from electing for ever */

struct op_letter {
    struct letter letter;
    struct op *op;
};

bool ops_submit(struct op *take_op, void *arg)
{
    struct agent *a = arg;
    struct op_letter *letter = mem_zero(1, sizeof(*letter));

    letter->op = take_op;
    if (mailbox_send(a->op_mail, &letter->letter))
        return true;
    free(letter);
    return false;
}

static const char *field(const struct op *op, const char *name)
{
    return op->body ? json_string_value(json_object_get(op->body, name)) : NULL;
}

/* ---- restart ---- */

static bool restart_fits(struct agent *a, const json_t *body, const char **ret_why_not)
{
    const char *role = json_string_value(json_object_get(body, "role"));
    const char *version = json_string_value(json_object_get(body, "postgres_version"));
    const struct pg_facts *facts = local_facts(a->local);
    struct ha_pg pg;

    local_view(a->local, &pg);
    *ret_why_not = NULL;
    if (role && !str_eq(str_eq(role, "master") ? "primary" : role, node_role_text(a->role_told)))
        *ret_why_not = "node role mismatch";
    else if (version && facts && facts->server_version >= version_number(version))
        *ret_why_not = "postgres version mismatch";
    else if (json_object_get(body, "restart_pending") && !pg.pending_restart)
        *ret_why_not = "pending restart flag is not set";
    return !*ret_why_not;
}

static void restart_now(struct agent *a, const json_t *body)
{
    FAULT_POINT("op.restart");
    a->request.restart = true;
    a->request.restart_timeout_ms = (msec)(json_number_value(json_object_get(body, "timeout")) * 1000);
    agent_wake(a);
}

static void restart(struct agent *a, struct op *op)
{
    const char *schedule = field(op, "schedule");
    const char *why_not;

    if (schedule) {
        if (a->dynamic->pause) {
            op_reply(op, 500, NULL, "Can't schedule restart in the paused state");
        } else if (a->scheduled_restart) {
            op_reply(op, 409, NULL, "Another restart is already scheduled");
        } else if (!when_parse(schedule, &a->scheduled_restart_ms)) {
            op_reply(op, 422, NULL,
                     "Unable to parse scheduled timestamp. It should be in an unambiguous format, e.g. ISO 8601");
        } else {
            a->scheduled_restart = json_deep_copy(op->body);
            log_info("restart.scheduled", "restart scheduled for %s by %s", schedule, op->peer);
            op_reply(op, 202, NULL, "Restart scheduled");
            agent_wake(a);
        }
        return;
    }
    if (!restart_fits(a, op->body, &why_not)) {
        op_reply(op, 503, NULL, "restart conditions are not satisfied");
        return;
    }
    if (a->restart_op || a->request.restart || a->memory.restart.under_way) {
        op_reply(op, 503, NULL, "restart already in progress");
        return;
    }
    if (!local_postmaster(a->local)) {
        op_reply(op, 503, NULL, "PostgreSQL is not running");
        return;
    }
    log_info("restart.asked", "restart asked by %s", op->peer);
    restart_now(a, op->body);
    a->restart_op = op;
}

static void restart_delete(struct agent *a, struct op *op)
{
    if (!a->scheduled_restart) {
        op_reply(op, 404, NULL, "no restarts are scheduled");
        return;
    }
    json_decref(a->scheduled_restart);
    a->scheduled_restart = NULL;
    log_info("restart.unscheduled", "scheduled restart deleted by %s", op->peer);
    op_reply(op, 200, NULL, "scheduled restart deleted");
    agent_wake(a);
}

/* Returns when to come again; MSEC_NEVER. */
static msec scheduled_restart_due(struct agent *a)
{
    const char *why_not;

    if (!a->scheduled_restart || a->dynamic->pause) /* nothing scheduled happens in pause */
        return MSEC_NEVER;
    int64_t late_ms = wall_clock_ms() - a->scheduled_restart_ms;
    if (late_ms < 0)
        return loop_clock_ms() - late_ms;
    if (late_ms > a->dynamic->ttl_ms)
        log_warning("restart.missed", "the scheduled restart is dropped: its time passed %lld s ago",
                    (long long)(late_ms / 1000));
    else if (!restart_fits(a, a->scheduled_restart, &why_not))
        log_info("restart.skipped", "the scheduled restart is dropped: %s", why_not);
    else
        restart_now(a, a->scheduled_restart);
    json_decref(a->scheduled_restart);
    a->scheduled_restart = NULL;
    return MSEC_NEVER;
}

/* ---- reinitialize ---- */

static void reinitialize(struct agent *a, struct op *op)
{
    const struct cluster *c = registry_cluster(a->registry);
    bool force = json_is_true(json_object_get(op->body, "force"));
    char busy[128];

    if (!c || !c->leader) {
        op_reply(op, 503, NULL, "Cluster has no leader, can not reinitialize");
        return;
    }
    if (str_eq(c->leader, agent_name(a))) {
        op_reply(op, 503, NULL, "I am the leader, can not reinitialize");
        return;
    }
    if (a->jobs->state == HA_JOB_RUNNING && !force) {
        str_copy(busy, sizeof(busy), ha_job_text(a->jobs->action.job));
        AUTO(cstr) char *text = str_fmt("%s already in progress", busy);
        op_reply(op, 503, NULL, text);
        return;
    }
    log_warning("reinit.asked", "reinitialize asked by %s", op->peer);
    if (force)
        jobs_cancel(a->jobs);
    FAULT_POINT("op.reinit");
    a->request.reinit = true;
    a->request.reinit_force = force;
    a->request.reinit_from_leader = json_is_true(json_object_get(op->body, "from_leader")) ||
                                    json_is_true(json_object_get(op->body, "from-leader"));
    op_reply(op, 200, NULL, "reinitialize started");
    agent_wake(a);
}

/* ---- a store that was put back ---- */

/* Decided with the next view (core/ha/recover.h), which has the answer, too. */
static void recover_record(struct agent *a, struct op *op)
{
    if (a->recover_op) {
        op_reply(op, 503, NULL, "somebody else has asked for that, too");
        return;
    }
    log_warning("recover.asked", "recovering the record asked by %s", op->peer);
    FAULT_POINT("op.recover");
    a->request.recover = true;
    a->request.recover_force = json_is_true(json_object_get(op->body, "force"));
    a->recover_op = op;
    agent_wake(a);
}

/* ---- configuration ---- */

struct config_write {
    struct agent *agent;
    struct op *op;
    json_t *config;
};

static void config_written(const struct store_result *result, void *arg)
{
    struct config_write *w = arg;
    AUTO(cstr) char *text = json_dumps(w->config, JSON_COMPACT);

    FAULT_POINT("op.config.written");
    registry_refresh(w->agent->registry);
    if (result->status != STORE_DONE)
        op_reply(w->op, 503, NULL, result->err ? result->err->text : "the store does not answer");
    else if (!result->succeeded)
        op_reply(w->op, 409, NULL, "the configuration was changed by somebody else at the same time");
    else
        op_reply(w->op, 200, "Content-Type: application/json", text);
    json_decref(w->config);
    free(w);
}

static void write_config(struct agent *a, struct op *op, json_t *take_config, int64_t revision)
{
    struct config_write *w = mem_zero(1, sizeof(*w));
    AUTO(cstr) char *key = str_fmt("%sconfig", a->settings->key_prefix);
    AUTO(cstr) char *text = json_dumps(take_config, JSON_COMPACT);
    struct store_compare same = {.kind = STORE_IF_MOD_REVISION, .key = key, .revision = revision};
    struct store_op put = {.kind = STORE_PUT, .key = key, .value = text};
    struct store_txn txn = {.compares = &same, .compare_count = revision ? 1 : 0, .then = &put, .then_count = 1};

    *w = (struct config_write){.agent = a, .op = op, .config = take_config};
    store_txn(a->store, &txn, a->dynamic->retry_timeout_ms, config_written, w);
}

/* Strict mode on a version that does not keep it; what was wrong before stands in nobody's way. */
static char *why_not_strict(const struct agent *a, const struct dynamic *d)
{
    const struct dynamic *now = a->dynamic;
    bool was = now->synchronous_mode != SYNC_MODE_OFF && now->synchronous_mode_strict;
    struct ha_pg pg;

    local_view(a->local, &pg);
    if (was || d->synchronous_mode == SYNC_MODE_OFF || !d->synchronous_mode_strict || !pg.server_version ||
        minor_keeps_names(pg.server_version))
        return NULL;
    return minor_why_not_strict(pg.server_version);
}

/* A value that no node could use is refused here, not discovered by each of them. */
static bool config_is_sound(struct agent *a, const json_t *config, char **ret_why_not)
{
    struct findings findings = {0};
    struct dynamic *d = dynamic_read(config, a->settings, &findings);

    *ret_why_not = NULL;
    for (size_t i = 0; i < findings.count && !*ret_why_not; i++)
        if (findings.at[i].level == FINDING_ERROR)
            *ret_why_not = str_dup(findings.at[i].text);
    if (!*ret_why_not && dynamic_refused(d))
        *ret_why_not = str_fmt("%s is not built yet and cannot be switched on", dynamic_refused(d));
    if (!*ret_why_not)
        *ret_why_not = why_not_strict(a, d);
    findings_deinit(&findings);
    dynamic_unref(d);
    return !*ret_why_not;
}

static void config_change(struct agent *a, struct op *op, bool patch)
{
    const struct cluster *c = registry_cluster(a->registry);
    AUTO(cstr) char *why_not = NULL;

    if (patch && (!c || !c->config)) {
        op_reply(op, 503, NULL, "the cluster has no dynamic configuration");
        return;
    }
    json_t *config = patch ? json_merge_patch(json_deep_copy(c->config), op->body) : json_incref(op->body);
    if (!config_is_sound(a, config, &why_not)) {
        json_decref(config);
        op_reply(op, 400, NULL, why_not);
        return;
    }
    log_info("config.written", "dynamic configuration changed by %s", op->peer);
    write_config(a, op, config, patch ? c->config_revision : 0);
}

/* ---- failsafe ---- */

/* Who asks is cut off from a store that we hear: it was replaced, or is about to be. */
static bool knows_another_leader(const struct agent *a, const char *name)
{
    const struct cluster *c = registry_cluster(a->registry);

    return registry_answers(a->registry) && c && c->leader && !str_eq(c->leader, name);
}

static void failsafe(struct agent *a, struct op *op)
{
    const char *name = field(op, "name");
    struct ha_lease lease = {0};
    struct ha_pg pg;

    leadership_view(a->leadership, &lease);
    local_view(a->local, &pg);
    if (!a->dynamic->failsafe_mode) {
        op_reply(op, 502, NULL, "Failsafe mode is not enabled");
        return;
    }
    if (lease.owner || (pg.accepting && !pg.in_recovery)) {
        op_reply(op, 500, NULL, "Running as a leader");
        return;
    }
    if (str_empty(name)) {
        op_reply(op, 400, NULL, "name is missing");
        return;
    }
    if (knows_another_leader(a, name)) {
        op_reply(op, 500, NULL, "Another node owns the leader key");
        return;
    }
    FAULT_POINT("op.failsafe.granted");
    a->failsafe_heard_ms = loop_clock_ms();
    str_set(&a->failsafe_heard_from, name);
    msec told_ms = json_integer_value(json_object_get(json_object_get(op->body, "pgkeep"), "ttl_ms"));
    a->failsafe_heard_ttl_ms = msec_min(told_ms, TOLD_TTL_MAX_MS);
    AUTO(cstr) char *header = str_fmt("lsn: %llu", (unsigned long long)pg.position);
    op_reply(op, 200, header, "Accepted");
    agent_wake(a);
}

/* ---- fresh status ---- */

static void fresh(struct agent *a, struct op *op)
{
    if (!local_postmaster(a->local) || a->fresh_op_count == AGENT_OPS_MAX) {
        op_reply(op, 200, NULL, ""); /* the newest snapshot is as fresh as can be */
        return;
    }
    a->fresh_ops[a->fresh_op_count++] = (struct fresh_op){.op = op, .asked_ms = loop_clock_ms()};
    local_refresh(a->local);
}

/* Those asked until then have their answer. */
static void fresh_reply(struct agent *a, msec until_ms)
{
    size_t kept = 0;

    for (size_t i = 0; i < a->fresh_op_count; i++) {
        if (a->fresh_ops[i].asked_ms <= until_ms)
            op_reply(a->fresh_ops[i].op, 200, NULL, "");
        else
            a->fresh_ops[kept++] = a->fresh_ops[i];
    }
    a->fresh_op_count = kept;
}

void ops_published(struct agent *a)
{
    /* An answer to a question from before the request does not count; a server that does not answer is news enough. */
    fresh_reply(a, local_answers(a->local) ? local_answered_ms(a->local) : MSEC_NEVER);
}

/* ---- all ---- */

static void take(struct letter *letter, void *arg)
{
    struct agent *a = arg;
    struct op_letter *l = (struct op_letter *)(void *)letter;
    struct op *op = l->op;

    free(l);
    FAULT_POINT("op.taken");
    if (a->settings->pgkeep.witness && (op->kind == OP_RESTART || op->kind == OP_REINITIALIZE)) {
        op_reply(op, 503, NULL, "a witness has no PostgreSQL");
        return;
    }
    switch (op->kind) {
    case OP_FRESH_STATUS:
        fresh(a, op);
        break;
    case OP_RELOAD:
        if (config_reload(a))
            op_reply(op, 202, NULL, "reload scheduled");
        else
            op_reply(op, 500, NULL, "the configuration has errors, keeping the old one (see the log)");
        break;
    case OP_RESTART:
        restart(a, op);
        break;
    case OP_RESTART_DELETE:
        restart_delete(a, op);
        break;
    case OP_REINITIALIZE:
        reinitialize(a, op);
        break;
    case OP_RECOVER_RECORD:
        recover_record(a, op);
        break;
    case OP_SWITCHOVER:
    case OP_FAILOVER:
        switchover_ask(a, op);
        break;
    case OP_SWITCHOVER_DELETE:
        switchover_delete(a, op);
        break;
    case OP_CONFIG_PATCH:
        config_change(a, op, true);
        break;
    case OP_CONFIG_PUT:
        config_change(a, op, false);
        break;
    case OP_FAILSAFE:
        failsafe(a, op);
        break;
    case OP_EXPLAIN:
        foresee_now(a, op);
        break;
    case OP_PLAN:
        foresee_loss(a, op);
        break;
    }
}

void ops_answer(struct agent *a, enum ha_answer_to what, bool ok)
{
    switch (what) {
    case HA_ANSWER_RESTART:
        a->request.restart = false;
        a->request.restart_timeout_ms = 0;
        if (a->restart_op)
            op_reply(a->restart_op, ok ? 200 : 503, NULL,
                     ok                          ? "restarted successfully"
                     : str_empty(a->jobs->error) ? "PostgreSQL did not start in time"
                                                 : a->jobs->error);
        a->restart_op = NULL;
        break;
    case HA_ANSWER_REINIT:
        a->request.reinit = a->request.reinit_force = a->request.reinit_from_leader = false;
        break;
    case HA_ANSWER_RECOVER:
        a->request.recover = a->request.recover_force = false;
        if (a->recover_op)
            op_reply(a->recover_op, ok ? 200 : 409, NULL, a->plan.why);
        a->recover_op = NULL;
        break;
    }
}

msec ops_before_cycle(struct agent *a)
{
    return msec_min(scheduled_restart_due(a), switchover_follow(a));
}

void ops_init(struct agent *a)
{
    a->op_mail = mailbox_new(a->loop, take, a);
}

void ops_deinit(struct agent *a)
{
    fresh_reply(a, MSEC_NEVER);
    if (a->restart_op)
        op_reply(a->restart_op, 503, NULL, "the agent is ending");
    a->restart_op = NULL;
    if (a->recover_op)
        op_reply(a->recover_op, 503, NULL, "the agent is ending");
    a->recover_op = NULL;
    switchover_drop(a);
    mailbox_free(a->op_mail);
    a->op_mail = NULL;
    json_decref(a->scheduled_restart);
    free(a->failsafe_heard_from);
}
