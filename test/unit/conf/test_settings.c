#include "wire/conf/settings.h"

#include "conf_test.h"
#include "wire/conf/dynamic.h"

/* Settings of base and yaml; anything to complain about fails the test. */
static struct settings *good(const char *yaml)
{
    struct findings f = {0};
    struct settings *s = settings_of(yaml, &f);

    assert_no_finding(&f);
    assert_non_null(s);
    return s;
}

static void test_identity_keys_are_read(void **state)
{
    AUTO(settings) struct settings *s = good("scope: my-app\nnamespace: /db/x/\nname: db-01\n");
    AUTO(settings) struct settings *plain = good("{}");
    AUTO(settings) struct settings *none = good("namespace: ''\n");

    assert_string_equal(s->scope, "my-app");
    assert_string_equal(s->name, "db-01");
    assert_string_equal(s->namespace_, "db/x");
    assert_string_equal(s->key_prefix, "/db/x/my-app/");
    assert_string_equal(plain->key_prefix, "/service/demo/");
    assert_string_equal(none->key_prefix, "//demo/"); /* what Patroni makes of it */
}

static void test_log_keys_are_read(void **state)
{
    AUTO(settings)
    struct settings *s = good("log: {type: json, level: debug, dir: /var/log/x, file_size: 1000, file_num: 7}\n");
    AUTO(settings) struct settings *plain = good("{}");
    AUTO(settings) struct settings *numbered = good("log: {level: 30}\n");

    assert_int_equal(s->log.format, LOG_FORMAT_JSON);
    assert_string_equal(s->log.level, "DEBUG");
    assert_string_equal(s->log.dir, "/var/log/x");
    assert_int_equal(s->log.file_size, 1000);
    assert_int_equal(s->log.file_num, 7);
    assert_int_equal(plain->log.format, LOG_FORMAT_PLAIN);
    assert_string_equal(plain->log.level, "INFO");
    assert_null(plain->log.dir);
    assert_int_equal(plain->log.file_size, 25000000);
    assert_int_equal(plain->log.file_num, 4);
    assert_string_equal(numbered->log.level, "WARNING"); /* Python's number for it */
}

static void test_restapi_keys_are_read(void **state)
{
    AUTO(settings)
    struct settings *s = good("restapi:\n"
                              "  listen: 0.0.0.0:8009\n"
                              "  connect_address: 10.0.0.1:8010\n"
                              "  authentication: {username: api, password: secret}\n"
                              "  certfile: /c\n"
                              "  keyfile: /k\n"
                              "  keyfile_password: kp\n"
                              "  cafile: /ca\n"
                              "  ciphers: HIGH\n"
                              "  verify_client: optional\n"
                              "  allowlist: [10.0.0.0/8, host]\n"
                              "  allowlist_include_members: on\n"
                              "  http_extra_headers: {X-A: b}\n"
                              "  https_extra_headers: {X-C: d}\n"
                              "  request_queue_size: 16\n"
                              "  server_tokens: ProductOnly\n");
    AUTO(settings) struct settings *plain = good("{}");

    assert_string_equal(s->restapi.listen.host, "0.0.0.0");
    assert_int_equal(s->restapi.listen.port, 8009);
    assert_string_equal(s->restapi.connect_address.host, "10.0.0.1");
    assert_int_equal(s->restapi.connect_address.port, 8010);
    assert_string_equal(s->restapi.username, "api");
    assert_string_equal(s->restapi.password, "secret");
    assert_string_equal(s->restapi.certfile, "/c");
    assert_string_equal(s->restapi.keyfile, "/k");
    assert_string_equal(s->restapi.keyfile_password, "kp");
    assert_string_equal(s->restapi.cafile, "/ca");
    assert_string_equal(s->restapi.ciphers, "HIGH");
    assert_int_equal(s->restapi.verify_client, VERIFY_CLIENT_OPTIONAL);
    assert_int_equal(s->restapi.allowlist.count, 2);
    assert_string_equal(s->restapi.allowlist.at[1], "host");
    assert_true(s->restapi.allowlist_include_members);
    assert_json(s->restapi.http_extra_headers, "{\"X-A\":\"b\"}");
    assert_json(s->restapi.https_extra_headers, "{\"X-C\":\"d\"}");
    assert_int_equal(s->restapi.request_queue_size, 16);
    assert_int_equal(s->restapi.server_tokens, SERVER_TOKENS_PRODUCT_ONLY);
    assert_null(plain->restapi.username);
    assert_null(plain->restapi.certfile);
    assert_int_equal(plain->restapi.verify_client, VERIFY_CLIENT_NONE);
    assert_int_equal(plain->restapi.allowlist.count, 0);
    assert_null(plain->restapi.http_extra_headers);
    assert_int_equal(plain->restapi.request_queue_size, 5);
    assert_int_equal(plain->restapi.server_tokens, SERVER_TOKENS_ORIGINAL);
}

