/*
 * The mesh: agents in one loop that talk over loopback; or a bare connection for the one that misbehaves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/agent/mesh.h"
#include "app/agent/mesh_link.h"
#include "base/buf.h"
#include "base/str.h"
#include "core/ha/profile.h"
#include "io/log.h"
#include "io/loop.h"
#include "io/stream.h"
#include "test/lib/tls_files.h"
#include "wire/cluster.h"
#include "wire/conf/settings.h"
#include "wire/peer_link.h"

enum { AGENTS_MAX = 6, PATIENCE_MS = 8000, BEAT_MS = 20, RARE_MS = 200 };

struct side {
    struct mesh *mesh;
    struct settings *settings;
    char name[PEER_NAME_MAX];
    struct peer_state state; /* what it has to tell */
    int news;
};

static struct loop *loop;
static struct side sides[AGENTS_MAX];
static char log_path[] = "/tmp/pgkeep-test-mesh-XXXXXX";

static void state_of(struct peer_state *state, void *arg)
{
    const struct side *s = arg;

    *state = s->state;
}

static void news(void *arg)
{
    ((struct side *)arg)->news++;
}

static struct settings *settings_of(const char *name, const char *scope, const char *rest)
{
    AUTO(cstr)
    char *yaml =
        str_fmt("scope: %s\nname: %s\netcd3: {host: '127.0.0.1:2379'}\n"
                "restapi: {listen: '127.0.0.1:8008'%s}\n"
                "postgresql: {listen: 127.0.0.1, data_dir: /x, authentication: {replication: {username: r}}}\n",
                scope, name, rest);
    struct conf_source source = {"node.yml", yaml, strlen(yaml)};
    struct findings findings = {0};
    const char *const environment[] = {NULL};
    struct settings *s = settings_read(&source, 1, environment, &findings);

    if (!s)
        fail_msg("%s", findings.at[0].text);
    findings_deinit(&findings);
    return s;
}

#define WITH_PASSWORD ", authentication: {username: u, password: secret}"

/* name's agent as number i, of which the others do not know yet. */
static struct side *agent(int i, const char *name, const char *scope, const char *rest, msec beat_ms)
{
    struct side *s = &sides[i];
    struct err err = {0};

    *s = (struct side){.settings = settings_of(name, scope, rest)};
    str_copy(s->name, sizeof(s->name), name);
    peer_state_init(&s->state);
    s->mesh = mesh_new(loop, s->settings->name, s->settings->key_prefix, beat_ms, state_of, news, s);
    if (!mesh_configure(s->mesh, s->settings, &err))
        fail_msg("%s", err.text);
    assert_non_null(mesh_address(s->mesh));
    return s;
}

static void add_member(struct cluster_key *key, const char *name, const char *address, bool tls)
{
    *key = (struct cluster_key){
        .name = str_fmt("members/%s", name),
        .value = str_fmt("{\"api_url\":\"http%s://127.0.0.1:8008/patroni\",\"pgkeep\":{\"v\":1,\"peer\":\"%s\"}}",
                         tls ? "s" : "", address),
    };
    key->value_len = strlen(key->value);
}

/* Tell one of them who the members are. NULL: nobody. */
static void tell_member(const struct side *to, const char *name, const char *address, bool tls)
{
    struct cluster_key key = {0};

    if (name)
        add_member(&key, name, address, tls);
    struct cluster *c = cluster_read(&key, name ? 1 : 0, 1);
    mesh_members(to->mesh, c);
    cluster_free(c);
    free((char *)key.name);
    free((char *)key.value);
}

static void introduce(const struct side *to, const struct side *who)
{
    tell_member(to, who->name, mesh_address(who->mesh), who->settings->restapi.certfile != NULL);
}

static void introduce_both(const struct side *a, const struct side *b)
{
    introduce(a, b);
    introduce(b, a);
}

static const struct ha_mesh_peer *view_of(const struct side *s, const char *name)
{
    const struct ha_mesh *v = mesh_view(s->mesh);

    for (size_t i = 0; i < v->count; i++)
        if (str_eq(v->at[i].state.name, name))
            return &v->at[i];
    return NULL;
}

static bool hears(const struct side *s, const char *name)
{
    const struct ha_mesh_peer *p = view_of(s, name);

    return p && p->heard_ms;
}

