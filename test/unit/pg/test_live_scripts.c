/* The operator's programs: callbacks, waited-for scripts, a custom bootstrap method with recovery, post_bootstrap. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/str.h"
#include "live.h"
#include "pg/callbacks.h"
#include "pg/datadir.h"
#include "pg/file.h"
#include "pg/initdb.h"
#include "wire/conf/settings.h"

static struct loop *l;

static int start_all(void **state)
{
    l = loop_new();
    return 0;
}

static int stop_all(void **state)
{
    loop_free(l);
    return 0;
}

static char *script(const char *folder, const char *name, const char *text)
{
    char *path = str_fmt("%s/%s", folder, name);

    config_spill(path, text);
    assert_int_equal(chmod(path, 0755), 0);
    return path;
}

/* ---- callbacks ---- */

struct called {
    int calls;
    bool done;
    enum callback_action action;
    bool good;
    struct err err;
};

static void called(enum callback_action action, const struct err *err, void *arg)
{
    struct called *c = arg;

    c->calls++;
    c->done = true;
    c->action = action;
    c->good = !err;
    if (err)
        c->err = *err;
}

struct scripts {
    char *folder;
    struct config config;
    struct callbacks *callbacks;
    struct called called;
    char *log;
};

/* text with every @ replaced; free() it. */
static char *with_path(const char *text, const char *path)
{
    AUTO(buf) struct buf out = BUF_EMPTY;

    for (const char *c = text; *c; c++) {
        if (*c == '@')
            buf_add_str(&out, path);
        else
            buf_add_char(&out, *c);
    }
    return buf_take(&out);
}

/* callbacks: lines of the postgresql section; @ stands for a script that logs its arguments. */
static void scripts_make(struct scripts *s, const char *callbacks)
{
    *s = (struct scripts){.folder = config_folder()};
    s->log = str_fmt("%s/log", s->folder);
    AUTO(cstr)
    char *path = script(s->folder, "cb",
                        "#!/bin/sh\necho \"$@\" >> \"$(dirname \"$0\")/log\"\n"
                        "[ \"$1\" = slow ] && sleep 30\n[ \"$1\" = bad ] && exit 4\nexit 0\n");
    AUTO(cstr) char *more = with_path(callbacks, path);
    AUTO(cstr) char *yaml = config_yaml("n1", s->folder, 5440, more);
    s->config = config_make(yaml, "{}");
    s->callbacks = callbacks_new(l, called, &s->called);
}

static void scripts_drop(struct scripts *s)
{
    callbacks_free(s->callbacks);
    config_free(&s->config);
    free(s->log);
    config_remove_folder(s->folder);
}

#define CALLBACKS "  callbacks: {on_start: '@', on_role_change: '@ slow', on_reload: '@ bad'}\n"

static void test_a_callback_gets_action_role_and_scope(void **state)
{
    struct scripts s;

    scripts_make(&s, CALLBACKS);
    callbacks_run(s.callbacks, s.config.instance, CALLBACK_ON_STOP, "primary"); /* none is configured */
    assert_false(callbacks_running(s.callbacks));
    callbacks_run(s.callbacks, s.config.instance, CALLBACK_ON_START, "replica");
    assert_true(callbacks_running(s.callbacks));
    live_wait(l, &s.called.done, "the callback");
    assert_int_equal(s.called.action, CALLBACK_ON_START);
    assert_true(s.called.good);
    AUTO(cstr) char *text = config_slurp(s.log);
    assert_string_equal(text, "on_start replica test\n");
    scripts_drop(&s);
}

