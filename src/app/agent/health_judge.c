#include "app/agent/health_judge.h"

#include <errno.h>

#include "wire/peer.h"

enum {
    /*
     * Answers take 1 ms, a new connection 5; a busy server needs tens. 200 ms is what a wedged one is told by, the rest
     * is the profile's slack.
     */
    ANSWER_MS = 200,
    /* Checkpoints on a spinning disk keep an fdatasync() waiting for hundreds of ms. */
    WRITE_MS = 500,
    LAG_IGNORED_MS = 20,   /* a timer is a millisecond late, one behind a decision ten */
    PRESSURE_IGNORED = 50, /* percent; somebody waits for a processor half of the time on any busy server */
    US_PER_MS = 1000,
};

const struct health_limits *health_limits(enum failover_profile profile)
{
    static const struct health_limits limits[] = {
        [PROFILE_DEFAULT] = {.answer_ms = ANSWER_MS + 300,
                             .write_ms = WRITE_MS,
                             .ask_every_ms = 250,
                             .connect_every_ms = 2000,
                             .pulse_every_ms = 400,
                             .gap_ms = 300},
        [PROFILE_FAST] = {.answer_ms = ANSWER_MS + 100,
                          .write_ms = WRITE_MS,
                          .ask_every_ms = 100,
                          .connect_every_ms = 1000,
                          .pulse_every_ms = 400,
                          .gap_ms = 150},
        [PROFILE_WAN] = {.answer_ms = ANSWER_MS + 800,
                         .write_ms = 2 * WRITE_MS,
                         .ask_every_ms = 500,
                         .connect_every_ms = 2000,
                         .pulse_every_ms = 1000,
                         .gap_ms = 1500},
    };

    return &limits[profile];
}

static bool longer(msec since_ms, msec limit_ms, int slowness_percent, msec now_ms)
{
    return since_ms != MSEC_NEVER && now_ms - since_ms >= limit_ms * slowness_percent / 100;
}

/* The device or the file system says that it is broken; full, or not there, is not. */
static bool is_broken(int error)
{
    return error == EIO || error == EROFS || error == ENXIO || error == ENODEV || error == ESTALE || error == EUCLEAN;
}

uint32_t health_sick(const struct health_signs *s, const struct health_limits *l, int slowness_percent, msec now_ms)
{
    uint32_t sick = 0;

    if (!s->works)
        return 0;
    if (longer(s->silent_since_ms, l->answer_ms, slowness_percent, now_ms))
        sick |= PEER_SICK_PROBE;
    if (longer(s->refused_since_ms, l->answer_ms, slowness_percent, now_ms))
        sick |= PEER_SICK_CONNECT;
    if (s->halted_ms)
        sick |= PEER_SICK_HALTED;
    if (s->disk.known && (is_broken(s->disk.error) || s->disk.under_way_ms >= l->write_ms * slowness_percent / 100))
        sick |= PEER_SICK_DISK;
    return sick;
}

msec health_disk_ms(const struct disk_probe_view *disk)
{
    if (!disk->known || (!disk->took_us && !disk->under_way_ms))
        return MSEC_NEVER;
    return msec_max(disk->took_us / US_PER_MS, disk->under_way_ms);
}

void wal_progress_note(struct wal_progress *w, lsn received, int64_t heard_us, int64_t wall_us, msec asked_ms)
{
    bool moved = received != w->received || heard_us != w->heard_us;

    if (heard_us && moved) {
        msec ago_ms = msec_max(0, (wall_us - heard_us) / US_PER_MS);
        w->moved_ms = msec_max(msec_max(1, w->looked_ms), asked_ms - ago_ms);
    }
    w->received = received;
    w->heard_us = heard_us;
    w->looked_ms = asked_ms;
}

uint32_t wal_progress_age(const struct wal_progress *w, msec now_ms)
{
    msec age_ms = msec_max(0, now_ms - w->moved_ms);

    return !w->moved_ms || age_ms >= UINT32_MAX ? UINT32_MAX : (uint32_t)age_ms;
}

int health_slowness(msec lag_ms, int pressure_percent)
{
    msec percent = 100;

    if (lag_ms > LAG_IGNORED_MS)
        percent += lag_ms; /* as late as a fast profile's suspicion is long: four times as patient */
    if (pressure_percent > PRESSURE_IGNORED)
        percent += pressure_percent - PRESSURE_IGNORED;
    return (int)msec_min(percent, SLOWNESS_MAX);
}
