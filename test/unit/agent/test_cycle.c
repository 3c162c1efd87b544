/*
 * One turn of the cycle with everything around it replaced: what is decided is remembered only if it may be done.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "app/agent/act.h"
#include "app/agent/blackbox.h"
#include "app/agent/breach.h"
#include "app/agent/config.h"
#include "app/agent/cycle.h"
#include "app/agent/guard_link.h"
#include "app/agent/health.h"
#include "app/agent/jobs.h"
#include "app/agent/leadership.h"
#include "app/agent/local.h"
#include "app/agent/mesh.h"
#include "app/agent/ops.h"
#include "app/agent/publish.h"
#include "app/agent/quorum.h"
#include "app/agent/registry.h"
#include "app/agent/rounds.h"
#include "app/agent/twin.h"
#include "app/agent/upkeep.h"
#include "pg/clone.h"
#include "wire/conf/dynamic.h"
#include "wire/conf/settings.h"

static char name[] = "n1", system_id[] = "700";
static struct agent a;
static struct settings settings;
static struct dynamic dynamic;
static struct jobs jobs;
static struct cluster cluster;
static struct ha_pg pg;
static struct ha_lease lease;

static struct {
    bool guard_refuses;
    msec promise_again_ms; /* 0: it can be given */
    bool waits;
    int arms, probes;
    struct ha_action acts[HA_ACTIONS_MAX];
    size_t act_count;
} seen;

/* ---- the parts ---- */

struct cluster *registry_past(const struct registry *r)
{
    (void)r;
    return NULL;
}

bool registry_answers(const struct registry *r)
{
    return true;
}

unsigned int registry_setbacks(const struct registry *r)
{
    (void)r;
    return 0;
}

msec registry_read_ms(const struct registry *r)
{
    return loop_clock_ms();
}

struct cluster *registry_cluster(const struct registry *r)
{
    return &cluster;
}

void rounds_failsafe_view(const struct rounds *r, struct ha_lease *ret_lease)
{
}

const struct ha_mesh *mesh_view(struct mesh *m)
{
    return NULL;
}

void mesh_changed(struct mesh *m)
{
}

void rounds_view(const struct rounds *r, struct ha_peers *ret_peers)
{
}

void leadership_view(const struct leadership *s, struct ha_lease *ret_lease)
{
    *ret_lease = lease;
}

int64_t leadership_sure_revision(const struct leadership *s)
{
    return 0;
}

bool leadership_reads_back(const struct leadership *s)
{
    return false;
}

void leadership_renew(struct leadership *s)
{
}

void local_view(const struct local *p, struct ha_pg *ret_pg)
{
    *ret_pg = pg;
}

void local_watch(struct local *p, enum local_watch what)
{
}

void local_probe(struct local *p)
{
    seen.probes++;
}

void breach_watch_notice(struct breach_watch *w, bool by_quorum, bool serving)
{
}

void blackbox_note(struct blackbox *b, const struct ha_memory *m, const struct ha_view *v, const struct ha_plan *p)
{
}

msec blackbox_write(struct blackbox *b)
{
    return MSEC_NEVER;
}

void quorum_notice(struct quorum *q)
{
}

void quorum_view(struct quorum *q, struct ha_view *v)
{
}

bool quorum_carry_out(struct quorum *q, const struct ha_plan *p, msec *again_ms)
{
    if (seen.promise_again_ms)
        *again_ms = msec_min(*again_ms, seen.promise_again_ms);
    return !seen.promise_again_ms;
}

bool quorum_waits(const struct quorum *q, const struct ha_view *v)
{
    return seen.waits;
}

void health_view(const struct health *h, struct ha_health *ret_health)
{
    *ret_health = (struct ha_health){.slowness_percent = 100};
}

void jobs_view(const struct jobs *j, struct ha_job *ret_job)
{
}

void jobs_notice(struct jobs *j)
{
}

msec ops_before_cycle(struct agent *agent)
{
    return MSEC_NEVER;
}

void config_take_dynamic(struct agent *agent)
{
}

bool twin_looked_for(struct agent *agent)
{
    return true;
}

bool clone_works_alone(const struct pg_instance *i)
{
    return false;
}

void publish_fence(struct agent *agent, const struct ha_fence *fence)
{
    agent->plan.fence = *fence;
}

msec publish(struct agent *agent)
{
    return MSEC_NEVER;
}

void publish_ask_failsafe(struct agent *agent)
{
}

msec upkeep(struct agent *agent)
{
    return MSEC_NEVER;
}

