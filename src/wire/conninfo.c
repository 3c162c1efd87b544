#include "wire/conninfo.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

static bool needs_quotes(const char *value)
{
    if (!*value)
        return true;
    for (const char *c = value; *c; c++) {
        if (isspace((unsigned char)*c) || *c == '\'' || *c == '\\' || *c == '=')
            return true;
    }
    return false;
}

void conninfo_add(struct buf *text, const char *key, const char *value)
{
    if (!value)
        return;

    buf_printf(text, "%s%s=", text->len ? " " : "", key);
    if (!needs_quotes(value)) {
        buf_add_str(text, value);
        return;
    }
    buf_add_char(text, '\'');
    for (const char *c = value; *c; c++) {
        if (*c == '\'' || *c == '\\')
            buf_add_char(text, '\\');
        buf_add_char(text, *c);
    }
    buf_add_char(text, '\'');
}

void conninfo_add_int(struct buf *text, const char *key, int value)
{
    buf_printf(text, "%s%s=%d", text->len ? " " : "", key, value);
}

static const char *skip_space(const char *at)
{
    while (isspace((unsigned char)*at))
        at++;
    return at;
}

/* A value from `at` on; returns the place behind it, NULL if it is malformed. */
static const char *value_read(const char *at, struct buf *value)
{
    bool quoted = *at == '\'';

    if (quoted)
        at++;
    for (; *at; at++) {
        if (quoted ? *at == '\'' : isspace((unsigned char)*at))
            break;
        if (*at == '\\') {
            at++;
            if (!*at)
                break; /* libpq: a lone backslash at the end adds nothing */
        }
        buf_add_char(value, *at);
    }
    if (!quoted)
        return at;
    return *at == '\'' ? at + 1 : NULL;
}

static void pair_set(struct conninfo *c, const char *key, size_t key_len, const char *value)
{
    for (size_t i = 0; i < c->count; i++) {
        if (strlen(c->at[i].key) == key_len && strncmp(c->at[i].key, key, key_len) == 0) {
            str_set(&c->at[i].value, value);
            return;
        }
    }
    c->at = mem_grow(c->at, c->count + 1, sizeof(*c->at));
    c->at[c->count++] = (struct conninfo_pair){.key = str_fmt("%.*s", (int)key_len, key), .value = str_dup(value)};
}

struct conninfo *conninfo_parse(const char *text)
{
    AUTO(conninfo) struct conninfo *c = mem_zero(1, sizeof(*c));

    for (const char *at = skip_space(text); *at; at = skip_space(at)) {
        const char *key = at;
        while (*at && *at != '=' && !isspace((unsigned char)*at))
            at++;
        size_t key_len = (size_t)(at - key);
        at = skip_space(at);
        if (*at != '=' || !key_len)
            return NULL;

        AUTO(buf) struct buf value = BUF_EMPTY;
        at = value_read(skip_space(at + 1), &value);
        if (!at)
            return NULL;
        pair_set(c, key, key_len, buf_cstr(&value));
    }
    return TAKE(c);
}

void conninfo_free(struct conninfo *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->count; i++) {
        free(c->at[i].key);
        free(c->at[i].value);
    }
    free(c->at);
    free(c);
}

const char *conninfo_get(const struct conninfo *c, const char *key)
{
    for (size_t i = 0; i < c->count; i++) {
        if (str_eq(c->at[i].key, key))
            return c->at[i].value;
    }
    return NULL;
}
