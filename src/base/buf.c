#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

enum { BUF_CAP_MIN = 64 };

void buf_deinit(struct buf *b)
{
    free(b->at);
    *b = (struct buf)BUF_EMPTY;
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    if (b->at)
        b->at[0] = '\0';
}

/* Make room for `more` bytes and the NUL. */
static void reserve(struct buf *b, size_t more)
{
    size_t need = b->len + more + 1;

    CHECK(need > b->len);
    if (need <= b->cap)
        return;

    size_t cap = b->cap ? b->cap : BUF_CAP_MIN;
    while (cap < need)
        cap *= 2;
    b->at = realloc(b->at, cap);
    CHECK(b->at);
    b->cap = cap;
}

void buf_add(struct buf *b, const void *bytes, size_t len)
{
    reserve(b, len);
    if (len)
        memcpy(b->at + b->len, bytes, len);
    b->len += len;
    b->at[b->len] = '\0';
}

void buf_add_str(struct buf *b, const char *text)
{
    buf_add(b, text, strlen(text));
}

void buf_add_char(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args;
    va_list again;

    va_start(args, fmt);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    CHECK(len >= 0);
    reserve(b, (size_t)len);
    (void)vsnprintf(b->at + b->len, (size_t)len + 1, fmt, again); /* measured above */
    va_end(again);
    b->len += (size_t)len;
}

const char *buf_cstr(const struct buf *b)
{
    return b->at ? b->at : "";
}

char *buf_take(struct buf *b)
{
    reserve(b, 0);
    b->at[b->len] = '\0';
    char *taken = b->at;
    *b = (struct buf)BUF_EMPTY;
    return taken;
}
