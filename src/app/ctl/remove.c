/*
 * remove: everything the store knows of a cluster. PostgreSQL itself is not touched.
 */
#include <stdio.h>
#include <string.h>

#include "app/ctl/ctl.h"
#include "app/ctl/prompt.h"
#include "app/ctl/show.h"
#include "app/ctl/verbs.h"
#include "app/ctl/wait.h"
#include "base/str.h"

/* False: the verb ends with *ret_exit. */
static bool must_type(const char *question, const char *wanted, const char *refusal, int *ret_exit)
{
    AUTO(cstr) char *answer = NULL;

    if (!prompt_text(stdin, stdout, question, NULL, &answer)) {
        *ret_exit = ctl_abort();
        return false;
    }
    if (str_eq(answer, wanted))
        return true;
    *ret_exit = ctl_refuse("%s", refusal);
    return false;
}

static bool confirm_thrice(const struct cluster *c, const char *name, int *ret_exit)
{
    static const char aware[] = "Yes I am aware";
    AUTO(cstr)
    char *question = str_fmt("You are about to remove all information in DCS for %s, please type: \"%s\"", name, aware);

    if (!must_type("Please confirm the cluster name to remove", name, "Cluster names specified do not match",
                   ret_exit) ||
        !must_type(question, aware, "You did not exactly type \"Yes I am aware\"", ret_exit))
        return false;
    if (str_empty(c->leader))
        return true;
    return must_type("This cluster currently is healthy. Please specify the leader name to continue", c->leader,
                     "You did not specify the current leader of the cluster", ret_exit);
}

int verb_remove(struct ctl *ctl, int argc, char **argv)
{
    AUTO(cluster) struct cluster *c = NULL;
    const char *format = "pretty", *name;
    bool succeeded = false;
    struct err err;
    int status;
    const struct opt opts[] = {
        {'f', "format", "TEXT", "Output format (pretty, tsv, json, yaml)", .text = &format, .choices = LISTING_FORMATS},
        OPT_END,
    };

    if (!ctl_options(ctl, opts, &argc, argv, &status) || !ctl_cluster_argument(ctl, argc, argv, &name, &status))
        return status;
    if (strchr(name, '/'))
        return ctl_refuse("'%s' is no name of a cluster", name);
    if (!ctl_read(ctl, name, &c, &err))
        return ctl_fail(&err);
    show_members(ctl, c, name, false, listing_format_of(format));
    if (!confirm_thrice(c, name, &status))
        return status;

    AUTO(cstr) char *prefix = str_fmt("/%s/%s/", ctl->settings->namespace_, name);
    const struct store_op delete = {.kind = STORE_DELETE_PREFIX, .key = prefix};
    const struct store_txn txn = {.then = &delete, .then_count = 1};
    if (!wait_txn(ctl, &txn, &succeeded, &err))
        return ctl_fail(&err);
    ctl_note("Everything below %s is removed from the store", prefix);
    return CTL_OK;
}
