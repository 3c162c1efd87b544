#include "core/ha/reach.h"

#include "base/str.h"
#include "core/ha/cohort.h"
#include "core/ha/suspect.h"

enum link { LINK_NONE, LINK_CUT, LINK_WELL };

bool reach_stands_still(const struct ha_view *v, const struct peer_state *s, lsn leader_at)
{
    if (s->position >= leader_at)
        return false;
    return s->wal_age_ms == UINT32_MAX ||
           (msec)s->wal_age_ms + mesh_age(v, s->name) >= mesh_quiet(v, s->name, v->conf.profile.wal_ms);
}

msec reach_look_again(const struct ha_view *v)
{
    return v->now_ms + v->conf.profile.lost_ms / 4;
}

/* Who is not heard by it does not get through to it either; that it never heard somebody may be its own beginning. */
static bool is_heard_by(const struct ha_view *v, const struct peer_state *leader, const char *name)
{
    for (size_t i = 0; i < leader->heard_count; i++)
        if (str_eq(leader->heard[i].name, name))
            return leader->heard[i].age_ms == UINT32_MAX ||
                   (msec)leader->heard[i].age_ms < mesh_quiet(v, name, v->conf.profile.suspect_ms);
    return true;
}

static enum link link_of(const struct ha_view *v, const struct peer_state *leader, const struct peer_state *s)
{
    const struct record_key *r = &v->store.cluster->record;
    bool follows = s->process == PEER_PROC_RUNNING && s->in_recovery && str_eq(s->upstream, leader->name) &&
                   s->upstream_term == r->term && s->timeline == r->leader_timeline && !s->wants_out;

    if (!follows)
        return LINK_NONE;
    return reach_stands_still(v, s, leader->position) || !is_heard_by(v, leader, s->name) ? LINK_CUT : LINK_WELL;
}

static void look(const struct ha_view *v, const struct peer_state *leader, const struct record_cohort *c,
                 struct reach *ret)
{
    struct reach of = {0};

    for (size_t i = 0; i < c->count; i++) {
        const struct peer_state *s = mesh_fresh(v, c->at[i].name);
        if (!s || s->incarnation != c->at[i].incarnation)
            continue;
        enum link link = link_of(v, leader, s);
        of.reached += link == LINK_WELL;
        of.cut += link == LINK_CUT;
    }
    if (c->count && of.reached < (size_t)c->k) {
        ret->blocked = true;
        ret->reached = of.reached;
        ret->cut = of.cut;
    }
}

struct reach reach_of(const struct ha_view *v, const struct peer_state *leader)
{
    const struct record_key *r = &v->store.cluster->record;
    struct reach ret = {0};

    look(v, leader, &r->open, &ret);
    if (r->joining && !ret.blocked)
        look(v, leader, &r->joint, &ret);
    return ret;
}
