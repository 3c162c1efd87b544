#include "app/agent/publish.h"

#include <stdlib.h>
#include <string.h>

#include "app/agent/breach.h"
#include "app/agent/health.h"
#include "app/agent/jobs.h"
#include "app/agent/local.h"
#include "app/agent/mesh.h"
#include "app/agent/ops.h"
#include "app/agent/quorum.h"
#include "app/agent/registry.h"
#include "app/agent/rounds.h"
#include "base/str.h"
#include "io/log.h"
#include "pg/callbacks.h"
#include "pg/instance.h"
#include "wire/cluster_view.h"
#include "wire/conf/dynamic.h"
#include "wire/conf/settings.h"

enum {
    CALM_MS = 1000,
    SETTLED_MS = 500,
};

/* ---- what we are ---- */

static enum node_role role_of(const struct agent *a, const struct ha_pg *pg)
{
    if (pg->data != HA_DATA_VALID && pg->process != HA_PROC_RUNNING)
        return ROLE_UNINITIALIZED;
    if (pg->process == HA_PROC_RUNNING && pg->answered && pg->accepting)
        return pg->in_recovery ? ROLE_REPLICA : ROLE_PRIMARY;
    if (pg->process == HA_PROC_RUNNING)
        return pg->standby_signal ? ROLE_REPLICA : ROLE_PRIMARY;
    if (a->plan.serving || (pg->control == HA_CONTROL_UNCLEAN_PRIMARY && a->memory.lead.crashed_ms))
        return ROLE_PRIMARY;
    return pg->control == HA_CONTROL_SHUT_DOWN ? ROLE_DEMOTED : ROLE_REPLICA;
}

static enum node_state state_of_job(const struct agent *a, const struct ha_pg *pg, enum ha_job_kind kind)
{
    switch (kind) {
    case HA_JOB_BOOTSTRAP:
        return str_empty(a->settings->bootstrap.method) || str_eq(a->settings->bootstrap.method, "initdb")
                   ? NODE_INITDB
                   : NODE_CUSTOM_BOOTSTRAP;
    case HA_JOB_CLONE:
        return NODE_CREATING_REPLICA;
    case HA_JOB_START:
        return a->memory.restart.under_way ? NODE_RESTARTING : NODE_STARTING;
    case HA_JOB_STOP:
        return a->memory.restart.under_way ? NODE_RESTARTING : NODE_STOPPING;
    case HA_JOB_NONE:
    case HA_JOB_POST_BOOTSTRAP:
    case HA_JOB_PRE_PROMOTE:
    case HA_JOB_PROMOTE:
    case HA_JOB_CHECK_REJOIN:
    case HA_JOB_REWIND:
    case HA_JOB_DISCARD:
        break;
    }
    return pg->process == HA_PROC_RUNNING ? NODE_RUNNING : NODE_STOPPED;
}

static enum node_state state_of(const struct agent *a, const struct ha_pg *pg)
{
    const struct jobs *j = a->jobs;

    if (j->state == HA_JOB_RUNNING)
        return state_of_job(a, pg, j->action.job);
    if (pg->process == HA_PROC_RUNNING)
        return pg->answered && !pg->accepting ? NODE_STARTING : NODE_RUNNING;
    if (pg->process == HA_PROC_UNKNOWN)
        return NODE_UNKNOWN;
    if (pg->process == HA_PROC_ORPHANS)
        return NODE_CRASHED;
    if (j->state == HA_JOB_FAILED && j->action.job == HA_JOB_START)
        return NODE_START_FAILED;
    if (j->state == HA_JOB_FAILED && j->action.job == HA_JOB_BOOTSTRAP)
        return NODE_INITDB_FAILED;
    return a->memory.lead.crashed_ms ? NODE_CRASHED : NODE_STOPPED;
}

/* ---- keys ---- */

static void put_text(json_t *o, const char *name, const char *text)
{
    if (text)
        (void)json_object_set_new(o, name, json_string(text));
}

static void put_number(json_t *o, const char *name, lsn value)
{
    if (value)
        (void)json_object_set_new(o, name, json_integer((json_int_t)value));
}

