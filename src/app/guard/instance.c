#include "app/guard/instance.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/guard/clock.h"
#include "app/guard/say.h"
#include "base/str.h"

enum {
    ORPHANS_GRACE_MS = 1000, /* walsenders of a dead postmaster send what they have and go; an agent that is
                                replaced just now decides first; more only lets busy backends acknowledge on */
    ANCHOR_GRACE_MS = 100,   /* from the pidfd's word that the postmaster is dead to the anchor's; it needs < 1 */
    KILL_LOOK_MS = 5,        /* between two passes while killing: processes with large shared memory need some ms */
    ORPHANS_LOOK_MS = 50,
    FOREIGN_LOOK_MS = 500,
    KILL_BATCH = 1024,   /* more processes than max_connections is in practice */
    KILL_MANY = 32,      /* fewer are signalled before it matters */
    KILL_MANY_NICE = 15, /* 1/28 of our share each; together enough to be gone in time on a busy machine */
    KILL_WARN_MS = 5000, /* a SIGKILL that has not worked by then is stuck in the kernel */
    KILL_WARN_LOOK_MS = 1000,
};

void instance_init(struct instance *i, const char *dir)
{
    *i = (struct instance){.pidfd = -1,
                           .anchor_fd = -1,
                           .death_seen_ms = MSEC_NEVER,
                           .look_at_ms = MSEC_NEVER,
                           .clear_at_ms = MSEC_NEVER,
                           .kill_began_ms = MSEC_NEVER};
    str_copy(i->dir, sizeof(i->dir), dir);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

static void set_state(struct instance *i, enum guard_pg_state state, int orphans)
{
    i->changed |= i->state != state; /* a count alone is no news: while killing it falls every few ms */
    i->state = state;
    i->orphan_count = orphans;
}

/* The directory may have been moved aside and made anew: then both are ours until the old one is empty. */
static void refresh_dirs(struct instance *i)
{
    struct file_id now;

    if (!file_id_of(i->dir, &now) || file_id_eq(&now, &i->match.dirs[0]))
        return;
    i->match.dirs[1] = i->match.dirs[0];
    i->match.dirs[0] = now;
}

/* First line of postmaster.pid; 0 if there is none (a standalone backend writes its pid negative). */
static pid_t pid_from_file(const struct instance *i)
{
    char path[GUARD_PATH_MAX + 32];
    char text[32] = "";

    (void)snprintf(path, sizeof(path), "%s/postmaster.pid", i->dir);
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return 0;
    if (read(fd, text, sizeof(text) - 1) <= 0)
        return 0;

    long pid = strtol(text, NULL, 10);
    return pid > 0 && pid <= INT32_MAX ? (pid_t)pid : 0;
}

/* Two passes, because one may miss what is forked meanwhile. Returns what procs_scan() does. */
static int look_twice(const struct instance *i)
{
    int count = procs_scan(&i->match, NULL, NULL);

    return count ? count : procs_scan(&i->match, NULL, NULL);
}

static void settle_none(struct instance *i, msec now_ms)
{
    if (i->kill_began_ms != MSEC_NEVER && i->state != GUARD_PG_NONE)
        say_info("guard.stopped", "every process of %s is gone, %lld ms after the first SIGKILL", i->dir,
                 (long long)(now_ms - i->kill_began_ms));
    else if (i->state == GUARD_PG_ORPHANS)
        say_info("guard.stopped", "the last process of %s is gone", i->dir);
    set_state(i, GUARD_PG_NONE, 0);
    i->claimed = false;
    i->adopted = false;
    i->match = (struct procs_match){0};
    i->look_at_ms = MSEC_NEVER;
    i->clear_at_ms = MSEC_NEVER;
    i->kill_began_ms = MSEC_NEVER;
}

/* No postmaster of ours lives: NONE, ORPHANS or FOREIGN. What cannot be read is not NONE. */
static void settle(struct instance *i, msec now_ms)
{
    int count = look_twice(i);
    pid_t foreign = count > 0 && !i->claimed ? pid_from_file(i) : 0;

    if (foreign && procs_matches(&i->match, foreign)) {
        i->changed |= i->pid != foreign;
        i->pid = foreign;
        set_state(i, GUARD_PG_FOREIGN, 0);
        i->look_at_ms = now_ms + FOREIGN_LOOK_MS;
        return;
    }

    i->pid = 0;
    if (count == 0) {
        settle_none(i, now_ms);
        return;
    }
    if (count < 0)
        say_error("guard.proc", "/proc cannot be read (%s), so that nothing is known about the processes of %s",
                  strerror(errno), i->dir);
    set_state(i, GUARD_PG_ORPHANS, count > 0 ? count : 0);
    i->look_at_ms = now_ms + (i->kill_began_ms != MSEC_NEVER ? KILL_LOOK_MS
                              : i->claimed                   ? ORPHANS_LOOK_MS
                                                             : FOREIGN_LOOK_MS);
}

void instance_look(struct instance *i, msec now_ms)
{
    if (i->claimed || i->start == INSTANCE_STARTING)
        return;
    refresh_dirs(i);
    settle(i, now_ms);
}

bool instance_start(struct instance *i, const struct anchor_spec *spec, struct err *err)
{
    refresh_dirs(i);
    if (!i->match.dirs[0].ino)
        return err_set(err, ERR_NOT_FOUND, "there is no data directory %s", i->dir);

    i->anchor_pid = anchor_spawn(spec, &i->anchor_fd);
    if (i->anchor_pid < 0) {
        int spawn_errno = errno;
        i->anchor_pid = 0;
        return err_sys(err, spawn_errno, "forking");
    }
    i->start = INSTANCE_STARTING;
    i->claimed = true;
    i->adopted = false;
    i->anchor_stays = false;
    i->executed = false;
    i->signalled = HALT_NONE;
    i->death_seen_ms = MSEC_NEVER;
    return true;
}

bool instance_adopt(struct instance *i, pid_t pid, msec now_ms, struct err *err)
{
    if (i->claimed && i->state == GUARD_PG_RUNNING && i->pid == pid)
        return true;
    if (i->claimed || i->start == INSTANCE_STARTING)
        return err_set(err, ERR_CONFLICT, "another postmaster of this data directory is watched already");

    /* The descriptor first: what is found out afterwards is about the process it names. */
    AUTO(fd) int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0)
        return err_sys(err, errno, "opening process %d", (int)pid);

    refresh_dirs(i);
    if (!procs_matches(&i->match, pid))
        return err_set(err, ERR_INPUT, "process %d is no postgres of %s", (int)pid, i->dir);
    if (pid_from_file(i) != pid)
        return err_set(err, ERR_INPUT, "process %d is not the one in %s/postmaster.pid", (int)pid, i->dir);

    i->pid = pid;
    i->pidfd = take_fd(&pidfd);
    i->claimed = true;
    i->adopted = true;
    i->executed = true;
    i->signalled = HALT_NONE;
    i->death_seen_ms = MSEC_NEVER;
    i->look_at_ms = MSEC_NEVER;
    i->changed = true;
    set_state(i, GUARD_PG_RUNNING, 0);
    instance_learn_exe(i);
    instance_collect(i, now_ms); /* it may have died since */
    say_info("guard.adopted", "watching postmaster %d, which we did not start", (int)pid);
    return true;
}

