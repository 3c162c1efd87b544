/*
 * The furthest that this node is known to have had, on disk outside PGDATA, beside the promise.
 *
 * A data directory that was set back (a volume's snapshot, a backup that was copied over it, a damaged end of its
 * WAL) ends before that under the same incarnation: what it acknowledged since is not there any more, so it must not
 * count in an election. Only what was replayed, here or by a standby of this primary, is noted: that is on the disk up
 * to the end of a record, while what was received or flushed may end in the middle of one. Sampled, and written without
 * anybody waiting for it: a state directory that is set back together with the data shows nothing.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/err.h"
#include "wire/lsn.h"

struct told {
    uint64_t incarnation; /* of the data directory; 0: nothing was noted */
    uint32_t timeline;
    lsn position;
};

/* All zero if there is none, or none that can be read. */
void told_read(const char *state_dir, struct told *ret_told);
MUST_USE bool told_write(const char *state_dir, const struct told *t, struct err *err);

/* True: *t is another now. Of other contents or another timeline, or further on the same. */
bool told_note(struct told *t, const struct told *now);
/* Contents that were further once; `final`: they end there. Of another timeline nothing is known. */
bool told_is_undercut(const struct told *t, const struct told *final);