static char *url(const struct endpoint *e, const char *format)
{
    bool six = strchr(e->host, ':') && e->host[0] != '[';
    AUTO(cstr) char *host = six ? str_fmt("[%s]", e->host) : str_dup(e->host);
    AUTO(cstr) char *address = str_fmt("%s:%d", host, e->port);
    struct {
        const char *before, *after;
    } parts;

    parts.before = format;
    parts.after = strchr(format, '@') + 1;
    return str_fmt("%.*s%s%s", (int)(parts.after - 1 - parts.before), parts.before, address, parts.after);
}

static json_t *clone_progress(const struct agent *a)
{
    const struct jobs *j = a->jobs;

    if (!jobs_running(j, HA_JOB_CLONE))
        return NULL;
    return json_pack("{s:I, s:I, s:s}", "done", (json_int_t)j->done_bytes, "total", (json_int_t)j->total_bytes, "from",
                     j->subject);
}

/* Without counts: a key that changes wakes every member. */
static json_t *breach_texts(const struct breaches *b)
{
    json_t *all = breaches_json(b), *one;
    size_t i;

    json_array_foreach(all, i, one)(void) json_object_del(one, "count");
    return all;
}

static json_t *ours(const struct agent *a)
{
    json_t *o = json_pack("{s:i, s:s}", "v", 1, "version", PGKEEP_VERSION);
    json_t *clone = clone_progress(a);

    put_text(o, "peer", mesh_address(a->mesh));
    if (clone)
        (void)json_object_set_new(o, "clone", clone);
    if (breach_watch_found(a->breaches)->count)
        (void)json_object_set_new(o, "broken", breach_texts(breach_watch_found(a->breaches)));
    return o;
}

static void put_facts(json_t *o, const struct agent *a, const struct ha_pg *pg)
{
    const struct pg_facts *f = local_facts(a->local);

    if (!f || !local_answers(a->local)) {
        return;
    }
    if (f->pending_count) {
        (void)json_object_set_new(o, "pending_restart", json_true());
        (void)json_object_set_new(o, "pending_restart_reason", pg_facts_pending_json(f));
    }
    put_number(o, "xlog_location", pg->position);
    if (f->in_recovery) {
        put_number(o, "receive_lsn", f->receive);
        put_number(o, "replay_lsn", f->replay);
        put_text(o, "replication_state", pg_facts_replication_state(f));
    }
    put_number(o, "timeline", pg->timeline);
}

static char *own_api_url(const struct settings *s)
{
    return url(&s->restapi.connect_address, s->restapi.certfile ? "https://@/patroni" : "http://@/patroni");
}

/* Patroni's member key, with our own fields under "pgkeep". */
static json_t *member_json(struct agent *a, const struct ha_pg *pg)
{
    const struct settings *s = a->settings;
    AUTO(cstr) char *conn_url = s->pgkeep.witness ? NULL : url(&s->postgresql.connect_address, "postgres://@/postgres");
    AUTO(cstr) char *api_url = own_api_url(s);
    json_t *o = json_object();

    put_text(o, "conn_url", conn_url);
    put_text(o, "api_url", api_url);
    put_text(o, "state", node_state_text(state_of(a, pg)));
    put_text(o, "role", node_role_text(role_of(a, pg)));
    put_text(o, "version", CLUSTER_VERSION_TOLD);
    if (s->postgresql.proxy_address) {
        AUTO(cstr) char *proxy = str_fmt("postgres://%s/postgres", s->postgresql.proxy_address);
        put_text(o, "proxy_url", proxy);
    }
    if ((a->plan.serving || a->plan.leading) && !pg->checkpointed)
        (void)json_object_set_new(o, "checkpoint_after_promote", json_false());
    if (s->tags.all && json_object_size(s->tags.all))
        (void)json_object_set(o, "tags", s->tags.all);
    put_facts(o, a, pg);
    if (a->scheduled_restart)
        (void)json_object_set(o, "scheduled_restart", a->scheduled_restart);
    if (a->dynamic->pause)
        (void)json_object_set_new(o, "pause", json_true());
    (void)json_object_set_new(o, "pgkeep", ours(a));
    return o;
}

/* {slot: lsn}: positions that standbys move their copies to, and our own name with where we are. */
static json_t *slots_json(const struct agent *a, const struct pg_facts *f)
{
    json_t *slots = json_object();
    char *own = slot_name_from_member(agent_name(a));

    for (size_t i = 0; i < f->slot_count; i++) {
        const struct pg_slot *slot = &f->slots[i];
        put_number(slots, slot->name, slot->physical ? slot->restart_lsn : slot->confirmed_flush);
    }
    put_number(slots, own, f->current);
    free(own);
    return slots;
}

