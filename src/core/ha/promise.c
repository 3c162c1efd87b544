#include "core/ha/promise.h"

#include "base/str.h"
#include "core/ha/mode.h"
#include "core/ha/suspect.h"

struct call {
    term term, settled;
    const char *to;
};

static void hear(struct call *best, term t, term settled, const char *to)
{
    if (t > best->term)
        *best = (struct call){t, settled, to};
}

/* The highest term that is asked for, by the record or by its coordinator. */
static struct call newest_call(const struct ha_view *v)
{
    const struct cluster *c = v->store.cluster;
    struct call best = {0};

    if (mode_is_quorum(v)) {
        const struct record_key *r = &c->record;
        hear(&best, r->term, r->phase == RECORD_TERM ? 0 : r->term, r->coordinator);
    }
    for (size_t i = 0; v->mesh && i < v->mesh->count; i++) {
        const struct peer_state *s = &v->mesh->at[i].state;
        if (s->calls && s->calls == s->promised)
            hear(&best, s->calls, 0, s->coordinator);
    }
    return best;
}

const char *promise_beyond(const struct ha_view *v, term of_record, term *ret_term)
{
    *ret_term = v->quorum.promise.term;
    if (*ret_term > of_record)
        return v->conf.name;
    for (size_t i = 0; v->mesh && i < v->mesh->count; i++) {
        const struct peer_state *s = mesh_fresh(v, v->mesh->at[i].state.name);
        if (!s || s->promised <= of_record)
            continue;
        *ret_term = s->promised;
        return s->name;
    }
    return NULL;
}

term promise_highest(const struct ha_view *v)
{
    term highest = v->quorum.promise.term;

    for (size_t i = 0; v->mesh && i < v->mesh->count; i++)
        if (v->mesh->at[i].state.promised > highest)
            highest = v->mesh->at[i].state.promised;
    return highest;
}

void promise_decide(const struct ha_view *v, struct ha_plan *p)
{
    const struct ha_promise *have = &v->quorum.promise;
    struct call call = newest_call(v);

    if (!have->known)
        return;
    bool new_term = call.term > have->term;
    bool new_end = call.term == have->term && call.settled > have->settled;
    if (new_term || new_end) {
        p->promise = (struct ha_plan_promise){.term = call.term, .settled = call.settled};
        str_copy(p->promise.to, sizeof(p->promise.to), new_term ? call.to : have->to);
        if (call.settled < have->settled)
            p->promise.settled = have->settled;
    }
    if (mode_must_freeze(v) && !v->conf.witness)
        p->freeze = have->term;
}
