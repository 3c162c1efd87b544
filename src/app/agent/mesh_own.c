#include "app/agent/mesh_own.h"

#include <stdlib.h>
#include <string.h>

#include "app/agent/health.h"
#include "app/agent/local.h"
#include "app/agent/mesh.h"
#include "app/agent/quorum.h"
#include "app/agent/state.h"
#include "base/check.h"
#include "base/str.h"
#include "wire/cluster.h"
#include "wire/conf/settings.h"
#include "wire/peer.h"

static enum peer_process process_of(enum ha_process process)
{
    switch (process) {
    case HA_PROC_UNKNOWN:
        return PEER_PROC_UNKNOWN;
    case HA_PROC_NONE:
        return PEER_PROC_NONE;
    case HA_PROC_RUNNING:
        return PEER_PROC_RUNNING;
    case HA_PROC_ORPHANS:
        return PEER_PROC_ORPHANS;
    }
    UNREACHABLE();
}

/* A decimal of 64 bits without a sign, as PostgreSQL writes it; 0: unknown. */
static uint64_t system_id_of(const char *text)
{
    return text ? strtoull(text, NULL, 10) : 0;
}

static void put_server(struct peer_state *s, struct agent *a, const struct ha_pg *pg)
{
    bool seen = local_facts(a->local) != NULL;
    struct ha_health health;

    health_view(a->health, &health);
    s->system_id = system_id_of(pg->system_id);
    s->process = process_of(pg->process);
    s->sick = health.sick;
    s->serving = a->plan.serving;
    s->accepting = pg->accepting;
    s->in_recovery = seen && pg->in_recovery;
    s->primary = seen && pg->accepting && !pg->in_recovery;
    s->timeline = seen ? pg->timeline : pg->control_timeline;
    s->position = !seen ? pg->control_position : pg->in_recovery ? pg->position : pg->flushed;
    s->replayed = seen ? pg->replayed : 0;
    s->wal_age_ms = health.wal_age_ms;
    if (pg->upstream && strlen(pg->upstream) < sizeof(s->upstream))
        str_copy(s->upstream, sizeof(s->upstream), pg->upstream);
}

/*
 * A grant is about the leader's newest message here, which it sent before it was heard. It counts as given from now on,
 * whether this state is sent or not.
 */
static void put_vote(struct peer_state *s, struct agent *a)
{
    const struct ha_mesh *mesh = mesh_view(a->mesh);

    s->free_of = a->vote.free_of;
    s->elector = a->vote.elector;
    for (size_t i = 0; i < mesh->count; i++) {
        if (!str_eq(mesh->at[i].state.name, a->vote.grants) || !mesh->at[i].heard_ms)
            continue;
        str_copy(s->grants, sizeof(s->grants), a->vote.grants);
        a->vote_granted_ms = msec_max(a->vote_granted_ms, mesh->at[i].heard_ms);
    }
}

void mesh_own_state(struct peer_state *state, void *arg)
{
    struct agent *a = arg;
    struct ha_pg pg;

    local_view(a->local, &pg);
    state->ending = a->request.ending;
    state->failover_priority = (uint16_t)a->failover_priority;
    /* What it says is flushed is not on its disk: nobody's commit may count on that. */
    bool forgets = local_facts(a->local) && !local_facts(a->local)->fsync;
    state->sync_priority = forgets ? 0 : (uint16_t)a->sync_priority;
    state->unfit = a->plan.unfit;
    put_server(state, a, &pg);
    quorum_state(a->quorum, state);
    put_vote(state, a);
}
