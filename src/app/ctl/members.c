#include "app/ctl/members.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "wire/cluster_view.h"

static const char *const always[] = {"Cluster", "Member",      "Host",        "Role",       "State",
                                     "TL",      "Receive LSN", "Receive Lag", "Replay LSN", "Replay Lag"};

/* Columns that appear when a member has something to say there. */
static const struct {
    const char *name, *field;
} sometimes[] = {
    {"Pending restart", "pending_restart"},
    {"Pending restart reason", "pending_restart_reason"},
    {"Scheduled restart", "scheduled_restart"},
    {"Tags", "tags"},
};

enum { REASON_SHOWN_MAX = 50 }; /* longer ones are hidden in tables, as patronictl does */

static const char *text_of(const json_t *row, const char *field)
{
    const char *text = json_string_value(json_object_get(row, field));

    return text ? text : "";
}

/* Something that Python would call true. */
static bool has_content(const json_t *value)
{
    if (json_is_object(value))
        return json_object_size(value) > 0;
    if (json_is_string(value))
        return json_string_length(value) > 0;
    return value && !json_is_null(value) && !json_is_false(value);
}

static bool anybody_has(const json_t *members, const char *field)
{
    for (size_t i = 0; i < json_array_size(members); i++)
        if (has_content(json_object_get(json_array_get(members, i), field)))
            return true;
    return false;
}

/* The port is worth showing if it is not PostgreSQL's own, or if two members share a host. */
static bool ports_matter(const json_t *members)
{
    size_t count = json_array_size(members);

    for (size_t i = 0; i < count; i++) {
        const json_t *m = json_array_get(members, i);
        json_int_t port = json_integer_value(json_object_get(m, "port"));
        if (port != 0 && port != 5432)
            return true;
        for (size_t k = i + 1; k < count; k++)
            if (*text_of(m, "host") && str_eq(text_of(m, "host"), text_of(json_array_get(members, k), "host")))
                return true;
    }
    return false;
}

static json_t *host_cell(const json_t *m, bool with_port)
{
    json_int_t port = json_integer_value(json_object_get(m, "port"));
    const char *host = text_of(m, "host");

    if (!with_port || !port || !*host)
        return json_string(host);
    return json_sprintf("%s:%d", host, (int)port);
}

/* "sync_standby" → "Sync Standby" */
static json_t *role_cell(const char *role)
{
    AUTO(cstr) char *text = str_dup(role);
    bool start = true;

    for (char *at = text; *at; at++) {
        if (start && *at >= 'a' && *at <= 'z')
            *at = (char)(*at - 'a' + 'A');
        start = *at == '_';
        if (start)
            *at = ' ';
    }
    return json_string(text);
}

/* How far a clone is stands in the tables only: programs compare the state's text. */
static json_t *state_cell(const json_t *m, enum listing_format format)
{
    const json_t *clone = json_object_get(m, "clone");
    double done = json_number_value(json_object_get(clone, "done"));
    double total = json_number_value(json_object_get(clone, "total"));
    bool table = format == LISTING_PRETTY || format == LISTING_TOPOLOGY;

    if (!table || !clone || !str_eq(text_of(m, "state"), "creating replica"))
        return json_string(text_of(m, "state"));
    if (total > 0)
        return json_sprintf("%s %d%%", text_of(m, "state"), (int)(done >= total ? 100 : done * 100 / total));
    if (done > 0)
        return json_sprintf("%s %d MB", text_of(m, "state"), (int)(done / 1024 / 1024));
    return json_string(text_of(m, "state"));
}

struct position {
    json_t *lsn, *lag; /* borrowed; NULL where there is none */
};

/* Members older than Patroni 4.1 publish one position; it stands where it means most. */
static void positions_of(const json_t *m, struct position *ret_receive, struct position *ret_replay)
{
    struct position any = {json_object_get(m, "lsn"), json_object_get(m, "lag")};

    *ret_receive = (struct position){json_object_get(m, "receive_lsn"), json_object_get(m, "receive_lag")};
    *ret_replay = (struct position){json_object_get(m, "replay_lsn"), json_object_get(m, "replay_lag")};
    if (!str_eq(json_string_value(ret_receive->lsn), "unknown") ||
        !str_eq(json_string_value(ret_replay->lsn), "unknown") || str_eq(json_string_value(any.lsn), "unknown"))
        return;
    if (str_eq(text_of(m, "state"), "streaming"))
        *ret_receive = any;
    else
        *ret_replay = any;
}

static json_t *lsn_cell(struct position p)
{
    return p.lsn ? json_incref(p.lsn) : json_string("");
}

