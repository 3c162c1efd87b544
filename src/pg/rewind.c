#include "pg/rewind.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "io/child.h"
#include "pg/argv.h"
#include "pg/bin.h"
#include "pg/conffile.h"
#include "pg/datadir.h"
#include "pg/incarnation.h"
#include "pg/instance.h"
#include "pg/names.h"
#include "pg/passfile.h"
#include "pg/rewind_job.h"
#include "pg/tool.h"
#include "wire/conf/dynamic.h"

enum {
    CONTROL_MS = 10000,  /* pg_controldata on a busy disk */
    RECOVER_MS = 600000, /* as long as the WAL since the last checkpoint */
};

/* ---- jobs ---- */

struct rewind_job *rewind_job_new(struct loop *l, struct pg_instance *i, msec budget_ms, void *arg)
{
    struct rewind_job *j = mem_zero(1, sizeof(*j));

    j->loop = l;
    j->instance = pg_instance_ref(i);
    j->deadline_ms = budget_ms ? loop_clock_ms() + budget_ms : MSEC_NEVER;
    j->arg = arg;
    return j;
}

void rewind_job_free(struct rewind_job *j)
{
    child_abandon(j->child);
    if (j->inner)
        rewind_cancel(j->inner);
    pg_control_cancel(j->control_job);
    sql_free(j->sql);
    sql_free(j->replication);
    if (j->timer.loop)
        loop_timer_clear(&j->timer);
    free(j->host);
    free(j->private_dir);
    argv_free(j->ready);
    free(j->primary_conninfo);
    free(j->primary_slot_name);
    pg_instance_unref(j->instance);
    free(j);
}

void rewind_cancel(struct rewind_job *j)
{
    if (j && !j->telling)
        rewind_job_free(j);
}

msec rewind_job_left_ms(const struct rewind_job *j)
{
    return msec_max(j->deadline_ms - loop_clock_ms(), 1);
}

/* The directory as a standby of ours, with other contents than before; all on disk. */
static bool make_standby(const struct rewind_job *j, struct err *err)
{
    const struct pg_instance *i = j->instance;
    struct conf_input in = {.instance = i,
                            .role = CONF_STANDBY,
                            .primary_conninfo = j->primary_conninfo,
                            .primary_slot_name = j->primary_slot_name};
    conffile_hold(&in, j->freeze);
    struct conf_result result;
    struct findings findings = {0};

    bool good = datadir_clear_promote(i->data_dir, err) && names_remove(i, err) && conffile_restore(i, err) &&
                conffile_write(&in, &result, &findings, err) && datadir_set_standby_signal(i->data_dir, err) &&
                incarnation_renew(i->data_dir, i->state_dir, NULL, err);
    findings_deinit(&findings); /* the start tells them */
    return good;
}

/* ---- pg_rewind ---- */

static void run_end(struct rewind_job *j, enum rewind_outcome outcome, struct err *err)
{
    if (err)
        (void)err_wrap(err, "rewinding");
    j->telling = true;
    j->done(outcome, err, j->arg);
    rewind_job_free(j);
}

/* Take the marker away, unless it stood before the job: then there is half a rewind. */
static bool unmark(const struct rewind_job *j, struct err *err)
{
    return j->marked_before || (rewind_keep_drop(j->instance, err) && datadir_unmark(j->instance->state_dir, err));
}

/* Nothing runs any more; whether the marker may go depends on what was done so far. */
static void run_failed(struct rewind_job *j, struct err *err)
{
    struct err unmark_err = {0};

    if (!j->touched && unmark(j, &unmark_err))
        run_end(j, REWIND_FAILED_UNTOUCHED, err);
    else
        run_end(j, REWIND_FAILED, err);
}

static void run_line(const char *line, bool from_stderr, void *arg)
{
    struct rewind_job *j = arg;
    long long done_bytes;
    long long total_bytes;

    (void)from_stderr;
    /* pg_rewind.c: everything before this line only reads. */
    if (strstr(line, "need to copy"))
        j->touched = true;
    if (!tool_progress(line, &done_bytes, &total_bytes))
        return;
    j->touched = true;
    if (j->progress)
        j->progress(done_bytes, total_bytes, j->arg);
}

