/* Configuration files by Patroni's scheme: their text, and how they come to the disk. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/str.h"
#include "config.h"
#include "pg/argv.h"
#include "pg/conffile.h"
#include "pg/control.h"
#include "pg/detach.h"
#include "pg/file.h"
#include "pg/names.h"
#include "pg/sql.h"

struct fixture {
    char *folder;
    struct config config;
    struct conf_input in;
};

/* more: lines of the postgresql section. */
static void make(struct fixture *f, const char *more, const char *dynamic)
{
    f->folder = config_folder();
    AUTO(cstr) char *yaml = config_yaml("n1", f->folder, 5440, more);
    f->config = config_make(yaml, dynamic);
    f->config.instance->major = 15;
    f->in = (struct conf_input){.instance = f->config.instance, .role = CONF_PRIMARY};
    assert_int_equal(mkdir(f->config.instance->data_dir, 0700), 0);
}

static void drop(struct fixture *f)
{
    config_free(&f->config);
    config_remove_folder(f->folder);
}

static char *config_text(const struct conf_input *in, struct findings *findings)
{
    struct findings ignored = {0};
    char *text = conffile_config_text(in, findings ? findings : &ignored);

    findings_deinit(&ignored);
    return text;
}

static bool has_line(const char *text, const char *line)
{
    AUTO(cstr) char *whole = str_fmt("\n%s\n", line);

    return strstr(text, whole) != NULL;
}

