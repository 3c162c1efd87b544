#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/ctl/checks.h"
#include "base/str.h"
#include "pg/argv.h"
#include "wire/conf/dynamic.h"

static bool is_program(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static bool in_path(const char *name)
{
    const char *path = getenv("PATH");

    for (const char *at = path ? path : ""; *at;) {
        size_t len = strcspn(at, ":");
        AUTO(cstr) char *full = str_fmt("%.*s/%s", (int)len, at, name);
        if (is_program(full))
            return true;
        at += len;
        at += *at == ':';
    }
    return false;
}

/* Why a path cannot be executed, in the operator's words. */
static const char *why_no_program(const char *path)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return strerror(errno);
    return S_ISREG(st.st_mode) ? "is not executable" : "is no file";
}

/*
 * What is wrong with the program of a command, NULL: nothing that we know of. *ret_sure: it is wrong for the node too;
 * a name without a folder is looked up in the PATH of whoever starts the node, which may be another one than ours.
 * free() it.
 */
static char *program_fault(const char *program, bool *ret_sure)
{
    *ret_sure = *program == '/';
    if (*program == '/')
        return is_program(program) ? NULL : str_fmt("%s: %s", program, why_no_program(program));
    if (strchr(program, '/') || in_path(program))
        return NULL; /* relative: to a folder that is the node's */
    return str_fmt("%s: no such program in PATH", program);
}

static char *command_fault(const char *command, bool *ret_sure)
{
    AUTO(argv) char **argv = NULL;
    struct err err;

    *ret_sure = true;
    if (!command_split(command, &argv, &err))
        return str_dup(err.text);
    return program_fault(argv[0], ret_sure);
}

/* Patroni's commands are executed as they are. `needed`: without it the node does not do its work. */
static void check_command(struct check *c, const char *key, const char *command, bool needed)
{
    bool sure;

    if (str_empty(command))
        return;
    AUTO(cstr) char *fault = command_fault(command, &sure);
    if (fault && needed && sure)
        check_error(c, key, "%s", fault);
    else if (fault)
        check_warn(c, key, "%s", fault);
}

/* PostgreSQL's commands go through a shell: only a first word that is plainly a program's path is judged. */
static void check_shell_command(struct check *c, const char *key, const char *command)
{
    size_t len = command ? strcspn(command, " \t\n;|&<>()") : 0;

    if (!command || *command != '/' || strcspn(command, "$`'\"\\*?[%") < len)
        return;
    AUTO(cstr) char *program = str_fmt("%.*s", (int)len, command);
    if (!is_program(program))
        check_warn(c, key, "%s: %s", program, why_no_program(program));
}

static void check_callbacks(struct check *c)
{
    const char *name;
    json_t *value;

    json_object_foreach(c->dynamic->callbacks, name, value)
    {
        AUTO(cstr) char *key = str_fmt("postgresql.callbacks.%s", name);
        check_command(c, key, json_string_value(value), false);
    }
}

/* The first method that works is enough; nothing is left if none does. */
static void check_replica_methods(struct check *c)
{
    json_t *name;
    size_t i, left = 0;

    json_array_foreach(c->dynamic->create_replica_methods, i, name)
    {
        const char *method = json_string_value(name);
        json_t *section = json_object_get(c->dynamic->postgresql, method);
        const char *command = json_string_value(json_object_get(section, "command"));
        bool sure;

        if (!method || str_eq(method, "basebackup")) {
            left++;
            continue;
        }
        AUTO(cstr) char *key = str_fmt("postgresql.%s%s", method, str_empty(command) ? "" : ".command");
        AUTO(cstr) char *fault = command_fault(str_empty(command) ? method : command, &sure);
        if (fault)
            check_warn(c, section ? key : "postgresql.create_replica_methods", "%s", fault);
        left += !fault || !sure;
    }
    if (i > 0 && left == 0)
        check_error(c, "postgresql.create_replica_methods", "none of them can be executed: the node cannot clone");
}

/* Once there is data nothing of bootstrap is looked at any more. */
static void check_bootstrap(struct check *c)
{
    const struct settings *s = c->settings;
    const char *name;
    json_t *value;

    check_command(c, "bootstrap.post_bootstrap", s->bootstrap.post_bootstrap, c->data_major == 0);
    json_object_foreach(s->bootstrap.methods, name, value)
    {
        AUTO(cstr) char *key = str_fmt("bootstrap.%s.command", name);
        bool used = str_eq(name, s->bootstrap.method);
        check_command(c, key, json_string_value(json_object_get(value, "command")), used && c->data_major == 0);
    }
}

static void check_parameters(struct check *c)
{
    static const char *const commands[] = {"archive_command", "restore_command", "archive_cleanup_command",
                                           "recovery_end_command", "ssl_passphrase_command"};

    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        AUTO(cstr) char *key = str_fmt("postgresql.parameters.%s", commands[i]);
        AUTO(cstr) char *recovery_key = str_fmt("postgresql.recovery_conf.%s", commands[i]);
        check_shell_command(c, key, json_string_value(json_object_get(c->dynamic->parameters, commands[i])));
        check_shell_command(c, recovery_key,
                            json_string_value(json_object_get(c->dynamic->recovery_conf, commands[i])));
    }
}

void check_commands(struct check *c)
{
    check_command(c, "postgresql.pre_promote", c->dynamic->pre_promote, true);
    check_command(c, "postgresql.before_stop", c->dynamic->before_stop, false);
    check_callbacks(c);
    check_replica_methods(c);
    check_bootstrap(c);
    check_parameters(c);
}
