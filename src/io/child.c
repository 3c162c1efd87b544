#include "io/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/str.h"
#include "io/loop.h"

enum {
    KILL_AFTER_MS = 2000,     /* between our SIGTERM and our SIGKILL: time to remove temporary files */
    LINE_MAX_LEN = 16 * 1024, /* a longer line is handed on in pieces */
    READ_SIZE = 16 * 1024,
    DRAIN_MAX = 2 * 1024 * 1024, /* read after its end: more than a pipe holds; a grandchild may go on */
    EXIT_NOT_RUN = 127,          /* the shells' status for "could not be executed" */
    FD_CLOSE_MAX = 65536,        /* only where the kernel has no close_range() */
};

/* One of the child's output streams, our end. */
struct stream {
    struct child *child;
    int fd;
    bool is_stderr;
    struct loop_fd *watch;
    struct buf tail; /* trimmed to CHILD_OUTPUT_MAX now and then, see stream_tail() */
    struct buf line; /* the line that has not ended */
};

struct child {
    struct loop *loop;
    pid_t pid;
    int pidfd;
    struct loop_fd *watch;
    struct stream out, err;
    int in_fd;
    struct loop_fd *in_watch;
    char *input;
    size_t input_len, input_at;
    struct loop_timer budget, silence;
    msec silence_ms;
    bool timed_out;
    bool abandoned; /* waits only to be reaped */
    bool finished;  /* reaped; `done` is running */
    void (*line)(const char *line, bool from_stderr, void *arg);
    child_done_fn *done;
    void *arg;
};

static void fd_drop(int *fd)
{
    int old = take_fd(fd);

    if (old >= 0)
        (void)close(old);
}

static void stream_deinit(struct stream *s)
{
    loop_fd_remove(TAKE(s->watch));
    fd_drop(&s->fd);
    buf_deinit(&s->tail);
    buf_deinit(&s->line);
}

static void input_end(struct child *c)
{
    loop_fd_remove(TAKE(c->in_watch));
    fd_drop(&c->in_fd);
}

static void child_free(struct child *c)
{
    input_end(c);
    stream_deinit(&c->out);
    stream_deinit(&c->err);
    loop_fd_remove(TAKE(c->watch));
    fd_drop(&c->pidfd);
    loop_timer_clear(&c->budget);
    loop_timer_clear(&c->silence);
    free(c->input);
    free(c);
}

/* ---- output ---- */

static void line_hand_on(struct stream *s)
{
    struct child *c = s->child;

    if (s->line.len && s->line.at[s->line.len - 1] == '\r')
        s->line.at[--s->line.len] = '\0';
    if (c->line && !c->abandoned)
        c->line(buf_cstr(&s->line), s->is_stderr, c->arg);
    buf_clear(&s->line);
}

static void stream_take(struct stream *s, const char *bytes, size_t len)
{
    buf_add(&s->tail, bytes, len);
    if (s->tail.len > 2 * CHILD_OUTPUT_MAX) {
        size_t drop = s->tail.len - CHILD_OUTPUT_MAX;
        memmove(s->tail.at, s->tail.at + drop, CHILD_OUTPUT_MAX + 1);
        s->tail.len = CHILD_OUTPUT_MAX;
    }
    if (!s->child->line)
        return;

    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != '\n')
            buf_add_char(&s->line, bytes[i]);
        if (bytes[i] == '\n' || s->line.len >= LINE_MAX_LEN)
            line_hand_on(s);
    }
}

/* One read. True if there may be more at once. */
static bool stream_read(struct stream *s, size_t *ret_len)
{
    char bytes[READ_SIZE];

    ssize_t len = read(s->fd, bytes, sizeof(bytes));
    if (len > 0) {
        stream_take(s, bytes, (size_t)len);
        *ret_len = (size_t)len;
        return true;
    }
    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return errno == EINTR;

    loop_fd_remove(TAKE(s->watch)); /* end of file */
    fd_drop(&s->fd);
    return false;
}

