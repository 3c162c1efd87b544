#include "wire/conf/environment.h"

#include "conf_test.h"
#include "wire/conf/keys.h"

static void assert_tree(const char *const *environment, const char *json)
{
    AUTO(findings) struct findings f = {0};
    AUTO(conf_node) struct conf_node *n = environment_read(environment, &f);
    AUTO(json) json_t *found = conf_to_json(n);

    assert_no_finding(&f);
    assert_json(found, json);
}

static void test_variables_of_every_kind_find_their_key(void **state)
{
    const char *const environment[] = {
        "HOME=/root",
        "PATRONI_SCOPE=s",
        "PATRONI_NAME=n",
        "PATRONI_NAMESPACE=/db/",
        "PATRONI_LOG_LEVEL=DEBUG",
        "PATRONI_RESTAPI_LISTEN=0.0.0.0:8008",
        "PATRONI_RESTAPI_USERNAME=api",
        "PATRONI_RESTAPI_PASSWORD=hush",
        "PATRONI_RESTAPI_ALLOWLIST=10.0.0.1,10.0.0.0/8",
        "PATRONI_RESTAPI_HTTP_EXTRA_HEADERS=X-A: b, X-C: d",
        "PATRONI_CTL_USERNAME=c",
        "PATRONI_CTL_INSECURE=on",
        "PATRONI_ETCD3_HOSTS='h1:2379','h2:2379'",
        "PATRONI_ETCD3_USERNAME=e",
        "PATRONI_POSTGRESQL_DATA_DIR=/data",
        "PATRONI_POSTGRESQL_BIN_PG_CTL=pg_ctl15",
        "PATRONI_SUPERUSER_USERNAME=boss",
        "PATRONI_SUPERUSER_SSLMODE=verify-full",
        "PATRONI_REPLICATION_PASSWORD=a=b",
        "PATRONI_REWIND_CHANNEL_BINDING=require",
        "PATRONI_TAGS={nofailover: true, site: x}",
        NULL,
    };

    assert_tree(
        environment,
        "{\"scope\":\"s\",\"name\":\"n\",\"namespace\":\"/db/\",\"log\":{\"level\":\"DEBUG\"},"
        "\"restapi\":{\"listen\":\"0.0.0.0:8008\",\"authentication\":{\"username\":\"api\",\"password\":\"hush\"},"
        "\"allowlist\":[\"10.0.0.1\",\"10.0.0.0/8\"],\"http_extra_headers\":{\"X-A\":\"b\",\"X-C\":\"d\"}},"
        "\"ctl\":{\"authentication\":{\"username\":\"c\"},\"insecure\":\"on\"},"
        "\"etcd3\":{\"hosts\":[\"h1:2379\",\"h2:2379\"],\"username\":\"e\"},"
        "\"postgresql\":{\"data_dir\":\"/data\",\"bin_name\":{\"pg_ctl\":\"pg_ctl15\"},\"authentication\":{"
        "\"superuser\":{\"username\":\"boss\",\"sslmode\":\"verify-full\"},\"replication\":{\"password\":\"a=b\"},"
        "\"rewind\":{\"channel_binding\":\"require\"}}},"
        "\"tags\":{\"nofailover\":true,\"site\":\"x\"}}");
}

