/*
 * The probe's question and how its answer is read. Pure.
 */
#pragma once

#include "base/err.h"
#include "pg/probe.h"

/*
 * One statement with one parameter: pg_conf_load_time of the last whole answer as text, NULL to look at
 * everything again.
 */
extern const char probe_query[];

/*
 * The one row as facts; asked_ms and answered_ms are the caller's. `last` (may be NULL) lends what this answer
 * did not look at. NULL: not the row we asked for. *ret_conf_load is to be given with the next question (free).
 */
struct pg_facts *probe_read(const struct sql_rows *rows, const struct pg_facts *last, char **ret_conf_load,
                            struct err *err);
