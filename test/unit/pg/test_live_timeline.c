/*
 * Which timeline a node says that it is on, on real servers, as timelines change: at a fork, before it is replayed,
 * where numbers were skipped, where the standby is refused.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"
#include "pair.h"
#include "pg/datadir.h"
#include "pg/freeze.h"
#include "pg/promote.h"

enum { PAGE = 8192, SEGMENT = 16 * 1024 * 1024, GIVEN_UP_MS = 20 * 1000 };

static struct live n3;

struct act {
    bool done;
    struct freeze_result freeze;
};

static void froze(const struct freeze_result *result, void *arg)
{
    struct act *a = arg;

    a->done = true;
    a->freeze = *result;
}

static struct freeze_result freeze(struct live *n, uint32_t noted)
{
    struct conf_input in = {.instance = n->config.instance, .role = CONF_STANDBY};
    struct act a = {0};
    struct freeze_job *job;
    struct err err = {0};

    conffile_hold(&in, &under_promise);
    struct freeze_spec spec = {.instance = n->config.instance,
                               .input = &in,
                               .postmaster = n->pid,
                               .noted_timeline = noted,
                               .budget_ms = BUDGET_MS};
    if (!freeze_start(l, &spec, froze, &a, &job, &err))
        fail_msg("%s", err.text);
    live_wait(l, &a.done, "the freeze");
    if (a.freeze.proof == FREEZE_NOT_SHOWN)
        fail_msg("%s", a.freeze.err.text);
    return a.freeze;
}

static lsn position(struct live *n, const char *function)
{
    AUTO(cstr) char *question = str_fmt("SELECT %s()", function);
    AUTO(cstr) char *text = live_query(n, question);
    lsn at = 0;

    if (!lsn_parse(text, &at))
        fail_msg("%s: %s", question, text ? text : "NULL");
    return at;
}

static void run(struct live *n, const char *statement)
{
    AUTO(cstr) char *local = str_fmt("SET synchronous_commit = local; %s", statement);
    AUTO(cstr) char *answer = live_query(n, local);

    (void)answer;
}

/* Of all that `source` has flushed. */
static void until(struct live *n, const char *function, struct live *source)
{
    AUTO(cstr) char *flushed = live_query(source, "SELECT pg_current_wal_flush_lsn()");
    AUTO(cstr) char *question = str_fmt("SELECT %s() >= '%s'", function, flushed);

    live_query_until(n, question, "t");
}

static void follow(struct live *n, const struct live *upstream)
{
    write_files(n, CONF_STANDBY, upstream, &floor_only);
    if (n->postmaster)
        live_query_until(n, "SELECT status FROM pg_stat_wal_receiver", "streaming");
}

/* Behind everybody's end: it gets a history file of its own for tli, and nobody another. */
static void promote(struct live *n, uint32_t newest, uint32_t tli)
{
    const char *data = n->config.instance->data_dir;

    assert_true(promote_skip_to(data, newest, tli, NULL));
    assert_true(promote_trigger(data, n->pid, NULL));
    live_query_until(n, "SELECT pg_is_in_recovery()", "f");
    assert_true(datadir_clear_promote(data, NULL));
    write_files(n, CONF_PRIMARY, NULL, &floor_only);
}

static int start_three(void **state)
{
    assert_int_equal(start_pair(state), 0);
    live_new(&n3, l, "n3", NULL,
             "{\"synchronous_mode\":\"quorum\",\"failover_profile\":\"fast\",\"postgresql\":{\"parameters\":{\"wal_"
             "retrieve_retry_interval\":\"20ms\"}}}");
    live_clone(&n3, &n1);
    live_start(&n3, &n1);
    follow(&n3, &n1);
    return 0;
}

static int stop_three(void **state)
{
    live_free(&n3);
    return stop_pair(state);
}

/* ---- the first failover: n2 takes over from n1, which becomes its standby ---- */

static lsn fork_2;

