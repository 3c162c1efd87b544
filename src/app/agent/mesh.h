/*
 * The mesh: what the agents tell each other, all the time (wire/peer.h).
 *
 * Every agent connects to every other member that has published where its agent listens, and sends its own state with
 * each heartbeat, and at once when it is news; it hears the others on the connections that they make. A connection
 * that breaks is made again and says nothing about the other side: only silence does, and what silence means is decided
 * elsewhere. Members whose key is gone from the store are still talked to for a while: the mesh is for when the store
 * is away.
 *
 * A peer proves itself by its certificate where restapi has authorities (cafile), else by the REST credentials. A
 * changed configuration counts for connections from then on; those that are up stay.
 */
#pragma once

#include <stdbool.h>

#include "base/auto.h"
#include "base/err.h"
#include "core/ha/view.h"

struct cluster;
struct loop;
struct mesh;
struct settings;

/* Fill in what there is to tell; name, boot, seq, told_ms and heard are the mesh's. Called often: asks nobody. */
typedef void mesh_state_fn(struct peer_state *state, void *arg);
/* A peer said something new (peer_state_is_news), or was heard for the first time; or mesh_address() changed. */
typedef void mesh_news_fn(void *arg);

/* cluster: "/namespace/scope/". */
struct mesh *mesh_new(struct loop *l, const char *name, const char *cluster, msec heartbeat_ms, mesh_state_fn *state,
                      mesh_news_fn *news, void *arg);
void mesh_free(struct mesh *m);
AUTO_DEFINE(mesh, struct mesh, mesh_free)

/*
 * Where to listen, certificates, credentials. An address that cannot be had is logged and tried again; false: a
 * certificate cannot be read, everything stays as it was.
 */
MUST_USE bool mesh_configure(struct mesh *m, const struct settings *s, struct err *err);
/* Tell so often from now on, and at once that it is so. */
void mesh_set_heartbeat(struct mesh *m, msec heartbeat_ms);
/* The members as last read. */
void mesh_members(struct mesh *m, const struct cluster *c);

/* The own state may have changed: tell it at once if that is news. */
void mesh_changed(struct mesh *m);

/* Valid until the next turn of the loop. */
const struct ha_mesh *mesh_view(struct mesh *m);

/* "host:port" for others to connect to; NULL: not listening. Valid until the next change. */
const char *mesh_address(const struct mesh *m);
