#include "pair.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/str.h"
#include "pg/names.h"
#include "pg/passfile.h"

const struct conf_freeze floor_only = {.names_floor = NAMES_FENCE};
const struct conf_freeze under_promise = {.frozen = true, .names_floor = NAMES_FENCE};

struct loop *l;
struct live n1, n2;

/* ---- the list ---- */

struct reloading {
    bool done;
    struct reload_result result;
};

static void reloaded(const struct reload_result *result, void *arg)
{
    struct reloading *a = arg;

    a->done = true;
    a->result = *result;
    sql_free(result->take_sql);
}

struct reload_result load_names(const char *list)
{
    struct reloading a = {0};
    struct reload_job *job;
    struct err err = {0};

    if (!names_load(l, n1.config.instance, n1.pid, list, BUDGET_MS, reloaded, &a, &job, &err))
        fail_msg("%s", err.text);
    live_wait(l, &a.done, "the list");
    return a.result;
}

struct reload_result drop_names(msec budget_ms)
{
    struct reloading a = {0};
    struct reload_job *job;
    struct err err = {0};

    if (!names_drop(l, n1.config.instance, n1.pid, budget_ms, reloaded, &a, &job, &err))
        fail_msg("%s", err.text);
    live_wait(l, &a.done, "the floor");
    return a.result;
}

void must_load(const char *list)
{
    struct reload_result r = load_names(list);

    if (!r.proved)
        fail_msg("%s", r.err.text);
}

void must_drop(void)
{
    struct reload_result r = drop_names(BUDGET_MS);

    if (!r.proved)
        fail_msg("%s", r.err.text);
}

/* ---- the pair ---- */

void write_files(struct live *n, enum conf_role role, const struct live *upstream, const struct conf_freeze *freeze)
{
    AUTO(cstr) char *conninfo = upstream ? primary_conninfo(n->config.instance, "127.0.0.1", upstream->port) : NULL;
    struct conf_input in = {.instance = n->config.instance, .role = role, .primary_conninfo = conninfo};
    struct findings findings = {0};
    struct conf_result result;
    struct err err = {0};

    conffile_hold(&in, freeze);
    if (!conffile_write(&in, &result, &findings, &err))
        fail_msg("%s", err.text);
    findings_deinit(&findings);
    if (n->postmaster)
        assert_int_equal(kill(n->pid, SIGHUP), 0);
}

void level(void)
{
    AUTO(cstr) char *at = live_query(&n1, "SELECT pg_current_wal_lsn()");
    AUTO(cstr) char *question = str_fmt("SELECT pg_last_wal_replay_lsn() >= '%s'", at);

    live_query_until(&n2, question, "t");
}

void thaw(void)
{
    write_files(&n2, CONF_STANDBY, &n1, &floor_only);
    live_query_until(&n2, "SELECT status FROM pg_stat_wal_receiver", "streaming");
    live_query_until(&n1, "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'n2'", "1");
    level();
}

int start_pair(void **state)
{
    static const char more[] =
        "  pg_hba: ['local all all trust', 'local replication all trust', 'host all all 127.0.0.1/32 trust',"
        " 'host replication all 127.0.0.1/32 trust']\n";
    static const char dynamic[] =
        "{\"postgresql\":{\"parameters\":{\"max_standby_streaming_delay\":\"-1\",\"restore_command\":\"false\"}}}";

    l = loop_new();
    live_new(&n1, l, "n1", more, dynamic);
    live_bootstrap(&n1);
    live_new(&n2, l, "n2", more, dynamic);
    live_clone(&n2, &n1);
    live_start(&n2, &n1);
    write_files(&n1, CONF_PRIMARY, NULL, &floor_only);
    live_query_until(&n1, "SHOW synchronous_standby_names", NAMES_FENCE);
    thaw();
    return 0;
}

int stop_pair(void **state)
{
    live_free(&n2);
    live_free(&n1);
    loop_free(l);
    return 0;
}

/* ---- clients ---- */

static void client_done(const struct sql_result *result, void *arg)
{
    struct client *c = arg;

    c->done = true;
    c->status = result->status;
}

void client_start(struct client *c, struct live *n, const char *text)
{
    struct sql_target target = pg_instance_local(n->config.instance, NULL);
    struct sql_statement statement = {.text = text};

    *c = (struct client){.sql = sql_new(l, &target)};
    sql_run(c->sql, &statement, 1, 60000, client_done, c);
}

void client_end(struct client *c)
{
    sql_free(c->sql);
    c->sql = NULL;
}

void spend(msec ms)
{
    msec until_ms = loop_clock_ms() + ms;

    while (loop_clock_ms() < until_ms)
        loop_turn(l, 10);
}

bool is_acknowledged_within(struct client *c, msec ms)
{
    msec until_ms = loop_clock_ms() + ms;

    while (!c->done && loop_clock_ms() < until_ms)
        loop_turn(l, 10);
    return c->done && c->status == SQL_DONE;
}

/* A commit now is not acknowledged; it is taken back. */
void nothing_is_acknowledged(void)
{
    struct client c;

    client_start(&c, &n1, "INSERT INTO public.t VALUES (0)");
    assert_false(is_acknowledged_within(&c, HOLD_MS));
    client_end(&c);
}

void a_commit_is_acknowledged(void)
{
    struct client c;

    client_start(&c, &n1, "INSERT INTO public.t VALUES (1)");
    assert_true(is_acknowledged_within(&c, 20000));
    client_end(&c);
}

int number(struct live *n, const char *sql)
{
    AUTO(cstr) char *text = live_query(n, sql);

    return text ? atoi(text) : 0;
}

char *data_file(const struct live *n, const char *name)
{
    return str_fmt("%s/%s", n->config.instance->data_dir, name);
}
