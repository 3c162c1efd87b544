#include "wire/conf/sample.h"

#include "conf_test.h"

static struct settings *read_sample(const struct sample *sample, struct findings *f)
{
    AUTO(cstr) char *yaml = sample_render(sample);
    struct conf_source source = {"sample.yml", yaml, strlen(yaml)};

    return settings_read(&source, 1, NULL, f);
}

static void test_the_sample_is_accepted_without_a_word(void **state)
{
    AUTO(findings) struct findings f = {0};
    struct sample sample = sample_placeholders();
    AUTO(settings) struct settings *s = read_sample(&sample, &f);

    assert_no_finding(&f);
    AUTO(json) json_t *seed = dynamic_seed(s);
    AUTO(dynamic) struct dynamic *d = dynamic_read(seed, s, &f);
    assert_no_finding(&f);
    assert_true(d->use_pg_rewind);
    assert_int_equal(json_array_size(d->pg_hba), 3);
}

static void test_what_goes_into_a_sample_comes_out_of_it(void **state)
{
    static const char *const hosts[] = {"e1:2379", "[::1]:2379", NULL};
    struct sample sample = {
        .scope = "yes", /* a boolean, if it were not quoted */
        .namespace_ = "/db/",
        .name = "10",
        .restapi_listen = "127.0.0.1:8008",
        .restapi_connect_address = "127.0.0.1:8009",
        .pg_listen = "127.0.0.1:5432",
        .pg_connect_address = "127.0.0.1:5433",
        .data_dir = "/data dir/#1: x",
        .bin_dir = "/usr/lib/postgresql/15/bin",
        .etcd_hosts = hosts,
        .superuser = "post\"gres",
        .superuser_password = "a'b\"c\\d {{ x }} # ä\t%\n\x01",
        .replication = "Re-pl",
        .replication_password = "~",
    };
    AUTO(findings) struct findings f = {0};
    AUTO(settings) struct settings *s = read_sample(&sample, &f);

    assert_no_finding(&f);
    assert_string_equal(s->scope, "yes");
    assert_string_equal(s->name, "10");
    assert_string_equal(s->key_prefix, "/db/yes/");
    assert_int_equal(s->restapi.connect_address.port, 8009);
    assert_int_equal(s->postgresql.connect_address.port, 5433);
    assert_string_equal(s->postgresql.data_dir, sample.data_dir);
    assert_string_equal(s->postgresql.bin_dir, sample.bin_dir);
    assert_string_equal(s->store.hosts.at[1], "[::1]:2379");
    assert_string_equal(s->postgresql.superuser.username, sample.superuser);
    assert_string_equal(s->postgresql.superuser.password, sample.superuser_password);
    assert_string_equal(s->postgresql.replication.username, "Re-pl");
    assert_string_equal(s->postgresql.replication.password, "~");
    assert_null(s->postgresql.rewind.username);
    assert_string_equal(json_string_value(json_array_get(json_object_get(s->postgresql.section, "pg_hba"), 1)),
                        "host replication \"Re-pl\" samenet scram-sha-256");
}

static void test_the_file_in_etc_is_the_sample_with_placeholders(void **state)
{
    char text[8192];
    struct sample sample = sample_placeholders();
    AUTO(cstr) char *yaml = sample_render(&sample);
    FILE *file = fopen(SOURCE_ROOT "/etc/pgkeep.sample.yml", "re");

    assert_non_null(file);
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    assert_int_equal(fclose(file), 0);
    text[len] = '\0';
    assert_string_equal(text, yaml);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_sample_is_accepted_without_a_word),
        cmocka_unit_test(test_what_goes_into_a_sample_comes_out_of_it),
        cmocka_unit_test(test_the_file_in_etc_is_the_sample_with_placeholders),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
