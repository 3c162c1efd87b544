#include "pg/clone.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "io/child.h"
#include "io/loop.h"
#include "pg/argv.h"
#include "pg/bin.h"
#include "pg/conffile.h"
#include "pg/control.h"
#include "pg/datadir.h"
#include "pg/incarnation.h"
#include "pg/instance.h"
#include "pg/names.h"
#include "pg/passfile.h"
#include "pg/sql.h"
#include "pg/tool.h"
#include "wire/conf/dynamic.h"
#include "wire/conf/settings.h"

enum {
    TRIES_MAX = 2,        /* of the built-in method, as Patroni */
    RETRY_WAIT_MS = 5000, /* a slot or pg_hba line may be on its way */
    SOURCE_CHECK_MS = 10000,
    CONTROL_MS = 30000, /* a disk that has just been filled may be slow */
};

struct clone_job {
    struct loop *loop;
    struct pg_instance *instance;
    char *source_name, *host, *slot, *system_identifier;
    int port;
    char *primary_conninfo, *primary_slot_name;
    void (*progress)(const struct clone_progress *p, void *arg);
    clone_fn *done;
    void *arg;

    json_t *methods; /* list of names */
    size_t method_i;
    int attempt; /* of the current method */
    bool use_slot;
    bool old_data; /* the directory still holds what was there before us */
    const struct conf_freeze *freeze;
    bool *leftovers_ours;
    char *fill_path;
    struct clone_progress told;

    struct sql *sql;
    struct child *child;
    struct pg_control_job *control;
    struct loop_timer timer; /* the wait before a try; also "go on from the loop" */
    struct err err;          /* of the last method that failed */
    bool telling;
};

/* ---- methods ---- */

static const json_t *section_of(const struct pg_instance *i, const char *method)
{
    return json_object_get(i->dynamic->postgresql, method);
}

static const char *method_name(const struct clone_job *j)
{
    const char *name = json_string_value(json_array_get(j->methods, j->method_i));

    return name ? name : "basebackup";
}

static bool is_builtin(const char *method)
{
    return str_eq(method, "basebackup");
}

/* The old spelling was no_master. */
static bool needs_no_source(const struct pg_instance *i, const char *method)
{
    const json_t *section = section_of(i, method);

    return !is_builtin(method) &&
           (json_is_true(json_object_get(section, "no_leader")) || json_is_true(json_object_get(section, "no_master")));
}

bool clone_works_alone(const struct pg_instance *i)
{
    size_t n;
    json_t *name;

    json_array_foreach(i->dynamic->create_replica_methods, n, name)
    {
        if (json_is_string(name) && needs_no_source(i, json_string_value(name)))
            return true;
    }
    return false;
}

bool clone_parse_progress(const char *line, int64_t *ret_done_bytes, int64_t *ret_total_bytes)
{
    long long done_bytes;
    long long total_bytes;

    if (!tool_progress(line, &done_bytes, &total_bytes))
        return false;
    *ret_done_bytes = done_bytes;
    *ret_total_bytes = total_bytes;
    return true;
}

/* ---- the job ---- */

static void job_free(struct clone_job *j)
{
    child_abandon(j->child);
    sql_free(j->sql);
    pg_control_cancel(j->control);
    loop_timer_clear(&j->timer);
    json_decref(j->methods);
    free(j->source_name);
    free(j->host);
    free(j->slot);
    free(j->system_identifier);
    free(j->primary_conninfo);
    free(j->primary_slot_name);
    free(j->fill_path);
    pg_instance_unref(j->instance);
    free(j);
}

static void job_end(struct clone_job *j, const struct err *err)
{
    j->telling = true;
    j->done(method_name(j), err, j->arg);
    job_free(j);
}

void clone_cancel(struct clone_job *j)
{
    if (j && !j->telling)
        job_free(j);
}

static void job_fail(struct clone_job *j, struct err *err)
{
    (void)err_wrap(err, "cloning%s%s", j->source_name ? " from " : "", j->source_name ? j->source_name : "");
    job_end(j, err);
}

static void run_method(void *arg);

/* Go on from the loop: a run of methods that all fail at once must not become recursion. */
static void go_on(struct clone_job *j, msec wait_ms)
{
    loop_timer_set(&j->timer, loop_clock_ms() + wait_ms);
}

/* The method failed: again, the next one, or the end. */
static void method_failed(struct clone_job *j)
{
    if (is_builtin(method_name(j)) && j->attempt < TRIES_MAX) {
        /* A slot that is not there yet, or in use, must not stop the copy; WAL is streamed along anyway. */
        if (strstr(j->err.text, "replication slot"))
            j->use_slot = false;
        go_on(j, RETRY_WAIT_MS);
        return;
    }
    j->method_i++;
    j->attempt = 0;
    if (j->method_i < json_array_size(j->methods)) {
        go_on(j, 0);
        return;
    }
    j->method_i--; /* for its name */
    job_fail(j, &j->err);
}

