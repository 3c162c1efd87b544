#include "test/sim/recovery.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/str.h"
#include "test/sim/archive.h"
#include "test/sim/pg.h"
#include "test/sim/truths.h"

void (*recovery_promotes)(struct pg *p, struct rec *first);

static void look_for_more(struct pg *p);
static void take_conf(struct pg *p);

/* ---- replay ---- */

/* Consistent: queries are let in. */
static void let_in(struct pg *p)
{
    if (p->accepting || p->stopping || !p->postmaster.alive || !wal_leads_to(p->disk.min_recovery, p->replayed))
        return;
    p->accepting = true;
    p->disk.backup_label = false;
}

static void replayed(void *arg)
{
    struct pg *p = arg;

    p->recovery.replaying = false;
    if (!p->in_recovery || p->recovery.blocked || !p->replayed)
        return;
    if (wal_leads_to(p->replayed, p->disk.flushed))
        p->replayed = p->disk.flushed;
    let_in(p);
    recovery_replay(p);
}

void recovery_replay(struct pg *p)
{
    if (!p->in_recovery || !p->replayed || p->recovery.replaying || p->recovery.blocked ||
        p->replayed == p->disk.flushed)
        return;
    p->recovery.replaying = true;
    event_in(chance_between(100, 3000), &p->startup, replayed, p);
}

/* ---- the next source ---- */

struct retry {
    struct pg *pg;
    uint64_t wait;
};

/* Behind a sleep it handles signals before anything else (xlogrecovery.c, WaitForWALToBecomeAvailable). */
static void waited(void *arg)
{
    struct retry *r = arg;
    struct recovery *recovery = &r->pg->recovery;

    if (r->wait == recovery->wait && recovery->reload_sent && !recovery->restores && !recovery->blocked)
        take_conf(r->pg);
    if (r->wait == recovery->wait)
        look_for_more(r->pg);
    free(r);
}

static void wait_for(struct pg *p, usec in)
{
    struct retry *r = mem_zero(1, sizeof(*r));

    p->recovery.wait = ++p->recovery.waits;
    *r = (struct retry){.pg = p, .wait = p->recovery.wait};
    event_in(in, &p->startup, waited, r);
}

static bool works(const struct pg *p)
{
    return p->startup.alive && p->in_recovery && p->recovery.ready && !p->promoting && !p->stopping;
}

static void look_for_more(struct pg *p)
{
    struct recovery *r = &p->recovery;

    r->wait = 0;
    r->restores = false;
    if (!works(p) || r->blocked || p->receiver.state != RECEIVER_NONE)
        return;
    if (*r->conf.conf->at[PG_RESTORE_COMMAND].text && archive_restore(p)) {
        recovery_replay(p);
        r->restores = true;
        wait_for(p, chance_between(5000, 50000));
        return;
    }
    if (r->conf.conf->upstream != NOBODY)
        walstream_request(p);
    else
        wait_for(p, r->conf.conf->retrieve_retry);
}

void recovery_receiver_gone(struct pg *p, usec retry_in)
{
    struct recovery *r = &p->recovery;

    if (!works(p))
        return;
    if (r->restart_due)
        retry_in = chance(1000);
    r->restart_due = false;
    if (truth(TRUTH_RECEIVER_COMES_BACK) || r->conf.conf->upstream == NOBODY)
        wait_for(p, retry_in);
}

/* ---- reload ---- */

/* It does not come to what signals ask for. */
static bool deaf(const struct pg *p)
{
    switch (p->recovery.blocked) {
    case RECOVERY_GOES_ON:
    case RECOVERY_PAUSED:
        return false;
    case RECOVERY_CONFLICT:
        return truth(TRUTH_CONFLICT_KEEPS_RECEIVER);
    case RECOVERY_HANGS:
        return truth(TRUTH_STARTUP_HANGS_KEEPS_RECEIVER);
    }
    UNREACHABLE();
}

static void act_on_conf(struct pg *p)
{
    struct recovery *r = &p->recovery;

    bool waits = deaf(p) || (r->blocked == RECOVERY_PAUSED && truth(TRUTH_PAUSE_KEEPS_RECEIVER));

    if (!r->restart_due || !works(p) || waits)
        return;
    walstream_cancel(p);
    if (!walstream_end_receiver(p)) {
        r->restart_due = false;
        look_for_more(p);
    }
}

static void take_conf(struct pg *p)
{
    struct recovery *r = &p->recovery;
    const struct pg_conf *old = r->conf.conf;

    r->reload_sent = false;
    if (!pg_conf_load(p, &r->conf))
        return;
    if (!str_eq(old->at[PG_CONNINFO].text, r->conf.conf->at[PG_CONNINFO].text) ||
        !str_eq(old->at[PG_SLOT_NAME].text, r->conf.conf->at[PG_SLOT_NAME].text))
        r->restart_due = true;
    act_on_conf(p);
    if (works(p) && r->wait) /* the signal wakes it, too */
        look_for_more(p);
}

static void hangup(void *arg)
{
    struct pg *p = arg;

    if (deaf(p))
        p->recovery.reload_due = true;
    else
        take_conf(p);
}

void recovery_reload(struct pg *p)
{
    if (!p->startup.alive || !p->in_recovery)
        return;
    p->recovery.reload_sent = true;
    event_in(pg_signal_takes(), &p->startup, hangup, p);
}

/* ---- blocked ---- */

void recovery_block(struct pg *p, enum recovery_block how)
{
    if (p->in_recovery && p->accepting && !p->promoting)
        p->recovery.blocked = how;
}

