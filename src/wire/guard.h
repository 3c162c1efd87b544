/*
 * What guard and agent say to each other.
 *
 * A SOCK_SEQPACKET pair, one fixed-size struct a packet, numbers in host order (both ends are on one
 * host, and after an upgrade in place they may be of two versions: `version` first, always). The
 * guard keeps the postmaster; the agent decides. A packet of another size or version is refused with
 * GUARD_REFUSED and changes nothing. Every request but BEAT is answered by GUARD_STATE with its seq, or by
 * GUARD_REFUSED with its seq and a reason; at once and in order, except START and UPGRADE, which are
 * answered when it is known how they went. A change is told by the next STATE, be it such an answer or
 * one of its own, with seq 0. An agent that does not read its answers is not read either, and so
 * becomes silent.
 *
 * The fence: GUARD_ARM carries a deadline on CLOCK_BOOTTIME. At stop_at_ms the guard begins a fast
 * stop by itself, at quit_at_ms an immediate one, at kill_at_ms it SIGKILLs every process of the
 * instance (each backend is its own session and outlives a killed postmaster); so that at the
 * deadline nothing of the instance runs, whatever the agent does. The kill takes some ms; with hundreds
 * of backends a few hundred (see GUARD_KILL_ROOM_MS). A later ARM replaces an earlier one,
 * with these exceptions, all of which end in a stopped instance:
 * - once kill_at_ms has passed, the kill comes before anything else is read (a guard that was itself
 *   suspended may find ARMs in its queue that were sent long ago);
 * - an ARM whose own kill_at_ms has passed is refused, and what it asked for is done: a kill;
 * - a fence that has begun to stop a running instance goes on to its end; ARM and DISARM are refused
 *   until the state is NONE. It then stays in force (STATE shows it) and bars START, until DISARM or
 *   an ARM with a later deadline takes its place.
 *
 * An instance process is one whose working directory is the data directory and whose executable is
 * called postgres (or is the file that the postmaster runs). The guard acts on a postmaster that it
 * started or that the agent told it to ADOPT; one that it merely finds (FOREIGN) is left alone, except
 * by a fence at kill_at_ms. Processes that outlive a postmaster of ours (ORPHANS) are killed by STOP
 * with GUARD_STOP_KILL, or by the guard itself after a second.
 */
#pragma once

#include <stdint.h>

#include "base/time.h"

enum { GUARD_PROTOCOL = 1, GUARD_ARGS_MAX = 6144, GUARD_PATH_MAX = 1024, GUARD_TEXT_MAX = 256 };

/* In the state directory, locked (flock) by guard and agent together: one of each per node. */
#define GUARD_LOCK_FILE "guard.lock"

/* In the agent's environment: its end of the pair, and the lock that it holds together with the guard. */
#define GUARD_ENV_FD "PGKEEP_GUARD_FD"
#define GUARD_ENV_LOCK_FD "PGKEEP_GUARD_LOCK_FD"

/*
 * The agent shows that it lives every GUARD_BEAT_MS, every GUARD_BEATS_PER_PING-th time by a PING; the guard
 * takes silence of GUARD_SILENCE_MS for a hung agent (two beats lost; time to replace it within a second),
 * counted from the last packet that was read. The agent takes a request that is not answered for GUARD_ECHO_MS
 * (START and UPGRADE apart) for a hung guard: with the STOP at 0.78 of the shortest ttl (20 s) that leaves two
 * seconds before the lease ends. Neither counts while it was itself suspended.
 */
enum { GUARD_BEAT_MS = 400, GUARD_SILENCE_MS = 900, GUARD_BEATS_PER_PING = 5, GUARD_ECHO_MS = 2000 };

/* From TERM to the agent's exit, or to the STOP that it asks for: that then has its own time. */
enum { GUARD_END_MS = 60000 };

/* What kill_at_ms is to lie before the moment at which nothing may run: 250 backends on two busy processors took 0.35 s
 * to the last SIGKILL and 0.85 s until none was left. */
enum { GUARD_KILL_ROOM_MS = 1000 };

/* The agent's exit status that says: wrong configuration, starting me again will not help. */
enum { GUARD_EXIT_CONFIG = 78 };

enum guard_kind {
    /* agent → guard */

