#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/str.h"
#include "wire/conf/settings.h"

static void findings_put(struct findings *f, enum finding_level level, char *take_text)
{
    AUTO(cstr) char *text = take_text;

    if (level == FINDING_ERROR)
        f->error_count++;
    if (f->count == FINDINGS_MAX)
        return;
    if (f->count == FINDINGS_MAX - 1)
        str_set(&text, "more than could be listed; these first");

    f->at = mem_grow(f->at, f->count + 1, sizeof(*f->at));
    f->at[f->count++] = (struct finding){.level = level, .text = TAKE(text)};
}

static char *text_of(const char *fmt, va_list args)
{
    char *text = NULL;

    CHECK(vasprintf(&text, fmt, args) >= 0);
    return text;
}

void findings_add(struct findings *f, enum finding_level level, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    char *text = text_of(fmt, args);
    va_end(args);
    findings_put(f, level, text);
}

void findings_at(struct findings *f, enum finding_level level, const struct conf_node *n, const char *key,
                 const char *fmt, ...)
{
    struct buf b = BUF_EMPTY;
    va_list args;

    va_start(args, fmt);
    AUTO(cstr) char *text = text_of(fmt, args);
    va_end(args);
    buf_add_str(&b, n->file);
    if (n->line > 0)
        buf_printf(&b, ":%u", n->line);
    buf_printf(&b, ": %s: %s", key, text);
    findings_put(f, level, buf_take(&b));
}

void findings_deinit(struct findings *f)
{
    for (size_t i = 0; i < f->count; i++)
        free(f->at[i].text);
    free(f->at);
    *f = (struct findings){0};
}
