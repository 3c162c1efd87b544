#include "wire/conf/audit.h"

#include "conf_test.h"

#define W FINDING_WARNING
#define E FINDING_ERROR

static void test_an_unknown_key_is_a_warning_with_file_line_and_nearest_name(void **state)
{
    assert_answer("# c\nrestapi:\n  certfiel: x\n", W,
                  "node.yml:3: restapi.certfiel: unknown key, ignored; did you mean restapi.certfile?");
    assert_answer("scoop: x\n", W, "node.yml:1: scoop: unknown key, ignored; did you mean scope?");
    assert_answer("use_pg_rewind: on\n", W,
                  "node.yml:1: use_pg_rewind: unknown key, ignored; did you mean postgresql.use_pg_rewind?");
    assert_answer("failsafe_mdoe: on\n", W, "node.yml:1: failsafe_mdoe: unknown key, ignored");
    assert_answer("bootstrap: {dcs: {failsafe_mdoe: on}}\n", W,
                  "node.yml:1: bootstrap.dcs.failsafe_mdoe: unknown key, ignored; did you mean "
                  "bootstrap.dcs.failsafe_mode?");
    assert_answer("my_own_stuff: {a: {b: 1}}\n", W, "node.yml:1: my_own_stuff: unknown key, ignored");
    assert_answer("log.level: DEBUG\n", W, "node.yml:1: log.level: unknown key, ignored");
}

static void test_a_key_in_the_wrong_half_says_where_it_belongs(void **state)
{
    assert_answer(
        "ttl: 30\n", W,
        "node.yml:1: ttl: ignored here: it belongs in the dynamic configuration (bootstrap.dcs, edit-config)");
    assert_answer("postgresql: {use_slots: off}\n", W,
                  "node.yml:1: postgresql.use_slots: ignored here: it belongs in the dynamic configuration "
                  "(bootstrap.dcs, edit-config)");
    assert_answer("bootstrap:\n  dcs:\n    postgresql:\n      data_dir: /x\n", W,
                  "node.yml:4: bootstrap.dcs.postgresql.data_dir: ignored here: it belongs in the local file, outside "
                  "bootstrap.dcs");
    assert_answer("bootstrap:\n  dcs:\n    tags: {nofailover: on}\n", W,
                  "node.yml:3: bootstrap.dcs.tags: ignored here: it belongs in the local file, outside bootstrap.dcs");
}

static void test_a_wrong_value_says_what_was_expected_and_found(void **state)
{
    assert_answer("restapi: {listen: foo}\n", E, "node.yml:1: restapi.listen: expected host:port, found \"foo\"");
    assert_answer("restapi: {request_queue_size: 5000}\n", E,
                  "node.yml:1: restapi.request_queue_size: expected a whole number from 0 to 4096, found 5000");
    assert_answer("log: {file_size: -1}\n", E,
                  "node.yml:1: log.file_size: expected a whole number of at least 0, found -1");
    assert_answer("ctl: {insecure: maybe}\n", E, "node.yml:1: ctl.insecure: expected on or off, found \"maybe\"");
    assert_answer("watchdog: {mode: sometimes}\n", E,
                  "node.yml:1: watchdog.mode: expected off, automatic or required, found \"sometimes\"");
    assert_answer("log: [DEBUG]\n", E, "node.yml:1: log: expected a mapping, found a list");
    assert_answer("restapi: {certfile: on}\n", E,
                  "node.yml:1: restapi.certfile: expected a text, found the boolean on");
    assert_answer("postgresql: {pg_hba: local all all trust}\n", E,
                  "node.yml:1: postgresql.pg_hba: expected a list of lines, found \"local all all trust\"");
    assert_answer("postgresql:\n  parameters:\n    work_mem: [1]\n", E,
                  "node.yml:3: postgresql.parameters.work_mem: expected a plain value, found a list");
    assert_answer("bootstrap:\n  dcs:\n    ttl: soon\n", E,
                  "node.yml:3: bootstrap.dcs.ttl: expected a whole number from 0 to 31536000, found \"soon\"");
    assert_answer("bootstrap: {dcs: {ignore_slots: [{name: a}, b]}}\n", E,
                  "node.yml:1: bootstrap.dcs.ignore_slots[1]: expected a mapping, found \"b\"");
    assert_answer("bootstrap: {dcs: [ttl]}\n", E, "node.yml:1: bootstrap.dcs: expected a mapping, found a list");
}