#define UNTIL(condition)                               \
    do {                                               \
        msec until_ms = loop_clock_ms() + PATIENCE_MS; \
        while (!(condition)) {                         \
            loop_turn(loop, 5);                        \
            if (loop_clock_ms() > until_ms)            \
                fail_msg("never: %s", #condition);     \
        }                                              \
    } while (0)

static void pass(msec ms)
{
    msec until_ms = loop_clock_ms() + ms;

    while (loop_clock_ms() < until_ms)
        loop_turn(loop, 5);
}

/* How many lines of the log have it. */
static int logged(const char *text)
{
    FILE *f = fopen(log_path, "re");
    char line[4096];
    int count = 0;

    assert_non_null(f);
    while (fgets(line, sizeof(line), f))
        count += strstr(line, text) != NULL;
    (void)fclose(f);
    return count;
}

static int set_up(void **state)
{
    int fd;

    loop = loop_new();
    str_copy(log_path, sizeof(log_path), "/tmp/pgkeep-test-mesh-XXXXXX");
    fd = mkstemp(log_path);
    assert_true(fd >= 0);
    (void)close(fd);
    struct log_conf conf = {.level = LOG_LEVEL_INFO, .file = log_path, .file_size_max = 1 << 20, .file_count = 1};
    assert_true(log_configure(&conf, NULL));
    return 0;
}

static void side_free(struct side *s)
{
    mesh_free(s->mesh);
    settings_unref(s->settings);
    *s = (struct side){0};
}

static int tear_down(void **state)
{
    struct log_conf conf = {.level = LOG_LEVEL_INFO};

    for (int i = 0; i < AGENTS_MAX; i++)
        side_free(&sides[i]);
    loop_free(loop);
    assert_true(log_configure(&conf, NULL));
    (void)unlink(log_path);
    return 0;
}

/* ---- telling and hearing ---- */

static void test_agents_hear_each_other(void **state)
{
    struct side *a = agent(0, "n1", "c", WITH_PASSWORD, BEAT_MS);
    struct side *b = agent(1, "n2", "c", WITH_PASSWORD, BEAT_MS);

    a->state.promised = 7;
    b->state.position = 0x3000060;
    introduce_both(a, b);
    assert_non_null(view_of(a, "n2"));
    assert_int_equal(view_of(a, "n2")->heard_ms, 0);
    UNTIL(hears(a, "n2") && hears(b, "n1"));
    assert_int_equal(view_of(b, "n1")->state.promised, 7);
    assert_int_equal(view_of(a, "n2")->state.position, 0x3000060);

    /* Each tells whom it hears. */
    UNTIL(view_of(b, "n1")->state.heard_count == 1 && view_of(b, "n1")->state.heard[0].age_ms != UINT32_MAX);
    assert_string_equal(view_of(b, "n1")->state.heard[0].name, "n2");
    assert_string_equal(mesh_view(a->mesh)->own.name, "n1");
}

/* By our own message, however long the answer was under way; and it holds whatever is said later. */
static void test_a_grant_counts_from_our_own_message(void **state)
{
    struct side *a = agent(0, "n1", "c", WITH_PASSWORD, BEAT_MS);
    struct side *b = agent(1, "n2", "c", WITH_PASSWORD, BEAT_MS);

    introduce_both(a, b);
    str_copy(b->state.grants, sizeof(b->state.grants), "n3");
    UNTIL(str_eq(view_of(a, "n2")->state.grants, "n3"));
    assert_int_equal(view_of(a, "n2")->granted_ms, 0);
    str_copy(b->state.grants, sizeof(b->state.grants), "n1");
    UNTIL(view_of(a, "n2")->granted_ms);
    msec first_ms = view_of(a, "n2")->granted_ms;
    assert_true(first_ms <= view_of(a, "n2")->heard_ms);
    UNTIL(view_of(a, "n2")->granted_ms > first_ms);
    b->state.grants[0] = '\0';
    UNTIL(!view_of(a, "n2")->state.grants[0]);
    msec last_ms = view_of(a, "n2")->granted_ms;
    assert_true(last_ms > first_ms);
    uint64_t seq = view_of(a, "n2")->state.seq;
    UNTIL(view_of(a, "n2")->state.seq > seq + 1);
    assert_int_equal(view_of(a, "n2")->granted_ms, last_ms);
}

static void test_news_is_told_at_once_and_wakes(void **state)
{
    struct side *a = agent(0, "n1", "c", WITH_PASSWORD, 3000);
    struct side *b = agent(1, "n2", "c", WITH_PASSWORD, 3000);

    introduce_both(a, b);
    UNTIL(hears(a, "n2") && hears(b, "n1"));
    b->news = 0;
    a->state.promised = 9;
    msec from_ms = loop_clock_ms();
    mesh_changed(a->mesh);
    UNTIL(view_of(b, "n1")->state.promised == 9);
    assert_true(loop_clock_ms() - from_ms < 1000);
    assert_int_equal(b->news, 1);
    mesh_changed(a->mesh); /* no news */
    pass(50);
    assert_int_equal(b->news, 1);
}

static void test_what_moves_comes_with_the_heartbeat_and_does_not_wake(void **state)
{
    struct side *a = agent(0, "n1", "c", WITH_PASSWORD, BEAT_MS);
    struct side *b = agent(1, "n2", "c", WITH_PASSWORD, BEAT_MS);

    introduce_both(a, b);
    UNTIL(hears(b, "n1"));
    b->news = 0;
    for (lsn at = 1; at < 10; at++) {
        a->state.position = at;
        mesh_changed(a->mesh);
        UNTIL(view_of(b, "n1")->state.position == at);
    }
    assert_int_equal(b->news, 0);
}

/* At once, so that nobody takes the first longer pause for silence; and neither change is a standstill. */
static void test_another_heartbeat_is_told_at_once_and_kept(void **state)
{
    struct side *a = agent(0, "n1", "c", WITH_PASSWORD, BEAT_MS);
    struct side *b = agent(1, "n2", "c", WITH_PASSWORD, BEAT_MS);

    introduce_both(a, b);
    UNTIL(hears(b, "n1"));
    assert_int_equal(view_of(b, "n1")->state.beat_ms, BEAT_MS);
    msec resumed_ms = mesh_view(a->mesh)->resumed_ms;
    mesh_set_heartbeat(a->mesh, RARE_MS);
    UNTIL(view_of(b, "n1")->state.beat_ms == RARE_MS);
    uint64_t seq = view_of(b, "n1")->state.seq;
    pass(RARE_MS * 3 + RARE_MS / 2);
    assert_in_range(view_of(b, "n1")->state.seq - seq, 1, 4); /* at BEAT_MS they would be many more */
    mesh_set_heartbeat(a->mesh, BEAT_MS);
    UNTIL(view_of(b, "n1")->state.beat_ms == BEAT_MS);
    seq = view_of(b, "n1")->state.seq;
    UNTIL(view_of(b, "n1")->state.seq > seq + 5);
    assert_int_equal(mesh_view(a->mesh)->resumed_ms, resumed_ms);
}

static void test_silence_grows_and_a_lost_connection_says_nothing(void **state)
{
    struct side *a = agent(0, "n1", "c", WITH_PASSWORD, BEAT_MS);
    struct side *b = agent(1, "n2", "c", WITH_PASSWORD, BEAT_MS);

    a->state.promised = 7;
    introduce_both(a, b);
    UNTIL(hears(b, "n1"));
    b->news = 0;
    side_free(a);
    msec heard_ms = view_of(b, "n1")->heard_ms;
    pass(200);
    assert_int_equal(view_of(b, "n1")->heard_ms, heard_ms);
    assert_int_equal(view_of(b, "n1")->state.promised, 7);
    assert_int_equal(b->news, 0);
}

static void test_one_way_silence_is_seen_on_one_side(void **state)
{
    struct side *a = agent(0, "n1", "c", WITH_PASSWORD, BEAT_MS);
    struct side *b = agent(1, "n2", "c", WITH_PASSWORD, BEAT_MS);

    introduce(b, a); /* b tells a; a does not know where b is */
    UNTIL(hears(a, "n2"));
    pass(5 * BEAT_MS);
    assert_int_equal(view_of(b, "n1")->heard_ms, 0);
    UNTIL(view_of(a, "n2")->state.heard_count == 1);
    assert_true(view_of(a, "n2")->state.heard[0].age_ms == UINT32_MAX);
}

static void test_our_own_standstill_is_nobodys_silence(void **state)
{
    enum { SLOW_MS = 200 }; /* so that a busy machine alone is no standstill */
    struct side *a = agent(0, "n1", "c", WITH_PASSWORD, SLOW_MS);
    struct side *b = agent(1, "n2", "c", WITH_PASSWORD, SLOW_MS);

    introduce_both(a, b);
    UNTIL(hears(a, "n2") && hears(b, "n1"));
    pass(2 * SLOW_MS);
    msec before_ms = mesh_view(a->mesh)->resumed_ms;
    side_free(b);
    pass(2 * SLOW_MS);
    assert_int_equal(mesh_view(a->mesh)->resumed_ms, before_ms); /* nobody stood still */
    (void)usleep(900 * 1000);
    msec now_ms = loop_clock_ms();
    assert_true(now_ms - view_of(a, "n2")->heard_ms > 900);
    assert_true(mesh_view(a->mesh)->resumed_ms >= now_ms); /* also before the loop has turned */
    pass(2 * SLOW_MS);
    assert_true(mesh_view(a->mesh)->own.heard[0].age_ms < 900); /* nor do we say that it was silent */
}

static void test_a_connection_that_breaks_is_made_again(void **state)
{
    struct side *a = agent(0, "n1", "c", WITH_PASSWORD, BEAT_MS);
    struct side *b = agent(1, "n2", "c", WITH_PASSWORD, BEAT_MS);

    introduce_both(a, b);
    UNTIL(hears(b, "n1"));
    side_free(b);
    pass(100);
    b = agent(1, "n2", "c", WITH_PASSWORD, BEAT_MS);
    msec from_ms = loop_clock_ms();
    introduce(a, b); /* it listens elsewhere now */
    UNTIL(hears(b, "n1"));
    assert_true(loop_clock_ms() - from_ms < 500);
}

static void test_who_is_gone_from_the_store_is_still_talked_to(void **state)
{
    struct side *a = agent(0, "n1", "c", WITH_PASSWORD, BEAT_MS);
    struct side *b = agent(1, "n2", "c", WITH_PASSWORD, BEAT_MS);

    introduce_both(a, b);
    UNTIL(hears(a, "n2") && hears(b, "n1"));
    tell_member(a, NULL, NULL, false);
    tell_member(b, NULL, NULL, false);
    msec heard_ms = view_of(a, "n2")->heard_ms;
    UNTIL(view_of(a, "n2")->heard_ms > heard_ms + 5 * BEAT_MS);
}

static int free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    (void)close(fd);
    return ntohs(at.sin_port);
}

