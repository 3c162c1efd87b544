#include "wire/conf/keys.h"

#include "conf_test.h"
#include "wire/conf/audit.h"

/* Patroni's keys, up to 4.1 and the changes after it: a section ("-": none), then the names in it. */
static const char patroni_keys[] =
    "- scope namespace name thread_pool_size thread_stack_size site\n"
    "log type level traceback_level format dateformat static_fields max_queue_size dir mode file_num file_size "
    "loggers deduplicate_heartbeat_logs\n"
    "restapi listen connect_address authentication certfile keyfile keyfile_password cafile ciphers "
    "verify_client allowlist allowlist_include_members http_extra_headers https_extra_headers "
    "request_queue_size server_tokens thread_pool_size\n"
    "restapi.authentication username password\n"
    "ctl authentication insecure cacert certfile keyfile keyfile_password\n"
    "tags nofailover failover_priority noloadbalance clonefrom nosync sync_priority nostream replicatefrom *\n"
    "watchdog mode device safety_margin driver\n"
    "bootstrap dcs initdb method post_bootstrap post_init users *\n"
    "bootstrap.* command keep_existing_recovery_conf no_params recovery_conf *\n"
    "postgresql listen connect_address proxy_address data_dir config_dir bin_dir bin_name pgpass "
    "use_unix_socket use_unix_socket_repl pg_ctl_timeout custom_conf authentication callbacks pre_promote "
    "before_stop parameters parameters_primary parameters_replica parameters_standby_leader pg_hba "
    "pg_hba_primary pg_hba_replica pg_hba_standby_leader pg_ident pg_ident_primary pg_ident_replica "
    "pg_ident_standby_leader pg_hosts recovery_conf use_slots use_pg_rewind rewind "
    "remove_data_directory_on_rewind_failure remove_data_directory_on_diverged_timelines "
    "create_replica_methods basebackup *\n"
    "postgresql.* command keep_data no_params no_leader *\n"
    "postgresql.bin_name pg_ctl initdb pg_controldata pg_basebackup postgres pg_isready pg_rewind\n"
    "postgresql.callbacks on_start on_stop on_restart on_reload on_role_change\n"
    "postgresql.authentication superuser replication rewind\n"
    "postgresql.authentication.superuser username password sslmode sslcert sslkey sslpassword sslrootcert "
    "sslcrl sslcrldir gssencmode channel_binding sslnegotiation\n"
    "postgresql.authentication.replication username password sslmode sslcert sslkey sslpassword sslrootcert "
    "sslcrl sslcrldir gssencmode channel_binding sslnegotiation\n"
    "postgresql.authentication.rewind username password sslmode sslcert sslkey sslpassword sslrootcert sslcrl "
    "sslcrldir gssencmode channel_binding sslnegotiation\n"
    "- ttl loop_wait retry_timeout primary_race_backoff maximum_lag_on_failover maximum_lag_on_syncnode "
    "check_timeline max_timelines_history primary_start_timeout primary_stop_timeout master_start_timeout "
    "master_stop_timeout pause failsafe_mode synchronous_mode synchronous_mode_strict synchronous_node_count "
    "member_slots_ttl slots ignore_slots standby_cluster postgresql\n"
    "slots.* type database plugin cluster_type\n"
    "ignore_slots[] name type database plugin\n"
    "standby_cluster host port primary_slot_name create_replica_methods restore_command "
    "archive_cleanup_command recovery_min_apply_delay\n"
    "etcd host hosts url proxy srv srv_suffix use_proxies protocol username password cacert cert key\n"
    "etcd3 host hosts url proxy srv srv_suffix use_proxies protocol username password cacert cert key\n"
    "consul host url port scheme token verify cacert cert key dc consistency checks register_service "
    "service_tags service_check_interval service_check_tls_server_name\n"
    "zookeeper hosts use_ssl cacert cert key key_password verify set_acls auth_data\n"
    "exhibitor hosts port poll_interval\n"
    "kubernetes labels namespace scope_label role_label leader_label_value follower_label_value "
    "standby_leader_label_value tmp_role_label use_endpoints bypass_api_service pod_ip ports cacert "
    "retriable_http_codes bootstrap_labels\n"
    "raft self_addr bind_addr partner_addrs data_dir password min_timeout max_timeout connection_timeout "
    "append_entries_period connection_retry_time leader_fallback_timeout\n"
    "citus group database\n";

