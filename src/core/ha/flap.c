#include "core/ha/flap.h"

#include <string.h>

enum {
    GROWTH = 3,
    MOST = 20, /* times again_ms */
    CALM = 2,  /* times what would have been waited for */
    STEPS_MAX = 3,
};

static msec gap_ms(const struct ha_memory *m, const struct ha_view *v)
{
    msec gap = v->conf.profile.again_ms, most = gap * MOST;

    for (int i = 1; i < m->flap.count; i++)
        gap *= GROWTH;
    return gap < most ? gap : most;
}

/* Not a handover, and not a leader that wrote a lost record anew. */
static bool by_failover(const struct record_key *r)
{
    return r->coordinator && strchr(r->coordinator, '#');
}

void flap_look(struct ha_memory *m, const struct ha_view *v)
{
    const struct record_key *r = &v->store.cluster->record;

    if (r->phase != RECORD_OPEN || r->open_term == m->flap.term)
        return;
    bool first = !m->flap.term;
    m->flap.term = r->open_term;
    if (first || !by_failover(r))
        return;
    bool calm = !m->flap.count || v->now_ms - m->flap.opened_ms > CALM * gap_ms(m, v);
    if (calm)
        m->flap.count = 1;
    else if (m->flap.count <= STEPS_MAX)
        m->flap.count++;
    m->flap.opened_ms = v->now_ms;
}

msec flap_hold_ms(const struct ha_memory *m, const struct ha_view *v)
{
    return m->flap.count ? m->flap.opened_ms + gap_ms(m, v) : 0;
}
