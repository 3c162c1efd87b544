#include "wire/conf/scalar.h"

#include "conf_test.h"

struct pyyaml_scalar {
    const char *text;
    enum conf_type type;
    const char *value;
};
struct pyyaml_document {
    const char *text;
    const char *json;
};
#include "pyyaml.inc"

static char *value_text(const char *text)
{
    struct scalar s = scalar_resolve(text);

    switch (s.type) {
    case CONF_NULL:
        return str_dup("");
    case CONF_BOOL:
        return str_dup(s.boolean ? "true" : "false");
    case CONF_INT:
        return str_fmt("%lld", (long long)s.integer);
    case CONF_FLOAT:
        return scalar_float_text(s.number);
    case CONF_STRING:
    case CONF_LIST:
    case CONF_MAP:
        return str_dup(text);
    }
    return NULL;
}

static void test_every_scalar_resolves_as_pyyaml_resolves_it(void **state)
{
    assert_true(ARRAY_LEN(pyyaml_scalars) > 150);
    assert_true(ARRAY_LEN(pyyaml_documents) > 100);
    for (size_t i = 0; i < ARRAY_LEN(pyyaml_scalars); i++) {
        const struct pyyaml_scalar *want = &pyyaml_scalars[i];
        AUTO(cstr) char *got = value_text(want->text);
        AUTO(cstr) char *got_line = str_fmt("%s: %d %s", want->text, (int)scalar_resolve(want->text).type, got);
        AUTO(cstr) char *want_line = str_fmt("%s: %d %s", want->text, (int)want->type, want->value);
        assert_string_equal(got_line, want_line);
    }
}

static void test_nothing_is_null(void **state)
{
    assert_int_equal(scalar_resolve("").type, CONF_NULL);
}

static void test_an_explicit_type_refuses_what_is_not_of_it(void **state)
{
    struct scalar s = {.type = CONF_LIST};

    assert_false(scalar_resolve_as("x", CONF_INT, &s));
    assert_false(scalar_resolve_as("maybe", CONF_BOOL, &s));
    assert_false(scalar_resolve_as("1", CONF_FLOAT, &s));
    assert_false(scalar_resolve_as("x", CONF_NULL, &s));
    assert_false(scalar_resolve_as("x", CONF_MAP, &s));
    assert_int_equal(s.type, CONF_LIST);
    assert_true(scalar_resolve_as("010", CONF_INT, &s));
    assert_int_equal(s.integer, 8);
}

static void assert_float_text(double number, const char *want)
{
    AUTO(cstr) char *text = scalar_float_text(number);

    assert_string_equal(text, want);
}

/* The texts are Python's. */
static void test_floats_print_as_in_python(void **state)
{
    assert_float_text(1.0, "1.0");
    assert_float_text(-0.5, "-0.5");
    assert_float_text(0.1 + 0.2, "0.30000000000000004");
    assert_float_text(1e15, "1000000000000000.0");
    assert_float_text(1e16, "1e+16");
    assert_float_text(1.25e20, "1.25e+20");
    assert_float_text(0.0001, "0.0001");
    assert_float_text(0.00001, "1e-05");
    assert_float_text(5e-324, "5e-324");
    assert_float_text(1.7976931348623157e308, "1.7976931348623157e+308");
    assert_float_text(100.25, "100.25");
    assert_float_text(0.0, "0.0");
    assert_float_text(-0.0, "-0.0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_scalar_resolves_as_pyyaml_resolves_it),
        cmocka_unit_test(test_nothing_is_null),
        cmocka_unit_test(test_an_explicit_type_refuses_what_is_not_of_it),
        cmocka_unit_test(test_floats_print_as_in_python),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
