#include "pg/initdb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/str.h"
#include "io/child.h"
#include "io/loop.h"
#include "pg/argv.h"
#include "pg/bin.h"
#include "pg/conffile.h"
#include "pg/datadir.h"
#include "pg/file.h"
#include "pg/incarnation.h"
#include "pg/instance.h"
#include "pg/names.h"
#include "pg/passfile.h"
#include "pg/sql.h"
#include "wire/conf/settings.h"

struct bootstrap_job {
    struct loop *loop;
    struct pg_instance *instance;
    struct child *child;
    struct sql *sql;
    struct loop_timer soon; /* nothing to do: the loop tells it */
    char *fill_path;        /* where initdb writes */
    char *pwfile;
    msec deadline_ms;
    bool telling;
    bootstrap_fn *done;
    void *arg;
};

/* ---- the method ---- */

static const json_t *method_section(const struct pg_instance *i)
{
    const struct settings *s = i->settings;

    if (str_empty(s->bootstrap.method) || str_eq(s->bootstrap.method, "initdb"))
        return NULL;
    return json_object_get(s->bootstrap.methods, s->bootstrap.method);
}

bool bootstrap_is_custom(const struct pg_instance *i)
{
    return !str_empty(json_string_value(json_object_get(method_section(i), "command")));
}

const json_t *bootstrap_recovery_conf(const struct pg_instance *i)
{
    const json_t *conf = json_object_get(method_section(i), "recovery_conf");

    return json_is_object(conf) ? conf : NULL;
}

bool bootstrap_keep_recovery_conf(const struct pg_instance *i)
{
    return json_is_true(json_object_get(method_section(i), "keep_existing_recovery_conf"));
}

/* ---- the job ---- */

static struct bootstrap_job *job_new(struct loop *l, struct pg_instance *i, bootstrap_fn *done, void *arg)
{
    struct bootstrap_job *j = mem_zero(1, sizeof(*j));

    j->loop = l;
    j->instance = pg_instance_ref(i);
    j->done = done;
    j->arg = arg;
    return j;
}

static void pwfile_remove(struct bootstrap_job *j)
{
    if (j->pwfile)
        (void)unlink(j->pwfile); /* gone is gone; a failure leaves a file only we can read */
    str_set(&j->pwfile, NULL);
}

static void job_free(struct bootstrap_job *j)
{
    pwfile_remove(j);
    child_abandon(j->child);
    sql_free(j->sql);
    if (j->soon.loop)
        loop_timer_clear(&j->soon);
    free(j->fill_path);
    pg_instance_unref(j->instance);
    free(j);
}

static void job_end(struct bootstrap_job *j, const struct err *err)
{
    j->telling = true;
    j->done(err, j->arg);
    job_free(j);
}

void bootstrap_cancel(struct bootstrap_job *j)
{
    if (j && !j->telling)
        job_free(j);
}

/* ---- creating ---- */

static bool check_result(const struct pg_instance *i, struct err *err)
{
    AUTO(cstr) char *control = str_fmt("%s/global/pg_control", i->data_dir);
    AUTO(cstr) char *version = str_fmt("%s/PG_VERSION", i->data_dir);

    if (file_exists(control) && file_exists(version))
        return true;
    return err_set(err, ERR_PG, "the bootstrap left no data directory in %s", i->data_dir);
}

/* What a restored backup may bring along that must not act now. */
static bool after_custom(const struct pg_instance *i, struct err *err)
{
    if (!check_result(i, err) || !names_remove(i, err) || !conffile_restore(i, err))
        return false;
    (void)datadir_clear_promote(i->data_dir, NULL); /* the start does it again, and says so if it fails */
    if (bootstrap_recovery_conf(i))
        return datadir_set_recovery_signal(i->data_dir, err);
    return bootstrap_keep_recovery_conf(i) || datadir_clear_signals(i->data_dir, err);
}

static bool after_initdb(const struct bootstrap_job *j, struct err *err)
{
    return datadir_fill_finish(j->instance->data_dir, j->fill_path, err) && check_result(j->instance, err) &&
           conffile_save(j->instance, err);
}

