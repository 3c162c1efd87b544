#include "wire/conf/dynamic.h"

#include "conf_test.h"

/* Without local settings; anything to complain about fails the test. */
static struct dynamic *good(const char *json)
{
    struct findings f = {0};
    struct dynamic *d = dynamic_of(json, NULL, &f);

    assert_no_finding(&f);
    return d;
}

static struct settings *local_of(const char *yaml)
{
    struct findings f = {0};
    struct settings *s = settings_of(yaml, &f);

    findings_deinit(&f);
    assert_non_null(s);
    return s;
}

static void test_nothing_means_patronis_defaults(void **state)
{
    AUTO(findings) struct findings f = {0};
    AUTO(dynamic) struct dynamic *d = dynamic_read(NULL, NULL, &f);

    assert_no_finding(&f);
    assert_int_equal(d->ttl_ms, 30000);
    assert_int_equal(d->loop_wait_ms, 10000);
    assert_int_equal(d->retry_timeout_ms, 10000);
    assert_int_equal(d->maximum_lag_on_failover, 1048576);
    assert_int_equal(d->maximum_lag_on_syncnode, -1);
    assert_int_equal(d->primary_race_backoff_ms, 0);
    assert_false(d->check_timeline);
    assert_int_equal(d->max_timelines_history, 0);
    assert_int_equal(d->primary_start_timeout_ms, 300000);
    assert_int_equal(d->primary_stop_timeout_ms, 0);
    assert_false(d->pause);
    assert_false(d->failsafe_mode);
    assert_int_equal(d->synchronous_mode, SYNC_MODE_OFF);
    assert_false(d->synchronous_mode_strict);
    assert_int_equal(d->synchronous_node_count, 1);
    assert_int_equal(d->member_slots_ttl_ms, 1800000);
    assert_null(d->slots);
    assert_null(d->ignore_slots);
    assert_null(d->standby_cluster);
    assert_true(d->use_slots);
    assert_false(d->use_pg_rewind);
    assert_false(d->remove_data_directory_on_rewind_failure);
    assert_false(d->remove_data_directory_on_diverged_timelines);
    assert_null(d->pg_hba);
    assert_null(d->create_replica_methods);
    assert_int_equal(d->pg_ctl_timeout_s, 60);
    assert_json(d->json, "{}");
}

static void test_dynamic_keys_are_read(void **state)
{
    AUTO(dynamic)
    struct dynamic *d =
        good("{\"ttl\":60,\"loop_wait\":5,\"retry_timeout\":\"20\",\"maximum_lag_on_failover\":\"0x400\","
             "\"primary_race_backoff\":3,\"check_timeline\":\"on\",\"max_timelines_history\":50,"
             "\"primary_start_timeout\":0,\"primary_stop_timeout\":8,\"pause\":true,\"failsafe_mode\":1,"
             "\"member_slots_ttl\":\"2h\",\"failover_profile\":\"fast\",\"postgresql\":{\"use_slots\":false},"
             "\"ignore_slots\":[{\"name\":\"a\",\"type\":\"LOGICAL\",\"database\":\"d\",\"plugin\":\"p\"},{\"name\":"
             "\"b\"}]}");

    assert_int_equal(d->ttl_ms, 60000);
    assert_int_equal(d->loop_wait_ms, 5000);
    assert_int_equal(d->retry_timeout_ms, 20000);
    assert_int_equal(d->maximum_lag_on_failover, 1024);
    assert_int_equal(d->primary_race_backoff_ms, 3000);
    assert_true(d->check_timeline);
    assert_int_equal(d->max_timelines_history, 50);
    assert_int_equal(d->primary_start_timeout_ms, 0);
    assert_int_equal(d->primary_stop_timeout_ms, 8000);
    assert_true(d->pause);
    assert_true(d->failsafe_mode);
    assert_int_equal(d->member_slots_ttl_ms, 7200000);
    assert_int_equal(d->failover_profile, PROFILE_FAST);
    assert_false(d->use_slots);
    assert_json(d->ignore_slots, "[{\"name\":\"a\",\"type\":\"logical\",\"database\":\"d\",\"plugin\":\"p\"},"
                                 "{\"name\":\"b\"}]");
}

