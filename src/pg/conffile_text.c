/* The text of postgresql.conf and the postmaster's arguments. Pure. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/str.h"
#include "pg/argv.h"
#include "pg/bin.h"
#include "pg/conffile.h"
#include "pg/control.h"
#include "pg/guc.h"
#include "pg/initdb.h"
#include "pg/instance.h"
#include "pg/names.h"
#include "wire/conf/dynamic.h"

/* A list of parameters, sorted by name without regard to case. */
struct param {
    char *name, *value;
};

struct params {
    struct param *at;
    size_t count;
};

static void params_deinit(struct params *p)
{
    for (size_t i = 0; i < p->count; i++) {
        free(p->at[i].name);
        free(p->at[i].value);
    }
    free(p->at);
}

static inline void params_freep(struct params *p)
{
    params_deinit(p);
}

/* Replaces an older value; a NULL value removes. */
static void params_set(struct params *p, const char *name, const char *value)
{
    size_t at = 0;

    while (at < p->count && strcasecmp(p->at[at].name, name) < 0)
        at++;
    bool found = at < p->count && strcasecmp(p->at[at].name, name) == 0;
    if (found && value) {
        str_set(&p->at[at].value, value);
    } else if (found) {
        free(p->at[at].name);
        free(p->at[at].value);
        memmove(&p->at[at], &p->at[at + 1], (p->count - at - 1) * sizeof(*p->at));
        p->count--;
    } else if (value) {
        p->at = mem_grow(p->at, p->count + 1, sizeof(*p->at));
        memmove(&p->at[at + 1], &p->at[at], (p->count - at) * sizeof(*p->at));
        p->at[at] = (struct param){.name = str_dup(name), .value = str_dup(value)};
        p->count++;
    }
}

static const char *params_get(const struct params *p, const char *name)
{
    for (size_t i = 0; i < p->count; i++) {
        if (str_eq_nocase(p->at[i].name, name))
            return p->at[i].value;
    }
    return NULL;
}

/* A JSON scalar as a parameter's value; NULL: null, a list or an object, which no parameter is. free() it. */
static char *value_text(const json_t *value)
{
    if (json_is_string(value))
        return str_dup(json_string_value(value));
    if (json_is_integer(value))
        return str_fmt("%" JSON_INTEGER_FORMAT, json_integer_value(value));
    if (json_is_real(value))
        return str_fmt("%.15g", json_real_value(value));
    if (json_is_boolean(value))
        return str_dup(json_is_true(value) ? "on" : "off");
    return NULL;
}

/* What this version does not know is left out, what is out of range is moved; either is told. */
static void add_checked(struct params *p, int major, const char *name, const char *value, struct findings *findings)
{
    AUTO(buf) struct buf corrected = BUF_EMPTY;

    switch (guc_check(major, name, value, &corrected)) {
    case GUC_FINE:
        params_set(p, name, value);
        return;
    case GUC_CORRECTED:
        findings_add(findings, FINDING_WARNING, "postgresql.parameters.%s: %s is out of range, %s is used", name, value,
                     buf_cstr(&corrected));
        params_set(p, name, buf_cstr(&corrected));
        return;
    case GUC_UNKNOWN:
        findings_add(findings, FINDING_WARNING,
                     "postgresql.parameters.%s: PostgreSQL %d has no such parameter (or it "
                     "cannot be set in a file), left out",
                     name, major);
        return;
    case GUC_BAD:
        findings_add(findings, FINDING_WARNING, "postgresql.parameters.%s: \"%s\" is not a value for it, left out",
                     name, value);
        return;
    }
    UNREACHABLE();
}

/*
 * What quorum mode wants where nobody asked for something else: before the include, so that whatever the operator has
 * says more.
 */