static void test_a_position_on_the_page_of_the_fork_is_on_the_new_timeline(void **state)
{
    level();
    live_stop(&n1, SIGINT);
    fork_2 = position(&n2, "pg_last_wal_replay_lsn");
    AUTO(cstr) char *level_3 = str_fmt("SELECT pg_last_wal_replay_lsn() = '%X/%X'", 0, (unsigned)fork_2);
    live_query_until(&n3, level_3, "t");
    write_files(&n3, CONF_STANDBY, NULL, &floor_only); /* it would hear of the new timeline from n1 */
    promote(&n2, 1, 2);
    live_launch(&n1, CONF_STANDBY, &n2);
    live_query_until(&n1, "SELECT status FROM pg_stat_wal_receiver", "streaming");
    run(&n2, "INSERT INTO public.t VALUES (2)");
    until(&n1, "pg_last_wal_replay_lsn", &n2);
    struct freeze_result r = freeze(&n1, 2);
    assert_true(r.position > fork_2 && r.position / PAGE == fork_2 / PAGE);
    assert_int_equal(r.timeline, 2);
    follow(&n1, &n2);
}

/* It knows of the new timeline and asks for it while n2 is silent; then its startup process stands still. */
static pid_t stop_startup_before_the_new_timeline(void)
{
    AUTO(cstr) char *theirs = data_file(&n2, "pg_wal/00000002.history");
    AUTO(cstr) char *ours = data_file(&n3, "pg_wal/00000002.history");
    AUTO(cstr) char *history = config_slurp(theirs);

    assert_int_equal(kill(n2.pid, SIGSTOP), 0);
    config_spill(ours, history);
    spend(HOLD_MS); /* it has looked: its old upstream is gone, and it tries again every 20 ms */
    write_files(&n3, CONF_STANDBY, &n2, &floor_only);
    live_query_until(&n3, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walreceiver'", "1");
    spend(HOLD_MS);
    live_query_until(&n3, "SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'startup'",
                     "RecoveryWalStream");
    pid_t startup = number(&n3, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'startup'");
    assert_int_equal(kill(startup, SIGSTOP), 0);
    assert_int_equal(kill(n2.pid, SIGCONT), 0);
    return startup;
}

/* The note is the agent's, who may not have looked since. */
static void test_what_was_received_and_not_replayed_is_on_the_timeline_of_its_file(void **state)
{
    pid_t startup = stop_startup_before_the_new_timeline();

    live_query_until(&n3, "SELECT received_tli FROM pg_stat_wal_receiver WHERE status = 'streaming'", "2");
    until(&n3, "pg_last_wal_receive_lsn", &n2);
    struct freeze_result r = freeze(&n3, 1);
    assert_int_equal(r.proof, FREEZE_CUT_OFF);
    assert_int_equal(r.replay, fork_2);
    assert_true(r.position == r.receive && r.position > fork_2 && r.position / PAGE == fork_2 / PAGE);
    assert_int_equal(r.timeline, 2);
    assert_int_equal(kill(startup, SIGCONT), 0);
    follow(&n3, &n2);
}

static void test_the_end_of_a_segment_that_is_not_replayed_is_on_the_timeline_of_its_file(void **state)
{
    until(&n3, "pg_last_wal_replay_lsn", &n2);
    pid_t startup = number(&n3, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'startup'");
    assert_int_equal(kill(startup, SIGSTOP), 0);
    run(&n2, "SELECT pg_switch_wal()");
    until(&n3, "pg_last_wal_receive_lsn", &n2);
    struct freeze_result r = freeze(&n3, 0);
    assert_int_equal(kill(startup, SIGCONT), 0);
    assert_true(r.receive > r.replay);
    assert_int_equal(r.timeline, 2);
    follow(&n3, &n2);
}

static void test_a_position_at_a_segments_end_is_on_its_files_timeline(void **state)
{
    run(&n2, "SELECT pg_switch_wal()");
    until(&n1, "pg_last_wal_replay_lsn", &n2);
    struct freeze_result r = freeze(&n1, 2);
    assert_int_equal(r.timeline, 2);
    assert_true(r.position % SEGMENT == 0 || r.position % SEGMENT <= PAGE);
    follow(&n1, &n2);
}

/* ---- the second one, onto the number after one that was skipped ---- */

static void test_a_standby_follows_past_numbers_that_were_skipped(void **state)
{
    until(&n3, "pg_last_wal_replay_lsn", &n2);
    until(&n1, "pg_last_wal_replay_lsn", &n2);
    live_stop(&n2, SIGINT);
    promote(&n1, 2, 5);
    run(&n1, "INSERT INTO public.t VALUES (5)");
    follow(&n3, &n1);
    until(&n3, "pg_last_wal_replay_lsn", &n1);
    struct freeze_result r = freeze(&n3, 0);
    assert_int_equal(r.timeline, 5);
    follow(&n3, &n1);
}

/* ---- a standby that is ahead of the winner ---- */

static void must_say_its_own_timeline(uint32_t tli, lsn at)
{
    AUTO(pg_facts) struct pg_facts *f = live_facts(&n3);

    assert_true(f->in_recovery && f->position == at);
    assert_true(f->timeline == tli || f->timeline == 0);
}

/* It connects, is streamed the old timeline up to the fork, acknowledges where it stands itself, and begins anew. */
static void test_a_standby_that_is_ahead_never_says_that_it_is_on_the_new_timeline(void **state)
{
    bool listed = false;

    until(&n3, "pg_last_wal_replay_lsn", &n1);
    write_files(&n2, CONF_STANDBY, &n1, &floor_only);
    live_start(&n2, &n1);
    until(&n2, "pg_last_wal_replay_lsn", &n1);
    lsn fork = freeze(&n2, 0).position;
    run(&n1, "INSERT INTO public.t SELECT generate_series(1, 1000)");
    until(&n3, "pg_last_wal_replay_lsn", &n1);
    live_stop(&n1, SIGINT);
    live_query_until(&n3, "SELECT count(*) FROM pg_stat_wal_receiver", "0");
    lsn ahead = position(&n3, "pg_last_wal_replay_lsn");
    assert_true(ahead > fork);
    promote(&n2, 5, 6);
    write_files(&n3, CONF_STANDBY, &n2, &floor_only);
    for (msec until_ms = loop_clock_ms() + 3000; loop_clock_ms() < until_ms;) {
        must_say_its_own_timeline(5, ahead);
        listed |= number(&n2, "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'n3'") > 0;
        run(&n2, "INSERT INTO public.t VALUES (6)");
    }
    assert_true(listed);
    struct freeze_result r = freeze(&n3, 6);
    assert_int_equal(r.timeline, 5);
    assert_int_equal(r.position, ahead);
}

/* ---- a host that drops what is sent to it ---- */

/* Its queue is full: the kernel drops what else wants to connect. */
static int silent_port(int fds[4])
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);

    for (int i = 0; i < 4; i++)
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fds[0], (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(getsockname(fds[0], (struct sockaddr *)&addr, &len), 0);
    assert_int_equal(listen(fds[0], 0), 0);
    for (int i = 1; i < 4; i++)
        (void)connect(fds[i], (struct sockaddr *)&addr, sizeof(addr)); /* the first one is taken, others wait */
    return ntohs(addr.sin_port);
}

static void test_a_walreceiver_gives_up_a_host_that_does_not_answer(void **state)
{
    static const char receiver[] = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walreceiver'";
    int fds[4];
    struct live silent = {.port = silent_port(fds)};
    pid_t first = 0;

    write_files(&n3, CONF_STANDBY, &silent, &floor_only);
    msec until_ms = loop_clock_ms() + GIVEN_UP_MS;
    for (pid_t now = 0; !first || now == first || !now; now = number(&n3, receiver)) {
        assert_true(loop_clock_ms() < until_ms); /* minutes without tcp_user_timeout */
        if (!first)
            first = now;
        spend(20);
    }
    for (int i = 0; i < 4; i++)
        (void)close(fds[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_position_on_the_page_of_the_fork_is_on_the_new_timeline),
        cmocka_unit_test(test_what_was_received_and_not_replayed_is_on_the_timeline_of_its_file),
        cmocka_unit_test(test_the_end_of_a_segment_that_is_not_replayed_is_on_the_timeline_of_its_file),
        cmocka_unit_test(test_a_position_at_a_segments_end_is_on_its_files_timeline),
        cmocka_unit_test(test_a_standby_follows_past_numbers_that_were_skipped),
        cmocka_unit_test(test_a_standby_that_is_ahead_never_says_that_it_is_on_the_new_timeline),
        cmocka_unit_test(test_a_walreceiver_gives_up_a_host_that_does_not_answer),
    };

    config_leave_root();
    return cmocka_run_group_tests(tests, start_three, stop_three);
}