static void stream_ready(int fd, unsigned int ready, void *arg)
{
    struct stream *s = arg;
    size_t len = 0;

    (void)fd;
    (void)ready;                /* only reading was asked for */
    (void)stream_read(s, &len); /* level-triggered: we are called again if there is more */
    if (len && s->child->silence_ms)
        loop_timer_set(&s->child->silence, loop_clock_ms() + s->child->silence_ms);
}

/* What the child itself wrote is in the pipe when it has ended. Who else holds the pipe is not waited for. */
static void stream_drain(struct stream *s)
{
    size_t total = 0;
    size_t len = 0;

    while (s->fd >= 0 && total < DRAIN_MAX && stream_read(s, &len))
        total += len;
    if (s->line.len)
        line_hand_on(s);
}

static const char *stream_tail(const struct stream *s)
{
    size_t skip = s->tail.len > CHILD_OUTPUT_MAX ? s->tail.len - CHILD_OUTPUT_MAX : 0;

    return buf_cstr(&s->tail) + skip;
}

/* ---- input ---- */

static void input_ready(int fd, unsigned int ready, void *arg)
{
    struct child *c = arg;

    (void)ready;
    ssize_t len = write(fd, c->input + c->input_at, c->input_len - c->input_at);
    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;

    if (len > 0)
        c->input_at += (size_t)len;
    if (len < 0 || c->input_at == c->input_len)
        input_end(c); /* EPIPE: it does not want the rest, its exit status will say whether that is wrong */
}

/* ---- the end ---- */

static void group_signal(const struct child *c, int signo)
{
    if (kill(-c->pid, signo) != 0)
        (void)kill(c->pid, signo); /* before its setpgid(), or a group of zombies: no matter */
}

static void budget_over(void *arg)
{
    struct child *c = arg;

    if (c->timed_out) {
        group_signal(c, SIGKILL);
        return;
    }

    c->timed_out = true;
    group_signal(c, SIGTERM);
    group_signal(c, SIGCONT); /* a stopped process does not see SIGTERM */
    loop_timer_set(&c->budget, loop_clock_ms() + KILL_AFTER_MS);
}

static void silent_too_long(void *arg)
{
    struct child *c = arg;

    if (!c->timed_out)
        budget_over(c);
}

static void child_ended(int fd, unsigned int ready, void *arg)
{
    struct child *c = arg;
    siginfo_t info = {0};

    (void)ready;
    /* While its leader is a zombie the group's number cannot be anybody else's. */
    if (c->timed_out || c->abandoned)
        group_signal(c, SIGKILL);
    int failed = waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG);
    if (!failed && info.si_pid == 0)
        return; /* not yet */

    c->finished = true;
    loop_fd_remove(TAKE(c->watch));
    loop_timer_clear(&c->budget);
    loop_timer_clear(&c->silence);
    if (!c->abandoned) {
        stream_drain(&c->out);
        stream_drain(&c->err);
    }
    if (!c->abandoned) { /* a line callback may have */
        bool exited = !failed && info.si_code == CLD_EXITED;
        struct child_result result = {
            .exited = exited,
            .status = exited ? info.si_status : 0,
            .signal = !failed && !exited ? info.si_status : 0,
            .timed_out = c->timed_out,
            .out = stream_tail(&c->out),
            .errout = stream_tail(&c->err),
        };
        c->done(&result, c->arg);
    }
    child_free(c);
}

void child_signal(struct child *c, int signo)
{
    if (!c->finished)
        group_signal(c, signo);
}

pid_t child_pid(const struct child *c)
{
    return c->pid;
}

/* The loop goes away: nobody will see the end of an abandoned child. */
static void child_drop(void *arg)
{
    struct child *c = arg;
    siginfo_t info;

    group_signal(c, SIGKILL);
    (void)waitid(P_PIDFD, (id_t)c->pidfd, &info, WEXITED | WNOHANG); /* else init, or our parent, reaps it */
    c->watch = NULL;                                                 /* removed by the loop */
    child_free(c);
}

