/* A primary and its standby: clone, follow, what the probe sees on both, promotion, changes of upstream. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <glob.h>

#include "base/str.h"
#include "live.h"
#include "pg/clone.h"
#include "pg/datadir.h"
#include "pg/names.h"
#include "pg/passfile.h"
#include "pg/promote.h"
#include "pg/slots.h"

static struct loop *l;
static struct live n1, n2;

static int start_all(void **state)
{
    l = loop_new();
    live_new(&n1, l, "n1", NULL, NULL);
    live_bootstrap(&n1);
    live_new(&n2, l, "n2",
             "  pg_hba: ['local all all trust', 'local replication all trust', 'host all all 127.0.0.1/32 trust',"
             " 'host replication all 127.0.0.1/32 trust']\n",
             NULL);
    return 0;
}

static int stop_all(void **state)
{
    live_free(&n2);
    live_free(&n1);
    loop_free(l);
    return 0;
}

struct cloned {
    bool done, good;
    struct err err;
    char method[32];
    int progress_calls;
    int64_t done_bytes, total_bytes;
};

static void clone_ended(const char *method, const struct err *err, void *arg)
{
    struct cloned *c = arg;

    c->done = true;
    c->good = !err;
    str_copy(c->method, sizeof(c->method), method);
    if (err)
        c->err = *err;
}

static void clone_progressed(const struct clone_progress *p, void *arg)
{
    struct cloned *c = arg;

    c->progress_calls++;
    c->done_bytes = p->done_bytes;
    c->total_bytes = p->total_bytes;
}

static struct conf_freeze freeze;
static void (*while_it_clones)(void);
static int senders_seen;

/* A name among the synchronous standbys would count as one of them: its flush position is as good as theirs. */
static void look_at_senders(void)
{
    AUTO(cstr)
    char *others = live_query(&n1, "SELECT count(*) FROM pg_stat_replication WHERE application_name <> 'pgkeep_job'");
    AUTO(cstr) char *ours = live_query(&n1, "SELECT count(*) FROM pg_stat_replication");

    assert_string_equal(others, "0");
    senders_seen += atoi(ours);
}

static struct cloned run_clone(struct live *n, const struct clone_source *source, const char *slot_name)
{
    AUTO(cstr) char *conninfo = primary_conninfo(n->config.instance, "127.0.0.1", n1.port);
    struct clone_spec spec = {.instance = n->config.instance,
                              .source = *source,
                              .primary_conninfo = conninfo,
                              .primary_slot_name = slot_name,
                              .freeze = &freeze,
                              .progress = clone_progressed};
    struct cloned c = {0};
    struct clone_job *job;

    if (!clone_start(l, &spec, clone_ended, &c, &job, &c.err)) {
        c.done = true;
        return c;
    }
    while (while_it_clones && !c.done)
        while_it_clones();
    live_wait(l, &c.done, "the clone");
    return c;
}

static void test_a_source_of_another_cluster_is_refused_before_the_first_byte(void **state)
{
    struct clone_source source = {.name = "n1", .host = "127.0.0.1", .port = n1.port, .system_identifier = "1234"};
    struct cloned c = run_clone(&n2, &source, NULL);
    struct datadir_state s;

    assert_false(c.good);
    assert_int_equal(c.err.code, ERR_CONFLICT);
    assert_non_null(strstr(c.err.text, "another cluster"));
    datadir_look(n2.config.instance->data_dir, n2.config.instance->state_dir, &s, NULL);
    assert_int_equal(s.kind, DATADIR_ABSENT);
    assert_int_equal(s.marker, DATADIR_MARK_NONE);
}

