/* Crash recovery of an unclean data directory, without clients and, in quarantine, without a byte of new WAL. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/str.h"
#include "io/child.h"
#include "pg/argv.h"
#include "pg/bin.h"
#include "pg/conffile.h"
#include "pg/datadir.h"
#include "pg/instance.h"
#include "pg/rewind_job.h"
#include "pg/tool.h"
#include "wire/conf/settings.h"

enum {
    LOOK_EVERY_MS = 100, /* at a server that does nothing else: the wait is part of a failover's tail */
    LOOK_BUDGET_MS = 5000,
    STOP_BUDGET_MS = 30000, /* a fast stop of a server without clients; then SIGQUIT */
    CONTROL_MS = 10000,
    SOCKET_PATH_MAX = 90,   /* sockaddr_un has 108, less "/.s.PGSQL.65535.lock" */
    QUARANTINE_PORT = 5432, /* names the socket file, nothing listens on it */
};

/* ---- the end ---- */

/*
 * Ours, and what a server that was killed leaves: an empty lock file of its socket would keep the next one from
 * starting. Who runs on this data directory is told by its own postmaster.pid.
 */
static void private_dir_clear(struct rewind_job *j)
{
    static const char *const files[] = {"pg_hba.conf", "pg_ident.conf"};
    AUTO(cstr) char *socket = str_fmt("%s/.s.PGSQL.%d", j->private_dir, QUARANTINE_PORT);
    AUTO(cstr) char *lock = str_fmt("%s.lock", socket);

    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        AUTO(cstr) char *path = str_fmt("%s/%s", j->private_dir, files[i]);
        (void)unlink(path); /* what stays behind is harmless and small */
    }
    (void)unlink(socket); /* the server has removed them as a rule */
    (void)unlink(lock);
}

static void private_dir_remove(struct rewind_job *j)
{
    if (!j->private_dir)
        return;
    private_dir_clear(j);
    (void)rmdir(j->private_dir); /* the same */
}

static void recover_end(struct rewind_job *j, enum rewind_outcome outcome)
{
    if (outcome != REWIND_DONE)
        (void)err_wrap(&j->err, "crash recovery");
    private_dir_remove(j);
    j->telling = true;
    j->recovered(outcome, &j->position, outcome == REWIND_DONE ? NULL : &j->err, j->arg);
    rewind_job_free(j);
}

/* Whatever the outcome, standby.signal stays. */
static void recover_finish(struct rewind_job *j, bool good)
{
    struct err err = {0};

    if (!datadir_set_standby_signal(j->instance->data_dir, &err)) {
        j->err = err;
        recover_end(j, REWIND_FAILED);
        return;
    }
    recover_end(j, good ? REWIND_DONE : REWIND_FAILED_UNTOUCHED);
}

static void verified(const struct pg_control *control, const struct err *err, void *arg)
{
    struct rewind_job *j = arg;

    j->control_job = NULL;
    if (!control)
        j->err = *err;
    else if (!pg_control_clean(control))
        (void)err_set(&j->err, ERR_PG, "the data directory is still %s", control->state_text);
    recover_finish(j, control && pg_control_clean(control));
}

static void verify(struct rewind_job *j)
{
    if (!pg_control_read(j->loop, j->instance->bin, j->instance->data_dir, CONTROL_MS, verified, j, &j->control_job,
                         &j->err))
        recover_finish(j, false);
}

/* ---- quarantine ---- */

static void stop_over(void *arg)
{
    struct rewind_job *j = arg;

    (void)err_set(&j->err, ERR_TIMEOUT, "the quarantined server did not stop");
    child_signal(j->child, SIGQUIT);
}

static void stop_server(struct rewind_job *j, int signo)
{
    j->stopping = true;
    sql_free(TAKE(j->sql));
    sql_free(TAKE(j->replication));
    loop_timer_clear(&j->timer);
    loop_timer_init(&j->timer, j->loop, stop_over, j);
    loop_timer_set(&j->timer, loop_clock_ms() + STOP_BUDGET_MS);
    child_signal(j->child, signo);
}

static void server_ended(const struct child_result *result, void *arg)
{
    struct rewind_job *j = arg;

    j->child = NULL;
    loop_timer_clear(&j->timer);
    sql_free(TAKE(j->sql));
    sql_free(TAKE(j->replication));
    if (j->stopping && j->position.tli && result->exited && result->status == 0) {
        verify(j);
        return;
    }
    if (j->err.code == ERR_NONE && tool_succeeded(result, "quarantined postgres", &j->err))
        (void)err_set(&j->err, ERR_PG, "the quarantined server ended by itself");
    j->position = (struct rewind_position){0};
    recover_finish(j, false);
}

static void look(void *arg);