/* docs/ENVIRONMENT of Patroni 4. */
static const char patroni_variables[] =
    "NAME NAMESPACE SCOPE LOG_TYPE LOG_LEVEL LOG_TRACEBACK_LEVEL LOG_FORMAT LOG_DATEFORMAT LOG_STATIC_FIELDS "
    "LOG_MAX_QUEUE_SIZE LOG_DIR LOG_MODE LOG_FILE_NUM LOG_FILE_SIZE LOG_LOGGERS LOG_DEDUPLICATE_HEARTBEAT_LOGS "
    "CITUS_GROUP CITUS_DATABASE CONSUL_HOST CONSUL_URL CONSUL_PORT CONSUL_SCHEME CONSUL_TOKEN CONSUL_VERIFY "
    "CONSUL_CACERT CONSUL_CERT CONSUL_KEY CONSUL_DC CONSUL_CONSISTENCY CONSUL_CHECKS CONSUL_REGISTER_SERVICE "
    "CONSUL_SERVICE_TAGS CONSUL_SERVICE_CHECK_INTERVAL CONSUL_SERVICE_CHECK_TLS_SERVER_NAME ETCD_PROXY "
    "ETCD_URL ETCD_HOSTS ETCD_USE_PROXIES ETCD_PROTOCOL ETCD_HOST ETCD_SRV ETCD_SRV_SUFFIX ETCD_USERNAME "
    "ETCD_PASSWORD ETCD_CACERT ETCD_CERT ETCD_KEY ETCD3_PROXY ETCD3_URL ETCD3_HOSTS ETCD3_USE_PROXIES "
    "ETCD3_PROTOCOL ETCD3_HOST ETCD3_SRV ETCD3_SRV_SUFFIX ETCD3_USERNAME ETCD3_PASSWORD ETCD3_CACERT "
    "ETCD3_CERT ETCD3_KEY ZOOKEEPER_HOSTS ZOOKEEPER_USE_SSL ZOOKEEPER_CACERT ZOOKEEPER_CERT ZOOKEEPER_KEY "
    "ZOOKEEPER_KEY_PASSWORD ZOOKEEPER_VERIFY ZOOKEEPER_SET_ACLS ZOOKEEPER_AUTH_DATA EXHIBITOR_HOSTS "
    "EXHIBITOR_PORT KUBERNETES_BYPASS_API_SERVICE KUBERNETES_NAMESPACE KUBERNETES_LABELS "
    "KUBERNETES_SCOPE_LABEL KUBERNETES_ROLE_LABEL KUBERNETES_LEADER_LABEL_VALUE "
    "KUBERNETES_FOLLOWER_LABEL_VALUE KUBERNETES_STANDBY_LEADER_LABEL_VALUE KUBERNETES_TMP_ROLE_LABEL "
    "KUBERNETES_USE_ENDPOINTS KUBERNETES_POD_IP KUBERNETES_PORTS KUBERNETES_CACERT "
    "KUBERNETES_RETRIABLE_HTTP_CODES KUBERNETES_BOOTSTRAP_LABELS RAFT_SELF_ADDR RAFT_BIND_ADDR "
    "RAFT_PARTNER_ADDRS RAFT_DATA_DIR RAFT_PASSWORD POSTGRESQL_LISTEN POSTGRESQL_CONNECT_ADDRESS "
    "POSTGRESQL_PROXY_ADDRESS POSTGRESQL_DATA_DIR POSTGRESQL_CONFIG_DIR POSTGRESQL_BIN_DIR "
    "POSTGRESQL_BIN_PG_CTL POSTGRESQL_BIN_INITDB POSTGRESQL_BIN_PG_CONTROLDATA POSTGRESQL_BIN_PG_BASEBACKUP "
    "POSTGRESQL_BIN_POSTGRES POSTGRESQL_BIN_PG_ISREADY POSTGRESQL_BIN_PG_REWIND POSTGRESQL_PGPASS "
    "REPLICATION_USERNAME REPLICATION_PASSWORD REPLICATION_SSLMODE REPLICATION_SSLKEY REPLICATION_SSLPASSWORD "
    "REPLICATION_SSLCERT REPLICATION_SSLROOTCERT REPLICATION_SSLCRL REPLICATION_SSLCRLDIR "
    "REPLICATION_SSLNEGOTIATION REPLICATION_GSSENCMODE REPLICATION_CHANNEL_BINDING SUPERUSER_USERNAME "
    "SUPERUSER_PASSWORD SUPERUSER_SSLMODE SUPERUSER_SSLKEY SUPERUSER_SSLPASSWORD SUPERUSER_SSLCERT "
    "SUPERUSER_SSLROOTCERT SUPERUSER_SSLCRL SUPERUSER_SSLCRLDIR SUPERUSER_SSLNEGOTIATION SUPERUSER_GSSENCMODE "
    "SUPERUSER_CHANNEL_BINDING REWIND_USERNAME REWIND_PASSWORD REWIND_SSLMODE REWIND_SSLKEY REWIND_SSLPASSWORD "
    "REWIND_SSLCERT REWIND_SSLROOTCERT REWIND_SSLCRL REWIND_SSLCRLDIR REWIND_SSLNEGOTIATION REWIND_GSSENCMODE "
    "REWIND_CHANNEL_BINDING RESTAPI_CONNECT_ADDRESS RESTAPI_LISTEN RESTAPI_USERNAME RESTAPI_PASSWORD "
    "RESTAPI_CERTFILE RESTAPI_KEYFILE RESTAPI_KEYFILE_PASSWORD RESTAPI_CAFILE RESTAPI_CIPHERS "
    "RESTAPI_VERIFY_CLIENT RESTAPI_ALLOWLIST RESTAPI_ALLOWLIST_INCLUDE_MEMBERS RESTAPI_HTTP_EXTRA_HEADERS "
    "RESTAPI_HTTPS_EXTRA_HEADERS RESTAPI_REQUEST_QUEUE_SIZE RESTAPI_SERVER_TOKENS CTL_USERNAME CTL_PASSWORD "
    "CTL_INSECURE CTL_CACERT CTL_CERTFILE CTL_KEYFILE CTL_KEYFILE_PASSWORD CONFIGURATION LOGLEVEL LOGFORMAT "
    "LOG_DATEFMT";