static void test_a_clone_is_a_standby_with_our_configuration(void **state)
{
    struct pg_control control = live_control(&n1);
    struct clone_source source = {.name = "n1",
                                  .host = "localhost",
                                  .port = n1.port,
                                  .slot = "n2",
                                  .system_identifier = control.system_identifier};
    AUTO(cstr) char *made = live_query(&n1, "SELECT pg_create_physical_replication_slot('n2', true)");
    AUTO(cstr) char *rows = live_query(&n1, "INSERT INTO public.t VALUES (1)");
    struct datadir_state s;

    struct cloned c = run_clone(&n2, &source, "n2");
    if (!c.good)
        fail_msg("%s", c.err.text);
    live_refresh(&n2);
    assert_string_equal(c.method, "basebackup");
    assert_true(c.progress_calls >= 2);
    assert_true(c.total_bytes > 1024 * 1024);
    assert_true(c.done_bytes >= c.total_bytes);
    datadir_look(n2.config.instance->data_dir, n2.config.instance->state_dir, &s, NULL);
    assert_int_equal(s.kind, DATADIR_VALID);
    assert_true(s.standby_signal);
    AUTO(cstr) char *conf = config_slurp(n2.config.instance->config_file);
    assert_non_null(strstr(conf, "\nprimary_slot_name = 'n2'\n"));
    assert_null(strstr(conf, "secret"));
}

static void test_a_clone_under_a_promise_names_no_upstream_and_brings_nothing_of_its_sources(void **state)
{
    struct clone_source source = {.name = "n1", .host = "127.0.0.1", .port = n1.port};
    AUTO(cstr) char *list = names_path(n1.config.instance);
    struct datadir_state theirs;
    struct datadir_state ours;
    struct live n3;

    config_spill(list, "synchronous_standby_names = 'ANY 1 (n2)'\n"); /* nothing of n1 includes it here */
    live_new(&n3, l, "n3", NULL, NULL);
    freeze = (struct conf_freeze){.frozen = true, .names_floor = NAMES_FENCE};
    while_it_clones = look_at_senders;
    struct cloned c = run_clone(&n3, &source, "n3");
    while_it_clones = NULL;
    freeze = (struct conf_freeze){0};
    assert_true(senders_seen > 0); /* each of them by a name that no list can have */
    assert_true(names_remove(n1.config.instance, NULL));
    if (!c.good)
        fail_msg("%s", c.err.text);
    AUTO(cstr) char *conf = config_slurp(n3.config.instance->config_file);
    assert_non_null(strstr(conf, "\nprimary_conninfo = ''\n"));
    assert_non_null(strstr(conf, "\nprimary_slot_name = ''\n"));
    assert_non_null(strstr(conf, "\nrestore_command = ''\n"));
    assert_non_null(strstr(conf, "\nsynchronous_standby_names = '__fence__'\n"));
    AUTO(cstr) char *copied = names_path(n3.config.instance);
    assert_false(file_exists(copied));
    datadir_look(n1.config.instance->data_dir, n1.config.instance->state_dir, &theirs, NULL);
    datadir_look(n3.config.instance->data_dir, n3.config.instance->state_dir, &ours, NULL);
    assert_true(theirs.incarnation != 0 && ours.incarnation != 0 && ours.incarnation != theirs.incarnation);
    live_free(&n3);
}

static void test_a_standby_streams_and_both_sides_say_so(void **state)
{
    AUTO(cstr) char *rows = live_query(&n1, "INSERT INTO public.t VALUES (2)");

    live_start(&n2, &n1);
    live_query_until(&n2, "SELECT count(*) FROM public.t", "2");
    live_query_until(&n2, "SELECT status FROM pg_stat_wal_receiver", "streaming");
    live_query_until(&n1, "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()", "1");

    AUTO(pg_facts) struct pg_facts *p = live_facts(&n1);
    AUTO(pg_facts) struct pg_facts *s = live_facts(&n2);
    assert_int_equal(p->sender_count, 1);
    assert_string_equal(p->senders[0].application_name, "n2");
    assert_string_equal(p->senders[0].usename, "replicator");
    assert_string_equal(p->senders[0].client_addr, "127.0.0.1");
    assert_string_equal(p->senders[0].state, "streaming");
    assert_string_equal(p->senders[0].sync_state, "async");
    assert_true(p->senders[0].flush > 0 && p->senders[0].replay > 0);
    assert_null(p->senders[0].slot_name);

    assert_true(s->in_recovery);
    assert_int_equal(s->timeline, 1);
    assert_string_equal(s->system_identifier, p->system_identifier);
    assert_true(s->receiver.present);
    assert_string_equal(s->receiver.status, "streaming");
    assert_int_equal(s->receiver.sender_port, n1.port);
    assert_int_equal(s->receiver.received_tli, 1);
    assert_string_equal(pg_facts_replication_state(s), "streaming");
    assert_true(s->replay > 0 && s->position >= s->replay);
    assert_int_equal(s->current, 0);
    assert_true(s->replay_epoch_us > 0);
    assert_true(str_ends(s->replay_timestamp, "+00:00"));
    assert_true(str_starts(s->primary_conninfo, "user="));
    assert_non_null(strstr(s->receiver.conninfo, "application_name="));
}