static void look_again(struct rewind_job *j)
{
    if (j->stopping)
        return;
    if (loop_clock_ms() >= j->deadline_ms) {
        (void)err_set(&j->err, ERR_TIMEOUT, "the end of WAL was not reached in time");
        stop_server(j, SIGINT);
        return;
    }
    loop_timer_set(&j->timer, loop_clock_ms() + LOOK_EVERY_MS);
}

static void identified(const struct sql_result *result, void *arg)
{
    struct rewind_job *j = arg;
    int64_t tli;

    if (result->status != SQL_DONE || !str_to_int(sql_cell(&result->rows[0], 0, 1), 1, UINT32_MAX, &tli)) {
        look_again(j);
        return;
    }
    j->position = (struct rewind_position){.tli = (uint32_t)tli, .end = j->last_replay};
    stop_server(j, SIGINT);
}

/* The startup process waits at the end of WAL, twice at the same place: there is no more. */
static void looked(const struct sql_result *result, void *arg)
{
    static const struct sql_statement identify = {.text = "IDENTIFY_SYSTEM"};
    struct rewind_job *j = arg;
    lsn replay = 0;

    bool waits = result->status == SQL_DONE && result->rows[0].row_count == 1 &&
                 str_eq(sql_cell(&result->rows[0], 0, 0), "t") && lsn_parse(sql_cell(&result->rows[0], 0, 1), &replay);
    if (!waits || replay != j->last_replay) {
        j->last_replay = waits ? replay : 0;
        look_again(j);
        return;
    }
    if (!sql_busy(j->replication))
        sql_run(j->replication, &identify, 1, LOOK_BUDGET_MS, identified, j);
}

static void look(void *arg)
{
    static const struct sql_statement question = {
        .text = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'startup' AND wait_event IN"
                " ('RecoveryRetrieveRetryInterval', 'RecoveryWalStream', 'RecoveryWalAll')),"
                " pg_last_wal_replay_lsn()"};
    struct rewind_job *j = arg;

    if (!sql_busy(j->sql))
        sql_run(j->sql, &question, 1, LOOK_BUDGET_MS, looked, j);
}

/* A folder only we can enter, short enough for a socket. */
static bool make_private_dir(struct rewind_job *j, struct err *err)
{
    const struct pg_instance *i = j->instance;

    if (strlen(i->state_dir) + strlen("/quarantine") <= SOCKET_PATH_MAX) {
        j->private_dir = str_fmt("%s/quarantine", i->state_dir);
        if (!dir_make(j->private_dir, 0700, err))
            return false;
        private_dir_clear(j);
    } else {
        char template[] = "/tmp/pgkeep-quarantine-XXXXXX";
        if (!mkdtemp(template))
            return err_sys(err, errno, "making a folder in /tmp");
        j->private_dir = str_dup(template);
    }
    AUTO(cstr) char *hba = str_fmt("%s/pg_hba.conf", j->private_dir);
    AUTO(cstr) char *ident = str_fmt("%s/pg_ident.conf", j->private_dir);
    static const char trust[] = "local all all trust\nlocal replication all trust\n"; /* behind a 0700 folder */
    return file_replace(hba, trust, strlen(trust), 0600, err) && file_replace(ident, "", 0, 0600, err);
}

/* The usual arguments, so that it starts where the usual start would; then what makes it harmless. */
static bool quarantine_argv(struct rewind_job *j, char ***argv, struct err *err)
{
    static const char *const harmless[] = {
        "listen_addresses=",
        "primary_conninfo=",
        "primary_slot_name=",
        "restore_command=",
        "recovery_end_command=",
        "archive_cleanup_command=",
        "recovery_target_timeline=current",
        "recovery_target=",
        "recovery_target_lsn=",
        "recovery_target_name=",
        "recovery_target_time=",
        "recovery_target_xid=",
        "recovery_min_apply_delay=0",
        "archive_mode=off",
        "hot_standby=on",
        "logging_collector=off",
        "log_destination=stderr",
        "lc_messages=C",
        "ssl=off",
        "synchronous_standby_names=",
        "restart_after_crash=off",
        "external_pid_file=",
        "cluster_name=pgkeep_quarantine",
    };
    struct conf_input in = {.instance = j->instance, .role = CONF_STANDBY, .control = &j->control};
    struct findings findings = {0};

    bool good = conffile_postmaster_args(&in, argv, &findings, err);
    findings_deinit(&findings); /* the real start tells them */
    if (!good)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(harmless); i++) {
        argv_add(argv, "-c");
        argv_add(argv, harmless[i]);
    }
    argv_add_fmt(argv, "--port=%d", QUARANTINE_PORT);
    argv_add_fmt(argv, "--unix_socket_directories=%s", j->private_dir);
    argv_add_fmt(argv, "--hba_file=%s/pg_hba.conf", j->private_dir);
    argv_add_fmt(argv, "--ident_file=%s/pg_ident.conf", j->private_dir);
    return true;
}

