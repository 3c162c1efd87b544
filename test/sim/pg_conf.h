/*
 * PostgreSQL's configuration: what the files say, and what each process has made of it.
 *
 * The files are texts on the host's disk: postgresql.conf, what it includes where it includes it, and then
 * postgresql.auto.conf; the last one that sets a parameter wins, and one that nothing sets has its default. Every
 * process reads them for itself, when SIGHUP reaches it, and holds what it read until the next time; a new one
 * inherits what the postmaster holds. A reading that finds a syntax error or an unknown parameter changes nothing at
 * all; one that finds a bad value keeps the old one of that parameter, and counts as a reload all the same
 * (guc-file.l, ProcessConfigFileInternal).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "test/sim/world.h"

struct pg;
struct sync_list;

enum { NOBODY = -1 }; /* no host */

#define PG_SETTINGS(X)                                     \
    X(SYNC_NAMES, "synchronous_standby_names", "")         \
    X(CONNINFO, "primary_conninfo", "")                    \
    X(SLOT_NAME, "primary_slot_name", "")                  \
    X(RESTORE_COMMAND, "restore_command", "")              \
    X(ARCHIVE_COMMAND, "archive_command", "")              \
    X(RESTART_AFTER_CRASH, "restart_after_crash", "on")    \
    X(RETRIEVE_RETRY, "wal_retrieve_retry_interval", "5s") \
    X(RECEIVER_STATUS, "wal_receiver_status_interval", "10s")

enum pg_setting {
#define X(id, name, value) PG_##id,
    PG_SETTINGS(X)
#undef X
        PG_SETTING_COUNT
};

const char *pg_setting_name(enum pg_setting s);

struct pg_conf { /* never changes; the world keeps it */
    struct {
        const char *text;
        const char *file; /* pg_settings.sourcefile, NULL: the default */
    } at[PG_SETTING_COUNT];
    const struct sync_list *names; /* NULL: none */
    int upstream;                  /* a host; NOBODY */
    const char *application_name;  /* of a walreceiver */
    bool restart_after_crash;
    usec retrieve_retry, receiver_status;
    usec user_timeout; /* tcp_user_timeout of primary_conninfo; 0: the kernel's patience */
};

struct pg_loaded { /* by one process */
    const struct pg_conf *conf;
    usec at;            /* pg_conf_load_time() … */
    int64_t at_wall_us; /* … as its host's clock showed it */
};

/* As a process does on SIGHUP. false: refused as a whole, nothing has changed. */
bool pg_conf_load(struct pg *p, struct pg_loaded *loaded);
/* As a new postmaster does. false: FATAL. */
bool pg_conf_load_first(struct pg *p, struct pg_loaded *loaded);
/* Rows of pg_file_settings with an error: what the files say now, whoever has loaded what. */
int pg_conf_errors(struct pg *p);

/* Of the data directory, in its host's disk; free() it. */
char *pg_path(const struct pg *p, const char *file);
/* One file of the data directory is replaced. false: the disk does not let us. */
bool pg_conf_write(struct pg *p, const char *file, const char *text);
/* The text without the lines of that parameter; free() it. */
char *pg_conf_without(const char *text, enum pg_setting s);
/*
 * ALTER SYSTEM SET, in its three steps over the whole of postgresql.auto.conf: read, edit, rename. Whoever replaces the
 * file between the first and the last is undone. value NULL: RESET. takes: between the first and the last.
 */
void pg_alter_system(struct pg *p, enum pg_setting s, const char *value, usec takes);
