#include "pg/control.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"

/* ---- reading the text ---- */

/* The value behind "<label>:" at the start of a line; false if there is no such line. */
static bool value_of(const char *text, const char *label, char *to, size_t cap)
{
    size_t label_len = strlen(label);

    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\n");
        if (len > label_len && strncmp(line, label, label_len) == 0 && line[label_len] == ':') {
            const char *value = line + label_len + 1;
            const char *end = line + len;
            while (value < end && *value == ' ')
                value++;
            while (end > value && (end[-1] == ' ' || end[-1] == '\r'))
                end--;
            (void)snprintf(to, cap, "%.*s", (int)(end - value), value); /* every value is short */
            return true;
        }
        line += len + (line[len] == '\n');
    }
    return false;
}

static bool missing(struct err *err, const char *label)
{
    return err_set(err, ERR_PG, "pg_controldata: no valid line \"%s\"", label);
}

static bool get_int(const char *text, const char *label, int64_t *ret_value, struct err *err)
{
    char value[64];

    if (!value_of(text, label, value, sizeof(value)) || !str_to_int(value, INT64_MIN, INT64_MAX, ret_value))
        return missing(err, label);
    return true;
}

static bool get_lsn(const char *text, const char *label, lsn *ret_lsn, struct err *err)
{
    char value[64];

    if (!value_of(text, label, value, sizeof(value)) || !lsn_parse(value, ret_lsn))
        return missing(err, label);
    return true;
}

static bool get_switch(const char *text, const char *label, const char *on, bool *ret_on, struct err *err)
{
    char value[64];

    if (!value_of(text, label, value, sizeof(value)))
        return missing(err, label);
    *ret_on = str_eq(value, on);
    return true;
}

static enum pg_control_state state_of(const char *text)
{
    static const struct {
        const char *text; /* PostgreSQL: pg_controldata.c, dbState() */
        enum pg_control_state state;
    } states[] = {
        {"starting up", PG_CONTROL_STARTING_UP},
        {"shut down", PG_CONTROL_SHUT_DOWN},
        {"shut down in recovery", PG_CONTROL_SHUT_DOWN_IN_RECOVERY},
        {"shutting down", PG_CONTROL_SHUTTING_DOWN},
        {"in crash recovery", PG_CONTROL_IN_CRASH_RECOVERY},
        {"in archive recovery", PG_CONTROL_IN_ARCHIVE_RECOVERY},
        {"in production", PG_CONTROL_IN_PRODUCTION},
    };

    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        if (str_eq(text, states[i].text))
            return states[i].state;
    }
    return PG_CONTROL_UNKNOWN;
}

static bool parse_identity(const char *text, struct pg_control *c, struct err *err)
{
    int64_t number = 0;

    if (!value_of(text, "Database system identifier", c->system_identifier, sizeof(c->system_identifier)) ||
        str_empty(c->system_identifier))
        return missing(err, "Database system identifier");
    if (!value_of(text, "Database cluster state", c->state_text, sizeof(c->state_text)))
        return missing(err, "Database cluster state");
    c->state = state_of(c->state_text);
    if (!get_int(text, "pg_control version number", &number, err))
        return false;
    c->control_version = (int)number;
    if (!get_int(text, "Catalog version number", &number, err))
        return false;
    c->catalog_version = (int)number;
    return true;
}

/* "epoch:xid"; changes text. */
static bool xid_parse(char *text, int64_t *ret_xid)
{
    char *rest = text;
    const char *epoch_text = strsep(&rest, ":");
    int64_t epoch;
    int64_t xid;

    if (!str_to_int(epoch_text, 0, INT32_MAX, &epoch) || !str_to_int(rest, 0, UINT32_MAX, &xid))
        return false;
    *ret_xid = epoch << 32 | xid;
    return true;
}

