/*
 * Physical slots of the members: which to create, move and drop on this node.
 *
 * Rule (Patroni's): every node that may lead has a slot for every other member, made
 * before the member needs it; a standby moves its copies to the positions that the leader publishes in
 * /status, so that whoever is promoted still holds the WAL the others need. A slot of a member that left
 * is kept for member_slots_ttl. Our variation: a slot that was never a member's is nobody's business
 * here and is left alone (Patroni drops unknown slots).
 */
#pragma once

#include "core/ha/view.h"

enum { HA_SLOTS_MAX = 128, HA_SLOT_NAME_MAX = 64 };

struct ha_slot {
    const char *name;
    bool physical;
    bool active;
    bool lost;       /* wal_status lost: it can serve nobody any more */
    bool ignored;    /* ignore_slots: left alone, whatever it is */
    lsn restart_lsn; /* 0: reserves nothing */
};

struct ha_slots_view {
    msec now_ms;
    const char *name;
    bool primary;
    bool use_slots;
    bool pause;
    bool nofailover; /* this node never leads: it has slots for those that stream from it by replicatefrom only */
    msec member_slots_ttl_ms;
    lsn position; /* how far this node has replayed (standby) or written (primary) */
    const struct cluster *cluster;
    const json_t *permanent; /* dynamic `slots`; NULL */
    const struct ha_slot *slots;
    size_t slot_count;
};

/* Slots that belonged to members, and when they last did. */
struct ha_slots_memory {
    struct {
        char slot[HA_SLOT_NAME_MAX];
        msec member_ms;
    } at[HA_SLOTS_MAX];
    size_t count;
    bool seeded; /* retain_slots of the store have been taken in */
};

enum ha_slot_act_kind { HA_SLOT_CREATE, HA_SLOT_DROP, HA_SLOT_ADVANCE };

struct ha_slot_act {
    enum ha_slot_act_kind kind;
    char slot[HA_SLOT_NAME_MAX];
    lsn to; /* ADVANCE */
};

struct ha_slots_plan {
    struct ha_slot_act acts[HA_SLOTS_MAX];
    size_t count;
    /* Slots that are kept for members that left, for /status.retain_slots. */
    char retain[HA_SLOTS_MAX][HA_SLOT_NAME_MAX];
    size_t retain_count;
    msec wake_ms; /* the next retention ends then */
};

void ha_slots_decide(struct ha_slots_memory *m, const struct ha_slots_view *v, struct ha_slots_plan *ret_plan);
