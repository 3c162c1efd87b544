/*
 * Scenario scripts for core/ha: what was seen in, what was decided out.
 *
 *   script_runner FILE...            compare with the expected lines ("> …"), exit 1 on a difference
 *   script_runner --accept FILE...   rewrite them; the diff is reviewed
 *
 * A script reads like a transcript. Facts stay as they are until a line changes them; `decide` runs
 * ha_decide() on them and is followed by what came out. After a decision the runner does what the
 * shell would do at once: a job that was begun runs, a round that was asked is open.
 *
 *   conf KEY=VALUE…      ha_conf by name; times in seconds, "name", flags yes/no
 *   at SECONDS           the clock; "+ SECONDS" moves it on
 *   store known|away     does the store answer
 *   key NAME VALUE…      a key of the cluster ("lease=N" first: it hangs on a lease)
 *   key-with-it NAME VALUE…   one that the same transaction wrote as the last one
 *   no-key NAME
 *   member NAME FIELD=VALUE…   members/NAME as JSON, strings unless yes/no/number; tag.X=… goes under tags
 *   lease KEY=VALUE…     ha_lease by name
 *   pg KEY=VALUE…        ha_pg by name
 *   peer NAME KEY=VALUE… what a member answered; "round complete|open" and "no-peers"
 *   job ok|failed [verdict=V] [nothing_done=yes]   the running job is over
 *   not-done             the job of the last plan never began: an action before it failed
 *   request KEY=VALUE…
 *   decide
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "core/ha/decide.h"
#include "wire/cluster.h"

enum { KEYS_MAX = 64, LINE_MAX_LEN = 2048 };

struct key {
    char *name, *value;
    int64_t mod_revision, lease;
};

struct scenario {
    const char *path;
    int line;
    struct ha_memory memory;
    struct ha_view view;
    struct ha_plan plan;
    struct key keys[KEYS_MAX];
    size_t key_count;
    int64_t revision;
    struct cluster *cluster;
    char *strings[256]; /* what the view points at */
    size_t string_count;
};

static _Noreturn void bad(const struct scenario *s, const char *what, const char *text)
{
    (void)fprintf(stderr, "%s:%d: %s: %s\n", s->path, s->line, what, text);
    exit(2);
}

static const char *keep(struct scenario *s, const char *text)
{
    if (s->string_count == ARRAY_LEN(s->strings))
        bad(s, "too many strings", text);
    return s->strings[s->string_count++] = str_dup(text);
}

/* ---- values ---- */

static bool flag(const struct scenario *s, const char *value)
{
    if (str_eq(value, "yes"))
        return true;
    if (!str_eq(value, "no"))
        bad(s, "expected yes or no", value);
    return false;
}

static msec seconds(const struct scenario *s, const char *value)
{
    char *end;
    double number = strtod(value, &end);

    if (*end || end == value)
        bad(s, "expected seconds", value);
    return (msec)(number * 1000 + (number < 0 ? -0.5 : 0.5));
}

static int64_t integer(const struct scenario *s, const char *value)
{
    int64_t number;

    if (!str_to_int(value, INT64_MIN, INT64_MAX, &number))
        bad(s, "expected a number", value);
    return number;
}

static int choice(const struct scenario *s, const char *value, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(names[i], value))
            return (int)i;
    bad(s, "unknown value", value);
}

#define CHOICE(s, value, ...)                              \
    ({                                                     \
        static const char *const names_[] = {__VA_ARGS__}; \
        choice((s), (value), names_, ARRAY_LEN(names_));   \
    })

/* "key=value" → key, value; the next one in *rest. False at the end of the line. */
static bool pair(const struct scenario *s, char **rest, char **ret_key, char **ret_value)
{
    char *word = strsep(rest, " ");

    while (word && !*word)
        word = strsep(rest, " ");
    if (!word)
        return false;
    char *equals = strchr(word, '=');
    if (!equals)
        bad(s, "expected key=value", word);
    *equals = '\0';
    *ret_key = word;
    *ret_value = equals + 1;
    return true;
}

