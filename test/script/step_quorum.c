#include "step_quorum.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "core/ha/roster.h"
#include "core/ha/sync_copy.h"
#include "value.h"
#include "world_quorum.h"

/* "n2" or "n2:33": a name and the incarnation, in hexadecimal. */
static uint64_t node(struct scenario *s, char *text)
{
    char *colon = strchr(text, ':');
    char *end;

    if (!colon)
        return incarnation_of(text);
    *colon = '\0';
    uint64_t incarnation = strtoull(colon + 1, &end, 16);
    if (*end)
        bad(s, "expected name:incarnation", text);
    return incarnation;
}

/* ---- the record ---- */

/* "1:n2,n3:44": k and the members; "nobody". */
static void cohort(struct scenario *s, char *text, struct record_cohort *ret)
{
    record_cohort_deinit(ret);
    *ret = (struct record_cohort){0};
    if (str_eq(text, "nobody"))
        return;
    char *k = strsep(&text, ":");
    if (!text)
        bad(s, "expected k:member,…", k);
    ret->k = (int)value_integer(s, k);
    for (char *name = strsep(&text, ","); name; name = strsep(&text, ",")) {
        uint64_t incarnation = node(s, name);
        record_cohort_add(ret, name, incarnation);
    }
}

/* "4/7": timeline 4 was taken under term 7. */
static void line(struct scenario *s, char *text, struct record_key *r)
{
    char *timeline = strsep(&text, "/");

    if (!text)
        bad(s, "expected timeline/term", timeline);
    struct record_line taken = {.timeline = (uint32_t)value_integer(s, timeline), .term = (term)value_integer(s, text)};
    record_key_add_line(r, &taken);
    if (taken.timeline > r->timeline)
        r->timeline = taken.timeline;
}

static void was(struct scenario *s, char *text, struct record_key *r)
{
    char *name = strsep(&text, "/");

    if (!text)
        bad(s, "expected name/term", name);
    r->open_incarnation = node(s, name);
    str_set(&r->open_leader, name);
    r->open_term = (term)value_integer(s, text);
}

/* "4:n1,n2,n3": seconds of the lease, and the electors; "none". */
static void electorate(struct scenario *s, char *text, struct record_key *r)
{
    char *seconds = strsep(&text, ":");

    record_key_drop_electorate(r);
    if (!text)
        return;
    r->electorate.lease_ms = value_seconds(s, seconds);
    for (char *name = strsep(&text, ","); name; name = strsep(&text, ","))
        record_electorate_add(&r->electorate, name);
}

struct told {
    bool was;  /* who was open, where that is not the leader */
    bool sure; /* it is as this node wrote it last */
};

static void set_record_field(struct scenario *s, struct record_key *r, const char *k, char *v, struct told *told)
{
    if (str_eq(k, "mode"))
        r->mode = (enum record_mode)CHOICE(s, v, "async", "patroni", "quorum");
    else if (str_eq(k, "phase"))
        r->phase = (enum record_phase)CHOICE(s, v, "open", "term", "elected");
    else if (str_eq(k, "term"))
        r->term = (term)value_integer(s, v);
    else if (str_eq(k, "leader")) {
        r->leader_incarnation = node(s, v);
        str_set(&r->leader, v);
    } else if (str_eq(k, "timeline"))
        r->leader_timeline = (uint32_t)value_integer(s, v);
    else if (str_eq(k, "coordinator"))
        str_set(&r->coordinator, v);
    else if (str_eq(k, "open"))
        cohort(s, v, &r->open);
    else if (str_eq(k, "joint")) {
        r->joining = !str_eq(v, "none");
        cohort(s, r->joining ? v : (char[]){"nobody"}, &r->joint);
    } else if (str_eq(k, "was")) {
        told->was = true;
        was(s, v, r);
    } else if (str_eq(k, "line"))
        line(s, v, r);
    else if (str_eq(k, "sure"))
        told->sure = value_flag(s, v);
    else if (str_eq(k, "electorate"))
        electorate(s, v, r);
    else if (str_eq(k, "challenger"))
        str_set(&r->challenger, str_eq(v, "-") ? NULL : v);
    else if (str_eq(k, "deposed"))
        r->deposed = value_flag(s, v);
    else if (str_eq(k, "released"))
        r->released = value_flag(s, v);
    else if (str_eq(k, "unfenced"))
        r->unfenced = value_flag(s, v);
    else
        bad(s, "unknown record", k);
}