static void test_old_names_of_timeouts_count_unless_the_new_ones_are_there(void **state)
{
    AUTO(findings) struct findings f = {0};
    AUTO(dynamic) struct dynamic *old = good("{\"master_start_timeout\":7,\"master_stop_timeout\":8}");
    AUTO(dynamic)
    struct dynamic *both = dynamic_of("{\"master_start_timeout\":7,\"primary_start_timeout\":9}", NULL, &f);

    assert_int_equal(old->primary_start_timeout_ms, 7000);
    assert_int_equal(old->primary_stop_timeout_ms, 8000);
    assert_json(old->json, "{\"master_start_timeout\":7,\"master_stop_timeout\":8}"); /* as it is in the store */
    assert_int_equal(both->primary_start_timeout_ms, 9000);
    assert_int_equal(f.count, 1);
}

static void test_timings_below_the_floor_are_raised_with_a_warning(void **state)
{
    AUTO(findings) struct findings f = {0};
    AUTO(dynamic) struct dynamic *d = dynamic_of("{\"ttl\":5,\"loop_wait\":0,\"retry_timeout\":1}", NULL, &f);

    assert_int_equal(d->ttl_ms, 20000);
    assert_int_equal(d->loop_wait_ms, 1000);
    assert_int_equal(d->retry_timeout_ms, 3000);
    assert_int_equal(f.count, 3);
    assert_int_equal(f.error_count, 0);
    assert_int_equal(findings_with(&f, FINDING_WARNING, "dynamic configuration: ttl: 5 is below 20, which is used"), 1);
}

static void assert_timings(const char *json, int loop_wait_s, int retry_timeout_s, const char *warning)
{
    AUTO(findings) struct findings f = {0};
    AUTO(dynamic) struct dynamic *d = dynamic_of(json, NULL, &f);

    assert_int_equal(d->loop_wait_ms, loop_wait_s * 1000);
    assert_int_equal(d->retry_timeout_ms, retry_timeout_s * 1000);
    assert_true(d->loop_wait_ms + 2 * d->retry_timeout_ms <= d->ttl_ms);
    if (!warning)
        assert_no_finding(&f);
    else
        assert_finding(&f, FINDING_WARNING, warning);
}

/* The results are those of patroni.config.Config._validate_and_adjust_timeouts(). */
static void test_timings_that_break_the_rule_are_cut_as_patroni_does(void **state)
{
    assert_timings("{\"ttl\":30,\"loop_wait\":10,\"retry_timeout\":10}", 10, 10, NULL);
    assert_timings("{\"ttl\":30,\"loop_wait\":15,\"retry_timeout\":10}", 10, 10,
                   "dynamic configuration: loop_wait + 2*retry_timeout <= ttl: does not hold for 15 + 2*10 and 30: "
                   "loop_wait 10 and retry_timeout 10 are used");
    assert_timings("{\"ttl\":30,\"loop_wait\":10,\"retry_timeout\":14}", 2, 14,
                   "dynamic configuration: loop_wait + 2*retry_timeout <= ttl: does not hold for 10 + 2*14 and 30: "
                   "loop_wait 2 and retry_timeout 14 are used");
    assert_timings("{\"ttl\":30,\"loop_wait\":10,\"retry_timeout\":30}", 1, 14,
                   "dynamic configuration: loop_wait + 2*retry_timeout <= ttl: does not hold for 10 + 2*30 and 30: "
                   "loop_wait 1 and retry_timeout 14 are used");
    assert_timings("{\"ttl\":20}", 1, 9,
                   "dynamic configuration: loop_wait + 2*retry_timeout <= ttl: does not hold for 10 + 2*10 and 20: "
                   "loop_wait 1 and retry_timeout 9 are used");
}