/* Another configuration, but for the name. */
static void reload(struct side *s, int port, const char *rest)
{
    AUTO(cstr) char *conf = str_fmt("%s}\npgkeep: {peer: {listen: '127.0.0.1:%d'}", rest, port);
    struct settings *old = s->settings;
    struct err err = {0};

    s->settings = settings_of(s->name, "c", conf);
    if (!mesh_configure(s->mesh, s->settings, &err))
        fail_msg("%s", err.text);
    settings_unref(old);
}

static void test_a_reload_moves_the_listener_and_the_others_find_it(void **state)
{
    struct side *a = agent(0, "n1", "c", WITH_PASSWORD, BEAT_MS);
    struct side *b = agent(1, "n2", "c", WITH_PASSWORD, BEAT_MS);
    int port = free_port();
    AUTO(cstr) char *address = str_fmt("127.0.0.1:%d", port);

    introduce_both(a, b);
    UNTIL(hears(a, "n2") && hears(b, "n1"));
    a->news = 0;
    reload(a, port, WITH_PASSWORD);
    assert_string_equal(mesh_address(a->mesh), address);
    assert_true(a->news > 0); /* it is to be published */
    introduce(b, a);
    msec moved_ms = loop_clock_ms();
    UNTIL(view_of(a, "n2")->heard_ms > moved_ms + 5 * BEAT_MS);
    assert_int_equal(logged("connected to the agent of n1"), 2);
}

