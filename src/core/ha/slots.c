#include "core/ha/slots.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/str.h"

static void remember(struct ha_slots_memory *m, const char *slot, msec member_ms)
{
    for (size_t i = 0; i < m->count; i++)
        if (str_eq(m->at[i].slot, slot)) {
            m->at[i].member_ms = msec_max(m->at[i].member_ms, member_ms);
            return;
        }
    if (m->count == HA_SLOTS_MAX)
        return; /* not remembered: it is kept for ever, which loses nothing */
    str_copy(m->at[m->count].slot, HA_SLOT_NAME_MAX, slot);
    m->at[m->count++].member_ms = member_ms;
}

static const struct ha_slot *slot_find(const struct ha_slots_view *v, const char *name)
{
    for (size_t i = 0; i < v->slot_count; i++)
        if (str_eq(v->slots[i].name, name))
            return &v->slots[i];
    return NULL;
}

static void act(struct ha_slots_plan *p, enum ha_slot_act_kind kind, const char *slot, lsn to)
{
    if (p->count == HA_SLOTS_MAX)
        return; /* the rest follows in the next cycle */
    struct ha_slot_act *a = &p->acts[p->count++];
    a->kind = kind;
    a->to = to;
    str_copy(a->slot, sizeof(a->slot), slot);
}

/* One slot that should be here. */
static void want(const struct ha_slots_view *v, struct ha_slots_plan *p, const char *slot)
{
    const struct ha_slot *have = slot_find(v, slot);
    lsn published = (lsn)json_integer_value(json_object_get(v->cluster->status.slots, slot));

    if (have && (!have->physical || have->ignored))
        return; /* somebody's logical slot has the name; nothing we could do is harmless */
    if (have && have->lost && !have->active) {
        act(p, HA_SLOT_DROP, slot, 0); /* created again in the next cycle */
        return;
    }
    if (!have) {
        act(p, HA_SLOT_CREATE, slot, 0);
        return;
    }
    if (v->primary || have->active)
        return;

    /* Never beyond what this node has: an advance past the end of WAL is refused. */
    lsn to = published < v->position ? published : v->position;
    if (to && have->restart_lsn && to > have->restart_lsn)
        act(p, HA_SLOT_ADVANCE, slot, to);
}

/* `slots:` of the dynamic configuration: {name: {type: physical}} or any value that is no mapping. */
static bool is_permanent(const struct ha_slots_view *v, const char *slot)
{
    return v->permanent && json_object_get(v->permanent, slot);
}

/* A copy that nobody here moves on would keep WAL for ever. */
static void give_up(const struct ha_slots_view *v, struct ha_slots_plan *p, const char *slot)
{
    const struct ha_slot *have = slot_find(v, slot);

    if (have && have->physical && !have->active && !have->ignored && !is_permanent(v, slot) && !v->pause)
        act(p, HA_SLOT_DROP, slot, 0);
}

static void want_members(struct ha_slots_memory *m, const struct ha_slots_view *v, struct ha_slots_plan *p)
{
    for (size_t i = 0; i < v->cluster->member_count; i++) {
        const struct member *member = &v->cluster->members[i];
        char *slot = slot_name_from_member(member->name);

        bool ours = !v->nofailover || str_eq(member->tags.replicatefrom, v->name);
        if (!str_eq(member->name, v->name) && !member->tags.nostream) {
            remember(m, slot, v->now_ms);
            if (ours)
                want(v, p, slot);
            else
                give_up(v, p, slot);
        }
        free(slot);
    }
}

static void want_permanent(const struct ha_slots_view *v, struct ha_slots_plan *p)
{
    const char *slot;
    json_t *row;
    char *own = slot_name_from_member(v->name);

    json_object_foreach((json_t *)v->permanent, slot, row)
    {
        const char *type = json_string_value(json_object_get(row, "type"));
        bool physical = !json_is_object(row) || !type || str_eq(type, "physical");
        if (physical && !str_eq(slot, own))
            want(v, p, slot);
    }
    free(own);
}

static bool is_member_slot(const struct ha_slots_view *v, const char *slot)
{
    bool found = false;

    for (size_t i = 0; i < v->cluster->member_count && !found; i++) {
        char *name = slot_name_from_member(v->cluster->members[i].name);
        found = str_eq(name, slot);
        free(name);
    }
    return found;
}

static void retire(const struct ha_slots_memory *m, const struct ha_slots_view *v, struct ha_slots_plan *p)
{
    for (size_t i = 0; i < m->count; i++) {
        const char *slot = m->at[i].slot;
        const struct ha_slot *have = slot_find(v, slot);
        msec until_ms = m->at[i].member_ms + v->member_slots_ttl_ms;

        if (!have || !have->physical || have->ignored || is_permanent(v, slot) || is_member_slot(v, slot))
            continue;
        if (v->now_ms < until_ms || v->pause || have->active) {
            str_copy(p->retain[p->retain_count++], HA_SLOT_NAME_MAX, slot);
            p->wake_ms = msec_min(p->wake_ms, msec_max(until_ms, v->now_ms));
            continue;
        }
        act(p, HA_SLOT_DROP, slot, 0);
    }
}

void ha_slots_decide(struct ha_slots_memory *m, const struct ha_slots_view *v, struct ha_slots_plan *ret_plan)
{
    struct ha_slots_plan *p = ret_plan;
    size_t i;
    json_t *kept;

    CHECK(v->cluster);
    p->count = p->retain_count = 0; /* what stands beyond them means nothing */
    p->wake_ms = MSEC_NEVER;
    if (!m->seeded) {
        json_array_foreach(v->cluster->status.retain_slots, i, kept) if (json_is_string(kept))
            remember(m, json_string_value(kept), v->now_ms);
        m->seeded = true;
    }
    if (!v->use_slots)
        return;
    want_members(m, v, p);
    if (!v->nofailover)
        want_permanent(v, p);
    retire(m, v, p);
}
