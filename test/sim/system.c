/*
 * What our code asks of the kernel by itself, over the simulated world: these stand before libc's. Outside of an
 * event of the world, and for what is none of it, the real ones answer.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/str.h"
#include "io/process.h"
#include "test/sim/disk.h"
#include "test/sim/node.h"
#include "test/sim/pg.h"

static struct node *node_here(void)
{
    return world.current && world.current->host->id < node_count ? &nodes[world.current->host->id] : NULL;
}

static bool is_postmaster(const struct node *n, pid_t pid)
{
    return (unsigned int)pid == n->guard.pid && n->pg.postmaster.alive;
}

static bool is_receiver(const struct node *n, pid_t pid)
{
    return walstream_receiver_runs(&n->pg) && n->pg.receiver.pid == pid;
}

int kill(pid_t pid, int signo)
{
    struct node *n = node_here();

    if (!n)
        return (int)syscall(SYS_kill, pid, signo);
    if (is_postmaster(n, pid) && signo == SIGHUP) {
        pg_reload(&n->pg);
        return 0;
    }
    if (is_receiver(n, pid) && signo == SIGTERM)
        return walstream_end_receiver(&n->pg) ? 0 : -1;
    errno = ESRCH;
    return -1;
}

bool process_stat_read(pid_t pid, struct process_stat *ret_stat)
{
    const struct node *n = node_here();

    if (is_receiver(n, pid)) {
        *ret_stat = (struct process_stat){.state = 'S', .parent = (pid_t)n->guard.pid};
        return true;
    }
    *ret_stat = (struct process_stat){.state = n->pg.postmaster.stops ? 'T' : 'S'};
    return n->pg.postmaster.alive;
}

/* The same file is the same number. */
static ino_t number_of(const char *path)
{
    ino_t number = 14695981039346656037U;

    for (; *path; path++)
        number = (number ^ (unsigned char)*path) * 1099511628211U;
    return number;
}

int stat(const char *path, struct stat *st)
{
    const struct node *n = node_here();

    if (!n || !str_starts(path, "/sim/"))
        return fstatat(AT_FDCWD, path, st, 0);
    if (!disk_has(disk_of(n->host), path)) {
        errno = ENOENT;
        return -1;
    }
    *st = (struct stat){.st_dev = (dev_t)n->host->id + 1, .st_ino = number_of(path), .st_mode = S_IFREG | 0600};
    return 0;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    const struct node *n = node_here();

    if (!n || clock != CLOCK_REALTIME)
        return (int)syscall(SYS_clock_gettime, clock, now);
    int64_t wall_us = pg_wall_us(n->host);
    *now = (struct timespec){.tv_sec = wall_us / 1000000, .tv_nsec = wall_us % 1000000 * 1000};
    return 0;
}
