#include "step.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "core/ha/profile.h"
#include "step_quorum.h"
#include "value.h"
#include "world_quorum.h"

/* ---- facts ---- */

static void set_conf(struct scenario *s, char *rest)
{
    struct ha_conf *c = &s->view.conf;
    char *k, *v;

    while (value_pair(s, &rest, &k, &v)) {
        if (str_eq(k, "name"))
            c->name = keep(s, v);
        else if (str_eq(k, "ttl"))
            c->ttl_ms = value_seconds(s, v);
        else if (str_eq(k, "loop_wait"))
            c->loop_wait_ms = value_seconds(s, v);
        else if (str_eq(k, "retry_timeout"))
            c->retry_timeout_ms = value_seconds(s, v);
        else if (str_eq(k, "primary_start_timeout"))
            c->primary_start_timeout_ms = value_seconds(s, v);
        else if (str_eq(k, "primary_race_backoff"))
            c->primary_race_backoff_ms = value_seconds(s, v);
        else if (str_eq(k, "pg_ctl_timeout"))
            c->pg_ctl_timeout_ms = value_seconds(s, v);
        else if (str_eq(k, "primary_stop_timeout"))
            c->primary_stop_timeout_ms = value_seconds(s, v);
        else if (str_eq(k, "refused"))
            c->refused = str_eq(v, "-") ? NULL : keep(s, v);
        else if (str_eq(k, "maximum_lag_on_failover"))
            c->maximum_lag_on_failover = value_integer(s, v);
        else if (str_eq(k, "peer_lease"))
            c->peer_lease = value_flag(s, v);
        else if (str_eq(k, "pause"))
            c->pause = value_flag(s, v);
        else if (str_eq(k, "failsafe_mode"))
            c->failsafe_mode = value_flag(s, v);
        else if (str_eq(k, "use_pg_rewind"))
            c->use_pg_rewind = value_flag(s, v);
        else if (str_eq(k, "remove_on_rewind_failure"))
            c->remove_on_rewind_failure = value_flag(s, v);
        else if (str_eq(k, "remove_on_diverged_timelines"))
            c->remove_on_diverged_timelines = value_flag(s, v);
        else if (str_eq(k, "clone_without_leader"))
            c->clone_without_leader = value_flag(s, v);
        else if (str_eq(k, "pre_promote"))
            c->pre_promote = value_flag(s, v);
        else if (str_eq(k, "witness"))
            c->witness = value_flag(s, v);
        else if (str_eq(k, "nofailover"))
            c->tags.nofailover = value_flag(s, v);
        else if (str_eq(k, "nostream"))
            c->tags.nostream = value_flag(s, v);
        else if (str_eq(k, "failover_priority"))
            c->tags.failover_priority = (int)value_integer(s, v);
        else if (str_eq(k, "synchronous_mode"))
            c->sync_mode = (enum ha_sync_mode)CHOICE(s, v, "off", "on", "quorum");
        else if (str_eq(k, "strict"))
            c->sync_strict = value_flag(s, v);
        else if (str_eq(k, "node_count"))
            c->sync_node_count = (int)value_integer(s, v);
        else if (str_eq(k, "maximum_lag_on_syncnode"))
            c->maximum_lag_on_syncnode = value_integer(s, v);
        else if (str_eq(k, "profile"))
            c->profile = *profile_of((enum failover_profile)CHOICE(s, v, "default", "fast", "wan"));
        else if (str_eq(k, "replicatefrom"))
            c->tags.replicatefrom = (char *)keep(s, v);
        else
            bad(s, "unknown conf", k);
    }
}

