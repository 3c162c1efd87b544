/*
 * A frozen node's file keeps an empty primary_conninfo, whichever part of the agent writes it. (Clone and rewind, which
 * write it on their own, are shown on real servers in test/unit/pg.)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "app/agent/act.h"
#include "app/agent/config.h"
#include "app/agent/guard_link.h"
#include "app/agent/jobs.h"
#include "app/agent/local.h"
#include "app/agent/quorum.h"
#include "app/agent/registry.h"
#include "app/agent/upkeep.h"
#include "base/str.h"
#include "io/loop.h"
#include "pg/file.h"
#include "pg/names.h"
#include "pg/probe.h"
#include "pg/promise.h"
#include "store/store.h"
#include "test/lib/mem_store.h"
#include "test/unit/pg/config.h"
#include "wire/guard.h"

enum { PATIENCE_MS = 10000, BUDGET_MS = 300 };

#define PREFIX "/service/test/"

/* ---- a server that answers what a test says ---- */

struct probe {
    probe_fn *fn;
    void *arg;
};

static struct probe probe;

struct probe *probe_new(struct loop *l, const struct sql_target *target, probe_fn *fn, void *arg)
{
    probe = (struct probe){.fn = fn, .arg = arg};
    return &probe;
}

void probe_free(struct probe *p)
{
    (void)p;
}

void probe_set_replication(struct probe *p, const struct sql_target *target)
{
    (void)p;
}

void probe_ask(struct probe *p, msec budget_ms)
{
    (void)p;
}

void probe_ask_in_brief(struct probe *p, msec budget_ms)
{
    (void)p;
}

void probe_pulse(struct probe *p)
{
}

bool probe_asking(const struct probe *p)
{
    return false;
}

void probe_reset(struct probe *p, const struct sql_target *target)
{
    (void)p;
}

msec probe_silent_since(const struct probe *p)
{
    return MSEC_NEVER;
}

/* ---- an agent: the parts that write files, and what they look at ---- */

static struct mem_server *server;
static struct store *store;
static char *folder;
static struct config config;
static struct agent a;
static int guard_end;

static void changed(void *arg)
{
    (void)arg;
}

static void put_done(const struct store_result *result, void *arg)
{
    *(bool *)arg = result->status == STORE_DONE;
}

static void put(const char *key, const char *value)
{
    struct store_op op = {.kind = STORE_PUT, .key = key, .value = value};
    struct store_txn txn = {.then = &op, .then_count = 1};
    msec end_ms = loop_clock_ms() + PATIENCE_MS;
    bool done = false;

    store_txn(store, &txn, BUDGET_MS, put_done, &done);
    while (!done && loop_clock_ms() < end_ms)
        loop_turn(a.loop, 20);
    assert_true(done);
}

static void make_registry(void)
{
    msec end_ms = loop_clock_ms() + PATIENCE_MS;

    a.registry = registry_new(a.loop, store, PREFIX, changed, NULL);
    registry_start(a.registry, 60000, BUDGET_MS);
    while (!registry_cluster(a.registry) && loop_clock_ms() < end_ms)
        loop_turn(a.loop, 20);
    const struct cluster *c = registry_cluster(a.registry);
    assert_true(c && cluster_member(c, "n2"));
}

static void make_guard(void)
{
    static const struct guard_link_events none;
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    guard_end = ends[1];
    assert_true(guard_link_open_fd(a.loop, ends[0], 0, config.instance->data_dir, &none, NULL, &a.guard, NULL));
}

static int setup(void **state)
{
    folder = config_folder();
    AUTO(cstr) char *yaml = config_yaml("n1", folder, 5440, "");
    config = config_make(yaml, "{\"postgresql\": {\"parameters\": {\"restore_command\": \"fetch %f %p\"}}}");
    config.instance->major = 15;
    assert_int_equal(mkdir(config.instance->data_dir, 0700), 0);
    a = (struct agent){
        .loop = loop_new(), .settings = config.settings, .dynamic = config.dynamic, .instance = config.instance};
    server = mem_server_new(a.loop);
    a.store = store = mem_store_new(server);
    put(PREFIX "members/n2", "{\"conn_url\":\"postgres://10.9.8.7:5432/postgres\",\"role\":\"primary\"}");
    make_registry();
    a.local = local_new(a.loop, changed, NULL);
    local_instance(a.local, a.instance);
    a.jobs = jobs_new(&a);
    make_guard();
    return 0;
}

static int teardown(void **state)
{
    jobs_free(a.jobs);
    guard_link_free(a.guard);
    assert_int_equal(close(guard_end), 0);
    local_free(a.local);
    upkeep_cancel(&a);
    store_free(store);
    registry_free(a.registry);
    mem_server_free(server);
    loop_free(a.loop);
    config_free(&config);
    config_remove_folder(folder);
    return 0;
}

/* ---- the writers ---- */

static void write_by_follow(void)
{
    struct ha_action follow = {.kind = HA_DO_FOLLOW};

    str_copy(follow.subject, sizeof(follow.subject), "n2");
    a.executing = true;
    act(&a, &follow);
    assert_false(a.executing);
}

static void write_by_start(void)
{
    struct ha_action start = {.kind = HA_DO_START_JOB, .job = HA_JOB_START, .start = HA_START_STANDBY};

    str_copy(start.subject, sizeof(start.subject), "n2");
    jobs_begin(a.jobs, &start);
    jobs_cancel(a.jobs);
}

