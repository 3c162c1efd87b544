#include "app/agent/upkeep.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "app/agent/config.h"
#include "app/agent/jobs.h"
#include "app/agent/leadership.h"
#include "app/agent/local.h"
#include "app/agent/registry.h"
#include "base/fault.h"
#include "base/str.h"
#include "core/ha/rejoin.h"
#include "io/child.h"
#include "io/log.h"
#include "pg/history.h"
#include "pg/instance.h"
#include "pg/slots.h"
#include "store/store.h"
#include "wire/conf/dynamic.h"
#include "wire/conf/settings.h"

enum {
    SLOTS_AGAIN_MS = 1000, /* after a round that was refused in part */
    SLOTS_BUDGET_MS = 5000,
    KEYS_AGAIN_MS = 1000, /* between writes of the same key, refused or not */
    LOG_LOOK_MS = 60000,
    LOG_MAX = 64 * 1024 * 1024, /* bytes; twice that at most, with the ".1" */
};

/* ---- files ---- */

static void files(struct agent *a, const struct ha_pg *pg)
{
    struct err err = {0};

    /* A stopped server gets its files with its next start; a job that writes them is left alone. */
    if (!a->reload_needed || !a->instance || a->jobs->state == HA_JOB_RUNNING || !local_answers(a->local))
        return;
    /* The first start of a custom bootstrap has files of its own until its users are made. */
    if (local_datadir(a->local)->marker == DATADIR_MARK_BOOTSTRAP)
        return;
    /* What keeps the promise that we cannot keep stands in the files of whoever led before us. */
    const struct cluster *c = registry_cluster(a->registry);
    if (!pg->in_recovery && (dynamic_refused(a->dynamic) || (c && record_key_is_opaque(&c->record))))
        return;
    /* Whom we follow may serve on without its key (paused, or cut off from the store): files can wait, WAL goes on. */
    if (pg->in_recovery && !str_empty(pg->upstream) && !config_knows_address(a, pg->upstream))
        return;
    FAULT_POINT("upkeep.files");
    a->reload_needed = false;
    bool ok = pg->in_recovery ? config_apply(a, CONF_STANDBY, str_empty(pg->upstream) ? NULL : pg->upstream, &err)
                              : config_apply(a, CONF_PRIMARY, NULL, &err);
    if (!ok)
        log_error("postgresql.files", "%s, keeping the old files", err.text);
    local_probe(a->local);
}

/* ---- slots ---- */

static void slots_done(const struct slot_outcome *outcomes, size_t count, void *arg)
{
    struct agent *a = arg;

    a->slots_job = NULL;
    for (size_t i = 0; i < count; i++)
        if (!outcomes[i].done) {
            log_warning("slot.refused", "slot %s: %s", outcomes[i].name, outcomes[i].err.text);
            a->slots_not_before_ms = loop_clock_ms() + SLOTS_AGAIN_MS;
        }
    local_probe(a->local);
}

static void slots_apply_plan(struct agent *a)
{
    static const enum slot_act_kind kinds[] = {
        [HA_SLOT_CREATE] = SLOT_CREATE_PHYSICAL,
        [HA_SLOT_DROP] = SLOT_DROP,
        [HA_SLOT_ADVANCE] = SLOT_ADVANCE,
    };
    struct slot_act acts[HA_SLOTS_MAX];

    for (size_t i = 0; i < a->slots_plan.count; i++) {
        const struct ha_slot_act *from = &a->slots_plan.acts[i];
        acts[i] = (struct slot_act){.kind = kinds[from->kind], .name = from->slot, .to = from->to};
        if (from->kind != HA_SLOT_ADVANCE)
            log_info("slot.act", "%s slot %s", from->kind == HA_SLOT_CREATE ? "creating" : "dropping", from->slot);
    }
    a->slots_job = slots_apply(a->loop, a->instance, acts, a->slots_plan.count, SLOTS_BUDGET_MS, slots_done, a);
}

/* One item of ignore_slots matches if all that it names is so. */
static bool slot_matches(const json_t *item, const struct pg_slot *slot)
{
    const struct {
        const char *name, *value;
    } properties[] = {
        {"name", slot->name},
        {"type", slot->physical ? "physical" : "logical"},
        {"database", slot->database},
        {"plugin", slot->plugin},
    };
    bool any = false;

    for (size_t i = 0; i < ARRAY_LEN(properties); i++) {
        const char *wanted = json_string_value(json_object_get(item, properties[i].name));
        if (wanted && !str_eq(wanted, properties[i].value))
            return false;
        any |= wanted != NULL;
    }
    return any;
}