static void test_ctl_keys_are_read(void **state)
{
    AUTO(settings)
    struct settings *s = good("ctl:\n"
                              "  authentication: {username: u, password: p}\n"
                              "  insecure: on\n"
                              "  cacert: /ca\n"
                              "  certfile: /c\n"
                              "  keyfile: /k\n"
                              "  keyfile_password: kp\n");

    assert_string_equal(s->ctl.username, "u");
    assert_string_equal(s->ctl.password, "p");
    assert_true(s->ctl.insecure);
    assert_string_equal(s->ctl.cacert, "/ca");
    assert_string_equal(s->ctl.cert, "/c");
    assert_string_equal(s->ctl.key, "/k");
    assert_string_equal(s->ctl.key_password, "kp");
}

static void test_the_command_line_takes_from_restapi_what_it_has_not(void **state)
{
    AUTO(settings)
    struct settings *s = good("restapi: {cafile: /ca, certfile: /c, keyfile: /k, keyfile_password: kp,\n"
                              "          authentication: {username: u, password: p}}\n");
    AUTO(settings)
    struct settings *own = good("restapi: {authentication: {username: u, password: p}}\n"
                                "ctl: {authentication: {username: other}}\n");

    assert_string_equal(s->ctl.username, "u");
    assert_string_equal(s->ctl.password, "p");
    assert_string_equal(s->ctl.cacert, "/ca");
    assert_string_equal(s->ctl.cert, "/c");
    assert_string_equal(s->ctl.key, "/k");
    assert_string_equal(s->ctl.key_password, "kp");
    assert_false(s->ctl.insecure);
    assert_string_equal(own->ctl.username, "other");
    assert_null(own->ctl.password); /* not somebody else's */
}

static void test_bootstrap_keys_are_read(void **state)
{
    AUTO(settings)
    struct settings *s = good("bootstrap:\n"
                              "  dcs: {ttl: 40, master_start_timeout: 5, slots: {a: 0}}\n"
                              "  initdb: [data-checksums, {encoding: UTF8}, {jobs: 2}]\n"
                              "  method: restore\n"
                              "  post_bootstrap: /seed --now\n"
                              "  restore:\n"
                              "    command: /restore it\n"
                              "    keep_existing_recovery_conf: 'on'\n"
                              "    no_params: 0\n"
                              "    recovery_conf: {restore_command: cp, recovery_target_timeline: latest}\n"
                              "    own_key: 5\n");
    AUTO(settings) struct settings *plain = good("bootstrap: {method: initdb}\n");

    assert_json(s->bootstrap.dcs, "{\"ttl\":40,\"master_start_timeout\":5,\"slots\":{\"a\":0}}"); /* as written */
    assert_json(s->bootstrap.initdb, "[\"data-checksums\",{\"encoding\":\"UTF8\"},{\"jobs\":\"2\"}]");
    assert_string_equal(s->bootstrap.method, "restore");
    assert_string_equal(s->bootstrap.post_bootstrap, "/seed --now");
    assert_json(
        s->bootstrap.methods,
        "{\"restore\":{\"command\":\"/restore it\",\"keep_existing_recovery_conf\":true,\"no_params\":false,"
        "\"recovery_conf\":{\"restore_command\":\"cp\",\"recovery_target_timeline\":\"latest\"},\"own_key\":5}}");
    assert_null(plain->bootstrap.method);
    assert_null(plain->bootstrap.dcs);
    assert_null(plain->bootstrap.initdb);
    assert_json(plain->bootstrap.methods, "{}");
}

static void test_a_method_without_its_section_is_an_error(void **state)
{
    assert_answer("bootstrap: {method: restore}\n", FINDING_ERROR,
                  "node.yml:1: bootstrap.method: there is no section bootstrap.restore with a command");
}

