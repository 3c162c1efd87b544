/* What a promotion waits for is ended, on real servers: a snapshot, a lock, a pinned buffer; and nobody else. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/str.h"
#include "pair.h"
#include "pg/conflict.h"
#include "pg/datadir.h"
#include "pg/promote.h"

enum { PROMOTED_MAX_MS = 5000 };

struct seen {
    int count;
    pid_t pid;
    char wait[64];
};

static void ended(const struct conflict_ended *e, void *arg)
{
    struct seen *s = arg;

    s->count++;
    s->pid = e->pid;
    str_copy(s->wait, sizeof(s->wait), e->wait);
    assert_string_equal(e->database, "postgres");
}

static void run(struct live *n, const char *statement)
{
    AUTO(cstr) char *answer = live_query(n, statement);

    if (answer)
        fail_msg("%s: %s", statement, answer);
}

/* A session on n2 that holds what `text` takes, and sleeps. Its process. */
static pid_t hold(struct client *c, const char *text)
{
    AUTO(cstr) char *list = str_fmt("BEGIN ISOLATION LEVEL REPEATABLE READ; %s; SELECT pg_sleep(1000)", text);
    AUTO(cstr)
    char *question =
        str_fmt("SELECT count(*) FROM pg_stat_activity WHERE query = $q$%s$q$ AND wait_event = 'PgSleep'", list);
    AUTO(cstr) char *process = str_fmt("SELECT pid FROM pg_stat_activity WHERE query = $q$%s$q$", list);

    client_start(c, &n2, list);
    live_query_until(&n2, question, "1");
    return number(&n2, process);
}

static void wait_until_replay_waits(const char *wait_event)
{
    AUTO(cstr)
    char *question =
        str_fmt("SELECT wait_event = '%s' FROM pg_stat_activity WHERE backend_type = 'startup'", wait_event);

    live_query_until(&n2, question, "t");
}

/* n2 anew, as a standby of n1. */
static void again(void)
{
    live_stop(&n2, SIGQUIT);
    AUTO(cstr) char *command = str_fmt("rm -rf '%s'", n2.config.instance->data_dir);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): our own folder */
    live_clone(&n2, &n1);
    live_start(&n2, &n1);
    thaw();
}

static struct seen promote(void)
{
    struct seen seen = {0};
    struct conflict_job *job = conflict_start(l, n2.config.instance, ended, &seen);
    msec began_ms = loop_clock_ms();

    assert_true(promote_trigger(n2.config.instance->data_dir, n2.pid, NULL));
    live_query_until(&n2, "SELECT pg_is_in_recovery()", "f");
    assert_true(loop_clock_ms() - began_ms < PROMOTED_MAX_MS);
    spend(HOLD_MS); /* who is ended is told behind it, and the promotion may be faster */
    conflict_stop(job);
    return seen;
}

static void prepare(void)
{
    must_load("");
    run(&n1, "TRUNCATE public.t");
    run(&n1, "INSERT INTO public.t SELECT generate_series(1, 10)");
    level();
}

static void test_who_holds_the_old_snapshot_is_ended_and_a_later_one_is_not(void **state)
{
    struct client old, later;

    prepare();
    pid_t pid = hold(&old, "SELECT count(*) FROM public.t");
    run(&n1, "DELETE FROM public.t WHERE i < 5");
    level();
    (void)hold(&later, "SELECT 1 FROM public.t LIMIT 1"); /* sees the rows as they are */
    run(&n1, "VACUUM public.t");
    wait_until_replay_waits("RecoveryConflictSnapshot");
    struct seen seen = promote();
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.pid, pid);
    assert_string_equal(seen.wait, "IPC:RecoveryConflictSnapshot");
    assert_false(later.done);
    client_end(&old);
    client_end(&later);
    again();
}

static void test_who_holds_the_lock_is_ended_and_an_older_session_is_not(void **state)
{
    struct client other, locks;

    prepare();
    (void)hold(&other, "SELECT 1");
    pid_t pid = hold(&locks, "SELECT count(*) FROM public.t");
    run(&n1, "ALTER TABLE public.t ADD COLUMN j int");
    wait_until_replay_waits("relation");
    struct seen seen = promote();
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.pid, pid);
    assert_string_equal(seen.wait, "Lock:relation");
    assert_false(other.done);
    client_end(&other);
    client_end(&locks);
    again();
}

static void test_who_pins_the_buffer_is_ended(void **state)
{
    struct client pins;

    prepare();
    run(&n1, "DELETE FROM public.t WHERE i < 5");
    level();
    /* Its snapshot is younger than what is vacuumed away; its cursor stands on the page. */
    pid_t pid = hold(&pins, "DECLARE c CURSOR FOR SELECT * FROM public.t; FETCH 1 FROM c");
    run(&n1, "VACUUM (FREEZE) public.t");
    wait_until_replay_waits("BufferPin");
    struct seen seen = promote();
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.pid, pid);
    assert_string_equal(seen.wait, "BufferPin:BufferPin");
    client_end(&pins);
    again();
}

/* Neither needs any help. */
static void test_a_pause_and_a_delay_end_by_the_promotion_itself(void **state)
{
    struct client other;

    prepare();
    (void)hold(&other, "SELECT 1");
    run(&n2, "ALTER SYSTEM SET recovery_min_apply_delay = '1h'");
    AUTO(cstr) char *loaded = live_query(&n2, "SELECT pg_reload_conf()");
    live_query_until(&n2, "SHOW recovery_min_apply_delay", "1h");
    run(&n1, "INSERT INTO public.t VALUES (100)");
    wait_until_replay_waits("RecoveryApplyDelay");
    AUTO(cstr) char *paused = live_query(&n2, "SELECT pg_wal_replay_pause()");
    struct seen seen = promote();
    assert_int_equal(seen.count, 0);
    assert_false(other.done);
    AUTO(cstr) char *rows = live_query(&n2, "SELECT count(*) FROM public.t WHERE i = 100");
    assert_string_equal(rows, "1");
    client_end(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_holds_the_old_snapshot_is_ended_and_a_later_one_is_not),
        cmocka_unit_test(test_who_holds_the_lock_is_ended_and_an_older_session_is_not),
        cmocka_unit_test(test_who_pins_the_buffer_is_ended),
        cmocka_unit_test(test_a_pause_and_a_delay_end_by_the_promotion_itself),
    };

    config_leave_root();
    return cmocka_run_group_tests(tests, start_pair, stop_pair);
}
