/*
 * What a plain YAML 1.1 scalar means, exactly as PyYAML's SafeLoader resolves it.
 *
 * Patroni reads its file with PyYAML, so `off`, 010, 1:30 and 08 must mean here what they mean there
 * (a boolean, 8, 90, a text). Two differences on purpose: timestamps stay texts, and a number beyond
 * 64 bits stays the text it was written as.
 */
#pragma once

#include "wire/conf/node.h"

struct scalar {
    enum conf_type type; /* CONF_NULL, CONF_BOOL, CONF_INT, CONF_FLOAT; CONF_STRING: the text itself */
    union {
        bool boolean;
        int64_t integer;
        double number;
    };
};

/* A plain scalar without a tag. */
struct scalar scalar_resolve(const char *text);

/* True if `text` can be read as `type` (tags !!int, !!bool, …); *ret is set. Any text is a text. */
MUST_USE bool scalar_resolve_as(const char *text, enum conf_type type, struct scalar *ret);

/* Python's repr() of a float: the shortest text that reads back the same. free() it. */
char *scalar_float_text(double number);