void recovery_unblock(struct pg *p)
{
    struct recovery *r = &p->recovery;

    if (!r->blocked)
        return;
    r->blocked = RECOVERY_GOES_ON;
    if (!p->startup.alive || !p->in_recovery)
        return;
    if (r->reload_due) {
        r->reload_due = false;
        take_conf(p);
    }
    act_on_conf(p);
    recovery_replay(p);
    if (r->promote_due) {
        r->promote_due = false;
        recovery_promote(p);
    } else if (works(p) && p->receiver.state == RECEIVER_NONE && !r->wait) {
        look_for_more(p);
    }
}

const char *recovery_wait_event(const struct pg *p)
{
    const struct recovery *r = &p->recovery;

    switch (r->blocked) {
    case RECOVERY_GOES_ON:
        break;
    case RECOVERY_CONFLICT:
        return "RecoveryConflictSnapshot";
    case RECOVERY_PAUSED:
        return "RecoveryPause";
    case RECOVERY_HANGS:
        return NULL;
    }
    if (!r->ready || p->replayed != p->disk.flushed)
        return NULL;
    if (p->receiver.state != RECEIVER_NONE)
        return "RecoveryWalStream";
    return r->wait && !r->restores ? "RecoveryRetrieveRetryInterval" : NULL;
}

/* ---- the begin ---- */

static void all_replayed(void *arg)
{
    struct pg *p = arg;

    if (p->stopping || !p->in_recovery)
        return;
    p->replayed = p->disk.flushed = p->disk.written;
    p->recovery.ready = true;
    let_in(p);
    if (p->recovery.promote_due)
        recovery_promote(p);
    p->recovery.promote_due = false;
    look_for_more(p);
}

/* Consistent somewhere on the way; a standby that was far behind in its replay is open long before it is through. */
static void consistent(void *arg)
{
    struct pg *p = arg;
    lsn from = p->disk.min_recovery->end;

    if (p->stopping)
        return;
    if (!truth(TRUTH_REPLAY_BACKLOG) || !wal_leads_to(p->disk.min_recovery, p->disk.written) || !chance_one_in(4)) {
        all_replayed(p);
        return;
    }
    p->replayed = wal_at(p->disk.written, from + (lsn)chance((int64_t)(p->disk.written->end - from) + 1));
    let_in(p);
    event_in(chance_one_in(10) ? chance(10000000) : chance(500000), &p->startup, all_replayed, p);
}

void recovery_start(struct pg *p, usec takes)
{
    p->recovery = (struct recovery){.conf = p->postmaster_conf, .waits = p->recovery.waits};
    p->replayed = NULL;
    event_in(takes, &p->startup, consistent, p);
}

/* ---- promotion ---- */

/* timeline.c, findNewestTimeLine: one after the other, until there is no file of the next. */
static uint32_t next_timeline(const struct pg *p)
{
    uint32_t tli = pg_timeline(p) + 1;

    while (tli < TLI_MAX - 1 && (p->disk.history[tli] || p->disk.placeholder[tli]))
        tli++;
    return tli;
}

static void promoted(void *arg)
{
    struct pg *p = arg;
    uint32_t tli = next_timeline(p);

    if (p->stopping || !p->in_recovery)
        return;
    if (walstream_receiver_runs(p)) { /* it waits for its end */
        event_in(2000, &p->startup, promoted, p);
        return;
    }
    CHECK(tli < TLI_MAX);
    if (!pg_writes(p) || !pg_syncs(p))
        return;
    p->disk.written = p->disk.flushed = wal_append(p->disk.written, REC_TIMELINE, tli);
    p->replayed = p->disk.written;
    p->disk.history[tli] = p->disk.written;
    p->disk.standby_signal = false;
    if (!truth(TRUTH_CONTROL_TLI_STALE_PROMOTED))
        p->disk.checkpoint_tli = tli;
    p->promoting = false;
    if (recovery_promotes)
        recovery_promotes(p, p->disk.written);
    pg_opened(p);
    archive_promoted(p);
    walstream_send(p); /* to the end of the old timeline */
}

static usec promotion_takes(void)
{
    if (truth(TRUTH_PROMOTION_LATE) && chance_one_in(100))
        return chance_between(1000000, 60000000);
    return chance_one_in(20) ? chance_between(200000, 5000000) : chance_between(10000, 120000);
}

/* The receiver is ended, and what it brought replayed. */
static void promotion_begins(struct pg *p)
{
    p->promoting = true;
    p->recovery.wait = 0;
    p->recovery.blocked = RECOVERY_GOES_ON;
    walstream_cancel(p);
    (void)walstream_end_receiver(p);
    event_in(promotion_takes(), &p->startup, promoted, p);
}

static void triggered(void *arg)
{
    struct pg *p = arg;

    if (!p->in_recovery || p->promoting || p->stopping)
        return;
    if (!p->recovery.ready || deaf(p)) { /* it looks when it is through with that */
        p->recovery.promote_due = true;
        return;
    }
    if (!p->disk.promote_file) /* withdrawn in time */
        return;
    p->disk.promote_file = false;
    if (!wal_leads_to(p->disk.min_recovery, p->disk.written) || (truth(TRUTH_PROMOTION_FAILS) && chance_one_in(1000)))
        pg_kill(p); /* FATAL: "requested recovery stop point is before consistent recovery point", an I/O error, … */
    else
        promotion_begins(p);
}

void recovery_promote(struct pg *p)
{
    event_in(chance_between(20, 500), &p->startup, triggered, p);
}
