#include "wire/conf/typed.h"

#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "wire/conf/audit.h"
#include "wire/conf/value.h"

static const struct key *key_of(const struct typed *t, const char *path)
{
    const struct key *key = key_find(path, t->scope);

    CHECK(key);
    return key;
}

static bool is_usable(const struct key *key, const struct conf_node *n)
{
    return !conf_absent(n) && audit_fits(key, n);
}

const struct conf_node *typed_node(const struct typed *t, const char *path)
{
    const struct conf_node *n = conf_path(t->root, path);

    return is_usable(key_of(t, path), n) ? n : NULL;
}

char *typed_text(const struct typed *t, const char *path)
{
    const struct key *key = key_of(t, path);
    const struct conf_node *n = typed_node(t, path);

    if (!n)
        return str_dup(key->fallback);
    return key->type == KEY_ENUM ? key_enum_value(key, n) : value_text(n);
}

/* The row's default as a node, for the same readers as the operator's values. */
static struct conf_node *fallback_node(const struct key *key)
{
    CHECK(key->fallback);
    const char *file = conf_file_new("default");
    struct conf_node *n = conf_node_text(key->fallback, file, 0);

    conf_file_unref(file);
    CHECK(audit_fits(key, n));
    return n;
}

bool typed_bool(const struct typed *t, const char *path)
{
    AUTO(conf_node) struct conf_node *fallback = fallback_node(key_of(t, path));
    const struct conf_node *n = typed_node(t, path);
    bool value;

    CHECK(value_bool(n ? n : fallback, &value));
    return value;
}

static enum value_unit unit_of(const struct key *key)
{
    if (key->type == KEY_DURATION)
        return UNIT_SECONDS;
    return key->type == KEY_SIZE ? UNIT_BYTES : UNIT_NONE;
}

int64_t typed_int(const struct typed *t, const char *path)
{
    const struct key *key = key_of(t, path);
    AUTO(conf_node) struct conf_node *fallback = fallback_node(key);
    const struct conf_node *n = typed_node(t, path);
    int64_t value;

    CHECK(value_int(n ? n : fallback, unit_of(key), &value));
    return value;
}

int typed_enum(const struct typed *t, const char *path)
{
    const struct key *key = key_of(t, path);
    const struct conf_node *n = typed_node(t, path);
    AUTO(cstr) char *value = n ? key_enum_value(key, n) : str_dup(key->fallback);
    int position = 0;

    for (const char *at = key->values; at; position++) {
        size_t len = strcspn(at, "/|");
        if (value && strlen(value) == len && strncmp(at, value, len) == 0)
            return position;
        at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL;
    }
    UNREACHABLE();
}

bool typed_endpoint(const struct typed *t, const char *path, int default_port, struct endpoint *ret)
{
    const struct conf_node *n = typed_node(t, path);

    return n && value_endpoint(n->string, default_port, ret);
}

void typed_text_list(const struct typed *t, const char *path, struct string_list *ret)
{
    const struct conf_node *n = typed_node(t, path);

    if (n)
        CHECK(value_text_list(n, ret));
}

static json_t *list_to_json(const struct conf_node *n)
{
    struct string_list texts;
    json_t *list = json_array();

    CHECK(value_text_list(n, &texts));
    for (size_t i = 0; i < texts.count; i++)
        CHECK(json_array_append_new(list, json_string(texts.at[i])) == 0);
    string_list_deinit(&texts);
    return list;
}

/* The row that counts for a child: a section of the operator's own is one only with a command. */
static const struct key *child_key_of(const struct key *key, const struct conf_node *child, enum key_scope scope)
{
    const struct key *child_key = key_child(key->path, child->key, scope);
    bool own_section = child_key && str_ends(child_key->path, ".*") && child_key->type == KEY_SECTION;

    return own_section && !conf_get(child, "command") ? NULL : child_key;
}

static json_t *section_to_json(const struct key *key, const struct conf_node *n, enum key_scope scope)
{
    json_t *object = json_object();

    for (size_t i = 0; i < n->children.count; i++) {
        const struct conf_node *child = n->children.at[i];
        const struct key *child_key = child_key_of(key, child, scope);
        json_t *value = child_key ? typed_json_of(child_key, child, scope) : NULL;

        if (value)
            CHECK(json_object_set_new(object, child->key, value) == 0);
    }
    return object;
}

static json_t *items_to_json(const struct key *key, const struct conf_node *n, enum key_scope scope)
{
    AUTO(cstr) char *path = str_fmt("%s[]", key->path);
    const struct key *item_key = key_find(path, scope);
    json_t *list = json_array();

    for (size_t i = 0; i < n->children.count; i++) {
        json_t *item = item_key ? typed_json_of(item_key, n->children.at[i], scope) : conf_to_json(n->children.at[i]);
        if (item)
            CHECK(json_array_append_new(list, item) == 0);
    }
    return list;
}

/* Plain values of a mapping; the others were complained about. */
static json_t *scalars_to_json(const struct conf_node *n)
{
    json_t *object = json_object();

    for (size_t i = 0; i < n->children.count; i++) {
        const struct conf_node *child = n->children.at[i];
        if (child->type != CONF_LIST && child->type != CONF_MAP && child->type != CONF_NULL)
            CHECK(json_object_set_new(object, child->key, conf_to_json(child)) == 0);
    }
    return object;
}

static json_t *text_to_json(char *take_text)
{
    AUTO(cstr) char *text = take_text;
    json_t *json = json_string(text);

    CHECK(json);
    return json;
}

json_t *typed_json_of(const struct key *key, const struct conf_node *n, enum key_scope scope)
{
    int64_t number;
    bool boolean;

    if (!is_usable(key, n))
        return NULL;
    switch (key->type) {
    case KEY_SECTION:
        return section_to_json(key, n, scope);
    case KEY_TEXT:
    case KEY_SECRET:
        return text_to_json(value_text(n));
    case KEY_ENUM:
        return text_to_json(key_enum_value(key, n));
    case KEY_BOOL:
        CHECK(value_bool(n, &boolean));
        return json_boolean(boolean);
    case KEY_INT:
    case KEY_DURATION:
    case KEY_SIZE:
        CHECK(value_int(n, unit_of(key), &number));
        return json_integer(number);
    case KEY_HOST_LIST:
    case KEY_TEXT_LIST:
        return list_to_json(n);
    case KEY_OPTIONS:
        return value_options(n);
    case KEY_SCALARS:
        return scalars_to_json(n);
    case KEY_LIST:
        return items_to_json(key, n, scope);
    case KEY_ANY:
        return n->type == CONF_MAP && key_has_children(key) ? section_to_json(key, n, scope) : conf_to_json(n);
    case KEY_HOST_PORT:
    case KEY_ADDRESS:
    case KEY_LISTEN:
    case KEY_URL:
    case KEY_LINES:
    case KEY_MAP:
    case KEY_SCALAR:
        return conf_to_json(n);
    }
    UNREACHABLE();
}

json_t *typed_json(const struct typed *t, const char *path)
{
    return typed_json_of(key_of(t, path), conf_path(t->root, path), t->scope);
}