static void test_secrets_are_not_shown(void **state)
{
    assert_answer("restapi: {authentication: {password: [hush]}}\n", E,
                  "node.yml:1: restapi.authentication.password: expected a text, found a list");
    assert_answer("postgresql: {authentication: {superuser: {password: on}}}\n", E,
                  "node.yml:1: postgresql.authentication.superuser.password: expected a text, found a boolean");
    assert_answer("postgresql: {authentication: {superuser: {password: 0123}}}\n", W,
                  "node.yml:1: postgresql.authentication.superuser.password: is read as the number that it is; quote "
                  "it if a text is meant");
    assert_answer("etcd3: {url: 'user:hush@host'}\n", E,
                  "node.yml:1: etcd3.url: expected http://host:port or https://host:port, found a text that is not "
                  "shown here");
}

static void test_a_number_where_a_text_belongs_is_taken_as_patroni_prints_it(void **state)
{
    assert_answer("tags: {replicatefrom: 0x10}\n", W,
                  "node.yml:1: tags.replicatefrom: is read as the number 16; quote it if a text is meant");
    AUTO(findings) struct findings f = {0};
    AUTO(settings)
    struct settings *s = settings_of("postgresql: {authentication: {superuser: {password: 1234}}}\n", &f);
    assert_no_finding(&f);
    assert_string_equal(s->postgresql.superuser.password, "1234");
}

static void test_what_is_not_built_is_warned_about_once(void **state)
{
    assert_answer("citus: {group: 0, database: x}\n", W,
                  "node.yml:1: citus: not built yet, ignored: membership in a Citus cluster");
    assert_answer("postgresql: {parameters_primary: {work_mem: 1MB}}\n", W,
                  "node.yml:1: postgresql.parameters_primary: not built yet, ignored: settings of PostgreSQL on the "
                  "primary");
    assert_answer("thread_pool_size: 5\n", W,
                  "node.yml:1: thread_pool_size: has no effect: threads of Patroni's pool; pgkeep waits for nothing in "
                  "threads");
    assert_answer("bootstrap: {dcs: {slots: {a: {type: logical, database: d, plugin: p}}}}\n", W,
                  "node.yml:1: bootstrap.dcs.slots.a.type: not built yet, ignored: physical is built; a logical slot "
                  "is left alone, but not carried over a failover");
    assert_answer("watchdog: {mode: automatic, device: /dev/watchdog1, safety_margin: -1}\n", W,
                  "node.yml:1: watchdog.mode: not built yet, ignored: off, use it if there is one, or lead only with "
                  "one");
}

static void test_a_value_that_asks_for_nothing_is_not_warned_about(void **state)
{
    AUTO(findings) struct findings f = {0};
    AUTO(settings)
    struct settings *s = settings_of(
        "watchdog: {mode: off, device: /dev/watchdog, safety_margin: 5}\n"
        "log: {format: '%(asctime)s %(levelname)s: %(message)s', dateformat: '', static_fields: {}}\n"
        "bootstrap: {dcs: {synchronous_mode: off, synchronous_mode_strict: false, synchronous_node_count: 1,\n"
        "                  maximum_lag_on_syncnode: -1, standby_cluster: {}, slots: {a: {type: physical}}}}\n"
        "citus: {}\ntags:\nctl: ~\n",
        &f);

    assert_no_finding(&f);
    assert_non_null(s);
}

static void test_promises_of_safety_are_refused_by_name(void **state)
{
    assert_answer("bootstrap: {dcs: {standby_cluster: {host: 10.0.0.1, port: 5432}}}\n", E,
                  "node.yml:1: bootstrap.dcs.standby_cluster: refused (a mapping): this promise is not built yet: the "
                  "whole cluster follows another one and never writes");
    assert_answer("watchdog: {mode: required}\n", E,
                  "node.yml:1: watchdog.mode: refused (\"required\"): this promise is not built yet: off, use it if "
                  "there is one, or lead only with one");
    assert_answer("watchdog: {mode: require}\n", E,
                  "node.yml:1: watchdog.mode: refused (\"require\"): this promise is not built yet: off, use it if "
                  "there is one, or lead only with one");
}

static void test_sections_of_methods_are_known_by_their_command(void **state)
{
    AUTO(findings) struct findings f = {0};
    AUTO(settings)
    struct settings *s = settings_of(
        "postgresql:\n  create_replica_methods: [pgbackrest, basebackup]\n"
        "  pgbackrest: {command: /x --delta restore, keep_data: on, no_params: 1, any_thing: 5}\n"
        "bootstrap:\n  method: restore\n  restore: {command: /y, keep_existing_recovery_conf: true, a: b}\n",
        &f);

    assert_no_finding(&f);
    assert_non_null(s);
    assert_answer("postgresql: {pgbackrest: {keep_data: on}}\n", W,
                  "node.yml:1: postgresql.pgbackrest: unknown key, ignored");
    assert_answer("postgresql: {mine: {command: /x, keep_data: sometimes}}\n", E,
                  "node.yml:1: postgresql.mine.keep_data: expected on or off, found \"sometimes\"");
    assert_answer("postgresql: {mine: {command: /x, options: [a]}}\n", E,
                  "node.yml:1: postgresql.mine.options: expected a plain value, found a list");
}