static void test_every_key_of_patroni_has_a_row(void **state)
{
    AUTO(cstr) char *text = str_dup(patroni_keys);
    char *lines = text;
    int count = 0;

    for (char *line; (line = strsep(&lines, "\n"));) {
        const char *section = strsep(&line, " ");
        for (char *name; (name = strsep(&line, " ")); count++) {
            AUTO(cstr) char *path = str_eq(section, "-") ? str_dup(name) : str_fmt("%s.%s", section, name);
            if (!key_find(path, KEY_BOTH))
                fail_msg("%s has no row", path);
        }
    }
    assert_true(count > 200);
}

static void test_a_path_has_one_row(void **state)
{
    const struct key *a;
    const struct key *b;

    for (size_t i = 0; (a = key_at(i)); i++)
        for (size_t j = i + 1; (b = key_at(j)); j++)
            if (str_eq(a->path, b->path))
                fail_msg("%s has two rows", a->path);
}

static void test_every_section_on_the_way_to_a_key_has_a_row(void **state)
{
    const struct key *key;

    for (size_t i = 0; (key = key_at(i)); i++) {
        const char *dot = strrchr(key->path, '.');
        AUTO(cstr) char *parent = dot ? str_fmt("%.*s", (int)(dot - key->path), key->path) : NULL;
        if (parent && !key_find(parent, KEY_BOTH))
            fail_msg("%s stands in no section", key->path);
        if (str_ends(key->path, "[]")) {
            AUTO(cstr) char *list = str_fmt("%.*s", (int)strlen(key->path) - 2, key->path);
            assert_int_equal(key_find(list, KEY_BOTH)->type, KEY_LIST);
        }
    }
}

static bool fits_text(const struct key *key, const char *text)
{
    const char *file = conf_file_new("row");
    AUTO(conf_node) struct conf_node *n = conf_node_text(text, file, 0);

    conf_file_unref(file);
    return audit_fits(key, n);
}

static void test_rows_are_whole(void **state)
{
    const struct key *key;

    for (size_t i = 0; (key = key_at(i)); i++) {
        if (key->moved_to) {
            const struct key *target = key_find(key->moved_to, key->scope);
            if (!target || target->moved_to || target->type != key->type)
                fail_msg("%s moved to no key of its kind", key->path);
            continue;
        }
        if (!key->meaning || strlen(key->meaning) < 3)
            fail_msg("%s says nothing", key->path);
        if (key->state == KEY_BUILT && !key->test)
            fail_msg("%s is built, but no test shows it", key->path);
        if (key->state != KEY_BUILT && key->test)
            fail_msg("%s is not built, but a test shows it", key->path);
        if ((key->type == KEY_ENUM) != (key->values != NULL))
            fail_msg("%s: values belong to alternatives", key->path);
        if (key->fallback && !fits_text(key, key->fallback))
            fail_msg("%s: the default does not fit", key->path);
        if (key->harmless && (key->state == KEY_BUILT || !fits_text(key, key->harmless)))
            fail_msg("%s: the harmless value does not fit", key->path);
        if (key->refused && !fits_text(key, key->refused))
            fail_msg("%s: the refused value does not fit", key->path);
        if (key->with && !key_find(key->with, key->scope))
            fail_msg("%s goes with no key", key->path);
        assert_true(key->max == 0 || key->min < key->max);
    }
}

