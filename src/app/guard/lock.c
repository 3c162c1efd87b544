#include "app/guard/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "app/guard/clock.h"
#include "app/guard/procs.h"
#include "app/guard/say.h"
#include "base/str.h"
#include "wire/guard.h"

enum {
    LOCK_WAIT_MS = 5000, /* an agent without guard stops PostgreSQL first: a fast stop, usually below a second */
    LOCK_KILL_WAIT_MS = 2000,
    LOCK_STEP_MS = 20,
};

struct lock_note {
    int guard;
    uint64_t guard_start;
    int agent;
    uint64_t agent_start;
};

/* "word NUMBER NUMBER" at *at, which moves on. */
static bool read_process(char **at, const char *word, int *ret_pid, uint64_t *ret_start)
{
    char *end;

    if (!str_starts(*at, word))
        return false;
    long long pid = strtoll(*at + strlen(word), &end, 10);
    if (pid < 0 || pid > INT_MAX)
        return false;
    *ret_pid = (int)pid;
    *ret_start = strtoull(end, at, 10);
    return *at != end;
}

static bool note_read(int fd, struct lock_note *ret_note)
{
    char text[128];
    struct lock_note note;

    ssize_t len = pread(fd, text, sizeof(text) - 1, 0);
    if (len <= 0)
        return false;
    text[len] = '\0';
    char *at = text;
    if (!read_process(&at, "guard ", &note.guard, &note.guard_start) ||
        !read_process(&at, " agent ", &note.agent, &note.agent_start))
        return false;

    *ret_note = note;
    return true;
}

static bool try_until(int fd, msec deadline_ms)
{
    const struct timespec step = {.tv_nsec = LOCK_STEP_MS * 1000000L};

    for (;;) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return true;
        if (clock_now_ms() >= deadline_ms)
            return false;
        (void)nanosleep(&step, NULL);
    }
}

/* By pidfd, so that no other process can be hit when the agent ends at this moment. */
static void kill_agent(const struct lock_note *note)
{
    AUTO(fd) int pidfd = (int)syscall(SYS_pidfd_open, note->agent, 0);

    if (pidfd >= 0 && proc_alive(note->agent, note->agent_start))
        (void)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0); /* it may be gone by now: as good */
}

static bool wait_for_agent(int fd, const struct lock_note *note)
{
    say_warning("guard.lock", "agent %d has outlived its guard, waiting until it has stopped PostgreSQL", note->agent);
    if (try_until(fd, clock_now_ms() + LOCK_WAIT_MS))
        return true;

    kill_agent(note);
    say_warning("guard.lock", "agent %d did not end within %d ms and was killed", note->agent, LOCK_WAIT_MS);
    return try_until(fd, clock_now_ms() + LOCK_KILL_WAIT_MS);
}

bool lock_take(const char *state_dir, int *ret_fd, struct err *err)
{
    char path[1200];
    struct lock_note note = {0};

    (void)snprintf(path, sizeof(path), "%s/" GUARD_LOCK_FILE, state_dir);
    AUTO(fd) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_sys(err, errno, "opening %s", path);

    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK)
            return err_sys(err, errno, "locking %s", path);
        if (!note_read(fd, &note))
            return err_set(err, ERR_CONFLICT, "another pgkeep guard is running for this node (%s is locked)", path);
        if (proc_alive(note.guard, note.guard_start) || !proc_alive(note.agent, note.agent_start) ||
            !wait_for_agent(fd, &note))
            return err_set(err, ERR_CONFLICT, "another pgkeep guard is running for this node, pid %d (%s is locked)",
                           note.guard, path);
    }
    lock_note(fd, 0);
    *ret_fd = take_fd(&fd);
    return true;
}

void lock_note(int fd, pid_t agent)
{
    struct proc_stat guard_stat = {0};
    struct proc_stat agent_stat = {0};
    char text[128];

    (void)proc_stat_read(getpid(), &guard_stat);
    if (agent > 0)
        (void)proc_stat_read(agent, &agent_stat);
    int len = snprintf(text, sizeof(text), "guard %d %" PRIu64 " agent %d %" PRIu64 "\n", (int)getpid(),
                       guard_stat.start_ticks, (int)agent, agent_stat.start_ticks);
    if (pwrite(fd, text, (size_t)len, 0) == len)
        (void)ftruncate(fd, len); /* what may follow the line is ignored anyway */
}

void lock_release(int *fd)
{
    if (*fd < 0)
        return;
    (void)flock(*fd, LOCK_UN); /* the agent's copy is the same lock */
    (void)close(*fd);
    *fd = -1;
}
