/*
 * io/stream.h over the simulated network: connections whose bytes keep their order and arrive, or that end.
 *
 * As unkind as TCP: the kernel takes bytes that nobody acknowledges, and delivers them late, after a cut, as if nothing
 * had been; it completes connections and takes bytes for a process that stands still; a cut of the way back alone lets
 * bytes arrive and still ends the connection of who sent them; connections overtake each other; one breaks now and
 * then for no reason.
 */
#include "io/stream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/str.h"
#include "io/loop.h"
#include "test/sim/net.h"

enum {
    WINDOW = 65536,     /* bytes that a kernel keeps for a process that does not read */
    LOOK_AGAIN_MS = 50, /* a cut way is tried again */
    BREAKS_ONE_IN = 20000,
};

struct stream {
    struct loop *loop;
    struct proc *proc;
    uint64_t generation;
    struct host *host, *peer_host;
    struct stream *other; /* NULL: not accepted yet */
    bool open, over;      /* over: freed, or `closed` was or is to be called */
    struct stream_limits limits;
    const struct stream_events *events;
    void *arg;
    struct loop_timer timer; /* of opening; then of what is not acknowledged */
    msec unacked_ms;         /* since when; 0: all is */
    struct buf out;          /* with the sender's kernel, and beyond what that takes */
    bool waited;             /* some of it was beyond */
    size_t unread;           /* bytes of the other side on their way or with our kernel */
    usec last;               /* order of what we send */
    struct buf in;
    char peer[STREAM_ADDRESS_MAX];
    char why[64];
};

struct stream_listener {
    struct loop *loop;
    struct proc *proc;
    uint64_t generation;
    struct stream_limits limits;
    stream_accepted_fn *fn;
    void *arg;
    int port;
};

static struct stream_listener *listeners[HOSTS_MAX];

static bool lives(const struct stream *s)
{
    return s && !s->over && s->proc->alive && s->proc->generation == s->generation;
}

/* ---- the end ---- */

static void say_closed(void *arg)
{
    struct stream *s = arg;
    struct err why = {0};

    if (s->over)
        return;
    s->over = true;
    loop_timer_clear(&s->timer);
    (void)err_set(&why, ERR_SYS, "%s: %s", s->peer, s->why);
    s->events->closed(&why, s->arg);
}

/* In the process of *s. */
static void fail(struct stream *s, const char *why)
{
    str_copy(s->why, sizeof(s->why), why);
    event_in(0, s->proc, say_closed, s);
}

static void end_at_host(void *arg)
{
    struct stream *s = arg;

    if (lives(s) && s->events)
        fail(s, "the other side ended the connection");
}

static void end_other(struct stream *s)
{
    if (s->other)
        net_send_in_order(s->host, s->peer_host, &s->last, end_at_host, s->other);
}

void stream_free(struct stream *s)
{
    if (!s)
        return;
    if (!s->over)
        end_other(s);
    s->over = true;
    loop_timer_clear(&s->timer);
    buf_deinit(&s->out);
    buf_deinit(&s->in);
    /* The struct stays: events on their way know it. A seed is short. */
}

/* ---- bytes ---- */

struct piece {
    struct stream *to;
    size_t len;
    char bytes[];
};

static void read_piece(void *arg)
{
    struct piece *p = arg;
    struct stream *s = p->to;

    if (lives(s)) {
        s->unread -= p->len;
        buf_add(&s->in, p->bytes, p->len);
        struct span left = {(const unsigned char *)s->in.at, s->in.len};
        s->events->received(&left, s->arg);
        if (!s->over) {
            CHECK(left.len < s->limits.unread_max);
            memmove(s->in.at, left.at, left.len);
            s->in.len = left.len;
        }
    }
    free(p);
}

static void piece_at_host(void *arg)
{
    struct piece *p = arg;
    struct stream *s = p->to;

    if (!lives(s)) {
        struct stream *sender = s->other;
        if (sender)
            net_send_in_order(s->host, s->peer_host, &s->last, end_at_host, sender);
        free(p);
        return;
    }
    event_in(0, s->proc, read_piece, p);
}

static bool way_out(const struct stream *s)
{
    return s->other && s->other->events && s->peer_host->up && net_reaches(s->host, s->peer_host) &&
           s->other->unread < WINDOW;
}

static bool way_back(const struct stream *s)
{
    return net_reaches(s->peer_host, s->host);
}

static void push(struct stream *s)
{
    bool out = way_out(s);

    if (out && s->out.len) {
        struct piece *p = mem_zero(1, sizeof(*p) + s->out.len);
        p->to = s->other;
        p->len = s->out.len;
        memcpy(p->bytes, s->out.at, p->len);
        s->other->unread += p->len;
        net_send_in_order(s->host, s->peer_host, &s->last, piece_at_host, p);
        buf_clear(&s->out);
        if (s->waited) {
            s->waited = false;
            if (s->events->drained)
                s->events->drained(s->arg);
            if (s->over)
                return;
        }
    }
    if (!s->out.len && way_back(s)) {
        s->unacked_ms = 0;
        return;
    }
    if (!s->unacked_ms)
        s->unacked_ms = loop_clock_ms();
    loop_timer_set(&s->timer, loop_clock_ms() + LOOK_AGAIN_MS);
}

