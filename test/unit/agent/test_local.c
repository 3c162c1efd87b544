/*
 * PostgreSQL on this host as decisions see it: what the files say against what the server answers, or does not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "app/agent/local.h"
#include "base/str.h"
#include "core/ha/facts.h"
#include "io/loop.h"
#include "pg/instance.h"
#include "pg/probe.h"
#include "test/unit/pg/config.h"
#include "wire/conf/settings.h"
#include "wire/guard.h"

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
    (void)p;
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

static void answers(bool in_recovery)
{
    struct probe_answer answer = {.status = SQL_DONE, .take_facts = mem_zero(1, sizeof(struct pg_facts))};

    answer.take_facts->in_recovery = in_recovery;
    answer.take_facts->timeline = 1;
    probe.fn(&answer, probe.arg);
}

static void is_silent(void)
{
    struct probe_answer answer = {.status = SQL_TIMEOUT};

    probe.fn(&answer, probe.arg);
}

/* ---- fixture ---- */

static struct loop *loop;
static struct local *local;
static struct settings settings;
static struct pg_instance instance;

static void changed(void *arg)
{
    (void)arg;
}

static int setup(void **state)
{
    loop = loop_new();
    local = local_new(loop, changed, NULL);
    instance = (struct pg_instance){.refs = 1, .settings = &settings, .data_dir = config_folder()};
    instance.state_dir = instance.data_dir;
    local_instance(local, &instance);
    return 0;
}

static int teardown(void **state)
{
    local_free(local);
    loop_free(loop);
    config_remove_folder(instance.data_dir);
    return 0;
}

static void runs(pid_t postmaster)
{
    const struct guard_msg guard = {.pg_state = GUARD_PG_RUNNING, .postmaster_pid = postmaster};

    local_guard_state(local, &guard);
}

static void put_standby_signal(void)
{
    AUTO(cstr) char *path = str_fmt("%s/standby.signal", instance.data_dir);

    config_spill(path, "");
}

static bool may_be_primary(void)
{
    struct ha_view view = {0};

    local_view(local, &view.pg);
    return pg_may_be_primary(&view);
}

/* ---- tests ---- */

static void test_a_silent_standby_is_one_by_its_file(void **state)
{
    put_standby_signal();
    runs(1000);
    assert_false(may_be_primary());
    answers(true);
    is_silent();
    assert_false(may_be_primary());
}

/* Promoted by hand, or under an agent before us: nobody has looked at the files since. */
static void test_a_server_that_was_seen_as_primary_stays_one_in_silence(void **state)
{
    put_standby_signal();
    runs(1000);
    answers(false);
    is_silent();
    assert_true(may_be_primary());
}

static void test_the_next_postmaster_is_judged_by_the_file_again(void **state)
{
    put_standby_signal();
    runs(1000);
    answers(false);
    runs(1001);
    assert_false(may_be_primary());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_silent_standby_is_one_by_its_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_server_that_was_seen_as_primary_stays_one_in_silence, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_next_postmaster_is_judged_by_the_file_again, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