static bool parse_checkpoint(const char *text, struct pg_control *c, struct err *err)
{
    char value[64];
    int64_t tli = 0;
    int64_t prev_tli = 0;
    int64_t min_tli = 0;

    if (!get_lsn(text, "Latest checkpoint location", &c->checkpoint, err) ||
        !get_lsn(text, "Latest checkpoint's REDO location", &c->redo, err) ||
        !get_int(text, "Latest checkpoint's TimeLineID", &tli, err) ||
        !get_int(text, "Latest checkpoint's PrevTimeLineID", &prev_tli, err) ||
        !get_lsn(text, "Minimum recovery ending location", &c->min_recovery, err) ||
        !get_int(text, "Min recovery ending loc's timeline", &min_tli, err) ||
        !get_switch(text, "End-of-backup record required", "yes", &c->backup_end_required, err))
        return false;
    c->checkpoint_tli = (uint32_t)tli;
    c->prev_tli = (uint32_t)prev_tli;
    c->min_recovery_tli = (uint32_t)min_tli;

    if (!value_of(text, "Latest checkpoint's NextXID", value, sizeof(value)) || !xid_parse(value, &c->next_xid))
        return missing(err, "Latest checkpoint's NextXID");
    return true;
}

static bool parse_parameters(const char *text, struct pg_control *c, struct err *err)
{
    int64_t checksums = 0;

    if (!value_of(text, "wal_level setting", c->wal_level, sizeof(c->wal_level)))
        return missing(err, "wal_level setting");
    if (!get_switch(text, "wal_log_hints setting", "on", &c->wal_log_hints, err) ||
        !get_int(text, "max_connections setting", &c->max_connections, err) ||
        !get_int(text, "max_worker_processes setting", &c->max_worker_processes, err) ||
        !get_int(text, "max_wal_senders setting", &c->max_wal_senders, err) ||
        !get_int(text, "max_prepared_xacts setting", &c->max_prepared_xacts, err) ||
        !get_int(text, "max_locks_per_xact setting", &c->max_locks_per_xact, err) ||
        !get_switch(text, "track_commit_timestamp setting", "on", &c->track_commit_timestamp, err) ||
        !get_int(text, "Bytes per WAL segment", &c->wal_segment_size, err) ||
        !get_int(text, "Data page checksum version", &checksums, err))
        return false;
    c->checksum_version = (uint32_t)checksums;
    return true;
}

bool pg_control_parse(const char *text, struct pg_control *ret_control, struct err *err)
{
    struct pg_control c = {0};

    if (!parse_identity(text, &c, err) || !parse_checkpoint(text, &c, err) || !parse_parameters(text, &c, err))
        return false;
    *ret_control = c;
    return true;
}

/* ---- what it means ---- */

bool pg_control_clean(const struct pg_control *c)
{
    return c->state == PG_CONTROL_SHUT_DOWN || c->state == PG_CONTROL_SHUT_DOWN_IN_RECOVERY;
}

bool pg_control_end(const struct pg_control *c, uint32_t *ret_tli, lsn *ret_end, bool *ret_was_standby)
{
    switch (c->state) {
    case PG_CONTROL_SHUT_DOWN:
        *ret_tli = c->checkpoint_tli;
        *ret_end = c->checkpoint;
        *ret_was_standby = false;
        return true;
    case PG_CONTROL_SHUT_DOWN_IN_RECOVERY:
    case PG_CONTROL_IN_ARCHIVE_RECOVERY:
        if (!c->min_recovery || !c->min_recovery_tli)
            return false; /* a primary that crashed and was started as a standby, but did not get far */
        *ret_tli = c->min_recovery_tli;
        *ret_end = c->min_recovery;
        *ret_was_standby = true;
        return true;
    case PG_CONTROL_UNKNOWN:
    case PG_CONTROL_STARTING_UP:
    case PG_CONTROL_SHUTTING_DOWN:
    case PG_CONTROL_IN_CRASH_RECOVERY:
    case PG_CONTROL_IN_PRODUCTION:
        return false;
    }
    UNREACHABLE();
}

bool pg_control_can_rewind(const struct pg_control *c)
{
    return c->wal_log_hints || c->checksum_version;
}
