#include "wire/conf/node.h"

#include "conf_test.h"
#include "wire/conf/yaml.h"

static struct conf_node *tree(const char *text)
{
    struct findings f = {0};
    struct conf_node *n = conf_yaml_read("a.yml", text, strlen(text), &f);

    assert_no_finding(&f);
    assert_non_null(n);
    return n;
}

static void assert_tree(const struct conf_node *n, const char *json)
{
    AUTO(json) json_t *found = conf_to_json(n);

    assert_json(found, json);
}

static void test_paths_find_values_and_nothing_else(void **state)
{
    AUTO(conf_node) struct conf_node *n = tree("a: {b: {c: 1}}\nd: [1]\n");

    assert_int_equal(conf_path(n, "a.b.c")->integer, 1);
    assert_null(conf_path(n, "a.b.x"));
    assert_null(conf_path(n, "a.x.c"));
    assert_null(conf_path(n, "d.0"));
    assert_null(conf_path(NULL, "a"));
    assert_null(conf_get(conf_get(n, "d"), "a"));
}

static void test_setting_a_path_makes_what_is_missing_and_replaces_what_is_there(void **state)
{
    AUTO(conf_node) struct conf_node *n = tree("a: {b: 1}\n");

    conf_set_path(n, "a.b", conf_node_text("x", n->file, 0));
    conf_set_path(n, "p.q.r", conf_node_text("y", n->file, 0));
    assert_tree(n, "{\"a\":{\"b\":\"x\"},\"p\":{\"q\":{\"r\":\"y\"}}}");
}

static void test_taking_leaves_the_others_in_order(void **state)
{
    AUTO(conf_node) struct conf_node *n = tree("a: 1\nb: 2\nc: 3\nd: {e: 4}\n");
    AUTO(conf_node) struct conf_node *b = conf_take(n, "b");
    AUTO(conf_node) struct conf_node *e = conf_take_path(n, "d.e");

    assert_int_equal(b->integer, 2);
    assert_int_equal(e->integer, 4);
    assert_null(conf_take(n, "b"));
    assert_null(conf_take_path(n, "x.y"));
    assert_string_equal(n->children.at[1]->key, "c");
    for (int i = 0; i < 20; i++) { /* the array must still know how much room it has */
        AUTO(cstr) char *key = str_fmt("k%d", i);
        conf_set(n, key, conf_node_text("v", n->file, 0));
    }
    assert_int_equal(n->children.count, 23);
}

/* patroni.utils.patch_config() */
static void test_merging_is_patronis(void **state)
{
    AUTO(conf_node) struct conf_node *n = tree("a: {x: 1, y: {p: 1}}\nb: 1\nc: [1, 2]\ng: {h: 1}\n");

    conf_merge(n, tree("a: {x: 2, y: {q: 2}}\nb: ~\nc: [3]\nd: {e: ~}\ng: text\nnothing: ~\n"));
    assert_tree(n, "{\"a\":{\"x\":2,\"y\":{\"p\":1,\"q\":2}},\"c\":[3],\"d\":{\"e\":null},\"g\":\"text\"}");
}

static void test_json_goes_in_and_comes_out_the_same(void **state)
{
    const char *text = "{\"a\":[1,2.5,true,null,\"x\",{\"b\":{}}],\"c\":-9223372036854775807}";
    AUTO(json) json_t *json = json_loads(text, 0, NULL);
    AUTO(conf_node) struct conf_node *n = conf_from_json(json, "dynamic configuration");
    AUTO(conf_node) struct conf_node *copy = conf_node_copy(n);

    assert_tree(n, text);
    assert_tree(copy, text);
    assert_string_equal(conf_get(copy, "a")->file, "dynamic configuration");
    assert_int_equal(conf_get(copy, "a")->line, 0);
    assert_int_equal(conf_node_count(n), 10);
}

static void test_numbers_that_json_has_not_become_texts(void **state)
{
    AUTO(conf_node) struct conf_node *n = tree("[.inf, -.inf, .nan]\n");

    assert_tree(n, "[\"inf\",\"-inf\",\"nan\"]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths_find_values_and_nothing_else),
        cmocka_unit_test(test_setting_a_path_makes_what_is_missing_and_replaces_what_is_there),
        cmocka_unit_test(test_taking_leaves_the_others_in_order),
        cmocka_unit_test(test_merging_is_patronis),
        cmocka_unit_test(test_json_goes_in_and_comes_out_the_same),
        cmocka_unit_test(test_numbers_that_json_has_not_become_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
