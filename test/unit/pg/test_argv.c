/* Argument lists: commands split as a shell would, options as Patroni writes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/str.h"
#include "pg/argv.h"

/* "a|b c|" for {"a", "b c", ""}; free() it. */
static char *joined(char *const *argv)
{
    AUTO(buf) struct buf text = BUF_EMPTY;

    for (int i = 0; argv && argv[i]; i++)
        buf_printf(&text, "%s%s", i ? "|" : "", argv[i]);
    return buf_take(&text);
}

static void test_commands_are_split_as_a_shell_would(void **state)
{
    static const struct {
        const char *command, *words;
    } cases[] = {
        {"a", "a"},
        {"  a  b\tc ", "a|b|c"},
        {"a 'b c' d", "a|b c|d"},
        {"a \"b c\" d", "a|b c|d"},
        {"a'b'\"c\"d", "abcd"},
        {"a '' b", "a||b"},
        {"a\\ b", "a b"},
        {"'a\\b'", "a\\b"},
        {"\"a\\\"b\"", "a\"b"},
        {"\"a\\nb\"", "a\\nb"},
        {"a \"$HOME\" *", "a|$HOME|*"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(argv) char **argv = NULL;
        assert_true(command_split(cases[i].command, &argv, NULL));
        AUTO(cstr) char *words = joined(argv);
        assert_string_equal(words, cases[i].words);
    }
}

static void test_unfinished_commands_are_refused(void **state)
{
    static const char *const bad[] = {"", "   ", "a 'b", "a \"b", "a \\"};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        AUTO(argv) char **argv = NULL;
        struct err err;
        assert_false(command_split(bad[i], &argv, &err));
        assert_null(argv);
        assert_int_equal(err.code, ERR_INPUT);
    }
}

static bool options(const char *json, const char *const *forbidden, char **ret_words, struct err *err)
{
    AUTO(argv) char **argv = NULL;
    json_t *list = json_loads(json, JSON_DECODE_ANY, NULL);

    argv_add(&argv, "tool");
    bool good = tool_options("initdb", list, forbidden, &argv, err);
    json_decref(list);
    *ret_words = joined(argv);
    return good;
}

static void test_options_in_every_form_patroni_takes(void **state)
{
    static const struct {
        const char *json, *words;
    } cases[] = {
        {"[]", "tool"},
        {"null", "tool"},
        {"[\"data-checksums\",{\"encoding\":\"UTF8\"}]", "tool|--data-checksums|--encoding=UTF8"},
        {"[{\"wal-segsize\":64}]", "tool|--wal-segsize=64"},
        {"[{\"progress\":true}]", "tool|--progress"},
        {"{\"max-rate\":\"100M\",\"unset\":null,\"off\":false}", "tool|--max-rate=100M"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(cstr) char *words = NULL;
        assert_true(options(cases[i].json, NULL, &words, NULL));
        assert_string_equal(words, cases[i].words);
    }
}

static void test_forbidden_and_malformed_options_are_refused_whole(void **state)
{
    static const char *const forbidden[] = {"pgdata", "version", NULL};
    static const char *const bad[] = {
        "[\"data-checksums\",\"pgdata\"]",
        "[\"pgdata=/x\"]",
        "[{\"pgdata\":\"/x\"}]",
        "[{\"a\":\"1\",\"b\":\"2\"}]",
        "[{\"a\":[1]}]",
        "[1]",
        "[\"--encoding\"]",
        "\"text\"",
        "{\"version\":\"1\"}",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        AUTO(cstr) char *words = NULL;
        struct err err;
        assert_false(options(bad[i], forbidden, &words, &err));
        assert_string_equal(words, "tool");
        assert_int_equal(err.code, ERR_INPUT);
    }
}

static void test_keys_of_a_method_become_options(void **state)
{
    static const char *const skip[] = {"command", NULL};
    AUTO(argv) char **argv = NULL;
    json_t *section =
        json_loads("{\"command\":\"x\",\"keep_data\":true,\"n\":5,\"s\":\"a b\",\"deep\":{\"a\":1}}", 0, NULL);

    method_options(section, skip, &argv);
    json_decref(section);
    AUTO(cstr) char *words = joined(argv);
    assert_string_equal(words, "--keep_data=True|--n=5|--s=a b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands_are_split_as_a_shell_would),
        cmocka_unit_test(test_unfinished_commands_are_refused),
        cmocka_unit_test(test_options_in_every_form_patroni_takes),
        cmocka_unit_test(test_forbidden_and_malformed_options_are_refused_whole),
        cmocka_unit_test(test_keys_of_a_method_become_options),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
