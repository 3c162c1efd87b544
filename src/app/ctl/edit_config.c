/*
 * show-config, edit-config: the dynamic configuration, seen, changed after a look at the difference.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/conf_files.h"
#include "app/ctl/config_change.h"
#include "app/ctl/ctl.h"
#include "app/ctl/diff.h"
#include "app/ctl/editor.h"
#include "app/ctl/show.h"
#include "app/ctl/verbs.h"
#include "app/ctl/wait.h"
#include "app/ctl/yaml_out.h"
#include "base/str.h"
#include "wire/conf/dynamic.h"
#include "wire/conf/settings.h"

struct edit {
    bool quiet, force;
    const char *apply, *replace; /* files; "-" is standard input */
    struct opt_many set, pg;
    const char *cluster_name;
};

static void json_freep(json_t **j)
{
    json_decref(*j);
}

int verb_show_config(struct ctl *ctl, int argc, char **argv)
{
    AUTO(cluster) struct cluster *c = NULL;
    const char *name;
    struct err err;
    int status;
    const struct opt opts[] = {OPT_END};

    if (!ctl_options(ctl, opts, &argc, argv, &status) || !ctl_cluster_argument(ctl, argc, argv, &name, &status))
        return status;
    if (!ctl_read(ctl, name, &c, &err))
        return ctl_fail(&err);
    if (!c->config)
        return ctl_refuse("The config key does not exist in the cluster %s", name);

    AUTO(cstr) char *text = yaml_text(c->config, YAML_BLOCK);
    (void)printf("%s\n", text);
    return CTL_OK;
}

/* New reference: the document in a file. */
static json_t *read_document(const char *name, struct err *err)
{
    AUTO(conf_files) struct conf_files files = {0};

    if (!(str_eq(name, "-") ? conf_files_read_stdin(&files, err) : conf_files_read(name, &files, err)))
        return NULL;
    return config_change_document(files.at[0].path, files.at[0].text, err);
}

static bool set_pairs(const struct edit *e, json_t *config, struct err *err)
{
    for (size_t i = 0; i < e->set.count; i++)
        if (!config_change_set(config, e->set.at[i], err))
            return false;
    for (size_t i = 0; i < e->pg.count; i++) {
        const char *pair = e->pg.at[i];
        AUTO(cstr) char *full = str_fmt("postgresql.parameters.%s", pair + strspn(pair, " "));
        if (!config_change_set(config, full, err))
            return false;
    }
    return true;
}

/* In patronictl's order: replace, apply, set. New reference; NULL: *err says why. */
static json_t *change_by_options(const struct edit *e, const json_t *before, struct err *err)
{
    json_t *changed = e->replace ? read_document(e->replace, err) : json_deep_copy(before);

    if (changed && e->replace) {
        /* Nulls have no meaning in what is stored; as a patch onto nothing they vanish. */
        json_t *clean = json_merge_patch(json_object(), changed);
        json_decref(changed);
        changed = clean;
    }
    if (changed && e->apply) {
        json_t *patch = read_document(e->apply, err);
        changed = patch ? json_merge_patch(changed, patch) : (json_decref(changed), NULL);
        json_decref(patch);
    }
    if (changed && !set_pairs(e, changed, err)) {
        json_decref(changed);
        return NULL;
    }
    return changed;
}

static json_t *change_by_editor(const struct edit *e, const char *before, char **ret_after, struct err *err)
{
    if (!editor_run(e->cluster_name, before, ret_after, err))
        return NULL;
    return config_change_document("the edited text", *ret_after, err);
}

static void show_difference(const struct ctl *ctl, const char *before, const char *after)
{
    AUTO(buf) struct buf out = BUF_EMPTY;

    diff_unified(before, after, ctl->colour, &out);
    (void)fputs(buf_cstr(&out), stdout);
}

/* Compare and set: somebody else's change is never overwritten. */
static int store_config(struct ctl *ctl, const struct edit *e, const struct cluster *c, const json_t *config)
{
    AUTO(cstr) char *key = str_fmt("/%s/%s/config", ctl->settings->namespace_, e->cluster_name);
    AUTO(cstr) char *value = json_dumps(config, JSON_COMPACT);
    const struct store_compare same = {.kind = STORE_IF_MOD_REVISION, .key = key, .revision = c->config_revision};
    const struct store_op put = {.kind = STORE_PUT, .key = key, .value = value};
    const struct store_txn txn = {.compares = &same, .compare_count = 1, .then = &put, .then_count = 1};
    bool succeeded = false;
    struct err err;

    if (!wait_txn(ctl, &txn, &succeeded, &err))
        return ctl_fail(&err);
    if (!succeeded)
        return ctl_refuse("Config modification aborted due to concurrent changes");
    (void)printf("Configuration changed\n");
    return CTL_OK;
}