static void test_a_new_slot_name_needs_a_reload_only(void **state)
{
    AUTO(cstr) char *conninfo = primary_conninfo(n2.config.instance, "127.0.0.1", n1.port);
    struct conf_input in = {
        .instance = n2.config.instance, .role = CONF_STANDBY, .primary_conninfo = conninfo, .primary_slot_name = "n2"};
    struct conf_result r;
    struct findings findings = {0};

    assert_true(conffile_write(&in, &r, &findings, NULL));
    findings_deinit(&findings);
    assert_true(r.connection_changed);
    AUTO(cstr) char *reloaded = live_query(&n2, "SELECT pg_reload_conf()");
    live_query_until(&n1, "SELECT active FROM pg_replication_slots WHERE slot_name = 'n2'", "t");
    AUTO(pg_facts) struct pg_facts *f = live_facts(&n1);
    assert_int_equal(f->slot_count, 1);
    assert_true(f->slots[0].active && f->slots[0].active_pid > 0);
    assert_string_equal(f->senders[0].slot_name, "n2");
}

struct slots_answer {
    bool done, good;
    struct err err;
};

static void slots_done(const struct slot_outcome *outcomes, size_t count, void *arg)
{
    struct slots_answer *a = arg;

    assert_int_equal(count, 1);
    a->done = true;
    a->good = outcomes[0].done;
    a->err = outcomes[0].err;
}

static void test_a_slot_in_use_is_not_dropped(void **state)
{
    struct slot_act drop = {.kind = SLOT_DROP, .name = "n2"};
    struct slots_answer a = {0};

    (void)slots_apply(l, n1.config.instance, &drop, 1, 10000, slots_done, &a);
    live_wait(l, &a.done, "the drop");
    assert_false(a.good);
    assert_int_equal(a.err.code, ERR_CONFLICT);
}

static void test_a_filled_directory_is_never_cloned_over(void **state)
{
    struct clone_source source = {.name = "n1", .host = "127.0.0.1", .port = n1.port};
    struct cloned c = run_clone(&n2, &source, NULL);

    assert_false(c.good);
    assert_int_equal(c.err.code, ERR_CONFLICT);
}

static void test_the_timeline_is_known_when_the_receiver_is_gone(void **state)
{
    live_stop(&n1, SIGINT);
    live_query_until(&n2, "SELECT count(*) FROM pg_stat_wal_receiver", "0");
    AUTO(pg_facts) struct pg_facts *f = live_facts(&n2);
    assert_false(f->receiver.present);
    assert_int_equal(f->timeline, 1);
    assert_string_equal(pg_facts_replication_state(f), "in archive recovery");
}

static enum pg_control_state glance(const struct live *n)
{
    lsn checkpoint = 0;
    enum pg_control_state seen = pg_control_glance(n->config.instance->data_dir, &checkpoint);

    assert_int_equal(seen == PG_CONTROL_UNKNOWN, checkpoint == 0);
    return seen;
}

