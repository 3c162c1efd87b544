/*
 * What the segment files in pg_wal say of the timeline that WAL was received on.
 *
 * Replay knows its own timeline, pg_control is behind, and what a walreceiver had received on which one it says only
 * while it lives. But it writes into the file of that timeline, from the begin of the segment on (walreceiver.c,
 * XLogWalRcvWrite; RequestXLogStreaming). So the newest timeline that has a file for the segment tells, not the header
 * of the page: that names the timeline on which the page was begun, which on the page of the fork is the old one, in
 * the old file as in the new one, and pages behind a switch of the segment have none. The headers only have to agree
 * with the history: a recycled file has others.
 */
#pragma once

#include <stdint.h>

#include "base/auto.h"
#include "wire/lsn.h"

enum wal_held {
    WAL_HELD_NOT,    /* no timeline above has a file for that segment */
    WAL_HELD,        /* *ret_tli */
    WAL_HELD_UNSURE, /* there may be one: a file, its pages or its history could not be read, or do not fit */
};

struct wal_place {
    const char *data_dir;
    uint64_t segment_size;
    uint32_t page_size;
    uint32_t replayed_tli; /* where replay is */
    lsn replayed;
};

/*
 * On which timeline above replayed_tli, that descends from there, was the byte before `end` received? `end` is behind
 * `replayed`. By the history of the file's timeline that byte may still be an ancestor's: then *ret_tli is that one.
 */
enum wal_held wal_held_above(const struct wal_place *at, lsn end, uint32_t *ret_tli);
