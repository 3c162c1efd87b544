/*
 * What the kernel says of a process that need not be ours: /proc/PID/stat, see proc(5).
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct process_stat {
    char state; /* a letter: T is stopped by a signal, t by a debugger, Z a zombie */
    pid_t parent;
};

/* False: there is no such process, or it cannot be read. */
bool process_stat_read(pid_t pid, struct process_stat *ret_stat);
