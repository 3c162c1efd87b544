#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "app/ctl/config_change.h"

static void expect_set(const char *before, const char *pair, const char *after)
{
    json_t *config = json_loads(before, 0, NULL);
    json_t *wanted = json_loads(after, 0, NULL);
    struct err err;

    assert_non_null(config);
    assert_non_null(wanted);
    if (!config_change_set(config, pair, &err))
        fail_msg("%s: %s", pair, err.text);
    if (!json_equal(config, wanted)) {
        AUTO(cstr) char *text = json_dumps(config, JSON_COMPACT);
        fail_msg("%s gives %s", pair, text);
    }
    json_decref(config);
    json_decref(wanted);
}

static void test_paths_reach_into_sections(void **state)
{
    expect_set("{\"ttl\":30}", "ttl=40", "{\"ttl\":40}");
    expect_set("{}", "postgresql.use_slots=off", "{\"postgresql\":{\"use_slots\":false}}");
    expect_set("{\"a\":1}", "a.b.c=x", "{\"a\":{\"b\":{\"c\":\"x\"}}}");
    expect_set("{}", " ttl = 40", "{\"ttl\":40}");
}

static void test_names_of_parameters_keep_their_dots(void **state)
{
    expect_set("{}", "postgresql.parameters.auto_explain.log_min_duration=3s",
               "{\"postgresql\":{\"parameters\":{\"auto_explain.log_min_duration\":\"3s\"}}}");
    expect_set("{}", "x.postgresql.parameters.a.b=1", "{\"x\":{\"postgresql\":{\"parameters\":{\"a.b\":1}}}}");
}

static void test_values_are_yaml(void **state)
{
    expect_set("{}", "a='40'", "{\"a\":\"40\"}");
    expect_set("{}", "a=[1, two, {b: null}]", "{\"a\":[1,\"two\",{\"b\":null}]}");
    expect_set("{}", "a=x=y", "{\"a\":\"x=y\"}");
}

static void test_null_deletes_and_empty_sections_go(void **state)
{
    expect_set("{\"ttl\":30,\"a\":1}", "ttl=null", "{\"a\":1}");
    expect_set("{\"a\":{\"b\":{\"c\":1}},\"d\":2}", "a.b.c=null", "{\"d\":2}");
    expect_set("{\"a\":{\"b\":1,\"c\":2}}", "a.b=", "{\"a\":{\"c\":2}}");
    expect_set("{\"a\":1}", "b.c=null", "{\"a\":1}");
}

static void test_settings_without_name_or_value_are_refused(void **state)
{
    static const char *const bad[] = {"ttl", "=1", "", " =1"};
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        json_t *config = json_object();
        assert_false(config_change_set(config, bad[i], &err));
        assert_int_equal(json_object_size(config), 0);
        assert_memory_equal(err.text, "Invalid parameter setting", strlen("Invalid parameter setting"));
        json_decref(config);
    }
}

static void test_documents_are_mappings(void **state)
{
    struct err err = {0};
    json_t *empty = config_change_document("f", "# nothing\n", &err);

    assert_non_null(empty);
    assert_true(json_is_object(empty));
    json_decref(empty);
    assert_null(config_change_document("f.yml", "- a\n- b\n", &err));
    assert_string_equal(err.text, "f.yml: the configuration must be a mapping");
    assert_null(config_change_document("f.yml", "a: [1\nb: 2\n", &err));
    assert_non_null(strstr(err.text, "f.yml:2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths_reach_into_sections),
        cmocka_unit_test(test_names_of_parameters_keep_their_dots),
        cmocka_unit_test(test_values_are_yaml),
        cmocka_unit_test(test_null_deletes_and_empty_sections_go),
        cmocka_unit_test(test_settings_without_name_or_value_are_refused),
        cmocka_unit_test(test_documents_are_mappings),
    };

    return cmocka_run_group_tests_name("ctl/config_change", tests, NULL, NULL);
}
