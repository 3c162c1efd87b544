/*
 * Configuration of a running node: local file, dynamic configuration, PostgreSQL's files.
 *
 * Reload means: read everything anew, check it, and swap only if it is sound; an unsound file leaves
 * the old one in force and says so. The dynamic configuration is applied as soon as the watch shows it.
 */
#pragma once

#include "app/agent/state.h"
#include "base/err.h"
#include "pg/conffile.h"

/* Reads the local configuration; logs every finding. NULL: it has errors (all of them are logged). */
struct settings *config_read_local(const char *path);
/* Log level, format, destination of the settings. */
void config_apply_log(const struct settings *s);

/* Once, when all parts stand: HTTP client, timings, instance. */
void config_start(struct agent *a);
/* SIGHUP, POST /reload. False: the file is unsound, the old one stays. */
bool config_reload(struct agent *a);
/* The store's config key changed (or is there for the first time): take it. */
void config_take_dynamic(struct agent *a);
/*
 * What to write as `config` when the store has none: what is in force, else its copy on disk, else
 * bootstrap.dcs. New reference.
 */
json_t *config_seed(struct agent *a);
/* Look for PostgreSQL's programs and make the instance; again after initdb and clone (the version may differ). */
bool config_make_instance(struct agent *a);

/* What PostgreSQL's files say for this role and upstream; strings live in *hold. */
struct config_hold {
    char *conninfo, *slot;
    struct conf_member *members;
};
void config_hold_deinit(struct config_hold *hold);
struct conf_input config_input(struct agent *a, enum conf_role role, const char *upstream, struct config_hold *hold);

/* Its member key, which goes with its lease, is there and names one: without it files for a standby of it detach us. */
bool config_knows_address(const struct agent *a, const char *member);

/* Write the files for the role we are in and reload the server if they changed. */
bool config_apply(struct agent *a, enum conf_role role, const char *upstream, struct err *err);
