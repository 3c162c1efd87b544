/*
 * Bytes that somebody else owns, read from the front.
 *
 * A reader takes what it needs or nothing: on false the span and the result are untouched. Numbers are big-endian.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/auto.h"

struct span {
    const unsigned char *at;
    size_t len;
};

static inline MUST_USE bool span_take(struct span *in, size_t len, struct span *ret_front)
{
    if (len > in->len)
        return false;
    *ret_front = (struct span){in->at, len};
    in->at += len;
    in->len -= len;
    return true;
}

/* bytes 1 to 8. */
static inline MUST_USE bool span_take_number(struct span *in, size_t bytes, uint64_t *ret_value)
{
    struct span front;
    uint64_t value = 0;

    if (!span_take(in, bytes, &front))
        return false;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | front.at[i];
    *ret_value = value;
    return true;
}

/* All of it as text; false: it does not fit, or has a NUL in it. */
static inline MUST_USE bool span_text(struct span all, char *ret_text, size_t cap)
{
    if (all.len >= cap || memchr(all.at, '\0', all.len))
        return false;
    memcpy(ret_text, all.at, all.len);
    ret_text[all.len] = '\0';
    return true;
}
