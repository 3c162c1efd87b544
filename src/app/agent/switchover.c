#include "app/agent/switchover.h"

#include <stdlib.h>

#include "app/agent/registry.h"
#include "app/agent/rounds.h"
#include "base/buf.h"
#include "base/fault.h"
#include "base/str.h"
#include "io/log.h"
#include "store/store.h"
#include "web/op.h"
#include "wire/cluster_view.h"
#include "wire/conf/dynamic.h"
#include "wire/conf/settings.h"

enum { FOLLOW_MS_MIN = 10000 }; /* Patroni: 2 * max(10 s, loop_wait) */

struct request {
    const char *leader, *candidate, *scheduled_at;
    bool failover; /* no leader named: it may be asked for while there is none */
};

static const char *field(const struct op *op, const char *name)
{
    const char *text = op->body ? json_string_value(json_object_get(op->body, name)) : NULL;

    return str_empty(text) ? NULL : text;
}

static bool member_can(const struct member *m)
{
    return !m->tags.nofailover && m->tags.failover_priority > 0 && !str_empty(m->api_url);
}

/* Patroni: of a cluster with synchronous_mode on only a synchronous standby takes over by a switchover. */
static bool is_left_out(const struct cluster *c, const struct request *r, const char *member)
{
    return !r->failover && cluster_is_synchronous(c) && !cluster_is_quorum(c) && !cluster_sync_lists(c, member);
}

static bool nobody_is_synchronous(const struct cluster *c, const struct request *r)
{
    for (size_t i = 0; i < c->member_count; i++)
        if (!str_eq(c->members[i].name, c->leader) && !is_left_out(c, r, c->members[i].name))
            return false;
    return c->member_count > 1;
}

/* NULL: fine. Otherwise the text of a 412. free() it. */
static char *impossible(const struct cluster *c, const struct request *r)
{
    const char *action = r->failover ? "failover" : "switchover";

    if (r->leader && !str_eq(r->leader, c->leader))
        return str_dup("leader name does not match");
    if (r->candidate) {
        const struct member *candidate = cluster_member(c, r->candidate);
        if (!candidate)
            return str_dup("candidate does not exists");
        if (str_eq(r->candidate, c->leader))
            return str_fmt("%s target is already the leader", action);
        if (is_left_out(c, r, r->candidate))
            return str_dup("candidate name does not match with sync_standby");
        return member_can(candidate) ? NULL : str_fmt("%s is not possible: candidate has a nofailover tag", action);
    }
    if (nobody_is_synchronous(c, r))
        return str_fmt("%s is not possible: can not find sync_standby", action);
    for (size_t i = 0; i < c->member_count; i++)
        if (!str_eq(c->members[i].name, c->leader) && member_can(&c->members[i]) &&
            !is_left_out(c, r, c->members[i].name))
            return NULL;
    return str_fmt("%s is not possible: no good candidates have been found", action);
}

struct written {
    struct agent *agent;
    struct op *op;
    bool scheduled;
};

static void key_written(const struct store_result *result, void *arg)
{
    struct written *w = arg;
    struct agent *a = w->agent;

    FAULT_POINT("op.switchover.written");
    a->switchover_busy = false;
    registry_refresh(a->registry);
    if (result->status != STORE_DONE || !result->succeeded) {
        op_reply(w->op, 503, NULL,
                 result->status == STORE_DONE ? "failed to write failover key into DCS"
                 : result->err                ? result->err->text
                                              : "the store does not answer");
    } else if (w->scheduled) {
        op_reply(w->op, 202, NULL, "Switchover scheduled");
    } else {
        a->switchover_op = w->op;
        a->switchover_revision = result->revision;
        a->switchover_deadline_ms = loop_clock_ms() + 2 * msec_max(FOLLOW_MS_MIN, a->dynamic->loop_wait_ms);
        agent_wake(a);
    }
    free(w);
}

static void write_key(struct agent *a, struct op *op, const struct request *r)
{
    struct written *w = mem_zero(1, sizeof(*w));
    AUTO(cstr) char *key = str_fmt("%sfailover", a->settings->key_prefix);
    AUTO(cstr) char *text = failover_key_text(r->leader, r->candidate, r->scheduled_at);
    struct store_op put = {.kind = STORE_PUT, .key = key, .value = text};
    struct store_txn txn = {.then = &put, .then_count = 1};

    *w = (struct written){.agent = a, .op = op, .scheduled = r->scheduled_at != NULL};
    a->switchover_busy = true;
    FAULT_POINT("op.switchover.write");
    store_txn(a->store, &txn, a->dynamic->retry_timeout_ms, key_written, w);
}

void switchover_ask(struct agent *a, struct op *op)
{
    const struct cluster *c = registry_cluster(a->registry);
    struct request r = {
        .leader = field(op, "leader"),
        .candidate = field(op, "candidate") ? field(op, "candidate") : field(op, "member"),
        .scheduled_at = field(op, "scheduled_at"),
    };
    r.failover = !r.leader;

    if (!c) {
        op_reply(op, 503, NULL, "the store does not answer");
        return;
    }
    if (a->switchover_op || a->switchover_busy) {
        op_reply(op, 503, NULL, "another switchover is under way");
        return;
    }
    if (a->dynamic->pause && !r.candidate) {
        op_reply(op, 400, NULL, "Switchover is possible only to a specific candidate in a paused state");
        return;
    }
    if (a->dynamic->pause && r.scheduled_at) {
        op_reply(op, 400, NULL, "Can't schedule switchover in the paused state");
        return;
    }
    AUTO(cstr) char *why_not = impossible(c, &r);
    if (why_not) {
        op_reply(op, 412, NULL, why_not);
        return;
    }
    log_info("switchover.asked", "%s from %s to %s asked by %s%s%s", r.failover ? "failover" : "switchover",
             r.leader ? r.leader : "whoever leads", r.candidate ? r.candidate : "the best member", op->peer,
             r.scheduled_at ? " for " : "", r.scheduled_at ? r.scheduled_at : "");
    if (!r.scheduled_at) {
        str_set(&a->switchover_leader, c->leader);
        str_set(&a->switchover_candidate, r.candidate);
        a->switchover_is_failover = r.failover;
    }
    write_key(a, op, &r);
}

