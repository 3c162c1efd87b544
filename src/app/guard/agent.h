/*
 * The agent's process: started, watched, replaced.
 *
 * A successor starts only when its predecessor is gone for certain. One that dies is replaced at once, one
 * that keeps dying at growing intervals; one that is silent is killed first.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/time.h"

struct spawn_origin;

enum agent_state { AGENT_NONE, AGENT_RUNNING, AGENT_KILLED /* SIGKILL sent, not reaped */ };

struct agent {
    char *const *argv; /* argv[0]: absolute path */
    char *const *env;
    const struct spawn_origin *origin;
    int lock_fd;
    msec silence_ms; /* MSEC_NEVER: never taken for hung */
    msec hello_ms;   /* from exec to its HELLO: it reads its configuration and may wait for a disk */

    enum agent_state state;
    pid_t pid;
    bool greeted;    /* HELLO was accepted */
    msec started_ms; /* 0: there was none yet */
    msec heard_ms;
    msec ended_ms;    /* of the last that ended */
    msec excused_ms;  /* silence is not judged before this */
    uint64_t run_ns;  /* its processor time when silence was last excused; 0: not yet */
    msec start_at_ms; /* AGENT_NONE: when the successor is due */
    unsigned int quick_deaths;
    uint32_t restarts;
};

/* A new process; its end of the pair is in its environment, ours in *ret_fd. False: tried again later. */
bool agent_start(struct agent *a, msec now_ms, int *ret_fd);

/* It ended. Says so, and sets when the next one is due. */
void agent_ended(struct agent *a, int status, msec now_ms);

void agent_kill(struct agent *a, const char *why);

/* Its packet was read. */
void agent_heard(struct agent *a, msec now_ms);
/*
 * Silent for too long. For a while it is excused: waiting for a disk (killing it would not take effect before the
 * disk answers, and its successor would wait for the same), or for a processor (its successor would starve too).
 */
bool agent_hung(struct agent *a, msec now_ms);
/* When agent_hung() may become true; MSEC_NEVER if not by time alone. */
msec agent_hung_at_ms(const struct agent *a);