static void timer_due(void *arg)
{
    struct stream *s = arg;

    if (!s->open)
        fail(s, "no connection in time");
    else if (loop_clock_ms() - s->unacked_ms > s->limits.stall_ms)
        fail(s, "takes nothing of what is sent to it");
    else
        push(s);
}

bool stream_send(struct stream *s, const void *bytes, size_t len)
{
    if (s->over)
        return false;
    CHECK(s->open);
    if (chance_one_in(BREAKS_ONE_IN)) {
        end_other(s);
        fail(s, "connection reset");
        return false;
    }
    buf_add(&s->out, bytes, len);
    s->waited = s->waited || (!way_out(s) && stream_unsent(s) > 0);
    if (stream_unsent(s) > s->limits.unsent_max) {
        fail(s, "takes too little of what is sent to it");
        return false;
    }
    if (!s->unacked_ms)
        push(s);
    return true;
}

size_t stream_unsent(const struct stream *s)
{
    size_t kernel = (size_t)s->limits.kernel_unsent;

    return s->out.len > kernel ? s->out.len - kernel : 0;
}

const char *stream_peer(const struct stream *s)
{
    return s->peer;
}

bool stream_is_verified(const struct stream *s)
{
    return false;
}

/* ---- opening ---- */

static struct stream *stream_new(struct loop *l, struct proc *proc, struct host *peer, int port,
                                 const struct stream_limits *limits)
{
    struct stream *s = mem_zero(1, sizeof(*s));

    s->loop = l;
    s->proc = proc;
    s->generation = proc->generation;
    s->host = proc->host;
    s->peer_host = peer;
    s->limits = *limits;
    (void)snprintf(s->peer, sizeof(s->peer), "10.0.0.%d:%d", peer->id + 1, port);
    loop_timer_init(&s->timer, l, timer_due, s);
    return s;
}

static void opens(void *arg)
{
    struct stream *s = arg;

    if (s->over || s->open)
        return;
    s->open = true;
    loop_timer_clear(&s->timer);
    s->events->opened(s->arg);
}

static void open_at_host(void *arg)
{
    struct stream *s = arg;

    if (lives(s))
        event_in(0, s->proc, opens, s);
}

static void refused_at_host(void *arg)
{
    struct stream *s = arg;

    if (lives(s))
        fail(s, "connection refused");
}

static void accepts(void *arg)
{
    struct stream *from = arg;
    struct stream_listener *l = listeners[from->peer_host->id];

    if (!l || l->proc != world.current || from->over)
        return;
    struct stream *s = stream_new(l->loop, l->proc, from->host, 40000, &l->limits);
    s->other = from;
    from->other = s;
    l->fn(s, l->arg);
}

static void asked_at_host(void *arg)
{
    struct stream *s = arg;
    struct stream_listener *l = listeners[s->peer_host->id];
    usec last = 0;

    if (!l || !l->proc->alive || l->proc->generation != l->generation) {
        net_send_in_order(s->peer_host, s->host, &last, refused_at_host, s);
        return;
    }
    event_in(0, l->proc, accepts, s);
    net_send_in_order(s->peer_host, s->host, &last, open_at_host, s); /* the kernel's, whatever the process does */
}

struct stream *stream_connect(struct loop *l, const char *address, int port, const struct stream_tls *tls,
                              const char *server, const struct stream_limits *limits,
                              const struct stream_events *events, void *arg)
{
    int number = 0;

    CHECK(sscanf(address, "10.0.0.%d", &number) == 1 && number >= 1 && number <= world.host_count);
    struct stream *s = stream_new(l, world.current, &world.hosts[number - 1], port, limits);
    s->events = events;
    s->arg = arg;
    loop_timer_set(&s->timer, loop_clock_ms() + limits->open_ms);
    net_send_in_order(s->host, s->peer_host, &s->last, asked_at_host, s);
    return s;
}

void stream_serve(struct stream *s, const struct stream_events *events, void *arg)
{
    s->events = events;
    s->arg = arg;
    event_in(0, s->proc, opens, s);
}

bool stream_listen(struct loop *l, const char *hosts, int port, const struct stream_tls *tls,
                   const struct stream_limits *limits, stream_accepted_fn *fn, void *arg,
                   struct stream_listener **ret_listener, struct err *err)
{
    struct stream_listener *s = mem_zero(1, sizeof(*s));

    *s = (struct stream_listener){l, world.current, world.current->generation, *limits, fn, arg, port};
    listeners[s->proc->host->id] = s;
    *ret_listener = s;
    return true;
}

void stream_listener_free(struct stream_listener *s)
{
    if (s && listeners[s->proc->host->id] == s)
        listeners[s->proc->host->id] = NULL;
    free(s);
}

int stream_listener_port(const struct stream_listener *s)
{
    return s->port;
}

/* ---- TLS: a matter of the unit tests ---- */

void stream_listener_tls(struct stream_listener *s, const struct stream_tls *tls)
{
}

bool stream_tls_new(enum stream_side side, const struct http_tls *files, struct stream_tls **ret_tls, struct err *err)
{
    *ret_tls = mem_zero(1, 1);
    return true;
}

void stream_tls_free(struct stream_tls *t)
{
    free(t);
}
