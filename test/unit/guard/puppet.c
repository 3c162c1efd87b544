/*
 * An agent on strings: what the guard starts in these tests.
 *
 *   puppet CONTROL        connects to the test's socket and carries packets both ways; pings by itself
 *   puppet CONTROL N      exits with N at once
 *
 * Packets of two bytes are orders: "xN" exit with N, "q" ping no more, "l" loop for ever, "d" read nothing more from
 * the guard, "s1" run a program that starts another one, which writes its pid to CONTROL.left; "s2" the same in a
 * session of its own.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "puppet.h"
#include "wire/guard.h"

enum { PING_MS = 100 };

static int64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int connect_to(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    strncpy(to.sun_path, path, sizeof(to.sun_path) - 1);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
        _exit(PUPPET_NO_TEST);
    return fd;
}

/* Of our own ping, and says nothing new. One that does is passed on as what it is: the report of a change. */
static bool is_mere_echo(struct guard_msg *m)
{
    static struct guard_msg last;
    bool news = memcmp((char *)m + offsetof(struct guard_msg, term), (char *)&last + offsetof(struct guard_msg, term),
                       sizeof(*m) - offsetof(struct guard_msg, term)) != 0;

    last = *m;
    if (!(m->seq & PUPPET_PING))
        return false;
    m->seq = 0;
    return !news;
}

/* One packet with what comes along. False at the end of the connection. */
static bool carry(int from, int to, bool from_guard)
{
    static struct guard_msg m;
    struct iovec iov = {.iov_base = &m, .iov_len = sizeof(m)};
    char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(sizeof(struct cmsghdr))));
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};

    ssize_t len = recvmsg(from, &msg, MSG_CMSG_CLOEXEC);
    if (len < 0 && errno == EAGAIN)
        return true;
    if (len <= 0)
        return false;
    if (from_guard && is_mere_echo(&m))
        return true;

    iov.iov_len = (size_t)len;
    if (!msg.msg_controllen)
        msg.msg_control = NULL;
    struct pollfd room = {.fd = to, .events = POLLOUT};
    while (sendmsg(to, &msg, MSG_NOSIGNAL) < 0 && errno == EAGAIN)
        (void)poll(&room, 1, 1000);
    const struct cmsghdr *c = msg.msg_control ? CMSG_FIRSTHDR(&msg) : NULL;
    if (c) {
        int passed;
        memcpy(&passed, CMSG_DATA(c), sizeof(passed));
        (void)close(passed);
    }
    return true;
}

/* As io/child.h starts it. */
static void run_program(const char *control, bool own_session)
{
    static char script[512];

    (void)snprintf(script, sizeof(script), "echo $$ >%s.tmp; mv %s.tmp %s.left; exec sleep 600", control, control,
                   control);
    if (fork() != 0)
        return;
    (void)(own_session ? setsid() : setpgid(0, 0));
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (fork() == 0)
        (void)execl("/bin/sh", "sh", "-c", script, NULL);
    for (;;)
        (void)pause();
}

int main(int argc, char **argv)
{
    static struct guard_msg ping = {.version = GUARD_PROTOCOL, .kind = GUARD_PING};
    const char *fd_text = getenv(GUARD_ENV_FD);
    bool pinging = true;
    int64_t ping_at_ms = 0;
    char order[2];

    if (argc > 2)
        return (int)strtol(argv[2], NULL, 10);
    if (argc < 2 || !fd_text)
        return PUPPET_NO_TEST;

    int guard = (int)strtol(fd_text, NULL, 10);
    int test = connect_to(argv[1]);
    int32_t pid = getpid();
    if (send(test, &pid, sizeof(pid), MSG_NOSIGNAL) != sizeof(pid))
        return PUPPET_NO_TEST;

    struct pollfd fds[] = {{.fd = guard, .events = POLLIN}, {.fd = test, .events = POLLIN}};
    for (;;) {
        int ready = poll(fds, 2, PING_MS);
        if (ready < 0)
            continue; /* what is in revents is old */
        if (pinging && now_ms() >= ping_at_ms) {
            ping_at_ms = now_ms() + PING_MS;
            ping.seq = (ping.seq + 1) | PUPPET_PING;
            (void)send(guard, &ping, sizeof(ping), MSG_NOSIGNAL | MSG_DONTWAIT);
        }
        if (fds[0].revents && !carry(guard, test, true))
            return PUPPET_NO_GUARD;
        if (!fds[1].revents)
            continue;
        if (recv(test, order, sizeof(order), MSG_PEEK | MSG_TRUNC) != sizeof(order)) {
            if (!carry(test, guard, false))
                return PUPPET_NO_TEST;
            continue;
        }
        (void)recv(test, order, sizeof(order), 0);
        if (order[0] == 'x')
            return order[1];
        for (volatile bool loops = order[0] == 'l'; loops;)
            ;
        if (order[0] == 'q')
            pinging = false;
        if (order[0] == 's')
            run_program(argv[1], order[1] == 2);
        if (order[0] == 'd')
            fds[0].fd = -1;
    }
}
