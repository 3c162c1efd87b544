/*
 * reinit: members throw their data directory away and clone anew.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/ctl/ctl.h"
#include "app/ctl/members.h"
#include "app/ctl/show.h"
#include "app/ctl/targets.h"
#include "app/ctl/verbs.h"
#include "app/ctl/wait.h"
#include "base/str.h"
#include "io/loop.h"

enum {
    REINIT_LOOK_MS = 2000,
    REINIT_START_MS = 10 * 1000, /* within it a member that accepted shows that it has begun */
    REINIT_SILENT_MS =
        30 * 60 * 1000, /* a clone that moves nothing for this long is not waited for; Patroni shows no bytes */
};

struct reinit {
    bool force, wait, from_leader;
};

static bool send_reinit(struct ctl *ctl, const struct member *m, bool force, bool from_leader,
                        struct rest_reply *ret_reply)
{
    json_t *body = json_object();
    struct err err;

    json_object_set_new(body, "force", json_boolean(force));
    json_object_set_new(body, "from_leader", json_boolean(from_leader));
    bool answered = wait_rest(ctl, m, "POST", "reinitialize", body, WAIT_REST_MS, ret_reply, &err);
    json_decref(body);
    if (!answered)
        (void)printf("Failed: reinitialize for member %s, %s\n", m->name, err.text);
    return answered;
}

/* True if the member has begun. A clone that already runs may be cancelled, if the operator wants that. */
static bool start_reinit(struct ctl *ctl, const struct reinit *r, const struct targets *t, const struct member *m)
{
    AUTO(cstr) char *label = member_label(m);
    bool force = r->force;

    ctl_note("Cluster %s: reinitializing %s; its data directory is replaced by a copy of %s", t->cluster_name, label,
             r->from_leader ? "the leader's" : "another member's");
    for (;;) {
        AUTO(rest_reply) struct rest_reply reply = {0};
        int status;
        if (!send_reinit(ctl, m, force, r->from_leader, &reply))
            return false;
        if (reply.status < 400) {
            (void)printf("Success: reinitialize for member %s\n", m->name);
            return true;
        }
        (void)printf("Failed: reinitialize for member %s, status code=%d, (%s)\n", m->name, reply.status, reply.body);
        if (force || !str_ends(reply.body, " already in progress") ||
            !show_confirm("Do you want to cancel it and reinitialize anyway?", "Aborted reinitialize", &status))
            return false;
        force = true;
    }
}

/* A member that is waited for. */
struct waiting {
    const struct member *m; /* as it was before */
    bool begun;             /* seen in any other state than running */
    double done;            /* bytes of the clone, last seen */
    msec asked_ms;          /* when it accepted */
    msec moved_ms;          /* when something last changed */
};

enum progress { PROGRESS_GOING, PROGRESS_OVER, PROGRESS_STUCK };

/* A member still runs for a moment after it accepted; one that is found running later on was faster than we look. */
static enum progress judge(struct waiting *w, const char *state, double done, msec now_ms)
{
    bool running = str_eq(state, "running");

    if (running && (w->begun || now_ms - w->asked_ms > REINIT_START_MS))
        return PROGRESS_OVER;
    if ((!running && state && !w->begun) || done > w->done)
        w->moved_ms = now_ms;
    w->begun |= !running && state;
    w->done = done;
    return now_ms - w->moved_ms > REINIT_SILENT_MS ? PROGRESS_STUCK : PROGRESS_GOING;
}

/* What the member says about itself; its key may be a loop_wait old. NULL: it does not answer. free() it. */
static char *state_of(struct ctl *ctl, const struct member *m)
{
    AUTO(rest_reply) struct rest_reply reply = {0};
    struct err err;

    if (!wait_rest(ctl, m, "GET", "patroni", NULL, WAIT_CONNECT_MS, &reply, &err))
        return NULL;
    json_t *status = json_loads(reply.body, 0, NULL);
    char *state = str_dup(json_string_value(json_object_get(status, "state")));
    json_decref(status);
    return state;
}

static double bytes_done(const struct cluster *c, const char *name)
{
    const struct member *m = cluster_member(c, name);

    return m ? json_number_value(json_object_get(json_object_get(m->pgkeep_info, "clone"), "done")) : 0;
}

