/*
 * Reports of failovers on this node's own disk: pgkeep.state_dir/failovers/<term>.json, one whole file each.
 *
 * For people, when the store is gone: nothing reads them back. They are not synced, so that a slow disk costs nothing
 * more than a small write.
 */
#pragma once

#include <stddef.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/time.h"

/* Replaces the term's file, and removes the oldest above `keep`. */
MUST_USE bool report_file_keep(const char *state_dir, term t, const char *text, size_t keep, struct err *err);
