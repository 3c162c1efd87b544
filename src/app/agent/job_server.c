/*
 * Jobs on the server itself: start, stop, pre_promote, promote.
 */
#include <stdlib.h>
#include <string.h>

#include "app/agent/config.h"
#include "app/agent/guard_link.h"
#include "app/agent/jobs.h"
#include "app/agent/local.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/fault.h"
#include "base/mutant.h"
#include "base/str.h"
#include "io/log.h"
#include "pg/callbacks.h"
#include "pg/conffile.h"
#include "pg/conflict.h"
#include "pg/datadir.h"
#include "pg/file.h"
#include "pg/incarnation.h"
#include "pg/instance.h"
#include "pg/names.h"
#include "pg/promote.h"
#include "pg/sql.h"
#include "wire/conf/dynamic.h"
#include "wire/conf/settings.h"
#include "wire/guard.h"

enum {
    START_SEEN_MS = 5000,  /* a start that recovers longer is "starting": decisions go on meanwhile */
    CHECKPOINT_MS = 25000, /* before a planned stop, while clients still work; longer and the stop does the rest */
    BEFORE_STOP_MS = 30000,
    STOP_DEFAULT_MS = 60000,
    NUDGE_MS = 20,
    LOG_TAIL_MAX = 64 * 1024,
    LAST_WORDS_MAX = 6, /* lines */
};

static bool is_telling(const char *line)
{
    static const char *const words[] = {"FATAL", "PANIC", "ERROR", "HINT", "LOG:  could not"};

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strstr(line, words[i]))
            return true;
    return false;
}

/* The postmaster's own last words, for the message: that is where "could not bind" stands. */
static void add_last_words(struct jobs *j, struct err *err)
{
    const char *path = j->agent->instance->log_path;
    const char *last[LAST_WORDS_MAX];
    size_t count = 0;
    char *state = NULL;
    AUTO(cstr) char *text = file_read_end(path, LOG_TAIL_MAX);

    for (char *line = text ? strtok_r(text, "\n", &state) : NULL; line; line = strtok_r(NULL, "\n", &state)) {
        if (!is_telling(line))
            continue;
        if (count == LAST_WORDS_MAX)
            memmove(last, last + 1, --count * sizeof(*last));
        last[count++] = line;
    }
    if (!count)
        return;
    AUTO(buf) struct buf words = BUF_EMPTY;
    for (size_t i = 0; i < count; i++)
        buf_printf(&words, "%s%s", i ? "; " : "", last[i]);
    char what[ERR_TEXT_MAX];
    str_copy(what, sizeof(what), err->text);
    (void)err_set(err, err->code, "%s; %s says: %s", what, path, buf_cstr(&words));
}

/* ---- start ---- */

static bool prepare_files(struct jobs *j, bool standby, struct err *err)
{
    const struct pg_instance *i = j->agent->instance;

    const struct pg_control *control = local_control(j->agent->local);
    bool bootstrap = local_datadir(j->agent->local)->marker == DATADIR_MARK_BOOTSTRAP;

    struct err unsettled = {0};
    bool renewed = false;

    bool cleared =
        MUTANT(PLACEHOLDERS_KEPT) || FAULT_CALL("job.start.clear", err, datadir_clear_promote(i->data_dir, err));
    if (!cleared || (!MUTANT(LIST_KEPT_AT_START) && !names_remove(i, err)))
        return false;
    if (!incarnation_settle(i->data_dir, i->state_dir, &renewed, &unsettled))
        log_warning("datadir.incarnation", "%s, starting all the same: nobody counts on this node", unsettled.text);
    else if (renewed)
        log_info("datadir.incarnation", "the contents of the data directory are new to this node");
    if (bootstrap && !standby)
        return true; /* signal files are the bootstrap method's */
    bool in_recovery = control && (control->state == PG_CONTROL_IN_ARCHIVE_RECOVERY ||
                                   control->state == PG_CONTROL_SHUT_DOWN_IN_RECOVERY);
    if (!standby && in_recovery)
        return err_set(err, ERR_PG, "this data directory is a standby's: it becomes primary by a promotion only");
    return standby ? FAULT_CALL("job.start.signal", err, datadir_set_standby_signal(i->data_dir, err))
                   : FAULT_CALL("job.start.no_signal", err, datadir_clear_signals(i->data_dir, err));
}

