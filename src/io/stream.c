#include "io/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/str.h"
#include "io/http_tls.h"
#include "io/loop.h"
#include "io/stream_parts.h"

enum {
    TURN_READS_MAX = 16, /* others get their turn too */
    TLS_REASON_MAX = 256,
};

/*
 * CONNECTING or ACCEPTED → SHAKING (TLS) → OPEN → FAILING → CLOSED. In FAILING the socket is gone and `closed` is still
 * to be called, from the loop; in CLOSED it has been.
 */
enum state { CONNECTING, ACCEPTED, SHAKING, OPEN, FAILING, CLOSED };

struct stream {
    struct loop *loop;
    enum state state;
    int fd; /* -1: closed */
    struct loop_fd *watch;
    SSL *ssl;            /* NULL: plain */
    bool tls_wants_room; /* TLS must write before it can read on */
    struct stream_limits limits;
    const struct stream_events *events; /* NULL: not served yet */
    void *arg;
    struct loop_timer timer; /* the deadline of opening, then that of what waits to be sent */
    unsigned char *in;       /* unread_max bytes */
    size_t in_len;
    unsigned char *out; /* what waits: [out_at, out_len) */
    size_t out_at, out_len, out_cap;
    struct err *why; /* of FAILING */
    char peer[STREAM_ADDRESS_MAX];
    int busy;  /* our own frames that will look at the stream again */
    bool dead; /* freed from inside a callback: goes when busy is 0 */
};

/* ---- the end ---- */

static void let_go(struct stream *s)
{
    loop_timer_clear(&s->timer);
    loop_fd_remove(s->watch);
    s->watch = NULL;
    if (s->ssl)
        http_tls_goodbye(s->ssl);
    SSL_free(s->ssl);
    s->ssl = NULL;
    if (s->fd >= 0)
        (void)close(s->fd); /* nothing to do about a failed close of a descriptor we give up */
    s->fd = -1;
}

static void destroy(struct stream *s)
{
    free(s->in);
    free(s->out);
    free(s->why);
    free(s);
}

void stream_free(struct stream *s)
{
    if (!s)
        return;
    CHECK(!s->dead);
    let_go(s);
    s->state = CLOSED;
    if (s->busy)
        s->dead = true;
    else
        destroy(s);
}

static void enter(struct stream *s)
{
    s->busy++;
}

/* False: it is gone. */
static bool leave(struct stream *s)
{
    if (--s->busy > 0 || !s->dead)
        return !s->dead;
    destroy(s);
    return false;
}

/* Ends it now; `closed` comes with the timer. Always false. */
static bool fail(struct stream *s, const struct err *why)
{
    if (s->state == FAILING || s->state == CLOSED)
        return false;
    let_go(s);
    s->state = FAILING;
    s->why = mem_zero(1, sizeof(*s->why));
    *s->why = *why;
    loop_timer_set(&s->timer, loop_clock_ms());
    return false;
}

static bool fail_sys(struct stream *s, int sys_errno, const char *doing)
{
    struct err why = {0};

    (void)err_sys(&why, sys_errno, "%s %s", doing, s->peer);
    return fail(s, &why);
}

static bool fail_text(struct stream *s, enum err_code code, const char *text)
{
    struct err why = {0};

    (void)err_set(&why, code, "%s: %s", s->peer, text);
    return fail(s, &why);
}

/* What OpenSSL, or the certificate's check, says. */
static bool fail_tls(struct stream *s, const char *doing)
{
    char reason[TLS_REASON_MAX] = "the other side ended the connection";
    unsigned long code = ERR_peek_error();
    long verdict = SSL_get_verify_result(s->ssl);
    struct err why = {0};

    if (code)
        ERR_error_string_n(code, reason, sizeof(reason));
    ERR_clear_error();
    const char *text = strrchr(reason, ':');
    if (SSL_get_verify_mode(s->ssl) != SSL_VERIFY_NONE && verdict != X509_V_OK)
        (void)err_set(&why, ERR_DENIED, "%s %s: its certificate: %s", doing, s->peer,
                      X509_verify_cert_error_string(verdict));
    else
        (void)err_set(&why, ERR_SYS, "%s %s: %s", doing, s->peer, text ? text + 1 : reason);
    return fail(s, &why);
}