static void test_a_variable_sets_one_key(void **state)
{
    const struct key *a;
    const struct key *b;

    for (size_t i = 0; (a = key_at(i)); i++) {
        AUTO(cstr) char *variable = key_variable(a);
        for (size_t j = i + 1; variable && (b = key_at(j)); j++) {
            AUTO(cstr) char *other = key_variable(b);
            if (str_eq(variable, other))
                fail_msg("%s sets %s and %s", variable, a->path, b->path);
        }
    }
}

static void test_what_promises_safety_is_refused_by_its_row(void **state)
{
    assert_int_equal(key_find("standby_cluster", KEY_DYNAMIC)->state, KEY_REFUSED);
    assert_string_equal(key_find("watchdog.mode", KEY_LOCAL)->refused, "required");
}

/* A tree with nothing but `value` at the row's path; stars become names, [] a list of one. */
static struct conf_node *tree_with(const char *path, struct conf_node *value, const char *file)
{
    struct conf_node *root = conf_node_new(CONF_MAP, file, 1);
    struct conf_node *at = root;
    AUTO(cstr) char *copy = str_dup(path);
    char *rest = copy;

    for (char *step; (step = strsep(&rest, "."));) {
        bool list = str_ends(step, "[]");
        if (list)
            step[strlen(step) - 2] = '\0';
        const char *name = str_eq(step, "*") ? "own" : step;
        struct conf_node *last = rest ? NULL : value;
        if (list) {
            struct conf_node *items = conf_node_new(CONF_LIST, file, 1);
            struct conf_node *item = last ? last : conf_node_new(CONF_MAP, file, 1);
            conf_append(items, item);
            conf_set(at, name, items);
            at = item;
            continue;
        }
        struct conf_node *next = last ? last : conf_node_new(CONF_MAP, file, 1);
        conf_set(at, name, next);
        if (!last && str_eq(step, "*")) /* what makes a method of one's own a section */
            conf_set(next, "command", conf_node_text("/bin/true", file, 1));
        at = next;
    }
    return root;
}

static struct conf_node *list_of(const char *text, const char *file)
{
    struct conf_node *list = conf_node_new(CONF_LIST, file, 1);

    conf_append(list, conf_node_text(text, file, 1));
    return list;
}

static struct conf_node *map_of(const char *key, const char *text, const char *file)
{
    struct conf_node *map = conf_node_new(CONF_MAP, file, 1);

    conf_set(map, key, conf_node_text(text, file, 1));
    return map;
}

/* A value of the row's type that asks for something; NULL where there is none to be wrong about. */
static struct conf_node *right_value(const struct key *key, const char *file)
{
    switch (key->type) {
    case KEY_SECTION:
    case KEY_MAP:
    case KEY_SCALARS:
    case KEY_ANY:
        return map_of("name", "value", file);
    case KEY_TEXT:
    case KEY_SECRET:
    case KEY_SCALAR:
        return conf_node_text("some text", file, 1);
    case KEY_BOOL:
        return conf_node_text("on", file, 1);
    case KEY_INT:
    case KEY_DURATION:
        return conf_node_text(key->max == 0777 ? "0600" : "7", file, 1);
    case KEY_SIZE:
        return conf_node_text("1MB", file, 1);
    case KEY_ENUM: {
        AUTO(cstr) char *last = str_dup(strrchr(key->values, '|') + 1);
        last[strcspn(last, "/")] = '\0';
        return conf_node_text(last, file, 1);
    }
    case KEY_HOST_PORT:
    case KEY_ADDRESS:
    case KEY_LISTEN:
        return conf_node_text("host:1", file, 1);
    case KEY_HOST_LIST:
        return list_of("host:1", file);
    case KEY_URL:
        return conf_node_text("http://host:1", file, 1);
    case KEY_TEXT_LIST:
    case KEY_LINES:
    case KEY_OPTIONS:
    case KEY_LIST:
        return list_of("text", file);
    }
    return NULL;
}

