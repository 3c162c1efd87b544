/*
 * Where PostgreSQL's programs are.
 *
 * postgresql.bin_dir if given; else the folder of the version the data directory was made by
 * (Debian: /usr/lib/postgresql/N/bin; RPM: /usr/pgsql-N/bin; source: /usr/local/pgsql/bin), else the newest
 * installed, else PATH. Looking up stats a few folders and starts nothing.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/auto.h"
#include "base/err.h"

struct loop;

enum pg_program {
    PG_POSTGRES,
    PG_INITDB,
    PG_BASEBACKUP,
    PG_REWIND,
    PG_CONTROLDATA,
    PG_WALDUMP,
    PG_PROGRAM_COUNT,
};

struct pg_bin {
    char *dir;                    /* the folder they were found in: that of `postgres` */
    char *path[PG_PROGRAM_COUNT]; /* absolute; NULL: not installed */
    int major;                    /* by the folder's name; 0: it says nothing */
};

struct pg_bin_spec {
    const char *bin_dir;    /* postgresql.bin_dir; NULL */
    const json_t *bin_name; /* postgresql.bin_name: {"pg_rewind": "pg_rewind-custom"}; NULL */
    int data_major;         /* major version of the data directory; 0: unknown or none */
    const char *path_env;   /* PATH; NULL: none */
};

/* Fails when there is no `postgres`; another missing program is NULL in ->path and an error where it is needed. */
MUST_USE bool pg_bin_find(const struct pg_bin_spec *spec, struct pg_bin **ret_bin, struct err *err);
struct pg_bin *pg_bin_copy(const struct pg_bin *bin);
void pg_bin_free(struct pg_bin *b);
AUTO_DEFINE(pg_bin, struct pg_bin, pg_bin_free)

/* The path of a program, or an error that names it and where it was looked for. */
MUST_USE bool pg_bin_need(const struct pg_bin *b, enum pg_program which, const char **ret_path, struct err *err);
const char *pg_program_name(enum pg_program which);

/* "postgres (PostgreSQL) 15.18 (Debian …)" → 150018; "18beta1" → 180000. 0: not a version. */
int pg_version_parse(const char *text);

/* Runs `postgres --version`. version 0: *err says why. Runs once, from the loop. */
typedef void pg_bin_version_fn(int version, const struct err *err, void *arg);
MUST_USE bool pg_bin_version(struct loop *l, const struct pg_bin *bin, pg_bin_version_fn *done, void *arg,
                             struct err *err);