static void timer_due(void *arg)
{
    struct stream *s = arg;

    switch (s->state) {
    case CONNECTING:
    case ACCEPTED:
    case SHAKING:
        (void)fail_text(s, ERR_TIMEOUT, "no connection in time");
        return;
    case OPEN:
        (void)fail_text(s, ERR_TIMEOUT, "takes nothing of what is sent to it");
        return;
    case FAILING:
        s->state = CLOSED;
        enter(s);
        s->events->closed(s->why, s->arg);
        (void)leave(s);
        return;
    case CLOSED:
        break;
    }
    UNREACHABLE();
}

/* ---- writing ---- */

static void arm(struct stream *s)
{
    bool waits = s->out_at < s->out_len || s->tls_wants_room;

    loop_fd_events(s->watch, LOOP_READ | (waits ? LOOP_WRITE : 0U));
}

/* How many bytes were taken, 0 if none can be now; -1: it failed. */
static ssize_t write_some(struct stream *s, const unsigned char *bytes, size_t len)
{
    if (!s->ssl) {
        ssize_t sent = send(s->fd, bytes, len, MSG_NOSIGNAL);
        if (sent >= 0)
            return sent;
        if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
            return 0;
        (void)fail_sys(s, errno, "sending to");
        return -1;
    }

    size_t sent = 0;
    ERR_clear_error();
    int done = SSL_write_ex(s->ssl, bytes, len, &sent);
    if (done == 1)
        return (ssize_t)sent;
    int why = SSL_get_error(s->ssl, done);
    if (why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ)
        return 0;
    (void)fail_tls(s, "sending to");
    return -1;
}

static void keep(struct stream *s, const unsigned char *bytes, size_t len)
{
    size_t waits = s->out_len - s->out_at;

    if (s->out_at) {
        memmove(s->out, s->out + s->out_at, waits);
        s->out_at = 0;
        s->out_len = waits;
    }
    if (waits + len > s->out_cap) {
        s->out = mem_grow(s->out, waits + len, 1);
        s->out_cap = waits + len;
    }
    memcpy(s->out + waits, bytes, len);
    s->out_len += len;
}

bool stream_send(struct stream *s, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;

    if (s->state == FAILING || s->state == CLOSED)
        return false;
    CHECK(s->state == OPEN);
    if (stream_unsent(s) == 0) {
        ssize_t sent = len ? write_some(s, at, len) : 0;
        if (sent < 0)
            return false;
        at += sent;
        len -= (size_t)sent;
    }
    if (!len)
        return true;
    if (stream_unsent(s) + len > s->limits.unsent_max)
        return fail_text(s, ERR_TIMEOUT, "takes too little of what is sent to it");
    if (stream_unsent(s) == 0)
        loop_timer_set(&s->timer, loop_clock_ms() + s->limits.stall_ms);
    keep(s, at, len);
    arm(s);
    return true;
}

size_t stream_unsent(const struct stream *s)
{
    return s->out_len - s->out_at;
}

/* False: gone or failed. */
static bool flush(struct stream *s)
{
    bool waited = stream_unsent(s) > 0;

    while (stream_unsent(s) > 0) {
        ssize_t sent = write_some(s, s->out + s->out_at, stream_unsent(s));
        if (sent < 0)
            return false;
        if (sent == 0)
            break;
        s->out_at += (size_t)sent;
        loop_timer_set(&s->timer, loop_clock_ms() + s->limits.stall_ms);
    }
    if (!waited || stream_unsent(s) > 0)
        return true;
    s->out_at = s->out_len = 0;
    loop_timer_clear(&s->timer);
    if (s->events->drained)
        s->events->drained(s->arg);
    return s->state == OPEN;
}

/* ---- reading ---- */

