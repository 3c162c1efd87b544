/*
 * The agent: puts its parts together, runs the loop, takes them apart.
 */
#include "app/agent/agent.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

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
#include "app/agent/mesh_own.h"
#include "app/agent/ops.h"
#include "app/agent/publish.h"
#include "app/agent/quorum.h"
#include "app/agent/registry.h"
#include "app/agent/rounds.h"
#include "app/agent/state.h"
#include "app/agent/upkeep.h"
#include "base/str.h"
#include "core/ha/profile.h"
#include "io/http_client.h"
#include "io/log.h"
#include "pg/callbacks.h"
#include "pg/instance.h"
#include "pg/promote.h"
#include "store/store.h"
#include "web/server.h"
#include "wire/conf/dynamic.h"
#include "wire/conf/settings.h"

enum {
    REFUSED_AGAIN_MS = 200,
    UPGRADE_MS = 3000, /* a guard executes its new version within milliseconds */
};

/* ---- systemd ---- */

/* sd_notify(3): one datagram. Without NOTIFY_SOCKET nobody listens. */
static void notify(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};

    if (!path || !*path || strlen(path) >= sizeof(to.sun_path))
        return;
    memcpy(to.sun_path, path, strlen(path));
    if (path[0] == '@')
        to.sun_path[0] = '\0';
    AUTO(fd) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0)
        (void)sendto(fd, text, strlen(text), 0, (struct sockaddr *)&to,
                     (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
                                 strlen(path))); /* a lost notice is systemd's to time out */
}

/* ---- the guard ---- */

static bool state_is_news(const struct agent *a, const struct guard_msg *m)
{
    return !a->guard_ready || m->pg_state != a->guard_seen.pg_state ||
           m->postmaster_pid != a->guard_seen.postmaster_pid || m->exited != a->guard_seen.exited ||
           m->adopted != a->guard_seen.adopted || m->fence_fired != a->guard_seen.fence_fired ||
           m->fence_spent != a->guard_seen.fence_spent;
}

static void log_fence(struct agent *a, const struct guard_msg *m)
{
    if (a->guard_ready && m->fence_fired != a->guard_seen.fence_fired)
        log_critical("fence.fired", "the fence stopped PostgreSQL: the lease was not renewed in time");
    if (!a->guard_ready || m->exited == a->guard_seen.exited || a->jobs->state == HA_JOB_RUNNING)
        return;
    if (m->exit_known && WIFSIGNALED(m->exit_status))
        log_error("postmaster.died", "the postmaster was ended by signal %d", WTERMSIG(m->exit_status));
    else if (m->exit_known)
        log_error("postmaster.died", "the postmaster exited with status %d", WEXITSTATUS(m->exit_status));
    else
        log_error("postmaster.died", "the postmaster is gone");
}

static void adopt(struct agent *a, const struct guard_msg *m)
{
    struct err err = {0};

    if (m->pg_state != GUARD_PG_FOREIGN || !m->postmaster_pid)
        return;
    log_info("postmaster.adopt", "adopting the running postmaster %d", (int)m->postmaster_pid);
    if (!guard_link_adopt(a->guard, m->postmaster_pid, &err))
        log_error("postmaster.adopt_failed", "%s", err.text);
}

/*
 * The agent before us may have been killed between the trigger file and its signal; any other signal of that kind
 * would fire it.
 */
static void withdraw_promotion(const struct agent *a)
{
    struct err err = {0};

    if (!promote_withdraw(a->settings->postgresql.data_dir, &err))
        log_warning("promote.not_withdrawn", "%s", err.text);
}

static void guard_state(const struct guard_msg *m, void *arg)
{
    struct agent *a = arg;

    if (!state_is_news(a, m))
        return;
    if (!a->guard_ready && m->pg_state == GUARD_PG_RUNNING)
        a->twin = TWIN_NONE;
    if (!a->guard_ready && m->postmaster_pid)
        withdraw_promotion(a);
    if (!a->guard_ready && m->kill_at_ms != MSEC_NEVER && m->kill_at_ms) {
        a->inherited_stop_ms = m->stop_at_ms;
        a->inherited_quit_ms = m->quit_at_ms;
        a->inherited_kill_ms = m->kill_at_ms;
    }
    log_fence(a, m);
    adopt(a, m);
    a->guard_seen = *m;
    a->guard_ready = true;
    local_guard_state(a->local, m);
    jobs_notice(a->jobs);
    agent_wake(a);
}