static void test_every_variable_of_patroni_is_known(void **state)
{
    AUTO(cstr) char *text = str_dup(patroni_variables);
    char *rest = text;
    int count = 0;

    for (char *name; (name = strsep(&rest, " ")); count++) {
        AUTO(findings) struct findings f = {0};
        AUTO(cstr) char *variable = str_fmt("PATRONI_%s=1", name);
        const char *const environment[] = {variable, NULL};
        AUTO(conf_node) struct conf_node *n = environment_read(environment, &f);
        if (findings_with(&f, FINDING_WARNING, "unknown"))
            fail_msg("%s is unknown", variable);
    }
    assert_true(count > 150);
}

static void test_an_unknown_variable_is_a_warning_without_its_value(void **state)
{
    AUTO(findings) struct findings f = {0};
    const char *const environment[] = {"PATRONI_admin_PASSWORD=hush", "PATRONICTL_CONFIG_FILE=/x", NULL};
    AUTO(conf_node) struct conf_node *n = environment_read(environment, &f);

    assert_finding(&f, FINDING_WARNING, "environment PATRONI_admin_PASSWORD: unknown variable, ignored");
    assert_int_equal(n->children.count, 0);
}

static void test_an_empty_variable_sets_nothing(void **state)
{
    const char *const environment[] = {"PATRONI_SCOPE=", "PATRONI_RESTAPI_ALLOWLIST=", NULL};

    assert_tree(environment, "{}");
    assert_tree(NULL, "{}");
}

static void test_old_names_of_variables_count_less_than_the_new_ones(void **state)
{
    const char *const old[] = {"PATRONI_LOGLEVEL=DEBUG", NULL};
    const char *const both[] = {"PATRONI_LOGLEVEL=DEBUG", "PATRONI_LOG_LEVEL=ERROR", NULL};

    assert_tree(old, "{\"log\":{\"level\":\"DEBUG\"}}");
    assert_tree(both, "{\"log\":{\"level\":\"ERROR\"}}");
}

static void test_lists_and_mappings_may_have_brackets_or_not(void **state)
{
    const char *const environment[] = {
        "PATRONI_ETCD3_HOSTS=[\"a:1\", \"b:2\"]",
        "PATRONI_RESTAPI_ALLOWLIST=- 10.0.0.1\n- 10.0.0.2",
        "PATRONI_RESTAPI_HTTP_EXTRA_HEADERS={\"X-A\": \"b\"}",
        NULL,
    };

    assert_tree(environment, "{\"etcd3\":{\"hosts\":[\"a:1\",\"b:2\"]},\"restapi\":{\"allowlist\":[\"10.0.0.1\","
                             "\"10.0.0.2\"],\"http_extra_headers\":{\"X-A\":\"b\"}}}");
}

static void test_a_value_that_cannot_be_read_names_its_variable(void **state)
{
    AUTO(findings) struct findings f = {0};
    const char *const environment[] = {"PATRONI_TAGS={a: [}", "PATRONI_SCOPE=\xff", NULL};
    AUTO(conf_node) struct conf_node *n = environment_read(environment, &f);

    assert_int_equal(f.error_count, 2);
    assert_string_equal(f.at[0].text, "environment PATRONI_SCOPE: scope: is not UTF-8");
    assert_true(str_starts(f.at[1].text, "environment PATRONI_TAGS:1: "));
}

