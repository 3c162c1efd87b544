/* One real server: bootstrap, SQL, probe, slots, promotion's files, silence and refusal. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "io/child.h"
#include "live.h"
#include "pg/datadir.h"
#include "pg/guc.h"
#include "pg/guc_table.h"
#include "pg/initdb.h"
#include "pg/slots.h"
#include "wire/conf/settings.h"

static struct loop *l;
static struct live n1;

static int start_all(void **state)
{
    l = loop_new();
    live_new(&n1, l, "n1", NULL, "{\"postgresql\":{\"parameters\":{\"max_connections\":50}}}");
    live_bootstrap(&n1);
    return 0;
}

static int stop_all(void **state)
{
    live_free(&n1);
    loop_free(l);
    return 0;
}

/* ---- bootstrap ---- */

static void test_users_have_what_they_need_and_no_more(void **state)
{
    AUTO(cstr)
    char *super = live_query(&n1, "SELECT rolsuper AND rolcanlogin FROM pg_authid WHERE rolname = 'postgres'");
    AUTO(cstr)
    char *replication = live_query(
        &n1, "SELECT rolreplication AND NOT rolsuper AND rolcanlogin FROM pg_authid WHERE rolname = 'replicator'");
    AUTO(cstr)
    char *rewind =
        live_query(&n1, "SELECT NOT rolreplication AND NOT rolsuper AND rolcanlogin"
                        " AND has_function_privilege('rewinder', 'pg_ls_dir(text, boolean, boolean)', 'execute')"
                        " AND has_function_privilege('rewinder', 'pg_stat_file(text, boolean)', 'execute')"
                        " AND has_function_privilege('rewinder', 'pg_read_binary_file(text)', 'execute')"
                        " AND has_function_privilege('rewinder', 'pg_read_binary_file(text, bigint, bigint, boolean)',"
                        " 'execute') FROM pg_authid WHERE rolname = 'rewinder'");
    AUTO(cstr) char *scram = live_query(&n1, "SELECT count(*) FROM pg_authid WHERE rolpassword LIKE 'SCRAM-SHA-256$%'");

    assert_string_equal(super, "t");
    assert_string_equal(replication, "t");
    assert_string_equal(rewind, "t");
    assert_string_equal(scram, "3");
}

static void test_the_directory_is_a_data_directory_with_our_files(void **state)
{
    struct datadir_state s;
    const struct pg_instance *i = n1.config.instance;

    datadir_look(i->data_dir, i->state_dir, &s, NULL);
    assert_int_equal(s.kind, DATADIR_VALID);
    assert_int_equal(s.postmaster_pid, n1.pid);
    assert_int_equal(i->major, s.major);
    AUTO(cstr) char *base = config_slurp(i->base_config_file);
    assert_non_null(strstr(base, "# PostgreSQL configuration file"));
    AUTO(cstr) char *pwfile = str_fmt("%s/initdb.pwfile", i->state_dir);
    assert_false(file_exists(pwfile));
}

static void test_a_second_bootstrap_is_refused(void **state)
{
    struct bootstrap_job *job;
    struct err err;

    assert_false(bootstrap_create(l, n1.config.instance, NULL, NULL, &job, &err));
    assert_int_equal(err.code, ERR_CONFLICT);
}

/* ---- SQL ---- */

struct answer {
    bool done;
    enum sql_status status;
    struct err err;
    char sqlstate[6];
    int rows_count, failed_i, version;
    char *cells[8]; /* first cell of each statement; NULL where there is none */
    char *failure;  /* of the first may_fail that did */
};

static void answered(const struct sql_result *r, void *arg)
{
    struct answer *a = arg;

    a->done = true;
    a->status = r->status;
    a->err = r->err;
    str_copy(a->sqlstate, sizeof(a->sqlstate), r->sqlstate);
    a->rows_count = r->rows_count;
    a->failed_i = r->failed_i;
    a->version = r->server_version;
    for (int i = 0; i < r->rows_count && i < 8; i++) {
        if (r->rows[i].row_count && r->rows[i].column_count)
            a->cells[i] = str_dup(sql_cell(&r->rows[i], 0, 0));
        if (r->rows[i].failed && !a->failure)
            a->failure = str_dup(sql_failure(&r->rows[i]));
    }
}

