#include "pg/probe_facts.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"

/*
 * The columns, in the order of the query. Lists come as JSON, so that columns that a version lacks are simply
 * absent.
 */
enum column {
    COL_IN_RECOVERY,
    COL_VERSION,
    COL_PRIMARY_TLI,
    COL_CURRENT,
    COL_CURRENT_FLUSH,
    COL_RECEIVE,
    COL_REPLAY,
    COL_REPLAY_PAUSED,
    COL_REPLAY_US,
    COL_REPLAY_TEXT,
    COL_START_US,
    COL_START_TEXT,
    COL_SYSTEM_ID,
    COL_CHECKPOINT_TLI,
    COL_CHECKPOINT_LSN,
    COL_CHECKPOINT_REDO,
    COL_RECEIVER,
    COL_SENDERS,
    COL_SLOTS,
    COL_SYNC_NAMES,
    COL_CONNINFO,
    COL_SLOT_NAME,
    COL_CLUSTER_NAME,
    COL_RESTART_AFTER_CRASH,
    COL_FSYNC,
    COL_CONF_LOAD_US,
    COL_CONF_LOAD,
    COL_LOOKED,
    COL_PENDING,
    COL_CONF_ERRORS,
    COL_COUNT,
};

#define MICROSECONDS(t) "(EXTRACT(epoch FROM " t ") * 1000000)::bigint"
#define UTC_TEXT(t) "to_char(" t " AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00:00'"

/* clang-format off */
/* search_path is pg_catalog; names are qualified where a subquery could capture them. */
const char probe_query[] =
    "SELECT r.recovery,"
    " current_setting('server_version_num'),"
    " CASE WHEN NOT r.recovery THEN ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint END,"
    " CASE WHEN NOT r.recovery THEN pg_current_wal_lsn() END,"
    " CASE WHEN NOT r.recovery THEN pg_current_wal_flush_lsn() END,"
    " CASE WHEN r.recovery THEN pg_last_wal_receive_lsn() END,"
    " CASE WHEN r.recovery THEN pg_last_wal_replay_lsn() END,"
    " CASE WHEN r.recovery THEN pg_is_wal_replay_paused() END,"
    " " MICROSECONDS("pg_last_xact_replay_timestamp()") ","
    " " UTC_TEXT("pg_last_xact_replay_timestamp()") ","
    " " MICROSECONDS("pg_postmaster_start_time()") ","
    " " UTC_TEXT("pg_postmaster_start_time()") ","
    " (SELECT system_identifier FROM pg_control_system()),"
    " c.timeline_id, c.checkpoint_lsn, c.redo_lsn,"
    " (SELECT to_json(w) FROM (SELECT pid, status, slot_name, sender_host, sender_port, conninfo, received_tli,"
    "   written_lsn, flushed_lsn, latest_end_lsn, " MICROSECONDS("last_msg_receipt_time") " AS last_msg_us"
    "   FROM pg_stat_get_wal_receiver()) w WHERE w.pid IS NOT NULL),"
    /* pg_stat_replication without the join over every backend. */
    " (SELECT json_agg(s ORDER BY s.pid) FROM (SELECT w.pid, pg_get_userbyid(a.usesysid) AS usename,"
    "   a.application_name, host(a.client_addr) AS client_addr, w.state, w.sync_state, w.sync_priority,"
    "   w.sent_lsn, w.write_lsn, w.flush_lsn, w.replay_lsn, q.slot_name,"
    "   " MICROSECONDS("a.backend_start") " AS started_us,"
    "   coalesce(q.slot_type = 'physical', a.datid IS NULL) AS physical"
    "   FROM pg_stat_get_wal_senders() w CROSS JOIN LATERAL pg_stat_get_activity(w.pid) a"
    "   LEFT JOIN LATERAL (SELECT slot_name, slot_type FROM pg_get_replication_slots()"
    "     WHERE active_pid = w.pid LIMIT 1) q ON true) s),"
    " (SELECT json_agg(to_json(s) ORDER BY s.slot_name) FROM (SELECT *,"
    "   greatest(age(xmin), age(catalog_xmin)) AS held FROM pg_replication_slots WHERE NOT temporary) s),"
    " current_setting('synchronous_standby_names'),"
    " current_setting('primary_conninfo'), current_setting('primary_slot_name'), current_setting('cluster_name'),"
    " current_setting('restart_after_crash'), current_setting('fsync'),"
    " " MICROSECONDS("pg_conf_load_time()") ", pg_conf_load_time()::text,"
    /* The configuration is looked at only when it was loaded anew, or when asked for. */
    " n.look,"
    " CASE WHEN n.look THEN (SELECT json_agg(json_build_object('name', s.name, 'old', current_setting(s.name),"
    "   'new', (SELECT f.setting FROM pg_file_settings f WHERE lower(f.name) = lower(s.name)"
    "     ORDER BY f.seqno DESC LIMIT 1)) ORDER BY s.name)"
    "   FROM pg_settings s WHERE s.pending_restart) END,"
    " CASE WHEN n.look THEN (SELECT count(*) FROM pg_file_settings f WHERE f.error IS NOT NULL AND NOT EXISTS"
    "   (SELECT FROM pg_settings s WHERE lower(s.name) = lower(f.name) AND s.pending_restart)) END"
    " FROM (SELECT pg_is_in_recovery() AS recovery) r,"
    " (SELECT $1::text IS NULL OR $1::text <> pg_conf_load_time()::text AS look) n,"
    " pg_control_checkpoint() c";