static void test_the_environment_beats_the_file(void **state)
{
    AUTO(findings) struct findings f = {0};
    const char *const environment[] = {"PATRONI_NAME=other", "PATRONI_REPLICATION_PASSWORD=p",
                                       "PATRONI_ETCD3_HOSTS=x:1,y:2", "PATRONI_RESTAPI_REQUEST_QUEUE_SIZE=7", NULL};
    AUTO(settings) struct settings *s = settings_of_env("restapi: {request_queue_size: 6}\n", environment, &f);

    assert_no_finding(&f);
    assert_string_equal(s->name, "other");
    assert_string_equal(s->scope, "demo");
    assert_string_equal(s->postgresql.replication.username, "rep");
    assert_string_equal(s->postgresql.replication.password, "p");
    assert_int_equal(s->store.hosts.count, 2);
    assert_string_equal(s->store.hosts.at[1], "y:2");
    assert_int_equal(s->restapi.request_queue_size, 7);
}

static void test_a_wrong_variable_is_an_error_that_names_it(void **state)
{
    AUTO(findings) struct findings f = {0};
    const char *const environment[] = {"PATRONI_RESTAPI_LISTEN=foo", NULL};
    AUTO(settings) struct settings *s = settings_of_env("{}", environment, &f);

    assert_null(s);
    assert_finding(&f, FINDING_ERROR,
                   "environment PATRONI_RESTAPI_LISTEN: restapi.listen: expected host:port, found \"foo\"");
}

static void test_without_a_file_variables_are_enough(void **state)
{
    AUTO(findings) struct findings f = {0};
    const char *const environment[] = {
        "PATRONI_SCOPE=s",
        "PATRONI_NAME=n",
        "PATRONI_RESTAPI_LISTEN=127.0.0.1:8008",
        "PATRONI_ETCD3_HOST=e:2379",
        "PATRONI_POSTGRESQL_LISTEN=127.0.0.1:5432",
        "PATRONI_POSTGRESQL_DATA_DIR=/d",
        "PATRONI_REPLICATION_USERNAME=r",
        NULL,
    };
    AUTO(settings) struct settings *s = settings_read(NULL, 0, environment, &f);

    assert_no_finding(&f);
    assert_non_null(s);
    assert_null(s->path);
    assert_string_equal(s->key_prefix, "/service/s/");
}

static void test_without_file_and_variables_there_is_no_configuration(void **state)
{
    AUTO(findings) struct findings f = {0};

    assert_null(settings_read(NULL, 0, NULL, &f));
    assert_int_equal(findings_with(&f, FINDING_ERROR, "no configuration: neither a file nor PATRONI_ variables"), 1);
}

static void test_one_variable_may_hold_everything_and_then_counts_alone(void **state)
{
    AUTO(findings) struct findings f = {0};
    AUTO(cstr) char *whole = str_fmt("PATRONI_CONFIGURATION=%s", base_yaml);
    const char *const environment[] = {whole, "PATRONI_NAME=ignored", NULL};
    AUTO(settings) struct settings *s = settings_read(NULL, 0, environment, &f);

    assert_no_finding(&f);
    assert_string_equal(s->name, "n1");
    settings_unref(settings_of_env("{}", environment, &f));
    assert_finding(&f, FINDING_WARNING, "environment PATRONI_CONFIGURATION: ignored, because there is a file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_variables_of_every_kind_find_their_key),
        cmocka_unit_test(test_every_variable_of_patroni_is_known),
        cmocka_unit_test(test_an_unknown_variable_is_a_warning_without_its_value),
        cmocka_unit_test(test_an_empty_variable_sets_nothing),
        cmocka_unit_test(test_old_names_of_variables_count_less_than_the_new_ones),
        cmocka_unit_test(test_lists_and_mappings_may_have_brackets_or_not),
        cmocka_unit_test(test_a_value_that_cannot_be_read_names_its_variable),
        cmocka_unit_test(test_the_environment_beats_the_file),
        cmocka_unit_test(test_a_wrong_variable_is_an_error_that_names_it),
        cmocka_unit_test(test_without_a_file_variables_are_enough),
        cmocka_unit_test(test_without_file_and_variables_there_is_no_configuration),
        cmocka_unit_test(test_one_variable_may_hold_everything_and_then_counts_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