static void run_finish(struct rewind_job *j)
{
    const struct pg_instance *i = j->instance;
    struct err err = {0};

    if (make_standby(j, &err) && conffile_save(i, &err) && rewind_keep_drop(i, &err) &&
        datadir_unmark(i->state_dir, &err))
        run_end(j, REWIND_DONE, NULL);
    else
        run_end(j, REWIND_FAILED, &err);
}

static void run_done(const struct child_result *result, void *arg)
{
    struct rewind_job *j = arg;
    struct err err = {0};

    j->child = NULL;
    if (tool_succeeded(result, "pg_rewind", &err))
        run_finish(j);
    else
        run_failed(j, &err);
}

/* What fetches WAL that the target has recycled; NULL: nothing. */
static const char *restore_command(const struct pg_instance *i)
{
    const char *text = json_string_value(json_object_get(i->dynamic->recovery_conf, "restore_command"));

    if (!text)
        text = json_string_value(json_object_get(i->dynamic->parameters, "restore_command"));
    return str_empty(text) ? NULL : text;
}

static bool run_argv(const struct rewind_job *j, char ***argv, struct err *err)
{
    static const char *const forbidden[] = {"target-pgdata", "source-pgdata",
                                            "source-server", "write-recovery-conf",
                                            "dry-run",       "restore-target-wal",
                                            "config-file",   "no-ensure-shutdown",
                                            "version",       NULL};
    const struct pg_instance *i = j->instance;
    bool split = !str_eq(i->config_dir, i->data_dir);
    const char *program;
    AUTO(cstr) char *conninfo = NULL;

    if (!pg_bin_need(i->bin, PG_REWIND, &program, err) ||
        !tool_conninfo(i, pg_instance_rewind_user(i), j->host, j->port, "postgres", &conninfo, err))
        return false;
    argv_add(argv, program);
    argv_add_fmt(argv, "--target-pgdata=%s", i->data_dir);
    argv_add_fmt(argv, "--source-server=%s", conninfo);
    argv_add(argv, "--progress");
    if (split && i->major >= 15) /* until 14 it looks for postgresql.conf in the data directory only */
        argv_add_fmt(argv, "--config-file=%s", i->config_file);
    if (restore_command(i) && (!split || i->major >= 15))
        argv_add(argv, "--restore-target-wal");
    return tool_options("rewind", i->dynamic->rewind_options, forbidden, argv, err);
}

static bool run_tool(struct rewind_job *j, struct err *err)
{
    AUTO(cstr) char *service = tool_environment(j->instance);
    const char *env[] = {"LC_ALL=C", "LANGUAGE=C", "PGOPTIONS=-c statement_timeout=0", service, NULL};
    AUTO(argv) char **argv = NULL;

    if (!run_argv(j, &argv, err) || !datadir_mark(j->instance->state_dir, DATADIR_MARK_REWIND, err))
        return false;
    struct child_spec spec = {
        .argv = (const char *const *)argv, .env = env, .silence_ms = TOOL_SILENCE_MS, .line = run_line};
    return child_start(j->loop, &spec, run_done, j, &j->child, err);
}

static void wal_kept(struct rewind_job *j, struct err *err)
{
    struct err failed = {0};

    if (err)
        failed = *err;
    else if (run_tool(j, &failed))
        return;
    run_failed(j, &failed);
}

static void archived(struct rewind_job *j, struct err *err)
{
    struct err failed = {0};

    (void)err; /* the archive is not what a rejoin waits for */
    if (!rewind_keep_wal(j, wal_kept, &failed))
        run_failed(j, &failed);
}

static bool run_read_control(struct rewind_job *j, struct err *err);

static void recovered(enum rewind_outcome outcome, const struct rewind_position *position, const struct err *err,
                      void *arg)
{
    struct rewind_job *j = arg;
    struct err failed = {0};

    (void)position; /* pg_rewind reads pg_control itself */
    j->inner = NULL;
    if (outcome != REWIND_DONE)
        failed = *err;
    else if (run_read_control(j, &failed))
        return;
    run_failed(j, &failed);
}