static struct conf_node *wrong_value(const struct key *key, const char *file)
{
    switch (key->type) {
    case KEY_TEXT:
    case KEY_SECRET:
    case KEY_SCALAR:
        return list_of("text", file);
    case KEY_HOST_LIST:
    case KEY_TEXT_LIST:
        return map_of("name", "value", file);
    case KEY_ANY:
        return NULL;
    case KEY_SECTION:
    case KEY_MAP:
    case KEY_SCALARS:
    case KEY_BOOL:
    case KEY_INT:
    case KEY_DURATION:
    case KEY_SIZE:
    case KEY_ENUM:
    case KEY_HOST_PORT:
    case KEY_ADDRESS:
    case KEY_LISTEN:
    case KEY_URL:
    case KEY_LINES:
    case KEY_OPTIONS:
    case KEY_LIST:
        return conf_node_text("::", file, 1);
    }
    return NULL;
}

/* Sections of one's own are known by their command, so nothing else can stand in their place. */
static bool is_own_section(const struct key *key)
{
    return str_ends(key->path, ".*") && key->type == KEY_SECTION;
}

static void audit_row(const struct key *key, struct conf_node *take_value, const char *file, struct findings *f)
{
    AUTO(conf_node) struct conf_node *root = tree_with(key->path, take_value, file);

    if (key->scope & KEY_LOCAL)
        audit_local(root, f);
    else
        audit_dynamic(root, f);
}

static char *path_in_tree(const struct key *key)
{
    char text[200] = "";

    for (const char *at = key->path; *at; at++)
        strcat(text, *at == '*' ? "own" : *at == ']' ? "0]" : (char[]){*at, '\0'});
    return str_dup(text);
}

static void test_a_value_of_the_wrong_type_is_an_error_that_names_key_and_expectation(void **state)
{
    const char *file = conf_file_new("node.yml");
    const struct key *key;

    for (size_t i = 0; (key = key_at(i)); i++) {
        AUTO(findings) struct findings f = {0};
        AUTO(cstr) char *path = path_in_tree(key);
        AUTO(cstr) char *expected = key_expected(key);
        AUTO(cstr) char *want = str_fmt("node.yml:1: %s: expected %s, found ", path, expected);
        struct conf_node *value = key->moved_to || is_own_section(key) ? NULL : wrong_value(key, file);

        if (!value)
            continue;
        audit_row(key, value, file, &f);
        size_t refused = (size_t)findings_with(&f, FINDING_ERROR, ": refused ("); /* its section may be */
        if (findings_with(&f, FINDING_ERROR, want) != 1 || f.error_count != 1 + refused) {
            findings_print(&f);
            fail_msg("not said of %s: %s", key->path, want);
        }
    }
    conf_file_unref(file);
}

/* Does some section above speak for the row (citus for citus.group, the store's own checks for consul.*)? */
static bool is_spoken_for(const struct key *key)
{
    AUTO(cstr) char *path = str_dup(key->path);

    if (key->with || key_is_store(key))
        return true;
    for (char *dot; (dot = strrchr(path, '.'));) {
        *dot = '\0';
        if (key_find(path, KEY_BOTH)->state != KEY_BUILT)
            return true;
    }
    return false;
}

static const char *saying_of(enum key_state state)
{
    switch (state) {
    case KEY_BUILT:
        return NULL;
    case KEY_LATER:
        return ": not built yet";
    case KEY_NO_EFFECT:
        return ": has no effect";
    case KEY_REFUSED:
        return ": refused (";
    }
    return NULL;
}