static void test_an_address_that_is_taken_is_tried_again(void **state)
{
    struct side *a = agent(0, "n1", "c", WITH_PASSWORD, BEAT_MS);
    struct stream_listener *other;
    struct err err = {0};

    assert_true(stream_listen(loop, "127.0.0.1", 0, NULL, &mesh_stream_limits, NULL, NULL, &other, &err));
    int port = stream_listener_port(other);
    reload(a, port, WITH_PASSWORD);
    assert_null(mesh_address(a->mesh));
    pass(1200);
    assert_int_equal(logged("the other agents cannot tell us how they are"), 1);
    stream_listener_free(other);
    UNTIL(mesh_address(a->mesh));
}

/* ---- who is let in ---- */

static void assert_refused(const struct side *a, const struct side *b, const char *why)
{
    AUTO(cstr) char *by_us = str_fmt("the agent of %s at %s is refused: %s", a->name, mesh_address(a->mesh), why);
    AUTO(cstr) char *by_them = str_fmt("the agent of %s at %s refuses us: %s", a->name, mesh_address(a->mesh), why);
    AUTO(cstr) char *at_them = str_fmt("which says that it is the agent of %s, is refused: %s", b->name, why);

    introduce(b, a);
    UNTIL(logged(by_us) + logged(by_them) == 1 && logged(at_them) == 1);
    pass(2500); /* two more attempts, of which nobody is told again */
    assert_int_equal(logged(by_us) + logged(by_them), 1);
    assert_int_equal(logged(at_them), 1);
    assert_false(hears(a, b->name));
}

static void test_another_password_is_refused(void **state)
{
    struct side *a = agent(0, "n1", "c", WITH_PASSWORD, BEAT_MS);
    struct side *b = agent(1, "n2", "c", ", authentication: {username: u, password: other}", BEAT_MS);

    assert_refused(a, b, "other credentials in restapi.authentication");
}

static void test_without_a_password_nobody_comes_in_where_there_is_one(void **state)
{
    struct side *a = agent(0, "n1", "c", WITH_PASSWORD, BEAT_MS);
    struct side *b = agent(1, "n2", "c", "", BEAT_MS);

    assert_refused(a, b, "other credentials in restapi.authentication");
}

static void test_another_cluster_is_refused(void **state)
{
    struct side *a = agent(0, "n1", "one", WITH_PASSWORD, BEAT_MS);
    struct side *b = agent(1, "n2", "two", WITH_PASSWORD, BEAT_MS);

    introduce(b, a);
    UNTIL(logged("is refused: cluster /service/two/ is not cluster /service/one/") == 1);
    UNTIL(logged("cluster /service/one/ is not cluster /service/two/") == 1);
    pass(2500);
    assert_int_equal(logged("is refused: cluster"), 2); /* once on each side */
    assert_false(hears(a, "n2"));
}

static void test_another_database_system_is_refused(void **state)
{
    struct side *a = agent(0, "n1", "c", WITH_PASSWORD, BEAT_MS);
    struct side *b = agent(1, "n2", "c", WITH_PASSWORD, BEAT_MS);

    a->state.system_id = 1;
    introduce(b, a);
    UNTIL(hears(a, "n2"));
    b->state.system_id = 2; /* known only later */
    UNTIL(logged("system identifier 2 is not 1") >= 1);
    term promised = 3;
    b->state.promised = promised;
    pass(10 * BEAT_MS);
    assert_true(view_of(a, "n2")->state.promised != promised);
}

static void test_without_credentials_everybody_is_heard_and_that_is_said(void **state)
{
    struct side *a = agent(0, "n1", "c", "", BEAT_MS);
    struct side *b = agent(1, "n2", "c", "", BEAT_MS);

    introduce_both(a, b);
    UNTIL(hears(a, "n2") && hears(b, "n1"));
    assert_int_equal(logged("can speak as an agent of this cluster"), 2);
}

/* ---- TLS ---- */

static char *tls_conf(const struct tls_files *t, const char *cert, const char *key, bool ca, const char *more)
{
    return str_fmt(", certfile: %s, keyfile: %s%s%s%s", cert, key, ca ? ", cafile: " : "", ca ? t->ca : "", more);
}

