/*
 * Unified differences between two texts, for showing a change before it is made.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"

/* Three lines of context, "--- ", "+++ " and "@@" lines as diff -u writes them. Nothing if the texts are equal. */
void diff_unified(const char *before, const char *after, bool colour, struct buf *out);
