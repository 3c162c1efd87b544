#include "app/agent/mesh.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "app/agent/mesh_parts.h"
#include "base/check.h"
#include "base/str.h"
#include "io/http_server.h"
#include "io/log.h"
#include "io/resolver.h"
#include "io/stream.h"
#include "wire/cluster.h"
#include "wire/conf/settings.h"

enum {
    STOOD_STILL_BEATS = 3, /* a loop that comes so late has not listened either */
    FORGET_MS = 60000,     /* a member's key may vanish with the store and come back with it */
    RESOLVE_MS = 5000,     /* how often names are looked up again */
    SAY_AGAIN_MS = 600000,
    SAY_OTHER_MS = 10000,
};

/* ---- peers ---- */

struct mesh_peer *mesh_peer_find(const struct mesh *m, const char *name)
{
    for (size_t i = 0; i < m->view.count; i++)
        if (str_eq(m->peers[i]->name, name))
            return m->peers[i];
    return NULL;
}

struct ha_mesh_peer *mesh_entry_of(struct mesh *m, const struct mesh_peer *p)
{
    for (size_t i = 0; i < m->view.count; i++)
        if (m->peers[i] == p)
            return &m->view.at[i];
    UNREACHABLE();
}

struct mesh_peer *mesh_peer_add(struct mesh *m, const char *name, msec now_ms)
{
    if (m->view.count == HA_PEERS_MAX)
        return NULL;
    struct mesh_peer *p = mem_zero(1, sizeof(*p));
    struct ha_mesh_peer *entry = &m->view.at[m->view.count];

    p->mesh = m;
    str_copy(p->name, sizeof(p->name), name);
    p->absent_ms = now_ms; /* until the members say otherwise */
    entry->heard_ms = entry->granted_ms = 0;
    peer_state_init(&entry->state);
    str_copy(entry->state.name, sizeof(entry->state.name), name);
    m->peers[m->view.count++] = p;
    return p;
}

static void peer_free(struct mesh_peer *p)
{
    mesh_link_free(p->out);
    free(p->address);
    free(p->host);
    free(p);
}

static void peer_remove(struct mesh *m, size_t i)
{
    size_t last = m->view.count - 1;

    peer_free(m->peers[i]);
    m->peers[i] = m->peers[last];
    if (i != last)
        m->view.at[i] = m->view.at[last];
    m->view.count--;
}

static void forget(struct mesh *m, msec now_ms)
{
    for (size_t i = 0; i < m->view.count;) {
        const struct mesh_peer *p = m->peers[i];
        msec last_ms = msec_max(p->absent_ms, msec_max(m->view.at[i].heard_ms, m->view.resumed_ms));

        if (p->absent_ms && now_ms - last_ms > FORGET_MS)
            peer_remove(m, i);
        else
            i++;
    }
}

bool mesh_says(struct mesh_said *said, const char *fmt, ...)
{
    char text[MESH_SAID_MAX];
    msec now_ms = loop_clock_ms();
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args); /* cut is fine */
    va_end(args);
    msec quiet_ms = str_eq(text, said->text) ? SAY_AGAIN_MS : SAY_OTHER_MS;
    if (said->at_ms && now_ms - said->at_ms < quiet_ms)
        return false;
    str_copy(said->text, sizeof(said->text), text);
    said->at_ms = now_ms;
    return true;
}

/* ---- telling ---- */

/* We did not run: what we did not hear meanwhile says nothing about the others. */
static void notice_standstill(struct mesh *m, msec now_ms)
{
    if (now_ms - m->beat_ms > STOOD_STILL_BEATS * m->heartbeat_ms)
        m->view.resumed_ms = now_ms;
}

static uint32_t age_ms(const struct mesh *m, const struct ha_mesh_peer *p, msec now_ms)
{
    msec age = now_ms - msec_max(p->heard_ms, m->view.resumed_ms);

    if (!p->heard_ms)
        return UINT32_MAX;
    return age < 0 ? 0 : (uint32_t)msec_min(age, UINT32_MAX - 1);
}

static void own_state(struct mesh *m, msec now_ms, struct peer_state *ret)
{
    peer_state_init(ret);
    m->state(ret, m->arg);
    ret->told_ms = (uint64_t)now_ms;
    str_copy(ret->name, sizeof(ret->name), m->self.name);
    ret->boot = m->boot;
    ret->beat_ms = (uint16_t)m->heartbeat_ms;
    ret->heard_count = m->view.count;
    for (size_t i = 0; i < m->view.count; i++) {
        str_copy(ret->heard[i].name, sizeof(ret->heard[i].name), m->peers[i]->name);
        ret->heard[i].age_ms = age_ms(m, &m->view.at[i], now_ms);
        ret->heard[i].boot = m->view.at[i].state.boot;
        ret->heard[i].told_ms = m->view.at[i].state.told_ms;
    }
}