/* record KEY=VALUE…: over what the record is. An open one was opened by its leader, if nothing else is said. */
static void set_record(struct scenario *s, char *rest)
{
    AUTO(record_key) struct record_key r = {0};
    struct told told = {0};
    char *k, *v;

    record_key_copy(&s->cluster->record, &r);
    if (!r.present)
        r.mode = RECORD_QUORUM;
    r.present = true;
    r.version = RECORD_VERSION;
    while (value_pair(s, &rest, &k, &v))
        set_record_field(s, &r, k, v, &told);
    if (r.mode == RECORD_QUORUM && r.phase == RECORD_OPEN && !told.was) {
        str_set(&r.open_leader, r.leader);
        r.open_incarnation = r.leader_incarnation;
        r.open_term = r.term;
    }
    AUTO(cstr) char *text = record_key_text(&r);
    put_key(s, "pgkeep", text, 0, false);
    if (told.sure)
        s->view.store.sure_revision = s->revision;
    AUTO(cstr) char *copy = sync_copy_text(&s->cluster->record, s->view.conf.sync_mode == HA_SYNC_QUORUM);
    if (!str_empty(copy)) /* whoever wrote the record wrote it, too */
        put_key(s, "sync", copy, 0, true);
    quorum_begin(s);
}

/* ---- the others ---- */

static uint32_t age(const struct scenario *s, const char *v)
{
    return str_eq(v, "never") ? UINT32_MAX : (uint32_t)value_seconds(s, v);
}

static void set_agent_process(struct scenario *s, struct peer_state *p, const char *v)
{
    p->process = (enum peer_process)CHOICE(s, v, "unknown", "none", "running", "orphans");
    p->accepting = p->in_recovery = p->process == PEER_PROC_RUNNING;
    p->primary = p->serving = false;
    if (p->process != PEER_PROC_RUNNING)
        p->upstream[0] = '\0';
}

static void set_agent_primary(struct scenario *s, struct peer_state *p, const char *v)
{
    set_agent_process(s, p, (char[]){"running"});
    p->primary = p->serving = value_flag(s, v);
    p->in_recovery = !p->primary;
    p->upstream[0] = '\0';
}

static void set_agent_frozen(struct scenario *s, struct peer_state *p, const char *v)
{
    if (str_eq(v, "no")) {
        p->freeze = PEER_FREEZE_NONE;
        p->frozen_term = 0;
        return;
    }
    p->frozen_term = p->promised = (term)value_integer(s, v);
    p->freeze = p->process != PEER_PROC_RUNNING ? PEER_FREEZE_STOPPED
                : p->primary                    ? PEER_FREEZE_FENCED
                                                : PEER_FREEZE_STANDBY;
    p->serving = false;
}

/* It streams from that one, under the record's term. */
static void set_agent_follows(struct scenario *s, struct peer_state *p, const char *v)
{
    const struct record_key *r = &s->cluster->record;

    set_agent_process(s, p, (char[]){"running"});
    set_agent_frozen(s, p, (char[]){"no"});
    str_copy(p->upstream, sizeof(p->upstream), v);
    p->promised = p->upstream_term = r->term;
    p->timeline = r->leader_timeline;
    p->wal_age_ms = 50;
}

/* "n1:0.2,n3:never" */
static void set_agent_hears(struct scenario *s, struct peer_state *p, char *v)
{
    p->heard_count = 0;
    for (char *one = strsep(&v, ","); one; one = strsep(&v, ",")) {
        char *name = strsep(&one, ":");
        if (!one || p->heard_count == PEER_HEARD_MAX)
            bad(s, "expected name:age,…", name);
        struct peer_heard *h = &p->heard[p->heard_count++];
        str_copy(h->name, sizeof(h->name), name);
        h->age_ms = age(s, one);
    }
}