static void test_a_wrong_value_falls_back_to_its_default(void **state)
{
    AUTO(findings) struct findings f = {0};
    AUTO(dynamic)
    struct dynamic *d =
        dynamic_of("{\"maximum_lag_on_failover\":-5,\"pause\":\"perhaps\",\"ttl\":\"long\",\"slots\":[],"
                   "\"ignore_slots\":{},\"postgresql\":{\"use_pg_rewind\":7,\"pg_hba\":\"x\"}}",
                   NULL, &f);

    assert_int_equal(f.error_count, 7);
    assert_int_equal(d->maximum_lag_on_failover, 1048576);
    assert_false(d->pause);
    assert_int_equal(d->ttl_ms, 30000);
    assert_null(d->slots);
    assert_null(d->ignore_slots);
    assert_false(d->use_pg_rewind);
    assert_null(d->pg_hba);
}

static void test_a_configuration_that_is_no_object_is_all_defaults(void **state)
{
    AUTO(findings) struct findings f = {0};
    AUTO(dynamic) struct dynamic *d = dynamic_of("[1]", NULL, &f);

    assert_finding(&f, FINDING_ERROR,
                   "dynamic configuration: is no configuration: expected an object; the defaults are used");
    assert_int_equal(d->ttl_ms, 30000);
    assert_json(d->json, "{}");
}

static void test_what_promises_safety_is_an_error_and_typed_as_it_was_asked_for(void **state)
{
    AUTO(findings) struct findings f = {0};
    AUTO(dynamic)
    struct dynamic *d = dynamic_of("{\"synchronous_mode\":\"quorum\",\"synchronous_mode_strict\":true,\"standby_"
                                   "cluster\":{\"host\":\"h\",\"port\":1}}",
                                   NULL, &f);

    assert_int_equal(f.error_count, 1);
    assert_int_equal(findings_with(&f, FINDING_ERROR, "refused"), 1);
    assert_int_equal(d->synchronous_mode, SYNC_MODE_QUORUM);
    assert_true(d->synchronous_mode_strict);
    assert_json(d->standby_cluster, "{\"host\":\"h\",\"port\":1}");
}

static void test_synchronous_mode_needs_slots(void **state)
{
    AUTO(findings) struct findings f = {0};
    AUTO(dynamic)
    struct dynamic *d = dynamic_of("{\"synchronous_mode\":\"quorum\",\"postgresql\":{\"use_slots\":false}}", NULL, &f);

    assert_true(d->use_slots);
    assert_int_equal(findings_with(&f, FINDING_WARNING, "use_slots"), 1);
}

static void test_a_promise_that_cannot_be_kept_is_named(void **state)
{
    static const char *const keys[][2] = {
        {"{\"standby_cluster\":{\"restore_command\":\"cp\"}}", "standby_cluster"},
    };
    AUTO(dynamic) struct dynamic *none = good("{\"synchronous_mode\":\"off\",\"standby_cluster\":{\"host\":\"\"}}");

    assert_null(dynamic_refused(none));
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        AUTO(findings) struct findings f = {0};
        AUTO(dynamic) struct dynamic *d = dynamic_of(keys[i][0], NULL, &f);
        assert_string_equal(dynamic_refused(d), keys[i][1]);
        assert_int_equal(f.error_count, 1);
    }
}

static void test_slots_that_are_not_mappings_are_physical(void **state)
{
    AUTO(dynamic)
    struct dynamic *d = good("{\"slots\":{\"a\":0,\"b\":null,\"c\":{},\"d\":{\"type\":\"physical\"},\"e\":\"x\"}}");

    assert_json(d->slots, "{\"a\":{\"type\":\"physical\"},\"b\":{\"type\":\"physical\"},\"c\":{\"type\":\"physical\"},"
                          "\"d\":{\"type\":\"physical\"},\"e\":{\"type\":\"physical\"}}");
}

static void test_logical_slots_are_kept_in_sight_with_a_warning(void **state)
{
    AUTO(findings) struct findings f = {0};
    AUTO(dynamic)
    struct dynamic *d = dynamic_of("{\"slots\":{\"a\":{\"type\":\"logical\",\"database\":\"d\",\"plugin\":\"p\"},"
                                   "\"b\":{\"database\":\"d\",\"plugin\":\"p\"}}}",
                                   NULL, &f);

    assert_json(d->slots, "{\"a\":{\"type\":\"logical\",\"database\":\"d\",\"plugin\":\"p\"},"
                          "\"b\":{\"type\":\"logical\",\"database\":\"d\",\"plugin\":\"p\"}}");
    assert_int_equal(f.count, 2);
    assert_int_equal(findings_with(&f, FINDING_WARNING, "slots.a.type: not built yet"), 1);
    assert_int_equal(findings_with(&f, FINDING_WARNING, "slots.b: a logical slot: not built yet"), 1);
}