/* A reload, or a change of the dynamic configuration, while the server runs. */
static void write_by_upkeep(void)
{
    const struct guard_msg guard = {.pg_state = GUARD_PG_RUNNING, .postmaster_pid = 1};
    struct probe_answer answer = {.status = SQL_DONE, .take_facts = mem_zero(1, sizeof(struct pg_facts))};

    local_guard_state(a.local, &guard);
    answer.take_facts->in_recovery = true;
    answer.take_facts->timeline = 1;
    probe.fn(&answer, probe.arg);
    local_attached(a.local, "n2", "host=10.9.8.7");
    a.reload_needed = true;
    a.slots_not_before_ms = a.keys_not_before_ms = MSEC_NEVER;
    (void)upkeep(&a); /* when it is to be called again */
    assert_false(a.reload_needed);
}

static bool has(const char *text, const char *line)
{
    AUTO(cstr) char *whole = str_fmt("\n%s\n", line);

    return text && strstr(text, whole);
}

static void writes_only_what_the_promise_allows(void (*write)(void))
{
    const char *path = a.instance->config_file;

    write();
    AUTO(cstr) char *thawed = config_slurp(path);
    assert_non_null(thawed);
    assert_non_null(strstr(thawed, "10.9.8.7"));
    assert_true(has(thawed, "restore_command = 'fetch %f %p'"));

    a.freeze = (struct conf_freeze){.frozen = true, .names_floor = NAMES_FENCE};
    write();
    AUTO(cstr) char *frozen = config_slurp(path);
    assert_null(strstr(frozen, "10.9.8.7"));
    assert_true(has(frozen, "primary_conninfo = ''"));
    assert_true(has(frozen, "restore_command = ''"));
    assert_true(has(frozen, "synchronous_standby_names = '__fence__'"));
}

static void test_follow_writes_no_upstream_while_frozen(void **state)
{
    writes_only_what_the_promise_allows(write_by_follow);
}

static void test_a_start_writes_no_upstream_while_frozen(void **state)
{
    writes_only_what_the_promise_allows(write_by_start);
}

static void test_a_reload_writes_no_upstream_while_frozen(void **state)
{
    writes_only_what_the_promise_allows(write_by_upkeep);
}

/* Whoever held the list, and in whatever way it ended: the server starts with the floor. */
static void test_a_start_removes_the_list(void **state)
{
    AUTO(cstr) char *list = names_path(a.instance);

    config_spill(list, "synchronous_standby_names = 'ANY 1 (n2)'\n");
    write_by_start();
    assert_false(file_exists(list));
}

static void test_a_start_gives_a_directory_of_unknown_origin_an_incarnation(void **state)
{
    struct datadir_state s;

    write_by_start();
    datadir_look(a.instance->data_dir, a.instance->state_dir, &s, NULL);
    uint64_t first = s.incarnation;
    assert_true(first != 0);
    write_by_start();
    datadir_look(a.instance->data_dir, a.instance->state_dir, &s, NULL);
    assert_true(s.incarnation == first);
}

/* ---- the promise itself ---- */

static struct ha_promise promised(void)
{
    struct ha_view v = {0};

    quorum_view(a.quorum, &v);
    return v.quorum.promise;
}

static void promise(term t, term settled)
{
    struct ha_plan p = {.promise = {.term = t, .settled = settled}};
    msec again_ms = MSEC_NEVER;

    str_copy(p.promise.to, sizeof(p.promise.to), "n2#1");
    (void)quorum_carry_out(a.quorum, &p, &again_ms);
}

/*
 * What was promised is not forgotten with the folder that it stands in: it would end a freeze that nobody elected over.
 */
static void test_a_promise_outlives_its_file(void **state)
{
    const char *dir = a.settings->pgkeep.state_dir;
    AUTO(cstr) char *file = str_fmt("%s/promise", dir);
    struct promise on_disk;

    (void)mkdir(dir, 0700);
    a.quorum = quorum_new(&a);
    promise(6, 5);
    assert_int_equal(promised().term, 6);

    /* The file is gone, and something else is noted in its place: it is written again. */
    assert_int_equal(unlink(file), 0);
    assert_true(promise_note_timeline(dir, 3, NULL));
    promise(5, 5); /* refused; and the file is read */
    assert_true(promised().known);
    assert_int_equal(promised().term, 6);
    assert_int_equal(promise_read(dir, &on_disk, NULL), PROMISE_READ);
    assert_int_equal(on_disk.term, 6);
    assert_int_equal(on_disk.settled, 5);

    /* It cannot be read or written any more: known all the same, and nothing newer is promised. */
    assert_int_equal(unlink(file), 0);
    assert_int_equal(mkdir(file, 0700), 0);
    promise(7, 5);
    assert_true(promised().known);
    assert_int_equal(promised().term, 6);
    assert_int_equal(rmdir(file), 0);

    /* An agent that comes up so knows of none. */
    quorum_free(a.quorum);
    assert_int_equal(mkdir(file, 0700), 0);
    a.quorum = quorum_new(&a);
    assert_false(promised().known);
    assert_int_equal(rmdir(file), 0);
    quorum_free(a.quorum);
    a.quorum = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_promise_outlives_its_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_follow_writes_no_upstream_while_frozen, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_start_writes_no_upstream_while_frozen, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_reload_writes_no_upstream_while_frozen, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_start_removes_the_list, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_start_gives_a_directory_of_unknown_origin_an_incarnation, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
