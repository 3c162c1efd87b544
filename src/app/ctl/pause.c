/*
 * pause, resume: maintenance mode, by the dynamic configuration.
 */
#include <stdio.h>

#include "app/ctl/ctl.h"
#include "app/ctl/rest_any.h"
#include "app/ctl/verbs.h"
#include "app/ctl/wait.h"
#include "base/str.h"
#include "io/loop.h"
#include "wire/cluster_view.h"

enum { PAUSE_LOOK_MS = 500 };

static const char *state_word(bool paused)
{
    return paused ? "paused" : "resumed";
}

/* A member counts if it was there before; one that has not written its key since may be dead and is not waited for. */
static void lagging_members(const struct cluster *before, const struct cluster *now, bool paused, bool only_alive,
                            struct buf *out)
{
    buf_clear(out);
    for (size_t i = 0; i < now->member_count; i++) {
        const struct member *m = &now->members[i];
        const struct member *old = cluster_member(before, m->name);
        if (!old || !old->api_url || m->pause == paused || (only_alive && old->mod_revision == m->mod_revision))
            continue;
        buf_printf(out, "%s%s", out->len ? ", " : "", m->name);
    }
}

static int await_members(struct ctl *ctl, const char *name, const struct cluster *before, bool paused)
{
    json_t *configured = json_object_get(before->config, "loop_wait");
    msec loop_wait_ms = (json_is_integer(configured) ? json_integer_value(configured) : 10) * 1000;
    msec deadline_ms = loop_clock_ms() + loop_wait_ms + 1000;
    AUTO(buf) struct buf lagging = BUF_EMPTY;

    (void)printf("'%s' request sent, waiting until it is recognized by all nodes\n", paused ? "pause" : "resume");
    (void)fflush(stdout);
    wait_begin(ctl, "waiting for all members");
    for (;;) {
        AUTO(cluster) struct cluster *now = NULL;
        struct err err;
        if (!ctl_read(ctl, name, &now, &err))
            return ctl_fail(&err);
        bool last = loop_clock_ms() >= deadline_ms;
        lagging_members(before, now, paused, last, &lagging);
        if (!lagging.len)
            break;
        if (last) {
            (void)printf("%s members didn't recognized pause state after %d seconds\n", buf_cstr(&lagging),
                         (int)(loop_wait_ms / 1000));
            return CTL_FAILED;
        }
        wait_ms(ctl, PAUSE_LOOK_MS);
    }
    wait_end(ctl);
    (void)printf("Success: cluster management is %s\n", state_word(paused));
    return CTL_OK;
}

/* A leader that was lost in the pause is not replaced by itself (core/ha/elect.c): who resumes must know. */
static void warn_of_unfenced(const struct cluster *c)
{
    const struct record_key *record = &c->record;

    if (c->leader || !record->present || !record->unfenced || record->released)
        return;
    (void)fflush(stdout);
    (void)fprintf(
        stderr,
        "Warning: %s led this cluster when it was paused and has let nothing be heard since. If it cannot be "
        "reached, nothing has stopped it either, so no member takes over by itself. Once you are sure that it "
        "is down: failover --candidate NAME\n",
        record->leader);
}

static int set_pause(struct ctl *ctl, int argc, char **argv, bool paused)
{
    AUTO(rest_reply) struct rest_reply reply = {0};
    AUTO(cluster) struct cluster *c = NULL;
    const struct member *answered = NULL;
    bool wait = false;
    const char *name;
    struct err err;
    int status;
    const struct opt opts[] = {
        {0, "wait", NULL,
         paused ? "Wait until pause is applied on all nodes" : "Wait until pause is cleared on all nodes",
         .flag = &wait},
        OPT_END,
    };

    if (!ctl_options(ctl, opts, &argc, argv, &status) || !ctl_cluster_argument(ctl, argc, argv, &name, &status))
        return status;
    if (!ctl_read(ctl, name, &c, &err))
        return ctl_fail(&err);
    if (cluster_is_paused(c) == paused)
        return ctl_refuse("Cluster is %s paused", paused ? "already" : "not");

    json_t *body = json_pack("{s:o}", "pause", paused ? json_true() : json_null());
    AUTO(cstr) char *doing = str_fmt("Cluster %s: %s", name, paused ? "pausing" : "resuming");
    bool asked = rest_any(ctl, c, doing, "PATCH", "config", body, &answered, &reply);
    json_decref(body);
    if (!asked)
        return ctl_refuse("Can not find accessible cluster member");
    if (reply.status != 200) {
        (void)printf("Failed: %s cluster management status code=%d, (%s)\n", paused ? "pause" : "resume", reply.status,
                     reply.body);
        return CTL_FAILED;
    }
    if (!paused)
        warn_of_unfenced(c);
    if (wait)
        return await_members(ctl, name, c, paused);
    (void)printf("Success: cluster management is %s\n", state_word(paused));
    return CTL_OK;
}

int verb_pause(struct ctl *ctl, int argc, char **argv)
{
    return set_pause(ctl, argc, argv, true);
}

int verb_resume(struct ctl *ctl, int argc, char **argv)
{
    return set_pause(ctl, argc, argv, false);
}
