#include "app/guard/carry.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "app/guard/envblock.h"
#include "app/guard/guard.h"
#include "app/guard/say.h"
#include "app/guard/spawn.h"
#include "base/str.h"

enum {
    CARRY_MAGIC = 0x70676b31, /* "pgk1": changes if a reader could not make sense of it */
    PROBE_WAIT_MS = 5000,     /* a small static program that reads 2 kB; slower means a disk that hangs */
};

struct carry_halt {
    uint32_t set;
    uint32_t first;
    msec at_ms;
    msec quit_at_ms;
    msec kill_at_ms;
};

struct carry {
    uint32_t magic;
    uint32_t size;
    char version[32]; /* of the writer */
    char data_dir[GUARD_PATH_MAX];
    struct spawn_origin origin;

    int32_t lock_fd;
    int32_t pidfd;
    int32_t anchor_fd;
    int32_t agent_pid;
    uint32_t agent_restarts;

    int32_t pg_pid;
    int32_t anchor_pid;
    uint32_t pg_state;
    uint32_t claimed;
    uint32_t adopted;
    uint32_t executed;
    uint32_t signalled;
    int32_t orphan_count;
    struct procs_match match;
    uint32_t exit_known;
    int32_t exit_status;
    uint32_t exited;
    msec look_at_ms;
    msec clear_at_ms;
    msec kill_began_ms;

    struct carry_halt fence;
    uint64_t fence_term;
    uint32_t fence_is_fired;
    uint32_t fence_is_spent;
    uint32_t fence_is_closed;
    uint32_t fence_fired;
    struct carry_halt stop;
    uint32_t stop_mode;
};

/* What the first version wrote: less is no state. */
enum { CARRY_SIZE_MIN = offsetof(struct carry, stop_mode) + sizeof(uint32_t) };

static struct carry_halt halt_out(const struct halt *h)
{
    return (struct carry_halt){
        .set = h->set, .first = h->first, .at_ms = h->at_ms, .quit_at_ms = h->quit_at_ms, .kill_at_ms = h->kill_at_ms};
}

static struct halt halt_in(const struct carry_halt *c)
{
    return (struct halt){.set = c->set,
                         .first = (enum halt_level)c->first,
                         .at_ms = c->at_ms,
                         .quit_at_ms = c->quit_at_ms,
                         .kill_at_ms = c->kill_at_ms};
}

static void fill(struct carry *c, const struct guard *g)
{
    const struct instance *i = &g->pg;

    *c = (struct carry){
        .magic = CARRY_MAGIC,
        .size = sizeof(*c),
        .lock_fd = g->lock_fd,
        .pidfd = i->pidfd,
        .anchor_fd = i->anchor_fd,
        .agent_pid = g->agent.pid,
        .agent_restarts = g->agent.restarts,
        .pg_pid = i->pid,
        .anchor_pid = i->anchor_pid,
        .pg_state = i->state,
        .claimed = i->claimed,
        .adopted = i->adopted,
        .executed = i->executed,
        .signalled = i->signalled,
        .orphan_count = i->orphan_count,
        .match = i->match,
        .exit_known = i->exit_known,
        .exit_status = i->exit_status,
        .exited = i->exited,
        .look_at_ms = i->look_at_ms,
        .clear_at_ms = i->clear_at_ms,
        .kill_began_ms = i->kill_began_ms,
        .fence = halt_out(&g->fence.halt),
        .fence_term = g->fence.term,
        .fence_is_fired = g->fence.fired,
        .fence_is_spent = g->fence.spent,
        .fence_is_closed = g->fence.closed,
        .fence_fired = g->fence_fired,
        .stop = halt_out(&g->stop),
        .stop_mode = g->stop_mode,
    };
    str_copy(c->version, sizeof(c->version), PGKEEP_VERSION);
    c->origin = g->origin;
    str_copy(c->data_dir, sizeof(c->data_dir), i->dir);
}

/* -1 with errno. */
static int write_out(const struct guard *g)
{
    static struct carry c;

    AUTO(fd) int fd = memfd_create("pgkeep-guard", MFD_ALLOW_SEALING);
    if (fd < 0)
        return -1;
    fill(&c, g);
    if (write(fd, &c, sizeof(c)) != sizeof(c)) {
        errno = ENOSPC;
        return -1;
    }
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        return -1;
    return take_fd(&fd);
}

static bool read_in(int fd, const char *data_dir, struct carry *ret_carry, struct err *err)
{
    struct carry c = {0};

    ssize_t len = pread(fd, &c, sizeof(c), 0);
    if (len < (ssize_t)CARRY_SIZE_MIN)
        return err_set(err, ERR_INPUT, "the state of the guard before is too short");
    if (c.magic != CARRY_MAGIC || c.size < CARRY_SIZE_MIN)
        return err_set(err, ERR_INPUT, "the state of the guard before is in a form that this version does not know");
    if (c.size > sizeof(c))
        c.size = sizeof(c); /* a newer one wrote it: what it appended is not for us */
    if (len < (ssize_t)c.size)
        return err_set(err, ERR_INPUT, "the state of the guard before is cut off");
    memset((char *)&c + c.size, 0, sizeof(c) - c.size);
    if (strncmp(c.data_dir, data_dir, sizeof(c.data_dir)) != 0)
        return err_set(err, ERR_INPUT, "the state of the guard before is for another data directory");

    *ret_carry = c;
    return true;
}