void child_abandon(struct child *c)
{
    if (!c)
        return;

    c->abandoned = true;
    if (c->finished)
        return; /* called from its own callback */

    group_signal(c, SIGKILL);
    input_end(c);
    loop_timer_clear(&c->budget);
    loop_timer_clear(&c->silence);
    loop_fd_remove(TAKE(c->out.watch));
    loop_fd_remove(TAKE(c->err.watch));
    loop_fd_on_loop_free(c->watch, child_drop);
}

/* ---- the start ---- */

/* What the new process needs. After fork() only async-signal-safe calls: other threads may hold locks. */
struct start {
    char *path;
    const char *const *argv;
    char **env;
    const char *cwd;
    bool own_session;
    int in_fd, out_fd, err_fd;
    pid_t parent;
};

static const char *env_get(const char *const *env, const char *name)
{
    size_t len = strlen(name);
    const char *found = NULL;

    for (size_t i = 0; env && env[i]; i++) {
        if (strncmp(env[i], name, len) == 0 && env[i][len] == '=')
            found = env[i] + len + 1;
    }
    return found;
}

/* PATRONI_* is our own configuration, passwords included: nobody's business below us. */
static bool is_private(const char *variable)
{
    return strncmp(variable, "PATRONI_", strlen("PATRONI_")) == 0;
}

/* Our environment with the additions; the strings are borrowed. */
static char **env_merge(const char *const *add)
{
    size_t ours = 0;
    size_t added = 0;
    size_t count = 0;

    while (environ[ours])
        ours++;
    while (add && add[added])
        added++;
    char **env = mem_zero(ours + added + 1, sizeof(*env));
    for (size_t i = 0; i < ours; i++) {
        size_t name_len = strcspn(environ[i], "=");
        bool replaced = false;
        for (size_t k = 0; k < added; k++)
            replaced |= strcspn(add[k], "=") == name_len && strncmp(environ[i], add[k], name_len) == 0;
        if (!replaced && !is_private(environ[i]))
            env[count++] = environ[i];
    }
    for (size_t k = 0; k < added; k++)
        env[count++] = (char *)(uintptr_t)add[k]; /* execve() wants it so and does not write */
    return env;
}

static bool is_program(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* Where argv[0] is, by the PATH the child will have. NULL: nowhere. */
static char *find_program(const char *name, const char *const *env)
{
    if (strchr(name, '/'))
        return is_program(name) ? str_dup(name) : NULL;

    const char *path = env_get(env, "PATH");
    if (!path)
        path = getenv("PATH");
    if (!path)
        path = "/usr/local/bin:/usr/bin:/bin";
    for (const char *at = path;; at++) {
        size_t len = strcspn(at, ":");
        AUTO(cstr) char *full = str_fmt("%.*s/%s", (int)len, len ? at : ".", name);
        if (is_program(full))
            return TAKE(full);
        at += len;
        if (!*at)
            return NULL;
    }
}

static void close_above_stderr(void)
{
    struct rlimit limit;

    if (syscall(SYS_close_range, 3U, ~0U, 0U) == 0)
        return;

    /* Refused by an old kernel or a container's filter. */
    int max = FD_CLOSE_MAX;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < FD_CLOSE_MAX)
        max = (int)limit.rlim_cur;
    for (int fd = 3; fd < max; fd++)
        (void)close(fd);
}

static void put_error(const char *text)
{
    ssize_t written = write(STDERR_FILENO, text, strlen(text));
    (void)written; /* the exit status says it too */
}

static _Noreturn void not_run(const char *what, const char *path)
{
    const char *reason = strerrordesc_np(errno); /* a constant, unlike strerror()'s */

    put_error(what);
    put_error(path);
    put_error(": ");
    put_error(reason ? reason : "unknown error");
    put_error("\n");
    _exit(EXIT_NOT_RUN);
}