static char *status_text(const struct agent *a, const struct ha_pg *pg)
{
    const struct pg_facts *f = local_facts(a->local);

    const struct cluster *known = registry_cluster(a->registry);

    if (pg->shut_down_at) /* handed over before the last process is gone */
        return status_key_text(pg->shut_down_at, known ? known->status.slots : NULL,
                               known ? known->status.retain_slots : NULL);
    if (!f || f->in_recovery) {
        /* Stopped for a successor: the last word is where the shutdown checkpoint is. */
        const struct pg_control *control = local_control(a->local);
        if (!control || control->state != PG_CONTROL_SHUT_DOWN)
            return NULL;
        return status_key_text(control->checkpoint, known ? known->status.slots : NULL,
                               known ? known->status.retain_slots : NULL);
    }
    json_t *slots = slots_json(a, f);
    json_t *retain = a->slots_plan.retain_count ? json_array() : NULL;
    for (size_t i = 0; i < a->slots_plan.retain_count; i++)
        (void)json_array_append_new(retain, json_string(a->slots_plan.retain[i]));
    char *text = status_key_text(f->current, slots, retain);
    json_decref(slots);
    json_decref(retain);
    return text;
}

/*
 * {name: api_url} of all members; "" where failsafe_mode is off. We are one also while our member key is about to come:
 * who is not listed does not lead.
 */
static char *failsafe_text(const struct agent *a)
{
    const struct cluster *c = registry_cluster(a->registry);
    AUTO(cstr) char *api_url = own_api_url(a->settings);
    json_t *o;

    if (!a->dynamic->failsafe_mode)
        return c && c->failsafe ? str_dup("") : NULL;
    if (!c)
        return NULL;
    o = json_object();
    put_text(o, agent_name(a), api_url);
    for (size_t i = 0; i < c->member_count; i++)
        if (!member_is_witness(&c->members[i])) /* it holds nothing, and grants nothing */
            put_text(o, c->members[i].name, c->members[i].api_url);
    char *text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(o);
    return text;
}

void publish_texts(struct keys_texts *ret_texts, void *arg)
{
    struct agent *a = arg;
    struct ha_pg pg;

    local_view(a->local, &pg);
    json_t *member = member_json(a, &pg);
    free(a->member_text);
    a->member_text = json_dumps(member, JSON_COMPACT);
    json_decref(member);
    free(a->status_text);
    a->status_text = status_text(a, &pg);
    free(a->failsafe_text);
    a->failsafe_text = failsafe_text(a);
    *ret_texts = (struct keys_texts){
        .member = a->member_text,
        .status = a->status_text,
        .failsafe = a->failsafe_text,
        .timeline = pg.answered && pg.accepting && !pg.in_recovery ? pg.timeline : 0,
    };
}

void publish_ask_failsafe(struct agent *a)
{
    json_t *whom = leadership_failsafe(a->leadership);
    struct ha_pg pg;

    if (!whom)
        return;
    local_view(a->local, &pg);
    json_t *member = member_json(a, &pg);
    json_t *body = json_object();
    put_text(body, "name", agent_name(a));
    (void)json_object_set(body, "conn_url", json_object_get(member, "conn_url"));
    (void)json_object_set(body, "api_url", json_object_get(member, "api_url"));
    if (local_facts(a->local))
        (void)json_object_set_new(body, "slots", slots_json(a, local_facts(a->local)));
    /* Who grants it waits for as long as we count on it, whatever ttl has become meanwhile. */
    (void)json_object_set_new(body, "pgkeep", json_pack("{s:I}", "ttl_ms", (json_int_t)a->dynamic->ttl_ms));
    AUTO(cstr) char *text = json_dumps(body, JSON_COMPACT);
    json_decref(member);
    json_decref(body);
    rounds_ask_failsafe(a->rounds, whom, text);
    json_decref(whom);
}

/* ---- snapshot ---- */

static char *json_text(const json_t *value)
{
    return value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
}

static void snapshot_record(struct snapshot_quorum *q, const struct record_key *r)
{
    q->known = r->present && !record_key_is_opaque(r);
    if (!q->known)
        return;
    q->mode = r->mode;
    q->phase = r->phase;
    q->term = r->term;
    q->joining = r->joining;
    q->cohort_members = r->open.count;
    q->cohort_k = r->open.k;
}

