/*
 * restart, reload: members one after another, over REST.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/ctl/ctl.h"
#include "app/ctl/members.h"
#include "app/ctl/prompt.h"
#include "app/ctl/scheduled.h"
#include "app/ctl/show.h"
#include "app/ctl/targets.h"
#include "app/ctl/verbs.h"
#include "app/ctl/wait.h"
#include "base/str.h"
#include "io/loop.h"
#include "wire/cluster_view.h"

/* A member answers when PostgreSQL runs again: shutdown checkpoint and recovery may take their time. */
enum { RESTART_MS = 30 * 60 * 1000 };

struct restart {
    bool any, pending, force;
    const char *scheduled_text, *version, *timeout;
    bool scheduled;
    struct scheduled at;
};

static bool settle_moment(struct restart *r, const struct targets *t, int *ret_exit)
{
    char example[SHOW_TIME_MAX];
    AUTO(cstr) char *question = str_fmt("When should the restart take place (e.g. %s) ", show_next_hour(example));
    AUTO(cstr) char *answer = NULL;
    const char *text = r->scheduled_text;

    if (!text && !r->force) {
        if (!prompt_text(stdin, stdout, question, "now", &answer)) {
            *ret_exit = ctl_abort();
            return false;
        }
        text = answer;
    }
    switch (scheduled_parse(text, wall_clock_ms(), &r->at)) {
    case SCHEDULED_NOW:
        return true;
    case SCHEDULED_AT:
        r->scheduled = true;
        if (!cluster_is_paused(t->cluster))
            return true;
        *ret_exit = ctl_refuse("Can't schedule restart in the paused state");
        return false;
    case SCHEDULED_BAD:
        *ret_exit = ctl_refuse(
            "Unable to parse scheduled timestamp (%s). It should be in an unambiguous format (e.g. ISO 8601)", text);
        return false;
    }
    return false;
}

/* --pending and --any leave some of the members out. */
static void narrow(const struct restart *r, struct targets *t)
{
    size_t kept = 0;

    /* Whether a scheduled restart is needed is seen when its time has come. */
    for (size_t i = 0; i < t->count; i++)
        if (!r->pending || r->scheduled || t->at[i]->pending_restart)
            t->at[kept++] = t->at[i];
    t->count = kept;
    if (r->any && t->count > 1) {
        t->at[0] = t->at[(size_t)(wall_clock_ms() % (int64_t)t->count)];
        t->count = 1;
    }
}

static bool confirm_restart(const struct restart *r, const struct targets *t, int *ret_exit)
{
    AUTO(cstr) char *names = targets_names(t);
    AUTO(cstr)
    char *question =
        r->pending
            ? str_dup("The nodes needing a restart will be identified at the scheduled time, and might be different "
                      "from the ones showing pending restart right now. Is this fine?")
            : str_fmt("Are you sure you want to schedule restart of members %s at %s?", names, r->at.iso);

    if (r->force)
        return true;
    if (r->scheduled)
        return show_confirm(question, "Aborted scheduled restart", ret_exit);
    return targets_confirm(t, false, "restart", ret_exit);
}

/* "9.5.2" or, from 10 on, "15.4": what a member takes (web/bodies.c). */
static bool version_is_valid(const char *version)
{
    int least = strtol(version, NULL, 10) < 10 ? 3 : 2;

    for (int parts = 1; parts <= 3; parts++) {
        size_t digits = strspn(version, "0123456789");
        if (digits == 0)
            return false;
        version += digits;
        if (!*version)
            return parts >= least;
        if (*version++ != '.')
            return false;
    }
    return false;
}

static bool settle_version(struct restart *r, char **take_answer, int *ret_exit)
{
    if (!r->version && !r->force) {
        if (!prompt_text(stdin, stdout, "Restart if the PostgreSQL version is less than provided (e.g. 9.5.2) ", "",
                         take_answer)) {
            *ret_exit = ctl_abort();
            return false;
        }
        r->version = *take_answer;
    }
    if (!r->version || !*r->version || version_is_valid(r->version))
        return true;
    *ret_exit = ctl_refuse("Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: %s", r->version);
    return false;
}

/* New reference. */
static json_t *restart_body(const struct restart *r)
{
    json_t *body = json_object();

    if (r->pending)
        json_object_set_new(body, "restart_pending", json_true());
    if (!str_empty(r->version))
        json_object_set_new(body, "postgres_version", json_string(r->version));
    if (r->scheduled)
        json_object_set_new(body, "schedule", json_string(r->at.iso));
    if (r->timeout)
        json_object_set_new(body, "timeout", json_string(r->timeout));
    return body;
}

static bool report_restart(const struct member *m, const struct rest_reply *reply)
{
    switch (reply->status) {
    case 200:
        (void)printf("Success: restart on member %s\n", m->name);
        return true;
    case 202:
        (void)printf("Success: restart scheduled on member %s\n", m->name);
        return true;
    case 409:
        (void)printf("Failed: another restart is already scheduled on member %s\n", m->name);
        return false;
    default:
        (void)printf("Failed: restart for member %s, status code=%d, (%s)\n", m->name, reply->status, reply->body);
        return false;
    }
}

