#include "test/sim/pg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "test/sim/archive.h"
#include "test/sim/disk.h"
#include "test/sim/session.h"
#include "test/sim/truths.h"

void (*pg_opens)(struct pg *p);
void (*pg_touched)(struct pg *p);

enum { ORPHANS_MAX = 1500000, SESSION_ENDS_MAX = 5000, FIRST_PID = 1000 };

#define WALL_BEGIN_US INT64_C(1700000000000000) /* as wall_clock_ms() has it */

static struct pg *all[HOSTS_MAX];

struct pg *pg_of(int host_id)
{
    return all[host_id];
}

void pg_init(struct pg *p, struct host *host, void (*died)(struct pg *p, void *arg), void *arg)
{
    *p = (struct pg){.host = host, .died = died, .died_arg = arg, .fsync_max = 3000, .last_pid = FIRST_PID};
    (void)snprintf(p->data_dir, sizeof(p->data_dir), "/sim/%s/data", host->name);
    p->disk.kind = DATADIR_ABSENT;
    list_init(&p->waiting);
    sync_init(&p->sync);
    all[host->id] = p;
}

bool pg_postmaster_lives(const struct pg *p)
{
    return p->postmaster.alive;
}

bool pg_backends_live(const struct pg *p)
{
    return p->backends.alive || p->startup.alive;
}

bool pg_is_open(const struct pg *p)
{
    return p->postmaster.alive && p->accepting && !p->in_recovery && !p->stopping;
}

int pg_new_pid(struct pg *p)
{
    return ++p->last_pid;
}

int64_t pg_wall_us(const struct host *h)
{
    return WALL_BEGIN_US + world.now + h->wall_offset;
}

/* Mostly at once; who is in the middle of something comes to it later. */
usec pg_signal_takes(void)
{
    if (!truth(TRUTH_SESSION_READS_BY_ITSELF))
        return 0;
    if (!truth(TRUTH_SIGNALS_TAKE_LONG))
        return chance_between(20, 3000);
    return chance_one_in(50) ? chance(3000000) : chance_one_in(10) ? chance(200000) : chance_between(20, 3000);
}

/* ---- the disk ---- */

static void panicked(void *arg)
{
    struct pg *p = arg;

    pg_crash_backend(p);
}

static bool may(struct pg *p, bool possible, const char *why)
{
    if (possible)
        return true;
    story("postgres: PANIC: %s", why);
    event_in(0, &p->backends, panicked, p);
    return false;
}

bool pg_writes(struct pg *p)
{
    const struct disk *d = disk_of(p->host);

    return may(p, !disk_is_full(d) && !disk_fails(d), "could not write to pg_wal");
}

bool pg_syncs(struct pg *p)
{
    return may(p, !disk_fails(disk_of(p->host)), "could not fsync a file of pg_wal");
}

/* ---- start ---- */

void pg_opened(struct pg *p)
{
    p->accepting = true;
    p->in_recovery = false;
    p->disk.state = PG_CONTROL_IN_PRODUCTION;
    if (pg_opens)
        pg_opens(p);
    story("postgres: open for writes on timeline %u at %lld", pg_timeline(p), (long long)p->disk.written->end);
}

static void kill_all(struct pg *p);

static void recovered(void *arg)
{
    struct pg *p = arg;

    if (p->stopping)
        return;
    if (disk_is_full(disk_of(p->host)) || disk_fails(disk_of(p->host))) { /* no end-of-recovery checkpoint, no server */
        kill_all(p);
        return;
    }
    p->replayed = p->disk.flushed = p->disk.written;
    pg_opened(p);
}

