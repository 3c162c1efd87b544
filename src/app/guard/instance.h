/*
 * The instance: one data directory, its postmaster, and every process that works in it.
 *
 * "Stopped" (GUARD_PG_NONE) is said only after two passes over /proc have found nothing and the
 * postmaster, if it was ours, has been reaped: a dead one that is not still keeps its socket's lock file
 * "in use". Signals go by pidfd; nothing here waits.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "app/guard/anchor.h"
#include "app/guard/halt.h"
#include "app/guard/procs.h"
#include "base/err.h"
#include "base/time.h"
#include "wire/guard.h"

/* A start under way: from the anchor's fork until exec has succeeded or failed. */
enum instance_start { INSTANCE_NOT_STARTING, INSTANCE_STARTING, INSTANCE_STARTED, INSTANCE_START_FAILED };

struct instance {
    char dir[GUARD_PATH_MAX];
    struct procs_match match;
    enum guard_pg_state state;
    bool claimed; /* started or adopted through us: ours to stop when the guard ends */

    pid_t pid; /* of the postmaster; 0: none known */
    int pidfd; /* -1: none */
    bool adopted;
    bool executed;             /* exec has succeeded: before that it is no postmaster yet */
    enum halt_level signalled; /* the hardest signal this postmaster has got */
    int orphan_count;

    pid_t anchor_pid; /* 0: none */
    int anchor_fd;
    bool anchor_stays;
    msec death_seen_ms; /* the postmaster is dead, the anchor has not told its status yet; MSEC_NEVER: no */

    enum instance_start start; /* STARTED and START_FAILED stay until the caller has taken them */
    struct err start_err;

    bool exit_known;
    int exit_status;
    uint32_t exited;

    msec look_at_ms;    /* the next pass over /proc; MSEC_NEVER: not needed */
    msec clear_at_ms;   /* orphans of a postmaster of ours are killed from here on; MSEC_NEVER: none */
    msec kill_began_ms; /* MSEC_NEVER: no kill under way */
    bool changed;       /* something that STATE shows; the caller takes it */
};

void instance_init(struct instance *i, const char *dir);

/* Looks at the data directory and at /proc; for moments when no postmaster is claimed. */
void instance_look(struct instance *i, msec now_ms);

/* False with a reason: nothing was started. Otherwise i->start tells how it went on. */
bool instance_start(struct instance *i, const struct anchor_spec *spec, struct err *err);

/* Watch a postmaster that we did not start. */
bool instance_adopt(struct instance *i, pid_t pid, msec now_ms, struct err *err);

/* Take what the anchor says, what the pidfd shows. */
void instance_collect(struct instance *i, msec now_ms);
/* A child of ours was reaped; true if it was one of the instance. */
bool instance_reaped(struct instance *i, pid_t pid, int status, msec now_ms);

/* Brings the instance down as far as level asks; call it again until the state is NONE. */
void instance_halt(struct instance *i, enum halt_level level, msec now_ms);

/* What is due by itself: passes over /proc, orphans' end, a silent anchor. */
void instance_tick(struct instance *i, msec now_ms);
msec instance_next_ms(const struct instance *i);

/* The pidfd as something to poll: shows the postmaster's death. -1: none. */
int instance_poll_fd(const struct instance *i);

/* Remember the postmaster's executable, so that its children are known by it whatever it is called. */
void instance_learn_exe(struct instance *i);