static void add_quorum_defaults(struct buf *text, int major, const struct params *p)
{
    static const struct {
        const char *name, *value;
        int since; /* version; 0: all */
    } wanted[] = {
        /* A standby loses its stream as its upstream is promoted. It is waited for: 5 s, the default, are too long. */
        {"wal_retrieve_retry_interval", "100ms", 0},
        /* A postmaster that starts over by itself opens with what nobody acknowledged yet, and nobody is asked. */
        {"restart_after_crash", "off", 0},
        /* Who waits for a list that was loaded is released by the next reply of a standby; by default in 10 s. */
        {"wal_receiver_status_interval", "1s", 0},
        /* What it writes is read after all files of ours: the list of names among it. */
        {"allow_alter_system", "off", 17},
    };

    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        if (major >= wanted[i].since && !params_get(p, wanted[i].name))
            buf_printf(text, "%s = '%s'\n", wanted[i].name, wanted[i].value);
}

/* Everything but recovery parameters and the files' own places. */
static void collect_plain(const struct conf_input *in, struct params *p, struct findings *findings)
{
    const char *name;
    json_t *json;

    json_object_foreach(in->instance->dynamic->parameters, name, json)
    {
        AUTO(cstr) char *value = value_text(json);
        bool placed = str_eq_nocase(name, "hba_file") || str_eq_nocase(name, "ident_file");
        if (value && !placed && !guc_is_recovery(name))
            add_checked(p, in->instance->major, name, value, findings);
    }
    if (in->synchronous_standby_names)
        params_set(p, "synchronous_standby_names", in->synchronous_standby_names);
    if (in->names_floor)
        params_set(p, "synchronous_standby_names", in->names_floor);
    if (in->hot_standby_feedback)
        params_set(p, "hot_standby_feedback", "on");
}

/* Names that belong to the time before version 12, or to nobody's configuration but ours. */
static bool is_ours_or_gone(const char *name)
{
    static const char *const names[] = {"standby_mode", "trigger_file", "pause_at_recovery_target", "primary_conninfo",
                                        "primary_slot_name"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_eq_nocase(name, names[i]))
            return true;
    }
    return strncasecmp(name, "recovery_target", strlen("recovery_target")) == 0;
}

static void add_recovery(const struct conf_input *in, const json_t *object, bool all, struct params *p,
                         struct findings *findings)
{
    const char *name;
    json_t *json;

    json_object_foreach((json_t *)object, name, json)
    {
        AUTO(cstr) char *value = value_text(json);
        if (value && guc_is_recovery(name) && (all || !is_ours_or_gone(name)))
            add_checked(p, in->instance->major, name, value, findings);
    }
}

static bool is_custom_bootstrap(const struct conf_input *in)
{
    return in->role == CONF_BOOTSTRAP && bootstrap_is_custom(in->instance);
}

/* The method's own recovery_conf decides how far a restored backup is recovered. */
static void collect_method_recovery(const struct conf_input *in, struct params *p, struct findings *findings)
{
    const json_t *conf = bootstrap_recovery_conf(in->instance);
    const json_t *pause = json_object_get(conf, "pause_at_recovery_target");

    add_recovery(in, conf, true, p, findings);
    if (pause && !params_get(p, "recovery_target_action")) { /* its name until version 9.5 */
        bool on = json_is_true(pause);
        if (json_is_string(pause) && !guc_parse_bool(json_string_value(pause), &on))
            on = true;
        params_set(p, "recovery_target_action", on ? "pause" : "promote");
    }
    params_set(p, "pause_at_recovery_target", NULL);
    params_set(p, "standby_mode", NULL);
}

static void collect_usual_recovery(const struct conf_input *in, struct params *p, struct findings *findings)
{
    /* Set in an included file one of these would stop, pause or promote a standby. */
    static const char *const targets[] = {"recovery_target", "recovery_target_name", "recovery_target_time",
                                          "recovery_target_xid", "recovery_target_lsn"};

    add_recovery(in, in->instance->dynamic->parameters, false, p, findings);
    add_recovery(in, in->instance->dynamic->recovery_conf, false, p, findings);
    for (size_t i = 0; i < ARRAY_LEN(targets); i++)
        params_set(p, targets[i], "");
    params_set(p, "recovery_target_timeline", "latest");
    params_set(p, "primary_conninfo", in->primary_conninfo ? in->primary_conninfo : "");
    params_set(p, "primary_slot_name", in->primary_slot_name ? in->primary_slot_name : "");
}