/* The children, and recovery. */
static void begin(struct pg *p)
{
    bool clean = p->disk.state == PG_CONTROL_SHUT_DOWN || p->disk.state == PG_CONTROL_SHUT_DOWN_IN_RECOVERY;
    usec takes = clean ? chance_between(30000, 200000) : chance_between(60000, 1500000);

    proc_start(&p->startup, p->host, "startup");
    proc_start(&p->backends, p->host, "backends");
    p->accepting = p->stopping = p->promoting = p->stuck = false;
    p->session_epoch++;
    p->in_recovery = p->disk.standby_signal;
    sessions_start(p);
    walstream_start(p);
    archive_start(p);
    if (p->in_recovery) {
        p->disk.state = PG_CONTROL_IN_ARCHIVE_RECOVERY;
        recovery_start(p, takes);
    } else {
        p->disk.state = clean ? PG_CONTROL_STARTING_UP : PG_CONTROL_IN_CRASH_RECOVERY;
        event_in(takes, &p->startup, recovered, p);
    }
}

static void all_gone(struct pg *p)
{
    walstream_end_senders(p);
    p->accepting = p->promoting = p->stopping = false;
    p->receiver.state = RECEIVER_NONE;
    sessions_end(p);
}

static void tell_death(void *arg)
{
    struct pg *p = arg;

    p->died(p, p->died_arg);
}

static void told_soon(struct pg *p)
{
    event_in(chance_between(50, 1000), &p->host->kernel, tell_death, p);
}

static void kill_all(struct pg *p)
{
    if (p->postmaster.alive)
        p->deaths++;
    proc_kill(&p->postmaster);
    proc_kill(&p->startup);
    proc_kill(&p->backends);
    all_gone(p);
    told_soon(p);
}

static void ended(void *arg)
{
    kill_all(arg);
}

void pg_start(struct pg *p)
{
    CHECK(!p->postmaster.alive && !pg_backends_live(p));
    CHECK(p->disk.kind == DATADIR_VALID);
    for (uint32_t tli = 0; tli < TLI_MAX; tli++)
        if (p->disk.placeholder[tli])
            finding("A11", "%s is started with an empty history file of timeline %u", p->host->name, tli);
    if (p->disk.torn)
        finding("A17", "%s is started in the middle of a rewind or a clone", p->host->name);
    proc_start(&p->postmaster, p->host, "postmaster");
    p->disk.promote_file = false; /* it removes what is left of another time (postmaster.c, RemovePromoteSignalFiles) */
    if (pg_conf_load_first(p, &p->postmaster_conf) && !disk_is_full(disk_of(p->host)))
        begin(p);
    else
        event_in(20000, &p->postmaster, ended, p); /* FATAL */
}

/* ---- death ---- */

void pg_kill(struct pg *p)
{
    if (p->postmaster.alive || pg_backends_live(p))
        kill_all(p);
}

static void orphans_end(void *arg)
{
    struct pg *p = arg;

    proc_kill(&p->startup);
    proc_kill(&p->backends);
    all_gone(p);
    told_soon(p);
}

void pg_kill_postmaster(struct pg *p)
{
    if (!p->postmaster.alive)
        return;
    p->deaths++;
    proc_kill(&p->postmaster);
    if (!p->promoting)
        proc_kill(&p->startup);
    told_soon(p);
    if (!p->backends.alive)
        return;
    walstream_orphaned(p);
    sessions_orphaned(p);
    event_in(truth(TRUTH_ORPHAN_ACKNOWLEDGES) ? chance(ORPHANS_MAX) : 0, &p->backends, orphans_end, p);
}

/* What a crash of a child leaves in shared memory nobody trusts: all end, and shared memory is made anew. */
static void reinitialized(void *arg)
{
    struct pg *p = arg;

    story("postgres: all server processes terminated; reinitializing");
    begin(p);
}

void pg_crash_backend(struct pg *p)
{
    if (!p->postmaster.alive || !p->backends.alive)
        return;
    if (!p->postmaster_conf.conf->restart_after_crash || p->stopping || !p->accepting ||
        !truth(TRUTH_SELF_RESTART_SHOWS_UNACKED)) {
        kill_all(p);
        return;
    }
    proc_kill(&p->startup);
    proc_kill(&p->backends);
    all_gone(p);
    event_in(chance_between(5000, 100000), &p->postmaster, reinitialized, p);
}

