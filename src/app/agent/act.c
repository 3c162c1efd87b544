#include "app/agent/act.h"

#include <stdlib.h>

#include "app/agent/config.h"
#include "app/agent/cycle.h"
#include "app/agent/guard_link.h"
#include "app/agent/jobs.h"
#include "app/agent/leadership.h"
#include "app/agent/local.h"
#include "app/agent/ops.h"
#include "app/agent/publish.h"
#include "app/agent/quorum.h"
#include "app/agent/registry.h"
#include "app/agent/rounds.h"
#include "base/check.h"
#include "base/fault.h"
#include "base/mutant.h"
#include "base/str.h"
#include "core/ha/facts.h"
#include "core/ha/fence.h"
#include "core/ha/mode.h"
#include "core/ha/rejoin.h"
#include "io/log.h"
#include "pg/datadir.h"
#include "pg/instance.h"
#include "pg/sql.h"
#include "store/store.h"
#include "wire/conf/dynamic.h"
#include "wire/conf/settings.h"
#include "wire/guard.h"

enum {
    CHECKPOINT_MS = 3600000, /* after a promotion; as long as the disk needs */
    ORPHANS_AGAIN_MS = 200,
    AGAIN_MS = 1000, /* what the store or the disk refused is not tried again at once */
};

/* ---- the leader key ---- */

static void acquired(enum leadership_result result, const char *why, void *arg)
{
    struct agent *a = arg;

    FAULT_POINT("act.acquire.answered");
    switch (result) {
    case LEADERSHIP_OK:
        log_info("leader.acquired", "acquired the leader key");
        break;
    case LEADERSHIP_LOST:
    case LEADERSHIP_CHANGED:
        log_info("leader.lost_race", "%s", why);
        break;
    case LEADERSHIP_UNSURE:
        a->writes_not_before_ms = loop_clock_ms() + AGAIN_MS;
        log_warning("leader.unsure", "taking the leader key: %s; reading it back", why);
        break;
    }
    cycle_action_done(a, result == LEADERSHIP_OK);
}

static void released(enum leadership_result result, const char *why, void *arg)
{
    struct agent *a = arg;

    FAULT_POINT("act.release.answered");
    if (result == LEADERSHIP_OK)
        log_info("leader.released", "let go of the leader key");
    else
        log_warning("leader.release_failed", "letting go of the leader key: %s", why ? why : "no answer");
    cycle_action_done(a, result == LEADERSHIP_OK || result == LEADERSHIP_LOST);
}

/* The next decision waits for the reading back, whatever the answer was. */
static void record_changed(enum leadership_result result, const char *why, void *arg)
{
    struct agent *a = arg;
    const struct record_key *next = &a->plan.record.next;

    switch (result) {
    case LEADERSHIP_OK:
        log_info("record.changed", "term %llu, %s, leader %s", (unsigned long long)next->term,
                 record_phase_text(next->phase), next->leader ? next->leader : "none");
        break;
    case LEADERSHIP_LOST:
    case LEADERSHIP_CHANGED:
        log_info("record.lost_race", "%s; deciding anew", why);
        break;
    case LEADERSHIP_UNSURE:
        log_warning("record.unsure", "changing the record: %s; reading it back", why);
        break;
    }
    cycle_action_done(a, result == LEADERSHIP_OK);
}

/* ---- other keys ---- */

static void key_written(const struct store_result *result, void *arg)
{
    struct agent *a = arg;
    bool ok = result->status == STORE_DONE && result->succeeded;

    FAULT_POINT("act.key.written");
    if (!ok)
        a->writes_not_before_ms = loop_clock_ms() + AGAIN_MS;

    if (result->status == STORE_DONE)
        registry_heard(a->registry);
    else
        log_warning("store.write_failed", "%s", result->err ? result->err->text : "no answer");
    registry_refresh(a->registry);
    cycle_action_done(a, ok);
}

static void write_keys(struct agent *a, const struct store_compare *compares, size_t compare_count,
                       const struct store_op *ops, size_t op_count)
{
    struct store_txn txn = {.compares = compares, .compare_count = compare_count, .then = ops, .then_count = op_count};

    if (loop_clock_ms() < a->writes_not_before_ms)
        cycle_action_done(a, false);
    else
        store_txn(a->store, &txn, a->dynamic->retry_timeout_ms, key_written, a);
}

static char *key(const struct agent *a, const char *name)
{
    return str_fmt("%s%s", a->settings->key_prefix, name);
}

/* The claim hangs on our lease: it goes if we do. */
static void claim_bootstrap(struct agent *a)
{
    AUTO(cstr) char *initialize = key(a, "initialize");
    struct store_compare absent = {.kind = STORE_IF_ABSENT, .key = initialize};
    struct store_op put = {.kind = STORE_PUT, .key = initialize, .value = "", .lease = leadership_lease(a->leadership)};

    write_keys(a, &absent, 1, &put, 1);
}