void instance_learn_exe(struct instance *i)
{
    char path[32];
    struct file_id exe;

    if (i->state != GUARD_PG_RUNNING || i->pid <= 0)
        return;
    (void)snprintf(path, sizeof(path), "/proc/%d/exe", (int)i->pid);
    if (file_id_of(path, &exe))
        i->match.exe = exe;
}

static const char *exit_text(const struct instance *i, char *text, size_t cap)
{
    if (!i->exit_known)
        (void)snprintf(text, cap, "ended (not our child, its exit status is unknown)");
    else if (WIFSIGNALED(i->exit_status))
        (void)snprintf(text, cap, "was ended by signal %d", WTERMSIG(i->exit_status));
    else
        (void)snprintf(text, cap, "exited with %d", WEXITSTATUS(i->exit_status));
    return text;
}

static void start_failed(struct instance *i, const char *step, int sys_errno)
{
    i->start = INSTANCE_START_FAILED;
    (void)err_sys(&i->start_err, sys_errno, "%s", step);
}

static void drop_anchor(struct instance *i)
{
    close_fd(&i->anchor_fd);
    i->anchor_pid = 0; /* whoever it was is reaped with everybody else */
    i->anchor_stays = false;
}

/* status: NULL if nobody can tell. */
static void on_death(struct instance *i, const int *status, msec now_ms)
{
    pid_t pid = i->pid;
    char text[80];

    if (i->start == INSTANCE_STARTING)
        start_failed(i, "executing it", ECHILD);
    if (i->executed) {
        i->exit_known = status != NULL;
        i->exit_status = status ? *status : 0;
        i->exited++;
    }
    i->pid = 0;
    close_fd(&i->pidfd);
    i->death_seen_ms = MSEC_NEVER;
    i->changed = true;
    settle(i, now_ms);

    if (!i->executed && i->state == GUARD_PG_NONE)
        return; /* a start that failed; its requester is told why */
    (void)exit_text(i, text, sizeof(text));
    if (i->state == GUARD_PG_NONE) {
        say_info("guard.pg_exited", "postmaster %d %s", (int)pid, text);
        return;
    }
    i->clear_at_ms = now_ms + ORPHANS_GRACE_MS;
    say_warning("guard.pg_exited", "postmaster %d %s, %d of its processes are left", (int)pid, text, i->orphan_count);
}

