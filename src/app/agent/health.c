#include "app/agent/health.h"

#include <stdlib.h>
#include <string.h>

#include "app/agent/health_judge.h"
#include "app/agent/local.h"
#include "base/str.h"
#include "io/log.h"
#include "io/loop.h"
#include "io/pressure.h"
#include "pg/instance.h"
#include "pg/sql.h"
#include "wire/peer.h"

enum {
    TICK_MS = 100,             /* in quorum mode; finer than any limit */
    TICK_CALM_MS = 1000,       /* else */
    WRITE_EVERY_MS = 300,      /* in quorum mode; with the limit a disk that hangs shows within a second */
    CONNECT_AGAIN_MS = 500,    /* after a refusal, until one is made */
    CONNECT_BUDGET_MS = 10000, /* a try that hangs is waited for: each one lies in the postmaster's queue */
    SLOWNESS_MS = 1000,        /* between two looks at ourselves */
    TELL_AGAIN_MS = 30000,     /* a server that is sick by turns is logged once in a while */
    US_PER_MS = 1000,
};

struct health {
    struct loop *loop;
    struct local *local;
    health_changed_fn *changed;
    health_may_write_fn *may_write;
    void *arg;
    struct pg_instance *instance; /* NULL: not known yet */
    bool quorum;
    const struct health_limits *limits;
    struct loop_timer tick;

    struct disk_probe *disk;
    char *wal_folder; /* of *instance */
    int disk_error;   /* as last logged */

    struct sql *connecting; /* a try under way; NULL: none */
    msec connect_at_ms;
    msec refused_since_ms; /* the first try since the last new connection; MSEC_NEVER: that is well */

    struct wal_progress wal;
    lsn flushed; /* primary: where its WAL was */
    bool pulsed; /* … and what moves it next is our own sign of life */
    msec pulse_at_ms;

    int slowness_percent;
    msec lag_ms; /* decays */
    msec slowness_at_ms;

    uint32_t sick;
    msec tell_at_ms;
    bool told; /* that it is sick */
};

/* ---- a new connection ---- */

/*
 * A server that refuses has taken the connection, whatever its reason: too many are there (53300), it starts or ends,
 * we may not. One that cannot serve anybody says so, too: no memory (53200), errors of its files (58…, XX…).
 */
static bool is_taken(const struct sql_result *r)
{
    switch (r->status) {
    case SQL_DONE:
    case SQL_STARTING:
    case SQL_DENIED:
        return true;
    case SQL_FAILED:
        return !str_eq(r->sqlstate, "53200") && !str_starts(r->sqlstate, "58") && !str_starts(r->sqlstate, "XX");
    case SQL_NO_SERVER:
    case SQL_TIMEOUT:
    case SQL_LOST:
        return false;
    }
    return false;
}

static void connect_forget(struct health *h)
{
    sql_free(TAKE(h->connecting));
    h->refused_since_ms = MSEC_NEVER;
    h->connect_at_ms = 0;
}

static void judge(struct health *h);

static void connected(const struct sql_result *result, void *arg)
{
    struct health *h = arg;
    msec now_ms = loop_clock_ms();

    h->connecting = NULL; /* it frees itself */
    if (is_taken(result)) {
        h->refused_since_ms = MSEC_NEVER;
        h->connect_at_ms = now_ms + h->limits->connect_every_ms;
    } else {
        h->connect_at_ms = now_ms + CONNECT_AGAIN_MS;
    }
    judge(h);
}

static void connect_when_due(struct health *h, const struct local_signs *signs, msec now_ms)
{
    static const struct sql_statement question = {.text = "SELECT 1"};

    if (!h->quorum || !signs->works || !h->instance) {
        connect_forget(h);
        return;
    }
    if (h->connecting || now_ms < h->connect_at_ms)
        return;
    struct sql_target target = pg_instance_local(h->instance, NULL);
    if (h->refused_since_ms == MSEC_NEVER)
        h->refused_since_ms = now_ms;
    h->connecting = sql_once(h->loop, &target, &question, 1, CONNECT_BUDGET_MS, connected, h);
}

/* ---- WAL ---- */

/* Standbys see that we live by the WAL that they get; where nobody writes any, we do, while somebody gets it. */
static void pulse_when_due(struct health *h, const struct local_signs *signs, msec now_ms)
{
    const struct pg_facts *f = signs->facts;

    if (!h->quorum || !signs->works || f->in_recovery || !f->sender_count)
        return;
    if (f->current_flush != h->flushed) {
        if (!h->pulsed)
            h->pulse_at_ms = now_ms + h->limits->pulse_every_ms;
        h->flushed = f->current_flush;
        h->pulsed = false;
    } else if (now_ms >= h->pulse_at_ms && h->may_write(h->arg)) {
        h->pulse_at_ms = now_ms + h->limits->pulse_every_ms;
        h->pulsed = true;
        local_pulse(h->local);
    }
}

static void look_at_wal(struct health *h, const struct local_signs *signs)
{
    const struct pg_facts *f = signs->facts;

    if (!signs->runs || (f && !f->in_recovery))
        h->wal = (struct wal_progress){0};
    else if (f && signs->answered_ms != h->wal.looked_ms)
        wal_progress_note(&h->wal, f->receive, f->receiver.last_msg_epoch_us, wall_clock_ms() * US_PER_MS,
                          signs->answered_ms);
}