/* Megabytes, rounded half to even as Python does. */
static json_t *lag_cell(struct position p)
{
    const json_int_t mb = 1024 * 1024;

    if (!json_is_integer(p.lag))
        return json_string("");
    json_int_t bytes = json_integer_value(p.lag);
    json_int_t whole = bytes / mb, rest = bytes % mb;
    return json_integer(whole + (rest > mb / 2 || (rest == mb / 2 && whole % 2 == 1)));
}

static json_t *reason_cell(const json_t *reasons, enum listing_format format)
{
    AUTO(buf) struct buf out = BUF_EMPTY;
    bool table = format == LISTING_PRETTY || format == LISTING_TOPOLOGY;
    const char *name;
    json_t *change;

    json_object_foreach((json_t *)reasons, name, change)
    {
        AUTO(cstr) char *line = str_fmt("%s: %s->%s", name, text_of(change, "old_value"), text_of(change, "new_value"));
        if (out.len)
            buf_add_char(&out, '\n');
        if (table && strlen(line) > REASON_SHOWN_MAX)
            buf_printf(&out, "%s: [hidden - too long]", name);
        else
            buf_add_str(&out, line);
    }
    return json_string(buf_cstr(&out));
}

static json_t *scheduled_cell(const json_t *scheduled)
{
    const char *version = text_of(scheduled, "postgres_version");

    if (!*version)
        return json_string(text_of(scheduled, "schedule"));
    return json_sprintf("%s if version < %s", text_of(scheduled, "schedule"), version);
}

static json_t *optional_cell(const json_t *m, const char *field, enum listing_format format)
{
    json_t *value = json_object_get(m, field);

    if (str_eq(field, "pending_restart"))
        return json_string(has_content(value) ? "*" : "");
    if (str_eq(field, "pending_restart_reason"))
        return reason_cell(value, format);
    if (str_eq(field, "scheduled_restart"))
        return scheduled_cell(value);
    return value ? json_incref(value) : json_string("");
}

static bool is_leader(const json_t *m)
{
    return str_ends(text_of(m, "role"), "leader");
}

/* The member that m hangs on: a replica it is told to replicate from, else the leader ("" if there is none). */
static const char *parent_of(const json_t *members, const json_t *m)
{
    const char *from = text_of(json_object_get(m, "tags"), "replicatefrom");
    const char *leader = "";

    for (size_t i = 0; i < json_array_size(members); i++) {
        const json_t *other = json_array_get(members, i);
        if (is_leader(other))
            leader = text_of(other, "name");
        else if (*from && other != m && str_eq(text_of(other, "name"), from))
            return from;
    }
    return leader;
}

/*
 * One member and what hangs on it, deeper members indented. Members in a ring hang on nobody and are not
 * shown (as in patronictl).
 */
static void topology_add(const json_t *members, const char *parent, int level, json_t *to)
{
    for (size_t i = 0; i < json_array_size(members); i++) {
        json_t *m = json_array_get(members, i);
        bool wanted = level == 0 ? is_leader(m) : !is_leader(m) && str_eq(parent_of(members, m), parent);
        if (!wanted)
            continue;

        json_t *copy = json_copy(m);
        if (level > 0)
            json_object_set_new(copy, "name", json_sprintf("%*s+ %s", (level - 1) * 2, "", text_of(m, "name")));
        json_array_append_new(to, copy);
        topology_add(members, text_of(m, "name"), level + 1, to);
    }
}

/* New reference: the members in the order they are shown. */
static json_t *in_order(json_t *members, enum listing_format format)
{
    json_t *sorted = json_array();

    if (format != LISTING_TOPOLOGY) {
        json_decref(sorted);
        return json_incref(members);
    }
    topology_add(members, "", 0, sorted);
    if (json_array_size(sorted) == 0)
        topology_add(members, "", 1, sorted);
    return sorted;
}

static enum table_style member_style(const char *column, const char *text)
{
    if (str_eq(column, "Role"))
        return str_ends(text, "Leader") ? TABLE_STRONG : TABLE_PLAIN;
    if (str_starts(column, "Pending"))
        return TABLE_WARN;
    if (!str_eq(column, "State"))
        return TABLE_PLAIN;
    if (str_eq(text, "running") || str_eq(text, "streaming"))
        return TABLE_GOOD;
    if (str_eq(text, "stopped") || str_eq(text, "crashed") || str_ends(text, "failed"))
        return TABLE_BAD;
    return TABLE_WARN;
}

static json_t *member_row(const struct listing *l, const json_t *m, const char *cluster_name, bool with_port,
                          enum listing_format format)
{
    struct position receive, replay;
    json_t *timeline = json_object_get(m, "timeline");
    json_t *row = json_array();

