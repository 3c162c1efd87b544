#include "wire/conf/environment.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "wire/conf/keys.h"
#include "wire/conf/yaml.h"

/* What carries the whole configuration, and is not looked at here. */
static const char whole[] = "PATRONI_CONFIGURATION";

const char *environment_get(const char *const *environment, const char *name)
{
    size_t len = strlen(name);

    for (const char *const *at = environment; at && *at; at++)
        if (strncmp(*at, name, len) == 0 && (*at)[len] == '=')
            return (*at)[len + 1] ? *at + len + 1 : NULL;
    return NULL;
}

/* Old spellings that Patroni still reads; the new one wins. */
static const struct {
    const char *path;
    const char *variable;
} old_names[] = {
    {"log.level", "PATRONI_LOGLEVEL"},
    {"log.format", "PATRONI_LOGFORMAT"},
    {"log.dateformat", "PATRONI_LOG_DATEFMT"},
};

static const char *value_of(const char *const *environment, const struct key *key, const char *variable)
{
    const char *value = environment_get(environment, variable);

    for (size_t i = 0; !value && i < ARRAY_LEN(old_names); i++)
        if (str_eq(old_names[i].path, key->path))
            value = environment_get(environment, old_names[i].variable);
    return value;
}

enum form { FORM_TEXT, FORM_LIST, FORM_MAP };

static enum form form_of(const struct key *key)
{
    switch (key->type) {
    case KEY_SECTION:
    case KEY_SCALARS:
    case KEY_MAP:
        return FORM_MAP;
    case KEY_HOST_LIST:
    case KEY_TEXT_LIST:
    case KEY_LINES:
    case KEY_OPTIONS:
    case KEY_LIST:
        return FORM_LIST;
    case KEY_TEXT:
    case KEY_SECRET:
    case KEY_BOOL:
    case KEY_INT:
    case KEY_DURATION:
    case KEY_SIZE:
    case KEY_ENUM:
    case KEY_HOST_PORT:
    case KEY_ADDRESS:
    case KEY_LISTEN:
    case KEY_URL:
    case KEY_SCALAR:
    case KEY_ANY:
        return FORM_TEXT;
    }
    UNREACHABLE();
}

/* Patroni's rule: brackets may be left out around "a,b" and "k: v". */
static char *with_brackets(const char *value, enum form form)
{
    const char *first = value + strspn(value, " \t\r\n");

    if (form == FORM_LIST)
        return *first == '-' || strchr(value, '[') ? str_dup(value) : str_fmt("[%s]", value);
    return *first == '{' ? str_dup(value) : str_fmt("{%s}", value);
}

static void lines_forget(struct conf_node *n)
{
    n->line = 0;
    if (n->type == CONF_LIST || n->type == CONF_MAP)
        for (size_t i = 0; i < n->children.count; i++)
            lines_forget(n->children.at[i]);
}

static bool is_utf8(const char *text)
{
    json_t *json = json_string(text);

    json_decref(json);
    return json != NULL;
}

/* NULL with a finding if the value cannot be read. */
static struct conf_node *node_of(const struct key *key, const char *variable, const char *value,
                                 struct findings *findings)
{
    AUTO(cstr) char *source = str_fmt("environment %s", variable);
    enum form form = form_of(key);

    if (!is_utf8(value)) {
        findings_add(findings, FINDING_ERROR, "%s: %s: is not UTF-8", source, key->path);
        return NULL;
    }
    if (form == FORM_TEXT) {
        const char *file = conf_file_new(source);
        struct conf_node *n = conf_node_text(value, file, 0);
        conf_file_unref(file);
        return n;
    }
    AUTO(cstr) char *text = with_brackets(value, form);
    struct conf_node *n = conf_yaml_read(source, text, strlen(text), findings);
    if (n)
        lines_forget(n);
    return n;
}

static bool is_known(const char *name, size_t len)
{
    const struct key *key;

    if (strlen(whole) == len && strncmp(name, whole, len) == 0)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(old_names); i++)
        if (strlen(old_names[i].variable) == len && strncmp(name, old_names[i].variable, len) == 0)
            return true;
    for (size_t i = 0; (key = key_at(i)); i++) {
        AUTO(cstr) char *variable = key_variable(key);
        if (variable && strlen(variable) == len && strncmp(name, variable, len) == 0)
            return true;
    }
    return false;
}

static void tell_unknown(const char *const *environment, struct findings *findings)
{
    for (const char *const *at = environment; at && *at; at++) {
        size_t len = strcspn(*at, "=");

        if (str_starts(*at, "PATRONI_") && !is_known(*at, len))
            findings_add(findings, FINDING_WARNING, "environment %.*s: unknown variable, ignored", (int)len, *at);
    }
}

struct conf_node *environment_read(const char *const *environment, struct findings *findings)
{
    const char *file = conf_file_new("environment");
    struct conf_node *root = conf_node_new(CONF_MAP, file, 0);
    const struct key *key;

    conf_file_unref(file);
    for (size_t i = 0; (key = key_at(i)); i++) {
        AUTO(cstr) char *variable = key_variable(key);
        const char *value = variable ? value_of(environment, key, variable) : NULL;
        struct conf_node *n = value ? node_of(key, variable, value, findings) : NULL;
        if (n)
            conf_set_path(root, key->path, n);
    }
    tell_unknown(environment, findings);
    return root;
}
