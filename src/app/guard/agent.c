#include "app/guard/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/guard/clock.h"
#include "app/guard/envblock.h"
#include "app/guard/lock.h"
#include "app/guard/procs.h"
#include "app/guard/say.h"
#include "app/guard/spawn.h"
#include "wire/guard.h"

enum {
    AGENT_QUICK_MS = 5000,       /* one that lived longer was not broken from the start: no back-off */
    AGENT_BACKOFF_MS = 50,       /* after the second quick death, doubled from there */
    AGENT_BACKOFF_MAX_MS = 1000, /* "replaced within a second" holds even then */
    AGENT_EXCUSE_MS = 5000,      /* how long it may wait for a disk or a processor: an fsync on a busy one */
    AGENT_EXCUSE_STEP_MS = 100,  /* how often that is looked at */
    AGENT_FD = 3,                /* what is in its environment */
    AGENT_LOCK_FD = 4,
    AGENT_FD_SAFE = 10, /* while the two are moved into place */
};

_Noreturn static void child_run(const struct agent *a, const struct envblock *env, int fd)
{
    int link_fd = fcntl(fd, F_DUPFD, AGENT_FD_SAFE);
    int lock_fd = fcntl(a->lock_fd, F_DUPFD_CLOEXEC, AGENT_FD_SAFE);
    char line[512];

    (void)setpgid(0, 0); /* Ctrl-C reaches the guard alone, which then ends us in good order */
    spawn_reset_signals();
    (void)signal(SIGTTOU, SIG_IGN); /* outside the terminal's foreground group, and yet it may log there */
    spawn_restore(a->origin);

    if (link_fd >= 0 && lock_fd >= 0 && dup2(link_fd, AGENT_FD) == AGENT_FD &&
        dup2(lock_fd, AGENT_LOCK_FD) == AGENT_LOCK_FD) {
        (void)close(link_fd);
        execve(a->argv[0], a->argv, env->at);
    }
    int len = snprintf(line, sizeof(line), "pgkeep-guard: executing %s: %s\n", a->argv[0], strerror(errno));
    ssize_t written = write(STDERR_FILENO, line, (size_t)len < sizeof(line) ? (size_t)len : sizeof(line) - 1);
    (void)written; /* the exit status says it too */
    _exit(127);
}

static msec backoff_ms(unsigned int quick_deaths)
{
    msec wait_ms = AGENT_BACKOFF_MS;

    if (quick_deaths < 2)
        return 0;
    for (unsigned int i = 2; i < quick_deaths && wait_ms < AGENT_BACKOFF_MAX_MS; i++)
        wait_ms *= 2;
    return msec_min(wait_ms, AGENT_BACKOFF_MAX_MS);
}

static void start_failed(struct agent *a, const char *what, msec now_ms)
{
    int failed_errno = errno;

    a->start_at_ms = now_ms + AGENT_BACKOFF_MAX_MS;
    say_error("guard.agent_failed", "%s for the agent: %s, trying again", what, strerror(failed_errno));
}

bool agent_start(struct agent *a, msec now_ms, int *ret_fd)
{
    static struct envblock env;
    static char fd_text[] = GUARD_ENV_FD "=3";
    static char lock_text[] = GUARD_ENV_LOCK_FD "=4";
    int pair[2];

    _Static_assert(AGENT_FD == 3 && AGENT_LOCK_FD == 4, "as in the texts above");
    if (!envblock_init(&env, a->env, ENVBLOCK_AGENT) || !envblock_set(&env, fd_text) ||
        !envblock_set(&env, lock_text)) {
        errno = E2BIG;
        start_failed(a, "making the environment", now_ms);
        return false;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
        start_failed(a, "opening a socket pair", now_ms);
        return false;
    }

    a->pid = fork();
    if (a->pid == 0)
        child_run(a, &env, pair[1]);
    if (a->pid < 0) {
        start_failed(a, "forking", now_ms);
        (void)close(pair[0]);
        (void)close(pair[1]);
        return false;
    }
    (void)close(pair[1]);

    if (a->started_ms)
        a->restarts++;
    a->state = AGENT_RUNNING;
    a->greeted = false;
    a->started_ms = now_ms;
    a->heard_ms = now_ms;
    a->excused_ms = now_ms;
    a->run_ns = 0;
    lock_note(a->lock_fd, a->pid);
    say_info("guard.agent_started", "agent started, pid %d", (int)a->pid);
    *ret_fd = pair[0];
    return true;
}

void agent_ended(struct agent *a, int status, msec now_ms)
{
    bool quick = now_ms - a->started_ms < AGENT_QUICK_MS;
    char text[64];

    if (WIFSIGNALED(status))
        (void)snprintf(text, sizeof(text), "was ended by signal %d", WTERMSIG(status));
    else
        (void)snprintf(text, sizeof(text), "exited with %d", WEXITSTATUS(status));
    say_info("guard.agent_ended", "agent %d %s", (int)a->pid, text);

    a->quick_deaths = quick ? a->quick_deaths + 1 : 1;
    a->state = AGENT_NONE;
    a->pid = 0;
    a->greeted = false;
    a->ended_ms = now_ms;
    a->start_at_ms = now_ms + backoff_ms(a->quick_deaths);
}

void agent_kill(struct agent *a, const char *why)
{
    if (a->state != AGENT_RUNNING)
        return;
    (void)kill(a->pid, SIGKILL); /* our child and not reaped: it exists */
    a->state = AGENT_KILLED;
    say_warning("guard.agent_killed", "agent %d %s, killed", (int)a->pid, why);
}

void agent_heard(struct agent *a, msec now_ms)
{
    a->heard_ms = now_ms;
    a->run_ns = 0;
}

static msec limit_ms(const struct agent *a)
{
    if (a->silence_ms == MSEC_NEVER)
        return MSEC_NEVER;
    return a->greeted ? a->silence_ms : a->hello_ms;
}

/* Runnable and not run since we last looked: starved. One that has run, and still was silent, loops. */
static bool starved(struct agent *a)
{
    uint64_t run_ns = proc_run_ns(a->pid);
    bool first = a->run_ns == 0;
    bool same = a->run_ns == run_ns;

    a->run_ns = run_ns;
    return run_ns && (first || same);
}

static bool excused(struct agent *a)
{
    struct proc_stat stat;

    return proc_stat_read(a->pid, &stat) && (stat.state == 'D' || (stat.state == 'R' && starved(a)));
}

bool agent_hung(struct agent *a, msec now_ms)
{
    msec limit = limit_ms(a);

    if (a->state != AGENT_RUNNING || limit == MSEC_NEVER || now_ms < a->heard_ms + limit || now_ms < a->excused_ms)
        return false;
    if (now_ms >= a->heard_ms + AGENT_EXCUSE_MS || !excused(a))
        return true;
    a->excused_ms = now_ms + AGENT_EXCUSE_STEP_MS;
    return false;
}

msec agent_hung_at_ms(const struct agent *a)
{
    return a->state == AGENT_RUNNING ? msec_max(clock_after_ms(a->heard_ms, limit_ms(a)), a->excused_ms) : MSEC_NEVER;
}