static void collect_recovery(const struct conf_input *in, struct params *p, struct findings *findings)
{
    if (is_custom_bootstrap(in) && bootstrap_recovery_conf(in->instance))
        collect_method_recovery(in, p, findings);
    else if (!is_custom_bootstrap(in) || !bootstrap_keep_recovery_conf(in->instance))
        collect_usual_recovery(in, p, findings);
    if (!in->frozen)
        return;
    params_set(p, "primary_conninfo", "");
    params_set(p, "primary_slot_name", "");
    params_set(p, "restore_command", ""); /* an archive may hold what the old primary wrote since */
}

char *conffile_quote(const char *value)
{
    AUTO(buf) struct buf text = BUF_EMPTY;

    buf_add_char(&text, '\'');
    for (const char *c = value; *c; c++) {
        if (*c == '\n') { /* the file's grammar has no line break in a string (PostgreSQL: guc-file.l) */
            buf_add_str(&text, "\\n");
            continue;
        }
        if (*c == '\'' || *c == '\\')
            buf_add_char(&text, *c);
        buf_add_char(&text, *c);
    }
    buf_add_char(&text, '\'');
    return buf_take(&text);
}

static void add_line(struct buf *text, const char *name, const char *value)
{
    AUTO(cstr) char *quoted = conffile_quote(value);

    buf_printf(text, "%s = %s\n", name, quoted);
}

static const char *include_of(const struct pg_instance *i)
{
    if (!str_empty(i->dynamic->custom_conf))
        return i->dynamic->custom_conf;
    return strrchr(i->base_config_file, '/') + 1;
}

char *conffile_config_text(const struct conf_input *in, struct findings *findings)
{
    const struct pg_instance *i = in->instance;
    AUTO(params) struct params plain = {0};
    AUTO(params) struct params recovery = {0};
    AUTO(buf) struct buf text = BUF_EMPTY;
    AUTO(cstr) char *include = conffile_quote(include_of(i));

    collect_plain(in, &plain, findings);
    collect_recovery(in, &recovery, findings);
    buf_add_str(&text, CONFFILE_HEADER);
    if (in->names_floor)
        add_quorum_defaults(&text, i->major, &plain);
    buf_printf(&text, "include %s\n\n", include);
    for (size_t n = 0; n < plain.count; n++)
        add_line(&text, plain.at[n].name, plain.at[n].value);

    /* Until the passwords are set pg_hba must be the one we write. */
    AUTO(cstr) char *own_hba = str_fmt("%s/pg_hba.conf", i->config_dir);
    add_line(&text, "hba_file", is_custom_bootstrap(in) ? own_hba : i->hba_file);
    add_line(&text, "ident_file", i->ident_file);

    if (recovery.count)
        buf_add_str(&text, "\n# recovery.conf\n");
    for (size_t n = 0; n < recovery.count; n++)
        add_line(&text, recovery.at[n].name, recovery.at[n].value);
    if (in->names_floor) /* the last line: what it includes wins */
        buf_add_str(&text, "\ninclude_if_exists '" NAMES_FILE "'\n");
    return buf_take(&text);
}

/* ---- the postmaster's arguments ---- */

/* On the command line, so that no ALTER SYSTEM can change them (Patroni: CMDLINE_OPTIONS). */
static const char *const cmdline_names[] = {
    "listen_addresses",
    "port",
    "cluster_name",
    "wal_level",
    "hot_standby",
    "max_connections",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
    "track_commit_timestamp",
    "max_replication_slots",
    "max_worker_processes",
    "wal_log_hints",
};