static void test_slots_of_standby_clusters_are_left_out(void **state)
{
    AUTO(dynamic)
    struct dynamic *d = good("{\"slots\":{\"a\":{\"cluster_type\":\"standby\"},\"b\":{\"cluster_type\":\"primary\"}}}");

    assert_json(d->slots, "{\"b\":{\"cluster_type\":\"primary\",\"type\":\"physical\"}}");
}

static void test_a_slot_name_that_postgresql_refuses_is_an_error(void **state)
{
    AUTO(findings) struct findings f = {0};
    AUTO(dynamic)
    struct dynamic *d = dynamic_of("{\"slots\":{\"Node-1\":0,\"\":0,\"ok\":0,"
                                   "\"a234567890123456789012345678901234567890123456789012345678901234\":0}}",
                                   NULL, &f);

    assert_int_equal(f.error_count, 3);
    assert_json(d->slots, "{\"ok\":{\"type\":\"physical\"}}");
}

/* pg_ctl would not wait at all; a promotion that may take no time always fails. */
static void test_no_time_for_a_promotion_is_the_default(void **state)
{
    AUTO(findings) struct findings f = {0};
    AUTO(dynamic) struct dynamic *d = dynamic_of("{\"postgresql\":{\"pg_ctl_timeout\":0}}", NULL, &f);

    assert_no_finding(&f);
    assert_int_equal(d->pg_ctl_timeout_s, 60);
}

static void test_local_and_dynamic_sections_merge(void **state)
{
    AUTO(findings) struct findings f = {0};
    AUTO(settings)
    struct settings *local = local_of("postgresql:\n"
                                      "  bin_dir: /local/bin\n"
                                      "  pg_ctl_timeout: 90\n"
                                      "  pg_hba: [local all all peer]\n"
                                      "  recovery_conf: {restore_command: local}\n"
                                      "  use_pg_rewind: 'off'\n"
                                      "  callbacks: {on_start: /local}\n"
                                      "  before_stop: /local\n"
                                      "  basebackup: [{max-rate: 100M}]\n"
                                      "  use_unix_socket_repl: on\n");
    AUTO(dynamic)
    struct dynamic *d = dynamic_of(
        "{\"postgresql\":{\"bin_dir\":\"/dynamic/"
        "bin\",\"bin_name\":{\"pg_ctl\":\"a\",\"initdb\":\"b\",\"pg_controldata\":\"c\","
        "\"pg_basebackup\":\"d\",\"postgres\":\"e\",\"pg_isready\":\"f\",\"pg_rewind\":\"g\"},\"pg_ctl_timeout\":30,"
        "\"use_unix_socket\":\"on\",\"custom_conf\":\"/c\",\"pg_hba\":[\"x\"],\"pg_ident\":[\"map a b\"],"
        "\"recovery_conf\":{\"recovery_min_apply_delay\":1},\"use_pg_rewind\":true,\"rewind\":[\"progress\"],"
        "\"remove_data_directory_on_rewind_failure\":true,\"remove_data_directory_on_diverged_timelines\":1,"
        "\"callbacks\":{\"on_stop\":\"/s\",\"on_restart\":\"/r\",\"on_reload\":\"/l\",\"on_role_change\":\"/c\"},"
        "\"pre_promote\":\"/fence\",\"create_replica_methods\":\"mine,basebackup\","
        "\"mine\":{\"command\":\"/"
        "x\",\"keep_data\":\"on\",\"no_params\":0,\"no_leader\":\"1\",\"no_master\":\"1\",\"own\":\"v\"}}}",
        local, &f);

    assert_no_finding(&f);
    assert_string_equal(d->bin_dir, "/local/bin");
    assert_json(d->bin_name, "{\"pg_ctl\":\"a\",\"initdb\":\"b\",\"pg_controldata\":\"c\",\"pg_basebackup\":\"d\","
                             "\"postgres\":\"e\",\"pg_isready\":\"f\",\"pg_rewind\":\"g\"}");
    assert_int_equal(d->pg_ctl_timeout_s, 90);
    assert_true(d->use_unix_socket);
    assert_true(d->use_unix_socket_repl);
    assert_string_equal(d->custom_conf, "/c");
    assert_json(d->pg_hba, "[\"local all all peer\"]");
    assert_json(d->pg_ident, "[\"map a b\"]");
    assert_json(d->recovery_conf, "{\"restore_command\":\"local\"}"); /* replaced as a whole, as Patroni does */
    assert_false(d->use_pg_rewind);
    assert_json(d->rewind_options, "[\"progress\"]");
    assert_true(d->remove_data_directory_on_rewind_failure);
    assert_true(d->remove_data_directory_on_diverged_timelines);
    assert_json(d->callbacks, "{\"on_start\":\"/local\"}");
    assert_string_equal(d->pre_promote, "/fence");
    assert_string_equal(d->before_stop, "/local");
    assert_json(d->create_replica_methods, "[\"mine\",\"basebackup\"]");
    assert_json(json_object_get(d->postgresql, "mine"),
                "{\"command\":\"/x\",\"keep_data\":true,\"no_params\":false,\"no_leader\":true,\"no_master\":true,"
                "\"own\":\"v\"}");
    assert_json(json_object_get(d->postgresql, "basebackup"), "[{\"max-rate\":\"100M\"}]");

    AUTO(dynamic)
    struct dynamic *all = good("{\"postgresql\":{\"callbacks\":{\"on_start\":\"/a\",\"on_stop\":\"/s\","
                               "\"on_restart\":\"/r\",\"on_reload\":\"/l\",\"on_role_change\":\"/c\"}}}");
    assert_json(all->callbacks, "{\"on_start\":\"/a\",\"on_stop\":\"/s\",\"on_restart\":\"/r\",\"on_reload\":\"/l\","
                                "\"on_role_change\":\"/c\"}");
}

