#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "core/ha/profile.h"
#include "core/ha/recover.h"
#include "world_quorum.h"

_Noreturn void bad(const struct scenario *s, const char *what, const char *text)
{
    (void)fprintf(stderr, "%s:%d: %s: %s\n", s->path, s->line, what, text);
    exit(2);
}

const char *keep(struct scenario *s, const char *text)
{
    if (s->string_count == ARRAY_LEN(s->strings))
        bad(s, "too many strings", text);
    return s->strings[s->string_count++] = str_dup(text);
}

/* As the shell does, once the script says that the newest record is on this node's disk. */
static void believe(struct scenario *s, struct cluster *take_was)
{
    const struct record_key *now = &s->cluster->record;
    bool past = !recover_is_followed(&s->seen, (uint64_t)s->view.quorum.seen_store, now, (uint64_t)s->store_id);

    if (past && !s->view.store.past)
        s->before = take_was;
    else
        cluster_free(take_was);
    if (!past) {
        s->view.store.known |= s->view.store.past != NULL;
        cluster_free(s->before);
        s->before = NULL;
        s->view.store.past = NULL;
        s->view.store.cluster = s->cluster;
        if (s->seen.present)
            see_record(s);
        return;
    }
    s->view.store.cluster = s->before;
    s->view.store.past = s->cluster;
    s->view.store.known = false;
}

void see_record(struct scenario *s)
{
    record_key_deinit(&s->seen);
    record_key_copy(&s->cluster->record, &s->seen);
    s->view.quorum.seen = &s->seen;
    s->view.quorum.seen_store = (uint64_t)s->store_id;
}

/* As leadership.c does it: of a record of ours; what is in doubt is so until the record is known to be a later one. */
static void know_electorate(struct scenario *s)
{
    const struct record_key *r = &s->cluster->record;
    struct ha_lease *l = &s->view.lease;

    if (l->owner && r->present && str_eq(r->leader, s->view.conf.name) && !r->released) {
        record_electorate_deinit(&s->electorate);
        record_electorate_copy(&r->electorate, &s->electorate);
    }
    l->electorate = s->electorate.count ? &s->electorate : NULL;
    l->electorate_doubt = s->doubt.count ? &s->doubt : NULL;
}

static void doubt_electorate(struct scenario *s, const struct record_electorate *e)
{
    record_electorate_deinit(&s->doubt);
    record_electorate_copy(e, &s->doubt);
    know_electorate(s);
}

static void reread(struct scenario *s)
{
    struct cluster_key keys[KEYS_MAX];

    for (size_t i = 0; i < s->key_count; i++)
        keys[i] = (struct cluster_key){s->keys[i].name, s->keys[i].value, strlen(s->keys[i].value),
                                       s->keys[i].mod_revision, s->keys[i].lease};
    struct cluster *was = s->cluster;
    s->cluster = cluster_read(keys, s->key_count, s->revision);
    if (s->cluster->bad)
        bad(s, "malformed key", s->cluster->bad);
    believe(s, was);
    s->view.store.read_ms = s->view.now_ms;
    know_electorate(s);
}

void put_key(struct scenario *s, const char *name, const char *value, int64_t lease, bool same_txn)
{
    struct key *k = NULL;

    for (size_t i = 0; i < s->key_count; i++)
        if (str_eq(s->keys[i].name, name))
            k = &s->keys[i];
    if (!k) {
        if (s->key_count == KEYS_MAX)
            bad(s, "too many keys", name);
        k = &s->keys[s->key_count++];
        *k = (struct key){.name = str_dup(name)};
    }
    str_set(&k->value, value);
    k->mod_revision = same_txn ? s->revision : ++s->revision;
    k->lease = lease;
    reread(s);
}

void remove_key(struct scenario *s, const char *name)
{
    for (size_t i = 0; i < s->key_count; i++) {
        if (!str_eq(s->keys[i].name, name))
            continue;
        free(s->keys[i].name);
        free(s->keys[i].value);
        s->keys[i] = s->keys[--s->key_count];
        s->revision++;
        reread(s);
        return;
    }
    bad(s, "no such key", name);
}

struct ha_peer *peer_of(struct scenario *s, const char *name)
{
    struct ha_peers *p = &s->view.peers;

    for (size_t i = 0; i < p->count; i++)
        if (str_eq(p->at[i].name, name))
            return &p->at[i];
    if (p->count == HA_PEERS_MAX)
        bad(s, "too many peers", name);
    p->at[p->count] = (struct ha_peer){
        .name = keep(s, name), .answer = HA_ANSWER_YES, .running = true, .failover_priority = 1, .timeline = 1};
    return &p->at[p->count++];
}

/* What becomes of it the script says; later plans decide about other things meanwhile. */
static void begin_record(struct scenario *s)
{
    const struct ha_record_change *change = &s->plan.record;
    AUTO(cstr) char *text = record_key_text(&change->next);

    s->view.store.reads_back = true;
    s->change.text = keep(s, text);
    s->change.sync = change->sync ? keep(s, change->sync) : NULL;
    s->change.take_leader_key = change->take_leader_key;
    s->change.drop_leader_key = change->drop_leader_key;
    if (s->view.lease.owner)
        doubt_electorate(s, &change->next.electorate);
}

