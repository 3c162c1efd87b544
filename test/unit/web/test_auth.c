#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "io/resolver.h"
#include "test/unit/web/snapshots.h"
#include "web/auth.h"

#define ADMIN "Basic YWRtaW46YTpi" /* admin:a:b */

enum { REFRESH_MS = 60 * 1000, WAIT_STEPS = 500, STEP_US = 10 * 1000 };

/* Settings that only have a REST section, on the stack. */
static struct settings rest(const char *username, const char *password)
{
    struct settings s = {0};

    s.restapi.username = (char *)username;
    s.restapi.password = (char *)password;
    return s;
}

static struct auth *make(const struct settings *s)
{
    struct auth *a = NULL;
    struct err err;

    if (!auth_new(s, &a, &err))
        fail_msg("%s", err.text);
    return a;
}

static enum auth_verdict check_header(const struct auth *a, const char *authorization)
{
    const struct auth_request request = {.peer = "127.0.0.1", .authorization = authorization};
    AUTO(snapshot) struct snapshot *s = replica();
    AUTO(resolver) struct resolver *names = resolver_new(REFRESH_MS);

    return auth_check(a, &request, s, names);
}

static void test_without_credentials_configured_everybody_may(void **state)
{
    struct settings s = rest(NULL, NULL);
    AUTO(auth) struct auth *a = make(&s);

    (void)state;
    assert_int_equal(check_header(a, NULL), AUTH_OK);
    assert_int_equal(check_header(a, "Basic bm9ib2R5Og=="), AUTH_OK);
    assert_null(auth_username(a));
}

static void test_only_the_right_name_and_password_open(void **state)
{
    struct settings s = rest("admin", "a:b");
    AUTO(auth) struct auth *a = make(&s);
    static const struct {
        const char *header;
        enum auth_verdict verdict;
    } rows[] = {
        {ADMIN, AUTH_OK},
        {"basic YWRtaW46YTpi", AUTH_OK}, /* the scheme has no case (RFC 9110) */
        {NULL, AUTH_NO_CREDENTIALS},
        {"", AUTH_BAD_CREDENTIALS},
        {"Basic ", AUTH_BAD_CREDENTIALS},
        {"Basic YWRtaW46YTp", AUTH_BAD_CREDENTIALS},
        {"Basic YWRtaW46YTpiYWRtaW46YTpi", AUTH_BAD_CREDENTIALS}, /* twice the right one */
        {"Basic YWRtaW46YTpj", AUTH_BAD_CREDENTIALS},
        {"Basic ywrtaw46ytpi", AUTH_BAD_CREDENTIALS},
        {"Bearer YWRtaW46YTpi", AUTH_BAD_CREDENTIALS},
        {"YWRtaW46YTpi", AUTH_BAD_CREDENTIALS},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (check_header(a, rows[i].header) != rows[i].verdict)
            fail_msg("%s", rows[i].header);
    }
    assert_string_equal(auth_username(a), "admin");
}

static void test_credentials_of_any_length_are_encoded_right(void **state)
{
    static const struct {
        const char *username, *password, *header;
    } rows[] = {
        {"a", "", "Basic YTo="},           {"a", "b", "Basic YTpi"},
        {"a", "bc", "Basic YTpiYw=="},     {"\xc3\xa4", "\xff", "Basic w6Q6/w=="},
        {"admin", NULL, "Basic YWRtaW46"}, /* half of it is not "open" */
        {NULL, "b", "Basic OmI="},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct settings s = rest(rows[i].username, rows[i].password);
        AUTO(auth) struct auth *a = make(&s);
        assert_int_equal(check_header(a, rows[i].header), AUTH_OK);
        assert_int_equal(check_header(a, "Basic x"), AUTH_BAD_CREDENTIALS);
    }
}