static void test_certificates_of_one_authority_need_no_password(void **state)
{
    AUTO(tls_files) struct tls_files *t = tls_files_new();
    AUTO(cstr) char *one = tls_conf(t, t->cert, t->key, true, WITH_PASSWORD);
    AUTO(cstr) char *two = tls_conf(t, t->cert, t->key, true, "");
    struct side *a = agent(0, "n1", "c", one, BEAT_MS);
    struct side *b = agent(1, "n2", "c", two, BEAT_MS);

    introduce_both(a, b);
    UNTIL(hears(a, "n2") && hears(b, "n1"));
    assert_int_equal(logged("can speak as an agent of this cluster"), 0);
}

static void test_a_certificate_of_another_authority_is_refused(void **state)
{
    AUTO(tls_files) struct tls_files *t = tls_files_new();
    AUTO(cstr) char *one = tls_conf(t, t->cert, t->key, true, WITH_PASSWORD);
    AUTO(cstr) char *two = tls_conf(t, t->alien_cert, t->alien_key, true, WITH_PASSWORD);
    struct side *a = agent(0, "n1", "c", one, BEAT_MS);
    struct side *b = agent(1, "n2", "c", two, BEAT_MS);

    introduce_both(a, b);
    UNTIL(logged("no connection to the agent of n1") >= 1 && logged("no connection to the agent of n2") >= 1);
    pass(300);
    assert_false(hears(a, "n2"));
    assert_false(hears(b, "n1"));
}

static void test_tls_without_an_authority_needs_the_password(void **state)
{
    AUTO(tls_files) struct tls_files *t = tls_files_new();
    AUTO(cstr) char *right = tls_conf(t, t->cert, t->key, false, WITH_PASSWORD);
    AUTO(cstr)
    char *wrong = tls_conf(t, t->cert, t->key, false, ", authentication: {username: u, password: other}");
    struct side *a = agent(0, "n1", "c", right, BEAT_MS);
    struct side *b = agent(1, "n2", "c", right, BEAT_MS);
    struct side *c = agent(2, "n3", "c", wrong, BEAT_MS);

    introduce_both(a, b);
    UNTIL(hears(a, "n2") && hears(b, "n1"));
    introduce(c, a);
    UNTIL(logged("other credentials in restapi.authentication") >= 2);
    assert_false(hears(a, "n3"));
}

static void test_plain_connections_are_not_let_in_where_there_is_tls(void **state)
{
    AUTO(tls_files) struct tls_files *t = tls_files_new();
    AUTO(cstr) char *one = tls_conf(t, t->cert, t->key, true, WITH_PASSWORD);
    struct side *a = agent(0, "n1", "c", one, BEAT_MS);
    struct side *b = agent(1, "n2", "c", WITH_PASSWORD, BEAT_MS);

    tell_member(b, "n1", mesh_address(a->mesh), false);
    UNTIL(logged("no connection to the agent of n1") >= 1);
    assert_false(hears(a, "n2"));
}

static void test_a_reload_changes_certificates_and_keeps_connections(void **state)
{
    AUTO(tls_files) struct tls_files *t = tls_files_new();
    AUTO(cstr) char *conf = tls_conf(t, t->cert, t->key, true, "");
    struct side *a = agent(0, "n1", "c", conf, BEAT_MS);
    struct side *b = agent(1, "n2", "c", conf, BEAT_MS);
    struct err err = {0};

    introduce_both(a, b);
    UNTIL(hears(a, "n2") && hears(b, "n1"));
    tls_files_renew(t, "again");
    AUTO(cstr) char *address = str_dup(mesh_address(a->mesh));
    assert_true(mesh_configure(a->mesh, a->settings, &err));
    assert_string_equal(mesh_address(a->mesh), address);
    msec heard_ms = view_of(a, "n2")->heard_ms;
    UNTIL(view_of(a, "n2")->heard_ms > heard_ms + 3 * BEAT_MS);
    assert_int_equal(logged("connected to the agent of n1"), 1);

    struct side *c = agent(2, "n3", "c", conf, BEAT_MS);
    introduce(c, a);
    UNTIL(hears(a, "n3"));

    assert_int_equal(unlink(t->cert), 0);
    assert_false(mesh_configure(a->mesh, a->settings, &err)); /* and everything stays */
    side_free(c);
    heard_ms = view_of(a, "n2")->heard_ms;
    UNTIL(view_of(a, "n2")->heard_ms > heard_ms);
}

/* ---- a connection that the test makes itself ---- */

struct bare {
    struct stream *stream;
    bool opened, closed;
    struct buf got;
    struct peer_hello ours;
    unsigned char our_frame[PEER_HELLO_MAX], their_frame[PEER_HELLO_MAX];
    size_t our_len, their_len;
    struct peer_session *session;
    char refused[PEER_REASON_MAX];
};

static void bare_opened(void *arg)
{
    ((struct bare *)arg)->opened = true;
}

static void bare_received(struct span *bytes, void *arg)
{
    struct bare *b = arg;
    struct span all;

    assert_true(span_take(bytes, bytes->len, &all));
    buf_add(&b->got, all.at, all.len);
}

