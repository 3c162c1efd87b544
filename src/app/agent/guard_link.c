#include "app/agent/guard_link.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/str.h"
#include "io/loop.h"

enum {
    SUSPENDED_MS = 250,    /* our timer came this much late: we did not run, and the guard's echoes wait to be read */
    PACKETS_PER_TURN = 32, /* then the loop has its turn */
};

struct guard_link {
    struct loop *loop;
    struct loop_fd *watch;
    struct loop_fd *guard_watch;
    struct loop_timer heartbeat;
    struct guard_link_events events;
    void *arg;

    int fd;
    int guard_pidfd;
    int postmaster_pidfd;
    uint64_t seq;
    msec due_ms; /* when the heartbeat was to come */
    unsigned int beats;
    msec waits_ms; /* when the oldest request without an answer was sent; 0: none */
    bool silent;
    bool closed;
    struct guard_msg state; /* the last one, or what a refusal said of it; zero before */
    struct guard_msg in;
    struct guard_msg out;
};

static void close_postmaster(struct guard_link *g)
{
    if (g->postmaster_pidfd >= 0)
        (void)close(g->postmaster_pidfd);
    g->postmaster_pidfd = -1;
}

/* Last words: nothing of *g is touched afterwards. */
static void link_close(struct guard_link *g, const char *why)
{
    if (g->closed)
        return;
    g->closed = true;
    loop_timer_clear(&g->heartbeat);
    loop_fd_remove(g->watch);
    loop_fd_remove(g->guard_watch);
    g->watch = NULL;
    g->guard_watch = NULL;
    g->events.closed(why, g->arg);
}

/* --- out --- */

static struct guard_msg *request(struct guard_link *g, enum guard_kind kind)
{
    memset(&g->out, 0, sizeof(g->out));
    g->out.version = GUARD_PROTOCOL;
    g->out.kind = kind;
    return &g->out;
}

