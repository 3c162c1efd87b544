#include "app/ctl/targets.h"

#include <stdio.h>
#include <stdlib.h>

#include "app/ctl/prompt.h"
#include "app/ctl/show.h"
#include "base/str.h"
#include "wire/cluster_view.h"

void targets_deinit(struct targets *t)
{
    cluster_free(t->cluster);
    free(t->at);
    *t = (struct targets){0};
}

static bool all_are_members(const struct cluster *c, int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        if (!cluster_member(c, argv[i]))
            return false;
    return true;
}

bool targets_read(struct ctl *ctl, int *argc, char ***argv, struct targets *ret, int *ret_exit)
{
    const char *scope = ctl->settings->scope;
    const char *first = *argc ? (*argv)[0] : NULL;
    bool patronictl = str_eq(ctl->program, "patronictl");
    struct err err;

    if (!first && str_empty(scope)) {
        *ret_exit = ctl_misuse(ctl, "Missing argument 'CLUSTER_NAME': no `scope` in the configuration either.");
        return false;
    }

    bool could_be_member = first && !patronictl && !str_empty(scope) && !str_eq(first, scope);
    ret->cluster_name = first && !could_be_member ? first : scope;
    if (!ctl_read(ctl, ret->cluster_name, &ret->cluster, &err)) {
        *ret_exit = ctl_fail(&err);
        return false;
    }
    if (could_be_member && all_are_members(ret->cluster, *argc, *argv))
        return true;
    if (could_be_member) {
        cluster_free(TAKE(ret->cluster));
        ret->cluster_name = first;
        if (!ctl_read(ctl, first, &ret->cluster, &err)) {
            *ret_exit = ctl_fail(&err);
            return false;
        }
    }
    if (first) {
        (*argc)--;
        (*argv)++;
    }
    return true;
}

static bool is_leader(const struct cluster *c, const struct member *m)
{
    return str_eq(c->leader, m->name);
}

bool targets_have_role(const struct cluster *c, const struct member *m, const char *role)
{
    if (str_eq(role, "any"))
        return true;
    if (str_eq(role, "replica") || str_eq(role, "standby"))
        return !is_leader(c, m);
    if (!is_leader(c, m))
        return false;
    if (str_eq(role, "standby-leader"))
        return !str_eq(m->role, "primary");
    if (str_eq(role, "primary") || str_eq(role, "master"))
        return !str_eq(m->role, "standby_leader");
    return true; /* leader */
}

const struct member *targets_any(const struct cluster *c, const char *role, const char *name)
{
    if (name)
        return cluster_member(c, name);
    for (size_t i = 0; i < c->member_count; i++)
        if (!member_is_witness(&c->members[i]) && targets_have_role(c, &c->members[i], role ? role : "leader"))
            return &c->members[i];
    return NULL;
}

static bool named(const char *name, int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        if (str_eq(argv[i], name))
            return true;
    return argc == 0;
}

/* Of an agent without PostgreSQL only its configuration can be loaded anew; who names it is told so by itself. */
static bool is_no_target(const struct member *m, int argc, const char *action)
{
    return member_is_witness(m) && argc == 0 && !str_eq(action, "reload");
}

static void add_members(struct targets *t, int argc, char **argv, const char *role, bool leader, const char *action)
{
    const struct cluster *c = t->cluster;

    for (size_t i = 0; i < c->member_count; i++) {
        const struct member *m = &c->members[i];
        if (is_leader(c, m) != leader || !targets_have_role(c, m, role) || !named(m->name, argc, argv))
            continue;
        if (is_no_target(m, argc, action))
            continue;
        /* NOLINTNEXTLINE(bugprone-sizeof-expression): an array of pointers */
        t->at = mem_grow(t->at, t->count + 1, sizeof(*t->at));
        t->at[t->count++] = m;
    }
}

static bool ask_for_name(const struct targets *t, const char *action, char **ret_name, int *ret_exit)
{
    AUTO(cstr) char *names = targets_names(t);
    AUTO(cstr) char *question = str_fmt("Which member do you want to %s [%s]?", action, names);

    if (prompt_text(stdin, stdout, question, "", ret_name))
        return true;
    *ret_exit = ctl_abort();
    return false;
}

bool targets_pick(struct ctl *ctl, struct targets *t, int argc, char **argv, const char *role, bool force,
                  const char *action, int *ret_exit)
{
    bool must_name = str_eq(action, "reinitialize");
    AUTO(cstr) char *answer = NULL;

    add_members(t, 0, NULL, role, false, action);
    add_members(t, 0, NULL, role, true, action);
    if (argc == 0 && t->count == 0) {
        *ret_exit = ctl_refuse("%s cluster doesn't have any members", t->cluster_name);
        return false;
    }
    show_members(ctl, t->cluster, t->cluster_name, false, LISTING_PRETTY);

    if (argc == 0 && must_name) {
        if (force) {
            *ret_exit = ctl_refuse("Name the members to %s: with --force nobody is asked", action);
            return false;
        }
        if (!ask_for_name(t, action, &answer, ret_exit))
            return false;
        argc = 1;
        argv = &answer;
    }

    t->count = 0;
    add_members(t, argc, argv, role, false, action);
    add_members(t, argc, argv, role, true, action);
    for (int i = 0; i < argc; i++)
        if (!cluster_member(t->cluster, argv[i])) {
            *ret_exit = ctl_refuse("%s is not a member of cluster", argv[i]);
            return false;
        }
    if (t->count == 0) {
        *ret_exit = ctl_refuse("No %s among provided members", role);
        return false;
    }
    return true;
}

char *targets_names(const struct targets *t)
{
    AUTO(buf) struct buf out = BUF_EMPTY;

    for (size_t i = 0; i < t->count; i++)
        buf_printf(&out, "%s%s", i ? ", " : "", t->at[i]->name);
    return buf_take(&out);
}

bool targets_confirm(const struct targets *t, bool force, const char *action, int *ret_exit)
{
    AUTO(cstr) char *names = targets_names(t);
    AUTO(cstr) char *question = str_fmt("Are you sure you want to %s members %s?", action, names);
    AUTO(cstr) char *refusal = str_fmt("Aborted %s", action);

    return force || show_confirm(question, refusal, ret_exit);
}