static void test_a_certificate_is_asked_for_where_clients_can_show_one(void **state)
{
    static const struct {
        enum verify_client verify;
        bool tls, shown;
        enum auth_verdict verdict;
    } rows[] = {
        {VERIFY_CLIENT_NONE, true, false, AUTH_OK},    {VERIFY_CLIENT_OPTIONAL, true, false, AUTH_NO_CERTIFICATE},
        {VERIFY_CLIENT_OPTIONAL, true, true, AUTH_OK}, {VERIFY_CLIENT_REQUIRED, true, false, AUTH_NO_CERTIFICATE},
        {VERIFY_CLIENT_REQUIRED, true, true, AUTH_OK},
    };
    AUTO(snapshot) struct snapshot *s = replica();
    AUTO(resolver) struct resolver *names = resolver_new(REFRESH_MS);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct settings settings = rest(NULL, NULL);
        settings.restapi.certfile = (char *)"node.crt";
        settings.restapi.verify_client = rows[i].verify;
        AUTO(auth) struct auth *a = make(&settings);
        const struct auth_request request = {.peer = "127.0.0.1", .tls = rows[i].tls, .has_certificate = rows[i].shown};
        assert_int_equal(auth_check(a, &request, s, names), rows[i].verdict);
    }

    struct settings plain = rest(NULL, NULL); /* without TLS nobody can show one, and Patroni does not ask */
    plain.restapi.verify_client = VERIFY_CLIENT_REQUIRED;
    AUTO(auth) struct auth *a = make(&plain);
    assert_int_equal(check_header(a, NULL), AUTH_OK);
}

static bool lets_in(const struct auth *a, const char *peer, bool no_members, struct snapshot *s, struct resolver *names)
{
    const struct auth_request request = {.peer = peer, .no_members = no_members};
    enum auth_verdict verdict = auth_check(a, &request, s, names);

    assert_true(verdict == AUTH_OK || verdict == AUTH_BAD_ADDRESS);
    return verdict == AUTH_OK;
}

/* Names are looked up in the background: wait until this one is. */
static bool comes_in(const struct auth *a, const char *peer, struct snapshot *s, struct resolver *names)
{
    for (int i = 0; i < WAIT_STEPS; i++) {
        if (lets_in(a, peer, false, s, names))
            return true;
        (void)usleep(STEP_US);
    }
    return false;
}

static void test_the_allowlist_holds_addresses_and_networks(void **state)
{
    char *entries[] = {(char *)"10.1.2.3", (char *)"192.168.0.0/16", (char *)"fd00::/8"};
    struct settings settings = rest("admin", "a:b");
    AUTO(snapshot) struct snapshot *s = replica();
    AUTO(resolver) struct resolver *names = resolver_new(REFRESH_MS);

    (void)state;
    settings.restapi.username = settings.restapi.password = NULL;
    settings.restapi.allowlist = (struct string_list){entries, ARRAY_LEN(entries)};
    AUTO(auth) struct auth *a = make(&settings);
    assert_true(lets_in(a, "10.1.2.3", false, s, names));
    assert_true(lets_in(a, "192.168.77.1", false, s, names));
    assert_true(lets_in(a, "fd00::17", false, s, names));
    assert_true(lets_in(a, "::ffff:10.1.2.3", false, s, names));
    assert_false(lets_in(a, "10.1.2.4", false, s, names));
    assert_false(lets_in(a, "127.0.0.1", false, s, names));
    assert_false(lets_in(a, "::1", false, s, names));
    assert_false(lets_in(a, "?", false, s, names));
}

static void test_a_wrong_address_is_refused_before_the_password_is_looked_at(void **state)
{
    char *entries[] = {(char *)"10.1.2.3"};
    struct settings settings = rest("admin", "a:b");

    (void)state;
    settings.restapi.allowlist = (struct string_list){entries, 1};
    AUTO(auth) struct auth *a = make(&settings);
    assert_int_equal(check_header(a, ADMIN), AUTH_BAD_ADDRESS);
    assert_int_equal(check_header(a, NULL), AUTH_BAD_ADDRESS);
}

