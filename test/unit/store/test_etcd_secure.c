/*
 * The etcd client where etcd asks who is there: users and tokens, certificates.
 */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "io/loop.h"
#include "test/lib/etcd_fixture.h"
#include "test/lib/http_peer.h"
#include "test/lib/tls_files.h"
#include "test/unit/store/ask.h"

static struct loop *loop;
static struct etcd_fixture etcd;
static struct settings settings;
static struct store *store;
static struct story story;
static char *jwt;

static void open_store(void)
{
    struct err err = {0};

    if (!store_new(loop, &settings, &store, &err))
        fail_msg("%s", err.text);
}

static int setup(void **state)
{
    loop = loop_new();
    return 0;
}

static int teardown(void **state)
{
    if (story.watch)
        story_end(&story);
    story = (struct story){0};
    store_free(store);
    store = NULL;
    loop_free(loop);
    etcd_fixture_settings_deinit(&settings);
    etcd_fixture_stop(&etcd);
    free(jwt);
    jwt = NULL;
    return 0;
}

static void wait_until_it_answers(void)
{
    open_store();
    AUTO(answer) struct answer a = ask_get_prefix(loop, store, "x", 25000);
    assert_int_equal(a.status, STORE_DONE);
    store_free(store);
    store = NULL;
}

/* Users root and pgkeep; pgkeep may do what it likes below "service/" and nothing else. */
static void enable_authentication(void)
{
    static const char *const steps[][2] = {
        {"/v3/auth/user/add", "{\"name\":\"root\",\"password\":\"rootpw\"}"},
        {"/v3/auth/role/add", "{\"name\":\"root\"}"},
        {"/v3/auth/user/grant", "{\"user\":\"root\",\"role\":\"root\"}"},
        {"/v3/auth/user/add", "{\"name\":\"pgkeep\",\"password\":\"se\\\"cret\"}"},
        {"/v3/auth/role/add", "{\"name\":\"service\"}"},
        {"/v3/auth/role/grant",
         "{\"name\":\"service\",\"perm\":{\"permType\":\"READWRITE\",\"key\":\"c2VydmljZS8=\",\"range_end\":"
         "\"c2VydmljZTA=\"}}"},
        {"/v3/auth/user/grant", "{\"user\":\"pgkeep\",\"role\":\"service\"}"},
        {"/v3/auth/enable", "{}"},
    };

    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        assert_true(etcd_fixture_post(&etcd, steps[i][0], steps[i][1]));
}

static void start_with_users(const char *token)
{
    etcd.auth_token = token;
    if (!etcd_fixture_start(&etcd, 1, NULL))
        fail_msg("no etcd here");
    etcd_fixture_settings(&etcd, &settings);
    wait_until_it_answers();
    enable_authentication();
    str_set(&settings.store.username, "pgkeep");
    str_set(&settings.store.password, "se\"cret");
}

static void assert_works(const char *value)
{
    (void)ask_put(loop, store, "service/k", value, 0);
    AUTO(answer) struct answer read = ask_get_prefix(loop, store, "service/", ASK_BUDGET_MS);
    assert_int_equal(read.status, STORE_DONE);
    assert_string_equal(read.kvs[0].value, value);
}

static void test_with_a_user_it_logs_in_and_again_when_the_token_is_forgotten(void **state)
{
    start_with_users(NULL);
    open_store();
    assert_works("1");
    AUTO(answer) struct answer lease = ask_grant(loop, store, 30000, ASK_BUDGET_MS);
    assert_int_equal(lease.status, STORE_DONE);
    int64_t revision = ask_put(loop, store, "service/leased", "x", lease.lease);
    story_begin(&story, store, "service/", revision);
    story_until(loop, &story, "service/leased=x@", 10000);

    /* Its tokens live in memory. A change that is refused for the token was not made: it is sent again. */
    etcd_fixture_kill(&etcd, 0);
    etcd_fixture_restart(&etcd, 0);
    assert_works("2");
    AUTO(answer) struct answer renewed = ask_keepalive(loop, store, lease.lease, ASK_BUDGET_MS);
    assert_int_equal(renewed.status, STORE_DONE);
    assert_int_equal(renewed.ttl_ms, 30000);
    story_until(loop, &story, "service/k=2@", 15000);
}

