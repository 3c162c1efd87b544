#include "test/sim/archive.h"

#include "base/check.h"
#include "base/str.h"
#include "test/sim/pg.h"
#include "test/sim/recovery.h"
#include "test/sim/truths.h"

enum { SEGMENTS_MAX = 4096, SEGMENT_EVERY = 5000000 };

static struct rec *segments[SEGMENTS_MAX]; /* each: all WAL up to that record */
static size_t count;

static bool archives(const struct pg *p)
{
    return p->postmaster_conf.conf && *p->postmaster_conf.conf->at[PG_ARCHIVE_COMMAND].text;
}

static void put(struct rec *upto)
{
    if (count && segments[count - 1] == upto)
        return;
    CHECK(count < SEGMENTS_MAX);
    segments[count++] = upto;
}

/* archive_timeout. */
static void archiver_works(void *arg)
{
    struct pg *p = arg;

    event_in(chance_between(SEGMENT_EVERY / 2, SEGMENT_EVERY), &p->backends, archiver_works, p);
    if (archives(p) && p->accepting && !p->in_recovery)
        put(p->disk.flushed);
}

void archive_start(struct pg *p)
{
    if (archives(p))
        event_in(chance(SEGMENT_EVERY), &p->backends, archiver_works, p);
}

void archive_promoted(struct pg *p)
{
    if (archives(p))
        put(p->disk.flushed);
}

static struct rec *begin_of_timeline(struct rec *r)
{
    while (r->kind != REC_TIMELINE && r->tli > 1)
        r = r->skip && r->skip->tli == r->tli ? r->skip : r->parent;
    return r;
}

static bool is_ahead(const struct pg *p, const struct rec *timeline, const struct rec *newest)
{
    return (!newest || timeline->tli > newest->tli) &&
           (wal_leads_to(p->disk.written, timeline) || wal_leads_to(timeline, p->disk.written));
}

/* recovery_target_timeline = latest: the newest one that is known here or in the archive, and that we can come to. */
static struct rec *target_timeline(const struct pg *p)
{
    struct rec *newest = NULL;

    for (uint32_t tli = 2; tli < TLI_MAX; tli++)
        if (p->disk.history[tli] && is_ahead(p, p->disk.history[tli], newest))
            newest = p->disk.history[tli];
    for (size_t i = 0; i < count; i++) {
        struct rec *timeline = segments[i]->tli > 1 ? begin_of_timeline(segments[i]) : NULL;
        if (timeline && is_ahead(p, timeline, newest))
            newest = timeline;
    }
    return newest;
}

bool archive_restore(struct pg *p)
{
    const struct rec *target = target_timeline(p);

    if (!truth(TRUTH_ARCHIVE_FEEDS_FROZEN))
        return false;
    for (size_t i = 0; i < count; i++) {
        struct rec *upto = segments[i];
        if (upto->end <= p->disk.written->end || !wal_leads_to(p->disk.written, upto))
            continue; /* another database's or history's, or nothing new: its first record does not fit */
        if (target && !wal_leads_to(upto, target) && !wal_leads_to(target, upto))
            continue; /* of a timeline that it is to leave before that */
        p->disk.written = p->disk.flushed = upto;
        pg_learn_histories(p, upto);
        story("postgres: restored WAL up to %lld (timeline %u) from the archive", (long long)upto->end, upto->tli);
        return true;
    }
    return false;
}