static void set_lease(struct scenario *s, char *rest)
{
    struct ha_lease *l = &s->view.lease;
    char *k, *v;

    while (value_pair(s, &rest, &k, &v)) {
        if (str_eq(k, "exists"))
            l->exists = value_flag(s, v);
        else if (str_eq(k, "owner"))
            l->owner = l->was_owner = value_flag(s, v);
        else if (str_eq(k, "id"))
            l->id = value_integer(s, v);
        else if (str_eq(k, "was_owner"))
            l->was_owner = value_flag(s, v);
        else if (str_eq(k, "unfenced"))
            l->unfenced = value_flag(s, v);
        else if (str_eq(k, "telling"))
            l->telling = value_flag(s, v);
        else if (str_eq(k, "timeline"))
            l->timeline = (uint32_t)value_integer(s, v);
        else if (str_eq(k, "term"))
            l->term = (term)value_integer(s, v);
        else if (str_eq(k, "renewed")) {
            l->renewed_ms = l->tried_ms = value_seconds(s, v);
            l->ttl_ms = s->view.conf.ttl_ms;
            l->deadline_ms = l->renewed_ms + s->view.conf.ttl_ms;
        } else if (str_eq(k, "tried"))
            l->tried_ms = value_seconds(s, v);
        else if (str_eq(k, "renewing"))
            l->renewing = value_flag(s, v);
        else if (str_eq(k, "inherited_stop"))
            l->inherited_stop_ms = value_seconds(s, v);
        else if (str_eq(k, "inherited_quit"))
            l->inherited_quit_ms = value_seconds(s, v);
        else if (str_eq(k, "inherited_kill"))
            l->inherited_kill_ms = value_seconds(s, v);
        else if (str_eq(k, "failsafe"))
            l->failsafe_ms = value_seconds(s, v);
        else if (str_eq(k, "failsafe_asking"))
            l->failsafe_asking = value_flag(s, v);
        else
            bad(s, "unknown lease", k);
    }
}

static void set_pg_process(struct scenario *s, struct ha_pg *pg, const char *v)
{
    enum ha_process process = (enum ha_process)CHOICE(s, v, "unknown", "none", "running", "orphans");

    if (process != pg->process)
        quorum_forget_postmaster(s);
    pg->process = process;
    if (pg->process != HA_PROC_RUNNING)
        pg->answered = pg->accepting = pg->streaming = false;
}

/* false: no such fact. */
static bool set_pg_position(struct scenario *s, struct ha_pg *pg, const char *k, const char *v)
{
    if (str_eq(k, "tli"))
        pg->timeline = (uint32_t)value_integer(s, v);
    else if (str_eq(k, "at"))
        pg->position = pg->replayed = pg->flushed = (lsn)value_integer(s, v);
    else if (str_eq(k, "replayed"))
        pg->replayed = (lsn)value_integer(s, v);
    else if (str_eq(k, "control"))
        pg->control = (enum ha_control_state)CHOICE(s, v, "unknown", "shut_down", "shut_down_standby",
                                                    "unclean_primary", "unclean_standby");
    else if (str_eq(k, "control_tli"))
        pg->control_timeline = (uint32_t)value_integer(s, v);
    else if (str_eq(k, "control_at"))
        pg->control_position = (lsn)value_integer(s, v);
    else
        return false;
    return true;
}

static void set_pg(struct scenario *s, char *rest)
{
    struct ha_pg *pg = &s->view.pg;
    char *k, *v;

    while (value_pair(s, &rest, &k, &v)) {
        if (str_eq(k, "data"))
            pg->data = (enum ha_data)CHOICE(s, v, "unknown", "empty", "valid", "cloning", "rewinding", "bootstrapping",
                                            "foreign");
        else if (str_eq(k, "process"))
            set_pg_process(s, pg, v);
        else if (str_eq(k, "deaths"))
            pg->deaths = (unsigned int)value_integer(s, v);
        else if (str_eq(k, "version"))
            pg->server_version = (int)value_integer(s, v);
        else if (str_eq(k, "system"))
            pg->system_id = keep(s, v);
        else if (str_eq(k, "answered"))
            pg->answered = pg->accepting = value_flag(s, v);
        else if (str_eq(k, "accepting"))
            pg->accepting = value_flag(s, v);
        else if (str_eq(k, "recovery"))
            pg->in_recovery = value_flag(s, v);
        else if (str_eq(k, "streaming"))
            pg->streaming = value_flag(s, v);
        else if (str_eq(k, "checkpointed"))
            pg->checkpointed = value_flag(s, v);
        else if (str_eq(k, "checkpoint_failed"))
            pg->checkpoint_failed_ms = value_seconds(s, v);
        else if (str_eq(k, "upstream"))
            pg->upstream = keep(s, str_eq(v, "-") ? "" : v);
        else if (str_eq(k, "conninfo"))
            pg->upstream_conninfo_state = str_eq(v, "-") ? NULL : keep(s, v);
        else if (str_eq(k, "halted"))
            pg->halted_ms = value_seconds(s, v);
        else if (str_eq(k, "adopted"))
            pg->adopted = value_flag(s, v);
        else if (str_eq(k, "signal"))
            pg->standby_signal = value_flag(s, v);
        else if (str_eq(k, "backup_label"))
            pg->backup_label = value_flag(s, v);
        else if (str_eq(k, "shut_down_at"))
            pg->shut_down_at = (lsn)value_integer(s, v);
        else if (!set_pg_position(s, pg, k, v))
            bad(s, "unknown pg", k);
    }
}

