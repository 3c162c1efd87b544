#include "app/ctl/config_change.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "wire/conf/yaml.h"

json_t *config_change_yaml(const char *name, const char *text, struct err *err)
{
    struct findings findings = {0};
    AUTO(conf_node) struct conf_node *node = conf_yaml_read(name, text, strlen(text), &findings);

    if (!node)
        (void)err_set(err, ERR_INPUT, "%s", findings.count ? findings.at[findings.count - 1].text : name);
    findings_deinit(&findings);
    return node ? conf_to_json(node) : NULL;
}

json_t *config_change_document(const char *name, const char *text, struct err *err)
{
    json_t *value = config_change_yaml(name, text, err);

    if (json_is_null(value)) {
        json_decref(value);
        return json_object();
    }
    if (value && !json_is_object(value)) {
        json_decref(value);
        (void)err_set(err, ERR_INPUT, "%s: the configuration must be a mapping", name);
        return NULL;
    }
    return value;
}

/* path is "a.b.c"; below says that we are inside postgresql.parameters. */
static void set_path(json_t *at, const char *path, bool below_parameters, const char *parent, json_t *value)
{
    const char *dot = below_parameters ? NULL : strchr(path, '.');

    if (!dot) {
        if (json_is_null(value))
            (void)json_object_del(at, path); /* what is not there is gone already */
        else
            json_object_set(at, path, value);
        return;
    }

    AUTO(cstr) char *key = str_fmt("%.*s", (int)(dot - path), path);
    json_t *section = json_object_get(at, key);
    if (!json_is_object(section)) {
        section = json_object();
        json_object_set_new(at, key, section);
    }
    set_path(section, dot + 1, str_eq(parent, "postgresql") && str_eq(key, "parameters"), key, value);
    if (json_object_size(section) == 0)
        (void)json_object_del(at, key);
}

bool config_change_set(json_t *config, const char *pair, struct err *err)
{
    const char *equals = strchr(pair, '=');
    size_t len = equals ? (size_t)(equals - pair) : 0;

    while (len > 0 && pair[len - 1] == ' ')
        len--;
    while (len > 0 && *pair == ' ') {
        pair++;
        len--;
    }
    if (len == 0)
        return err_set(err, ERR_INPUT, "Invalid parameter setting %s", pair);

    AUTO(cstr) char *path = str_fmt("%.*s", (int)len, pair);
    json_t *value = config_change_yaml(path, equals + 1, err);
    if (!value)
        return false;
    /* At the top nothing is above: "" is no section. */
    set_path(config, path, false, "", value);
    json_decref(value);
    return true;
}