static void created(const struct child_result *result, void *arg)
{
    struct bootstrap_job *j = arg;
    bool custom = bootstrap_is_custom(j->instance);
    struct err err = {0};

    j->child = NULL;
    pwfile_remove(j);
    bool good = child_succeeded(result, custom ? "bootstrap command" : "initdb", &err) &&
                (custom ? after_custom(j->instance, &err) : after_initdb(j, &err)) &&
                incarnation_renew(j->instance->data_dir, j->instance->state_dir, NULL, &err);
    job_end(j, good ? NULL : &err);
}

static bool custom_argv(const struct pg_instance *i, char ***argv, struct err *err)
{
    static const char *const ours[] = {"command", "no_params", "keep_existing_recovery_conf", "recovery_conf", "scope",
                                       "datadir", NULL};
    const json_t *section = method_section(i);

    if (!command_split(json_string_value(json_object_get(section, "command")), argv, err))
        return err_wrap(err, "bootstrap method %s", i->settings->bootstrap.method);
    if (json_is_true(json_object_get(section, "no_params")))
        return true;
    argv_add_fmt(argv, "--scope=%s", i->settings->scope);
    argv_add_fmt(argv, "--datadir=%s", i->data_dir);
    method_options(section, ours, argv);
    return true;
}

static bool write_pwfile(struct bootstrap_job *j, struct err *err)
{
    const char *password = j->instance->settings->postgresql.superuser.password;

    j->pwfile = str_fmt("%s/initdb.pwfile", j->instance->state_dir);
    AUTO(buf) struct buf text = BUF_EMPTY;
    buf_printf(&text, "%s\n", password);
    bool written = file_replace(j->pwfile, buf_cstr(&text), text.len, 0600, err);
    explicit_bzero(text.at, text.len);
    return written;
}

static bool initdb_argv(struct bootstrap_job *j, char ***argv, struct err *err)
{
    static const char *const forbidden[] = {"pgdata", "nosync", "no-sync", "pwfile", "sync-only", "version", NULL};
    const struct settings *s = j->instance->settings;
    const char *program;

    if (!pg_bin_need(j->instance->bin, PG_INITDB, &program, err))
        return false;
    argv_add(argv, program);
    argv_add(argv, "-D");
    argv_add(argv, j->fill_path);
    if (!tool_options("initdb", s->bootstrap.initdb, forbidden, argv, err))
        return err_wrap(err, "bootstrap.initdb");
    if (!str_empty(s->postgresql.superuser.username))
        argv_add_fmt(argv, "--username=%s", s->postgresql.superuser.username);
    if (!str_empty(s->postgresql.superuser.password)) {
        if (!write_pwfile(j, err))
            return false;
        argv_add_fmt(argv, "--pwfile=%s", j->pwfile);
    }
    return true;
}

static bool create_begin(struct bootstrap_job *j, struct err *err)
{
    const struct pg_instance *i = j->instance;
    struct datadir_state state;
    AUTO(argv) char **argv = NULL;

    datadir_look(i->data_dir, i->state_dir, &state, err);
    if (state.kind == DATADIR_UNREADABLE)
        return false;
    if (state.kind != DATADIR_ABSENT && state.kind != DATADIR_EMPTY)
        return err_set(err, ERR_CONFLICT, "%s is not empty (%s)", i->data_dir, datadir_kind_name(state.kind));
    if (!datadir_prepare(i->data_dir, err) || !datadir_mark(i->state_dir, DATADIR_MARK_BOOTSTRAP, err))
        return false;

    j->fill_path = datadir_fill_path(i->data_dir);
    bool ready = bootstrap_is_custom(i) ? custom_argv(i, &argv, err) : initdb_argv(j, &argv, err);
    if (!ready)
        return false;
    struct child_spec spec = {
        .argv = (const char *const *)argv}; /* a restore takes what it takes; bootstrap_cancel ends it */
    return child_start(j->loop, &spec, created, j, &j->child, err);
}

bool bootstrap_create(struct loop *l, struct pg_instance *i, bootstrap_fn *done, void *arg,
                      struct bootstrap_job **ret_job, struct err *err)
{
    struct bootstrap_job *j = job_new(l, i, done, arg);

    if (!create_begin(j, err)) {
        job_free(j);
        return err_wrap(err, "creating the cluster");
    }
    *ret_job = j;
    return true;
}

/* ---- users ---- */