static bool is_among(const struct findings *known, const struct finding *finding)
{
    for (size_t i = 0; i < known->count; i++)
        if (str_eq(known->at[i].text, finding->text))
            return true;
    return false;
}

/*
 * What no node could use is refused here, not discovered by each of them; and so is a promise that none keeps. What
 * was wrong before stands in nobody's way.
 */
static bool is_sound(struct ctl *ctl, const json_t *before, const json_t *after, struct err *err)
{
    struct findings findings = {0}, old_findings = {0};
    struct dynamic *old = dynamic_read(before, ctl->settings, &old_findings);
    struct dynamic *new = dynamic_read(after, ctl->settings, &findings);
    const char *refused = dynamic_refused(new);
    bool sound = true;

    for (size_t i = 0; i < findings.count && sound; i++)
        if (findings.at[i].level == FINDING_ERROR && !is_among(&old_findings, &findings.at[i]))
            sound = err_set(err, ERR_INPUT, "%s", findings.at[i].text);
    if (sound && refused && !str_eq(refused, dynamic_refused(old)))
        sound = err_set(err, ERR_INPUT, "%s is not built yet and cannot be switched on", refused);
    dynamic_unref(old);
    dynamic_unref(new);
    findings_deinit(&old_findings);
    findings_deinit(&findings);
    return sound;
}

static int edit_config(struct ctl *ctl, const struct edit *e, const struct cluster *c)
{
    AUTO(cstr) char *before = yaml_text(c->config, YAML_BLOCK);
    AUTO(cstr) char *after = NULL;
    bool by_options = e->apply || e->replace || e->set.count || e->pg.count;
    struct err err;
    int status;
    __attribute__((cleanup(json_freep))) json_t *changed =
        by_options ? change_by_options(e, c->config, &err) : change_by_editor(e, before, &after, &err);

    if (!changed)
        return ctl_fail(&err);
    if (json_equal(c->config, changed)) {
        if (!e->quiet)
            (void)printf("Not changed\n");
        return CTL_OK;
    }
    if (!is_sound(ctl, c->config, changed, &err))
        return ctl_fail(&err);
    if (!after)
        after = yaml_text(changed, YAML_BLOCK);
    ctl_note("Cluster %s: changing the configuration of all its members", e->cluster_name);
    if (!e->quiet)
        show_difference(ctl, before, after);

    if ((str_eq(e->apply, "-") || str_eq(e->replace, "-")) && !e->force) {
        (void)printf("Use --force option to apply changes\n");
        return CTL_OK;
    }
    if (!e->force && !show_confirm("Apply these changes?", "Not applied", &status))
        return status;
    return store_config(ctl, e, c, changed);
}

int verb_edit_config(struct ctl *ctl, int argc, char **argv)
{
    AUTO(cluster) struct cluster *c = NULL;
    struct edit e = {0};
    struct err err;
    int status;
    const struct opt opts[] = {
        {'q', "quiet", NULL, "Do not show changes", .flag = &e.quiet},
        {'s', "set", "TEXT", "Set specific configuration value. Can be specified multiple times", .many = &e.set},
        {'p', "pg", "TEXT",
         "Set specific PostgreSQL parameter value. Shorthand for -s postgresql.parameters. Can be "
         "specified multiple times",
         .many = &e.pg},
        {0, "apply", "TEXT", "Apply configuration from file. Use - for stdin.", .text = &e.apply},
        {0, "replace", "TEXT", "Apply configuration from file, replacing existing configuration. Use - for stdin.",
         .text = &e.replace},
        {0, "force", NULL, "Do not ask for confirmation at any point", .flag = &e.force},
        OPT_END,
    };

    if (!ctl_options(ctl, opts, &argc, argv, &status) ||
        !ctl_cluster_argument(ctl, argc, argv, &e.cluster_name, &status))
        return status;
    if (!ctl_read(ctl, e.cluster_name, &c, &err))
        return ctl_fail(&err);
    if (!c->config)
        return ctl_refuse("The config key does not exist in the cluster %s", e.cluster_name);
    return edit_config(ctl, &e, c);
}