void pg_power_cut(struct pg *p)
{
    for (int i = 0; i < SENDERS_MAX; i++) /* nobody is told */
        p->senders[i].active = false;
    proc_kill(&p->postmaster);
    proc_kill(&p->startup);
    proc_kill(&p->backends);
    all_gone(p);
    if (p->disk.flushed)
        p->disk.written = p->disk.flushed;
    disk_power_cut(disk_of(p->host));
}

/* ---- stop ---- */

/* Walsenders stay until their receivers have the shutdown checkpoint, or are given up. */
static void walsenders_end(void *arg)
{
    struct pg *p = arg;

    if (walstream_is_behind(p) && truth(TRUTH_FAST_STOP_WAITS_FOR_STANDBY))
        event_in(10000, &p->postmaster, walsenders_end, p);
    else
        kill_all(p);
}

static void shut_down(void *arg)
{
    struct pg *p = arg;

    if (p->stuck)
        return;
    if (!proc_runs(&p->backends)) { /* who is stopped does not end */
        event_in(50000, &p->postmaster, shut_down, p);
        return;
    }
    if (p->in_recovery) {
        p->disk.state = PG_CONTROL_SHUT_DOWN_IN_RECOVERY;
        if (p->replayed && wal_leads_to(p->disk.min_recovery, p->replayed))
            p->disk.min_recovery = p->replayed;
    } else if (pg_writes(p) && pg_syncs(p)) {
        p->disk.written = p->disk.flushed = wal_append(p->disk.written, REC_SHUTDOWN, 0);
        p->disk.checkpoint = p->disk.written;
        p->disk.checkpoint_tli = p->disk.written->tli;
        p->disk.state = PG_CONTROL_SHUT_DOWN;
        walstream_send(p);
    }
    event_in(chance_between(2000, 150000), &p->postmaster, walsenders_end, p);
}

static void terminated(void *arg)
{
    sessions_end(arg);
}

void pg_stop_fast(struct pg *p)
{
    if (!p->postmaster.alive || p->stopping)
        return;
    p->stopping = true;
    bool open = p->accepting && !p->in_recovery;
    if (!p->backends.alive || (!open && !p->in_recovery)) { /* still recovering: it ends as it is */
        event_in(chance_between(2000, 100000), &p->postmaster, ended, p);
        return;
    }
    event_in(chance(SESSION_ENDS_MAX), &p->backends, terminated, p);
    if (p->in_recovery)
        (void)walstream_end_receiver(p);
    for (int i = 0; i < SENDERS_MAX; i++)
        if (p->senders[i].active && p->senders[i].state == SENDER_STREAMING)
            p->senders[i].state = SENDER_STOPPING;
    event_in(chance_between(10000, 200000), &p->postmaster, shut_down, p);
}

/* ---- signals ---- */

static void hangup(void *arg)
{
    struct pg *p = arg;

    (void)pg_conf_load(p, &p->postmaster_conf);
    if (!p->backends.alive)
        return;
    sessions_reload(p);
    walstream_reload(p);
    recovery_reload(p);
}

void pg_reload(struct pg *p)
{
    if (p->postmaster.alive)
        event_in(chance_between(100, 5000), &p->postmaster, hangup, p);
}

void pg_promote_signal(struct pg *p)
{
    if (p->postmaster.alive && p->startup.alive && p->in_recovery && !p->promoting && !p->stopping &&
        p->disk.promote_file)
        recovery_promote(p);
}

/* ---- files ---- */

uint32_t pg_timeline(const struct pg *p)
{
    return p->disk.written ? p->disk.written->tli : 0;
}

uint32_t pg_newest_history(const struct pg *p)
{
    for (uint32_t tli = TLI_MAX - 1; tli > 1; tli--)
        if (p->disk.history[tli])
            return tli;
    return 1;
}

