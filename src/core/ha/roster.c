#include "core/ha/roster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/mutant.h"
#include "base/str.h"
#include "core/ha/cohort.h"
#include "core/ha/mode.h"
#include "core/ha/reach.h"
#include "core/ha/suspect.h"

enum { JOIN_LAG_MAX = 16 * 1024 * 1024 }; /* a standby that is further behind would make commits wait */

const struct ha_sender *roster_own_sender(const struct ha_view *v, const char *name)
{
    const struct ha_sender *own = NULL;

    for (size_t i = 0; i < v->quorum.sender_count; i++) {
        const struct ha_sender *s = &v->quorum.senders[i];
        if (!str_eq_nocase(s->name, name))
            continue;
        if (own)
            return NULL;
        own = s;
    }
    return own && own->physical && own->own_slot && own->streaming ? own : NULL;
}

static void read_follower(const struct ha_view *v, const struct peer_state *s, struct follower *ret)
{
    const struct record_key *r = mode_record(v);
    const struct ha_sender *sender = roster_own_sender(v, s->name);
    lsn marker = v->quorum.marker.at;

    *ret = (struct follower){
        .name = s->name, .incarnation = s->incarnation, .sync_priority = s->sync_priority, .wants_out = s->wants_out};
    ret->follows = r && sender && s->incarnation && s->in_recovery && s->freeze == PEER_FREEZE_NONE &&
                   s->promised <= r->term && str_eq(s->upstream, v->conf.name) && s->upstream_term == r->term &&
                   (s->timeline == v->pg.timeline || MUTANT(FOLLOWER_OF_ANY_TIMELINE));
    if (!ret->follows)
        return;
    ret->stalled = reach_stands_still(v, s, v->pg.flushed);
    ret->lag = v->pg.position > sender->flushed ? v->pg.position - sender->flushed : 0;
    /*
     * Both: a standby that is ahead of this history is refused by PostgreSQL, but its walsender reports what it has as
     * flushed all the same; and what an agent says may be of before its standby came here.
     */
    ret->marked = marker && (s->position >= marker || MUTANT(MARKED_BY_WALSENDER)) && sender->flushed >= marker;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct follower *)a)->name, ((const struct follower *)b)->name);
}

void roster_read(const struct ha_view *v, struct roster *ret)
{
    ret->count = 0;
    for (size_t i = 0; v->mesh && i < v->mesh->count; i++) {
        const struct peer_state *s = mesh_fresh(v, v->mesh->at[i].state.name);
        if (s && !str_eq(s->name, v->conf.name) && ret->count < HA_PEERS_MAX)
            read_follower(v, s, &ret->at[ret->count++]);
    }
    qsort(ret->at, ret->count, sizeof(ret->at[0]), by_name);
}

const struct follower *roster_find(const struct roster *r, const char *name)
{
    for (size_t i = 0; i < r->count; i++)
        if (str_eq_nocase(r->at[i].name, name))
            return &r->at[i];
    return NULL;
}

size_t roster_following(const struct roster *r, const struct record_cohort *c)
{
    size_t found = 0;

    for (size_t i = 0; i < r->count; i++)
        found += r->at[i].follows && !r->at[i].stalled && cohort_has(c, r->at[i].name, r->at[i].incarnation);
    return found;
}

size_t roster_marked(const struct roster *r, const struct record_cohort *c)
{
    size_t found = 0;

    for (size_t i = 0; i < r->count; i++)
        found += r->at[i].marked && cohort_has(c, r->at[i].name, r->at[i].incarnation);
    return found;
}

msec roster_missing_since(struct ha_memory *m, const struct ha_view *v, const char *name, bool follows)
{
    struct ha_missing *empty = NULL;

    for (size_t i = 0; i < HA_PEERS_MAX; i++) {
        struct ha_missing *at = &m->cohort.missing[i];
        if (str_eq(at->name, name)) {
            if (follows)
                *at = (struct ha_missing){0};
            return at->since_ms;
        }
        if (!at->name[0] && !empty)
            empty = at;
    }
    if (follows || !empty)
        return follows ? 0 : v->now_ms;
    str_copy(empty->name, sizeof(empty->name), name);
    empty->since_ms = v->now_ms;
    return empty->since_ms;
}

/*
 * How long a member is missed. Where none is reached and two or more are heard, those have nobody to wait for and may
 * take over: they come first (suspect.h), and who would go on alone after them.
 */
static msec patience_ms(const struct ha_view *v, const struct roster *r, const struct record_cohort *now)
{
    size_t heard = 0;

    for (size_t i = 0; i < r->count; i++)
        heard += r->at[i].follows && cohort_has(now, r->at[i].name, r->at[i].incarnation);
    return heard < 2 || roster_following(r, now) ? v->conf.profile.lost_ms
                                                 : mesh_patience(v, 2 * v->conf.profile.lost_ms);
}