static void test_what_the_user_may_not_is_refused_as_denied(void **state)
{
    const struct store_op op = {.kind = STORE_PUT, .key = "other/k", .value = "v"};

    start_with_users(NULL);
    open_store();
    AUTO(answer)
    struct answer put = ask_txn(loop, store, &(struct store_txn){.then = &op, .then_count = 1}, ASK_BUDGET_MS);
    assert_int_equal(put.status, STORE_REFUSED);
    assert_int_equal(put.err.code, ERR_DENIED);
    assert_true(put.took_ms < 5000); /* final: nobody else is asked, nothing is tried again */
    assert_works("1");
}

static void test_a_wrong_password_and_a_missing_user_are_refused_as_denied_without_telling_the_password(void **state)
{
    start_with_users(NULL);
    str_set(&settings.store.password, "wrong-password");
    open_store();
    AUTO(answer) struct answer wrong = ask_get_prefix(loop, store, "service/", ASK_BUDGET_MS);
    assert_int_equal(wrong.status, STORE_REFUSED);
    assert_int_equal(wrong.err.code, ERR_DENIED);
    assert_null(strstr(wrong.err.text, "wrong-password"));

    str_set(&settings.store.username, NULL);
    str_set(&settings.store.password, NULL);
    assert_true(store_reconfigure(store, &settings, NULL));
    AUTO(answer) struct answer nobody = ask_get_prefix(loop, store, "service/", ASK_BUDGET_MS);
    assert_int_equal(nobody.status, STORE_REFUSED);
    assert_int_equal(nobody.err.code, ERR_DENIED);

    /* Put right by a reload. */
    str_set(&settings.store.username, "pgkeep");
    str_set(&settings.store.password, "se\"cret");
    assert_true(store_reconfigure(store, &settings, NULL));
    assert_works("1");
}

static void test_a_user_where_there_is_no_authentication_is_no_error_and_is_used_once_there_is(void **state)
{
    if (!etcd_fixture_start(&etcd, 1, NULL))
        fail_msg("no etcd here");
    etcd_fixture_settings(&etcd, &settings);
    str_set(&settings.store.username, "pgkeep");
    str_set(&settings.store.password, "se\"cret");
    wait_until_it_answers();
    open_store();
    assert_works("1");
    enable_authentication();
    assert_works("2");
}

static void add_user_as_root(void)
{
    struct peer_request request = {
        .method = "POST",
        .port = etcd.members[0].client_port,
        .path = "/v3/auth/authenticate",
        .body = "{\"name\":\"root\",\"password\":\"rootpw\"}",
    };
    struct peer_answer login = peer_ask_once(&request);
    json_t *json = json_loads(login.body, 0, NULL);
    AUTO(cstr) char *token = str_fmt("Authorization: %s", json_string_value(json_object_get(json, "token")));
    const char *const headers[] = {token, NULL};

    json_decref(json);
    peer_answer_deinit(&login);
    request.headers = headers;
    request.path = "/v3/auth/user/add";
    request.body = "{\"name\":\"new\",\"password\":\"new\"}";
    struct peer_answer added = peer_ask_once(&request);
    assert_int_equal(added.status, 200);
    peer_answer_deinit(&added);
}

/* Signed tokens carry the revision of the users: any change of them makes all tokens old. */
static void test_a_token_that_ran_out_or_is_older_than_the_users_is_replaced(void **state)
{
    AUTO(tls_files) struct tls_files *files = tls_files_new();
    AUTO(cstr)
    char *command = str_fmt("cd %s && openssl genrsa -out jwt.key 2048 2>/dev/null && "
                            "openssl rsa -in jwt.key -pubout -out jwt.pub 2>/dev/null",
                            files->dir);

    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a test runs openssl(1) */
    jwt = str_fmt("jwt,pub-key=%s/jwt.pub,priv-key=%s/jwt.key,sign-method=RS256,ttl=2s", files->dir, files->dir);
    start_with_users(jwt);
    open_store();
    assert_works("1");
    run_for(loop, 2200);
    assert_works("2");

    assert_works("3");
    add_user_as_root();
    assert_works("4");
}