/* clang-format on */

/* ---- cells and JSON ---- */

static bool is_true(const struct sql_rows *rows, enum column column)
{
    return str_eq(sql_cell(rows, 0, (int)column), "t");
}

/* 0 for NULL. */
static int64_t number(const struct sql_rows *rows, enum column column)
{
    int64_t value = 0;

    return str_to_int(sql_cell(rows, 0, (int)column), INT64_MIN, INT64_MAX, &value) ? value : 0;
}

static lsn position(const struct sql_rows *rows, enum column column)
{
    lsn at = 0;

    return lsn_parse(sql_cell(rows, 0, (int)column), &at) ? at : 0;
}

static char *copy(const struct sql_rows *rows, enum column column)
{
    return str_dup(sql_cell(rows, 0, (int)column));
}

/* NULL for NULL. */
static json_t *json_cell(const struct sql_rows *rows, enum column column)
{
    const char *text = sql_cell(rows, 0, (int)column);

    return text ? json_loads(text, 0, NULL) : NULL;
}

static char *json_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return str_empty(text) ? NULL : str_dup(text);
}

static lsn json_lsn(const json_t *object, const char *key)
{
    lsn at = 0;

    return lsn_parse(json_string_value(json_object_get(object, key)), &at) ? at : 0;
}

static int64_t json_number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static bool json_bool(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

/* xid comes as a JSON string. */
static uint32_t json_xid(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    int64_t xid = json_integer_value(value);

    if (json_is_string(value) && !str_to_int(json_string_value(value), 0, UINT32_MAX, &xid))
        return 0;
    return (uint32_t)xid;
}

/* ---- the parts ---- */

static void read_receiver(const struct sql_rows *rows, struct pg_facts *f)
{
    json_t *w = json_cell(rows, COL_RECEIVER);

    if (!w)
        return;
    f->receiver.present = true;
    f->receiver.pid = (int)json_number(w, "pid");
    f->receiver.status = json_text(w, "status");
    f->receiver.slot_name = json_text(w, "slot_name");
    f->receiver.sender_host = json_text(w, "sender_host");
    f->receiver.sender_port = (int)json_number(w, "sender_port");
    f->receiver.conninfo = json_text(w, "conninfo");
    f->receiver.received_tli = (uint32_t)json_number(w, "received_tli");
    f->receiver.written = json_lsn(w, "written_lsn");
    f->receiver.flushed = json_lsn(w, "flushed_lsn");
    f->receiver.latest_end = json_lsn(w, "latest_end_lsn");
    f->receiver.last_msg_epoch_us = json_number(w, "last_msg_us");
    json_decref(w);
}

static void read_senders(const struct sql_rows *rows, struct pg_facts *f)
{
    json_t *list = json_cell(rows, COL_SENDERS);
    size_t i;
    json_t *w;

    f->senders = mem_zero(json_array_size(list), sizeof(*f->senders));
    json_array_foreach(list, i, w)
    {
        f->senders[f->sender_count++] = (struct pg_walsender){
            .pid = (int)json_number(w, "pid"),
            .started_us = json_number(w, "started_us"),
            .physical = json_bool(w, "physical"),
            .usename = json_text(w, "usename"),
            .application_name = json_text(w, "application_name"),
            .client_addr = json_text(w, "client_addr"),
            .state = json_text(w, "state"),
            .sync_state = json_text(w, "sync_state"),
            .sync_priority = (int)json_number(w, "sync_priority"),
            .sent = json_lsn(w, "sent_lsn"),
            .write = json_lsn(w, "write_lsn"),
            .flush = json_lsn(w, "flush_lsn"),
            .replay = json_lsn(w, "replay_lsn"),
            .slot_name = json_text(w, "slot_name"),
        };
    }
    json_decref(list);
}

static void read_slots(const struct sql_rows *rows, struct pg_facts *f)
{
    json_t *list = json_cell(rows, COL_SLOTS);
    size_t i;
    json_t *s;

    f->slots = mem_zero(json_array_size(list), sizeof(*f->slots));
    json_array_foreach(list, i, s)
    {
        bool limited = json_is_integer(json_object_get(s, "safe_wal_size"));
        f->slots[f->slot_count++] = (struct pg_slot){
            .name = json_text(s, "slot_name"),
            .physical = str_eq(json_string_value(json_object_get(s, "slot_type")), "physical"),
            .plugin = json_text(s, "plugin"),
            .database = json_text(s, "database"),
            .active = json_bool(s, "active"),
            .active_pid = (int)json_number(s, "active_pid"),
            .restart_lsn = json_lsn(s, "restart_lsn"),
            .confirmed_flush = json_lsn(s, "confirmed_flush_lsn"),
            .wal_status = json_text(s, "wal_status"),
            .safe_wal_size = limited ? json_number(s, "safe_wal_size") : -1,
            .xmin = json_xid(s, "xmin"),
            .catalog_xmin = json_xid(s, "catalog_xmin"),
            .held = json_number(s, "held"),
            .failover = json_bool(s, "failover"),
            .synced = json_bool(s, "synced"),
            .two_phase = json_bool(s, "two_phase"),
            .invalidation_reason = json_text(s, "invalidation_reason"),
        };
    }
    json_decref(list);
}

static void pending_add(struct pg_facts *f, const char *name, const char *old_value, const char *new_value)
{
    f->pending = mem_grow(f->pending, f->pending_count + 1, sizeof(*f->pending));
    f->pending[f->pending_count++] =
        (struct pg_pending){.name = str_dup(name), .old_value = str_dup(old_value), .new_value = str_dup(new_value)};
}

/* A restart would change it. Recovery parameters are ours to manage and say nothing to the operator. */
static bool is_recovery_name(const char *name)
{
    return str_starts(name, "recovery_target") || str_eq(name, "primary_conninfo") ||
           str_eq(name, "primary_slot_name") || str_eq(name, "restore_command");
}

static void read_configuration(const struct sql_rows *rows, const struct pg_facts *last, struct pg_facts *f)
{
    size_t i;
    json_t *p;

    if (!is_true(rows, COL_LOOKED) && last) {
        for (size_t n = 0; n < last->pending_count; n++)
            pending_add(f, last->pending[n].name, last->pending[n].old_value, last->pending[n].new_value);
        f->conf_error_count = last->conf_error_count;
        return;
    }
    json_t *list = json_cell(rows, COL_PENDING);
    json_array_foreach(list, i, p)
    {
        const char *name = json_string_value(json_object_get(p, "name"));
        if (name && !is_recovery_name(name))
            pending_add(f, name, json_string_value(json_object_get(p, "old")),
                        json_string_value(json_object_get(p, "new")));
    }
    json_decref(list);
    f->conf_error_count = (int)number(rows, COL_CONF_ERRORS);
}

static void read_positions(const struct sql_rows *rows, struct pg_facts *f)
{
    f->current = position(rows, COL_CURRENT);
    f->current_flush = position(rows, COL_CURRENT_FLUSH);
    f->receive = position(rows, COL_RECEIVE);
    f->replay = position(rows, COL_REPLAY);
    f->position = f->in_recovery ? (f->receive > f->replay ? f->receive : f->replay) : f->current;
    f->replay_paused = is_true(rows, COL_REPLAY_PAUSED);
    f->replay_epoch_us = number(rows, COL_REPLAY_US);
    f->replay_timestamp = copy(rows, COL_REPLAY_TEXT);
    f->checkpoint_tli = (uint32_t)number(rows, COL_CHECKPOINT_TLI);
    f->checkpoint_lsn = position(rows, COL_CHECKPOINT_LSN);
    f->checkpoint_redo = position(rows, COL_CHECKPOINT_REDO);
}

struct pg_facts *probe_read(const struct sql_rows *rows, const struct pg_facts *last, char **ret_conf_load,
                            struct err *err)
{
    if (rows->row_count != 1 || rows->column_count != COL_COUNT) {
        (void)err_set(err, ERR_PG, "the probe's query returned %d rows of %d columns", rows->row_count,
                      rows->column_count);
        return NULL;
    }

    struct pg_facts *f = mem_zero(1, sizeof(*f));
    f->in_recovery = is_true(rows, COL_IN_RECOVERY);
    f->server_version = (int)number(rows, COL_VERSION);
    read_positions(rows, f);
    read_receiver(rows, f);
    read_senders(rows, f);
    read_slots(rows, f);
    read_configuration(rows, last, f);
    f->timeline = f->in_recovery ? f->receiver.received_tli : (uint32_t)number(rows, COL_PRIMARY_TLI);
    str_copy(f->system_identifier, sizeof(f->system_identifier), sql_cell(rows, 0, COL_SYSTEM_ID));
    f->postmaster_start_us = number(rows, COL_START_US);
    f->postmaster_start_time = copy(rows, COL_START_TEXT);
    f->synchronous_standby_names = copy(rows, COL_SYNC_NAMES);
    f->primary_conninfo = copy(rows, COL_CONNINFO);
    f->primary_slot_name = copy(rows, COL_SLOT_NAME);
    f->cluster_name = copy(rows, COL_CLUSTER_NAME);
    f->restart_after_crash = str_eq(sql_cell(rows, 0, COL_RESTART_AFTER_CRASH), "on");
    f->fsync = str_eq(sql_cell(rows, 0, COL_FSYNC), "on");
    f->conf_load_us = number(rows, COL_CONF_LOAD_US);
    *ret_conf_load = copy(rows, COL_CONF_LOAD);
    return f;
}

void pg_facts_free(struct pg_facts *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < f->sender_count; i++) {
        struct pg_walsender *w = &f->senders[i];
        free(w->usename);
        free(w->application_name);
        free(w->client_addr);
        free(w->state);
        free(w->sync_state);
        free(w->slot_name);
    }
    for (size_t i = 0; i < f->slot_count; i++) {
        struct pg_slot *s = &f->slots[i];
        free(s->name);
        free(s->plugin);
        free(s->database);
        free(s->wal_status);
        free(s->invalidation_reason);
    }
    for (size_t i = 0; i < f->pending_count; i++) {
        free(f->pending[i].name);
        free(f->pending[i].old_value);
        free(f->pending[i].new_value);
    }
    free(f->senders);
    free(f->slots);
    free(f->pending);
    free(f->receiver.status);
    free(f->receiver.slot_name);
    free(f->receiver.sender_host);
    free(f->receiver.conninfo);
    free(f->replay_timestamp);
    free(f->postmaster_start_time);
    free(f->synchronous_standby_names);
    free(f->primary_conninfo);
    free(f->primary_slot_name);
    free(f->cluster_name);
    free(f);
}

const char *pg_facts_replication_state(const struct pg_facts *f)
{
    if (!f->in_recovery)
        return NULL;
    if (f->receiver.present && str_eq(f->receiver.status, "streaming"))
        return "streaming";
    return "in archive recovery";
}

json_t *pg_facts_pending_json(const struct pg_facts *f)
{
    if (!f->pending_count)
        return NULL;

    json_t *o = json_object();
    for (size_t i = 0; i < f->pending_count; i++) {
        const struct pg_pending *p = &f->pending[i];
        json_t *pair = json_pack("{s:s?,s:s?}", "old_value", p->old_value, "new_value", p->new_value);
        CHECK(pair);
        CHECK(json_object_set_new(o, p->name, pair) == 0);
    }
    return o;
}