/* A member of the record's stays until it has been missing for so long; another comes when it is close. */
static bool belongs(struct ha_memory *m, const struct ha_view *v, const struct record_cohort *now,
                    const struct follower *f, msec patience, struct ha_plan *p)
{
    bool in = cohort_has(now, f->name, f->incarnation);
    lsn lag_max = v->conf.maximum_lag_on_syncnode > 0 ? (lsn)v->conf.maximum_lag_on_syncnode : UINT64_MAX;

    if (!f->sync_priority || f->wants_out || member_name_why_not_counted(f->name))
        return false;
    if (!in)
        return f->follows && !f->stalled && f->lag <= (lag_max < JOIN_LAG_MAX ? lag_max : JOIN_LAG_MAX);
    if (f->follows && f->lag > lag_max)
        return false;
    msec since_ms = roster_missing_since(m, v, f->name, f->follows && !f->stalled);
    if (!since_ms)
        return true;
    msec due_ms = since_ms + patience;
    if (v->now_ms >= due_ms)
        return false;
    plan_wake(p, due_ms);
    return true;
}

struct choice {
    struct follower f;
    bool in;
};

static int by_choice(const void *a, const void *b)
{
    const struct choice *x = a, *y = b;

    if (x->f.sync_priority != y->f.sync_priority)
        return x->f.sync_priority > y->f.sync_priority ? -1 : 1;
    if (x->in != y->in) /* of equal ones who is in stays in */
        return x->in ? -1 : 1;
    return strcmp(x->f.name, y->f.name);
}

static void take(struct record_cohort *c, const struct choice *choices, size_t count, int k)
{
    *c = (struct record_cohort){.k = k};
    for (size_t i = 0; i < count; i++)
        record_cohort_add(c, choices[i].f.name, choices[i].f.incarnation);
}

/* Members of the record whose agents are not up: they are not in the roster, and stay for a while. */
static size_t add_absent(struct ha_memory *m, const struct ha_view *v, const struct roster *r,
                         const struct record_cohort *now, struct choice *choices, size_t count, struct ha_plan *p)
{
    for (size_t i = 0; i < now->count && count < HA_PEERS_MAX; i++) {
        struct follower f = {.name = now->at[i].name, .incarnation = now->at[i].incarnation, .sync_priority = 1};
        if (!roster_find(r, f.name) && belongs(m, v, now, &f, v->conf.profile.lost_ms, p))
            choices[count++] = (struct choice){f, true};
    }
    return count;
}

bool roster_target(struct ha_memory *m, const struct ha_view *v, const struct roster *r, struct record_cohort *ret,
                   struct ha_plan *p)
{
    const struct record_cohort *now = &mode_record(v)->open;
    struct choice choices[HA_PEERS_MAX];
    size_t count = 0, wanted = v->conf.sync_node_count > 0 ? (size_t)v->conf.sync_node_count : 1;
    msec patience = patience_ms(v, r, now);

    for (size_t i = 0; i < r->count; i++)
        if (belongs(m, v, now, &r->at[i], patience, p))
            choices[count++] = (struct choice){r->at[i], cohort_has(now, r->at[i].name, r->at[i].incarnation)};
    count = add_absent(m, v, r, now, choices, count, p);
    qsort(choices, count, sizeof(choices[0]), by_choice);
    if (v->conf.sync_mode == HA_SYNC_ON && count > wanted)
        count = wanted;
    take(ret, choices, count, (int)(wanted < count ? wanted : count));
    return !cohort_equal(ret, now);
}

bool roster_is_member(const struct ha_view *v, const char *name)
{
    for (size_t i = 0; i < v->mesh->count; i++)
        if (str_eq_nocase(v->mesh->at[i].state.name, name))
            return true;
    return cohort_has_name(&mode_record(v)->open, name) || cohort_has_name(&mode_record(v)->joint, name);
}

void roster_audit(const struct ha_view *v, struct ha_plan *p)
{
    for (size_t i = 0; i < v->quorum.sender_count; i++) {
        const struct ha_sender *s = &v->quorum.senders[i];
        if (s->starting || (s->physical && s->own_slot) || !roster_is_member(v, s->name) || MUTANT(STRANGERS_LEFT))
            continue;
        struct ha_action *end = plan_add(p, HA_DO_END_SENDER);
        end->pid = s->pid;
        str_copy(end->subject, sizeof(end->subject), s->name);
        return; /* one at a time: the next look shows what is left */
    }
}

const char *roster_list(const struct record_cohort *c, bool strict, char *ret_text, size_t cap)
{
    AUTO(buf) struct buf b = {0};

    if (!c->count) {
        str_copy(ret_text, cap, strict ? ROSTER_FENCE : "");
        return ret_text;
    }
    buf_printf(&b, "ANY %d (", MUTANT(ANY_ONE) ? 1 : c->k);
    for (size_t i = 0; i < c->count; i++) {
        buf_add_str(&b, i ? ",\"" : "\"");
        for (const char *s = c->at[i].name; *s; s++)
            buf_add_str(&b, *s == '"' ? "\"\"" : (char[2]){*s, 0});
        buf_add_str(&b, "\"");
    }
    buf_add_char(&b, ')');
    CHECK(b.len < cap);
    str_copy(ret_text, cap, buf_cstr(&b));
    return ret_text;
}
