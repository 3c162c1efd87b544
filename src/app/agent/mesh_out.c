#include <stdlib.h>

#include "app/agent/mesh_parts.h"
#include "base/check.h"
#include "base/str.h"
#include "io/log.h"
#include "io/resolver.h"
#include "wire/cluster.h"

enum {
    RETRY_MIN_MS = 50,
    ADDRESSES_MAX = 8, /* of one name */
};

void mesh_send(struct mesh_peer *p)
{
    struct mesh *m = p->mesh;

    if (p->out && mesh_link_is_up(p->out) && m->told_len)
        p->behind = !mesh_link_send(p->out, (struct span){m->told, m->told_len});
}

static void try_again(struct mesh_peer *p)
{
    p->next_try_ms = loop_clock_ms() + p->retry_ms;
    p->retry_ms = msec_min(2 * p->retry_ms, MESH_RETRY_MAX_MS);
    mesh_schedule(p->mesh);
}

/* Anew, and without the back-off. */
static void try_at_once(struct mesh_peer *p)
{
    mesh_link_free(p->out);
    p->out = NULL;
    p->retry_ms = RETRY_MIN_MS;
    p->next_try_ms = loop_clock_ms();
}

static bool out_up(struct mesh_link *k, char ret_why[PEER_REASON_MAX], void *arg)
{
    struct mesh_peer *p = arg;

    (void)ret_why;
    log_info("peer.connected", "connected to the agent of %s at %s", p->name, mesh_link_address(k));
    p->said = (struct mesh_said){0};
    p->retry_ms = RETRY_MIN_MS;
    mesh_send(p);
    return true;
}

static bool out_state(struct mesh_link *k, const struct peer_state *s, char ret_why[PEER_REASON_MAX], void *arg)
{
    UNREACHABLE(); /* none comes on a connection of ours */
}

static void out_drained(struct mesh_link *k, void *arg)
{
    struct mesh_peer *p = arg;

    if (p->behind)
        mesh_send(p);
}

static void out_ended(struct mesh_link *k, enum mesh_end how, const char *why, void *arg)
{
    struct mesh_peer *p = arg;
    bool says = false;

    switch (how) {
    case MESH_LOST:
        says = mesh_says(&p->said, "no connection to the agent of %s: %s; trying again", p->name, why);
        break;
    case MESH_REFUSED:
        says = mesh_says(&p->said, "the agent of %s at %s is refused: %s", p->name, p->address, why);
        p->retry_ms = MESH_RETRY_MAX_MS;
        break;
    case MESH_REFUSED_US:
        says = mesh_says(&p->said, "the agent of %s at %s refuses us: %s", p->name, p->address, why);
        p->retry_ms = MESH_RETRY_MAX_MS;
        break;
    }
    if (says)
        log_warning("peer.unreachable", "%s", p->said.text);
    mesh_link_free(p->out);
    p->out = NULL;
    try_again(p);
}

static const struct mesh_link_events out_events = {out_up, out_state, out_drained, out_ended};

static void connect_to(struct mesh_peer *p)
{
    struct mesh *m = p->mesh;
    char addresses[ADDRESSES_MAX][RESOLVER_ADDRESS_MAX];
    size_t count = resolver_addresses(m->resolver, p->host, addresses, ADDRESSES_MAX);

    if (!count) {
        if (mesh_says(&p->said, "no connection to the agent of %s: no address is known for %s; trying again", p->name,
                      p->host))
            log_warning("peer.unreachable", "%s", p->said.text);
        try_again(p);
        return;
    }
    p->out = mesh_link_connect(m->loop, &m->self, p->name, addresses[p->attempts++ % count], p->port,
                               p->tls ? m->connects : NULL, p->host, &out_events, p);
}

void mesh_connect_due(struct mesh *m, msec now_ms)
{
    if (!m->connects)
        return; /* there is no configuration that could be read */
    for (size_t i = 0; i < m->view.count; i++) {
        struct mesh_peer *p = m->peers[i];
        if (p->host && !p->out && p->next_try_ms <= now_ms)
            connect_to(p);
    }
}

void mesh_set_address(struct mesh_peer *p, const char *address, bool tls)
{
    char *host = NULL;
    int port = 0;

    if (str_eq(address, p->address) && tls == p->tls)
        return;
    AUTO(cstr) char *url = address ? str_fmt("agent://%s", address) : NULL;
    if (url && !url_host_port(url, &host, &port))
        host = NULL; /* what is there cannot be read: as if it listened nowhere */
    str_set(&p->address, address);
    free(p->host);
    p->host = host;
    p->port = port;
    p->tls = tls;
    try_at_once(p);
}
