/*
 * postgresql.conf, pg_hba.conf and pg_ident.conf, by Patroni's scheme.
 *
 * The original postgresql.conf is renamed postgresql.base.conf once; ours includes it (or custom_conf) and
 * then sets postgresql.parameters and the recovery parameters. Files are replaced atomically and only
 * when their text changes. The parameters that decide whether a standby can start (max_connections, …)
 * and those an operator must not change by ALTER SYSTEM are also passed on the command line:
 * that argument list changes only with a restart.
 * Owned settings are written explicitly, never expressed by leaving a line out (ha-corrections A9).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/auto.h"
#include "base/err.h"
#include "wire/conf/settings.h"

struct pg_instance;
struct pg_control;

enum conf_role {
    CONF_PRIMARY,  /* recovery parameters as for a standby without upstream; no signal file belongs to it */
    CONF_STANDBY,
    CONF_BOOTSTRAP, /* first start after a custom bootstrap method: see conf_input.bootstrap_recovery */
};

struct conf_member { /* for the replication lines of pg_hba when none are configured */
    const char *name;
    const char *host; /* of its conn_url: name or address */
};

struct conf_input {
    const struct pg_instance *instance;
    enum conf_role role;
    const char *primary_conninfo;  /* NULL: written as '' */
    const char *primary_slot_name; /* NULL: written as '' */
    const struct pg_control *control; /* standby: floors for the shared parameters; NULL: unknown, no floor */
    const char *synchronous_standby_names; /* NULL: what the user set, if anything (async mode) */
    bool hot_standby_feedback;     /* force it on (permanent logical slots) */
    const struct conf_member *members;
    size_t member_count;
    /*
     * BOOTSTRAP: recovery_conf of the method (parameters to write; a recovery.signal is the caller's), NULL to
     * leave alone what the method left behind (keep_existing_recovery_conf, or nothing).
     */
    const json_t *bootstrap_recovery;
    bool bootstrap_keep_recovery;
    bool bootstrap_trust; /* hba: trust the local superuser and replication until passwords are set */
};

struct conf_raised { /* a standby's shared parameter that starts at pg_control's value, above the configured one */
    const char *name;
    long long configured, used;
};

struct conf_result {
    bool config_changed, hba_changed, ident_changed;
    struct conf_raised raised[8];
    size_t raised_count; /* > 0: the member has a pending restart */
    bool connection_changed; /* primary_conninfo or primary_slot_name differs from what was on disk */
};

/*
 * Write all files of ours. Findings: parameters dropped because this version does not know them, values
 * out of range and corrected. The caller reloads the server when something changed. On false some
 * files may be new already; the next call completes them.
 */
MUST_USE bool conffile_write(const struct conf_input *in, struct conf_result *ret_result, struct findings *findings,
                             struct err *err);

/*
 * The postmaster's argument list: absolute path of postgres, -D, --config-file, -c name=value …, NULL at the end.
 * Free with conffile_args_free. Pure but for pg_bin_need.
 */
MUST_USE bool conffile_postmaster_args(const struct conf_input *in, char ***ret_argv, struct findings *findings,
                                       struct err *err);
void conffile_args_free(char **argv);

/*
 * After initdb, clone or restore: copies of the configuration files as <name>.backup beside them, because a clone of
 * ours by others (or pg_rewind) may lack files that are symlinks or outside; and the way back for missing ones.
 */
MUST_USE bool conffile_save(const struct pg_instance *i, struct err *err);
MUST_USE bool conffile_restore(const struct pg_instance *i, struct err *err);

/* Pure parts, for the tests and for `pgkeep config`. */
char *conffile_quote(const char *value); /* 'it''s' with backslashes doubled; free() it */
/* The text of each file; free() it. hba/ident: NULL when the file is not ours to write. */
char *conffile_config_text(const struct conf_input *in, struct conf_result *result, struct findings *findings);
char *conffile_hba_text(const struct conf_input *in);
char *conffile_ident_text(const struct conf_input *in);
/* Remove recovery parameters from the text of postgresql.auto.conf; NULL: nothing to remove. free() it. */
char *conffile_sanitize_auto(const char *text);