/* ---- ourselves ---- */

static void look_at_ourselves(struct health *h, msec now_ms)
{
    if (now_ms < h->slowness_at_ms)
        return;
    h->slowness_at_ms = now_ms + SLOWNESS_MS;
    h->lag_ms = msec_max(loop_take_lag_ms(h->loop), h->lag_ms / 2);
    h->slowness_percent = health_slowness(h->lag_ms, pressure_cpu_percent());
}

/* ---- the verdict ---- */

static void look_at_disk(struct health *h, const struct local_signs *signs, struct disk_probe_view *ret_disk)
{
    /* Nowhere while no server runs: a folder that is being removed or filled is nobody's to write into. */
    disk_probe_watch(h->disk, signs->runs ? h->wal_folder : NULL, h->quorum ? WRITE_EVERY_MS : TICK_CALM_MS);
    disk_probe_view(h->disk, ret_disk);
    if (!ret_disk->known || ret_disk->error == h->disk_error)
        return;
    h->disk_error = ret_disk->error;
    if (h->disk_error)
        log_warning("disk.probe", "writing " DISK_PROBE_FILE " in %s: %s", h->wal_folder, strerror(h->disk_error));
    else
        log_info("disk.probe", "%s can be written to", h->wal_folder);
}

static void tell(struct health *h, msec now_ms)
{
    if (h->sick && !h->told && now_ms >= h->tell_at_ms) {
        log_warning("postgres.sick", "PostgreSQL runs, but %s", peer_sick_text(h->sick));
        h->told = true;
        h->tell_at_ms = now_ms + TELL_AGAIN_MS;
    } else if (!h->sick && h->told) {
        log_info("postgres.well", "PostgreSQL works again");
        h->told = false;
    }
}

static void judge(struct health *h)
{
    msec now_ms = loop_clock_ms();
    struct local_signs local;
    struct health_signs signs;

    local_signs(h->local, &local);
    look_at_ourselves(h, now_ms);
    look_at_wal(h, &local);
    pulse_when_due(h, &local, now_ms);
    connect_when_due(h, &local, now_ms);
    signs = (struct health_signs){
        .works = local.works,
        .silent_since_ms = local.silent_since_ms,
        .refused_since_ms = h->refused_since_ms,
        .halted_ms = local.halted_ms,
    };
    look_at_disk(h, &local, &signs.disk);
    uint32_t sick = health_sick(&signs, h->limits, h->slowness_percent, now_ms);
    bool changed = sick != h->sick;
    h->sick = sick;
    tell(h, now_ms);
    if (changed)
        h->changed(h->arg);
}

static void tick(void *arg)
{
    struct health *h = arg;

    if (h->quorum)
        loop_timer_set(&h->tick, loop_clock_ms() + TICK_MS);
    else
        loop_timer_set_about(&h->tick, loop_clock_ms() + TICK_CALM_MS);
    judge(h);
}

void health_notice(struct health *h)
{
    struct local_signs local;
    struct disk_probe_view disk;

    local_signs(h->local, &local);
    look_at_wal(h, &local);
    look_at_disk(h, &local, &disk);
}

/* ---- the public side ---- */

void health_instance(struct health *h, struct pg_instance *i, bool quorum, enum failover_profile profile)
{
    AUTO(cstr) char *folder = str_fmt("%s/pg_wal", i->data_dir);

    pg_instance_unref(h->instance);
    h->instance = pg_instance_ref(i);
    str_set(&h->wal_folder, folder);
    h->limits = health_limits(profile);
    loop_set_gap(h->loop, h->limits->gap_ms);
    local_set_pace(h->local, quorum ? h->limits->ask_every_ms : 0);
    if (quorum != h->quorum) {
        h->quorum = quorum;
        tick(h);
    }
}

void health_view(const struct health *h, struct ha_health *ret_health)
{
    struct disk_probe_view disk;

    disk_probe_view(h->disk, &disk);
    *ret_health = (struct ha_health){
        .sick = h->sick,
        .wal_age_ms = wal_progress_age(&h->wal, loop_clock_ms()),
        .disk_ms = health_disk_ms(&disk),
        .slowness_percent = h->slowness_percent,
        .resumed_ms = loop_resumed_ms(h->loop),
    };
}

void health_disk(const struct health *h, struct disk_probe_view *ret_disk)
{
    disk_probe_view(h->disk, ret_disk);
}

struct health *health_new(struct loop *l, struct local *local, health_changed_fn *changed,
                          health_may_write_fn *may_write, void *arg)
{
    struct health *h = mem_zero(1, sizeof(*h));

    h->loop = l;
    h->local = local;
    h->changed = changed;
    h->may_write = may_write;
    h->arg = arg;
    h->limits = health_limits(PROFILE_DEFAULT);
    h->disk = disk_probe_new(l);
    h->refused_since_ms = MSEC_NEVER;
    h->slowness_percent = 100;
    loop_timer_init(&h->tick, l, tick, h);
    loop_timer_set(&h->tick, loop_clock_ms() + TICK_CALM_MS);
    return h;
}

void health_free(struct health *h)
{
    if (!h)
        return;
    loop_timer_clear(&h->tick);
    sql_free(h->connecting);
    disk_probe_free(h->disk);
    pg_instance_unref(h->instance);
    free(h->wal_folder);
    free(h);
}
