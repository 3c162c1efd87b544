#include "app/agent/cycle.h"

#include "app/agent/act.h"
#include "app/agent/blackbox.h"
#include "app/agent/breach.h"
#include "app/agent/config.h"
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
#include "base/check.h"
#include "base/fault.h"
#include "base/mutant.h"
#include "base/str.h"
#include "core/ha/facts.h"
#include "core/ha/profile.h"
#include "io/log.h"
#include "pg/clone.h"
#include "wire/conf/dynamic.h"
#include "wire/conf/settings.h"

enum {
    SAY_AGAIN_MS = 10000, /* an unchanged state is logged that often, as Patroni's heartbeat line */
    ARM_AGAIN_MS = 200,
    LOOK_AGAIN_MS = 10, /* clients wait for what PostgreSQL here shows next */
    LOOK_SHARE = 20,    /* … for so long already: a look each twentieth of it; each costs milliseconds … */
    LOOK_SELDOM_MS = 1000,
};

static enum ha_sync_mode sync_mode_of(const struct dynamic *d)
{
    switch (d->synchronous_mode) {
    case SYNC_MODE_OFF:
        return HA_SYNC_OFF;
    case SYNC_MODE_ON:
        return HA_SYNC_ON;
    case SYNC_MODE_QUORUM:
        return HA_SYNC_QUORUM;
    }
    UNREACHABLE();
}

static void conf_view(struct agent *a, struct ha_conf *conf)
{
    const struct dynamic *d = a->dynamic;

    *conf = (struct ha_conf){
        .name = a->settings->name,
        .ttl_ms = d->ttl_ms,
        .loop_wait_ms = d->loop_wait_ms,
        .retry_timeout_ms = d->retry_timeout_ms,
        .primary_start_timeout_ms = d->primary_start_timeout_ms,
        .primary_race_backoff_ms = d->primary_race_backoff_ms,
        .pg_ctl_timeout_ms = d->pg_ctl_timeout_s * 1000LL,
        .primary_stop_timeout_ms = d->primary_stop_timeout_ms,
        .maximum_lag_on_failover = d->maximum_lag_on_failover,
        .peer_lease = d->peer_lease,
        .pause = d->pause,
        .failsafe_mode = d->failsafe_mode,
        .use_pg_rewind = d->use_pg_rewind,
        .remove_on_rewind_failure = d->remove_data_directory_on_rewind_failure,
        .remove_on_diverged_timelines = d->remove_data_directory_on_diverged_timelines,
        .clone_without_leader = a->instance && clone_works_alone(a->instance),
        .refused = dynamic_refused(d),
        .sync_mode = sync_mode_of(d),
        .sync_strict = d->synchronous_mode_strict,
        .sync_node_count = d->synchronous_node_count,
        .maximum_lag_on_syncnode = d->maximum_lag_on_syncnode,
        .profile = *profile_of(d->failover_profile),
        .pre_promote = !str_empty(a->dynamic->pre_promote),
        .witness = a->settings->pgkeep.witness,
    };
    member_tags_read(a->settings->tags.all, &conf->tags);
}

static void notice_setbacks(struct agent *a)
{
    if (a->setbacks == registry_setbacks(a->registry))
        return;
    a->setbacks = registry_setbacks(a->registry);
    a->setback_ms = loop_clock_ms();
}

void cycle_view(struct agent *a, struct ha_view *ret_view)
{
    struct ha_view *v = ret_view;

    notice_setbacks(a);
    *v = (struct ha_view){.now_ms = loop_clock_ms(), .wall_ms = wall_clock_ms()};
    conf_view(a, &v->conf);
    v->store.known = registry_answers(a->registry);
    v->store.read_ms = registry_read_ms(a->registry);
    v->store.cluster = registry_cluster(a->registry);
    v->store.past = registry_past(a->registry);
    v->store.reads_back = leadership_reads_back(a->leadership);
    v->store.sure_revision = leadership_sure_revision(a->leadership);
    v->store.setback_ms = a->setback_ms;
    v->elector.granted_ms = a->vote_granted_ms;
    v->store.failsafe_heard_ms = a->failsafe_heard_ms;
    v->store.failsafe_heard_from = a->failsafe_heard_from;
    v->store.failsafe_heard_ttl_ms = a->failsafe_heard_ttl_ms;
    rounds_failsafe_view(a->rounds, &v->lease);
    leadership_view(a->leadership, &v->lease);
    v->lease.inherited_stop_ms = a->inherited_stop_ms;
    v->lease.inherited_quit_ms = a->inherited_quit_ms;
    v->lease.inherited_kill_ms = a->inherited_kill_ms;
    local_view(a->local, &v->pg);
    v->pg.checkpoint_failed_ms = a->checkpoint_failed_ms;
    rounds_view(a->rounds, &v->peers);
    v->mesh = mesh_view(a->mesh);
    quorum_view(a->quorum, v);
    jobs_view(a->jobs, &v->job);
    v->request = a->request;
    health_view(a->health, &v->health);
}

