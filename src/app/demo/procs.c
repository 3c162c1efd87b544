#include "app/demo/procs.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/str.h"
#include "io/process.h"

/* Between fork and exec. */
_Noreturn static void become_server(const char *const *argv, int log_fd, pid_t parent)
{
    sigset_t none;
    int null_fd = open("/dev/null", O_RDONLY);

    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL); /* the demo takes its signals through a descriptor */
    (void)signal(SIGPIPE, SIG_DFL);
    if (setsid() < 0 || prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent)
        _exit(126);
    if (null_fd < 0 || dup2(null_fd, 0) < 0 || dup2(log_fd, 1) < 0 || dup2(log_fd, 2) < 0)
        _exit(126);
    (void)execv(argv[0], (char *const *)argv);
    _exit(127);
}

bool proc_start(struct proc *p, const char *const *argv, const char *log_path, struct err *err)
{
    pid_t parent = getpid();
    AUTO(fd) int log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

    if (log_fd < 0)
        return err_sys(err, errno, "opening %s", log_path);
    pid_t pid = fork();
    if (pid < 0)
        return err_sys(err, errno, "starting %s", argv[0]);
    if (pid == 0)
        become_server(argv, log_fd, parent);
    p->pid = pid;
    p->status = 0;
    return true;
}

bool proc_running(struct proc *p)
{
    if (p->pid && waitpid(p->pid, &p->status, WNOHANG) == p->pid)
        p->pid = 0;
    return p->pid != 0;
}

void proc_signal(const struct proc *p, int signo)
{
    if (p->pid)
        (void)kill(p->pid, signo); /* it may just have ended */
}

static bool is_postgres(pid_t pid)
{
    AUTO(cstr) char *path = str_fmt("/proc/%d/comm", (int)pid);
    char name[32] = "";
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);

    return fd >= 0 && read(fd, name, sizeof(name) - 1) > 0 && str_starts(name, "postgres");
}

/* Somebody's shell may stand there too; that is none of ours. */
static bool works_in(pid_t pid, const char *dir)
{
    AUTO(cstr) char *path = str_fmt("/proc/%d/cwd", (int)pid);
    char cwd[PATH_MAX];
    ssize_t len = readlink(path, cwd, sizeof(cwd) - 1);

    if (len < 0)
        return false;
    cwd[len] = '\0';
    return str_eq(cwd, dir) && is_postgres(pid);
}

static bool is_below(pid_t pid, pid_t ancestor)
{
    struct process_stat stat;

    for (int depth = 0; pid > 1 && depth < 32; depth++) {
        if (pid == ancestor)
            return true;
        pid = process_stat_read(pid, &stat) ? stat.parent : 0;
    }
    return false;
}

/* How many processes of the machine fn is true for. It may write down which. */
static int each_process(bool (*fn)(pid_t pid, void *arg), void *arg)
{
    DIR *proc = opendir("/proc");
    int count = 0;

    if (!proc)
        return 0;
    for (const struct dirent *entry; (entry = readdir(proc));) {
        int64_t pid;
        if (isdigit((unsigned char)entry->d_name[0]) && str_to_int(entry->d_name, 2, INT_MAX, &pid))
            count += fn((pid_t)pid, arg);
    }
    (void)closedir(proc); /* it was only read */
    return count;
}

struct tree {
    pid_t root;
    const char *dir;
    pid_t *pids;
    size_t count;
};

static bool note_if_in_tree(pid_t pid, void *arg)
{
    struct tree *t = arg;

    if (pid == getpid() || (!(t->root && is_below(pid, t->root)) && !works_in(pid, t->dir)))
        return false;
    t->pids = mem_grow(t->pids, t->count + 1, sizeof(*t->pids));
    t->pids[t->count++] = pid;
    return true;
}

int proc_kill_tree(struct proc *p, const char *data_dir)
{
    struct tree t = {.root = p->pid, .dir = data_dir};
    int killed = 0;

    /* All of them are known before the first is killed: the children of a dead parent are somebody else's. */
    (void)each_process(note_if_in_tree, &t);
    for (size_t i = 0; i < t.count; i++)
        killed += kill(t.pids[i], SIGKILL) == 0;
    free(t.pids);
    if (p->pid && waitpid(p->pid, &p->status, 0) == p->pid) /* SIGKILL was sent: it cannot take long */
        p->pid = 0;
    return killed;
}

static bool is_in_dir(pid_t pid, void *arg)
{
    return works_in(pid, arg);
}

bool procs_in_dir(const char *data_dir)
{
    return each_process(is_in_dir, (void *)data_dir) > 0;
}