/* ---- the end of a good copy ---- */

/* Everything that makes it a standby of ours, before the marker goes: a copy brings the files of its source. */
static bool make_standby(struct clone_job *j, struct err *err)
{
    struct pg_instance *fresh = NULL; /* its version is known only now */
    struct conf_result result;
    struct findings findings = {0};

    if (!pg_instance_new(j->instance->settings, j->instance->dynamic, pg_bin_copy(j->instance->bin), &fresh, err))
        return false;
    struct conf_input in = {.instance = fresh,
                            .role = CONF_STANDBY,
                            .primary_conninfo = j->primary_conninfo,
                            .primary_slot_name = j->primary_slot_name};
    conffile_hold(&in, j->freeze);
    bool good = datadir_clear_promote(fresh->data_dir, err) && names_remove(fresh, err) &&
                conffile_restore(fresh, err) && conffile_write(&in, &result, &findings, err) &&
                datadir_set_standby_signal(fresh->data_dir, err) && conffile_save(fresh, err) &&
                incarnation_renew(fresh->data_dir, fresh->state_dir, NULL, err) &&
                datadir_unmark(fresh->state_dir, err);
    findings_deinit(&findings); /* the start tells them again */
    pg_instance_unref(fresh);
    return good;
}

static void verified(const struct pg_control *control, const struct err *err, void *arg)
{
    struct clone_job *j = arg;

    j->control = NULL;
    j->err = err ? *err : (struct err){0};
    bool good = control != NULL;
    if (good && j->system_identifier && !str_eq(control->system_identifier, j->system_identifier))
        good = err_set(&j->err, ERR_CONFLICT, "the copy is of another cluster (system identifier %s, ours is %s)",
                       control->system_identifier, j->system_identifier);
    if (good && make_standby(j, &j->err)) {
        job_end(j, NULL);
        return;
    }
    (void)err_wrap(&j->err, "%s", method_name(j));
    method_failed(j);
}

static void method_done(const struct child_result *r, void *arg)
{
    struct clone_job *j = arg;
    const char *name = is_builtin(method_name(j)) ? "pg_basebackup" : method_name(j);

    j->child = NULL;
    j->err = (struct err){0};
    bool good = tool_succeeded(r, name, &j->err) && datadir_fill_finish(j->instance->data_dir, j->fill_path, &j->err) &&
                pg_control_read(j->loop, j->instance->bin, j->instance->data_dir, CONTROL_MS, verified, j, &j->control,
                                &j->err);
    if (!good)
        method_failed(j);
}

/* ---- running a method ---- */

static void line_read(const char *line, bool from_stderr, void *arg)
{
    struct clone_job *j = arg;
    struct clone_progress p = {.method = method_name(j), .attempt = j->attempt};

    (void)from_stderr;
    if (!j->progress || !clone_parse_progress(line, &p.done_bytes, &p.total_bytes))
        return;
    j->told = p;
    j->progress(&j->told, j->arg); /* pg_basebackup itself prints at most once a second */
}

static bool basebackup_argv(struct clone_job *j, char ***argv, struct err *err)
{
    static const char *const forbidden[] = {"pgdata",   "format",   "wal-method", "xlog-method", "gzip",
                                            "version",  "compress", "dbname",     "host",        "port",
                                            "username", "password", "target",     NULL};
    const struct pg_instance *i = j->instance;
    const char *program;
    AUTO(cstr) char *conninfo = NULL;

    if (!pg_bin_need(i->bin, PG_BASEBACKUP, &program, err) ||
        !tool_conninfo(i, &i->settings->postgresql.replication, j->host, j->port, NULL, &conninfo, err))
        return false;
    argv_add(argv, program);
    argv_add_fmt(argv, "--pgdata=%s", j->fill_path);
    argv_add(argv, "--wal-method=stream");
    argv_add(argv, "--checkpoint=fast");
    argv_add(argv, "--no-password");
    argv_add(argv, "--progress");
    argv_add_fmt(argv, "--dbname=%s", conninfo);
    if (j->slot && j->use_slot)
        argv_add_fmt(argv, "--slot=%s", j->slot);
    return tool_options("basebackup", section_of(i, "basebackup"), forbidden, argv, err);
}