/* How many bytes came, 0 if none are there now; -1: it failed or ended. */
static ssize_t read_some(struct stream *s, unsigned char *to, size_t len)
{
    if (!s->ssl) {
        ssize_t got = recv(s->fd, to, len, 0);
        if (got > 0)
            return got;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
            return 0;
        (void)(got == 0 ? fail_text(s, ERR_SYS, "the other side ended the connection")
                        : fail_sys(s, errno, "receiving from"));
        return -1;
    }

    size_t got = 0;
    ERR_clear_error();
    int done = SSL_read_ex(s->ssl, to, len, &got);
    s->tls_wants_room = false;
    if (done == 1)
        return (ssize_t)got;
    int why = SSL_get_error(s->ssl, done);
    s->tls_wants_room = why == SSL_ERROR_WANT_WRITE;
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return 0;
    if (why == SSL_ERROR_ZERO_RETURN)
        (void)fail_text(s, ERR_SYS, "the other side ended the connection");
    else
        (void)fail_tls(s, "receiving from");
    return -1;
}

/* Hand over what is there; false: gone, failed, or what is there is longer than any message. */
static bool deliver(struct stream *s)
{
    struct span in = {s->in, s->in_len};

    s->events->received(&in, s->arg);
    if (s->state != OPEN)
        return false;
    CHECK(in.len <= s->in_len);
    CHECK(in.at + in.len == s->in + s->in_len);
    memmove(s->in, in.at, in.len);
    s->in_len = in.len;
    if (s->in_len == s->limits.unread_max)
        return fail_text(s, ERR_INPUT, "a message of it is longer than any may be");
    return true;
}

static bool take_in(struct stream *s)
{
    for (int i = 0; i < TURN_READS_MAX || (s->ssl && SSL_pending(s->ssl) > 0); i++) {
        size_t room = s->limits.unread_max - s->in_len;
        ssize_t got = read_some(s, s->in + s->in_len, room);
        if (got <= 0)
            return got == 0;
        s->in_len += (size_t)got;
        if (!deliver(s))
            return false;
        if (!s->ssl && (size_t)got < room)
            return true; /* there is no more: saves the call that would say so */
    }
    return true;
}

/* ---- opening ---- */

static void opened(struct stream *s)
{
    loop_timer_clear(&s->timer);
    s->state = OPEN;
    arm(s);
    s->events->opened(s->arg);
}

static void shake(struct stream *s)
{
    ERR_clear_error();
    int done = SSL_do_handshake(s->ssl);

    if (done == 1) {
        opened(s);
        return;
    }
    switch (SSL_get_error(s->ssl, done)) {
    case SSL_ERROR_WANT_READ:
        loop_fd_events(s->watch, LOOP_READ);
        return;
    case SSL_ERROR_WANT_WRITE:
        loop_fd_events(s->watch, LOOP_WRITE);
        return;
    default:
        (void)fail_tls(s, "TLS with");
    }
}

static void connected(struct stream *s)
{
    int failed = 0;
    socklen_t len = sizeof(failed);

    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &failed, &len) != 0)
        failed = errno;
    if (failed) {
        (void)fail_sys(s, failed, "connecting to");
        return;
    }
    s->state = s->ssl ? SHAKING : OPEN;
    if (s->ssl)
        shake(s);
    else
        opened(s);
}

static void ready(int fd, unsigned int events, void *arg)
{
    struct stream *s = arg;

    (void)fd;
    enter(s);
    if (s->state == CONNECTING)
        connected(s);
    else if (s->state == SHAKING)
        shake(s);
    /* What came together with the end of the handshake may be in TLS's hands already. */
    if (s->state == OPEN && (!(events & LOOP_WRITE) || flush(s)) && take_in(s))
        arm(s);
    (void)leave(s);
}

/* Best effort: without them small messages wait for acknowledgements, and a vanished peer is noticed late. */
static void set_options(int fd, const struct stream_limits *limits)
{
    const int on = 1;
    const unsigned int unacked_ms = (unsigned int)limits->stall_ms;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked_ms, sizeof(unacked_ms));
    if (limits->kernel_unsent)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &limits->kernel_unsent, sizeof(limits->kernel_unsent));
}

static struct stream *stream_new(struct loop *l, const struct stream_limits *limits)
{
    struct stream *s = mem_zero(1, sizeof(*s));

