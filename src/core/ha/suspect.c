#include "core/ha/suspect.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "core/ha/cohort.h"
#include "core/ha/facts.h"
#include "core/ha/mode.h"
#include "core/ha/reach.h"

enum {
    /*
     * An election whose coordinator lives is left alone that long, and twice as long with every further one since a
     * leader was open: a freeze takes a tenth of it.
     */
    STUCK_MS = 3000,
    STUCK_DOUBLINGS_MAX = 5,
    QUIET_BEATS = 3,    /* of the other one's: fewer in a row are lost, or late */
    SLOWEST_BEAT = 500, /* ms, of all profiles; a number that somebody tells is believed up to that */
};

static const struct ha_mesh_peer *mesh_peer(const struct ha_view *v, const char *name)
{
    for (size_t i = 0; v->mesh && i < v->mesh->count; i++)
        if (str_eq(v->mesh->at[i].state.name, name))
            return &v->mesh->at[i];
    return NULL;
}

msec mesh_age(const struct ha_view *v, const char *name)
{
    const struct ha_mesh_peer *peer = mesh_peer(v, name);

    if (str_eq(name, v->conf.name))
        return 0;
    if (!v->mesh)
        return MSEC_NEVER;
    msec heard_ms = peer ? peer->heard_ms : 0;
    msec since_ms = msec_max(heard_ms, v->mesh->resumed_ms); /* while we slept we heard nobody */
    return since_ms ? v->now_ms - since_ms : MSEC_NEVER;
}

msec mesh_quiet(const struct ha_view *v, const char *name, msec limit_ms)
{
    const struct ha_mesh_peer *peer = mesh_peer(v, name);
    msec beat_ms = peer ? msec_min(peer->state.beat_ms, SLOWEST_BEAT) : 0;

    return msec_max(limit_ms, QUIET_BEATS * beat_ms);
}

const struct peer_state *mesh_fresh(const struct ha_view *v, const char *name)
{
    const struct ha_mesh_peer *peer = mesh_peer(v, name);

    if (str_eq(name, v->conf.name))
        return v->mesh ? &v->mesh->own : NULL;
    if (!peer || !peer->heard_ms || peer->state.ending)
        return NULL;
    return v->now_ms - peer->heard_ms <= mesh_quiet(v, name, v->conf.profile.suspect_ms) ? &peer->state : NULL;
}

static msec age_told(const struct peer_state *s, const char *name)
{
    for (size_t i = 0; i < s->heard_count; i++)
        if (str_eq(s->heard[i].name, name))
            return s->heard[i].age_ms == UINT32_MAX ? MSEC_NEVER : (msec)s->heard[i].age_ms;
    return MSEC_NEVER;
}

/* Most of the agents that are heard here, this one among them, miss it so long. */
static bool most_miss(const struct ha_view *v, const char *name, msec silent_ms)
{
    size_t heard = 1, miss = 1;

    for (size_t i = 0; v->mesh && i < v->mesh->count; i++) {
        const struct peer_state *s = mesh_fresh(v, v->mesh->at[i].state.name);
        if (!s || str_eq(s->name, name))
            continue;
        msec told_ms = age_told(s, name);
        msec since_ms = v->now_ms - v->mesh->at[i].heard_ms;
        heard++;
        miss += told_ms == MSEC_NEVER || told_ms + since_ms >= silent_ms;
    }
    return miss * 2 > heard;
}

/* WAL from `name` still reaches a standby that the record counts on. */
static bool wal_moves(const struct ha_view *v, const char *name)
{
    const struct record_key *r = &v->store.cluster->record;

    for (size_t i = 0; i <= v->mesh->count; i++) {
        const struct peer_state *s = i < v->mesh->count ? mesh_fresh(v, v->mesh->at[i].state.name) : &v->mesh->own;
        if (!s || !str_eq(s->upstream, name) || !cohort_has_name(&r->open, s->name))
            continue;
        msec since_ms = i < v->mesh->count ? v->now_ms - v->mesh->at[i].heard_ms : 0;
        if (s->wal_age_ms != UINT32_MAX &&
            (msec)s->wal_age_ms + since_ms < mesh_quiet(v, s->name, v->conf.profile.wal_ms))
            return true;
    }
    return false;
}

