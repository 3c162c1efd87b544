#include "wire/conf/node.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "wire/conf/scalar.h"

/* Nodes point at `name`; the count stands in front of it. */
struct conf_file {
    unsigned int refs;
    char name[];
};

static struct conf_file *file_of(const char *name)
{
    return (struct conf_file *)(void *)((char *)(uintptr_t)name - offsetof(struct conf_file, name));
}

const char *conf_file_new(const char *name)
{
    size_t len = strlen(name);
    struct conf_file *file = mem_zero(1, sizeof(*file) + len + 1);

    file->refs = 1;
    memcpy(file->name, name, len + 1);
    return file->name;
}

static const char *file_ref(const char *file)
{
    file_of(file)->refs++;
    return file;
}

void conf_file_unref(const char *file)
{
    struct conf_file *f = file_of(file);

    CHECK(f->refs > 0);
    if (--f->refs == 0)
        free(f);
}

static bool has_children(const struct conf_node *n)
{
    return n->type == CONF_LIST || n->type == CONF_MAP;
}

struct conf_node *conf_node_new(enum conf_type type, const char *file, unsigned int line)
{
    struct conf_node *n = mem_zero(1, sizeof(*n));

    n->type = type;
    n->file = file_ref(file);
    n->line = line;
    return n;
}

struct conf_node *conf_node_text(const char *text, const char *file, unsigned int line)
{
    struct conf_node *n = conf_node_new(CONF_STRING, file, line);

    n->string = str_dup(text);
    n->text = str_dup(text);
    return n;
}

void conf_node_free(struct conf_node *n)
{
    if (!n)
        return;

    if (has_children(n)) {
        for (size_t i = 0; i < n->children.count; i++)
            conf_node_free(n->children.at[i]);
        free(n->children.at);
    } else if (n->type == CONF_STRING) {
        free(n->string);
    }
    conf_file_unref(n->file);
    free(n->key);
    free(n->text);
    free(n);
}

bool conf_absent(const struct conf_node *n)
{
    return !n || n->type == CONF_NULL || (n->type == CONF_STRING && str_empty(n->string));
}

static void children_add(struct conf_node *parent, struct conf_node *child)
{
    size_t count = parent->children.count;

    if ((count & (count - 1)) == 0) /* full at every power of two */
        parent->children.at = mem_grow(parent->children.at, count ? 2 * count : 1, sizeof(struct conf_node *));
    parent->children.at[parent->children.count++] = child;
}

struct conf_node *conf_node_copy(const struct conf_node *n)
{
    struct conf_node *copy = conf_node_new(n->type, n->file, n->line);

    copy->key = str_dup(n->key);
    copy->text = str_dup(n->text);
    switch (n->type) {
    case CONF_NULL:
        break;
    case CONF_BOOL:
        copy->boolean = n->boolean;
        break;
    case CONF_INT:
        copy->integer = n->integer;
        break;
    case CONF_FLOAT:
        copy->number = n->number;
        break;
    case CONF_STRING:
        copy->string = str_dup(n->string);
        break;
    case CONF_LIST:
    case CONF_MAP:
        for (size_t i = 0; i < n->children.count; i++)
            children_add(copy, conf_node_copy(n->children.at[i]));
        break;
    }
    return copy;
}

/* Where `key` stands in *map; count if it does not. */
static size_t child_index(const struct conf_node *map, const char *key)
{
    size_t i = 0;

    while (i < map->children.count && !str_eq(map->children.at[i]->key, key))
        i++;
    return i;
}

void conf_set(struct conf_node *map, const char *key, struct conf_node *take_child)
{
    CHECK(map->type == CONF_MAP);
    size_t at = child_index(map, key);

    if (take_child->key != key)
        str_set(&take_child->key, key);
    if (at == map->children.count) {
        children_add(map, take_child);
        return;
    }
    conf_node_free(map->children.at[at]);
    map->children.at[at] = take_child;
}

void conf_append(struct conf_node *list, struct conf_node *take_child)
{
    CHECK(list->type == CONF_LIST);
    children_add(list, take_child);
}

struct conf_node *conf_take(struct conf_node *map, const char *key)
{
    if (!map || map->type != CONF_MAP)
        return NULL;

    size_t at = child_index(map, key);
    if (at == map->children.count)
        return NULL;

    struct conf_node *child = map->children.at[at];
    /* Rebuilt rather than shifted: children_add() expects an array filled up to its power of two. */
    AUTO(conf_node) struct conf_node *rest = conf_node_new(CONF_MAP, map->file, map->line);
    for (size_t i = 0; i < map->children.count; i++)
        if (i != at)
            children_add(rest, map->children.at[i]);
    free(map->children.at);
    map->children = rest->children;
    rest->children.at = NULL;
    rest->children.count = 0;
    return child;
}

struct conf_node *conf_get(const struct conf_node *n, const char *key)
{
    if (!n || n->type != CONF_MAP)
        return NULL;

    size_t at = child_index(n, key);
    return at < n->children.count ? n->children.at[at] : NULL;
}

/* One step of a dotted path; *path moves on, NULL after the last step. */
static char *path_step(const char **path)
{
    const char *dot = strchr(*path, '.');
    char *step = dot ? strndup(*path, (size_t)(dot - *path)) : str_dup(*path);

    CHECK(step);
    *path = dot ? dot + 1 : NULL;
    return step;
}