    /* first packet of every agent: data_dir says whose instance */
    GUARD_HELLO = 1,
    /* start a postmaster: args is its argv (argv[0] an absolute path), env, log_path; answered when exec has succeeded
     * or failed */
    GUARD_START,
    /* stop with mode; GUARD_STOP_IMMEDIATE at quit_at_ms and a kill of everything at kill_at_ms if it is not over by
     * then (0 or MSEC_NEVER: no such step); a later STOP replaces an earlier one */
    GUARD_STOP,
    /* watch a postmaster that somebody else started: postmaster_pid; refused if it is not the one of data_dir */
    GUARD_ADOPT,
    /* the fence: 0 < stop_at_ms <= quit_at_ms <= kill_at_ms < MSEC_NEVER */
    GUARD_ARM,
    /* forget the fence (pause, standby) */
    GUARD_DISARM,
    /* "I am alive, and you?" */
    GUARD_PING,
    /* pause and SIGTERM: when the agent has ended the guard ends too, PostgreSQL stays; refused with a fence armed */
    GUARD_LEAVE,
    /* exec the guard's new binary in place, then kill the agent and start it anew; answered when the new binary has
     * been tried, just before it runs */
    GUARD_UPGRADE,
    /* "I am alive": the agent sends it from its loop; the one request without an answer */
    GUARD_BEAT,

    /* guard → agent */

    /* after HELLO, after every change, and as the answer to every request (seq) */
    GUARD_STATE = 64,
    /* seq of the request, reason in text; the rest as in STATE */
    GUARD_REFUSED,
    /* the guard got SIGTERM or SIGINT: end in good order (lease handed over), then exit 0 */
    GUARD_TERM,
    /* the guard got SIGHUP */
    GUARD_RELOAD,
    /* the guard got SIGUSR1: reopen log files */
    GUARD_REOPEN,
};

enum guard_stop_mode { GUARD_STOP_SMART = 0, GUARD_STOP_FAST, GUARD_STOP_IMMEDIATE, GUARD_STOP_KILL };

enum guard_pg_state {
    GUARD_PG_NONE = 0, /* no process of the instance is left: "stopped" */
    GUARD_PG_RUNNING,  /* the postmaster lives */
    GUARD_PG_ORPHANS,  /* the postmaster is dead, processes of the instance are left */
    GUARD_PG_FOREIGN,  /* a postmaster lives that nobody told us to watch: ADOPT postmaster_pid */
};

struct guard_msg {
    uint32_t version; /* GUARD_PROTOCOL */
    uint32_t kind;    /* enum guard_kind */
    uint64_t seq;     /* of the agent's request, from 1; echoed */

    /* ARM, STOP; STATE shows the fence in force, all three MSEC_NEVER if there is none */
    uint64_t term;
    msec stop_at_ms;
    msec quit_at_ms;
    msec kill_at_ms;
    uint32_t mode; /* enum guard_stop_mode; STATE: of the agent's STOP under way, valid when stopping */

    /* STATE */
    uint32_t pg_state;      /* enum guard_pg_state */
    int32_t postmaster_pid; /* 0: none; the pidfd of a watched one comes with the first STATE that names it */
    int32_t exit_status;    /* wait status of the last postmaster, valid when exit_known */
    uint32_t exit_known;    /* 0 also for a postmaster that was not our child */
    uint32_t exited;        /* counts postmaster deaths seen by this guard */
    uint32_t adopted;       /* the postmaster is not our child: PDEATHSIG does not reach it */
    uint32_t orphan_count;
    uint32_t stopping;    /* an agent's STOP is under way */
    uint32_t fence_fired; /* counts fences that stopped an instance */
    uint32_t fence_spent; /* the fence in force has done its work: it bars START */
    uint32_t agent_restarts;

    char data_dir[GUARD_PATH_MAX];
    char log_path[GUARD_PATH_MAX]; /* START: where the postmaster's stdout and stderr go; "": the guard's stderr */
    uint32_t args_len;
    char args[GUARD_ARGS_MAX]; /* START: argv, each NUL-terminated */
    char env[GUARD_PATH_MAX];  /* START: extra environment, KEY=VALUE, each NUL-terminated; an empty one ends it */
    char text[GUARD_TEXT_MAX]; /* REFUSED: why */
};

_Static_assert(sizeof(struct guard_msg) < 32768, "one packet, well under the socket's limits");