static bool ask_guard(struct jobs *j, const struct conf_input *in, struct err *err)
{
    struct findings findings = {0};
    char **argv = NULL;
    bool ok = conffile_postmaster_args(in, &argv, &findings, err);

    for (size_t i = 0; i < findings.count; i++)
        log_warning("postgresql.parameter", "%s", findings.at[i].text);
    findings_deinit(&findings);
    if (!ok)
        return false;
    /* What the last postmaster said was about the last start: kept once, for who asks why it ended. */
    AUTO(cstr) char *before = str_fmt("%s.1", in->instance->log_path);
    (void)rename(in->instance->log_path, before); /* absent: nothing to keep */
    ok = FAULT_CALL("job.start.guard", err,
                    guard_link_start(j->agent->guard, (const char *const *)argv, NULL, in->instance->log_path, err));
    FAULT_POINT("job.start.asked");
    j->agent->job_seq = guard_link_seq(j->agent->guard);
    conffile_args_free(argv);
    return ok;
}

void job_start_begin(struct jobs *j)
{
    struct agent *a = j->agent;
    bool standby = j->action.start == HA_START_STANDBY;
    const char *upstream = j->subject[0] ? j->subject : NULL;
    bool custom = !standby && local_datadir(a->local)->marker == DATADIR_MARK_BOOTSTRAP;
    enum conf_role role = standby ? CONF_STANDBY : custom ? CONF_BOOTSTRAP : CONF_PRIMARY;
    struct config_hold hold = {0};
    struct err err = {0};

    bool ok =
        prepare_files(j, standby, &err) && FAULT_CALL("job.start.files", &err, config_apply(a, role, upstream, &err));
    if (ok) {
        struct conf_input in = config_input(a, role, upstream, &hold);
        ok = ask_guard(j, &in, &err);
        config_hold_deinit(&hold);
    }
    if (!ok) {
        j->nothing_done = true;
        (void)err_wrap(&err, "starting PostgreSQL");
        job_end(j, &err);
        return;
    }
    local_look(a->local); /* the signal file */
    local_watch(a->local, LOCAL_ANSWER);
    j->deadline_ms = loop_clock_ms() + START_SEEN_MS;
    loop_timer_set(&j->timer, j->deadline_ms);
}

void job_start_notice(struct jobs *j)
{
    struct ha_pg pg;
    struct err err = {0};

    local_view(j->agent->local, &pg);
    if (j->refused || pg.deaths != j->deaths) {
        (void)err_set(&err, ERR_PG, "%s", j->refused ? j->error : "the postmaster ended while it started");
        add_last_words(j, &err);
        job_end(j, &err);
    } else if (pg.process == HA_PROC_RUNNING && pg.accepting) {
        callbacks_run(j->agent->callbacks, j->agent->instance,
                      j->agent->memory.restart.under_way ? CALLBACK_ON_RESTART : CALLBACK_ON_START,
                      pg.in_recovery ? "replica" : "primary");
        job_end(j, NULL);
    } else if (loop_clock_ms() >= j->deadline_ms) {
        if (pg.process != HA_PROC_RUNNING)
            (void)err_set(&err, ERR_TIMEOUT, "no postmaster appeared");
        job_end(j, pg.process == HA_PROC_RUNNING ? NULL : &err);
    }
}

/* ---- stop ---- */

_Static_assert(CHECKPOINT_MS + BEFORE_STOP_MS < GUARD_END_MS, "the guard hears of the stop before its patience ends");