static void test_a_new_callback_kills_the_old_but_a_reload_does_not(void **state)
{
    struct scripts s;
    msec begin_ms = loop_clock_ms();

    scripts_make(&s, CALLBACKS);
    callbacks_run(s.callbacks, s.config.instance, CALLBACK_ON_ROLE_CHANGE, "primary"); /* sleeps 30 s */
    callbacks_run(s.callbacks, s.config.instance, CALLBACK_ON_RELOAD, "primary");
    live_wait(l, &s.called.done, "the reload's callback");
    assert_int_equal(s.called.action, CALLBACK_ON_RELOAD);
    assert_false(s.called.good);
    assert_non_null(strstr(s.called.err.text, "exit 4"));
    assert_true(callbacks_running(s.callbacks));

    s.called.done = false;
    callbacks_run(s.callbacks, s.config.instance, CALLBACK_ON_START, "replica");
    live_wait(l, &s.called.done, "the newer callback");
    assert_int_equal(s.called.action, CALLBACK_ON_START);
    assert_int_equal(s.called.calls, 2); /* the killed one says nothing */
    assert_false(callbacks_running(s.callbacks));
    assert_true(loop_clock_ms() - begin_ms < 20000);
    scripts_drop(&s);
}

static void test_a_callback_that_cannot_start_is_told(void **state)
{
    struct scripts s;

    scripts_make(&s, "  callbacks: {on_start: '/nowhere/x', on_stop: \"un'finished\"}\n");
    callbacks_run(s.callbacks, s.config.instance, CALLBACK_ON_START, "replica");
    assert_true(s.called.done && !s.called.good);
    s.called.done = false;
    callbacks_run(s.callbacks, s.config.instance, CALLBACK_ON_STOP, "replica");
    assert_true(s.called.done && !s.called.good);
    scripts_drop(&s);
}

struct outcome {
    bool done, good;
    struct err err;
};

static void ended(const struct err *err, void *arg)
{
    struct outcome *o = arg;

    o->done = true;
    o->good = !err;
    if (err)
        o->err = *err;
}

static void test_a_script_is_waited_for_and_may_run_late(void **state)
{
    struct outcome good = {0}, bad = {0}, late = {0}, cancelled = {0};
    struct script_job *job;
    struct err err;

    assert_true(script_start(l, "pre_promote", "sh -c 'exit 0'", 0, ended, &good, &job, NULL));
    live_wait(l, &good.done, "the script");
    assert_true(good.good);
    assert_true(script_start(l, "pre_promote", "sh -c 'echo not now >&2; exit 9'", 0, ended, &bad, &job, NULL));
    live_wait(l, &bad.done, "the script");
    assert_string_equal(bad.err.text, "pre_promote: exit 9: not now");
    assert_true(script_start(l, "before_stop", "sleep 30", 200, ended, &late, &job, NULL));
    live_wait(l, &late.done, "the budget");
    assert_int_equal(late.err.code, ERR_TIMEOUT);
    assert_true(script_start(l, "before_stop", "sleep 30", 0, ended, &cancelled, &job, NULL));
    script_cancel(job);
    script_cancel(NULL);
    for (int i = 0; i < 5; i++)
        loop_turn(l, 20);
    assert_false(cancelled.done);
    assert_false(script_start(l, "pre_promote", "'", 0, ended, &bad, &job, &err));
    assert_true(str_starts(err.text, "pre_promote: "));
}

/* ---- bootstrap by other means ---- */

static void restore_script(struct live *n, const struct live *from, const char *more)
{
    AUTO(cstr)
    char *text = str_fmt(
        "#!/bin/sh\nset -e\necho \"$@\" > %s/args\n"
        "for a; do case $a in --datadir=*) d=${a#--datadir=};; esac; done\n"
        "rmdir \"$d\" 2>/dev/null || true\ncp -a %s \"$d\"\nrm -f \"$d\"/postmaster.pid \"$d\"/pg_hba.conf\n%s\n",
        n->folder, from->config.instance->data_dir, more);
    AUTO(cstr) char *path = script(n->folder, "restore", text);
    (void)path;
}