static bool slot_is_ignored(const struct dynamic *d, const struct pg_slot *slot)
{
    size_t i;
    json_t *item;

    json_array_foreach(d->ignore_slots, i, item) if (slot_matches(item, slot)) return true;
    return false;
}

static void slots(struct agent *a, const struct ha_pg *pg)
{
    const struct pg_facts *f = local_facts(a->local);
    const struct cluster *c = registry_cluster(a->registry);
    struct ha_slot have[HA_SLOTS_MAX];
    struct member_tags tags;
    msec now_ms = loop_clock_ms();

    if (!f || !c || !local_answers(a->local) || a->slots_job || now_ms < a->slots_not_before_ms)
        return;
    if (!f->in_recovery && !a->plan.serving && !a->plan.leading)
        return; /* a primary that does not lead changes nothing */

    member_tags_read(a->settings->tags.all, &tags);
    struct ha_slots_view v = {
        .now_ms = now_ms,
        .name = agent_name(a),
        .primary = !f->in_recovery,
        .use_slots = a->dynamic->use_slots,
        .pause = a->dynamic->pause,
        .nofailover = tags.nofailover && f->in_recovery,
        .member_slots_ttl_ms = a->dynamic->member_slots_ttl_ms,
        .position = pg->replayed,
        .cluster = c,
        .permanent = a->dynamic->slots,
        .slots = have,
    };
    for (size_t i = 0; i < f->slot_count && v.slot_count < HA_SLOTS_MAX; i++)
        have[v.slot_count++] = (struct ha_slot){
            .name = f->slots[i].name,
            .physical = f->slots[i].physical,
            .active = f->slots[i].active,
            .lost = str_eq(f->slots[i].wal_status, "lost"),
            .ignored = slot_is_ignored(a->dynamic, &f->slots[i]),
            .restart_lsn = f->slots[i].restart_lsn,
        };
    ha_slots_decide(&a->slots_memory, &v, &a->slots_plan);
    member_tags_deinit(&tags);
    if (a->slots_plan.count) {
        /* Copies on standbys move with the leader's status, once per renewal is enough. */
        a->slots_not_before_ms = now_ms + (f->in_recovery ? SLOTS_AGAIN_MS : 0);
        slots_apply_plan(a);
    }
}

/* ---- history ---- */

static void history_written(const struct store_result *result, void *arg)
{
    struct agent *a = arg;

    a->history_busy = false;
    a->keys_not_before_ms = loop_clock_ms() + KEYS_AGAIN_MS;
    if (result->status == STORE_DONE && result->succeeded)
        a->history_timeline = local_timeline(a->local);
    registry_refresh(a->registry);
}

static json_t *known_line(const json_t *history, uint32_t tli)
{
    size_t i;
    json_t *line;

    json_array_foreach((json_t *)history, i, line) if (json_integer_value(json_array_get(line, 0)) == tli) return line;
    return NULL;
}

/* [[tli, lsn, reason, timestamp, new leader]]; what is known about older lines is kept. */
static json_t *history_json(struct agent *a, const struct history *h, const json_t *known)
{
    json_t *lines = json_array();
    size_t keep = a->dynamic->max_timelines_history > 0 ? (size_t)a->dynamic->max_timelines_history : h->count;
    char stamp[64];
    time_t now = (time_t)(wall_clock_ms() / 1000);
    struct tm utc;

    (void)strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S+00:00", gmtime_r(&now, &utc));
    for (size_t i = h->count > keep ? h->count - keep : 0; i < h->count; i++) {
        const struct history_entry *e = &h->at[i];
        json_t *old = known_line(known, e->tli);
        bool newest = i + 1 == h->count;
        if (old)
            (void)json_array_append(lines, old);
        else if (newest)
            (void)json_array_append_new(lines, json_pack("[I,I,s,s,s]", (json_int_t)e->tli, (json_int_t)e->switch_at,
                                                         e->reason ? e->reason : "", stamp, agent_name(a)));
        else
            (void)json_array_append_new(
                lines, json_pack("[I,I,s]", (json_int_t)e->tli, (json_int_t)e->switch_at, e->reason ? e->reason : ""));
    }
    return lines;
}