static void set_peer(struct scenario *s, char *rest)
{
    struct ha_peer *p = peer_of(s, strsep(&rest, " "));
    char *k, *v;

    while (value_pair(s, &rest, &k, &v)) {
        if (str_eq(k, "answer"))
            p->answer = (enum ha_answer)CHOICE(s, v, "none", "asked", "yes", "unreachable");
        else if (str_eq(k, "running"))
            p->running = value_flag(s, v);
        else if (str_eq(k, "primary"))
            p->primary = p->leader = value_flag(s, v);
        else if (str_eq(k, "tli"))
            p->timeline = (uint32_t)value_integer(s, v);
        else if (str_eq(k, "at"))
            p->position = (lsn)value_integer(s, v);
        else if (str_eq(k, "nofailover"))
            p->nofailover = value_flag(s, v);
        else if (str_eq(k, "priority"))
            p->failover_priority = (int)value_integer(s, v);
        else
            bad(s, "unknown peer", k);
    }
}

static void set_request(struct scenario *s, char *rest)
{
    struct ha_request *r = &s->view.request;
    char *k, *v;

    while (value_pair(s, &rest, &k, &v)) {
        if (str_eq(k, "restart"))
            r->restart = value_flag(s, v);
        else if (str_eq(k, "restart_timeout"))
            r->restart_timeout_ms = value_seconds(s, v);
        else if (str_eq(k, "reinit"))
            r->reinit = value_flag(s, v);
        else if (str_eq(k, "reinit_force"))
            r->reinit_force = value_flag(s, v);
        else if (str_eq(k, "reinit_from_leader"))
            r->reinit_from_leader = value_flag(s, v);
        else if (str_eq(k, "recover"))
            r->recover = value_flag(s, v);
        else if (str_eq(k, "recover_force"))
            r->recover_force = value_flag(s, v);
        else if (str_eq(k, "ending"))
            r->ending = value_flag(s, v);
        else
            bad(s, "unknown request", k);
    }
}

static void set_health(struct scenario *s, char *rest)
{
    struct ha_health *h = &s->view.health;
    char *k, *v;

    while (value_pair(s, &rest, &k, &v)) {
        if (str_eq(k, "sick"))
            h->sick = (uint32_t)CHOICE(s, v, "no", "probe", "disk", "-", "halted");
        else if (str_eq(k, "wal"))
            h->wal_age_ms = str_eq(v, "never") ? UINT32_MAX : (uint32_t)value_seconds(s, v);
        else if (str_eq(k, "slowness"))
            h->slowness_percent = (int)value_integer(s, v);
        else
            bad(s, "unknown health", k);
    }
}

/* failsafe-heard NAME [ttl=SECONDS] */
static void hear_failsafe(struct scenario *s, char *rest)
{
    char *k, *v;

    s->view.store.failsafe_heard_from = keep(s, strsep(&rest, " "));
    s->view.store.failsafe_heard_ms = s->view.now_ms;
    s->view.store.failsafe_heard_ttl_ms = 0;
    while (value_pair(s, &rest, &k, &v)) {
        if (!str_eq(k, "ttl"))
            bad(s, "unknown failsafe-heard", k);
        s->view.store.failsafe_heard_ttl_ms = value_seconds(s, v);
    }
}

/* ---- the store ---- */

static void set_key(struct scenario *s, char *rest, bool same_txn)
{
    int64_t lease = 0;
    char *name = strsep(&rest, " ");

    if (rest && str_starts(rest, "lease=")) {
        char *word = strsep(&rest, " ");
        lease = value_integer(s, word + strlen("lease="));
    }
    put_key(s, name, rest ? rest : "", lease, same_txn);
}

static void put_json(json_t *o, const char *k, const char *v)
{
    int64_t number;

    if (str_eq(v, "yes") || str_eq(v, "no"))
        (void)json_object_set_new(o, k, json_boolean(str_eq(v, "yes")));
    else if (str_to_int(v, INT64_MIN, INT64_MAX, &number))
        (void)json_object_set_new(o, k, json_integer(number));
    else
        (void)json_object_set_new(o, k, json_string(v));
}

