#include "live.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"
#include "io/child.h"
#include "pg/bin.h"
#include "pg/clone.h"
#include "pg/datadir.h"
#include "pg/initdb.h"
#include "pg/passfile.h"
#include "wire/conf/settings.h"

enum { WAIT_MS = 60 * 1000, SQL_MS = 20 * 1000 };

void live_wait(struct loop *l, const bool *flag, const char *what)
{
    msec until_ms = loop_clock_ms() + WAIT_MS;

    while (!*flag) {
        if (loop_clock_ms() >= until_ms)
            fail_msg("waited too long for %s", what);
        loop_turn(l, 100);
    }
}

/* A port nobody listens on at this moment. */
static int free_port(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);

    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    assert_int_equal(close(fd), 0);
    return ntohs(addr.sin_port);
}

void live_new(struct live *n, struct loop *l, const char *name, const char *more, const char *dynamic)
{
    *n = (struct live){.loop = l, .folder = config_folder(), .port = free_port()};
    AUTO(cstr) char *sockets = str_fmt("%s/run", n->folder);
    AUTO(cstr)
    char *section =
        str_fmt("  use_unix_socket: true\n"
                "  use_pg_rewind: true\n"
                "  parameters: {unix_socket_directories: %s, fsync: 'off', wal_keep_size: 64MB, shared_buffers: 8MB,"
                " log_checkpoints: 'on', max_wal_size: 64MB}\n"
                "%s",
                sockets, more ? more : "");
    AUTO(cstr) char *yaml = config_yaml(name, n->folder, n->port, section);
    n->config = config_make(yaml, dynamic ? dynamic : "{}");
}

void live_refresh(struct live *n)
{
    struct pg_instance *fresh = NULL;
    struct err err;

    if (!pg_instance_new(n->config.settings, n->config.dynamic, pg_bin_copy(n->config.instance->bin), &fresh, &err))
        fail_msg("%s", err.text);
    pg_instance_unref(n->config.instance);
    n->config.instance = fresh;
}

/* Every process whose working folder is the data directory. */
static void kill_all_of(const struct live *n)
{
    DIR *proc = opendir("/proc");

    assert_non_null(proc);
    for (struct dirent *e = readdir(proc); e; e = readdir(proc)) {
        char cwd[512];
        AUTO(cstr) char *link = str_fmt("/proc/%s/cwd", e->d_name);
        ssize_t len = readlink(link, cwd, sizeof(cwd) - 1);
        if (len <= 0)
            continue;
        cwd[len] = '\0';
        int pid = atoi(e->d_name);
        if (str_eq(cwd, n->config.instance->data_dir) && pid > 1)
            (void)kill(pid, SIGKILL);
    }
    (void)closedir(proc);
}

void live_stop(struct live *n, int signo)
{
    if (!n->postmaster)
        return;
    if (signo == SIGKILL)
        kill_all_of(n);
    else
        child_signal(n->postmaster, signo);
    live_wait(n->loop, &n->ended, "the postmaster's end");
    if (signo == SIGKILL)
        kill_all_of(n);
    n->postmaster = NULL;
}

void live_free(struct live *n)
{
    live_stop(n, SIGQUIT);
    config_free(&n->config);
    config_remove_folder(n->folder);
}

static void postmaster_ended(const struct child_result *result, void *arg)
{
    struct live *n = arg;

    (void)result;
    n->ended = true;
}

void live_launch(struct live *n, enum conf_role role, const struct live *upstream)
{
    AUTO(cstr) char *conninfo = upstream ? primary_conninfo(n->config.instance, "127.0.0.1", upstream->port) : NULL;
    struct pg_control control = {0};
    struct conf_input in = {.instance = n->config.instance, .role = role, .primary_conninfo = conninfo};
    struct findings findings = {0};
    struct conf_result result;
    struct err err = {0};
    char **argv = NULL;

    if (role == CONF_STANDBY) {
        control = live_control(n);
        in.control = &control;
    }
    bool good = passfile_write(n->config.instance, NULL, &err) && conffile_write(&in, &result, &findings, &err);
    if (good && role == CONF_STANDBY)
        good = datadir_set_standby_signal(n->config.instance->data_dir, &err);
    else if (good && role == CONF_PRIMARY)
        good = datadir_clear_signals(n->config.instance->data_dir, &err);
    good = good && conffile_postmaster_args(&in, &argv, &findings, &err);
    findings_deinit(&findings);
    n->ended = false;
    struct child_spec spec = {.argv = (const char *const *)argv};
    if (!good || !child_start(n->loop, &spec, postmaster_ended, n, &n->postmaster, &err))
        fail_msg("%s", err.text);
    n->pid = child_pid(n->postmaster);
    conffile_args_free(argv);
}

void live_start(struct live *n, const struct live *upstream)
{
    live_launch(n, upstream ? CONF_STANDBY : CONF_PRIMARY, upstream);
    live_query_until(n, "SELECT 1", "1");
}

struct outcome {
    bool done;
    bool failed;
    struct err err;
};

static void ended(const struct err *err, void *arg)
{
    struct outcome *o = arg;

    o->done = true;
    if (err) {
        o->failed = true;
        o->err = *err;
    }
}

