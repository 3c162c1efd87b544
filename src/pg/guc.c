#include "pg/guc.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/str.h"
#include "pg/guc_table.h"

enum { MAJOR_OLDEST = 14, MAJOR_NEWEST = 18 };

/* ---- values ---- */

bool guc_parse_bool(const char *text, bool *ret_value)
{
    static const struct {
        const char *word;
        size_t least; /* shortest unambiguous prefix (PostgreSQL: bool.c, parse_bool_with_len) */
        bool value;
    } words[] = {
        {"true", 1, true}, {"false", 1, false}, {"yes", 1, true}, {"no", 1, false},
        {"on", 2, true},   {"off", 2, false},   {"1", 1, true},   {"0", 1, false},
    };
    size_t len = strlen(text);

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (len >= words[i].least && len <= strlen(words[i].word) && strncasecmp(text, words[i].word, len) == 0) {
            *ret_value = words[i].value;
            return true;
        }
    }
    return false;
}

/* Units and what one is worth in the smallest of its family (PostgreSQL: guc.c, unit conversion tables). */
struct unit {
    const char *name;
    bool memory;
    double worth; /* bytes or microseconds */
};

static const struct unit units[] = {
    {"B", true, 1},
    {"kB", true, 1024},
    {"MB", true, 1024.0 * 1024},
    {"GB", true, 1024.0 * 1024 * 1024},
    {"TB", true, 1024.0 * 1024 * 1024 * 1024},
    {"us", false, 1},
    {"ms", false, 1000},
    {"s", false, 1000.0 * 1000},
    {"min", false, 60 * 1000.0 * 1000},
    {"h", false, 3600 * 1000.0 * 1000},
    {"d", false, 86400 * 1000.0 * 1000},
};

static const struct unit *unit_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (str_eq(units[i].name, name))
            return &units[i];
    }
    return NULL;
}

/* "8kB", "MB": what one of it is worth and of which family. */
static bool base_unit(const char *base, double *ret_worth, bool *ret_memory)
{
    char *end;
    double count = strtod(base, &end);

    if (end == base)
        count = 1;
    const struct unit *u = unit_find(end);
    if (!u)
        return false;
    *ret_worth = count * u->worth;
    *ret_memory = u->memory;
    return true;
}

/* The whole of text as a number in `base` units. */
static bool parse_number(const char *text, const char *base, double *ret_value)
{
    char *end;
    char *int_end;
    double worth;
    bool memory;

    while (isspace((unsigned char)*text))
        text++;
    errno = 0;
    double value = strtod(text, &end);
    long long whole = strtoll(text, &int_end, 0); /* 0600 and 0x10, as file modes are written */
    if (int_end >= end) {
        end = int_end;
        value = (double)whole;
    }
    if (end == text || errno == ERANGE || !isfinite(value))
        return false;
    while (isspace((unsigned char)*end))
        end++;

    size_t unit_len = strcspn(end, " \t");
    if (end[unit_len + strspn(end + unit_len, " \t")] != '\0')
        return false;
    if (unit_len) {
        AUTO(cstr) char *name = str_fmt("%.*s", (int)unit_len, end);
        const struct unit *u = unit_find(name);
        if (!base || !u || !base_unit(base, &worth, &memory) || u->memory != memory)
            return false;
        value = value * u->worth / worth;
    }
    *ret_value = value;
    return true;
}

bool guc_parse_int(const char *text, const char *unit, long long *ret_value)
{
    double value;

    if (!parse_number(text, unit, &value))
        return false;
    value = rint(value);
    if (value > 9e18 || value < -9e18)
        return false;
    *ret_value = (long long)value;
    return true;
}

/* ---- the table ---- */

static int clamp_major(int major)
{
    if (major < MAJOR_OLDEST)
        return MAJOR_OLDEST;
    return major > MAJOR_NEWEST ? MAJOR_NEWEST : major;
}

static const struct guc_row *row_find(int major, const char *name)
{
    static const struct { /* accepted spellings (PostgreSQL: guc.c, map_old_guc_names) */
        const char *old, *name;
        int from;
    } renamed[] = {
        {"sort_mem", "work_mem", 0},
        {"vacuum_mem", "maintenance_work_mem", 0},
        {"force_parallel_mode", "debug_parallel_query", 16},
        {"ssl_ecdh_curve", "ssl_groups", 18},
    };

    for (size_t i = 0; i < ARRAY_LEN(renamed); i++) {
        if (str_eq_nocase(name, renamed[i].old) && major >= renamed[i].from)
            name = renamed[i].name;
    }
    for (size_t i = 0; i < guc_table_count; i++) {
        const struct guc_row *row = &guc_table[i];
        if (str_eq_nocase(row->name, name) && major >= row->from && (!row->until || major < row->until))
            return row;
    }
    return NULL;
}

static bool in_list(const char *list, const char *value)
{
    size_t len = strlen(value);

    for (const char *at = list;; at++) {
        size_t item = strcspn(at, ",");
        if (item == len && strncasecmp(at, value, len) == 0)
            return true;
        at += item;
        if (!*at)
            return false;
    }
}

static enum guc_verdict check_number(const struct guc_row *row, const char *value, struct buf *ret_value)
{
    double number;

    if (!parse_number(value, row->detail, &number))
        return GUC_BAD;
    if (row->kind == GUC_INT)
        number = rint(number);
    if (number >= row->least && number <= row->greatest)
        return GUC_FINE;

    buf_clear(ret_value);
    buf_printf(ret_value, "%.15g", number < row->least ? row->least : row->greatest);
    return GUC_CORRECTED;
}

static enum guc_verdict check_enum(const struct guc_row *row, const char *value)
{
    bool ignored;

    if (in_list(row->detail, value))
        return GUC_FINE;
    return in_list(row->detail, "on") && guc_parse_bool(value, &ignored) ? GUC_FINE : GUC_BAD;
}

enum guc_verdict guc_check(int major, const char *name, const char *value, struct buf *ret_value)
{
    bool ignored;

    if (strchr(name, '.'))
        return GUC_FINE;
    const struct guc_row *row = row_find(clamp_major(major), name);
    if (!row)
        return major > MAJOR_NEWEST ? GUC_FINE : GUC_UNKNOWN;

    switch (row->kind) {
    case GUC_BOOL:
        return guc_parse_bool(value, &ignored) ? GUC_FINE : GUC_BAD;
    case GUC_INT:
    case GUC_REAL:
        return check_number(row, value, ret_value);
    case GUC_ENUM:
        return check_enum(row, value);
    case GUC_STRING:
        return GUC_FINE;
    }
    UNREACHABLE();
}

bool guc_is_recovery(const char *name)
{
    static const char *const names[] = {
        "archive_cleanup_command",
        "pause_at_recovery_target",
        "primary_conninfo",
        "primary_slot_name",
        "promote_trigger_file",
        "recovery_end_command",
        "recovery_min_apply_delay",
        "recovery_target",
        "recovery_target_action",
        "recovery_target_inclusive",
        "recovery_target_lsn",
        "recovery_target_name",
        "recovery_target_time",
        "recovery_target_timeline",
        "recovery_target_xid",
        "restore_command",
        "standby_mode",
        "trigger_file",
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_eq_nocase(name, names[i]))
            return true;
    }
    return false;
}
