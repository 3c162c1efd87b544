#include "wire/conf/value.h"

#include "conf_test.h"
#include "wire/conf/yaml.h"

static struct conf_node *node(const char *text)
{
    struct findings f = {0};
    struct conf_node *n = conf_yaml_read("a.yml", text, strlen(text), &f);

    assert_no_finding(&f);
    return n;
}

static int bool_of(const char *text)
{
    AUTO(conf_node) struct conf_node *n = node(text);
    bool value;

    return value_bool(n, &value) ? value : -1;
}

static void test_booleans_come_as_booleans_words_and_digits(void **state)
{
    const char *yes[] = {"on", "true", "Yes", "'on'", "'TRUE'", "'yes'", "'1'", "1"};
    const char *no[] = {"off", "false", "No", "'off'", "'FALSE'", "'no'", "'0'", "0"};
    const char *neither[] = {"2", "1.0", "'maybe'", "''", "~", "[]", "{}", "'o'", "-1"};

    for (size_t i = 0; i < ARRAY_LEN(yes); i++)
        assert_int_equal(bool_of(yes[i]), 1);
    for (size_t i = 0; i < ARRAY_LEN(no); i++)
        assert_int_equal(bool_of(no[i]), 0);
    for (size_t i = 0; i < ARRAY_LEN(neither); i++)
        assert_int_equal(bool_of(neither[i]), -1);
    bool untouched = true;
    assert_false(value_bool(NULL, &untouched));
}

enum { NOT_A_NUMBER = -987654321 };

static int64_t int_of(const char *text, enum value_unit unit)
{
    AUTO(conf_node) struct conf_node *n = node(text);
    int64_t value;

    return value_int(n, unit, &value) ? value : NOT_A_NUMBER;
}

/* The expectations are those of patroni.utils.parse_int(). */
static void test_whole_numbers_come_in_quotes_and_with_units(void **state)
{
    assert_int_equal(int_of("30", UNIT_NONE), 30);
    assert_int_equal(int_of("'30'", UNIT_NONE), 30);
    assert_int_equal(int_of("' 30 '", UNIT_NONE), 30);
    assert_int_equal(int_of("'-1'", UNIT_NONE), -1);
    assert_int_equal(int_of("'0x400'", UNIT_NONE), 1024);
    assert_int_equal(int_of("'010'", UNIT_NONE), 8);
    assert_int_equal(int_of("30.0", UNIT_NONE), 30);
    assert_int_equal(int_of("'30min'", UNIT_SECONDS), 1800);
    assert_int_equal(int_of("'30 min'", UNIT_SECONDS), 1800);
    assert_int_equal(int_of("30min", UNIT_SECONDS), 1800);
    assert_int_equal(int_of("'1d'", UNIT_SECONDS), 86400);
    assert_int_equal(int_of("'1500ms'", UNIT_SECONDS), 2);
    assert_int_equal(int_of("'2500ms'", UNIT_SECONDS), 2); /* halves go to the even side */
    assert_int_equal(int_of("512kB", UNIT_BYTES), 524288);
    assert_int_equal(int_of("1GB", UNIT_MEGABYTES), 1024);
    assert_int_equal(int_of("'1.5GB'", UNIT_MEGABYTES), 1536);
    assert_int_equal(int_of("'0x400 MB'", UNIT_MEGABYTES), 1024);
}

