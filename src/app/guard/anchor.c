#include "app/guard/anchor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/guard/spawn.h"
#include "base/str.h"

struct failure {
    int32_t sys_errno;
    char step[32];
};

_Noreturn static void child_fail(int status_fd, const char *step)
{
    struct failure f = {.sys_errno = errno};

    str_copy(f.step, sizeof(f.step), step);
    ssize_t written = write(status_fd, &f, sizeof(f));
    (void)written; /* the anchor then reports a child that exited with 127 */
    _exit(127);
}

/* The future postmaster, between fork and exec. */
_Noreturn static void child_run(const struct anchor_spec *spec, pid_t anchor, int status_fd)
{
    sigset_t reload;

    spawn_reset_signals();
    (void)setsid(); /* cannot fail in a new child */

    /* Now and not earlier: whoever changed credentials did it before; kept over exec. */
    if (prctl(PR_SET_PDEATHSIG, SIGQUIT) < 0)
        child_fail(status_fd, "setting the death signal");
    if (getppid() != anchor)
        _exit(127); /* it died before prctl: no signal will come */

    if (chdir(spec->cwd) < 0)
        child_fail(status_fd, "entering the data directory");
    if (!spawn_redirect(STDIN_FILENO, "/dev/null", O_RDONLY))
        child_fail(status_fd, "opening /dev/null");
    if (spec->log_path[0] && (!spawn_redirect(STDOUT_FILENO, spec->log_path, O_WRONLY | O_CREAT | O_APPEND) ||
                              dup2(STDOUT_FILENO, STDERR_FILENO) < 0))
        child_fail(status_fd, "opening the log");

    spawn_restore(spec->origin);
    /* One that comes before its handlers are there would end it. It waits until PostgreSQL unblocks what it handles. */
    (void)sigemptyset(&reload);
    (void)sigaddset(&reload, SIGHUP);
    (void)sigprocmask(SIG_BLOCK, &reload, NULL);
    execve(spec->argv[0], spec->argv, spec->envp);
    child_fail(status_fd, "executing it");
}

static void report(int fd, enum anchor_kind kind, int32_t value, const struct failure *why, int pidfd)
{
    struct anchor_report r = {.kind = kind, .value = value};
    struct iovec iov = {.iov_base = &r, .iov_len = sizeof(r)};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (why) {
        r.sys_errno = why->sys_errno;
        str_copy(r.step, sizeof(r.step), why->step);
    }
    if (pidfd >= 0) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof(control.bytes);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &pidfd, sizeof(int));
    }
    /* Without a guard there is nobody to tell: after "stay" that is so by design. */
    (void)sendmsg(fd, &msg, MSG_NOSIGNAL);
}

/* Waits for the child's end; a word from the guard makes us independent of it. */
static int wait_for_child(pid_t child, int child_pidfd, int link_fd)
{
    struct pollfd fds[] = {{.fd = child_pidfd, .events = POLLIN}, {.fd = link_fd, .events = POLLIN}};
    char word;
    int status = 0;

    for (;;) {
        if (poll(fds, 2, -1) < 0) /* no deadline: PostgreSQL may run for years; signals are blocked */
            continue;
        if (fds[0].revents) {
            while (waitpid(child, &status, 0) < 0 && errno == EINTR)
                ;
            return status;
        }
        if (fds[1].revents && recv(link_fd, &word, 1, MSG_DONTWAIT) == 1) {
            (void)prctl(PR_SET_PDEATHSIG, 0); /* cannot fail for 0 */
            report(link_fd, ANCHOR_STAYS, 0, NULL, -1);
        } else if (fds[1].revents) {
            fds[1].fd = -1; /* the guard has ended */
        }
    }
}

/* The child's word on exec: nothing (the pipe was closed by exec) or a failure. */
static void report_exec(int link_fd, int status_fd)
{
    struct failure f;
    ssize_t len;

    do
        len = read(status_fd, &f, sizeof(f));
    while (len < 0 && errno == EINTR);
    if (len == sizeof(f))
        report(link_fd, ANCHOR_FAILED, 0, &f, -1);
    else
        report(link_fd, ANCHOR_EXECED, 0, NULL, -1);
}

_Noreturn static void anchor_run(const struct anchor_spec *spec, pid_t guard, int link_fd)
{
    int status_pipe[2];
    sigset_t all;

    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL); /* SIGKILL is the only word we listen to */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != guard)
        _exit(1);
    (void)setsid();

    spawn_keep_only(&link_fd);
    pid_t self = getpid();
    pid_t child = pipe2(status_pipe, O_CLOEXEC) == 0 ? fork() : -1;
    if (child < 0) {
        struct failure f = {.sys_errno = errno, .step = "forking"};
        report(link_fd, ANCHOR_FAILED, 0, &f, -1);
        _exit(1);
    }
    if (child == 0)
        child_run(spec, self, status_pipe[1]);
    (void)close(status_pipe[1]);

    /* Our child and not reaped: the number cannot have become somebody else's. */
    int child_pidfd = (int)syscall(SYS_pidfd_open, child, 0);
    if (child_pidfd < 0) {
        struct failure f = {.sys_errno = errno, .step = "opening its pidfd"};
        (void)kill(child, SIGKILL);
        report(link_fd, ANCHOR_FAILED, 0, &f, -1);
        _exit(1);
    }
    report(link_fd, ANCHOR_STARTED, child, NULL, child_pidfd);

    (void)prctl(PR_SET_NAME, "pgkeep-anchor");
    if (spec->title_cap)
        memset(spec->title, 0, spec->title_cap);
    (void)snprintf(spec->title, spec->title_cap, "pgkeep-anchor: parent of PostgreSQL in %s", spec->cwd);

    /* Nobody's terminal or log pipe is held open by us, should the guard end before PostgreSQL. */
    (void)spawn_redirect(STDIN_FILENO, "/dev/null", O_RDWR);
    (void)dup2(STDIN_FILENO, STDOUT_FILENO);
    (void)dup2(STDIN_FILENO, STDERR_FILENO);
    ssize_t moved = chdir("/"); /* nor a directory of somebody's */
    (void)moved;

    report_exec(link_fd, status_pipe[0]);
    (void)close(status_pipe[0]);
    report(link_fd, ANCHOR_EXITED, wait_for_child(child, child_pidfd, link_fd), NULL, -1);
    _exit(0);
}

pid_t anchor_spawn(const struct anchor_spec *spec, int *ret_fd)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -1;

    pid_t guard = getpid();
    pid_t pid = fork();
    if (pid == 0)
        anchor_run(spec, guard, pair[1]);

    int fork_errno = errno;
    (void)close(pair[1]);
    if (pid < 0) {
        (void)close(pair[0]);
        errno = fork_errno;
        return -1;
    }
    (void)fcntl(pair[0], F_SETFL, O_NONBLOCK);
    *ret_fd = pair[0];
    return pid;
}

int anchor_receive(int fd, struct anchor_report *ret_report, int *ret_pidfd)
{
    struct iovec iov = {.iov_base = ret_report, .iov_len = sizeof(*ret_report)};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};

    *ret_pidfd = -1;
    ssize_t len = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (len != sizeof(*ret_report))
        return -1;

    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        memcpy(ret_pidfd, CMSG_DATA(c), sizeof(int));
    return 1;
}

bool anchor_stay(int fd)
{
    return send(fd, "s", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1;
}