static void test_promotion_by_file_and_signal(void **state)
{
    struct err err;

    assert_int_equal(glance(&n2), PG_CONTROL_IN_ARCHIVE_RECOVERY);
    assert_true(promote_trigger(n2.config.instance->data_dir, n2.pid, NULL));
    for (msec end_ms = loop_clock_ms() + 30000; glance(&n2) != PG_CONTROL_IN_PRODUCTION;)
        assert_true(loop_clock_ms() < end_ms);
    /* It says so when writes are taken already. */
    AUTO(cstr) char *recovers = live_query(&n2, "SELECT pg_is_in_recovery()");
    assert_string_equal(recovers, "f");
    AUTO(pg_facts) struct pg_facts *f = live_facts(&n2);
    assert_false(f->in_recovery);
    assert_int_equal(f->timeline, 2);
    struct datadir_state s;
    datadir_look(n2.config.instance->data_dir, n2.config.instance->state_dir, &s, NULL);
    assert_false(s.promote_file);
    assert_false(s.standby_signal);

    /* A postmaster that is not there: no file is left to fire later. */
    assert_false(promote_trigger(n2.config.instance->data_dir, 0x3FFFFFF0, &err));
    datadir_look(n2.config.instance->data_dir, n2.config.instance->state_dir, &s, NULL);
    assert_false(s.promote_file);
    assert_true(promote_withdraw(n2.config.instance->data_dir, NULL));
}

static void test_the_old_primary_follows_without_rewind_and_is_on_the_new_timeline(void **state)
{
    AUTO(cstr) char *rows = live_query(&n2, "INSERT INTO public.t VALUES (3)");

    live_start(&n1, &n2);
    live_query_until(&n1, "SELECT count(*) FROM public.t", "3");
    live_query_until(&n1, "SELECT status FROM pg_stat_wal_receiver", "streaming");
    AUTO(pg_facts) struct pg_facts *f = live_facts(&n1);
    assert_int_equal(f->timeline, 2);
    /*
     * pg_control may still say 1 on a follower: the probe must know better when the receiver is gone.
     */
    live_stop(&n2, SIGINT);
    assert_int_equal(glance(&n2), PG_CONTROL_SHUT_DOWN);
    live_query_until(&n1, "SELECT count(*) FROM pg_stat_wal_receiver", "0");
    AUTO(pg_facts) struct pg_facts *g = live_facts(&n1);
    assert_int_equal(g->timeline, 2);
}

/* ---- other ways to clone ---- */

static char *script(const struct live *n, const char *text)
{
    char *path = str_fmt("%s/script", n->folder);

    config_spill(path, text);
    assert_int_equal(chmod(path, 0755), 0);
    return path;
}

static void test_methods_are_tried_in_order_and_get_patronis_arguments(void **state)
{
    struct live n3;
    struct clone_source source = {.name = "n1", .host = "127.0.0.1", .port = n1.port};

    live_new(&n3, l, "n3",
             "  create_replica_methods: [broken, wanted]\n"
             "  broken: {command: /bin/false}\n"
             "  wanted: {command: 'sh /tmp/pgkeep-test-wanted', speed: 5, quoted: 'a b'}\n",
             NULL);
    AUTO(cstr)
    char *path =
        script(&n3, "printf '%s\\n' \"$@\" > /tmp/pgkeep-test-wanted.args; echo 'no backup here' >&2; exit 7\n");
    assert_int_equal(rename(path, "/tmp/pgkeep-test-wanted"), 0);
    struct cloned c = run_clone(&n3, &source, NULL);
    AUTO(cstr) char *args = config_slurp("/tmp/pgkeep-test-wanted.args");
    (void)unlink("/tmp/pgkeep-test-wanted");
    (void)unlink("/tmp/pgkeep-test-wanted.args");

    assert_false(c.good);
    assert_string_equal(c.method, "wanted");
    assert_non_null(strstr(c.err.text, "no backup here"));
    assert_non_null(args);
    AUTO(cstr)
    char *begin = str_fmt("--speed=5\n--quoted=a b\n--scope=test\n--role=replica\n--datadir=%s\n--connstring=",
                          n3.config.instance->data_dir);
    assert_true(str_starts(args, begin));
    assert_null(strstr(args, "secret"));
    struct datadir_state s;
    datadir_look(n3.config.instance->data_dir, n3.config.instance->state_dir, &s, NULL);
    assert_int_equal(s.kind, DATADIR_EMPTY);
    assert_int_equal(s.marker, DATADIR_MARK_CLONE);
    live_free(&n3);
}

