/*
 * A growable byte string, always terminated by a NUL that is not counted.
 *
 * For control work only (files, requests, keys): growing fails by aborting, because an agent that
 * cannot allocate restarts and adopts the running PostgreSQL. Client data never goes through here.
 */
#pragma once

#include <stddef.h>

#include "base/auto.h"

struct buf {
    char *at; /* NULL while empty and never grown; use buf_cstr() to read */
    size_t len;
    size_t cap;
};

#define BUF_EMPTY \
    {             \
        0         \
    }

void buf_deinit(struct buf *b);
void buf_clear(struct buf *b);

void buf_add(struct buf *b, const void *bytes, size_t len);
void buf_add_str(struct buf *b, const char *text);
void buf_add_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The text so far; "" when nothing was added. Valid until the next change. */
const char *buf_cstr(const struct buf *b);

/* Hand over the text (free() it); the buffer is empty afterwards. Never NULL. */
char *buf_take(struct buf *b);

static inline UNUSED void buf_freep(struct buf *b)
{
    buf_deinit(b);
}