/* By our message of so long ago. */
static void set_agent_grants(struct scenario *s, struct ha_mesh_peer *peer, const char *v)
{
    bool does = !str_eq(v, "no");

    str_copy(peer->state.grants, sizeof(peer->state.grants), does ? s->view.conf.name : "");
    if (does)
        peer->granted_ms = s->view.now_ms - value_seconds(s, v);
}

static bool set_agent_server(struct scenario *s, struct peer_state *p, const char *k, char *v)
{
    if (str_eq(k, "process"))
        set_agent_process(s, p, v);
    else if (str_eq(k, "accepting"))
        p->accepting = value_flag(s, v);
    else if (str_eq(k, "primary"))
        set_agent_primary(s, p, v);
    else if (str_eq(k, "serving"))
        p->serving = value_flag(s, v);
    else if (str_eq(k, "follows"))
        set_agent_follows(s, p, v);
    else if (str_eq(k, "upstream"))
        str_copy(p->upstream, sizeof(p->upstream), str_eq(v, "-") ? "" : v);
    else if (str_eq(k, "upstream_term"))
        p->upstream_term = (term)value_integer(s, v);
    else if (str_eq(k, "tli"))
        p->timeline = (uint32_t)value_integer(s, v);
    else if (str_eq(k, "at"))
        p->position = p->replayed = (lsn)value_integer(s, v);
    else if (str_eq(k, "replayed"))
        p->replayed = (lsn)value_integer(s, v);
    else if (str_eq(k, "wal"))
        p->wal_age_ms = age(s, v);
    else if (str_eq(k, "sick"))
        p->sick = (uint32_t)CHOICE(s, v, "no", "probe", "disk", "-", "halted"); /* as the bits PEER_SICK_… */
    else
        return false;
    return true;
}

static void set_agent_field(struct scenario *s, const char *name, const char *k, char *v)
{
    struct ha_mesh_peer *peer = agent_of(s, name);
    struct agent_more *more = agent_more_of(s, name);
    struct peer_state *p = &peer->state;

    if (str_eq(k, "silent")) {
        more->silent = str_eq(v, "always") || value_flag(s, v);
        peer->heard_ms = str_eq(v, "always") ? 0 : s->view.now_ms;
    } else if (str_eq(k, "hears")) {
        more->hears_told = true;
        set_agent_hears(s, p, v);
    } else if (str_eq(k, "grants"))
        set_agent_grants(s, peer, v);
    else if (str_eq(k, "elector"))
        p->elector = value_flag(s, v);
    else if (str_eq(k, "free"))
        p->free_of = value_flag(s, v) ? s->cluster->record.mod_revision : 0;
    else if (str_eq(k, "ending"))
        p->ending = value_flag(s, v);
    else if (str_eq(k, "planned"))
        p->planned = value_flag(s, v);
    else if (str_eq(k, "wants_out"))
        p->wants_out = value_flag(s, v);
    else if (str_eq(k, "beat"))
        p->beat_ms = (uint16_t)value_integer(s, v);
    else if (str_eq(k, "unfit"))
        p->unfit = value_flag(s, v);
    else if (str_eq(k, "promised"))
        p->promised = (term)value_integer(s, v);
    else if (str_eq(k, "calls")) {
        p->calls = p->promised = (term)value_integer(s, v);
        AUTO(cstr) char *to = str_fmt("%s#0", name);
        str_copy(p->coordinator, sizeof(p->coordinator), to);
    } else if (str_eq(k, "seen"))
        p->record_term = (term)value_integer(s, v);
    else if (str_eq(k, "frozen"))
        set_agent_frozen(s, p, v);
    else if (str_eq(k, "incarnation"))
        p->incarnation = strtoull(v, NULL, 16);
    else if (str_eq(k, "priority"))
        p->failover_priority = (uint16_t)value_integer(s, v);
    else if (str_eq(k, "sync_priority"))
        p->sync_priority = (uint16_t)value_integer(s, v);
    else if (!set_agent_server(s, p, k, v))
        bad(s, "unknown mesh", k);
}