static void test_without_a_source_only_methods_that_need_none_run(void **state)
{
    struct live n3;
    struct clone_source nobody = {0};

    live_new(&n3, l, "n3",
             "  create_replica_methods: [basebackup, archive]\n  archive: {command: /bin/true, no_leader: true}\n",
             NULL);
    assert_true(clone_works_alone(n3.config.instance));
    assert_false(clone_works_alone(n1.config.instance));
    struct cloned c = run_clone(&n3, &nobody, NULL);
    /* It ran, and what it left is not a data directory: a lying script is not believed. */
    assert_false(c.good);
    assert_string_equal(c.method, "archive");
    assert_non_null(strstr(c.err.text, "pg_controldata"));
    live_free(&n3);
}

static void test_a_cancelled_clone_leaves_its_mark_and_the_next_one_starts_afresh(void **state)
{
    struct live n3;
    struct pg_control control = live_control(&n1);
    struct clone_source source = {
        .name = "n1", .host = "127.0.0.1", .port = n1.port, .system_identifier = control.system_identifier};
    struct datadir_state s;
    struct cloned c = {0};
    struct clone_job *job;

    live_new(&n3, l, "n3", "  basebackup: [{max-rate: 32k}]\n", NULL);
    struct clone_spec spec = {.instance = n3.config.instance, .source = source, .progress = clone_progressed};
    assert_true(clone_start(l, &spec, clone_ended, &c, &job, NULL));
    for (int i = 0; i < 400 && c.done_bytes == 0; i++)
        loop_turn(l, 50);
    clone_cancel(job);
    for (int i = 0; i < 10; i++)
        loop_turn(l, 50);
    assert_false(c.done);
    datadir_look(n3.config.instance->data_dir, n3.config.instance->state_dir, &s, NULL);
    assert_int_equal(s.kind, DATADIR_HALF);
    assert_int_equal(s.marker, DATADIR_MARK_CLONE);
    AUTO(cstr) char *folder = n3.folder;
    config_free(&n3.config);

    /* The same place with sensible settings. */
    AUTO(cstr) char *yaml = config_yaml("n3", folder, n3.port, "  use_unix_socket: true\n");
    n3.config = config_make(yaml, "{}");
    n3.folder = str_dup(folder);
    struct cloned again = run_clone(&n3, &source, NULL);
    if (!again.good)
        fail_msg("%s", again.err.text);
    datadir_look(n3.config.instance->data_dir, n3.config.instance->state_dir, &s, NULL);
    assert_int_equal(s.kind, DATADIR_VALID);
    assert_true(s.standby_signal);
    live_free(&n3);
}

static size_t moved_aside(const struct live *n)
{
    AUTO(cstr) char *pattern = str_fmt("%s.replaced.*/by-hand", n->config.instance->data_dir);
    glob_t found;

    assert_true(glob(pattern, 0, NULL, &found) != GLOB_NOSPACE);
    size_t count = found.gl_pathc;
    globfree(&found);
    return count;
}

static void fail_to_clone(struct live *n, bool *leftovers_ours)
{
    struct clone_spec spec = {.instance = n->config.instance,
                              .source = {.name = "n1", .host = "127.0.0.1", .port = n1.port},
                              .leftovers_ours = leftovers_ours};
    struct cloned c = {0};
    struct clone_job *job;

    assert_true(clone_start(l, &spec, clone_ended, &c, &job, NULL));
    live_wait(l, &c.done, "the clone");
    assert_false(c.good);
}

/* The mark is of a clone that was broken off; what is here may have been put here by hand since. */
static void test_what_may_be_more_than_half_a_clone_is_kept(void **state)
{
    struct live n3;
    bool ours = false;

    live_new(&n3, l, "n3", "  create_replica_methods: [half]\n  half: {command: sh /tmp/pgkeep-test-half}\n", NULL);
    AUTO(cstr) char *global = str_fmt("%s/global", n3.config.instance->data_dir);
    AUTO(cstr) char *text = str_fmt("mkdir %s && touch %s/pg_control %s/../by-hand; exit 1\n", global, global, global);
    AUTO(cstr) char *path = script(&n3, text);
    assert_int_equal(rename(path, "/tmp/pgkeep-test-half"), 0);
    assert_true(dir_make(n3.config.instance->data_dir, 0700, NULL));
    assert_int_equal(system("sh /tmp/pgkeep-test-half"), 256); // NOLINT(cert-env33-c): as an operator would
    assert_true(datadir_mark(n3.config.instance->state_dir, DATADIR_MARK_CLONE, NULL));

    fail_to_clone(&n3, &ours);
    assert_true(ours);
    assert_int_equal(moved_aside(&n3), 1);
    fail_to_clone(&n3, &ours); /* over what the last one left */
    assert_int_equal(moved_aside(&n3), 1);
    (void)unlink("/tmp/pgkeep-test-half");
    live_free(&n3);
}