/* Each of the two recoveries makes the state that asked for it go; one of each is all there is. */
static bool recover_first(struct rewind_job *j, enum rewind_recovery how, struct err *err)
{
    bool *tried = how == REWIND_SINGLE_USER ? &j->tried_single_user : &j->tried_quarantine;

    if (*tried)
        return err_set(err, ERR_PG, "crash recovery did not help");
    *tried = true;
    return rewind_recover(j->loop, j->instance, how, RECOVER_MS, recovered, j, &j->inner, err);
}

/*
 * Until version 15 pg_rewind takes the timeline of the target from its last checkpoint. A primary that crashed
 * before its first checkpoint after the promotion, and a standby that has made no restartpoint since it
 * followed one, end on a later timeline: pg_rewind would look for the common history in the wrong files ("could
 * not find previous WAL record"). Single-user recovery makes that checkpoint; it adds to a timeline that is
 * about to be given up.
 */
static bool has_backup_label(const struct rewind_job *j)
{
    struct datadir_state state;

    datadir_look(j->instance->data_dir, j->instance->state_dir, &state, NULL);
    return j->marked_before && state.backup_label;
}

static void run_control_known(const struct pg_control *control, const struct err *err, void *arg)
{
    struct rewind_job *j = arg;
    struct err failed = {0};

    j->control_job = NULL;
    if (!control) {
        failed = *err;
    } else if (control->state == PG_CONTROL_IN_ARCHIVE_RECOVERY && has_backup_label(j)) {
        /* pg_rewind's last word: an earlier attempt was cut off after it. It syncs pg_control first, all else last. */
        if (j->same_boot) {
            run_finish(j);
            return;
        }
        j->touched = true;
        (void)err_set(&failed, ERR_PG,
                      "the host went down just as pg_rewind ended: whether all that it wrote is on disk is not known");
    } else if (!pg_control_clean(control)) {
        if (recover_first(j, REWIND_QUARANTINE, &failed))
            return;
    } else if (control->min_recovery_tli > control->checkpoint_tli) {
        if (recover_first(j, REWIND_SINGLE_USER, &failed))
            return;
    } else {
        rewind_archive_ready(j, archived);
        return;
    }
    run_failed(j, &failed);
}

static bool run_read_control(struct rewind_job *j, struct err *err)
{
    const struct pg_instance *i = j->instance;

    return pg_control_read(j->loop, i->bin, i->data_dir, CONTROL_MS, run_control_known, j, &j->control_job, err);
}

static bool run_begin(struct rewind_job *j, struct err *err)
{
    const struct pg_instance *i = j->instance;
    struct datadir_state state;
    AUTO(argv) char **argv = NULL;

    datadir_look(i->data_dir, i->state_dir, &state, err);
    if (state.kind == DATADIR_UNREADABLE)
        return false;
    if (state.kind != DATADIR_VALID && !(state.kind == DATADIR_HALF && state.marker == DATADIR_MARK_REWIND))
        return err_set(err, ERR_CONFLICT, "%s is %s", i->data_dir, datadir_kind_name(state.kind));

    j->marked_before = state.marker != DATADIR_MARK_NONE;
    j->same_boot = datadir_marked_since_boot(i->state_dir, DATADIR_MARK_REWIND);
    if (!run_argv(j, &argv, err))
        return false;
    if (!j->marked_before && !datadir_mark(i->state_dir, DATADIR_MARK_REWIND, err))
        return false;
    if (run_read_control(j, err))
        return true;
    struct err unmark_err = {0};
    (void)!unmark(j, &unmark_err); /* a marker too many costs another try, no data */
    return false;
}

bool rewind_start(struct loop *l, const struct rewind_spec *spec, rewind_fn *done, void *arg,
                  struct rewind_job **ret_job, struct err *err)
{
    struct rewind_job *j = rewind_job_new(l, spec->instance, 0, arg);

    j->done = done;
    j->host = str_dup(spec->source.host);
    j->port = spec->source.port;
    j->primary_conninfo = str_dup(spec->primary_conninfo);
    j->primary_slot_name = str_dup(spec->primary_slot_name);
    j->freeze = spec->freeze;
    j->progress = spec->progress;
    if (!run_begin(j, err)) {
        rewind_job_free(j);
        return err_wrap(err, "rewinding");
    }
    *ret_job = j;
    return true;
}
