/*
 * Base64 (RFC 4648, 4): the standard alphabet, padded.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/auto.h"

struct buf;

/* Appends the text of the bytes. */
void base64_encode(struct buf *out, const void *bytes, size_t len);

/* Appends the bytes of `text`; false if it is not canonical base64, *out then holds a part of it. */
MUST_USE bool base64_decode(struct buf *out, const char *text);