/* A node whose bootstrap method copies the stopped cluster of another. */
static void test_a_custom_method_restores_and_passwords_are_set_anew(void **state)
{
    struct live old, fresh;
    struct bootstrap_job *job;
    struct outcome made = {0}, users = {0}, post = {0};
    struct err err;

    live_new(&old, l, "old", NULL, NULL);
    live_bootstrap(&old);
    AUTO(cstr) char *rows = live_query(&old, "INSERT INTO public.t VALUES (7)");
    live_stop(&old, SIGINT);

    live_new(&fresh, l, "fresh", NULL, NULL);
    AUTO(cstr)
    char *post_path = script(fresh.folder, "post",
                             "#!/bin/sh\necho \"$1\" > \"$(dirname \"$0\")/post.args\"\n"
                             "exec psql -X \"$1\" -c 'CREATE TABLE public.made_by_post(i int)'\n");
    AUTO(cstr)
    char *section = str_fmt("  use_unix_socket: true\n  parameters: {unix_socket_directories: %s/run, fsync: 'off'}\n",
                            fresh.folder);
    AUTO(cstr) char *base = config_yaml("fresh", fresh.folder, fresh.port, section);
    AUTO(cstr)
    char *yaml = str_fmt("%sbootstrap:\n  method: copy\n  post_bootstrap: %s\n  copy: {command: '%s/restore', level: 5,"
                         " recovery_conf: {restore_command: 'false', recovery_target_timeline: latest,"
                         " recovery_target_action: promote}}\n",
                         base, post_path, fresh.folder);
    config_free(&fresh.config);
    fresh.config = config_make(yaml, "{}");
    restore_script(&fresh, &old, "touch \"$d\"/promote \"$d\"/standby.signal");

    assert_true(bootstrap_is_custom(fresh.config.instance));
    if (!bootstrap_create(l, fresh.config.instance, ended, &made, &job, &err))
        fail_msg("%s", err.text);
    live_wait(l, &made.done, "the restore");
    if (!made.good)
        fail_msg("%s", made.err.text);
    AUTO(cstr) char *args_path = str_fmt("%s/args", fresh.folder);
    AUTO(cstr) char *args = config_slurp(args_path);
    AUTO(cstr) char *wanted = str_fmt("--scope=test --datadir=%s --level=5\n", fresh.config.instance->data_dir);
    assert_string_equal(args, wanted);
    struct datadir_state s;
    datadir_look(fresh.config.instance->data_dir, fresh.config.instance->state_dir, &s, NULL);
    assert_int_equal(s.kind, DATADIR_HALF);
    assert_int_equal(s.marker, DATADIR_MARK_BOOTSTRAP);
    assert_false(s.promote_file);
    assert_true(s.recovery_signal && !s.standby_signal);

    live_refresh(&fresh);
    live_launch(&fresh, CONF_BOOTSTRAP, NULL);
    live_query_until(&fresh, "SELECT pg_is_in_recovery()", "f");
    AUTO(cstr) char *kept = live_query(&fresh, "SELECT i FROM public.t");
    assert_string_equal(kept, "7");
    assert_true(bootstrap_users(l, fresh.config.instance, 20000, ended, &users, &job, NULL));
    live_wait(l, &users.done, "users");
    if (!users.good)
        fail_msg("%s", users.err.text);
    assert_true(bootstrap_script(l, fresh.config.instance, ended, &post, &job, NULL));
    live_wait(l, &post.done, "post_bootstrap");
    if (!post.good)
        fail_msg("%s", post.err.text);
    live_query_until(&fresh, "SELECT count(*) FROM pg_class WHERE relname = 'made_by_post'", "1");
    AUTO(cstr) char *post_args_path = str_fmt("%s/post.args", fresh.folder);
    AUTO(cstr) char *post_args = config_slurp(post_args_path);
    assert_non_null(strstr(post_args, "dbname=postgres"));
    assert_null(strstr(post_args, "secret"));
    live_free(&fresh);
    live_free(&old);
}

static void test_a_method_that_fails_or_lies_is_told(void **state)
{
    struct live n;
    struct bootstrap_job *job;
    struct outcome made = {0}, lied = {0};

    live_new(&n, l, "n", NULL, NULL);
    AUTO(cstr) char *base = config_yaml("n", n.folder, n.port, NULL);
    AUTO(cstr)
    char *failing = str_fmt("%sbootstrap: {method: x, x: {command: \"sh -c 'echo no backup >&2; exit 3'\"}}\n", base);
    AUTO(cstr) char *lying = str_fmt("%sbootstrap: {method: x, x: {command: /bin/true, no_params: true}}\n", base);

    config_free(&n.config);
    n.config = config_make(failing, "{}");
    assert_true(bootstrap_create(l, n.config.instance, ended, &made, &job, NULL));
    live_wait(l, &made.done, "the method");
    assert_false(made.good);
    assert_non_null(strstr(made.err.text, "no backup"));
    config_free(&n.config);
    n.config = config_make(lying, "{}");
    assert_true(bootstrap_create(l, n.config.instance, ended, &lied, &job, NULL));
    live_wait(l, &lied.done, "the method");
    assert_false(lied.good);
    assert_non_null(strstr(lied.err.text, "no data directory"));
    live_free(&n);
}