static bool pidfd_dead(const struct instance *i)
{
    struct pollfd p = {.fd = i->pidfd, .events = POLLIN};

    return i->pidfd >= 0 && poll(&p, 1, 0) == 1;
}

static void on_execed(struct instance *i)
{
    i->executed = true;

    /* A postmaster that we cannot see in /proc is one that no fence would find. */
    if (!procs_cwd_matches(&i->match, i->pid) && !pidfd_dead(i)) {
        start_failed(i, "finding it in /proc", EACCES);
        (void)syscall(SYS_pidfd_send_signal, i->pidfd, SIGKILL, NULL, 0);
        return;
    }
    i->start = INSTANCE_STARTED;
    say_info("guard.pg_started", "postmaster started, pid %d", (int)i->pid);
}

static void on_report(struct instance *i, const struct anchor_report *r, int take_pidfd, msec now_ms)
{
    switch ((enum anchor_kind)r->kind) {
    case ANCHOR_STARTED:
        i->pid = r->value;
        /* It comes along, unless we are short of descriptors; then the anchor, which has not reaped it, vouches. */
        i->pidfd = take_pidfd >= 0 ? take_pidfd : (int)syscall(SYS_pidfd_open, r->value, 0);
        take_pidfd = -1;
        i->changed = true;
        set_state(i, GUARD_PG_RUNNING, 0);
        break;
    case ANCHOR_EXECED:
        on_execed(i);
        break;
    case ANCHOR_FAILED:
        start_failed(i, r->step, r->sys_errno);
        break;
    case ANCHOR_EXITED:
        drop_anchor(i);
        on_death(i, &r->value, now_ms);
        break;
    case ANCHOR_STAYS:
        i->anchor_stays = true;
        break;
    }
    close_fd(&take_pidfd);
}

/* The link broke: the anchor is dead, and the postmaster has got SIGQUIT and is now our own child. */
static void on_anchor_lost(struct instance *i, msec now_ms)
{
    drop_anchor(i);
    if (i->start == INSTANCE_STARTING)
        start_failed(i, "its parent died", EPIPE);
    if (!i->pid) {
        settle(i, now_ms);
        return;
    }
    say_error("guard.anchor", "the anchor of postmaster %d died; PostgreSQL goes down with it", (int)i->pid);
}

void instance_collect(struct instance *i, msec now_ms)
{
    struct anchor_report r;
    int pidfd;

    while (i->anchor_fd >= 0) {
        int got = anchor_receive(i->anchor_fd, &r, &pidfd);
        if (got == 0)
            break;
        if (got > 0)
            on_report(i, &r, pidfd, now_ms);
        else
            on_anchor_lost(i, now_ms);
    }

    if (i->death_seen_ms != MSEC_NEVER || !pidfd_dead(i))
        return;
    if (i->adopted)
        on_death(i, NULL, now_ms);
    else
        i->death_seen_ms = now_ms; /* its parent tells the status: the anchor, or our own waitpid() */
}

bool instance_reaped(struct instance *i, pid_t pid, int status, msec now_ms)
{
    if (pid == i->pid && i->pidfd >= 0) {
        drop_anchor(i); /* it died before: so its child became ours */
        on_death(i, &status, now_ms);
        return true;
    }
    if (pid == i->anchor_pid) {
        instance_collect(i, now_ms); /* its last words; then the link shows the end */
        return true;
    }
    return false;
}

struct kill_batch {
    pid_t pids[KILL_BATCH];
    int count;
};

/* Dying is work: hundreds that do it at once would leave us no processor to signal the rest. */
static void batch_make_nice(const struct kill_batch *b)
{
    for (int k = 0; k < b->count && b->count > KILL_MANY; k++)
        (void)setpriority(PRIO_PROCESS, (id_t)b->pids[k], KILL_MANY_NICE);
}

static void batch_kill(struct kill_batch *b)
{
    for (int k = 0; k < b->count; k++) {
        /* As the postmaster does it: each child leads a group, in which its shells (archive_command) are.
         * Group 1 is not a group: kill(-1) means everybody. */
        if (b->pids[k] > 1)
            (void)kill(-b->pids[k], SIGKILL);
        (void)kill(b->pids[k], SIGKILL);
    }
    b->count = 0;
}

