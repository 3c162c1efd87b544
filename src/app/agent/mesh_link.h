/*
 * One connection between two agents: the handshake of wire/peer_link.h, then states, from the side that connected.
 *
 * It belongs to whoever made it and is freed by him, in `ended` at the latest; not from inside another callback. What
 * is refused is told to the other side, so that both can log why.
 */
#pragma once

#include <stdbool.h>

#include "base/auto.h"
#include "base/time.h"
#include "wire/peer_link.h"

struct loop;
struct mesh_link;
struct stream;
struct stream_tls;

enum {
    MESH_HANDSHAKE_MS = 2000, /* an agent that lives shakes hands within milliseconds, over TLS within tens */
    MESH_CONNECT_MS = 1000,   /* a SYN that was lost is sent again after one second: a new attempt is as quick */
    MESH_STALL_MS =
        2000, /* a connection that takes nothing is dropped: a new one is quicker than TCP's retransmissions */
};

/* Limits of the listener; of every link. */
extern const struct stream_limits mesh_stream_limits;

struct mesh_self { /* of the mesh; looked at whenever it is needed */
    char name[PEER_NAME_MAX];
    char cluster[PEER_CLUSTER_MAX];
    char *password;     /* "user:password"; "" none */
    uint64_t system_id; /* 0: unknown */
};

enum mesh_end {
    MESH_LOST,       /* the connection broke, or was never had */
    MESH_REFUSED,    /* by us */
    MESH_REFUSED_US, /* by the other side */
};

struct mesh_link_events {
    /* Both have proved themselves. False with a reason: it is refused for that. */
    bool (*up)(struct mesh_link *k, char ret_why[PEER_REASON_MAX], void *arg);
    /* The same for a state that came; its name is that of the link. */
    bool (*state)(struct mesh_link *k, const struct peer_state *s, char ret_why[PEER_REASON_MAX], void *arg);
    /* What mesh_link_send() could not send may be tried again. */
    void (*drained)(struct mesh_link *k, void *arg);
    void (*ended)(struct mesh_link *k, enum mesh_end how, const char *why, void *arg);
};

/* To the agent of member `peer`. server: the name its certificate must be for. */
struct mesh_link *mesh_link_connect(struct loop *l, const struct mesh_self *self, const char *peer, const char *address,
                                    int port, const struct stream_tls *tls, const char *server,
                                    const struct mesh_link_events *events, void *arg);
struct mesh_link *mesh_link_accept(struct loop *l, const struct mesh_self *self, struct stream *take_stream,
                                   const struct mesh_link_events *events, void *arg);
void mesh_link_free(struct mesh_link *k);
AUTO_DEFINE(mesh_link, struct mesh_link, mesh_link_free)

bool mesh_link_is_up(const struct mesh_link *k);
/* Of an accepted one "" until it has said it; proved once it is up. */
const char *mesh_link_peer(const struct mesh_link *k);
const char *mesh_link_address(const struct mesh_link *k);

/* Of one that is up and connected by us. False: what was sent before still waits; `drained` will come. */
bool mesh_link_send(struct mesh_link *k, struct span state);
