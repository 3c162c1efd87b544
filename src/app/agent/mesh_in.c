#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/agent/mesh_parts.h"
#include "base/str.h"
#include "io/log.h"
#include "io/stream.h"

enum {
    INCOMING_MAX = 2 * HA_PEERS_MAX,
    LISTEN_AGAIN_MS = 1000,
};

struct incoming {
    struct mesh *mesh;
    struct list link;
    struct mesh_link *conn;
    msec heard_ms;
};

/* ---- hearing ---- */

static void incoming_free(struct incoming *in)
{
    list_remove(&in->link);
    in->mesh->incoming_count--;
    mesh_link_free(in->conn);
    free(in);
}

/* The same agent anew, or its successor: what its former connection still holds is old. */
static void replace_former(struct incoming *now)
{
    LIST_EACH (it, tmp, &now->mesh->incoming) {
        struct incoming *in = LIST_ENTRY(it, struct incoming, link);
        if (in != now && mesh_link_is_up(in->conn) && str_eq(mesh_link_peer(in->conn), mesh_link_peer(now->conn)))
            incoming_free(in);
    }
}

static bool in_up(struct mesh_link *k, char ret_why[PEER_REASON_MAX], void *arg)
{
    struct incoming *in = arg;
    struct mesh *m = in->mesh;
    msec now_ms = loop_clock_ms();

    if (!mesh_peer_find(m, mesh_link_peer(k)) && !mesh_peer_add(m, mesh_link_peer(k), now_ms)) {
        (void)snprintf(ret_why, PEER_REASON_MAX, "more than %d agents", HA_PEERS_MAX);
        return false;
    }
    replace_former(in);
    in->heard_ms = now_ms;
    return true;
}

/* What was granted before goes on, whatever is said now. Another boot's clock is not ours. */
static msec granted_by(const struct mesh *m, const struct peer_state *s, msec now_ms)
{
    if (!str_eq(s->grants, m->self.name))
        return 0;
    for (size_t i = 0; i < s->heard_count; i++) {
        const struct peer_heard *h = &s->heard[i];
        if (str_eq(h->name, m->self.name) && h->boot == m->boot && h->told_ms <= (uint64_t)now_ms)
            return (msec)h->told_ms;
    }
    return 0;
}

static bool in_state(struct mesh_link *k, const struct peer_state *s, char ret_why[PEER_REASON_MAX], void *arg)
{
    struct incoming *in = arg;
    struct mesh *m = in->mesh;
    struct mesh_peer *p = mesh_peer_find(m, s->name);
    msec now_ms = loop_clock_ms();

    if (s->system_id && m->view.own.system_id && s->system_id != m->view.own.system_id) {
        (void)snprintf(ret_why, PEER_REASON_MAX, "system identifier %llu is not %llu", (unsigned long long)s->system_id,
                       (unsigned long long)m->view.own.system_id);
        return false;
    }
    in->heard_ms = now_ms;
    if (!p)
        p = mesh_peer_add(m, s->name, now_ms); /* forgotten while it was silent */
    if (!p)
        return true;
    struct ha_mesh_peer *entry = mesh_entry_of(m, p);
    if (entry->heard_ms && entry->state.boot == s->boot && s->seq <= entry->state.seq)
        return true; /* not newer */
    bool news = !entry->heard_ms || peer_state_is_news(&entry->state, s);
    peer_state_copy(&entry->state, s);
    entry->heard_ms = now_ms;
    entry->granted_ms = msec_max(entry->granted_ms, granted_by(m, s, now_ms));
    if (news)
        m->news(m->arg);
    return true;
}

static void in_drained(struct mesh_link *k, void *arg)
{
    (void)arg; /* nothing that we send there waits */
}

/* Without the port of the other side, which is another one each time. */
static int host_len(const char *address)
{
    const char *bracket = strchr(address, ']');

    return (int)(bracket ? bracket + 1 - address : (ptrdiff_t)strcspn(address, ":"));
}

static void in_ended(struct mesh_link *k, enum mesh_end how, const char *why, void *arg)
{
    struct incoming *in = arg;
    const char *where = mesh_link_address(k);
    const char *who = mesh_link_peer(k);

    /* A lost one is the other side's to say: it makes a new one. */
    if (how != MESH_LOST &&
        mesh_says(&in->mesh->refused, "%.*s, which says that it is the agent of %s, %s: %s", host_len(where), where,
                  *who ? who : "?", how == MESH_REFUSED ? "is refused" : "refuses us", why))
        log_warning("peer.refused", "%s", in->mesh->refused.text);
    incoming_free(in);
}

static const struct mesh_link_events in_events = {in_up, in_state, in_drained, in_ended};

/* Full of connections that have not proved anything: the oldest of them goes. */
static bool make_room(struct mesh *m)
{
    LIST_EACH (it, tmp, &m->incoming) {
        struct incoming *in = LIST_ENTRY(it, struct incoming, link);
        if (!mesh_link_is_up(in->conn)) {
            incoming_free(in);
            return true;
        }
    }
    return false;
}

void mesh_in_deinit(struct mesh *m)
{
    LIST_EACH (it, tmp, &m->incoming)
        incoming_free(LIST_ENTRY(it, struct incoming, link));
    stream_listener_free(m->listener);
    m->listener = NULL;
}

static void accepted(struct stream *take_stream, void *arg)
{
    struct mesh *m = arg;

    if (m->incoming_count == INCOMING_MAX && !make_room(m)) {
        stream_free(take_stream);
        return;
    }
    struct incoming *in = mem_zero(1, sizeof(*in));
    in->mesh = m;
    in->conn = mesh_link_accept(m->loop, &m->self, take_stream, &in_events, in);
    list_init(&in->link);
    list_add_tail(&m->incoming, &in->link);
    m->incoming_count++;
}

void mesh_drop_silent(struct mesh *m, msec now_ms)
{
    LIST_EACH (it, tmp, &m->incoming) {
        struct incoming *in = LIST_ENTRY(it, struct incoming, link);
        msec last_ms = msec_max(in->heard_ms, m->view.resumed_ms);
        if (mesh_link_is_up(in->conn) && now_ms - last_ms > MESH_SILENT_MS)
            incoming_free(in);
    }
}

/* ---- listening ---- */

void mesh_listen_again(struct mesh *m, msec now_ms)
{
    struct err err = {0};

    if (m->listener || !m->listen_host || now_ms < m->listen_again_ms)
        return;
    m->listen_again_ms = now_ms + LISTEN_AGAIN_MS;
    if (!stream_listen(m->loop, m->listen_host, m->listen_port, m->accepts, &mesh_stream_limits, accepted, m,
                       &m->listener, &err)) {
        if (mesh_says(&m->not_listening, "the other agents cannot tell us how they are: %s; trying again", err.text))
            log_error("peer.not_listening", "%s", m->not_listening.text);
        return;
    }
    m->not_listening = (struct mesh_said){0};
    bool six = strchr(m->connect_host, ':');
    free(m->address);
    m->address = str_fmt("%s%s%s:%d", six ? "[" : "", m->connect_host, six ? "]" : "",
                         m->connect_port ? m->connect_port : stream_listener_port(m->listener));
    log_info("peer.listening", "listening for the other agents; they find us at %s", m->address);
    m->news(m->arg);
}
