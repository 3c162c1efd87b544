#include "web/metrics.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "web/health.h"
#include "wire/peer.h"

enum { MS_PER_S = 1000, US_PER_MS = 1000, US_PER_S = 1000 * 1000, VALUE_MAX = 64 };

struct page {
    struct buf text;
    char *labels; /* {scope="…",name="…"} */
};

/* Label values: backslash, quote and line feed are escaped (Prometheus, text exposition format). */
static void add_label(struct buf *b, const char *name, const char *value)
{
    buf_printf(b, "%s=\"", name);
    for (const char *at = value ? value : ""; *at; at++) {
        if (*at == '\n') {
            buf_add_str(b, "\\n");
            continue;
        }
        if (*at == '\\' || *at == '"')
            buf_add_char(b, '\\');
        buf_add_char(b, *at);
    }
    buf_add_char(b, '"');
}

static void add_head(struct page *p, const char *name, const char *type, const char *help)
{
    buf_printf(&p->text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void add_text(struct page *p, const char *name, const char *type, const char *help, const char *value)
{
    add_head(p, name, type, help);
    buf_printf(&p->text, "%s%s %s\n", name, p->labels, value);
}

static void add_int(struct page *p, const char *name, const char *type, const char *help, int64_t value)
{
    char text[VALUE_MAX];

    (void)snprintf(text, sizeof(text), "%" PRId64, value);
    add_text(p, name, type, help, text);
}

static void add_flag(struct page *p, const char *name, const char *help, bool value)
{
    add_int(p, name, "gauge", help, value);
}

/* WAL positions are unsigned. */
static void add_lsn(struct page *p, const char *name, const char *help, lsn value)
{
    char text[VALUE_MAX];

    (void)snprintf(text, sizeof(text), "%" PRIu64, value);
    add_text(p, name, "counter", help, text);
}

/* Seconds since 1970 with what fraction there is; 0: unknown. */
static void add_epoch(struct page *p, const char *name, const char *help, double value)
{
    char text[VALUE_MAX];

    (void)snprintf(text, sizeof(text), "%.6f", value);
    size_t len = strlen(text);
    while (len > 2 && text[len - 1] == '0' && text[len - 2] != '.')
        text[--len] = '\0';
    add_text(p, name, "gauge", help, value > 0 ? text : "0");
}

static const char *seconds(msec value_ms, char text[VALUE_MAX])
{
    if (value_ms == MSEC_NEVER)
        return "+Inf";
    value_ms = msec_max(value_ms, 0);
    (void)snprintf(text, VALUE_MAX, "%" PRId64 ".%03" PRId64, value_ms / MS_PER_S, value_ms % MS_PER_S);
    return text;
}

static void add_ms(struct page *p, const char *name, const char *help, msec value_ms)
{
    char text[VALUE_MAX];

    add_text(p, name, "gauge", help, seconds(value_ms, text));
}

/* "4.0.2" → "040002" */
static char *padded_version(const char *version)
{
    struct buf text = BUF_EMPTY;

    for (const char *at = version ? version : "0"; at;) {
        size_t len = strcspn(at, ".");

        buf_printf(&text, "%s%.*s", len < 2 ? "0" : "", (int)len, at);
        at = at[len] ? at + len + 1 : NULL;
    }
    return buf_take(&text);
}

static void add_instance(struct page *p, const struct snapshot *s, const struct health_node *n)
{
    bool primary = n->known && n->role == ROLE_PRIMARY;
    bool standby = n->known && s->in_recovery;
    lsn received = s->received_location ? s->received_location : s->replayed_location;
    AUTO(cstr) char *version = padded_version(s->told_version);

    add_text(p, "patroni_version", "gauge", "Version without periods, each part with two digits.", version);
    add_flag(p, "patroni_postgres_running", "Value is 1 if PostgreSQL is running, 0 otherwise.",
             n->state == NODE_RUNNING);
    add_epoch(p, "patroni_postmaster_start_time", "Epoch seconds since PostgreSQL started.",
              n->known ? s->postmaster_start_epoch : 0);
    add_flag(p, "patroni_primary", "Value is 1 if this node is the primary, 0 otherwise.", n->role == ROLE_PRIMARY);
    add_lsn(p, "patroni_xlog_location", "Current location of the WAL in bytes, 0 if this node is no primary.",
            primary ? s->location : 0);
    add_flag(p, "patroni_standby_leader", "Value is 1 if this node is the standby leader, 0 otherwise.",
             n->role == ROLE_STANDBY_LEADER);
    add_flag(p, "patroni_replica", "Value is 1 if this node is a replica, 0 otherwise.", n->role == ROLE_REPLICA);
    add_flag(p, "patroni_sync_standby", "Value is 1 if this node is a synchronous standby, 0 otherwise.",
             n->known && n->role == ROLE_REPLICA && s->sync_standby && !s->quorum_standby);
    add_flag(p, "patroni_quorum_standby", "Value is 1 if this node is a quorum standby, 0 otherwise.",
             n->known && n->role == ROLE_REPLICA && s->quorum_standby);
    add_lsn(p, "patroni_xlog_received_location", "Location of the received WAL in bytes, 0 if this node is no replica.",
            standby ? received : 0);
    add_lsn(p, "patroni_xlog_replayed_location", "Location of the replayed WAL in bytes, 0 if this node is no replica.",
            standby ? s->replayed_location : 0);
    add_epoch(p, "patroni_xlog_replayed_timestamp",
              "Epoch seconds of the last replayed transaction, 0 if there is none.", standby ? s->replayed_epoch : 0);
    add_flag(p, "patroni_xlog_paused", "Value is 1 if replay is paused, 0 otherwise.", standby && s->replay_paused);
    add_flag(p, "patroni_postgres_streaming", "Value is 1 if PostgreSQL is streaming, 0 otherwise.",
             n->known && str_eq(s->replication_state, "streaming"));
    add_flag(p, "patroni_postgres_in_archive_recovery",
             "Value is 1 if PostgreSQL replays from an archive, 0 otherwise.",
             n->known && str_eq(s->replication_state, "in archive recovery"));
    add_int(p, "patroni_postgres_server_version", "gauge", "Version of PostgreSQL if it is running, 0 otherwise.",
            n->known ? s->server_version : 0);
}

static void add_cluster(struct page *p, const struct snapshot *s, const struct health_node *n)
{
    add_flag(p, "patroni_cluster_unlocked", "Value is 1 if nobody holds the leader key, 0 otherwise.",
             s->cluster_unlocked || !s->store_known);
    add_flag(p, "patroni_failsafe_mode_is_active", "Value is 1 if failsafe mode keeps the primary, 0 otherwise.",
             s->failsafe_mode_is_active);
    add_flag(p, "patroni_failsafe_mode_enabled", "Value is 1 if failsafe mode is configured, 0 otherwise.",
             s->failsafe_mode_enabled);
    add_flag(p, "patroni_failsafe_member", "Value is 1 if this node is a member of the failsafe topology, 0 otherwise.",
             s->failsafe_member);
    add_int(p, "patroni_postgres_timeline", "counter", "Timeline of this node if PostgreSQL is running, 0 otherwise.",
            n->known ? s->timeline : 0);
    add_int(p, "patroni_dcs_last_seen", "gauge", "Epoch seconds when the store last answered.", s->dcs_last_seen);
    add_flag(p, "patroni_pending_restart", "Value is 1 if PostgreSQL needs a restart, 0 otherwise.",
             s->pending_restart);
    add_flag(p, "patroni_is_paused", "Value is 1 if automatic failover is disabled, 0 otherwise.", s->pause);
}

static void add_state(struct page *p, const struct health_node *n)
{
    const char *name = "patroni_postgres_state";
    static const char *const values[] = {
#define X(id, text, index) [index] = text,
        PG_STATES(X)
#undef X
    };

    buf_printf(&p->text, "# HELP %s Number of the state of PostgreSQL.\n# Values:", name);
    for (size_t i = 0; i < NODE_UNKNOWN; i++)
        buf_printf(&p->text, "%s %zu=%s", i ? "," : "", i, values[i]);
    buf_printf(&p->text, "\n# TYPE %s gauge\n%s%s %d\n", name, name, p->labels,
               n->state == NODE_UNKNOWN ? -1 : (int)n->state);
}

static void add_clone(struct page *p, const char *progress)
{
    json_t *clone = json_loads(progress, 0, NULL);

    add_int(p, "pgkeep_clone_done_bytes", "gauge", "Bytes copied so far by the clone under way.",
            json_integer_value(json_object_get(clone, "done")));
    add_int(p, "pgkeep_clone_total_bytes", "gauge", "Bytes that the clone under way expects to copy, 0 if unknown.",
            json_integer_value(json_object_get(clone, "total")));
    json_decref(clone);
}

static void add_peers(struct page *p, const struct snapshot *s)
{
    const char *name = "pgkeep_peer_age_seconds";
    char text[VALUE_MAX];

    if (!s->peer_count)
        return;
    add_head(p, name, "gauge", "Time since the agent of a peer was last heard, as of the last cycle.");
    for (size_t i = 0; i < s->peer_count; i++) {
        buf_printf(&p->text, "%s%.*s,", name, (int)strlen(p->labels) - 1, p->labels);
        add_label(&p->text, "peer", s->peers[i].name);
        buf_printf(&p->text, "} %s\n", seconds(s->peers[i].age_ms, text));
    }
}

static void add_of_slots(struct page *p, const struct snapshot *s, const char *name, const char *help,
                         int64_t value(const struct snapshot_slot *slot))
{
    if (!s->slot_count)
        return;
    add_head(p, name, "gauge", help);
    for (size_t i = 0; i < s->slot_count; i++) {
        buf_printf(&p->text, "%s%.*s,", name, (int)strlen(p->labels) - 1, p->labels);
        add_label(&p->text, "slot", s->slots[i].name);
        buf_printf(&p->text, "} %" PRId64 "\n", value(&s->slots[i]));
    }
}

static int64_t slot_active(const struct snapshot_slot *slot)
{
    return slot->active;
}

static int64_t slot_retained(const struct snapshot_slot *slot)
{
    return (int64_t)slot->retained_bytes;
}

static int64_t slot_held(const struct snapshot_slot *slot)
{
    return slot->held;
}

static void add_slots(struct page *p, const struct snapshot *s)
{
    add_of_slots(p, s, "pgkeep_slot_active", "Value is 1 if somebody streams from the slot, 0 otherwise.", slot_active);
    add_of_slots(p, s, "pgkeep_slot_retained_bytes", "WAL that is kept for the slot.", slot_retained);
    add_of_slots(p, s, "pgkeep_slot_held_transactions",
                 "Transactions whose dead rows vacuum leaves for the sake of the slot, 0: none.", slot_held);
}

/* A write that hangs takes as long as it has been hanging. */
static void add_disk(struct page *p, const struct snapshot *s, msec now_ms)
{
    char text[VALUE_MAX];
    int64_t hangs_us = s->disk_hangs_since_ms ? (now_ms - s->disk_hangs_since_ms) * US_PER_MS : 0;
    int64_t took_us = s->disk_took_us > hangs_us ? s->disk_took_us : hangs_us;

    (void)snprintf(text, sizeof(text), "%" PRId64 ".%06" PRId64, took_us / US_PER_S, took_us % US_PER_S);
    add_text(p, "pgkeep_disk_probe_seconds", "gauge",
             "Time that the last write with fdatasync to pg_wal's file system took, or that the one under way takes.",
             text);
    add_int(p, "pgkeep_disk_free_bytes", "gauge", "Space left in pg_wal's file system.", (int64_t)s->disk_free_bytes);
    add_int(p, "pgkeep_disk_total_bytes", "gauge", "Size of pg_wal's file system.", (int64_t)s->disk_total_bytes);
}

static void add_sick(struct page *p, uint32_t sick)
{
    static const struct {
        uint32_t bit;
        const char *reason;
    } reasons[] = {{PEER_SICK_PROBE, "probe"},
                   {PEER_SICK_DISK, "disk"},
                   {PEER_SICK_HALTED, "halted"},
                   {PEER_SICK_CONNECT, "connect"}};
    const char *name = "pgkeep_sick";

    add_head(p, name, "gauge",
             "Value is 1 if PostgreSQL runs, but does not answer (probe), cannot write (disk), is stopped by a signal "
             "(halted) or takes no new connections (connect), 0 otherwise.");
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        buf_printf(&p->text, "%s%.*s,reason=\"%s\"} %d\n", name, (int)strlen(p->labels) - 1, p->labels,
                   reasons[i].reason, (sick & reasons[i].bit) != 0);
}

/* Value is 1 for the phase that the record is in. */
static void add_phase(struct page *p, enum record_phase phase)
{
    static const enum record_phase phases[] = {RECORD_OPEN, RECORD_TERM, RECORD_ELECTED};
    const char *name = "pgkeep_phase";

    add_head(
        p, name, "gauge",
        "Value is 1 for the phase of the record: the primary is open, a new term is taken and nodes freeze (term), "
        "a primary is elected and not open yet, 0 otherwise.");
    for (size_t i = 0; i < ARRAY_LEN(phases); i++)
        buf_printf(&p->text, "%s%.*s,phase=\"%s\"} %d\n", name, (int)strlen(p->labels) - 1, p->labels,
                   record_phase_text(phases[i]), phases[i] == phase);
}

static void add_quorum(struct page *p, const struct snapshot_quorum *q)
{
    bool on = q->known && q->mode == RECORD_QUORUM;

    add_flag(p, "pgkeep_quorum_mode", "Value is 1 if the record is of quorum mode, 0 otherwise.", on);
    if (on) {
        add_phase(p, q->phase);
        add_int(p, "pgkeep_cohort_members", "gauge", "Standbys whose acknowledgement of a commit counts.",
                (int64_t)q->cohort_members);
        add_int(p, "pgkeep_cohort_k", "gauge",
                "Standbys of the cohort that a commit waits for; 0: it waits for none of them.", q->cohort_k);
    }
    add_int(p, "pgkeep_promised_term", "gauge",
            "Nothing of an earlier term is acknowledged here any more, 0: no promise.", (int64_t)q->promised);
    add_flag(p, "pgkeep_frozen",
             "Value is 1 if this node waits, frozen, for an election under its promise, 0 otherwise.", q->frozen);
}

static void add_broken(struct page *p, const struct snapshot *s)
{
    const char *name = "pgkeep_promise_broken";

    add_head(p, name, "gauge",
             "Number of settings and connections, made inside PostgreSQL, that break the promise of quorum mode.");
    for (enum breach_reason r = 0; r < BREACH_REASON_COUNT; r++)
        buf_printf(&p->text, "%s%.*s,reason=\"%s\"} %zu\n", name, (int)strlen(p->labels) - 1, p->labels,
                   breach_reason_text(r), breaches_of(&s->broken, r));
    add_int(p, "pgkeep_walsenders_ended_total", "counter",
            "Walsenders that had the name of a member, were not its own, and were ended.",
            (int64_t)s->walsenders_ended);
}

static msec lease_left_ms(const struct snapshot *s, msec now_ms)
{
    if (!snapshot_lease_held(s, now_ms))
        return 0;
    return s->lease_deadline_ms == MSEC_NEVER ? MSEC_NEVER : s->lease_deadline_ms - now_ms;
}

static void add_ours(struct page *p, const struct snapshot *s, const struct health_node *n, msec now_ms)
{
    add_flag(p, "pgkeep_writable",
             "Value is 1 if PostgreSQL was seen open for writes under a valid lease, 0 otherwise.",
             n->known && s->writable && snapshot_lease_held(s, now_ms));
    add_int(p, "pgkeep_term", "gauge", "The newest term that this node knows of; grows with every new primary.",
            (int64_t)s->term);
    add_ms(p, "pgkeep_lease_seconds", "Time until the lease of this node ends, 0 if it has none.",
           lease_left_ms(s, now_ms));
    add_ms(p, "pgkeep_facts_age_seconds", "Time since PostgreSQL was last looked at.", now_ms - s->taken_ms);
    add_ms(p, "pgkeep_cycle_age_seconds", "Time since the last cycle of decisions ended.", now_ms - s->loop_ran_ms);
    add_flag(p, "pgkeep_watchdog_failed", "Value is 1 if the watchdog that was asked for does not work, 0 otherwise.",
             s->watchdog_failed);
    add_quorum(p, &s->quorum);
    add_broken(p, s);
    add_peers(p, s);
    add_slots(p, s);
    if (s->wal_moved_ms)
        add_ms(p, "pgkeep_wal_age_seconds", "Time since the walreceiver of this standby was last sent anything.",
               now_ms - s->wal_moved_ms);
    if (s->disk_known)
        add_disk(p, s, now_ms);
    add_sick(p, s->sick);
    if (s->clone_progress)
        add_clone(p, s->clone_progress);
}

char *metrics_text(const struct snapshot *s, msec now_ms)
{
    struct health_node n = health_node(s, now_ms);
    struct page p = {.text = BUF_EMPTY};
    struct buf labels = BUF_EMPTY;

    buf_add_char(&labels, '{');
    add_label(&labels, "scope", s->scope);
    buf_add_char(&labels, ',');
    add_label(&labels, "name", s->name);
    buf_add_char(&labels, '}');
    p.labels = buf_take(&labels);

    add_instance(&p, s, &n);
    add_cluster(&p, s, &n);
    add_state(&p, &n);
    add_int(&p, "patroni_failover_priority", "gauge", "Priority of this node in a failover; 0: never.",
            s->nofailover ? 0 : s->failover_priority);
    add_ours(&p, s, &n, now_ms);
    free(p.labels);
    return buf_take(&p.text);
}
