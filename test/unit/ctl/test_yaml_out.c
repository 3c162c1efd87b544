#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "app/ctl/yaml_out.h"
#include "base/auto.h"

static void expect(const char *json, enum yaml_style style, const char *yaml)
{
    json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);

    assert_non_null(value);
    AUTO(cstr) char *text = yaml_text(value, style);
    assert_string_equal(text, yaml);
    json_decref(value);
}

static void test_configuration_looks_as_patroni_prints_it(void **state)
{
    expect(
        "{\"ttl\":30,\"loop_wait\":10,\"postgresql\":{\"use_slots\":true,\"parameters\":{\"max_connections\":100},"
        "\"pg_hba\":[\"host all all 0.0.0.0/0 md5\",\"local all all trust\"]},\"slots\":null,\"empty\":{},\"none\":[]}",
        YAML_BLOCK,
        "empty: {}\n"
        "loop_wait: 10\n"
        "none: []\n"
        "postgresql:\n"
        "  parameters:\n"
        "    max_connections: 100\n"
        "  pg_hba:\n"
        "  - host all all 0.0.0.0/0 md5\n"
        "  - local all all trust\n"
        "  use_slots: true\n"
        "slots: null\n"
        "ttl: 30\n");
}

static void test_texts_that_look_like_something_else_are_quoted(void **state)
{
    expect("[\"on\",\"100\",\"\",\"~\",\"0x1f\",\"1:30\",\"2026-11-24\",\"=\",\"1e3\",\"1.0\",\"no way\",\"a: b\",\"# "
           "c\"]",
           YAML_BLOCK,
           "- 'on'\n- '100'\n- ''\n- '~'\n- '0x1f'\n- '1:30'\n- '2026-11-24'\n- '='\n- 1e3\n- '1.0'\n- no way\n"
           "- 'a: b'\n- '# c'\n");
}

static void test_flow_style_stays_on_a_line(void **state)
{
    expect("{\"nofailover\":true,\"clonefrom\":false,\"site\":\"a\"}", YAML_FLOW,
           "{clonefrom: false, nofailover: true, site: a}\n");
}

static void test_scalars_have_no_document_end(void **state)
{
    expect("5", YAML_BLOCK, "5\n");
    expect("\"text\"", YAML_BLOCK, "text\n");
    expect("0.5", YAML_BLOCK, "0.5\n");
}

static void test_texts_of_several_lines_survive(void **state)
{
    expect("{\"a\":\"one\\ntwo\"}", YAML_BLOCK, "a: 'one\n\n  two'\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_configuration_looks_as_patroni_prints_it),
        cmocka_unit_test(test_texts_that_look_like_something_else_are_quoted),
        cmocka_unit_test(test_flow_style_stays_on_a_line),
        cmocka_unit_test(test_scalars_have_no_document_end),
        cmocka_unit_test(test_texts_of_several_lines_survive),
    };

    return cmocka_run_group_tests_name("ctl/yaml_out", tests, NULL, NULL);
}
