/*
 * From what the probes see to what is told of it. Pure: no clock, no descriptor.
 *
 * Nothing here is a decision. A bit says what is the case now, and goes with the first sign that it is not; how long it
 * has to stand before somebody acts is for those who decide (failover_profile). Every limit is stretched by our own
 * slowness: who is late himself hears every answer late.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"
#include "io/disk_probe.h"
#include "wire/conf/dynamic.h"
#include "wire/lsn.h"

struct health_limits {
    msec answer_ms;        /* for an answer on the connection that is there, or to a new one */
    msec write_ms;         /* for a write to pg_wal's file system */
    msec ask_every_ms;     /* the connection that is there, in quorum mode */
    msec connect_every_ms; /* a new one, in quorum mode */
    /*
     * A sign of life in WAL that does not move by itself. With the walwriter's 200 ms, and the moment until it is
     * looked at, it has to come within the time after which standbys say that no WAL comes (wal_ms of
     * core/ha/profile.h); in a fast profile it cannot, and an idle primary whose agent is silent has no other
     * advocate.
     */
    msec pulse_every_ms;
    msec gap_ms; /* three heartbeats: lateness after which what was heard before is old */
};

const struct health_limits *health_limits(enum failover_profile profile);

struct health_signs {
    bool works;            /* PostgreSQL has answered since its start, and is not being stopped */
    msec silent_since_ms;  /* oldest question without an answer; MSEC_NEVER: none */
    msec refused_since_ms; /* oldest try of those that made no new connection; MSEC_NEVER: none */
    msec halted_ms;        /* the postmaster is stopped by a signal since; 0: it runs */
    struct disk_probe_view disk;
};

/* Bits PEER_SICK_…; a server that does not run, starts or is being stopped is not sick. */
uint32_t health_sick(const struct health_signs *s, const struct health_limits *l, int slowness_percent, msec now_ms);

/* For ha_health: the last write, or the one under way if that takes longer; MSEC_NEVER: not known. */
msec health_disk_ms(const struct disk_probe_view *disk);

/* ---- what a walreceiver is sent ---- */

struct wal_progress { /* all zero: nothing yet */
    lsn received;
    int64_t heard_us; /* last message, as PostgreSQL tells the time */
    msec looked_ms;
    msec moved_ms; /* 0: never */
};

/*
 * An answer, asked for at asked_ms. heard_us: wall clock, 0: no walreceiver; wall_us: the same clock now. That clock is
 * believed only as far as it fits between the last look, which saw less, and this one.
 */
void wal_progress_note(struct wal_progress *w, lsn received, int64_t heard_us, int64_t wall_us, msec asked_ms);
/* UINT32_MAX: never. */
uint32_t wal_progress_age(const struct wal_progress *w, msec now_ms);

/* ---- ourselves (the local health multiplier of Lifeguard, Dadgar et al. 2018) ---- */

enum { SLOWNESS_MAX = 800 }; /* percent; Lifeguard's eight */

/* lag_ms: lateness of our loop in the last seconds; pressure_percent: waiting for processors, -1: not known. */
int health_slowness(msec lag_ms, int pressure_percent);
