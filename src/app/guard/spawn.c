#include "app/guard/spawn.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/auto.h"

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

void spawn_oom_score(const char *score)
{
    if (!score[0])
        return;

    AUTO(fd) int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t written = write(fd, score, strlen(score));
        (void)written; /* raising one's own score is never refused */
    }
}