static void tell(struct mesh *m, const struct peer_state *own)
{
    uint64_t seq = m->view.own.seq + 1;

    peer_state_copy(&m->view.own, own);
    m->view.own.seq = seq;
    m->self.system_id = own->system_id;
    m->told_len = peer_encode(&m->view.own, m->told);
    for (size_t i = 0; i < m->view.count; i++)
        mesh_send(m->peers[i]);
}

void mesh_changed(struct mesh *m)
{
    struct peer_state own;
    msec now_ms = loop_clock_ms();

    notice_standstill(m, now_ms);
    own_state(m, now_ms, &own);
    if (peer_state_is_news(&m->view.own, &own))
        tell(m, &own);
}

/* ---- the clock ---- */

/*
 * On the wall clock's grid: where the hosts' clocks agree, all agents tell at one moment, and each wakes once for it
 * instead of once for every other one. Where they do not, nothing is lost but that.
 */
static msec next_beat_ms(const struct mesh *m)
{
    return m->beat_ms + m->heartbeat_ms - m->beat_phase_ms;
}

void mesh_schedule(struct mesh *m)
{
    msec next_ms = next_beat_ms(m);

    for (size_t i = 0; i < m->view.count; i++)
        if (m->peers[i]->host && !m->peers[i]->out)
            next_ms = msec_min(next_ms, m->peers[i]->next_try_ms);
    loop_timer_set(&m->timer, next_ms);
}

static void beat(struct mesh *m, msec now_ms)
{
    struct peer_state own;

    notice_standstill(m, now_ms);
    m->beat_ms = now_ms;
    m->beat_phase_ms = wall_clock_ms() % m->heartbeat_ms;
    forget(m, now_ms);
    mesh_drop_silent(m, now_ms);
    mesh_listen_again(m, now_ms);
    own_state(m, now_ms, &own);
    tell(m, &own);
}

/* With a beat: the last one may lie further back than a few of the new ones, and we have not stood still. */
void mesh_set_heartbeat(struct mesh *m, msec heartbeat_ms)
{
    CHECK(heartbeat_ms > 0 && heartbeat_ms <= UINT16_MAX);
    if (heartbeat_ms == m->heartbeat_ms)
        return;
    notice_standstill(m, loop_clock_ms());
    m->heartbeat_ms = heartbeat_ms;
    m->beat_ms = loop_clock_ms();
    beat(m, m->beat_ms);
    mesh_schedule(m);
}

static void timer_due(void *arg)
{
    struct mesh *m = arg;
    msec now_ms = loop_clock_ms();

    if (now_ms >= next_beat_ms(m))
        beat(m, now_ms);
    mesh_connect_due(m, now_ms);
    mesh_schedule(m);
}

/* ---- from outside ---- */

struct mesh *mesh_new(struct loop *l, const char *name, const char *cluster, msec heartbeat_ms, mesh_state_fn *state,
                      mesh_news_fn *news, void *arg)
{
    struct mesh *m = mem_zero(1, sizeof(*m));

    CHECK(heartbeat_ms > 0 && heartbeat_ms <= UINT16_MAX);
    m->loop = l;
    m->heartbeat_ms = heartbeat_ms;
    m->state = state;
    m->news = news;
    m->arg = arg;
    ssize_t got = getrandom(&m->boot, sizeof(m->boot), 0);
    CHECK(got == (ssize_t)sizeof(m->boot)); /* never short for so few (getrandom(2)) */
    str_copy(m->self.name, sizeof(m->self.name), name);
    str_copy(m->self.cluster, sizeof(m->self.cluster), cluster);
    m->self.password = str_dup("");
    list_init(&m->incoming);
    m->resolver = resolver_new(RESOLVE_MS);
    peer_state_init(&m->view.own);
    m->beat_ms = m->view.resumed_ms = loop_clock_ms();
    loop_timer_init(&m->timer, l, timer_due, m);
    mesh_schedule(m);
    return m;
}

void mesh_free(struct mesh *m)
{
    if (!m)
        return;
    loop_timer_clear(&m->timer);
    while (m->view.count)
        peer_remove(m, m->view.count - 1);
    mesh_in_deinit(m);
    stream_tls_free(m->connects);
    stream_tls_free(m->accepts);
    resolver_free(m->resolver);
    free(m->self.password);
    free(m->listen_host);
    free(m->connect_host);
    free(m->address);
    free(m);
}