static void answer_deinit(struct answer *a)
{
    for (size_t i = 0; i < ARRAY_LEN(a->cells); i++)
        free(a->cells[i]);
    free(a->failure);
    *a = (struct answer){0};
}

static void test_a_list_runs_in_order_with_parameters(void **state)
{
    const char *params[] = {"4'2", NULL};
    struct sql_statement list[] = {
        {.text = "SELECT $1::text", .params = params, .param_count = 1},
        {.text = "SELECT $1::text IS NULL", .params = params + 1, .param_count = 1},
        {.text = "SELECT current_setting('statement_timeout')"},
        {.text = "SELECT NULL"},
    };
    struct sql_target target = pg_instance_local(n1.config.instance, NULL);
    struct answer a = {0};

    (void)sql_once(l, &target, list, 4, 7000, answered, &a);
    assert_false(a.done);
    live_wait(l, &a.done, "the list");
    assert_int_equal(a.status, SQL_DONE);
    assert_int_equal(a.rows_count, 4);
    assert_string_equal(a.cells[0], "4'2");
    assert_string_equal(a.cells[1], "t");
    assert_string_equal(a.cells[2], "7s");
    assert_null(a.cells[3]);
    assert_true(a.version >= 140000);
    answer_deinit(&a);
}

static void test_a_failure_ends_the_list_unless_it_may_fail(void **state)
{
    struct sql_statement list[] = {{.text = "SELECT 1/0", .may_fail = true},
                                   {.text = "SELECT 1"},
                                   {.text = "SELECT nonsense"},
                                   {.text = "SELECT 2"}};
    struct sql_target target = pg_instance_local(n1.config.instance, NULL);
    struct answer a = {0};

    AUTO(sql) struct sql *s = sql_new(l, &target);
    sql_run(s, list, 4, 5000, answered, &a);
    assert_true(sql_busy(s));
    live_wait(l, &a.done, "the list");
    assert_int_equal(a.status, SQL_FAILED);
    assert_int_equal(a.failed_i, 2);
    assert_int_equal(a.rows_count, 2);
    assert_string_equal(a.sqlstate, "42703");
    assert_string_equal(a.failure, "division by zero");
    assert_string_equal(a.cells[1], "1");
    answer_deinit(&a);

    /* The connection goes on. */
    sql_run(s, list + 1, 1, 5000, answered, &a);
    live_wait(l, &a.done, "the second list");
    assert_int_equal(a.status, SQL_DONE);
    answer_deinit(&a);
}

