#include "app/agent/mesh_link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/check.h"
#include "base/str.h"
#include "io/loop.h"
#include "io/stream.h"

/*
 * A state replaces the one before it, so that nothing is to pile up anywhere: the kernel takes one at a time, and
 * another is not even tried while one waits.
 */
const struct stream_limits mesh_stream_limits = {
    .open_ms = MESH_CONNECT_MS,
    .stall_ms = MESH_STALL_MS,
    .unread_max = PEER_FRAME_MAX,
    .unsent_max = 2 * PEER_FRAME_MAX,
    .kernel_unsent = 4096,
};

enum phase { LINK_OPENING, LINK_HELLO, LINK_PROOF, LINK_UP, LINK_ENDED };

struct mesh_link {
    const struct mesh_self *self;
    bool connector;
    enum phase phase;
    struct stream *stream;
    struct loop_timer handshake;
    const struct mesh_link_events *events;
    void *arg;
    char peer[PEER_NAME_MAX];
    struct peer_hello ours, theirs;
    unsigned char our_frame[PEER_HELLO_MAX], their_frame[PEER_HELLO_MAX];
    size_t our_len, their_len;
    struct peer_session *session; /* once it is up */
};

bool mesh_link_is_up(const struct mesh_link *k)
{
    return k->phase == LINK_UP;
}

const char *mesh_link_peer(const struct mesh_link *k)
{
    return k->peer;
}

const char *mesh_link_address(const struct mesh_link *k)
{
    return stream_peer(k->stream);
}

/* ---- the end; each returns false, and *k may be gone ---- */

static bool end(struct mesh_link *k, enum mesh_end how, const char *why)
{
    CHECK(k->phase != LINK_ENDED);
    k->phase = LINK_ENDED;
    loop_timer_clear(&k->handshake);
    k->events->ended(k, how, why, k->arg);
    return false;
}

static bool refuse(struct mesh_link *k, const char *why)
{
    unsigned char frame[4 + 1 + PEER_REASON_MAX];

    (void)stream_send(k->stream, frame, peer_refusal_frame(why, frame)); /* if it fails, they learn less */
    return end(k, MESH_REFUSED, why);
}

static void handshake_late(void *arg)
{
    (void)end(arg, MESH_LOST, "no handshake in time");
}

static void stream_closed(const struct err *why, void *arg)
{
    (void)end(arg, MESH_LOST, why->text);
}

/* ---- the handshake ---- */

static bool send_hello(struct mesh_link *k)
{
    struct peer_hello *h = &k->ours;

    *h = (struct peer_hello){.version = PEER_VERSION,
                             .oldest = PEER_VERSION_OLDEST,
                             .has_verified = stream_is_verified(k->stream),
                             .system_id = k->self->system_id};
    ssize_t got = getrandom(h->nonce, sizeof(h->nonce), 0);
    CHECK(got == (ssize_t)sizeof(h->nonce)); /* never short for so few (getrandom(2)) */
    str_copy(h->cluster, sizeof(h->cluster), k->self->cluster);
    str_copy(h->from, sizeof(h->from), k->self->name);
    str_copy(h->to, sizeof(h->to), k->peer);
    k->our_len = peer_hello_frame(h, k->our_frame);
    return stream_send(k->stream, k->our_frame, k->our_len); /* false: `closed` comes */
}

/* A side whose certificate the other has verified needs no password. */
static void secret(const struct mesh_link *k, enum peer_secret which, bool verified, unsigned char ret_mac[PEER_MAC])
{
    struct span ours = {k->our_frame, k->our_len};
    struct span theirs = {k->their_frame, k->their_len};

    peer_secret(which, verified ? "" : k->self->password, k->connector ? ours : theirs, k->connector ? theirs : ours,
                ret_mac);
}

static void send_proof(struct mesh_link *k)
{
    unsigned char mac[PEER_MAC];
    unsigned char frame[PEER_PROOF_FRAME];

    secret(k, k->connector ? PEER_OF_CONNECTOR : PEER_OF_ACCEPTOR, k->theirs.has_verified, mac);
    peer_proof_frame(mac, frame);
    (void)stream_send(k->stream, frame, sizeof(frame)); /* if it fails, `closed` comes */
}

static bool take_hello(struct mesh_link *k, const struct peer_frame *frame)
{
    char why[PEER_REASON_MAX];

    if (frame->kind != PEER_HELLO || frame->whole.len > sizeof(k->their_frame) ||
        !peer_hello_read(frame->body, &k->theirs))
        return refuse(k, "not understood: no greeting of an agent");
    memcpy(k->their_frame, frame->whole.at, frame->whole.len);
    k->their_len = frame->whole.len;
    if (!k->connector)
        str_copy(k->peer, sizeof(k->peer), k->theirs.from);
    if (!k->connector)
        (void)send_hello(k); /* also to whom is refused next: it learns who we are, and why */
    if (peer_hello_refused(&k->ours, &k->theirs, why))
        return refuse(k, why);
    k->phase = LINK_PROOF;
    if (k->connector)
        send_proof(k);
    return true;
}