static void tell_guard(struct jobs *j)
{
    static const enum guard_stop_mode modes[] = {
        [HA_STOP_FAST] = GUARD_STOP_FAST,
        [HA_STOP_IMMEDIATE] = GUARD_STOP_IMMEDIATE,
        [HA_STOP_KILL] = GUARD_STOP_KILL,
    };
    msec now_ms = loop_clock_ms();
    msec budget_ms = j->action.budget_ms ? j->action.budget_ms : STOP_DEFAULT_MS;

    struct err err = {0};

    j->signalled = true;
    if (!FAULT_CALL("job.stop.guard", &err,
                    guard_link_stop(j->agent->guard, modes[j->action.stop], now_ms + budget_ms * 3 / 4,
                                    now_ms + budget_ms, &err))) {
        job_end(j, &err);
        return;
    }
    j->agent->job_seq = guard_link_seq(j->agent->guard);
    local_watch(j->agent->local, LOCAL_STOPPING);
    j->deadline_ms = now_ms + budget_ms + 2000; /* the guard's kill takes a moment */
    loop_timer_set(&j->timer, j->deadline_ms);
    job_stop_notice(j);
}

static void before_stop_done(const struct err *err, void *arg)
{
    struct jobs *j = arg;

    j->script = NULL;
    if (err)
        log_warning("before_stop.failed", "%s, stopping all the same", err->text);
    tell_guard(j);
}

static void run_before_stop(struct jobs *j)
{
    const char *command = j->agent->dynamic->before_stop;
    struct err err = {0};

    /* In a hurry (the fence is near, somebody else leads) no script is waited for. */
    if (str_empty(command) || !j->action.in_good_time) {
        tell_guard(j);
        return;
    }
    if (!script_start(j->agent->loop, "before_stop", command, BEFORE_STOP_MS, before_stop_done, j, &j->script, &err)) {
        log_warning("before_stop.failed", "%s, stopping all the same", err.text);
        tell_guard(j);
    }
}

static void checkpoint_done(const struct sql_result *result, void *arg)
{
    struct jobs *j = arg;

    j->sql = NULL;
    FAULT_POINT("job.stop.checkpointed");
    if (result->status != SQL_DONE)
        log_warning("checkpoint.failed", "checkpoint before the stop: %s", result->err.text);
    run_before_stop(j);
}

void job_stop_begin(struct jobs *j)
{
    static const struct sql_statement checkpoint = {.text = "CHECKPOINT"};

    if (!j->action.checkpoint_first || !local_answers(j->agent->local)) {
        run_before_stop(j);
        return;
    }
    struct sql_target target = pg_instance_local(j->agent->instance, NULL);
    j->sql = sql_once(j->agent->loop, &target, &checkpoint, 1, CHECKPOINT_MS, checkpoint_done, j);
}

void job_stop_notice(struct jobs *j)
{
    struct ha_pg pg;
    struct err err = {0};

    if (!j->signalled)
        return;
    local_view(j->agent->local, &pg);
    if (pg.process == HA_PROC_NONE) {
        if (!j->agent->memory.restart.under_way) /* on_restart is told when it runs again, as by Patroni */
            callbacks_run(j->agent->callbacks, j->agent->instance, CALLBACK_ON_STOP,
                          node_role_text(j->agent->role_told));
        job_end(j, NULL);
    } else if (j->refused || loop_clock_ms() >= j->deadline_ms) {
        (void)err_set(&err, ERR_TIMEOUT, "%s", j->refused ? j->error : "processes of the instance are still there");
        job_end(j, &err);
    }
}

/* ---- promote ---- */

static void pre_promote_done(const struct err *err, void *arg)
{
    struct jobs *j = arg;

    j->script = NULL;
    job_end(j, err);
}

