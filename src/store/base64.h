/*
 * Base64 as etcd's JSON gateway has it for keys and values: the standard alphabet, padded.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/auto.h"

struct buf;

void base64_encode(struct buf *out, const void *bytes, size_t len);

/* Appends the bytes of `text`; false if it is not canonical base64, *out then holds a part of it. */
MUST_USE bool base64_decode(struct buf *out, const char *text);
