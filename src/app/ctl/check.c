#include "app/ctl/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/ctl/checks.h"
#include "app/ctl/ctl.h"
#include "app/ctl/yaml_out.h"
#include "base/str.h"
#include "io/loop.h"
#include "wire/conf/dynamic.h"
#include "wire/conf/yaml.h"

static void check_deinit(struct check *c)
{
    conf_files_deinit(&c->files);
    conf_node_free(c->tree);
    settings_unref(c->settings);
    dynamic_unref(c->dynamic);
    dynamic_unref(c->in_force);
    findings_deinit(&c->findings);
    loop_free(c->loop);
    for (size_t i = 0; i < c->passed_count; i++)
        free(c->passed[i]);
    free(c->passed);
    free(c->system_identifier);
}

static inline void check_freep(struct check *c)
{
    check_deinit(c);
}

char *check_place(const struct check *c, const char *key)
{
    AUTO(cstr) char *dynamic_key = str_fmt("bootstrap.dcs.%s", key);
    const char *const keys[] = {key, dynamic_key};

    for (size_t i = 0; c->tree && i < ARRAY_LEN(keys); i++) {
        const struct conf_node *n = conf_path(c->tree, keys[i]);
        if (n && n->line)
            return str_fmt("%s:%u: %s", n->file, n->line, keys[i]);
    }
    return str_dup(key);
}

static void note(struct check *c, enum finding_level level, const char *key, const char *fmt, va_list args)
{
    AUTO(cstr) char *place = check_place(c, key);
    char text[ERR_TEXT_MAX];

    (void)vsnprintf(text, sizeof(text), fmt, args); /* a cut text is still the finding */
    findings_add(&c->findings, level, "%s: %s", place, text);
}

void check_error(struct check *c, const char *key, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    note(c, FINDING_ERROR, key, fmt, args);
    va_end(args);
}

void check_warn(struct check *c, const char *key, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    note(c, FINDING_WARNING, key, fmt, args);
    va_end(args);
}

void check_passed(struct check *c, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    c->passed = mem_grow(c->passed, c->passed_count + 1, sizeof(*c->passed));
    c->passed[c->passed_count++] = str_dup(text);
}

/* For lines only: what is wrong with the text says settings_read(). */
static void read_tree(struct check *c)
{
    struct findings unused = {0};

    for (size_t i = 0; i < c->files.count; i++) {
        const struct conf_source *source = &c->files.at[i];
        struct conf_node *one = conf_yaml_read(source->path, source->text, source->len, &unused);
        if (one && one->type == CONF_MAP && c->tree)
            conf_merge(c->tree, one);
        else if (one && one->type == CONF_MAP)
            c->tree = one;
        else
            conf_node_free(one);
    }
    findings_deinit(&unused);
}

/*
 * Settings with errors are good enough for looking at folders and ports: one run shall show everything. The
 * dynamic part is judged only if its form is sound; otherwise each of its mistakes would be told twice.
 */
static void read_settings(struct check *c)
{
    struct findings unused = {0};

    c->settings = settings_read_anyway(c->files.at, c->files.count, (const char *const *)environ, &c->findings);
    bool sound = c->findings.error_count == 0;
    if (c->settings)
        c->dynamic = dynamic_read(c->settings->bootstrap.dcs, c->settings, sound ? &c->findings : &unused);
    findings_deinit(&unused);
}

static void look_at_everything(struct check *c)
{
    if (geteuid() == 0)
        findings_add(&c->findings, FINDING_WARNING,
                     "checked as root, who may do everything: run the check as the user who will run the node");
    check_files(c);
    check_postgresql(c);
    check_commands(c);
    if (!c->ignore_listen)
        check_listen(c);
    check_store(c);
    check_promise(c);
}

/* Secrets stay hidden wherever they stand. */
static void hide_secrets(json_t *value)
{
    static const char *const secret[] = {"password", "keyfile_password", "key_password", "sslpassword",
                                         "token",    "auth_data"};
    const char *key;
    json_t *child;
    size_t i;
    void *tmp;

    json_object_foreach_safe(value, tmp, key, child)
    {
        bool hide = false;
        for (size_t k = 0; k < ARRAY_LEN(secret); k++)
            hide |= str_eq(key, secret[k]);
        if (hide)
            json_object_set_new(value, key, json_string("********"));
        else
            hide_secrets(child);
    }
    if (json_is_array(value))
        json_array_foreach(value, i, child) hide_secrets(child);
}

static void print_configuration(const struct check *c)
{
    json_t *all = c->tree ? conf_to_json(c->tree) : NULL;

    if (!all)
        return;
    hide_secrets(all);
    AUTO(cstr) char *text = yaml_text(all, YAML_BLOCK);
    (void)fputs(text, stdout);
    json_decref(all);
}

static int report(const struct check *c, const char *path)
{
    size_t warnings = c->findings.count - c->findings.error_count;

    for (size_t i = 0; i < c->findings.count; i++)
        if (c->findings.at[i].level == FINDING_ERROR)
            (void)printf("error    %s\n", c->findings.at[i].text);
    for (size_t i = 0; i < c->findings.count; i++)
        if (c->findings.at[i].level == FINDING_WARNING)
            (void)printf("warning  %s\n", c->findings.at[i].text);
    for (size_t i = 0; i < c->passed_count; i++)
        (void)printf("ok       %s\n", c->passed[i]);
    (void)printf("%s: %zu error%s, %zu warning%s\n", path ? path : "environment", c->findings.error_count,
                 c->findings.error_count == 1 ? "" : "s", warnings, warnings == 1 ? "" : "s");
    return c->findings.error_count ? CTL_FAILED : CTL_OK;
}

int check_main(int argc, char **argv)
{
    AUTO(check) struct check c = {0};
    struct ctl as = {.program = "pgkeep",
                     .verb = "check",
                     .usage = "[CONFIG_FILE]",
                     .help = "Say everything about a configuration that can be said without starting the node"};
    const char *file = NULL;
    bool print = false;
    int status;
    struct err err;
    const struct opt opts[] = {
        {'i', "ignore-listen-port", NULL, "Do not look whether the ports are free: the node runs",
         .flag = &c.ignore_listen},
        {'p', "print", NULL, "Print the configuration as it was read, without secrets", .flag = &print},
        OPT_END,
    };

    if (!ctl_file_argument(&as, opts, argc, argv, &file, &status))
        return status;
    if (file && !conf_files_read(file, &c.files, &err))
        return ctl_fail(&err);

    c.loop = loop_new();
    read_tree(&c);
    read_settings(&c);
    if (c.settings)
        look_at_everything(&c);
    if (print)
        print_configuration(&c);
    return report(&c, file);
}