void job_pre_promote_begin(struct jobs *j)
{
    struct err err = {0};
    const char *command = j->agent->dynamic->pre_promote;

    if (!script_start(j->agent->loop, "pre_promote", command, 0, pre_promote_done, j, &j->script, &err))
        job_end(j, &err);
}

static void trigger(struct jobs *j)
{
    struct agent *a = j->agent;
    struct err err = {0};

    if (!FAULT_CALL("job.promote.skip", &err,
                    promote_skip_to(a->instance->data_dir, local_timeline(a->local), j->action.timeline, &err)) ||
        !FAULT_CALL("job.promote.trigger", &err,
                    promote_trigger(a->instance->data_dir, local_postmaster(a->local), &err))) {
        (void)datadir_clear_promote(a->instance->data_dir, NULL); /* the error to tell is the one above */
        job_end(j, &err);
        return;
    }
    FAULT_POINT("job.promote.triggered");
    j->signalled = true;
    j->nudge_ms = loop_clock_ms() + NUDGE_MS;
    local_watch(a->local, LOCAL_OPENING);
    loop_timer_set(&j->timer, j->nudge_ms);
}

static void resumed(const struct sql_result *result, void *arg)
{
    struct jobs *j = arg;

    (void)result; /* a server that cannot be asked shows in the promotion */
    j->sql = NULL;
    trigger(j);
}

static void session_ended(const struct conflict_ended *e, void *arg)
{
    (void)arg;
    log_warning("promote.session_ended",
                "ended session %d of %s in %s (%s): replay, and with it the promotion, waited for "
                "it (%s)",
                (int)e->pid, e->user ? e->user : "?", e->database ? e->database : "?",
                e->application_name ? e->application_name : "", e->wait);
}

void job_promote_begin(struct jobs *j)
{
    static const struct sql_statement resume = {.text = "SELECT pg_catalog.pg_wal_replay_resume()", .may_fail = true};
    const struct pg_facts *facts = local_facts(j->agent->local);

    j->conflict = conflict_start(j->agent->loop, j->agent->instance, session_ended, j);
    if (facts && facts->replay_paused) { /* a paused replay would never come to the promotion */
        struct sql_target target = pg_instance_local(j->agent->instance, NULL);
        j->sql = sql_once(j->agent->loop, &target, &resume, 1, 2000, resumed, j);
        return;
    }
    trigger(j);
}

/*
 * A startup process that takes the request just as its stream ends sleeps for wal_retrieve_retry_interval (5 s)
 * before it looks at it again (xlogrecovery.c, WaitForWALToBecomeAvailable). The same request again wakes it,
 * and nobody else.
 */
static void nudge(struct jobs *j)
{
    struct err err = {0};

    if (loop_clock_ms() < j->nudge_ms)
        return;
    j->nudge_ms = loop_clock_ms() + NUDGE_MS;
    loop_timer_set(&j->timer, j->nudge_ms);
    if (!promote_trigger(j->agent->instance->data_dir, local_postmaster(j->agent->local), &err))
        log_warning("promote.nudge", "%s", err.text);
}

void job_promote_notice(struct jobs *j)
{
    struct ha_pg pg;
    struct err err = {0};

    if (!j->signalled)
        return;
    local_view(j->agent->local, &pg);
    if (pg.accepting && pg.answered && !pg.in_recovery) {
        FAULT_POINT("job.promote.open");
        log_info("promote.open", "PostgreSQL left recovery and accepts writes");
        if (!MUTANT(PLACEHOLDERS_KEPT) &&
            !datadir_clear_promote(j->agent->instance->data_dir, &err)) /* of a request that came too late, too */
            log_warning("promote.not_withdrawn", "%s", err.text);
        job_end(j, NULL);
    } else if (pg.process != HA_PROC_RUNNING || pg.deaths != j->deaths) {
        (void)err_set(&err, ERR_PG, "the postmaster ended during the promotion");
        add_last_words(j, &err);
        job_end(j, &err);
    } else {
        nudge(j);
    }
}