static void test_what_is_no_whole_number_is_refused(void **state)
{
    const char *texts[] = {"30.5",
                           "'30.5'",
                           "'30x'",
                           "abc",
                           "''",
                           "' '",
                           "~",
                           "[]",
                           "{}",
                           "on",
                           "'min'",
                           "30min",
                           "'1e3'",
                           "99999999999999999999",
                           "'99999999999999999999'",
                           ".inf",
                           ".nan",
                           "1.0e+300"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_int_equal(int_of(texts[i], UNIT_NONE), NOT_A_NUMBER);
    assert_int_equal(int_of("16MB", UNIT_SECONDS), NOT_A_NUMBER);
    assert_int_equal(int_of("16mb", UNIT_BYTES), NOT_A_NUMBER); /* units are spelled as PostgreSQL does */
    assert_int_equal(int_of("'1e300 TB'", UNIT_BYTES), NOT_A_NUMBER);
    assert_int_equal(int_of("'30 min x'", UNIT_SECONDS), NOT_A_NUMBER);
}

static void assert_text(const char *yaml, const char *want)
{
    AUTO(conf_node) struct conf_node *n = node(yaml);
    AUTO(cstr) char *text = value_text(n);

    if (!want)
        assert_null(text);
    else
        assert_string_equal(text, want);
}

static void test_texts_may_be_numbers_as_python_prints_them(void **state)
{
    assert_text("abc", "abc");
    assert_text("010", "8");
    assert_text("'010'", "010");
    assert_text("1.50", "1.5");
    assert_text("on", NULL);
    assert_text("~", NULL);
    assert_text("[]", NULL);
}

static void assert_endpoint(const char *text, int default_port, const char *host, int port)
{
    struct endpoint e = {0};

    assert_true(value_endpoint(text, default_port, &e));
    assert_string_equal(e.host, host);
    assert_int_equal(e.port, port);
    endpoint_deinit(&e);
}

static void test_endpoints_have_a_host_and_a_port(void **state)
{
    assert_endpoint("10.0.2.10:8008", 0, "10.0.2.10", 8008);
    assert_endpoint("db-01.example.org:5432", 0, "db-01.example.org", 5432);
    assert_endpoint("my_host:1", 0, "my_host", 1);
    assert_endpoint("host", 5432, "host", 5432);
    assert_endpoint("*:65535", 0, "*", 65535);
    assert_endpoint("[::1]:5432", 0, "::1", 5432);
    assert_endpoint("[fe80::1%eth0]:5432", 0, "fe80::1%eth0", 5432);
    assert_endpoint("fd00::5:5432", 0, "fd00::5", 5432); /* the last part is the port, as in Patroni */
    assert_endpoint("[::]", 8008, "::", 8008);
    assert_endpoint("127.0.0.1, [::1]:5432", 0, "127.0.0.1,::1", 5432);
}

static void test_what_is_no_endpoint_is_refused(void **state)
{
    const char *texts[] = {"",         ":",       "host",    "host:",   ":5432",  "host:0",      "host:65536",
                           "host:x",   "host:-1", "host: 1", "a b:1",   "a,,b:1", ",a:1",        "http://host:1",
                           "host/x:1", "::1:0",   "a:b:1",   "host:1 ", "*,a:1",  "user@host:1", "'a':1",
                           "[]:1"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct endpoint e = {.port = 7};
        if (value_endpoint(texts[i], 0, &e))
            fail_msg("\"%s\" is taken for an endpoint", texts[i]);
        assert_int_equal(e.port, 7);
    }
    assert_false(value_endpoint(NULL, 1, &(struct endpoint){0}));
}

static void test_urls_are_taken_apart(void **state)
{
    struct value_url u;

    assert_true(value_url("https://us%65r:p%40ss%3aword@etcd.example:2380/v3?x", 2379, &u));
    assert_string_equal(u.protocol, "https");
    assert_string_equal(u.username, "user");
    assert_string_equal(u.password, "p@ss:word");
    assert_string_equal(u.host, "etcd.example");
    assert_int_equal(u.port, 2380);
    value_url_deinit(&u);
    assert_true(value_url("HTTP://[::1]", 2379, &u));
    assert_string_equal(u.protocol, "http");
    assert_string_equal(u.host, "::1");
    assert_int_equal(u.port, 2379);
    assert_null(u.username);
    value_url_deinit(&u);
}

static void test_what_is_no_url_is_refused(void **state)
{
    const char *texts[] = {"",
                           "host:2379",
                           "ftp://h:1",
                           "http://",
                           "http://:1",
                           "http://a,b:1",
                           "http://u:p%4@h:1",
                           "http://u:p%00@h:1",
                           "http://u:p%zz@h:1",
                           "https:/h",
                           "http://h:0"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct value_url u;
        if (value_url(texts[i], 2379, &u))
            fail_msg("\"%s\" is taken for a URL", texts[i]);
    }
    assert_false(value_url(NULL, 1, &(struct value_url){0}));
}

static void assert_list(const char *yaml, const char *want)
{
    AUTO(conf_node) struct conf_node *n = node(yaml);
    struct string_list l = {0};
    char joined[200] = "";

    assert_int_equal(value_text_list(n, &l), want != NULL);
    for (size_t i = 0; i < l.count; i++) {
        strcat(joined, l.at[i]);
        strcat(joined, ";");
    }
    assert_string_equal(joined, want ? want : "");
    string_list_deinit(&l);
}

static void test_lists_come_as_lists_and_with_commas(void **state)
{
    assert_list("[a, 'b c', 5]", "a;b c;5;");
    assert_list("' a,b , c ,,'", "a;b;c;");
    assert_list("''", "");
    assert_list("[]", "");
    assert_list("[a, [b]]", NULL);
    assert_list("[a, on]", NULL);
    assert_list("{a: b}", NULL);
    assert_list("5", NULL);
}

static void assert_options(const char *yaml, const char *want)
{
    AUTO(conf_node) struct conf_node *n = node(yaml);
    AUTO(json) json_t *options = value_options(n);

    if (!want)
        assert_null(options);
    else
        assert_json(options, want);
}

static void test_options_come_as_lists_and_mappings(void **state)
{
    assert_options("[data-checksums, encoding: UTF8, jobs: 4]",
                   "[\"data-checksums\",{\"encoding\":\"UTF8\"},{\"jobs\":\"4\"}]");
    assert_options("{max-rate: 100M, checkpoint: fast}", "[{\"max-rate\":\"100M\"},{\"checkpoint\":\"fast\"}]");
    assert_options("[{a: 1, b: 2}]", NULL);
    assert_options("[locale: no]", NULL); /* the boolean: what it means for a program is unknown */
    assert_options("[[a]]", NULL);
    assert_options("[1]", NULL);
    assert_options("text", NULL);
}

static void assert_shown(const char *yaml, bool secret, const char *want)
{
    AUTO(conf_node) struct conf_node *n = node(yaml);
    AUTO(cstr) char *shown = value_shown(n, secret);

    assert_string_equal(shown, want);
}

static void test_values_are_shown_short_printable_and_never_if_secret(void **state)
{
    assert_shown("abc", false, "\"abc\"");
    assert_shown("\"a\\nb\\e\"", false, "\"a?b?\"");
    assert_shown("12", false, "12");
    assert_shown("off", false, "the boolean off");
    assert_shown("[a]", false, "a list");
    assert_shown("012345678901234567890123456789012345678901234567890123456789x", false,
                 "\"012345678901234567890123456789012345678901234567890123456789…\"");
    assert_shown("01234567890123456789012345678901234567890123456789012345678ä", false,
                 "\"01234567890123456789012345678901234567890123456789012345678…\"");
    assert_shown("hush", true, "a text that is not shown here");
    assert_shown("1234", true, "a whole number");
    assert_shown("on", true, "a boolean");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_booleans_come_as_booleans_words_and_digits),
        cmocka_unit_test(test_whole_numbers_come_in_quotes_and_with_units),
        cmocka_unit_test(test_what_is_no_whole_number_is_refused),
        cmocka_unit_test(test_texts_may_be_numbers_as_python_prints_them),
        cmocka_unit_test(test_endpoints_have_a_host_and_a_port),
        cmocka_unit_test(test_what_is_no_endpoint_is_refused),
        cmocka_unit_test(test_urls_are_taken_apart),
        cmocka_unit_test(test_what_is_no_url_is_refused),
        cmocka_unit_test(test_lists_come_as_lists_and_with_commas),
        cmocka_unit_test(test_options_come_as_lists_and_mappings),
        cmocka_unit_test(test_values_are_shown_short_printable_and_never_if_secret),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
