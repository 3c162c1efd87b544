/*
 * What the parts of the mesh share: mesh.c (the own state, the clock, the configuration), mesh_out.c (connections to
 * the others, on which we tell), mesh_in.c (connections of the others, on which we hear).
 */
#pragma once

#include "app/agent/mesh.h"
#include "app/agent/mesh_link.h"
#include "base/list.h"
#include "io/loop.h"

struct resolver;
struct stream_listener;
struct stream_tls;

enum {
    MESH_RETRY_MAX_MS = 1000,
    MESH_SAID_MAX = PEER_REASON_MAX + 256,
    MESH_SILENT_MS = 5000, /* an accepted connection on which nothing comes is of a host that is gone */
};

struct mesh_said { /* what was logged last of something that goes on and on */
    char text[MESH_SAID_MAX];
    msec at_ms; /* 0: nothing */
};

struct mesh_peer { /* beside its entry in view.at, under the same index */
    struct mesh *mesh;
    char name[PEER_NAME_MAX];
    char *address, *host; /* as published; NULL: not (yet) */
    int port;
    bool tls;
    msec absent_ms; /* its key is gone since; 0: it is there */
    struct mesh_link *out;
    bool behind;     /* it has not got the newest state */
    size_t attempts; /* of a name with several addresses each gets its turn */
    msec retry_ms, next_try_ms;
    struct mesh_said said;
};

struct mesh {
    struct loop *loop;
    msec heartbeat_ms;
    mesh_state_fn *state;
    mesh_news_fn *news;
    void *arg;
    struct mesh_self self;
    uint64_t boot;

    struct ha_mesh view;
    struct mesh_peer *peers[HA_PEERS_MAX];
    struct list incoming; /* of mesh_in.c, the oldest first */
    size_t incoming_count;
    struct resolver *resolver;
    struct stream_tls *connects; /* NULL: no configuration yet */
    struct stream_tls *accepts;  /* NULL: plain */

    struct stream_listener *listener;
    char *listen_host;
    int listen_port;
    char *connect_host;
    int connect_port;
    char *address; /* published; NULL: not listening */
    msec listen_again_ms;
    bool open_said;
    struct mesh_said not_listening, refused;

    struct loop_timer timer;
    msec beat_ms;       /* of the last one … */
    msec beat_phase_ms; /* … which was so long after a multiple of heartbeat_ms on the wall clock */
    unsigned char told[PEER_STATE_MAX];
    size_t told_len;
};

/* mesh.c */
struct mesh_peer *mesh_peer_find(const struct mesh *m, const char *name);
struct ha_mesh_peer *mesh_entry_of(struct mesh *m, const struct mesh_peer *p);
struct mesh_peer *mesh_peer_add(struct mesh *m, const char *name, msec now_ms); /* NULL: there are too many */
void mesh_schedule(struct mesh *m);
/* Is the text worth a line? It is remembered then: the same not again for long, another one now and then. */
bool mesh_says(struct mesh_said *said, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* mesh_out.c */
void mesh_send(struct mesh_peer *p);
void mesh_connect_due(struct mesh *m, msec now_ms);
/* Where a peer listens; NULL: nowhere. */
void mesh_set_address(struct mesh_peer *p, const char *address, bool tls);

/* mesh_in.c */
void mesh_listen_again(struct mesh *m, msec now_ms);
void mesh_drop_silent(struct mesh *m, msec now_ms);
void mesh_in_deinit(struct mesh *m);
