#include "app/guard/channel.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/str.h"

void channel_init(struct channel *c)
{
    memset(c, 0, sizeof(*c));
    c->fd = -1;
}

void channel_open(struct channel *c, int take_fd)
{
    CHECK(c->fd < 0 && take_fd >= 0);
    channel_init(c);
    c->fd = take_fd;
}

void channel_close(struct channel *c)
{
    if (c->fd >= 0)
        (void)close(c->fd);
    channel_init(c);
}

static bool terminated(const char *text, size_t cap)
{
    return memchr(text, '\0', cap) != NULL;
}

static bool well_formed(const struct guard_msg *m)
{
    return m->args_len <= sizeof(m->args) && terminated(m->data_dir, sizeof(m->data_dir)) &&
           terminated(m->log_path, sizeof(m->log_path)) && terminated(m->text, sizeof(m->text));
}

enum channel_result channel_receive(struct channel *c)
{
    if (c->fd < 0 || c->answer.due)
        return CHANNEL_NONE;

    ssize_t len = recv(c->fd, &c->in, sizeof(c->in), MSG_DONTWAIT | MSG_TRUNC);
    if (len < 0 && errno == ECONNRESET) /* it ended without having read everything: said once, before its last words */
        len = recv(c->fd, &c->in, sizeof(c->in), MSG_DONTWAIT | MSG_TRUNC);
    if (len < 0)
        return errno == EAGAIN || errno == EINTR ? CHANNEL_NONE : CHANNEL_CLOSED;
    if (len == 0)
        return CHANNEL_CLOSED;

    if (len < (ssize_t)sizeof(c->in))
        memset((char *)&c->in + len, 0, sizeof(c->in) - (size_t)len);
    uint64_t seq = len >= 16 ? c->in.seq : 0; /* version, kind and seq stand first in every version */
    if (c->in.version != GUARD_PROTOCOL)
        channel_refuse(c, seq, "another version of the protocol");
    else if (len != sizeof(c->in))
        channel_refuse(c, seq, "a packet of another size");
    else if (!well_formed(&c->in))
        channel_refuse(c, seq, "a malformed packet");
    else
        return CHANNEL_REQUEST;
    return CHANNEL_BAD;
}

void channel_answer(struct channel *c, uint64_t seq)
{
    CHECK(!c->answer.due);
    c->answer.due = true;
    c->answer.kind = GUARD_STATE;
    c->answer.seq = seq;
}

void channel_refuse(struct channel *c, uint64_t seq, const char *why)
{
    CHECK(!c->answer.due);
    c->answer.due = true;
    c->answer.kind = GUARD_REFUSED;
    c->answer.seq = seq;
    str_copy(c->answer.text, sizeof(c->answer.text), why);
}

static bool send_packet(struct channel *c, const struct guard_msg *m, int pidfd)
{
    struct iovec iov = {.iov_base = (void *)m, .iov_len = sizeof(*m)};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    bool pass = pidfd >= 0 && m->postmaster_pid && m->postmaster_pid != c->passed_pid;

    if (pass) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof(control.bytes);
        struct cmsghdr *cm = CMSG_FIRSTHDR(&msg);
        cm->cmsg_level = SOL_SOCKET;
        cm->cmsg_type = SCM_RIGHTS;
        cm->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(cm), &pidfd, sizeof(int));
    }
    if (sendmsg(c->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return errno != EAGAIN && errno != ENOBUFS; /* an agent that is gone is not told again */
    if (pass)
        c->passed_pid = m->postmaster_pid;
    return true;
}

void channel_flush(struct channel *c, void (*fill)(struct guard_msg *m, void *arg), void *arg, int pidfd)
{
    static struct guard_msg out;
    const struct {
        bool *due;
        enum guard_kind kind;
    } events[] = {{&c->state_due, GUARD_STATE},
                  {&c->term_due, GUARD_TERM},
                  {&c->reload_due, GUARD_RELOAD},
                  {&c->reopen_due, GUARD_REOPEN}};

    if (c->fd < 0)
        return;
    memset(&out, 0, sizeof(out));
    fill(&out, arg);
    out.version = GUARD_PROTOCOL;
    if (!out.postmaster_pid)
        c->passed_pid = 0; /* the number may come again */

    if (c->answer.due) {
        out.kind = c->answer.kind;
        out.seq = c->answer.seq;
        if (c->answer.kind == GUARD_REFUSED)
            str_copy(out.text, sizeof(out.text), c->answer.text);
        if (!send_packet(c, &out, pidfd))
            return;
        c->answer.due = false;
        if (c->answer.kind == GUARD_STATE)
            c->state_due = false; /* it was in there */
        out.text[0] = '\0';
    }
    out.seq = 0;
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        out.kind = events[i].kind;
        if (*events[i].due && !send_packet(c, &out, pidfd))
            return;
        *events[i].due = false;
    }
}

bool channel_blocked(const struct channel *c)
{
    return c->fd >= 0 && (c->answer.due || c->state_due || c->term_due || c->reload_due || c->reopen_due);
}
