#include "pgrig.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char bin_dir[256];
static struct rig template_rig;

static void nap(void)
{
    const struct timespec step = {.tv_nsec = 5000000};

    (void)nanosleep(&step, NULL);
}

bool pgrig_find(void)
{
    glob_t found;

    if (glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found) != 0)
        return false;
    const char *newest = found.gl_pathv[found.gl_pathc - 1];
    (void)snprintf(bin_dir, sizeof(bin_dir), "%.*s", (int)(strlen(newest) - strlen("/initdb")), newest);
    globfree(&found);
    return true;
}

int pgrig_make_template(void **state)
{
    char initdb[300];
    rig_init(&template_rig);
    const char *const argv[] = {initdb,  "-D",        template_rig.data_dir, "-U", "postgres", "-A",
                                "trust", "--no-sync", "--wal-segsize=1",     NULL};

    (void)snprintf(initdb, sizeof(initdb), "%s/initdb", bin_dir);
    assert_int_equal(rig_run(&template_rig, argv, NULL), 0);
    return 0;
}

int pgrig_drop_template(void **state)
{
    rig_deinit(&template_rig);
    return 0;
}

void pgrig_init(struct rig *r)
{
    rig_init(r);
    assert_int_equal(rmdir(r->data_dir), 0);
    assert_int_equal(rename(template_rig.data_dir, r->data_dir), 0);
    (void)snprintf(r->guard_options, sizeof(r->guard_options), "--agent-silence-ms 10000");
}

void pgrig_deinit(struct rig *r)
{
    char path[200];

    rig_end(r);
    (void)snprintf(path, sizeof(path), "%s/postmaster.pid", r->data_dir);
    (void)unlink(path);
    assert_int_equal(rename(r->data_dir, template_rig.data_dir), 0);
    rig_deinit(r);
}

static void log_path(const struct rig *r, char *path, size_t cap)
{
    (void)snprintf(path, cap, "%s/postgres.log", r->dir);
}

static void add_argument(struct guard_msg *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void add_argument(struct guard_msg *m, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    int len = vsnprintf(m->args + m->args_len, sizeof(m->args) - m->args_len, fmt, args);
    va_end(args);
    m->args_len += (uint32_t)len + 1;
}

struct guard_msg pgrig_start_message(const struct rig *r)
{
    struct guard_msg m = rig_message(GUARD_START);

    add_argument(&m, "%s/postgres", bin_dir);
    add_argument(&m, "-D");
    add_argument(&m, "%s", r->data_dir);
    add_argument(&m, "--listen_addresses=");
    add_argument(&m, "--unix_socket_directories=%s", r->dir);
    add_argument(&m, "--fsync=off");
    add_argument(&m, "--shared_buffers=8MB");
    add_argument(&m, "--max_connections=10");
    log_path(r, m.log_path, sizeof(m.log_path));
    return m;
}

pid_t pgrig_start(struct rig *r)
{
    struct guard_msg start = pgrig_start_message(r);

    assert_true(rig_ask(r, &start));
    assert_int_equal(r->last.pg_state, GUARD_PG_RUNNING);
    pid_t pid = r->last.postmaster_pid;
    assert_true(pid > 0);
    pgrig_until_ready(r);
    return pid;
}

pid_t pgrig_start_foreign(struct rig *r)
{
    struct guard_msg m = pgrig_start_message(r);
    const char *argv[32];
    size_t argc = 0;
    char log[200];

    for (size_t at = 0; at < m.args_len; at += strlen(m.args + at) + 1)
        argv[argc++] = m.args + at;
    argv[argc] = NULL;
    log_path(r, log, sizeof(log));
    pid_t pid = rig_spawn(r, argv, log);
    pgrig_until_ready(r);
    return pid;
}

PGconn *pgrig_connect(const struct rig *r)
{
    char conninfo[256];

    (void)snprintf(conninfo, sizeof(conninfo), "host=%s user=postgres dbname=postgres connect_timeout=5", r->dir);
    PGconn *conn = PQconnectdb(conninfo);
    assert_int_equal(PQstatus(conn), CONNECTION_OK);
    return conn;
}

PGconn *pgrig_stopped_backend(const struct rig *r, pid_t *ret_pid)
{
    PGconn *conn = pgrig_connect(r);

    *ret_pid = PQbackendPID(conn);
    assert_int_equal(kill(*ret_pid, SIGSTOP), 0);
    return conn;
}

void pgrig_until_ready(const struct rig *r)
{
    msec deadline_ms = rig_now_ms() + 20000;
    char conninfo[256];

    (void)snprintf(conninfo, sizeof(conninfo), "host=%s user=postgres dbname=postgres connect_timeout=5", r->dir);
    while (PQping(conninfo) != PQPING_OK) {
        assert_true(rig_now_ms() < deadline_ms);
        nap();
    }
}

pid_t pgrig_make_busy(PGconn *conn)
{
    /* One expression without a CHECK_FOR_INTERRUPTS that would notice the postmaster's death. */
    assert_int_equal(PQsendQuery(conn, "SELECT count(*) FROM generate_series(1, 2000000000) i"), 1);
    while (PQflush(conn) > 0)
        nap();
    return PQbackendPID(conn);
}

pid_t pgrig_pid(const struct rig *r)
{
    char path[200];
    char line[32] = "";

    (void)snprintf(path, sizeof(path), "%s/postmaster.pid", r->data_dir);
    FILE *f = fopen(path, "r");
    if (!f)
        return 0;
    const char *got = fgets(line, sizeof(line), f);
    (void)fclose(f);
    return got ? (pid_t)strtol(line, NULL, 10) : 0;
}

bool pgrig_log_says(const struct rig *r, const char *text, msec wait_ms)
{
    char path[200];

    log_path(r, path, sizeof(path));
    return rig_file_says(path, text, wait_ms);
}