static void batch_add(pid_t pid, void *arg)
{
    struct kill_batch *b = arg;

    if (b->count == KILL_BATCH)
        batch_kill(b);
    b->pids[b->count++] = pid;
}

/* -1: /proc cannot be read. */
static int kill_all(struct instance *i)
{
    static struct kill_batch batch;

    /* First all are found: those that die, or see the postmaster die, would slow down the search. */
    int count = procs_scan(&i->match, batch_add, &batch);
    batch_make_nice(&batch);

    /* Then the postmaster, so that nobody forks any more; what it forked meanwhile is found in the next pass. */
    if (i->pidfd >= 0)
        (void)syscall(SYS_pidfd_send_signal, i->pidfd, SIGKILL, NULL, 0);
    else if (i->start == INSTANCE_STARTING)
        (void)kill(i->anchor_pid, SIGKILL); /* its child ends before exec */
    batch_kill(&batch);
    return count;
}

/*
 * One pass of killing; it is repeated until nothing is left. A process with SIGKILL pending never returns to user
 * mode, and a fork that is under way then fails. A stopped process is killed like any other.
 */
static void kill_pass(struct instance *i, msec now_ms)
{
    if (now_ms < i->look_at_ms && i->kill_began_ms != MSEC_NEVER)
        return;
    if (i->kill_began_ms == MSEC_NEVER)
        i->kill_began_ms = now_ms;

    instance_learn_exe(i);
    if (!i->match.dirs[0].ino)
        refresh_dirs(i);
    int left = kill_all(i);
    i->signalled = HALT_KILL;
    i->look_at_ms = now_ms + KILL_LOOK_MS;

    if (left && now_ms >= i->kill_began_ms + KILL_WARN_MS) {
        say_error("guard.kill", "%d processes of %s do not go away although SIGKILL was sent", left, i->dir);
        i->look_at_ms = now_ms + KILL_WARN_LOOK_MS;
    }
    if (i->pidfd >= 0 || i->start == INSTANCE_STARTING)
        return; /* its death will be reported */
    if (left == 0) {
        settle(i, now_ms);
        return;
    }
    i->pid = 0;
    set_state(i, GUARD_PG_ORPHANS, left > 0 ? left : 0);
}

void instance_halt(struct instance *i, enum halt_level level, msec now_ms)
{
    if (level == HALT_KILL) {
        kill_pass(i, now_ms);
        return;
    }
    if (level <= i->signalled || i->pidfd < 0 || !i->claimed)
        return;
    i->signalled = level;
    (void)syscall(SYS_pidfd_send_signal, i->pidfd, halt_signal(level), NULL, 0); /* it may be dead: as good */
    say_info("guard.stopping", "%s stop of postmaster %d", halt_name(level), (int)i->pid);
}

void instance_tick(struct instance *i, msec now_ms)
{
    if (i->death_seen_ms != MSEC_NEVER && now_ms >= i->death_seen_ms + ANCHOR_GRACE_MS && i->anchor_pid > 0) {
        (void)kill(i->anchor_pid, SIGKILL); /* a stopped anchor: the dead postmaster becomes ours to reap */
        i->death_seen_ms = now_ms;
    }
    if (i->kill_began_ms != MSEC_NEVER || (i->clear_at_ms <= now_ms && i->state == GUARD_PG_ORPHANS)) {
        kill_pass(i, now_ms); /* once begun it goes to its end, whoever wanted it */
        return;
    }
    if (i->look_at_ms > now_ms || i->state == GUARD_PG_RUNNING)
        return;
    if (i->state == GUARD_PG_FOREIGN)
        refresh_dirs(i);
    settle(i, now_ms);
}

msec instance_next_ms(const struct instance *i)
{
    msec next = MSEC_NEVER;

    if (i->death_seen_ms != MSEC_NEVER && i->anchor_pid > 0)
        next = clock_after_ms(i->death_seen_ms, ANCHOR_GRACE_MS);
    if (i->state == GUARD_PG_ORPHANS && i->kill_began_ms == MSEC_NEVER)
        next = msec_min(next, i->clear_at_ms);
    if (i->state != GUARD_PG_RUNNING || i->kill_began_ms != MSEC_NEVER)
        next = msec_min(next, i->look_at_ms);
    return next;
}

int instance_poll_fd(const struct instance *i)
{
    return i->death_seen_ms == MSEC_NEVER ? i->pidfd : -1;
}
