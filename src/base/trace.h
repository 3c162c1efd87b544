/*
 * The last things this thread did, for the moment a CHECK fails.
 *
 * A ring of fixed-size lines per thread; pure code may write to it (it is the one global that the
 * layer rules allow), nobody reads it but check_failed() and tests.
 */
#pragma once

#include "base/auto.h"

enum { TRACE_LINES = 64, TRACE_LINE_MAX = 160 };

/* Remember one line; longer text is cut. */
void trace_add(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Hand every remembered line, oldest first, to put(). Allocates nothing. */
void trace_print(void (*put)(const char *text));