static bool make_tls(const struct settings *s, struct stream_tls **ret_connects, struct stream_tls **ret_accepts,
                     struct err *err)
{
    struct http_tls server = {
        .certfile = s->restapi.certfile,
        .keyfile = s->restapi.keyfile,
        .keyfile_password = s->restapi.keyfile_password,
        .cafile = s->restapi.cafile,
        .ciphers = s->restapi.ciphers,
        .verify = s->restapi.cafile ? HTTP_VERIFY_REQUIRED : HTTP_VERIFY_NONE,
    };
    struct http_tls client = {
        .certfile = s->ctl.cert,
        .keyfile = s->ctl.key,
        .keyfile_password = s->ctl.key_password,
        .cafile = s->ctl.cacert,
        .verify = s->ctl.cacert && !s->ctl.insecure ? HTTP_VERIFY_REQUIRED : HTTP_VERIFY_NONE,
    };
    AUTO(stream_tls) struct stream_tls *connects = NULL;

    if (!stream_tls_new(STREAM_CONNECTS, &client, &connects, err))
        return false;
    if (server.certfile && !stream_tls_new(STREAM_ACCEPTS, &server, ret_accepts, err))
        return false;
    *ret_connects = TAKE(connects);
    return true;
}

/* One that stays gets the new certificates. */
static void move_listener(struct mesh *m, const struct settings *s, struct stream_tls *take_accepts)
{
    const struct endpoint *listen = &s->pgkeep.peer_listen;
    const struct endpoint *connect = &s->pgkeep.peer_connect;
    bool same = str_eq(m->listen_host, listen->host) && m->listen_port == listen->port &&
                str_eq(m->connect_host, connect->host) && m->connect_port == connect->port;

    if (!same) {
        stream_listener_free(m->listener);
        m->listener = NULL;
        free(m->address);
        m->address = NULL;
        str_set(&m->listen_host, listen->host);
        m->listen_port = listen->port;
        str_set(&m->connect_host, connect->host);
        m->connect_port = connect->port;
        m->listen_again_ms = 0;
    } else if (m->listener) {
        stream_listener_tls(m->listener, take_accepts);
    }
    stream_tls_free(m->accepts);
    m->accepts = take_accepts;
    mesh_listen_again(m, loop_clock_ms());
}

static void say_open(struct mesh *m, const struct settings *s)
{
    if (m->open_said || s->restapi.username || (s->restapi.certfile && s->restapi.cafile))
        return;
    m->open_said = true;
    log_warning("peer.open", "whoever can reach the port after that of restapi can speak as an agent of this cluster: "
                             "there is neither restapi.authentication nor a restapi.cafile");
}

bool mesh_configure(struct mesh *m, const struct settings *s, struct err *err)
{
    struct stream_tls *connects = NULL;
    struct stream_tls *accepts = NULL;

    if (!make_tls(s, &connects, &accepts, err))
        return err_wrap(err, "the other agents' connections");
    free(m->self.password);
    m->self.password = s->restapi.username
                           ? str_fmt("%s:%s", s->restapi.username, s->restapi.password ? s->restapi.password : "")
                           : str_dup("");
    stream_tls_free(m->connects);
    m->connects = connects;
    move_listener(m, s, accepts);
    say_open(m, s);
    return true;
}

static void watch_names(struct mesh *m)
{
    const char *names[HA_PEERS_MAX];
    size_t count = 0;

    for (size_t i = 0; i < m->view.count; i++)
        if (m->peers[i]->host && !resolver_is_address(m->peers[i]->host))
            names[count++] = m->peers[i]->host;
    resolver_watch(m->resolver, names, count);
}

static void take_member(struct mesh *m, const struct member *member, msec now_ms)
{
    const char *address = json_string_value(json_object_get(member->pgkeep_info, "peer"));
    struct mesh_peer *p = mesh_peer_find(m, member->name);

    if (str_eq(member->name, m->self.name) || strlen(member->name) >= PEER_NAME_MAX || (!p && !address))
        return;
    if (!p)
        p = mesh_peer_add(m, member->name, now_ms);
    if (!p)
        return;
    p->absent_ms = 0;
    mesh_set_address(p, address, member->api_url && str_starts(member->api_url, "https:"));
}

void mesh_members(struct mesh *m, const struct cluster *c)
{
    msec now_ms = loop_clock_ms();

    for (size_t i = 0; i < m->view.count; i++)
        if (!m->peers[i]->absent_ms && !cluster_member(c, m->peers[i]->name))
            m->peers[i]->absent_ms = now_ms;
    for (size_t i = 0; i < c->member_count; i++)
        take_member(m, &c->members[i], now_ms);
    watch_names(m);
    mesh_schedule(m);
}

const struct ha_mesh *mesh_view(struct mesh *m)
{
    notice_standstill(m, loop_clock_ms());
    return &m->view;
}

const char *mesh_address(const struct mesh *m)
{
    return m->address;
}
