#include "pg/reload.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/mutant.h"
#include "base/str.h"
#include "io/loop.h"
#include "pg/instance.h"
#include "pg/sql.h"

enum {
    FIRST_WAIT_MS = 1, /* before the next session: a reload takes a millisecond or two */
    WAIT_MAX_MS = 20,  /* each session is a process */
};

struct want {
    char *name, *value, *file;
};

struct reload_job {
    struct loop *loop;
    struct sql_target target; /* points into *instance */
    struct pg_instance *instance;
    pid_t postmaster;
    struct want wants[RELOAD_WANTS_MAX];
    size_t want_count;
    msec deadline_ms, wait_ms;
    int64_t asked_us; /* wall clock, before the SIGHUP */
    struct sql *sql;
    struct loop_timer timer;
    struct err last; /* why it is not proved so far */
    bool telling;
    reload_fn *fn;
    void *arg;
};

static void job_free(struct reload_job *j)
{
    sql_free(j->sql);
    loop_timer_clear(&j->timer);
    for (size_t i = 0; i < j->want_count; i++) {
        free(j->wants[i].name);
        free(j->wants[i].value);
        free(j->wants[i].file);
    }
    pg_instance_unref(j->instance);
    free(j);
}

void reload_cancel(struct reload_job *j)
{
    if (j && !j->telling)
        job_free(j);
}

static void tell(struct reload_job *j, struct reload_result *result)
{
    j->telling = true;
    j->fn(result, j->arg);
    job_free(j);
}

static void tell_failure(struct reload_job *j, const struct err *err)
{
    struct reload_result result = {.err = *err};

    (void)err_wrap(&result.err, "not proved that the configuration is in force");
    tell(j, &result);
}

/* ---- what a session says ---- */

