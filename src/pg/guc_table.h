/*
 * One row a parameter and range of versions; see guc.h. Sorted by name.
 */
#pragma once

#include <stddef.h>

enum guc_kind { GUC_BOOL, GUC_INT, GUC_REAL, GUC_ENUM, GUC_STRING };

struct guc_row {
    const char *name;
    enum guc_kind kind;
    int from, until;        /* major versions: from <= major < until; until 0: still there */
    double least, greatest; /* GUC_INT, GUC_REAL; in `unit` */
    const char *detail;     /* numbers: unit or NULL; enums: allowed values, comma separated */
};

extern const struct guc_row guc_table[];
extern const size_t guc_table_count;