static void connect_to_quarantine(struct rewind_job *j)
{
    const struct pg_user *super = &j->instance->settings->postgresql.superuser;
    struct pg_user nobody_else = {.username = super->username};
    struct sql_target target = {
        .host = j->private_dir, .port = QUARANTINE_PORT, .user = str_empty(super->username) ? NULL : &nobody_else};

    j->sql = sql_new(j->loop, &target);
    target.replication = true;
    j->replication = sql_new(j->loop, &target);
}

static bool quarantine_begin(struct rewind_job *j, struct err *err)
{
    const struct pg_instance *i = j->instance;
    AUTO(argv) char **argv = NULL;

    if (!make_private_dir(j, err) || !quarantine_argv(j, &argv, err) || !datadir_set_standby_signal(i->data_dir, err))
        return false;
    struct child_spec spec = {.argv = (const char *const *)argv, .cwd = "/"};
    if (!child_start(j->loop, &spec, server_ended, j, &j->child, err))
        return false;
    connect_to_quarantine(j);
    loop_timer_init(&j->timer, j->loop, look, j);
    loop_timer_set(&j->timer, loop_clock_ms() + LOOK_EVERY_MS);
    return true;
}

/* ---- single user ---- */

static void single_done(const struct child_result *result, void *arg)
{
    struct rewind_job *j = arg;

    j->child = NULL;
    if (tool_succeeded(result, "postgres --single", &j->err))
        verify(j);
    else
        recover_finish(j, false);
}

static bool single_begin(struct rewind_job *j, struct err *err)
{
    const struct pg_instance *i = j->instance;
    AUTO(argv) char **argv = NULL;
    const char *program;
    static const char *const env[] = {"LC_ALL=C", NULL};

    if (!pg_bin_need(i->bin, PG_POSTGRES, &program, err) || !datadir_clear_signals(i->data_dir, err))
        return false;
    argv_add(&argv, program);
    argv_add(&argv, "--single");
    argv_add(&argv, "-D");
    argv_add(&argv, i->data_dir);
    argv_add(&argv, "-c");
    argv_add_fmt(&argv, "config_file=%s", i->config_file);
    argv_add(&argv, "-c");
    argv_add(&argv, "archive_mode=on"); /* finished segments stay marked for the archive; nothing archives here */
    argv_add(&argv, "-c");
    argv_add(&argv, "archive_command=false");
    argv_add(&argv, "template1");
    struct child_spec spec = {.argv = (const char *const *)argv,
                              .env = env,
                              .budget_ms = rewind_job_left_ms(j)}; /* stdin is empty: it ends at once */
    return child_start(j->loop, &spec, single_done, j, &j->child, err);
}

/* ---- the beginning ---- */

/* Anything that says "this is a backup, recover it from the archive" is not a crashed primary. */
static bool check_directory(struct rewind_job *j, struct err *err)
{
    const struct pg_instance *i = j->instance;
    struct datadir_state state;

    datadir_look(i->data_dir, i->state_dir, &state, err);
    if (state.kind == DATADIR_UNREADABLE)
        return false;
    if (state.kind != DATADIR_VALID && !(state.kind == DATADIR_HALF && state.marker == DATADIR_MARK_REWIND))
        return err_set(err, ERR_CONFLICT, "%s is %s", i->data_dir, datadir_kind_name(state.kind));
    if (state.backup_label || state.recovery_signal)
        return err_set(err, ERR_CONFLICT, "%s is a restored backup that has not been recovered (%s is there)",
                       i->data_dir, state.backup_label ? "backup_label" : "recovery.signal");
    return true;
}

static void archived(struct rewind_job *j, struct err *err)
{
    bool begun = false;

    (void)err; /* the archive is not what a rejoin waits for */
    if (datadir_clear_promote(j->instance->data_dir, &j->err) && conffile_restore(j->instance, &j->err))
        begun = j->single_user ? single_begin(j, &j->err) : quarantine_begin(j, &j->err);
    if (!begun)
        recover_finish(j, false);
}

static void control_known(const struct pg_control *control, const struct err *err, void *arg)
{
    struct rewind_job *j = arg;

    j->control_job = NULL;
    if (control) {
        j->control = *control;
        rewind_archive_ready(j, archived);
    } else {
        j->err = *err;
        recover_finish(j, false);
    }
}

bool rewind_recover(struct loop *l, struct pg_instance *i, enum rewind_recovery how, msec budget_ms,
                    rewind_recover_fn *done, void *arg, struct rewind_job **ret_job, struct err *err)
{
    struct rewind_job *j = rewind_job_new(l, i, budget_ms, arg);

    j->recovered = done;
    j->single_user = how == REWIND_SINGLE_USER;
    if (!check_directory(j, err) ||
        !pg_control_read(l, i->bin, i->data_dir, CONTROL_MS, control_known, j, &j->control_job, err)) {
        rewind_job_free(j);
        return err_wrap(err, "crash recovery");
    }
    *ret_job = j;
    return true;
}
