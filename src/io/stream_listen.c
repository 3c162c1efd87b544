#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/str.h"
#include "io/http_listen.h"
#include "io/loop.h"
#include "io/stream_parts.h"

enum {
    BACKLOG = 128,
    TURN_ACCEPTS_MAX = 64, /* others get their turn too */
    PAUSE_MS = 100,        /* out of descriptors: they come back one by one, an immediate retry would spin */
};

struct listening {
    struct stream_listener *owner;
    int fd;
    struct loop_fd *watch;
};

struct stream_listener {
    struct loop *loop;
    const struct stream_tls *tls;
    struct stream_limits limits;
    stream_accepted_fn *fn;
    void *arg;
    struct loop_timer pause;
    int port;
    struct listening at[LISTEN_ADDRS_MAX];
    size_t count;
};

static void watch(struct stream_listener *s, unsigned int events)
{
    for (size_t i = 0; i < s->count; i++)
        loop_fd_events(s->at[i].watch, events);
}

static void pause_over(void *arg)
{
    watch(arg, LOOP_READ);
}

/* True: try again at once. */
static bool accept_one(struct stream_listener *s, int listening_fd)
{
    int fd = accept4(listening_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0) {
        s->fn(stream_accepted(s->loop, fd, s->tls, &s->limits), s->arg);
        return true;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        watch(s, 0);
        loop_timer_set(&s->pause, loop_clock_ms() + PAUSE_MS);
        return false;
    }
    return errno != EAGAIN && errno != EWOULDBLOCK; /* else: of the connection, which has gone (accept(2)) */
}

static void ready(int fd, unsigned int events, void *arg)
{
    struct listening *l = arg;
    struct stream_listener *s = l->owner;

    (void)events; /* only reading was asked for */
    for (int i = 0; i < TURN_ACCEPTS_MAX && accept_one(s, fd); i++)
        ;
}

static bool open_one(struct stream_listener *s, const struct listen_addr *addr, struct err *err)
{
    struct listening *l = &s->at[s->count];
    int fd;

    if (!listen_open(addr, BACKLOG, &fd, err))
        return false;
    *l = (struct listening){s, fd, loop_fd_add(s->loop, fd, LOOP_READ, ready, l)};
    s->count++;
    return true;
}

/* Of a host with several addresses one is enough, if the others are such that this machine does not have. */
static bool open_all(struct stream_listener *s, const struct listen_addr *addrs, size_t count, struct err *err)
{
    for (size_t i = 0; i < count;) {
        unsigned int host_i = addrs[i].host_i;
        bool had = false;

        for (; i < count && addrs[i].host_i == host_i; i++) {
            if (open_one(s, &addrs[i], err))
                had = true;
            else if (!listen_is_absent(err))
                return false;
        }
        if (!had)
            return false;
    }
    return true;
}

static int port_of(int fd)
{
    struct listen_addr addr = {.at_len = sizeof(addr.at)};

    return getsockname(fd, (struct sockaddr *)&addr.at, &addr.at_len) == 0 ? listen_addr_port(&addr) : 0;
}

bool stream_listen(struct loop *l, const char *hosts, int port, const struct stream_tls *tls,
                   const struct stream_limits *limits, stream_accepted_fn *fn, void *arg,
                   struct stream_listener **ret_listener, struct err *err)
{
    AUTO(stream_listener) struct stream_listener *s = mem_zero(1, sizeof(*s));
    struct listen_addr addrs[LISTEN_ADDRS_MAX];
    size_t count;

    *s = (struct stream_listener){.loop = l, .tls = tls, .limits = *limits, .fn = fn, .arg = arg};
    loop_timer_init(&s->pause, l, pause_over, s);
    if (!listen_resolve(hosts, port, addrs, ARRAY_LEN(addrs), &count, err) || !open_all(s, addrs, count, err))
        return false;
    if (!s->count)
        return err_set(err, ERR_INPUT, "no address to listen on in \"%s\"", hosts);
    s->port = port_of(s->at[0].fd);
    *ret_listener = TAKE(s);
    return true;
}

int stream_listener_port(const struct stream_listener *s)
{
    return s->port;
}

void stream_listener_tls(struct stream_listener *s, const struct stream_tls *tls)
{
    s->tls = tls;
}

void stream_listener_free(struct stream_listener *s)
{
    if (!s)
        return;
    loop_timer_clear(&s->pause);
    for (size_t i = 0; i < s->count; i++) {
        loop_fd_remove(s->at[i].watch);
        (void)close(s->at[i].fd);
    }
    free(s);
}