static void answer(struct agent *a, int status, const char *text)
{
    struct op *op = a->switchover_op;

    a->switchover_op = NULL;
    op_reply(op, status, NULL, text);
}

/* The member that leads now runs as primary, by its own key. */
static bool new_leader_runs(const struct cluster *c, const char *was)
{
    const struct member *leader = cluster_leader_member(c);

    return leader && !str_eq(leader->name, was) && str_eq(leader->state, "running") && str_eq(leader->role, "primary");
}

msec switchover_follow(struct agent *a)
{
    const struct cluster *c = registry_cluster(a->registry);

    if (!a->switchover_op || !c)
        return MSEC_NEVER;
    const char *verb = a->switchover_is_failover ? "failed over" : "switched over";
    if (new_leader_runs(c, a->switchover_leader)) {
        bool wanted = !a->switchover_candidate || str_eq(c->leader, a->switchover_candidate);
        AUTO(cstr)
        char *text = wanted ? str_fmt("Successfully %s to \"%s\"", verb, c->leader)
                            : str_fmt("%s to \"%s\" instead of \"%s\"",
                                      a->switchover_is_failover ? "Failed over" : "Switched over", c->leader,
                                      a->switchover_candidate);
        answer(a, 200, text);
    } else if (c->revision >= a->switchover_revision && !c->failover.present &&
               str_eq(c->leader, a->switchover_leader)) {
        /* An older picture does not show our request yet. */
        AUTO(cstr) char *text = str_fmt("%s failed", a->switchover_is_failover ? "Failover" : "Switchover");
        answer(a, 503, text);
    } else if (loop_clock_ms() >= a->switchover_deadline_ms) {
        AUTO(cstr) char *text = str_fmt("%s status unknown", a->switchover_is_failover ? "Failover" : "Switchover");
        answer(a, 503, text);
    }
    return a->switchover_op ? a->switchover_deadline_ms : MSEC_NEVER;
}

static void key_cleared(const struct store_result *result, void *arg)
{
    struct written *w = arg;

    registry_refresh(w->agent->registry);
    if (result->status != STORE_DONE)
        op_reply(w->op, 503, NULL, result->err ? result->err->text : "the store does not answer");
    else if (!result->succeeded)
        op_reply(w->op, 409, NULL, "switchover could not be deleted: it has changed");
    else
        op_reply(w->op, 200, NULL, "scheduled switchover deleted");
    free(w);
}

/* Read for this request: whoever scheduled one a moment ago may take it back, whatever our picture shows yet. */
static void key_read(const struct store_result *result, void *arg)
{
    struct written *w = arg;
    struct agent *a = w->agent;
    const struct store_kv *kv = result->kv_count ? result->kvs : NULL;
    struct cluster_key found = {.name = "failover"};

    if (result->status != STORE_DONE) {
        op_reply(w->op, 503, NULL, result->err ? result->err->text : "the store does not answer");
        free(w);
        return;
    }
    if (kv) {
        found.value = kv->value;
        found.value_len = kv->value_len;
        found.mod_revision = kv->mod_revision;
    }
    AUTO(cluster) struct cluster *c = cluster_read(&found, kv ? 1 : 0, result->revision);
    if (!c->failover.present || !c->failover.scheduled_epoch_ms) {
        op_reply(w->op, 404, NULL, "no pending scheduled switchover");
        free(w);
        return;
    }
    AUTO(cstr) char *key = str_fmt("%sfailover", a->settings->key_prefix);
    struct store_compare same = {.kind = STORE_IF_MOD_REVISION, .key = key, .revision = c->failover.mod_revision};
    struct store_op put = {.kind = STORE_PUT, .key = key, .value = "{}"};
    struct store_txn txn = {.compares = &same, .compare_count = 1, .then = &put, .then_count = 1};
    store_txn(a->store, &txn, a->dynamic->retry_timeout_ms, key_cleared, w);
}

void switchover_delete(struct agent *a, struct op *op)
{
    AUTO(cstr) char *key = str_fmt("%sfailover", a->settings->key_prefix);
    struct written *w = mem_zero(1, sizeof(*w));

    *w = (struct written){.agent = a, .op = op};
    store_get_prefix(a->store, key, a->dynamic->retry_timeout_ms, key_read, w);
}

void switchover_drop(struct agent *a)
{
    if (a->switchover_op)
        answer(a, 503, "the agent is ending; the switchover goes on");
    free(a->switchover_leader);
    free(a->switchover_candidate);
    a->switchover_leader = a->switchover_candidate = NULL;
}

int version_number(const char *text)
{
    int major = 0;
    int minor = 0;

    for (; *text >= '0' && *text <= '9'; text++)
        major = major * 10 + (*text - '0');
    if (*text == '.')
        for (text++; *text >= '0' && *text <= '9'; text++)
            minor = minor * 10 + (*text - '0');
    return major * 10000 + minor;
}