static void history(struct agent *a, const struct ha_pg *pg)
{
    const struct cluster *c = registry_cluster(a->registry);
    struct history *h = NULL;
    struct err err = {0};

    if (!a->plan.serving || !c || !registry_answers(a->registry) || a->history_busy || !a->instance || !pg->timeline ||
        pg->in_recovery || a->history_timeline == pg->timeline)
        return;
    if (!history_load(a->instance->data_dir, pg->timeline, &h, &err)) {
        log_warning("history.unreadable", "%s", err.text);
        a->history_timeline = pg->timeline; /* said once; the next promotion tries again */
        return;
    }
    json_t *lines = history_json(a, h, c->history);
    AUTO(cstr) char *text = json_dumps(lines, JSON_COMPACT);
    AUTO(cstr) char *key = str_fmt("%shistory", a->settings->key_prefix);
    AUTO(cstr) char *leader = str_fmt("%sleader", a->settings->key_prefix);
    struct store_compare ours = {.kind = STORE_IF_VALUE, .key = leader, .value = agent_name(a)};
    struct store_op put = {.kind = STORE_PUT, .key = key, .value = text};
    struct store_txn txn = {.compares = &ours, .compare_count = 1, .then = &put, .then_count = 1};

    FAULT_POINT("upkeep.history");
    a->history_busy = true;
    store_txn(a->store, &txn, a->dynamic->retry_timeout_ms, history_written, a);
    json_decref(lines);
    history_free(h);
}

/* ---- config ---- */

static void config_written(const struct store_result *result, void *arg)
{
    struct agent *a = arg;

    a->config_busy = false;
    a->keys_not_before_ms = loop_clock_ms() + KEYS_AGAIN_MS;
    if (result->status == STORE_DONE && result->succeeded)
        log_warning("config.restored", "the config key was gone: written again from what this node knows");
    registry_refresh(a->registry);
}

/* Somebody wiped the config key: the leader writes what is in force. */
static void config_key(struct agent *a)
{
    const struct cluster *c = registry_cluster(a->registry);

    if (!a->plan.serving || !c || c->config || c->bad || a->config_busy || !registry_answers(a->registry) ||
        str_empty(c->initialize))
        return;
    AUTO(cstr) char *key = str_fmt("%sconfig", a->settings->key_prefix);
    json_t *config = config_seed(a);
    AUTO(cstr) char *text = json_dumps(config, JSON_COMPACT);
    json_decref(config);
    struct store_compare absent = {.kind = STORE_IF_ABSENT, .key = key};
    struct store_op put = {.kind = STORE_PUT, .key = key, .value = text};
    struct store_txn txn = {.compares = &absent, .compare_count = 1, .then = &put, .then_count = 1};

    FAULT_POINT("upkeep.config");
    a->config_busy = true;
    store_txn(a->store, &txn, a->dynamic->retry_timeout_ms, config_written, a);
}

/* ---- the postmaster's own log ---- */

static void log_cut(const struct child_result *result, void *arg)
{
    struct agent *a = arg;
    struct err err = {0};

    a->log_child = NULL;
    if (!child_succeeded(result, "cutting the postmaster's log", &err))
        log_warning("postmaster.log", "%s", err.text);
}

/*
 * Where logging_collector is off all that PostgreSQL says goes into one file that it holds open. Once it is large it is
 * copied to its ".1" and cut, as logrotate's copytruncate does; the postmaster appends.
 */
static void server_log(struct agent *a)
{
    static const char script[] = "cp -p -- \"$1\" \"$1.1\" && : >\"$1\"";
    struct stat st;
    struct err err = {0};

    if (!a->instance || a->log_child || loop_clock_ms() < a->log_not_before_ms)
        return;
    a->log_not_before_ms = loop_clock_ms() + LOG_LOOK_MS;
    if (stat(a->instance->log_path, &st) < 0 || st.st_size < LOG_MAX)
        return;
    const char *argv[] = {"/bin/sh", "-c", script, "sh", a->instance->log_path, NULL};
    struct child_spec spec = {.argv = argv, .budget_ms = LOG_LOOK_MS};
    if (!child_start(a->loop, &spec, log_cut, a, &a->log_child, &err))
        log_warning("postmaster.log", "%s", err.text);
}

msec upkeep(struct agent *a)
{
    struct ha_pg pg;
    bool calm = loop_clock_ms() >= a->calm_at_ms;

    local_view(a->local, &pg);
    slots(a, &pg);
    if (loop_clock_ms() >= a->keys_not_before_ms) {
        history(a, &pg); /* at once: elections rely on it */
        config_key(a);
    }
    if (!calm)
        return a->calm_at_ms;
    files(a, &pg);
    server_log(a);
    return MSEC_NEVER;
}

void upkeep_cancel(struct agent *a)
{
    child_abandon(a->log_child);
    a->log_child = NULL;
    if (a->slots_job)
        slots_cancel(a->slots_job);
    a->slots_job = NULL;
}
