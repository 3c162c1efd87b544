/*
 * Values of keys with their types and defaults, out of a tree.
 *
 * The row of a key says its type and default; asking for a key that has no row is a bug. A value that
 * does not fit its row counts as absent (audit.h tells the operator), so these never fail.
 */
#pragma once

#include "wire/conf/keys.h"
#include "wire/conf/settings.h"

/* `root` is a local file with KEY_LOCAL, a dynamic configuration with KEY_DYNAMIC. */
struct typed {
    const struct conf_node *root;
    enum key_scope scope;
};

/* The value itself; NULL if absent, null, empty or unfit. */
const struct conf_node *typed_node(const struct typed *t, const char *path);

/* NULL: neither value nor default. Of alternatives the canonical one. */
char *typed_text(const struct typed *t, const char *path);
bool typed_bool(const struct typed *t, const char *path);
int64_t typed_int(const struct typed *t, const char *path);
/* Position of the value among the row's alternatives: the same order as the C enum. */
int typed_enum(const struct typed *t, const char *path);
/* False: absent; *ret untouched. */
bool typed_endpoint(const struct typed *t, const char *path, int default_port, struct endpoint *ret);
void typed_text_list(const struct typed *t, const char *path, struct string_list *ret);

/*
 * The value as JSON, new reference: booleans, numbers, texts and option lists where the rows ask for
 * them, whatever form they were written in. What does not fit is left out. NULL: absent.
 */
json_t *typed_json(const struct typed *t, const char *path);
/* The same for one node with the row `key`; free-form below rows that have no children. */
json_t *typed_json_of(const struct key *key, const struct conf_node *n, enum key_scope scope);