msec mesh_patience(const struct ha_view *v, msec limit_ms)
{
    return v->health.slowness_percent > 100 ? limit_ms * v->health.slowness_percent / 100 : limit_ms;
}

static struct suspect suspect_silent(const struct ha_view *v, const char *name, struct ha_plan *p)
{
    const struct ha_profile *f = &v->conf.profile;
    msec age_ms = mesh_age(v, name);
    bool moves = wal_moves(v, name);
    msec limit_ms = mesh_patience(v, mesh_quiet(v, name, moves ? f->agent_ms : f->suspect_ms));
    struct suspect s = {.kind = SUSPECT_NOBODY, .name = name};

    if (age_ms < limit_ms) {
        plan_wake(p, v->now_ms + limit_ms - age_ms);
        return s;
    }
    if (!most_miss(v, name, limit_ms)) {
        plan_wake(p, v->now_ms + f->beat_ms);
        return s;
    }
    s.kind = SUSPECT_SILENT;
    if (age_ms == MSEC_NEVER)
        (void)snprintf(s.why, sizeof(s.why), "%s was never heard", name);
    else
        (void)snprintf(s.why, sizeof(s.why), "%s is silent, %s", name,
                       moves ? "though WAL comes from it" : "and no WAL comes from it");
    return s;
}

/* Why a leader whose agent is heard does not do what it was elected for; NULL: it does, or it is early to say. */
static const char *ailment(const struct ha_view *v, const struct peer_state *s)
{
    const struct record_key *r = &v->store.cluster->record;

    if (s->planned)
        return NULL;
    if (s->sick)
        return peer_sick_text(s->sick);
    if (r->phase == RECORD_OPEN)
        return s->serving ? NULL : "is not open";
    return s->primary ? NULL : "is not promoted";
}

/* A promotion that replays what was received is at work. */
static bool is_moving(struct ha_memory *m, const struct peer_state *s)
{
    bool moves = s->in_recovery && s->replayed > m->suspect.replayed;

    m->suspect.replayed = s->replayed;
    return moves;
}

/* A leader that is well, as its agent says; and its cohort? */
static struct suspect suspect_cut(struct ha_memory *m, const struct ha_view *v, const struct peer_state *s,
                                  struct ha_plan *p)
{
    const struct ha_profile *f = &v->conf.profile;
    struct suspect found = {.kind = SUSPECT_NOBODY, .name = s->name};
    struct reach reach = {0};

    if (v->store.cluster->record.phase == RECORD_OPEN && !s->planned)
        reach = reach_of(v, s);
    plan_wake(p, reach_look_again(v));
    if (!reach.blocked || !reach.cut || reach.cut + reach.reached < 2) {
        m->suspect.cut_ms = 0;
        return found;
    }
    if (!m->suspect.cut_ms)
        m->suspect.cut_ms = v->now_ms;
    msec due_ms = m->suspect.cut_ms + mesh_patience(v, reach.reached ? 2 * f->lost_ms : f->lost_ms) - f->wal_ms;
    if (v->now_ms < due_ms) {
        plan_wake(p, due_ms);
        return found;
    }
    found.kind = SUSPECT_CUT;
    (void)snprintf(found.why, sizeof(found.why), "%s is heard, but its WAL does not get to %zu of its cohort's members",
                   s->name, reach.cut);
    return found;
}

/* What the leader's own agent says of its PostgreSQL. */
static struct suspect suspect_told(struct ha_memory *m, const struct ha_view *v, const struct peer_state *s,
                                   struct ha_plan *p)
{
    const struct record_key *r = &v->store.cluster->record;
    struct suspect found = {.kind = SUSPECT_NOBODY, .name = s->name};
    bool down = s->process == PEER_PROC_NONE || s->process == PEER_PROC_ORPHANS;
    const char *why = ailment(v, s);