static void test_initdb_takes_its_options_and_refuses_forbidden_ones(void **state)
{
    struct live n;
    struct bootstrap_job *job;
    struct outcome made = {0};
    struct err err;

    live_new(&n, l, "n", NULL, NULL);
    AUTO(cstr) char *base = config_yaml("n", n.folder, n.port, NULL);
    AUTO(cstr) char *bad = str_fmt("%sbootstrap: {initdb: [{pgdata: /elsewhere}]}\n", base);
    AUTO(cstr)
    char *good = str_fmt("%sbootstrap: {initdb: [data-checksums, {encoding: UTF8}, {wal-segsize: '4'}]}\n", base);

    config_free(&n.config);
    n.config = config_make(bad, "{}");
    assert_false(bootstrap_create(l, n.config.instance, ended, &made, &job, &err));
    assert_non_null(strstr(err.text, "pgdata"));
    config_free(&n.config);
    n.config = config_make(good, "{}");
    assert_true(bootstrap_create(l, n.config.instance, ended, &made, &job, NULL));
    live_wait(l, &made.done, "initdb");
    if (!made.good)
        fail_msg("%s", made.err.text);
    struct pg_control control = live_control(&n);
    assert_int_equal(control.checksum_version, 1);
    assert_int_equal(control.wal_segment_size, 4 * 1024 * 1024);
    live_free(&n);
}

static void test_initdb_fills_a_directory_with_lost_and_found_and_can_be_cancelled(void **state)
{
    struct live n;
    struct bootstrap_job *job;
    struct outcome made = {0}, cancelled = {0};
    struct datadir_state s;

    live_new(&n, l, "n", NULL, NULL);
    AUTO(cstr) char *found = str_fmt("%s/lost+found", n.config.instance->data_dir);
    assert_true(dir_make(found, 0700, NULL));
    assert_true(bootstrap_create(l, n.config.instance, ended, &cancelled, &job, NULL));
    loop_turn(l, 50);
    bootstrap_cancel(job);
    bootstrap_cancel(NULL);
    for (int i = 0; i < 10; i++)
        loop_turn(l, 50);
    assert_false(cancelled.done);
    AUTO(cstr) char *pwfile = str_fmt("%s/initdb.pwfile", n.config.instance->state_dir);
    assert_false(file_exists(pwfile));
    assert_true(datadir_remove_job(l, n.config.instance->data_dir, wall_clock_ms(), NULL));

    assert_true(bootstrap_create(l, n.config.instance, ended, &made, &job, NULL));
    live_wait(l, &made.done, "initdb");
    if (!made.good)
        fail_msg("%s", made.err.text);
    assert_true(datadir_unmark(n.config.instance->state_dir, NULL));
    datadir_look(n.config.instance->data_dir, n.config.instance->state_dir, &s, NULL);
    assert_int_equal(s.kind, DATADIR_VALID);
    live_free(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_callback_gets_action_role_and_scope),
        cmocka_unit_test(test_a_new_callback_kills_the_old_but_a_reload_does_not),
        cmocka_unit_test(test_a_callback_that_cannot_start_is_told),
        cmocka_unit_test(test_a_script_is_waited_for_and_may_run_late),
        cmocka_unit_test(test_a_custom_method_restores_and_passwords_are_set_anew),
        cmocka_unit_test(test_a_method_that_fails_or_lies_is_told),
        cmocka_unit_test(test_initdb_takes_its_options_and_refuses_forbidden_ones),
        cmocka_unit_test(test_initdb_fills_a_directory_with_lost_and_found_and_can_be_cancelled),
    };

    config_leave_root();
    return cmocka_run_group_tests(tests, start_all, stop_all);
}
