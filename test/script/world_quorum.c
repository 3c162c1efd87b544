#include "world_quorum.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "core/ha/failover.h"
#include "core/ha/mode.h"
#include "print.h"

void quorum_begin(struct scenario *s)
{
    if (s->view.mesh)
        return;
    s->view.mesh = &s->mesh;
    s->mesh.resumed_ms = 1;
    s->view.quorum.promise.known = true;
    s->view.quorum.incarnation = incarnation_of(s->view.conf.name);
    s->view.quorum.senders = s->senders;
}

uint64_t incarnation_of(const char *name)
{
    char last = name[0] ? name[strlen(name) - 1] : '\0';

    return last >= '0' && last <= '9' ? (uint64_t)(last - '0') * 0x11 : 0;
}

static size_t index_of(struct scenario *s, const char *name)
{
    struct ha_mesh *m = &s->mesh;
    const struct record_key *r = &s->cluster->record;

    quorum_begin(s);
    for (size_t i = 0; i < m->count; i++)
        if (str_eq(m->at[i].state.name, name))
            return i;
    if (m->count == HA_PEERS_MAX || str_eq(name, s->view.conf.name))
        bad(s, "no other agent", name);
    struct ha_mesh_peer *peer = &m->at[m->count];
    peer_state_init(&peer->state);
    str_copy(peer->state.name, sizeof(peer->state.name), name);
    peer->state.promised = r->mode == RECORD_QUORUM ? r->term : 0;
    peer->state.incarnation = incarnation_of(name);
    peer->state.process = PEER_PROC_RUNNING;
    peer->state.accepting = peer->state.in_recovery = true;
    peer->state.failover_priority = peer->state.sync_priority = 1;
    peer->state.timeline = 1;
    peer->state.wal_age_ms = UINT32_MAX;
    peer->heard_ms = s->view.now_ms;
    return m->count++;
}

struct ha_mesh_peer *agent_of(struct scenario *s, const char *name)
{
    return &s->mesh.at[index_of(s, name)];
}

struct agent_more *agent_more_of(struct scenario *s, const char *name)
{
    return &s->more[index_of(s, name)];
}

static void hears(struct peer_state *s, const char *name, msec age_ms)
{
    struct peer_heard *h = &s->heard[s->heard_count++];

    str_copy(h->name, sizeof(h->name), name);
    h->age_ms = age_ms == MSEC_NEVER ? UINT32_MAX : (uint32_t)age_ms;
}

/* As far as it was heard last, it heard the others as we did then. */
static void hears_as_we_do(const struct scenario *s, size_t who)
{
    struct ha_mesh_peer *peer = (struct ha_mesh_peer *)&s->mesh.at[who];

    peer->state.heard_count = 0;
    hears(&peer->state, s->view.conf.name, 0);
    for (size_t i = 0; i < s->mesh.count; i++) {
        msec heard_ms = s->mesh.at[i].heard_ms;
        if (i != who)
            hears(&peer->state, s->mesh.at[i].state.name,
                  !heard_ms ? MSEC_NEVER : msec_max(peer->heard_ms - heard_ms, 0));
    }
}

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
    return PEER_PROC_UNKNOWN;
}

static void tell_server(const struct ha_view *v, struct peer_state *own)
{
    const struct ha_pg *pg = &v->pg;
    bool runs = pg->process == HA_PROC_RUNNING;

    own->process = process_of(pg->process);
    own->sick = v->health.sick;
    own->accepting = pg->accepting;
    own->in_recovery = runs && pg->answered && pg->in_recovery;
    own->primary = runs && pg->answered && pg->accepting && !pg->in_recovery;
    own->timeline = runs ? pg->timeline : pg->control_timeline;
    own->position = runs ? pg->position : pg->control_position;
    own->replayed = runs ? pg->replayed : 0;
    own->wal_age_ms = v->health.wal_age_ms;
    str_copy(own->upstream, sizeof(own->upstream), pg->upstream ? pg->upstream : "");
}

static void tell_quorum(const struct scenario *s, struct peer_state *own)
{
    const struct ha_view *v = &s->view;
    const struct ha_freeze *f = &v->quorum.freeze;
    const struct record_key *r = &s->cluster->record;

    own->promised = v->quorum.promise.term;
    str_copy(own->coordinator, sizeof(own->coordinator), v->quorum.promise.to);
    own->incarnation = v->quorum.incarnation;
    own->wants_out = s->plan.wants_out;
    own->unfit = s->plan.unfit;
    own->planned = s->memory.restart.under_way || v->conf.pause || v->request.ending;
    if (r->mode == RECORD_QUORUM && r->phase == RECORD_TERM && r->term == v->quorum.promise.term &&
        failover_is_ours(v->conf.name, r))
        own->calls = r->term;
    if (mode_record(v) && str_eq(own->upstream, r->leader))
        own->upstream_term = r->term;
    if (f->kind == PEER_FREEZE_NONE)
        return;
    own->freeze = f->kind;
    own->frozen_term = f->term;
    own->position = f->position;
    own->timeline = f->timeline;
}