static void test_postgresql_keys_are_read(void **state)
{
    AUTO(settings)
    struct settings *s = good("postgresql:\n"
                              "  listen: 10.0.0.1,127.0.0.1:5433\n"
                              "  connect_address: 10.0.0.1\n"
                              "  proxy_address: 10.0.0.1:6432\n"
                              "  data_dir: /data/\n"
                              "  config_dir: /etc/pg\n"
                              "  pgpass: /run/pass\n"
                              "  bin_dir: /usr/pg/bin\n"
                              "  bin_name: {postgres: pg}\n"
                              "  custom_conf: /etc/custom.conf\n"
                              "  use_unix_socket: on\n"
                              "  use_unix_socket_repl: 'yes'\n"
                              "  pg_ctl_timeout: 90\n"
                              "  callbacks: {on_start: /cb}\n"
                              "  pre_promote: /fence\n"
                              "  before_stop: /warn\n");
    AUTO(settings) struct settings *plain = good("{}");

    assert_string_equal(s->postgresql.listen.host, "10.0.0.1,127.0.0.1");
    assert_int_equal(s->postgresql.listen.port, 5433);
    assert_string_equal(s->postgresql.connect_address.host, "10.0.0.1");
    assert_int_equal(s->postgresql.connect_address.port, 5433); /* that of listen */
    assert_string_equal(s->postgresql.proxy_address, "10.0.0.1:6432");
    assert_string_equal(s->postgresql.data_dir, "/data/");
    assert_string_equal(s->postgresql.config_dir, "/etc/pg");
    assert_string_equal(s->postgresql.pgpass, "/run/pass");
    assert_string_equal(s->postgresql.bin_dir, "/usr/pg/bin");
    assert_json(s->postgresql.bin_name, "{\"postgres\":\"pg\"}");
    assert_string_equal(s->postgresql.custom_conf, "/etc/custom.conf");
    assert_true(s->postgresql.use_unix_socket);
    assert_true(s->postgresql.use_unix_socket_repl);
    assert_int_equal(s->postgresql.pg_ctl_timeout_s, 90);
    assert_json(s->postgresql.callbacks, "{\"on_start\":\"/cb\"}");
    assert_string_equal(s->postgresql.pre_promote, "/fence");
    assert_string_equal(s->postgresql.before_stop, "/warn");
    assert_string_equal(s->pgkeep.state_dir, "/data.pgkeep");
    assert_int_equal(plain->postgresql.listen.port, 5432);
    assert_int_equal(plain->postgresql.pg_ctl_timeout_s, 60);
    assert_false(plain->postgresql.use_unix_socket);
    assert_string_equal(plain->postgresql.pgpass, "/srv/pg/main.pgkeep/passfile");
}

static void test_every_connection_key_of_every_user_is_read(void **state)
{
    static const char *const users[] = {"superuser", "replication", "rewind"};

    for (size_t i = 0; i < ARRAY_LEN(users); i++) {
        AUTO(cstr)
        char *yaml = str_fmt("postgresql: {authentication: {%s: {username: a, password: b, sslmode: c,\n"
                             "  sslcert: d, sslkey: e, sslpassword: f, sslrootcert: g, sslcrl: h,\n"
                             "  sslcrldir: i, gssencmode: j, channel_binding: k, sslnegotiation: l}}}\n",
                             users[i]);
        AUTO(settings) struct settings *s = good(yaml);
        const struct pg_user *all[] = {&s->postgresql.superuser, &s->postgresql.replication, &s->postgresql.rewind};
        const struct pg_user *u = all[i];
        const char *const values[] = {u->username,  u->password,    u->sslmode,         u->sslcert,
                                      u->sslkey,    u->sslpassword, u->sslrootcert,     u->sslcrl,
                                      u->sslcrldir, u->gssencmode,  u->channel_binding, u->sslnegotiation};
        for (size_t j = 0; j < ARRAY_LEN(values); j++)
            assert_string_equal(values[j], ((char[]){(char)('a' + j), '\0'}));
        assert_null(json_object_get(s->postgresql.section, "authentication"));
    }
    AUTO(settings) struct settings *plain = good("{}");
    assert_null(plain->postgresql.superuser.username);
    assert_null(plain->postgresql.replication.password);
}

static void test_tags_are_read_with_their_types(void **state)
{
    AUTO(settings)
    struct settings *s = good("tags:\n"
                              "  nofailover: 'off'\n"
                              "  failover_priority: '3'\n"
                              "  noloadbalance: on\n"
                              "  clonefrom: 1\n"
                              "  nosync: no\n"
                              "  sync_priority: 2\n"
                              "  nostream: false\n"
                              "  replicatefrom: n2\n"
                              "  own: x\n"
                              "  size: 5\n");
    AUTO(settings) struct settings *plain = good("{}");

    assert_json(s->tags.all, "{\"nofailover\":false,\"failover_priority\":3,\"noloadbalance\":true,\"clonefrom\":true,"
                             "\"nosync\":false,\"sync_priority\":2,\"nostream\":false,\"replicatefrom\":\"n2\","
                             "\"own\":\"x\",\"size\":5}");
    assert_null(plain->tags.all);
}

