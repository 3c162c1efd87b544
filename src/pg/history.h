/*
 * Timeline histories (PostgreSQL: timeline.c, readTimeLineHistory). Pure, but for history_load.
 *
 * The history of timeline T lists its ancestors, oldest first, each with the position at which the
 * next one left it. A position belongs to the history if its timeline is T, or an ancestor that it does
 * not reach beyond: (tli, end) with end <= switch point.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/err.h"
#include "wire/lsn.h"

enum { HISTORY_MAX = 10000 }; /* lines; PostgreSQL has no limit, a file above this is damaged */

struct history_entry {
    uint32_t tli;
    lsn switch_at; /* first byte that is not of tli any more */
    char *reason;
};

struct history {
    uint32_t tli; /* whose history it is; not among the entries */
    struct history_entry *at;
    size_t count; /* 0 for timeline 1 */
};

/* tli: from the file's name or IDENTIFY_SYSTEM. Fails on malformed lines and on timelines that do not grow. */
MUST_USE bool history_parse(uint32_t tli, const char *text, struct history **ret_history, struct err *err);
void history_free(struct history *h);
AUTO_DEFINE(history, struct history, history_free)

/* Reads <data_dir>/pg_wal/%08X.history. tli 1 has none: an empty history. ERR_NOT_FOUND when absent. */
MUST_USE bool history_load(const char *data_dir, uint32_t tli, struct history **ret_history, struct err *err);

/* The highest timeline with a history file in pg_wal; 1 when there is none. */
MUST_USE bool history_newest(const char *data_dir, uint32_t *ret_tli, struct err *err);

/*
 * The empty ones that a start would take for the newest timeline, and wait for it: those above the newest that is none.
 * Below it they stand for numbers that were skipped (promote_skip_to), and have to stay: a standby counts upwards from
 * its own timeline as long as there is a file (timeline.c, findNewestTimeLine), and asks its upstream for each of them
 * first (walreceiver.c, WalRcvFetchTimeLineHistoryFiles), which ends it where one is missing. No folder is fine.
 */
MUST_USE bool history_remove_empty(const char *data_dir, struct err *err);

/* Where h left tli; false if tli is no ancestor (the own timeline is not an ancestor). */
bool history_switch_point(const struct history *h, uint32_t tli, lsn *ret_switch_at);
/*
 * The last position two histories have in common: true with the timeline and position; false if they
 * share no timeline (different clusters).
 */
bool history_fork(const struct history *a, const struct history *b, uint32_t *ret_tli, lsn *ret_at);