void pg_learn_histories(struct pg *p, struct rec *end)
{
    for (struct rec *r = end; r && r->tli > 1 && !p->disk.history[r->tli]; r = r->parent) {
        while (r->kind != REC_TIMELINE)
            r = r->skip->tli == r->tli ? r->skip : r->parent;
        p->disk.history[r->tli] = r;
    }
}

struct pg_slot_file *pg_slot_of(struct pg *p, const char *name)
{
    for (size_t i = 0; i < p->disk.slot_count; i++)
        if (str_eq(p->disk.slots[i].name, name))
            return &p->disk.slots[i];
    return NULL;
}

void pg_lose_slot(struct pg *p, const char *name)
{
    struct pg_slot_file *slot = pg_slot_of(p, name);
    const struct pg_sender *owner = walstream_sender_of(p, name);

    if (!slot || !truth(TRUTH_SLOT_LOST))
        return;
    slot->lost = true;
    p->disk.wal_from = p->disk.flushed->end;
    if (owner)
        (void)walstream_end_sender(p, owner->pid);
}

void pg_initdb(struct pg *p, const char *system_id)
{
    struct rec *first = wal_append(NULL, REC_INITDB, 1);

    str_copy(p->disk.system_id, sizeof(p->disk.system_id), system_id);
    p->disk.kind = DATADIR_VALID;
    p->disk.written = p->disk.flushed = p->disk.checkpoint = p->disk.min_recovery = first;
    p->disk.checkpoint_tli = 1;
    p->disk.state = PG_CONTROL_SHUT_DOWN;
    (void)!pg_conf_write(p, "postgresql.conf", ""); /* on a full disk the start fails */
    (void)!pg_conf_write(p, "postgresql.auto.conf", "");
}

static void copy_file(struct pg *p, const struct pg *from, const char *file)
{
    AUTO(cstr) char *path = pg_path(p, file);
    AUTO(cstr) char *from_path = pg_path(from, file);

    disk_copy(disk_of(p->host), path, disk_of(from->host), from_path);
}

void pg_copy(struct pg *p, const struct pg *from)
{
    if (pg_touched)
        pg_touched(p);
    str_copy(p->disk.system_id, sizeof(p->disk.system_id), from->disk.system_id);
    p->disk.kind = DATADIR_VALID;
    p->disk.written = p->disk.flushed = p->disk.min_recovery = from->disk.flushed;
    p->disk.checkpoint = from->disk.checkpoint;
    p->disk.checkpoint_tli = from->disk.checkpoint_tli;
    p->disk.state = PG_CONTROL_IN_PRODUCTION;
    p->disk.backup_label = true;
    p->disk.promote_file = p->disk.standby_signal = false;
    p->disk.slot_count = 0;
    memcpy(p->disk.history, from->disk.history, sizeof(p->disk.history));
    copy_file(p, from, "postgresql.conf");
    copy_file(p, from, "postgresql.auto.conf");
    copy_file(p, from, "pgkeep.sync.conf");
    copy_file(p, from, "pgkeep.incarnation");
}

void pg_wipe(struct pg *p)
{
    enum datadir_marker marker = p->disk.marker;

    if (pg_touched)
        pg_touched(p);
    p->disk = (struct pg_disk){.kind = DATADIR_EMPTY, .marker = marker};
    disk_remove_below(disk_of(p->host), p->data_dir);
}

void pg_lose_disk(struct pg *p)
{
    p->disk = (struct pg_disk){.kind = DATADIR_ABSENT};
    disk_lose(disk_of(p->host));
}

void pg_keep(struct pg *p)
{
    if (!p->kept)
        p->kept = mem_zero(1, sizeof(*p->kept));
    *p->kept = p->disk;
    disk_keep(disk_of(p->host));
}

void pg_roll_back(struct pg *p)
{
    CHECK(p->kept && !p->postmaster.alive && !pg_backends_live(p));
    p->disk = *p->kept;
    p->disk.written = p->disk.flushed;
    disk_roll_back(disk_of(p->host));
}