static void test_tags_that_contradict_each_other_are_named(void **state)
{
    assert_answer("tags:\n  nofailover: on\n  failover_priority: 2\n", FINDING_WARNING,
                  "node.yml:3: tags.failover_priority: ignored: it contradicts tags.nofailover, which counts");
    assert_answer("tags: {nosync: off, sync_priority: 0}\n", FINDING_WARNING,
                  "node.yml:1: tags.sync_priority: ignored: it contradicts tags.nosync, which counts");
    settings_unref(good("tags: {nofailover: on, failover_priority: 0, nosync: off, sync_priority: 1}\n"));
}

static void test_watchdog_keys_are_read(void **state)
{
    AUTO(settings) struct settings *s = good("watchdog: {mode: off}\n");
    AUTO(settings) struct settings *plain = good("{}");

    assert_int_equal(s->watchdog.mode, WATCHDOG_OFF);
    assert_int_equal(plain->watchdog.mode, WATCHDOG_AUTOMATIC);
    assert_string_equal(plain->watchdog.device, "/dev/watchdog");
    assert_int_equal(plain->watchdog.safety_margin_s, 5);
}

static void test_pgkeep_keys_are_read(void **state)
{
    AUTO(settings) struct settings *s = good("pgkeep: {state_dir: /var/lib/pgkeep/n1, syslog: LOCAL3}\n");
    AUTO(settings) struct settings *plain = good("{}");

    assert_string_equal(s->pgkeep.state_dir, "/var/lib/pgkeep/n1");
    assert_string_equal(s->postgresql.pgpass, "/var/lib/pgkeep/n1/passfile");
    assert_string_equal(s->log.syslog, "local3");
    assert_string_equal(plain->pgkeep.state_dir, "/srv/pg/main.pgkeep");
    assert_null(plain->log.syslog);
}

/* It says of itself what keeps others from counting on it; and it must be told where its promise is kept. */
static void test_a_witness_needs_no_postgresql(void **state)
{
    static const char yaml[] =
        "scope: x\nname: w\netcd3: {host: '127.0.0.1:2379'}\nrestapi: {listen: '10.0.0.9:8008'}\n"
        "tags: {zone: c}\npgkeep: {witness: true, state_dir: /var/lib/pgkeep/w}\n";
    static const char *const wrong[] = {
        "scope: x\nname: w\netcd3: {host: '127.0.0.1:2379'}\nrestapi: {listen: '10.0.0.9:8008'}\n"
        "pgkeep: {witness: true}\n",
        "scope: x\nname: w\netcd3: {host: '127.0.0.1:2379'}\nrestapi: {listen: '10.0.0.9:8008'}\n"
        "pgkeep: {witness: true, state_dir: /w}\npostgresql: {data_dir: /srv/pg}\n"};
    const char *const environment[] = {NULL};
    struct conf_source source = {"w.yml", yaml, strlen(yaml)};
    struct findings findings = {0};
    AUTO(settings) struct settings *s = settings_read(&source, 1, environment, &findings);

    if (!s) {
        fail_msg("%s", findings.at[0].text);
        return;
    }
    assert_true(s->pgkeep.witness);
    assert_string_equal(s->postgresql.data_dir, "/var/lib/pgkeep/w/no-data");
    static const char *const tags[] = {"nofailover", "noloadbalance", "nostream", "nosync", "witness"};
    for (size_t i = 0; i < ARRAY_LEN(tags); i++)
        assert_true(json_is_true(json_object_get(s->tags.all, tags[i])));
    assert_string_equal(json_string_value(json_object_get(s->tags.all, "zone")), "c");
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        source = (struct conf_source){"w.yml", wrong[i], strlen(wrong[i])};
        assert_null(settings_read(&source, 1, environment, &findings));
    }
    AUTO(settings) struct settings *plain = good("{}");
    assert_false(plain->pgkeep.witness);
    findings_deinit(&findings);
}

static void assert_peer(const char *yaml, const char *listen, int listen_port, const char *connect, int connect_port)
{
    AUTO(settings) struct settings *s = good(yaml);

    assert_string_equal(s->pgkeep.peer_listen.host, listen);
    assert_int_equal(s->pgkeep.peer_listen.port, listen_port);
    assert_string_equal(s->pgkeep.peer_connect.host, connect);
    assert_int_equal(s->pgkeep.peer_connect.port, connect_port);
}