static void test_an_entry_that_is_nothing_is_an_error(void **state)
{
    static const char *const bad[] = {"10.0.0.0/33", "10.0.0",   "-x",         "not a name", "",
                                      "1.2.3.4:80",  "http://x", "fd00::/200", "*"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char *entries[] = {(char *)bad[i]};
        struct settings settings = rest(NULL, NULL);
        struct auth *a = NULL;
        struct err err;

        settings.restapi.allowlist = (struct string_list){entries, 1};
        assert_false(auth_new(&settings, &a, &err));
        AUTO(cstr)
        char *text = str_fmt("restapi.allowlist: \"%s\" is neither an address nor a network nor a name", bad[i]);
        assert_string_equal(err.text, text);
    }
}

static void test_names_of_the_allowlist_are_looked_up_in_the_background(void **state)
{
    char *entries[] = {(char *)"localhost", (char *)"no-such-host.invalid"};
    struct settings settings = rest(NULL, NULL);
    AUTO(snapshot) struct snapshot *s = replica();
    AUTO(resolver) struct resolver *names = resolver_new(REFRESH_MS);

    (void)state;
    settings.restapi.allowlist = (struct string_list){entries, ARRAY_LEN(entries)};
    AUTO(auth) struct auth *a = make(&settings);
    assert_false(lets_in(a, "127.0.0.1", false, s, names)); /* unknown is not "everybody" */
    auth_watch(a, s, names);
    assert_true(comes_in(a, "127.0.0.1", s, names));
    assert_false(lets_in(a, "10.1.2.3", false, s, names));
}

static struct cluster *members_at(const char *first, const char *second, const char *third)
{
    const char *const hosts[] = {first, second, third};
    struct cluster_key keys[ARRAY_LEN(hosts)];
    char values[ARRAY_LEN(hosts)][64];
    char names[ARRAY_LEN(hosts)][16];

    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        (void)snprintf(names[i], sizeof(names[i]), "members/n%zu", i + 1);
        (void)snprintf(values[i], sizeof(values[i]), "{\"api_url\":\"http://%s:8008/patroni\"}", hosts[i]);
        keys[i] = (struct cluster_key){.name = names[i], .value = values[i], .value_len = strlen(values[i])};
    }
    return cluster_read(keys, ARRAY_LEN(keys), 1);
}

static void test_members_may_come_in_but_for_where_they_are_not_asked(void **state)
{
    struct settings settings = rest(NULL, NULL);
    AUTO(snapshot) struct snapshot *s = replica();
    AUTO(resolver) struct resolver *names = resolver_new(REFRESH_MS);

    (void)state;
    s->cluster = members_at("10.1.2.3", "localhost", "[fd00:0::1]");
    settings.restapi.allowlist_include_members = true;
    AUTO(auth) struct auth *a = make(&settings);
    auth_watch(a, s, names);
    assert_true(lets_in(a, "10.1.2.3", false, s, names));
    assert_true(lets_in(a, "fd00::1", false, s, names));
    assert_false(lets_in(a, "10.1.2.4", false, s, names));
    assert_true(comes_in(a, "127.0.0.1", s, names));
    assert_true(lets_in(a, "10.9.9.9", true, s, names)); /* and there is no other list */

    char *entries[] = {(char *)"10.7.7.7"};
    settings.restapi.allowlist = (struct string_list){entries, 1};
    AUTO(auth) struct auth *both = make(&settings);
    assert_true(lets_in(both, "10.7.7.7", true, s, names));
    assert_true(lets_in(both, "10.1.2.3", false, s, names));
    assert_false(lets_in(both, "10.1.2.3", true, s, names));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_credentials_configured_everybody_may),
        cmocka_unit_test(test_only_the_right_name_and_password_open),
        cmocka_unit_test(test_credentials_of_any_length_are_encoded_right),
        cmocka_unit_test(test_a_certificate_is_asked_for_where_clients_can_show_one),
        cmocka_unit_test(test_the_allowlist_holds_addresses_and_networks),
        cmocka_unit_test(test_a_wrong_address_is_refused_before_the_password_is_looked_at),
        cmocka_unit_test(test_an_entry_that_is_nothing_is_an_error),
        cmocka_unit_test(test_names_of_the_allowlist_are_looked_up_in_the_background),
        cmocka_unit_test(test_members_may_come_in_but_for_where_they_are_not_asked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
