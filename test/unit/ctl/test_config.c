#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "app/ctl/config.h"
#include "base/str.h"

static void expect_dcs(const char *url, enum store_kind kind, const char *host)
{
    struct dcs_address dcs;
    struct err err;

    if (!dcs_address_parse(url, &dcs, &err))
        fail_msg("%s: %s", url, err.text);
    assert_int_equal(dcs.kind, kind);
    assert_string_equal(dcs.host, host);
    assert_null(dcs.namespace_);
    dcs_address_deinit(&dcs);
}

static void test_store_urls_are_completed(void **state)
{
    expect_dcs("etcd3://10.0.0.1:2380", STORE_ETCD3, "10.0.0.1:2380");
    expect_dcs("etcd3://10.0.0.1", STORE_ETCD3, "10.0.0.1:2379");
    expect_dcs("10.0.0.1", STORE_ETCD3, "10.0.0.1:2379");
    expect_dcs("//10.0.0.1:8500", STORE_CONSUL, "10.0.0.1:8500");
    expect_dcs("zookeeper://zk/", STORE_ZOOKEEPER, "zk:2181");
    expect_dcs("etcd3://[::1]:2379", STORE_ETCD3, "[::1]:2379");
    expect_dcs("etcd3://", STORE_ETCD3, "localhost:2379");
}

static void test_unknown_store_urls_are_refused(void **state)
{
    struct dcs_address dcs;
    struct err err;

    assert_false(dcs_address_parse("redis://h:1", &dcs, &err));
    assert_string_equal(err.text, "Unknown dcs scheme: redis");
    assert_false(dcs_address_parse("etcd3://h:99999999", &dcs, &err));
}

/* A file with this text; its path, to be unlinked. */
static char *file_of(const char *text)
{
    char *path = str_dup("/tmp/pgkeep-test-XXXXXX");
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(close(fd), 0);
    return path;
}

static struct settings *load(const char *text, const char *dcs_url, struct err *err)
{
    AUTO(cstr) char *path = file_of(text);
    struct settings *settings = NULL;
    bool ok = config_load(path, dcs_url, &settings, err);

    (void)unlink(path);
    assert_int_equal(ok, settings != NULL);
    return settings;
}

static void test_command_line_store_replaces_the_files(void **state)
{
    struct err err;
    AUTO(settings) struct settings *s = load("scope: x\nconsul: {host: 'c:8500'}\n", "etcd3://h:1", &err);

    assert_non_null(s);
    assert_int_equal(s->store.kind, STORE_ETCD3);
    assert_int_equal(s->store.hosts.count, 1);
    assert_string_equal(s->store.hosts.at[0], "h:1");
}

static void test_command_line_store_may_name_the_namespace(void **state)
{
    struct err err;
    AUTO(settings)
    struct settings *s = load("scope: x\netcd3: {host: 'e:1'}\nnamespace: /db/\n", "etcd3://h:1/a/b/", &err);
    AUTO(settings) struct settings *other = load("scope: x\nnamespace: /db/\n", "etcd3://h:1/", &err);

    assert_non_null(s);
    assert_string_equal(s->store.hosts.at[0], "h:1");
    assert_string_equal(s->namespace_, "a/b");
    assert_string_equal(s->key_prefix, "/a/b/x/");
    assert_non_null(other);
    assert_string_equal(other->namespace_, "db");
}

static void test_command_line_store_completes_a_file_without_one(void **state)
{
    struct err err;
    AUTO(settings) struct settings *s = load("scope: x\n", "etcd3://h:1", &err);

    assert_non_null(s);
    assert_string_equal(s->scope, "x");
    assert_string_equal(s->store.hosts.at[0], "h:1");
}

static void test_a_broken_file_is_told_in_full(void **state)
{
    struct err err;

    assert_null(load("scope: x\nrestapi: {listen: [1]}\n", NULL, &err));
    assert_non_null(strstr(err.text, "restapi.listen"));
    assert_non_null(strstr(err.text, "no store is named"));
}

static void test_a_file_that_is_named_must_be_there(void **state)
{
    struct settings *s = NULL;
    struct err err;

    assert_false(config_load("/nonexistent/x.yml", NULL, &s, &err));
    assert_string_equal(err.text, "Provided config file /nonexistent/x.yml not existing or no read rights. Check the "
                                  "-c/--config-file parameter");
}

static void test_default_path_follows_the_environment(void **state)
{
    assert_int_equal(setenv("HOME", "/h", 1), 0);
    assert_int_equal(unsetenv("XDG_CONFIG_HOME"), 0);
    AUTO(cstr) char *home = config_default_path();
    assert_string_equal(home, "/h/.config/patroni/patronictl.yaml");

    assert_int_equal(setenv("XDG_CONFIG_HOME", "/x", 1), 0);
    AUTO(cstr) char *xdg = config_default_path();
    assert_string_equal(xdg, "/x/patroni/patronictl.yaml");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_urls_are_completed),
        cmocka_unit_test(test_unknown_store_urls_are_refused),
        cmocka_unit_test(test_command_line_store_replaces_the_files),
        cmocka_unit_test(test_command_line_store_may_name_the_namespace),
        cmocka_unit_test(test_command_line_store_completes_a_file_without_one),
        cmocka_unit_test(test_a_broken_file_is_told_in_full),
        cmocka_unit_test(test_a_file_that_is_named_must_be_there),
        cmocka_unit_test(test_default_path_follows_the_environment),
    };

    return cmocka_run_group_tests_name("ctl/config", tests, NULL, NULL);
}