/* KEY=fd; one variable, set again for each exec. */
static char *fd_variable(int fd)
{
    static char text[64];

    (void)snprintf(text, sizeof(text), CARRY_ENV_FD "=%d", fd);
    return text;
}

static void keep_over_exec(int fd, bool keep)
{
    if (fd >= 0)
        (void)fcntl(fd, F_SETFD, keep ? 0 : FD_CLOEXEC);
}

bool carry_probe(struct guard *g, msec now_ms, struct err *err)
{
    static struct envblock env;
    static char check[] = CARRY_ENV_CHECK "=1";

    AUTO(fd) int fd = write_out(g);
    if (fd < 0)
        return err_sys(err, errno, "writing down the guard's state");
    if (!envblock_init(&env, g->env, ENVBLOCK_AGENT) || !envblock_set(&env, fd_variable(fd)) ||
        !envblock_set(&env, check))
        return err_set(err, ERR_INPUT, "the environment is too large");

    pid_t pid = fork();
    if (pid < 0)
        return err_sys(err, errno, "forking");
    if (pid == 0) {
        spawn_reset_signals();
        execve(g->self_path, g->argv, env.at);
        _exit(127);
    }
    g->upgrade = (struct upgrade){.probe = pid, .deadline_ms = now_ms + PROBE_WAIT_MS};
    return true;
}

void carry_exec(struct guard *g, struct err *err)
{
    static struct envblock env;
    const int kept[] = {g->lock_fd, g->pg.pidfd, g->pg.anchor_fd};

    AUTO(fd) int fd = write_out(g);
    if (fd < 0) {
        (void)err_sys(err, errno, "writing down the guard's state");
        return;
    }
    /* Everything of ours goes on, systemd's variables too. */
    env.count = 0;
    for (char *const *v = g->env; *v && env.count < ENVBLOCK_MAX; v++)
        env.at[env.count++] = *v;
    env.at[env.count] = NULL;
    if (!envblock_set(&env, fd_variable(fd))) {
        (void)err_set(err, ERR_INPUT, "the environment is too large");
        return;
    }

    for (size_t i = 0; i < ARRAY_LEN(kept); i++)
        keep_over_exec(kept[i], true);
    execve(g->self_path, g->argv, env.at);
    int exec_errno = errno;
    for (size_t i = 0; i < ARRAY_LEN(kept); i++)
        keep_over_exec(kept[i], false);
    (void)err_sys(err, exec_errno, "executing %s", g->self_path);
}

bool carry_take(struct guard *g, int fd, struct err *err)
{
    struct instance *i = &g->pg;
    UNUSED AUTO(fd) int closed_at_end = fd;
    struct carry c = {0};

    if (!read_in(fd, i->dir, &c, err))
        return false;

    g->origin = c.origin;
    g->lock_fd = c.lock_fd;
    keep_over_exec(c.lock_fd, false);
    keep_over_exec(c.pidfd, false);
    keep_over_exec(c.anchor_fd, false);

    g->agent.pid = c.agent_pid;
    g->agent.state = c.agent_pid ? AGENT_RUNNING : AGENT_NONE;
    g->agent.restarts = c.agent_restarts;
    g->agent.started_ms = 1; /* long ago: its end, which we bring about, calls for no back-off */

    i->pid = c.pg_pid;
    i->pidfd = c.pidfd;
    i->anchor_pid = c.anchor_pid;
    i->anchor_fd = c.anchor_fd;
    i->state = (enum guard_pg_state)c.pg_state;
    i->claimed = c.claimed;
    i->adopted = c.adopted;
    i->executed = c.executed;
    i->signalled = (enum halt_level)c.signalled;
    i->orphan_count = c.orphan_count;
    i->match = c.match;
    i->exit_known = c.exit_known;
    i->exit_status = c.exit_status;
    i->exited = c.exited;
    i->look_at_ms = c.look_at_ms;
    i->clear_at_ms = c.clear_at_ms;
    i->kill_began_ms = c.kill_began_ms;

    g->fence = (struct fence){.halt = halt_in(&c.fence),
                              .term = c.fence_term,
                              .fired = c.fence_is_fired,
                              .spent = c.fence_is_spent,
                              .closed = c.fence_is_closed};
    g->fence_fired = c.fence_fired;
    g->stop = halt_in(&c.stop);
    g->stop_mode = c.stop_mode;
    say_info("guard.upgraded", "version %s took over from %.31s", PGKEEP_VERSION, c.version);
    return true;
}

bool carry_check(const char *data_dir, int fd, struct err *err)
{
    struct carry c;

    return read_in(fd, data_dir, &c, err);
}