static void describe(const struct waiting *at, size_t count, const struct cluster *c, struct buf *out)
{
    buf_clear(out);
    for (size_t i = 0; i < count; i++) {
        const struct member *m = cluster_member(c, at[i].m->name);
        json_t *clone = m ? json_object_get(m->pgkeep_info, "clone") : NULL;
        double total = json_number_value(json_object_get(clone, "total"));
        buf_printf(out, "%s%s", i ? ", " : "reinitializing ", at[i].m->name);
        if (total > 0)
            buf_printf(out, " %d%%", (int)(json_number_value(json_object_get(clone, "done")) * 100 / total));
    }
}

/* Takes those out that are through; false if one of them is stuck. */
static bool sort_out(struct ctl *ctl, struct waiting *at, size_t *count, const struct cluster *c)
{
    bool ok = true;

    for (size_t i = 0; i < *count;) {
        AUTO(cstr) char *state = state_of(ctl, at[i].m);
        enum progress p = judge(&at[i], state, bytes_done(c, at[i].m->name), loop_clock_ms());
        if (p == PROGRESS_GOING) {
            i++;
            continue;
        }
        ok &= p == PROGRESS_OVER;
        if (p == PROGRESS_OVER)
            (void)printf("Reinitialize is completed on: %s\n", at[i].m->name);
        else
            (void)printf("Failed: reinitialize of %s shows no progress; look at its log\n", at[i].m->name);
        at[i] = at[--*count];
    }
    (void)fflush(stdout);
    return ok;
}

static void announce(const struct waiting *at, size_t count)
{
    (void)printf("Waiting for reinitialize to complete on: ");
    for (size_t i = 0; i < count; i++)
        (void)printf("%s%s", i ? ", " : "", at[i].m->name);
    (void)printf("\n");
    (void)fflush(stdout);
}

static bool await_all(struct ctl *ctl, const struct targets *t, struct waiting *at, size_t count)
{
    AUTO(buf) struct buf doing = BUF_EMPTY;
    size_t announced = 0;
    bool ok = true;

    while (count > 0) {
        AUTO(cluster) struct cluster *c = NULL;
        struct err err;
        if (announced != count)
            announce(at, count);
        announced = count;
        wait_begin(ctl, doing.len ? buf_cstr(&doing) : "reinitializing");
        wait_ms(ctl, REINIT_LOOK_MS);
        if (!ctl_read(ctl, t->cluster_name, &c, &err)) {
            ok = ctl_fail(&err) == CTL_OK;
            break;
        }
        ok &= sort_out(ctl, at, &count, c);
        describe(at, count, c, &doing);
    }
    wait_end(ctl);
    return ok;
}

int verb_reinit(struct ctl *ctl, int argc, char **argv)
{
    AUTO(targets) struct targets t = {0};
    struct reinit r = {0};
    bool ok = true;
    int status;
    const struct opt opts[] = {
        {0, "force", NULL, "Do not ask for confirmation at any point", .flag = &r.force},
        {0, "from-leader", NULL, "Get basebackup from leader", .flag = &r.from_leader},
        {0, "wait", NULL, "Wait until reinitialization completes", .flag = &r.wait},
        OPT_END,
    };

    if (!ctl_options(ctl, opts, &argc, argv, &status) || !targets_read(ctl, &argc, &argv, &t, &status) ||
        !targets_pick(ctl, &t, argc, argv, "replica", r.force, "reinitialize", &status) ||
        !targets_confirm(&t, r.force, "reinitialize", &status))
        return status;

    struct waiting *waiting = mem_zero(t.count, sizeof(*waiting));
    size_t count = 0;
    for (size_t i = 0; i < t.count; i++) {
        if (start_reinit(ctl, &r, &t, t.at[i]))
            waiting[count++] = (struct waiting){.m = t.at[i], .asked_ms = loop_clock_ms(), .moved_ms = loop_clock_ms()};
        else
            ok = false;
    }
    if (r.wait)
        ok &= await_all(ctl, &t, waiting, count);
    free(waiting);
    return ok ? CTL_OK : CTL_FAILED;
}
