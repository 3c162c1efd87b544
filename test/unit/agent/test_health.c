/*
 * Gray failures of real servers, at the pace of quorum mode: a primary and a standby, each with its probes. What is a
 * failure shows and goes again; what only looks like one does not show.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/agent/health.h"
#include "app/agent/local.h"
#include "base/str.h"
#include "io/log.h"
#include "pg/instance.h"
#include "pg/sql.h"
#include "test/unit/pg/live.h"
#include "wire/guard.h"
#include "wire/peer.h"

enum { WAIT_MS = 20000 };

struct node {
    struct live live;
    struct local *local;
    struct health *health;
};

static struct loop *loop;
static struct node primary, standby;
static bool writing = true;

static void local_changed(void *arg)
{
    struct node *n = arg;

    if (n->health)
        health_notice(n->health);
}

static void health_changed(void *arg)
{
    (void)arg; /* looked at when it is wanted */
}

static bool may_write(void *arg)
{
    (void)arg;
    return writing;
}

static void tell_guard_state(struct node *n)
{
    const struct guard_msg state = {.pg_state = GUARD_PG_RUNNING, .postmaster_pid = n->live.pid};

    local_guard_state(n->local, &state);
}

static void look_after(struct node *n)
{
    n->local = local_new(loop, local_changed, n);
    n->health = health_new(loop, n->local, health_changed, may_write, n);
    local_instance(n->local, n->live.config.instance);
    health_instance(n->health, n->live.config.instance, true, PROFILE_DEFAULT);
    tell_guard_state(n);
}

static int start_all(void **state)
{
    loop = loop_new();
    live_new(&primary.live, loop, "n1", NULL, "{\"postgresql\": {\"parameters\": {\"max_connections\": 25}}}");
    live_bootstrap(&primary.live);
    live_new(&standby.live, loop, "n2", NULL, "{\"postgresql\": {\"parameters\": {\"max_connections\": 25}}}");
    live_clone(&standby.live, &primary.live);
    live_start(&standby.live, &primary.live);
    look_after(&primary);
    look_after(&standby);
    return 0;
}

static int stop_all(void **state)
{
    struct node *nodes[] = {&primary, &standby};

    for (size_t i = 0; i < ARRAY_LEN(nodes); i++) {
        health_free(nodes[i]->health);
        local_free(nodes[i]->local);
        live_free(&nodes[i]->live);
    }
    loop_free(loop);
    return 0;
}

static struct ha_health look(const struct node *n)
{
    struct ha_health health;

    health_view(n->health, &health);
    return health;
}