static bool restart_member(struct ctl *ctl, const struct restart *r, const struct targets *t, const struct member *m,
                           const json_t *body)
{
    AUTO(cstr) char *label = member_label(m);
    AUTO(cstr) char *doing = str_fmt("restarting %s", m->name);
    AUTO(rest_reply) struct rest_reply reply = {0};
    AUTO(rest_reply) struct rest_reply flushed = {0};
    struct err err;

    ctl_note("Cluster %s: %s %s", t->cluster_name, r->scheduled ? "scheduling a restart of" : "restarting", label);
    if (r->scheduled && r->force && m->scheduled_restart &&
        !wait_rest(ctl, m, "DELETE", "restart", NULL, WAIT_REST_MS, &flushed, &err)) {
        (void)printf("Failed: flush scheduled restart for member %s, %s\n", m->name, err.text);
        return false;
    }

    wait_begin(ctl, doing);
    bool answered = wait_rest(ctl, m, "POST", "restart", body, r->scheduled ? WAIT_REST_MS : RESTART_MS, &reply, &err);
    wait_end(ctl);
    if (answered)
        return report_restart(m, &reply);
    (void)printf("Failed: restart for member %s, %s\n", m->name, err.text);
    return false;
}

static int restart_members(struct ctl *ctl, const struct restart *r, const struct targets *t)
{
    json_t *body = restart_body(r);
    bool ok = true;

    for (size_t i = 0; i < t->count; i++) {
        ok &= restart_member(ctl, r, t, t->at[i], body);
        (void)fflush(stdout); /* one after another, so that people see where it stands */
    }
    json_decref(body);
    return ok ? CTL_OK : CTL_FAILED;
}

int verb_restart(struct ctl *ctl, int argc, char **argv)
{
    AUTO(targets) struct targets t = {0};
    AUTO(cstr) char *answer = NULL;
    struct restart r = {0};
    const char *role = "any";
    int status;
    const struct opt opts[] = {
        {'r', "role", TARGET_ROLES_META, "Restart only members with this role", .text = &role, .choices = TARGET_ROLES},
        {0, "any", NULL, "Restart a single member only", .flag = &r.any},
        {0, "scheduled", "TEXT", "Timestamp of a scheduled restart in unambiguous format (e.g. ISO 8601)",
         .text = &r.scheduled_text},
        {0, "pg-version", "TEXT", "Restart if the PostgreSQL version is less than provided (e.g. 9.5.2)",
         .text = &r.version},
        {'p', "pending", NULL, "Restart if pending", .flag = &r.pending},
        {0, "timeout", "TEXT", "Return error and fail over if necessary when restarting takes longer than this.",
         .text = &r.timeout},
        {0, "force", NULL, "Do not ask for confirmation at any point", .flag = &r.force},
        OPT_END,
    };

    if (!ctl_options(ctl, opts, &argc, argv, &status) || !targets_read(ctl, &argc, &argv, &t, &status) ||
        !targets_pick(ctl, &t, argc, argv, role, r.force, "restart", &status) || !settle_moment(&r, &t, &status))
        return status;

    narrow(&r, &t);
    if (t.count == 0) {
        (void)printf("No member has a restart pending\n");
        return CTL_OK;
    }
    if (!confirm_restart(&r, &t, &status) || !settle_version(&r, &answer, &status))
        return status;
    return restart_members(ctl, &r, &t);
}

static bool reload_member(struct ctl *ctl, const struct targets *t, const struct member *m)
{
    json_t *loop_wait = json_object_get(t->cluster->config, "loop_wait");
    AUTO(cstr) char *label = member_label(m);
    AUTO(rest_reply) struct rest_reply reply = {0};
    struct err err;

    ctl_note("Cluster %s: reloading %s", t->cluster_name, label);
    if (!wait_rest(ctl, m, "POST", "reload", NULL, WAIT_REST_MS, &reply, &err)) {
        (void)printf("Failed: reload for member %s, %s\n", m->name, err.text);
        return false;
    }
    if (reply.status == 200) {
        (void)printf("No changes to apply on member %s\n", m->name);
    } else if (reply.status == 202) {
        (void)printf("Reload request received for member %s and will be processed within %d seconds\n", m->name,
                     (int)(json_is_integer(loop_wait) ? json_integer_value(loop_wait) : 10));
    } else {
        (void)printf("Failed: reload for member %s, status code=%d, (%s)\n", m->name, reply.status, reply.body);
        return false;
    }
    return true;
}

int verb_reload(struct ctl *ctl, int argc, char **argv)
{
    AUTO(targets) struct targets t = {0};
    const char *role = "any";
    bool force = false, ok = true;
    int status;
    const struct opt opts[] = {
        {'r', "role", TARGET_ROLES_META, "Reload only members with this role", .text = &role, .choices = TARGET_ROLES},
        {0, "force", NULL, "Do not ask for confirmation at any point", .flag = &force},
        OPT_END,
    };

    if (!ctl_options(ctl, opts, &argc, argv, &status) || !targets_read(ctl, &argc, &argv, &t, &status) ||
        !targets_pick(ctl, &t, argc, argv, role, force, "reload", &status) ||
        !targets_confirm(&t, force, "reload", &status))
        return status;
    for (size_t i = 0; i < t.count; i++)
        ok &= reload_member(ctl, &t, t.at[i]);
    return ok ? CTL_OK : CTL_FAILED;
}
