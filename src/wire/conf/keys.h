/*
 * Every key of the configuration, one row each.
 *
 * The rows drive everything: what is checked, what is warned about, which PATRONI_* variable sets a
 * key, what its default is, and docs/patroni-keys.md. They stand in keys_node.c, keys_postgresql.c,
 * keys_dynamic.c and keys_store.c; where a key can be given is its scope, not its file.
 *
 * A path is the key's place with dots; "*" stands for one name that the operator chooses, "[]" for
 * the items of a list. Dynamic keys are relative to the root of the dynamic configuration, which in
 * the local file is bootstrap.dcs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/conf/node.h"

enum key_type {
    KEY_SECTION, /* a mapping whose keys have rows of their own */
    KEY_TEXT,    /* a text; a number counts as its text */
    KEY_SECRET,  /* a text that is never shown */
    KEY_BOOL,
    KEY_INT,       /* min..max */
    KEY_DURATION,  /* seconds; a text may carry a unit ("30min") */
    KEY_SIZE,      /* bytes; a text may carry a unit ("512kB") */
    KEY_ENUM,      /* one of `values` */
    KEY_HOST_PORT, /* host:port */
    KEY_ADDRESS,   /* host, or host:port */
    KEY_LISTEN,    /* host[,host…][:port] */
    KEY_HOST_LIST, /* a list of host[:port], or one text with commas */
    KEY_URL,
    KEY_TEXT_LIST, /* a list of texts, or one text with commas */
    KEY_LINES,     /* a list of texts */
    KEY_OPTIONS,   /* options of a program: a list of names and {name: value}, or a mapping */
    KEY_SCALARS,   /* a mapping of free names to texts, numbers, booleans */
    KEY_MAP,       /* a mapping of anything */
    KEY_LIST,      /* a list; its items may have rows ("[]") */
    KEY_SCALAR,    /* a text, a number or a boolean */
    KEY_ANY,
};

enum key_scope { KEY_LOCAL = 1, KEY_DYNAMIC = 2, KEY_BOTH = KEY_LOCAL | KEY_DYNAMIC };

enum key_state {
    KEY_BUILT,
    KEY_LATER,     /* accepted, one warning: not built yet */
    KEY_NO_EFFECT, /* accepted, one warning: what it tunes does not exist here */
    KEY_REFUSED,   /* promises safety that is not built yet: an error */
};

enum key_when { WHEN_RELOAD, WHEN_RESTART, WHEN_BOOTSTRAP };

struct key {
    const char *path;
    enum key_type type;
    enum key_scope scope;
    enum key_state state;
    enum key_when when;
    const char *harmless; /* value at which `state` does not matter ("off"); NULL: any value asks for it */
    const char *refused;  /* KEY_ENUM: the alternative that promises safety which is not built yet */
    const char *with;     /* the key whose warning speaks for this one too */
    int64_t min, max;     /* KEY_INT, KEY_DURATION, KEY_SIZE; max 0: no bound above */
    const char *values;   /* KEY_ENUM: "off/disable|automatic/auto": alternatives, each with its synonyms */
    const char *fallback; /* default, as text; NULL: none */
    const char *env;      /* PATRONI_<env> sets it; "": after the path; NULL: no variable */
    const char *moved_to; /* an old name for this key; all else but scope is taken from there */
    const char *meaning;  /* one line */
    const char *test;     /* "file::function" that shows it; required when built */
};

struct key_table {
    const struct key *rows;
    size_t count;
};

extern const struct key_table keys_node, keys_postgresql, keys_dynamic, keys_store;

/* All rows, in the order of the tables; NULL after the last. */
const struct key *key_at(size_t index);

/* The row of exactly this path (stars as written). NULL if there is none in any of the scopes asked. */
const struct key *key_find(const char *path, enum key_scope scope);

/*
 * The row for the child `name` of the mapping at `parent` (path of its row, "" for the root): the
 * exact one, else one with a star. In any scope asked. NULL: unknown.
 */
const struct key *key_child(const char *parent, const char *name, enum key_scope scope);

bool key_has_children(const struct key *parent);

/* The known path nearest to `name` below `parent`, or one of that name elsewhere; NULL if none is near. */
const char *key_nearest(const char *parent, const char *name, enum key_scope scope);

/* True for the section of a store, such as "consul". */
bool key_is_store(const struct key *key);

/* The canonical alternative of a KEY_ENUM that `n` asks for, copied; NULL if it is none. free() it. */
char *key_enum_value(const struct key *key, const struct conf_node *n);

/* True if the value is the harmless one, or nothing. */
bool key_harmless(const struct key *key, const struct conf_node *n);

/* "host:port", "a whole number from 0 to 4096". free() it. */
char *key_expected(const struct key *key);

/* The variable's full name, or NULL. free() it. */
char *key_variable(const struct key *key);