static bool take_proof(struct mesh_link *k, const struct peer_frame *frame)
{
    unsigned char mac[PEER_MAC];
    char why[PEER_REASON_MAX];

    if (frame->kind != PEER_PROOF)
        return refuse(k, "not understood: no proof");
    secret(k, k->connector ? PEER_OF_ACCEPTOR : PEER_OF_CONNECTOR, k->ours.has_verified, mac);
    if (!peer_proof_is(frame->body, mac))
        return refuse(k, "other credentials in restapi.authentication");
    if (!k->connector)
        send_proof(k);
    secret(k, PEER_OF_SESSION, k->ours.has_verified && k->theirs.has_verified, mac);
    k->session = peer_session_new(mac);
    k->phase = LINK_UP;
    loop_timer_clear(&k->handshake);
    if (!k->events->up(k, why, k->arg))
        return refuse(k, why);
    return true;
}

/* ---- frames ---- */

static bool take_state(struct mesh_link *k, const struct peer_frame *frame)
{
    struct peer_state state;
    char why[PEER_REASON_MAX];

    if (k->connector)
        return refuse(k, "not understood: states go the other way");
    if (!peer_state_read(k->session, frame->body, &state))
        return refuse(k, "a message that is not the next one of this connection");
    if (!str_eq(state.name, k->peer))
        return refuse(k, "a message in the name of another");
    if (!k->events->state(k, &state, why, k->arg))
        return refuse(k, why);
    return true;
}

static bool take_frame(struct mesh_link *k, const struct peer_frame *frame)
{
    char why[PEER_REASON_MAX];

    if (frame->kind == PEER_REFUSAL) {
        peer_refusal_read(frame->body, why);
        return end(k, MESH_REFUSED_US, why);
    }
    switch (k->phase) {
    case LINK_OPENING:
        return true;
    case LINK_HELLO:
        return take_hello(k, frame);
    case LINK_PROOF:
        return take_proof(k, frame);
    case LINK_UP:
        return frame->kind != PEER_STATE || take_state(k, frame); /* other kinds: of a later version */
    case LINK_ENDED:
        break;
    }
    UNREACHABLE();
}

static void stream_received(struct span *bytes, void *arg)
{
    struct mesh_link *k = arg;
    struct peer_frame frame;

    for (;;) {
        switch (peer_frame_next(bytes, &frame)) {
        case PEER_OK:
            if (!take_frame(k, &frame))
                return;
            break;
        case PEER_MORE:
            return;
        case PEER_BAD:
            (void)refuse(k, "not understood");
            return;
        }
    }
}

static void stream_opened(void *arg)
{
    struct mesh_link *k = arg;

    k->phase = LINK_HELLO;
    if (k->connector)
        (void)send_hello(k); /* if it fails, `closed` comes */
}

static void stream_drained(void *arg)
{
    struct mesh_link *k = arg;

    if (k->phase == LINK_UP)
        k->events->drained(k, k->arg);
}

static const struct stream_events stream_events = {stream_opened, stream_received, stream_drained, stream_closed};

/* ---- making, sending ---- */

static struct mesh_link *link_new(struct loop *l, const struct mesh_self *self, const struct mesh_link_events *events,
                                  void *arg)
{
    struct mesh_link *k = mem_zero(1, sizeof(*k));

    k->self = self;
    k->events = events;
    k->arg = arg;
    loop_timer_init(&k->handshake, l, handshake_late, k);
    loop_timer_set(&k->handshake, loop_clock_ms() + MESH_HANDSHAKE_MS);
    return k;
}

struct mesh_link *mesh_link_connect(struct loop *l, const struct mesh_self *self, const char *peer, const char *address,
                                    int port, const struct stream_tls *tls, const char *server,
                                    const struct mesh_link_events *events, void *arg)
{
    struct mesh_link *k = link_new(l, self, events, arg);

    k->connector = true;
    str_copy(k->peer, sizeof(k->peer), peer);
    k->stream = stream_connect(l, address, port, tls, server, &mesh_stream_limits, &stream_events, k);
    return k;
}

struct mesh_link *mesh_link_accept(struct loop *l, const struct mesh_self *self, struct stream *take_stream,
                                   const struct mesh_link_events *events, void *arg)
{
    struct mesh_link *k = link_new(l, self, events, arg);

    k->stream = take_stream;
    stream_serve(k->stream, &stream_events, k);
    return k;
}

void mesh_link_free(struct mesh_link *k)
{
    if (!k)
        return;
    loop_timer_clear(&k->handshake);
    stream_free(k->stream);
    peer_session_free(k->session);
    free(k);
}

bool mesh_link_send(struct mesh_link *k, struct span state)
{
    unsigned char frame[PEER_FRAME_MAX];

    CHECK(k->connector);
    CHECK(k->phase == LINK_UP);
    if (stream_unsent(k->stream))
        return false;
    size_t len = peer_state_frame(k->session, state, frame);
    (void)stream_send(k->stream, frame, len); /* if it fails, `closed` comes */
    return true;
}
