/*
 * libpq connection strings of the keyword/value kind (PostgreSQL: fe-connect.c, conninfo_parse).
 *
 * Writing quotes what needs it; reading understands quotes and backslashes. Whether a keyword exists is
 * libpq's business, not ours.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/auto.h"
#include "base/buf.h"

/* Appends `key=value`, after a blank if *text is not empty. A NULL value adds nothing, "" adds key=''. */
void conninfo_add(struct buf *text, const char *key, const char *value);
void conninfo_add_int(struct buf *text, const char *key, int value);

struct conninfo_pair {
    char *key;
    char *value;
};

struct conninfo {
    struct conninfo_pair *at;
    size_t count;
};

/* NULL: malformed. An empty string is an empty list; a repeated keyword stands once, with its last value. */
struct conninfo *conninfo_parse(const char *text);
void conninfo_free(struct conninfo *c);
AUTO_DEFINE(conninfo, struct conninfo, conninfo_free)

/* NULL if absent. */
const char *conninfo_get(const struct conninfo *c, const char *key);
