/*
 * YAML 1.1 text → tree, as PyYAML's SafeLoader reads it, with the line of every value.
 *
 * Anchors, aliases and merge keys work; what an alias stands for is copied, within bounds, so that a
 * few lines cannot become gigabytes. Not accepted: several documents, keys that are lists or mappings,
 * tags beyond YAML's own scalars, an alias inside its own anchor, NUL in a text.
 */
#pragma once

#include "wire/conf/node.h"
#include "wire/conf/settings.h"

enum {
    YAML_TEXT_MAX = 1024 * 1024, /* a large configuration is some 20 kB */
    YAML_NODES_MAX = 20000,      /* after aliases are expanded; bounds memory and time */
    YAML_KEYS_MAX = 2000,        /* in one mapping: they are searched one by one */
    YAML_DEPTH_MAX = 64,         /* levels of nesting; the reader recurses */
};

/*
 * The only document in the text; CONF_NULL if there is none. `file` is what findings call the text.
 * NULL: an error finding says what is wrong and in which line. A key given twice is a warning; the
 * last one counts.
 */
struct conf_node *conf_yaml_read(const char *file, const char *text, size_t len, struct findings *findings);