static void snapshot_cluster(struct snapshot *s, struct agent *a)
{
    struct cluster *c = registry_cluster(a->registry);

    s->store_known = registry_answers(a->registry);
    s->dcs_last_seen = a->dcs_seen_s;
    s->pause = a->dynamic->pause;
    s->failsafe_mode_enabled = a->dynamic->failsafe_mode;
    s->failsafe_mode_is_active = a->plan.failsafe_active;
    if (!c)
        return;
    s->cluster_unlocked = c->leader == NULL;
    s->optime = c->status.optime;
    bool listed = cluster_is_synchronous(c) && cluster_sync_lists(c, agent_name(a));
    s->sync_standby = listed && !cluster_is_quorum(c);
    s->quorum_standby = listed && cluster_is_quorum(c);
    snapshot_record(&s->quorum, &c->record);
    if (s->quorum.known && s->quorum.term > s->term)
        s->term = s->quorum.term;
    s->failsafe_member = c->failsafe && json_object_get(c->failsafe, agent_name(a));
    s->cluster = cluster_ref(c);
}

static void snapshot_walsenders(struct snapshot *s, const struct pg_facts *f)
{
    s->walsenders = mem_zero(f->sender_count, sizeof(*s->walsenders));
    s->walsender_count = f->sender_count;
    for (size_t i = 0; i < f->sender_count; i++) {
        const struct pg_walsender *from = &f->senders[i];
        s->walsenders[i] = (struct snapshot_walsender){
            .usename = str_dup(from->usename),
            .application_name = str_dup(from->application_name),
            .client_addr = str_dup(from->client_addr),
            .state = str_dup(from->state),
            .sync_state = str_dup(from->sync_state),
            .sync_priority = from->sync_priority,
        };
    }
}

static void snapshot_slots(struct snapshot *s, const struct pg_facts *f)
{
    lsn end = f->in_recovery ? f->replay : f->current;

    s->slots = mem_zero(f->slot_count, sizeof(*s->slots));
    s->slot_count = f->slot_count;
    for (size_t i = 0; i < f->slot_count; i++) {
        const struct pg_slot *from = &f->slots[i];
        s->slots[i] = (struct snapshot_slot){
            .name = str_dup(from->name),
            .active = from->active,
            .retained_bytes = from->restart_lsn && end > from->restart_lsn ? end - from->restart_lsn : 0,
            .held = from->held,
        };
    }
}

static void snapshot_postgres(struct snapshot *s, struct agent *a, const struct ha_pg *pg)
{
    const struct pg_facts *f = local_facts(a->local);

    s->state = state_of(a, pg);
    s->role = role_of(a, pg);
    s->system_identifier = str_dup(local_system_id(a->local));
    s->pg_known = f && local_answers(a->local);
    if (!s->pg_known)
        return;
    s->taken_ms = f->asked_ms;
    s->in_recovery = f->in_recovery;
    s->writable = !f->in_recovery;
    s->postmaster_start_time = str_dup(f->postmaster_start_time);
    s->postmaster_start_epoch = (double)f->postmaster_start_us / 1e6;
    s->server_version = f->server_version;
    s->timeline = pg->timeline;
    s->location = f->current;
    s->received_location = f->receive;
    s->replayed_location = f->replay;
    s->receiver_latest_end = f->receiver.latest_end;
    s->replayed_timestamp = str_dup(f->replay_timestamp);
    s->replayed_epoch = (double)f->replay_epoch_us / 1e6;
    s->replay_paused = f->replay_paused;
    s->replication_state = str_dup(pg_facts_replication_state(f));
    s->pending_restart = f->pending_count > 0;
    if (s->pending_restart) {
        json_t *reason = pg_facts_pending_json(f);
        s->pending_restart_reason = json_text(reason);
        json_decref(reason);
    }
    snapshot_walsenders(s, f);
    snapshot_slots(s, f);
}

static void snapshot_peers(struct snapshot *s, struct agent *a)
{
    const struct ha_mesh *m = mesh_view(a->mesh);
    msec now_ms = loop_clock_ms();

    s->peers = mem_zero(m->count, sizeof(*s->peers));
    s->peer_count = m->count;
    for (size_t i = 0; i < m->count; i++)
        s->peers[i] = (struct snapshot_peer){
            .name = str_dup(m->at[i].state.name),
            .age_ms = m->at[i].heard_ms ? now_ms - m->at[i].heard_ms : MSEC_NEVER,
        };
}

