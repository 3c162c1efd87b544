/*
 * One PostgreSQL instance as we are told about it: settings, programs, paths, ways to connect.
 *
 * A snapshot, ref-counted: jobs hold a reference, so a reload in the middle of a clone changes nothing
 * under its feet. The agent makes a new one after each change of the settings, of the dynamic
 * configuration or of the server's version (initdb and clone decide the version).
 */
#pragma once

#include <stdbool.h>

#include "base/auto.h"
#include "base/err.h"

struct settings;
struct dynamic;
struct pg_bin;
struct sql_target;
struct pg_user;

struct pg_instance {
    unsigned int refs;
    struct settings *settings;
    struct dynamic *dynamic;
    struct pg_bin *bin;
    int major; /* of the data directory, else of the programs */

    /* Paths, absolute. */
    char *data_dir;
    char *
        /* postgresql.conf and pg_hba.conf live here; data_dir unless configured (Debian: /etc/postgresql/N/main) */
        config_dir;
    char *state_dir;             /* ours, outside the data directory: markers, passfile, postmaster log */
    char *passfile;              /* postgresql.pgpass, else <state_dir>/pgpass */
    char *log_path;              /* <state_dir>/postmaster.log: what the postmaster says before its own logging runs */
    char *config_file;           /* <config_dir>/postgresql.conf, written by us */
    char *base_config_file;      /* <config_dir>/postgresql.base.conf, the original */
    char *hba_file, *ident_file; /* the ones in force; hba_owned says whether they are ours to write */
    bool hba_owned, ident_owned;

    /* Where the server listens, for ourselves. */
    char *local_host; /* directory of the Unix socket, or host name; NULL: libpq's default socket directory */
    char *local_addr; /* numeric address when local_host is a TCP name; NULL for sockets */
    char *local_repl_host, *local_repl_addr; /* the same for replication connections (use_unix_socket_repl) */
    int local_port;
};

/*
 * Takes references on settings and dynamic, takes over *take_bin. Creates state_dir (0700) if it is
 * absent. Fails when a folder cannot be made or a configured path is unusable.
 */
MUST_USE bool pg_instance_new(struct settings *settings, struct dynamic *dynamic, struct pg_bin *take_bin,
                              struct pg_instance **ret_instance, struct err *err);
struct pg_instance *pg_instance_ref(struct pg_instance *i);
void pg_instance_unref(struct pg_instance *i);
AUTO_DEFINE(pg_instance, struct pg_instance, pg_instance_unref)

/* How we connect to our own server as superuser: dbname "postgres" unless given. Points into *i. */
struct sql_target pg_instance_local(const struct pg_instance *i, const char *dbname);
/* Our own server, replication protocol, as the replication user. Points into *i. */
struct sql_target pg_instance_local_replication(const struct pg_instance *i);
/* Another member's server; user is one of settings->postgresql.{superuser,replication,rewind}. host is borrowed. */
struct sql_target pg_instance_remote(const struct pg_instance *i, const struct pg_user *user, const char *host,
                                     int port, bool replication);

/* Whom pg_rewind and its checks connect as: the rewind user if configured, else the superuser. */
const struct pg_user *pg_instance_rewind_user(const struct pg_instance *i);