static void test_each_key_that_is_not_built_says_so_once(void **state)
{
    const char *file = conf_file_new("node.yml");
    const struct key *key;
    int told = 0;

    for (size_t i = 0; (key = key_at(i)); i++) {
        AUTO(findings) struct findings f = {0};
        AUTO(cstr) char *path = path_in_tree(key);
        const char *saying = saying_of(key->state);

        if (key->moved_to || is_own_section(key))
            continue;
        audit_row(key, right_value(key, file), file, &f);
        int states = findings_with(&f, FINDING_WARNING, ": not built yet") +
                     findings_with(&f, FINDING_WARNING, ": has no effect") +
                     findings_with(&f, FINDING_ERROR, ": refused (");
        if (!saying || key->refused) {
            states -= key->refused != NULL; /* right_value() is the refused one */
            if (states != 0 && !is_spoken_for(key)) {
                findings_print(&f);
                fail_msg("%s is built, but says otherwise", path);
            }
        } else if (!is_spoken_for(key)) {
            AUTO(cstr) char *want = str_fmt("%s%s", path, saying);
            enum finding_level level = key->state == KEY_REFUSED ? FINDING_ERROR : FINDING_WARNING;
            if (states != 1 || findings_with(&f, level, want) != 1) {
                findings_print(&f);
                fail_msg("not said once: %s", want);
            }
            told++;
        }
    }
    assert_true(told > 30);
    conf_file_unref(file);
}

static void test_the_nearest_known_name_is_found(void **state)
{
    assert_string_equal(key_nearest("", "scop", KEY_LOCAL), "scope");
    assert_string_equal(key_nearest("postgresql", "lsiten", KEY_LOCAL), "postgresql.listen");
    assert_string_equal(key_nearest("postgresql", "use_pgrewind", KEY_LOCAL), "postgresql.use_pg_rewind");
    assert_string_equal(key_nearest("restapi", "conect_adress", KEY_LOCAL), "restapi.connect_address");
    assert_string_equal(key_nearest("", "use_pg_rewind", KEY_LOCAL), "postgresql.use_pg_rewind");
    assert_string_equal(key_nearest("", "max_lag_on_failover", KEY_DYNAMIC), "maximum_lag_on_failover");
    assert_null(key_nearest("", "x", KEY_LOCAL));
    assert_null(key_nearest("", "completely_different_thing", KEY_LOCAL));
    assert_null(key_nearest("", "0123456789012345678901234567890123456789012345678901234567890123456789", KEY_LOCAL));
}

static void test_alternatives_have_synonyms_and_any_case(void **state)
{
    const struct key *mode = key_find("synchronous_mode", KEY_DYNAMIC);
    const char *file = conf_file_new("x");
    static const char *const pairs[][2] = {{"OFF", "off"},       {"no", "off"},   {"0", "off"}, {"yes", "on"},
                                           {"Quorum", "quorum"}, {"maybe", NULL}, {"of", NULL}, {"", NULL}};

    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        AUTO(conf_node) struct conf_node *n = conf_node_text(pairs[i][0], file, 0);
        AUTO(cstr) char *value = key_enum_value(mode, n);
        assert_true(str_eq(value, pairs[i][1]));
    }
    AUTO(conf_node) struct conf_node *off = conf_node_new(CONF_BOOL, file, 0);
    AUTO(cstr) char *value = key_enum_value(key_find("watchdog.mode", KEY_LOCAL), off);
    assert_string_equal(value, "off"); /* YAML's off is a boolean */
    conf_file_unref(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_key_of_patroni_has_a_row),
        cmocka_unit_test(test_a_path_has_one_row),
        cmocka_unit_test(test_every_section_on_the_way_to_a_key_has_a_row),
        cmocka_unit_test(test_rows_are_whole),
        cmocka_unit_test(test_a_variable_sets_one_key),
        cmocka_unit_test(test_what_promises_safety_is_refused_by_its_row),
        cmocka_unit_test(test_a_value_of_the_wrong_type_is_an_error_that_names_key_and_expectation),
        cmocka_unit_test(test_each_key_that_is_not_built_says_so_once),
        cmocka_unit_test(test_the_nearest_known_name_is_found),
        cmocka_unit_test(test_alternatives_have_synonyms_and_any_case),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
