/*
 * The demo's servers: started with a log file each, ended in order or all at once.
 *
 * Each is a session of its own, so that the terminal's Ctrl-C reaches the demo alone, and gets SIGTERM if
 * the demo dies. Nothing here touches a process that the demo did not start.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/auto.h"
#include "base/err.h"

struct proc {
    pid_t pid;  /* 0: not running */
    int status; /* of the last one that ended (waitpid) */
};

/* argv[0] is a path. Output is appended to log_path. */
MUST_USE bool proc_start(struct proc *p, const char *const *argv, const char *log_path, struct err *err);

/* Reaps it if it has ended. True while it runs. */
bool proc_running(struct proc *p);

void proc_signal(const struct proc *p, int signo);

/*
 * SIGKILL to the process, to all below it, and to every PostgreSQL process in data_dir (backends leave
 * their parent's tree when it dies). Returns how many got one.
 */
int proc_kill_tree(struct proc *p, const char *data_dir);

/* True if any PostgreSQL process works in data_dir. */
bool procs_in_dir(const char *data_dir);
