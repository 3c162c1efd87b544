#include "app/agent/twin.h"

#include <jansson.h>
#include <string.h>

#include "app/agent/guard_link.h"
#include "app/agent/registry.h"
#include "base/str.h"
#include "io/http_client.h"
#include "io/log.h"
#include "wire/cluster.h"
#include "wire/guard.h"

enum { ANSWER_MS = 3000 }; /* Patroni's */

/* PostgreSQL stays as we found it. */
static void go(struct agent *a)
{
    struct err err = {0};

    a->exit_status = GUARD_EXIT_CONFIG;
    if (a->guard_seen.pg_state != GUARD_PG_NONE) {
        a->leaving = true;
        if (!guard_link_leave(a->guard, &err))
            log_error("guard.not_sent", "%s", err.text);
    }
    loop_stop(a->loop);
}

static bool is_twin(const struct agent *a, const struct http_reply *reply)
{
    json_t *status = reply->status ? json_loadb(reply->body, reply->body_len, 0, NULL) : NULL;
    const json_t *patroni = json_object_get(status, "patroni");
    const char *name = json_string_value(json_object_get(patroni, "name"));
    const char *id = json_string_value(json_object_get(json_object_get(status, "pgkeep"), "agent"));

    /*
     * Patroni before 4 does not tell its name; that it answers where our key points says it. One of ours that has not
     * published anything yet tells no version either: it may be ourselves.
     */
    bool runs = json_is_string(json_object_get(patroni, "version"));
    bool twin = runs && (!name || str_eq(name, agent_name(a))) && !str_eq(id, a->id);
    json_decref(status);
    return twin;
}

static void answered(const struct http_reply *reply, void *arg)
{
    struct agent *a = arg;
    const struct member *m = cluster_member(registry_members(a->registry), agent_name(a));

    a->twin_call = NULL;
    a->twin = TWIN_NONE;
    if (!is_twin(a, reply)) {
        agent_wake(a);
        return;
    }
    log_critical("agent.twin", "there is already a node named %s running, at %s: this one does not start",
                 agent_name(a), m ? m->api_url : "its address");
    go(a);
}

/* We are no member yet, and there is one whose name PostgreSQL takes for ours. */
static const struct member *namesake(const struct agent *a, const struct cluster *c)
{
    for (size_t i = 0; i < c->member_count; i++)
        if (str_eq_nocase(c->members[i].name, agent_name(a)) && !str_eq(c->members[i].name, agent_name(a)))
            return &c->members[i];
    return NULL;
}

bool twin_looked_for(struct agent *a)
{
    const struct cluster *c = registry_members(a->registry);
    const struct member *m;

    switch (a->twin) {
    case TWIN_NONE:
        return true;
    case TWIN_ASKED:
        return false;
    case TWIN_UNKNOWN:
        break;
    }
    if (!c)
        return true; /* nothing is written before the first reading: the lease waits for us */
    m = cluster_member(c, agent_name(a));
    const struct member *other = m ? NULL : namesake(a, c);
    if (other) {
        log_critical("agent.namesake",
                     "the cluster has a member %s, whose name differs from %s in case only, which PostgreSQL does not "
                     "tell apart: this one does not start",
                     other->name, agent_name(a));
        go(a);
        return false;
    }
    if (!m || str_empty(m->api_url)) {
        a->twin = TWIN_NONE;
        return true;
    }
    struct http_request request = {.method = "GET", .url = m->api_url, .budget_ms = ANSWER_MS};
    a->twin = TWIN_ASKED;
    a->twin_call = http_client_send(a->http, &request, answered, a);
    return false;
}

void twin_forget(struct agent *a)
{
    if (a->twin == TWIN_ASKED)
        a->twin = TWIN_UNKNOWN;
    a->twin_call = NULL;
}