static void bare_closed(const struct err *why, void *arg)
{
    ((struct bare *)arg)->closed = true;
}

static const struct stream_events bare_events = {bare_opened, bare_received, NULL, bare_closed};

/* The next frame that the mesh sent; false: it has ended the connection. */
static bool bare_frame(struct bare *b, struct peer_frame *ret)
{
    for (;;) {
        struct span in = {(const unsigned char *)b->got.at, b->got.len};
        enum peer_result result = peer_frame_next(&in, ret);

        assert_int_not_equal(result, PEER_BAD);
        if (result == PEER_OK) {
            static unsigned char kept[PEER_FRAME_MAX];
            size_t len = ret->whole.len;
            memcpy(kept, ret->whole.at, len);
            memmove(b->got.at, b->got.at + len, b->got.len - len);
            b->got.len -= len;
            in = (struct span){kept, len};
            assert_int_equal(peer_frame_next(&in, ret), PEER_OK);
            if (ret->kind == PEER_REFUSAL)
                peer_refusal_read(ret->body, b->refused);
            return ret->kind != PEER_REFUSAL;
        }
        if (b->closed)
            return false;
        loop_turn(loop, 5);
    }
}

static void bare_connect(struct bare *b, const struct side *to)
{
    char *host;
    int port;
    AUTO(cstr) char *url = str_fmt("agent://%s", mesh_address(to->mesh));

    *b = (struct bare){0};
    assert_true(url_host_port(url, &host, &port));
    b->stream = stream_connect(loop, host, port, NULL, NULL, &mesh_stream_limits, &bare_events, b);
    free(host);
    UNTIL(b->opened);
}

/* As `from`, with a password. False: refused. */
static bool bare_handshake(struct bare *b, const struct side *to, const char *from, const char *password)
{
    unsigned char mac[PEER_MAC];
    unsigned char proof[PEER_PROOF_FRAME];
    struct peer_frame frame;

    bare_connect(b, to);
    b->ours = (struct peer_hello){.version = 1, .oldest = 1};
    str_copy(b->ours.cluster, sizeof(b->ours.cluster), "/service/c/");
    str_copy(b->ours.from, sizeof(b->ours.from), from);
    str_copy(b->ours.to, sizeof(b->ours.to), to->name);
    b->our_len = peer_hello_frame(&b->ours, b->our_frame);
    assert_true(stream_send(b->stream, b->our_frame, b->our_len));
    if (!bare_frame(b, &frame))
        return false;
    memcpy(b->their_frame, frame.whole.at, frame.whole.len);
    b->their_len = frame.whole.len;
    struct span ours = {b->our_frame, b->our_len};
    struct span theirs = {b->their_frame, b->their_len};
    peer_secret(PEER_OF_CONNECTOR, password, ours, theirs, mac);
    peer_proof_frame(mac, proof);
    assert_true(stream_send(b->stream, proof, sizeof(proof)));
    if (!bare_frame(b, &frame))
        return false;
    peer_secret(PEER_OF_ACCEPTOR, password, ours, theirs, mac);
    assert_true(peer_proof_is(frame.body, mac));
    peer_secret(PEER_OF_SESSION, password, ours, theirs, mac);
    b->session = peer_session_new(mac);
    return true;
}

static void bare_deinit(struct bare *b)
{
    stream_free(b->stream);
    peer_session_free(b->session);
    buf_deinit(&b->got);
}

static size_t bare_state(const struct bare *b, const char *name, uint64_t boot, uint64_t seq, unsigned char *ret_frame)
{
    unsigned char message[PEER_STATE_MAX];
    struct peer_state s;

    peer_state_init(&s);
    str_copy(s.name, sizeof(s.name), name);
    s.boot = boot;
    s.seq = seq;
    s.promised = seq;
    struct span encoded = {message, peer_encode(&s, message)};
    return peer_state_frame(b->session, encoded, ret_frame);
}

static void assert_ended(struct bare *b, const char *why)
{
    struct peer_frame frame;

    while (bare_frame(b, &frame))
        ;
    assert_string_equal(b->refused, why);
    UNTIL(b->closed);
    bare_deinit(b);
}

static void test_a_replayed_message_ends_the_connection(void **state)
{
    struct side *a = agent(0, "n1", "c", WITH_PASSWORD, BEAT_MS);
    unsigned char frame[PEER_FRAME_MAX];
    struct bare b;

    assert_true(bare_handshake(&b, a, "n2", "u:secret"));
    size_t len = bare_state(&b, "n2", 1, 5, frame);
    assert_true(stream_send(b.stream, frame, len));
    UNTIL(hears(a, "n2"));
    assert_true(stream_send(b.stream, frame, len));
    assert_ended(&b, "a message that is not the next one of this connection");
}

static void test_a_message_of_another_connection_ends_this_one(void **state)
{
    struct side *a = agent(0, "n1", "c", WITH_PASSWORD, BEAT_MS);
    unsigned char frame[PEER_FRAME_MAX];
    struct bare b;
    struct bare again;

    assert_true(bare_handshake(&b, a, "n2", "u:secret"));
    size_t len = bare_state(&b, "n2", 1, 5, frame);
    assert_true(bare_handshake(&again, a, "n2", "u:secret"));
    UNTIL(b.closed); /* it was replaced */
    bare_deinit(&b);
    assert_true(stream_send(again.stream, frame, len));
    assert_ended(&again, "a message that is not the next one of this connection");
    assert_false(hears(a, "n2"));
}