struct conf_node *conf_path(const struct conf_node *n, const char *path)
{
    struct conf_node *at = (struct conf_node *)(uintptr_t)n;

    while (path && at) {
        AUTO(cstr) char *step = path_step(&path);
        at = conf_get(at, step);
    }
    return at;
}

void conf_set_path(struct conf_node *root, const char *path, struct conf_node *take_child)
{
    struct conf_node *at = root;

    for (;;) {
        AUTO(cstr) char *step = path_step(&path);
        if (!path) {
            conf_set(at, step, take_child);
            return;
        }
        struct conf_node *next = conf_get(at, step);
        if (!next || next->type != CONF_MAP) {
            next = conf_node_new(CONF_MAP, take_child->file, take_child->line);
            conf_set(at, step, next);
        }
        at = next;
    }
}

struct conf_node *conf_take_path(struct conf_node *root, const char *path)
{
    struct conf_node *at = root;

    while (at) {
        AUTO(cstr) char *step = path_step(&path);
        if (!path)
            return conf_take(at, step);
        at = conf_get(at, step);
    }
    return NULL;
}

void conf_merge(struct conf_node *into, struct conf_node *take_from)
{
    CHECK(into->type == CONF_MAP);
    CHECK(take_from->type == CONF_MAP);
    struct conf_node **at = take_from->children.at;
    size_t count = take_from->children.count;

    for (size_t i = 0; i < count; i++) {
        struct conf_node *old = conf_get(into, at[i]->key);

        if (at[i]->type == CONF_NULL) {
            conf_node_free(conf_take(into, at[i]->key));
            conf_node_free(at[i]);
        } else if (old && old->type == CONF_MAP && at[i]->type == CONF_MAP) {
            conf_merge(old, at[i]);
        } else {
            conf_set(into, at[i]->key, at[i]);
        }
    }
    take_from->children.count = 0; /* all handed over */
    conf_node_free(take_from);
}

size_t conf_node_count(const struct conf_node *n)
{
    size_t count = 1;

    if (has_children(n))
        for (size_t i = 0; i < n->children.count; i++)
            count += conf_node_count(n->children.at[i]);
    return count;
}

static json_t *json_text(const char *text)
{
    json_t *json = json_string(text);
    CHECK(json); /* readers let no text in that is not UTF-8 */
    return json;
}

static json_t *float_to_json(double number)
{
    if (isfinite(number))
        return json_real(number);

    AUTO(cstr) char *text = scalar_float_text(number);
    return json_text(text);
}

json_t *conf_to_json(const struct conf_node *n)
{
    json_t *json = NULL;

    switch (n->type) {
    case CONF_NULL:
        return json_null();
    case CONF_BOOL:
        return json_boolean(n->boolean);
    case CONF_INT:
        return json_integer(n->integer);
    case CONF_FLOAT:
        return float_to_json(n->number);
    case CONF_STRING:
        return json_text(n->string);
    case CONF_LIST:
        json = json_array();
        for (size_t i = 0; i < n->children.count; i++)
            CHECK(json_array_append_new(json, conf_to_json(n->children.at[i])) == 0);
        return json;
    case CONF_MAP:
        json = json_object();
        for (size_t i = 0; i < n->children.count; i++)
            CHECK(json_object_set_new(json, n->children.at[i]->key, conf_to_json(n->children.at[i])) == 0);
        return json;
    }
    UNREACHABLE();
}

static struct conf_node *node_from_json(const json_t *json, const char *file)
{
    struct conf_node *n = conf_node_new(CONF_NULL, file, 0);

    switch (json_typeof(json)) {
    case JSON_NULL:
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        n->type = CONF_BOOL;
        n->boolean = json_is_true(json);
        n->text = str_dup(n->boolean ? "true" : "false");
        break;
    case JSON_INTEGER:
        n->type = CONF_INT;
        n->integer = json_integer_value(json);
        n->text = str_fmt("%lld", (long long)n->integer);
        break;
    case JSON_REAL:
        n->type = CONF_FLOAT;
        n->number = json_real_value(json);
        n->text = scalar_float_text(n->number);
        break;
    case JSON_STRING:
        n->type = CONF_STRING;
        n->string = str_dup(json_string_value(json));
        n->text = str_dup(n->string);
        break;
    case JSON_ARRAY:
        n->type = CONF_LIST;
        for (size_t i = 0; i < json_array_size(json); i++)
            children_add(n, node_from_json(json_array_get(json, i), file));
        break;
    case JSON_OBJECT: {
        const char *key;
        json_t *value;

        n->type = CONF_MAP;
        json_object_foreach((json_t *)(uintptr_t)json, key, value)
        {
            struct conf_node *child = node_from_json(value, file);
            child->key = str_dup(key);
            children_add(n, child);
        }
        break;
    }
    }
    return n;
}

struct conf_node *conf_from_json(const json_t *json, const char *file)
{
    const char *name = conf_file_new(file);
    struct conf_node *n = node_from_json(json, name);

    conf_file_unref(name);
    return n;
}

const char *conf_type_name(enum conf_type type)
{
    switch (type) {
    case CONF_NULL:
        return "nothing";
    case CONF_BOOL:
        return "a boolean";
    case CONF_INT:
        return "a whole number";
    case CONF_FLOAT:
        return "a number";
    case CONF_STRING:
        return "a text";
    case CONF_LIST:
        return "a list";
    case CONF_MAP:
        return "a mapping";
    }
    UNREACHABLE();
}
