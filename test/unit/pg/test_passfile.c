/* Passwords stay in the passfile; connection strings name it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <libpq-fe.h>

#include "base/str.h"
#include "config.h"
#include "pg/passfile.h"
#include "wire/conf/settings.h"

#define TEXT(literal) ((char *)(uintptr_t)(literal)) /* struct pg_user owns its texts; these are only read */

static void test_a_line_a_user_with_escapes(void **state)
{
    struct pg_user super = {.username = TEXT("post:gres"), .password = TEXT("a\\b:c")};
    struct pg_user same = {.username = TEXT("post:gres"), .password = TEXT("other")};
    struct pg_user replication = {.username = TEXT("repl"), .password = TEXT("x")};
    struct pg_user without = {.username = TEXT("cert_user")};
    struct pg_user nobody = {0};
    const struct pg_user *users[] = {&super, &same, &replication, &without, &nobody};
    AUTO(cstr) char *text = passfile_text(users, 5);

    assert_string_equal(text, "*:*:*:post\\:gres:a\\\\b\\:c\n*:*:*:repl:x\n");
}

static void test_the_file_is_private_and_written_when_it_differs(void **state)
{
    char *folder = config_folder();
    AUTO(cstr) char *yaml = config_yaml("n1", folder, 5432, NULL);
    struct config c = config_make(yaml, "{}");
    bool changed = false;
    struct stat st;

    assert_true(passfile_write(c.instance, &changed, NULL));
    assert_true(changed);
    assert_int_equal(stat(c.instance->passfile, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    AUTO(cstr) char *text = config_slurp(c.instance->passfile);
    assert_non_null(strstr(text, "*:*:*:replicator:repl-secret\n"));
    assert_non_null(strstr(text, "su\\:per's\\\\secret"));
    assert_true(passfile_write(c.instance, &changed, NULL));
    assert_false(changed);
    config_free(&c);
    config_remove_folder(folder);
}

/* As libpq reads it; NULL: not set. */
static const char *value_of(const PQconninfoOption *options, const char *keyword)
{
    while (strcmp(options->keyword, keyword) != 0)
        options++;
    return options->val;
}

static void test_primary_conninfo_has_everything_but_the_password(void **state)
{
    char *folder = config_folder();
    AUTO(cstr) char *yaml = config_yaml("n 1", folder, 5432, NULL);
    struct config c = config_make(yaml, "{}");
    AUTO(cstr) char *text = primary_conninfo(c.instance, "10.0.0.2", 5433);
    PQconninfoOption *parsed = PQconninfoParse(text, NULL);

    assert_non_null(parsed);
    assert_string_equal(value_of(parsed, "user"), "replicator");
    assert_string_equal(value_of(parsed, "host"), "10.0.0.2");
    assert_string_equal(value_of(parsed, "port"), "5433");
    assert_string_equal(value_of(parsed, "application_name"), "n 1");
    assert_string_equal(value_of(parsed, "passfile"), c.instance->passfile);
    assert_string_equal(value_of(parsed, "sslmode"), "prefer");
    assert_null(value_of(parsed, "dbname"));
    PQconninfoFree(parsed);
    assert_null(strstr(text, "secret"));
    config_free(&c);
    config_remove_folder(folder);
}

/* In asynchronous mode it stays as Patroni writes it. */
static void test_where_acknowledgements_are_waited_for_a_host_that_is_silent_is_given_up(void **state)
{
    static const char *const dynamic[] = {"{}", "{\"synchronous_mode\": \"quorum\"}",
                                          "{\"synchronous_mode\": true, \"failover_profile\": \"wan\"}",
                                          /* … or as the operator asks, whatever the profile; 0: never */
                                          "{\"synchronous_mode\": \"quorum\", \"postgresql\": {\"parameters\": "
                                          "{\"tcp_user_timeout\": \"30s\"}}}",
                                          "{\"synchronous_mode\": \"quorum\", \"postgresql\": {\"parameters\": "
                                          "{\"tcp_user_timeout\": 0}}}",
                                          "{\"postgresql\": {\"parameters\": {\"tcp_user_timeout\": 700}}}"};
    static const char *const wanted[] = {NULL, "5000", "15000", "30000", NULL, NULL};
    char *folder = config_folder();
    AUTO(cstr) char *yaml = config_yaml("n1", folder, 5432, NULL);

    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        struct config c = config_make(yaml, dynamic[i]);
        AUTO(cstr) char *text = primary_conninfo(c.instance, "10.0.0.2", 5433);
        PQconninfoOption *parsed = PQconninfoParse(text, NULL);
        const char *value = value_of(parsed, "tcp_user_timeout");
        if (wanted[i])
            assert_string_equal(value, wanted[i]);
        else
            assert_null(value);
        PQconninfoFree(parsed);
        config_free(&c);
    }
    config_remove_folder(folder);
}

static void test_tls_settings_of_the_user_are_taken_along(void **state)
{
    struct pg_user user = {.username = TEXT("r"),
                           .sslmode = TEXT("verify-full"),
                           .sslcert = TEXT("/c"),
                           .sslkey = TEXT("/k"),
                           .sslpassword = TEXT("pw"),
                           .sslrootcert = TEXT("/ca"),
                           .sslnegotiation = TEXT("direct"),
                           .channel_binding = TEXT("require")};
    struct conninfo_spec spec = {.user = &user, .host = "h", .port = 1, .major = 15};
    AUTO(cstr) char *old = conninfo_text(&spec);
    spec.major = 17;
    spec.with_sslpassword = true;
    AUTO(cstr) char *new = conninfo_text(&spec);

    assert_string_equal(
        old, "user=r host=h port=1 sslmode=verify-full sslcert=/c sslkey=/k sslrootcert=/ca gssencmode=prefer "
             "channel_binding=require");
    assert_non_null(strstr(new, "sslpassword=pw"));
    assert_non_null(strstr(new, "sslnegotiation=direct"));
}

static void test_tools_get_no_secret_on_their_command_line(void **state)
{
    char *folder = config_folder();
    AUTO(cstr) char *yaml = config_yaml("n1", folder, 5432, NULL);
    struct config c = config_make(yaml, "{}");
    struct pg_user user = {.username = TEXT("r"),
                           .password = TEXT("secret"),
                           .sslkey = TEXT("/k"),
                           .sslpassword = TEXT("secret2"),
                           .sslcrldir = TEXT("/revoked")};
    AUTO(cstr) char *text = NULL;

    assert_true(tool_conninfo(c.instance, &user, "h", 5432, "postgres", &text, NULL));
    assert_null(strstr(text, "secret"));
    assert_non_null(strstr(text, "application_name=pgkeep_job"));
    assert_true(str_starts(text, "service=pgkeep_job "));
    assert_non_null(strstr(text, "sslcrldir=/revoked"));
    AUTO(cstr) char *env = tool_environment(c.instance);
    assert_true(str_starts(env, "PGSERVICEFILE="));
    AUTO(cstr) char *service = config_slurp(env + strlen("PGSERVICEFILE="));
    assert_string_equal(service, "[pgkeep_job]\nsslpassword=secret2\n");
    config_free(&c);
    config_remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_a_user_with_escapes),
        cmocka_unit_test(test_the_file_is_private_and_written_when_it_differs),
        cmocka_unit_test(test_primary_conninfo_has_everything_but_the_password),
        cmocka_unit_test(test_where_acknowledgements_are_waited_for_a_host_that_is_silent_is_given_up),
        cmocka_unit_test(test_tls_settings_of_the_user_are_taken_along),
        cmocka_unit_test(test_tools_get_no_secret_on_their_command_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