/* Until cond, which sees `seen`; returns how long that took. */
#define AWAIT(node, cond)                                                                             \
    ({                                                                                                \
        msec begin_ms = loop_clock_ms();                                                              \
        struct ha_health seen = look(node);                                                           \
        while (!(cond)) {                                                                             \
            if (loop_clock_ms() - begin_ms >= WAIT_MS)                                                \
                fail_msg("waited too long for " #cond ", sick is %u", (unsigned int)look(node).sick); \
            loop_turn(loop, 10);                                                                      \
            seen = look(node);                                                                        \
        }                                                                                             \
        loop_clock_ms() - begin_ms;                                                                   \
    })

static void turn_for(msec ms)
{
    for (msec end_ms = loop_clock_ms() + ms; loop_clock_ms() < end_ms;)
        loop_turn(loop, 10);
}

static int is_well(void **state)
{
    (void)AWAIT(&primary, !seen.sick && seen.disk_ms != MSEC_NEVER);
    (void)AWAIT(&standby, !seen.sick && seen.wal_age_ms != UINT32_MAX);
    return 0;
}

static void test_a_stopped_postmaster_is_halted_and_takes_no_connections(void **state)
{
    assert_int_equal(kill(primary.live.pid, SIGSTOP), 0);
    (void)AWAIT(&primary, seen.sick & PEER_SICK_HALTED);
    (void)AWAIT(&primary, seen.sick & PEER_SICK_CONNECT);
    assert_false(look(&primary).sick & PEER_SICK_PROBE); /* the connection that is there works on */
    assert_int_equal(kill(primary.live.pid, SIGCONT), 0);
    (void)AWAIT(&primary, !seen.sick);
}

static pid_t backend_of_probe(struct node *n)
{
    AUTO(cstr)
    char *pid = live_query(&n->live, "SELECT pid FROM pg_stat_activity WHERE application_name = 'pgkeep'"
                                     " AND pid <> pg_backend_pid() ORDER BY backend_start LIMIT 1");

    assert_non_null(pid);
    return (pid_t)strtol(pid, NULL, 10);
}

static void test_a_backend_that_hangs_is_silent_while_new_ones_answer(void **state)
{
    pid_t backend = backend_of_probe(&primary);

    assert_true(backend > 1);
    assert_int_equal(kill(backend, SIGSTOP), 0);
    (void)AWAIT(&primary, seen.sick & PEER_SICK_PROBE);
    assert_int_equal(look(&primary).sick, PEER_SICK_PROBE);
    assert_int_equal(kill(backend, SIGCONT), 0);
    (void)AWAIT(&primary, !seen.sick);
}

struct client { /* that keeps its connection */
    struct sql *sql;
    bool answered, refused;
};

static void client_answered(const struct sql_result *result, void *arg)
{
    struct client *c = arg;

    c->answered = true;
    c->refused = str_eq(result->sqlstate, "53300");
}

static void test_too_many_clients_are_no_sickness(void **state)
{
    static const struct sql_statement question = {.text = "SELECT 1"};
    struct sql_target target = pg_instance_local(primary.live.config.instance, NULL);
    struct client clients[40] = {0};

    /* As superuser, until those reserved for us are taken, too. */
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        clients[i].sql = sql_new(loop, &target);
        sql_run(clients[i].sql, &question, 1, WAIT_MS, client_answered, &clients[i]);
        live_wait(loop, &clients[i].answered, "a client");
    }
    assert_true(clients[ARRAY_LEN(clients) - 1].refused);
    for (msec end_ms = loop_clock_ms() + 5000; loop_clock_ms() < end_ms;) { /* two new connections and more */
        loop_turn(loop, 10);
        assert_int_equal(look(&primary).sick, 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        sql_free(clients[i].sql);
    live_query_until(&primary.live, "SELECT 1", "1");
}

/* Nobody writes: the sign of life is what comes. */
static void test_an_idle_primary_keeps_its_standbys_wal_young(void **state)
{
    turn_for(2000);
    for (int i = 0; i < 10; i++) { /* without a sign it grows old once, and for ever */
        turn_for(500);
        /* a sign every 400 ms, flushed within 200, looked at four times a second */
        (void)AWAIT(&standby, seen.wal_age_ms <= 700);
    }
    assert_true(look(&primary).wal_age_ms == UINT32_MAX);
}

static void test_who_may_not_write_gives_no_sign(void **state)
{
    writing = false;
    turn_for(2000); /* what was under way */
    AUTO(cstr) char *before = live_query(&primary.live, "SELECT pg_current_wal_insert_lsn()");
    turn_for(5000);
    AUTO(cstr) char *question = str_fmt("SELECT pg_current_wal_insert_lsn() - '%s'::pg_lsn", before);
    AUTO(cstr) char *written = live_query(&primary.live, question);
    writing = true;
    /* twelve signs have 768 bytes; a snapshot of running transactions that the server writes by itself has 56 */
    assert_true(strtol(written, NULL, 10) < 200);
    (void)AWAIT(&standby, seen.wal_age_ms < 1000);
}

static void test_wal_that_does_not_come_any_more_grows_old(void **state)
{
    AUTO(cstr) char *senders = live_query(&primary.live, "SELECT min(pid) FROM pg_stat_replication");
    pid_t sender = (pid_t)strtol(senders ? senders : "0", NULL, 10);

    assert_true(sender > 1);
    assert_int_equal(kill(sender, SIGSTOP), 0);
    (void)AWAIT(&standby, seen.wal_age_ms > 3000 && seen.wal_age_ms != UINT32_MAX);
    assert_int_equal(look(&standby).sick, 0);
    assert_int_equal(kill(sender, SIGCONT), 0);
    (void)AWAIT(&standby, seen.wal_age_ms < 1500);
}

/* The last one: the server goes. */
static void test_a_server_that_ends_is_not_sick(void **state)
{
    const struct guard_msg none = {.pg_state = GUARD_PG_NONE};

    live_stop(&primary.live, SIGINT);
    local_guard_state(primary.local, &none);
    turn_for(1500);
    assert_int_equal(look(&primary).sick, 0);
    assert_true(look(&primary).disk_ms == MSEC_NEVER); /* nobody writes into what may be removed now */
    live_start(&primary.live, NULL);
    tell_guard_state(&primary);
    (void)AWAIT(&primary, seen.disk_ms != MSEC_NEVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_stopped_postmaster_is_halted_and_takes_no_connections, is_well),
        cmocka_unit_test_setup(test_a_backend_that_hangs_is_silent_while_new_ones_answer, is_well),
        cmocka_unit_test_setup(test_too_many_clients_are_no_sickness, is_well),
        cmocka_unit_test_setup(test_an_idle_primary_keeps_its_standbys_wal_young, is_well),
        cmocka_unit_test_setup(test_who_may_not_write_gives_no_sign, is_well),
        cmocka_unit_test_setup(test_wal_that_does_not_come_any_more_grows_old, is_well),
        cmocka_unit_test_setup(test_a_server_that_ends_is_not_sick, is_well),
    };

    config_leave_root();
    return cmocka_run_group_tests(tests, start_all, stop_all);
}