static void test_a_recorded_handshake_is_worth_nothing(void **state)
{
    struct side *a = agent(0, "n1", "c", WITH_PASSWORD, BEAT_MS);
    struct peer_frame frame;
    unsigned char mac[PEER_MAC];
    unsigned char proof[PEER_PROOF_FRAME];
    struct bare b;
    struct bare again;

    assert_true(bare_handshake(&b, a, "n2", "u:secret"));
    peer_secret(PEER_OF_CONNECTOR, "u:secret", (struct span){b.our_frame, b.our_len},
                (struct span){b.their_frame, b.their_len}, mac);
    peer_proof_frame(mac, proof);
    bare_connect(&again, a);
    assert_true(stream_send(again.stream, b.our_frame, b.our_len));
    assert_true(bare_frame(&again, &frame));
    assert_true(stream_send(again.stream, proof, sizeof(proof)));
    assert_ended(&again, "other credentials in restapi.authentication");
    bare_deinit(&b);
}

static void test_nobody_speaks_in_the_name_of_another(void **state)
{
    struct side *a = agent(0, "n1", "c", WITH_PASSWORD, BEAT_MS);
    unsigned char frame[PEER_FRAME_MAX];
    struct bare b;

    assert_true(bare_handshake(&b, a, "n2", "u:secret"));
    assert_true(stream_send(b.stream, frame, bare_state(&b, "n3", 1, 5, frame)));
    assert_ended(&b, "a message in the name of another");
    assert_false(hears(a, "n3"));
}

static void test_what_is_older_is_dropped_and_a_new_agent_begins_anew(void **state)
{
    struct side *a = agent(0, "n1", "c", WITH_PASSWORD, BEAT_MS);
    unsigned char frame[PEER_FRAME_MAX];
    struct bare b;

    assert_true(bare_handshake(&b, a, "n2", "u:secret"));
    assert_true(stream_send(b.stream, frame, bare_state(&b, "n2", 1, 5, frame)));
    UNTIL(hears(a, "n2") && view_of(a, "n2")->state.seq == 5);
    msec heard_ms = view_of(a, "n2")->heard_ms;
    pass(20);
    assert_true(stream_send(b.stream, frame, bare_state(&b, "n2", 1, 4, frame)));
    pass(50);
    assert_int_equal(view_of(a, "n2")->state.seq, 5);
    assert_int_equal(view_of(a, "n2")->heard_ms, heard_ms);
    a->news = 0;
    assert_true(stream_send(b.stream, frame, bare_state(&b, "n2", 2, 1, frame)));
    UNTIL(view_of(a, "n2")->state.seq == 1);
    assert_int_equal(a->news, 1);
    bare_deinit(&b);
}

static void test_what_is_no_agent_is_refused(void **state)
{
    struct side *a = agent(0, "n1", "c", WITH_PASSWORD, BEAT_MS);
    struct bare b;

    bare_connect(&b, a);
    assert_true(stream_send(b.stream, "GET / HTTP/1.1\r\n\r\n", 18));
    assert_ended(&b, "not understood");
    assert_int_equal(logged("is refused: not understood"), 1);
}

static void test_who_does_not_shake_hands_is_let_go(void **state)
{
    struct side *a = agent(0, "n1", "c", WITH_PASSWORD, BEAT_MS);
    struct bare b;

    bare_connect(&b, a);
    msec from_ms = loop_clock_ms();
    UNTIL(b.closed);
    assert_true(loop_clock_ms() - from_ms < MESH_HANDSHAKE_MS + 1000);
    bare_deinit(&b);
}

static void test_the_house_is_never_full_of_strangers(void **state)
{
    enum { STRANGERS = 2 * HA_PEERS_MAX + 10 };
    struct side *a = agent(0, "n1", "c", WITH_PASSWORD, BEAT_MS);
    struct side *b = agent(1, "n2", "c", WITH_PASSWORD, BEAT_MS);
    static struct bare strangers[STRANGERS];

    for (int i = 0; i < STRANGERS; i++)
        bare_connect(&strangers[i], a);
    introduce(b, a);
    msec from_ms = loop_clock_ms();
    UNTIL(hears(a, "n2"));
    assert_true(loop_clock_ms() - from_ms < MESH_HANDSHAKE_MS / 2);
    for (int i = 0; i < STRANGERS; i++)
        bare_deinit(&strangers[i]);
}

