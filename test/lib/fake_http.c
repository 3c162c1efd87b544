#include "test/lib/fake_http.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"
#include "io/loop.h"

void fake_http_close(struct fake_peer *peer)
{
    loop_fd_remove(peer->watch);
    (void)close(peer->fd);
    list_remove(&peer->link);
    buf_deinit(&peer->in);
    free(peer);
}

void fake_http_send(struct fake_peer *peer, const char *raw)
{
    assert_int_equal(write(peer->fd, raw, strlen(raw)), strlen(raw));
}

void fake_http_answer(struct fake_peer *peer, int status, const char *body)
{
    AUTO(cstr) char *raw = str_fmt("HTTP/1.1 %d X\r\nContent-Length: %zu\r\n\r\n%s", status, strlen(body), body);

    fake_http_send(peer, raw);
}

void fake_http_stream(struct fake_peer *peer)
{
    fake_http_send(peer, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
}

void fake_http_piece(struct fake_peer *peer, const char *text)
{
    AUTO(cstr) char *raw = str_fmt("%zx\r\n%s\r\n", strlen(text), text);

    fake_http_send(peer, raw);
}

/* Length of the request at the front; 0: not all of it is here. */
static size_t request_len(const struct buf *in)
{
    const char *end = strstr(buf_cstr(in), "\r\n\r\n");
    const char *length = strcasestr(buf_cstr(in), "\r\nContent-Length: ");

    if (!end)
        return 0;
    size_t len = (size_t)(end + 4 - in->at) + (length && length < end ? strtoul(length + 18, NULL, 10) : 0);
    return in->len >= len ? len : 0;
}

static void peer_ready(int fd, unsigned int ready, void *arg)
{
    struct fake_peer *peer = arg;
    struct fake_http *s = peer->server;
    char bytes[4096];

    (void)ready;
    ssize_t got = read(fd, bytes, sizeof(bytes));
    if (got <= 0) {
        fake_http_close(peer);
        return;
    }
    buf_add(&peer->in, bytes, (size_t)got);
    size_t len = request_len(&peer->in);
    if (!len)
        return;

    s->requests++;
    buf_clear(&s->last);
    buf_add(&s->last, peer->in.at, len);
    buf_clear(&peer->in); /* nobody here sends a second request before the answer */
    AUTO(cstr) char *text = str_dup(buf_cstr(&s->last));
    AUTO(cstr) char *path = str_dup(strchr(text, ' ') + 1);
    path[strcspn(path, " ")] = '\0';
    s->fn(peer, text, path, strstr(text, "\r\n\r\n") + 4, s->arg);
}

static void server_ready(int fd, unsigned int ready, void *arg)
{
    struct fake_http *s = arg;
    struct fake_peer *peer = mem_zero(1, sizeof(*peer));

    (void)ready;
    peer->server = s;
    peer->fd = accept(fd, NULL, NULL);
    assert_true(peer->fd >= 0);
    s->accepted++;
    peer->watch = loop_fd_add(s->loop, peer->fd, LOOP_READ, peer_ready, peer);
    list_add_tail(&s->peers, &peer->link);
}

void fake_http_start(struct fake_http *s, struct loop *l, int backlog, fake_http_fn *fn, void *arg)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);

    *s = (struct fake_http){.loop = l, .fn = fn, .arg = arg};
    list_init(&s->peers);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(s->fd, backlog), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&at, &len), 0);
    s->port = ntohs(at.sin_port);
    s->watch = loop_fd_add(l, s->fd, LOOP_READ, server_ready, s);
}

void fake_http_stop(struct fake_http *s)
{
    LIST_EACH (it, tmp, &s->peers)
        fake_http_close(LIST_ENTRY(it, struct fake_peer, link));
    loop_fd_remove(s->watch);
    (void)close(s->fd);
    buf_deinit(&s->last);
}