static void test_agents_talk_on_the_port_after_the_interface(void **state)
{
    assert_peer("restapi: {listen: '10.0.0.5:8008'}\n", "10.0.0.5", 8009, "10.0.0.5", 8009);
    assert_peer("restapi: {listen: '*:8008', connect_address: 'n1:18008'}\n", "*", 8009, "n1", 18009);
    /* Nodes of one host: 8008, 8009 and 8010, as in Patroni's samples. */
    assert_peer("restapi: {listen: '127.0.0.1:8008'}\n", "127.0.0.1", 0, "127.0.0.1", 0);
    assert_peer("restapi: {listen: '127.0.0.1:8008'}\npgkeep: {peer: {listen: '127.0.0.1:9000'}}\n", "127.0.0.1", 9000,
                "127.0.0.1", 9000);
    assert_peer("restapi: {listen: '10.0.0.5:8008'}\npgkeep: {peer: {listen: '10.9.0.5'}}\n", "10.9.0.5", 8009,
                "10.9.0.5", 8009);
    assert_peer("restapi: {listen: '10.0.0.5:8008'}\npgkeep: {peer: {listen: '*:9000'}}\n", "*", 9000, "10.0.0.5",
                9000);
    assert_peer("restapi: {listen: '10.0.0.5:8008'}\npgkeep: {peer: {listen: '*:9000', connect_address: 'n1:19000'}}\n",
                "*", 9000, "n1", 19000);
    assert_answer("pgkeep: {peer: {connect_address: '0.0.0.0:1'}}\n", FINDING_ERROR,
                  "node.yml:1: pgkeep.peer.connect_address: others cannot connect to \"0.0.0.0\"");
    assert_answer("restapi: {listen: '10.0.0.5:65535'}\n", FINDING_ERROR,
                  "node.yml:1: pgkeep.peer.listen: required, because there is no port after that of restapi");
}

static void test_etcd3_keys_are_read(void **state)
{
    AUTO(settings)
    struct settings *s = good("etcd3: {hosts: [a:1], protocol: HTTPS, username: u, password: p,\n"
                              "        cacert: /ca, cert: /c, key: /k}\n");
    AUTO(settings) struct settings *plain = good("{}");

    assert_int_equal(s->store.kind, STORE_ETCD3);
    assert_string_equal(s->store.protocol, "https");
    assert_string_equal(s->store.username, "u");
    assert_string_equal(s->store.password, "p");
    assert_string_equal(s->store.cacert, "/ca");
    assert_string_equal(s->store.cert, "/c");
    assert_string_equal(s->store.key, "/k");
    assert_false(s->store.use_proxies);
    assert_string_equal(plain->store.protocol, "http");
    assert_null(plain->store.username);
}

/* `yaml` is all of the etcd3 section; the base's is taken out. */
static void assert_hosts(const char *yaml, const char *want)
{
    AUTO(cstr) char *text = str_fmt("etcd3: {hosts: ~, %s}\n", yaml);
    AUTO(settings) struct settings *s = good(text);
    char found[200] = "";

    for (size_t i = 0; i < s->store.hosts.count; i++)
        snprintf(found + strlen(found), sizeof(found) - strlen(found), "%s;", s->store.hosts.at[i]);
    assert_string_equal(found, want);
}

static void test_etcd3_hosts_come_in_every_form(void **state)
{
    assert_hosts("host: 'a:1'", "a:1;");
    assert_hosts("host: a", "a:2379;");
    assert_hosts("host: a, port: 4001", "a:4001;");
    assert_hosts("url: 'http://a:1/'", "a:1;");
    assert_hosts("url: 'https://a'", "a:2379;");
    assert_hosts("url: 'http://a:1', host: 'b:2'", "a:1;");
    AUTO(settings) struct settings *list = good("etcd3: {hosts: ['a:1', b, '[::1]:3'], port: 5, host: 'x:9'}\n");
    assert_int_equal(list->store.hosts.count, 3);
    assert_string_equal(list->store.hosts.at[1], "b:5");
    assert_string_equal(list->store.hosts.at[2], "[::1]:3");
    AUTO(settings)
    struct settings *url = good("etcd3: {hosts: ~, url: 'https://u:p%40@a:1', username: x, password: y}\n");
    assert_string_equal(url->store.protocol, "https");
    assert_string_equal(url->store.username, "u");
    assert_string_equal(url->store.password, "p@");
}

