/*
 * flush: discard what is scheduled.
 */
#include <stdio.h>

#include "app/ctl/ctl.h"
#include "app/ctl/members.h"
#include "app/ctl/rest_any.h"
#include "app/ctl/show.h"
#include "app/ctl/targets.h"
#include "app/ctl/verbs.h"
#include "app/ctl/wait.h"
#include "base/str.h"

static bool flush_restart(struct ctl *ctl, const struct targets *t, const struct member *m)
{
    AUTO(cstr) char *label = member_label(m);
    AUTO(rest_reply) struct rest_reply reply = {0};
    struct err err;

    if (!m->scheduled_restart) {
        (void)printf("No scheduled restart for member %s\n", m->name);
        return true;
    }
    ctl_note("Cluster %s: discarding the scheduled restart of %s", t->cluster_name, label);
    if (!wait_rest(ctl, m, "DELETE", "restart", NULL, WAIT_REST_MS, &reply, &err)) {
        (void)printf("Failed: flush scheduled restart for member %s, %s\n", m->name, err.text);
        return false;
    }
    if (reply.status >= 400) {
        (void)printf("Failed: flush scheduled restart for member %s, status code=%d, (%s)\n", m->name, reply.status,
                     reply.body);
        return false;
    }
    (void)printf("Success: flush scheduled restart for member %s\n", m->name);
    return true;
}

/* Empties the key as the members do, if nobody changed it meanwhile. */
static int flush_in_store(struct ctl *ctl, const struct targets *t)
{
    AUTO(cstr) char *key = str_fmt("/%s/%s/failover", ctl->settings->namespace_, t->cluster_name);
    const struct store_compare same = {
        .kind = STORE_IF_MOD_REVISION, .key = key, .revision = t->cluster->failover.mod_revision};
    const struct store_op put = {.kind = STORE_PUT, .key = key, .value = "{}"};
    const struct store_txn txn = {.compares = &same, .compare_count = 1, .then = &put, .then_count = 1};
    char time[SHOW_TIME_MAX];
    bool succeeded = false;
    struct err err;

    (void)printf("%s Could not find any accessible member of cluster %s\n", show_time(time, true), t->cluster_name);
    if (!wait_txn(ctl, &txn, &succeeded, &err))
        return ctl_fail(&err);
    if (!succeeded)
        return ctl_refuse("The scheduled switchover has changed meanwhile; nothing was discarded");
    (void)printf("Success: scheduled switchover deleted in the store\n");
    return CTL_OK;
}

static int flush_switchover(struct ctl *ctl, const struct targets *t)
{
    AUTO(rest_reply) struct rest_reply reply = {0};
    const struct member *answered = NULL;

    if (!t->cluster->failover.present || !t->cluster->failover.scheduled_at) {
        (void)printf("No pending scheduled switchover\n");
        return CTL_OK;
    }
    AUTO(cstr) char *doing = str_fmt("Cluster %s: discarding the scheduled switchover", t->cluster_name);
    if (!rest_any(ctl, t->cluster, doing, "DELETE", "switchover", NULL, &answered, &reply))
        return flush_in_store(ctl, t);
    if (reply.status == 200) {
        (void)printf("Success: %s\n", reply.body);
        return CTL_OK;
    }
    if (reply.status == 404)
        (void)printf("Failed: %s\n", reply.body);
    else
        (void)printf("Failed: member=%s, status_code=%d, (%s)\n", answered->name, reply.status, reply.body);
    return CTL_FAILED;
}

int verb_flush(struct ctl *ctl, int argc, char **argv)
{
    AUTO(targets) struct targets t = {0};
    const char *role = "any";
    bool force = false, ok = true;
    int status;
    const struct opt opts[] = {
        {'r', "role", TARGET_ROLES_META, "Flush only members with this role", .text = &role, .choices = TARGET_ROLES},
        {0, "force", NULL, "Do not ask for confirmation at any point", .flag = &force},
        OPT_END,
    };

    if (!ctl_options(ctl, opts, &argc, argv, &status))
        return status;
    const char *target = argc ? argv[argc - 1] : NULL;
    if (!target || !opts_choice("restart|switchover", target))
        return ctl_misuse(ctl, "Missing argument '{restart|switchover}' at the end.");
    argc--;
    if (!targets_read(ctl, &argc, &argv, &t, &status))
        return status;
    if (str_eq(target, "switchover"))
        return flush_switchover(ctl, &t);
    if (!targets_pick(ctl, &t, argc, argv, role, force, "flush", &status) ||
        !targets_confirm(&t, force, "flush", &status))
        return status;
    for (size_t i = 0; i < t.count; i++)
        ok &= flush_restart(ctl, &t, t.at[i]);
    return ok ? CTL_OK : CTL_FAILED;
}
