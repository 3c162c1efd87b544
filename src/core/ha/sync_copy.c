#include "core/ha/sync_copy.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/str.h"
#include "core/ha/beside.h"
#include "core/ha/cohort.h"
#include "core/ha/facts.h"
#include "core/ha/mode.h"

struct copy {
    struct record_cohort listed; /* names; incarnations and k mean nothing */
    int votes;
};

static void list(struct copy *c, const char *name)
{
    if (!cohort_has_name(&c->listed, name) && c->listed.count < RECORD_MEMBERS_MAX)
        record_cohort_add(&c->listed, name, 0);
}

/* A name of both that means another directory in each: who settles them cannot be said by names. */
static bool are_at_odds(const struct record_key *r)
{
    for (size_t i = 0; r->joining && i < r->open.count; i++) {
        const struct record_member *m = &r->open.at[i];
        if (cohort_has_name(&r->joint, m->name) && !cohort_has(&r->joint, m->name, m->incarnation))
            return true;
    }
    return false;
}

/* Any of them has everything, or none is sure to. */
static void list_complete(const struct record_key *r, struct copy *ret)
{
    if (cohort_settling(r) != 1)
        return;
    for (size_t i = 0; i < r->open.count; i++)
        list(ret, r->open.at[i].name);
    for (size_t i = 0; r->joining && i < r->joint.count; i++)
        list(ret, r->joint.at[i].name);
}

/* Their votes are never enough. */
static void list_for_show(const struct record_key *r, struct copy *ret)
{
    for (size_t i = 0; i < r->open.count; i++)
        list(ret, r->open.at[i].name);
    for (size_t i = 0; r->joining && i < r->joint.count; i++)
        list(ret, r->joint.at[i].name);
    ret->votes = (int)ret->listed.count;
}

static void list_voters(const struct record_key *r, struct copy *ret)
{
    int k = r->joining && r->joint.k < r->open.k ? r->joint.k : r->open.k;

    if (!r->open.count || (r->joining && !r->joint.count))
        return;
    if (r->joining && r->open.count + r->joint.count > RECORD_MEMBERS_MAX)
        return; /* they might not all have room, and some of them mean nothing */
    for (size_t i = 0; i < r->open.count; i++)
        list(ret, r->open.at[i].name);
    for (size_t i = 0; r->joining && i < r->joint.count; i++)
        list(ret, r->joint.at[i].name);
    ret->votes = (int)ret->listed.count - k;
}

char *sync_copy_text(const struct record_key *next, bool by_votes)
{
    AUTO(buf) struct buf names = BUF_EMPTY;
    struct copy copy = {0};

    if (next->mode == RECORD_ASYNC)
        return str_dup("");
    if (next->phase != RECORD_OPEN)
        return NULL;
    if (next->mode == RECORD_QUORUM && by_votes)
        list_for_show(next, &copy);
    else if (next->mode == RECORD_PATRONI && by_votes && !are_at_odds(next))
        list_voters(next, &copy);
    else if (next->mode == RECORD_PATRONI && !are_at_odds(next))
        list_complete(next, &copy);
    for (size_t i = 0; i < copy.listed.count; i++)
        buf_printf(&names, "%s%s", i ? "," : "", copy.listed.at[i].name);
    record_cohort_deinit(&copy.listed);
    return sync_key_text(next->leader, copy.votes, buf_cstr(&names));
}

/* What is there, written as we would. */
static bool is_as_written(const struct sync_key *key, const char *text)
{
    AUTO(cstr) char *there = sync_key_text(key->leader, key->quorum, key->sync_standby);

    return key->present && str_eq(there, text);
}

/* Ours to say what the copy is: by the record, or beside Patroni by the leader key. */
static bool is_ours(const struct ha_view *v)
{
    if (mode_is_quorum(v))
        return mode_may_acknowledge(v);
    if (!beside_patroni(v) || !v->lease.owner || !pg_is_primary(v))
        return false;
    const struct record_key *r = &v->store.cluster->record;
    return str_eq(r->leader, v->conf.name) && r->term == v->lease.term;
}

static bool may_repair(const struct ha_view *v, const struct ha_plan *p)
{
    return is_ours(v) && v->store.known && !v->store.reads_back && p->count < HA_ACTIONS_MAX &&
           !plan_has(p, HA_DO_START_JOB) && !plan_has(p, HA_DO_EXIT) && !plan_has(p, HA_DO_LEAVE);
}

void sync_copy_decide(const struct ha_view *v, struct ha_plan *p)
{
    const struct cluster *c = v->store.cluster;

    if (!c)
        return;
    bool by_votes = beside_by_votes(v);
    if (plan_has(p, HA_DO_RECORD)) {
        bool async = p->record.next.mode == RECORD_ASYNC && v->store.cluster->record.mode == RECORD_ASYNC;
        if (async) /* it is not ours to change */
            return;
        p->record.sync = sync_copy_text(&p->record.next, by_votes);
        return;
    }
    if (!may_repair(v, p))
        return;
    AUTO(cstr) char *text = sync_copy_text(&c->record, by_votes);
    CHECK(text);
    if (is_as_written(&c->sync, text))
        return;
    struct ha_record_change *change = plan_record(p, &c->record);
    change->own_leader_key = !mode_is_quorum(v);
    change->sync = TAKE(text);
}