static void set_member(struct scenario *s, char *rest)
{
    char *name = strsep(&rest, " ");
    json_t *o = json_object();
    json_t *tags = json_object();
    int64_t lease = 1 + (int64_t)(unsigned char)name[strlen(name) - 1];
    AUTO(cstr) char *key = str_fmt("members/%s", name);
    AUTO(cstr) char *conn = str_fmt("postgres://%s:5432/postgres", name);
    AUTO(cstr) char *api = str_fmt("http://%s:8008/patroni", name);
    char *k, *v;

    put_json(o, "conn_url", conn);
    put_json(o, "api_url", api);
    put_json(o, "state", "running");
    put_json(o, "role", "replica");
    put_json(o, "version", "4.0.0");
    while (value_pair(s, &rest, &k, &v)) {
        if (str_starts(k, "tag."))
            put_json(tags, k + 4, v);
        else if (str_eq(k, "pgkeep"))
            (void)json_object_set_new(o, k, json_object());
        else
            put_json(o, k, v);
    }
    if (json_object_size(tags))
        (void)json_object_set(o, "tags", tags);
    AUTO(cstr) char *text = json_dumps(o, JSON_COMPACT);
    put_key(s, key, text, lease, false);
    json_decref(o);
    json_decref(tags);
}

/* store known|away|unread: unread by this agent, which came up without it. The next key that changes is read. */
static void set_store(struct scenario *s, const char *word)
{
    int what = CHOICE(s, word, "away", "known", "unread");

    s->view.store.known = what == 1;
    s->view.store.cluster = what == 2 ? NULL : s->cluster;
}

/* ---- the rest ---- */

static void end_job(struct scenario *s, char *rest)
{
    char *result = strsep(&rest, " ");
    char *k, *v;

    if (s->view.job.state != HA_JOB_RUNNING)
        bad(s, "no job is running", result);
    s->view.job.state = str_eq(result, "ok") ? HA_JOB_OK : HA_JOB_FAILED;
    s->view.job.since_ms = s->view.now_ms;
    s->view.job.nothing_done = false;
    while (value_pair(s, &rest, &k, &v)) {
        if (str_eq(k, "nothing_done"))
            s->view.job.nothing_done = value_flag(s, v);
        else
            s->view.job.verdict = (enum ha_rejoin)CHOICE(s, v, "unknown", "follow", "rewind", "clone");
    }
}

bool step_run(struct scenario *s, char *line)
{
    char *rest = line;
    char *word = strsep(&rest, " ");

    if (!rest)
        rest = line + strlen(line);
    if (str_eq(word, "conf"))
        set_conf(s, rest);
    else if (str_eq(word, "at"))
        s->view.now_ms = value_seconds(s, rest);
    else if (str_eq(word, "+"))
        s->view.now_ms += value_seconds(s, rest);
    else if (str_eq(word, "wall"))
        s->view.wall_ms = value_seconds(s, rest);
    else if (str_eq(word, "store"))
        set_store(s, rest);
    else if (str_eq(word, "key"))
        set_key(s, rest, false);
    else if (str_eq(word, "key-with-it")) /* written in the same transaction as the last one */
        set_key(s, rest, true);
    else if (str_eq(word, "no-key"))
        remove_key(s, rest);
    else if (str_eq(word, "member"))
        set_member(s, rest);
    else if (str_eq(word, "lease"))
        set_lease(s, rest);
    else if (str_eq(word, "pg"))
        set_pg(s, rest);
    else if (str_eq(word, "peer"))
        set_peer(s, rest);
    else if (str_eq(word, "round"))
        s->view.peers.complete = CHOICE(s, rest, "open", "complete");
    else if (str_eq(word, "job"))
        end_job(s, rest);
    else if (str_eq(word, "request"))
        set_request(s, rest);
    else if (str_eq(word, "failsafe-heard"))
        hear_failsafe(s, rest);
    else if (str_eq(word, "renewed"))
        renewed(s);
    else if (str_eq(word, "not-done"))
        not_done(s);
    else if (str_eq(word, "record-done") || str_eq(word, "record-lost"))
        record_ended(s, str_eq(word, "record-done"));
    else if (str_eq(word, "restart-agent"))
        restart_agent(s);
    else if (str_eq(word, "health"))
        set_health(s, rest);
    else if (str_eq(word, "decide") || str_eq(word, "keep"))
        return true;
    else if (!step_quorum(s, word, rest))
        bad(s, "unknown line", word);
    return false;
}
