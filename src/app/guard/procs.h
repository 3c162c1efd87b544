/*
 * Which processes belong to an instance of PostgreSQL, read from /proc.
 *
 * Nothing is allocated, and nothing here touches the file system that holds the data directory once its
 * identity is known (a disk that hangs must not hold up a fence); only /proc is read. A process of
 * another user, whose links we may not read, is never taken for one of ours.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct file_id {
    uint64_t dev;
    uint64_t ino; /* 0: none */
};

/* How to tell the processes of one instance. */
struct procs_match {
    struct file_id dirs[2]; /* the data directory; two, because it may be moved aside while processes live in it */
    struct file_id exe;     /* the postmaster's executable, for those that are not called postgres */
};

struct proc_stat {
    char state; /* as in ps: R, S, D, T, Z, … */
    pid_t ppid, group, session;
    uint64_t start_ticks; /* with the pid it names a process once and for all */
};

typedef void procs_fn(pid_t pid, void *arg);

/* False with errno if the file cannot be looked at. */
bool file_id_of(const char *path, struct file_id *ret_id);
bool file_id_eq(const struct file_id *a, const struct file_id *b);

/* False if the process does not exist (any more). */
bool proc_stat_read(pid_t pid, struct proc_stat *ret_stat);
/* For how long its first thread has had a processor; 0 if the kernel does not tell. */
uint64_t proc_run_ns(pid_t pid);
/* True while the process lives: a zombie does not. */
bool proc_alive(pid_t pid, uint64_t start_ticks);

bool procs_matches(const struct procs_match *m, pid_t pid);
/* Works in the data directory, whatever its executable is. */
bool procs_cwd_matches(const struct procs_match *m, pid_t pid);

/* Calls each() for every process there is. False if /proc cannot be read. */
bool procs_each(procs_fn *each, void *arg);
/*
 * Calls each() (may be NULL) for every process of the instance and returns their number; -1 if /proc
 * cannot be read, which is never to be taken for "none". One pass can miss a process that is forked
 * while it runs.
 */
int procs_scan(const struct procs_match *m, procs_fn *each, void *arg);