static void test_an_etcd3_without_an_endpoint_is_an_error(void **state)
{
    assert_answer(
        "etcd3:\n  hosts: ~\n  username: x\n", FINDING_ERROR,
        "base.yml:4: etcd3: names no endpoint: hosts, host or url is required (srv and proxy are not built yet)");
}

static void test_stores_that_are_not_built_are_named(void **state)
{
    static const char *const sections[] = {"consul: {host: 'a:1'}", "zookeeper: {hosts: ['a:1']}",
                                           "exhibitor: {hosts: [a], port: 1}", "kubernetes: {labels: {a: b}}",
                                           "raft: {self_addr: 'a:1'}"};

    for (size_t i = 0; i < ARRAY_LEN(sections); i++) {
        AUTO(cstr) char *alone = str_fmt("etcd3: ~\n%s\n", sections[i]);
        AUTO(cstr) char *name = str_dup(sections[i]);
        name[strcspn(name, ":")] = '\0';
        AUTO(cstr) char *error = str_fmt("node.yml:2: %s: not built yet as a store; etcd3 is", name);
        AUTO(cstr) char *warning = str_fmt("node.yml:1: %s: not built yet, ignored: etcd3 is used", name);
        assert_answer(alone, FINDING_ERROR, error);
        assert_answer(sections[i], FINDING_WARNING, warning);
    }
    assert_answer("etcd3: ~\netcd: {hosts: 'a:1'}\n", FINDING_ERROR,
                  "node.yml:2: etcd: etcd's version 2 protocol is not built: name the same hosts under etcd3 (keys of "
                  "version 2 are not visible there)");
    assert_answer("etcd: {hosts: 'a:1'}\n", FINDING_WARNING, "node.yml:1: etcd: not built yet, ignored: etcd3 is used");
    assert_answer("etcd3: ~\n", FINDING_ERROR, "base.yml: etcd3: required, but missing: no store is named");
}

