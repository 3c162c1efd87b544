#include "app/guard/spawn.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/str.h"

enum { GUARD_NICE = -15 }; /* above everything that is not the system's own */

void spawn_reset_signals(void)
{
    sigset_t none;

    for (int signo = 1; signo < NSIG; signo++)
        (void)signal(signo, SIG_DFL); /* refused for SIGKILL, SIGSTOP and libc's own */
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

bool spawn_redirect(int fd, const char *path, int flags)
{
    int opened = open(path, flags | O_NOCTTY, 0600);
    if (opened < 0)
        return false;
    if (opened == fd)
        return true;

    bool done = dup2(opened, fd) == fd;
    (void)close(opened);
    return done;
}

void spawn_keep_only(int *fd)
{
    enum { KEPT = 3 };

    if (*fd != KEPT) {
        if (dup3(*fd, KEPT, O_CLOEXEC) != KEPT)
            return; /* then all that is left open is close-on-exec, as everything of ours */
        *fd = KEPT;
    }
    (void)syscall(SYS_close_range, KEPT + 1, UINT_MAX, 0); /* before Linux 5.9: as above */
}

void spawn_protect(struct spawn_origin *ret_origin)
{
    static const char exempt[] = "-1000";
    char score[sizeof(ret_origin->oom_score)];

    AUTO(fd) int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, score, sizeof(score) - 1) : -1;
    if (len > 0 && write(fd, exempt, strlen(exempt)) == (ssize_t)strlen(exempt)) {
        score[len] = '\0';
        str_copy(ret_origin->oom_score, sizeof(ret_origin->oom_score), score);
    }

    ret_origin->nice = getpriority(PRIO_PROCESS, 0);
    ret_origin->reniced = ret_origin->nice > GUARD_NICE && setpriority(PRIO_PROCESS, 0, GUARD_NICE) == 0;
}

void spawn_restore(const struct spawn_origin *origin)
{
    if (origin->reniced)
        (void)setpriority(PRIO_PROCESS, 0, origin->nice); /* being nicer is never refused, nor is a higher score */
    if (!origin->oom_score[0])
        return;

    AUTO(fd) int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t written = write(fd, origin->oom_score, strlen(origin->oom_score));
        (void)written;
    }
}