    positions_of(m, &receive, &replay);
    json_array_append_new(row, json_string(cluster_name));
    json_array_append(row, json_object_get(m, "name"));
    json_array_append_new(row, host_cell(m, with_port));
    json_array_append_new(row, role_cell(text_of(m, "role")));
    json_array_append_new(row, state_cell(m, format));
    json_array_append_new(row, timeline ? json_incref(timeline) : json_string(""));
    json_array_append_new(row, lsn_cell(receive));
    json_array_append_new(row, lag_cell(receive));
    json_array_append_new(row, lsn_cell(replay));
    json_array_append_new(row, lag_cell(replay));
    for (size_t i = ARRAY_LEN(always); i < l->column_count; i++)
        for (size_t k = 0; k < ARRAY_LEN(sometimes); k++)
            if (str_eq(l->columns[i].name, sometimes[k].name))
                json_array_append_new(row, optional_cell(m, sometimes[k].field, format));
    return row;
}

struct listing *members_listing(const struct cluster *c, const char *cluster_name, bool extended,
                                enum listing_format format)
{
    struct listing *l = listing_new();
    json_t *view = cluster_view(c);
    json_t *members = json_object_get(view, "members");
    bool with_port = ports_matter(members);

    for (size_t i = 0; i < ARRAY_LEN(always); i++) {
        listing_column(l, always[i], i >= 5 ? TABLE_RIGHT : TABLE_LEFT);
        if (str_ends(always[i], "Lag"))
            str_set(&l->columns[i].shown, "Lag"); /* whose it is says the column before */
    }
    l->columns[0].hidden = true; /* it is in the title */
    for (size_t i = 0; i < ARRAY_LEN(sometimes); i++)
        if (extended || anybody_has(members, sometimes[i].field))
            listing_column(l, sometimes[i].name, TABLE_LEFT);

    json_t *sorted = in_order(members, format);
    for (size_t i = 0; i < json_array_size(sorted); i++)
        json_array_append_new(l->rows, member_row(l, json_array_get(sorted, i), cluster_name, with_port, format));
    json_decref(sorted);
    json_decref(view);

    l->title = str_fmt(" Cluster: %s (%s) ", cluster_name,
                       !c->initialize   ? "uninitialized"
                       : *c->initialize ? c->initialize
                                        : "initializing");
    l->skip_empty = true;
    l->style = member_style;
    return l;
}

static void add_cohort(const struct record_cohort *cohort, struct buf *out)
{
    buf_printf(out, "%d of ", cohort->k);
    for (size_t i = 0; i < cohort->count; i++)
        buf_printf(out, "%s%s", i ? ", " : "", cohort->at[i].name);
    if (!cohort->count)
        buf_add_str(out, "nobody");
}

/* Mode, term, phase, and whose acknowledgement a commit needs. */
static void add_record(const struct record_key *r, struct buf *out)
{
    char why[RECORD_WHY_MAX];

    if (record_key_is_opaque(r)) {
        buf_printf(out, " The record in the store %s\n", record_key_why_opaque(r, why));
        return;
    }
    if (!r->present)
        return;
    buf_printf(out, " Mode: %s, term: %llu", record_mode_text(r->mode), (unsigned long long)r->term);
    if (r->mode == RECORD_QUORUM)
        buf_printf(out, ", phase: %s", record_phase_text(r->phase));
    buf_add_char(out, '\n');
    if (r->mode == RECORD_ASYNC)
        return;
    buf_add_str(out, " Commits wait for: ");
    add_cohort(&r->open, out);
    if (r->joining) {
        buf_add_str(out, "; changing to: ");
        add_cohort(&r->joint, out);
    }
    buf_add_char(out, '\n');
}

/* Not only where more was asked for: what is acknowledged then may get lost. */
static void add_broken(const struct member *m, struct buf *out)
{
    const json_t *broken = json_object_get(m->pgkeep_info, "broken");
    size_t i;
    json_t *one;

    json_array_foreach((json_t *)broken, i, one)
        buf_printf(out, " Promise broken on %s: %s\n", m->name, text_of(one, "text"));
}

void members_service_info(const struct cluster *c, bool extended, struct buf *out)
{
    if (extended)
        add_record(&c->record, out);
    for (size_t i = 0; i < c->member_count; i++)
        add_broken(&c->members[i], out);
    if (cluster_is_paused(c))
        buf_add_str(out, " Maintenance mode: on\n");
    if (!c->failover.present || !c->failover.scheduled_at)
        return;

    buf_printf(out, " Switchover scheduled at: %s\n", c->failover.scheduled_at);
    if (c->failover.leader)
        buf_printf(out, "%24s: %s\n", "from", c->failover.leader);
    if (c->failover.candidate)
        buf_printf(out, "%24s: %s\n", "to", c->failover.candidate);
}

char *member_label(const struct member *m)
{
    char *host = NULL;
    int port = 0;

    if (!m->conn_url || !url_host_port(m->conn_url, &host, &port))
        return str_dup(m->name);

    char *label = str_fmt("%s (%s:%d)", m->name, host, port);
    free(host);
    return label;
}
