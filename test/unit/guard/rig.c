#include "rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "puppet.h"

msec rig_now_ms(void)
{
    struct timespec now;

    assert_int_equal(clock_gettime(CLOCK_BOOTTIME, &now), 0);
    return (msec)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void rig_nap(msec wait_ms)
{
    const struct timespec step = {.tv_sec = wait_ms / 1000, .tv_nsec = wait_ms % 1000 * 1000000};

    (void)nanosleep(&step, NULL);
}

/* Between two looks at something that has no descriptor to wait for. */
static void nap(void)
{
    rig_nap(5);
}

/* --- files and processes --- */

static const struct passwd *rig_user(void)
{
    const struct passwd *user = geteuid() == 0 ? getpwnam("postgres") : getpwuid(geteuid());

    assert_non_null(user);
    return user;
}

static void give(const char *path)
{
    assert_int_equal(chown(path, rig_user()->pw_uid, rig_user()->pw_gid), 0);
}

static void make_dir(const char *path)
{
    assert_int_equal(mkdir(path, 0700), 0);
    give(path);
}

static int run_as_test(const char *const *argv)
{
    int status;

    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)execv(argv[0], (char *const *)argv);
        _exit(127);
    }
    while (waitpid(pid, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    return status;
}

void rig_install(const char *from, const char *to)
{
    char fresh[300];
    const char *const argv[] = {"/usr/bin/install", "-m", "0755", from, fresh, NULL};

    (void)snprintf(fresh, sizeof(fresh), "%s.new", to);
    assert_non_null(from);
    assert_int_equal(run_as_test(argv), 0);
    assert_int_equal(rename(fresh, to), 0);
}

static void open_control(struct rig *r)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};

    (void)snprintf(at.sun_path, sizeof(at.sun_path), "%s", r->control_path);
    r->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_true(r->listen_fd >= 0);
    assert_int_equal(bind(r->listen_fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(chmod(r->control_path, 0777), 0);
    assert_int_equal(listen(r->listen_fd, 8), 0);
}

void rig_init(struct rig *r)
{
    *r = (struct rig){.listen_fd = -1, .agent_fd = -1, .pidfd = -1};
    (void)snprintf(r->dir, sizeof(r->dir), "/tmp/pgkeep-guard-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    assert_int_equal(chmod(r->dir, 0755), 0);
    give(r->dir);
    (void)snprintf(r->data_dir, sizeof(r->data_dir), "%s/data", r->dir);
    (void)snprintf(r->state_dir, sizeof(r->state_dir), "%s/state", r->dir);
    (void)snprintf(r->guard_path, sizeof(r->guard_path), "%s/pgkeep-guard", r->dir);
    (void)snprintf(r->puppet_path, sizeof(r->puppet_path), "%s/puppet", r->dir);
    (void)snprintf(r->control_path, sizeof(r->control_path), "%s/control", r->dir);
    (void)snprintf(r->log_path, sizeof(r->log_path), "%s/guard.log", r->dir);
    make_dir(r->data_dir);
    make_dir(r->state_dir);
    rig_install(getenv("GUARD_EXE"), r->guard_path); /* the build says where the programs are */
    rig_install(getenv("PUPPET_EXE"), r->puppet_path);
    open_control(r);
}

static void kill_and_reap(pid_t *pid)
{
    if (*pid <= 0)
        return;
    (void)kill(*pid, SIGKILL);
    (void)kill(*pid, SIGCONT);
    (void)waitpid(*pid, NULL, 0);
    *pid = 0;
}

void rig_end(struct rig *r)
{
    pid_t pids[256];

    kill_and_reap(&r->guard);
    if (r->agent > 0)
        (void)kill(r->agent, SIGKILL);
    for (int round = 0; round < 1000; round++) {
        int count = rig_instance(r, pids, 256);
        if (!count)
            break;
        for (int i = 0; i < count; i++)
            (void)kill(pids[i], SIGKILL);
        nap();
    }
}

void rig_deinit(struct rig *r)
{
    const char *const show[] = {"/bin/cat", r->log_path, NULL};
    const char *const remove[] = {"/bin/rm", "-rf", r->dir, NULL};

    rig_end(r);
    for (int *fd = (int[]){r->listen_fd, r->agent_fd, r->pidfd, -2}; *fd != -2; fd++)
        if (*fd >= 0)
            (void)close(*fd);
    if (getenv("GUARD_TEST_LOG"))
        (void)run_as_test(show);
    assert_int_equal(run_as_test(remove), 0);
}

pid_t rig_spawn(const struct rig *r, const char *const *argv, const char *out_path)
{
    const struct passwd *user = rig_user();

    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid)
        return pid;

    if (geteuid() == 0 &&
        (initgroups(user->pw_name, user->pw_gid) < 0 || setgid(user->pw_gid) < 0 || setuid(user->pw_uid) < 0))
        _exit(126);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that is itself killed leaves nothing running */
    int out = open(out_path ? out_path : r->log_path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    int in = open("/dev/null", O_RDONLY);
    if (out < 0 || in < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
        _exit(126);
    if (r->notify_path[0])
        (void)setenv("NOTIFY_SOCKET", r->notify_path, 1);
    (void)chdir("/");
    (void)execv(argv[0], (char *const *)argv);
    _exit(127);
}

bool rig_alive(pid_t pid)
{
    char path[64];
    char text[512];

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "r");
    if (!f)
        return false;
    size_t len = fread(text, 1, sizeof(text) - 1, f);
    (void)fclose(f);
    text[len] = '\0';
    const char *end = strrchr(text, ')');
    return end && end[1] && end[2] != 'Z' && end[2] != 'X';
}

void rig_until_dead(pid_t pid, msec wait_ms)
{
    msec deadline_ms = rig_now_ms() + wait_ms;

    while (rig_alive(pid)) {
        assert_true(rig_now_ms() < deadline_ms); /* the process should have ended by now */
        nap();
    }
}

static bool link_of(const char *pid, const char *name, char *target, size_t cap)
{
    char path[300];

    (void)snprintf(path, sizeof(path), "/proc/%s/%s", pid, name);
    ssize_t len = readlink(path, target, cap - 1);
    target[len > 0 ? len : 0] = '\0';
    return len > 0;
}

void rig_until_runs(pid_t pid, const char *name)
{
    msec deadline_ms = rig_now_ms() + RIG_WAIT_MS;
    char number[16];
    char exe[4096];

    (void)snprintf(number, sizeof(number), "%d", (int)pid);
    for (;;) {
        const char *slash = link_of(number, "exe", exe, sizeof(exe)) ? strrchr(exe, '/') : NULL;
        if (slash && strcmp(slash + 1, name) == 0)
            return;
        assert_true(rig_now_ms() < deadline_ms);
        nap();
    }
}

int rig_wait(pid_t pid, msec wait_ms)
{
    msec deadline_ms = rig_now_ms() + wait_ms;
    int status;

    for (;;) {
        pid_t got = waitpid(pid, &status, WNOHANG);
        assert_true(got >= 0);
        if (got == pid)
            return status;
        assert_true(rig_now_ms() < deadline_ms); /* it should have ended by now */
        nap();
    }
}

int rig_run(const struct rig *r, const char *const *argv, const char *out_path)
{
    return rig_wait(rig_spawn(r, argv, out_path), 60000);
}

int rig_exit_code(int status)
{
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* --- the guard and its agents --- */

void rig_start(struct rig *r)
{
    static char options[256];
    const char *argv[32] = {r->guard_path, "--data-dir", r->data_dir, "--state-dir", r->state_dir};
    size_t argc = 5;

    (void)snprintf(options, sizeof(options), "%s", r->guard_options);
    for (char *word = strtok(options, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    argv[argc++] = "--";
    argv[argc++] = r->puppet_path;
    argv[argc++] = r->control_path;
    argv[argc] = r->puppet_argument[0] ? r->puppet_argument : NULL;
    r->guard = rig_spawn(r, argv, NULL);
}

void rig_accept(struct rig *r, msec wait_ms)
{
    struct pollfd ready = {.fd = r->listen_fd, .events = POLLIN};
    int32_t pid;

    assert_int_equal(poll(&ready, 1, (int)wait_ms), 1);
    if (r->agent_fd >= 0)
        (void)close(r->agent_fd);
    r->agent_fd = accept4(r->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(r->agent_fd >= 0);
    assert_int_equal(recv(r->agent_fd, &pid, sizeof(pid), 0), sizeof(pid));
    r->agent = pid;
    if (r->pidfd >= 0)
        (void)close(r->pidfd);
    r->pidfd = -1;
}

void rig_greet(struct rig *r)
{
    struct guard_msg hello = rig_message(GUARD_HELLO);

    (void)snprintf(hello.data_dir, sizeof(hello.data_dir), "%s", r->data_dir);
    assert_true(rig_ask(r, &hello));
}

void rig_begin(struct rig *r)
{
    rig_start(r);
    rig_accept(r, RIG_WAIT_MS);
    rig_greet(r);
}

int rig_guard_exit(struct rig *r, msec wait_ms)
{
    int status = rig_wait(r->guard, wait_ms);

    r->guard = 0;
    return status;
}

void rig_order(struct rig *r, char order, char value)
{
    const char bytes[2] = {order, value};

    rig_send_raw(r, bytes, sizeof(bytes));
}

struct guard_msg rig_message(enum guard_kind kind)
{
    return (struct guard_msg){.version = GUARD_PROTOCOL, .kind = kind};
}

struct guard_msg rig_arm_at(msec stop_ms, msec quit_ms, msec kill_ms)
{
    struct guard_msg arm = rig_message(GUARD_ARM);
    msec now_ms = rig_now_ms();

    arm.term = 5;
    arm.stop_at_ms = now_ms + stop_ms;
    arm.quit_at_ms = now_ms + quit_ms;
    arm.kill_at_ms = now_ms + kill_ms;
    return arm;
}

struct guard_msg rig_stop_with(enum guard_stop_mode mode)
{
    struct guard_msg stop = rig_message(GUARD_STOP);

    stop.mode = mode;
    return stop;
}

void rig_send_raw(struct rig *r, const void *bytes, size_t len)
{
    assert_int_equal(send(r->agent_fd, bytes, len, MSG_NOSIGNAL), len);
}

uint64_t rig_send(struct rig *r, struct guard_msg *m)
{
    m->seq = ++r->seq;
    rig_send_raw(r, m, sizeof(*m));
    return m->seq;
}

bool rig_receive(struct rig *r, struct guard_msg *ret_msg, msec wait_ms)
{
    struct pollfd ready = {.fd = r->agent_fd, .events = POLLIN};
    struct iovec iov = {.iov_base = ret_msg, .iov_len = sizeof(*ret_msg)};
    char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(sizeof(struct cmsghdr))));
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};

    if (wait_ms < 0 || poll(&ready, 1, (int)wait_ms) != 1)
        return false;
    if (recvmsg(r->agent_fd, &msg, MSG_CMSG_CLOEXEC) != sizeof(*ret_msg))
        return false;

    const struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    if (c && c->cmsg_type == SCM_RIGHTS) {
        if (r->pidfd >= 0)
            (void)close(r->pidfd);
        memcpy(&r->pidfd, CMSG_DATA(c), sizeof(int));
    }
    if (ret_msg->kind == GUARD_STATE || ret_msg->kind == GUARD_REFUSED)
        r->last = *ret_msg;
    return true;
}

bool rig_answer(struct rig *r, uint64_t seq)
{
    msec deadline_ms = rig_now_ms() + RIG_WAIT_MS;
    struct guard_msg m;

    do
        assert_true(rig_receive(r, &m, deadline_ms - rig_now_ms()));
    while (m.seq != seq);
    assert_true(m.kind == GUARD_STATE || m.kind == GUARD_REFUSED);
    return m.kind == GUARD_STATE;
}

bool rig_ask(struct rig *r, struct guard_msg *m)
{
    return rig_answer(r, rig_send(r, m));
}

void rig_until_kind(struct rig *r, enum guard_kind kind, msec wait_ms)
{
    msec deadline_ms = rig_now_ms() + wait_ms;
    struct guard_msg m;

    do
        assert_true(rig_receive(r, &m, deadline_ms - rig_now_ms()));
    while (m.kind != kind);
}

void rig_until_state(struct rig *r, enum guard_pg_state state, msec wait_ms)
{
    msec deadline_ms = rig_now_ms() + wait_ms;
    struct guard_msg m;

    while (r->last.pg_state != state)
        assert_true(rig_receive(r, &m, deadline_ms - rig_now_ms()));
}

/* --- looking --- */

static bool contains(const char *path, const char *text)
{
    static char content[256 * 1024];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, content, sizeof(content) - 1) : -1;

    if (fd >= 0)
        (void)close(fd);
    content[len > 0 ? len : 0] = '\0';
    return strstr(content, text) != NULL;
}

bool rig_file_says(const char *path, const char *text, msec wait_ms)
{
    msec deadline_ms = rig_now_ms() + wait_ms;

    while (!contains(path, text)) {
        if (rig_now_ms() >= deadline_ms)
            return false;
        nap();
    }
    return true;
}

int rig_instance(const struct rig *r, pid_t *ret_pids, int max)
{
    char cwd[4096];
    char exe[4096];
    int count = 0;
    DIR *proc = opendir("/proc");

    assert_non_null(proc);
    for (const struct dirent *e; (e = readdir(proc));) {
        if (e->d_name[0] < '0' || e->d_name[0] > '9' || !link_of(e->d_name, "cwd", cwd, sizeof(cwd)) ||
            !link_of(e->d_name, "exe", exe, sizeof(exe)))
            continue;
        if (strcmp(cwd, r->data_dir) != 0 || !strstr(exe, "/postgres"))
            continue;
        if (count < max)
            ret_pids[count] = (pid_t)strtol(e->d_name, NULL, 10);
        count++;
    }
    (void)closedir(proc);
    return count;
}

void rig_until_no_instance(const struct rig *r, msec wait_ms)
{
    msec deadline_ms = rig_now_ms() + wait_ms;
    pid_t pids[8];

    while (rig_instance(r, pids, 8)) {
        assert_true(rig_now_ms() < deadline_ms); /* processes of the instance are left */
        nap();
    }
}