static bool is_file(const char *path, const char *wanted)
{
    struct stat a;
    struct stat b;

    return path && stat(path, &a) == 0 && stat(wanted, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static int row_of(const struct sql_rows *rows, const char *name)
{
    for (int row = 0; row < rows->row_count; row++) {
        if (str_eq(sql_cell(rows, row, 0), name))
            return row;
    }
    return -1;
}

/* The values of conninfo may be long and are nobody's business. */
static bool check_want(const struct want *w, const struct sql_rows *rows, struct err *err)
{
    int row = row_of(rows, w->name);

    if (row < 0)
        return err_set(err, ERR_PG, "%s cannot be seen: it takes a superuser", w->name);
    const char *value = sql_cell(rows, row, 1);
    const char *file = sql_cell(rows, row, 3);
    const char *line = sql_cell(rows, row, 4);
    if (str_eq(value, w->value) && is_file(file, w->file))
        return true;
    if (!file)
        return err_set(err, ERR_CONFLICT, "%s comes from %s, not from %s", w->name, sql_cell(rows, row, 2), w->file);
    bool ours = is_file(file, w->file);
    return err_set(err, ERR_CONFLICT, "%s is set to %s in %s line %s%s", w->name,
                   str_eq(value, w->value) ? "the same" : "something else", file, line ? line : "?",
                   ours                                     ? ""
                   : str_ends(file, "postgresql.auto.conf") ? ": ALTER SYSTEM overrides our file"
                                                            : ", which overrides our file");
}

static int64_t cell_number(const struct sql_rows *rows, int column)
{
    int64_t value = 0;

    return str_to_int(sql_cell(rows, 0, column), INT64_MIN, INT64_MAX, &value) ? value : 0;
}

enum verdict { PROVED, NOT_YET, NEVER };

static enum verdict judge(const struct reload_job *j, const struct sql_result *result, struct reload_result *ret,
                          struct err *err)
{
    const struct sql_rows *meta = &result->rows[0];
    const char *file_error = sql_cell(meta, 0, 2);

    ret->loaded_us = cell_number(meta, 0);
    ret->connected_us = cell_number(meta, 1);
    if (MUTANT(RELOAD_UNPROVED))
        return PROVED;
    if (file_error && !MUTANT(LOAD_TIME_AS_PROOF)) {
        (void)err_set(err, ERR_INPUT, "%s", file_error);
        return NEVER;
    }
    if (ret->loaded_us <= j->asked_us) {
        (void)err_set(err, ERR_TIMEOUT, "the postmaster has not read its files since");
        return NOT_YET;
    }
    if (MUTANT(LOAD_TIME_AS_PROOF))
        return PROVED;
    if (ret->connected_us <= ret->loaded_us) {
        (void)err_set(err, ERR_TIMEOUT, "no session since the reload");
        return NOT_YET;
    }
    for (size_t i = 0; i < j->want_count && !MUTANT(FENCE_BY_DELETION); i++) {
        if (!check_want(&j->wants[i], &result->rows[1], err))
            return NEVER;
    }
    return PROVED;
}

/* ---- sessions ---- */

static void ask_again(struct reload_job *j)
{
    msec now_ms = loop_clock_ms();

    if (now_ms >= j->deadline_ms) {
        tell_failure(j, &j->last);
        return;
    }
    loop_timer_set(&j->timer, msec_min(now_ms + j->wait_ms, j->deadline_ms));
    j->wait_ms = msec_min(j->wait_ms * 2, WAIT_MAX_MS);
}

static void answered(const struct sql_result *result, void *arg)
{
    struct reload_job *j = arg;
    struct reload_result found = {0};
    struct err err = result->err;
    enum verdict verdict = NOT_YET; /* a server that starts, or has no room for a session */

    if (result->status == SQL_DONE)
        verdict = judge(j, result, &found, &err);
    j->last = err;
    switch (verdict) {
    case PROVED:
        found.proved = true;
        found.take_sql = TAKE(j->sql);
        tell(j, &found);
        return;
    case NEVER:
        tell_failure(j, &err);
        return;
    case NOT_YET:
        sql_free(TAKE(j->sql));
        ask_again(j);
        return;
    }
    UNREACHABLE();
}

static void ask(void *arg)
{
    /* An entry that waits for a restart is shown as an error, and is none of the reload. */
    static const char meta[] =
        "SELECT (EXTRACT(epoch FROM pg_conf_load_time()) * 1000000)::bigint,"
        " (SELECT (EXTRACT(epoch FROM backend_start) * 1000000)::bigint FROM pg_stat_get_activity(pg_backend_pid())),"
        " (SELECT format('%s line %s: %s', f.sourcefile, f.sourceline, concat_ws(': ', f.name, f.error))"
        "   FROM pg_file_settings f WHERE f.error IS NOT NULL AND NOT EXISTS"
        "   (SELECT FROM pg_settings s WHERE lower(s.name) = lower(f.name) AND s.pending_restart)"
        "   ORDER BY f.seqno LIMIT 1)";
    static const char settings[] = "SELECT name, setting, source, sourcefile, sourceline FROM pg_settings"
                                   " WHERE name = ANY (string_to_array($1, ' '))";
    struct reload_job *j = arg;
    AUTO(buf) struct buf names = BUF_EMPTY;
    msec left_ms = j->deadline_ms - loop_clock_ms();

    if (left_ms <= 0) {
        tell_failure(j, &j->last);
        return;
    }
    for (size_t i = 0; i < j->want_count; i++)
        buf_printf(&names, "%s%s", i ? " " : "", j->wants[i].name);
    const char *param = buf_cstr(&names);
    struct sql_statement statements[] = {{.text = meta}, {.text = settings, .params = &param, .param_count = 1}};
    j->sql = sql_new(j->loop, &j->target);
    sql_run(j->sql, statements, (int)ARRAY_LEN(statements), left_ms, answered, j);
}

static void begin(void *arg)
{
    struct reload_job *j = arg;
    struct timespec now;

    CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
    j->asked_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    if (kill(j->postmaster, SIGHUP) != 0) {
        (void)err_sys(&j->last, errno, "signalling postmaster %d", (int)j->postmaster);
        tell_failure(j, &j->last);
        return;
    }
    loop_timer_clear(&j->timer);
    loop_timer_init(&j->timer, j->loop, ask, j);
    ask(j);
}

struct reload_job *reload_start(struct loop *l, struct pg_instance *i, pid_t postmaster,
                                const struct reload_want *wants, size_t count, msec budget_ms, reload_fn *fn, void *arg)
{
    struct reload_job *j = mem_zero(1, sizeof(*j));

    CHECK(count <= RELOAD_WANTS_MAX);
    CHECK(postmaster > 1);
    j->loop = l;
    j->instance = pg_instance_ref(i);
    j->target = pg_instance_local(i, NULL);
    j->postmaster = postmaster;
    j->deadline_ms = loop_clock_ms() + budget_ms;
    j->wait_ms = FIRST_WAIT_MS;
    j->fn = fn;
    j->arg = arg;
    (void)err_set(&j->last, ERR_TIMEOUT, "no answer");
    for (size_t n = 0; n < count; n++)
        j->wants[j->want_count++] = (struct want){
            .name = str_dup(wants[n].name), .value = str_dup(wants[n].value), .file = str_dup(wants[n].file)};
    loop_timer_init(&j->timer, l, begin, j);
    loop_timer_set(&j->timer, loop_clock_ms());
    return j;
}
