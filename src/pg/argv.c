#include "pg/argv.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/str.h"

int argv_len(char *const *argv)
{
    int len = 0;

    while (argv && argv[len])
        len++;
    return len;
}

static void add_taken(char ***argv, char *take_text)
{
    int len = argv_len(*argv);

    *argv = mem_grow(*argv, (size_t)len + 2, sizeof(**argv));
    (*argv)[len] = take_text;
    (*argv)[len + 1] = NULL;
}

void argv_add(char ***argv, const char *text)
{
    add_taken(argv, str_dup(text));
}

void argv_add_fmt(char ***argv, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add_taken(argv, str_vfmt(fmt, args));
    va_end(args);
}

void argv_free(char **argv)
{
    for (int i = 0; argv && argv[i]; i++)
        free(argv[i]);
    free(argv);
}

/* One word from *at on, which is not a blank; false: a quote or backslash is left open. */
static bool word_read(const char **at, struct buf *word)
{
    char quote = '\0';

    for (; **at && (quote || !isspace((unsigned char)**at)); (*at)++) {
        char c = **at;
        if (quote == '\0' && (c == '\'' || c == '"')) {
            quote = c;
        } else if (c == quote) {
            quote = '\0';
        } else if (c == '\\' && quote != '\'') {
            char next = (*at)[1];
            if (!next)
                return false;
            if (quote == '"' && next != '"' && next != '\\')
                buf_add_char(word, c); /* inside "" a backslash escapes nothing else */
            buf_add_char(word, next);
            (*at)++;
        } else {
            buf_add_char(word, c);
        }
    }
    return quote == '\0';
}

bool command_split(const char *command, char ***ret_argv, struct err *err)
{
    AUTO(argv) char **argv = NULL;

    for (const char *at = command;;) {
        while (isspace((unsigned char)*at))
            at++;
        if (!*at)
            break;
        AUTO(buf) struct buf word = BUF_EMPTY;
        if (!word_read(&at, &word))
            return err_set(err, ERR_INPUT, "command \"%s\": a quote or backslash is left open", command);
        argv_add(&argv, buf_cstr(&word));
    }
    if (!argv)
        return err_set(err, ERR_INPUT, "empty command");

    *ret_argv = TAKE(argv);
    return true;
}

static bool is_one_of(const char *name, const char *const *names)
{
    for (int i = 0; names && names[i]; i++) {
        if (str_eq(name, names[i]))
            return true;
    }
    return false;
}

/* A scalar as Patroni puts it on a command line; NULL for anything else. free() it. */
static char *scalar_text(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        return str_dup(json_string_value(value));
    case JSON_INTEGER:
        return str_fmt("%" JSON_INTEGER_FORMAT, json_integer_value(value));
    case JSON_REAL:
        return str_fmt("%.15g", json_real_value(value));
    case JSON_TRUE:
        return str_dup("True"); /* Python's spelling: existing scripts expect it */
    case JSON_FALSE:
        return str_dup("False");
    case JSON_NULL:
    case JSON_OBJECT:
    case JSON_ARRAY:
        return NULL;
    }
    UNREACHABLE();
}

static bool pair_option(const char *tool, const char *name, const json_t *value, const char *const *forbidden,
                        char ***argv, struct err *err)
{
    AUTO(cstr) char *text = scalar_text(value);

    if (is_one_of(name, forbidden))
        return err_set(err, ERR_INPUT, "option %s of %s is not allowed", name, tool);
    if (!text)
        return err_set(err, ERR_INPUT, "option %s of %s: the value must be a string", name, tool);

    if (json_is_true(value)) { /* {progress: true} can only mean the option itself */
        argv_add_fmt(argv, "--%s", name);
        return true;
    }
    argv_add_fmt(argv, "--%s=%s", name, text);
    return true;
}

static bool list_option(const char *tool, const json_t *entry, const char *const *forbidden, char ***argv,
                        struct err *err)
{
    const char *name = json_string_value(entry);

    if (name) {
        /* "a=b" is the other spelling of {a: b}; its name is forbidden just the same. */
        AUTO(cstr) char *word = str_fmt("%.*s", (int)strcspn(name, "= "), name);
        if (is_one_of(word, forbidden))
            return err_set(err, ERR_INPUT, "option %s of %s is not allowed", word, tool);
        if (str_empty(word) || *word == '-')
            return err_set(err, ERR_INPUT, "option \"%s\" of %s: a name without dashes is expected", name, tool);
        argv_add_fmt(argv, "--%s", name);
        return true;
    }
    if (!json_is_object(entry) || json_object_size(entry) != 1)
        return err_set(err, ERR_INPUT, "options of %s: each must be a name or one name with its value", tool);

    void *only = json_object_iter((json_t *)entry);
    return pair_option(tool, json_object_iter_key(only), json_object_iter_value(only), forbidden, argv, err);
}

bool tool_options(const char *tool, const json_t *options, const char *const *forbidden, char ***argv, struct err *err)
{
    AUTO(argv) char **found = NULL;
    const char *key;
    json_t *value;
    size_t i;

    if (json_is_object(options)) {
        json_object_foreach((json_t *)options, key, value)
        {
            if (json_is_null(value) || json_is_false(value))
                continue; /* as Patroni: what has no value is not asked for */
            if (!pair_option(tool, key, value, forbidden, &found, err))
                return false;
        }
    } else if (json_is_array(options)) {
        json_array_foreach((json_t *)options, i, value)
        {
            if (!list_option(tool, value, forbidden, &found, err))
                return false;
        }
    } else if (options && !json_is_null(options)) {
        return err_set(err, ERR_INPUT, "options of %s must be a list", tool);
    }

    for (int f = 0; found && found[f]; f++)
        argv_add(argv, found[f]);
    return true;
}

void method_options(const json_t *section, const char *const *skip, char ***argv)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)section, key, value)
    {
        AUTO(cstr) char *text = scalar_text(value);
        if (text && !is_one_of(key, skip))
            argv_add_fmt(argv, "--%s=%s", key, text);
    }
}
