#include "wire/conf/yaml.h"

#include "conf_test.h"

struct pyyaml_scalar {
    const char *text;
    enum conf_type type;
    const char *value;
};
struct pyyaml_document {
    const char *text;
    const char *json; /* NULL: PyYAML refuses it */
};
#include "pyyaml.inc"

static struct conf_node *read_text(const char *text, struct findings *f)
{
    return conf_yaml_read("node.yml", text, strlen(text), f);
}

/* Where libyaml is more generous than PyYAML's own parser; harmless in a configuration. */
static const struct pyyaml_document generous[] = {
    {"a:\t1\n", "{\"a\":1}"}, /* a tab after the colon */
};

static const char *wanted_json(const struct pyyaml_document *d)
{
    for (size_t i = 0; i < ARRAY_LEN(generous); i++)
        if (str_eq(generous[i].text, d->text))
            return generous[i].json;
    return d->json;
}

static void test_every_document_reads_as_pyyaml_reads_it(void **state)
{
    assert_true(ARRAY_LEN(pyyaml_scalars) > 150);
    for (size_t i = 0; i < ARRAY_LEN(pyyaml_documents); i++) {
        const char *text = pyyaml_documents[i].text;
        const char *want = wanted_json(&pyyaml_documents[i]);
        AUTO(findings) struct findings f = {0};
        AUTO(conf_node) struct conf_node *n = read_text(text, &f);
        AUTO(json) json_t *json = n ? conf_to_json(n) : NULL;
        AUTO(json) json_t *wanted = want ? json_loads(want, JSON_DECODE_ANY, NULL) : NULL;

        assert_int_equal(n == NULL, f.error_count > 0);
        if ((json == NULL) != (wanted == NULL) || (json && !json_equal(json, wanted))) {
            AUTO(cstr) char *found = json ? json_dumps(json, JSON_ENCODE_ANY) : NULL;
            findings_print(&f);
            fail_msg("%s\nreads as %s, not %s", text, found ? found : "an error", want ? want : "an error");
        }
    }
}

/* A node knows where it stood. */
static void test_values_know_their_line(void **state)
{
    AUTO(findings) struct findings f = {0};
    AUTO(conf_node) struct conf_node *n = read_text("# first\na: 1\nb:\n  c:\n    - x\n    - y\n  d: |\n    t\n", &f);

    assert_int_equal(conf_path(n, "a")->line, 2);
    assert_int_equal(conf_path(n, "b")->line, 3);
    assert_int_equal(conf_path(n, "b.c")->line, 4);
    assert_int_equal(conf_path(n, "b.c")->children.at[1]->line, 6);
    assert_int_equal(conf_path(n, "b.d")->line, 7);
    assert_string_equal(conf_path(n, "b.d")->file, "node.yml");
}

static void test_a_scalar_remembers_how_it_was_written(void **state)
{
    AUTO(findings) struct findings f = {0};
    AUTO(conf_node) struct conf_node *n = read_text("a: 010\nb: off\nc: '010'\n", &f);

    assert_int_equal(conf_get(n, "a")->integer, 8);
    assert_string_equal(conf_get(n, "a")->text, "010");
    assert_false(conf_get(n, "b")->boolean);
    assert_string_equal(conf_get(n, "b")->text, "off");
    assert_int_equal(conf_get(n, "c")->type, CONF_STRING);
}

static void assert_refused(const char *text, const char *finding)
{
    AUTO(findings) struct findings f = {0};
    AUTO(conf_node) struct conf_node *n = read_text(text, &f);

    assert_null(n);
    assert_finding(&f, FINDING_ERROR, finding);
}

static void test_errors_name_file_and_line(void **state)
{
    assert_refused("a: 1\nb: [1\nc: 2\n", "node.yml:3: did not find expected ',' or ']' while parsing a flow sequence");
    assert_refused("a: 1\n\nb: c: d\n", "node.yml:3: mapping values are not allowed in this context");
    assert_refused("a: 1\nb: *x\n", "node.yml:2: *x names no value that is complete before this line");
    assert_refused("a: &x 1\nb: &x 2\n", "node.yml:2: &x names a second value");
    assert_refused("a: &x [1, *x]\n", "node.yml:1: *x names no value that is complete before this line");
    assert_refused("a: !thing 1\n", "node.yml:1: the tag \"!thing\" means nothing here");
    assert_refused("a: !!int many\n", "node.yml:1: the value is not a whole number, as its tag says");
    assert_refused("a: !!str [1]\n", "node.yml:1: the tag does not fit the value");
    assert_refused("[a]: 1\n", "node.yml:1: a key has to be a plain name");
    assert_refused("a: 1\n---\nb: 2\n", "node.yml:2: a second document begins here; one is expected");
    assert_refused("a: \"x\\0y\"\n", "node.yml:1: a text with a NUL in it");
    assert_refused("x: {<<: [1]}\n", "node.yml:1: << takes a mapping or a list of mappings");
    assert_refused("a: 1\nb: \xff\n", "node.yml:2: invalid leading UTF-8 octet");
}

static void test_a_key_given_twice_is_a_warning_and_the_last_counts(void **state)
{
    AUTO(findings) struct findings f = {0};
    AUTO(conf_node) struct conf_node *n = read_text("a: 1\nb: 2\na: 3\n", &f);

    assert_int_equal(conf_get(n, "a")->integer, 3);
    assert_finding(&f, FINDING_WARNING, "node.yml:3: a: given again (first in line 1); this one counts");
}