static void test_old_names_lead_to_todays_keys(void **state)
{
    AUTO(findings) struct findings f = {0};
    AUTO(settings)
    struct settings *s = settings_of("bootstrap:\n  post_init: /seed\n  pg_hba: [local all all peer]\n"
                                     "postgresql: {superuser: {username: boss}, create_replica_method: [basebackup]}\n",
                                     &f);

    assert_no_finding(&f);
    assert_string_equal(s->bootstrap.post_bootstrap, "/seed");
    assert_string_equal(s->postgresql.superuser.username, "boss");
    assert_json(json_object_get(s->postgresql.section, "pg_hba"), "[\"local all all peer\"]");
    assert_json(json_object_get(s->postgresql.section, "create_replica_methods"), "[\"basebackup\"]");
    assert_answer("bootstrap:\n  post_bootstrap: /a\n  post_init: /b\n", W,
                  "node.yml:3: bootstrap.post_init: ignored: an old name for bootstrap.post_bootstrap, which is given "
                  "too");
    assert_answer("bootstrap:\n  dcs:\n    primary_start_timeout: 1\n    master_start_timeout: 2\n", W,
                  "node.yml:4: bootstrap.dcs.master_start_timeout: ignored: an old name for primary_start_timeout, "
                  "which is given too");
}

static void test_the_dynamic_side_says_what_is_used_instead(void **state)
{
    AUTO(findings) struct findings f = {0};
    AUTO(json)
    json_t *config =
        json_loads("{\"ttl\":\"soon\",\"slots\":5,\"postgresql\":{\"parameters\":{\"work_mem\":[]}}}", 0, NULL);
    AUTO(conf_node) struct conf_node *n = conf_from_json(config, "dynamic configuration");

    audit_dynamic(n, &f);
    assert_int_equal(f.count, 3);
    assert_string_equal(f.at[0].text, "dynamic configuration: ttl: expected a whole number from 0 to 31536000, found "
                                      "\"soon\"; the default 30 is used");
    assert_string_equal(f.at[1].text, "dynamic configuration: slots: expected a mapping, found 5; it is ignored");
    assert_string_equal(f.at[2].text, "dynamic configuration: postgresql.parameters.work_mem: expected a plain value, "
                                      "found a list; it is ignored");
}

static void test_every_finding_comes_at_once(void **state)
{
    AUTO(findings) struct findings f = {0};
    AUTO(settings)
    struct settings *s = settings_of("restapi: {listen: x, bogus: 1}\nctl: {insecure: 7}\nsite: a\n", &f);

    assert_null(s);
    assert_int_equal(f.count, 4);
    assert_int_equal(f.error_count, 2);
}

static void test_findings_have_a_bound(void **state)
{
    AUTO(findings) struct findings f = {0};

    for (int i = 0; i < FINDINGS_MAX + 10; i++)
        findings_add(&f, FINDING_ERROR, "number %d", i);
    assert_int_equal(f.count, FINDINGS_MAX);
    assert_int_equal(f.error_count, FINDINGS_MAX + 10);
    assert_string_equal(f.at[0].text, "number 0");
    assert_string_equal(f.at[FINDINGS_MAX - 1].text, "more than could be listed; these first");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_unknown_key_is_a_warning_with_file_line_and_nearest_name),
        cmocka_unit_test(test_a_key_in_the_wrong_half_says_where_it_belongs),
        cmocka_unit_test(test_a_wrong_value_says_what_was_expected_and_found),
        cmocka_unit_test(test_secrets_are_not_shown),
        cmocka_unit_test(test_a_number_where_a_text_belongs_is_taken_as_patroni_prints_it),
        cmocka_unit_test(test_what_is_not_built_is_warned_about_once),
        cmocka_unit_test(test_a_value_that_asks_for_nothing_is_not_warned_about),
        cmocka_unit_test(test_promises_of_safety_are_refused_by_name),
        cmocka_unit_test(test_sections_of_methods_are_known_by_their_command),
        cmocka_unit_test(test_old_names_lead_to_todays_keys),
        cmocka_unit_test(test_the_dynamic_side_says_what_is_used_instead),
        cmocka_unit_test(test_every_finding_comes_at_once),
        cmocka_unit_test(test_findings_have_a_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