static _Noreturn void run_in_child(const struct start *s)
{
    sigset_t none;

    if (s->own_session)
        (void)setsid(); /* cannot fail: we are new and lead no group */
    else
        (void)setpgid(0, 0); /* nor can this: we lead no session */
    for (int signo = 1; signo < NSIG; signo++)
        (void)signal(signo, SIG_DFL); /* refused for KILL, STOP and libc's own: fine */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != s->parent)
        _exit(EXIT_NOT_RUN); /* whoever wanted us is gone already */
    if (dup2(s->in_fd, STDIN_FILENO) < 0 || dup2(s->out_fd, STDOUT_FILENO) < 0 || dup2(s->err_fd, STDERR_FILENO) < 0)
        _exit(EXIT_NOT_RUN);
    close_above_stderr();
    if (s->cwd && chdir(s->cwd) != 0)
        not_run("changing to folder ", s->cwd);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL); /* cannot fail */
    (void)execve(s->path, (char *const *)(uintptr_t)s->argv, s->env);
    not_run("executing ", s->path);
}

static pid_t fork_quietly(const struct start *s)
{
    sigset_t all;
    sigset_t old;

    /* No handler of ours may run in the child. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    pid_t pid = fork();
    if (pid == 0)
        run_in_child(s);
    int fork_errno = errno;
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    errno = fork_errno;
    return pid;
}

/* A pipe of which neither end is one of the standard descriptors, which run_in_child() overwrites. */
static bool pipe_open(int ends[2], struct err *err)
{
    if (pipe2(ends, O_CLOEXEC) != 0)
        return err_sys(err, errno, "opening a pipe");

    for (int i = 0; i < 2; i++) {
        if (ends[i] > STDERR_FILENO)
            continue;
        int higher = fcntl(ends[i], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        int dup_errno = errno;
        (void)close(ends[i]);
        ends[i] = higher;
        if (higher < 0) {
            fd_drop(&ends[1 - i]);
            return err_sys(err, dup_errno, "opening a pipe");
        }
    }
    return true;
}

static bool open_null(int *ret_fd, struct err *err)
{
    AUTO(fd) int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(err, errno, "opening /dev/null");

    int higher = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (higher < 0)
        return err_sys(err, errno, "opening /dev/null");

    *ret_fd = higher;
    return true;
}

static void set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    CHECK(flags >= 0);
    int failed = fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    CHECK(!failed);
}

/* The three pipes, or /dev/null where there is no input; the child's ends go to *s. */
static bool streams_open(struct child *c, struct start *s, struct err *err)
{
    int ends[2];

    if (c->input) {
        if (!pipe_open(ends, err))
            return false;
        s->in_fd = ends[0];
        c->in_fd = ends[1];
        set_nonblocking(c->in_fd);
    } else if (!open_null(&s->in_fd, err)) {
        return false;
    }

    if (!pipe_open(ends, err))
        return false;
    c->out.fd = ends[0];
    s->out_fd = ends[1];
    if (!pipe_open(ends, err))
        return false;
    c->err.fd = ends[0];
    s->err_fd = ends[1];
    set_nonblocking(c->out.fd);
    set_nonblocking(c->err.fd);
    return true;
}

/* Fork, exec and get hold of the process. */
static bool launch(struct child *c, struct start *s, struct err *err)
{
    siginfo_t info;

    if (!streams_open(c, s, err))
        return false;

    s->parent = getpid();
    c->pid = fork_quietly(s);
    if (c->pid < 0)
        return err_sys(err, errno, "starting a process for %s", s->path);

    if (!s->own_session)
        (void)setpgid(c->pid, c->pid); /* the child does it too; whoever is first */
    c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
    if (c->pidfd < 0) {
        int pidfd_errno = errno;
        (void)kill(c->pid, SIGKILL);
        (void)waitid(P_PID, (id_t)c->pid, &info, WEXITED); /* it has hardly begun: no wait to speak of */
        return err_sys(err, pidfd_errno, "watching the process of %s", s->path);
    }
    return true;
}

static void start_deinit(struct start *s)
{
    fd_drop(&s->in_fd);
    fd_drop(&s->out_fd);
    fd_drop(&s->err_fd);
    free(s->env);
    free(s->path);
}

bool child_start(struct loop *l, const struct child_spec *spec, child_done_fn *done, void *arg,
                 struct child **ret_child, struct err *err)
{
    struct start s = {.argv = spec->argv,
                      .cwd = spec->cwd,
                      .own_session = spec->own_session,
                      .in_fd = -1,
                      .out_fd = -1,
                      .err_fd = -1};

    CHECK(spec->argv && spec->argv[0]);
    CHECK(done);
    s.path = find_program(spec->argv[0], spec->env);
    if (!s.path)
        return err_set(err, ERR_NOT_FOUND, "%s: no such program", spec->argv[0]);

    s.env = env_merge(spec->env);
    struct child *c = mem_zero(1, sizeof(*c));
    *c = (struct child){.loop = l, .pidfd = -1, .in_fd = -1, .line = spec->line, .done = done, .arg = arg};
    c->out = (struct stream){.child = c, .fd = -1};
    c->err = (struct stream){.child = c, .fd = -1, .is_stderr = true};
    c->input = str_dup(spec->input);
    c->input_len = c->input ? strlen(c->input) : 0;
    loop_timer_init(&c->budget, l, budget_over, c);
    loop_timer_init(&c->silence, l, silent_too_long, c);

    bool launched = launch(c, &s, err);
    start_deinit(&s);
    if (!launched) {
        child_free(c);
        return false;
    }

    c->watch = loop_fd_add(l, c->pidfd, LOOP_READ, child_ended, c);
    c->out.watch = loop_fd_add(l, c->out.fd, LOOP_READ, stream_ready, &c->out);
    c->err.watch = loop_fd_add(l, c->err.fd, LOOP_READ, stream_ready, &c->err);
    if (c->input)
        c->in_watch = loop_fd_add(l, c->in_fd, LOOP_WRITE, input_ready, c);
    if (spec->budget_ms)
        loop_timer_set(&c->budget, loop_clock_ms() + spec->budget_ms);
    c->silence_ms = spec->silence_ms;
    if (spec->silence_ms)
        loop_timer_set(&c->silence, loop_clock_ms() + spec->silence_ms);
    if (ret_child)
        *ret_child = c;
    return true;
}

/* ---- results ---- */

/* The last line with something on it; *ret_len 0 if there is none. */
static const char *last_line(const char *text, size_t *ret_len)
{
    size_t end = strlen(text);

    while (end && (text[end - 1] == '\n' || text[end - 1] == '\r' || text[end - 1] == ' '))
        end--;
    size_t begin = end;
    while (begin && text[begin - 1] != '\n')
        begin--;
    *ret_len = end - begin;
    return text + begin;
}

bool child_succeeded(const struct child_result *r, const char *name, struct err *err)
{
    size_t len = 0;

    if (r->exited && r->status == 0 && !r->timed_out)
        return true;

    const char *line = last_line(r->errout, &len);
    if (!len)
        line = last_line(r->out, &len);
    if (len > ERR_TEXT_MAX / 2)
        len = ERR_TEXT_MAX / 2;
    const char *colon = len ? ": " : "";
    if (r->timed_out)
        return err_set(err, ERR_TIMEOUT, "%s: did not end in time%s%.*s", name, colon, (int)len, line);
    if (r->exited)
        return err_set(err, ERR_PG, "%s: exit %d%s%.*s", name, r->status, colon, (int)len, line);
    if (!r->signal)
        return err_set(err, ERR_PG, "%s: its end was not seen%s%.*s", name, colon, (int)len, line);
    return err_set(err, ERR_PG, "%s: ended by signal %d%s%.*s", name, r->signal, colon, (int)len, line);
}