static void test_a_directory_with_lost_and_found_can_be_cloned_into(void **state)
{
    struct live n3;
    struct clone_source source = {.name = "n1", .host = "127.0.0.1", .port = n1.port};
    struct datadir_state s;

    live_new(&n3, l, "n3", NULL, NULL);
    AUTO(cstr) char *found = str_fmt("%s/lost+found", n3.config.instance->data_dir);
    assert_true(dir_make(found, 0700, NULL));
    assert_int_equal(chmod(n3.config.instance->data_dir, 0700), 0);
    struct cloned c = run_clone(&n3, &source, NULL);
    if (!c.good)
        fail_msg("%s", c.err.text);
    datadir_look(n3.config.instance->data_dir, n3.config.instance->state_dir, &s, NULL);
    assert_int_equal(s.kind, DATADIR_VALID);
    assert_true(s.shared);
    live_refresh(&n3);
    live_start(&n3, &n1);
    live_free(&n3);
}

static void test_a_missing_slot_does_not_stop_a_clone(void **state)
{
    struct live n3;
    struct clone_source source = {.name = "n1", .host = "127.0.0.1", .port = n1.port, .slot = "no_such_slot"};

    live_new(&n3, l, "n3", NULL, NULL);
    struct cloned c = run_clone(&n3, &source, NULL);
    if (!c.good)
        fail_msg("%s", c.err.text);
    live_free(&n3);
}

static void test_a_source_that_cannot_be_reached_says_why(void **state)
{
    struct live n3;
    struct clone_source source = {.name = "n1", .host = "127.0.0.1", .port = 1};

    live_new(&n3, l, "n3", NULL, NULL);
    struct cloned c = run_clone(&n3, &source, NULL);
    assert_false(c.good);
    assert_non_null(strstr(c.err.text, "refused"));
    assert_true(str_starts(c.err.text, "cloning from n1: "));
    live_free(&n3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_source_of_another_cluster_is_refused_before_the_first_byte),
        cmocka_unit_test(test_a_clone_is_a_standby_with_our_configuration),
        cmocka_unit_test(test_a_clone_under_a_promise_names_no_upstream_and_brings_nothing_of_its_sources),
        cmocka_unit_test(test_a_standby_streams_and_both_sides_say_so),
        cmocka_unit_test(test_a_new_slot_name_needs_a_reload_only),
        cmocka_unit_test(test_a_slot_in_use_is_not_dropped),
        cmocka_unit_test(test_a_filled_directory_is_never_cloned_over),
        cmocka_unit_test(test_the_timeline_is_known_when_the_receiver_is_gone),
        cmocka_unit_test(test_promotion_by_file_and_signal),
        cmocka_unit_test(test_the_old_primary_follows_without_rewind_and_is_on_the_new_timeline),
        cmocka_unit_test(test_methods_are_tried_in_order_and_get_patronis_arguments),
        cmocka_unit_test(test_without_a_source_only_methods_that_need_none_run),
        cmocka_unit_test(test_a_cancelled_clone_leaves_its_mark_and_the_next_one_starts_afresh),
        cmocka_unit_test(test_what_may_be_more_than_half_a_clone_is_kept),
        cmocka_unit_test(test_a_directory_with_lost_and_found_can_be_cloned_into),
        cmocka_unit_test(test_a_missing_slot_does_not_stop_a_clone),
        cmocka_unit_test(test_a_source_that_cannot_be_reached_says_why),
    };

    config_leave_root();
    return cmocka_run_group_tests(tests, start_all, stop_all);
}