static bool custom_argv(struct clone_job *j, const char *method, char ***argv, struct err *err)
{
    static const char *const skip[] = {"command", "scope", "role", "datadir", "connstring", NULL};
    static const char *const skip_more[] = {"command", "no_params", "no_master", "no_leader", "keep_data", NULL};
    const struct pg_instance *i = j->instance;
    const json_t *section = section_of(i, method);
    const char *command = json_string_value(json_object_get(section, "command"));
    AUTO(cstr) char *connstring = NULL;

    if (!command_split(str_empty(command) ? method : command, argv, err))
        return false;
    if (json_is_true(json_object_get(section, "no_params"))) {
        method_options(section, skip_more, argv);
        return true;
    }
    if (!j->host)
        connstring = str_dup("");
    else if (!tool_conninfo(i, &i->settings->postgresql.replication, j->host, j->port, "postgres", &connstring, err))
        return false;
    method_options(section, skip, argv);
    argv_add_fmt(argv, "--scope=%s", i->settings->scope);
    argv_add(argv, "--role=replica");
    argv_add_fmt(argv, "--datadir=%s", i->data_dir);
    argv_add_fmt(argv, "--connstring=%s", connstring);
    return true;
}

/* What was there before us is kept; what a try of ours left is not worth keeping. */
static bool empty_directory(struct clone_job *j, struct err *err)
{
    const struct pg_instance *i = j->instance;
    AUTO(cstr) char *path = NULL;

    if (!j->old_data)
        return datadir_remove_job(j->loop, i->data_dir, wall_clock_ms(), err);
    if (!datadir_move_aside(i->data_dir, "replaced", wall_clock_ms(), &path, err))
        return false;
    j->old_data = false;
    return true;
}

/* The directory as the method wants it: empty, or as it is. */
static bool prepare_directory(struct clone_job *j, bool keep_data, struct err *err)
{
    const struct pg_instance *i = j->instance;
    struct datadir_state state;

    if (!datadir_mark(i->state_dir, DATADIR_MARK_CLONE, err) || !datadir_prepare(i->data_dir, err))
        return false;
    datadir_look(i->data_dir, i->state_dir, &state, err);
    if (state.kind == DATADIR_UNREADABLE)
        return false;
    if (state.kind != DATADIR_EMPTY && !keep_data && !empty_directory(j, err))
        return false;
    if (state.kind == DATADIR_EMPTY)
        j->old_data = false;
    if (j->leftovers_ours)
        *j->leftovers_ours = !j->old_data;

    free(j->fill_path);
    j->fill_path = is_builtin(method_name(j)) ? datadir_fill_path(i->data_dir) : str_dup(i->data_dir);
    /* Left by a try that was cut off. */
    if (!str_eq(j->fill_path, i->data_dir) && file_exists(j->fill_path))
        return datadir_remove_job(j->loop, i->data_dir, wall_clock_ms(), err);
    return true;
}

static bool start_method(struct clone_job *j, struct err *err)
{
    const char *method = method_name(j);
    bool builtin = is_builtin(method);
    bool keep_data = !builtin && json_is_true(json_object_get(section_of(j->instance, method), "keep_data"));
    AUTO(cstr) char *passfile = str_fmt("PGPASSFILE=%s", j->instance->passfile);
    AUTO(cstr) char *service = tool_environment(j->instance);
    const char *env_tool[] = {"LC_ALL=C", "LANGUAGE=C", service, NULL};
    const char *env_script[] = {passfile, service, NULL};
    AUTO(argv) char **argv = NULL;

    if (!prepare_directory(j, keep_data, err))
        return false;
    bool ready = builtin ? basebackup_argv(j, &argv, err) : custom_argv(j, method, &argv, err);
    if (!ready)
        return false;
    struct child_spec spec = {.argv = (const char *const *)argv,
                              .env = builtin ? env_tool : env_script,
                              .silence_ms = builtin ? TOOL_SILENCE_MS : 0,
                              .line = builtin ? line_read : NULL}; /* as long as it takes; clone_cancel ends it */
    return child_start(j->loop, &spec, method_done, j, &j->child, err);
}

static void run_method(void *arg)
{
    struct clone_job *j = arg;
    const char *method = method_name(j);

    j->attempt++;
    j->told = (struct clone_progress){.method = method, .attempt = j->attempt};
    if (j->progress)
        j->progress(&j->told, j->arg);
    j->err = (struct err){0};
    if (!j->host && !needs_no_source(j->instance, method)) {
        (void)err_set(&j->err, ERR_NOT_FOUND, "no member to copy from");
        j->attempt = TRIES_MAX; /* waiting changes nothing */
        method_failed(j);
    } else if (!start_method(j, &j->err)) {
        (void)err_wrap(&j->err, "%s", method);
        method_failed(j);
    }
}

