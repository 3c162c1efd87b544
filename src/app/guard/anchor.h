/*
 * The anchor: the postmaster's parent, and nothing else.
 *
 * PR_SET_PDEATHSIG names the thread that forked, and nobody but the process itself can take it back. So
 * that the guard can end in a pause without taking PostgreSQL with it, and yet never ends otherwise
 * without doing so, a process of ours stands between them:
 *
 *   guard ── SIGKILL at its death ──> anchor ── SIGQUIT at its death ──> postmaster
 *
 * The anchor reports what becomes of its child and waits. Told to stay, it takes back its own death
 * signal; the guard may then end. It is forked, not executed: an upgrade of the guard leaves it as it is.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum anchor_kind {
    ANCHOR_STARTED = 1, /* value: pid of the postmaster-to-be; its pidfd comes with it */
    ANCHOR_EXECED,      /* the program runs */
    ANCHOR_FAILED,      /* it does not: step and sys_errno say why */
    ANCHOR_EXITED,      /* value: wait status; the anchor ends */
    ANCHOR_STAYS,       /* the answer to anchor_stay() */
};

struct anchor_report {
    uint32_t kind; /* enum anchor_kind */
    int32_t value;
    int32_t sys_errno;
    char step[32]; /* such as "opening the log" */
};

struct spawn_origin;

struct anchor_spec {
    char *const *argv; /* argv[0]: absolute path */
    char *const *envp;
    const char *cwd;      /* the data directory: what identifies an instance process holds from the start */
    const char *log_path; /* "": our stderr */
    const struct spawn_origin *origin;
    char *title; /* our command line as ps shows it; the anchor writes its own there */
    size_t title_cap;
};

/* The anchor's pid, *ret_fd the link to it (non-blocking); -1 with errno. */
pid_t anchor_spawn(const struct anchor_spec *spec, int *ret_fd);

/* 1: a report; 0: none yet; -1: the anchor is gone. *ret_pidfd is -1 unless a descriptor came along. */
int anchor_receive(int fd, struct anchor_report *ret_report, int *ret_pidfd);

/* Asks the anchor to outlive the guard; ANCHOR_STAYS answers. */
bool anchor_stay(int fd);