void carry_out(struct scenario *s)
{
    for (size_t i = 0; i < s->plan.count; i++) {
        const struct ha_action *a = &s->plan.actions[i];
        if (a->kind == HA_DO_START_JOB) {
            s->view.job = (struct ha_job){.kind = a->job,
                                          .state = HA_JOB_RUNNING,
                                          .id = s->view.job.id + 1,
                                          .since_ms = s->view.now_ms,
                                          .subject = keep(s, a->subject)};
        } else if (a->kind == HA_DO_ACQUIRE || a->kind == HA_DO_TAKE_TIMELINE) {
            s->view.lease.timeline = a->timeline;
        } else if (a->kind == HA_DO_RECORD) {
            begin_record(s);
        } else if (a->kind == HA_DO_ASK_PEERS) {
            s->view.peers = (struct ha_peers){.asked_ms = s->view.now_ms};
        } else if (a->kind == HA_DO_RENEW) {
            s->view.lease.tried_ms = s->view.now_ms;
            s->view.lease.renewing = true;
        } else if (a->kind == HA_DO_ASK_FAILSAFE) {
            s->view.lease.failsafe_tried_ms = s->view.now_ms;
        } else if (a->kind == HA_DO_ANSWER) {
            s->view.request.restart = s->view.request.restart && a->answer_to != HA_ANSWER_RESTART;
            s->view.request.reinit = s->view.request.reinit && a->answer_to != HA_ANSWER_REINIT;
            s->view.request.recover = s->view.request.recover && a->answer_to != HA_ANSWER_RECOVER;
        }
    }
    quorum_carry_out(s);
}

void not_done(struct scenario *s)
{
    s->view.job.state = HA_JOB_IDLE;
    s->view.job.kind = HA_JOB_NONE;
}

void record_ended(struct scenario *s, bool done)
{
    if (!s->view.store.reads_back)
        bad(s, "no change of the record is under way", "");
    s->view.store.reads_back = false;
    s->view.store.sure_revision = 0;
    doubt_electorate(s, &(struct record_electorate){0});
    if (!done)
        return;
    put_key(s, "pgkeep", s->change.text, 0, false);
    s->view.store.sure_revision = s->revision;
    if (s->change.sync && *s->change.sync)
        put_key(s, "sync", s->change.sync, 0, true);
    else if (s->change.sync && s->cluster->sync.mod_revision)
        remove_key(s, "sync");
    if (s->change.take_leader_key) {
        put_key(s, "leader", s->view.conf.name, s->view.lease.id, true);
        s->view.lease.owner = s->view.lease.was_owner = true;
    }
    if (s->change.drop_leader_key && s->cluster->leader)
        remove_key(s, "leader");
    if (s->change.drop_leader_key)
        s->view.lease.owner = false;
}

void renewed(struct scenario *s)
{
    struct ha_lease *l = &s->view.lease;

    l->renewing = false;
    l->exists = true;
    l->renewed_ms = l->tried_ms;
    l->ttl_ms = s->view.conf.ttl_ms;
    l->deadline_ms = l->renewed_ms + s->view.conf.ttl_ms;
}

void restart_agent(struct scenario *s)
{
    ha_memory_init(&s->memory);
    s->view.job = (struct ha_job){0};
    s->view.peers = (struct ha_peers){0};
    s->view.store.sure_revision = 0;
    s->view.elector.granted_ms = 0;
}

void scenario_init(struct scenario *s, const char *path)
{
    *s = (struct scenario){.path = path};
    ha_memory_init(&s->memory);
    s->view.now_ms = 1000;
    s->view.wall_ms = 1000000;
    s->view.health = (struct ha_health){.wal_age_ms = UINT32_MAX, .disk_ms = MSEC_NEVER, .slowness_percent = 100};
    s->view.conf = (struct ha_conf){
        .name = "n1",
        .ttl_ms = 30000,
        .loop_wait_ms = 10000,
        .retry_timeout_ms = 10000,
        .primary_start_timeout_ms = 300000,
        .pg_ctl_timeout_ms = 60000,
        .maximum_lag_on_failover = 1048576,
        .profile = *profile_of(PROFILE_DEFAULT),
        .tags = {.failover_priority = 1, .sync_priority = 1},
    };
    s->view.store.known = true;
    s->view.pg =
        (struct ha_pg){.data = HA_DATA_EMPTY, .process = HA_PROC_NONE, .upstream = "", .server_version = 150018};
    reread(s);
}

void scenario_deinit(struct scenario *s)
{
    plan_reset(&s->plan);
    for (size_t i = 0; i < s->string_count; i++)
        free(s->strings[i]);
    for (size_t i = 0; i < s->key_count; i++) {
        free(s->keys[i].name);
        free(s->keys[i].value);
    }
    for (size_t i = 0; i < s->act_count; i++)
        free(s->acts[i].text);
    for (size_t i = 0; i < s->extra_count; i++)
        free(s->extras[i].text);
    record_electorate_deinit(&s->electorate);
    record_electorate_deinit(&s->doubt);
    cluster_free(s->cluster);
    cluster_free(s->before);
    record_key_deinit(&s->seen);
}