static void test_a_list_without_a_line_counts_as_not_given(void **state)
{
    AUTO(dynamic)
    struct dynamic *d =
        good("{\"ignore_slots\":[],\"postgresql\":{\"pg_hba\":[],\"create_replica_methods\":[],\"callbacks\":{}}}");

    assert_null(d->pg_hba);
    assert_null(d->create_replica_methods);
    assert_null(d->callbacks);
    assert_null(d->ignore_slots);
}

static void test_a_method_without_a_section_is_passed_over_with_a_warning(void **state)
{
    AUTO(findings) struct findings f = {0};
    AUTO(settings) struct settings *local = local_of("postgresql: {theirs: {command: /x}}\n");
    AUTO(dynamic)
    struct dynamic *d =
        dynamic_of("{\"postgresql\":{\"create_replica_methods\":[\"mine\",\"theirs\",\"basebackup\"]}}", local, &f);

    assert_finding(&f, FINDING_WARNING,
                   "dynamic configuration: postgresql.create_replica_methods: \"mine\" is passed over: there is no "
                   "section postgresql.mine with a command");
    assert_int_equal(json_array_size(d->create_replica_methods), 3);
}

static void test_parameters_merge_without_regard_to_case(void **state)
{
    AUTO(findings) struct findings f = {0};
    AUTO(settings)
    struct settings *local =
        local_of("postgresql: {parameters: {WORK_MEM: 8MB, log_connections: on, max_connections: 7}}\n");
    AUTO(dynamic)
    struct dynamic *d = dynamic_of("{\"postgresql\":{\"parameters\":{\"work_mem\":\"4MB\",\"shared_buffers\":\"1GB\","
                                   "\"Max_Connections\":\"200\"}}}",
                                   local, &f);

    assert_no_finding(&f);
    assert_null(json_object_get(d->parameters, "work_mem"));
    assert_json(json_object_get(d->parameters, "WORK_MEM"), "\"8MB\"");
    assert_json(json_object_get(d->parameters, "shared_buffers"), "\"1GB\"");
    assert_json(json_object_get(d->parameters, "log_connections"), "true");
    assert_string_equal(dynamic_shared_parameter(d, "max_connections"), "200");
    assert_string_equal(dynamic_shared_parameter(d, "MAX_CONNECTIONS"), "200");
    assert_null(dynamic_shared_parameter(d, "work_mem"));
    assert_ptr_equal(json_object_get(d->postgresql, "parameters"), d->parameters);
}