static void snapshot_health(struct snapshot *s, const struct agent *a)
{
    struct ha_health health;
    struct disk_probe_view disk;
    msec now_ms = loop_clock_ms();

    health_view(a->health, &health);
    health_disk(a->health, &disk);
    s->sick = health.sick;
    s->wal_moved_ms = health.wal_age_ms == UINT32_MAX ? 0 : now_ms - (msec)health.wal_age_ms;
    s->disk_known = disk.known;
    s->disk_took_us = disk.took_us;
    s->disk_hangs_since_ms = disk.under_way_ms ? now_ms - disk.under_way_ms : 0;
    s->disk_free_bytes = disk.free_bytes;
    s->disk_total_bytes = disk.total_bytes;
}

static void snapshot_promise(struct snapshot_quorum *q, struct agent *a)
{
    struct peer_state own = {0};

    quorum_state(a->quorum, &own);
    q->promised = own.promised;
    q->frozen = a->freeze.frozen;
}

static struct snapshot *snapshot_make(struct agent *a, const struct ha_pg *pg)
{
    struct snapshot *s = snapshot_new();
    struct ha_lease lease = {0};
    struct member_tags tags;

    leadership_view(a->leadership, &lease);
    s->seq = ++a->snapshot_seq;
    s->taken_ms = loop_clock_ms();
    s->scope = str_dup(a->settings->scope);
    s->name = str_dup(agent_name(a));
    s->version = str_dup(PGKEEP_VERSION);
    s->agent_id = str_dup(a->id);
    s->told_version = str_dup(CLUSTER_VERSION_TOLD);
    snapshot_postgres(s, a, pg);
    snapshot_health(s, a);
    s->broken = *breach_watch_found(a->breaches);
    s->walsenders_ended = breach_watch_walsenders_ended(a->breaches);
    s->scheduled_restart = json_text(a->scheduled_restart);
    member_tags_read(a->settings->tags.all, &tags);
    s->tags =
        a->settings->tags.all && json_object_size(a->settings->tags.all) ? json_text(a->settings->tags.all) : NULL;
    s->noloadbalance = tags.noloadbalance;
    s->nofailover = tags.nofailover;
    s->failover_priority = tags.failover_priority;
    member_tags_deinit(&tags);
    json_t *clone = clone_progress(a);
    s->clone_progress = json_text(clone);
    json_decref(clone);

    /* In pause nothing demotes at the deadline, and Patroni goes on saying leader: so do we. */
    s->leader = lease.owner;
    s->lease_deadline_ms = a->dynamic->pause ? MSEC_NEVER : a->plan.fence.stop_ms;
    s->term = lease.term;
    s->loop_ran_ms = loop_clock_ms();
    s->ttl_ms = a->dynamic->ttl_ms;
    s->loop_wait_ms = a->dynamic->loop_wait_ms;
    s->maximum_lag_on_failover = a->dynamic->maximum_lag_on_failover;
    snapshot_cluster(s, a);
    snapshot_promise(&s->quorum, a);
    snapshot_peers(s, a);
    return s;
}

/* As text, without the given fields, which leave *o; owned by the caller. */
static char *text_without(json_t *o, const char *const *fields, size_t count)
{
    for (size_t i = 0; i < count; i++)
        (void)json_object_del(o, fields[i]);
    return json_dumps(o, JSON_COMPACT);
}

/* Whether the member key would say what it said last, apart from positions. */
static bool member_is_as_seen(const struct agent *a, const struct member_seen *now)
{
    const struct member_seen *seen = &a->member_seen;

    return seen->core && now->settings == seen->settings && now->scheduled_restart == seen->scheduled_restart &&
           now->replication_state == seen->replication_state && now->timeline == seen->timeline &&
           now->breaches == seen->breaches && now->state == seen->state && now->role == seen->role &&
           now->answers == seen->answers && now->checkpoint_pending == seen->checkpoint_pending &&
           now->pause == seen->pause;
}

static void member_seen_clear(struct member_seen *seen)
{
    settings_unref(seen->settings);
    json_decref(seen->scheduled_restart);
    free(seen->core);
    free(seen->urgent);
    *seen = (struct member_seen){0};
}