static void set_agent(struct scenario *s, char *rest)
{
    const char *name = strsep(&rest, " ");
    char *k, *v;

    (void)agent_of(s, name);
    while (value_pair(s, &rest, &k, &v))
        set_agent_field(s, name, k, v);
}

/* ---- this node ---- */

static void set_promise(struct scenario *s, char *rest)
{
    struct ha_promise *p = &s->view.quorum.promise;
    char *k, *v;

    quorum_begin(s);
    while (value_pair(s, &rest, &k, &v)) {
        if (str_eq(k, "known"))
            p->known = value_flag(s, v);
        else if (str_eq(k, "term"))
            p->term = (term)value_integer(s, v);
        else if (str_eq(k, "settled"))
            p->settled = (term)value_integer(s, v);
        else if (str_eq(k, "by_quorum"))
            p->by_quorum = value_flag(s, v);
        else if (str_eq(k, "to"))
            str_copy(p->to, sizeof(p->to), v);
        else
            bad(s, "unknown promise", k);
    }
}

/* freeze shown|failed|none: what came of the one that the last plan asked for. */
static void set_freeze(struct scenario *s, const char *word)
{
    struct ha_freeze *f = &s->view.quorum.freeze;
    const struct ha_pg *pg = &s->view.pg;

    if (!s->plan.freeze)
        bad(s, "no freeze is asked for", word);
    *f = (struct ha_freeze){.term = s->plan.freeze};
    switch (CHOICE(s, word, "none", "failed", "shown")) {
    case 0:
        *f = (struct ha_freeze){0};
        break;
    case 1:
        f->failed = true;
        break;
    default:
        f->kind = pg->process != HA_PROC_RUNNING ? PEER_FREEZE_STOPPED
                  : pg->in_recovery              ? PEER_FREEZE_STANDBY
                                                 : PEER_FREEZE_FENCED;
        f->timeline = pg->process == HA_PROC_RUNNING ? pg->timeline : pg->control_timeline;
        f->position = pg->process == HA_PROC_RUNNING        ? pg->position
                      : pg->control == HA_CONTROL_SHUT_DOWN ? pg->control_position
                                                            : 0;
        if (f->kind == PEER_FREEZE_STANDBY) {
            s->view.pg.upstream = "";
            s->view.pg.streaming = false;
        } else if (f->kind == PEER_FREEZE_FENCED)
            s->view.quorum.names = (struct ha_names){.list = ROSTER_FENCE, .since_ms = s->view.now_ms};
    }
}

/* After a list of nobody the first commit that is seen to wait is the marker's companion, under the fence. */
static void list_is(struct scenario *s, const char *list)
{
    bool may_pass = s->view.quorum.names.may_pass || (list && !list[0]);

    s->view.quorum.names = (struct ha_names){.list = list, .since_ms = s->view.now_ms, .may_pass = may_pass};
    s->view.quorum.marker = (struct ha_marker){0};
}

static void marker_is(struct scenario *s, lsn at)
{
    struct ha_names *n = &s->view.quorum.names;

    s->view.quorum.marker = (struct ha_marker){.at = at};
    if (n->list && str_eq(n->list, ROSTER_FENCE))
        n->may_pass = false;
}

/* names proved|failed (the one being loaded) | unknown | is LIST */
static void set_names(struct scenario *s, char *rest)
{
    const char *word = strsep(&rest, " ");
    int what = CHOICE(s, word, "proved", "failed", "unknown", "is");

    quorum_begin(s);
    if (what < 2 && !s->view.quorum.names.loading)
        bad(s, "no list is being loaded", word);
    if (what == 0)
        list_is(s, keep(s, s->plan_list));
    else if (what == 3)
        list_is(s, keep(s, rest ? rest : ""));
    else
        list_is(s, NULL);
    if (what == 1) {
        s->view.quorum.names.failed_ms = s->view.now_ms;
        s->view.quorum.names.why_not = "it was not loaded";
    }
}