static void test_shared_parameters_have_patronis_defaults(void **state)
{
    static const struct {
        const char *name, *value;
    } wants[] = {
        {"listen_addresses", "127.0.0.1"},
        {"port", "5432"},
        {"cluster_name", "demo"},
        {"hot_standby", "on"},
        {"wal_log_hints", "on"},
        {"wal_level", "replica"},
        {"max_connections", "100"},
        {"max_wal_senders", "10"},
        {"max_replication_slots", "10"},
        {"max_prepared_transactions", "0"},
        {"max_locks_per_transaction", "64"},
        {"max_worker_processes", "8"},
        {"track_commit_timestamp", "off"},
        {"wal_keep_size", "128MB"},
    };
    AUTO(findings) struct findings f = {0};
    AUTO(settings) struct settings *local = local_of("{}");
    AUTO(dynamic) struct dynamic *d = dynamic_of("{}", local, &f);

    assert_no_finding(&f);
    for (size_t i = 0; i < ARRAY_LEN(wants); i++) {
        assert_string_equal(dynamic_shared_parameter(d, wants[i].name), wants[i].value);
        assert_true(json_is_string(json_object_get(d->parameters, wants[i].name)));
    }
    assert_int_equal(json_object_size(d->parameters), ARRAY_LEN(wants));
}

static void assert_shared(const char *name, const char *json, const char *value, const char *warning)
{
    AUTO(findings) struct findings f = {0};
    AUTO(settings) struct settings *local = local_of("{}");
    AUTO(cstr) char *config = str_fmt("{\"postgresql\":{\"parameters\":{\"%s\":%s}}}", name, json);
    AUTO(dynamic) struct dynamic *d = dynamic_of(config, local, &f);

    assert_string_equal(dynamic_shared_parameter(d, name), value);
    if (!warning) {
        assert_no_finding(&f);
        return;
    }
    AUTO(cstr) char *text = str_fmt("dynamic configuration: postgresql.parameters.%s: %s", name, warning);
    assert_finding(&f, FINDING_WARNING, text);
}

static void test_shared_parameters_that_are_not_allowed_fall_back_with_a_warning(void **state)
{
    assert_shared("max_connections", "500", "500", NULL);
    assert_shared("max_connections", "\"500\"", "500", NULL);
    assert_shared("max_connections", "24", "100", "24 is not allowed; 100 is used");
    assert_shared("max_connections", "\"many\"", "100", "\"many\" is not allowed; 100 is used");
    assert_shared("max_wal_senders", "2", "10", "2 is not allowed; 10 is used");
    assert_shared("max_replication_slots", "3", "10", "3 is not allowed; 10 is used");
    assert_shared("max_worker_processes", "1", "8", "1 is not allowed; 8 is used");
    assert_shared("max_locks_per_transaction", "31", "64", "31 is not allowed; 64 is used");
    assert_shared("max_prepared_transactions", "0", "0", NULL);
    assert_shared("max_prepared_transactions", "-1", "0", "-1 is not allowed; 0 is used");
    assert_shared("wal_level", "\"logical\"", "logical", NULL);
    assert_shared("wal_level", "\"hot_standby\"", "replica", NULL);
    assert_shared("wal_level", "\"minimal\"", "replica", "\"minimal\" is not allowed; replica is used");
    assert_shared("track_commit_timestamp", "true", "on", NULL);
    assert_shared("track_commit_timestamp", "\"x\"", "off", "\"x\" is not allowed; off is used");
    assert_shared("wal_keep_size", "\"1GB\"", "1GB", NULL);
    assert_shared("wal_keep_size", "256", "256MB", NULL);
    assert_shared("wal_keep_size", "\"1MB\"", "128MB", "\"1MB\" is not allowed; 128MB is used");
    assert_shared("wal_log_hints", "\"on\"", "on", NULL);
    assert_shared("wal_log_hints", "false", "on", "the boolean false is not allowed; on is used");
    assert_shared("hot_standby", "\"off\"", "on", "\"off\" is not allowed; on is used");
    assert_shared("port", "6000", "5432", "6000 is not allowed; 5432 is used");
    assert_shared("cluster_name", "\"x\"", "demo", "\"x\" is not allowed; demo is used");
    assert_shared("listen_addresses", "\"*\"", "127.0.0.1", "\"*\" is not allowed; 127.0.0.1 is used");
}