static void guard_refused(const struct guard_msg *m, void *arg)
{
    struct agent *a = arg;

    log_warning("guard.refused", "the guard refused: %s", m->text);
    if (m->seq == a->arm_seq) { /* say it again, but not at once: the guard is stopping PostgreSQL */
        a->fence_sent_kill_ms = a->fence_sent_stop_ms = 0;
        a->arm_not_before_ms = loop_clock_ms() + REFUSED_AGAIN_MS;
    }
    if (a->jobs->state == HA_JOB_RUNNING && m->seq == a->job_seq) {
        a->jobs->refused = true;
        str_copy(a->jobs->error, sizeof(a->jobs->error), m->text);
        jobs_notice(a->jobs);
    }
    agent_wake(a);
}

static void guard_term(void *arg)
{
    struct agent *a = arg;

    if (a->request.ending)
        return;
    log_info("agent.term", "asked to end");
    notify("STOPPING=1");
    a->request.ending = true;
    agent_wake(a);
}

static void guard_reload(void *arg)
{
    (void)config_reload(arg); /* what is wrong has been logged */
}

static void guard_reopen(void *arg)
{
    (void)arg;
    log_reopen();
}

/* Nobody fences for us any more: PostgreSQL goes, and so do we. */
static void without_guard(struct agent *a, const char *why)
{
    struct err err = {0};

    log_critical("guard.lost", "%s: stopping PostgreSQL, nothing runs here without a guard", why);
    if (!guard_link_signal_postmaster(a->guard, SIGQUIT, &err))
        log_error("guard.lost", "%s", err.text);
    a->guard_lost = true;
    a->exit_status = 1;
    loop_stop(a->loop);
}

static void guard_silent(void *arg)
{
    without_guard(arg, "the guard does not answer");
}

/*
 * A guard that closes the connection and lives on executes its new version: the fence stays with it, and its
 * first act is to end us, whom the version before has started. There is nothing to do until then.
 */
static void await_new_guard(struct agent *a)
{
    struct pollfd guard = {.fd = guard_link_guard_pidfd(a->guard), .events = POLLIN};
    msec end_ms = loop_clock_ms() + UPGRADE_MS;
    int dead = 0;

    for (msec left_ms = UPGRADE_MS; !dead && left_ms > 0; left_ms = end_ms - loop_clock_ms())
        dead = poll(&guard, 1, (int)left_ms) > 0;
}

static void guard_closed(const char *why, void *arg)
{
    struct agent *a = arg;

    if (a->leaving)
        return;
    await_new_guard(a);
    without_guard(a, why);
}

static const struct guard_link_events guard_events = {
    .state = guard_state,
    .refused = guard_refused,
    .term = guard_term,
    .reload = guard_reload,
    .reopen = guard_reopen,
    .silent = guard_silent,
    .closed = guard_closed,
};

/* ---- the parts' wakes ---- */

static void registry_changed(void *arg)
{
    struct agent *a = arg;

    if (a->leadership)
        leadership_observe(a->leadership);
    const struct cluster *c = registry_cluster(a->registry);
    if (c && !str_eq(c->bad, a->bad_key)) {
        if (c->bad)
            log_warning("store.bad_key", "%s; what was known before stays in force", c->bad);
        str_set(&a->bad_key, c->bad);
    }
    if (a->mesh && registry_members(a->registry))
        mesh_members(a->mesh, registry_members(a->registry));
    agent_wake(a);
}

/* SIGUSR2: the programs on disk were replaced. The guard becomes its new self in place, then we are started anew. */
static void upgrade(int signo, void *arg)
{
    struct agent *a = arg;
    struct err err = {0};

    (void)signo;
    log_info("agent.upgrade", "asked to upgrade in place");
    if (!guard_link_upgrade(a->guard, &err))
        log_error("agent.upgrade", "%s", err.text);
}

static void part_changed(void *arg)
{
    agent_wake(arg);
}

/* What was waited for in vain may come now. */
static void peer_changed(void *arg)
{
    struct agent *a = arg;

    a->waits_since_ms = 0;
    agent_wake(a);
}

static void local_changed(void *arg)
{
    struct agent *a = arg;

    if (a->jobs)
        jobs_notice(a->jobs);
    if (a->health)
        health_notice(a->health);
    agent_wake(a);
}

/* A sign of life: by the newest plan this is the primary, and no promise to another stands. */
static bool may_write(void *arg)
{
    const struct agent *a = arg;

    return a->plan.serving && !a->freeze.frozen;
}

static void callback_done(enum callback_action action, const struct err *err, void *arg)
{
    (void)arg;
    if (err)
        log_warning("callback.failed", "%s: %s", callback_action_name(action), err->text);
}

/* ---- start and end ---- */