/* The other side of a connection that the mesh makes: shakes hands, then reads no more. */
static void test_a_peer_that_does_not_read_is_dropped(void **state)
{
    struct side *a = agent(0, "n1", "c", WITH_PASSWORD, 2);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    const int small = 4096;
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unsigned char theirs[PEER_HELLO_MAX];
    unsigned char ours[PEER_HELLO_MAX];
    unsigned char mac[PEER_MAC];
    unsigned char proof[PEER_PROOF_FRAME];
    struct peer_hello hello = {.version = 1, .oldest = 1, .cluster = "/service/c/", .from = "n2", .to = "n1"};
    struct peer_frame frame;

    (void)setsockopt(listening, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    assert_int_equal(bind(listening, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&at, &len), 0);
    AUTO(cstr) char *address = str_fmt("127.0.0.1:%d", ntohs(at.sin_port));
    tell_member(a, "n2", address, false);
    pass(50);
    int fd = accept(listening, NULL, NULL);
    assert_true(fd >= 0);
    pass(50);
    ssize_t got = recv(fd, theirs, sizeof(theirs), 0);
    assert_true(got > 0);
    struct span in = {theirs, (size_t)got};
    assert_int_equal(peer_frame_next(&in, &frame), PEER_OK);
    size_t our_len = peer_hello_frame(&hello, ours);
    assert_int_equal(send(fd, ours, our_len, 0), our_len);
    peer_secret(PEER_OF_ACCEPTOR, "u:secret", (struct span){theirs, (size_t)got}, (struct span){ours, our_len}, mac);
    peer_proof_frame(mac, proof);
    assert_int_equal(send(fd, proof, sizeof(proof), 0), sizeof(proof));
    UNTIL(logged("connected to the agent of n2") == 1);
    UNTIL(logged("no connection to the agent of n2") == 1);
    (void)close(fd);
    (void)close(listening);
}

/* ---- what it costs ---- */

/* Of this thread, in ms. */
static double cpu_ms(void)
{
    struct rusage u;

    (void)getrusage(RUSAGE_THREAD, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e3 +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e3;
}

/* Five agents in one thread: a fifth of what they take together is what one takes with four peers. */
static void test_a_heartbeat_costs_next_to_nothing(void **state)
{
    enum { AGENTS = 5, SECONDS = 3 };
    char name[8];

    for (int i = 0; i < AGENTS; i++) {
        (void)snprintf(name, sizeof(name), "n%d", i + 1);
        (void)agent(i, name, "c", WITH_PASSWORD, profile_of(PROFILE_FAST)->beat_ms);
    }
    for (int i = 0; i < AGENTS; i++) {
        struct cluster_key keys[AGENTS];

        for (int j = 0; j < AGENTS; j++)
            add_member(&keys[j], sides[j].name, mesh_address(sides[j].mesh), false);
        struct cluster *c = cluster_read(keys, AGENTS, 1);
        mesh_members(sides[i].mesh, c);
        cluster_free(c);
        for (int j = 0; j < AGENTS; j++) {
            free((char *)keys[j].name);
            free((char *)keys[j].value);
        }
    }
    for (int i = 0; i < AGENTS; i++)
        for (int j = 0; j < AGENTS; j++)
            UNTIL(i == j || hears(&sides[i], sides[j].name));
    double before = cpu_ms();
    msec until_ms = loop_clock_ms() + SECONDS * 1000;
    while (loop_clock_ms() < until_ms)
        loop_turn(loop, 1000);
    double percent = (cpu_ms() - before) / AGENTS / (SECONDS * 1000.0) * 100;
    print_message("one agent with %d peers: %.3f %% of a core\n", AGENTS - 1, percent);
#ifndef __SANITIZE_ADDRESS__
    assert_true(percent < 1); /* a third of that, measured; a busy machine may double it */
#endif
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_agents_hear_each_other),
        CASE(test_a_grant_counts_from_our_own_message),
        CASE(test_news_is_told_at_once_and_wakes),
        CASE(test_what_moves_comes_with_the_heartbeat_and_does_not_wake),
        CASE(test_another_heartbeat_is_told_at_once_and_kept),
        CASE(test_silence_grows_and_a_lost_connection_says_nothing),
        CASE(test_one_way_silence_is_seen_on_one_side),
        CASE(test_our_own_standstill_is_nobodys_silence),
        CASE(test_a_connection_that_breaks_is_made_again),
        CASE(test_who_is_gone_from_the_store_is_still_talked_to),
        CASE(test_a_reload_moves_the_listener_and_the_others_find_it),
        CASE(test_an_address_that_is_taken_is_tried_again),
        CASE(test_another_password_is_refused),
        CASE(test_without_a_password_nobody_comes_in_where_there_is_one),
        CASE(test_another_cluster_is_refused),
        CASE(test_another_database_system_is_refused),
        CASE(test_without_credentials_everybody_is_heard_and_that_is_said),
        CASE(test_certificates_of_one_authority_need_no_password),
        CASE(test_a_certificate_of_another_authority_is_refused),
        CASE(test_tls_without_an_authority_needs_the_password),
        CASE(test_plain_connections_are_not_let_in_where_there_is_tls),
        CASE(test_a_reload_changes_certificates_and_keeps_connections),
        CASE(test_a_replayed_message_ends_the_connection),
        CASE(test_a_message_of_another_connection_ends_this_one),
        CASE(test_a_recorded_handshake_is_worth_nothing),
        CASE(test_nobody_speaks_in_the_name_of_another),
        CASE(test_what_is_older_is_dropped_and_a_new_agent_begins_anew),
        CASE(test_what_is_no_agent_is_refused),
        CASE(test_who_does_not_shake_hands_is_let_go),
        CASE(test_the_house_is_never_full_of_strangers),
        CASE(test_a_peer_that_does_not_read_is_dropped),
        CASE(test_a_heartbeat_costs_next_to_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
