#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "app/ctl/prompt.h"

/* A terminal whose user has typed `input`; what is shown collects in `shown`. */
struct terminal {
    FILE *in, *out;
    char *shown;
    size_t shown_len;
};

static void terminal_open(struct terminal *t, const char *input)
{
    t->in = tmpfile();
    assert_non_null(t->in);
    assert_true(fputs(input, t->in) >= 0);
    rewind(t->in);
    t->out = open_memstream(&t->shown, &t->shown_len);
    assert_non_null(t->out);
}

static void terminal_close(struct terminal *t)
{
    assert_int_equal(fclose(t->in), 0);
    assert_int_equal(fclose(t->out), 0);
    free(t->shown);
}

static void expect_shown(struct terminal *t, const char *text)
{
    assert_int_equal(fflush(t->out), 0);
    assert_string_equal(t->shown, text);
}

static void test_empty_answer_takes_the_default(void **state)
{
    struct terminal t;
    char *answer = NULL;

    terminal_open(&t, "\n");
    assert_true(prompt_text(t.in, t.out, "Primary", "n1", &answer));
    assert_string_equal(answer, "n1");
    expect_shown(&t, "Primary [n1]: ");
    free(answer);
    terminal_close(&t);
}

static void test_without_default_it_asks_again(void **state)
{
    struct terminal t;
    char *answer = NULL;

    terminal_open(&t, "\n\nn2\r\n");
    assert_true(prompt_text(t.in, t.out, "Name", NULL, &answer));
    assert_string_equal(answer, "n2");
    expect_shown(&t, "Name: Name: Name: ");
    free(answer);
    terminal_close(&t);
}

static void test_end_of_input_is_no_answer(void **state)
{
    struct terminal t;
    char *answer = NULL;
    bool yes = true;

    terminal_open(&t, "");
    assert_false(prompt_text(t.in, t.out, "Name", "n1", &answer));
    assert_null(answer);
    assert_false(prompt_confirm(t.in, t.out, "Sure?", &yes));
    assert_true(yes); /* untouched */
    terminal_close(&t);
}

static void test_only_a_clear_yes_is_a_yes(void **state)
{
    static const struct {
        const char *input;
        bool yes;
    } cases[] = {{"y\n", true}, {"YES\n", true}, {"n\n", false}, {"\n", false}, {"No\n", false}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct terminal t;
        bool yes = !cases[i].yes;
        terminal_open(&t, cases[i].input);
        assert_true(prompt_confirm(t.in, t.out, "Sure?", &yes));
        assert_int_equal(yes, cases[i].yes);
        expect_shown(&t, "Sure? [y/N]: ");
        terminal_close(&t);
    }
}

static void test_an_unclear_answer_is_asked_again(void **state)
{
    struct terminal t;
    bool yes = false;

    terminal_open(&t, "maybe\ny\n");
    assert_true(prompt_confirm(t.in, t.out, "Sure?", &yes));
    assert_true(yes);
    expect_shown(&t, "Sure? [y/N]: Error: invalid input\nSure? [y/N]: ");
    terminal_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_answer_takes_the_default),   cmocka_unit_test(test_without_default_it_asks_again),
        cmocka_unit_test(test_end_of_input_is_no_answer),        cmocka_unit_test(test_only_a_clear_yes_is_a_yes),
        cmocka_unit_test(test_an_unclear_answer_is_asked_again),
    };

    return cmocka_run_group_tests_name("ctl/prompt", tests, NULL, NULL);
}