/*
 * Tell the guard, if it is to know something new. False: it could not be told, and nothing that needs
 * a fence may be done; the one in force stands.
 */
static bool arm(struct agent *a, const struct ha_fence *f)
{
    struct err err = {0};
    msec now_ms = loop_clock_ms();

    if (a->fence_sent_kill_ms == f->kill_ms && a->fence_sent_stop_ms == f->stop_ms)
        return true;
    if (now_ms < a->arm_not_before_ms) /* refused a moment ago: the guard is stopping PostgreSQL */
        return false;
    bool sent = f->kill_ms == MSEC_NEVER
                    ? FAULT_CALL("cycle.disarm", &err, guard_link_disarm(a->guard, &err))
                    : FAULT_CALL("cycle.arm", &err,
                                 guard_link_arm(a->guard, f->term, f->stop_ms, f->quit_ms, f->kill_ms, &err));
    if (!sent) {
        log_error("fence.not_sent", "%s", err.text);
        a->arm_not_before_ms = now_ms + ARM_AGAIN_MS;
        return false;
    }
    a->arm_seq = guard_link_seq(a->guard);
    a->fence_sent_kill_ms = f->kill_ms;
    a->fence_sent_stop_ms = f->stop_ms;
    return true;
}

static void say(struct agent *a)
{
    msec now_ms = loop_clock_ms();
    bool same = str_eq(a->said, a->plan.why);

    if (!a->plan.why[0] || (same && now_ms - a->said_ms < SAY_AGAIN_MS))
        return;
    str_copy(a->said, sizeof(a->said), a->plan.why);
    a->said_ms = now_ms;
    log_info("ha.state", "%s: %s", agent_name(a), a->plan.why);
}

/* Nobody looks at this node until it should lead; then it is late. */
static void say_unfit(struct agent *a, const struct ha_view *v)
{
    char why[UNKEPT_MAX] = "";

    (void)node_is_unfit(v, why);
    if (str_eq(why, a->said_unfit))
        return;
    str_copy(a->said_unfit, sizeof(a->said_unfit), why);
    if (why[0])
        log_critical("node.unfit", "%s: this node will not become primary", why);
    else
        log_info("node.fit", "nothing is promised any more that this node could not keep");
}

static void act_next(struct agent *a)
{
    while (!a->executing && a->plan_at < a->plan.count) {
        a->executing = true;
        act(a, &a->plan.actions[a->plan_at++]); /* ends by cycle_action_done(), now or later */
    }
}

void cycle_action_done(struct agent *a, bool ok)
{
    CHECK(a->executing);
    a->executing = false;
    if (!ok)
        a->plan_at = a->plan.count;
    if (a->waited) {
        /* The world has moved on while the action waited: after the rest of its plan it is decided anew. */
        a->waited = false;
        act_next(a);
        if (!a->executing)
            agent_wake(a);
    }
}

/* While an action waits for the store, the lease and the fence go on: neither waits for anything. */
static void keep_lease(struct agent *a)
{
    struct ha_view view;
    struct ha_plan light = {.wake_ms = MSEC_NEVER};

    cycle_view(a, &view);
    ha_keep_lease(&a->memory, &view, &light);
    member_tags_deinit(&view.conf.tags);
    FAULT_POINT("cycle.keep_lease");
    a->vote = light.vote;
    if (arm(a, &light.fence))
        publish_fence(a, &light.fence);
    else
        plan_wake(&light, a->arm_not_before_ms);
    msec again_ms = MSEC_NEVER;
    (void)quorum_carry_out(a->quorum, &light, &again_ms); /* what waits goes on or not by its own term */
    plan_wake(&light, again_ms);
    blackbox_note(a->blackbox, &a->memory, &view, &light);
    for (size_t i = 0; i < light.count; i++) {
        if (light.actions[i].kind == HA_DO_RENEW)
            leadership_renew(a->leadership);
        else if (light.actions[i].kind == HA_DO_ASK_FAILSAFE)
            publish_ask_failsafe(a);
    }
    mesh_changed(a->mesh);
    loop_timer_set(&a->wake, light.wake_ms);
    plan_reset(&light);
}

