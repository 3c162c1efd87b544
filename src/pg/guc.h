/*
 * Which parameters a PostgreSQL version knows, and what values they take. Pure.
 *
 * One wrong name or value in postgresql.conf keeps a server from starting, at the worst moment: after a
 * crash or a failover. So what the version cannot know is left out, and numbers out of range are moved to the
 * nearest bound (Patroni: postgresql/validator.py), with a finding. Names with a dot belong to
 * extensions and pass. Source of the table: pg_settings of 14 to 18; test_live_server compares with the server.
 */
#pragma once

#include <stdbool.h>

#include "base/auto.h"

struct buf;

enum guc_verdict {
    GUC_FINE,      /* write it as it is */
    GUC_CORRECTED, /* *ret_value holds what to write instead */
    GUC_UNKNOWN,   /* this version has no such parameter */
    GUC_BAD,       /* the value is none for this parameter */
};

/* major 14..18 (later ones are checked as 18 and unknown names pass). Names compare without case. */
enum guc_verdict guc_check(int major, const char *name, const char *value, struct buf *ret_value);

/* PostgreSQL's spelling of booleans: on, off, true, false, yes, no, 1, 0 and unique prefixes. */
bool guc_parse_bool(const char *text, bool *ret_value);
/*
 * "128MB" in `unit` ("kB", "8kB", "MB", "B", "ms", "s", "min"; NULL: none), rounded. false: not a number of
 * that kind.
 */
bool guc_parse_int(const char *text, const char *unit, long long *ret_value);
/* recovery_target*, primary_conninfo, …: what belonged to recovery.conf before version 12. */
bool guc_is_recovery(const char *name);