static void test_what_is_required_is_asked_for_by_name(void **state)
{
    static const struct {
        const char *yaml, *text;
    } cases[] = {
        {"scope: ~\n", "base.yml: scope: required, but missing"},
        {"name: ''\n", "node.yml:1: name: required, but missing"},
        {"restapi: ~\n", "base.yml: restapi.listen: required, but missing"},
        {"postgresql: {listen: ~}\n", "base.yml: postgresql.listen: required, but missing"},
        {"postgresql: {data_dir: ~}\n", "base.yml: postgresql.data_dir: required, but missing"},
        {"postgresql: {authentication: {replication: ~}}\n",
         "base.yml: postgresql.authentication.replication.username: required, but missing"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_answer(cases[i].yaml, FINDING_ERROR, cases[i].text);
}

static void test_names_that_break_the_stores_keys_are_refused(void **state)
{
    assert_answer("scope: a/b\n", FINDING_ERROR, "node.yml:1: scope: must not contain a slash");
    assert_answer("name: a/b\n", FINDING_ERROR, "node.yml:1: name: must not contain a slash");
    assert_answer("name: __patroni_strict_sync_replica_placeholder__\n", FINDING_ERROR,
                  "node.yml:1: name: this name is reserved");
    AUTO(cstr) char *long_name = str_fmt("name: n%0127d\n", 0);
    assert_answer(long_name, FINDING_ERROR, "node.yml:1: name: longer than 127 bytes");
    assert_answer("name: '*'\n", FINDING_ERROR, "node.yml:1: name: this name is reserved");
    assert_answer("name: __FENCE__\n", FINDING_ERROR, "node.yml:1: name: this name is reserved");
    assert_answer("name: Pgkeep_job\n", FINDING_ERROR, "node.yml:1: name: this name is reserved");
    assert_answer("name: köln\n", FINDING_WARNING,
                  "node.yml:1: name: this one has characters that PostgreSQL does not keep: with synchronous_mode no "
                  "commit counts on this node");
    assert_answer("name: a123456789b123456789c123456789d123456789e123456789f123456789g123\n", FINDING_WARNING,
                  "node.yml:1: name: this one is longer than the 63 bytes that PostgreSQL keeps of it: with "
                  "synchronous_mode no commit counts on this node");
    AUTO(cstr) char *long_scope = str_fmt("scope: s%0510d\n", 0);
    assert_answer(long_scope, FINDING_ERROR, "node.yml:1: scope: longer than 508 bytes together with the namespace");
}

static void test_a_connect_address_follows_from_a_single_listen_address(void **state)
{
    AUTO(settings) struct settings *s = good("restapi: {listen: '10.0.0.5:8008'}\npostgresql: {listen: 10.0.0.5}\n");

    assert_string_equal(s->restapi.connect_address.host, "10.0.0.5");
    assert_int_equal(s->restapi.connect_address.port, 8008);
    assert_string_equal(s->postgresql.connect_address.host, "10.0.0.5");
    assert_int_equal(s->postgresql.connect_address.port, 5432);
    assert_answer("restapi:\n  listen: 0.0.0.0:8008\n", FINDING_ERROR,
                  "node.yml:2: restapi.connect_address: required, because restapi.listen is not one address that "
                  "others can connect to");
    assert_answer("postgresql:\n  listen: a,b:5432\n", FINDING_ERROR,
                  "node.yml:2: postgresql.connect_address: required, because postgresql.listen is not one address that "
                  "others can connect to");
    assert_answer("restapi: {listen: '0.0.0.0:8008', connect_address: 'a b'}\n", FINDING_ERROR,
                  "node.yml:1: restapi.connect_address: expected host or host:port, found \"a b\"");
    assert_answer("restapi: {connect_address: '0.0.0.0:8008'}\n", FINDING_ERROR,
                  "node.yml:1: restapi.connect_address: others cannot connect to \"0.0.0.0\"");
}

static void test_what_must_be_equal_on_all_nodes_is_ignored_in_a_local_file(void **state)
{
    AUTO(findings) struct findings f = {0};
    AUTO(settings)
    struct settings *s = settings_of("postgresql:\n  parameters:\n    Max_Connections: 500\n    work_mem: 4MB\n", &f);

    assert_finding(&f, FINDING_WARNING,
                   "node.yml:3: postgresql.parameters.Max_Connections: ignored here: has to be equal on all nodes, so "
                   "only the dynamic configuration sets it");
    assert_non_null(s);
}

static void test_files_of_a_folder_merge_in_order(void **state)
{
    AUTO(findings) struct findings f = {0};
    const char *first = "restapi: {listen: '127.0.0.1:1', certfile: /a}\nscope: one\n";
    const char *second = "restapi: {listen: '127.0.0.1:2', certfile: ~}\n";
    struct conf_source sources[] = {
        {"/etc/pgkeep/0.yml", base_yaml, strlen(base_yaml)},
        {"/etc/pgkeep/1.yml", first, strlen(first)},
        {"/etc/pgkeep/2.yml", second, strlen(second)},
    };
    AUTO(settings) struct settings *s = settings_read(sources, 3, NULL, &f);

    assert_no_finding(&f);
    assert_string_equal(s->scope, "one");
    assert_int_equal(s->restapi.listen.port, 2);
    assert_null(s->restapi.certfile); /* null takes away */
    assert_string_equal(s->path, "/etc/pgkeep");
    assert_string_equal(s->name, "n1");
}

static void test_a_file_that_is_no_mapping_is_an_error(void **state)
{
    assert_answer("", FINDING_ERROR, "node.yml: is no configuration: expected a mapping, found nothing");
    assert_answer("- a\n", FINDING_ERROR, "node.yml: is no configuration: expected a mapping, found a list");
}

static void test_every_file_with_an_error_is_named(void **state)
{
    AUTO(findings) struct findings f = {0};
    struct conf_source sources[] = {{"a.yml", "a: [", 4}, {"b.yml", "b", 1}};

    assert_null(settings_read(sources, 2, NULL, &f));
    assert_int_equal(findings_with(&f, FINDING_ERROR, "a.yml:"), 1);
    assert_int_equal(findings_with(&f, FINDING_ERROR, "b.yml:"), 1);
}

static void test_the_command_line_needs_a_store_and_no_more(void **state)
{
    AUTO(findings) struct findings f = {0};
    struct conf_source source = {"ctl.yml", "etcd3: {host: 'a:1'}", 20};
    struct conf_source none = {"ctl.yml", "scope: x", 8};
    AUTO(settings) struct settings *s = settings_read_ctl(&source, 1, NULL, &f);

    assert_no_finding(&f);
    assert_null(s->scope);
    assert_null(s->key_prefix);
    assert_string_equal(s->store.hosts.at[0], "a:1");
    assert_null(settings_read_ctl(&none, 1, NULL, &f));
    assert_finding(&f, FINDING_ERROR, "ctl.yml: etcd3: required, but missing: no store is named");
}

/* The configuration people copy from the article: nothing is refused, and only its timings are remarked on. */
static void test_the_articles_configuration_is_accepted_as_it_stands(void **state)
{
    char text[4096];
    FILE *file = fopen(CONF_TEST_DIR "/article.yml", "re");
    assert_non_null(file);
    size_t len = fread(text, 1, sizeof(text), file);
    assert_int_equal(fclose(file), 0);
    struct conf_source source = {"node.yml", text, len};
    AUTO(findings) struct findings f = {0};
    AUTO(settings) struct settings *s = settings_read(&source, 1, NULL, &f);

    assert_no_finding(&f);
    assert_string_equal(s->path, "node.yml");
    assert_string_equal(s->key_prefix, "/db/myapp-cluster/");
    assert_string_equal(s->name, "db-01");
    assert_int_equal(s->store.hosts.count, 3);
    assert_string_equal(s->store.hosts.at[2], "etcd-03:2379");
    assert_string_equal(s->restapi.connect_address.host, "10.0.2.10");
    assert_string_equal(s->postgresql.replication.username, "replicator");
    assert_string_equal(s->postgresql.replication.password, "{{ replication_password }}");
    assert_string_equal(s->postgresql.superuser.password, "{{ postgres_password }}");
    assert_string_equal(s->pgkeep.state_dir, "/var/lib/postgresql/16/main.pgkeep");

    AUTO(json) json_t *seed = dynamic_seed(s);
    AUTO(dynamic) struct dynamic *d = dynamic_read(seed, s, &f);
    assert_finding(&f, FINDING_WARNING,
                   "dynamic configuration: loop_wait + 2*retry_timeout <= ttl: does not hold for 10 + 2*30 and 30: "
                   "loop_wait 1 and retry_timeout 14 are used");
    assert_int_equal(d->ttl_ms, 30000);
    assert_int_equal(d->loop_wait_ms, 1000);
    assert_int_equal(d->retry_timeout_ms, 14000);
    assert_int_equal(d->maximum_lag_on_failover, 1048576);
}

static void test_settings_live_as_long_as_someone_holds_them(void **state)
{
    struct settings *s = good("{}");
    struct settings *second = settings_ref(s);

    settings_unref(s);
    assert_string_equal(second->scope, "demo");
    settings_unref(second);
    settings_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identity_keys_are_read),
        cmocka_unit_test(test_log_keys_are_read),
        cmocka_unit_test(test_restapi_keys_are_read),
        cmocka_unit_test(test_ctl_keys_are_read),
        cmocka_unit_test(test_the_command_line_takes_from_restapi_what_it_has_not),
        cmocka_unit_test(test_bootstrap_keys_are_read),
        cmocka_unit_test(test_a_method_without_its_section_is_an_error),
        cmocka_unit_test(test_postgresql_keys_are_read),
        cmocka_unit_test(test_every_connection_key_of_every_user_is_read),
        cmocka_unit_test(test_tags_are_read_with_their_types),
        cmocka_unit_test(test_tags_that_contradict_each_other_are_named),
        cmocka_unit_test(test_watchdog_keys_are_read),
        cmocka_unit_test(test_pgkeep_keys_are_read),
        cmocka_unit_test(test_a_witness_needs_no_postgresql),
        cmocka_unit_test(test_agents_talk_on_the_port_after_the_interface),
        cmocka_unit_test(test_etcd3_keys_are_read),
        cmocka_unit_test(test_etcd3_hosts_come_in_every_form),
        cmocka_unit_test(test_an_etcd3_without_an_endpoint_is_an_error),
        cmocka_unit_test(test_stores_that_are_not_built_are_named),
        cmocka_unit_test(test_what_is_required_is_asked_for_by_name),
        cmocka_unit_test(test_names_that_break_the_stores_keys_are_refused),
        cmocka_unit_test(test_a_connect_address_follows_from_a_single_listen_address),
        cmocka_unit_test(test_what_must_be_equal_on_all_nodes_is_ignored_in_a_local_file),
        cmocka_unit_test(test_files_of_a_folder_merge_in_order),
        cmocka_unit_test(test_a_file_that_is_no_mapping_is_an_error),
        cmocka_unit_test(test_every_file_with_an_error_is_named),
        cmocka_unit_test(test_the_command_line_needs_a_store_and_no_more),
        cmocka_unit_test(test_the_articles_configuration_is_accepted_as_it_stands),
        cmocka_unit_test(test_settings_live_as_long_as_someone_holds_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
