#include "app/guard/procs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/auto.h"

/* AT_STATX_DONT_SYNC: a network file system answers from what it has cached. */
static bool file_id_read(const char *path, int flags, struct file_id *ret_id)
{
    struct statx sx;

    if (statx(AT_FDCWD, path, flags, STATX_INO, &sx) < 0)
        return false;

    *ret_id = (struct file_id){.dev = makedev(sx.stx_dev_major, sx.stx_dev_minor), .ino = sx.stx_ino};
    return true;
}

bool file_id_of(const char *path, struct file_id *ret_id)
{
    return file_id_read(path, AT_STATX_DONT_SYNC, ret_id);
}

bool file_id_eq(const struct file_id *a, const struct file_id *b)
{
    return a->ino && a->ino == b->ino && a->dev == b->dev;
}

/* The number of bytes read; 0 if there is no such process. *text is terminated. */
static size_t proc_read(pid_t pid, const char *name, char *text, size_t cap)
{
    char path[32];

    (void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, text, cap - 1) : 0;
    text[len > 0 ? len : 0] = '\0';
    return len > 0 ? (size_t)len : 0;
}

uint64_t proc_run_ns(pid_t pid)
{
    char text[128];

    return proc_read(pid, "schedstat", text, sizeof(text)) ? strtoull(text, NULL, 10) : 0;
}

bool proc_stat_read(pid_t pid, struct proc_stat *ret_stat)
{
    char text[1024];

    if (!proc_read(pid, "stat", text, sizeof(text)))
        return false;

    /* The name in field 2 may hold spaces and parentheses: fields are counted from the last ')'. */
    const char *at = strrchr(text, ')');
    if (!at || at[1] != ' ' || !at[2])
        return false;

    struct proc_stat stat = {.state = at[2]};
    at += 3;
    for (int field = 4; field <= 22; field++) {
        char *end;
        long long value = strtoll(at, &end, 10);
        if (end == at)
            return false;
        if (field == 4)
            stat.ppid = (pid_t)value;
        if (field == 5)
            stat.group = (pid_t)value;
        if (field == 6)
            stat.session = (pid_t)value;
        if (field == 22)
            stat.start_ticks = (uint64_t)value;
        at = end;
    }
    *ret_stat = stat;
    return true;
}

bool proc_alive(pid_t pid, uint64_t start_ticks)
{
    struct proc_stat stat;

    return pid > 0 && proc_stat_read(pid, &stat) && stat.start_ticks == start_ticks && stat.state != 'Z' &&
           stat.state != 'X';
}

bool procs_cwd_matches(const struct procs_match *m, pid_t pid)
{
    char path[32];
    struct file_id cwd;

    (void)snprintf(path, sizeof(path), "/proc/%d/cwd", (int)pid);
    if (!file_id_of(path, &cwd))
        return false;
    return file_id_eq(&m->dirs[0], &cwd) || file_id_eq(&m->dirs[1], &cwd);
}

static bool exe_matches(const struct procs_match *m, pid_t pid)
{
    char path[32];
    char target[4096];
    struct file_id exe;

    (void)snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
    ssize_t len = readlink(path, target, sizeof(target) - 1);
    if (len <= 0)
        return errno == ENOENT; /* it is ending: its memory is gone, its directory and files are not yet (nor is it a
                                   zombie, which has no directory); until it has ended "stopped" would be a lie */
    target[len] = '\0';

    /* A minor upgrade replaces the file under running processes: "…/postgres (deleted)". */
    const char *slash = strrchr(target, '/');
    const char *name = slash ? slash + 1 : target;
    if (strcmp(name, "postgres") == 0 || strcmp(name, "postgres (deleted)") == 0)
        return true;
    return m->exe.ino && file_id_of(path, &exe) && file_id_eq(&m->exe, &exe);
}

bool procs_matches(const struct procs_match *m, pid_t pid)
{
    return exe_matches(m, pid) && procs_cwd_matches(m, pid);
}

static pid_t pid_of_name(const char *name)
{
    long pid = 0;

    for (; *name >= '0' && *name <= '9' && pid < 1 << 24; name++)
        pid = pid * 10 + (*name - '0');
    return *name ? 0 : (pid_t)pid;
}

bool procs_each(procs_fn *each, void *arg)
{
    /* Not readdir: opendir() allocates. One thread only, so these may be static. */
    static _Alignas(struct dirent64) char entries[32 * 1024];
    static int proc = -1; /* kept: when it is needed most there may be no descriptor left in the system */

    if (proc < 0)
        proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (proc < 0 || lseek(proc, 0, SEEK_SET) < 0)
        return false;

    for (;;) {
        long len = syscall(SYS_getdents64, proc, entries, sizeof(entries));
        if (len <= 0)
            return len == 0;

        for (long at = 0; at < len;) {
            const struct dirent64 *entry = (const void *)(entries + at);
            at += entry->d_reclen;
            pid_t pid = pid_of_name(entry->d_name);
            if (pid > 0)
                each(pid, arg);
        }
    }
}

struct scan {
    const struct procs_match *match;
    procs_fn *each;
    void *arg;
    int count;
};

static void scan_one(pid_t pid, void *arg)
{
    struct scan *s = arg;

    if (!procs_matches(s->match, pid))
        return;
    s->count++;
    if (s->each)
        s->each(pid, s->arg);
}

int procs_scan(const struct procs_match *m, procs_fn *each, void *arg)
{
    struct scan s = {.match = m, .each = each, .arg = arg};

    return procs_each(scan_one, &s) ? s.count : -1;
}