/* Bring a->member_seen up to date. */
static void member_look(struct agent *a, const struct ha_pg *pg)
{
    static const char *const often[] = {"xlog_location", "receive_lsn", "replay_lsn"};
    static const char *const unsettled[] = {"replication_state", "timeline", "pending_restart",
                                            "pending_restart_reason"};
    const struct pg_facts *facts = local_facts(a->local);
    bool in_detail = jobs_running(a->jobs, HA_JOB_CLONE) || (facts && facts->pending_count);
    struct member_seen now = {
        .settings = a->settings,
        .scheduled_restart = a->scheduled_restart,
        .replication_state = facts && facts->in_recovery ? pg_facts_replication_state(facts) : NULL,
        .timeline = pg->timeline,
        .breaches = breach_watch_version(a->breaches),
        .state = state_of(a, pg),
        .role = role_of(a, pg),
        .answers = local_answers(a->local),
        .checkpoint_pending = (a->plan.serving || a->plan.leading) && !pg->checkpointed,
        .pause = a->dynamic->pause,
    };

    if (!in_detail && member_is_as_seen(a, &now))
        return;
    json_t *member = member_json(a, pg);
    now.core = text_without(member, often, ARRAY_LEN(often));
    now.urgent = text_without(member, unsettled, ARRAY_LEN(unsettled));
    json_decref(member);
    now.settings = settings_ref(a->settings);
    now.scheduled_restart = json_incref(a->scheduled_restart);
    member_seen_clear(&a->member_seen);
    a->member_seen = now;
}

/*
 * Role, state, tags, addresses are what others act on: written at once. What changes and changes back while a
 * leader is replaced waits until it has settled, for every write wakes every member. Positions are left to the
 * next renewal. Returns when it is to be called again at the latest.
 */
static msec publish_member_if_changed(struct agent *a, const struct ha_pg *pg)
{
    msec now_ms = loop_clock_ms();

    member_look(a, pg);
    if (str_eq(a->member_seen.core, a->member_core)) {
        a->member_due_ms = 0;
        return MSEC_NEVER;
    }
    if (str_eq(a->member_seen.urgent, a->member_urgent)) {
        if (!a->member_due_ms)
            a->member_due_ms = now_ms + SETTLED_MS;
        if (now_ms < a->member_due_ms)
            return a->member_due_ms;
    }
    str_set(&a->member_core, a->member_seen.core);
    str_set(&a->member_urgent, a->member_seen.urgent);
    a->member_due_ms = 0;
    leadership_publish(a->leadership);
    return MSEC_NEVER;
}

static void tell_role(struct agent *a, const struct ha_pg *pg)
{
    enum node_role role = role_of(a, pg);

    if (pg->process != HA_PROC_RUNNING || !pg->accepting || role == a->role_told) {
        return;
    }
    bool changed = a->role_known;
    a->role_told = role;
    a->role_known = true;
    a->reload_needed = true; /* the files are written for the role */
    if (changed && role == ROLE_PRIMARY)
        a->calm_at_ms = loop_clock_ms() + CALM_MS;
    if (changed && a->instance) {
        log_info("role.changed", "this node is now a %s", node_role_text(role));
        callbacks_run(a->callbacks, a->instance, CALLBACK_ON_ROLE_CHANGE, node_role_text(role));
    }
}

msec publish(struct agent *a)
{
    struct ha_pg pg;

    local_view(a->local, &pg);
    if (registry_answers(a->registry))
        a->dcs_seen_s = wall_clock_ms() / 1000;
    tell_role(a, &pg);
    msec again_ms = publish_member_if_changed(a, &pg);
    snapshot_publish(a->board, snapshot_make(a, &pg));
    ops_published(a);
    return again_ms;
}

void publish_fence(struct agent *a, const struct ha_fence *fence)
{
    struct ha_pg pg;

    if (a->plan.fence.stop_ms == fence->stop_ms)
        return;
    a->plan.fence = *fence;
    local_view(a->local, &pg);
    snapshot_publish(a->board, snapshot_make(a, &pg));
}

void publish_deinit(struct agent *a)
{
    char *texts[] = {a->member_text, a->member_core, a->member_urgent, a->status_text, a->failsafe_text};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        free(texts[i]);
    member_seen_clear(&a->member_seen);
}
