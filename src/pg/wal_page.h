/*
 * What a page of WAL on disk says of its timeline.
 *
 * pg_control is behind after a change of timeline, and what a walreceiver had received on which one it says only while
 * it lives; the pages tell. A segment of a new timeline begins with a copy of its parent's up to the fork, so a page
 * belongs to the timeline that its beginning is on by the history, and that is what stands in its header (PostgreSQL:
 * xlog_internal.h, XLogPageHeaderData).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/err.h"
#include "wire/lsn.h"

/*
 * True if the byte before `end` is on timeline tli as far as its page and tli's history in pg_wal tell. False with
 * *err: it is on another one, or that cannot be told (the segment is gone, the history is).
 */
MUST_USE bool wal_page_is_of(const char *data_dir, uint64_t segment_size, uint32_t page_size, uint32_t tli, lsn end,
                             struct err *err);