struct statements { /* owned texts, as sql_run wants them */
    struct sql_statement *at;
    int count;
};

static void add_statement(struct statements *list, char *take_text, bool may_fail)
{
    list->at = mem_grow(list->at, (size_t)list->count + 1, sizeof(*list->at));
    list->at[list->count++] = (struct sql_statement){.text = take_text, .may_fail = may_fail};
}

static void statements_deinit(struct statements *list)
{
    for (int i = 0; i < list->count; i++) {
        char *text = (char *)list->at[i].text;
        explicit_bzero(text, strlen(text)); /* verifiers are as good as passwords to some */
        free(text);
    }
    free(list->at);
    *list = (struct statements){0};
}

/* Nothing that follows may reach the server's log, whatever the configuration logs. */
static void add_silence(struct statements *list)
{
    static const struct {
        const char *text;
        bool may_fail; /* of extensions that may not be there */
    } lines[] = {
        {"SET log_statement TO none", false},
        {"SET log_min_duration_statement TO -1", false},
        {"SET log_min_duration_sample TO -1", false},
        {"SET log_transaction_sample_rate TO 0", false},
        {"SET log_min_error_statement TO panic", false},
        {"SET pg_stat_statements.track_utility TO off", true},
        {"SET pgaudit.log TO 'none'", true},
        {"SET auto_explain.log_min_duration TO -1", true},
        {"SET synchronous_commit TO local", false}, /* no standby is there to wait for */
        {"SET client_min_messages TO error", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        add_statement(list, str_dup(lines[i].text), lines[i].may_fail);
}

static bool role_exists(const struct sql_rows *roles, const char *name)
{
    for (int row = 0; row < roles->row_count; row++) {
        if (str_eq(sql_cell(roles, row, 0), name))
            return true;
    }
    return false;
}

/* CREATE or ALTER ROLE; known: made earlier in this list. */
static bool add_role(struct bootstrap_job *j, const struct sql_result *found, const struct pg_user *user,
                     const char *options, bool known, struct statements *list, struct err *err)
{
    const char *algorithm = sql_cell(&found->rows[0], 0, 0);
    AUTO(cstr) char *name = sql_quote_ident(user->username);
    AUTO(buf) struct buf text = BUF_EMPTY;

    bool exists = known || role_exists(&found->rows[1], user->username);
    buf_printf(&text, "%s ROLE %s WITH %sLOGIN", exists ? "ALTER" : "CREATE", name, options);
    if (!str_empty(user->password)) {
        AUTO(cstr) char *stored = sql_encrypt_password(j->sql, user->username, user->password, algorithm, err);
        if (!stored)
            return false;
        AUTO(cstr) char *literal = sql_quote_literal(stored);
        buf_printf(&text, " PASSWORD %s", literal);
    }
    add_statement(list, buf_take(&text), false);
    return true;
}

/* What pg_rewind may call without being superuser (pg_rewind's documentation, "Notes"). */
static void add_rewind_grants(const struct pg_user *rewind, struct statements *list)
{
    static const char *const functions[] = {
        "pg_ls_dir(text, boolean, boolean)",
        "pg_stat_file(text, boolean)",
        "pg_read_binary_file(text)",
        "pg_read_binary_file(text, bigint, bigint, boolean)",
    };
    AUTO(cstr) char *name = sql_quote_ident(rewind->username);

    for (size_t i = 0; i < ARRAY_LEN(functions); i++)
        add_statement(list, str_fmt("GRANT EXECUTE ON FUNCTION pg_catalog.%s TO %s", functions[i], name), false);
}

static bool build_users(struct bootstrap_job *j, const struct sql_result *found, struct statements *list,
                        struct err *err)
{
    const struct settings *s = j->instance->settings;
    const struct pg_user *super = &s->postgresql.superuser;
    const struct pg_user *replication = &s->postgresql.replication;
    const struct pg_user *rewind = &s->postgresql.rewind;
    bool has_replication = !str_empty(replication->username);
    bool same = has_replication && str_eq(replication->username, super->username);

    add_silence(list);
    if (!str_empty(super->username) && !str_empty(super->password) &&
        !add_role(j, found, super, "SUPERUSER ", false, list, err))
        return false;
    if (has_replication &&
        !add_role(j, found, replication, "REPLICATION ", same && !str_empty(super->password), list, err))
        return false;
    if (str_empty(rewind->username) || str_eq(rewind->username, super->username))
        return true;
    if (!add_role(j, found, rewind, "", has_replication && str_eq(rewind->username, replication->username), list, err))
        return false;
    add_rewind_grants(rewind, list);
    return true;
}

static void users_made(const struct sql_result *result, void *arg)
{
    struct bootstrap_job *j = arg;
    struct err err = result->err;

    if (result->status != SQL_DONE)
        (void)err_wrap(&err, "creating users");
    job_end(j, result->status == SQL_DONE ? NULL : &err);
}

static void users_known(const struct sql_result *result, void *arg)
{
    struct bootstrap_job *j = arg;
    struct statements list = {0};
    struct err err = result->err;
    msec left_ms = j->deadline_ms - loop_clock_ms();

    bool good = result->status == SQL_DONE;
    if (good && left_ms <= 0)
        good = err_set(&err, ERR_TIMEOUT, "no time left");
    good = good && build_users(j, result, &list, &err);
    if (good) {
        sql_run(j->sql, list.at, list.count, left_ms, users_made, j);
    } else {
        (void)err_wrap(&err, "creating users");
        job_end(j, &err);
    }
    statements_deinit(&list);
}

bool bootstrap_users(struct loop *l, struct pg_instance *i, msec budget_ms, bootstrap_fn *done, void *arg,
                     struct bootstrap_job **ret_job, struct err *err)
{
    static const struct sql_statement questions[] = {
        {.text = "SELECT CASE current_setting('password_encryption') WHEN 'md5' THEN 'md5' ELSE 'scram-sha-256' END"},
        {.text = "SELECT rolname FROM pg_catalog.pg_authid"},
    };
    struct sql_target target = pg_instance_local(i, NULL);
    struct bootstrap_job *j = job_new(l, i, done, arg);

    (void)err; /* whatever fails, fails in the server and is told by the callback */
    j->deadline_ms = loop_clock_ms() + budget_ms;
    j->sql = sql_new(l, &target);
    sql_run(j->sql, questions, (int)ARRAY_LEN(questions), budget_ms, users_known, j);
    *ret_job = j;
    return true;
}

/* ---- post_bootstrap ---- */

static void script_done(const struct child_result *result, void *arg)
{
    struct bootstrap_job *j = arg;
    struct err err = {0};

    j->child = NULL;
    bool good = child_succeeded(result, "post_bootstrap", &err);
    job_end(j, good ? NULL : &err);
}

static void nothing_to_do(void *arg)
{
    job_end(arg, NULL);
}

static bool script_begin(struct bootstrap_job *j, struct err *err)
{
    const struct pg_instance *i = j->instance;
    struct conninfo_spec conninfo = {
        .user = &i->settings->postgresql.superuser,
        .host = i->local_host,
        .port = i->local_port,
        .dbname = "postgres",
        .major = i->major,
    };
    AUTO(cstr) char *url = conninfo_text(&conninfo);
    AUTO(cstr) char *passfile = str_fmt("PGPASSFILE=%s", i->passfile);
    const char *env[] = {passfile, "PGOPTIONS=-c synchronous_commit=local", NULL};
    AUTO(argv) char **argv = NULL;

    if (!passfile_write(i, NULL, err) || !command_split(i->settings->bootstrap.post_bootstrap, &argv, err))
        return false;
    argv_add(&argv, url);
    struct child_spec spec = {.argv = (const char *const *)argv, .env = env}; /* no budget: bootstrap_cancel ends it */
    return child_start(j->loop, &spec, script_done, j, &j->child, err);
}

bool bootstrap_script(struct loop *l, struct pg_instance *i, bootstrap_fn *done, void *arg,
                      struct bootstrap_job **ret_job, struct err *err)
{
    struct bootstrap_job *j = job_new(l, i, done, arg);

    if (str_empty(i->settings->bootstrap.post_bootstrap)) {
        loop_timer_init(&j->soon, l, nothing_to_do, j);
        loop_timer_set(&j->soon, loop_clock_ms());
    } else if (!script_begin(j, err)) {
        job_free(j);
        return err_wrap(err, "post_bootstrap");
    }
    *ret_job = j;
    return true;
}