/* ---- facts ---- */

static void set_conf(struct scenario *s, char *rest)
{
    struct ha_conf *c = &s->view.conf;
    char *k, *v;

    while (pair(s, &rest, &k, &v)) {
        if (str_eq(k, "name"))
            c->name = keep(s, v);
        else if (str_eq(k, "ttl"))
            c->ttl_ms = seconds(s, v);
        else if (str_eq(k, "loop_wait"))
            c->loop_wait_ms = seconds(s, v);
        else if (str_eq(k, "retry_timeout"))
            c->retry_timeout_ms = seconds(s, v);
        else if (str_eq(k, "primary_start_timeout"))
            c->primary_start_timeout_ms = seconds(s, v);
        else if (str_eq(k, "primary_race_backoff"))
            c->primary_race_backoff_ms = seconds(s, v);
        else if (str_eq(k, "pg_ctl_timeout"))
            c->pg_ctl_timeout_ms = seconds(s, v);
        else if (str_eq(k, "primary_stop_timeout"))
            c->primary_stop_timeout_ms = seconds(s, v);
        else if (str_eq(k, "refused"))
            c->refused = str_eq(v, "-") ? NULL : keep(s, v);
        else if (str_eq(k, "maximum_lag_on_failover"))
            c->maximum_lag_on_failover = integer(s, v);
        else if (str_eq(k, "pause"))
            c->pause = flag(s, v);
        else if (str_eq(k, "failsafe_mode"))
            c->failsafe_mode = flag(s, v);
        else if (str_eq(k, "use_pg_rewind"))
            c->use_pg_rewind = flag(s, v);
        else if (str_eq(k, "remove_on_rewind_failure"))
            c->remove_on_rewind_failure = flag(s, v);
        else if (str_eq(k, "remove_on_diverged_timelines"))
            c->remove_on_diverged_timelines = flag(s, v);
        else if (str_eq(k, "clone_without_leader"))
            c->clone_without_leader = flag(s, v);
        else if (str_eq(k, "pre_promote"))
            c->pre_promote = flag(s, v);
        else if (str_eq(k, "nofailover"))
            c->tags.nofailover = flag(s, v);
        else if (str_eq(k, "nostream"))
            c->tags.nostream = flag(s, v);
        else if (str_eq(k, "failover_priority"))
            c->tags.failover_priority = (int)integer(s, v);
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

    while (pair(s, &rest, &k, &v)) {
        if (str_eq(k, "exists"))
            l->exists = flag(s, v);
        else if (str_eq(k, "owner"))
            l->owner = l->was_owner = flag(s, v);
        else if (str_eq(k, "id"))
            l->id = integer(s, v);
        else if (str_eq(k, "was_owner"))
            l->was_owner = flag(s, v);
        else if (str_eq(k, "unfenced"))
            l->unfenced = flag(s, v);
        else if (str_eq(k, "telling"))
            l->telling = flag(s, v);
        else if (str_eq(k, "timeline"))
            l->timeline = (uint32_t)integer(s, v);
        else if (str_eq(k, "term"))
            l->term = (term)integer(s, v);
        else if (str_eq(k, "renewed")) {
            l->renewed_ms = l->tried_ms = seconds(s, v);
            l->ttl_ms = s->view.conf.ttl_ms;
            l->deadline_ms = l->renewed_ms + s->view.conf.ttl_ms;
        } else if (str_eq(k, "tried"))
            l->tried_ms = seconds(s, v);
        else if (str_eq(k, "renewing"))
            l->renewing = flag(s, v);
        else if (str_eq(k, "inherited_kill"))
            l->inherited_kill_ms = seconds(s, v);
        else if (str_eq(k, "failsafe"))
            l->failsafe_ms = seconds(s, v);
        else if (str_eq(k, "failsafe_asking"))
            l->failsafe_asking = flag(s, v);
        else
            bad(s, "unknown lease", k);
    }
}

static void set_pg_process(struct scenario *s, struct ha_pg *pg, const char *v)
{
    pg->process = (enum ha_process)CHOICE(s, v, "unknown", "none", "running", "orphans");
    if (pg->process != HA_PROC_RUNNING)
        pg->answered = pg->accepting = pg->streaming = false;
}

/* false: no such fact. */
static bool set_pg_position(struct scenario *s, struct ha_pg *pg, const char *k, const char *v)
{
    if (str_eq(k, "tli"))
        pg->timeline = (uint32_t)integer(s, v);
    else if (str_eq(k, "at"))
        pg->position = pg->replayed = (lsn)integer(s, v);
    else if (str_eq(k, "replayed"))
        pg->replayed = (lsn)integer(s, v);
    else if (str_eq(k, "control"))
        pg->control = (enum ha_control_state)CHOICE(s, v, "unknown", "shut_down", "shut_down_standby",
                                                    "unclean_primary", "unclean_standby");
    else if (str_eq(k, "control_tli"))
        pg->control_timeline = (uint32_t)integer(s, v);
    else if (str_eq(k, "control_at"))
        pg->control_position = (lsn)integer(s, v);
    else
        return false;
    return true;
}

static void set_pg(struct scenario *s, char *rest)
{
    struct ha_pg *pg = &s->view.pg;
    char *k, *v;

    while (pair(s, &rest, &k, &v)) {
        if (str_eq(k, "data"))
            pg->data = (enum ha_data)CHOICE(s, v, "unknown", "empty", "valid", "cloning", "rewinding", "bootstrapping",
                                            "foreign");
        else if (str_eq(k, "process"))
            set_pg_process(s, pg, v);
        else if (str_eq(k, "deaths"))
            pg->deaths = (unsigned int)integer(s, v);
        else if (str_eq(k, "system"))
            pg->system_id = keep(s, v);
        else if (str_eq(k, "answered"))
            pg->answered = pg->accepting = flag(s, v);
        else if (str_eq(k, "accepting"))
            pg->accepting = flag(s, v);
        else if (str_eq(k, "recovery"))
            pg->in_recovery = flag(s, v);
        else if (str_eq(k, "streaming"))
            pg->streaming = flag(s, v);
        else if (str_eq(k, "checkpointed"))
            pg->checkpointed = flag(s, v);
        else if (str_eq(k, "checkpoint_failed"))
            pg->checkpoint_failed_ms = seconds(s, v);
        else if (str_eq(k, "upstream"))
            pg->upstream = keep(s, str_eq(v, "-") ? "" : v);
        else if (str_eq(k, "conninfo"))
            pg->upstream_conninfo_state = str_eq(v, "-") ? NULL : keep(s, v);
        else if (str_eq(k, "halted"))
            pg->halted_ms = seconds(s, v);
        else if (str_eq(k, "adopted"))
            pg->adopted = flag(s, v);
        else if (str_eq(k, "signal"))
            pg->standby_signal = flag(s, v);
        else if (str_eq(k, "backup_label"))
            pg->backup_label = flag(s, v);
        else if (str_eq(k, "shut_down_at"))
            pg->shut_down_at = (lsn)integer(s, v);
        else if (!set_pg_position(s, pg, k, v))
            bad(s, "unknown pg", k);
    }
}

static struct ha_peer *peer_of(struct scenario *s, const char *name)
{
    struct ha_peers *p = &s->view.peers;

    for (size_t i = 0; i < p->count; i++)
        if (str_eq(p->at[i].name, name))
            return &p->at[i];
    p->at[p->count] = (struct ha_peer){
        .name = keep(s, name), .answer = HA_ANSWER_YES, .running = true, .failover_priority = 1, .timeline = 1};
    return &p->at[p->count++];
}

static void set_peer(struct scenario *s, char *rest)
{
    struct ha_peer *p = peer_of(s, strsep(&rest, " "));
    char *k, *v;

    while (pair(s, &rest, &k, &v)) {
        if (str_eq(k, "answer"))
            p->answer = (enum ha_answer)CHOICE(s, v, "none", "asked", "yes", "unreachable");
        else if (str_eq(k, "running"))
            p->running = flag(s, v);
        else if (str_eq(k, "primary"))
            p->primary = p->leader = flag(s, v);
        else if (str_eq(k, "tli"))
            p->timeline = (uint32_t)integer(s, v);
        else if (str_eq(k, "at"))
            p->position = (lsn)integer(s, v);
        else if (str_eq(k, "nofailover"))
            p->nofailover = flag(s, v);
        else if (str_eq(k, "priority"))
            p->failover_priority = (int)integer(s, v);
        else
            bad(s, "unknown peer", k);
    }
}

static void set_request(struct scenario *s, char *rest)
{
    struct ha_request *r = &s->view.request;
    char *k, *v;

    while (pair(s, &rest, &k, &v)) {
        if (str_eq(k, "restart"))
            r->restart = flag(s, v);
        else if (str_eq(k, "restart_timeout"))
            r->restart_timeout_ms = seconds(s, v);
        else if (str_eq(k, "reinit"))
            r->reinit = flag(s, v);
        else if (str_eq(k, "reinit_force"))
            r->reinit_force = flag(s, v);
        else if (str_eq(k, "reinit_from_leader"))
            r->reinit_from_leader = flag(s, v);
        else if (str_eq(k, "ending"))
            r->ending = flag(s, v);
        else
            bad(s, "unknown request", k);
    }
}

/* failsafe-heard NAME [ttl=SECONDS] */
static void hear_failsafe(struct scenario *s, char *rest)
{
    char *k, *v;

    s->view.store.failsafe_heard_from = keep(s, strsep(&rest, " "));
    s->view.store.failsafe_heard_ms = s->view.now_ms;
    s->view.store.failsafe_heard_ttl_ms = 0;
    while (pair(s, &rest, &k, &v)) {
        if (!str_eq(k, "ttl"))
            bad(s, "unknown failsafe-heard", k);
        s->view.store.failsafe_heard_ttl_ms = seconds(s, v);
    }
}

/* ---- the store ---- */

static void reread(struct scenario *s)
{
    struct cluster_key keys[KEYS_MAX];

    for (size_t i = 0; i < s->key_count; i++)
        keys[i] = (struct cluster_key){s->keys[i].name, s->keys[i].value, strlen(s->keys[i].value),
                                       s->keys[i].mod_revision, s->keys[i].lease};
    cluster_free(s->cluster);
    s->cluster = cluster_read(keys, s->key_count, s->revision);
    if (s->cluster->bad)
        bad(s, "malformed key", s->cluster->bad);
    s->view.store.cluster = s->cluster;
    s->view.store.read_ms = s->view.now_ms;
}

static void put_key(struct scenario *s, const char *name, const char *value, int64_t lease, bool same_txn)
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

static void remove_key(struct scenario *s, const char *name)
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

static void set_key(struct scenario *s, char *rest, bool same_txn)
{
    int64_t lease = 0;
    char *name = strsep(&rest, " ");

    if (rest && str_starts(rest, "lease=")) {
        char *word = strsep(&rest, " ");
        lease = integer(s, word + strlen("lease="));
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
    while (pair(s, &rest, &k, &v)) {
        if (str_starts(k, "tag."))
            put_json(tags, k + 4, v);
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

/* ---- deciding ---- */

static void print_moment(struct buf *out, const char *name, msec at_ms)
{
    if (at_ms == MSEC_NEVER)
        buf_printf(out, " %s=never", name);
    else
        buf_printf(out, " %s=%.3f", name, (double)at_ms / 1000);
}

static void print_action(struct buf *out, const struct ha_action *a)
{
    buf_printf(out, ">   %s", ha_action_text(a->kind));
    if (a->kind == HA_DO_START_JOB)
        buf_printf(out, " %s", ha_job_text(a->job));
    if (a->kind == HA_DO_START_JOB && a->job == HA_JOB_START)
        buf_add_str(out, a->start == HA_START_PRIMARY ? " as primary" : " as standby");
    if (a->kind == HA_DO_START_JOB && a->job == HA_JOB_STOP)
        buf_printf(out, " %s%s",
                   a->stop == HA_STOP_FAST        ? "fast"
                   : a->stop == HA_STOP_IMMEDIATE ? "immediate"
                                                  : "kill",
                   a->checkpoint_first ? " after a checkpoint" : "");
    if (a->kind == HA_DO_START_JOB && a->job == HA_JOB_DISCARD)
        buf_add_str(out, a->remove ? " remove" : " move aside");
    if (a->subject[0])
        buf_printf(out, " %s", a->subject);
    if (a->term)
        buf_printf(out, " term=%" PRIu64, a->term);
    if (a->timeline)
        buf_printf(out, " timeline=%u", a->timeline);
    if (a->kind == HA_DO_ANSWER)
        buf_printf(out, " %s %s", a->answer_to == HA_ANSWER_RESTART ? "restart" : "reinit", a->ok ? "ok" : "failed");
    buf_add_char(out, '\n');
}

/* What the shell does at once. */
static void carry_out(struct scenario *s)
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
        }
    }
}

static void decide(struct scenario *s, struct buf *out)
{
    const struct ha_fence *f = &s->plan.fence;

    ha_decide(&s->memory, &s->view, &s->plan);
    buf_printf(out, "> %.3f %s%s\n", (double)s->view.now_ms / 1000, s->plan.why, s->plan.serving ? " [serving]" : "");
    for (size_t i = 0; i < s->plan.count; i++)
        print_action(out, &s->plan.actions[i]);
    if (f->kill_ms != MSEC_NEVER) {
        buf_add_str(out, ">   fence");
        print_moment(out, "stop", f->stop_ms);
        print_moment(out, "quit", f->quit_ms);
        print_moment(out, "kill", f->kill_ms);
        buf_add_char(out, '\n');
    }
    carry_out(s);
}

static void end_job(struct scenario *s, char *rest)
{
    char *result = strsep(&rest, " ");
    char *k, *v;

    if (s->view.job.state != HA_JOB_RUNNING)
        bad(s, "no job is running", result);
    s->view.job.state = str_eq(result, "ok") ? HA_JOB_OK : HA_JOB_FAILED;
    s->view.job.since_ms = s->view.now_ms;
    s->view.job.nothing_done = false;
    while (pair(s, &rest, &k, &v)) {
        if (str_eq(k, "nothing_done"))
            s->view.job.nothing_done = flag(s, v);
        else
            s->view.job.verdict = (enum ha_rejoin)CHOICE(s, v, "unknown", "follow", "rewind", "clone");
    }
}

static void run_line(struct scenario *s, char *line, struct buf *out)
{
    char *rest = line;
    char *word = strsep(&rest, " ");

    if (!rest)
        rest = line + strlen(line);
    if (str_eq(word, "conf"))
        set_conf(s, rest);
    else if (str_eq(word, "at"))
        s->view.now_ms = seconds(s, rest);
    else if (str_eq(word, "+"))
        s->view.now_ms += seconds(s, rest);
    else if (str_eq(word, "wall"))
        s->view.wall_ms = seconds(s, rest);
    else if (str_eq(word, "store"))
        s->view.store.known = CHOICE(s, rest, "away", "known");
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
    else if (str_eq(word, "renewed")) { /* the renewal under way was answered */
        s->view.lease.renewing = false;
        s->view.lease.exists = true;
        s->view.lease.renewed_ms = s->view.lease.tried_ms;
        s->view.lease.ttl_ms = s->view.conf.ttl_ms;
        s->view.lease.deadline_ms = s->view.lease.renewed_ms + s->view.conf.ttl_ms;
    } else if (str_eq(word, "not-done")) { /* an earlier action failed: the job of the last plan never began */
        s->view.job.state = HA_JOB_IDLE;
        s->view.job.kind = HA_JOB_NONE;
    } else if (str_eq(word, "restart-agent")) { /* memory is lost, facts are not */
        ha_memory_init(&s->memory);
        s->view.job = (struct ha_job){0};
        s->view.peers = (struct ha_peers){0};
    } else if (str_eq(word, "decide"))
        decide(s, out);
    else
        bad(s, "unknown line", word);
}

static void scenario_init(struct scenario *s, const char *path)
{
    *s = (struct scenario){.path = path};
    ha_memory_init(&s->memory);
    s->view.now_ms = 1000;
    s->view.wall_ms = 1000000;
    s->view.conf = (struct ha_conf){
        .name = "n1",
        .ttl_ms = 30000,
        .loop_wait_ms = 10000,
        .retry_timeout_ms = 10000,
        .primary_start_timeout_ms = 300000,
        .pg_ctl_timeout_ms = 60000,
        .maximum_lag_on_failover = 1048576,
        .tags = {.failover_priority = 1, .sync_priority = 1},
    };
    s->view.store.known = true;
    s->view.pg = (struct ha_pg){.data = HA_DATA_EMPTY, .process = HA_PROC_NONE, .upstream = ""};
    reread(s);
}

static void scenario_deinit(struct scenario *s)
{
    for (size_t i = 0; i < s->string_count; i++)
        free(s->strings[i]);
    for (size_t i = 0; i < s->key_count; i++) {
        free(s->keys[i].name);
        free(s->keys[i].value);
    }
    cluster_free(s->cluster);
}

/* The whole script with the lines that really came out. */
static void run(const char *path, FILE *in, struct buf *was, struct buf *is)
{
    struct scenario *s = mem_zero(1, sizeof(*s));
    char line[LINE_MAX_LEN];

    scenario_init(s, path);
    while (fgets(line, sizeof(line), in)) {
        s->line++;
        buf_add_str(was, line);
        if (line[0] == '>')
            continue;
        buf_add_str(is, line);
        line[strcspn(line, "\n")] = '\0';
        if (line[0] && line[0] != '#')
            run_line(s, line, is);
    }
    scenario_deinit(s);
    free(s);
}

static void show_difference(const char *path, const char *was, const char *is)
{
    int line = 1;

    while (*was && *was == *is) {
        line += *was == '\n';
        was++;
        is++;
    }
    while (line > 1 && *was && was[-1] != '\n') {
        was--;
        is--;
    }
    (void)printf("%s:%d:\n  expected: %.*s\n  came out: %.*s\n", path, line, (int)strcspn(was, "\n"), was,
                 (int)strcspn(is, "\n"), is);
}

static bool run_file(const char *path, bool accept)
{
    AUTO(buf) struct buf was = BUF_EMPTY;
    AUTO(buf) struct buf is = BUF_EMPTY;
    FILE *file = fopen(path, "re");

    if (!file) {
        (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(2);
    }
    run(path, file, &was, &is);
    (void)fclose(file);
    if (str_eq(buf_cstr(&was), buf_cstr(&is)))
        return true;
    if (!accept) {
        show_difference(path, buf_cstr(&was), buf_cstr(&is));
        return false;
    }
    file = fopen(path, "we");
    if (!file || fputs(buf_cstr(&is), file) < 0 || fclose(file) != 0) {
        (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(2);
    }
    return true;
}

int main(int argc, char **argv)
{
    bool accept = argc > 1 && str_eq(argv[1], "--accept");
    int failed = 0;
    int count = 0;

    for (int i = 1 + accept; i < argc; i++) {
        bool ok = run_file(argv[i], accept);
        (void)printf("%s %d - %s\n", ok ? "ok" : "not ok", ++count,
                     strrchr(argv[i], '/') ? strrchr(argv[i], '/') + 1 : argv[i]);
        failed += !ok;
    }
    (void)printf("1..%d\n", count);
    return failed ? 1 : 0;
}
