#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "app/ctl/opts.h"
#include "base/str.h"

struct given {
    bool extended, quiet;
    const char *format, *leader;
    struct opt_many set;
    char *argv[16];
    int argc;
    bool help;
    struct err err;
    bool ok;
};

static void parse(struct given *g, const char *line)
{
    static char words[256];
    const struct opt opts[] = {
        {'e', "extended", NULL, "More", .flag = &g->extended},
        {'q', "quiet", NULL, "Less", .flag = &g->quiet},
        {'f', "format", "TEXT", "How", .text = &g->format, .choices = "pretty|json"},
        {0, "leader primary master", "TEXT", "Who", .text = &g->leader},
        {'s', "set", "TEXT", "What", .many = &g->set},
        OPT_END,
    };

    memset(g, 0, sizeof(*g));
    str_copy(words, sizeof(words), line);
    for (char *word = strtok(words, " "); word; word = strtok(NULL, " "))
        g->argv[g->argc++] = word;
    g->ok = opts_parse(opts, &g->argc, g->argv, &g->help, &g->err);
}

static void test_options_and_arguments_mix(void **state)
{
    struct given g;

    parse(&g, "demo -e --format json n1 --primary n2 -- -x");
    assert_true(g.ok);
    assert_true(g.extended);
    assert_string_equal(g.format, "json");
    assert_string_equal(g.leader, "n2");
    assert_int_equal(g.argc, 3);
    assert_string_equal(g.argv[0], "demo");
    assert_string_equal(g.argv[1], "n1");
    assert_string_equal(g.argv[2], "-x");
}

static void test_values_may_stick_to_their_option(void **state)
{
    struct given g;

    parse(&g, "-eqfjson --master=n3 -sa=1 --set=b=2");
    assert_true(g.ok);
    assert_true(g.extended && g.quiet);
    assert_string_equal(g.format, "json");
    assert_string_equal(g.leader, "n3");
    assert_int_equal(g.set.count, 2);
    assert_string_equal(g.set.at[0], "a=1");
    assert_string_equal(g.set.at[1], "b=2");
    assert_int_equal(g.argc, 0);
}

static void test_a_lone_dash_is_an_argument(void **state)
{
    struct given g;

    parse(&g, "--set - -");
    assert_true(g.ok);
    assert_string_equal(g.set.at[0], "-");
    assert_int_equal(g.argc, 1);
}

static void refused(const char *line, const char *text)
{
    struct given g;

    parse(&g, line);
    assert_false(g.ok);
    assert_int_equal(g.err.code, ERR_INPUT);
    assert_string_equal(g.err.text, text);
}

static void test_mistakes_are_named(void **state)
{
    refused("--nope", "No such option: --nope");
    refused("--form json", "No such option: --form");
    refused("-x", "No such option: -x");
    refused("--format", "Option '--format' requires an argument.");
    refused("-f", "Option '-f' requires an argument.");
    refused("--quiet=yes", "Option '--quiet' does not take a value.");
    refused("-f html", "Invalid value for '--format' / '-f': 'html' is not one of 'pretty', 'json'.");
}

static void test_too_many_of_one_option_are_refused(void **state)
{
    static char option[] = "-s", value[] = "x";
    char *argv[2 * OPT_MANY_MAX + 2];
    struct opt_many many = {0};
    const struct opt opts[] = {{'s', "set", "TEXT", "What", .many = &many}, OPT_END};
    int argc = 0;
    bool help = false;
    struct err err;

    for (int i = 0; i <= OPT_MANY_MAX; i++) {
        argv[argc++] = option;
        argv[argc++] = value;
    }
    assert_false(opts_parse(opts, &argc, argv, &help, &err));
    assert_int_equal(many.count, OPT_MANY_MAX);
}

static void test_help_ends_the_parsing(void **state)
{
    struct given g;

    parse(&g, "--help --nope");
    assert_true(g.ok);
    assert_true(g.help);
}

static void test_choices_match_whole_words(void **state)
{
    assert_true(opts_choice("a|bc|d", "bc"));
    assert_true(opts_choice("a|bc|d", "d"));
    assert_false(opts_choice("a|bc|d", "b"));
    assert_false(opts_choice("a|bc|d", ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_and_arguments_mix),
        cmocka_unit_test(test_values_may_stick_to_their_option),
        cmocka_unit_test(test_a_lone_dash_is_an_argument),
        cmocka_unit_test(test_mistakes_are_named),
        cmocka_unit_test(test_too_many_of_one_option_are_refused),
        cmocka_unit_test(test_help_ends_the_parsing),
        cmocka_unit_test(test_choices_match_whole_words),
    };

    return cmocka_run_group_tests_name("ctl/opts", tests, NULL, NULL);
}