static void test_segments_to_keep_become_a_size(void **state)
{
    AUTO(dynamic) struct dynamic *d = good("{\"postgresql\":{\"parameters\":{\"wal_keep_segments\":10}}}");
    AUTO(dynamic)
    struct dynamic *both =
        good("{\"postgresql\":{\"parameters\":{\"wal_keep_segments\":10,\"wal_keep_size\":\"2GB\"}}}");

    assert_string_equal(dynamic_shared_parameter(d, "wal_keep_size"), "160MB");
    assert_null(json_object_get(d->parameters, "wal_keep_segments")); /* PostgreSQL 13 and later do not know it */
    assert_string_equal(dynamic_shared_parameter(both, "wal_keep_size"), "2GB");
}

static void test_the_seed_is_bootstrap_dcs_as_it_was_written(void **state)
{
    AUTO(settings)
    struct settings *s = local_of("bootstrap: {dcs: {ttl: 30, pause: off, postgresql: {use_slots: on}}}\n");
    AUTO(settings) struct settings *none = local_of("{}");
    AUTO(json) json_t *seed = dynamic_seed(s);
    AUTO(json) json_t *empty = dynamic_seed(none);

    assert_json(seed, "{\"ttl\":30,\"pause\":false,\"postgresql\":{\"use_slots\":true}}");
    assert_json(empty, "{}");
}

static void test_a_snapshot_lives_as_long_as_someone_holds_it(void **state)
{
    struct dynamic *d = good("{}");
    struct dynamic *second = dynamic_ref(d);

    dynamic_unref(d);
    assert_int_equal(second->ttl_ms, 30000);
    dynamic_unref(second);
    dynamic_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_means_patronis_defaults),
        cmocka_unit_test(test_dynamic_keys_are_read),
        cmocka_unit_test(test_old_names_of_timeouts_count_unless_the_new_ones_are_there),
        cmocka_unit_test(test_timings_below_the_floor_are_raised_with_a_warning),
        cmocka_unit_test(test_timings_that_break_the_rule_are_cut_as_patroni_does),
        cmocka_unit_test(test_a_wrong_value_falls_back_to_its_default),
        cmocka_unit_test(test_a_configuration_that_is_no_object_is_all_defaults),
        cmocka_unit_test(test_what_promises_safety_is_an_error_and_typed_as_it_was_asked_for),
        cmocka_unit_test(test_synchronous_mode_needs_slots),
        cmocka_unit_test(test_a_promise_that_cannot_be_kept_is_named),
        cmocka_unit_test(test_slots_that_are_not_mappings_are_physical),
        cmocka_unit_test(test_logical_slots_are_kept_in_sight_with_a_warning),
        cmocka_unit_test(test_slots_of_standby_clusters_are_left_out),
        cmocka_unit_test(test_a_slot_name_that_postgresql_refuses_is_an_error),
        cmocka_unit_test(test_no_time_for_a_promotion_is_the_default),
        cmocka_unit_test(test_local_and_dynamic_sections_merge),
        cmocka_unit_test(test_a_list_without_a_line_counts_as_not_given),
        cmocka_unit_test(test_a_method_without_a_section_is_passed_over_with_a_warning),
        cmocka_unit_test(test_parameters_merge_without_regard_to_case),
        cmocka_unit_test(test_shared_parameters_have_patronis_defaults),
        cmocka_unit_test(test_shared_parameters_that_are_not_allowed_fall_back_with_a_warning),
        cmocka_unit_test(test_segments_to_keep_become_a_size),
        cmocka_unit_test(test_the_seed_is_bootstrap_dcs_as_it_was_written),
        cmocka_unit_test(test_a_snapshot_lives_as_long_as_someone_holds_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