void quorum_tell(struct scenario *s)
{
    if (!s->view.mesh)
        return;
    for (size_t i = 0; i < s->mesh.count; i++)
        if (!s->more[i].silent)
            s->mesh.at[i].heard_ms = s->view.now_ms;
    for (size_t i = 0; i < s->mesh.count; i++)
        if (!s->more[i].hears_told && !s->more[i].silent)
            hears_as_we_do(s, i);

    struct peer_state *own = &s->mesh.own;
    peer_state_init(own);
    str_copy(own->name, sizeof(own->name), s->view.conf.name);
    own->ending = s->view.request.ending;
    own->serving = s->plan.serving;
    own->failover_priority = s->view.conf.tags.nofailover ? 0 : (uint16_t)s->view.conf.tags.failover_priority;
    own->sync_priority = (uint16_t)s->view.conf.tags.sync_priority;
    tell_server(&s->view, own);
    tell_quorum(s, own);
}

void quorum_carry_out(struct scenario *s)
{
    struct ha_quorum *q = &s->view.quorum;
    const struct ha_plan_promise *p = &s->plan.promise;

    if (p->term) {
        q->promise.term = p->term;
        q->promise.settled = p->settled;
        str_copy(q->promise.to, sizeof(q->promise.to), p->to);
    }
    if (!s->plan.freeze || q->freeze.term != s->plan.freeze)
        q->freeze = (struct ha_freeze){0};
    if (plan_has(&s->plan, HA_DO_LOAD_NAMES)) {
        q->names.loading = true;
        s->plan_list = keep(s, s->plan.list);
    }
    if (plan_has(&s->plan, HA_DO_MARKER))
        q->marker.writing = true;
}

void quorum_forget_postmaster(struct scenario *s)
{
    s->view.quorum.freeze = (struct ha_freeze){0};
    s->view.quorum.names = (struct ha_names){0};
    s->view.quorum.marker = (struct ha_marker){0};
    s->view.quorum.sender_count = 0;
}

/* ---- without memory ---- */

static bool is_dangerous(const struct ha_action *a)
{
    if (a->kind == HA_DO_RECORD || a->kind == HA_DO_LOAD_NAMES)
        return true;
    if (a->kind != HA_DO_START_JOB)
        return false;
    return a->job == HA_JOB_PROMOTE || a->job == HA_JOB_DISCARD || a->job == HA_JOB_REWIND || a->job == HA_JOB_CLONE ||
           (a->job == HA_JOB_START && a->start == HA_START_PRIMARY);
}

static char *dangerous_text(const struct ha_plan *p, size_t i)
{
    AUTO(buf) struct buf text = BUF_EMPTY;

    print_action(&text, &p->actions[i], p);
    return str_dup(buf_cstr(&text));
}

static void keep_dangerous(struct scenario *s, const struct ha_plan *p, bool extra)
{
    for (size_t i = 0; i < p->count; i++) {
        if (!is_dangerous(&p->actions[i]))
            continue;
        size_t *count = extra ? &s->extra_count : &s->act_count;
        if (*count == ACTS_MAX)
            bad(s, "too many actions", "");
        char *text = dangerous_text(p, i);
        if (extra) {
            s->extras[*count].text = text;
            s->extras[*count].line = s->line;
        } else {
            s->acts[*count].text = text;
            s->acts[*count].line = s->line;
        }
        (*count)++;
    }
}

/* What is no question of time: it must be so at once. */
static const char *difference(const struct ha_plan *with, const struct ha_plan *without)
{
    if (with->promise.term != without->promise.term || with->promise.settled != without->promise.settled)
        return "another promise";
    if (with->freeze != without->freeze)
        return "another freeze";
    if (without->serving && !with->serving)
        return "it would serve";
    return NULL;
}

void quorum_forgetful(struct scenario *s)
{
    struct ha_memory none;
    struct ha_plan plan = {0};

    ha_memory_init(&none);
    ha_decide(&none, &s->view, &plan);
    keep_dangerous(s, &s->plan, false);
    keep_dangerous(s, &plan, true);
    const char *differs = difference(&s->plan, &plan);
    if (differs && !s->differs) {
        s->differs = differs;
        s->differs_line = s->line;
    }
    plan_reset(&plan);
}

static bool is_known(const struct scenario *s, const char *text)
{
    for (size_t i = 0; i < s->act_count; i++)
        if (str_eq(s->acts[i].text, text))
            return true;
    return false;
}

bool quorum_judge(const struct scenario *s)
{
    bool ok = !s->differs;

    if (s->differs)
        (void)printf("# %s:%d: without memory: %s\n", s->path, s->differs_line, s->differs);
    for (size_t i = 0; i < s->extra_count; i++) {
        if (is_known(s, s->extras[i].text))
            continue;
        (void)printf("# %s:%d: without memory, and never with it: %s", s->path, s->extras[i].line, s->extras[i].text);
        ok = false;
    }
    return ok;
}
