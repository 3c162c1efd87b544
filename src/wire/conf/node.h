/*
 * Configuration as a tree that remembers where each value stood.
 *
 * What the YAML reader, the environment and the dynamic configuration (JSON) all turn into, so that
 * one set of key tables checks all three and every complaint can name file, line and key.
 * A node owns its children; mappings keep the order of the file.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/auto.h"

enum conf_type { CONF_NULL, CONF_BOOL, CONF_INT, CONF_FLOAT, CONF_STRING, CONF_LIST, CONF_MAP };

struct conf_node {
    enum conf_type type;
    char *key;         /* in a mapping; NULL otherwise */
    const char *file;  /* path, "environment PATRONI_X" or "dynamic configuration"; counted, see conf_file_new() */
    unsigned int line; /* 1-based; 0 where there are no lines */
    union {
        bool boolean;
        int64_t integer;
        double number;
        char *string;
        struct {
            struct conf_node **at;
            size_t count;
        } children;
    };
    char *text; /* scalars: as it was written, before resolution ("010", "on"); NULL elsewhere */
};

/*
 * Names of sources, shared by the nodes that came from them: every node holds a reference, so that
 * trees of several files can be merged and taken apart.
 */
const char *conf_file_new(const char *name);
void conf_file_unref(const char *file);

/* The node takes a reference of its own on `file` (made by conf_file_new()). */
struct conf_node *conf_node_new(enum conf_type type, const char *file, unsigned int line);
struct conf_node *conf_node_copy(const struct conf_node *n);
void conf_node_free(struct conf_node *n);
AUTO_DEFINE(conf_node, struct conf_node, conf_node_free)

/* A text node. */
struct conf_node *conf_node_text(const char *text, const char *file, unsigned int line);

/* NULL, "key:" or "key: ''": how people switch a line off. */
bool conf_absent(const struct conf_node *n);

/* Put a child under `key`, in the place of an older one if there is one. */
void conf_set(struct conf_node *map, const char *key, struct conf_node *take_child);
/* conf_set() by dotted path; mappings that are missing on the way are made. */
void conf_set_path(struct conf_node *root, const char *path, struct conf_node *take_child);
void conf_append(struct conf_node *list, struct conf_node *take_child);
/* Detach a child; NULL if absent. */
struct conf_node *conf_take(struct conf_node *map, const char *key);
struct conf_node *conf_take_path(struct conf_node *root, const char *path);

/* Patroni's way to put one tree over another: mappings merge, null removes, all else replaces. */
void conf_merge(struct conf_node *into, struct conf_node *take_from);

/* Nodes in the tree, its root included. */
size_t conf_node_count(const struct conf_node *n);

/* Child of a mapping, NULL if absent (or *n is no mapping). */
struct conf_node *conf_get(const struct conf_node *n, const char *key);

/* Value by dotted path: "postgresql.authentication.superuser". NULL if absent. */
struct conf_node *conf_path(const struct conf_node *n, const char *path);

/*
 * New references: the tree as JSON and back. JSON has no lines; `file` names where it came from.
 * What JSON cannot say (infinity, not a number) becomes its text.
 */
json_t *conf_to_json(const struct conf_node *n);
struct conf_node *conf_from_json(const json_t *json, const char *file);

/* For people: "a mapping", "a whole number". */
const char *conf_type_name(enum conf_type type);