static bool request_send(struct guard_link *g, struct err *err)
{
    if (g->closed)
        return err_set(err, ERR_SYS, "the guard is gone");

    g->out.seq = g->seq + 1;
    if (send(g->fd, &g->out, sizeof(g->out), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return err_sys(err, errno, "telling the guard");
    g->seq++;
    bool answered_at_once = g->out.kind != GUARD_BEAT && g->out.kind != GUARD_START && g->out.kind != GUARD_UPGRADE;
    if (answered_at_once && !g->waits_ms)
        g->waits_ms = loop_clock_ms();
    return true;
}

static bool put_text(char *to, size_t cap, const char *text, const char *what, struct err *err)
{
    if (strlen(text) >= cap)
        return err_set(err, ERR_INPUT, "%s is too long (%zu bytes, %zu fit)", what, strlen(text), cap - 1);
    str_copy(to, cap, text);
    return true;
}

/* Texts one after the other, each with its NUL; *used grows. The NUL after the last is there already. */
static bool put_list(char *to, size_t cap, size_t *used, const char *const *texts, const char *what, struct err *err)
{
    for (; *texts; texts++) {
        size_t len = strlen(*texts) + 1;
        if (*used + len >= cap)
            return err_set(err, ERR_INPUT, "%s is too long (%zu bytes fit)", what, cap);
        memcpy(to + *used, *texts, len);
        *used += len;
    }
    return true;
}

bool guard_link_start(struct guard_link *g, const char *const *argv, const char *const *env, const char *log_path,
                      struct err *err)
{
    struct guard_msg *m = request(g, GUARD_START);
    size_t args_len = 0;
    size_t env_len = 0;

    CHECK(argv[0] && argv[0][0] == '/');
    if (!put_list(m->args, sizeof(m->args), &args_len, argv, "PostgreSQL's command line", err) ||
        (env && !put_list(m->env, sizeof(m->env), &env_len, env, "PostgreSQL's environment", err)) ||
        !put_text(m->log_path, sizeof(m->log_path), log_path ? log_path : "", "the log's path", err))
        return false;
    m->args_len = (uint32_t)args_len;
    return request_send(g, err);
}

bool guard_link_stop(struct guard_link *g, enum guard_stop_mode mode, msec quit_at_ms, msec kill_at_ms, struct err *err)
{
    struct guard_msg *m = request(g, GUARD_STOP);

    m->mode = mode;
    m->quit_at_ms = quit_at_ms;
    m->kill_at_ms = kill_at_ms;
    return request_send(g, err);
}

bool guard_link_adopt(struct guard_link *g, pid_t postmaster, struct err *err)
{
    request(g, GUARD_ADOPT)->postmaster_pid = postmaster;
    return request_send(g, err);
}

bool guard_link_arm(struct guard_link *g, term t, msec stop_at_ms, msec quit_at_ms, msec kill_at_ms, struct err *err)
{
    struct guard_msg *m = request(g, GUARD_ARM);

    CHECK(0 < stop_at_ms && stop_at_ms <= quit_at_ms && quit_at_ms <= kill_at_ms && kill_at_ms < MSEC_NEVER);
    m->term = t;
    m->stop_at_ms = stop_at_ms;
    m->quit_at_ms = quit_at_ms;
    m->kill_at_ms = kill_at_ms;
    return request_send(g, err);
}

bool guard_link_disarm(struct guard_link *g, struct err *err)
{
    request(g, GUARD_DISARM);
    return request_send(g, err);
}

bool guard_link_leave(struct guard_link *g, struct err *err)
{
    request(g, GUARD_LEAVE);
    return request_send(g, err);
}

bool guard_link_upgrade(struct guard_link *g, struct err *err)
{
    request(g, GUARD_UPGRADE);
    return request_send(g, err);
}

/* --- in --- */

/* 1: a packet is in g->in; 0: none; -1: the end. *ret_fd: a descriptor that came along, or -1. */
static int receive(struct guard_link *g, int *ret_fd)
{
    struct iovec iov = {.iov_base = &g->in, .iov_len = sizeof(g->in)};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};

    *ret_fd = -1;
    ssize_t len = recvmsg(g->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (len < 0 && errno == ECONNRESET) /* the guard died with requests unread: said once, before its last words */
        len = recvmsg(g->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (len <= 0)
        return -1;

    const struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
    if (len != sizeof(g->in) || (msg.msg_flags & MSG_TRUNC) || g->in.version != GUARD_PROTOCOL)
        g->in.kind = 0; /* not to be understood */
    return 1;
}

static void on_state(struct guard_link *g, int take_pidfd)
{
    if (take_pidfd >= 0) {
        close_postmaster(g);
        g->postmaster_pidfd = take_pidfd;
    } else if (g->in.postmaster_pid != g->state.postmaster_pid) {
        close_postmaster(g); /* it was another one's */
    }
    g->state = g->in;
}

/* False: the link is closed. */
static bool dispatch(struct guard_link *g, int take_fd)
{
    g->in.text[sizeof(g->in.text) - 1] = '\0';
    g->in.data_dir[sizeof(g->in.data_dir) - 1] = '\0';
    g->waits_ms = 0;
    g->silent = false;

    switch ((enum guard_kind)g->in.kind) {
    case GUARD_STATE:
    case GUARD_REFUSED:
        on_state(g, take_fd);
        if (g->in.kind == GUARD_STATE)
            g->events.state(&g->state, g->arg);
        else
            g->events.refused(&g->state, g->arg);
        return true;
    case GUARD_TERM:
        fd_freep(&take_fd);
        g->events.term(g->arg);
        return true;
    case GUARD_RELOAD:
        fd_freep(&take_fd);
        g->events.reload(g->arg);
        return true;
    case GUARD_REOPEN:
        fd_freep(&take_fd);
        g->events.reopen(g->arg);
        return true;
    case GUARD_HELLO:
    case GUARD_START:
    case GUARD_STOP:
    case GUARD_ADOPT:
    case GUARD_ARM:
    case GUARD_DISARM:
    case GUARD_PING:
    case GUARD_LEAVE:
    case GUARD_UPGRADE:
    case GUARD_BEAT:
        break;
    }
    /* A request, or bytes of a guard of another version: not something a guard of ours says. */
    fd_freep(&take_fd);
    link_close(g, "the guard speaks another version of the protocol");
    return false;
}

static void on_readable(int fd, unsigned int ready, void *arg)
{
    struct guard_link *g = arg;
    int passed_fd;

    for (int i = 0; i < PACKETS_PER_TURN; i++) {
        int got = receive(g, &passed_fd);
        if (got == 0)
            return;
        if (got < 0) {
            link_close(g, "the guard closed the connection");
            return;
        }
        if (!dispatch(g, passed_fd))
            return;
    }
}

static void on_guard_dead(int fd, unsigned int ready, void *arg)
{
    link_close(arg, "the guard died");
}

static void beat_at(struct guard_link *g, msec at_ms)
{
    g->due_ms = at_ms;
    loop_timer_set_about(&g->heartbeat, at_ms);
}

static void on_heartbeat(void *arg)
{
    struct guard_link *g = arg;
    msec now_ms = loop_clock_ms();

    if (now_ms > g->due_ms + SUSPENDED_MS && g->waits_ms)
        g->waits_ms = now_ms;
    beat_at(g, now_ms + GUARD_BEAT_MS);

    request(g, ++g->beats % GUARD_BEATS_PER_PING ? GUARD_BEAT : GUARD_PING);
    (void)request_send(g, NULL); /* one that does not fit is missed like any other lost beat */
    if (!g->waits_ms || now_ms - g->waits_ms < GUARD_ECHO_MS || g->silent)
        return;
    g->silent = true;
    g->events.silent(g->arg);
}

/* --- life --- */

static int pidfd_of_parent(pid_t parent)
{
    int pidfd = (int)syscall(SYS_pidfd_open, parent, 0);

    if (pidfd >= 0 && getppid() != parent) { /* it died meanwhile, and the number may be another's */
        (void)close(pidfd);
        return -1;
    }
    return pidfd;
}

bool guard_link_open_fd(struct loop *l, int take_fd, pid_t guard, const char *data_dir,
                        const struct guard_link_events *events, void *arg, struct guard_link **ret_link,
                        struct err *err)
{
    AUTO(guard_link) struct guard_link *g = mem_zero(1, sizeof(*g));

    g->loop = l;
    g->fd = take_fd;
    g->guard_pidfd = -1;
    g->postmaster_pidfd = -1;
    g->events = *events;
    g->arg = arg;
    loop_timer_init(&g->heartbeat, l, on_heartbeat, g);

    if (guard) {
        g->guard_pidfd = pidfd_of_parent(guard);
        if (g->guard_pidfd < 0)
            return err_set(err, ERR_SYS, "the guard is gone");
    }
    if (!put_text(request(g, GUARD_HELLO)->data_dir, GUARD_PATH_MAX, data_dir, "the data directory's path", err) ||
        !request_send(g, err))
        return false;

    g->watch = loop_fd_add(l, g->fd, LOOP_READ, on_readable, g);
    if (g->guard_pidfd >= 0)
        g->guard_watch = loop_fd_add(l, g->guard_pidfd, LOOP_READ, on_guard_dead, g);
    beat_at(g, loop_clock_ms() + GUARD_BEAT_MS);
    *ret_link = TAKE(g);
    return true;
}

bool guard_link_open(struct loop *l, const char *data_dir, const struct guard_link_events *events, void *arg,
                     struct guard_link **ret_link, struct err *err)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    int64_t fd;
    int64_t lock_fd;

    if (!str_to_int(getenv(GUARD_ENV_FD), 3, INT_MAX, &fd) ||
        getsockopt((int)fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return err_set(err, ERR_INPUT, "there is no guard (the agent is started by \"pgkeep run\")");
    if (peer.pid != getppid())
        return err_set(err, ERR_SYS, "the guard is gone");

    (void)fcntl((int)fd, F_SETFD, FD_CLOEXEC);
    if (str_to_int(getenv(GUARD_ENV_LOCK_FD), 3, INT_MAX, &lock_fd))
        (void)fcntl((int)lock_fd, F_SETFD, FD_CLOEXEC); /* held for as long as we live: that is its purpose */
    (void)unsetenv(GUARD_ENV_FD);                       /* our children have no guard */
    (void)unsetenv(GUARD_ENV_LOCK_FD);
    return guard_link_open_fd(l, (int)fd, peer.pid, data_dir, events, arg, ret_link, err);
}

void guard_link_free(struct guard_link *g)
{
    if (!g)
        return;
    loop_timer_clear(&g->heartbeat);
    loop_fd_remove(g->watch);
    loop_fd_remove(g->guard_watch);
    close_postmaster(g);
    fd_freep(&g->guard_pidfd);
    fd_freep(&g->fd);
    free(g);
}

uint64_t guard_link_seq(const struct guard_link *g)
{
    return g->seq;
}

int guard_link_guard_pidfd(const struct guard_link *g)
{
    return g->guard_pidfd;
}

bool guard_link_signal_postmaster(const struct guard_link *g, int signo, struct err *err)
{
    if (g->postmaster_pidfd < 0)
        return err_set(err, ERR_NOT_FOUND, "there is no postmaster");
    if (syscall(SYS_pidfd_send_signal, g->postmaster_pidfd, signo, NULL, 0) < 0)
        return err_sys(err, errno, "signalling the postmaster");
    return true;
}