static void write_initialize(struct agent *a)
{
    const struct cluster *c = registry_cluster(a->registry);
    AUTO(cstr) char *initialize = key(a, "initialize");
    AUTO(cstr) char *config = key(a, "config");
    AUTO(cstr) char *leader = key(a, "leader");
    json_t *seed = config_seed(a);
    AUTO(cstr) char *text = json_dumps(seed, JSON_COMPACT);
    json_decref(seed);
    struct store_compare ours = {.kind = STORE_IF_VALUE, .key = leader, .value = agent_name(a)};
    struct store_op ops[] = {
        {.kind = STORE_PUT, .key = initialize, .value = local_system_id(a->local)},
        {.kind = STORE_PUT, .key = config, .value = text},
    };

    CHECK(local_system_id(a->local));
    write_keys(a, &ours, 1, ops, c && c->config ? 1 : 2);
}

/* Only the claim, never a finished cluster's identifier. */
static void drop_initialize(struct agent *a)
{
    AUTO(cstr) char *initialize = key(a, "initialize");
    struct store_compare claim = {.kind = STORE_IF_VALUE, .key = initialize, .value = ""};
    struct store_op drop = {.kind = STORE_DELETE, .key = initialize};

    write_keys(a, &claim, 1, &drop, 1);
}

static void clear_failover(struct agent *a)
{
    const struct cluster *c = registry_cluster(a->registry);
    AUTO(cstr) char *failover = key(a, "failover");
    struct store_compare same = {.kind = STORE_IF_MOD_REVISION, .key = failover, .revision = c->failover.mod_revision};
    struct store_op clear = {.kind = STORE_PUT, .key = failover, .value = "{}"};

    write_keys(a, &same, 1, &clear, 1);
}

/* ---- PostgreSQL ---- */

static void follow(struct agent *a, const char *upstream)
{
    struct err err = {0};

    if (loop_clock_ms() < a->follow_not_before_ms) {
        cycle_action_done(a, false);
        return;
    }
    bool ok = (MUTANT(PLACEHOLDERS_KEPT) ||
               FAULT_CALL("act.follow.clear", &err, datadir_clear_promote(a->instance->data_dir, &err))) &&
              FAULT_CALL("act.follow.files", &err, config_apply(a, CONF_STANDBY, *upstream ? upstream : NULL, &err));

    FAULT_POINT("act.follow.done");
    if (ok)
        log_info("standby.follow", "now following %s", *upstream ? upstream : "nobody");
    else
        log_error("standby.follow_failed", "following %s: %s", upstream, err.text);
    if (!ok)
        a->follow_not_before_ms = loop_clock_ms() + AGAIN_MS;
    local_probe(a->local);
    cycle_action_done(a, ok);
}

static void checkpointed(const struct sql_result *result, void *arg)
{
    struct agent *a = arg;

    a->checkpoint_busy = false;
    if (result->status != SQL_DONE) {
        log_warning("checkpoint.failed", "checkpoint after the promotion: %s", result->err.text);
        a->checkpoint_failed_ms = loop_clock_ms();
    }
    local_probe(a->local);
}

static void checkpoint(struct agent *a)
{
    static const struct sql_statement statement = {.text = "CHECKPOINT"};
    struct sql_target target = pg_instance_local(a->instance, NULL);

    if (!a->checkpoint_busy) {
        a->checkpoint_busy = true;
        a->checkpoint_failed_ms = 0;
        (void)sql_once(a->loop, &target, &statement, 1, CHECKPOINT_MS, checkpointed, a); /* ends by itself */
    }
    cycle_action_done(a, true);
}

/* The guard's answers wake us: without a pause a process that the kernel holds would keep us spinning. */
static void kill_orphans(struct agent *a)
{
    struct err err = {0};
    msec now_ms = loop_clock_ms();

    if (now_ms < a->orphans_not_before_ms)
        return;
    a->orphans_not_before_ms = now_ms + ORPHANS_AGAIN_MS;
    if (!guard_link_stop(a->guard, GUARD_STOP_KILL, MSEC_NEVER, MSEC_NEVER, &err))
        log_error("guard.not_sent", "%s", err.text);
}

/* What was decided under a lease is done only while that lease still holds. */
static bool still_ours(struct agent *a, const struct ha_action *action)
{
    struct ha_view v;

    if (!action->term || MUTANT(ACTION_UNDER_LOST_TERM))
        return true;
    cycle_view(a, &v);
    bool ours = leads(&v) && leads_under(&v) == action->term &&
                (mode_is_quorum(&v) || v.conf.pause || fence_may_serve(&a->memory, &v));
    member_tags_deinit(&v.conf.tags);
    if (!ours)
        log_warning("action.refused", "%s %s was decided under term %llu, which is over", ha_action_text(action->kind),
                    ha_job_text(action->job), (unsigned long long)action->term);
    return ours;
}

