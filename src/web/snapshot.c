#include "web/snapshot.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/str.h"

const char *node_state_text(enum node_state state)
{
    switch (state) {
#define X(id, text, index) \
    case NODE_##id:        \
        return text;
        PG_STATES(X)
#undef X
    }
    UNREACHABLE();
}

const char *node_role_text(enum node_role role)
{
    switch (role) {
    case ROLE_UNINITIALIZED:
        return "uninitialized";
    case ROLE_REPLICA:
        return "replica";
    case ROLE_PRIMARY:
        return "primary";
    case ROLE_STANDBY_LEADER:
        return "standby_leader";
    case ROLE_DEMOTED:
        return "demoted";
    case ROLE_PROMOTED:
        return "promoted";
    }
    UNREACHABLE();
}

struct snapshot *snapshot_new(void)
{
    struct snapshot *s = mem_zero(1, sizeof(*s));

    atomic_init(&s->refs, 1);
    s->state = NODE_UNKNOWN;
    return s;
}

static struct snapshot *snapshot_ref(struct snapshot *s)
{
    unsigned int before = atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);

    CHECK(before > 0);
    return s;
}

static void walsenders_free(struct snapshot_walsender *walsenders, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(walsenders[i].usename);
        free(walsenders[i].application_name);
        free(walsenders[i].client_addr);
        free(walsenders[i].state);
        free(walsenders[i].sync_state);
    }
    free(walsenders);
}

void snapshot_unref(struct snapshot *s)
{
    if (!s)
        return;

    unsigned int before = atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel);
    CHECK(before > 0);
    if (before > 1)
        return;

    char *const texts[] = {
        s->scope,
        s->name,
        s->version,
        s->agent_id,
        s->told_version,
        s->postmaster_start_time,
        s->system_identifier,
        s->replayed_timestamp,
        s->replication_state,
        s->pending_restart_reason,
        s->scheduled_restart,
        s->tags,
        s->clone_progress,
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        free(texts[i]);
    walsenders_free(s->walsenders, s->walsender_count);
    for (size_t i = 0; i < s->slot_count; i++)
        free(s->slots[i].name);
    free(s->slots);
    for (size_t i = 0; i < s->peer_count; i++)
        free(s->peers[i].name);
    free(s->peers);
    cluster_unref(s->cluster);
    free(s);
}

bool snapshot_lease_held(const struct snapshot *s, msec now_ms)
{
    return s->leader && now_ms < s->lease_deadline_ms;
}

/* ---- the board ---- */

struct snapshot_board {
    pthread_mutex_t lock; /* held for a pointer and a count only */
    struct snapshot *newest;
};

struct snapshot_board *snapshot_board_new(void)
{
    struct snapshot_board *b = mem_zero(1, sizeof(*b));

    int failed = pthread_mutex_init(&b->lock, NULL);
    CHECK(!failed);
    return b;
}

void snapshot_board_free(struct snapshot_board *b)
{
    if (!b)
        return;

    snapshot_unref(b->newest);
    (void)pthread_mutex_destroy(&b->lock);
    free(b);
}

void snapshot_publish(struct snapshot_board *b, struct snapshot *take_snapshot)
{
    CHECK(take_snapshot);
    (void)pthread_mutex_lock(&b->lock);
    struct snapshot *old = b->newest;
    b->newest = take_snapshot;
    (void)pthread_mutex_unlock(&b->lock);
    snapshot_unref(old);
}

struct snapshot *snapshot_newest(struct snapshot_board *b)
{
    (void)pthread_mutex_lock(&b->lock);
    struct snapshot *newest = b->newest ? snapshot_ref(b->newest) : NULL;
    (void)pthread_mutex_unlock(&b->lock);
    return newest;
}
