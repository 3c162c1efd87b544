/* Two histories and two ends: follow, rewind, or neither. Pure. */
#include "base/check.h"
#include "pg/history.h"
#include "pg/rewind.h"

const char *rewind_verdict_name(enum rewind_verdict v)
{
    switch (v) {
    case REWIND_NOT_NEEDED:
        return "no rewind needed";
    case REWIND_NEEDED:
        return "rewind needed";
    case REWIND_IMPOSSIBLE:
        return "rewind impossible";
    case REWIND_RECOVER_FIRST:
        return "crash recovery needed first";
    case REWIND_FOREIGN:
        return "another cluster";
    case REWIND_UNKNOWN:
        return "unknown";
    }
    UNREACHABLE();
}

static bool ends_before(const struct rewind_end *end, lsn fork_at)
{
    return end->record_start ? end->at < fork_at : end->at <= fork_at;
}

/* Without our own history file all we know is our timeline's number: taken as a timeline of theirs. */
static bool fork_of(const struct rewind_end *end, const struct history *ours, const struct history *theirs,
                    uint32_t *ret_tli, lsn *ret_at)
{
    if (ours)
        return history_fork(ours, theirs, ret_tli, ret_at);
    *ret_tli = end->tli;
    if (end->tli == theirs->tli) {
        *ret_at = UINT64_MAX;
        return true;
    }
    return history_switch_point(theirs, end->tli, ret_at);
}

enum rewind_verdict rewind_compare(const struct rewind_end *end, const struct history *ours, uint32_t upstream_tli,
                                   lsn upstream_lsn, const struct history *theirs, uint32_t *ret_fork_tli,
                                   lsn *ret_fork_at)
{
    uint32_t fork_tli = end->tli;
    lsn fork_at = UINT64_MAX;

    CHECK(theirs || end->tli == upstream_tli);
    *ret_fork_tli = 0;
    *ret_fork_at = 0;
    if (theirs && !fork_of(end, ours, theirs, &fork_tli, &fork_at)) {
        /* A newer timeline of ours that they never heard of still has its root in theirs. */
        return end->tli > upstream_tli ? REWIND_NEEDED : REWIND_IMPOSSIBLE;
    }
    if (fork_at == UINT64_MAX) {
        /*
         * One history. More WAL than they have means that they lost some: nothing can be rewound on one timeline
         * (pg_rewind: "no rewind required"), and following would mix two different WALs once they have grown
         * past us.
         */
        return end->at > upstream_lsn ? REWIND_IMPOSSIBLE : REWIND_NOT_NEEDED;
    }
    *ret_fork_tli = fork_tli;
    *ret_fork_at = fork_at;
    return end->tli == fork_tli && ends_before(end, fork_at) ? REWIND_NOT_NEEDED : REWIND_NEEDED;
}