bool guard_link_arm(struct guard_link *g, term t, msec stop_at_ms, msec quit_at_ms, msec kill_at_ms, struct err *err)
{
    seen.arms++;
    return seen.guard_refuses ? err_set(err, ERR_SYS, "the guard is gone") : true;
}

bool guard_link_disarm(struct guard_link *g, struct err *err)
{
    return true;
}

uint64_t guard_link_seq(const struct guard_link *g)
{
    return 1;
}

void act(struct agent *agent, const struct ha_action *action)
{
    seen.acts[seen.act_count++] = *action;
    cycle_action_done(agent, true);
}

/* ---- helpers ---- */

/* A leader that serves, and an operator who wants a restart. */
static int setup(void **state)
{
    memset(&seen, 0, sizeof(seen));
    settings = (struct settings){.name = name};
    dynamic = (struct dynamic){.ttl_ms = 30000, .loop_wait_ms = 10000, .retry_timeout_ms = 10000};
    jobs = (struct jobs){0};
    cluster = (struct cluster){.initialize = system_id, .leader = name};
    pg = (struct ha_pg){
        .data = HA_DATA_VALID,
        .process = HA_PROC_RUNNING,
        .answered = true,
        .accepting = true,
        .timeline = 1,
        .checkpointed = true,
    };
    msec now_ms = loop_clock_ms();
    lease = (struct ha_lease){
        .exists = true,
        .owner = true,
        .term = 4,
        .ttl_ms = 30000,
        .renewed_ms = now_ms,
        .tried_ms = now_ms,
        .deadline_ms = now_ms + 30000,
    };
    a = (struct agent){
        .loop = loop_new(), .settings = &settings, .dynamic = &dynamic, .jobs = &jobs, .guard_ready = true};
    a.request.restart = true;
    cycle_init(&a);
    return 0;
}

static int teardown(void **state)
{
    loop_timer_clear(&a.wake);
    loop_free(a.loop);
    return 0;
}

static void cycle(void)
{
    agent_wake(&a);
    loop_turn(a.loop, 0);
}

/* ---- tests ---- */

static void test_what_no_fence_covers_is_neither_done_nor_remembered(void **state)
{
    seen.guard_refuses = true;
    cycle();
    assert_int_equal(seen.arms, 1);
    assert_int_equal(seen.act_count, 0);
    assert_false(a.memory.restart.under_way);

    /* The guard hears us again: the same is decided anew, once. */
    seen.guard_refuses = false;
    a.arm_not_before_ms = 0;
    cycle();
    assert_int_equal(seen.arms, 2);
    assert_true(a.memory.restart.under_way);
    assert_int_equal(seen.act_count, 1);
    assert_int_equal(seen.acts[0].job, HA_JOB_STOP);
}

static void test_a_guard_that_refused_is_not_asked_again_at_once(void **state)
{
    seen.guard_refuses = true;
    cycle();
    assert_true(a.arm_not_before_ms > 0);
    a.arm_not_before_ms += 60000; /* however busy the machine is */
    cycle();
    assert_int_equal(seen.arms, 1);
    assert_int_equal(seen.act_count, 0);
}

/* A full disk: a plan that wakes at once, with a memory that is taken back, would be the same for ever. */
static void test_what_no_promise_covers_is_tried_again_later_and_not_at_once(void **state)
{
    seen.promise_again_ms = loop_clock_ms() + 60000;
    cycle();
    assert_int_equal(seen.act_count, 0);
    assert_false(a.memory.restart.under_way);
    assert_true(a.wake.at_ms > loop_clock_ms());
}

/* Each answer wakes: without a pace of its own a wait that does not end would ask as fast as PostgreSQL answers. */
static void test_who_waits_for_long_asks_postgres_less_often(void **state)
{
    seen.waits = true;
    a.request.restart = false;
    for (int i = 0; i < 50; i++) {
        seen.act_count = 0;
        cycle();
    }
    seen.act_count = 0;
    assert_true(a.look_at_ms > a.waits_since_ms);
    assert_in_range(seen.probes, 1, (a.look_at_ms - a.waits_since_ms) / 10);
    a.waits_since_ms = loop_clock_ms() - 60000;
    a.look_at_ms = 0;
    seen.probes = 0;
    msec asked_ms = loop_clock_ms();
    cycle();
    assert_int_equal(seen.probes, 1);
    assert_true(a.look_at_ms >= asked_ms + 1000);
    seen.waits = false; /* the next time is another one */
    cycle();
    assert_int_equal(a.waits_since_ms, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_who_waits_for_long_asks_postgres_less_often, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_no_fence_covers_is_neither_done_nor_remembered, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_guard_that_refused_is_not_asked_again_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_no_promise_covers_is_tried_again_later_and_not_at_once, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