/* What pg_control says of a shared parameter; false: nothing. */
static bool floor_of(const struct conf_input *in, const char *name, long long *ret_floor)
{
    const struct pg_control *c = in->control;

    if (!c || in->role == CONF_PRIMARY)
        return false;
    if (str_eq(name, "max_connections"))
        *ret_floor = c->max_connections;
    else if (str_eq(name, "max_worker_processes"))
        *ret_floor = c->max_worker_processes;
    else if (str_eq(name, "max_wal_senders"))
        *ret_floor = c->max_wal_senders;
    else if (str_eq(name, "max_prepared_transactions"))
        *ret_floor = c->max_prepared_xacts;
    else if (str_eq(name, "max_locks_per_transaction"))
        *ret_floor = c->max_locks_per_xact;
    else
        return false;
    return true;
}

void conffile_raise(const struct conf_input *in, struct conf_result *result)
{
    result->raised_count = 0;
    for (size_t n = 0; n < ARRAY_LEN(cmdline_names); n++) {
        const char *name = cmdline_names[n];
        const char *text = dynamic_shared_parameter(in->instance->dynamic, name);
        long long configured;
        long long least;
        if (!text || !floor_of(in, name, &least) || !guc_parse_int(text, NULL, &configured) || configured >= least)
            continue;
        CHECK(result->raised_count < ARRAY_LEN(result->raised));
        result->raised[result->raised_count++] =
            (struct conf_raised){.name = name, .configured = configured, .used = least};
    }
}

/*
 * A restored cluster may meet, in its WAL, larger values of the shared parameters than pg_control knows of; as a
 * hot standby it would pause there for ever. Where it promotes by itself nobody needs it to be one.
 */
static bool wants_cold_recovery(const struct conf_input *in)
{
    if (!is_custom_bootstrap(in))
        return false;
    if (bootstrap_keep_recovery_conf(in->instance))
        return true;

    AUTO(params) struct params recovery = {0};
    struct findings ignored = {0};
    collect_recovery(in, &recovery, &ignored);
    findings_deinit(&ignored);
    return str_eq_nocase(params_get(&recovery, "recovery_target_action"), "promote");
}

static void add_argument(const struct conf_input *in, const struct conf_result *raised, const struct params *plain,
                         const char *name, char ***argv)
{
    const char *value = params_get(plain, name);

    for (size_t r = 0; r < raised->raised_count; r++) {
        if (str_eq(raised->raised[r].name, name)) {
            argv_add_fmt(argv, "--%s=%lld", name, raised->raised[r].used);
            return;
        }
    }
    if (str_eq(name, "hot_standby") && wants_cold_recovery(in))
        value = "off";
    if (value)
        argv_add_fmt(argv, "--%s=%s", name, value);
}

bool conffile_postmaster_args(const struct conf_input *in, char ***ret_argv, struct findings *findings, struct err *err)
{
    AUTO(params) struct params plain = {0};
    AUTO(argv) char **argv = NULL;
    struct conf_result raised = {0};
    const char *program;

    if (!pg_bin_need(in->instance->bin, PG_POSTGRES, &program, err))
        return false;

    collect_plain(in, &plain, findings);
    conffile_raise(in, &raised);
    argv_add(&argv, program);
    argv_add(&argv, "-D");
    argv_add(&argv, in->instance->data_dir);
    argv_add_fmt(&argv, "--config-file=%s", in->instance->config_file);
    for (size_t n = 0; n < ARRAY_LEN(cmdline_names); n++)
        add_argument(in, &raised, &plain, cmdline_names[n], &argv);
    *ret_argv = TAKE(argv);
    return true;
}

void conffile_args_free(char **argv)
{
    argv_free(argv);
}

/* ---- postgresql.auto.conf ---- */

char *conffile_sanitize_auto(const char *text, bool names_too)
{
    AUTO(buf) struct buf kept = BUF_EMPTY;
    bool dropped = false;

    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\n");
        len += line[len] == '\n';
        const char *name = line + strspn(line, " \t");
        size_t name_len = strcspn(name, " \t=\n");
        AUTO(cstr) char *word = str_fmt("%.*s", (int)name_len, name);
        if (guc_is_recovery(word) || (names_too && str_eq_nocase(word, "synchronous_standby_names")))
            dropped = true;
        else
            buf_add(&kept, line, len);
        line += len;
    }
    return dropped ? buf_take(&kept) : NULL;
}