static void test_a_deadline_ends_a_statement_that_hangs(void **state)
{
    struct sql_statement hang = {.text = "SELECT pg_sleep(30)"};
    struct sql_statement quick = {.text = "SELECT 1"};
    struct sql_target target = pg_instance_local(n1.config.instance, NULL);
    struct answer a = {0};
    msec begin_ms = loop_clock_ms();

    AUTO(sql) struct sql *s = sql_new(l, &target);
    sql_run(s, &hang, 1, 300, answered, &a);
    live_wait(l, &a.done, "the deadline");
    assert_true(a.status == SQL_TIMEOUT || (a.status == SQL_FAILED && str_eq(a.sqlstate, "57014")));
    assert_true(loop_clock_ms() - begin_ms < 5000);
    answer_deinit(&a);
    sql_run(s, &quick, 1, 5000, answered, &a);
    live_wait(l, &a.done, "the next list");
    assert_int_equal(a.status, SQL_DONE);
    answer_deinit(&a);
    live_query_until(&n1, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'", "0");
}

static void test_a_connection_that_is_ended_is_told_and_made_anew(void **state)
{
    struct sql_statement suicide = {.text = "SELECT pg_terminate_backend(pg_backend_pid())"};
    struct sql_statement pid = {.text = "SELECT pg_backend_pid()"};
    struct sql_target target = pg_instance_local(n1.config.instance, NULL);
    struct answer a = {0};

    AUTO(sql) struct sql *s = sql_new(l, &target);
    sql_run(s, &suicide, 1, 5000, answered, &a);
    live_wait(l, &a.done, "the end");
    assert_int_equal(a.status, SQL_LOST);
    answer_deinit(&a);

    sql_run(s, &pid, 1, 5000, answered, &a);
    live_wait(l, &a.done, "a connection");
    assert_int_equal(a.status, SQL_DONE);
    /* One that dies while nobody looks is found dead before anything is sent. */
    AUTO(cstr) char *kill = str_fmt("SELECT pg_terminate_backend(%s, 5000)", a.cells[0]);
    answer_deinit(&a);
    AUTO(cstr) char *killed = live_query(&n1, kill);
    assert_string_equal(killed, "t");
    sql_run(s, &pid, 1, 5000, answered, &a);
    live_wait(l, &a.done, "the next list");
    assert_int_equal(a.status, SQL_DONE);
    answer_deinit(&a);
}

static enum sql_status status_of(const struct sql_target *target, msec budget_ms, struct answer *a)
{
    struct sql_statement one = {.text = "SELECT 1"};

    *a = (struct answer){0};
    (void)sql_once(l, target, &one, 1, budget_ms, answered, a);
    live_wait(l, &a->done, "a refusal");
    enum sql_status status = a->status;
    struct err err = a->err;
    answer_deinit(a);
    a->err = err;
    return status;
}

static void test_refusals_are_told_apart(void **state)
{
    struct sql_target nowhere = {.host = "/nowhere", .port = 5432};
    struct sql_target closed = {.host = "127.0.0.1", .port = 1};
    struct sql_target unknown = {.host = "no-such-host.invalid", .port = 5432};
    struct sql_target local = pg_instance_local(n1.config.instance, NULL);
    struct sql_target database = pg_instance_local(n1.config.instance, "no_such_database");
    struct pg_user user = *local.user;
    user.username = (char *)(uintptr_t) "no_such_role";
    struct sql_target role = local;
    role.user = &user;
    struct answer a;

    assert_int_equal(status_of(&nowhere, 5000, &a), SQL_NO_SERVER);
    assert_int_equal(status_of(&closed, 5000, &a), SQL_NO_SERVER);
    assert_int_equal(status_of(&unknown, 20000, &a), SQL_NO_SERVER);
    assert_non_null(strstr(a.err.text, "no-such-host.invalid"));
    assert_int_equal(status_of(&database, 5000, &a), SQL_DENIED);
    assert_int_equal(status_of(&role, 5000, &a), SQL_DENIED);
    assert_int_equal(a.err.code, ERR_DENIED);
    assert_int_equal(status_of(&local, 5000, &a), SQL_DONE);
}

static void test_a_wrong_password_is_denied_and_not_shown(void **state)
{
    struct sql_target tcp = pg_instance_local(n1.config.instance, NULL);
    struct pg_user user = *tcp.user;
    struct answer a;

    /* A line in front of initdb's trust. */
    AUTO(cstr) char *hba = config_slurp(n1.config.instance->hba_file);
    AUTO(cstr) char *strict = str_fmt("host all all 127.0.0.1/32 scram-sha-256\n%s", hba);
    config_spill(n1.config.instance->hba_file, strict);
    AUTO(cstr) char *reloaded = live_query(&n1, "SELECT pg_reload_conf()");
    assert_string_equal(reloaded, "t");
    tcp.host = "127.0.0.1";
    tcp.passfile = NULL;
    tcp.user = &user;
    /* The postmaster reads pg_hba.conf when its signal arrives, which is soon. */
    user.password = (char *)(uintptr_t) "wrong-secret";
    enum sql_status status = SQL_DONE;
    for (int i = 0; i < 100 && status == SQL_DONE; i++) {
        loop_turn(l, 20);
        status = status_of(&tcp, 5000, &a);
    }
    assert_int_equal(status, SQL_DENIED);
    assert_null(strstr(a.err.text, "wrong-secret"));
    user.password = NULL;
    assert_int_equal(status_of(&tcp, 5000, &a), SQL_DENIED);
    user.password = n1.config.settings->postgresql.superuser.password;
    assert_int_equal(status_of(&tcp, 5000, &a), SQL_DONE);
    user.password = NULL;
    tcp.passfile = n1.config.instance->passfile;
    assert_int_equal(status_of(&tcp, 5000, &a), SQL_DONE);
    config_spill(n1.config.instance->hba_file, hba);
    AUTO(cstr) char *back = live_query(&n1, "SELECT pg_reload_conf()");
    assert_string_equal(back, "t");
}

static struct sql *own;

static void free_own(const struct sql_result *r, void *arg)
{
    assert_int_equal(r->status, SQL_DONE);
    assert_string_equal(sql_cell(&r->rows[0], 0, 0), "1");
    sql_free(own);
    assert_string_equal(sql_cell(&r->rows[0], 0, 0), "1"); /* the result lives until the callback returns */
    *(bool *)arg = true;
}

static void test_a_connection_may_be_given_up_from_its_own_callback(void **state)
{
    struct sql_statement one = {.text = "SELECT 1"};
    struct sql_target target = pg_instance_local(n1.config.instance, NULL);
    bool done = false;

    own = sql_new(l, &target);
    sql_run(own, &one, 1, 5000, free_own, &done);
    live_wait(l, &done, "the callback");
    own = sql_new(l, &target);
    sql_run(own, &one, 1, 5000, free_own, &done);
    sql_free(own); /* before anything happened: no callback */
    for (int i = 0; i < 5; i++)
        loop_turn(l, 20);
}

/* ---- the probe ---- */

static void test_the_probe_tells_a_primarys_facts(void **state)
{
    AUTO(cstr) char *at = live_query(&n1, "SELECT pg_current_wal_lsn()");
    AUTO(pg_facts) struct pg_facts *f = live_facts(&n1);
    struct pg_control control = live_control(&n1);
    lsn before;

    assert_true(lsn_parse(at, &before));
    assert_false(f->in_recovery);
    assert_int_equal(f->timeline, 1);
    assert_int_equal(f->checkpoint_tli, 1);
    assert_string_equal(f->system_identifier, control.system_identifier);
    assert_true(f->current >= before);
    assert_int_equal(f->position, f->current);
    assert_int_equal(f->receive, 0);
    assert_int_equal(f->server_version / 10000, n1.config.instance->major);
    assert_string_equal(f->cluster_name, "test");
    assert_string_equal(f->primary_conninfo, "");
    assert_int_equal(f->conf_error_count, 0);
    assert_int_equal(f->pending_count, 0);
    assert_null(pg_facts_pending_json(f));
    assert_false(f->receiver.present);
    assert_null(pg_facts_replication_state(f));
    assert_true(str_ends(f->postmaster_start_time, "+00:00"));
    assert_true(f->postmaster_start_us > 0 && f->conf_load_us >= f->postmaster_start_us - 1000000);
    assert_true(f->answered_ms >= f->asked_ms);
}

static void test_pending_restarts_are_named_with_old_and_new(void **state)
{
    /* The command line wins over the file, and still PostgreSQL says that the file asks for a restart. */
    struct config other = {0};
    AUTO(cstr)
    char *section =
        str_fmt("  use_unix_socket: true\n  parameters: {unix_socket_directories: %s/run, shared_buffers: 16MB,"
                " fsync: 'off'}\n",
                n1.folder);
    AUTO(cstr) char *yaml = config_yaml("n1", n1.folder, n1.port, section);
    struct conf_result result;
    struct findings findings = {0};

    other = config_make(yaml, "{\"postgresql\":{\"parameters\":{\"max_connections\":77}}}");
    struct conf_input in = {.instance = other.instance, .role = CONF_PRIMARY};
    assert_true(conffile_write(&in, &result, &findings, NULL));
    assert_true(result.config_changed);
    AUTO(cstr) char *reloaded = live_query(&n1, "SELECT pg_reload_conf()");
    assert_string_equal(reloaded, "t");
    live_query_until(&n1, "SELECT count(*) FROM pg_settings WHERE pending_restart", "2");

    AUTO(pg_facts) struct pg_facts *f = live_facts(&n1);
    json_t *json = pg_facts_pending_json(f);
    AUTO(cstr) char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(json);
    assert_string_equal(text, "{\"max_connections\":{\"new_value\":\"77\",\"old_value\":\"50\"},"
                              "\"shared_buffers\":{\"new_value\":\"16MB\",\"old_value\":\"8MB\"}}");
    assert_int_equal(f->conf_error_count, 0);

    in.instance = n1.config.instance;
    assert_true(conffile_write(&in, &result, &findings, NULL));
    AUTO(cstr) char *back = live_query(&n1, "SELECT pg_reload_conf()");
    live_query_until(&n1, "SELECT count(*) FROM pg_settings WHERE pending_restart", "0");
    findings_deinit(&findings);
    config_free(&other);
}

static void test_errors_in_the_configuration_are_counted(void **state)
{
    AUTO(cstr) char *path = str_fmt("%s/postgresql.auto.conf", n1.config.instance->data_dir);
    AUTO(cstr) char *before = config_slurp(path);
    AUTO(cstr) char *broken = str_fmt("%swork_mem = 'lots'\n", before);

    config_spill(path, broken);
    AUTO(pg_facts) struct pg_facts *f = live_facts(&n1);
    config_spill(path, before);
    assert_int_equal(f->conf_error_count, 1);
}

struct probing {
    int answers;
    bool done;
    enum sql_status status;
    struct pg_facts *facts;
};

static void probed(const struct probe_answer *answer, void *arg)
{
    struct probing *p = arg;

    p->answers++;
    p->done = true;
    p->status = answer->status;
    pg_facts_free(p->facts);
    p->facts = answer->take_facts;
}

static void test_a_server_that_hangs_is_silent_since_the_question(void **state)
{
    struct sql_target target = pg_instance_local(n1.config.instance, NULL);
    struct probing p = {0};
    AUTO(probe) struct probe *probe = probe_new(l, &target, probed, &p);

    probe_ask(probe, 5000);
    probe_ask(probe, 5000); /* one question stands for both */
    live_wait(l, &p.done, "an answer");
    assert_int_equal(p.answers, 1);
    assert_int_equal(p.status, SQL_DONE);
    assert_true(probe_silent_since(probe) == MSEC_NEVER);

    /* The backend of the probe is stopped, as all of them are when a disk hangs. */
    AUTO(cstr)
    char *pid =
        live_query(&n1, "SELECT pid FROM pg_stat_activity WHERE application_name = 'pgkeep' AND pid <> pg_backend_pid()"
                        " AND query LIKE 'SELECT r.recovery%' ORDER BY query_start DESC LIMIT 1");
    assert_non_null(pid);
    assert_int_equal(kill(atoi(pid), SIGSTOP), 0);
    msec begin_ms = loop_clock_ms();
    p.done = false;
    probe_ask(probe, 300);
    live_wait(l, &p.done, "the deadline");
    assert_int_equal(kill(atoi(pid), SIGCONT), 0);
    assert_int_equal(p.status, SQL_TIMEOUT);
    assert_null(p.facts);
    assert_true(loop_clock_ms() - begin_ms < 3000);
    assert_true(probe_silent_since(probe) >= begin_ms && probe_silent_since(probe) <= loop_clock_ms());

    p.done = false;
    probe_ask(probe, 5000);
    live_wait(l, &p.done, "the next answer");
    assert_int_equal(p.status, SQL_DONE);
    assert_true(probe_silent_since(probe) == MSEC_NEVER);
    pg_facts_free(p.facts);
}

static void test_a_reset_probe_asks_the_new_connection(void **state)
{
    struct sql_target target = pg_instance_local(n1.config.instance, NULL);
    struct probing p = {0};
    AUTO(probe) struct probe *probe = probe_new(l, &target, probed, &p);

    probe_ask(probe, 5000);
    probe_reset(probe, NULL);
    assert_true(probe_asking(probe));
    live_wait(l, &p.done, "an answer");
    assert_int_equal(p.status, SQL_DONE);
    assert_int_equal(p.answers, 1);
    struct sql_target nowhere = {.host = "/nowhere", .port = 1};
    p.done = false;
    probe_reset(probe, &nowhere);
    probe_ask(probe, 1000);
    live_wait(l, &p.done, "a refusal");
    assert_int_equal(p.status, SQL_NO_SERVER);
    assert_true(probe_silent_since(probe) != MSEC_NEVER);
    pg_facts_free(p.facts);
}

/* ---- slots ---- */

struct slots_answer {
    bool done;
    size_t count;
    bool good[8];
    struct err err[8];
};

static void slots_done(const struct slot_outcome *outcomes, size_t count, void *arg)
{
    struct slots_answer *a = arg;

    a->done = true;
    a->count = count;
    for (size_t i = 0; i < count; i++) {
        a->good[i] = outcomes[i].done;
        a->err[i] = outcomes[i].err;
    }
}

static struct slots_answer apply(const struct slot_act *acts, size_t count)
{
    struct slots_answer a = {0};

    (void)slots_apply(l, n1.config.instance, acts, count, 10000, slots_done, &a);
    live_wait(l, &a.done, "slots");
    assert_int_equal(a.count, count);
    return a;
}

static void test_slots_are_made_moved_and_dropped_once_each(void **state)
{
    struct slot_act make[] = {
        {.kind = SLOT_CREATE_PHYSICAL, .name = "n2"},
        {.kind = SLOT_CREATE_PHYSICAL, .name = "n2"},
        {.kind = SLOT_CREATE_PHYSICAL, .name = "Bad Name"},
        {.kind = SLOT_DROP, .name = "no_such_slot"},
    };
    struct slots_answer made = apply(make, 4);
    assert_true(made.good[0] && made.good[1] && made.good[3]);
    assert_false(made.good[2]);
    assert_non_null(strstr(made.err[2].text, "Bad Name"));

    AUTO(pg_facts) struct pg_facts *f = live_facts(&n1);
    assert_int_equal(f->slot_count, 1);
    assert_string_equal(f->slots[0].name, "n2");
    assert_true(f->slots[0].physical);
    assert_false(f->slots[0].active);
    assert_true(f->slots[0].restart_lsn > 0);
    assert_string_equal(f->slots[0].wal_status, "reserved");
    lsn reserved = f->slots[0].restart_lsn;

    AUTO(cstr) char *rows = live_query(&n1, "INSERT INTO public.t SELECT generate_series(1, 1000)");
    assert_null(rows);
    AUTO(cstr) char *text = live_query(&n1, "SELECT pg_current_wal_flush_lsn()");
    lsn now;
    assert_true(lsn_parse(text, &now));
    struct slot_act move[] = {
        {.kind = SLOT_ADVANCE, .name = "n2", .to = now},
        {.kind = SLOT_ADVANCE, .name = "n2", .to = reserved}, /* backwards: nothing happens */
    };
    struct slots_answer moved = apply(move, 2);
    assert_true(moved.good[0] && moved.good[1]);
    AUTO(pg_facts) struct pg_facts *g = live_facts(&n1);
    assert_int_equal(g->slots[0].restart_lsn, now);

    struct slot_act drop[] = {{.kind = SLOT_DROP, .name = "n2"}, {.kind = SLOT_DROP, .name = "n2"}};
    struct slots_answer dropped = apply(drop, 2);
    assert_true(dropped.good[0] && dropped.good[1]);
    AUTO(cstr) char *left = live_query(&n1, "SELECT count(*) FROM pg_replication_slots");
    assert_string_equal(left, "0");
}

static void test_slots_of_a_server_that_is_away_say_so(void **state)
{
    struct config other = {0};
    char *folder = config_folder();
    AUTO(cstr) char *yaml = config_yaml("nx", folder, 1, NULL);
    struct slot_act act = {.kind = SLOT_CREATE_PHYSICAL, .name = "n2"};
    struct slots_answer a = {0};

    other = config_make(yaml, "{}");
    (void)slots_apply(l, other.instance, &act, 1, 5000, slots_done, &a);
    live_wait(l, &a.done, "slots");
    assert_false(a.good[0]);
    assert_non_null(strstr(a.err[0].text, "n2"));
    slots_cancel(slots_apply(l, other.instance, &act, 1, 5000, slots_done, NULL));
    a.done = false;
    (void)slots_apply(l, other.instance, NULL, 0, 5000, slots_done, &a);
    live_wait(l, &a.done, "no slots");
    config_free(&other);
    config_remove_folder(folder);
}

/* ---- the table of parameters against the server ---- */

static void test_the_table_agrees_with_the_server(void **state)
{
    int major = n1.config.instance->major;
    AUTO(cstr)
    char *names = live_query(
        &n1,
        "SELECT string_agg(name || '=' || coalesce(min_val, '') || '=' || coalesce(max_val, '') || '=' || vartype, ' ')"
        " FROM pg_settings WHERE context <> 'internal' AND name !~ '[.]' AND name !~ '^transaction_'"
        " AND name NOT IN ('config_file', 'data_directory', 'debug_discard_caches')");
    int seen = 0;
    int unknown = 0; /* a minor release may add one or two */

    assert_non_null(names);
    for (char *save = NULL, *item = strtok_r(names, " ", &save); item; item = strtok_r(NULL, " ", &save)) {
        char *rest = item;
        const char *name = strsep(&rest, "=");
        const char *least = strsep(&rest, "=");
        const char *greatest = strsep(&rest, "=");
        const char *type = rest;
        const struct guc_row *row = NULL;
        for (size_t i = 0; i < guc_table_count; i++) {
            const struct guc_row *r = &guc_table[i];
            if (str_eq(r->name, name) && major >= r->from && (!r->until || major < r->until))
                row = r;
        }
        if (!row) {
            unknown++;
            continue;
        }
        static const char *const types[] = {"bool", "integer", "real", "enum", "string"};
        if (!str_eq(types[row->kind], type))
            fail_msg("%s is %s", name, type);
        if (row->kind == GUC_INT && (row->least != atof(least) || row->greatest != atof(greatest)))
            fail_msg("%s is %s to %s", name, least, greatest);
        seen++;
    }
    assert_true(seen > 300);
    assert_true(unknown <= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_users_have_what_they_need_and_no_more),
        cmocka_unit_test(test_the_directory_is_a_data_directory_with_our_files),
        cmocka_unit_test(test_a_second_bootstrap_is_refused),
        cmocka_unit_test(test_a_list_runs_in_order_with_parameters),
        cmocka_unit_test(test_a_failure_ends_the_list_unless_it_may_fail),
        cmocka_unit_test(test_a_deadline_ends_a_statement_that_hangs),
        cmocka_unit_test(test_a_connection_that_is_ended_is_told_and_made_anew),
        cmocka_unit_test(test_refusals_are_told_apart),
        cmocka_unit_test(test_a_wrong_password_is_denied_and_not_shown),
        cmocka_unit_test(test_a_connection_may_be_given_up_from_its_own_callback),
        cmocka_unit_test(test_the_probe_tells_a_primarys_facts),
        cmocka_unit_test(test_pending_restarts_are_named_with_old_and_new),
        cmocka_unit_test(test_errors_in_the_configuration_are_counted),
        cmocka_unit_test(test_a_server_that_hangs_is_silent_since_the_question),
        cmocka_unit_test(test_a_reset_probe_asks_the_new_connection),
        cmocka_unit_test(test_slots_are_made_moved_and_dropped_once_each),
        cmocka_unit_test(test_slots_of_a_server_that_is_away_say_so),
        cmocka_unit_test(test_the_table_agrees_with_the_server),
    };

    config_leave_root();
    return cmocka_run_group_tests(tests, start_all, stop_all);
}