/* ---- the end ---- */

static void resigned(enum leadership_result result, const char *why, void *arg)
{
    struct agent *a = arg;

    (void)result; /* the lease ends by itself */
    (void)why;
    loop_stop(a->loop);
}

static void leave(struct agent *a)
{
    struct err err = {0};

    a->leaving = true;
    if (!guard_link_leave(a->guard, &err))
        log_error("guard.not_sent", "%s", err.text);
    cycle_action_done(a, true);
    loop_stop(a->loop);
}

static void finish(struct agent *a)
{
    log_info("agent.end", "%s", a->plan.why);
    if (!a->request.ending)
        a->exit_status = GUARD_EXIT_CONFIG; /* starting again would find the same */
    leadership_resign(a->leadership, resigned, a);
}

void act(struct agent *a, const struct ha_action *action)
{
    if (!still_ours(a, action)) {
        cycle_action_done(a, false);
        return;
    }

    switch (action->kind) {
    case HA_DO_RENEW:
        FAULT_POINT("act.renew");
        if (a->twin == TWIN_NONE)
            leadership_renew(a->leadership);
        cycle_action_done(a, true);
        break;
    case HA_DO_ACQUIRE:
        FAULT_POINT("act.acquire");
        if (loop_clock_ms() < a->writes_not_before_ms)
            cycle_action_done(a, false);
        else
            leadership_acquire(a->leadership, action->timeline, action->above, acquired, a);
        break;
    case HA_DO_RELEASE:
        FAULT_POINT("act.release");
        leadership_release(a->leadership, released, a);
        break;
    case HA_DO_TELL_UNFENCED:
    case HA_DO_TELL_FENCED:
        FAULT_POINT("act.tell_fenced");
        leadership_tell(a->leadership, action->kind == HA_DO_TELL_UNFENCED);
        cycle_action_done(a, true);
        break;
    case HA_DO_TAKE_TIMELINE:
        FAULT_POINT("act.take_timeline");
        leadership_take_timeline(a->leadership, action->timeline);
        cycle_action_done(a, true);
        break;
    case HA_DO_RECORD:
        leadership_change(a->leadership, &a->plan.record, record_changed, a);
        break;
    case HA_DO_CLAIM_BOOTSTRAP:
        FAULT_POINT("act.claim_bootstrap");
        claim_bootstrap(a);
        break;
    case HA_DO_WRITE_INITIALIZE:
        FAULT_POINT("act.write_initialize");
        write_initialize(a);
        break;
    case HA_DO_DROP_INITIALIZE:
        FAULT_POINT("act.drop_initialize");
        drop_initialize(a);
        break;
    case HA_DO_CLEAR_FAILOVER:
        FAULT_POINT("act.clear_failover");
        clear_failover(a);
        break;
    case HA_DO_ASK_PEERS:
        FAULT_POINT("act.ask_peers");
        rounds_ask(a->rounds, registry_cluster(a->registry));
        cycle_action_done(a, true);
        break;
    case HA_DO_ASK_FAILSAFE:
        FAULT_POINT("act.ask_failsafe");
        publish_ask_failsafe(a);
        cycle_action_done(a, true);
        break;
    case HA_DO_START_JOB:
        FAULT_POINT("act.start_job");
        log_info("job.begin", "%s%s%s", ha_job_text(action->job), action->subject[0] ? " " : "", action->subject);
        jobs_begin(a->jobs, action);
        agent_wake(a);
        cycle_action_done(a, true);
        break;
    case HA_DO_CANCEL_JOB:
        FAULT_POINT("act.cancel_job");
        jobs_cancel(a->jobs);
        cycle_action_done(a, true);
        break;
    case HA_DO_FOLLOW:
        FAULT_POINT("act.follow");
        follow(a, action->subject);
        break;
    case HA_DO_LOAD_NAMES:
        quorum_load_names(a->quorum, a->plan.list);
        cycle_action_done(a, true);
        break;
    case HA_DO_MARKER:
        quorum_write_marker(a->quorum, action->term);
        cycle_action_done(a, true);
        break;
    case HA_DO_END_SENDER:
        quorum_end_sender(a->quorum, action->pid, action->subject);
        cycle_action_done(a, true);
        break;
    case HA_DO_CHECKPOINT:
        FAULT_POINT("act.checkpoint");
        checkpoint(a);
        break;
    case HA_DO_KILL_ORPHANS:
        FAULT_POINT("act.kill_orphans");
        kill_orphans(a);
        cycle_action_done(a, true);
        break;
    case HA_DO_ANSWER:
        FAULT_POINT("act.answer");
        ops_answer(a, action->answer_to, action->ok);
        cycle_action_done(a, true);
        break;
    case HA_DO_LEAVE:
        FAULT_POINT("act.leave");
        leave(a);
        break;
    case HA_DO_EXIT:
        FAULT_POINT("act.exit");
        finish(a);
        break;
    }
}