static void must_succeed(struct live *n, struct outcome *o, const char *what)
{
    live_wait(n->loop, &o->done, what);
    if (o->failed)
        fail_msg("%s: %s", what, o->err.text);
}

void live_bootstrap(struct live *n)
{
    struct bootstrap_job *job;
    struct outcome made = {0};
    struct outcome users = {0};
    struct err err;

    if (!bootstrap_create(n->loop, n->config.instance, ended, &made, &job, &err))
        fail_msg("%s", err.text);
    must_succeed(n, &made, "bootstrap");
    live_refresh(n);
    live_launch(n, CONF_BOOTSTRAP, NULL);
    live_query_until(n, "SELECT 1", "1");
    assert_true(bootstrap_users(n->loop, n->config.instance, SQL_MS, ended, &users, &job, &err));
    must_succeed(n, &users, "users");
    assert_true(datadir_unmark(n->config.instance->state_dir, NULL));
    AUTO(cstr) char *answer = live_query(n, "CREATE TABLE public.t(i int)");
    assert_null(answer);
}

static void clone_ended(const char *method, const struct err *err, void *arg)
{
    (void)method;
    ended(err, arg);
}

void live_clone(struct live *n, const struct live *upstream)
{
    struct pg_control control = live_control((struct live *)(uintptr_t)upstream);
    AUTO(cstr) char *conninfo = primary_conninfo(n->config.instance, "127.0.0.1", upstream->port);
    struct clone_spec spec = {
        .instance = n->config.instance,
        .source = {.name = "upstream",
                   .host = "127.0.0.1",
                   .port = upstream->port,
                   .system_identifier = control.system_identifier},
        .primary_conninfo = conninfo,
    };
    struct outcome o = {0};
    struct clone_job *job;
    struct err err;

    if (!clone_start(n->loop, &spec, clone_ended, &o, &job, &err))
        fail_msg("%s", err.text);
    must_succeed(n, &o, "clone");
    live_refresh(n);
}

struct query {
    bool done;
    char *answer;
};

static void answered(const struct sql_result *result, void *arg)
{
    struct query *q = arg;

    q->done = true;
    if (result->status == SQL_DONE) {
        const struct sql_rows *rows = &result->rows[0];
        q->answer = rows->row_count ? str_dup(sql_cell(rows, 0, 0)) : NULL;
    } else {
        q->answer = result->sqlstate[0] ? str_dup(result->sqlstate) : str_fmt("%s", result->err.text);
    }
}

char *live_query(struct live *n, const char *sql)
{
    struct sql_target target = pg_instance_local(n->config.instance, NULL);
    struct sql_statement statement = {.text = sql};
    struct query q = {0};

    (void)sql_once(n->loop, &target, &statement, 1, SQL_MS, answered, &q);
    live_wait(n->loop, &q.done, sql);
    return q.answer;
}

void live_query_until(struct live *n, const char *sql, const char *wanted)
{
    msec until_ms = loop_clock_ms() + WAIT_MS;

    for (;;) {
        AUTO(cstr) char *answer = live_query(n, sql);
        if (str_eq(answer, wanted))
            return;
        if (n->ended || loop_clock_ms() >= until_ms) {
            AUTO(cstr) char *log = str_fmt("%s/postmaster.log", n->config.instance->state_dir);
            fail_msg("%s: \"%s\", wanted \"%s\"%s", sql, answer ? answer : "NULL", wanted,
                     n->ended ? " (server ended)" : "");
        }
        loop_turn(n->loop, 20);
    }
}

struct probing {
    bool done;
    struct pg_facts *facts;
    struct err err;
};

static void probed(const struct probe_answer *answer, void *arg)
{
    struct probing *p = arg;

    p->done = true;
    p->facts = answer->take_facts;
    p->err = answer->err;
}

struct pg_facts *live_facts(struct live *n)
{
    struct sql_target target = pg_instance_local(n->config.instance, NULL);
    struct sql_target replication = pg_instance_local_replication(n->config.instance);
    struct probing p = {0};

    AUTO(probe) struct probe *probe = probe_new(n->loop, &target, probed, &p);
    probe_set_replication(probe, &replication);
    probe_ask(probe, SQL_MS);
    live_wait(n->loop, &p.done, "the probe");
    if (!p.facts)
        fail_msg("%s", p.err.text);
    return p.facts;
}

struct reading {
    bool done;
    struct pg_control control;
    struct err err;
};

static void control_read(const struct pg_control *control, const struct err *err, void *arg)
{
    struct reading *r = arg;

    r->done = true;
    if (control)
        r->control = *control;
    else
        r->err = *err;
}

struct pg_control live_control(struct live *n)
{
    struct pg_control_job *job;
    struct reading r = {0};
    struct err err;

    if (!pg_control_read(n->loop, n->config.instance->bin, n->config.instance->data_dir, SQL_MS, control_read, &r, &job,
                         &err))
        fail_msg("%s", err.text);
    live_wait(n->loop, &r.done, "pg_controldata");
    if (!r.control.system_identifier[0])
        fail_msg("%s", r.err.text);
    return r.control;
}