    CHECK(limits->open_ms > 0 && limits->stall_ms > 0 && limits->unread_max > 0);
    s->loop = l;
    s->fd = -1;
    s->limits = *limits;
    s->in = mem_zero(limits->unread_max, 1);
    loop_timer_init(&s->timer, l, timer_due, s);
    loop_timer_set(&s->timer, loop_clock_ms() + limits->open_ms);
    return s;
}

static void name_peer(struct stream *s, const char *address, const char *port)
{
    bool six = strchr(address, ':');

    (void)snprintf(s->peer, sizeof(s->peer), "%s%s%s:%s", six ? "[" : "", address, six ? "]" : "", port);
}

/* A numeric address as the kernel wants it; its length, 0: it is none. */
static socklen_t read_address(const char *address, int port, struct sockaddr_storage *ret_at)
{
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};

    if (inet_pton(AF_INET, address, &four.sin_addr) == 1) {
        memcpy(ret_at, &four, sizeof(four));
        return sizeof(four);
    }
    if (inet_pton(AF_INET6, address, &six.sin6_addr) == 1) {
        memcpy(ret_at, &six, sizeof(six));
        return sizeof(six);
    }
    return 0;
}

struct stream *stream_connect(struct loop *l, const char *address, int port, const struct stream_tls *tls,
                              const char *server, const struct stream_limits *limits,
                              const struct stream_events *events, void *arg)
{
    struct stream *s = stream_new(l, limits);
    struct sockaddr_storage at;
    socklen_t len = read_address(address, port, &at);

    CHECK(!tls || tls->side == STREAM_CONNECTS);
    s->state = CONNECTING;
    s->events = events;
    s->arg = arg;
    char port_text[16];
    (void)snprintf(port_text, sizeof(port_text), "%d", port);
    name_peer(s, address, port_text);
    if (!len) {
        (void)fail_text(s, ERR_INPUT, "is no address");
        return s;
    }
    s->fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->fd < 0) {
        (void)fail_sys(s, errno, "connecting to");
        return s;
    }
    set_options(s->fd, limits);
    if (connect(s->fd, (const struct sockaddr *)&at, len) != 0 && errno != EINPROGRESS) {
        (void)fail_sys(s, errno, "connecting to");
        return s;
    }
    s->ssl = tls ? stream_tls_session(tls, s->fd, server) : NULL;
    s->watch = loop_fd_add(l, s->fd, LOOP_WRITE, ready, s);
    return s;
}

struct stream *stream_accepted(struct loop *l, int take_fd, const struct stream_tls *tls,
                               const struct stream_limits *limits)
{
    struct stream *s = stream_new(l, limits);
    struct sockaddr_storage at = {0};
    socklen_t len = sizeof(at);
    char host[STREAM_ADDRESS_MAX] = "?";
    char port[8] = "0";

    CHECK(!tls || tls->side == STREAM_ACCEPTS);
    s->state = ACCEPTED;
    s->fd = take_fd;
    set_options(s->fd, limits);
    /* Gone already: "?". Numeric: asks nobody. */
    if (getpeername(s->fd, (struct sockaddr *)&at, &len) == 0)
        (void)getnameinfo((struct sockaddr *)&at, len, host, sizeof(host), port, sizeof(port),
                          NI_NUMERICHOST | NI_NUMERICSERV);
    name_peer(s, host, port);
    s->ssl = tls ? stream_tls_session(tls, s->fd, NULL) : NULL;
    return s;
}

void stream_serve(struct stream *s, const struct stream_events *events, void *arg)
{
    CHECK(s->state == ACCEPTED);
    s->events = events;
    s->arg = arg;
    s->state = s->ssl ? SHAKING : CONNECTING; /* the latter: the first turn finds it writable, and so connected */
    s->watch = loop_fd_add(s->loop, s->fd, s->ssl ? LOOP_READ : LOOP_WRITE, ready, s);
}

const char *stream_peer(const struct stream *s)
{
    return s->peer;
}

bool stream_is_verified(const struct stream *s)
{
    if (!s->ssl || SSL_get_verify_mode(s->ssl) == SSL_VERIFY_NONE || SSL_get_verify_result(s->ssl) != X509_V_OK)
        return false;
    return SSL_get0_peer_certificate(s->ssl) != NULL;
}