/* ---- what counts as a standby here ---- */

static void set_sender(struct scenario *s, char *rest)
{
    const char *name = keep(s, strsep(&rest, " "));
    size_t *count = &s->view.quorum.sender_count;
    struct ha_sender w = {.name = name, .physical = true, .own_slot = true, .streaming = true};
    size_t at = *count;
    char *k, *v;

    quorum_begin(s);
    w.pid = 101 + (uint32_t)at;
    while (value_pair(s, &rest, &k, &v)) {
        if (str_eq(k, "pid"))
            w.pid = (uint32_t)value_integer(s, v);
        else if (str_eq(k, "physical"))
            w.physical = value_flag(s, v);
        else if (str_eq(k, "own_slot"))
            w.own_slot = value_flag(s, v);
        else if (str_eq(k, "streaming"))
            w.streaming = value_flag(s, v);
        else if (str_eq(k, "after_list"))
            w.after_list = value_flag(s, v);
        else if (str_eq(k, "flushed"))
            w.flushed = (lsn)value_integer(s, v);
        else
            bad(s, "unknown sender", k);
    }
    for (size_t i = 0; i < *count; i++)
        if (s->senders[i].pid == w.pid)
            at = i;
    if (at == SENDERS_MAX)
        bad(s, "too many walsenders", name);
    s->senders[at] = w;
    *count += at == *count;
}

static void no_sender(struct scenario *s, const char *name)
{
    size_t *count = &s->view.quorum.sender_count;

    for (size_t i = 0; i < *count; i++)
        if (str_eq(s->senders[i].name, name)) {
            s->senders[i] = s->senders[--*count];
            return;
        }
    bad(s, "no such walsender", name);
}

/* flushed LSN: who streams has so much on its disk, its walsender has been told, and its agent says so. */
static void all_flushed(struct scenario *s, const char *text)
{
    lsn at = (lsn)value_integer(s, text);

    for (size_t i = 0; i < s->view.quorum.sender_count; i++) {
        s->senders[i].flushed = at;
        for (size_t j = 0; j < s->mesh.count; j++)
            if (str_eq_nocase(s->mesh.at[j].state.name, s->senders[i].name))
                s->mesh.at[j].state.position = s->mesh.at[j].state.replayed = at;
    }
}

bool step_quorum(struct scenario *s, const char *word, char *rest)
{
    if (str_eq(word, "record"))
        set_record(s, rest);
    else if (str_eq(word, "mesh"))
        set_agent(s, rest);
    else if (str_eq(word, "resumed"))
        s->mesh.resumed_ms = s->view.now_ms;
    else if (str_eq(word, "promise"))
        set_promise(s, rest);
    else if (str_eq(word, "incarnation"))
        s->view.quorum.incarnation = strtoull(rest, NULL, 16);
    else if (str_eq(word, "freeze"))
        set_freeze(s, rest);
    else if (str_eq(word, "names"))
        set_names(s, rest);
    else if (str_eq(word, "marker"))
        marker_is(s, (lsn)value_integer(s, rest));
    else if (str_eq(word, "sender"))
        set_sender(s, rest);
    else if (str_eq(word, "no-sender"))
        no_sender(s, rest);
    else if (str_eq(word, "flushed"))
        all_flushed(s, rest);
    else if (str_eq(word, "seen"))
        see_record(s);
    else if (str_eq(word, "other-store"))
        s->store_id++;
    else if (str_eq(word, "granted")) /* this node, by a message that it heard so long ago */
        s->view.elector.granted_ms = s->view.now_ms - value_seconds(s, rest);
    else if (str_eq(word, "setback"))
        s->view.store.setback_ms = s->view.now_ms;
    else if (str_eq(word, "forgetful"))
        s->forgetful = true;
    else
        return false;
    return true;
}