static void test_what_a_merge_brings_is_no_second_value(void **state)
{
    AUTO(findings) struct findings f = {0};
    AUTO(conf_node) struct conf_node *n = read_text("x: &a {p: 1, q: 2}\ny:\n  q: 3\n  <<: *a\n", &f);

    assert_no_finding(&f);
    assert_int_equal(conf_path(n, "y.q")->integer, 3);
    assert_int_equal(conf_path(n, "y.p")->integer, 1);
}

/* Nine aliases of nine aliases …: 9^9 values out of ten lines. */
static void test_aliases_cannot_grow_beyond_a_bound(void **state)
{
    AUTO(findings) struct findings f = {0};
    AUTO(conf_node)
    struct conf_node *n = read_text("a: &a [x, x, x, x, x, x, x, x, x]\n"
                                    "b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\n"
                                    "c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]\n"
                                    "d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]\n"
                                    "e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d]\n",
                                    &f);

    assert_null(n);
    assert_int_equal(findings_with(&f, FINDING_ERROR, "node.yml:5: more values than a configuration can have"), 1);
}

static char *repeated(const char *piece, size_t count, const char *end)
{
    size_t len = strlen(piece);
    char *text = mem_zero(count * len + strlen(end) + 1, 1);

    for (size_t i = 0; i < count; i++)
        memcpy(text + i * len, piece, len);
    strcpy(text + count * len, end);
    return text;
}

static void test_nesting_has_a_bound_and_up_to_it_works(void **state)
{
    AUTO(findings) struct findings f = {0};
    AUTO(cstr) char *open = repeated("[", YAML_DEPTH_MAX, "");
    AUTO(cstr) char *most = repeated("]", YAML_DEPTH_MAX, "");
    AUTO(cstr) char *fits = str_fmt("%s%s", open, most);
    AUTO(cstr) char *deeper = str_fmt("[%s%s]", open, most);
    AUTO(conf_node) struct conf_node *n = read_text(fits, &f);

    assert_non_null(n);
    assert_no_finding(&f);
    assert_null(read_text(deeper, &f));
    assert_finding(&f, FINDING_ERROR, "node.yml:1: nested too deep");
}

/* Copies count where they end up: ten levels in an alias below sixty are seventy. */
static void test_an_alias_cannot_get_around_the_bound_of_nesting(void **state)
{
    AUTO(findings) struct findings f = {0};
    AUTO(cstr) char *open = repeated("[", 60, "");
    AUTO(cstr) char *close = repeated("]", 60, "");
    AUTO(cstr) char *text = str_fmt("a: &a [[[[[[[[[[1]]]]]]]]]]\nb: %s*a%s\n", open, close);

    assert_null(read_text(text, &f));
    assert_finding(&f, FINDING_ERROR, "node.yml:2: nested too deep");
}

static void test_a_mapping_has_a_bound(void **state)
{
    AUTO(findings) struct findings f = {0};
    char *text = mem_zero(YAML_KEYS_MAX + 2, 16);
    size_t len = 0;

    for (int i = 0; i <= YAML_KEYS_MAX; i++)
        len += (size_t)sprintf(text + len, "key%d: 1\n", i);
    AUTO(cstr) char *owned = text;
    assert_null(read_text(owned, &f));
    assert_finding(&f, FINDING_ERROR, "node.yml:2001: more keys than a mapping can have");
}

static void test_a_text_too_large_is_refused_unread(void **state)
{
    AUTO(findings) struct findings f = {0};
    AUTO(cstr) char *text = repeated("#", YAML_TEXT_MAX + 1, "");

    assert_null(read_text(text, &f));
    assert_finding(&f, FINDING_ERROR, "node.yml: larger than a configuration can be (1048576 bytes)");
}

/* Every document, cut at every byte: a result or a finding, and no crash. */
static void test_any_prefix_of_a_document_is_read_or_refused(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(pyyaml_documents); i++) {
        const char *text = pyyaml_documents[i].text;
        for (size_t len = 0; len <= strlen(text); len++) {
            AUTO(findings) struct findings f = {0};
            AUTO(conf_node) struct conf_node *n = conf_yaml_read("node.yml", text, len, &f);
            assert_int_equal(n == NULL, f.error_count > 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_document_reads_as_pyyaml_reads_it),
        cmocka_unit_test(test_values_know_their_line),
        cmocka_unit_test(test_a_scalar_remembers_how_it_was_written),
        cmocka_unit_test(test_errors_name_file_and_line),
        cmocka_unit_test(test_a_key_given_twice_is_a_warning_and_the_last_counts),
        cmocka_unit_test(test_what_a_merge_brings_is_no_second_value),
        cmocka_unit_test(test_aliases_cannot_grow_beyond_a_bound),
        cmocka_unit_test(test_nesting_has_a_bound_and_up_to_it_works),
        cmocka_unit_test(test_an_alias_cannot_get_around_the_bound_of_nesting),
        cmocka_unit_test(test_a_mapping_has_a_bound),
        cmocka_unit_test(test_a_text_too_large_is_refused_unread),
        cmocka_unit_test(test_any_prefix_of_a_document_is_read_or_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
