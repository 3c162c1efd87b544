#include "pg/breach_ask.h"

#include "base/check.h"
#include "base/str.h"

enum column { COL_REASON, COL_TEXT, COL_LEFT_OUT };

/* clang-format off */
/*
 * As PostgreSQL reads the enum (guc_tables.c, synchronous_commit_options): the booleans' other spellings are hidden
 * values of it. remote_write is weaker than its name: written by the standby's kernel, not on its disk.
 */
#define WEAK(value) "lower(" value ") NOT IN ('on', 'true', 'yes', '1', 'remote_apply')"

/*
 * pg_file_settings shows what the files say, whatever a role of ours has set for itself; `applied` leaves out what a
 * later line overrides. The command line is above the files. 16 = BREACH_MAX.
 */
static const char question[] =
    "WITH f AS MATERIALIZED (SELECT lower(name) AS name, setting, sourcefile, sourceline FROM pg_file_settings"
    "   WHERE applied AND lower(name) IN ('synchronous_commit', 'synchronous_standby_names', 'primary_conninfo',"
    "     'primary_slot_name', 'restore_command', 'restart_after_crash', 'recovery_target_timeline',"
    "     'recovery_min_apply_delay', 'promote_trigger_file')),"
    " g AS MATERIALIZED (SELECT name, setting, source, sourcefile, sourceline FROM pg_settings"
    "   WHERE name IN ('synchronous_commit', 'fsync', 'full_page_writes')),"
    " found AS ("
    " SELECT 1 AS rank, 'synchronous_commit' AS reason, format('%s SET %s',"
    "   CASE WHEN s.setrole = 0 AND s.setdatabase = 0 THEN 'ALTER ROLE ALL'"
    "        WHEN s.setrole = 0 THEN format('ALTER DATABASE %I', d.datname)"
    "        WHEN s.setdatabase = 0 THEN format('ALTER ROLE %I', pg_get_userbyid(s.setrole))"
    "        ELSE format('ALTER ROLE %I IN DATABASE %I', pg_get_userbyid(s.setrole), d.datname) END,"
    "   replace(c.setting, '=', ' = ')) AS text"
    "   FROM pg_db_role_setting s CROSS JOIN LATERAL unnest(s.setconfig) AS c(setting)"
    "   LEFT JOIN pg_database d ON d.oid = s.setdatabase"
    "   WHERE NOT pg_is_in_recovery() AND lower(split_part(c.setting, '=', 1)) = 'synchronous_commit'"
    "     AND " WEAK("split_part(c.setting, '=', 2)")
    " UNION ALL SELECT 0, 'synchronous_commit', format('synchronous_commit = %s in %s line %s', setting, sourcefile,"
    "   sourceline) FROM f WHERE name = 'synchronous_commit' AND " WEAK("setting")
    " UNION ALL SELECT 0, 'synchronous_commit', format('synchronous_commit = %s on the %s', setting, source)"
    "   FROM g WHERE name = 'synchronous_commit' AND source IN ('command line', 'environment variable')"
    "     AND " WEAK("setting")
    " UNION ALL SELECT 0, 'durability', format('%s = off%s', name,"
    "   ' in ' || sourcefile || ' line ' || sourceline)"
    "   FROM g WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off'"
    " UNION ALL SELECT 0, CASE name WHEN 'synchronous_standby_names' THEN 'standby_names' ELSE 'override' END,"
    "   format('%s = ''%s'' by ALTER SYSTEM (postgresql.auto.conf line %s)', name, CASE name"
    "     WHEN 'primary_conninfo' THEN '...' ELSE left(setting, 60) END, sourceline)"
    "   FROM f WHERE name <> 'synchronous_commit' AND sourcefile LIKE '%/postgresql.auto.conf')"
    " SELECT reason, text, count(*) OVER () - 16 FROM found ORDER BY rank, reason, text LIMIT 16";
/* clang-format on */

struct sql *breach_ask(struct loop *l, const struct sql_target *target, msec budget_ms, sql_done_fn *done, void *arg)
{
    static const struct sql_statement statement = {.text = question};

    _Static_assert(BREACH_MAX == 16, "the question has it as LIMIT");
    return sql_once(l, target, &statement, 1, budget_ms, done, arg);
}

/* False: a reason of another version's. */
static bool reason_of(const char *text, enum breach_reason *ret_reason)
{
    for (enum breach_reason r = 0; r < BREACH_REASON_COUNT; r++)
        if (str_eq(text, breach_reason_text(r))) {
            *ret_reason = r;
            return true;
        }
    return false;
}

bool breach_read(const struct sql_result *result, struct breaches *b)
{
    const struct sql_rows *rows = &result->rows[0];
    enum breach_reason reason;
    int64_t left_out = 0;

    if (result->status != SQL_DONE)
        return false;
    for (int i = 0; i < rows->row_count; i++) {
        const char *text = sql_cell(rows, i, COL_TEXT);
        bool known = reason_of(sql_cell(rows, i, COL_REASON), &reason);
        CHECK(known); /* our own words */
        breaches_add(b, reason, text ? text : "", 1);
    }
    if (rows->row_count && str_to_int(sql_cell(rows, 0, COL_LEFT_OUT), 1, INT32_MAX, &left_out))
        b->left_out += (size_t)left_out;
    return true;
}