/*
 * What is waited for comes within moments, or (a standby that is down, a freeze that the disk does not take) maybe
 * never: who has waited for long looks less often, until a peer tells something new.
 */
static void look_while_waiting(struct agent *a, msec now_ms)
{
    if (!a->waits_since_ms) {
        a->waits_since_ms = now_ms;
        a->look_at_ms = 0;
    }
    if (now_ms >= a->look_at_ms) {
        msec share_ms = (now_ms - a->waits_since_ms) / LOOK_SHARE;
        a->look_at_ms = now_ms + msec_min(msec_max(share_ms, LOOK_AGAIN_MS), LOOK_SELDOM_MS);
        local_probe(a->local);
    }
    plan_wake(&a->plan, a->look_at_ms);
}

/* Clients wait for a successor: how far we are is looked at as often as during a start. */
static void hurry(struct agent *a, const struct ha_view *v)
{
    const struct cluster *c = v->store.cluster;
    bool waited_for = c && !c->leader && c->failover.present &&
                      (!c->failover.candidate || str_eq(c->failover.candidate, agent_name(a)));

    if (a->jobs->state == HA_JOB_RUNNING)
        return;
    local_watch(a->local, waited_for || a->freeze.frozen ? LOCAL_ANSWER : LOCAL_CALM);
    if (quorum_waits(a->quorum, v))
        look_while_waiting(a, v->now_ms);
    else
        a->waits_since_ms = 0;
}

static void cycle_run(void *arg)
{
    struct agent *a = arg;
    struct ha_view view;

    a->woken = false;
    if (!a->guard_ready)
        return;
    if (a->executing) { /* an action waits for the store; its end wakes us */
        a->waited = true;
        keep_lease(a);
        return;
    }
    if (!twin_looked_for(a))
        return;
    jobs_notice(a->jobs);
    msec ops_wake_ms = ops_before_cycle(a);
    config_take_dynamic(a);

    quorum_notice(a->quorum);
    cycle_view(a, &view);
    struct ha_memory before = a->memory;
    ha_decide(&a->memory, &view, &a->plan);
    FAULT_POINT("cycle.decided");
    a->vote = a->plan.vote;
    say_unfit(a, &view);
    member_tags_deinit(&view.conf.tags);
    bool armed = MUTANT(FENCE_AFTER_ACTING) || arm(a, &a->plan.fence);
    FAULT_POINT("cycle.armed");
    msec again_ms = armed ? MSEC_NEVER : a->arm_not_before_ms;
    /* What is promised now, or could not be, changes what may be done. */
    bool carried_out = quorum_carry_out(a->quorum, &a->plan, &again_ms) && armed;
    if (carried_out)
        say(a);
    else /* nothing of the plan is done: it has not been decided */
        a->memory = before;
    if (armed)
        blackbox_note(a->blackbox, &a->memory, &view, &a->plan);
    breach_watch_notice(a->breaches, a->freeze.names_floor != NULL, a->plan.serving);
    hurry(a, &view);
    msec publish_ms = publish(a);
    mesh_changed(a->mesh);
    FAULT_POINT("cycle.published");
    /* What was not carried out has changed nothing: decided again at once it would be the same. */
    msec plan_ms = carried_out ? a->plan.wake_ms : again_ms;
    msec wake_ms = msec_min(msec_min(plan_ms, ops_wake_ms), msec_min(publish_ms, upkeep(a)));
    loop_timer_set(&a->wake, msec_min(wake_ms, blackbox_write(a->blackbox)));

    a->plan_at = 0;
    if (!carried_out)
        a->plan.count = 0;
    act_next(a);
    FAULT_POINT("cycle.acted");
    if (MUTANT(FENCE_AFTER_ACTING))
        (void)arm(a, &a->plan.fence);
    a->waited = a->executing;
}

void agent_wake(struct agent *a)
{
    if (a->woken)
        return;
    a->woken = true;
    loop_defer(a->loop, cycle_run, a);
}

static void wake_due(void *arg)
{
    agent_wake(arg);
}

const char *agent_name(const struct agent *a)
{
    return a->settings->name;
}

void cycle_init(struct agent *a)
{
    ha_memory_init(&a->memory);
    loop_timer_init(&a->wake, a->loop, wake_due, a);
}