static void test_values_are_quoted_for_the_file(void **state)
{
    static const struct {
        const char *value, *text;
    } cases[] = {
        {"a", "'a'"}, {"", "''"}, {"it's", "'it''s'"}, {"C:\\x", "'C:\\\\x'"}, {"two\nlines", "'two\\nlines'"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(cstr) char *text = conffile_quote(cases[i].value);
        assert_string_equal(text, cases[i].text);
    }
}

static void test_the_file_includes_the_original_and_sets_parameters_in_order(void **state)
{
    struct fixture f;

    make(&f, "  parameters: {work_mem: 64MB, archive_mode: true, random_page_cost: 1.1, autovacuum_max_workers: 5}\n",
         "{\"postgresql\":{\"parameters\":{\"max_connections\":200,\"wal_keep_segments\":16}}}");
    AUTO(cstr) char *text = config_text(&f.in, NULL);
    assert_true(str_starts(text, CONFFILE_HEADER "include 'postgresql.base.conf'\n\n"));
    assert_true(has_line(text, "archive_mode = 'on'"));
    assert_true(has_line(text, "autovacuum_max_workers = '5'"));
    assert_true(has_line(text, "cluster_name = 'test'"));
    assert_true(has_line(text, "listen_addresses = '127.0.0.1'"));
    assert_true(has_line(text, "max_connections = '200'"));
    assert_true(has_line(text, "port = '5440'"));
    assert_true(has_line(text, "random_page_cost = '1.1'"));
    assert_true(has_line(text, "wal_keep_size = '256MB'"));
    assert_true(has_line(text, "wal_level = 'replica'"));
    assert_true(has_line(text, "wal_log_hints = 'on'"));
    assert_true(has_line(text, "work_mem = '64MB'"));
    assert_null(strstr(text, "wal_keep_segments"));
    assert_true(strstr(text, "archive_mode") < strstr(text, "work_mem"));
    AUTO(cstr) char *hba = str_fmt("hba_file = '%s/pg_hba.conf'", f.config.instance->data_dir);
    assert_true(has_line(text, hba));
    drop(&f);
}

static void test_owned_recovery_settings_are_written_even_when_empty(void **state)
{
    struct fixture f;

    make(&f, NULL, "{}");
    AUTO(cstr) char *text = config_text(&f.in, NULL);
    assert_true(has_line(text, "primary_conninfo = ''"));
    assert_true(has_line(text, "primary_slot_name = ''"));
    assert_true(has_line(text, "recovery_target = ''"));
    assert_true(has_line(text, "recovery_target_lsn = ''"));
    assert_true(has_line(text, "recovery_target_timeline = 'latest'"));
    assert_null(strstr(text, "restore_command"));
    drop(&f);
}

static void test_a_standby_gets_its_upstream_and_the_users_recovery_settings(void **state)
{
    struct fixture f;

    make(&f,
         "  recovery_conf: {restore_command: 'cp /a/%f \"%p\"', recovery_target_time: '2026-01-01', standby_mode: "
         "'on'}\n",
         "{}");
    f.in.role = CONF_STANDBY;
    f.in.primary_conninfo = "host=n2 application_name='n 1'";
    f.in.primary_slot_name = "n1";
    AUTO(cstr) char *text = config_text(&f.in, NULL);
    assert_true(has_line(text, "primary_conninfo = 'host=n2 application_name=''n 1'''"));
    assert_true(has_line(text, "primary_slot_name = 'n1'"));
    assert_true(has_line(text, "restore_command = 'cp /a/%f \"%p\"'"));
    assert_true(has_line(text, "recovery_target_time = ''"));
    assert_null(strstr(text, "standby_mode"));
    drop(&f);
}

static void test_what_the_version_does_not_know_is_left_out_and_told(void **state)
{
    struct fixture f;
    struct findings findings = {0};

    make(&f,
         "  parameters: {stats_temp_directory: /x, shared_buffers: lots, work_mem: 1kB, my.guc: v, data_directory: "
         "/other}\n",
         "{}");
    AUTO(cstr) char *text = config_text(&f.in, &findings);
    assert_null(strstr(text, "stats_temp_directory"));
    assert_null(strstr(text, "shared_buffers"));
    assert_null(strstr(text, "data_directory"));
    assert_true(has_line(text, "work_mem = '64'"));
    assert_true(has_line(text, "my.guc = 'v'"));
    assert_int_equal(findings.count, 4);
    assert_int_equal(findings.error_count, 0);
    findings_deinit(&findings);
    drop(&f);
}

static void test_synchronous_names_are_the_users_unless_ours(void **state)
{
    struct fixture f;

    make(&f, "  parameters: {synchronous_standby_names: 'x'}\n", "{}");
    AUTO(cstr) char *users = config_text(&f.in, NULL);
    f.in.synchronous_standby_names = "ANY 1 (\"n2\")";
    f.in.hot_standby_feedback = true;
    AUTO(cstr) char *ours = config_text(&f.in, NULL);
    assert_true(has_line(users, "synchronous_standby_names = 'x'"));
    assert_true(has_line(ours, "synchronous_standby_names = 'ANY 1 (\"n2\")'"));
    assert_true(has_line(ours, "hot_standby_feedback = 'on'"));
    drop(&f);
}

static void test_custom_conf_is_included_instead(void **state)
{
    struct fixture f;

    make(&f, "  custom_conf: /etc/my.conf\n", "{}");
    AUTO(cstr) char *text = config_text(&f.in, NULL);
    assert_true(has_line(text, "include '/etc/my.conf'"));
    drop(&f);
}

static char *arguments(const struct conf_input *in)
{
    AUTO(buf) struct buf text = BUF_EMPTY;
    struct findings findings = {0};
    char **argv = NULL;

    assert_true(conffile_postmaster_args(in, &argv, &findings, NULL));
    findings_deinit(&findings);
    for (int i = 0; argv[i]; i++)
        buf_printf(&text, "%s\n", argv[i]);
    conffile_args_free(argv);
    return buf_take(&text);
}

static void test_shared_parameters_stand_on_the_command_line(void **state)
{
    struct fixture f;

    make(&f, NULL, "{\"postgresql\":{\"parameters\":{\"max_connections\":120}}}");
    AUTO(cstr) char *text = arguments(&f.in);
    AUTO(cstr)
    char *begin =
        str_fmt("/postgres\n-D\n%s\n--config-file=%s\n", f.config.instance->data_dir, f.config.instance->config_file);
    assert_non_null(strstr(text, begin));
    assert_true(has_line(text, "--listen_addresses=127.0.0.1"));
    assert_true(has_line(text, "--port=5440"));
    assert_true(has_line(text, "--cluster_name=test"));
    assert_true(has_line(text, "--max_connections=120"));
    assert_true(has_line(text, "--wal_level=replica"));
    assert_true(has_line(text, "--hot_standby=on"));
    assert_true(has_line(text, "--wal_log_hints=on"));
    assert_null(strstr(text, "wal_keep"));
    drop(&f);
}

static void test_a_standby_starts_with_no_less_than_its_primary_had(void **state)
{
    struct fixture f;
    struct pg_control control = {
        .max_connections = 300, .max_worker_processes = 8, .max_wal_senders = 5, .max_locks_per_xact = 128};
    struct conf_result result = {0};

    make(&f, NULL, "{}");
    f.in.control = &control;
    AUTO(cstr) char *primary = arguments(&f.in);
    conffile_raise(&f.in, &result);
    assert_true(has_line(primary, "--max_connections=100"));
    assert_int_equal(result.raised_count, 0);

    f.in.role = CONF_STANDBY;
    AUTO(cstr) char *standby = arguments(&f.in);
    conffile_raise(&f.in, &result);
    assert_true(has_line(standby, "--max_connections=300"));
    assert_true(has_line(standby, "--max_locks_per_transaction=128"));
    assert_true(has_line(standby, "--max_wal_senders=10"));
    assert_int_equal(result.raised_count, 2);
    assert_string_equal(result.raised[0].name, "max_connections");
    assert_int_equal(result.raised[0].configured, 100);
    assert_int_equal(result.raised[0].used, 300);
    AUTO(cstr) char *text = config_text(&f.in, NULL);
    assert_true(
        has_line(text, "max_connections = '100'")); /* what is asked for: the server shows the restart as pending */
    drop(&f);
}

static void test_the_original_is_kept_once(void **state)
{
    struct fixture f;
    struct conf_result r;
    struct findings findings = {0};

    make(&f, NULL, "{}");
    const struct pg_instance *i = f.config.instance;
    config_spill(i->config_file, "work_mem = 1GB\n");
    assert_true(conffile_write(&f.in, &r, &findings, NULL));
    assert_true(r.config_changed);
    AUTO(cstr) char *base = config_slurp(i->base_config_file);
    assert_string_equal(base, "work_mem = 1GB\n");
    assert_true(conffile_write(&f.in, &r, &findings, NULL));
    assert_false(r.config_changed || r.hba_changed || r.ident_changed || r.connection_changed);

    f.in.role = CONF_STANDBY;
    f.in.primary_conninfo = "host=n2";
    assert_true(conffile_write(&f.in, &r, &findings, NULL));
    assert_true(r.config_changed && r.connection_changed);
    AUTO(cstr) char *again = config_slurp(i->base_config_file);
    assert_string_equal(again, "work_mem = 1GB\n");
    findings_deinit(&findings);
    drop(&f);
}

static void test_a_lost_base_file_does_not_include_ours_in_itself(void **state)
{
    struct fixture f;
    struct conf_result r;
    struct findings findings = {0};

    make(&f, NULL, "{}");
    config_spill(
        f.config.instance->config_file,
        "# Do not edit this file manually!\n# It will be overwritten by Patroni!\ninclude 'postgresql.base.conf'\n");
    assert_true(conffile_write(&f.in, &r, &findings, NULL));
    AUTO(cstr) char *base = config_slurp(f.config.instance->base_config_file);
    assert_null(strstr(base, "include"));
    findings_deinit(&findings);
    drop(&f);
}

static void test_an_original_beside_the_data_is_kept_where_the_configuration_is_to_be(void **state)
{
    struct fixture f;
    struct conf_result r;
    struct findings findings = {0};
    char *folder = config_folder();
    AUTO(cstr) char *more = str_fmt("  config_dir: %s/to/be/made\n", folder);

    make(&f, more, "{}");
    const struct pg_instance *i = f.config.instance;
    AUTO(cstr) char *by_initdb = str_fmt("%s/postgresql.conf", i->data_dir);
    config_spill(by_initdb, "work_mem = 1GB\n");
    assert_true(conffile_write(&f.in, &r, &findings, NULL));
    AUTO(cstr) char *base = config_slurp(i->base_config_file);
    assert_string_equal(base, "work_mem = 1GB\n");
    assert_int_equal(findings.count, 0);
    findings_deinit(&findings);
    config_remove_folder(folder);
    drop(&f);
}

static void test_a_debian_configuration_that_is_not_used_is_named(void **state)
{
    struct fixture f;
    struct conf_result r;
    struct findings findings = {0};

    make(&f, NULL, "{}");
    AUTO(cstr) char *root = str_fmt("%s/etc", f.folder);
    AUTO(cstr) char *folder = str_fmt("%s/15/main", root);
    AUTO(cstr) char *conf = str_fmt("%s/postgresql.conf", folder);
    AUTO(cstr)
    char *text = str_fmt("#data_directory = 'ConfigDir'\ndata_directory = '%s/'\t\t# use data in another directory\n",
                         f.config.instance->data_dir);
    assert_true(dir_make(folder, 0700, NULL));
    config_spill(conf, text);
    assert_int_equal(setenv("PG_CLUSTER_CONF_ROOT", root, 1), 0);

    for (int round = 1; round <= 2; round++) { /* as long as it is so */
        assert_true(conffile_write(&f.in, &r, &findings, NULL));
        assert_non_null(strstr(findings.at[findings.count - 1].text, folder));
        findings_deinit(&findings);
    }
    config_spill(f.config.instance->base_config_file, "work_mem = 1GB\n");
    assert_true(conffile_write(&f.in, &r, &findings, NULL));
    assert_int_equal(findings.count, 0);
    assert_int_equal(unsetenv("PG_CLUSTER_CONF_ROOT"), 0);
    drop(&f);
}

static void test_alter_system_cannot_override_recovery_settings(void **state)
{
    struct fixture f;
    struct conf_result r;
    struct findings findings = {0};

    make(&f, NULL, "{}");
    AUTO(cstr) char *path = str_fmt("%s/postgresql.auto.conf", f.config.instance->data_dir);
    config_spill(path, "# ALTER SYSTEM\nwork_mem = '1MB'\nprimary_conninfo = 'host=evil'\n  Restore_Command='x'\n");
    assert_true(conffile_write(&f.in, &r, &findings, NULL));
    AUTO(cstr) char *text = config_slurp(path);
    assert_string_equal(text, "# ALTER SYSTEM\nwork_mem = '1MB'\n");
    AUTO(cstr) char *nothing = conffile_sanitize_auto(text, false);
    assert_null(nothing);
    findings_deinit(&findings);
    drop(&f);
}

static void test_a_frozen_nodes_files_name_no_upstream_and_no_archive(void **state)
{
    static const struct conf_freeze freeze = {.frozen = true, .names_floor = "__fence__"};
    struct fixture f;
    struct conf_result r;
    struct findings findings = {0};

    make(&f, NULL,
         "{\"postgresql\": {\"parameters\": {\"restore_command\": \"cp %f %p\"}, \"recovery_conf\": "
         "{\"restore_command\": \"fetch %f %p\"}}}");
    f.in.role = CONF_STANDBY;
    f.in.primary_conninfo = "host=10.0.0.1";
    f.in.primary_slot_name = "n1";
    AUTO(cstr) char *thawed = config_text(&f.in, NULL);
    assert_true(has_line(thawed, "restore_command = 'fetch %f %p'"));
    conffile_hold(&f.in, NULL);
    assert_string_equal(f.in.primary_conninfo, "host=10.0.0.1");
    conffile_hold(&f.in, &freeze);
    assert_true(conffile_write(&f.in, &r, &findings, NULL));
    AUTO(cstr) char *text = config_slurp(f.config.instance->config_file);
    assert_true(has_line(text, "primary_conninfo = ''"));
    assert_true(has_line(text, "primary_slot_name = ''"));
    assert_true(has_line(text, "restore_command = ''"));
    assert_null(strstr(text, "fetch"));
    assert_null(strstr(text, "10.0.0.1"));
    findings_deinit(&findings);
    drop(&f);
}

static void test_an_upstream_past_the_freeze_is_a_mistake_of_ours(void **state)
{
    struct fixture f;
    struct conf_result r;
    struct findings findings = {0};
    int status;

    make(&f, NULL, "{}");
    f.in.frozen = true;
    f.in.primary_conninfo = "host=10.0.0.1";
    pid_t pid = fork();
    if (pid == 0) {
        (void)freopen("/dev/null", "w", stderr);
        _exit(conffile_write(&f.in, &r, &findings, NULL) ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    drop(&f);
}

static void test_the_floor_of_the_names_stands_below_an_override_that_is_read_last(void **state)
{
    static const struct conf_freeze floor = {.names_floor = "__fence__"};
    struct fixture f;
    struct conf_result r;
    struct findings findings = {0};

    make(&f, "  parameters: {synchronous_standby_names: '*'}\n", "{}");
    conffile_hold(&f.in, &floor);
    AUTO(cstr) char *path = str_fmt("%s/postgresql.auto.conf", f.config.instance->data_dir);
    config_spill(path, "work_mem = '1MB'\nsynchronous_standby_names = ''\nSynchronous_Standby_Names='*'\n");
    assert_true(conffile_write(&f.in, &r, &findings, NULL));
    AUTO(cstr) char *text = config_slurp(f.config.instance->config_file);
    assert_true(has_line(text, "synchronous_standby_names = '__fence__'"));
    assert_null(strstr(text, "'*'"));
    assert_true(str_ends(text, "\ninclude_if_exists 'pgkeep.sync.conf'\n"));
    assert_true(has_line(text, "wal_retrieve_retry_interval = '100ms'"));
    assert_true(has_line(text, "restart_after_crash = 'off'"));
    assert_true(has_line(text, "wal_receiver_status_interval = '1s'"));
    assert_true(strstr(text, "100ms") < strstr(text, "include ")); /* what the operator has comes later, and wins */
    AUTO(cstr) char *rest = config_slurp(path);
    assert_string_equal(rest, "work_mem = '1MB'\n");

    /* Where PostgreSQL lets itself be told so, nobody overrides it by ALTER SYSTEM. */
    f.config.instance->major = 16;
    AUTO(cstr) char *before = conffile_config_text(&f.in, &findings);
    assert_false(has_line(before, "allow_alter_system = 'off'"));
    f.config.instance->major = 17;
    AUTO(cstr) char *since = conffile_config_text(&f.in, &findings);
    assert_true(has_line(since, "allow_alter_system = 'off'"));
    findings_deinit(&findings);
    drop(&f);
}

/* From whatever state a file is in: what quorum mode put there goes, what was configured stays. */
static void test_detached_files_have_no_fence_and_no_upstream(void **state)
{
    static const struct conf_freeze freeze = {.frozen = true, .names_floor = "__fence__"};
    struct fixture f;
    struct conf_result r;
    struct detach_done done = {0};
    struct findings findings = {0};

    make(&f, "  parameters: {Restart_After_Crash: off, work_mem: 2MB}\n", "{}");
    struct pg_instance *i = f.config.instance;
    f.in.role = CONF_STANDBY;
    conffile_hold(&f.in, &freeze);
    assert_true(conffile_write(&f.in, &r, &findings, NULL));
    AUTO(cstr) char *list = names_path(i);
    AUTO(cstr) char *auto_conf = str_fmt("%s/postgresql.auto.conf", i->data_dir);
    config_spill(list, "synchronous_standby_names = 'ANY 1 (\"n2\")'\n");
    config_spill(auto_conf, "synchronous_standby_names = '__fence__'\nprimary_conninfo = ''\nwork_mem = '1MB'\n");

    assert_true(detach_files(i, true, &done, NULL));
    assert_true(done.names && done.auto_conf && done.conf && done.quarantined);
    AUTO(cstr) char *text = config_slurp(i->config_file);
    assert_null(strstr(text, "__fence__"));
    assert_null(strstr(text, "pgkeep.sync.conf"));
    assert_null(strstr(text, "primary_conninfo"));
    assert_null(strstr(text, "primary_slot_name"));
    assert_null(strstr(text, "restore_command"));
    assert_null(strstr(text, "100ms"));
    assert_true(has_line(text, "Restart_After_Crash = 'off'"));
    assert_true(has_line(text, "work_mem = '2MB'"));
    assert_true(has_line(text, "recovery_target_timeline = 'latest'"));
    AUTO(cstr) char *rest = config_slurp(auto_conf);
    assert_string_equal(rest, "work_mem = '1MB'\n");
    assert_false(file_exists(list));
    AUTO(cstr) char *signal = str_fmt("%s/standby.signal", i->data_dir);
    assert_true(file_exists(signal));

    /* Again, and there is nothing to do. */
    assert_true(detach_files(i, false, &done, NULL));
    assert_false(done.names || done.auto_conf || done.conf || done.quarantined);
    findings_deinit(&findings);
    drop(&f);
}

static void test_a_file_of_somebody_else_stays_as_it_is(void **state)
{
    assert_null(detach_config_text("synchronous_standby_names = '__fence__'\n"));
    assert_null(detach_config_text(CONFFILE_HEADER "include 'postgresql.base.conf'\nrestart_after_crash = 'off'\n"));
}

static void test_what_is_configured_comes_before_the_defaults_of_quorum_mode(void **state)
{
    static const struct conf_freeze floor = {.names_floor = "__fence__"};
    struct fixture f;
    struct conf_result r;
    struct findings findings = {0};

    make(&f, "  parameters: {Wal_Retrieve_Retry_Interval: 2s, restart_after_crash: true}\n", "{}");
    conffile_hold(&f.in, &floor);
    assert_true(conffile_write(&f.in, &r, &findings, NULL));
    AUTO(cstr) char *text = config_slurp(f.config.instance->config_file);
    assert_true(has_line(text, "Wal_Retrieve_Retry_Interval = '2s'"));
    assert_true(has_line(text, "restart_after_crash = 'on'"));
    assert_null(strstr(text, "100ms"));
    findings_deinit(&findings);
    drop(&f);
}

static void test_configured_hba_and_ident_are_written_whole(void **state)
{
    struct fixture f;

    make(&f, "  pg_hba: ['local all all trust', 'host all all 0.0.0.0/0 scram-sha-256']\n  pg_ident: ['m a b']\n",
         "{}");
    AUTO(cstr) char *hba = conffile_hba_text(&f.in, "old\n");
    AUTO(cstr) char *ident = conffile_ident_text(&f.in);
    assert_string_equal(hba, CONFFILE_HEADER "local all all trust\nhost all all 0.0.0.0/0 scram-sha-256\n");
    assert_string_equal(ident, CONFFILE_HEADER "m a b\n");
    drop(&f);
}

static void test_without_a_configured_hba_the_members_are_let_in(void **state)
{
    struct fixture f;
    static const struct conf_member members[] = {{"n1", "10.0.0.1"}, {"n2", "10.0.0.2"}, {"n3", "2001:db8::3"}};
    static const struct conf_member named[] = {{"n1", "db-01"}};
    static const char original[] = "local all all trust\n# mine\n";

    make(&f, NULL, "{}");
    f.in.members = members;
    f.in.member_count = 3;
    AUTO(cstr) char *text = conffile_hba_text(&f.in, original);
    assert_true(str_starts(text, original));
    assert_true(has_line(text, "host replication replicator 10.0.0.1/32 scram-sha-256"));
    assert_true(has_line(text, "host all rewinder 10.0.0.2/32 scram-sha-256"));
    assert_true(has_line(text, "host replication replicator 2001:db8::3/128 scram-sha-256"));
    AUTO(cstr) char *same = conffile_hba_text(&f.in, text);
    assert_string_equal(same, text);

    f.in.member_count = 2;
    AUTO(cstr) char *fewer = conffile_hba_text(&f.in, text);
    assert_null(strstr(fewer, "2001:db8::3"));
    assert_true(str_starts(fewer, original));
    f.in.members = NULL;
    AUTO(cstr) char *unknown = conffile_hba_text(&f.in, text);
    assert_string_equal(unknown, text);

    f.in.members = named;
    f.in.member_count = 1;
    AUTO(cstr) char *by_name = conffile_hba_text(&f.in, original);
    assert_true(has_line(by_name, "host replication replicator samenet scram-sha-256"));
    assert_true(has_line(by_name, "host replication replicator db-01 scram-sha-256"));
    drop(&f);
}

static void test_a_missing_hba_lets_us_in(void **state)
{
    struct fixture f;

    make(&f, "  parameters: {password_encryption: md5}\n", "{}");
    AUTO(cstr) char *text = conffile_hba_text(&f.in, NULL);
    assert_true(has_line(text, "local all all peer"));
    assert_true(has_line(text, "host all all 127.0.0.1/32 md5"));
    drop(&f);
}

static void test_an_hba_file_of_the_operators_is_left_alone(void **state)
{
    struct fixture f;
    struct conf_result r;
    struct findings findings = {0};

    make(&f, "  parameters: {hba_file: own_hba.conf}\n", "{}");
    assert_true(conffile_write(&f.in, &r, &findings, NULL));
    AUTO(cstr) char *ours = str_fmt("%s/pg_hba.conf", f.config.instance->data_dir);
    assert_false(file_exists(ours));
    AUTO(cstr) char *text = config_text(&f.in, NULL);
    AUTO(cstr) char *line = str_fmt("hba_file = '%s/own_hba.conf'", f.config.instance->data_dir);
    assert_true(has_line(text, line));
    findings_deinit(&findings);
    drop(&f);
}

static void test_copies_bring_missing_files_back(void **state)
{
    struct fixture f;
    struct conf_result r;
    struct findings findings = {0};

    make(&f, NULL, "{}");
    const struct pg_instance *i = f.config.instance;
    config_spill(i->config_file, "work_mem = 1GB\n");
    assert_true(conffile_write(&f.in, &r, &findings, NULL));
    assert_true(conffile_save(i, NULL));
    assert_true(file_remove(i->base_config_file, NULL));
    assert_true(file_remove(i->hba_file, NULL));
    assert_true(conffile_restore(i, NULL));
    AUTO(cstr) char *base = config_slurp(i->base_config_file);
    assert_string_equal(base, "work_mem = 1GB\n");
    assert_true(file_exists(i->hba_file));
    findings_deinit(&findings);
    drop(&f);
}

static void test_a_restored_cluster_starts_by_its_methods_recovery_conf(void **state)
{
    struct fixture f;
    struct conf_result r;
    struct findings findings = {0};
    AUTO(cstr) char *folder = config_folder();
    AUTO(cstr) char *yaml = config_yaml("n1", folder, 5440, NULL);
    AUTO(cstr)
    char *whole =
        str_fmt("%sbootstrap:\n  method: restore\n  restore: {command: 'x', recovery_conf: {restore_command: 'cp', "
                "recovery_target_timeline: latest, recovery_target_action: promote}}\n",
                yaml);

    f.folder = str_dup(folder);
    f.config = config_make(whole, "{}");
    f.config.instance->major = 15;
    f.in = (struct conf_input){.instance = f.config.instance, .role = CONF_BOOTSTRAP};
    assert_int_equal(mkdir(f.config.instance->data_dir, 0700), 0);

    AUTO(cstr) char *text = config_text(&f.in, NULL);
    assert_true(has_line(text, "recovery_target_action = 'promote'"));
    assert_true(has_line(text, "restore_command = 'cp'"));
    assert_null(strstr(text, "primary_conninfo"));
    AUTO(cstr) char *args = arguments(&f.in);
    assert_true(has_line(args, "--hot_standby=off"));
    AUTO(cstr) char *hba = conffile_hba_text(&f.in, NULL);
    assert_true(has_line(hba, "local all postgres trust"));
    assert_true(has_line(hba, "host replication replicator 127.0.0.1/32 trust"));

    assert_true(conffile_write(&f.in, &r, &findings, NULL));
    AUTO(cstr) char *signal = str_fmt("%s/recovery.signal", f.config.instance->data_dir);
    assert_true(file_exists(signal));
    findings_deinit(&findings);
    drop(&f);
}

static void test_our_own_way_in_follows_the_listen_address(void **state)
{
    static const struct {
        const char *more, *host, *addr, *repl_host;
    } cases[] = {
        {"  use_unix_socket: true\n  parameters: {unix_socket_directories: 'rel, /run/x,/tmp'}\n", "/run/x", NULL,
         "localhost"},
        {"  use_unix_socket: true\n", NULL, NULL, "localhost"},
        {"  use_unix_socket: true\n  parameters: {unix_socket_directories: ''}\n", "localhost", "127.0.0.1",
         "localhost"},
        {"", "localhost", "127.0.0.1", "localhost"},
        {"  use_unix_socket_repl: true\n  parameters: {unix_socket_directories: /run/x}\n", "localhost", "127.0.0.1",
         "/run/x"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture f;
        make(&f, cases[i].more, "{}");
        assert_true(str_eq(f.config.instance->local_host, cases[i].host));
        assert_true(str_eq(f.config.instance->local_addr, cases[i].addr));
        assert_int_equal(f.config.instance->local_port, 5440);
        struct sql_target replication = pg_instance_local_replication(f.config.instance);
        assert_true(str_eq(replication.host, cases[i].repl_host));
        assert_true(replication.replication);
        drop(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_are_quoted_for_the_file),
        cmocka_unit_test(test_the_file_includes_the_original_and_sets_parameters_in_order),
        cmocka_unit_test(test_owned_recovery_settings_are_written_even_when_empty),
        cmocka_unit_test(test_a_standby_gets_its_upstream_and_the_users_recovery_settings),
        cmocka_unit_test(test_what_the_version_does_not_know_is_left_out_and_told),
        cmocka_unit_test(test_synchronous_names_are_the_users_unless_ours),
        cmocka_unit_test(test_custom_conf_is_included_instead),
        cmocka_unit_test(test_shared_parameters_stand_on_the_command_line),
        cmocka_unit_test(test_a_standby_starts_with_no_less_than_its_primary_had),
        cmocka_unit_test(test_the_original_is_kept_once),
        cmocka_unit_test(test_a_lost_base_file_does_not_include_ours_in_itself),
        cmocka_unit_test(test_an_original_beside_the_data_is_kept_where_the_configuration_is_to_be),
        cmocka_unit_test(test_a_debian_configuration_that_is_not_used_is_named),
        cmocka_unit_test(test_alter_system_cannot_override_recovery_settings),
        cmocka_unit_test(test_a_frozen_nodes_files_name_no_upstream_and_no_archive),
        cmocka_unit_test(test_an_upstream_past_the_freeze_is_a_mistake_of_ours),
        cmocka_unit_test(test_the_floor_of_the_names_stands_below_an_override_that_is_read_last),
        cmocka_unit_test(test_detached_files_have_no_fence_and_no_upstream),
        cmocka_unit_test(test_a_file_of_somebody_else_stays_as_it_is),
        cmocka_unit_test(test_what_is_configured_comes_before_the_defaults_of_quorum_mode),
        cmocka_unit_test(test_configured_hba_and_ident_are_written_whole),
        cmocka_unit_test(test_without_a_configured_hba_the_members_are_let_in),
        cmocka_unit_test(test_a_missing_hba_lets_us_in),
        cmocka_unit_test(test_an_hba_file_of_the_operators_is_left_alone),
        cmocka_unit_test(test_copies_bring_missing_files_back),
        cmocka_unit_test(test_a_restored_cluster_starts_by_its_methods_recovery_conf),
        cmocka_unit_test(test_our_own_way_in_follows_the_listen_address),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