static void make_id(char *ret_id, size_t size)
{
    uint64_t random = 0;

    (void)!getrandom(&random, sizeof(random), 0); /* fewer bytes are still others than anybody else's */
    (void)snprintf(ret_id, size, "%016" PRIx64, random);
}

static bool start_parts(struct agent *a, struct err *err)
{
    struct findings findings = {0};

    a->dynamic = dynamic_read(a->settings->bootstrap.dcs, a->settings, &findings);
    for (size_t i = 0; i < findings.count; i++)
        log_warning("config.finding", "bootstrap.dcs: %s", findings.at[i].text);
    findings_deinit(&findings);

    a->board = snapshot_board_new();
    a->local = local_new(a->loop, local_changed, a);
    if (a->settings->pgkeep.witness)
        local_set_witness(a->local);
    a->health = health_new(a->loop, a->local, part_changed, may_write, a);
    a->jobs = jobs_new(a);
    a->quorum = quorum_new(a);
    a->blackbox = blackbox_new(a);
    a->breaches = breach_watch_new(a);
    a->callbacks = callbacks_new(a->loop, callback_done, a);
    a->rounds = rounds_new(a->loop, a->settings->name, part_changed, a);
    ops_init(a);
    cycle_init(a);
    if (!store_new(a->loop, a->settings, &a->store, err))
        return false;
    a->registry = registry_new(a->loop, a->store, a->settings->key_prefix, registry_changed, a);
    quorum_watch_store(a->quorum);
    a->leadership = leadership_new(a->store, a->registry, a->settings->key_prefix, a->settings->name, publish_texts,
                                   part_changed, a);
    a->mesh = mesh_new(a->loop, a->settings->name, a->settings->key_prefix, profile_of(PROFILE_DEFAULT)->beat_ms,
                       mesh_own_state, peer_changed, a);
    config_start(a);
    if (!web_server_start(a->settings, a->board, ops_submit, a, &a->web, err))
        return false;
    (void)loop_signal_add(a->loop, SIGUSR2, upgrade, a); /* lives as long as the loop */
    if (!guard_link_open(a->loop, a->settings->postgresql.data_dir, &guard_events, a, &a->guard, err))
        return false;
    registry_start(a->registry, a->dynamic->loop_wait_ms, a->dynamic->retry_timeout_ms);
    return true;
}

void agent_free(struct agent *a)
{
    if (!a)
        return;
    upkeep_cancel(a);
    quorum_free(a->quorum);
    breach_watch_free(a->breaches);
    web_server_stop(a->web);
    ops_deinit(a);
    jobs_free(a->jobs);
    callbacks_free(a->callbacks);
    store_free(a->store); /* first: it cancels what the next three wait for */
    blackbox_free(a->blackbox);
    registry_free(a->registry);
    leadership_free(a->leadership);
    rounds_free(a->rounds);
    mesh_free(a->mesh);
    http_client_free(a->http);
    guard_link_free(a->guard);
    health_free(a->health);
    local_free(a->local);
    publish_deinit(a);
    plan_reset(&a->plan);
    snapshot_board_free(a->board);
    pg_instance_unref(a->instance);
    dynamic_unref(a->dynamic);
    settings_unref(a->settings);
    free(a->instance_trouble);
    free(a->bad_key);
    loop_free(a->loop);
    free(a);
}

struct agent *agent_new(const char *config_path, struct settings *take_settings)
{
    struct agent *a = mem_zero(1, sizeof(*a));
    struct err err = {0};

    a->config_path = config_path;
    make_id(a->id, sizeof(a->id));
    a->loop = loop_new();
    a->settings = take_settings;
    config_apply_log(a->settings);
    log_info("agent.start", "pgkeep %s: node %s of cluster %s", PGKEEP_VERSION, a->settings->name, a->settings->scope);
    if (start_parts(a, &err))
        return a;
    log_critical("agent.start_failed", "%s", err.text);
    return NULL; /* and with it the program: what stands of it is not taken apart */
}

int agent_main(int argc, char **argv)
{
    const char *config_path = argc > 1 ? argv[1] : NULL;
    struct settings *settings = config_read_local(config_path);

    if (!settings) {
        log_critical("agent.config", "the configuration has errors");
        return GUARD_EXIT_CONFIG;
    }
    struct agent *a = agent_new(config_path, settings);
    if (!a)
        return 1;
    notify("READY=1");
    loop_run(a->loop);

    int status = a->exit_status;
    AUTO(cstr) char *clear_dir = a->guard_lost ? str_dup(a->settings->postgresql.data_dir) : NULL;
    agent_free(a);
    if (clear_dir)
        run_guard_clear(clear_dir);
    return status;
}
