/*
 * What PostgreSQL's client programs say. Pure.
 */
#pragma once

#include <stdbool.h>

#include "base/auto.h"
#include "base/err.h"

struct child_result;

/*
 * True if the program ended well; otherwise *err gets its name, how it ended and the lines that say why: those
 * with "error:", "fatal:" and what follows them ("detail:", "hint:"), at most four, else the last line. Progress
 * is left out.
 */
bool tool_succeeded(const struct child_result *r, const char *name, struct err *err);

/* "  12345/67890 kB (18%), …", as pg_basebackup and pg_rewind print it. false: another line. */
bool tool_progress(const char *line, long long *ret_done_bytes, long long *ret_total_bytes);