/* ---- before the first byte ---- */

static void identified(const struct sql_result *result, void *arg)
{
    struct clone_job *j = arg;
    struct err err = result->err;

    j->sql = NULL;
    if (result->status != SQL_DONE) {
        /* It may be about to come up, or about to let us in: pg_basebackup tries for itself and says it best. */
        go_on(j, 0);
        return;
    }
    const char *theirs = sql_cell(&result->rows[0], 0, 0);
    if (j->system_identifier && !str_eq(theirs, j->system_identifier)) {
        (void)err_set(&err, ERR_CONFLICT, "it is of another cluster (system identifier %s, ours is %s)", theirs,
                      j->system_identifier);
        job_fail(j, &err);
        return;
    }
    go_on(j, 0);
}

static bool wants_old_data(const struct pg_instance *i)
{
    size_t n;
    json_t *name;

    json_array_foreach(i->dynamic->create_replica_methods, n, name)
    {
        const json_t *section = section_of(i, json_string_value(name) ? json_string_value(name) : "");
        if (json_is_true(json_object_get(section, "keep_data")))
            return true;
    }
    return false;
}

/*
 * The mark of a clone tells that one was begun, not that it is still its half that is here: what is not certainly
 * that is kept. pg_basebackup writes pg_control last.
 */
static bool is_half_copy(const struct pg_instance *i, const struct datadir_state *state, bool ours)
{
    AUTO(cstr) char *control = str_fmt("%s/global/pg_control", i->data_dir);

    return state->kind == DATADIR_HALF && state->marker == DATADIR_MARK_CLONE && (ours || !file_exists(control));
}

static bool check_directory(const struct pg_instance *i, bool ours, bool *ret_old_data, struct err *err)
{
    struct datadir_state state;

    datadir_look(i->data_dir, i->state_dir, &state, err);
    *ret_old_data = state.kind == DATADIR_VALID || (state.kind == DATADIR_HALF && !is_half_copy(i, &state, ours));
    switch (state.kind) {
    case DATADIR_ABSENT:
    case DATADIR_EMPTY:
        return true;
    case DATADIR_VALID:
    case DATADIR_HALF:
        if (wants_old_data(i) || (state.kind == DATADIR_HALF && state.marker == DATADIR_MARK_CLONE))
            return true;
        return err_set(err, ERR_CONFLICT, "%s is not empty (%s)", i->data_dir, datadir_kind_name(state.kind));
    case DATADIR_FOREIGN:
        return err_set(err, ERR_CONFLICT, "%s is not empty (%s)", i->data_dir, datadir_kind_name(state.kind));
    case DATADIR_UNREADABLE:
        return false;
    }
    UNREACHABLE();
}

bool clone_start(struct loop *l, const struct clone_spec *spec, clone_fn *done, void *arg, struct clone_job **ret_job,
                 struct err *err)
{
    static const struct sql_statement identify = {.text = "IDENTIFY_SYSTEM"};
    struct pg_instance *i = spec->instance;
    bool old_data;

    if (!check_directory(i, spec->leftovers_ours && *spec->leftovers_ours, &old_data, err))
        return err_wrap(err, "cloning");

    struct clone_job *j = mem_zero(1, sizeof(*j));
    j->loop = l;
    j->instance = pg_instance_ref(i);
    j->source_name = str_dup(spec->source.name);
    j->host = str_dup(spec->source.name ? spec->source.host : NULL);
    j->port = spec->source.port;
    j->slot = str_dup(spec->source.slot);
    j->use_slot = true;
    j->old_data = old_data;
    j->freeze = spec->freeze;
    j->leftovers_ours = spec->leftovers_ours;
    j->system_identifier = str_empty(spec->source.system_identifier) ? NULL : str_dup(spec->source.system_identifier);
    j->primary_conninfo = str_dup(spec->primary_conninfo);
    j->primary_slot_name = str_dup(spec->primary_slot_name);
    j->progress = spec->progress;
    j->done = done;
    j->arg = arg;
    j->methods = i->dynamic->create_replica_methods ? json_incref(i->dynamic->create_replica_methods)
                                                    : json_pack("[s]", "basebackup");
    loop_timer_init(&j->timer, l, run_method, j);
    *ret_job = j;
    if (!j->host) {
        go_on(j, 0);
        return true;
    }
    struct sql_target target = pg_instance_remote(i, &i->settings->postgresql.replication, j->host, j->port, true);
    j->sql = sql_once(l, &target, &identify, 1, SOURCE_CHECK_MS, identified, j);
    return true;
}
