#include "wire/conninfo.h"

#include <ctype.h>
#include <stdbool.h>

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