    if (s->incarnation && s->incarnation != r->leader_incarnation) {
        found.kind = SUSPECT_DEAD;
        (void)snprintf(found.why, sizeof(found.why), "%s has another data directory than the one that was elected",
                       s->name);
        return found;
    }
    if (down && !s->planned) {
        found.kind = SUSPECT_DEAD;
        (void)snprintf(found.why, sizeof(found.why), "PostgreSQL of %s died", s->name);
        return found;
    }
    if (!why || is_moving(m, s)) {
        m->suspect.sick_ms = 0;
        return why ? found : suspect_cut(m, v, s, p);
    }
    if (!m->suspect.sick_ms)
        m->suspect.sick_ms = v->now_ms;
    msec due_ms = m->suspect.sick_ms + (s->sick ? v->conf.profile.sick_ms : v->conf.profile.agent_ms);
    if (v->now_ms < due_ms) {
        plan_wake(p, due_ms);
        return found;
    }
    found.kind = SUSPECT_SICK;
    (void)snprintf(found.why, sizeof(found.why), "PostgreSQL of %s %s", s->name, why);
    return found;
}

/* The coordinator's name: what stands before the '#'. */
static const char *coordinator_name(const struct record_key *r, char *ret_name, size_t cap)
{
    size_t len = r->coordinator ? strcspn(r->coordinator, "#") : 0;

    (void)snprintf(ret_name, cap, "%.*s", (int)len, r->coordinator ? r->coordinator : "");
    return ret_name;
}

static struct suspect suspect_stuck(const struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    const struct record_key *r = &v->store.cluster->record;
    char name[HA_NAME_MAX];
    struct suspect s = {.kind = SUSPECT_NOBODY};

    (void)coordinator_name(r, name, sizeof(name));
    msec quiet_ms = mesh_quiet(v, name, v->conf.profile.suspect_ms);
    bool silent = !str_eq(name, v->conf.name) && mesh_age(v, name) >= quiet_ms;
    term tries = r->term - r->open_term;
    msec once_ms = silent ? quiet_ms : STUCK_MS; /* its change of the record was a sign of life */
    msec due_ms = m->suspect.record_ms + (once_ms << (tries < STUCK_DOUBLINGS_MAX ? tries : STUCK_DOUBLINGS_MAX));
    if (v->now_ms < due_ms) {
        plan_wake(p, msec_min(due_ms, v->now_ms + v->conf.profile.suspect_ms));
        return s;
    }
    s.kind = SUSPECT_STUCK;
    (void)snprintf(s.why, sizeof(s.why), "the election of term %llu by %s ended nowhere", (unsigned long long)r->term,
                   name);
    return s;
}

/* Elected as the primary it was, and started as a standby since: to promote it takes a number, and so a term. */
static struct suspect suspect_self(const struct ha_view *v)
{
    const struct record_key *r = &v->store.cluster->record;
    struct suspect s = {.kind = SUSPECT_NOBODY, .name = v->conf.name};

    if (mode_may_lead(v) && pg_is_standby(v) && v->job.state != HA_JOB_RUNNING && v->pg.timeline &&
        r->leader_timeline <= v->pg.timeline) {
        s.kind = SUSPECT_SICK;
        (void)snprintf(s.why, sizeof(s.why), "PostgreSQL here leads, and runs as a standby");
    }
    return s;
}

struct suspect suspect_look(struct ha_memory *m, const struct ha_view *v, struct ha_plan *p)
{
    const struct record_key *r = &v->store.cluster->record;
    if (m->suspect.term != r->term) {
        m->suspect.term = r->term;
        m->suspect.cut_ms = 0;
    }
    if (m->suspect.record != r->mod_revision) {
        m->suspect.record = r->mod_revision;
        m->suspect.record_ms = v->now_ms;
        m->suspect.sick_ms = 0;
        m->suspect.replayed = 0;
    }
    if (r->phase == RECORD_TERM)
        return suspect_stuck(m, v, p);
    if (str_eq(r->leader, v->conf.name))
        return suspect_self(v);
    const struct peer_state *told = mesh_fresh(v, r->leader);
    if (told)
        return suspect_told(m, v, told, p);
    m->suspect.sick_ms = m->suspect.cut_ms = 0;
    return suspect_silent(v, r->leader, p);
}