static void test_tls_is_verified_both_ways(void **state)
{
    AUTO(tls_files) struct tls_files *files = tls_files_new();

    if (!etcd_fixture_start(&etcd, 1, files))
        fail_msg("no etcd here");
    etcd_fixture_settings(&etcd, &settings);
    str_set(&settings.store.cert, files->client_cert);
    str_set(&settings.store.key, files->client_key);
    wait_until_it_answers();
    open_store();
    assert_works("1");
    AUTO(answer) struct answer now = ask_get_prefix(loop, store, "service/", ASK_BUDGET_MS);
    story_begin(&story, store, "service/", now.revision + 1);
    (void)ask_put(loop, store, "service/k", "2", 0);
    story_until(loop, &story, "service/k=2@", 10000);

    str_set(&settings.store.cert, files->alien_cert); /* of an authority that etcd does not know */
    str_set(&settings.store.key, files->alien_key);
    assert_true(store_reconfigure(store, &settings, NULL));
    AUTO(answer) struct answer alien = ask_get_prefix(loop, store, "service/", 600);
    assert_true(alien.status == STORE_AWAY || alien.status == STORE_UNKNOWN);

    str_set(&settings.store.cacert, files->alien_cert); /* did not sign etcd's certificate */
    assert_true(store_reconfigure(store, &settings, NULL));
    AUTO(answer) struct answer distrust = ask_get_prefix(loop, store, "service/", 600);
    assert_int_equal(distrust.status, STORE_AWAY);
    assert_int_equal(distrust.err.code, ERR_DENIED);

    str_set(&settings.store.cacert, files->ca);
    str_set(&settings.store.cert, files->client_cert);
    str_set(&settings.store.key, files->client_key);
    assert_true(store_reconfigure(store, &settings, NULL));
    assert_works("3");
    story_until(loop, &story, "service/k=3@", 15000);
}

/* With users, etcd's gateway takes no certificate that bears a name; the answer must reach the operator. */
static void test_client_certificates_with_a_cn_are_refused_at_the_gateway_and_it_is_said_why(void **state)
{
    AUTO(tls_files) struct tls_files *files = tls_files_new();

    if (!etcd_fixture_start(&etcd, 1, files))
        fail_msg("no etcd here");
    etcd_fixture_settings(&etcd, &settings);
    str_set(&settings.store.cert, files->client_cert);
    str_set(&settings.store.key, files->client_key);
    wait_until_it_answers();
    enable_authentication();
    str_set(&settings.store.username, "pgkeep");
    str_set(&settings.store.password, "se\"cret");
    open_store();
    AUTO(answer) struct answer a = ask_get_prefix(loop, store, "service/", ASK_BUDGET_MS);
    assert_int_equal(a.status, STORE_REFUSED);
    assert_non_null(strstr(a.err.text, "CommonName of client sending a request against gateway"));
    assert_true(a.took_ms < 5000); /* final: nothing is tried again */
}

#define SECURE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SECURE_TEST(test_with_a_user_it_logs_in_and_again_when_the_token_is_forgotten),
        SECURE_TEST(test_what_the_user_may_not_is_refused_as_denied),
        SECURE_TEST(test_a_wrong_password_and_a_missing_user_are_refused_as_denied_without_telling_the_password),
        SECURE_TEST(test_a_user_where_there_is_no_authentication_is_no_error_and_is_used_once_there_is),
        SECURE_TEST(test_a_token_that_ran_out_or_is_older_than_the_users_is_replaced),
        SECURE_TEST(test_tls_is_verified_both_ways),
        SECURE_TEST(test_client_certificates_with_a_cn_are_refused_at_the_gateway_and_it_is_said_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
